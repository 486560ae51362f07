best = {1: 0, 2: 0, 3: 0, 4: 0}
kept = []


def keep(packet):
    kept.append(packet)


def handle(packet):
    data = packet.get_data()
    number = data.get_number(1)
    x = data.get_double(2)
    y = data.get_double(3)
    name = data.get_string(4)
    sender = packet.get_sender().get_peer_id()
    nearest = None
    distance = 1000.0
    for player in session.get_players():
        peer = player.get_peer_id()
        if peer != sender:
            away = abs(x - peer * 10.0) + abs(y - peer * 5.0)
            if away < distance:
                distance = away
                nearest = peer
    best[sender] = best[sender] + number
    session.send(101, {1: best[sender], 2: distance, 3: nearest, 4: name}, peers=[sender])


session.on_packet(100, keep)

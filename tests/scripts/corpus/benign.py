"""A script that means well and uses a little of everything: it must be given the same answers after any attack."""

from __future__ import annotations

SOURCE = '''
class Ship:
    """One player's ship."""

    def __init__(self, name):
        self.name = name
        self.log = []

    def __eq__(self, other):
        return self.name == other.name

    def __hash__(self):
        return len(self.name)

    def __repr__(self):
        return f"Ship({self.name!r})"


class Lost(ValueError):
    pass


ships = {}
grid = {(x, y): x * y for x in range(20) for y in range(20)}
words = sorted(["b", "a", "c"], key=lambda word: -ord(word))


def describe(value):
    try:
        if value > 5:
            raise Lost("too far")
        return "%05.2f|%s|%r" % (value, [value], (value,))
    except Lost as error:
        return error


def on_player_connect(player):
    ships[player.peer_id] = Ship(player.player_id)
    session.send(7, {1: player.peer_id, 2: player.player_id}, reliable=True)


def on_player_disconnect(player):
    ships.pop(player.peer_id, None)
    print("left", player.peer_id, sorted(ships))


@session.on_packet(100)
def moved(packet):
    data = packet.get_data()
    number = data.get_number(1) or 0
    ship = ships[packet.get_sender().get_peer_id()]
    ship.log += [number]
    text = describe(number) + " " + describe(2.5)
    seen = {ship, *ships.values()}
    total = sum(grid.values()) + grid[3, 4] * 2 ** 10 - math.floor(7.9)
    session.get_logger().info([text, ship, len(seen), total, words, session.now_ms, session.random.random()])
    nested = [1, [2, (3, {4: ship})]]
    if nested == [1, [2, (3, {4: Ship(ship.name)})]]:
        session.new_packet().set_op_code(9).set_data(session.new_data().set_string(1, text)).send()
    if number == 7:
        return False
    packet.set_data({1: number + 1, 2: text})
    return None


@session.every(30)
def tick():
    values = [n for n in range(50) if n % 7 == 0]
    print(values, {n: str(n) for n in values}, max(values), "-".join(map(str, values)))


session.set_timeout(lambda: print(repr("later"), tuple(zip([1, 2], "ab")), divmod(17, 5), round(2.675, 2)), 40)
'''

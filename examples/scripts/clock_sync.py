"""Clock synchronisation: clients find out what time it is on the server.

A client sends its own time as number 1 of opCode 101. The answer, to this client alone, has that time as number 1 and
the session's as number 2, in milliseconds. When it arrives, the client knows:

    round trip   = own time now - number 1
    session time = number 2 + round trip / 2

A client asks some times in a row and keeps the answer with the shortest round trip. Once a second all are told the
session's time (opCode 102, number 1), so that they see when their clock drifts away.
"""

ASK = 101
TELL = 102


@session.on_packet(ASK)
def answer(packet):
    client_ms = packet.data.get_number(1)
    if client_ms is None:
        session.get_logger().warn(f"player {packet.get_sender().peer_id} asks for the time without telling its own")
    else:
        session.send(ASK, {1: client_ms, 2: session.now_ms}, peers=packet.get_sender())
    return False  # a matter between this player and the server: nobody else gets the packet


@session.every(1000)
def tell():
    session.send(TELL, {1: session.now_ms})

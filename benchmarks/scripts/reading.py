@session.on_packet(100)
def look(packet):
    if packet.data.get_number(1) < 0:
        return False

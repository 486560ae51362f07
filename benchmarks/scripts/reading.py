@session.on_packet(100)
def look(packet):
    return packet.data.get_number(1) >= 0

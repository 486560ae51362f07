@session.on_packet(100)
def ignore(packet):
    pass

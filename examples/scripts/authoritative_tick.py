"""The server decides who is where: ten times a second, and no faster than anybody may fly.

A client says where it wants to be: opCode 120, float array 1 = [x, y], as often as it likes. Nobody else sees that
packet. Ten times a second each ship goes to where its player wants it, at most as far as SPEED allows, and stays in
the field. Then all are told where all ships are: opCode 121, unreliable, float array N = [x, y] of player N. A player
who has asked for too much gets opCode 122, reliable, with the true place as float array 1, to put its own ship there.
"""

MOVE = 120
PLACES = 121
CORRECTION = 122

TICK_MS = 100
SPEED = 50.0  # units a second
WIDTH, HEIGHT = 200.0, 100.0
SLACK = 2.0  # units a client may be ahead: it moves its own ship at once, and its packets come unevenly

places = {}  # peer id -> [x, y]: what is true
wanted = {}  # peer id -> [x, y]: what the player has asked for since the last tick


def on_player_connect(player):
    places[player.peer_id] = [WIDTH / 2, HEIGHT / 2]


def on_player_disconnect(player):
    places.pop(player.peer_id, None)
    wanted.pop(player.peer_id, None)


@session.on_packet(MOVE)
def move(packet):
    peer_id = packet.get_sender().peer_id
    place = packet.data.get_float_array(1)
    if peer_id in places:
        if is_in_field(place):
            wanted[peer_id] = place
        else:
            correct(peer_id)
    return False


def is_in_field(place):
    """A client can send anything: nothing, too little, or a float that is no number, which is between no two others."""
    return place is not None and len(place) == 2 and 0 <= place[0] <= WIDTH and 0 <= place[1] <= HEIGHT


@session.every(TICK_MS)
def tick():
    for peer_id, place in wanted.items():
        if not go(places[peer_id], place):
            correct(peer_id)
    wanted.clear()
    if places:
        session.send(PLACES, places)


def go(ship, place):
    """Takes the ship to the place, or as far as it comes in a tick. False: it was too far."""
    way_x, way_y = place[0] - ship[0], place[1] - ship[1]
    way = math.hypot(way_x, way_y)
    reach = SPEED * TICK_MS / 1000
    if way <= reach + SLACK:
        ship[:] = place
        return True
    ship[0] += way_x * reach / way
    ship[1] += way_y * reach / way
    return False


def correct(peer_id):
    session.send(CORRECTION, {1: places[peer_id]}, peers=peer_id, reliable=True)


def on_reload(old_state):
    """This file has changed while the game goes on: everybody stays where they are."""
    for player in session.get_players():
        on_player_connect(player)
    places.update(old_state.get("places", {}))

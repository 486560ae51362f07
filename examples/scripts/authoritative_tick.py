"""The server decides who is where: ten times a second, and no faster than anybody may fly.

A client says where it wants to be: opCode 120, float array 1 = [x, y], as often as it likes. Nobody else sees that
packet. Ten times a second each ship moves towards where its player wants it, at most as far as SPEED allows, and stays in
the field. Then all are told where all ships are: opCode 121, unreliable, float array N = [x, y] of player N. A player who
has asked for too much gets opCode 122, reliable, with its true place as float array 1, to put its own ship back there.
"""

MOVE = 120
PLACES = 121
CORRECTION = 122

TICK_MS = 100
SPEED = 50.0  # units a second
WIDTH, HEIGHT = 200.0, 100.0
SLACK = 2.0  # units that a client may be ahead: it moves its own ship at once, and packets come unevenly


class Ship:
    def __init__(self, player):
        self.player = player
        self.x, self.y = WIDTH / 2, HEIGHT / 2
        self.wanted = None  # where the player wants to be; None: it has not said since the last tick

    def move(self):
        """One tick's way to where the player wants to be. True: it was further than the ship can go."""
        x, y = self.wanted
        self.wanted = None
        way = math.hypot(x - self.x, y - self.y)
        reach = SPEED * TICK_MS / 1000
        if way <= reach + SLACK:
            self.x, self.y = x, y
            return False
        self.x += (x - self.x) * reach / way
        self.y += (y - self.y) * reach / way
        return True


ships = {}  # peer id -> Ship


def on_player_connect(player):
    ships[player.peer_id] = Ship(player)


def on_player_disconnect(player):
    del ships[player.peer_id]


@session.on_packet(MOVE)
def move(packet):
    ship = ships.get(packet.get_sender().peer_id)
    place = packet.data.get_float_array(1)
    # A client can send anything. A number that is none (NaN) is not between any two others, so it is refused here too.
    if place is None or len(place) != 2 or not (0 <= place[0] <= WIDTH and 0 <= place[1] <= HEIGHT):
        if ship is not None:
            correct(ship)
    elif ship is not None:
        ship.wanted = place
    return False


@session.every(TICK_MS)
def tick():
    for ship in ships.values():
        if ship.wanted is not None and ship.move():
            correct(ship)
    if ships:
        session.send(PLACES, {peer_id: [ship.x, ship.y] for peer_id, ship in ships.items()})


def correct(ship):
    session.send(CORRECTION, {1: [ship.x, ship.y]}, peers=ship.player, reliable=True)

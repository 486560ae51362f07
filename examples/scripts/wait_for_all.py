"""Waits until everybody has joined, then starts the game for all at the same time.

Who joins is told to all as opCode 110: number 1 says how many are here, number 2 how many are expected. When the last
one has come, opCode 111 starts the game: number 1 is the session's time, in milliseconds, at which it begins. If
somebody does not come, the game starts without after PATIENCE_MS, or, if only one is there, opCode 112 tells that
nothing will come of it. Whoever joins later gets opCode 111 too, with the time at which the game began.
"""

WAITING = 110
START = 111
NOBODY_CAME = 112

EXPECTED = 3  # players this game is made for
FEWEST = 2  # players it can be played with
PATIENCE_MS = 30_000  # counted from the first player
COUNTDOWN_MS = 3_000  # so that the slowest connection hears of the start before it happens

start_ms = None  # when the game begins; None: nobody knows yet
patience = None  # the timer's id


def on_player_connect(player):
    global patience
    here = session.get_players()
    if start_ms is not None:
        session.send(START, {1: start_ms}, peers=player, reliable=True)
    elif len(here) >= EXPECTED:
        start()
    else:
        if patience is None:
            patience = session.set_timeout(give_up, PATIENCE_MS)
        session.send(WAITING, {1: len(here), 2: EXPECTED}, reliable=True)


def on_player_disconnect(player):
    if start_ms is None:
        session.send(WAITING, {1: len(session.get_players()), 2: EXPECTED}, reliable=True)


def start():
    global start_ms, patience
    session.clear_timeout(patience)
    patience = None
    start_ms = session.now_ms + COUNTDOWN_MS
    session.send(START, {1: start_ms}, reliable=True)
    names = ", ".join(player.player_id for player in session.get_players())
    session.get_logger().info(f"the game begins for {names}")


def give_up():
    global patience
    patience = None  # the next one who joins begins a new wait
    if len(session.get_players()) >= FEWEST:
        start()
    else:
        session.send(NOBODY_CAME, reliable=True)


def on_reload(old_state):
    """This file has changed while the game goes on. The timers of the old script are gone with it."""
    global start_ms, patience
    start_ms = old_state.get("start_ms")
    if old_state.get("patience") is not None:
        patience = session.set_timeout(give_up, PATIENCE_MS)

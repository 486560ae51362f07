"""A new game: a folder that runs at once, to be changed into what it is to become."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

API_KEY_BYTES = 8
SECRET_BYTES = 24

FILES: Mapping[str, str] = {
    "game.toml": """\
# The game. After a change of api_key, secret or port, start the server anew.

name = {name}
api_key = "{api_key}" # clients connect to ws://HOST:PORT/ws/device/{api_key}
secret = "{secret}" # and prove with this that they are the game's

[[currency]]
short_code = "gold"
name = "Gold"
signup = 50 # what a new player gets
""",
    "matches/duel.toml": """\
# What a client asks for by MatchmakingRequest with matchShortCode "duel".

name = "Duel"
description = "Two players of about the same skill"
min_players = 2
max_players = 2
realtime_script = "duel.py"

# Who fits: for 10 seconds those whose skill differs by at most 5, then for 20 seconds everybody.
[[threshold]]
period = 10
type = "RELATIVE"
min = -5
max = 5

[[threshold]]
period = 20
type = "ABSOLUTE"
min = -1e9
max = 1e9
""",
    "scripts/duel.py": '''\
"""The rules of a duel: once both players are there, whoever has tapped GOAL times first wins.

A player taps by opCode 1 to peer 0, the server. All are told what everybody has by opCode 2, with the number of taps of
player N at index N; then, by opCode 3, who has won, at index 1. The winner gets points (see events/score.py).
"""

TAP = 1
TAPS = 2
WON = 3

GOAL = 20
POINTS = 100

taps = {}  # peer id -> how many
state = {"over": False}


def on_player_connect(player):
    taps.setdefault(player.peer_id, 0)
    session.send(TAPS, taps, reliable=True)


@session.on_packet(TAP)
def tap(packet):
    player = packet.get_sender()
    if len(taps) == 2 and not state["over"]:
        taps[player.peer_id] += 1
        session.send(TAPS, taps)
        if taps[player.peer_id] >= GOAL:
            state["over"] = True
            session.send(WON, {1: player.peer_id}, reliable=True)
            reward(player.player_id)
    return False


def reward(player_id):
    score = session.new_request().create_log_event_request().set_player_id(player_id).set_event_key("score")
    score.set_points(POINTS).set_level("duel").send(look_at)


def look_at(response):
    if response.has_errors():
        session.get_logger().error(response.get_errors())
''',
    "events/score.py": '''\
"""What is reported by LogEventRequest with eventKey "score". The leaderboard has the points by then."""

ATTRIBUTES = {"points": "number", "level": "text"}


def on_event(event):
    if event["points"] >= 100:
        award = event.new_request().create_award_achievement_request()
        award.set_player_id(event.player_id).set_short_code("hundred").send()
        event.reply("achievement", "hundred")
''',
    "leaderboards.toml": """\
[[leaderboard]]
short_code = "high_scores"
name = "High scores"
event = "score"
attribute = "points"
aggregate = "best" # or "sum", "last"
order = "high" # or "low"
attributes = ["level"] # shown with the score
""",
    "achievements.toml": """\
[[achievement]]
short_code = "hundred"
name = "A hundred"
description = "A hundred points in one game"
currencies = { gold = 10 }
""",
    "goods.toml": """\
[[good]]
short_code = "hat"
name = "Hat"
description = "It looks good on everybody"
prices = { gold = 25 }
most = 1
""",
    "www/index.html": """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
<p>This page is www/index.html in the folder of the game.</p>
</html>
""",
    "README.md": """\
# {title}

    gsrt check {shell}    # is everything right?
    gsrt serve {shell}    # run it

| file | what it says |
|---|---|
| `game.toml` | the game's name, key, secret and currencies |
| `matches/*.toml` | kinds of matches: how many play, who fits whom, which script |
| `scripts/*.py` | the rules of a match, on the server |
| `events/*.py` | what clients report, and what happens then |
| `leaderboards.toml` | who is best |
| `achievements.toml` | what can be earned |
| `goods.toml` | what players buy |
| `www/` | your pages for browsers |
| `data/` | what the server remembers; not to be edited, not to be lost |

Changes are taken up while the server runs, but for the key and the secret in `game.toml`: for those, start it anew.
""",
    ".gitignore": "data/\n",
}


class SkeletonError(Exception):
    """No new game can be made there; the message says what to do."""


def make_game(folder: str, entropy: Callable[[int], bytes]) -> list[str]:
    """Writes a new game into a folder that does not exist or is empty, called as the folder is; the files' names.

    `entropy(n)` gives n random bytes fit for secrets. Raises SkeletonError."""
    title = os.path.basename(os.path.abspath(folder))
    if not folder or not title or not title.isprintable() or len(title) > 64:
        raise SkeletonError(
            f"{folder or 'NAME'}: a game is called as its folder; expected 1 to 64 printable characters"
        )
    texts = _texts(title, folder, entropy)
    try:
        os.makedirs(folder, exist_ok=True)
        if os.listdir(folder):
            raise SkeletonError(f"{folder}: there is something in this folder already; choose another name")
        for name, text in texts.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise SkeletonError(f"{error.filename or folder}: {error.strerror}") from None
    return list(texts)


def _texts(title: str, folder: str, entropy: Callable[[int], bytes]) -> dict[str, str]:
    from binascii import b2a_base64
    from html import escape
    from shlex import quote

    quoted = title.replace("\\", "\\\\").replace('"', '\\"')
    values = {
        "{name}": f'"{quoted}"',
        "{api_key}": entropy(API_KEY_BYTES).hex(),
        "{secret}": b2a_base64(entropy(SECRET_BYTES), newline=False).translate(bytes.maketrans(b"+/", b"-_")).decode(),
        "{shell}": quote(folder),
        "{title}": title,
    }
    texts = {}
    for name, text in FILES.items():
        for mark, value in values.items():
            text = text.replace(mark, escape(value) if name.endswith(".html") else value)
        texts[name] = text
    return texts

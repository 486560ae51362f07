"""A server under load is killed at any moment; what it had acknowledged has to be there afterwards, whole.

`python -m tests.platform.killing --runs 200` does so many times. Each run: players register, buy, score and look for
matches by several connections; the server gets SIGKILL; its database is looked at as it lies there, and through a
server that is started anew."""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.platform.client import Closed, PlatformClient, Refused
from tests.support.server import ServerProcess

API_KEY, SECRET = "killing", "killing-secret"
SIGNUP = 1000
PRICE = 7
CONNECTIONS = 6
LOAD_SECONDS = (0.05, 1.2)  # the server is killed at some moment between
CLIENT_SECONDS = 20.0
# Passwords that cost little; and nobody comes to the matches, which would soon leave no room for others.
CHEAP = {"password_memory_kb": 1024, "password_passes": 1, "session_unused_seconds": 0.5}

FILES = {
    "game.toml": f"""
name = "Killing"
api_key = "{API_KEY}"
secret = "{SECRET}"

[[currency]]
short_code = "gold"
signup = {SIGNUP}
""",
    "goods.toml": f"""
[[good]]
short_code = "hat"
prices = {{ gold = {PRICE} }}
""",
    "leaderboards.toml": """
[[leaderboard]]
short_code = "total"
event = "score"
attribute = "points"
aggregate = "sum"
""",
    "events/score.py": 'ATTRIBUTES = {"points": "number"}\n\n\ndef on_event(event):\n    pass\n',
    "matches/pair.toml": """
min_players = 2
max_players = 2

[[threshold]]
period = 600
type = "ABSOLUTE"
min = 0
max = 1000
""",
}


class Acknowledged:
    """What one player was told."""

    def __init__(self, player_id: str, user_name: str) -> None:
        self.player_id = player_id
        self.user_name = user_name
        self.hats = 0
        self.hats_asked = 0
        self.points = 0
        self.points_asked = 0
        self.looks_for_match = False
        self.matches: dict[str, str] = {}  # match id -> access token


class Load(threading.Thread):
    """One connection after the other: a player registers, does this and that, and stays until the server is gone."""

    def __init__(self, server: ServerProcess, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.random = random.Random(seed * 1000 + number)
        self.name_prefix = f"s{seed}n{number}p"
        self.server = server
        self.players: list[Acknowledged] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for number in range(1000):
                with PlatformClient(self.server.host, self.server.port, API_KEY, SECRET) as client:
                    if not self._play(client, f"{self.name_prefix}{number}"):
                        return
        except (Closed, Refused, OSError):
            pass  # the server was killed
        except BaseException as error:
            self.failure = error

    def _play(self, client: PlatformClient, user_name: str) -> bool:
        answer = client.request("RegistrationRequest", userName=user_name, password="secret", displayName=user_name)
        player = Acknowledged(answer["userId"], user_name)
        self.players.append(player)
        for _ in range(self.random.randint(1, 25)):
            what = self.random.choice(("buy", "score", "score", "match", "listen"))
            if what == "buy":
                quantity = self.random.randint(1, 3)
                player.hats_asked += quantity
                client.request("BuyVirtualGoodsRequest", shortCode="hat", quantity=quantity, currencyShortCode="gold")
                player.hats += quantity
            elif what == "score":
                points = self.random.randint(1, 9)
                player.points_asked += points
                client.request("LogEventRequest", eventKey="score", points=points)
                player.points += points
            elif what == "match" and not player.looks_for_match:
                client.request("MatchmakingRequest", matchShortCode="pair", skill=self.random.randint(0, 1000))
                player.looks_for_match = True
            for message in client.collect():
                if message["@class"] == ".MatchFoundMessage":
                    player.matches[message["matchId"]] = message["accessToken"]
        return True


def write_game(folder: Path) -> Path:
    """The game that is played."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def run_once(folder: Path, seed: int, players: dict[str, Acknowledged]) -> Counter[str]:
    """Starts a server on what the run before has left, kills it, looks. PLAYERS of all runs by their ids; this run's
    are added. What was acknowledged in this run, counted."""
    chance = random.Random(seed)
    with ServerProcess(overrides=CHEAP, arguments=(str(folder),)) as server:
        through_the_api(server, chance.sample(sorted(players), min(3, len(players))), players)
        loads = [Load(server, number, seed) for number in range(CONNECTIONS)]
        for load in loads:
            load.start()
        time.sleep(chance.uniform(*LOAD_SECONDS))
        server.process.kill()
        server.process.wait()
        for load in loads:
            load.join(CLIENT_SECONDS)
            assert not load.is_alive(), "a client waits for a server that is gone"
            if load.failure is not None:
                raise load.failure
    fresh = [player for load in loads for player in load.players]
    players.update((player.player_id, player) for player in fresh)
    on_disk(folder / "data" / "game.sqlite", players, fresh)
    return Counter(
        registrations=len(fresh),
        purchases=sum(player.hats for player in fresh),
        points=sum(player.points for player in fresh),
        tickets=sum(player.looks_for_match for player in fresh),
        matches=sum(len(player.matches) for player in fresh),
    )


def on_disk(path: Path, players: dict[str, Acknowledged], fresh: list[Acknowledged]) -> None:
    """Every acknowledged write is in the database, none is half there, sums balance. FRESH: players who were there when
    the server was killed, or shortly before: they still look for a match, or have one."""
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        for kind, table in (("currency", "balances"), ("good", "goods")):
            column, amount = (kind, "amount") if kind == "currency" else (kind, "quantity")
            held = {row[:2]: row[2] for row in database.execute(f"SELECT player, {column}, {amount} FROM {table}")}
            moved = database.execute(
                "SELECT player, code, sum(delta) FROM ledger WHERE kind = ? GROUP BY player, code", (kind,)
            )
            sums = {row[:2]: row[2] for row in moved if row[2]}
            assert {key: value for key, value in held.items() if value} == sums, f"{table} and the ledger differ"
        for player in players.values():
            _one_on_disk(database, player)
        for player in fresh:
            looking = database.execute("SELECT count(*) FROM tickets WHERE player = ?", (player.player_id,)).fetchone()
            found = database.execute("SELECT count(*) FROM match_players WHERE player = ?", (player.player_id,))
            assert not player.looks_for_match or looking[0] + found.fetchone()[0], (
                f"{player.user_name}'s ticket is lost"
            )
        for (match,) in database.execute("SELECT id FROM matches"):
            seats = database.execute("SELECT player FROM match_players WHERE match = ?", (match,)).fetchall()
            assert len(seats) == 2, f"match {match} has {len(seats)} players"
            for (player_id,) in seats:
                ticket = database.execute(
                    "SELECT count(*) FROM tickets WHERE player = ? AND short_code = 'pair'", (player_id,)
                ).fetchone()[0]
                assert not ticket or _matched_again(database, player_id), f"{player_id} has a match and its ticket"
    finally:
        database.close()


def _matched_again(database: sqlite3.Connection, player_id: str) -> bool:
    """A player whose match is over may look for another."""
    return bool(
        database.execute(
            "SELECT count(*) FROM match_players JOIN matches ON match = id WHERE player = ? AND ended IS NOT NULL",
            (player_id,),
        ).fetchone()[0]
    )


def _one_on_disk(database: sqlite3.Connection, player: Acknowledged) -> None:
    who = (player.player_id,)
    found = database.execute("SELECT user_name, password FROM players WHERE id = ?", who).fetchone()
    assert found is not None and found[0] == player.user_name and found[1], f"{player.user_name} is not registered"
    hats = (database.execute("SELECT quantity FROM goods WHERE player = ?", who).fetchone() or (0,))[0]
    gold = (database.execute("SELECT amount FROM balances WHERE player = ?", who).fetchone() or (0,))[0]
    assert player.hats <= hats <= player.hats_asked, f"{player.user_name}: {hats} hats"
    assert gold + PRICE * hats == SIGNUP, f"{player.user_name}: {gold} gold and {hats} hats"
    points = (database.execute("SELECT score FROM scores WHERE player = ?", who).fetchone() or (0,))[0]
    assert player.points <= points <= player.points_asked, f"{player.user_name}: {points} points"
    seats = dict(database.execute("SELECT match, access_token FROM match_players WHERE player = ?", who))
    for match, token in player.matches.items():
        assert seats.get(match) == token, f"{player.user_name} was told of match {match}"


def through_the_api(server: ServerProcess, names: list[str], players: dict[str, Acknowledged]) -> None:
    """Some players of before sign in with their passwords and find what is theirs."""
    for player_id in names:
        player = players[player_id]
        with PlatformClient(server.host, server.port, API_KEY, SECRET) as client:
            client.request("AuthenticationRequest", userName=player.user_name, password="secret")
            details = client.request("AccountDetailsRequest")
            hats = details["virtualGoods"].get("hat", 0)
            assert player.hats <= hats <= player.hats_asked
            assert details["currencies"].get("gold", 0) == SIGNUP - PRICE * hats
            for match, token in player.matches.items():
                answer: dict[str, Any] = client.ask("MatchDetailsRequest", matchId=match)
                assert answer.get("accessToken", token) == token  # none: it has ended meanwhile


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.platform.killing", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="how often the server is killed")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    total: Counter[str] = Counter()
    players: dict[str, Acknowledged] = {}
    with TemporaryDirectory() as directory:
        folder = write_game(Path(directory) / "game")
        for number in range(options.runs):
            total += run_once(folder, options.seed + number, players)
            print(f"{number + 1} of {options.runs}: {json.dumps(total)}", flush=True)
    print("every acknowledged write is there")
    return 0


if __name__ == "__main__":
    sys.exit(main())

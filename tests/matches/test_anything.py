"""Anything may happen in any order, restarts included: what waits and what is played is always what is stored."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gsrt.game.model import Threshold
from gsrt.session import READY
from tests.matches.hall import Hall, Message, config
from tests.matches.test_store_trouble import Faulty
from tests.relay.floor import Guest

STEPS = 80
CODES = ("duel", "open", "open", "open", "board", "quick")
CONFIGS = (
    config("duel", thresholds=(Threshold(4.0, "RELATIVE", -2, 2), Threshold(4.0, "RELATIVE", -9, 9))),
    config("open", drop_in_drop_out=True, max_players=2, player_disconnect_delay=1.0, expire_in=60.0),
    config("board", realtime=False, drop_in_drop_out=True, max_players=2),
    config("quick", max_players=4, min_players=2, thresholds=(Threshold(2.0, "ABSOLUTE", 0, 100, True),)),
)


class Life:
    """Six players who do whatever chance has them do."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.hall = Hall(folder, *CONFIGS, grace_seconds=1.0, session_linger_seconds=8.0, sessions_max=3)
        self.players = self.hall.players(*(f"P{number}" for number in range(6)))
        self.found: dict[str, Message] = {}
        self.guests: dict[str, Guest] = {}
        self.faulty = Faulty(self.hall, False)

    def step(self) -> None:
        deeds = (self.seek, self.seek, self.seek, self.cancel, self.enter, self.enter, self.leave, self.pass_time)
        rare = (self.away, self.kick, self.end, self.trouble, self.restart)
        self.chance.choice(rare if self.chance.random() < 0.2 else deeds)()
        self.hall.settle()
        for player_id in self.players:
            for message in self.hall.news(player_id, "MatchFoundMessage"):
                self.found[player_id] = message

    def anyone(self) -> str:
        return self.chance.choice(self.players)

    def seek(self) -> None:
        fields = {"matchShortCode": self.chance.choice(CODES), "skill": self.chance.randrange(10)}
        assert set(self.hall.ask(self.anyone(), "MatchmakingRequest", **fields)) <= {"error"}

    def cancel(self) -> None:
        self.hall.cancel(self.anyone(), self.chance.choice(CODES))

    def enter(self) -> None:
        message = self.found.get(self.anyone(), {})
        holder = self.hall.sessions.holder(message.get("accessToken", "none"))
        if holder is not None:
            self.guests[holder.player_id] = self.hall.enter(message)
            assert holder.state == READY

    def leave(self) -> None:
        guest = self.guests.pop(self.anyone(), None)
        if guest is not None and not guest.line.ended:
            guest.packets()
            guest.line.close()
            self.hall.turn()

    def pass_time(self) -> None:
        self.hall.later(self.chance.choice((0.1, 1.0, 3.0, 9.0)))

    def away(self) -> None:
        self.hall.matches.away(self.anyone())

    def kick(self) -> None:
        for session in self.hall.sessions:
            self.chance.choice(session.players).kick(self.hall.now)

    def end(self) -> None:
        for session in self.hall.sessions:
            session.end("enough")

    def trouble(self) -> None:
        self.faulty.refused = set(self.chance.choice(((), (), ("create", "add_player"), ("end", "remove_player"))))

    def restart(self) -> None:
        self.heal()
        self.guests.clear()
        limits: dict[str, Any] = {"grace_seconds": 1.0, "session_linger_seconds": 8.0, "sessions_max": 3}
        self.hall = self.hall.restarted(
            after=self.chance.choice((0.0, 1.0)), killed=self.chance.random() < 0.5, **limits
        )
        self.hall.presence.players.update(self.players)
        self.faulty = Faulty(self.hall, False)

    def heal(self) -> None:
        self.faulty.refused = set()
        self.hall.later(1.1)

    def check(self) -> None:
        """What is stored is what there is. Only to be asked while nothing is amiss."""
        hall, matches = self.hall, self.hall.matches
        waiting = [(player_id, code) for player_id, by_code in matches._waiting.items() for code in by_code]
        assert sorted(waiting) == sorted(hall.rows("SELECT player, short_code FROM tickets"))
        looking = sorted((each.player_id, each.short_code) for each in matches.matchmaker.tickets())
        assert looking == sorted(each for each in waiting if each[0] not in matches._forming)
        rows = hall.rows(
            'SELECT match, player, peer_id, access_token FROM match_players WHERE "left" IS NULL'
            " AND match IN (SELECT id FROM matches WHERE ended IS NULL)"
        )
        running = {
            (match.match_id, player_id, seat.peer_id, seat.access_token)
            for match in matches._running.values()
            for player_id, seat in match.seats.items()
        }
        kicked = {
            (session.session_id, each.player_id, each.peer_id, each.access_token)
            for session in hall.sessions
            for each in session.players
            if each.state == "kicked"
        }
        assert running - kicked == set(rows)
        assert len(set(rows)) == len({(row[0], row[2]) for row in rows}), "two have the same number"
        sessions = {
            (session.session_id, each.player_id, each.peer_id, each.access_token)
            for session in hall.sessions
            for each in session.players
        }
        assert sessions == {row for row in running if row[3] is not None}
        assert all(1 <= len(match.seats) <= match.config.max_players for match in matches._running.values())
        assert (matches._coming_players, matches._coming_sessions) == (0, 0)
        assert hall.sessions._players == len(sessions)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens(tmp_path: Path, seed: int) -> None:
    life = Life(tmp_path, seed)
    try:
        for _ in range(STEPS):
            life.step()
            if not life.faulty.refused:
                life.heal()
                life.check()
    except BaseException as error:
        error.add_note(f"log:\n{life.hall.log_text()}")
        raise
    finally:
        life.hall.close()

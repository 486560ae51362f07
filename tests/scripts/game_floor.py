"""The session floor with scripts and a game: the real store, desk and events, still without a loop."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

from gsrt.backend.call import Call
from gsrt.backend.desk import Desk
from gsrt.game.model import EventConfig, Game
from gsrt.scripts.events import Events
from gsrt.store.store import Store, Transaction
from tests.relay.rig import DEADLINE
from tests.scripts.floor import ScriptFloor
from tests.support import stores

Steps = Generator[Any, Any, dict[str, object]]  # of a request

PLAYERS = ("anna", "ben", "cleo")
TOGETHER = 12  # turns of a loop in which whatever can happen at once has happened


class GameFloor(ScriptFloor):
    """A server without its loop, whose game has players, and events as they are written.

    A script's processor time is not what ends it (unless `limits` say so): how busy the machine is decides nothing."""

    def __init__(self, **limits: float) -> None:
        super().__init__(**({"script_cpu_ms": 10_000, "script_turn_ms": 5000, "script_turn_all_ms": 5000} | limits))
        self.store = self.open_store()
        self.game = Game("")
        self.desk = Desk(self.game, self.store, self.worker, self.profile, self.wall, self.reception.log)
        self.events = Events(self.desk, self.scripts)
        self.desk.events = self.events
        self.scripts.desk = self.desk
        self.stored(_enter_players, PLAYERS)

    def open_store(self) -> Store:
        return stores.open_store(str(self.directory / "game.sqlite"), self.wall, os.urandom, self.reception.log)

    def wall(self) -> float:
        return 1_700_000_000.5 + self.now

    def event(self, code: str, source: str, **attributes: str) -> str:
        """The event's file with this script: its path."""
        path = self.write(source, f"{code}.py")
        self.game.events[code] = EventConfig(code, path=path, attributes=attributes)
        return path

    def stand_in(self, name: str, run: Callable[[Call], Steps], **fields: object) -> None:
        """The request of that name is done this way."""
        module: Any = SimpleNamespace(NAME=name, FIELDS=(), ANSWER=(), ERRORS=(), SUMMARY="", run=run, **fields)
        self.desk.registry._loaded[name] = module

    def stored(self, operation: Callable[..., Any], *arguments: object) -> Any:
        """What the operation gives."""
        return stores.stored(self.store, self.until, operation, *arguments)

    def log_event(self, code: str, player: str = "anna", **fields: object) -> list[dict[str, Any]]:
        """Reports an event: what will hold the answer."""
        answers: list[dict[str, Any]] = []
        self.desk.submit("LogEventRequest", {"eventKey": code, **fields}, answers.append, player_id=player)
        return answers

    def answer(self, code: str, player: str = "anna", **fields: object) -> dict[str, Any]:
        """Reports an event, and waits for the answer."""
        answers = self.log_event(code, player, **fields)
        self.until(lambda: bool(answers))
        (found,) = answers
        return found

    def until(self, condition: Callable[[], object]) -> None:
        """Turns until it holds; time stands still."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, "it does not happen"
            select.select([self.worker.fileno(), self.store.fileno()], [], [], 0.005)
            self.worker.deliver()
            self.store.deliver()
            self.turn()

    def settle(self) -> None:
        """Until nothing happens any more without time passing."""
        self.until(lambda: not self.store.waiting and not self.worker.waiting)
        for _ in range(TOGETHER):
            self.advance(0.01)
            self.until(lambda: not self.store.waiting and not self.worker.waiting)

    def close(self) -> None:
        self.store.close()
        super().close()


def _enter_players(tx: Transaction, players: tuple[str, ...]) -> None:
    for player in players:
        tx.execute(
            "INSERT INTO players (id, display_name, created, seen) VALUES (?, ?, ?, ?)",
            (player, player.capitalize(), tx.now, tx.now),
        )

"""A desk with a real store in a file and a real worker, turned by the test; connections are stand-ins."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gsrt.backend.desk import Desk
from gsrt.game.model import Currency, Game
from gsrt.log import Log
from gsrt.profile import LIMITS, Profile
from gsrt.worker import Worker
from tests.support import stores

DEADLINE_SECONDS = 20.0
BEGAN = 1_700_000_000.0  # of the wall clock, which stands still

CHEAP = {"password_memory_kb": 1024, "password_passes": 1, "store_batch_ms": 0.0}  # so that tests are quick


def profile(**limits: float) -> Profile:
    """The generic profile with other LIMITS, and passwords that cost little."""
    generic = Profile.load("generic")
    return Profile({key: getattr(generic, key) for key in LIMITS} | CHEAP | limits)


class Device:
    """A connection as requests know it."""

    def __init__(self, office: Office, address: str = "127.0.0.1") -> None:
        self.office = office
        self.address = address
        self.player_id: str | None = None
        self.auth_token: str | None = None
        self.closed = False

    def sign_in(self, player_id: str, auth_token: str) -> None:
        self.player_id, self.auth_token = player_id, auth_token

    def sign_out(self) -> float:
        self.player_id = None
        return 12.3456

    @property
    def is_open(self) -> bool:
        return not self.closed

    def close(self) -> None:
        self.closed = True
        self.player_id = None

    def ask(self, name: str, **fields: Any) -> dict[str, Any]:
        return self.office.ask(name, fields, connection=self)

    def begin(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """Asks without waiting; the answer will be in the list."""
        return self.office.begin(name, fields, connection=self)


class Presence:
    """Who is connected, as far as tests ask."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.disconnected: list[str] = []

    def online(self, player_id: str) -> bool:
        return bool(self.connections(player_id))

    def connections(self, player_id: str) -> tuple[Device, ...]:
        return tuple(each for each in self.office.devices if each.player_id == player_id)

    def disconnect(self, player_id: str, reason: str) -> None:
        self.disconnected.append(player_id)

    def deleted(self, player_id: str) -> None:
        self.disconnected.append(player_id)


class Office:
    """Everything that requests are done with."""

    def __init__(self, folder: Path, seed: int = 1, **limits: float) -> None:
        self.now = BEGAN
        self.log_text = io.StringIO()
        self.path = str(folder / "data" / "game.sqlite")
        self.random = random.Random(seed)
        self.profile = profile(**limits)
        log = Log(self.log_text, lambda: 0.0)
        self.worker = Worker(self._raise)
        self.store = stores.open_store(self.path, lambda: self.now, self.random.randbytes, log)
        currencies = {"gold": Currency("gold", signup=100), "gems": Currency("gems")}
        game = Game(str(folder), currencies=currencies)
        self.desk = Desk(game, self.store, self.worker, self.profile, lambda: self.now, log)
        self.devices: list[Device] = []
        self.presence = Presence(self)
        self.desk.presence = self.presence  # type: ignore[assignment]

    def _raise(self, error: BaseException) -> None:
        raise error

    def close(self) -> None:
        self.store.close()
        self.worker.close()

    def device(self) -> Device:
        self.devices.append(Device(self))
        return self.devices[-1]

    def until(self, done: Callable[[], object]) -> None:
        """Turns the loop until `done()` is true."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not done():
            assert time.monotonic() < deadline, "it never came"
            stores.deliver(self.store, self.worker, 0.1)

    def begin(self, name: str, fields: dict[str, Any], **who: Any) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        self.desk.submit(name, fields, answers.append, **who)
        return answers

    def ask(self, name: str, fields: dict[str, Any], **who: Any) -> dict[str, Any]:
        answers = self.begin(name, fields, **who)
        self.until(lambda: answers)
        return answers[0]

    def stored(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """What an operation gives, or raises."""
        return stores.stored(self.store, self.until, operation, *arguments)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.stored(lambda tx: tx.all(sql, parameters))
        return found

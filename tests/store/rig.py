"""A loop around one store, turned by the test; and operations to try it with."""

from __future__ import annotations

import io
import random
import selectors
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from gsrt.log import Log
from gsrt.store.store import Store, Transaction

DEADLINE_SECONDS = 20.0
NEVER = 3600.0  # a batch of this age is only written because it is full, or the store closes
WALL = 1_700_000_000.0

Outcome = tuple[Any, BaseException | None]


class Loop:
    """Opens a store at PATH (its limits by name; by default every change is written at once), and keeps what came of
    its operations, in `outcomes`, and all that happened on the loop's thread, in `events`."""

    def __init__(self, path: Path | str, **limits: Any) -> None:
        self.stream = io.StringIO()
        self.outcomes: list[Outcome] = []
        self.events: list[Any] = []
        self.now = WALL
        given: dict[str, Any] = {"batch_seconds": 0.0, "batch_writes": 1, "waiting_max": 1000, **limits}
        self.store = Store(
            str(path),
            wall=lambda: self.now,
            entropy=random.Random(7).randbytes,
            log=Log(self.stream, time.monotonic),
            **given,
        )
        self.store.on_announce = lambda *announcement: self.events.append(announcement)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.store, selectors.EVENT_READ)

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._selector.close()
        self.store.close()

    def done(self, result: Any, error: BaseException | None) -> None:
        self.outcomes.append((result, error))
        self.events.append((result, error))

    def submit(self, operation: Callable[..., object], *arguments: object) -> None:
        self.store.submit(operation, arguments, self.done)

    def turn(self, timeout: float = 0.0) -> None:
        if self._selector.select(timeout):
            self.store.deliver()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it never came"
            self.turn(0.005)

    def until_outcomes(self, count: int) -> list[Outcome]:
        self.until(lambda: len(self.outcomes) >= count)
        return self.outcomes

    def until_performed(self, count: int) -> None:
        """Until the thread has performed COUNT operations in all, whether or not anything came of them yet."""
        self.until(lambda: self.store.figures()["store_operations"] >= count)
        self.turn()

    def ask(self, operation: Callable[..., object], *arguments: object) -> Any:
        """The operation's result; its error is raised."""
        came: list[Outcome] = []
        self.store.submit(operation, arguments, lambda *outcome: came.append(outcome))
        self.until(lambda: bool(came))
        result, error = came[0]
        if error is not None:
            raise error
        return result

    def backup(self, path: Path | str) -> list[Outcome]:
        """Begins a backup; what comes of it is in the list later."""
        came: list[Outcome] = []
        self.store.backup(str(path), lambda *outcome: came.append(outcome))
        return came


def put(tx: Transaction, name: str, body: str = "") -> str:
    """A document of the game's."""
    tx.execute("INSERT INTO documents VALUES ('', 'test', ?, ?, 1, ?)", (name, body, tx.now))
    return name


def names(tx: Transaction) -> list[str]:
    return [name for (name,) in tx.all("SELECT id FROM documents ORDER BY id")]


def bodies(tx: Transaction) -> dict[str, str]:
    return dict(tx.all("SELECT id, body FROM documents"))


def store_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "store"]

"""store.*: what score updates have the kernel write to the disk, in batches and each on its own."""

from __future__ import annotations

import os
import random
import selectors
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation
from benchmarks.workshop import folder
from gsrt.backend import leaderboards, players
from gsrt.game.model import LAST, Leaderboard
from gsrt.log import Log
from gsrt.profile import Profile
from gsrt.store.store import Store, Transaction

RUNS = 3
PLAYERS = 500  # with an entry each
MANY, FEW = 64, 8  # of them play now: each reports a score, waits for the answer, reports the next one
UPDATES = 2000
BOARD = Leaderboard("points", aggregate=LAST)  # so that every score is a change


def written_bytes() -> int:
    """What this process has had the kernel write to disks so far (proc(5), /proc/pid/io): pages of 4 KB, each counted
    when it becomes dirty, so again after each time that it was written out."""
    with open("/proc/self/io", encoding="ascii") as file:
        return int(dict(line.split(": ") for line in file)["write_bytes"])


def enrol(tx: Transaction, chance: random.Random) -> list[str]:
    """All players, and their first scores."""
    enrolled = [players.create(tx, None, {}) for _ in range(PLAYERS)]
    for player_id in enrolled:
        leaderboards.submit(tx, BOARD, player_id, chance.randrange(1_000_000), {})
    return enrolled


class Round:
    """`UPDATES` score updates of so many players AT_ONCE, over a new database; `bytes` and `seconds` that they took,
    with all brought from the log into the database."""

    def __init__(self, *, at_once: int, seed: int, batch_seconds: float = 0.0, batch_writes: int = 1) -> None:
        self.chance = random.Random(seed)
        with tempfile.TemporaryDirectory(dir=folder("store")) as directory:
            self.store = Store(
                os.path.join(directory, "game.sqlite"),
                wall=time.time,
                entropy=self.chance.randbytes,
                log=Log(sys.stderr, time.monotonic),
                batch_seconds=batch_seconds,
                batch_writes=batch_writes,
                waiting_max=UPDATES,
            )
            self.enrolled: list[str] = []
            self.answered = self.asked = 0
            with selectors.DefaultSelector() as self.selector:
                self.selector.register(self.store, selectors.EVENT_READ)
                self.store.submit(enrol, (self.chance,), self._enrolled)
                self._until(lambda: bool(self.enrolled))
                written, began = written_bytes(), time.monotonic()
                for player_id in self.enrolled[:at_once]:
                    self._report(player_id)
                self._until(lambda: self.answered == UPDATES)
                self.seconds = time.monotonic() - began
                self.batches = self.store.figures()["store_batches"]
            self.store.close()
            self.bytes = written_bytes() - written
        if not self.bytes:
            raise Problem("nothing is counted for benchmarks/.work: put the tree on a disk (not a tmpfs)")

    def _enrolled(self, enrolled: list[str], error: BaseException | None) -> None:
        self._check(error)
        self.enrolled = enrolled

    def _report(self, player_id: str) -> None:
        def done(result: object, error: BaseException | None) -> None:
            self._check(error)
            self.answered += 1
            self._report(self.chance.choice(self.enrolled))

        if self.asked < UPDATES:
            self.asked += 1
            self.store.submit(leaderboards.submit, (BOARD, player_id, self.chance.randrange(1_000_000), {}), done)

    def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.selector.select()
            self.store.deliver()

    @staticmethod
    def _check(error: BaseException | None) -> None:
        if error is not None:
            raise Problem(f"an update failed: {error}")


def measure(installation: Installation, runs: int | None, record: Record) -> None:
    """The default profile's batches, against a commit for each update, in turn."""
    profile = Profile.load("generic")
    batches: dict[str, Any] = {
        "batch_seconds": profile.store_batch_ms / 1000,
        "batch_writes": profile.store_batch_writes,
    }
    for run in range(runs or RUNS):
        for name, at_once in (("", MANY), ("_few", FEW)):
            together, each = Round(at_once=at_once, seed=run, **batches), Round(at_once=at_once, seed=run)
            record.add(f"store.bytes_ratio{name}", together.bytes / each.bytes)
            record.add(f"store.kb_per_1000{name}", together.bytes / UPDATES * 1000 / 1024)
            if at_once == MANY:
                record.add("store.kb_per_1000_alone", each.bytes / UPDATES * 1000 / 1024)
                record.add("store.updates_per_batch", UPDATES / together.batches)
                record.add("store.updates_per_s", UPDATES / together.seconds)

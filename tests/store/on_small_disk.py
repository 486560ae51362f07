"""Stores on a disk of 2 MB of their own, as a program: `python -m tests.store.on_small_disk SCENARIO FOLDER`. It
asserts for itself; it exits 0 where all holds. `run` below starts it from a test."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from gsrt.store.store import StoreError, Transaction
from tests.store.rig import NEVER, Loop, bodies, put

DISK = "2m"
BODY = "x" * 10_000
FULL = "the disk is full: free some space"
SECONDS = 60.0


def run(scenario: str, folder: Path) -> str | None:
    """Why SCENARIO cannot be played here (no disk of one's own to be had); None: it was, and all held."""
    inside = f'mount -t tmpfs -o size={DISK} none "$0" && exec "$@"'
    outside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        possible = subprocess.run([*outside, inside, str(folder), "true"], capture_output=True, timeout=SECONDS)
    except FileNotFoundError as missing:
        return str(missing)
    if possible.returncode:
        return possible.stderr.decode()
    program = [sys.executable, "-m", "tests.store.on_small_disk", scenario, str(folder)]
    played = subprocess.run([*outside, inside, str(folder), *program], capture_output=True, text=True, timeout=SECONDS)
    assert played.returncode == 0, played.stdout + played.stderr
    return None


def write_until_refused(loop: Loop, first: int = 0) -> tuple[dict[str, str], str]:
    """What was acknowledged, and why the next batch was not. No operation is left waiting."""
    acknowledged: dict[str, str] = {}
    number = first
    while True:
        loop.outcomes.clear()
        for _ in range(5):
            loop.submit(announced, f"{number:04}")
            number += 1
        outcomes = loop.until_outcomes(5)
        errors = [error for _, error in outcomes if error is not None]
        if errors:
            assert len(errors) == 5, outcomes
            assert all(isinstance(error, StoreError) for error in errors)
            assert len({id(error) for error in errors}) == 5, "errors are not shared"
            return acknowledged, str(errors[0])
        acknowledged.update({name: BODY for name, _ in outcomes})
        assert number < 1000, "the disk has no end"


def announced(tx: Transaction, name: str) -> str:
    tx.announce("anna", {"name": name})
    return put(tx, name, BODY)


def told(loop: Loop) -> set[str]:
    return {event[1]["name"] for event in loop.events if event[0] == "anna"}


def full(folder: Path) -> None:
    """The disk fills up; what is there can be read; space comes back, and all goes on."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(700_000))
    path = folder / "game.sqlite"
    with Loop(path, batch_seconds=NEVER, batch_writes=5) as loop:
        acknowledged, reason = write_until_refused(loop)
        assert FULL in reason, reason
        assert acknowledged
        assert loop.ask(bodies) == acknowledged
        assert told(loop) == set(acknowledged)
        assert "nothing can be written" in loop.stream.getvalue()
        assert loop.store.figures()["store_failures"] > 0
        nothing, reason = write_until_refused(loop, 500)
        assert not nothing and FULL in reason
        ballast.unlink()
        more, reason = write_until_refused(loop, 1000 - 400)
        assert more and FULL in reason
        acknowledged.update(more)
        assert loop.ask(bodies) == acknowledged
    with Loop(path) as loop:
        assert loop.ask(bodies) == acknowledged


def log_full(folder: Path) -> None:
    """The log has filled the disk, and the database has room for what is in it: one batch fails, and no more."""
    path = folder / "game.sqlite"

    def change(tx: Transaction, number: int) -> int:
        tx.execute("UPDATE documents SET body = ?, version = ?", (chr(97 + number % 26) * 20_000, number))
        return number

    with Loop(path) as loop:
        loop.ask(put, "a")
        for number in range(1, 5):
            loop.ask(change, number)
    with Loop(path) as loop:
        failures: list[int] = []
        last = 4
        for number in range(5, 400):
            try:
                last = loop.ask(change, number)
            except StoreError as refused:
                assert FULL in str(refused)
                failures.append(number)
            assert loop.ask(lambda tx: tx.one("SELECT version FROM documents")) == (last,)
        assert failures, "the disk is too large for this"
        assert all(after - before > 1 for before, after in pairwise(failures)), failures


def large_operation(folder: Path) -> None:
    """One operation alone is more than the disk holds."""

    def large(tx: Transaction) -> None:
        for number in range(500):
            put(tx, f"large {number}", BODY)

    with Loop(folder / "game.sqlite", batch_seconds=NEVER, batch_writes=2) as loop:
        loop.submit(announced, "a")
        loop.submit(large)
        loop.until_performed(2)
        loop.submit(announced, "b")
        loop.submit(announced, "c")
        outcomes = loop.until_outcomes(3)
        loop.turn()
        _, error = outcomes[1]
        assert isinstance(error, StoreError) and FULL in str(error), outcomes
        acknowledged = {name for name, error in outcomes if error is None}
        loop.submit(announced, "d")
        loop.until_performed(5)
        loop.close()
        acknowledged |= {name for name, error in loop.outcomes if error is None}
        assert "d" in acknowledged
        assert told(loop) == acknowledged
    with Loop(folder / "game.sqlite") as loop:
        assert set(loop.ask(bodies)) == acknowledged


def full_at_start(folder: Path) -> None:
    ballast = folder / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        os.close(descriptor)
    try:
        Loop(folder / "game.sqlite")
    except StoreError as refused:
        assert FULL in str(refused) or "No space left" in str(refused), refused
        assert "game.sqlite" in str(refused)
    else:
        raise AssertionError("it opened")
    ballast.unlink()
    with Loop(folder / "game.sqlite") as loop:
        loop.ask(put, "a")


def read_only_at_start(folder: Path) -> None:
    with Loop(folder / "data" / "game.sqlite") as loop:
        loop.ask(put, "a")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    for path in (folder / "data" / "game.sqlite", folder / "other" / "game.sqlite", folder / "game.sqlite"):
        try:
            Loop(path)
        except StoreError as refused:
            assert "Read-only file system" in str(refused), refused
            assert str(folder) in str(refused)
        else:
            raise AssertionError("it opened")


def failing(folder: Path) -> None:
    """Writing fails, but not for lack of space: here the file may not grow."""
    with Loop(folder / "game.sqlite", batch_seconds=NEVER, batch_writes=5) as loop:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        acknowledged, reason = write_until_refused(loop)
        assert acknowledged
        assert "the disk reports an error" in reason or FULL in reason, reason
        assert loop.ask(bodies) == acknowledged
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        more, _ = write_until_refused(loop, 500)
        assert more
        acknowledged.update(more)
    with Loop(folder / "game.sqlite") as loop:
        assert loop.ask(bodies) == acknowledged


def backup_without_space(folder: Path) -> None:
    """A backup that would fill the disk is not begun."""
    with Loop(folder / "game.sqlite") as loop:
        loop.ask(put, "a")
        came = loop.backup(folder / "copy")
        loop.until(lambda: bool(came))
        ((size, error),) = came
        assert size is None and "too little space" in str(error), came
        assert not any(name.startswith("copy") for name in os.listdir(folder))
        loop.ask(put, "b")


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (full, log_full, large_operation, full_at_start, read_only_at_start, failing, backup_without_space)
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))

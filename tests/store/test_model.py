"""Any operations in any batches: what came of each is what would have come of it alone, and what was told is there."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as some

import tests.support.reproducible  # noqa: F401
from gsrt.backend.call import Failure
from gsrt.store.store import Transaction
from tests.store.rig import NEVER, Loop, names, put

NAMES = some.sampled_from("abcdef")


def put_and_fail(tx: Transaction, name: str) -> None:
    put(tx, name)
    tx.announce("anna", {"name": name})
    raise Failure(name=name)


def remove(tx: Transaction, name: str) -> int:
    tx.announce("anna", {"name": name})
    return tx.execute("DELETE FROM documents WHERE id = ?", (name,)).rowcount


STEPS = some.one_of(
    some.tuples(some.sampled_from([put, put_and_fail, remove]), NAMES),
    some.tuples(some.just(names)),
)


@settings(max_examples=25)  # each opens a database twice
@given(some.lists(STEPS, max_size=25), some.integers(1, 6), some.sampled_from([0.0, 0.002, NEVER]))
def test_batches_are_not_seen(steps: list[tuple[object, ...]], batch_writes: int, batch_seconds: float) -> None:
    there: set[str] = set()
    expected: list[object] = []
    announced: list[object] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "game.sqlite"
        with Loop(path, batch_seconds=batch_seconds, batch_writes=batch_writes) as loop:
            for operation, *arguments in steps:
                loop.submit(operation, *arguments)  # type: ignore[arg-type]
                name = str(arguments[0]) if arguments else ""
                if operation is names:
                    expected.append(sorted(there))
                elif operation is remove:
                    expected.append(len(there & {name}))
                    announced.append(("anna", {"name": name}))
                    there.discard(name)
                elif name in there:
                    expected.append(sqlite3.IntegrityError)
                else:
                    expected.append(Failure if operation is put_and_fail else name)
                    there |= {name} if operation is put else set()
        assert [type(error) if error is not None else result for result, error in loop.outcomes] == expected
        assert [event for event in loop.events if event[0] == "anna"] == announced
        with Loop(path) as loop:
            assert loop.ask(names) == sorted(there)

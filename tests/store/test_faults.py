"""Disks that are full, read-only or failing: what is told, what stays, and that it goes on afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsrt.store.batches import Batches
from gsrt.store.store import StoreError, Transaction
from tests.store.on_small_disk import SCENARIOS, run
from tests.store.rig import NEVER, Loop, bodies, names, put


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_on_a_small_disk(scenario: str, tmp_path: Path) -> None:
    why = run(scenario, tmp_path)
    if why is not None:
        pytest.skip(f"no disk of its own to be had: {why}")


def fill(tx: Transaction, count: int) -> None:
    for number in range(count):
        put(tx, f"fill {number}", "x" * 10_000)


def at_most(tx: Transaction, pages: int) -> None:
    tx.execute(f"PRAGMA max_page_count = {pages}")


def test_an_operation_that_finds_the_database_full_is_undone_and_later_ones_are_not(tmp_path: Path) -> None:
    """SQLite may then undo the whole transaction by itself: nobody of the batch was told anything else yet."""
    with Loop(tmp_path / "game.sqlite", batch_seconds=NEVER, batch_writes=2) as loop:
        (pages,) = loop.ask(lambda tx: tx.one("PRAGMA page_count"))
        loop.ask(at_most, pages + 10)
        loop.submit(put, "a")
        loop.submit(fill, 100)
        for _, error in loop.until_outcomes(2):
            assert isinstance(error, StoreError)
            assert "the disk is full: free some space" in str(error)
        assert loop.ask(names) == []
        loop.submit(put, "b")
        loop.submit(put, "c")
        assert loop.until_outcomes(4)[2:] == [("b", None), ("c", None)]
        assert loop.ask(names) == ["b", "c"]


@pytest.mark.parametrize("swallow", [False, True])
def test_a_transaction_that_is_undone_within_an_operation_fails_as_a_whole(tmp_path: Path, swallow: bool) -> None:
    """As SQLite does by itself after some errors of the disk."""

    def undone(tx: Transaction) -> None:
        put(tx, "b")
        tx.execute("ROLLBACK")
        try:
            put(tx, "c")
        except StoreError:
            if not swallow:
                raise

    with Loop(tmp_path / "game.sqlite", batch_seconds=NEVER, batch_writes=10) as loop:
        loop.submit(put, "a")
        loop.submit(undone)
        outcomes = loop.until_outcomes(2)
        assert all(isinstance(error, StoreError) for _, error in outcomes)
        assert loop.ask(bodies) == {}
        assert "nothing can be written" in loop.stream.getvalue()
        loop.submit(put, "d")
        loop.until_performed(4)
        assert loop.store.waiting == 1
    assert loop.outcomes[-1] == ("d", None)


def test_a_fault_of_the_store_s_own_is_told_and_its_thread_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loop(tmp_path / "game.sqlite", batch_seconds=NEVER, batch_writes=3) as loop:
        loop.submit(put, "a")
        loop.until_performed(1)
        with monkeypatch.context() as patched:
            patched.setattr(Batches, "_do", lambda batches, job: 1 / 0)
            loop.submit(put, "b")
            outcomes = loop.until_outcomes(2)
        assert [(result, type(error)) for result, error in outcomes] == [(None, StoreError)] * 2
        assert "nothing can be written" in loop.stream.getvalue()
        for name in ("c", "d", "e"):
            loop.submit(put, name)
        loop.until_outcomes(5)
        assert loop.ask(names) == ["c", "d", "e"]

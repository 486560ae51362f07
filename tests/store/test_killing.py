"""A process killed while it writes: nothing acknowledged is lost, nothing is there by halves."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.store.killing import Died, buy, check, register, until_killed
from tests.store.rig import Loop

RUNS = 6


def test_what_a_killed_process_has_acknowledged_is_there(tmp_path: Path) -> None:
    path = tmp_path / "game.sqlite"
    chance = random.Random("moments")
    acknowledged: list[str] = []
    for seed in range(RUNS):
        command = [sys.executable, "-m", "tests.store.killing", str(path), str(seed)]
        acknowledged += until_killed(command, chance, lines=300)
        assert check(path, acknowledged) >= len(acknowledged)
    assert len(acknowledged) > RUNS


def test_a_program_that_ends_by_itself_is_no_killed_one() -> None:
    with pytest.raises(Died, match="exit status 3"):
        until_killed([sys.executable, "-c", "raise SystemExit(3)"], random.Random(1), lines=5)


def test_the_check_finds_what_is_lost_or_there_by_halves(tmp_path: Path) -> None:
    path = tmp_path / "game.sqlite"

    def spoil(sql: str) -> None:
        with Loop(path) as loop:
            loop.ask(lambda tx: tx.execute(sql).rowcount)

    with Loop(path) as loop:
        lines = [loop.ask(register, 1), loop.ask(buy, 2, "p1"), loop.ask(register, 3)]
    assert check(path, lines) == 3
    with pytest.raises(AssertionError, match="lost"):
        check(path, [*lines, "buy 4"])
    spoil("UPDATE balances SET amount = amount + 1 WHERE player = 'p1'")
    with pytest.raises(AssertionError, match="balances"):
        check(path, lines)
    spoil("DELETE FROM ledger WHERE reason = '2' AND kind = 'good'")
    with pytest.raises(AssertionError, match="by halves"):
        check(path, lines)
    spoil("DELETE FROM ledger WHERE reason = '3'")
    with pytest.raises(AssertionError, match="without the first gift"):
        check(path, lines)

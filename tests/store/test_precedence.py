"""The loop goes first: the store's thread performs nothing while a turn lasts, and is not kept waiting for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsrt.store.precedence import Precedence
from tests.store.rig import NEVER, Loop, put


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "game.sqlite"


def test_an_operation_waits_for_the_end_of_the_turn(path: Path) -> None:
    with Loop(path) as loop:
        precedence = loop.store.precedence = Precedence(NEVER)
        for number in range(3):
            precedence.turn_begins()
            loop.submit(put, f"document {number}")
            loop.until(lambda: precedence.is_waited_for)
            assert loop.store.figures()["store_operations"] == number
            precedence.turn_ends()
            loop.until_performed(number + 1)
        loop.until_outcomes(3)


def test_between_two_turns_nothing_waits(path: Path) -> None:
    with Loop(path) as loop:
        precedence = loop.store.precedence = Precedence(NEVER)
        precedence.turn_begins()
        precedence.turn_ends()
        loop.submit(put, "document")
        assert loop.until_outcomes(1) == [("document", None)]


def test_turns_without_end_do_not_stop_the_store(path: Path) -> None:
    with Loop(path) as loop:
        precedence = loop.store.precedence = Precedence(0.001)
        precedence.turn_begins()
        for number in range(20):
            loop.submit(put, f"document {number}")
        assert len(loop.until_outcomes(20)) == 20


def test_an_end_that_nobody_waits_for_any_more_does_no_harm() -> None:
    precedence = Precedence(0.0)
    precedence.turn_begins()
    precedence.give_way()
    precedence.turn_ends()
    precedence.turn_begins()
    precedence.give_way()
    assert not precedence.is_waited_for
    precedence.turn_ends()
    precedence.turn_ends()


def test_the_server_ends_in_the_midst_of_a_turn_and_everything_is_written(path: Path) -> None:
    with Loop(path) as loop:
        loop.store.precedence.turn_begins()
        for number in range(10):
            loop.submit(put, f"document {number}")
        loop.store.close()
        assert len(loop.outcomes) == 10

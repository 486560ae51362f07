"""Lines of scripts that the game's database keeps: written once a second, bounded, there after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gsrt.backend import journal
from gsrt.scripts.journal import LINES_WAITING_MAX, WRITE_SECONDS
from gsrt.store.store import StoreError
from tests.scripts.game_floor import GameFloor

ROWS_MAX = 50


@pytest.fixture
def floor() -> Iterator[GameFloor]:
    with GameFloor() as floor:
        floor.scripts.journal.keep_in(floor.store, floor.timers, lambda: floor.now, ROWS_MAX)
        yield floor


def kept(floor: GameFloor, after: int = 0, session: str | None = None) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = floor.stored(journal.after, after, session)
    return lines


def operations(floor: GameFloor) -> int:
    return int(floor.store.figures()["store_operations"])


def test_a_second_s_lines_are_one_operation(floor: GameFloor) -> None:
    before = operations(floor)
    for number in range(10):
        floor.scripts.journal.add("S", "a.py", "info", f"line {number}", at=5.0)
        floor.advance(WRITE_SECONDS / 20)
    floor.settle()
    assert operations(floor) == before
    floor.advance(WRITE_SECONDS)
    floor.settle()
    assert operations(floor) == before + 1
    lines = kept(floor)
    assert [each["text"] for each in lines] == [f"line {number}" for number in range(10)]
    assert lines[0] == {
        "number": 1,
        "time": 5.0,
        "session": "S",
        "script": "a.py",
        "level": "info",
        "text": "line 0",
        "suppressed": 0,
    }


def test_the_newest_rows_are_kept(floor: GameFloor) -> None:
    for group in range(4):
        for number in range(30):
            floor.scripts.journal.add("S", "a.py", "info", f"{group} {number}")
        floor.advance(WRITE_SECONDS)
        floor.settle()
    lines = kept(floor)
    assert [each["text"] for each in lines] == [f"2 {n}" for n in range(10, 30)] + [f"3 {n}" for n in range(30)]
    assert [each["number"] for each in lines] == list(range(71, 121))


def test_a_flood_within_a_second_is_bounded_and_told(floor: GameFloor) -> None:
    floor.scripts.journal.keep_in(floor.store, floor.timers, lambda: floor.now, 10_000)
    for number in range(LINES_WAITING_MAX + 7):
        floor.scripts.journal.add("S", "a.py", "info", str(number), suppressed=1)
    floor.advance(WRITE_SECONDS)
    (last,) = kept(floor, LINES_WAITING_MAX - 1)
    assert (last["text"], last["suppressed"]) == (str(LINES_WAITING_MAX - 1), 8)


def test_pages_and_sessions(floor: GameFloor) -> None:
    for number in range(20):
        floor.scripts.journal.add(f"S{number % 2}", "a.py", "info", str(number))
    floor.advance(WRITE_SECONDS)
    assert [each["text"] for each in kept(floor, 17)] == ["17", "18", "19"]
    assert [each["text"] for each in kept(floor, 10, "S1")] == ["11", "13", "15", "17", "19"]
    first = floor.stored(journal.after, 0, None, 3)
    assert [each["number"] for each in first] == [1, 2, 3]


def test_texts_that_no_database_takes(floor: GameFloor) -> None:
    floor.scripts.journal.add("S", "a\udc80.py", "info", "half \ud800 and \x00 and ü")
    floor.advance(WRITE_SECONDS)
    (line,) = kept(floor)
    assert (line["script"], line["text"]) == ("a?.py", "half ? and \x00 and ü")


def test_asked_for_older_lines_it_hands_over_those_of_this_moment(floor: GameFloor) -> None:
    found: list[Any] = []
    floor.scripts.journal.add("S", "a.py", "info", "just now")
    assert floor.scripts.journal.keeper is not None
    floor.scripts.journal.keeper.older(0, None, lambda lines, error: found.append(lines))
    floor.until(lambda: found)
    assert [each["text"] for each in found[0]] == ["just now"]


def test_the_last_lines_are_written_when_the_server_ends(floor: GameFloor) -> None:
    floor.scripts.journal.add("S", "a.py", "warn", "goodbye")
    floor.scripts.journal.close()
    floor.store.close()
    floor.scripts.journal.add("S", "a.py", "warn", "nobody keeps this")
    floor.advance(WRITE_SECONDS)
    floor.store = floor.open_store()
    assert [each["text"] for each in kept(floor)] == ["goodbye"]


def test_a_store_that_takes_nothing_costs_the_lines_and_a_line_in_the_log(floor: GameFloor) -> None:
    floor.store.close()
    floor.scripts.journal.add("S", "a.py", "warn", "lost")
    floor.advance(WRITE_SECONDS)
    assert "lines of scripts were not kept" in floor.lines_logged.getvalue()
    assert floor.texts() == ["lost"]
    assert floor.scripts.journal.keeper is not None
    with pytest.raises(StoreError):
        floor.scripts.journal.keeper.older(0, None, lambda lines, error: None)

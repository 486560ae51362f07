"""Log lines: their shape, their rate and what happens when nobody takes them."""

from __future__ import annotations

import io
import os
import shlex
import termios

import pytest

from gsrt.log import KINDS_MAX, LIMITED_SECONDS, VALUE_CHARACTERS_MAX, Log


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Written:
    """A log, what it has written, and its clock."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.clock = Clock()
        self.log = Log(self.stream, self.clock)

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def written() -> Written:
    return Written()


def test_an_event_is_one_line_of_level_event_and_fields_in_order(written: Written) -> None:
    written.log.info("listening", host="0.0.0.0", port=8784)
    written.log.warn("peer-cut", peer=3, seconds=0.1 + 0.2, limit=1e9)
    written.log.error("no-certificate")
    assert written.lines() == [
        "info listening host=0.0.0.0 port=8784",
        "warn peer-cut peer=3 seconds=0.3 limit=1e+09",
        "error no-certificate",
    ]


@pytest.mark.parametrize(
    "value",
    ["two words", "", 'a "quote"', "back\\slash", "line\nbreak\r", "a=b", "\x1b[31mred", "é", "\udcff", "\0"],
)
def test_a_value_from_a_stranger_stays_one_value_on_one_line(written: Written, value: str) -> None:
    written.log.info("login", player=value, peer=1)
    (line,) = written.lines()
    assert line.isascii()
    assert line.isprintable()
    assert [word.partition("=")[0] for word in shlex.split(line)] == ["info", "login", "player", "peer"]


def test_a_long_value_is_cut(written: Written) -> None:
    written.log.info("login", player="x" * 100_000)
    assert written.lines() == [f"info login player={'x' * VALUE_CHARACTERS_MAX}..."]


def test_a_field_that_is_none_is_left_out(written: Written) -> None:
    written.log.info("lost", reason=None, peer=0)
    assert written.lines() == ["info lost peer=0"]


def test_a_field_may_be_called_like_a_parameter(written: Written) -> None:
    written.log.info("odd", event="e")
    written.log.limited("warn", "k", "odd", kind="a", level="b", event="c")
    assert written.lines() == ["info odd event=e", "warn odd kind=a level=b event=c"]


def test_limited_writes_one_line_in_five_seconds_and_then_says_how_many_were_kept_back(written: Written) -> None:
    for _ in range(1000):
        written.log.limited("warn", "drop", "dropped", peer=1)
    written.clock.now += LIMITED_SECONDS - 0.001
    written.log.limited("warn", "drop", "dropped", peer=2)
    assert written.lines() == ["warn dropped peer=1"]
    written.clock.now += 0.001
    written.log.limited("warn", "drop", "dropped", peer=3)
    assert written.lines()[1:] == ["warn dropped peer=3 suppressed=1000"]
    written.clock.now += LIMITED_SECONDS
    written.log.limited("warn", "drop", "dropped", peer=4)
    assert written.lines()[2:] == ["warn dropped peer=4"]


def test_kinds_are_limited_apart_from_each_other(written: Written) -> None:
    written.log.limited("warn", "one", "first")
    written.log.limited("error", "two", "second")
    assert written.lines() == ["warn first", "error second"]


def test_a_clock_that_goes_back_does_not_silence_a_kind(written: Written) -> None:
    written.log.limited("warn", "kind", "before")
    written.clock.now -= 500
    written.log.limited("warn", "kind", "after")
    assert written.lines() == ["warn before", "warn after"]


def test_the_kinds_remembered_are_bounded_and_the_oldest_is_forgotten(written: Written) -> None:
    for number in range(KINDS_MAX + 1):
        written.log.limited("info", f"kind-{number}", "event", number=number)
    written.log.limited("info", f"kind-{KINDS_MAX}", "event", number=-1)  # remembered: no line
    written.log.limited("info", "kind-0", "event", number=-2)  # forgotten: a line
    assert written.lines()[KINDS_MAX + 1 :] == ["info event number=-2"]


def test_a_stream_that_takes_nothing_does_not_stop_the_server() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    log = Log(Full(), Clock())
    log.error("trouble")
    assert log.lost == 1

    closed = io.StringIO()
    closed.close()
    log = Log(closed, Clock())
    log.error("trouble")
    log.info("more")
    assert log.lost == 2


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_stream_that_nobody_reads_is_not_waited_for(kind: str) -> None:
    """An unread pipe, or a terminal whose output is stopped: lines are lost and counted, the server goes on."""
    reading, writing = os.pipe() if kind == "pipe" else os.openpty()
    if kind == "terminal":
        termios.tcflow(writing, termios.TCOOFF)
    try:
        with open(writing, "w", closefd=False) as stream:
            log = Log(stream, lambda: 0.0)
            for number in range(5000):
                log.info("event", number=number, text="x" * 100)
            assert log.lost > 0
    finally:
        if kind == "terminal":
            termios.tcflow(writing, termios.TCOON)
        os.close(writing)
        os.close(reading)


def test_over_the_limit_lines_are_counted_and_the_next_line_tells(written: Written) -> None:
    written.log.limit(lines_per_second=2.0, burst=5)
    for number in range(9):
        written.log.info("join", peer=number)
    assert written.lines() == [f"info join peer={number}" for number in range(5)]
    assert written.log.suppressed == 4
    written.clock.now += 0.5
    written.log.info("join", peer=9)
    written.log.info("join", peer=10)
    assert written.lines()[5:] == ["warn log lines suppressed lines=4", "info join peer=9"]
    written.clock.now += 3600.0
    for number in range(11, 20):
        written.log.info("join", peer=number)
    assert written.lines()[7:9] == ["warn log lines suppressed lines=1", "info join peer=11"]
    assert len(written.lines()) == 7 + 1 + 5
    assert (written.log.suppressed, written.log.lost) == (9, 0)


def test_the_last_tenth_of_the_lines_at_once_is_kept_for_errors(written: Written) -> None:
    written.log.limit(lines_per_second=0.1, burst=20)
    for _ in range(30):
        written.log.warn("flood")
    for _ in range(3):
        written.log.error("the disk is full")
    assert [line.split()[0] for line in written.lines()].count("error") == 2
    assert written.lines()[18:20] == ["warn log lines suppressed lines=12", "error the disk is full"]


def test_with_room_for_one_line_at_once_every_level_gets_it(written: Written) -> None:
    written.log.limit(lines_per_second=1.0, burst=1)
    for level in ("info", "warn", "error"):
        getattr(written.log, level)("event")
        written.clock.now += 1.0
    assert [line.split()[0] for line in written.lines()] == ["info", "warn", "error"]


def test_a_clock_that_stands_still_or_goes_back_makes_no_room(written: Written) -> None:
    written.log.limit(lines_per_second=1000.0, burst=1)
    written.log.info("event")
    written.clock.now -= 10.0
    written.log.info("event")
    assert len(written.lines()) == 1


def test_without_a_limit_every_line_is_written(written: Written) -> None:
    for _ in range(5000):
        written.log.info("event")
    assert len(written.lines()) == 5000

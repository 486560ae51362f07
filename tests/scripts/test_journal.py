"""The ring of what scripts have written, and how much one script may write."""

from __future__ import annotations

import io

import pytest

from gsrt.log import Log
from gsrt.scripts.journal import Journal, LineBudget


class Written:
    """A journal, and the server's log that it writes to."""

    def __init__(self, lines_max: int = 5, **limits: int) -> None:
        self.output = io.StringIO()
        self.now = 1_700_000_000.0
        self.journal = Journal(lines_max, Log(self.output, lambda: 0.0), lambda: self.now, **limits)

    def add(self, *texts: str, session: str = "S") -> None:
        for text in texts:
            self.journal.add(session, "ships.py", "info", text)

    def texts_after(self, number: int, session: str | None = None, limit: int = 200) -> tuple[list[object], int]:
        entries, last = self.journal.after(number, session, limit)
        return [entry["text"] for entry in entries], last


@pytest.fixture
def written() -> Written:
    return Written()


def test_a_line_says_when_where_and_how_serious(written: Written) -> None:
    written.journal.add("S1", "ships.py", "warn", "low fuel", at=12.5)
    written.journal.add("S2", "chat.py", "debug", "hello", suppressed=3)
    assert written.journal.after(0) == (
        [
            {
                "number": 1,
                "time": 12.5,
                "session": "S1",
                "script": "ships.py",
                "level": "warn",
                "text": "low fuel",
                "suppressed": 0,
            },
            {
                "number": 2,
                "time": 1_700_000_000.0,
                "session": "S2",
                "script": "chat.py",
                "level": "debug",
                "text": "hello",
                "suppressed": 3,
            },
        ],
        2,
    )
    assert written.output.getvalue().splitlines() == [
        'warn script session=S1 script=ships.py level=warn text="low fuel"',
        "info script session=S2 script=chat.py level=debug text=hello suppressed=3",
    ]


def test_an_error_is_an_error_in_the_log_too(written: Written) -> None:
    written.journal.add("S1", "ships.py", "error", "lost")
    assert written.output.getvalue() == "error script session=S1 script=ships.py level=error text=lost\n"


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred\r", "a=b level=error", "\udcff\0", 'a "quote"\\'])
def test_whatever_a_script_writes_is_one_value_of_one_line_of_the_log(written: Written, text: str) -> None:
    written.add(text)
    (line,) = written.output.getvalue().splitlines()
    assert line.isascii() and line.isprintable()
    assert line.startswith('info script session=S script=ships.py level=info text="')
    assert line.endswith('"')
    assert written.texts_after(0) == ([text], 1)  # the ring has it as it was


def test_an_empty_ring_has_nothing(written: Written) -> None:
    assert written.journal.after(0) == ([], 0)
    assert written.journal.newest == 0


def test_the_newest_lines_are_kept_and_numbers_go_on(written: Written) -> None:
    written.add(*"abcdefgh")
    assert written.texts_after(0) == (list("defgh"), 8)
    assert written.journal.newest == 8
    assert [entry["number"] for entry in written.journal.after(0)[0]] == [4, 5, 6, 7, 8]
    for number, expected in ((3, "defgh"), (4, "efgh"), (7, "h"), (8, "")):
        assert written.texts_after(number) == (list(expected), 8)


def test_a_follower_that_asks_again_and_again_sees_each_line_once(written: Written) -> None:
    seen: list[object] = []
    last = 0
    for texts in ("ab", "", "cde", "f"):
        written.add(*texts)
        entries, last = written.texts_after(last, limit=10)
        seen += entries
    assert seen == list("abcdef")


def test_more_than_asked_for_comes_with_the_next_question(written: Written) -> None:
    written.add(*"abcde")
    assert written.texts_after(0, limit=2) == (["a", "b"], 2)
    assert written.texts_after(2, limit=2) == (["c", "d"], 4)
    assert written.texts_after(4, limit=2) == (["e"], 5)


def test_lines_of_one_session_only_and_the_number_passes_over_the_others() -> None:
    written = Written(10)
    for text in "abcdef":
        written.add(text, session="even" if text in "bdf" else "odd")
    assert written.texts_after(0, "even") == (["b", "d", "f"], 6)
    assert written.texts_after(0, "even", limit=2) == (["b", "d"], 5)
    assert written.texts_after(5, "even", limit=2) == (["f"], 6)
    assert written.texts_after(0, "neither") == ([], 6)


def test_a_number_of_a_server_before_gets_all_there_is(written: Written) -> None:
    written.add("a", "b")
    assert written.texts_after(900) == (["a", "b"], 2)


def test_a_long_line_is_cut() -> None:
    written = Written(characters_max=10)
    written.add("x" * 10, "y" * 11)
    assert written.texts_after(0)[0] == ["x" * 10, "y" * 10 + "..."]


def test_a_budget_lets_a_burst_through_and_then_so_many_a_second() -> None:
    budget = LineBudget(2, 3, now=100.0)
    assert [budget.take(100.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert budget.take(100.4) is None
    assert budget.take(100.5) == 3
    assert budget.take(100.5) is None
    assert [budget.take(1000.0) for _ in range(4)] == [1, 0, 0, None]


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    budget = LineBudget(10, 1, now=100.0)
    assert budget.take(100.0) == 0
    assert budget.take(50.0) is None
    assert budget.take(50.0) is None
    assert budget.take(50.1) == 2

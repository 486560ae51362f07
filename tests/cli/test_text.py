"""Text for people."""

from __future__ import annotations

import pytest

from gsrt.cli.text import amount, columns, count, duration, printable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (86400, "1 d"),
        (90061, "1 d 1 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_columns_align_numbers_to_the_right_and_words_to_the_left() -> None:
    assert columns([("a", 1, "x"), ("bbb", 100, "yy")]) == "  a      1  x\n  bbb  100  yy"


def test_columns_leave_no_blanks_at_the_end_of_a_line() -> None:
    assert columns([("a", "b"), ("a", "bbb")]).splitlines()[0] == "  a  b"


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert printable("\x1b[2J\udcff\n") == r"\x1b[2J\udcff\n"
    assert printable("Zoë 木") == "Zoë 木"


def test_counts_agree_with_their_noun() -> None:
    assert [count(n, "player") for n in (0, 1, 2)] == ["0 players", "1 player", "2 players"]


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (16, "sessions", "16 sessions"),
        (0.25, "seconds", "0.25 seconds"),
        (3.0, "seconds", "3 seconds"),
        (7, "", "7"),
        (1024, "bytes", "1024 bytes"),
        (65536, "bytes", "65536 bytes (64 KiB)"),
        (16_000_000, "bytes a second", "16000000 bytes a second (15.3 MiB)"),
        (3 << 30, "bytes", "3221225472 bytes (3 GiB)"),
    ],
)
def test_an_amount_has_its_unit_and_many_bytes_a_larger_one(number: float, unit: str, text: str) -> None:
    assert amount(number, unit) == text

"""What a check has found, and the worst of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.doctor.finding import TEXT_CHARACTERS_MAX, Finding, worst


def test_the_worst_counts() -> None:
    assert worst([]) == "ok"
    assert worst(["ok", "ok"]) == "ok"
    assert worst(["ok", "warn", "ok"]) == "warn"
    assert worst(["warn", "fail", "ok"]) == "fail"


@settings(deadline=None, derandomize=True)
@given(st.text(), st.text())
def test_whatever_was_found_is_one_printable_line(found: str, todo: str) -> None:
    finding = Finding("warn", found, todo)
    for text in (finding.found, finding.todo):
        assert text == "" or text.isprintable()
        assert len(text) <= TEXT_CHARACTERS_MAX


def test_a_terminal_is_not_played_tricks_on() -> None:
    assert Finding("ok", "a\x1b[2Jb\nc\td").found == "a?[2Jb c d"

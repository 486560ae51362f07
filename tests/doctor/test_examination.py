"""Check after check, each in its time."""

from __future__ import annotations

import threading

import pytest

from gsrt.doctor.examination import ALL_SECONDS, CHECK_SECONDS, CHECKS, examine
from gsrt.doctor.finding import Finding, ok
from gsrt.doctor.surroundings import Surroundings
from tests.doctor.box import Box


@pytest.fixture
def never() -> threading.Event:
    return threading.Event()


def test_findings_come_in_order(box: Box) -> None:
    checks = [(name, lambda seen, name=name: ok(name)) for name in ("one", "two")]
    assert [(name, finding.found) for name, finding in examine(box.surroundings(), checks)] == [
        ("one", "one"),
        ("two", "two"),
    ]


def test_a_check_that_hangs_is_left_behind(box: Box, never: threading.Event) -> None:
    def hang(seen: Surroundings) -> Finding:
        never.wait(60)
        return ok("too late")

    checks = [("hangs", hang), ("next", lambda seen: ok("fine"))]
    found = dict(examine(box.surroundings(), checks, check_seconds=0.05))
    never.set()
    assert found["hangs"].state == "fail"
    assert "no answer within" in found["hangs"].found
    assert found["next"].state == "ok"


def test_checks_for_which_there_is_no_time_are_told(box: Box) -> None:
    found = dict(examine(box.surroundings(), [("a", lambda seen: ok("fine"))], all_seconds=0.0))
    assert found["a"].state == "warn"
    assert "not looked at" in found["a"].found


def test_a_check_that_fails_itself_is_told(box: Box) -> None:
    def broken(seen: Surroundings) -> Finding:
        raise KeyError("surprise")

    found = dict(examine(box.surroundings(), [("broken", broken), ("next", lambda seen: ok("fine"))]))
    assert found["broken"].state == "warn"
    assert "surprise" in found["broken"].found
    assert found["next"].state == "ok"


def test_names_are_told_apart_and_the_whole_is_bounded() -> None:
    names = [name for name, _ in CHECKS]
    assert len(set(names)) == len(names)
    assert CHECK_SECONDS < ALL_SECONDS < 10


def test_a_bare_box_gets_through_every_check(box: Box) -> None:
    """No file, no program, no server: nothing can be told, and nothing breaks."""
    found = dict(examine(box.surroundings()))
    assert list(found) == [name for name, _ in CHECKS]
    assert not [each for each in found.values() if "report this as a bug" in each.todo]
    for name, finding in found.items():
        assert finding.found, name
        assert finding.todo or finding.state == "ok", name

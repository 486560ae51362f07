"""The schema of the profiles: it, what a server loads, every profile and docs/PROFILES.md say the same."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from gsrt.device.model import MEMORY_SHARE, PROMISES
from gsrt.profile import LIMITS, ORDER, Profile, available
from gsrt.profile_memory import worst_memory
from gsrt.profile_schema import GROUPS, KEYS
from tests.docs.profile_reference import (
    DOCUMENT,
    FOLDER,
    GENERIC,
    commented_generic,
    comments,
    head,
    memory_lines,
    values,
    with_reference,
)

PROFILES = sorted(FOLDER.glob("*.toml"))
BOARDS = [path for path in PROFILES if path != GENERIC]
# A comment that goes on so says why a number is another than in generic.toml.
REASON = " Here: "


def test_the_schema_has_every_key_and_no_other() -> None:
    assert set(KEYS) == set(LIMITS)


@pytest.mark.parametrize("name", KEYS)
def test_every_key_says_what_it_is(name: str) -> None:
    key = KEYS[name]
    assert key.group in GROUPS
    assert key.unit or name == "script_off_op_code"
    assert key.text == key.text.strip()
    assert key.text.endswith(".")
    assert len(key.summary) > 15
    assert key.text.startswith(key.summary[:-1])
    assert "|" not in key.text


@pytest.mark.parametrize(
    ("ending", "units"),
    [
        ("_seconds", {"seconds"}),
        ("_ms", {"milliseconds"}),
        ("_bytes_max", {"bytes"}),
        ("_percent", {"percent"}),
        ("_celsius", {"degrees Celsius"}),
        ("_kb", {"KiB"}),
    ],
)
def test_units_are_those_that_names_promise(ending: str, units: set[str]) -> None:
    assert {key.unit for name, key in KEYS.items() if name.endswith(ending)} == units


def test_every_group_is_used_and_its_keys_are_together() -> None:
    groups = [key.group for key in KEYS.values()]
    assert list(dict.fromkeys(groups)) == list(GROUPS)
    assert groups == sorted(groups, key=list(GROUPS).index)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_holds_the_keys_in_the_order_of_the_schema(path: Path) -> None:
    assert list(tomllib.loads(path.read_text())) == list(KEYS)


def test_the_comments_of_generic_are_those_of_the_schema() -> None:
    text = GENERIC.read_text()
    assert text == commented_generic(text), "write them anew: python -m tests.docs.profile_reference"


def test_the_document_is_that_of_the_schema() -> None:
    text = DOCUMENT.read_text()
    assert text == with_reference(text), "write it anew: python -m tests.docs.profile_reference"
    for name in KEYS:
        assert f"| {name} | " in text


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_key_of_a_board_has_its_line_and_every_other_number_a_reason(path: Path) -> None:
    found, generic, here = comments(path), values("generic"), values(path.stem)
    for name, key in KEYS.items():
        comment, reason, why = found[name].partition(REASON)
        assert comment == key.summary, name
        assert bool(reason) == (here[name] != generic[name]), name
        assert not reason or why.endswith("."), name


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_first_line_says_what_a_profile_is_for(path: Path) -> None:
    first = head(path)[0]
    assert first.endswith(".")
    assert 10 < len(first) < 80  # it fits a line of `gsrt profile list`
    assert all(len(line) <= 120 for line in path.read_text().splitlines())


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_all_limits_at_once_stay_below_the_promise_and_the_sum_is_written_down(path: Path) -> None:
    profile = Profile.load(path.stem)
    parts = worst_memory(values(path.stem))
    assert sum(part.bytes for part in parts) <= profile.memory_bytes_max
    lines = head(path)
    first = lines.index(memory_lines(path.stem)[0])
    assert lines[first:] == memory_lines(path.stem)
    assert any(f"({'memory_bytes_max'}) is {profile.memory_bytes_max >> 20} MiB" in line for line in lines)


@pytest.mark.parametrize("name", ["pi-zero-w", "pi-zero-2-w"])
def test_boards_of_512_mb_promise_64_mib_for_16_sessions_of_8(name: str) -> None:
    profile = Profile.load(name)
    assert profile.memory_bytes_max == 64 << 20
    assert profile.sessions_max >= 16
    assert profile.players_per_session_max >= 8
    assert profile.players_max >= 16 * 8
    assert profile.connections_max >= 2 * 16 * 8  # one for play and one for the platform


@pytest.mark.parametrize("name", PROMISES)
def test_the_choice_of_a_profile_knows_what_each_promises(name: str) -> None:
    promise, smaller = PROMISES[name]
    assert promise == Profile.load(name).memory_bytes_max
    assert smaller is None or PROMISES[smaller][0] < promise or smaller == "pi-zero-2-w"
    assert MEMORY_SHARE >= 2


def test_a_larger_board_is_nowhere_allowed_less() -> None:
    """Of what counts and sizes; times and marks may go either way."""
    order = ("pi-zero-w", "pi-zero-2-w", "pi-3b-plus", "pi-4", "pi-5")
    assert {*order, "generic", "pc"} == set(available())
    may_differ = {"tick_ms", "slow_tick_ms", "memory_slow_percent", "memory_refuse_percent", "password_passes"}
    for smaller, larger in pairwise(order):
        low, high = values(smaller), values(larger)
        for name, key in KEYS.items():
            if key.unit in ("bytes", "packets", "sessions", "players", "connections", "gas") and name not in may_differ:
                assert low[name] <= high[name], f"{name} of {smaller} and {larger}"


def test_what_may_not_be_larger_than_something_else_is_in_the_same_unit() -> None:
    for smaller, larger in ORDER:
        units = {KEYS[smaller].unit, KEYS[larger].unit}
        assert len(units) == 1 or units <= {"players", "connections", "bytes", "files"}

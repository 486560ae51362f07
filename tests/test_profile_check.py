"""Looking a profile through: what it finds is what the server refuses, whatever the file holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.support.reproducible  # noqa: F401 - importing it is what sets it
from gsrt.profile import LIMITS, ORDER, Profile, ProfileError
from gsrt.profile_check import DOUBTFUL, Checked
from tests.docs.profile_reference import GENERIC, values

KEYS = sorted(LIMITS)
NUMBERS = st.one_of(
    st.integers(-2, 1 << 41).map(str),
    st.floats(0, 1e5, allow_nan=False).map(lambda number: f"{number:.3f}"),
    st.sampled_from(["0", "1", "00", "1_000", "", "nan", "true", '"5"', "1e3", "9" * 5000]),
)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(KEYS), NUMBERS),
        st.tuples(st.just("drop"), st.sampled_from(KEYS), st.just("")),
        st.tuples(st.just("add"), st.sampled_from([*KEYS, "session_max", "", "[box]"]), NUMBERS),
    ),
    max_size=4,
)


def is_taken(path: Path) -> bool:
    """Whether the server would take it."""
    try:
        Profile.load(str(path))
    except ProfileError:
        return False
    return True


@given(CHANGES)
def test_check_and_the_server_are_of_one_opinion(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str, str]]
) -> None:
    lines = {key: f"{key} = {value}" for key, value in values("pi-4").items()}
    added = []
    for what, key, text in changes:
        if what == "set":
            lines[key] = f"{key} = {text}"
        elif what == "drop":
            lines.pop(key, None)
        else:
            added.append(f"{key} = {text}")
    path = tmp_path_factory.getbasetemp() / "changed.toml"
    path.write_text("\n".join([*lines.values(), *added]) + "\n")
    checked = Checked(str(path))
    assert is_taken(path) == (not checked.mistakes)
    assert not (checked.mistakes and checked.warnings)
    for mistake in checked.mistakes:
        assert 0 <= mistake.line <= len(lines) + len(added)
        assert mistake.text


@given(st.binary(max_size=400))
def test_whatever_the_file_holds_it_is_told(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.toml"
    path.write_bytes(content)
    assert Checked(str(path)).mistakes
    assert not is_taken(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_what_is_no_file_is_not_read(path: str) -> None:
    assert [each.text for each in Checked(path).mistakes] == ["this is no file"]


@pytest.mark.parametrize(("smaller", "larger"), ORDER)
def test_every_contradiction_is_told_with_both_lines(tmp_path: Path, smaller: str, larger: str) -> None:
    numbers = values("generic")
    numbers[larger] = max(LIMITS[larger][0], LIMITS[smaller][0])
    numbers[smaller] = numbers[larger] + 1
    path = tmp_path / "mine.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in numbers.items()))
    places = {key: number for number, key in enumerate(numbers, 1)}
    told = [mistake for mistake in Checked(str(path)).mistakes if mistake.text.startswith(f"{smaller} is ")]
    wanted = f"expected at most {larger}, which is {numbers[larger]} (line {places[larger]})"
    assert any(mistake.line == places[smaller] and wanted in mistake.text for mistake in told)


def test_doubts_are_about_keys_that_there_are() -> None:
    for smaller, larger, meaning in DOUBTFUL:
        assert {smaller, larger} <= LIMITS.keys()
        assert meaning
    assert {each.key for each in Checked(str(GENERIC)).warnings} == {"memory_bytes_max"}

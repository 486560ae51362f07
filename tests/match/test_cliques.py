"""The search for the largest set, exact within its bound."""

from __future__ import annotations

from itertools import combinations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gsrt.match.cliques import STEPS_MAX, largest_set


def is_set(rows: list[int], chosen: tuple[int, ...] | list[int]) -> bool:
    return all(rows[one] >> two & 1 for one, two in combinations(chosen, 2))


@st.composite
def graphs(draw: st.DrawFn) -> list[int]:
    size = draw(st.integers(0, 9))
    rows = [0] * size
    for one, two in combinations(range(size), 2):
        if draw(st.booleans()):
            rows[one] |= 1 << two
            rows[two] |= 1 << one
    return rows


@given(graphs(), st.integers(0, 10), st.integers(0, 10))
def test_the_first_of_the_largest_sets_is_found(rows: list[int], least: int, most: int) -> None:
    least = min(least, most)
    expected = None
    for size in range(most, least - 1, -1):
        expected = next((each for each in combinations(range(len(rows)), size) if is_set(rows, each)), None)
        if expected is not None:
            break
    found = largest_set(rows, least, most)
    assert found == (None if expected is None else list(expected))


def hard(size: int, wanted: int) -> list[int]:
    """Many triples that fit, few larger sets, and one set of `wanted` among the last."""
    random = Random(5)
    rows = [0] * size
    for one, two in combinations(range(size), 2):
        if random.random() < 0.5 or one >= size - wanted:
            rows[one] |= 1 << two
            rows[two] |= 1 << one
    return rows


def test_within_the_bound_it_is_exact_and_beyond_it_gives_what_it_has() -> None:
    rows = hard(90, 14)
    assert largest_set(rows, 14, 14, steps_max=10**9) is not None
    assert largest_set(rows, 14, 14, steps_max=50) is None
    early = largest_set(rows, 1, 14, steps_max=50)
    assert early is not None and 1 <= len(early) < 14 and is_set(rows, early)
    assert len(largest_set(rows, 1, 14, steps_max=10**9) or ()) == 14
    assert STEPS_MAX > 50

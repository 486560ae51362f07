"""Buckets: how much of something there may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gsrt.bucket import Bucket


def taken(bucket: Bucket, now: float, tries: int, keep: float = 0) -> int:
    """How many of so many TRIES at one moment were allowed."""
    return sum(bucket.take(now, keep) for _ in range(tries))


def test_a_burst_at_once_and_not_one_more() -> None:
    bucket = Bucket(2.0, 3, now=100.0)
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]


def test_one_more_when_its_time_is_over_and_not_before() -> None:
    bucket = Bucket(2.0, 1, now=100.0)
    assert bucket.take(100.0)
    assert not bucket.take(100.4375)
    assert bucket.take(100.5)  # what was refused has cost nothing
    assert not bucket.take(100.5)
    assert not bucket.take(100.9375)
    assert bucket.take(101.0)


def test_less_than_one_each_second() -> None:
    bucket = Bucket(0.125, 1, now=0.0)
    assert [now for now in range(33) if bucket.take(now)] == [0, 8, 16, 24, 32]


def test_a_bucket_that_holds_less_than_one_gives_nothing() -> None:
    bucket = Bucket(1000.0, 0.5, now=0.0)
    assert taken(bucket, 10.0, 5) == 0


def test_a_clock_that_stands_still_adds_nothing() -> None:
    bucket = Bucket(1_000_000.0, 10, now=5.0)
    assert taken(bucket, 5.0, 1000) == 10


def test_a_clock_that_goes_back_adds_nothing_and_is_the_clock_from_then_on() -> None:
    bucket = Bucket(10.0, 1, now=100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(50.0625)
    assert bucket.take(50.125)


def test_after_the_longest_silence_there_is_a_burst_and_not_more() -> None:
    bucket = Bucket(10_000.0, 7, now=0.0)
    for now in (1.0, 86_400.0, 1e9, 1e18):
        assert taken(bucket, now, 100) == 7


def test_what_is_kept_is_for_who_keeps_nothing() -> None:
    bucket = Bucket(1.0, 5, now=0.0)
    assert taken(bucket, 0.0, 10, keep=2) == 3
    assert taken(bucket, 0.0, 10) == 2
    # It is there again before anything else is.
    assert taken(bucket, 2.0, 10, keep=2) == 0
    assert taken(bucket, 2.9375, 10, keep=2) == 0
    assert taken(bucket, 3.0, 10, keep=2) == 1
    assert taken(bucket, 3.0, 10) == 2


def test_who_keeps_as_much_as_there_is_gets_nothing() -> None:
    bucket = Bucket(1.0, 4, now=0.0)
    assert taken(bucket, 1000.0, 10, keep=4) == 0
    assert taken(bucket, 1000.0, 10, keep=3) == 1


@given(
    per_second=st.integers(1, 1000),
    burst=st.integers(1, 100),
    pauses=st.lists(st.integers(0, 4096), max_size=60),
)
def test_never_more_than_the_burst_and_what_was_added(per_second: int, burst: int, pauses: list[int]) -> None:
    bucket = Bucket(per_second, burst, now=0.0)
    allowed, now = 0, 0.0
    for pause in pauses:
        now += pause / 1024  # exact in binary
        allowed += bucket.take(now)
    assert allowed <= burst + per_second * now
    assert taken(bucket, now + burst / per_second + 1, burst + 10) == burst

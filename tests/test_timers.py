"""Things to do later, on a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.support.reproducible  # noqa: F401 - importing it is what sets it
from gsrt.timers import CANCELLED_MAX, Timer, Timers


class Notes(list[tuple[object, float]]):
    """What has run, and at what time."""

    def __call__(self, name: object) -> Callable[[float], None]:
        return lambda now: self.append((name, now))


def test_nothing_is_due_before_its_time() -> None:
    timers, notes = Timers(), Notes()
    timers.set(5.0, notes("a"))
    assert timers.next() == 5.0
    timers.run(4.999)
    assert notes == []
    timers.run(5.0)
    assert notes == [("a", 5.0)]
    assert timers.next() is None
    timers.run(1e9)
    assert len(notes) == 1


def test_order_by_time_then_by_setting() -> None:
    timers, notes = Timers(), Notes()
    for name, when in (("c", 3.0), ("a", 1.0), ("b1", 2.0), ("b2", 2.0), ("b3", 2.0), ("past", -4.0)):
        timers.set(when, notes(name))
    timers.run(2.5)
    assert notes == [("past", 2.5), ("a", 2.5), ("b1", 2.5), ("b2", 2.5), ("b3", 2.5)]
    assert timers.next() == 3.0
    assert len(timers) == 1


def test_what_a_callback_sets_runs_next_time() -> None:
    timers = Timers()
    runs = []

    def again(now: float) -> None:
        runs.append(now)
        timers.set(now, again)

    timers.set(1.0, again)
    for now in (1.0, 2.0, 3.0):
        timers.run(now)
    assert runs == [1.0, 2.0, 3.0]
    assert timers.next() == 3.0
    assert timers.earliest <= 3.0


def test_one_that_sets_itself_into_the_past_keeps_nobody_waiting() -> None:
    timers, notes = Timers(), Notes()

    def again(now: float) -> None:
        timers.set(-1.0, again)

    timers.set(0.0, again)
    timers.set(1.0, notes("other"))
    for _ in range(3):
        timers.run(5.0)
    assert notes == [("other", 5.0)]


def test_cancelling() -> None:
    timers, notes = Timers(), Notes()
    timer = timers.set(1.0, notes("a"))
    timers.cancel(None)
    timers.cancel(timer)
    timers.cancel(timer)
    assert len(timers) == 0
    assert timers.next() is None
    timers.run(2.0)
    assert notes == []
    ran = timers.set(2.0, notes("b"))
    timers.run(2.0)
    timers.cancel(ran)
    assert len(timers) == 0


def test_a_callback_that_cancels_another_that_is_due() -> None:
    timers, notes = Timers(), Notes()
    timers.set(1.0, lambda now: timers.cancel(second))
    second = timers.set(1.0, notes("second"))
    timers.set(1.0, notes("third"))
    timers.run(1.0)
    assert notes == [("third", 1.0)]
    assert len(timers) == 0


def test_a_callback_that_cancels_itself() -> None:
    timers = Timers()
    timer = timers.set(1.0, lambda now: timers.cancel(timer))
    timers.run(1.0)
    assert len(timers) == 0


@pytest.mark.parametrize("count", [CANCELLED_MAX - 1, CANCELLED_MAX, CANCELLED_MAX + 1, 3 * CANCELLED_MAX])
def test_one_that_cancels_all_others_that_are_due(count: int) -> None:
    timers, notes = Timers(), Notes()
    others: list[Timer] = []

    def cancel_all(now: float) -> None:
        for each in others:
            timers.cancel(each)

    timers.set(1.0, cancel_all)
    others += [timers.set(1.0, notes(n)) for n in range(count)]
    timers.set(1.0, notes("kept"))
    timers.run(1.0)
    assert notes == [("kept", 1.0)]
    assert len(timers) == 0
    timers.set(2.0, notes("later"))
    assert len(timers) == 1


def test_cancelled_ones_do_not_pile_up() -> None:
    timers = Timers()
    for n in range(20 * CANCELLED_MAX):
        timers.cancel(timers.set(1e6 + n, lambda now: None))
        assert len(timers) == 0
    assert len(timers._heap) <= CANCELLED_MAX + 1


def test_one_that_raises_does_not_take_the_others_with_it() -> None:
    timers, notes = Timers(), Notes()

    def fail(now: float) -> None:
        raise RuntimeError("broken")

    timers.set(1.0, fail)
    timers.set(1.0, notes("after"))
    with pytest.raises(RuntimeError):
        timers.run(1.0)
    assert timers.earliest <= 1.0
    timers.run(1.0)
    assert notes == [("after", 1.0)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.integers(0, 50)),
            st.tuples(st.just("cancel"), st.integers(0, 100)),
            st.tuples(st.just("run"), st.integers(0, 10)),
        ),
        max_size=80,
    )
)
def test_against_a_list(steps: list[tuple[str, int]]) -> None:
    timers, notes = Timers(), Notes()
    handles: list[Timer] = []
    waiting: dict[int, int] = {}
    now = 0
    for what, number in steps:
        if what == "set":
            name = len(handles)
            handles.append(timers.set(float(now + number), notes(name)))
            waiting[name] = now + number
        elif what == "cancel" and handles:
            timers.cancel(handles[number % len(handles)])
            waiting.pop(number % len(handles), None)
        elif what == "run":
            now += number
            expected = sorted((name for name, when in waiting.items() if when <= now), key=lambda n: (waiting[n], n))
            notes.clear()
            timers.run(float(now))
            assert notes == [(name, float(now)) for name in expected]
            for name in expected:
                del waiting[name]
        assert len(timers) == len(waiting)
        assert timers.next() == (float(min(waiting.values())) if waiting else None)
        assert timers.earliest <= (min(waiting.values()) if waiting else timers.earliest)

"""The governor: marks, how they are left, what is told of them, and what no sequence of readings brings about."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.device.readings import FREQUENCY_CAPPED, TEMPERATURE_LIMITED, THROTTLED, UNDER_VOLTAGE, Readings
from gsrt.governor import CALM_SECONDS, LEVELS, LOOKS_IN_A_ROW, NORMAL, REFUSING, SLOWED, Governor
from gsrt.log import Log
from gsrt.profile import Profile

MEBIBYTE = 1 << 20
PROMISE = 64 * MEBIBYTE
GENERIC = Profile.load("generic")
LIMITS = {
    "memory_bytes_max": PROMISE,
    "players_per_session_max": 8,
    "stream_out_soft_bytes": 24_576,
    "stream_out_hard_bytes": 32_768,
    "script_memory_bytes": 0,  # what is kept free for one is no matter here
    "memory_slow_percent": 80,
    "memory_refuse_percent": 90,
    "free_memory_bytes_min": 32 * MEBIBYTE,
    "temperature_slow_celsius": 70.0,
    "temperature_refuse_celsius": 80.0,
    "loop_lag_slow_ms": 100.0,
    "loop_lag_refuse_ms": 1000.0,
    "cpu_slow_percent": 90,
    "disk_free_bytes_min": 64 * MEBIBYTE,
    "disk_bytes_per_hour": 36 * MEBIBYTE,
}


def changed_profile(**limits: float) -> Profile:
    profile = copy.copy(GENERIC)
    for key, value in (LIMITS | limits).items():
        setattr(profile, key, value)
    return profile


class Watched:
    """A governor, a clock that goes on by a second with each look, and what was logged."""

    def __init__(self, **limits: float) -> None:
        self.now = 1000.0
        self._lines = io.StringIO()
        self.governor = Governor(changed_profile(**limits), Log(self._lines, lambda: self.now))

    def look(self, seconds: float = 1.0, /, **figures: object) -> int:
        self.now += seconds
        return self.governor.decide(Readings(**figures), self.now)  # type: ignore[arg-type]

    def looks(self, count: int, **figures: object) -> list[int]:
        return [self.look(**figures) for _ in range(count)]

    @property
    def log(self) -> list[str]:
        return self._lines.getvalue().splitlines()


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_nothing_known_is_nothing_wrong(watched: Watched) -> None:
    assert watched.looks(20) == [NORMAL] * 20
    assert watched.governor.causes == {}
    assert watched.governor.refusal(0) is None
    assert watched.log == []


# (figures that are well, figures past the first mark, past the second, the cause)
MARKS = [
    ({"memory_bytes": 40 * MEBIBYTE}, {"memory_bytes": 52 * MEBIBYTE}, {"memory_bytes": 58 * MEBIBYTE}, "memory"),
    (
        {"memory_available_bytes": 100 * MEBIBYTE},
        {"memory_available_bytes": 47 * MEBIBYTE},
        {"memory_available_bytes": 31 * MEBIBYTE},
        "free memory",
    ),
    (
        {"disk_free_bytes": 500 * MEBIBYTE},
        {"disk_free_bytes": 95 * MEBIBYTE},
        {"disk_free_bytes": 64 * MEBIBYTE},
        "disk",
    ),
]


@pytest.mark.parametrize(("well", "slow", "refuse", "cause"), MARKS, ids=[each[3] for each in MARKS])
def test_marks_count_at_once_and_are_left_after_a_while(
    watched: Watched, well: dict[str, object], slow: dict[str, object], refuse: dict[str, object], cause: str
) -> None:
    assert watched.look(**well) == NORMAL
    assert watched.look(**slow) == SLOWED
    assert watched.look(**refuse) == REFUSING
    assert list(watched.governor.causes) == [cause]
    assert watched.looks(int(CALM_SECONDS), **well) == [REFUSING] * int(CALM_SECONDS)
    assert watched.look(**well) == NORMAL
    assert watched.governor.causes == {}
    told = [line.split(" text=")[0] for line in watched.log]
    name = f'"{cause}"' if " " in cause else cause
    assert told == [
        f"warn box strained cause={name} level=slowed",
        f"warn box strained cause={name} level=refusing",
        f"info box recovered cause={name}",
    ]


def test_heat_slows_at_once_and_refuses_when_it_stays(watched: Watched) -> None:
    assert watched.look(temperature_celsius=69.9) == NORMAL
    assert watched.look(temperature_celsius=70.0) == SLOWED
    assert watched.looks(LOOKS_IN_A_ROW, temperature_celsius=80.0) == [SLOWED] * (LOOKS_IN_A_ROW - 1) + [REFUSING]
    assert watched.looks(int(CALM_SECONDS), temperature_celsius=60.0) == [REFUSING] * int(CALM_SECONDS)
    assert watched.look(temperature_celsius=60.0) == NORMAL
    assert [line.split(" text=")[0] for line in watched.log] == [
        "warn box strained cause=temperature level=slowed",
        "warn box strained cause=temperature level=refusing",
        "info box recovered cause=temperature",
    ]


def test_a_spike_of_heat_keeps_nobody_out(watched: Watched) -> None:
    for _ in range(5):
        assert watched.looks(LOOKS_IN_A_ROW - 1, temperature_celsius=99.0) == [SLOWED] * (LOOKS_IN_A_ROW - 1)
        assert watched.governor.refusal(0) is None
        assert watched.look(temperature_celsius=79.9) == SLOWED
    # Nor do looks with one between them that knew nothing.
    assert watched.looks(LOOKS_IN_A_ROW - 1, temperature_celsius=99.0)[-1] == SLOWED
    assert watched.look() == SLOWED
    assert watched.look(temperature_celsius=99.0) == SLOWED


def test_a_spike_while_it_is_too_hot_begins_the_wait_anew(watched: Watched) -> None:
    overheat(watched)
    watched.looks(9, temperature_celsius=60.0)
    assert watched.look(temperature_celsius=85.0) == REFUSING
    assert watched.looks(10, temperature_celsius=60.0) == [REFUSING] * 10
    assert watched.look(temperature_celsius=60.0) == NORMAL


def overheat(watched: Watched, celsius: float = 85.0) -> None:
    """As many looks as it takes until nobody new is let in."""
    assert watched.looks(LOOKS_IN_A_ROW, temperature_celsius=celsius)[-1] == REFUSING


def test_from_the_second_mark_to_the_first(watched: Watched) -> None:
    overheat(watched)
    assert watched.looks(30, temperature_celsius=77.5) == [REFUSING] * 30  # 3 degrees below the mark it is left
    assert watched.looks(11, temperature_celsius=76.9)[-1] == SLOWED
    assert watched.looks(30, temperature_celsius=67.5) == [SLOWED] * 30
    assert watched.looks(11, temperature_celsius=66.9)[-1] == NORMAL
    assert [line.split(" text=")[0] for line in watched.log][2] == "info box strained cause=temperature level=slowed"


def test_what_is_getting_better_says_so(watched: Watched) -> None:
    watched.look(temperature_celsius=85.0)
    assert "better" not in watched.governor.causes["temperature"]
    watched.look(temperature_celsius=60.0)
    assert "60 degrees" in watched.governor.causes["temperature"]
    assert "better by now: over in 10 s" in watched.governor.causes["temperature"]


def test_one_bad_reading_among_good_ones_begins_the_wait_anew(watched: Watched) -> None:
    overheat(watched)
    watched.looks(9, temperature_celsius=60.0)
    watched.look(temperature_celsius=78.0)
    assert watched.looks(10, temperature_celsius=60.0) == [REFUSING] * 10
    assert watched.look(temperature_celsius=60.0) == NORMAL


def test_the_worst_of_the_wait_is_where_it_ends(watched: Watched) -> None:
    overheat(watched)
    watched.looks(5, temperature_celsius=60.0)
    watched.look(temperature_celsius=72.0)
    assert watched.looks(5, temperature_celsius=60.0)[-1] == SLOWED


def test_a_sensor_that_falls_silent_is_forgotten(watched: Watched) -> None:
    overheat(watched)
    assert watched.looks(11)[-1] == NORMAL


def test_power(watched: Watched) -> None:
    assert watched.look(power=0) == NORMAL
    assert watched.look(power=UNDER_VOLTAGE | THROTTLED) == SLOWED
    assert "power supply is too weak" in watched.governor.causes["power"]
    assert watched.look(power=THROTTLED) == SLOWED
    assert "throttled" in watched.governor.causes["power"]
    assert watched.looks(11, power=0)[-1] == NORMAL


@pytest.mark.parametrize(
    ("flag", "level"),
    [(UNDER_VOLTAGE, SLOWED), (FREQUENCY_CAPPED, SLOWED), (THROTTLED, SLOWED), (TEMPERATURE_LIMITED, NORMAL)],
)
def test_each_flag_of_the_power_supply(watched: Watched, flag: int, level: int) -> None:
    """That of heat is no cause: a Pi 3B+ has it from 60 degrees on, and the profile says from when on that is hot."""
    assert watched.look(power=flag) == level
    assert list(watched.governor.causes) == (["power"] if level else [])
    assert watched.governor.figures()["power"] == flag  # told it is all the same
    assert watched.look(power=flag | UNDER_VOLTAGE) == SLOWED
    assert "too weak" in watched.governor.causes["power"]


def test_a_flag_of_heat_alone_does_not_keep_it_slowed(watched: Watched) -> None:
    watched.look(power=UNDER_VOLTAGE | TEMPERATURE_LIMITED)
    assert watched.looks(11, power=TEMPERATURE_LIMITED)[-1] == NORMAL


def test_a_late_loop_counts_when_it_stays_late(watched: Watched) -> None:
    assert watched.looks(LOOKS_IN_A_ROW - 1, loop_lag_ms=150.0) == [NORMAL] * (LOOKS_IN_A_ROW - 1)
    assert watched.look(loop_lag_ms=120.0) == SLOWED
    assert watched.looks(LOOKS_IN_A_ROW, loop_lag_ms=2000.0)[-1] == REFUSING
    assert watched.governor.refusal(0) is not None
    assert watched.looks(11, loop_lag_ms=10.0)[-1] == NORMAL


def test_a_single_hold_up_is_told_and_nothing_else(watched: Watched) -> None:
    watched.looks(5, loop_lag_ms=3.0)
    assert watched.look(loop_lag_ms=4200.0) == NORMAL
    assert watched.looks(5, loop_lag_ms=3.0) == [NORMAL] * 5
    assert watched.governor.figures()["counters"]["holdUps"] == 1
    assert [line for line in watched.log if "held up" in line and "milliseconds=4200" in line]


def test_the_processor_counts_on_average(watched: Watched) -> None:
    watched.looks(20, cpu_percent=20.0)
    assert watched.looks(3, cpu_percent=100.0) == [NORMAL] * 3
    assert watched.looks(40, cpu_percent=100.0)[-1] == SLOWED
    assert watched.governor.refusal(0) is None  # whoever is in has what there is, and new ones may come
    assert watched.looks(60, cpu_percent=20.0)[-1] == NORMAL


def test_what_is_written_within_an_hour(watched: Watched) -> None:
    written = 0
    for _ in range(35):
        written += MEBIBYTE
        assert watched.look(disk_written_bytes=written) == NORMAL
        assert not watched.governor.store_is_slow
    for _ in range(3):
        written += MEBIBYTE
        watched.look(disk_written_bytes=written)
    assert watched.governor.store_is_slow
    assert watched.governor.level == NORMAL  # only the store has to do with it
    assert list(watched.governor.causes) == ["disk writes"]
    # A tenth of an hour gives a tenth of the budget back.
    for _ in range(360):
        watched.look(disk_written_bytes=written)
    assert watched.governor.store_is_slow
    for _ in range(120):
        watched.look(disk_written_bytes=written)
    assert not watched.governor.store_is_slow


def test_a_store_that_begins_anew_has_written_nothing(watched: Watched) -> None:
    watched.look(disk_written_bytes=500 * MEBIBYTE)
    watched.look(disk_written_bytes=MEBIBYTE)
    watched.look(disk_written_bytes=2 * MEBIBYTE)
    assert not watched.governor.store_is_slow


def test_no_budget_is_no_limit() -> None:
    watched = Watched(disk_bytes_per_hour=0, disk_free_bytes_min=0, free_memory_bytes_min=0)
    for written in range(0, 100_000 * MEBIBYTE, 1000 * MEBIBYTE):
        watched.look(disk_written_bytes=written, disk_free_bytes=0, memory_available_bytes=0)
    assert watched.governor.causes == {}


def test_why_nobody_is_let_in_says_what_and_what_to_do(watched: Watched) -> None:
    watched.looks(
        LOOKS_IN_A_ROW, temperature_celsius=84.0, disk_free_bytes=10 * MEBIBYTE, memory_bytes=52 * MEBIBYTE
    )
    text = watched.governor.refusal(0)
    assert text is not None
    for words in ("84 degrees", "give it air", "10 MiB are free on the disk", "free some space", "gsrt status"):
        assert words in text
    assert "52 MiB" not in text  # that only slows
    assert list(watched.governor.causes) == ["temperature", "disk", "memory"]


def test_memory_that_is_promised_to_others(watched: Watched) -> None:
    watched.governor.memory = lambda: 40 * MEBIBYTE
    assert watched.governor.refusal(17 * MEBIBYTE) is None
    text = watched.governor.refusal(18 * MEBIBYTE)
    assert text is not None
    for words in ("40 MiB of memory are in use", "18 MiB more", "58 MiB", "end a session"):
        assert words in text
    assert watched.governor.figures()["counters"]["refused"] == 1


def test_a_profile_in_which_one_script_may_take_all_there_is() -> None:
    marks = Watched(script_memory_bytes=PROMISE).governor.marks
    assert PROMISE // 2 == marks.most > marks.early == marks.refuse > marks.slow > PROMISE // 3


def test_players_who_have_a_place_come_in_but_where_memory_is_short(watched: Watched) -> None:
    assert watched.looks(LOOKS_IN_A_ROW, temperature_celsius=99.0, disk_free_bytes=0)[-1] == REFUSING
    assert watched.governor.login_refusal() is None
    watched.look(memory_bytes=60 * MEBIBYTE)
    text = watched.governor.login_refusal()
    assert text is not None and "60 MiB" in text


def test_figures(watched: Watched) -> None:
    watched.look(temperature_celsius=75.0, memory_bytes=10, power=0)
    figures = watched.governor.figures()
    assert figures["level"] == "slowed"
    assert figures["causes"] == {"temperature": "slowed"}
    assert figures["reasons"] == list(watched.governor.causes.values())
    assert (figures["temperatureCelsius"], figures["memoryBytes"], figures["power"]) == (75.0, 10, 0)
    assert figures["memoryBytesMax"] == PROMISE
    assert figures["diskFreeBytes"] is None


# --- Whatever comes ---

_any_number = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(),
    st.sampled_from([math.nan, math.inf, -math.inf, 10**400, -(10**400), True, "84", b"", [], -0.0]),
)
_any_readings = st.fixed_dictionaries(dict.fromkeys(Readings.__slots__, _any_number))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-5.0, 60.0), _any_readings), max_size=20))
def test_no_readings_raise(looks: list[tuple[float, dict[str, object]]]) -> None:
    watched = Watched()
    for seconds, figures in looks:
        level = watched.look(seconds, **figures)
        assert 0 <= level < len(LEVELS)
        assert (watched.governor.refusal(0) is None) == (level < REFUSING)
        watched.governor.figures()
        watched.governor.login_refusal()


FIGURES: dict[str, tuple[float, float]] = {  # from well to as bad as can be
    "memory_bytes": (0.0, 70.0 * MEBIBYTE),
    "memory_available_bytes": (200.0 * MEBIBYTE, 0.0),
    "temperature_celsius": (30.0, 110.0),
    "power": (0.0, 4.0),  # so many of its flags
    "disk_free_bytes": (400.0 * MEBIBYTE, 0.0),
    "loop_lag_ms": (0.0, 3000.0),
    "cpu_percent": (0.0, 200.0),
}


def at(share: float, name: str) -> float:
    best, worst = FIGURES[name]
    value = best + (worst - best) * share
    return (1 << int(value)) - 1 if name == "power" else value


_shares = st.fixed_dictionaries({name: st.floats(0.0, 1.0) for name in FIGURES})


@settings(max_examples=50, deadline=None)
@given(st.lists(_shares, max_size=25), _shares, _shares)
def test_worse_readings_never_give_a_lower_level(
    before: list[dict[str, float]], these: dict[str, float], more: dict[str, float]
) -> None:
    worse = {name: max(share, more[name]) for name, share in these.items()}
    levels = []
    for last in (these, worse):
        watched = Watched()
        for shares in before:
            watched.look(**{name: at(share, name) for name, share in shares.items()})
        levels.append(watched.look(**{name: at(share, name) for name, share in last.items()}))
    assert levels[0] <= levels[1]


def noisy(watched: Watched, name: str, middle: float, noise: Iterable[float]) -> int:
    """How often the level changes while a figure stays around MIDDLE."""
    levels = [watched.look(**{name: middle + each}) for each in noise]
    return sum(one != next for one, next in zip([NORMAL, *levels], levels, strict=False))


@settings(max_examples=50, deadline=None)
@given(st.floats(30.0, 100.0), st.lists(st.floats(-1.49, 1.49), min_size=1, max_size=150))
def test_noise_below_the_hysteresis_does_not_make_it_flap(middle: float, noise: list[float]) -> None:
    # It may reach the first mark, then the second; it cannot leave either.
    assert noisy(Watched(), "temperature_celsius", middle, noise) <= 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 120.0), min_size=1, max_size=150))
def test_even_the_wildest_readings_change_the_level_seldom(temperatures: list[float]) -> None:
    watched = Watched()
    changes = noisy(watched, "temperature_celsius", 0.0, temperatures)
    # To come down takes a while, and then at most two steps up follow.
    assert changes <= 2 + 3 * (len(temperatures) / CALM_SECONDS)
    assert len(watched.log) == watched.governor.figures()["counters"]["changes"] == changes

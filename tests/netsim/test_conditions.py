"""Conditions in words: what can be said, what it means, and what is answered to what cannot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.netsim.conditions import CONDITIONS, PRESETS, Conditions, ConditionsError, preset, read_condition
from tests.netsim.strategies import conditions


def test_every_condition_can_be_said() -> None:
    read = Conditions.parse(
        "loss=5% loss_burst=4 delay=30ms jitter=20ms jitter_reorders=yes reorder=2% reorder_delay=15ms duplicate=1% "
        "corrupt=0.1% rate=1mbit queue=64kB blackout=5s/60s,2s@12.5s"
    )
    assert read == Conditions(
        loss=0.05,
        loss_burst=4,
        delay=0.03,
        jitter=0.02,
        jitter_reorders=True,
        reorder=0.02,
        reorder_delay=0.015,
        duplicate=0.01,
        corrupt=0.001,
        rate=125_000,
        queue_bytes=64_000,
        blackout_length=5,
        blackout_every=60,
        blackouts=[(12.5, 2)],
    )


def test_the_examples_are_what_they_are_examples_of() -> None:
    for key, condition in CONDITIONS.items():
        assert set(read_condition(key, condition.example)) == set(condition.names)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("loss=0.05", "loss", 0.05),
        ("loss=100%", "loss", 1.0),
        ("delay=0", "delay", 0.0),
        ("delay=1.5s", "delay", 1.5),
        ("delay=250MS", "delay", 0.25),
        ("rate=9600bit", "rate", 1200.0),
        ("rate=0.5Mbit", "rate", 62_500.0),
        ("rate=2gbit", "rate", 250e6),
        ("rate=unlimited", "rate", None),
        ("queue=1500B", "queue_bytes", 1500),
        ("queue=1MB", "queue_bytes", 1_000_000),
        ("jitter_reorders=no", "jitter_reorders", False),
        ("blackout=never", "blackout_every", 0.0),
        ("blackout=1s@0,2s@9s", "blackouts", ((0.0, 1.0), (9.0, 2.0))),
    ],
)
def test_values_and_units(text: str, name: str, value: object) -> None:
    assert getattr(Conditions.parse(text), name) == value


def test_nothing_said_is_a_perfect_network() -> None:
    assert Conditions.parse("") == Conditions() == preset("perfect")
    assert str(Conditions()) == "perfect"


def test_what_comes_later_goes_before_what_came_earlier() -> None:
    base = Conditions(loss=0.5, delay=0.1)
    read = Conditions.parse("train loss=10% loss=20%", base)
    assert (read.loss, read.delay) == (0.2, preset("train").delay)
    assert Conditions.parse("loss=1%", base).delay == 0.1
    assert base == Conditions(loss=0.5, delay=0.1)


@settings(deadline=None)
@given(conditions())
def test_what_is_spelled_is_read_as_the_same(original: Conditions) -> None:
    assert Conditions.parse(str(original)) == original


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_spelled_as_they_are_written(name: str) -> None:
    assert str(preset(name)) == (PRESETS[name].text or "perfect")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss=150%", "loss=150% is not allowed; loss takes a share, 0% to 100%, such as loss=5%"),
        ("loss=5", "loss=5 is not allowed"),
        ("loss=-1%", "loss=-1% is not allowed"),
        ("loss=nan", "loss=nan is not allowed"),
        ("loss=", "loss= is not allowed"),
        ("loss=%", "loss=% is not allowed"),
        ("los=5%", "there is no condition 'los'; there are loss, loss_burst, delay, jitter,"),
        ("fast", "'fast' is neither a condition, such as loss=5%, nor a preset; there are perfect, good-wifi,"),
        ("delay=30", "delay=30 is not allowed; delay takes a time in ms or s, up to 60s, such as delay=30ms"),
        ("delay=61s", "delay=61s is not allowed"),
        ("delay=infs", "delay=infs is not allowed"),
        ("loss_burst=0.5", "loss_burst=0.5 is not allowed; loss_burst takes a number of datagrams, 1 to 1000, or 0"),
        ("rate=1", "rate takes a rate in kbit, mbit or gbit (per second), 1kbit to 10gbit, or unlimited"),
        ("rate=0bit", "rate=0bit is not allowed"),
        ("queue=0B", "queue takes a size in B, kB or MB (1000, not 1024), 1B to 64MB"),
        ("jitter_reorders=maybe", "jitter_reorders takes yes or no"),
        ("blackout=5s", "blackout takes LENGTH/EVERY, or LENGTH@START, or several with commas between them"),
        ("blackout=70s/60s", "blackout=70s/60s is not allowed"),
        ("blackout=0s/60s", "blackout=0s/60s is not allowed"),
        ("blackout=1s/60s,2s/60s", "blackout=1s/60s,2s/60s is not allowed"),
        ("blackout=" + ",".join(f"1s@{start}s" for start in range(65)), "is not allowed"),
        ("loss=90% loss_burst=2", "with a loss of over half no less than loss / (1 - loss)"),
    ],
)
def test_what_is_not_understood_is_answered_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ConditionsError) as caught:
        Conditions.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_the_constructor_judges_values_too(value: float) -> None:
    with pytest.raises(ConditionsError, match=r"corrupt is .*; allowed is 0 to 1"):
        Conditions(corrupt=value)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        Conditions.parse(text)
    except ConditionsError as error:
        assert str(error)

"""What a script holds between its calls: the walk that counts it."""

from __future__ import annotations

import gc
import struct
import sys
import tracemalloc
import types
from collections.abc import Callable
from typing import Any

import pytest

from gsrt._meter import Account, Meter

POINTER_BYTES = struct.calcsize("P")


class ScriptType(type):
    """Stands for the metaclass that classes of scripts have."""


class Ship(metaclass=ScriptType):
    def __init__(self, number: int) -> None:
        self.number = number + 1000
        self.speed = number + 0.5
        self.captain = None


class Trouble(ValueError, metaclass=ScriptType):
    pass


class HostObject:
    def __init__(self, value: object) -> None:
        self.value = value


def account(memory_bytes: int = 1 << 30) -> Account:
    """One that a meter has run once, and so knows its limits."""
    meter = Meter(memory_bytes=memory_bytes)
    meter.script_type = ScriptType
    made = Account()
    meter.call(made, lambda: None)
    return made


def closures(count: int) -> list[object]:
    def make(number: int) -> Callable[[], list[int]]:
        held = [number + 1000]

        def function(other: object = (number + 0.5,)) -> list[int]:
            return held

        return function

    return [make(number) for number in range(count)]


MAKERS: dict[str, Callable[[], object]] = {
    "ints": lambda: [10**6 + n for n in range(20_000)],
    "texts": lambda: [f"the name of number {n} of many, and more" for n in range(5000)],
    "wide texts": lambda: [f"n\u00e9\u4e00 the name of number {n}" for n in range(5000)],
    "dicts": lambda: [{"x": n + 1000, "y": [n + 0.5]} for n in range(5000)],
    "one dict": lambda: {n + 1000: str(n + 10**20) for n in range(10_000)},
    "sets": lambda: [{n + 1000, n + 2000} for n in range(5000)],
    "tuples": lambda: [(n + 1000, (n + 2000.5,)) for n in range(5000)],
    "instances": lambda: [Ship(n) for n in range(5000)],
    "own exceptions": lambda: [Trouble(str(n + 10**20)) for n in range(5000)],
    "exceptions": lambda: [ValueError(str(n + 10**20)) for n in range(5000)],
    "closures": lambda: closures(5000),
    "bound methods": lambda: [[n + 1000].append for n in range(5000)],
    "iterators": lambda: [iter([n + 1000]) for n in range(5000)],
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_tenth_is_the_most_it_is_wrong(name: str) -> None:
    counted = account()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = MAKERS[name]()
        real = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert counted.recount([held]) == pytest.approx(real, rel=0.1)
    assert counted.held_bytes == counted.recount([held])


def test_shared_things_count_once() -> None:
    counted = account()
    item = list(range(10_000, 20_000))
    once = counted.recount([[item]])
    assert counted.recount([[item, item, item, item]]) == once + 3 * POINTER_BYTES
    circle: list[Any] = [item]
    circle.append(circle)
    assert counted.recount([circle, circle, item]) == once + sys.getsizeof(circle) - sys.getsizeof([item])


def test_what_is_the_hosts_is_not_entered() -> None:
    counted = account()
    heavy = bytes(1_000_000)
    for item in (
        HostObject(heavy),
        HostObject,
        types.SimpleNamespace(x=heavy),
        sys,
        compile("1", "x", "exec"),
        len,
        int,
    ):
        assert counted.recount([item]) < 200
    assert counted.recount([None, True, False]) == 0


def test_a_function_does_not_drag_its_globals_along() -> None:
    counted = account()
    space: dict[str, Any] = {"heavy": bytes(1_000_000), "__builtins__": {"also": bytes(1_000_000)}}
    exec("def function(): return heavy\n", space)
    assert counted.recount([space["function"]]) < 1000
    assert 1_000_000 < counted.recount([space]) < 1_010_000
    assert 1_000_000 < counted.recount([space["function"], space]) < 1_010_000


def test_classes_of_scripts_are_entered() -> None:
    counted = account()
    made = ScriptType("Made", (), {"heavy": bytes(1_000_000)})
    assert counted.recount([made]) > 1_000_000
    assert counted.recount([made()]) > 1_000_000
    assert Account().recount([made]) == 0  # no meter, no script type


def test_frames_are_entered_when_their_globals_are_the_scripts() -> None:
    counted = account()
    source = """
def fail():
    heavy = [number + 1000 for number in range(10_000)]
    raise ValueError

def run():
    try:
        fail()
    except ValueError as error:
        return error
"""
    space: dict[str, Any] = {}
    exec(source, space)
    heavy_of_the_host = bytes(1_000_000)
    error = space["run"]()
    heavy = 10_000 * (sys.getsizeof(1000) + POINTER_BYTES)
    assert heavy < counted.recount([error, space]) < heavy * 3 // 2
    assert counted.recount([error]) < 1000
    assert len(heavy_of_the_host) == 1_000_000


def test_enough_is_known_when_it_is_too_much() -> None:
    counted = account(memory_bytes=100_000)
    held = [[number] for number in range(100_000)]
    assert 100_000 < counted.recount([held]) < 2_000_000
    held = [[number] for number in range(500)]
    small = counted.recount([held])
    assert small < 100_000
    nested: list[Any] = []
    for number in range(200_000):
        nested = [nested, number]
    counted.recount([nested])  # no recursion
    while nested:
        nested = nested[0]


def test_collecting_goes_on_afterwards() -> None:
    counted = account()
    counted.recount([[]])
    assert gc.isenabled()
    gc.disable()
    try:
        counted.recount([[]])
        assert not gc.isenabled()
    finally:
        gc.enable()

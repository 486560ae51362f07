"""Gas, CPU time and the end of a call; scripts are written by hand, with their ticks in place."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gsrt._meter import Account, Exceeded, Meter, Stop

MANY = 1_000_000_000  # gas that a test never uses up: what else should end a script ends it long before


def script(meter: Meter, source: str) -> dict[str, Any]:
    """The names that a script with its ticks already in it defines."""
    namespace: dict[str, Any] = {"_t_": meter.tick_object}
    exec(compile(source, "ships.py", "exec"), namespace)
    return namespace


LOOPS = """
def turns(n):
    for i in range(n):
        not _t_
    return n

def forever():
    while True:
        not _t_

def swallow():
    while True:
        not _t_
        try:
            while True:
                not _t_
        except:
            pass

def go_on():
    while True:
        not _t_
        try:
            while True:
                not _t_
        finally:
            continue

def caught_and_back():
    try:
        while True:
            not _t_
    except:
        pass
    return "nothing happened"
"""


@pytest.fixture
def meter() -> Iterator[Meter]:
    made = Meter(gas=1000)
    yield made
    made.stop_timer()


# Gas.


def test_gas_is_enough_to_its_last_tick(meter: Meter) -> None:
    account = Account(b"ships")
    assert meter.call(account, script(meter, LOOPS)["turns"], 1000) == 1000
    assert (account.calls, account.gas_most) == (1, 1000)


def test_one_tick_more_is_too_much(meter: Meter) -> None:
    account = Account(b"ships")
    with pytest.raises(Exceeded) as caught:
        meter.call(account, script(meter, LOOPS)["turns"], 1001)
    assert caught.value.args == ("gas", 1000, 1001, ("ships.py", 4, "turns"))
    assert str(caught.value) == "used up its gas (1,000) at ships.py line 4 in turns"
    assert (account.calls, account.gas_most) == (1, 1001)
    assert not meter.running


def test_each_call_has_its_own_gas(meter: Meter) -> None:
    turns = script(meter, LOOPS)["turns"]
    for _ in range(5):
        assert meter.call(None, turns, 900) == 900


def test_other_gas_for_one_call(meter: Meter) -> None:
    turns = script(meter, LOOPS)["turns"]
    assert meter.call(None, turns, 5000, gas=5000) == 5000
    with pytest.raises(Exceeded) as caught:
        meter.call(None, turns, 11, gas=10)
    assert (caught.value.limit, caught.value.used) == (10, 11)
    with pytest.raises(ValueError, match="below 0"):
        meter.call(None, turns, 11, gas=-1)


@pytest.mark.parametrize("name", ["forever", "caught_and_back", "swallow", "go_on"])
def test_swallowing_helps_nothing(meter: Meter, name: str) -> None:
    with pytest.raises(Exceeded) as caught:
        meter.call(None, script(meter, LOOPS)[name])
    assert caught.value.budget == "gas"


def test_exceptions_raised_on_the_way_out_are_not_what_counts(meter: Meter) -> None:
    def function() -> None:
        try:
            meter.charge(1001)
        finally:
            raise ValueError("mine")

    with pytest.raises(Exceeded) as caught:
        meter.call(None, function)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_work_is_charged(meter: Meter) -> None:
    left: list[int] = []

    def function() -> None:
        meter.charge(0)
        meter.charge(990)
        left.append(meter.gas_left)
        meter.charge(10)
        left.append(meter.gas_left)
        with pytest.raises(ValueError, match="never given back"):
            meter.charge(-1)
        meter.charge(1)

    with pytest.raises(Exceeded) as caught:
        meter.call(None, function)
    assert left == [10, 0]
    assert caught.value.where is not None
    assert caught.value.where[2] == "function"


def test_huge_charges_do_not_wrap_around(meter: Meter) -> None:
    def function() -> None:
        for _ in range(10):
            try:
                meter.charge(sys.maxsize)
            except Stop:
                continue

    with pytest.raises(Exceeded):
        meter.call(None, function)


def test_where_is_the_script_below_the_hosts_frames(meter: Meter) -> None:
    names = script(meter, "def run(work):\n    not _t_\n    work(2000)\n")
    with pytest.raises(Exceeded) as caught:
        meter.call(None, names["run"], lambda ticks: meter.charge(ticks))
    assert caught.value.where == ("ships.py", 3, "run")


# The end of a call.


def test_result_and_ordinary_exceptions_pass(meter: Meter) -> None:
    assert meter.call(None, lambda *items: items, 1, "two") == (1, "two")
    with pytest.raises(ZeroDivisionError):
        meter.call(None, lambda: 1 // 0)
    assert not meter.running
    assert meter.gas_left == 0


def test_a_ctrl_c_is_not_swallowed(meter: Meter) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    def interrupted_over_budget() -> None:
        try:
            meter.charge(5000)
        finally:
            raise KeyboardInterrupt

    for function in (interrupted, interrupted_over_budget):
        with pytest.raises(KeyboardInterrupt):
            meter.call(None, function)
        assert not meter.running
    with pytest.raises(Exceeded) as caught:  # and leaves nothing behind
        meter.call(None, script(meter, LOOPS)["forever"], gas=5)
    assert (caught.value.limit, caught.value.where) == (5, ("ships.py", 9, "forever"))


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, Stop, BaseException])
def test_nothing_else_gets_out(meter: Meter, kind: type[BaseException]) -> None:
    def function() -> None:
        raise kind

    with pytest.raises(RuntimeError, match=f"a script raised {kind.__name__}"):
        meter.call(None, function)


def test_calls_are_never_nested(meter: Meter) -> None:
    def function() -> str:
        with pytest.raises(RuntimeError, match="nested"):
            meter.call(None, lambda: None)
        with pytest.raises(RuntimeError, match="nested"):
            Meter().call(None, lambda: None)
        assert meter.running
        return "went on"

    assert meter.call(None, function) == "went on"


def test_ticks_outside_of_a_call_are_refused(meter: Meter) -> None:
    for _ in range(3):
        with pytest.raises(RuntimeError, match="no script is running"):
            bool(meter.tick_object)
        with pytest.raises(RuntimeError, match="no script is running"):
            meter.charge(1)


def test_budgets_are_positive() -> None:
    for budgets in ({"gas": -1}, {"cpu_ms": 0}, {"memory_bytes": 0}):
        with pytest.raises(ValueError, match="positive"):
            Meter(**budgets)
    meter = Meter(gas=5, cpu_ms=6, memory_bytes=7)
    assert (meter.gas, meter.cpu_ms, meter.memory_bytes) == (5, 6, 7)


def test_exceeded_says_what_to_change() -> None:
    where = ("ships.py", 12, "tick")
    assert str(Exceeded("gas", 200_000, 200_001, where)) == "used up its gas (200,000) at ships.py line 12 in tick"
    assert str(Exceeded("time", 50, 55, where)) == "ran longer than 50 ms at ships.py line 12 in tick"
    assert str(Exceeded("memory", 8 << 20, 9 << 20)) == "needed more memory than 8 MB"
    assert str(Exceeded("held", 3 << 19, 9 << 20)) == "holds more memory than 1.5 MB"


# CPU time.


def test_slices_use_up_the_time() -> None:
    meter = Meter(cpu_ms=50)
    source = """
def work(slice, n):
    for i in range(n):
        slice()
    not _t_
    return n
"""
    names = script(meter, source)
    # The first one may have begun before the call.
    assert meter.call(None, names["work"], meter.slice, 10) == 10
    with pytest.raises(Exceeded) as caught:
        meter.call(None, names["work"], meter.slice, 11)
    assert caught.value.args == ("time", 50, 55, ("ships.py", 5, "work"))


def test_time_passed_without_a_tick_counts_after_a_normal_return() -> None:
    meter = Meter(cpu_ms=5)

    def function() -> None:
        meter.slice()
        meter.slice()

    with pytest.raises(Exceeded) as caught:
        meter.call(None, function)
    assert (caught.value.budget, caught.value.where) == ("time", None)


def test_slices_outside_of_a_call_are_nobodys() -> None:
    meter = Meter(cpu_ms=5)
    for _ in range(100):
        meter.slice()
    assert not meter.attention
    assert meter.call(None, lambda: meter.attention) is False


def test_attention_is_seen_at_the_next_tick_and_stays() -> None:
    meter = Meter(cpu_ms=5)
    stops: list[bool] = []

    def function() -> None:
        meter.slice()
        meter.slice()
        assert meter.attention
        for _ in range(3):
            try:
                bool(meter.tick_object)
            except Stop:
                stops.append(meter.attention)

    with pytest.raises(Exceeded):
        meter.call(None, function)
    assert stops == [True] * 3


@pytest.mark.parametrize("name", ["forever", "swallow"])
def test_the_timer_stops_a_loop(name: str) -> None:
    meter = Meter(gas=MANY, cpu_ms=20)
    meter.start_timer()
    try:
        for _ in range(3):
            with pytest.raises(Exceeded) as caught:
                meter.call(None, script(meter, LOOPS)[name])
            assert caught.value.budget == "time"
            assert caught.value.used >= 25
    finally:
        meter.stop_timer()


def test_one_timer_at_a_time(meter: Meter) -> None:
    meter.start_timer()
    with pytest.raises(RuntimeError, match="running already"):
        meter.start_timer()
    Meter().stop_timer()  # not its own
    with pytest.raises(RuntimeError, match="running already"):
        Meter().start_timer()
    meter.stop_timer()
    meter.stop_timer()
    meter.start_timer()


def test_a_forgotten_meter_takes_its_timer_along() -> None:
    Meter().start_timer()
    gc.collect()
    meter = Meter()
    meter.start_timer()
    meter.stop_timer()


def test_signals_of_python_still_arrive() -> None:
    meter = Meter(gas=MANY, cpu_ms=20)
    got: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    meter.start_timer()
    try:
        source = """
def run(send, got):
    send()
    while not got:
        not _t_
    return 'seen'
"""
        names = script(meter, source)
        assert meter.call(None, names["run"], lambda: signal.raise_signal(signal.SIGUSR1), got) == "seen"
    finally:
        meter.stop_timer()
        signal.signal(signal.SIGUSR1, before)

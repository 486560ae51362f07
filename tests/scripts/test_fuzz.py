"""Random scripts, the same ones every time, in the real sandbox; and faults planted in it, which have to be found.

More of them: `python -m tests.scripts.fuzz --seed N --count M`.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any

import pytest

from gsrt._guard import ScriptType
from gsrt._guest import Data
from gsrt.scripts import api
from gsrt.scripts.guest import Guest
from tests.scripts.corpus.stage import make_sandbox
from tests.scripts.fuzz.batches import Plant, fault_of, run, smaller
from tests.scripts.fuzz.grammar import program
from tests.scripts.fuzz.playing import Theatre
from tests.scripts.fuzz.walking import Walker
from tests.support.beside import Work

SEED = 1
EACH = 750  # scripts of each of the two works
SECONDS_MAX = 300


def _playing(first: int) -> Any:
    """The parameter of a test of EACH scripts, from that seed on."""
    work = Work(sys.executable, "-m", "tests.scripts.fuzz", "--count", str(EACH), "--seed", str(first))
    return pytest.param(work, marks=pytest.mark.beside(work), id=str(first))


@pytest.mark.parametrize("work", [_playing(SEED + part * EACH) for part in (0, 1)])
def test_random_scripts_do_no_harm(work: Work) -> None:
    assert f"{EACH} scripts" in work.said(SECONDS_MAX)


def test_a_seed_is_always_the_same_script() -> None:
    assert program(5) == program(5)
    assert program(5) != program(6)


def _instead_of(name: str, function: Any) -> Plant:
    """Puts a function of one argument into the place of a built-in."""

    def plant(theatre: Theatre) -> None:
        theatre.sandbox.builtins[name] = function
        theatre.settle()

    return plant


def _works_on(value: object) -> int:
    """So much in C that no tick comes in between: some 300 ms."""
    return sum(range(15_000_000))


def _leaves(value: object) -> None:
    raise SystemExit(3)


def _is_broken(value: object) -> None:
    raise SystemError("NULL result without error")


def _dies(value: object) -> None:
    os.abort()


def _loses(value: object, kept: list[bytes] = []) -> None:  # noqa: B006 - it is to last
    region = mmap.mmap(-1, 8 << 20)
    region[:: mmap.PAGESIZE] = bytes(len(region) // mmap.PAGESIZE)
    kept.append(region)  # type: ignore[arg-type]


def _changes(value: object) -> None:
    api.OP_CODE_MAX = api.OP_CODE_MAX + 1


def _fails_in_the_host(theatre: Theatre) -> None:
    connected_before = Guest.connected

    def connected(self: Guest, peer_id: int, now: float) -> None:
        if self.session_id != "one":  # but the control's
            return connected_before(self, peer_id, now)
        raise LookupError("of the host's own")

    Guest.connected = connected  # type: ignore[method-assign]
    theatre.settle()


PLANTS: dict[str, Plant] = {
    "ESCAPE a type": _instead_of("hex", type),
    "ESCAPE the builtins": _instead_of("hex", lambda value: __builtins__),
    "ADDRESS": _instead_of("hex", object.__repr__),
    "STALL": _instead_of("hex", _works_on),
    "INTERNAL SystemExit": _instead_of("hex", _leaves),
    "INTERNAL SystemError": _instead_of("hex", _is_broken),
    "CRASH": _instead_of("hex", _dies),
    "GROWTH": _instead_of("hex", _loses),
    "POISON": _instead_of("hex", _changes),
    "HOSTEXC": _fails_in_the_host,
}
USES = """
def on_packet(packet):
    global kept
    kept = []
    kept.append(hex(5))
    print(kept[0])
"""


@pytest.mark.parametrize("fault", PLANTS)
def test_a_planted_fault_is_noticed(fault: str) -> None:
    assert fault_of(USES) == ""
    assert fault_of(USES, PLANTS[fault]).split(" ", 1)[0] == fault.split(" ", 1)[0]


def test_random_scripts_come_upon_a_planted_fault() -> None:
    plant = _instead_of("reversed", lambda *_, **__: [object])
    finding = next(each for harvest in run(range(400), plant=plant, shrink=False) for each in harvest.findings)
    assert finding.fault.startswith("ESCAPE")
    assert finding.source == program(finding.seed)


def test_a_script_is_made_smaller_by_all_that_its_fault_does_not_need() -> None:
    plant = _instead_of("hex", type)
    source = """
def f():
    if True:
        a = 1
        return hex(2)
b = 3
for i in range(3):
    print(i)
x = f()
"""
    assert smaller(source, "ESCAPE", plant) == "def f():\n    return hex(2)\nx = f()"


def test_what_is_within_reach_is_found_wherever_it_is() -> None:
    hidden: Any = [object]

    def closure() -> object:
        return hidden

    class Ship(metaclass=ScriptType):
        kept = hidden

        def method(self) -> None: ...

    ship = Ship()
    sandbox = make_sandbox()
    values: tuple[Any, ...] = (
        *(hidden, (1, {"a": hidden}), {(1, object): 2}, ValueError(hidden), closure, hidden.append, Ship, ship),
        *(ship.method, lambda each=hidden: each, Data, sys, len, hidden.__len__, sandbox.builtins, sandbox, iter([])),
    )
    for value in values:
        walker = Walker(ScriptType, sandbox.builtins, globals())
        walker.walk([value])
        assert walker.found, value
    walker = Walker(ScriptType, sandbox.builtins, globals())
    walker.walk([1, "text", [b"", (1.5, {2: {3}})], ValueError("a"), sandbox.builtins["len"], Data(), range(3)])
    assert walker.found == []

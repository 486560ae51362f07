"""The tables of names hold whatever the running Python has."""

from __future__ import annotations

import inspect
import types
from collections.abc import Generator

import pytest

import gsrt._guard
from gsrt._guard import builtins, guards
from gsrt._meter import Meter
from gsrt.scripts.names import (
    ARGUMENT_GUARDED,
    BUILTINS,
    DUNDER_METHODS,
    EXCEPTIONS,
    FORBIDDEN_ATTRIBUTES,
    FORBIDDEN_NAMES,
    FORBIDDEN_PREFIXES,
    GUARDED_METHODS,
    HARMLESS,
    IMPORTS,
    PLAIN_WITH_CONSTANTS,
    PLAIN_WITHOUT_ARGUMENTS,
    UNKNOWN_NAMES,
)

METER = Meter()
NAMES = builtins(METER)
GUARDS = guards(METER)


class Owner:
    def append(self) -> None: ...


def values() -> Generator[int, None, None]:
    yield 1


HELD: list[object] = [
    *(1, 1.5, True, "text", b"bytes", [], {}, set(), (), range(3), None, ..., NotImplemented, slice(1)),
    *(
        complex(1),
        values,
        Owner().append,
        len,
        [].append,
        [].__len__,
        str.join,
        type,
        Owner,
        super(Owner, Owner()),
    ),
    *(NAMES[name] for name in NAMES if name != "math"),  # whose attributes are functions
    *GUARDS.values(),
    *(kind() for kind in NAMES.values() if isinstance(kind, type) and issubclass(kind, Exception)),
]
"""Values of all types that a script can hold, and more."""

HIDDEN: list[type] = [
    *(types.FrameType, types.CodeType, types.TracebackType, types.GeneratorType, types.CoroutineType),
    types.AsyncGeneratorType,
]
"""Types that no script can hold, and that would lead out of it."""

GENERAL = {"clear", "replace", "close", "send", "asend", "athrow", "aclose"}
"""Their methods with ordinary names."""


def public(value: object) -> set[str]:
    # dir() of a class leaves out what its metaclass gives.
    return {name for name in (*dir(value), *dir(type(value))) if not name.startswith("_")}


def forbidden(name: str) -> bool:
    return name in FORBIDDEN_ATTRIBUTES or name.startswith(FORBIDDEN_PREFIXES)


def test_every_public_attribute_is_in_one_table() -> None:
    known = GUARDED_METHODS | ARGUMENT_GUARDED | HARMLESS
    unknown = {
        f"{type(value).__name__}.{name}"
        for value in HELD
        for name in public(value)
        if name not in known and not forbidden(name)
    }
    assert not unknown
    assert not {name for name in known if forbidden(name)}
    assert not GUARDED_METHODS & ARGUMENT_GUARDED
    assert not HARMLESS & (GUARDED_METHODS | ARGUMENT_GUARDED)
    assert PLAIN_WITHOUT_ARGUMENTS | PLAIN_WITH_CONSTANTS < GUARDED_METHODS


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_leads_out_of_a_script_is_forbidden(kind: type) -> None:
    assert {name for name in public(kind) if not forbidden(name)} <= GENERAL


def test_nothing_harmless_is_only_imagined() -> None:
    here = set().union(*map(public, HELD))
    later = {"is_integer", "value", "name"}  # of ints since Python 3.12; of exceptions that have it
    assert not HARMLESS - here - later


def test_the_guards_know_the_same_methods() -> None:
    assert set(gsrt._guard.GUARDED_METHODS) == GUARDED_METHODS
    assert {f"_m_{name}" for name in GUARDED_METHODS} <= set(GUARDS)
    assert gsrt._guard.METHODS_ALLOWED == DUNDER_METHODS


def test_the_names_that_scripts_find_are_known() -> None:
    assert set(NAMES) | {"print", "session", "QuotaError"} == BUILTINS
    assert {"QuotaError", *(kind.__name__ for kind in gsrt._guard.EXCEPTIONS)} == EXCEPTIONS


def test_no_advice_is_about_what_is_there() -> None:
    assert not set(UNKNOWN_NAMES) & (BUILTINS | set(FORBIDDEN_NAMES))
    for instead in (
        *FORBIDDEN_ATTRIBUTES.values(),
        *FORBIDDEN_NAMES.values(),
        *UNKNOWN_NAMES.values(),
        *IMPORTS.values(),
    ):
        assert instead[0].isupper()
        assert not instead.endswith(".")


def test_what_the_server_offers_can_be_called() -> None:
    # Imported here: the other tests need no more than the guards.
    from tests.scripts.corpus.offered import OFFERED

    kinds = [kind for module in OFFERED for kind in vars(module).values() if inspect.isclass(kind)]
    offered = {name for kind in kinds if kind.__module__.startswith("gsrt.") for name in vars(kind) if name[0] != "_"}
    assert {"on_packet", "get_number", "set_target_peers", "kick"} <= offered
    assert not {name for name in offered if forbidden(name)}

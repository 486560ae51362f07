"""What a script must not have: judged from what it hands to `leak`."""

from __future__ import annotations

import re
import types
from typing import Any

from tests.scripts.corpus.offered import OFFERED_NAMES

NODES_MAX = 2000
INTEGER_BITS_MAX = 8192  # invariant 1 of the guards
TUPLE_WEIGHT_MAX = 20_000  # invariant 2
TUPLE_DEPTH_MAX = 101

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_PLAIN = (type(None), bool, int, float, str, bytes, list, tuple, dict, set, range, type(...), slice)
_HAZARDOUS_METHODS = frozenset(
    (
        *("index", "count", "remove", "sort", "split", "rsplit", "splitlines", "rfind", "rindex", "rpartition"),
        *("encode", "decode", "items", "keys", "values", "update", "union", "symmetric_difference", "add"),
        *("symmetric_difference_update", "setdefault", "format", "format_map", "translate", "maketrans", "popitem"),
        *("fromkeys", "to_bytes", "from_bytes", "fromhex"),
    )
)


class Probe:
    """The `leak` of a script: collects what is wrong with the values it is called with."""

    __slots__ = ("_exceptions", "_globals", "_known", "_script_type", "found")

    def __init__(self, script_type: type, shared: dict[str, object], script_globals: dict[str, Any]) -> None:
        """`shared`: the built-ins of all scripts; `script_globals`: the namespace of the one given this probe."""
        self.found: list[str] = []
        self._script_type = script_type
        self._globals = script_globals
        public = {name: value for name, value in shared.items() if not name.startswith("_")}
        self._exceptions = [
            value for value in public.values() if isinstance(value, type) and issubclass(value, Exception)
        ]
        self._known = {id(value) for value in public.values()}

    def __call__(self, value: object) -> None:
        try:
            wrong = self._judge(value, [NODES_MAX])
        except RecursionError:
            wrong = "nested too deeply to be looked at"
        if wrong and len(self.found) < 5:
            self.found.append(wrong)

    def __repr__(self) -> str:
        return "<probe>"

    def _judge(self, value: Any, left: list[int]) -> str:
        """What is wrong with it, or nothing."""
        kind = type(value)
        left[0] -= 1
        if left[0] < 0:
            return ""
        if kind is str:
            return self._judge_text(value)
        if kind is int:
            return "" if value.bit_length() <= INTEGER_BITS_MAX else f"an int of {value.bit_length()} bits"
        if kind in _PLAIN:
            return self._judge_container(value, left)
        if isinstance(value, type):
            if kind is self._script_type or any(value is known for known in self._exceptions):
                return ""
            return f"the type {value.__name__}"
        if id(value) in self._known or value is self or type(kind) is self._script_type:
            return ""
        if isinstance(value, Exception):
            if value.__traceback__ is not None:
                return "an exception with its traceback"
            return "" if kind in self._exceptions else f"an exception of type {kind.__name__}"
        if kind is types.FunctionType:
            if value.__globals__ is self._globals or value.__name__ == "print":
                return ""
            return f"a function of the host, {value.__name__}"
        if kind is types.MethodType:
            owner = type(value.__self__)
            own = type(owner) is self._script_type or owner.__module__ in OFFERED_NAMES
            return "" if own else f"a method of {owner.__name__}"
        if kind is types.BuiltinFunctionType:
            return self._judge_builtin(value)
        if kind.__module__ in OFFERED_NAMES:
            return ""
        return f"a {kind.__module__}.{kind.__name__}"

    def _judge_text(self, value: str) -> str:
        if value.startswith("ESCAPE"):
            return value[:300]
        address = _ADDRESS.search(value, 0, 100_000)
        return f"an address in {value[max(0, address.start() - 60) : address.end()]!r}" if address else ""

    def _judge_builtin(self, value: Any) -> str:
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return f"the builtin {value.__name__}"
        if type(owner) in _PLAIN and value.__name__ in _HAZARDOUS_METHODS:
            return f"an unguarded {type(owner).__name__}.{value.__name__}"
        if type(owner) in _PLAIN or type(owner).__module__ in OFFERED_NAMES:
            return ""
        return f"a method of {type(owner).__name__}"

    def _judge_container(self, value: Any, left: list[int]) -> str:
        if type(value) is tuple:
            weight, depth = tuple_shape(value)
            if weight > TUPLE_WEIGHT_MAX or depth > TUPLE_DEPTH_MAX:
                return f"a tuple of weight {weight} and depth {depth}"
        if type(value) is dict:
            if "__builtins__" in value or "_t_" in value or "__name__" in value:
                return "a namespace"
            inner: list[Any] = [*value.keys(), *value.values()]
        elif type(value) in (list, tuple, set):
            inner = list(value)
        else:
            return ""
        for each in inner:
            wrong = self._judge(each, left)
            if wrong:
                return wrong
        return ""


def tuple_shape(value: tuple[Any, ...]) -> tuple[int, int]:
    """(nodes, shared ones as often as they are met; levels) of a tuple of tuples, each node computed once."""
    known: dict[int, tuple[int, int]] = {}
    waiting: list[tuple[Any, ...]] = [value]
    while waiting:
        node = waiting[-1]
        missing = [each for each in node if type(each) is tuple and id(each) not in known]
        if missing:
            waiting.extend(missing)
            continue
        inner = [known[id(each)] for each in node if type(each) is tuple]
        weight = 1 + len(node) - len(inner) + sum(weight for weight, _ in inner)
        known[id(node)] = weight, 1 + max((depth for _, depth in inner), default=0)
        waiting.pop()
    return known[id(value)]

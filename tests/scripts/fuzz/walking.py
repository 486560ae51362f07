"""Everything that a script could reach, looked at value by value."""

from __future__ import annotations

import gc
import re
import types
from collections.abc import Iterable
from typing import Any

from gsrt._guest import Data
from gsrt.scripts.api import Session
from tests.scripts.corpus.offered import OFFERED_NAMES
from tests.scripts.corpus.probe import TUPLE_DEPTH_MAX, TUPLE_WEIGHT_MAX, Probe, tuple_shape

WALKED_MAX = 60_000
LEAKED_MAX = 300  # values looked at in one call of a script's `leak`
HIDDEN = re.compile(r"_\d+_|__\w+__")
"""Names that no script can write: where an operation in several steps keeps what comes in between."""

HOST_TYPES = frozenset(
    ("Data", "Packet", "PacketBuilder", "Player", "Session", "Logger", "Random", "Requests", "Request", "Response")
)
HOST_CLOSURES = frozenset(
    ("Session.on_packet.<locals>.register", "Session.every.<locals>.register", "Request.__getattr__.<locals>.set_field")
)
"""Functions of the server's that a script is meant to hold: decorators, and the setters of requests."""


class Walker(Probe):
    """The `leak` of a random script; `walk` goes through all that it holds in the end."""

    __slots__ = ("_inner", "_seen", "_waiting")

    def __init__(self, script_type: type, shared: dict[str, object], script_globals: dict[str, Any]) -> None:
        super().__init__(script_type, shared, script_globals)
        namespace = shared["math"]
        self._known |= {id(getattr(namespace, name)) for name in dir(namespace) if not name.startswith("_")}

    def __call__(self, value: object) -> None:
        self.walk([value], LEAKED_MAX)

    def walk(self, roots: Iterable[Any], values_max: int = WALKED_MAX) -> None:
        """Looks at the roots and at what they refer to, each value once."""
        self._waiting: list[Any] = list(roots)
        self._inner: set[int] = set()  # ids of tuples in tuples, which were weighed with these
        self._seen: dict[int, Any] = {}  # the values as well: none may be freed and its id come up again
        while self._waiting and len(self._seen) < values_max:
            value = self._waiting.pop()
            if id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            wrong = self._judge(value, [10])
            if wrong and len(self.found) < 5:
                self.found.append(wrong)
            if not wrong:
                self._go_on(value)
        self._waiting, self._seen, self._inner = [], {}, set()

    def _judge_container(self, value: Any, left: list[int]) -> str:
        if type(value) is tuple and id(value) not in self._inner:
            weight, depth = tuple_shape(value)
            if weight > TUPLE_WEIGHT_MAX or depth > TUPLE_DEPTH_MAX:
                return f"a tuple of weight {weight} and depth {depth}"
        if type(value) is dict and "__builtins__" in value:
            return "a namespace"
        return ""

    def _judge_text(self, value: str) -> str:
        """Texts are judged where they come out."""
        return ""

    def _judge(self, value: Any, left: list[int]) -> str:
        kind = type(value)
        if isinstance(value, Exception) and kind in self._exceptions:
            return ""  # one that was raised keeps its traceback, which nothing can name
        if isinstance(value, Exception) and type(kind) is self._script_type:
            return ""
        if kind is types.FunctionType and value.__qualname__ in HOST_CLOSURES:
            return ""
        wrong = super()._judge(value, left)
        of_host = kind.__module__ in OFFERED_NAMES and not isinstance(value, Exception)
        if not wrong and of_host and kind.__name__ not in HOST_TYPES:
            return f"a {kind.__module__}.{kind.__name__}"
        if not wrong and isinstance(value, (types.MethodType, types.BuiltinFunctionType)):
            owner, name = value.__self__, value.__name__
            if name.startswith("_") and type(type(owner)) is not self._script_type:
                return f"a method {name} of {type(owner).__name__}"
        return wrong

    def _go_on(self, value: Any) -> None:
        kind, waiting = type(value), self._waiting
        if kind is tuple:
            self._inner.update(id(each) for each in value if type(each) is tuple)
        if kind in (list, tuple, set):
            waiting.extend(value)
        elif kind is dict:
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif kind is types.FunctionType:
            self._go_on_function(value)
        elif kind in (types.MethodType, types.BuiltinFunctionType):
            if not isinstance(value.__self__, types.ModuleType):
                waiting.append(value.__self__)
        elif kind is self._script_type:
            # What stands under a dunder name is called, but cannot be had: its function is walked into all the same.
            for name, each in vars(value).items():
                if not HIDDEN.fullmatch(name):
                    waiting.append(each)
                else:
                    waiting.extend(part for part in gc.get_referents(each) if type(part) is types.FunctionType)
        elif kind is Data:
            waiting.extend(value.get(index) for index in value.keys())  # noqa: SIM118 - it is no dict
        elif kind is Session:
            waiting.extend((value.random, value.get_logger(), value.get_players()))
        elif isinstance(value, Exception):
            waiting.extend(BaseException.args.__get__(value))  # type: ignore[attr-defined]
        if type(kind) is self._script_type:
            waiting.append(object.__getattribute__(value, "__dict__"))
            waiting.append(kind)

    def _go_on_function(self, function: types.FunctionType) -> None:
        if function.__qualname__ in HOST_CLOSURES or function.__name__ == "print":
            return
        self._waiting.extend(function.__defaults__ or ())
        self._waiting.extend((function.__kwdefaults__ or {}).values())
        self._waiting.extend(vars(function).values())
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if not HIDDEN.fullmatch(name) or name == "__class__":
                try:
                    self._waiting.append(cell.cell_contents)
                except ValueError:
                    pass  # nothing is in it yet

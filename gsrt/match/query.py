"""customQuery: conditions on pending matches, a subset of how MongoDB writes them.

    {"matchData.map": "desert", "matchedPlayers.participantData.level": {"$gte": 10, "$lt": 20}}

A path leads through objects, and through lists into each of their elements: a condition holds if one of the values that
it finds there is right. Values of different kinds are never equal, and none is the greater.
"""

from __future__ import annotations

import operator
from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    Path = tuple[str, ...]
    Value = tuple[int, Any]  # kind, value: what is compared
    Anchor = tuple[Path, tuple[Value, ...]]

    class Column(Protocol):
        """Who has which value at a path, as sets of bits."""

        def equal(self, value: Value, /) -> int: ...
        def compared(self, operator: str, bound: Value, /) -> int: ...


CONDITIONS_MAX = 64  # all comparisons of a query, and the elements of all its lists
DEPTH_MAX = 8  # of operators in one another
PATH_NAMES_MAX = 8
PATHS_MAX = 8  # different ones in a query
TEXT_CHARACTERS_MAX = 256  # of a path, and of a text to compare with

# The paths there are: names that lead nowhere would make a query that silently never finds anybody.
OPEN_ENDED = None
ROOTS: dict[str, Any] = {
    "skill": {},
    "matchGroup": {},
    "matchShortCode": {},
    "matchData": OPEN_ENDED,
    "matchedPlayers": {"playerId": {}, "skill": {}, "participantData": OPEN_ENDED},
}
ROOTS["players"] = ROOTS["matchedPlayers"]  # as the original service's own records call them

NULL, FLAG, NUMBER, TEXT, OTHER, ABSENT = range(6)
COMPARABLE = (NUMBER, TEXT)  # of which one can be greater than another
NOTHING: Value = (NULL, None)
NOWHERE: Value = (ABSENT, None)
SOMETHING: Value = (OTHER, None)


class QueryError(ValueError):
    """A query that is not understood; the text says what of it."""


class View:
    """A pending match as conditions see it: what a path leads to is looked up once."""

    __slots__ = ("_found", "_pending")

    def __init__(self, pending: Mapping[str, object]) -> None:
        self._pending = pending
        self._found: dict[Path, tuple[Value, ...]] = {}

    def values(self, path: Path) -> tuple[Value, ...]:
        """At least one: NOWHERE if the path leads to nothing."""
        found = self._found.get(path)
        if found is None:
            gathered: list[Value] = []
            _gather(self._pending, path, 0, gathered)
            found = self._found[path] = tuple(gathered) or (NOWHERE,)
        return found


def _gather(value: object, path: Path, at: int, gathered: list[Value]) -> None:
    for each in value if isinstance(value, list) else (value,):
        if at == len(path):
            gathered.append(_value(each))
        elif isinstance(each, dict) and path[at] in each:
            _gather(each[path[at]], path, at + 1, gathered)
    if value == [] and at == len(path):
        gathered.append(SOMETHING)


def _value(value: object) -> Value:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return (TEXT, value)
    if isinstance(value, bool):
        return (FLAG, value)
    if isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return (NUMBER, value)
    return SOMETHING


# Every condition says three things: whether it holds for a pending match; of whom it holds, when columns of all their
# values are there; and its anchors, each a path and values of which one must be found there, or it cannot hold.


class Everything:
    """All of several conditions; of none: always."""

    __slots__ = ("conditions", "key")

    def __init__(self, conditions: tuple[Condition, ...]) -> None:
        self.conditions = conditions
        self.key: object = ("$and", tuple(condition.key for condition in conditions))

    def holds(self, view: View) -> bool:
        for condition in self.conditions:  # noqa: SIM110 - all() takes twice as long
            if not condition.holds(view):
                return False
        return True

    def select(self, columns: Mapping[Path, Column], everybody: int) -> int:
        selected = everybody
        for condition in self.conditions:
            selected &= condition.select(columns, everybody)
        return selected

    def anchors(self) -> list[Anchor]:
        return [anchor for condition in self.conditions for anchor in condition.anchors()]


class Either:
    """One of several conditions."""

    __slots__ = ("conditions", "key")

    def __init__(self, conditions: tuple[Condition, ...]) -> None:
        self.conditions = conditions
        self.key: object = ("$or", tuple(condition.key for condition in conditions))

    def holds(self, view: View) -> bool:
        for condition in self.conditions:  # noqa: SIM110
            if condition.holds(view):
                return True
        return False

    def select(self, columns: Mapping[Path, Column], everybody: int) -> int:
        selected = 0
        for condition in self.conditions:
            selected |= condition.select(columns, everybody)
        return selected

    def anchors(self) -> list[Anchor]:
        return []


class Opposite:
    """A condition that does not hold."""

    __slots__ = ("condition", "key")

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.key: object = ("$not", condition.key)

    def holds(self, view: View) -> bool:
        return not self.condition.holds(view)

    def select(self, columns: Mapping[Path, Column], everybody: int) -> int:
        return everybody & ~self.condition.select(columns, everybody)

    def anchors(self) -> list[Anchor]:
        return []


class OneOf:
    """What a path leads to is one of these values. Null is also what is not there at all."""

    __slots__ = ("key", "path", "wanted")

    def __init__(self, path: Path, wanted: tuple[Value, ...]) -> None:
        self.path = path
        self.wanted = tuple(dict.fromkeys((*wanted, NOWHERE) if NOTHING in wanted else wanted))
        self.key: object = ("$in", path, self.wanted)

    def holds(self, view: View) -> bool:
        wanted = self.wanted
        for value in view.values(self.path):  # noqa: SIM110
            if value in wanted:
                return True
        return False

    def select(self, columns: Mapping[Path, Column], everybody: int) -> int:
        column = columns[self.path]
        selected = 0
        for value in self.wanted:
            selected |= column.equal(value)
        return selected

    def anchors(self) -> list[Anchor]:
        return [(self.path, self.wanted)]


class Exists:
    """A path leads to something, null included."""

    __slots__ = ("key", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key: object = ("$exists", path)

    def holds(self, view: View) -> bool:
        return view.values(self.path)[0] is not NOWHERE

    def select(self, columns: Mapping[Path, Column], everybody: int) -> int:
        return everybody & ~columns[self.path].equal(NOWHERE)

    def anchors(self) -> list[Anchor]:
        return []


class Compared:
    """What a path leads to is of the bound's kind, and greater or less."""

    __slots__ = ("bound", "key", "operator", "path")

    def __init__(self, path: Path, operator: str, bound: Value) -> None:
        self.path = path
        self.operator = operator
        self.bound = bound
        self.key: object = (operator, path, bound)

    def holds(self, view: View) -> bool:
        kind, bound = self.bound
        is_right = ORDERINGS[self.operator]
        for value in view.values(self.path):  # noqa: SIM110
            if value[0] == kind and is_right(value[1], bound):
                return True
        return False

    def select(self, columns: Mapping[Path, Column], everybody: int) -> int:
        return columns[self.path].compared(self.operator, self.bound)

    def anchors(self) -> list[Anchor]:
        return []


if TYPE_CHECKING:
    Condition = Everything | Either | Opposite | OneOf | Exists | Compared

ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


class Query:
    """A query that was understood. `key`: equal queries have equal keys; `paths`: what it looks at; `source`: as it
    came."""

    __slots__ = ("condition", "key", "paths", "source")

    def __init__(self, condition: Condition, paths: tuple[Path, ...], source: object) -> None:
        self.condition = condition
        self.key = condition.key
        self.paths = paths
        self.source = source

    def holds(self, view: View) -> bool:
        """accepts() for a pending match of which several things are asked."""
        return self.condition.holds(view)

    def select(self, columns: Mapping[Path, Column], everybody: int) -> int:
        """Of whom it holds, as a set of bits. `columns`: of all of `paths`."""
        return self.condition.select(columns, everybody)

    def anchors(self) -> list[Anchor]:
        """Paths and values, of each of which one must be found there, or it cannot hold."""
        return self.condition.anchors()

    def accepts(self, pending: Mapping[str, object]) -> bool:
        """Whether a pending match (a dict of the shape that players get) is wanted. Never raises."""
        return self.condition.holds(View(pending))


def parse_query(value: object) -> Query:
    """Raises QueryError for what is not understood or too large."""
    reader = _Reader()
    condition = reader.conditions(value, 1)
    return Query(condition, tuple(reader.paths), value)


class _Reader:
    """Reads one query, and counts."""

    def __init__(self) -> None:
        self.left = CONDITIONS_MAX
        self.paths: dict[Path, None] = {}

    def conditions(self, value: object, depth: int) -> Condition:
        if not isinstance(value, dict):
            raise QueryError(f"a query is an object, not {_shown(value)}")
        self.goes_deeper(depth)
        found = [self.condition(name, operand, depth) for name, operand in value.items()]
        return found[0] if len(found) == 1 else Everything(tuple(found))

    def condition(self, name: object, operand: object, depth: int) -> Condition:
        if not isinstance(name, str):
            raise QueryError(f"a name is a text, not {_shown(name)}")
        if name in ("$and", "$or"):
            if not isinstance(operand, list) or not operand:
                raise QueryError(f"{name} needs a list of queries")
            self.counts(len(operand))
            parts = tuple(self.conditions(each, depth + 1) for each in operand)
            return Everything(parts) if name == "$and" else Either(parts)
        if name.startswith("$"):
            raise QueryError(f"{_shown(name)} is not known here")
        path = _path(name)
        self.paths[path] = None
        if len(self.paths) > PATHS_MAX:
            raise QueryError(f"a query looks at no more than {PATHS_MAX} different paths")
        if isinstance(operand, dict):
            return self.comparisons(path, operand, depth)
        self.counts(1)
        return OneOf(path, (self.comparable(operand, name),))

    def comparisons(self, path: Path, value: object, depth: int) -> Condition:
        if not isinstance(value, dict) or not value:
            raise QueryError(f"{'.'.join(path)}: an object of operators is needed, not {_shown(value)}")
        self.goes_deeper(depth)
        found = [self.comparison(path, name, operand, depth) for name, operand in value.items()]
        return found[0] if len(found) == 1 else Everything(tuple(found))

    def comparison(self, path: Path, operator: object, operand: object, depth: int) -> Condition:
        self.counts(1)
        if operator == "$eq":
            return OneOf(path, (self.comparable(operand, operator),))
        if operator == "$ne":
            return Opposite(OneOf(path, (self.comparable(operand, operator),)))
        if operator == "$in" or operator == "$nin":
            if not isinstance(operand, list):
                raise QueryError(f"{operator} needs a list, not {_shown(operand)}")
            self.counts(len(operand))
            one_of = OneOf(path, tuple(self.comparable(each, str(operator)) for each in operand))
            return one_of if operator == "$in" else Opposite(one_of)
        if operator == "$exists":
            if not isinstance(operand, bool):
                raise QueryError(f"$exists needs true or false, not {_shown(operand)}")
            return Exists(path) if operand else Opposite(Exists(path))
        if operator == "$not":
            return Opposite(self.comparisons(path, operand, depth + 1))
        if isinstance(operator, str) and operator in ORDERINGS:
            bound = self.comparable(operand, operator)
            if bound[0] not in COMPARABLE:
                raise QueryError(f"{operator} needs a number or a text, not {_shown(operand)}")
            return Compared(path, operator, bound)
        raise QueryError(f"{'.'.join(path)}: {_shown(operator)} is not known here")

    def comparable(self, value: object, where: str) -> Value:
        comparable = _value(value)
        if comparable is SOMETHING:
            raise QueryError(
                f"{_shown(where)} compares with a text, a number, true, false or null, not {_shown(value)}"
            )
        if comparable[0] == TEXT and len(comparable[1]) > TEXT_CHARACTERS_MAX:
            raise QueryError(f"{_shown(where)}: a text to compare with has at most {TEXT_CHARACTERS_MAX} characters")
        return comparable

    def counts(self, conditions: int) -> None:
        self.left -= conditions
        if self.left < 0:
            raise QueryError(f"a query has at most {CONDITIONS_MAX} conditions and values")

    def goes_deeper(self, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise QueryError(f"a query is at most {DEPTH_MAX} levels deep")


def _path(text: str) -> Path:
    names = tuple(text.split("."))
    if len(text) > TEXT_CHARACTERS_MAX or len(names) > PATH_NAMES_MAX:
        raise QueryError(f"a path has at most {TEXT_CHARACTERS_MAX} characters and {PATH_NAMES_MAX} names")
    if "" in names:
        raise QueryError(f"{_shown(text)} has an empty name in it")
    known = ROOTS
    for name in names:
        if name not in known:
            instead = f"there is {', '.join(known)}" if known else "it has no fields"
            raise QueryError(f"{_shown(text)} leads nowhere at {_shown(name)}: {instead}")
        known = known[name]
        if known is OPEN_ENDED:
            break
    return ("matchedPlayers", *names[1:]) if names[0] == "players" else names


def _shown(value: object) -> str:
    kinds = {dict: "an object", list: "a list", bool: "a flag"}
    text = kinds.get(type(value)) or repr(value)
    return text if len(text) <= 40 else text[:37] + "..."

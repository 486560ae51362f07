"""Queries of all who wait in one pool, each evaluated once per newcomer and not once per pair.

Sets of players are integers, a bit for each player's slot. A wish is a query that one or several of them have; for each
wish it is known whom it accepts. For a new wish that is looked up in columns, which say who has which value at a path.
For a newcomer only those wishes are asked that could accept them: a wish that demands one of certain values at a path
(its anchor) is found by these values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from gsrt.match.query import COMPARABLE, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.match.query import Anchor, Path, Query, Value
    from gsrt.match.waiting import Waiting

COLUMNS_MAX = 16  # kept in one pool, those that were needed last


class Column:
    """Who has which value at a path."""

    def __init__(self) -> None:
        self._holders: dict[Value, int] = {}
        self._order: list[Value] = []  # those of the values that can be greater or less than others

    def add(self, value: Value, bit: int) -> None:
        holders = self._holders.get(value)
        if holders is None:
            holders = 0
            if value[0] in COMPARABLE:
                insort(self._order, value)
        self._holders[value] = holders | bit

    def remove(self, value: Value, bit: int) -> None:
        holders = self._holders[value] & ~bit
        if holders:
            self._holders[value] = holders
            return
        del self._holders[value]
        if value[0] in COMPARABLE:
            del self._order[bisect_left(self._order, value)]

    def equal(self, value: Value) -> int:
        """Who has that value."""
        return self._holders.get(value, 0)

    def compared(self, operator: str, bound: Value) -> int:
        """Who has a value of the bound's kind that is "$gt", "$gte", "$lt" or "$lte" than it."""
        order = self._order
        edge = bisect_right(order, bound) if operator in ("$gt", "$lte") else bisect_left(order, bound)
        if operator in ("$gt", "$gte"):
            values = order[edge : bisect_left(order, (bound[0] + 1,))]
        else:
            values = order[bisect_left(order, (bound[0],)) : edge]
        holders = 0
        for value in values:
            holders |= self._holders[value]
        return holders


class Wish:
    """A query, who has it, and whom it accepts."""

    __slots__ = ("accepted", "anchor", "holders", "query")

    def __init__(self, query: Query) -> None:
        self.query = query
        self.anchor: Anchor | None = None
        self.holders = 0
        self.accepted = 0


class Wishes:
    """Of the players of one pool."""

    def __init__(self) -> None:
        self.everybody = 0
        self.without = 0  # those who have no query
        self.members: list[Waiting | None] = []  # by slot
        self._free: list[int] = []
        self._wishes: dict[object, Wish] = {}
        self._loose: dict[int, Wish] = {}  # without anchor, by identity
        self._anchored: dict[Path, dict[Value, dict[int, Wish]]] = {}
        self._columns: dict[Path, Column] = {}  # the one that was needed last comes last

    def __bool__(self) -> bool:
        """Whether anybody has a query."""
        return bool(self._wishes)

    def add(self, waiting: Waiting) -> None:
        if self._free:
            waiting.slot = self._free.pop()
            self.members[waiting.slot] = waiting
        else:
            waiting.slot = len(self.members)
            self.members.append(waiting)
        bit = 1 << waiting.slot
        self.everybody |= bit
        view = View(waiting.shown)
        for path, column in self._columns.items():
            for value in set(view.values(path)):
                column.add(value, bit)
        for wish in self._about(view):
            if wish.query.holds(view):
                wish.accepted |= bit
        if waiting.query is None:
            self.without |= bit
        else:
            self._wish_for(waiting.query).holders |= bit

    def remove(self, waiting: Waiting) -> None:
        bit = 1 << waiting.slot
        view = View(waiting.shown)
        for wish in self._about(view):
            wish.accepted &= ~bit
        for path, column in self._columns.items():
            for value in set(view.values(path)):
                column.remove(value, bit)
        if waiting.query is None:
            self.without &= ~bit
        else:
            wish = self._wishes[waiting.query.key]
            wish.holders &= ~bit
            if not wish.holders:
                self._forget(wish)
        self.everybody &= ~bit
        self.members[waiting.slot] = None
        self._free.append(waiting.slot)
        waiting.slot = -1

    def wish_of(self, waiting: Waiting) -> Wish | None:
        return None if waiting.query is None else self._wishes[waiting.query.key]

    def agreeing(self, waiting: Waiting) -> int:
        """Whom a player's query accepts, and whose accept the player; perhaps the player too."""
        wish = self.wish_of(waiting)
        bit = 1 << waiting.slot
        accepting = self.without
        for other in self._about(View(waiting.shown)):
            if other.accepted & bit:
                accepting |= other.holders
        return accepting if wish is None else accepting & wish.accepted

    def _about(self, view: View) -> list[Wish]:
        """The wishes that could accept what is seen."""
        found = dict(self._loose)
        for path, by_value in self._anchored.items():
            for value in view.values(path):
                found.update(by_value.get(value, ()))
        return list(found.values())

    def _wish_for(self, query: Query) -> Wish:
        wish = self._wishes.get(query.key)
        if wish is not None:
            return wish
        wish = self._wishes[query.key] = Wish(query)
        wish.anchor = min(query.condition.anchors(), key=self._crowd, default=None)
        if wish.anchor is None:
            self._loose[id(wish)] = wish
        else:
            path, values = wish.anchor
            by_value = self._anchored.setdefault(path, {})
            for value in values:
                by_value.setdefault(value, {})[id(wish)] = wish
        wish.accepted = self._accepted(query)
        return wish

    def _crowd(self, anchor: Anchor) -> int:
        """How many wishes have that anchor."""
        path, values = anchor
        by_value = self._anchored.get(path, {})
        return sum(len(by_value.get(value, ())) for value in values)

    def _forget(self, wish: Wish) -> None:
        del self._wishes[wish.query.key]
        if wish.anchor is None:
            del self._loose[id(wish)]
            return
        path, values = wish.anchor
        by_value = self._anchored[path]
        for value in values:
            del by_value[value][id(wish)]
            if not by_value[value]:
                del by_value[value]
        if not by_value:
            del self._anchored[path]

    def _accepted(self, query: Query) -> int:
        for path in query.paths:
            column = self._columns.pop(path) if path in self._columns else self._new_column(path)
            self._columns[path] = column
        while len(self._columns) > COLUMNS_MAX:
            del self._columns[next(iter(self._columns))]
        return query.condition.select(self._columns, self.everybody)

    def _new_column(self, path: Path) -> Column:
        column = Column()
        for waiting in self.members:
            if waiting is not None:
                for value in set(View(waiting.shown).values(path)):
                    column.add(value, 1 << waiting.slot)
        return column

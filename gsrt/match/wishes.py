"""Queries of all who wait in one pool: whom somebody could play with, without asking everybody.

Sets of players are integers, a bit for each player's slot. Columns say who has which value at a path, so that whom a
query accepts is a matter of a few operations on such sets. The other way, a query that demands one of certain values at
a path (its anchor) is found by the values that a newcomer has there; what is left is asked one by one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from gsrt.match.query import COMPARABLE, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gsrt.match.query import Anchor, Path, Query, Value
    from gsrt.match.waiting import Waiting

COLUMNS_MAX = 16  # kept in one pool, those that were needed last
ASKED_MAX = 256  # different queries that are asked about one player at a time


class Column:
    """Who has which value."""

    def __init__(self) -> None:
        self._holders: dict[Value, int] = {}
        self._order: list[Value] = []  # those of the values that can be greater or less than others

    def __len__(self) -> int:
        """How many different values there are."""
        return len(self._holders)

    def add(self, values: Iterable[Value], bit: int) -> None:
        for value in values:
            holders = self._holders.get(value)
            if holders is None:
                holders = 0
                if value[0] in COMPARABLE:
                    insort(self._order, value)
            self._holders[value] = holders | bit

    def remove(self, values: Iterable[Value], bit: int) -> None:
        for value in values:
            holders = self._holders.get(value)
            if holders is None:
                continue  # it was there twice
            holders &= ~bit
            if holders:
                self._holders[value] = holders
                continue
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
    """A query that somebody has. `count`: how many of them."""

    __slots__ = ("anchor", "count", "query")

    def __init__(self, query: Query, anchor: Anchor | None) -> None:
        self.query = query
        self.anchor = anchor
        self.count = 0


class Wishes:
    """Of the players of one pool."""

    def __init__(self) -> None:
        self.members: list[Waiting | None] = []  # by slot
        self._free: list[int] = []
        self._everybody = 0
        self._unanchored = 0  # also those who have no query
        self._anchored: dict[Path, Column] = {}
        self._wishes: dict[object, Wish] = {}
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
        self._everybody |= bit
        for path, column in self._columns.items():
            column.add(View(waiting.shown).values(path), bit)
        if waiting.query is None:
            self._unanchored |= bit
            return
        wish = self._wishes.get(waiting.query.key)
        if wish is None:
            anchor = min(waiting.query.anchors(), key=self._crowd, default=None)
            wish = self._wishes[waiting.query.key] = Wish(waiting.query, anchor)
        wish.count += 1
        waiting.wish = wish
        if wish.anchor is None:
            self._unanchored |= bit
        else:
            path, values = wish.anchor
            if path not in self._anchored:
                self._anchored[path] = Column()
            self._anchored[path].add(values, bit)

    def remove(self, waiting: Waiting) -> None:
        bit = 1 << waiting.slot
        for path, column in self._columns.items():
            column.remove(View(waiting.shown).values(path), bit)
        wish, waiting.wish = waiting.wish, None
        if wish is not None:
            wish.count -= 1
            if not wish.count:
                del self._wishes[wish.query.key]
            if wish.anchor is not None:
                path, values = wish.anchor
                anchored = self._anchored.get(path)
                if anchored is not None:  # an empty list of values leaves none behind
                    anchored.remove(values, bit)
                    if not anchored:
                        del self._anchored[path]
        self._unanchored &= ~bit
        self._everybody &= ~bit
        self.members[waiting.slot] = None
        self._free.append(waiting.slot)
        waiting.slot = -1

    def promising(self, waiting: Waiting) -> int:
        """Whom a player's query accepts, and whose queries could accept the player; perhaps the player too."""
        promising = self._unanchored
        view = View(waiting.shown)
        for path, anchored in self._anchored.items():
            for value in view.values(path):
                promising |= anchored.equal(value)
        if waiting.query is not None and promising:
            promising &= self._accepted(waiting.query)
        return promising

    def _accepted(self, query: Query) -> int:
        for path in query.paths:
            column = self._columns.pop(path, None)
            if column is None:
                column = _new_column(path, [each for each in self.members if each is not None])
            self._columns[path] = column
        while len(self._columns) > COLUMNS_MAX:
            del self._columns[next(iter(self._columns))]
        return query.select(self._columns, self._everybody)

    def _crowd(self, anchor: Anchor) -> int:
        """How many have a query with that anchor."""
        path, values = anchor
        column = self._anchored.get(path)
        return 0 if column is None else sum(column.equal(value).bit_count() for value in values)


def accepting(asked: Iterable[Waiting], waiting: Waiting) -> list[Waiting]:
    """Those of them whose queries accept somebody. The first ASKED_MAX different queries are asked; who has others
    is left out."""
    view = View(waiting.shown)
    verdicts: dict[int, bool] = {}
    found = []
    for each in asked:
        wish = each.wish
        if wish is None:
            found.append(each)
            continue
        verdict = verdicts.get(id(wish))
        if verdict is None:
            if len(verdicts) == ASKED_MAX:
                continue
            verdict = verdicts[id(wish)] = wish.query.holds(view)
        if verdict:
            found.append(each)
    return found


def agreements(found: Sequence[Waiting]) -> list[int] | None:
    """For each of them, whom of them the query accepts and whose queries accept it: bit j stands for found[j]. None:
    nobody has a query."""
    everybody = (1 << len(found)) - 1
    holders: dict[int, int] = {}
    wishes: dict[int, Wish] = {}
    without = 0
    for index, each in enumerate(found):
        if each.wish is None:
            without |= 1 << index
        else:
            wishes[id(each.wish)] = each.wish
            holders[id(each.wish)] = holders.get(id(each.wish), 0) | 1 << index
    if not wishes:
        return None
    columns: dict[Path, Column] = {}
    accepted: dict[int, int] = {}
    accepting_it = [without] * len(found)
    for key, wish in wishes.items():
        for path in wish.query.paths:
            if path not in columns:
                columns[path] = _new_column(path, found, by_slot=False)
        accepted[key] = selected = wish.query.select(columns, everybody)
        held = holders[key]
        while selected:
            lowest = selected & -selected
            selected ^= lowest
            accepting_it[lowest.bit_length() - 1] |= held
    return [
        asking if each.wish is None else asking & accepted[id(each.wish)]
        for each, asking in zip(found, accepting_it, strict=True)
    ]


def _new_column(path: Path, members: Sequence[Waiting], by_slot: bool = True) -> Column:
    column = Column()
    for index, waiting in enumerate(members):
        column.add(View(waiting.shown).values(path), 1 << (waiting.slot if by_slot else index))
    return column

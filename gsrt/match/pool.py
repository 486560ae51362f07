"""Those who wait for the same match in the same group, and which of them could play together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import nsmallest

from gsrt.match.cliques import largest_set
from gsrt.match.ranks import Rank
from gsrt.match.wishes import Wishes, accepting, agreements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsrt.game.model import Threshold
    from gsrt.match.waiting import Waiting

NEAREST_MAX = 64  # and four per player of a match: so many of those who fit somebody are looked at together


class Pool:
    """Those who wait, found by skill and by what queries ask for."""

    def __init__(self, thresholds: Sequence[Threshold]) -> None:
        self._thresholds = thresholds
        self._ranks: dict[tuple[int, bool], Rank] = {}
        self._wishes = Wishes()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, waiting: Waiting) -> None:
        """Its threshold is to be entered before."""
        self._count += 1
        self._wishes.add(waiting)
        rank = self._rank(waiting)
        if rank is not None:
            rank.add(waiting)

    def remove(self, waiting: Waiting) -> None:
        self._count -= 1
        self._wishes.remove(waiting)
        rank = self._rank(waiting)
        if rank is not None:
            rank.remove(waiting)

    def advance(self, waiting: Waiting, index: int) -> None:
        """The next threshold applies to somebody."""
        before = self._rank(waiting)
        if before is not None:
            before.remove(waiting)
        waiting.enter(index)
        after = self._rank(waiting)
        if after is not None:
            after.add(waiting)

    def suiting(self, somebody: Waiting) -> list[Waiting]:
        """Who suits somebody by skill, and whom they suit, in the order of arrival; queries are not asked."""
        return sorted(self._suiting(somebody), key=_number)

    def fitting(self, somebody: Waiting) -> list[Waiting]:
        """Who fits somebody who need not be in the pool, in the order of arrival."""
        return [each for each in self.suiting(somebody) if each.fits(somebody)]

    def together(self, waiting: Waiting, least: int, most: int) -> list[Waiting]:
        """The largest set of `least` to `most` with somebody of the pool in it, of whom everybody fits everybody, in
        the order of arrival; of equally large ones the one whose players came first. Empty: there is none."""
        if most == 1:
            return [waiting]
        found = self._agreeing(waiting)
        if len(found) < least - 1:
            return []
        if most == 2 and found:
            return sorted([waiting, min(found, key=_number)], key=_number)
        if len(found) > NEAREST_MAX + 4 * most:
            found = nsmallest(
                NEAREST_MAX + 4 * most, found, lambda each: (abs(each.skill - waiting.skill), each.number)
            )
        found.sort(key=_number)
        chosen = largest_set(self._rows(found), least - 1, most - 1)
        if chosen is None:
            return []
        return sorted([waiting, *[found[index] for index in chosen]], key=_number)

    def _rank(self, waiting: Waiting) -> Rank | None:
        """None: nobody suits, by its own threshold."""
        if waiting.low > waiting.high:
            return None
        index = waiting.ticket.threshold
        threshold = self._thresholds[index]
        key = (index, threshold.type == "PERCENT" and waiting.skill < 0)
        rank = self._ranks.get(key)
        if rank is None:
            rank = self._ranks[key] = Rank(threshold, key[1])
        return rank

    def _suiting(self, somebody: Waiting) -> list[Waiting]:
        if somebody.low > somebody.high:
            return []
        found: list[Waiting] = []
        for rank in self._ranks.values():
            found += rank.suiting(somebody)
        return found

    def _agreeing(self, waiting: Waiting) -> list[Waiting]:
        """Who fits somebody of the pool, in no order that means anything."""
        found = self._suiting(waiting)
        if self._wishes and found:
            promising = self._wishes.promising(waiting)
            if promising.bit_count() * 4 < len(found):
                found = [each for each in self._members(promising) if each.suits(waiting)]
            else:
                octets = promising.to_bytes(len(self._wishes.members) // 8 + 1, "little")
                found = [each for each in found if octets[each.slot >> 3] >> (each.slot & 7) & 1]
            found.sort(key=_number)
            found = accepting(found, waiting)
        return [each for each in found if each is not waiting]

    def _members(self, bits: int) -> list[Waiting]:
        found = []
        while bits:
            lowest = bits & -bits
            bits ^= lowest
            member = self._wishes.members[lowest.bit_length() - 1]
            if member is not None:
                found.append(member)
        return found

    def _rows(self, found: list[Waiting]) -> list[int]:
        """For each of them, whom of them they fit: bit j stands for found[j]."""
        everybody = (1 << len(found)) - 1
        skills, by_skill = _sums([(each.skill, 1 << index) for index, each in enumerate(found)])
        lows, by_low = _sums([(each.low, 1 << index) for index, each in enumerate(found)])
        highs, by_high = _sums([(each.high, 1 << index) for index, each in enumerate(found)])
        rows = []
        for index, each in enumerate(found):
            wanted = by_skill[bisect_right(skills, each.high)] & ~by_skill[bisect_left(skills, each.low)]
            wanting = by_low[bisect_right(lows, each.skill)] & (everybody ^ by_high[bisect_left(highs, each.skill)])
            rows.append(wanted & wanting & ~(1 << index))
        agreed = agreements(found)
        return rows if agreed is None else [row & agreeing for row, agreeing in zip(rows, agreed, strict=True)]


def _sums(entries: list[tuple[float, int]]) -> tuple[list[float], list[int]]:
    """The values in order, and for each number of them, which are the first."""
    entries.sort()
    bits, sums = 0, [0]
    for _, bit in entries:
        bits |= bit
        sums.append(bits)
    return [value for value, _ in entries], sums


def _number(waiting: Waiting) -> int:
    return waiting.number

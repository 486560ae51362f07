"""Those of one threshold in the order of their skills, of whom all that suit somebody stand next to one another."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import inf

from gsrt.match.thresholds import interval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.game.model import Threshold
    from gsrt.match.waiting import Waiting

    Key = tuple[float, float]


class Rank:
    """All whose threshold is this one; of PERCENT all whose skills are negative, or all whose are not: within these,
    the ends of what suits somebody rise with the skill, or fall with it."""

    def __init__(self, threshold: Threshold, negative: bool) -> None:
        self._threshold = threshold
        side = -1 if negative else 1
        percent = threshold.type == "PERCENT"
        self._lows_fall = percent and 100 + side * threshold.min < 0
        self._highs_fall = percent and 100 + side * threshold.max < 0
        self._keys: list[Key] = []  # skill, number
        self._members: list[Waiting] = []  # in the same order

    def add(self, waiting: Waiting) -> None:
        key = (waiting.skill, waiting.number)
        at = bisect_left(self._keys, key)
        self._keys.insert(at, key)
        self._members.insert(at, waiting)

    def remove(self, waiting: Waiting) -> None:
        at = bisect_left(self._keys, (waiting.skill, waiting.number))
        del self._keys[at]
        del self._members[at]

    def suiting(self, waiting: Waiting) -> list[Waiting]:
        """Who suits somebody, and whom they suit, themselves included if they would; by skill."""
        keys, skill = self._keys, waiting.skill
        start = bisect_left(keys, (waiting.low, -inf))
        stop = bisect_right(keys, (waiting.high, inf))
        if self._lows_fall:
            start = max(start, bisect_left(keys, -skill, key=lambda key: -self._interval(key)[0]))
        else:
            stop = min(stop, bisect_right(keys, skill, key=lambda key: self._interval(key)[0]))
        if self._highs_fall:
            stop = min(stop, bisect_right(keys, -skill, key=lambda key: -self._interval(key)[1]))
        else:
            start = max(start, bisect_left(keys, skill, key=lambda key: self._interval(key)[1]))
        return self._members[start:stop]

    def _interval(self, key: Key) -> tuple[float, float]:
        return interval(self._threshold, key[0])

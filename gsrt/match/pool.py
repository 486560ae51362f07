"""Those who wait for the same match in the same group, in an order in which those who fit are found quickly."""

from __future__ import annotations

from gsrt.match.cliques import largest_set
from gsrt.match.query import View
from gsrt.match.thresholds import NOBODY, interval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gsrt.game.model import Threshold
    from gsrt.match.matchmaker import Waiting
    from gsrt.match.query import Query


class Seeker:
    """Somebody with a skill, and what others must be like to suit."""

    __slots__ = ("high", "index", "low", "number", "query", "skill", "view")

    def __init__(self, number: int, skill: float, query: Query | None, pending: Mapping[str, object]) -> None:
        """`number`: unique, ascending in the order of arrival. `pending`: what others' queries see."""
        self.number = number
        self.skill = skill
        self.query = query
        self.view = View(pending)
        self.index = 0
        self.low, self.high = NOBODY

    def follow(self, threshold: Threshold, index: int) -> None:
        """That threshold applies from now on."""
        self.index = index
        self.low, self.high = interval(threshold, self.skill)

    def suits(self, other: Seeker) -> bool:
        """Whether this one's skill is what the other looks for."""
        return other.low <= self.skill <= other.high

    def fits(self, other: Seeker) -> bool:
        """Whether each is what the other looks for."""
        return (
            self.low <= other.skill <= self.high
            and other.low <= self.skill <= other.high
            and (self.query is None or self.query.holds(other.view))
            and (other.query is None or other.query.holds(self.view))
        )


class Pool:
    """Those who wait, by their numbers."""

    def __init__(self, thresholds: Sequence[Threshold]) -> None:
        self._everybody: dict[int, Waiting] = {}

    def __len__(self) -> int:
        return len(self._everybody)

    def add(self, seeker: Waiting) -> None:
        self._everybody[seeker.number] = seeker

    def remove(self, seeker: Waiting) -> None:
        del self._everybody[seeker.number]

    def everybody(self) -> list[Waiting]:
        """In the order of arrival."""
        return sorted(self._everybody.values(), key=_number)

    def fitting(self, seeker: Seeker) -> list[Waiting]:
        """Who fits, but for the seeker, in the order of arrival."""
        return [each for each in self.everybody() if each is not seeker and each.fits(seeker)]

    def together(self, seeker: Waiting, least: int, most: int) -> list[Waiting]:
        """The largest set with the seeker in it, of whom everybody fits everybody, in the order of arrival."""
        found = self.fitting(seeker)
        rows = [sum(1 << i for i, b in enumerate(found) if a is not b and a.fits(b)) for a in found]
        chosen = largest_set(rows, least - 1, most - 1)
        if chosen is None:
            return []
        return sorted([seeker, *(found[i] for i in chosen)], key=_number)


def _number(seeker: Seeker) -> int:
    return seeker.number

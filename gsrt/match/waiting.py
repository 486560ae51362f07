"""Tickets, and what the matchmaker knows of one that waits."""

from __future__ import annotations

from math import inf, isfinite

from gsrt.match.thresholds import NOBODY, interval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gsrt.game.model import MatchConfig
    from gsrt.match.gatherings import Pending
    from gsrt.match.query import Query
    from gsrt.match.wishes import Wish


class Ticket:
    """A player who looks for a match. `since`: when that began, on the clock that the matchmaker is told.
    `threshold`: the index of the one that applies, or applied when the match was found; the matchmaker keeps it.

    Raises ValueError if the skill is no finite number."""

    __slots__ = (
        "group",
        "match_data",
        "participant_data",
        "player_id",
        "query",
        "short_code",
        "since",
        "skill",
        "threshold",
    )

    def __init__(
        self,
        player_id: str,
        short_code: str,
        skill: float = 0.0,
        group: str | None = None,
        query: Query | None = None,
        participant_data: Mapping[str, object] | None = None,
        match_data: Mapping[str, object] | None = None,
        since: float = 0.0,
        threshold: int = 0,
    ) -> None:
        try:
            self.skill = float(skill)
        except OverflowError:
            raise ValueError("a skill is a number that fits 64 bits") from None
        if not isfinite(self.skill):
            raise ValueError(f"a skill is a finite number, not {skill}")
        self.player_id = player_id
        self.short_code = short_code
        self.group = group
        self.query = query
        self.participant_data = dict(participant_data or {})
        self.match_data = dict(match_data or {})
        self.since = since
        self.threshold = threshold

    def __repr__(self) -> str:
        return f"Ticket({self.player_id!r}, {self.short_code!r}, {self.skill!r}, {self.group!r})"


def pending_match(pending_id: str | None, group: str | None, tickets: Sequence[Ticket]) -> dict[str, object]:
    """A PendingMatch as players get it and as queries see it. The data is the first player's, the skill is the mean."""
    first = tickets[0]
    return {
        "id": pending_id,
        "matchData": first.match_data,
        "matchGroup": group,
        "matchShortCode": first.short_code,
        "matchedPlayers": [
            {
                "playerId": each.player_id,
                "skill": each.skill,
                "location": {},  # nobody is located
                "participantData": each.participant_data,
            }
            for each in tickets
        ],
        "skill": sum(each.skill / len(tickets) for each in tickets),
    }


class Waiting:
    """A ticket that waits, or that was found for a match under way.

    `number`: unique, ascending in the order of arrival; `shown`: what others' queries see; `low`, `high`: the skills
    that suit it now; `ends`: when its current period is over."""

    __slots__ = (
        "config",
        "ends",
        "high",
        "low",
        "number",
        "pending",
        "query",
        "shown",
        "skill",
        "slot",
        "ticket",
        "wish",
    )

    def __init__(self, ticket: Ticket, config: MatchConfig, number: int) -> None:
        self.ticket = ticket
        self.config = config
        self.number = number
        self.skill = ticket.skill
        self.query = ticket.query
        self.shown = pending_match(None, ticket.group, [ticket])
        self.low, self.high = NOBODY
        self.ends = inf
        self.pending: Pending | None = None  # of a manual match
        self.slot = -1  # in its pool
        self.wish: Wish | None = None  # the same for all with the same query there

    def enter(self, index: int) -> None:
        """The threshold of that index applies from now on."""
        self.ticket.threshold = index
        thresholds = self.config.thresholds
        self.ends = self.ticket.since + sum(each.period for each in thresholds[: index + 1])
        self.low, self.high = interval(thresholds[index], self.skill)

    def suits(self, other: Waiting) -> bool:
        """Whether each one's skill is what the other looks for."""
        return self.low <= other.skill <= self.high and other.low <= self.skill <= other.high

    def fits(self, other: Waiting) -> bool:
        """Whether each is all that the other looks for."""
        return (
            self.suits(other)
            and (self.query is None or self.query.accepts(other.shown))
            and (other.query is None or other.query.accepts(self.shown))
        )

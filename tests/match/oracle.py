"""Matching by trying everything, as the rules are written and not as the matchmaker does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

from gsrt.game.model import MatchConfig, Threshold
from gsrt.match.matchmaker import Ticket


def suits(threshold: Threshold, mine: float, other: float) -> bool:
    """Whether the other's skill suits somebody with mine."""
    if threshold.type == "ABSOLUTE":
        return all(threshold.min <= skill <= threshold.max for skill in (mine, other))
    if threshold.type == "RELATIVE":
        return mine + threshold.min <= other <= mine + threshold.max
    exactly = Fraction(mine)
    low, high = (exactly + abs(exactly) * Fraction(percent) / 100 for percent in (threshold.min, threshold.max))
    return low <= Fraction(other) <= high


def shown(ticket: Ticket) -> dict[str, Any]:
    """The pending match of one."""
    return {
        "matchData": ticket.match_data,
        "matchGroup": ticket.group,
        "matchShortCode": ticket.short_code,
        "matchedPlayers": [
            {"playerId": ticket.player_id, "skill": ticket.skill, "participantData": ticket.participant_data}
        ],
        "skill": ticket.skill,
    }


def wants(config: MatchConfig, mine: Ticket, other: Ticket) -> bool:
    return suits(config.thresholds[mine.threshold], mine.skill, other.skill) and (
        mine.query is None or mine.query.accepts(shown(other))
    )


def fit(config: MatchConfig, one: Ticket, two: Ticket) -> bool:
    return (
        one.short_code == two.short_code
        and one.group == two.group
        and one.player_id != two.player_id
        and wants(config, one, two)
        and wants(config, two, one)
    )


def all_fit(config: MatchConfig, tickets: Iterable[Ticket]) -> bool:
    return all(fit(config, one, two) for one, two in combinations(list(tickets), 2))


def sets_of(config: MatchConfig, tickets: Sequence[Ticket], size: int) -> list[tuple[Ticket, ...]]:
    """All sets of that size who all fit, in lexical order."""
    return [chosen for chosen in combinations(tickets, size) if all_fit(config, chosen)]

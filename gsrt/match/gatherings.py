"""Matches that players come to one by one: pending ones of manual matching, and those under way that they drop into."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.game.model import MatchConfig
    from gsrt.match.waiting import Waiting


class Pending:
    """Players of a manual match that still waits for others."""

    __slots__ = ("members", "pending_id")

    def __init__(self, pending_id: str, members: list[Waiting]) -> None:
        self.pending_id = pending_id
        self.members = members


class Open:
    """A match under way that players may drop into. Its members are compared by the thresholds they were found with."""

    __slots__ = ("config", "group", "match_id", "members", "until")

    def __init__(
        self, match_id: str, config: MatchConfig, group: str | None, members: list[Waiting], until: float
    ) -> None:
        self.match_id = match_id
        self.config = config
        self.group = group
        self.members = members
        self.until = until

    @property
    def is_full(self) -> bool:
        return len(self.members) >= self.config.max_players

    def takes(self, newcomer: Waiting) -> bool:
        """Whether there is a place, and the newcomer and all who are in it fit each other."""
        if self.is_full:
            return False
        player_id = newcomer.ticket.player_id
        return all(each.ticket.player_id != player_id and each.fits(newcomer) for each in self.members)

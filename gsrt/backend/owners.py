"""Whose something is: a player, whom a script may have named wrongly, or who was deleted meanwhile."""

from __future__ import annotations

from gsrt.backend.call import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.store.store import Transaction


def exists(tx: Transaction, player_id: str) -> bool:
    """Whether there is such a player."""
    return tx.one("SELECT 1 FROM players WHERE id = ?", (player_id,)) is not None


def must_exist(tx: Transaction, player_id: str) -> None:
    """Raises Failure where there is no such player."""
    if not exists(tx, player_id):
        raise Failure(playerId="NOT_FOUND")

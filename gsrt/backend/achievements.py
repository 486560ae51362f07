"""What players have earned, each of it once."""

from __future__ import annotations

from gsrt.backend import messages, wallet
from gsrt.backend.owners import must_exist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsrt.game.model import Achievement
    from gsrt.store.store import Transaction


def earned(tx: Transaction, player_id: str) -> list[str]:
    """Codes of the player's achievements, in the order of the codes."""
    return [code for (code,) in tx.all("SELECT code FROM achievements WHERE player = ? ORDER BY code", (player_id,))]


def award(
    tx: Transaction,
    player_id: str,
    achievement: Achievement,
    mosts: Mapping[str, int | None],
    messages_max: int = messages.MESSAGES_MAX,
) -> bool:
    """The player has earned it: it is noted, its reward is given as far as the player may have it (MOSTS: of goods, see
    wallet.grant), and an AchievementEarnedMessage goes to the player. False: it was earned before, nothing is done.

    Raises Failure: playerId: NOT_FOUND."""
    must_exist(tx, player_id)
    noted = tx.execute(
        "INSERT INTO achievements (player, code, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (player_id, achievement.code, tx.now),
    )
    if not noted.rowcount:
        return False
    reason = f"achievement {achievement.code}"
    given = wallet.grant(tx, player_id, achievement.currencies, achievement.goods, reason, mosts)
    body: dict[str, object] = {
        "achievementName": achievement.name,
        "achievementShortCode": achievement.code,
        "currencyAwards": given["currencies"],
        "title": achievement.name,
        "summary": achievement.description,
    }
    if given["goods"]:
        body["virtualGoodEarned"] = next(iter(given["goods"]))  # the original's achievements give one good at most
    messages.put(tx, player_id, "AchievementEarnedMessage", body, keep=True, most=messages_max)
    return True

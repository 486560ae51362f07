"""AwardAchievementRequest: a script finds that a player has earned something."""

from __future__ import annotations

from gsrt.backend import achievements
from gsrt.backend.call import FLAG, TEXT, Failure, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "AwardAchievementRequest"
SUMMARY = "Gives the player an achievement and its reward, once; an AchievementEarnedMessage tells the player."
SCRIPTS_ONLY = True
FIELDS = (Field("shortCode", TEXT, required=True, doc="the achievement"),)
ANSWER = (Field("awarded", FLAG, doc="false: the player had earned it before, nothing was given"),)
ERRORS = (
    ("shortCode", "UNKNOWN", "there is no such achievement"),
    ("playerId", "NOT_FOUND", "there is no such player"),
)


def run(call: Call) -> Steps:
    game = call.desk.game
    achievement = game.achievements.get(call.fields["shortCode"])
    if achievement is None:
        raise Failure(shortCode="UNKNOWN")
    mosts = {code: game.goods[code].most for code in achievement.goods if code in game.goods}
    most = call.desk.profile.messages_per_player_max
    awarded = yield Stored(achievements.award, call.player, achievement, mosts, most)
    return {"awarded": awarded}

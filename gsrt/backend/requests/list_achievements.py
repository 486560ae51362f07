"""ListAchievementsRequest: what there is to earn."""

from __future__ import annotations

from gsrt.backend import achievements
from gsrt.backend.call import LIST, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "ListAchievementsRequest"
SUMMARY = "Lists the game's achievements and which of them the player has earned."
FIELDS = ()
ANSWER = (
    Field(
        "achievements",
        LIST,
        doc="in the order of achievements.toml: shortCode, name, description, earned, propertySet (always empty)",
    ),
)
ERRORS: tuple[tuple[str, str, str], ...] = ()


def run(call: Call) -> Steps:
    earned = yield Stored(achievements.earned, call.player)
    return {
        "achievements": [
            {
                "shortCode": each.code,
                "name": each.name,
                "description": each.description,
                "earned": each.code in earned,
                "propertySet": {},
            }
            for each in call.desk.game.achievements.values()
        ]
    }

"""AccountDetailsRequest: what a player has."""

from __future__ import annotations

from gsrt.backend import players
from gsrt.backend.call import INTEGER, LIST, OBJECT, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "AccountDetailsRequest"
SUMMARY = "Tells who the player is and what the player has."
FIELDS = ()
ANSWER = (
    Field("userId", TEXT, doc="the player's id"),
    Field("displayName", TEXT, doc="the player's name as others see it"),
    *(
        Field(
            f"currency{number}", INTEGER, doc=f"how much of currency {number} of the game's, in the order of game.toml"
        )
        for number in range(1, players.NUMBERED_CURRENCIES + 1)
    ),
    Field("currencies", OBJECT, doc="currency: how much of it"),
    *(
        Field(f"reservedCurrency{number}", OBJECT, doc="always empty: nothing is reserved here")
        for number in range(1, players.NUMBERED_CURRENCIES + 1)
    ),
    Field("reservedCurrencies", OBJECT, doc="always empty"),
    Field("virtualGoods", OBJECT, doc="good: how many of it"),
    Field("achievements", LIST, doc="short codes of those the player has earned"),
    Field("externalIds", OBJECT, doc="always empty: there are no social networks here"),
    Field("location", OBJECT, doc="always empty: nobody is located"),
)
ERRORS: tuple[tuple[str, str, str], ...] = ()


def run(call: Call) -> Steps:
    found: dict[str, object] = yield Stored(players.details, call.player, tuple(call.desk.game.currencies))
    return found

"""What the requests that sign a player in have in common."""

from __future__ import annotations

from gsrt.backend.call import FLAG, OBJECT, TEXT, Field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.backend.call import Call
    from gsrt.backend.newcomers import Newcomer

ANSWER = (
    Field("authToken", TEXT, doc="what signs the player in with the next handshake; not for scripts"),
    Field("displayName", TEXT, doc="the player's name as others see it"),
    Field("newPlayer", FLAG, doc="whether this request has made the player"),
    Field("userId", TEXT, doc="the player's id"),
    Field("switchSummary", OBJECT, doc="{id, displayName} of who was signed in by this connection, if somebody else"),
)


TOO_MANY_ERROR = ("player", "TOO_MANY", "a new player was to be made, and too many were from this address lately")


def newcomer(call: Call) -> Newcomer:
    """Whoever signs in, as somebody who may be new."""
    return call.desk.newcomers.one("" if call.connection is None else call.connection.address)


def tokens_max(call: Call) -> int:
    """How many tokens the player keeps; 0: a script asks, and gets none."""
    return 0 if call.connection is None else call.desk.profile.auth_tokens_per_player_max


def signup(call: Call) -> dict[str, int]:
    """What a new player gets of each currency."""
    return {code: currency.signup for code, currency in call.desk.game.currencies.items()}


def finish(call: Call, found: dict[str, Any]) -> dict[str, object]:
    """The answer, once the store has found who signs in: the connection is that player's from here on."""
    if call.connection is not None:
        call.connection.sign_in(found["userId"], found["authToken"])
    return found

"""GrantGoodRequest: a script gives a player goods for nothing."""

from __future__ import annotations

from gsrt.backend import wallet
from gsrt.backend.call import INTEGER, TEXT, Failure, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "GrantGoodRequest"
SUMMARY = "Gives the player goods for nothing."
SCRIPTS_ONLY = True
FIELDS = (
    Field("shortCode", TEXT, required=True, doc="the good"),
    Field("quantity", INTEGER, default=1, least=1, doc="how many of it"),
    Field("reason", TEXT, default="granted", most=200, doc="for the ledger"),
)
ANSWER = (Field("quantity", INTEGER, doc="how many the player has by now"),)
ERRORS = (
    ("shortCode", "UNKNOWN", "there is no such good"),
    ("quantity", wallet.EXCEEDS_MAX_QUANTITY, "the player would have more of the good than one may"),
    ("playerId", "NOT_FOUND", "there is no such player"),
)


def run(call: Call) -> Steps:
    fields = call.fields
    good = call.desk.game.goods.get(fields["shortCode"])
    if good is None:
        raise Failure(shortCode="UNKNOWN")
    after = yield Stored(wallet.change_good, call.player, good.code, fields["quantity"], fields["reason"], good.most)
    return {"quantity": after}

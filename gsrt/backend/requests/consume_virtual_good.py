"""ConsumeVirtualGoodRequest: a player uses up what was bought."""

from __future__ import annotations

from gsrt.backend import wallet
from gsrt.backend.call import INTEGER, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "ConsumeVirtualGoodRequest"
SUMMARY = "Takes goods away from the player, who has used them up."
FIELDS = (
    Field("shortCode", TEXT, required=True, doc="the good"),
    Field("quantity", INTEGER, required=True, least=1, doc="how many of it"),
)
ANSWER = ()
ERRORS = (("qty", wallet.INSUFFICIENT, "the player has not so many of it"),)


def run(call: Call) -> Steps:
    code, quantity = call.fields["shortCode"], call.fields["quantity"]
    yield Stored(wallet.change_good, call.player, code, -quantity, "consumed", None, "qty")
    return {}

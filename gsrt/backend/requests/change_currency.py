"""ChangeCurrencyRequest: a script pays a player, or has one pay."""

from __future__ import annotations

from gsrt.backend import wallet
from gsrt.backend.call import INTEGER, TEXT, Failure, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "ChangeCurrencyRequest"
SUMMARY = "Adds to what the player has of a currency, or takes from it, but never more than there is."
SCRIPTS_ONLY = True
FIELDS = (
    Field("currencyShortCode", TEXT, required=True, doc="the currency"),
    Field("amount", INTEGER, required=True, doc="what is added; taken away where it is negative"),
    Field("reason", TEXT, default="script", most=200, doc="for the ledger"),
)
ANSWER = (Field("balance", INTEGER, doc="what the player has by now"),)
ERRORS = (
    ("currencyShortCode", "UNRECOGNISED", "there is no such currency"),
    ("amount", wallet.INSUFFICIENT_FUNDS, "the player has not so much"),
    ("amount", wallet.TOO_MUCH, f"the player would have more than {wallet.AMOUNT_MAX:,}"),
    ("playerId", "NOT_FOUND", "there is no such player"),
)


def run(call: Call) -> Steps:
    fields = call.fields
    currency = fields["currencyShortCode"]
    if currency not in call.desk.game.currencies:
        raise Failure(currencyShortCode="UNRECOGNISED")
    balance = yield Stored(wallet.change_currency, call.player, currency, fields["amount"], fields["reason"], "amount")
    return {"balance": balance}

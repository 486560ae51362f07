"""BuyVirtualGoodsRequest: goods for a currency."""

from __future__ import annotations

from gsrt.backend import wallet
from gsrt.backend.call import INTEGER, LIST, TEXT, Failure, Field, Stored
from gsrt.backend.players import NUMBERED_CURRENCIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "BuyVirtualGoodsRequest"
SUMMARY = "Buys goods: they are the player's and the price is paid, or neither."
FIELDS = (
    Field("shortCode", TEXT, required=True, doc="the good"),
    Field("quantity", INTEGER, required=True, least=1, doc="how many of it"),
    Field("currencyShortCode", TEXT, doc="the currency to pay in; not needed where the good has one price only"),
    Field(
        "currencyType",
        INTEGER,
        least=1,
        most=NUMBERED_CURRENCIES,
        doc="the same, as the number that the currency has in the order of game.toml",
    ),
)
ANSWER = (
    Field("boughtItems", LIST, doc="what was bought: shortCode, quantity"),
    Field("currencyConsumed", INTEGER, doc="what was paid"),
    Field("currencyShortCode", TEXT, doc="in which currency"),
    Field("currencyType", INTEGER, doc="its number, where it is one of the first six"),
)
ERRORS = (
    ("shortCode", "UNKNOWN", "there is no such good"),
    ("currencyShortCode", "UNRECOGNISED", "no such currency, or none was named and the good has several prices"),
    ("currencyShortCode", "NO_PRICE", "the good is not sold for this currency"),
    (
        "currency1 to currency6",
        wallet.INSUFFICIENT_FUNDS,
        "the player has not enough of it (of another currency: its name)",
    ),
    ("quantity", wallet.EXCEEDS_MAX_QUANTITY, "the player would have more of the good than one may"),
)


def run(call: Call) -> Steps:
    fields, game = call.fields, call.desk.game
    good = game.goods.get(fields["shortCode"])
    if good is None:
        raise Failure(shortCode="UNKNOWN")
    codes = list(game.currencies)
    currency, number = fields["currencyShortCode"], fields["currencyType"]
    if currency is None and number is not None and number <= len(codes):
        currency = codes[number - 1]
    elif currency is None and number is None and len(good.prices) == 1:
        currency = next(iter(good.prices))
    if currency not in game.currencies:
        raise Failure(currencyShortCode="UNRECOGNISED")
    if currency not in good.prices:
        raise Failure(currencyShortCode="NO_PRICE")
    number = codes.index(currency) + 1
    named = f"currency{number}" if number <= NUMBERED_CURRENCIES else currency
    quantity, price = fields["quantity"], good.prices[currency]
    paid = yield Stored(wallet.buy, call.player, good.code, quantity, currency, price, good.most, named)
    answer = {
        "boughtItems": [{"shortCode": good.code, "quantity": quantity}],
        "currencyConsumed": paid,
        "currencyShortCode": currency,
    }
    return answer if number > NUMBERED_CURRENCIES else {**answer, "currencyType": number}

"""ListVirtualGoodsRequest: what there is to buy."""

from __future__ import annotations

from gsrt.backend.call import LIST, Field
from gsrt.backend.players import NUMBERED_CURRENCIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "ListVirtualGoodsRequest"
SUMMARY = "Lists the goods of the game and what they cost."
FIELDS = ()
ANSWER = (
    Field(
        "virtualGoods",
        LIST,
        doc="in the order of goods.toml: shortCode, name, description, type (VGOOD), currencyCosts (currency: price,"
        " any of which will do), currency1Cost to currency6Cost (the same for the first six currencies of game.toml),"
        " maxQuantity (that one player may have; not there if there is no limit), disabled (always false)",
    ),
)
ERRORS: tuple[tuple[str, str, str], ...] = ()


def run(call: Call) -> Steps:
    game = call.desk.game
    numbered = list(game.currencies)[:NUMBERED_CURRENCIES]
    listed: list[dict[str, object]] = []
    for good in game.goods.values():
        entry: dict[str, object] = {
            "shortCode": good.code,
            "name": good.name,
            "description": good.description,
            "type": "VGOOD",
            "currencyCosts": good.prices,
            "disabled": False,
        }
        for number, currency in enumerate(numbered, 1):
            if currency in good.prices:
                entry[f"currency{number}Cost"] = good.prices[currency]
        if good.most is not None:
            entry["maxQuantity"] = good.most
        listed.append(entry)
    yield from ()  # nothing is done elsewhere
    return {"virtualGoods": listed}

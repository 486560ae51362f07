"""What players have: balances of currencies, quantities of goods.

Each change is written to the ledger in the same operation, so that for each player and code the sum of the ledger's
deltas is the balance. Nothing ever goes below zero or above AMOUNT_MAX. The ledger keeps the last LEDGER_ROWS_KEPT
changes or more of each player and code; older ones are one row, "carried forward".
"""

from __future__ import annotations

from gsrt.backend.call import INTEGER_MAX, Failure
from gsrt.backend.owners import must_exist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsrt.store.store import Transaction

CURRENCY = "currency"  # kinds of the ledger
GOOD = "good"

AMOUNT_MAX = INTEGER_MAX
LEDGER_ROWS_MAX = 256  # of a player and code: one that is bought every minute does not fill the disk
LEDGER_ROWS_KEPT = 128  # left as they are when there are more than that
CARRIED = "carried forward"

INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
INSUFFICIENT = "INSUFFICIENT"
EXCEEDS_MAX_QUANTITY = "EXCEEDS_MAX_QUANTITY"
TOO_MUCH = "TOO_MUCH"


def balances(tx: Transaction, player_id: str) -> dict[str, int]:
    """The player's currencies: code to amount. One that the player never had is not in it."""
    return dict(tx.all("SELECT currency, amount FROM balances WHERE player = ? ORDER BY currency", (player_id,)))


def goods(tx: Transaction, player_id: str) -> dict[str, int]:
    """The player's goods: code to quantity, which is at least 1."""
    return dict(tx.all("SELECT good, quantity FROM goods WHERE player = ? ORDER BY good", (player_id,)))


def change_currency(
    tx: Transaction, player_id: str, currency: str, delta: int, reason: str, field: str = CURRENCY
) -> int:
    """Adds DELTA, which may be negative, to the player's balance and returns the new one.

    Raises Failure: FIELD: INSUFFICIENT_FUNDS or TOO_MUCH, playerId: NOT_FOUND."""
    must_exist(tx, player_id)
    after = _balance(tx, player_id, currency) + delta
    if after < 0:
        raise Failure({field: INSUFFICIENT_FUNDS})
    if after > AMOUNT_MAX:
        raise Failure({field: TOO_MUCH})
    if delta:
        tx.execute(
            "INSERT INTO balances (player, currency, amount) VALUES (?, ?, ?)"
            " ON CONFLICT (player, currency) DO UPDATE SET amount = excluded.amount",
            (player_id, currency, after),
        )
        _enter(tx, player_id, CURRENCY, currency, delta, after, reason)
    return after


def change_good(
    tx: Transaction,
    player_id: str,
    good: str,
    delta: int,
    reason: str,
    most: int | None = None,
    field: str = "quantity",
) -> int:
    """Adds DELTA, which may be negative, to what the player has of a good and returns the new quantity. MOST: what one
    player may have; who has more already, for it was more once, keeps it.

    Raises Failure: FIELD: INSUFFICIENT or EXCEEDS_MAX_QUANTITY, playerId: NOT_FOUND."""
    must_exist(tx, player_id)
    after = _quantity(tx, player_id, good) + delta
    if after < 0:
        raise Failure({field: INSUFFICIENT})
    if delta > 0 and after > (AMOUNT_MAX if most is None else most):
        raise Failure({field: EXCEEDS_MAX_QUANTITY})
    if not delta:
        return after
    if after:
        tx.execute(
            "INSERT INTO goods (player, good, quantity) VALUES (?, ?, ?)"
            " ON CONFLICT (player, good) DO UPDATE SET quantity = excluded.quantity",
            (player_id, good, after),
        )
    else:
        tx.execute("DELETE FROM goods WHERE player = ? AND good = ?", (player_id, good))
    _enter(tx, player_id, GOOD, good, delta, after, reason)
    return after


def buy(
    tx: Transaction,
    player_id: str,
    good: str,
    quantity: int,
    currency: str,
    price: int,
    most: int | None,
    field: str = CURRENCY,
) -> int:
    """Takes QUANTITY times PRICE and gives the goods for it; returns what was paid. FIELD is named where funds are
    insufficient. Raises Failure as change_currency and change_good do."""
    paid = price * quantity
    change_currency(tx, player_id, currency, -paid, f"bought {good}", field)
    change_good(tx, player_id, good, quantity, f"bought for {paid} {currency}", most)
    return paid


def grant(
    tx: Transaction,
    player_id: str,
    currencies: Mapping[str, int],
    goods: Mapping[str, int],
    reason: str,
    mosts: Mapping[str, int | None],
) -> dict[str, dict[str, int]]:
    """Gives a reward, as much of it as the player may have (MOSTS: of goods), and returns what was given:
    {"currencies": {code: amount}, "goods": {code: quantity}}."""
    given: dict[str, dict[str, int]] = {"currencies": {}, "goods": {}}
    for code, amount in currencies.items():
        amount = min(amount, AMOUNT_MAX - _balance(tx, player_id, code))
        if amount > 0:
            change_currency(tx, player_id, code, amount, reason)
            given["currencies"][code] = amount
    for code, quantity in goods.items():
        most = mosts.get(code)
        quantity = min(quantity, (AMOUNT_MAX if most is None else most) - _quantity(tx, player_id, code))
        if quantity > 0:
            change_good(tx, player_id, code, quantity, reason, most)
            given["goods"][code] = quantity
    return given


def _balance(tx: Transaction, player_id: str, currency: str) -> int:
    found = tx.one("SELECT amount FROM balances WHERE player = ? AND currency = ?", (player_id, currency))
    return 0 if found is None else int(found[0])


def _quantity(tx: Transaction, player_id: str, good: str) -> int:
    found = tx.one("SELECT quantity FROM goods WHERE player = ? AND good = ?", (player_id, good))
    return 0 if found is None else int(found[0])


def _enter(tx: Transaction, player_id: str, kind: str, code: str, delta: int, balance: int, reason: str) -> None:
    """A row of the ledger; from time to time old ones are carried forward."""
    tx.execute(
        "INSERT INTO ledger (player, kind, code, delta, balance, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (player_id, kind, code, delta, balance, reason, tx.now),
    )
    newest = "SELECT id FROM ledger WHERE player = ? AND kind = ? AND code = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
    if tx.one(newest, (player_id, kind, code, LEDGER_ROWS_MAX)) is None:
        return
    of = (player_id, kind, code, *(tx.one(newest, (player_id, kind, code, LEDGER_ROWS_KEPT)) or ()))
    older = "FROM ledger WHERE player = ? AND kind = ? AND code = ? AND id <= ?"
    carried = tx.one(f"SELECT id, balance, at {older} ORDER BY id DESC LIMIT 1", of)
    assert carried is not None
    row, balance, at = carried  # its balance is the sum of all deltas until then
    tx.execute(f"DELETE {older}", of)
    tx.execute(
        "INSERT INTO ledger (id, player, kind, code, delta, balance, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (row, player_id, kind, code, balance, balance, CARRIED, at),
    )

"""Balances and goods: never below zero, never above what one may have, and the ledger knows of every change."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gsrt.backend import wallet
from gsrt.backend.call import Failure
from tests.backend.scene import Scene


def failure(scene: Scene, *operation: object) -> dict[str, object]:
    with pytest.raises(Failure) as raised:
        scene.do(*operation)  # type: ignore[arg-type]
    return raised.value.errors


def test_a_balance_changes_and_the_ledger_says_why(scene: Scene) -> None:
    assert scene.do(wallet.change_currency, "ann", "GOLD", 10, "found") == 10
    assert scene.do(wallet.change_currency, "ann", "GOLD", -4, "lost") == 6
    assert scene.do(wallet.balances, "ann") == {"GOLD": 6}
    ledger = scene.rows("SELECT player, kind, code, delta, balance, reason, at FROM ledger ORDER BY id")
    assert ledger == [
        ("ann", "currency", "GOLD", 10, 10, "found", scene.now),
        ("ann", "currency", "GOLD", -4, 6, "lost", scene.now),
    ]


def test_nothing_goes_below_zero(scene: Scene) -> None:
    scene.do(wallet.change_currency, "ann", "GOLD", 3, "")
    assert failure(scene, wallet.change_currency, "ann", "GOLD", -4, "") == {"currency": "INSUFFICIENT_FUNDS"}
    assert failure(scene, wallet.change_good, "ann", "sword", -1, "") == {"quantity": "INSUFFICIENT"}
    assert scene.do(wallet.balances, "ann") == {"GOLD": 3}
    assert len(scene.rows("SELECT * FROM ledger")) == 1


def test_the_whole_balance_can_be_spent_and_zero_changes_nothing(scene: Scene) -> None:
    scene.do(wallet.change_currency, "ann", "GOLD", 3, "")
    assert scene.do(wallet.change_currency, "ann", "GOLD", -3, "") == 0
    assert scene.do(wallet.change_currency, "ann", "GOLD", 0, "") == 0
    assert scene.do(wallet.change_good, "ann", "sword", 0, "") == 0
    assert len(scene.rows("SELECT * FROM ledger")) == 2


@pytest.mark.parametrize("delta", [2**53, 2**63, 2**200])
def test_no_number_is_too_large_to_be_refused(scene: Scene, delta: int) -> None:
    scene.do(wallet.change_currency, "ann", "GOLD", 1, "")
    assert failure(scene, wallet.change_currency, "ann", "GOLD", delta, "") == {"currency": "TOO_MUCH"}
    assert failure(scene, wallet.change_currency, "ann", "GOLD", -delta, "") == {"currency": "INSUFFICIENT_FUNDS"}
    assert failure(scene, wallet.change_good, "ann", "sword", delta + 1, "") == {"quantity": "EXCEEDS_MAX_QUANTITY"}
    assert failure(scene, wallet.buy, "ann", "sword", delta, "GOLD", delta, None) == {"currency": "INSUFFICIENT_FUNDS"}


def test_the_most_there_may_be_is_exact(scene: Scene) -> None:
    assert scene.do(wallet.change_currency, "ann", "GOLD", 2**53, "") == 2**53
    assert failure(scene, wallet.change_currency, "ann", "GOLD", 1, "") == {"currency": "TOO_MUCH"}


def test_goods_that_are_used_up_are_gone(scene: Scene) -> None:
    assert scene.do(wallet.change_good, "ann", "potion", 2, "found", 5) == 2
    assert scene.do(wallet.change_good, "ann", "potion", -2, "drunk") == 0
    assert scene.do(wallet.goods, "ann") == {}


def test_one_player_has_no_more_of_a_good_than_one_may(scene: Scene) -> None:
    scene.do(wallet.change_good, "ann", "sword", 2, "", 2)
    assert failure(scene, wallet.change_good, "ann", "sword", 1, "", 2) == {"quantity": "EXCEEDS_MAX_QUANTITY"}
    # The game has come to allow fewer than the player has: these can be used up.
    assert scene.do(wallet.change_good, "ann", "sword", -1, "", 0) == 1


def test_buying_is_paying_and_getting_or_neither(scene: Scene) -> None:
    scene.do(wallet.change_currency, "ann", "GOLD", 10, "")
    assert scene.do(wallet.buy, "ann", "sword", 2, "GOLD", 3, 3) == 6
    assert (scene.do(wallet.balances, "ann"), scene.do(wallet.goods, "ann")) == ({"GOLD": 4}, {"sword": 2})
    assert failure(scene, wallet.buy, "ann", "sword", 2, "GOLD", 3, 9, "currency1") == {
        "currency1": "INSUFFICIENT_FUNDS"
    }
    # The price is taken first: it comes back when the goods cannot be had.
    assert failure(scene, wallet.buy, "ann", "sword", 2, "GOLD", 1, 3) == {"quantity": "EXCEEDS_MAX_QUANTITY"}
    assert (scene.do(wallet.balances, "ann"), scene.do(wallet.goods, "ann")) == ({"GOLD": 4}, {"sword": 2})


def test_what_costs_nothing_can_be_had_without_any_money(scene: Scene) -> None:
    assert scene.do(wallet.buy, "ann", "leaflet", 1, "GOLD", 0, None) == 0
    assert scene.do(wallet.goods, "ann") == {"leaflet": 1}


def test_a_reward_is_given_as_far_as_one_may_have_it(scene: Scene) -> None:
    scene.do(wallet.change_currency, "ann", "GOLD", 2**53 - 5, "")
    scene.do(wallet.change_good, "ann", "sword", 1, "", 2)
    scene.do(wallet.change_good, "ann", "crown", 1, "", 1)
    given = scene.do(
        wallet.grant,
        "ann",
        {"GOLD": 10, "GEMS": 3},
        {"sword": 4, "crown": 1, "stone": 7},
        "reward",
        {"sword": 2, "crown": 1, "stone": None},
    )
    assert given == {"currencies": {"GOLD": 5, "GEMS": 3}, "goods": {"sword": 1, "stone": 7}}
    assert scene.do(wallet.goods, "ann") == {"crown": 1, "stone": 7, "sword": 2}


def test_nobody_has_nothing(scene: Scene) -> None:
    assert failure(scene, wallet.change_currency, "bob", "GOLD", 1, "") == {"playerId": "NOT_FOUND"}
    assert failure(scene, wallet.change_good, "bob", "sword", 1, "") == {"playerId": "NOT_FOUND"}
    assert (scene.do(wallet.balances, "bob"), scene.do(wallet.goods, "bob")) == ({}, {})


def test_the_ledger_of_one_player_and_code_is_bounded_and_still_balances(scene: Scene) -> None:
    scene.player("bob")
    scene.do(wallet.change_currency, "bob", "GOLD", 7, "")
    for number in range(1000):
        scene.now += 1
        scene.do(wallet.change_currency, "ann", "GOLD", 3 if number % 2 else -1 if number else 5, f"change {number}")
        rows = scene.rows("SELECT COUNT(*), SUM(delta) FROM ledger WHERE player = 'ann'")
        assert rows[0][0] <= wallet.LEDGER_ROWS_MAX
        assert rows[0][1] == scene.do(wallet.balances, "ann")["GOLD"]
    kept = scene.rows("SELECT reason, at, balance, delta FROM ledger WHERE player = 'ann' ORDER BY id")
    reason, at, balance, delta = kept[0]
    assert (reason, balance) == (wallet.CARRIED, delta)
    assert at < kept[1][1]
    last = [row[0] for row in kept[-wallet.LEDGER_ROWS_KEPT + 1 :]]
    assert last == [f"change {number}" for number in range(1000 - len(last), 1000)]
    assert scene.rows("SELECT delta FROM ledger WHERE player = 'bob'") == [(7,)]


class Wallets(RuleBasedStateMachine):
    """Whatever is done, in whatever order: what players have is what the ledger adds up to, and what a model has."""

    players = st.sampled_from(["ann", "bob"])
    codes = st.sampled_from(["GOLD", "GEMS"])
    things = st.sampled_from(["sword", "potion"])
    amounts = st.one_of(st.integers(-20, 20), st.integers(-(2**54), 2**54))
    quantities = st.one_of(st.integers(1, 5), st.integers(1, 2**54))
    mosts = st.one_of(st.none(), st.integers(0, 12))

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene()
        self.model: dict[tuple[str, str, str], int] = {}
        self.there = {"ann", "bob"}
        for name in self.there:
            self.scene.player(name)

    def teardown(self) -> None:
        self.scene.close()

    def attempt(self, changes: dict[tuple[str, str, str], int], most: int | None, *operation: object) -> None:
        """The operation makes all of CHANGES, or fails because one of them cannot be."""
        after = {key: self.model.get(key, 0) + delta for key, delta in changes.items()}
        mosts = {key: 2**53 if most is None or key[1] == "currency" else most for key in after}
        possible = all(amount >= 0 and (changes[key] <= 0 or amount <= mosts[key]) for key, amount in after.items())
        if possible and next(iter(changes))[0] in self.there:
            self.scene.do(*operation)  # type: ignore[arg-type]
            self.model.update(after)
        else:
            assert failure(self.scene, *operation)

    @rule(player=players, code=codes, delta=amounts)
    def change_currency(self, player: str, code: str, delta: int) -> None:
        changes = {(player, "currency", code): delta}
        self.attempt(changes, None, wallet.change_currency, player, code, delta, "test")

    @rule(player=players, good=things, delta=amounts, most=mosts)
    def change_good(self, player: str, good: str, delta: int, most: int | None) -> None:
        self.attempt({(player, "good", good): delta}, most, wallet.change_good, player, good, delta, "test", most)

    @rule(player=players, good=things, quantity=quantities, code=codes, price=st.integers(0, 9), most=mosts)
    def buy(self, player: str, good: str, quantity: int, code: str, price: int, most: int | None) -> None:
        changes = {(player, "currency", code): -price * quantity, (player, "good", good): quantity}
        self.attempt(changes, most, wallet.buy, player, good, quantity, code, price, most)

    @precondition(lambda self: "bob" in self.there)
    @rule()
    def bob_is_deleted(self) -> None:
        self.scene.delete_player("bob")
        self.there.discard("bob")
        self.model = {key: amount for key, amount in self.model.items() if key[0] != "bob"}

    @invariant()
    def everything_balances(self) -> None:
        there = self.scene.rows(
            "SELECT player, 'currency', currency, amount FROM balances UNION ALL"
            " SELECT player, 'good', good, quantity FROM goods"
        )
        summed = self.scene.rows("SELECT player, kind, code, SUM(delta) FROM ledger GROUP BY player, kind, code")
        wanted = {key: amount for key, amount in self.model.items() if amount}
        assert {row[:3]: row[3] for row in there if row[3]} == wanted
        assert {row[:3]: row[3] for row in summed if row[3]} == wanted


TestWallets = Wallets.TestCase
TestWallets.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)

"""Achievements: earned once, with their reward, and told."""

from __future__ import annotations

import pytest

from gsrt.backend import achievements, messages, wallet
from gsrt.backend.call import Failure
from gsrt.game.model import Achievement
from tests.backend.scene import Scene

WINNER = Achievement(
    "WINNER", name="Winner", description="Won a match", currencies={"GOLD": 50}, goods={"crown": 1, "sword": 2}
)
PLAIN = Achievement("PLAIN")


def test_an_achievement_is_earned_once_with_its_reward(scene: Scene) -> None:
    assert scene.do(achievements.award, "ann", WINNER, {})
    assert not scene.do(achievements.award, "ann", WINNER, {})
    assert scene.do(achievements.award, "ann", PLAIN, {})
    assert scene.do(achievements.earned, "ann") == ["PLAIN", "WINNER"]
    assert scene.do(wallet.balances, "ann") == {"GOLD": 50}
    assert scene.do(wallet.goods, "ann") == {"crown": 1, "sword": 2}
    assert {row[0] for row in scene.rows("SELECT reason FROM ledger")} == {"achievement WINNER"}


def test_it_is_told_and_stays_until_dismissed(scene: Scene) -> None:
    scene.do(achievements.award, "ann", WINNER, {})
    scene.do(achievements.award, "ann", PLAIN, {})
    (_, winner), (_, plain) = scene.told
    assert winner == {
        "@class": ".AchievementEarnedMessage",
        "messageId": winner["messageId"],
        "notification": False,
        "title": "Winner",
        "subTitle": "",
        "summary": "Won a match",
        "achievementName": "Winner",
        "achievementShortCode": "WINNER",
        "currencyAwards": {"GOLD": 50},
        "virtualGoodEarned": "crown",
    }
    assert (plain["achievementShortCode"], plain["currencyAwards"]) == ("PLAIN", {})
    assert "virtualGoodEarned" not in plain
    scene.do(messages.delivered, "ann", [winner["messageId"]])
    assert winner in scene.do(messages.list_page, "ann", 10)


def test_who_has_all_one_may_have_earns_it_all_the_same(scene: Scene) -> None:
    scene.do(wallet.change_good, "ann", "crown", 1, "found")
    assert scene.do(achievements.award, "ann", WINNER, {"crown": 1, "sword": 1})
    assert scene.do(wallet.goods, "ann") == {"crown": 1, "sword": 1}
    assert scene.told[0][1]["virtualGoodEarned"] == "sword"


def test_nobody_earns_nothing(scene: Scene) -> None:
    with pytest.raises(Failure) as raised:
        scene.do(achievements.award, "eve", PLAIN, {})
    assert raised.value.errors == {"playerId": "NOT_FOUND"}
    assert scene.do(achievements.earned, "eve") == []

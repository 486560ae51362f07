"""What players have and do, asked as clients and scripts ask, of a real desk and store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gsrt.backend.call import Failure, check_fields
from gsrt.backend.registry import Registry
from gsrt.game.model import HIGH, LOW, Achievement, Currency, Game, Good, Leaderboard
from tests.backend.office import Device, Office

FOR_CLIENTS = (
    "AroundMeLeaderboardRequest",
    "BuyVirtualGoodsRequest",
    "ConsumeVirtualGoodRequest",
    "DismissMessageRequest",
    "LeaderboardDataRequest",
    "ListAchievementsRequest",
    "ListMessageRequest",
    "ListVirtualGoodsRequest",
)
FOR_SCRIPTS = (
    "AwardAchievementRequest",
    "ChangeCurrencyRequest",
    "DocumentFindRequest",
    "DocumentGetRequest",
    "DocumentRemoveRequest",
    "DocumentSetRequest",
    "GrantGoodRequest",
    "SendMessageRequest",
    "SubmitScoreRequest",
)

GAME = Game(
    currencies={code: Currency(code) for code in ("gold", "gems", "c3", "c4", "c5", "c6", "beads")},
    goods={
        "sword": Good("sword", name="Sword", description="Sharp", prices={"gold": 30, "gems": 2}, most=2),
        "potion": Good("potion", prices={"gold": 5}),
        "pearl": Good("pearl", prices={"beads": 1}),
        "crown": Good("crown", most=1),
    },
    achievements={
        "WINNER": Achievement("WINNER", name="Winner", description="Won", currencies={"gold": 7}, goods={"crown": 1}),
        "LOSER": Achievement("LOSER"),
    },
    leaderboards={
        "SCORES": Leaderboard("SCORES", name="Scores", attribute="score", order=HIGH, attributes=("hat",)),
        "TIMES": Leaderboard("TIMES", attribute="time", order=LOW, part="level"),
    },
)


class Table:
    """Three players at an office, of whom `me` is the one that asks."""

    def __init__(self, office: Office) -> None:
        self.office = office
        office.desk.game = GAME
        self.told: list[tuple[str, dict[str, Any]]] = []
        office.store.on_announce = lambda *each: self.told.append(each)
        self.devices: dict[str, Device] = {}
        for name in ("ann", "bob", "cid"):
            device = self.devices[name] = office.device()
            fields = {"displayName": name.title(), "userName": name, "password": "correct horse"}
            assert "error" not in device.ask("RegistrationRequest", **fields)
        self.me = self.devices["ann"]

    def id(self, name: str = "ann") -> str:
        player_id = self.devices[name].player_id
        assert player_id is not None
        return player_id

    def script(self, name: str, player: str | None = "ann", **fields: Any) -> dict[str, Any]:
        """What a script gets that asks on behalf of a player, or of nobody."""
        return self.office.ask(name, fields, player_id=player and self.id(player))


@pytest.fixture
def table(office: Office) -> Table:
    return Table(office)


def refused(**errors: str) -> dict[str, Any]:
    return {"error": errors}


# --- What they declare ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FOR_CLIENTS, *FOR_SCRIPTS])
def test_a_request_describes_itself(name: str) -> None:
    module: Any = Registry().find(name)
    assert name == module.NAME
    assert getattr(module, "SCRIPTS_ONLY", False) == (name in FOR_SCRIPTS)
    assert module.SUMMARY.endswith(".")
    assert all(field.doc for field in (*module.FIELDS, *module.ANSWER))
    assert all(len(error) == 3 and all(error) for error in module.ERRORS)


@pytest.mark.parametrize("name", FOR_SCRIPTS)
def test_players_may_not_ask_what_is_for_scripts(table: Table, name: str) -> None:
    assert "UNKNOWN" in str(table.me.ask(name)["error"])


def check_answer(name: str, answer: dict[str, Any]) -> None:
    """It has what its request declares, of the kinds that it declares, and nothing else."""
    declared = {field.name: field for field in Registry().find(name).ANSWER}  # type: ignore[union-attr]
    assert set(answer) <= set(declared)
    try:
        check_fields(tuple(declared.values()), answer)
    except Failure as failure:
        pytest.fail(str(failure))


# --- Leaderboards -----------------------------------------------------------------------------------------------------


def names(entries: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(each["rank"], each["userName"]) for each in entries]


def test_scores_that_a_script_submits_are_on_the_leaderboard(table: Table) -> None:
    for name, score in (("ann", 5), ("bob", 9), ("cid", 7)):
        given = table.script("SubmitScoreRequest", name, leaderboardShortCode="SCORES", score=score)
        check_answer("SubmitScoreRequest", given)
    assert (given["rank"], given["entries"], given["newHighScore"]) == (2, 3, True)
    answer = table.me.ask("LeaderboardDataRequest", leaderboardShortCode="SCORES", entryCount=2, social=True)
    check_answer("LeaderboardDataRequest", answer)
    assert names(answer["data"]) == [(1, "Bob"), (2, "Cid")]
    assert answer["data"][0] == {
        "rank": 1,
        "userId": table.id("bob"),
        "userName": "Bob",
        "when": "2023-11-14T22:13Z",
        "score": 9,
    }
    assert (answer["first"], answer["last"], answer["leaderboardShortCode"]) == ([], [], "SCORES")
    answer = table.me.ask(
        "LeaderboardDataRequest", leaderboardShortCode="SCORES", entryCount=1, offset=2, includeFirst=1, includeLast=2
    )
    assert names(answer["data"]) == [(3, "Ann")]
    assert (names(answer["first"]), names(answer["last"])) == ([(1, "Bob")], [(2, "Cid"), (3, "Ann")])


def test_the_leaderboard_around_the_player(table: Table) -> None:
    around = {"leaderboardShortCode": "SCORES", "entryCount": 1}
    answer = table.me.ask("AroundMeLeaderboardRequest", **around)
    assert answer == {"data": [], "first": [], "last": [], "leaderboardShortCode": "SCORES"}
    for name, score in (("ann", 5), ("bob", 9), ("cid", 7)):
        table.script("SubmitScoreRequest", name, leaderboardShortCode="SCORES", score=score)
    answer = table.me.ask("AroundMeLeaderboardRequest", **around, includeFirst=1)
    check_answer("AroundMeLeaderboardRequest", answer)
    assert names(answer["data"]) == [(2, "Cid"), (3, "Ann")]
    assert names(answer["first"]) == [(1, "Bob")]


def test_parts_of_a_leaderboard_are_asked_for_by_name(table: Table) -> None:
    given = table.script("SubmitScoreRequest", leaderboardShortCode="TIMES", score=3.5, attributes={"level": 2})
    assert given["leaderboardShortCode"] == "TIMES.level.2"
    answer = table.me.ask("LeaderboardDataRequest", leaderboardShortCode="TIMES.level.2", entryCount=5)
    assert [(each["time"], each["level"]) for each in answer["data"]] == [(3.5, 2)]
    for code in ("TIMES", "NONE"):
        for request in ("LeaderboardDataRequest", "AroundMeLeaderboardRequest"):
            answer = table.me.ask(request, leaderboardShortCode=code, entryCount=5)
            assert answer == refused(leaderboardShortCode="INVALID")
    assert table.script("SubmitScoreRequest", leaderboardShortCode="NONE", score=1) == refused(
        leaderboardShortCode="INVALID"
    )
    assert table.script("SubmitScoreRequest", leaderboardShortCode="TIMES", score=1) == refused(level="may not be null")


def test_what_a_leaderboard_needs_to_be_told(table: Table) -> None:
    for request in ("LeaderboardDataRequest", "AroundMeLeaderboardRequest"):
        assert table.me.ask(request) == refused(leaderboardShortCode="may not be null", entryCount="may not be null")


def test_a_page_is_no_longer_than_the_server_bears(tmp_path_factory: pytest.TempPathFactory) -> None:
    office = Office(tmp_path_factory.mktemp("office"), leaderboard_page_max=2)
    table = Table(office)
    for name, score in (("ann", 5), ("bob", 9), ("cid", 7)):
        table.script("SubmitScoreRequest", name, leaderboardShortCode="SCORES", score=score)
    fields = {"leaderboardShortCode": "SCORES", "entryCount": 1000, "includeFirst": 1000, "includeLast": 1000}
    answer = table.me.ask("LeaderboardDataRequest", **fields)
    assert [len(answer[name]) for name in ("data", "first", "last")] == [2, 2, 2]
    office.close()


def test_a_new_high_score_is_told_to_its_player(table: Table) -> None:
    table.script("SubmitScoreRequest", "bob", leaderboardShortCode="SCORES", score=5, attributes={"hat": "red"})
    ((player_id, message),) = table.told
    assert (player_id, message["@class"]) == (table.id("bob"), ".NewHighScoreMessage")
    assert message["leaderboardData"]["hat"] == "red"
    table.script("SubmitScoreRequest", "bob", leaderboardShortCode="SCORES", score=4)
    assert len(table.told) == 1


# --- Currencies and goods ---------------------------------------------------------------------------------------------


def test_goods_are_bought_for_what_a_script_has_paid(table: Table) -> None:
    assert table.script("ChangeCurrencyRequest", currencyShortCode="gold", amount=100) == {"balance": 100}
    answer = table.me.ask("BuyVirtualGoodsRequest", shortCode="sword", quantity=2, currencyShortCode="gold")
    check_answer("BuyVirtualGoodsRequest", answer)
    assert answer == {
        "boughtItems": [{"shortCode": "sword", "quantity": 2}],
        "currencyConsumed": 60,
        "currencyShortCode": "gold",
        "currencyType": 1,
    }
    details = table.me.ask("AccountDetailsRequest")
    assert (details["currency1"], details["virtualGoods"]) == (40, {"sword": 2})
    assert table.me.ask("ConsumeVirtualGoodRequest", shortCode="sword", quantity=2) == {}
    assert table.me.ask("ConsumeVirtualGoodRequest", shortCode="sword", quantity=1) == refused(qty="INSUFFICIENT")
    assert table.me.ask("AccountDetailsRequest")["virtualGoods"] == {}


def test_a_currency_may_be_named_by_its_number_or_not_at_all(table: Table) -> None:
    for code in ("gold", "gems", "beads"):
        table.script("ChangeCurrencyRequest", currencyShortCode=code, amount=10)
    answer = table.me.ask("BuyVirtualGoodsRequest", shortCode="sword", quantity=1, currencyType=2)
    assert (answer["currencyShortCode"], answer["currencyConsumed"], answer["currencyType"]) == ("gems", 2, 2)
    assert table.me.ask("BuyVirtualGoodsRequest", shortCode="potion", quantity=1)["currencyShortCode"] == "gold"
    answer = table.me.ask("BuyVirtualGoodsRequest", shortCode="pearl", quantity=3)
    assert (answer["currencyShortCode"], answer["currencyConsumed"]) == ("beads", 3)
    assert "currencyType" not in answer  # it is the seventh


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"shortCode": "none", "quantity": 1}, {"shortCode": "UNKNOWN"}),
        ({"shortCode": "sword", "quantity": 1}, {"currencyShortCode": "UNRECOGNISED"}),
        ({"shortCode": "potion", "quantity": 1, "currencyShortCode": "euro"}, {"currencyShortCode": "UNRECOGNISED"}),
        ({"shortCode": "potion", "quantity": 1, "currencyShortCode": "gems"}, {"currencyShortCode": "NO_PRICE"}),
        ({"shortCode": "potion", "quantity": 1, "currencyType": 2}, {"currencyShortCode": "NO_PRICE"}),
        ({"shortCode": "crown", "quantity": 1, "currencyType": 1}, {"currencyShortCode": "NO_PRICE"}),
        ({"shortCode": "potion", "quantity": 1}, {"currency1": "INSUFFICIENT_FUNDS"}),
        ({"shortCode": "pearl", "quantity": 1}, {"beads": "INSUFFICIENT_FUNDS"}),
        ({"shortCode": "potion", "quantity": 0}, {"quantity": "must be at least 1"}),
        ({"shortCode": "potion", "quantity": -1}, {"quantity": "must be at least 1"}),
        ({"shortCode": "potion", "quantity": 1.5}, {"quantity": "must be a whole number"}),
        ({"shortCode": "potion", "quantity": 2**53}, {"currency1": "INSUFFICIENT_FUNDS"}),
        ({}, {"shortCode": "may not be null", "quantity": "may not be null"}),
    ],
    ids=repr,
)
def test_what_cannot_be_bought(table: Table, fields: dict[str, Any], errors: dict[str, str]) -> None:
    assert table.me.ask("BuyVirtualGoodsRequest", **fields) == {"error": errors}


def test_nobody_has_more_of_a_good_than_one_may(table: Table) -> None:
    table.script("ChangeCurrencyRequest", currencyShortCode="gold", amount=100)
    answer = table.me.ask("BuyVirtualGoodsRequest", shortCode="sword", quantity=3, currencyType=1)
    assert answer == refused(quantity="EXCEEDS_MAX_QUANTITY")
    assert table.me.ask("AccountDetailsRequest")["currency1"] == 100
    assert table.script("GrantGoodRequest", shortCode="crown") == {"quantity": 1}
    assert table.script("GrantGoodRequest", shortCode="crown") == refused(quantity="EXCEEDS_MAX_QUANTITY")
    assert table.script("GrantGoodRequest", shortCode="none") == refused(shortCode="UNKNOWN")


def test_a_script_takes_no_more_than_there_is(table: Table) -> None:
    ask: Callable[[int], dict[str, Any]] = lambda amount: table.script(  # noqa: E731
        "ChangeCurrencyRequest", currencyShortCode="gold", amount=amount, reason="test"
    )
    assert ask(5) == {"balance": 5}
    assert ask(-6) == refused(amount="INSUFFICIENT_FUNDS")
    assert ask(2**53) == refused(amount="TOO_MUCH")
    assert ask(-5) == {"balance": 0}
    assert table.script("ChangeCurrencyRequest", currencyShortCode="euro", amount=1) == refused(
        currencyShortCode="UNRECOGNISED"
    )
    assert table.office.rows("SELECT DISTINCT reason FROM ledger") == [("test",)]


def test_the_goods_of_the_game(table: Table) -> None:
    answer = table.me.ask("ListVirtualGoodsRequest")
    check_answer("ListVirtualGoodsRequest", answer)
    goods = {each["shortCode"]: each for each in answer["virtualGoods"]}
    assert list(goods) == list(GAME.goods)
    assert goods["sword"] == {
        "shortCode": "sword",
        "name": "Sword",
        "description": "Sharp",
        "type": "VGOOD",
        "currencyCosts": {"gold": 30, "gems": 2},
        "currency1Cost": 30,
        "currency2Cost": 2,
        "maxQuantity": 2,
        "disabled": False,
    }
    assert "maxQuantity" not in goods["potion"]
    assert goods["pearl"]["currencyCosts"] == {"beads": 1}


# --- Achievements and messages ----------------------------------------------------------------------------------------


def test_an_achievement_is_awarded_once(table: Table) -> None:
    assert table.script("AwardAchievementRequest", shortCode="WINNER") == {"awarded": True}
    assert table.script("AwardAchievementRequest", shortCode="WINNER") == {"awarded": False}
    assert table.script("AwardAchievementRequest", shortCode="NONE") == refused(shortCode="UNKNOWN")
    answer = table.me.ask("ListAchievementsRequest")
    check_answer("ListAchievementsRequest", answer)
    winner = {"shortCode": "WINNER", "name": "Winner", "description": "Won", "earned": True, "propertySet": {}}
    loser = {"shortCode": "LOSER", "name": "LOSER", "description": "", "earned": False, "propertySet": {}}
    assert answer == {"achievements": [winner, loser]}
    assert [each["earned"] for each in table.devices["bob"].ask("ListAchievementsRequest")["achievements"]] == [
        False
    ] * 2
    details = table.me.ask("AccountDetailsRequest")
    assert (details["currency1"], details["virtualGoods"], details["achievements"]) == (7, {"crown": 1}, ["WINNER"])
    assert [(player_id, message["@class"]) for player_id, message in table.told] == [
        (table.id(), ".AchievementEarnedMessage")
    ]


def test_a_message_is_sent_listed_and_dismissed(table: Table) -> None:
    sent = table.script("SendMessageRequest", extCode="INVITE", data={"from": "bob"}, title="Come", summary="A game")
    check_answer("SendMessageRequest", sent)
    message = {
        "@class": ".ScriptMessage",
        "messageId": sent["messageId"],
        "notification": False,
        "extCode": "INVITE",
        "data": {"from": "bob"},
        "title": "Come",
        "subTitle": "",
        "summary": "A game",
    }
    assert table.told == [(table.id(), message)]
    table.script("AwardAchievementRequest", shortCode="LOSER")
    answer = table.me.ask("ListMessageRequest")
    check_answer("ListMessageRequest", answer)
    assert [each["@class"] for each in answer["messageList"]] == [".AchievementEarnedMessage", ".ScriptMessage"]
    for include in ("ScriptMessage", ".ScriptMessage"):
        assert table.me.ask("ListMessageRequest", include=include) == {"messageList": [message]}
    assert table.me.ask("ListMessageRequest", entryCount=1, offset=1) == {"messageList": [message]}
    assert table.devices["bob"].ask("ListMessageRequest") == {"messageList": []}
    dismissal = {"messageId": sent["messageId"]}
    assert table.devices["bob"].ask("DismissMessageRequest", **dismissal) == refused(messageId="NOT_FOUND")
    assert table.me.ask("DismissMessageRequest", **dismissal) == {}
    assert table.me.ask("DismissMessageRequest", **dismissal) == refused(messageId="NOT_FOUND")


def test_a_message_that_is_not_kept_is_stored_as_such(table: Table) -> None:
    table.script("SendMessageRequest", keep=False)
    assert table.told[0][1]["data"] == {}
    assert table.office.rows("SELECT keep, seen FROM messages") == [(0, 0)]


# --- Documents --------------------------------------------------------------------------------------------------------


def test_documents_of_a_player_and_of_the_game(table: Table) -> None:
    place = {"collection": "decks", "id": "one"}
    absent = {"id": "one", "document": None, "version": 0}
    written = table.script("DocumentSetRequest", **place, document={"a": 1}, version=0)
    check_answer("DocumentSetRequest", written)
    assert written == {"id": "one", "version": 1}
    found = table.script("DocumentGetRequest", **place)
    check_answer("DocumentGetRequest", found)
    assert found == {"id": "one", "document": {"a": 1}, "version": 1}
    assert table.script("DocumentGetRequest", "bob", **place) == absent
    # For nobody, or for the game: the same.
    assert table.script("DocumentGetRequest", None, **place) == absent
    table.script("DocumentSetRequest", None, **place, document={"b": 2})
    assert table.script("DocumentGetRequest", "bob", **place, game=True)["document"] == {"b": 2}
    assert table.script("DocumentSetRequest", **place, document={}, version=7) == refused(document="CHANGED")
    assert table.script("DocumentRemoveRequest", **place, version=7) == refused(document="CHANGED")
    assert table.script("DocumentRemoveRequest", **place) == {"removed": True}
    assert table.script("DocumentRemoveRequest", **place) == {"removed": False}
    assert table.script("DocumentGetRequest", None, **place)["version"] == 1


def test_documents_are_found_page_by_page(table: Table) -> None:
    for number in range(3):
        answer = table.script("DocumentSetRequest", collection="decks", document={"n": number, "odd": number % 2 == 1})
        assert len(answer["id"]) == 24
    found = table.script("DocumentFindRequest", collection="decks", conditions={"odd": False}, limit=1)
    check_answer("DocumentFindRequest", found)
    more = table.script("DocumentFindRequest", collection="decks", conditions={"odd": False}, after=found["next"])
    both = [each["document"]["n"] for each in (*found["documents"], *more["documents"])]
    assert (sorted(both), more["next"]) == ([0, 2], None)
    answer = table.script("DocumentFindRequest", collection="decks", conditions={"n": {"$gt": 1}})
    assert str(answer["error"]["conditions"]).startswith("INVALID")


def test_documents_are_bounded_by_the_profile(tmp_path_factory: pytest.TempPathFactory) -> None:
    office = Office(tmp_path_factory.mktemp("office"), document_bytes_max=64, documents_per_owner_max=1)
    table = Table(office)
    answer = table.script("DocumentSetRequest", collection="decks", document={"text": "x" * 64})
    assert str(answer["error"]["document"]).startswith("TOO_LARGE")
    assert "id" in table.script("DocumentSetRequest", collection="decks", document={})
    answer = table.script("DocumentSetRequest", collection="decks", document={})
    assert str(answer["error"]["document"]).startswith("TOO_MANY")
    office.close()


# --- Players who are gone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("ChangeCurrencyRequest", {"currencyShortCode": "gold", "amount": 1}),
        ("GrantGoodRequest", {"shortCode": "crown"}),
        ("AwardAchievementRequest", {"shortCode": "LOSER"}),
        ("SendMessageRequest", {}),
        ("SubmitScoreRequest", {"leaderboardShortCode": "SCORES", "score": 1}),
        ("DocumentSetRequest", {"collection": "decks", "document": {}}),
    ],
)
def test_a_script_that_names_a_player_wrongly_is_told(table: Table, name: str, fields: dict[str, Any]) -> None:
    assert table.office.ask(name, fields, player_id="0" * 24) == refused(playerId="NOT_FOUND")
    assert table.office.log_text.getvalue() == ""

"""LogEventRequest: the script answers, then leaderboards get the score; attributes are what is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gsrt.game.model import Leaderboard
from tests.scripts.game_floor import GameFloor


@pytest.fixture
def floor() -> Iterator[GameFloor]:
    with GameFloor() as floor:
        yield floor


def feed(floor: GameFloor, code: str = "BEST", **what: Any) -> None:
    floor.game.leaderboards[code] = Leaderboard(code, event="RUN", attribute="time", **what)


def entries(floor: GameFloor, code: str = "BEST") -> list[tuple[str, float]]:
    answers: list[dict[str, Any]] = []
    fields = {"leaderboardShortCode": code, "entryCount": 10}
    floor.desk.submit("LeaderboardDataRequest", fields, answers.append, player_id="anna")
    floor.until(lambda: answers)
    return [(each["userId"], each["time"]) for each in answers[0]["data"]]


def test_an_event_without_a_file_feeds_its_leaderboards(floor: GameFloor) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    floor.store.on_announce = lambda player, message: told.append((player, message))
    feed(floor)
    feed(floor, "WORST", order="low")
    assert floor.answer("RUN", time=5) == {}
    assert floor.answer("RUN", "ben", time=7.5) == {}
    assert floor.answer("RUN", time=4) == {}
    assert entries(floor) == [("ben", 7.5), ("anna", 5)]
    assert entries(floor, "WORST") == [("anna", 4), ("ben", 7.5)]
    assert [(player, message["@class"], message["leaderboardShortCode"]) for player, message in told] == [
        ("anna", ".NewHighScoreMessage", "BEST"),
        ("anna", ".NewHighScoreMessage", "WORST"),
        ("ben", ".NewHighScoreMessage", "BEST"),
        ("ben", ".NewHighScoreMessage", "WORST"),
        ("anna", ".NewHighScoreMessage", "WORST"),
    ]


def test_what_it_needs_is_checked_by_name(floor: GameFloor) -> None:
    feed(floor, part="level")
    assert floor.answer("RUN") == {"error": {"time": "may not be null"}}
    assert floor.answer("RUN", time="x", level=1) == {"error": {"time": "must be a number"}}
    assert floor.answer("RUN", time=1) == {"error": {"level": "may not be null"}}
    assert floor.answer("RUN", time=1, level=3) == {}
    assert entries(floor, "BEST.level.3") == [("anna", 1)]


def test_the_script_runs_before_the_score_is_entered(floor: GameFloor) -> None:
    feed(floor)
    floor.event(
        "RUN",
        """
        def on_event(event):
            def found(response):
                event.reply("before", [entry["userId"] for entry in response["data"]])
            request = event.new_request().create_leaderboard_data_request().set_player_id(event.player_id)
            request.set_leaderboard_short_code("BEST").set_entry_count(5).send(found)
        """,
        time="number",
    )
    assert floor.answer("RUN", "cleo", time=3) == {"scriptData": {"before": []}}
    assert floor.answer("RUN", time=4) == {"scriptData": {"before": ["cleo"]}}
    assert entries(floor) == [("anna", 4), ("cleo", 3)]


@pytest.mark.parametrize(
    "script",
    [
        "def on_event(event): event.fail('time', 'TOO_GOOD')",
        "def on_event(event): 1 / 0",
        """
        def on_event(event):
            def found(response): event.fail("time", "TOO_GOOD")
            event.new_request().create_account_details_request().set_player_id(event.player_id).send(found)
        """,
    ],
    ids=["it says so", "it fails itself", "it says so in a callback"],
)
def test_a_score_that_the_script_does_not_want_is_not_entered(floor: GameFloor, script: str) -> None:
    feed(floor)
    floor.event("RUN", script, time="number")
    assert "error" in floor.answer("RUN", time=3)
    assert entries(floor) == []


def test_a_score_that_cannot_be_keeps_the_script_from_running(floor: GameFloor) -> None:
    feed(floor)
    floor.event("RUN", "def on_event(event): print('ran')", time="number")
    assert set(floor.answer("RUN", time=1e200)["error"]) == {"time"}
    assert not floor.texts()


def test_a_sum_that_cannot_be_is_told_after_the_script_has_run(floor: GameFloor) -> None:
    feed(floor, aggregate="sum")
    floor.event("RUN", "def on_event(event): print('ran')", time="number")
    assert floor.answer("RUN", time=2**53) == {}
    assert set(floor.answer("RUN", time=2**53)["error"]) == {"time"}
    assert entries(floor) == [("anna", 2**53)]


def test_a_player_has_to_be_there(floor: GameFloor) -> None:
    floor.event("RUN", "def on_event(event): print('ran')")
    assert floor.answer("RUN", "nobody") == {"error": {"playerId": "NOT_FOUND"}}
    answers: list[dict[str, Any]] = []
    floor.desk.submit("LogEventRequest", {"eventKey": "RUN"}, answers.append)
    assert answers == [{"error": {"authentication": "NOTAUTHORIZED"}}]
    assert not floor.texts()


def test_events_of_one_player_are_answered_in_order_and_of_different_ones_side_by_side(floor: GameFloor) -> None:
    floor.event(
        "RUN",
        """
        def on_event(event):
            def answered(response): event.reply("number", event["number"])
            for n in range(int(event["number"])):
                event.new_request().create_account_details_request().set_player_id(event.player_id).send(answered)
        """,
        number="number",
    )
    order: list[tuple[str, int]] = []

    def noted(player: str) -> Callable[[dict[str, Any]], None]:
        return lambda answer: order.append((player, answer["scriptData"]["number"]))

    for number in (3, 1):
        for player in ("anna", "ben"):
            fields = {"eventKey": "RUN", "number": number}
            floor.desk.submit("LogEventRequest", fields, noted(player), player_id=player)
    floor.until(lambda: len(order) == 4)
    for player in ("anna", "ben"):
        assert [number for who, number in order if who == player] == [3, 1]


def test_an_event_that_does_not_exist(floor: GameFloor) -> None:
    assert floor.answer("NONE") == {"error": {"eventKey": "INVALID"}}
    assert floor.answer("") == {"error": {"eventKey": "may not be null"}}
    assert set(floor.answer("x" * 65)["error"]) == {"eventKey"}

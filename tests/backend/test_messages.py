"""Messages: stored, announced, delivered, listed, dismissed, and not too many."""

from __future__ import annotations

from typing import Any

import pytest

from gsrt.backend import messages
from gsrt.backend.call import Failure
from tests.backend.scene import Scene


@pytest.fixture
def scene(scene: Scene) -> Scene:
    scene.player("bob")
    return scene


def put(scene: Scene, player_id: str = "ann", keep: bool = True, most: int = 100, **body: Any) -> dict[str, Any]:
    message: dict[str, Any] = scene.do(messages.put, player_id, "ScriptMessage", body, keep, most)
    return message


def waiting(scene: Scene, player_id: str) -> list[dict[str, Any]]:
    """The first page."""
    page: list[dict[str, Any]] = scene.do(messages.waiting, player_id)[0]
    return page


def summaries(found: list[dict[str, Any]]) -> list[str]:
    return [each["summary"] for each in found]


def listed(scene: Scene, player_id: str = "ann", count: int = 50, *more: Any) -> list[str]:
    return summaries(scene.do(messages.list_page, player_id, count, *more))


def test_a_message_has_all_that_clients_look_for(scene: Scene) -> None:
    message = put(scene, data={"a": 1}, title="Hello")
    assert message == {
        "@class": ".ScriptMessage",
        "messageId": message["messageId"],
        "notification": False,
        "title": "Hello",
        "subTitle": "",
        "summary": "",
        "data": {"a": 1},
    }
    assert len(message["messageId"]) == 24
    assert scene.told == [("ann", message)]
    assert waiting(scene, "ann") == scene.do(messages.list_page, "ann", 10) == [message]


def test_nothing_in_a_message_takes_the_place_of_its_id_or_class(scene: Scene) -> None:
    body = {"@class": ".MatchFoundMessage", "messageId": "mine"}
    message = scene.do(messages.put, "ann", "ScriptMessage", body)
    assert (message["@class"], len(message["messageId"])) == (".ScriptMessage", 24)


def test_what_waits_is_told_in_order_until_it_was_delivered(scene: Scene) -> None:
    sent = [put(scene, summary=str(number)) for number in range(4)]
    put(scene, "bob", summary="other")
    assert summaries(waiting(scene, "ann")) == ["0", "1", "2", "3"]
    scene.do(messages.delivered, "ann", [each["messageId"] for each in sent[:3]])
    assert summaries(waiting(scene, "ann")) == ["3"]
    assert summaries(waiting(scene, "bob")) == ["other"]


def test_what_is_kept_stays_until_dismissed_and_the_rest_goes_when_delivered(scene: Scene) -> None:
    kept, passing = put(scene, summary="kept"), put(scene, keep=False, summary="passing")
    assert listed(scene) == ["passing", "kept"]
    for _ in range(2):  # again: it was sent on two devices
        scene.do(messages.delivered, "ann", [kept["messageId"], passing["messageId"], "unknown"])
        assert listed(scene) == ["kept"]
    assert scene.do(messages.dismiss, "ann", kept["messageId"])
    assert not scene.do(messages.dismiss, "ann", kept["messageId"])
    assert listed(scene) == []


def test_a_message_is_its_players_business_only(scene: Scene) -> None:
    message = put(scene)
    assert not scene.do(messages.dismiss, "bob", message["messageId"])
    scene.do(messages.delivered, "bob", [message["messageId"]])
    assert waiting(scene, "ann") == [message]


def test_pages_begin_with_the_newest(scene: Scene) -> None:
    for number in range(5):
        put(scene, summary=str(number))
    scene.do(messages.put, "ann", "OtherMessage", {"summary": "other"})
    assert [listed(scene, "ann", 4, page) for page in range(3)] == [["other", "4", "3", "2"], ["1", "0"], []]
    assert listed(scene, "ann", 2, 0, "ScriptMessage") == ["4", "3"]
    assert listed(scene, "ann", 2, 0, "OtherMessage") == ["other"]


def test_a_player_has_a_bounded_number_of_messages(scene: Scene) -> None:
    put(scene, "bob", summary="other")
    for number in range(20):
        put(scene, most=3, summary=str(number))
        assert len(listed(scene)) <= 3
    assert listed(scene) == ["19", "18", "17"]
    put(scene, most=2, summary="20")  # the bound has become lower
    assert listed(scene) == ["20", "19"]
    assert listed(scene, "bob") == ["other"]


def test_a_message_has_a_bounded_size(scene: Scene) -> None:
    with pytest.raises(Failure) as raised:
        put(scene, data={"text": "x" * messages.BYTES_MAX})
    assert str(raised.value.errors["message"]).startswith("TOO_LARGE: ")
    with pytest.raises(Failure) as raised:
        put(scene, data={"text": "\ud800"})
    assert raised.value.errors == {"message": "INVALID"}
    assert scene.told == []


def test_what_goes_out_at_once_is_bounded(scene: Scene) -> None:
    most = messages.PAGE_BYTES_MAX // messages.BYTES_MAX
    for number in range(most * 2):
        put(scene, summary=str(number), data={"text": "ä" * (messages.BYTES_MAX // 2 - 200)})
    first, following = scene.do(messages.waiting, "ann")
    assert summaries(first) == ["0", "1", "2", "3"]
    second, nothing = scene.do(messages.waiting, "ann", following)
    assert (summaries(second), nothing) == (["4", "5", "6", "7"], None)
    assert summaries(scene.do(messages.list_page, "ann", 50)) == ["7", "6", "5", "4"]
    scene.do(messages.delivered, "ann", [each["messageId"] for each in first])
    assert summaries(waiting(scene, "ann")) == ["4", "5", "6", "7"]


def test_nobody_is_told_nothing(scene: Scene) -> None:
    with pytest.raises(Failure) as raised:
        put(scene, "eve")
    assert raised.value.errors == {"playerId": "NOT_FOUND"}
    put(scene)
    scene.delete_player("ann")
    assert scene.rows("SELECT * FROM messages") == []

"""Documents: whole, bounded, with versions, and found by what stands in them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gsrt.backend import documents
from gsrt.backend.call import Failure
from tests.backend.scene import Scene


def put(
    scene: Scene,
    document_id: str | None,
    body: Any,
    *,
    owner: str = "ann",
    collection: str = "decks",
    version: int | None = None,
    bytes_max: int = 1000,
    documents_max: int = 100,
) -> dict[str, Any]:
    written: dict[str, Any] = scene.do(
        documents.put, owner, collection, document_id, body, version, bytes_max, documents_max
    )
    return written


def test_what_was_written_is_read_again(scene: Scene) -> None:
    body: dict[str, Any] = {"name": "żółw 🐢", "cards": [1, 2.5, None, True, {"of": {}}], "": ""}
    assert put(scene, "one", body) == {"id": "one", "version": 1}
    assert scene.do(documents.get, "ann", "decks", "one") == {"id": "one", "document": body, "version": 1}


def test_what_is_not_there_is_none(scene: Scene) -> None:
    put(scene, "one", {})
    for place in (("ann", "decks", "two"), ("ann", "other", "one"), ("", "decks", "one")):
        assert scene.do(documents.get, *place) is None


def test_a_document_without_an_id_gets_one(scene: Scene) -> None:
    first, second = put(scene, None, {"a": 1}), put(scene, None, {"a": 2})
    assert first["id"] != second["id"]
    assert scene.do(documents.get, "ann", "decks", second["id"])["document"] == {"a": 2}


def test_a_version_grows_with_each_change(scene: Scene) -> None:
    assert [put(scene, "one", {"a": number})["version"] for number in range(3)] == [1, 2, 3]


def test_only_what_was_read_is_changed(scene: Scene) -> None:
    put(scene, "one", {"a": 1}, version=documents.NONE)
    for version in (documents.NONE, 2):
        with pytest.raises(Failure) as raised:
            put(scene, "one", {"a": 2}, version=version)
        assert raised.value.errors == {"document": "CHANGED"}
        if version:
            with pytest.raises(Failure):
                scene.do(documents.remove, "ann", "decks", "one", version)
    assert put(scene, "one", {"a": 2}, version=1)["version"] == 2
    with pytest.raises(Failure):
        put(scene, "two", {}, version=1)
    assert scene.do(documents.get, "ann", "decks", "two") is None


def test_a_document_is_removed_once(scene: Scene) -> None:
    put(scene, "one", {})
    assert scene.do(documents.remove, "ann", "decks", "one", 1)
    assert not scene.do(documents.remove, "ann", "decks", "one")
    assert put(scene, "one", {})["version"] == 1


def test_a_document_has_a_bounded_size_in_bytes(scene: Scene) -> None:
    body = {"text": "ä" * 10}  # 11 bytes around the text
    put(scene, "one", body, bytes_max=31)
    with pytest.raises(Failure) as raised:
        put(scene, "one", body, bytes_max=30)
    assert raised.value.errors == {"document": "TOO_LARGE: it has 31 bytes of at most 30"}


def nested(depth: int) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for _ in range(depth):
        body = {"in": body}
    return body


@pytest.mark.parametrize(
    "body",
    [{"a": float("nan")}, {"a": float("inf")}, {"a": "\ud800"}, {"\udfff": 1}, {"a": object()}, nested(5000)],
    ids=["nan", "infinite", "half a character", "half a name", "no value", "deep"],
)
def test_what_json_cannot_say_is_refused(scene: Scene, body: Any) -> None:
    with pytest.raises(Failure) as raised:
        put(scene, "one", body, bytes_max=10**6)
    assert raised.value.errors == {"document": "INVALID"}


def test_what_is_too_deep_for_searches_is_refused_when_it_is_written(scene: Scene) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # so that Python itself would write it
    try:
        with pytest.raises(Failure):
            put(scene, "one", nested(3000), bytes_max=10**6)
    finally:
        sys.setrecursionlimit(before)
    put(scene, "two", nested(100), bytes_max=10**6)
    assert [each["id"] for each in find(scene)["documents"]] == ["two"]


def test_an_owner_has_a_bounded_number_of_documents(scene: Scene) -> None:
    put(scene, "one", {}, documents_max=2)
    put(scene, "two", {}, collection="other", documents_max=2)
    with pytest.raises(Failure) as raised:
        put(scene, "three", {}, documents_max=2)
    assert raised.value.errors == {"document": "TOO_MANY: there are 2 already"}
    put(scene, "one", {"a": 1}, documents_max=2)  # nothing new
    put(scene, "three", {}, owner="", documents_max=2)  # the game's
    scene.do(documents.remove, "ann", "other", "two")
    put(scene, "three", {}, documents_max=2)


def test_documents_of_nobody_are_refused_and_go_with_their_player(scene: Scene) -> None:
    with pytest.raises(Failure) as raised:
        put(scene, "one", {}, owner="bob")
    assert raised.value.errors == {"playerId": "NOT_FOUND"}
    put(scene, "one", {})
    put(scene, "one", {"a": 1}, owner="")
    scene.delete_player("ann")
    assert scene.do(documents.get, "ann", "decks", "one") is None
    assert scene.do(documents.get, "", "decks", "one") is not None


def find(scene: Scene, limit: int = 10, bytes_max: int = 10**6, after: str = "", **conditions: Any) -> dict[str, Any]:
    asked = {name.replace("__", "."): value for name, value in conditions.items()}
    found: dict[str, Any] = scene.do(documents.find, "ann", "decks", asked, limit, bytes_max, after)
    return found


def ids(found: dict[str, Any]) -> list[str]:
    return [each["id"] for each in found["documents"]]


@pytest.fixture
def library(scene: Scene) -> Scene:
    put(scene, "a", {"kind": "deck", "size": 3, "open": True, "by": {"name": "ann", "no": None}})
    put(scene, "b", {"kind": "deck", "size": 3.5, "open": False, "by": {"name": "bob"}})
    put(scene, "c", {"kind": "hand", "size": 3.0, "open": 1, "by": "ann"})
    put(scene, "d", {"kind": "1", "size": "3", "odd name": 1})
    put(scene, "x", {"kind": "deck"}, collection="other")
    put(scene, "y", {"kind": "deck"}, owner="")
    return scene


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        ({}, "abcd"),
        ({"kind": "deck"}, "ab"),
        ({"kind": "Deck"}, ""),
        ({"kind": 1}, ""),
        ({"size": 3}, "ac"),
        ({"size": 3.5}, "b"),
        ({"size": "3"}, "d"),
        ({"open": True}, "a"),
        ({"open": False}, "b"),
        ({"open": 1}, "c"),
        ({"open": None}, "d"),
        ({"by__name": "ann"}, "a"),
        ({"by__no": None}, "abcd"),
        ({"by__name": None}, "cd"),
        ({"odd name": 1}, "d"),
        ({"kind": "deck", "size": 3}, "a"),
        ({"nothing": "x"}, ""),
        ({"kind": "' OR 1=1 --"}, ""),
    ],
    ids=repr,
)
def test_documents_are_found_by_what_stands_in_them(library: Scene, conditions: dict[str, Any], wanted: str) -> None:
    assert ids(find(library, **conditions)) == list(wanted)


@pytest.mark.parametrize(
    "conditions",
    [
        {'a"b': 1},
        {"a\\b": 1},
        {"a\nb": 1},
        {"": 1},
        {"a__": 1},
        {"a": [1]},
        {"a": {"$gt": 1}},
        {"a": 2**60},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": float("nan")},
        {f"f{number}": 1 for number in range(documents.CONDITIONS_MAX + 1)},
    ],
    ids=repr,
)
def test_what_cannot_be_asked_for_is_said(library: Scene, conditions: dict[str, Any]) -> None:
    with pytest.raises(Failure) as raised:
        find(library, **conditions)
    assert str(raised.value.errors["conditions"]).startswith("INVALID: ")


def test_pages_lead_through_all_that_is_found(scene: Scene) -> None:
    for number in range(10):
        put(scene, f"{number}", {"odd": number % 2 == 1})
    first = find(scene, limit=2, odd=True)
    assert (ids(first), first["next"]) == (["1", "3"], "3")
    second = find(scene, limit=3, after=first["next"], odd=True)
    assert (ids(second), second["next"]) == (["5", "7", "9"], None)


def test_a_page_ends_early_where_it_gets_large_but_always_goes_on(scene: Scene) -> None:
    for number in range(5):
        put(scene, f"{number}", {"text": "x" * 100})
    seen, after = [], ""
    while after is not None:
        page = find(scene, bytes_max=250, after=after)
        assert 1 <= len(page["documents"]) <= 2
        seen += ids(page)
        after = page["next"]
    assert seen == ["0", "1", "2", "3", "4"]
    assert ids(find(scene, bytes_max=10)) == ["0"]

"""`gsrt player list|show|reset|delete|export`: what they ask, what they print, and the same of a database without a
server."""

from __future__ import annotations

import io
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gsrt.backend import passwords, players, records
from gsrt.log import Log
from gsrt.store.database import path_in
from gsrt.store.store import Store
from tests.cli.conftest import Run, ServerDouble

ANNA: dict[str, Any] = {
    "playerId": "a" * 24,
    "displayName": "Anna\x1b[2J",
    "userName": "anna",
    "created": 0.0,
    "seen": 0.0,
    "locked": True,
    "devices": 2,
    "online": True,
}
BO = {**ANNA, "playerId": "b" * 24, "displayName": "Bo", "userName": None, "locked": False, "online": False}

SHOWN: dict[str, Any] = {
    "playerId": "a" * 24,
    "displayName": "Anna",
    "userName": "anna",
    "language": None,
    "created": 0.0,
    "seen": 0.0,
    "failures": 0,
    "lockedSeconds": 61.0,
    "online": False,
    "segments": {"league": "gold"},
    "scriptData": {},
    "devices": [{"deviceId": "phone", "deviceOs": "IOS", "created": 0.0}],
    "currencies": {"gold": 5},
    "virtualGoods": {"sword": 2},
    "achievements": ["first", "second"],
    "counts": {"documents": 3, "scores": 0},
}


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


class Game:
    """A game's folder with a database and no server."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder / "game")
        os.mkdir(self.folder)
        self.anna: str = self.stored(players.create, "Anna", {"gold": 5}, "anna", passwords.hashed("old", 1024, 1))

    def open(self) -> Store:
        return Store(
            path_in(self.folder),
            wall=lambda: 1000.0,
            entropy=random.Random(1).randbytes,
            log=Log(io.StringIO(), lambda: 0.0),
            batch_seconds=0.0,
            batch_writes=1,
            waiting_max=8,
        )

    def stored(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        came: list[tuple[Any, BaseException | None]] = []
        store = self.open()
        store.submit(operation, arguments, lambda *both: came.append(both))
        store.close()
        result, error = came[0]
        if error is not None:
            raise error
        return result


@pytest.fixture
def game(tmp_path: Path) -> Game:
    return Game(tmp_path)


class TestList:
    def test_what_it_prints(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.list"] = {"ok": True, "players": [ANNA, BO], "all": 7}
        outcome = gsrt("player", "list")
        assert outcome.status == 0
        assert outcome.out == (
            "player                    name         user name  devices  last seen\n"
            f"{'a' * 24}  Anna\\x1b[2J  anna             2  1970-01-01 00:00  locked\n"
            f"{'b' * 24}  Bo           -                2  1970-01-01 00:00\n"
            "\n"
            "2 of 7 players\n"
        )
        assert server.requests == [{"do": "player.list"}]

    def test_what_it_asks(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.list"] = {"ok": True, "players": [BO], "all": 7}
        outcome = gsrt("player", "list", "--name", "bo", "--most", "3", "--after", "x", "--json")
        assert json.loads(outcome.out) == {"players": [BO], "all": 7}
        assert server.requests == [{"do": "player.list", "name": "bo", "most": 3, "after": "x"}]

    @pytest.mark.parametrize(
        ("there", "text"), [(0, "There are no players yet.\n"), (1, "No such player among 1 player.\n")]
    )
    def test_nobody(self, gsrt: Run, server: ServerDouble, there: int, text: str) -> None:
        server.answers["player.list"] = {"ok": True, "players": [], "all": there}
        assert gsrt("player", "list").out == text

    @pytest.mark.parametrize("most", ["0", "-1", "x", ""])
    def test_a_wrong_number(self, gsrt: Run, most: str) -> None:
        assert gsrt("player", "list", "--most", most).status == 2


class TestShow:
    def test_what_it_prints(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.show"] = {"ok": True, **SHOWN}
        outcome = gsrt("player", "show", "anna")
        assert outcome.out == (
            f"player        {'a' * 24}\n"
            "name          Anna\n"
            "user name     anna\n"
            "locked        for 1 min 1 s more, after too many wrong passwords\n"
            "language      -\n"
            "made          1970-01-01 00:00\n"
            "last seen     1970-01-01 00:00\n"
            "devices       IOS phone\n"
            "currencies    5 gold\n"
            "goods         2 sword\n"
            "achievements  first, second\n"
            "segments      league: gold\n"
            "kept          3 documents\n"
        )
        assert server.requests == [{"do": "player.show", "player": "anna"}]

    def test_json(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.show"] = {"ok": True, **SHOWN}
        assert json.loads(gsrt("player", "show", "anna", "--json").out) == SHOWN

    def test_nobody(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.show"] = {"ok": False, "error": "player: there is no player with that id"}
        outcome = gsrt("player", "show", "nobody")
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err == "gsrt: player: there is no player with that id\n"


class TestReset:
    def test_a_new_password(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.reset"] = {"ok": True, "playerId": "x", "userName": "anna", "password": "new"}
        outcome = gsrt("player", "reset", "anna")
        assert outcome.out == "The password of anna is now new; nobody is signed in with the old one any more.\n"
        assert server.requests == [{"do": "player.reset", "player": "anna", "unlockOnly": False}]

    def test_unlock_only(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.reset"] = {"ok": True, "playerId": "x", "userName": "anna"}
        assert gsrt("player", "reset", "anna", "--unlock-only").out == "anna is not locked any more.\n"
        assert server.requests == [{"do": "player.reset", "player": "anna", "unlockOnly": True}]

    def test_a_player_without_a_password(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.reset"] = {"ok": True, "playerId": "x", "userName": None}
        out = gsrt("player", "reset", "x").out
        assert out == "x has no password; the player's devices have to sign in again.\n"


class TestDelete:
    def test_not_without_yes(self, gsrt: Run, server: ServerDouble) -> None:
        outcome = gsrt("player", "delete", "anna")
        assert outcome.status == 2
        assert "--yes" in outcome.err
        assert server.requests == []

    def test_with_yes(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["player.delete"] = {"ok": True, "playerId": "x", "displayName": "Anna"}
        assert gsrt("player", "delete", "anna", "--yes").out == "Anna (x) and all that was known of them is gone.\n"


class TestExport:
    def test_all_sections_and_pages_are_one_document(self, gsrt: Run, server: ServerDouble) -> None:
        def answer(request: dict[str, Any]) -> dict[str, Any]:
            server.requests.append(request)
            if request["section"] == "player":
                return {"ok": True, "rows": [{"id": "a1", "displayName": "Änna"}], "next": None}
            offset = request["offset"]
            return {"ok": True, "rows": [{"n": offset}], "next": offset + 1 if offset < 2 else None}

        server._server._handle = answer
        outcome = gsrt("player", "export", "anna")
        assert outcome.status == 0
        assert "Änna" in outcome.out
        document = json.loads(outcome.out)
        assert list(document) == list(records.SECTIONS)
        assert document["player"]["id"] == "a1"
        assert document["ledger"] == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert {request["player"] for request in server.requests[1:]} == {"a1"}


class TestWithoutServer:
    def test_list_show_and_export(self, gsrt: Run, game: Game) -> None:
        listed = json.loads(gsrt("player", "list", "--game", game.folder, "--json").out)
        assert [each["playerId"] for each in listed["players"]] == [game.anna]
        shown = json.loads(gsrt("player", "show", "anna", "--game", game.folder, "--json").out)
        assert shown["currencies"] == {"gold": 5}
        assert shown["online"] is False
        document = json.loads(gsrt("player", "export", "anna", "--game", game.folder).out)
        assert document["balances"] == [{"currency": "gold", "amount": 5}]
        assert document["ledger"][0]["reason"] == "signup"

    def test_reset(self, gsrt: Run, game: Game) -> None:
        password = json.loads(gsrt("player", "reset", "anna", "--game", game.folder, "--json").out)["password"]
        _, stored = game.stored(players.credentials, "anna", 60.0)
        assert passwords.verified(stored, password, 1024, 1)[0]

    def test_delete(self, gsrt: Run, game: Game) -> None:
        assert gsrt("player", "delete", game.anna, "--yes", "--game", game.folder).status == 0
        assert game.stored(players.credentials, "anna", 60.0) is None
        assert "no players yet" in gsrt("player", "list", "--game", game.folder).out

    def test_nobody(self, gsrt: Run, game: Game) -> None:
        outcome = gsrt("player", "show", "bo", "--game", game.folder)
        assert outcome.status == 1
        assert outcome.err.startswith("gsrt: player: there is no player with that id or user name")

    def test_while_a_server_has_it_open(self, gsrt: Run, game: Game) -> None:
        store = game.open()
        try:
            outcome = gsrt("player", "list", "--game", game.folder)
        finally:
            store.close()
        assert outcome.status == 1
        assert "without --game, the server is asked" in outcome.err

    def test_a_damaged_database(self, gsrt: Run, game: Game) -> None:
        Path(path_in(game.folder)).write_bytes(b"no database" * 100)
        outcome = gsrt("player", "list", "--game", game.folder)
        assert outcome.status == 1
        assert outcome.err.endswith("`gsrt restore` puts a backup in its place\n")

    def test_a_folder_without_a_database(self, gsrt: Run, tmp_path: Path) -> None:
        outcome = gsrt("player", "list", "--game", str(tmp_path))
        assert outcome.status == 1
        assert "no such file" in outcome.err
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", ["list", "show", "reset", "delete", "export"])
def test_no_server(gsrt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    words = [] if command == "list" else ["anna"]
    outcome = gsrt("player", command, *words, *(["--yes"] if command == "delete" else []))
    assert outcome.status == 1
    assert outcome.err.startswith("gsrt: no gsrt server listens at ")
    assert outcome.err.endswith("; or name the game's folder with --game\n")

"""The commands about players, against a server that serves a new game, and against its database when it has ended."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from tests.cli.conftest import Run
from tests.platform.client import PlatformClient
from tests.support.server import ServerProcess

ANNA = {"displayName": "Anna", "userName": "anna", "password": "correct horse"}


def test_players_of_a_new_game(gsrt: Run, tmp_path: Path) -> None:
    folder = str(tmp_path / "duel")
    assert gsrt("new", folder).status == 0
    game = tomllib.loads(Path(folder, "game.toml").read_text())
    with ServerProcess(arguments=(folder,)) as server:
        where = ("--control", server.control_path)
        with PlatformClient(server.host, server.port, game["api_key"], game["secret"]) as phone:
            anna = phone.ask("RegistrationRequest", **ANNA)["userId"]
            (listed,) = json.loads(gsrt("player", "list", "--json", *where).out)["players"]
            assert (listed["playerId"], listed["online"]) == (anna, True)
            assert "last seen     online\n" in gsrt("player", "show", "anna", *where).out
            password = json.loads(gsrt("player", "reset", "anna", "--json", *where).out)["password"]
        with PlatformClient(server.host, server.port, game["api_key"], game["secret"]) as phone:
            assert phone.ask("AuthenticationRequest", userName="anna", password=password)["userId"] == anna
        document = json.loads(gsrt("player", "export", "anna", *where).out)
        assert document["player"]["id"] == anna
        busy = gsrt("player", "list", "--game", folder)
        assert busy.status == 1
        assert "the server is asked" in busy.err
    there = ("--game", folder)
    assert json.loads(gsrt("player", "export", "anna", *there).out)["player"]["id"] == anna
    assert gsrt("player", "delete", "anna", "--yes", *there).status == 0
    assert json.loads(gsrt("player", "list", "--json", *there).out) == {"players": [], "all": 0}


def test_a_server_without_a_game_has_no_players(gsrt: Run) -> None:
    with ServerProcess() as server:
        outcome = gsrt("player", "list", "--control", server.control_path)
    assert outcome.status == 1
    assert "it serves no game" in outcome.err

"""`gsrt backup` of a running server and `gsrt restore` of its game, from one end to the other."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import Run, ServerDouble
from tests.platform.client import PlatformClient
from tests.support.server import ControlRefused, ServerProcess


def register(server: ServerProcess, folder: str, name: str) -> None:
    game = tomllib.loads(Path(folder, "game.toml").read_text())
    with PlatformClient(server.host, server.port, game["api_key"], game["secret"]) as client:
        answer = client.ask("RegistrationRequest", displayName=name, userName=name, password="correct horse")
        assert answer["userId"]


def player_names(gsrt: Run, *where: str) -> set[str]:
    answer = json.loads(gsrt("player", "list", "--json", *where).out)
    return {player["userName"] for player in answer["players"]}


def test_a_backup_of_a_running_server_and_its_restoration(
    gsrt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "duel")
    assert gsrt("new", folder).status == 0
    monkeypatch.chdir(tmp_path)
    with ServerProcess(arguments=(folder,)) as server:
        where = ("--control", server.control_path)
        register(server, folder, "anna")
        outcome = gsrt("backup", "monday.backup", *where)
        assert (outcome.status, outcome.err) == (0, "")
        size = (tmp_path / "monday.backup").stat().st_size
        assert outcome.out == f"{tmp_path}/monday.backup: {size:,} bytes\n"
        register(server, folder, "ben")
        answer = json.loads(gsrt("backup", "tuesday.backup", "--json", *where).out)
        assert answer == {"file": f"{tmp_path}/tuesday.backup", "bytes": (tmp_path / "tuesday.backup").stat().st_size}
        refused = gsrt("backup", os.path.join(folder, "game.toml"), *where)
        assert refused.status == 1
        assert "no backup, and stays as it is" in refused.err
        busy = gsrt("restore", folder, "monday.backup")
        assert busy.status == 1
        assert f"another gsrt (process {server.process.pid}) has this game open" in busy.err
        assert player_names(gsrt, *where) == {"anna", "ben"}
    outcome = gsrt("restore", folder, "monday.backup")
    assert (outcome.status, outcome.err) == (0, "")
    aside = outcome.out.splitlines()[-1].split(" is now ")[1].split(";")[0]
    assert os.path.exists(aside)
    with ServerProcess(arguments=(folder,)) as server:
        assert player_names(gsrt, "--control", server.control_path) == {"anna"}


def test_a_server_without_a_game_has_nothing_to_copy(gsrt: Run, tmp_path: Path) -> None:
    with ServerProcess() as server:
        outcome = gsrt("backup", str(tmp_path / "copy"), "--control", server.control_path)
        assert (outcome.status, outcome.out) == (1, "")
        assert "it serves no game" in outcome.err
        with pytest.raises(ControlRefused, match="absolute path"):
            server.control({"do": "backup", "file": "copy"})


def test_the_path_is_the_callers(
    gsrt: Run, server: ServerDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.answers["backup"] = {"ok": True, "file": "/x", "bytes": 12345}
    assert gsrt("backup", "here").out == "/x: 12,345 bytes\n"
    assert server.requests == [{"do": "backup", "file": str(tmp_path / "here")}]


@pytest.mark.parametrize("game", [".", "nowhere"])
def test_a_game_must_be_named(gsrt: Run, tmp_path: Path, game: str) -> None:
    outcome = gsrt("restore", str(tmp_path / game), "copy")
    assert (outcome.status, outcome.out) == (1, "")
    assert "there is no game.toml here" in outcome.err


def test_what_is_no_backup_is_named(gsrt: Run, tmp_path: Path) -> None:
    folder = tmp_path / "duel"
    assert gsrt("new", str(folder)).status == 0
    missing = tmp_path / "missing"
    outcome = gsrt("restore", str(folder), str(missing))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"gsrt: {missing}: No such file or directory\n"

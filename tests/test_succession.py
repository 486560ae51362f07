"""What a real server needs to leave is loaded long before: by then, an upgrade has changed the files."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.doubles.driver import Driver
from tests.platform.test_from_nothing_to_playing import write_game
from tests.sessions.match import Match
from tests.sessions.player import linked_players
from tests.support.manager import Manager
from tests.support.server import PROJECT, ServerProcess, until

# Python imports it at its start. The first program of a folder finds no modules that its file `refused` begins with a
# name of ("": none at all), as soon as that is there; it tells in `asked` which it has looked for.
REFUSES = """
import os, sys
folder = os.path.dirname(__file__)
class Refusing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        try:
            with open(folder + "/refused") as file:
                refused = file.read()
        except FileNotFoundError:
            return None
        if name.startswith(refused):
            with open(folder + "/asked", "a") as file:
                file.write(name + "\\n")
            raise ImportError(f"{name} is of another version")
        return None
if not os.path.exists(folder + "/begun"):
    open(folder + "/begun", "w").close()
    sys.meta_path.insert(0, Refusing)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the server's Python looks first."""
    (tmp_path / "sitecustomize.py").write_text(REFUSES)
    return tmp_path


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory(prefix="gsrt-") as place, closing(Manager(Path(place))) as manager:
        yield manager


def server_in(
    folder: Path, certificate: tuple[str, str], manager: Manager | None = None, arguments: tuple[str, ...] = ()
) -> ServerProcess:
    server = ServerProcess(
        certificate=certificate, manager=manager, arguments=arguments, overrides={"grace_seconds": 20}
    )
    server.command[0:0] = ["env", f"PYTHONPATH={folder}{os.pathsep}{PROJECT}"]
    return server


def said(server: ServerProcess, text: str) -> int:
    return server.log_path.read_text().count(text)


@pytest.mark.parametrize("serves_game", [False, True], ids=["plain", "game"])
@pytest.mark.parametrize("managed", [False, True], ids=["alone", "managed"])
def test_nothing_is_loaded_on_the_way_out(
    managed: bool,
    serves_game: bool,
    folder: Path,
    manager: Manager,
    certificate: tuple[str, str],
    driver: Driver,
    tmp_path: Path,
) -> None:
    """Whatever has become of the files meanwhile, players notice nothing."""
    arguments = (str(write_game(tmp_path / "arena")),) if serves_game else ()
    with server_in(folder, certificate, manager if managed else None, arguments) as server:
        match = Match(server, driver, 2)
        double = match.ready("cs-plain", 1)
        table = server.create(2)
        with linked_players(table, server) as players:
            (folder / "refused").write_text("")
            server.process.send_signal(signal.SIGUSR2)
            if managed:
                assert server.wait() == 0
                server.start()
            until(lambda: said(server, "info players are in as before players=3 playersToComeBack=0"), server)

            assert not (folder / "asked").exists(), (folder / "asked").read_text()
            players[0].send(5, 1)
            players[1].expect(5, {1: 1}, sender=players[0].session.peer_id)
            assert [player.told.empty() for player in players] == [True, True]
            match.barrier()
            assert (double.told("player disconnect"), double.logins) == ([], 1), double.describe()


def test_what_cannot_be_loaded_costs_the_connections_only(folder: Path, certificate: tuple[str, str]) -> None:
    (folder / "refused").write_text("gsrt.handover")
    server = server_in(folder, certificate)
    server.allowed_errors = (
        "players will have to come back by themselves after a restart",
        'players have to come back by themselves reason="ImportError: gsrt.handover is of another version"',
    )
    with server, linked_players(server.create(2), server) as players:
        assert said(server, "error players will have to come back") == 1

        server.process.send_signal(signal.SIGUSR2)

        until(lambda: said(server, "error players have to come back by themselves") == 1, server)
        until(lambda: said(server, "info sessions are back sessions=1") == 1, server)
        for player in players:
            player.expect_loss_and_return()

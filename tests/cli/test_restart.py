"""`gsrt restart`: what it prints, and what it says where it cannot be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt import __version__
from tests.cli.conftest import Run, ServerDouble
from tests.sessions.player import Player
from tests.support.manager import Manager
from tests.support.server import ServerProcess

BEFORE = {"ok": True, "pid": 4711, "version": "0.0.9", "managed": False}
AFTER = {"ok": True, "pid": 4712, "version": "0.1.0"}
HAND_OVER = {"players": 1, "playersToComeBack": 2, "seconds": 0.125}


def test_it_tells_who_stayed(gsrt: Run, server: ServerDouble) -> None:
    server.answers = {"restart": BEFORE, "status": {**AFTER, "handOver": HAND_OVER}}

    out = gsrt("restart").out

    assert out.startswith(
        "gsrt 0.1.0 serves in the place of 0.0.9, as process 4712.\n"
        "1 player stayed; 2 have to come back by themselves.\n"
        "Packets waited for 0.12 s; it took "
    )
    told = json.loads(gsrt("restart", "--json").out)
    assert told.pop("seconds") > 0
    assert told == {
        "pid": 4712,
        "version": "0.1.0",
        "versionBefore": "0.0.9",
        "players": 1,
        "playersToComeBack": 2,
        "secondsWithoutService": 0.125,
    }


def test_what_it_says_where_nothing_was_handed_over(gsrt: Run, server: ServerDouble) -> None:
    server.answers = {"restart": BEFORE, "status": AFTER}

    outcome = gsrt("restart")

    assert (outcome.status, outcome.out) == (1, "")
    assert "process 4712 serves by now, but nothing was handed over to it" in outcome.err


def test_a_server_that_refuses_says_why(gsrt: Run, server: ServerDouble) -> None:
    server.answers["restart"] = {"ok": False, "error": "/opt/python3, which runs this server, is no more"}
    assert "/opt/python3" in gsrt("restart").err

    server.answers["restart"] = {"ok": False, "error": "unknown request 'restart'; there are status"}
    assert "kill -USR2 PID" in gsrt("restart").err


def test_there_is_no_server(gsrt: Run, tmp_path: Path) -> None:
    outcome = gsrt("restart", "--control", str(tmp_path / "control.sock"))

    assert (outcome.status, outcome.out) == (1, "")
    assert "no gsrt server listens at" in outcome.err


@pytest.mark.parametrize(("managed", "todo"), [(True, "Restart=always"), (False, "see its log")])
def test_nobody_starts_it_again(
    gsrt: Run, server: ServerDouble, monkeypatch: pytest.MonkeyPatch, managed: bool, todo: str
) -> None:
    monkeypatch.setattr("gsrt.cli.restart.ANSWER_SECONDS", 0.05)
    server.answers = {"restart": {**BEFORE, "managed": managed}, "status": {"ok": False, "error": "going"}}

    outcome = gsrt("restart")

    assert (outcome.status, outcome.out) == (1, "")
    assert "process 4711 has given up its place" in outcome.err and todo in outcome.err


@pytest.fixture
def running() -> Iterator[ServerProcess]:
    with ServerProcess() as process:
        yield process


def test_a_real_server_with_a_player(gsrt: Run, running: ServerProcess) -> None:
    table = running.create(2)
    player = Player(table.seats[0], running.port)
    try:
        player.expect_ready()

        told = json.loads(gsrt("restart", "--json", "--control", running.control_path).out)

        assert (told["pid"], told["version"]) == (running.process.pid, __version__)
        assert (told["players"], told["playersToComeBack"]) == (1, 0)
        assert 0 < told["secondsWithoutService"] < told["seconds"]
        assert "1 player stayed.\n" in gsrt("restart", "--control", running.control_path).out
        assert player.told.empty()
    finally:
        player.session.stop()


def test_a_managed_server_is_started_by_its_manager(gsrt: Run, tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    try:
        with ServerProcess(manager=manager) as process:
            first = process.process.pid

            def start_again() -> None:
                process.wait()
                process.launch()

            starter = threading.Thread(target=start_again)
            starter.start()
            told = json.loads(gsrt("restart", "--json", "--control", process.control_path).out)
            starter.join()

            assert told["pid"] == process.process.pid != first
            assert told["players"] == told["playersToComeBack"] == 0
    finally:
        manager.close()

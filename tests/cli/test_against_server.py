"""The operator's commands against a real server, from its start to its end."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.client import Session
from tests.cli.conftest import Run
from tests.support.server import ServerProcess

DEADLINE = 15


@pytest.fixture(scope="module")
def running(certificate: tuple[str, str]) -> Iterator[ServerProcess]:
    with ServerProcess(certificate=certificate) as process:
        yield process


def test_a_session_from_its_opening_to_its_end(gsrt: Run, running: ServerProcess) -> None:
    control = ("--control", running.control_path)
    created = json.loads(gsrt("session", "create", "--players", "red,blue", "--json", *control).out)
    assert created.keys() == {"sessionId", "host", "port", "players"}
    assert (created["host"], created["port"]) == ("127.0.0.1", running.port)
    assert [(player["playerId"], player["peerId"]) for player in created["players"]] == [("red", 1), ("blue", 2)]
    assert len({player["accessToken"] for player in created["players"]}) == 2
    session = created["sessionId"]

    (listed,) = json.loads(gsrt("session", "list", "--json", *control).out)["sessions"]
    assert listed["sessionId"] == session
    assert [(player["playerId"], player["peerId"]) for player in listed["players"]] == [("red", 1), ("blue", 2)]
    assert session in gsrt("session", "list", *control).out

    assert f"Session {session}" in gsrt("status", *control).out
    bad = gsrt("player", "netsim", session, "red", "loss=5% delay=30ms", "--down", "rate=1mbit", *control)
    assert bad.status == 0
    assert "up: loss=5% delay=30ms\n" in bad.out
    assert "down: loss=5% delay=30ms rate=1mbit" in bad.out
    assert gsrt("player", "netsim", session, "red", "--off", *control).status == 0
    assert gsrt("player", "netsim", session, "red", "loss=lots", *control).status == 1
    assert gsrt("player", "netsim", session, "red", *control).status == 2
    assert gsrt("player", "kick", session, "red", *control).status == 0
    again = gsrt("session", "end", session, *control)
    assert again.status == 0
    assert json.loads(gsrt("session", "list", "--json", *control).out) == {"sessions": []}
    assert "No session is open" in gsrt("session", "list", *control).out


def test_the_list_says_by_what_players_have_come_in(gsrt: Run, running: ServerProcess) -> None:
    control = ("--control", running.control_path)
    table = running.create(3)
    heard: queue.Queue[object] = queue.Queue()
    red, blue = (
        Session("127.0.0.1", running.port, seat.token, on_ready=heard.put, on_data=heard.put, link=link)
        for seat, link in zip(table.seats, (True, False), strict=False)
    )
    try:
        for player in (red, blue):
            player.start_background()
            assert heard.get(timeout=DEADLINE) is True
        end = time.monotonic() + DEADLINE
        while red.quality is None or blue.leg != "tcp+udp":
            assert time.monotonic() < end
            blue.send(1)  # what red gets is acknowledged, and measured
            heard.get(timeout=DEADLINE)
        while True:
            (listed,) = json.loads(gsrt("session", "list", "--json", *control).out)["sessions"]
            first, second, third = listed["players"]
            if first["roundTripMs"] is not None:
                break
            assert time.monotonic() < end
            blue.send(1)
        assert 0 < first["roundTripMs"] < 10_000
        assert (first["leg"], second["leg"], third["leg"]) == ("link", "tcp+udp", None)
        lines = [line.split() for line in gsrt("session", "list", *control).out.splitlines()]
        assert lines[0][-1] == "leg"
        assert (lines[1][-3], lines[1][-1]) == ("link", "ms")
        assert lines[2][-1] == "tcp+udp"
        assert lines[3][-1] == "expected"
    finally:
        red.stop()
        blue.stop()
        running.end(table)


def test_people_get_lines_to_paste(gsrt: Run, running: ServerProcess) -> None:
    control = ("--control", running.control_path)
    created = gsrt("session", "create", "--players", "red", "--host", "play.example", *control).out
    (join,) = (line.split() for line in created.splitlines() if line.startswith("  gsrt join "))
    assert join[2:4] == ["play.example", str(running.port)]
    (listed,) = json.loads(gsrt("session", "list", "--json", *control).out)["sessions"]
    assert gsrt("session", "end", listed["sessionId"], *control).status == 0


def test_status_tells_programs_everything(gsrt: Run, running: ServerProcess) -> None:
    status = json.loads(gsrt("status", "--json", "--control", running.control_path).out)
    assert status["pid"] == running.process.pid
    assert status["port"] == running.port
    assert status.keys() >= {
        *("version", "host", "profile", "uptimeSeconds", "sessions", "peersConnected", "connections"),
        *("counters", "perSession", "loop"),
    }


@pytest.mark.parametrize(
    "words",
    [
        ("session", "end", "no-such"),
        ("player", "kick", "no-such", "red"),
        ("session", "create", "--players", "x" * 9000),
    ],
)
def test_what_cannot_be_done_is_one_line_on_standard_error(
    gsrt: Run, running: ServerProcess, words: tuple[str, ...]
) -> None:
    outcome = gsrt(*words, "--control", running.control_path)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert outcome.err.startswith("gsrt: ")


def test_a_second_server_at_the_same_control_socket_does_not_start(running: ServerProcess) -> None:
    port = running.command.index("--port") + 1
    command = [*running.command[:port], "0", *running.command[port + 1 :]]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a server already listens at" in done.stderr
    assert "Traceback" not in done.stderr
    assert running.control({"do": "status"})["ok"] is True


def test_a_profile_that_does_not_exist_ends_the_start_with_one_line(tmp_path: Path, gsrt: Run) -> None:
    outcome = gsrt("serve", "--profile", "pdp11", "--control", str(tmp_path / "c.sock"), "--port", "0")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("gsrt: there is no profile 'pdp11'; there are ")


def test_the_demo_session_is_open_and_its_commands_are_printed(certificate: tuple[str, str], gsrt: Run) -> None:
    with ServerProcess(certificate=certificate, arguments=("--demo", "red,blue")) as server:
        joins = [line.split() for line in server.log().splitlines() if line.startswith("  gsrt join ")]
        assert [words[2:4] for words in joins] == [["127.0.0.1", str(server.port)]] * 2
        sessions = json.loads(gsrt("session", "list", "--json", "--control", server.control_path).out)["sessions"]
        assert [[player["playerId"] for player in session["players"]] for session in sessions] == [["red", "blue"]]
        control = Path(server.control_path)
        assert control.is_socket()
        server.stop()
        assert not control.exists()

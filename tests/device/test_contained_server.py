"""Real servers that have contained themselves: all that a server does goes on, and what it may not do is said."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.client import Session
from tests.platform.test_from_nothing_to_playing import Company, all_ready, write_game
from tests.platform.test_from_nothing_to_playing import until as play_until
from tests.sessions.player import Player, linked_players
from tests.support.manager import Manager
from tests.support.server import ControlRefused, ServerProcess, until

DEADLINE = 20.0
LIMITS = {"grace_seconds": 20, "script_reload_seconds": 0.1, "game_reload_seconds": 0.1, "script_watchdog_seconds": 0.1}
HELLO = 40
SCRIPT = """
@session.on_packet(40)
def hello(packet):
    session.send(41, {1: WORD})
    return False
"""
HANGS = (
    SCRIPT
    + """
@session.on_packet(50)
def never(packet):
    hang()
"""
)


def said(server: ServerProcess, text: str) -> int:
    return server.log_path.read_text().count(text)


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def contained(server: ServerProcess) -> ServerProcess:
    """The server, once it is. Where this kernel does not let it, there is nothing to test."""
    until(lambda: said(server, "info contained "), server)
    if "seccomp=on" not in server.log():
        pytest.skip("no seccomp here")
    return server


def has_landlock(server: ServerProcess) -> bool:
    return 'landlock="version' in server.log()


def threads(server: ServerProcess) -> list[dict[str, str]]:
    """What the kernel says of each."""
    found = []
    for path in Path(f"/proc/{server.process.pid}/task").glob("*/status"):
        found.append(dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line))
    return found


def answers(player: Player, word: str) -> None:
    player.send(HELLO, 0)
    player.expect(41, {1: word}, sender=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_game(tmp_path / "arena")
    (folder / "www").mkdir()
    (folder / "www/index.html").write_text("<p>hello</p>")
    (folder / "scripts/hello.py").write_text(SCRIPT.replace("WORD", "'one'"))
    return folder


@pytest.fixture
def company() -> Iterator[Company]:
    made = Company()
    yield made
    made.close()


def test_a_game_is_played_to_its_end(folder: Path, company: Company, tmp_path: Path) -> None:
    arguments = (str(folder), "--contain", "--lock-memory")
    with ServerProcess(arguments=arguments, overrides=LIMITS) as server:  # it makes its certificate, too
        # Before anything is loaded that is loaded when it is first asked for: scripts, TLS, the link's library, www/.
        contained(server)
        assert {each["Seccomp"] for each in threads(server)} == {"2"}
        assert {each["NoNewPrivs"] for each in threads(server)} == {"1"}
        (locked,) = {each["VmLck"].split()[0] for each in threads(server)}
        assert said(server, "warn memory is not locked reason=" if locked == "0" else "info memory locked\n") == 1
        players = company.players(server.port, "Ann", "Ben", "Cleo")  # over WebSocket
        for player in players:
            player.seek(0)
        for player in players:
            player.join()
        all_ready(players)
        play_until(players, lambda: all(len(each.heard(10)) for each in players), "the script names everybody")

        table = server.create(2, script=str(folder / "scripts/hello.py"))
        legs = [
            Session("127.0.0.1", server.port, seat.token, tls=tls, link=not tls)
            for seat, tls in zip(table.seats, (False, True), strict=True)
        ]
        for leg in legs:
            leg.start()
        end = time.monotonic() + DEADLINE
        while not all(leg.ready for leg in legs):
            assert time.monotonic() < end, server.log()
            for leg in legs:
                leg.update()
            time.sleep(0.005)  # between two looks
        assert [leg.leg.partition("+")[0] for leg in legs] == ["link", "tls"]
        for leg in legs:
            leg.stop()

        (folder / "scripts/hello.py").write_text(SCRIPT.replace("WORD", "'two, and longer'"))
        until(lambda: said(server, "info script taken up again"), server)
        until(lambda: said(server, "info game taken up"), server)

        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(f"https://127.0.0.1:{server.port}/", context=blind, timeout=DEADLINE) as page:
            assert page.read() == b"<p>hello</p>"
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=DEADLINE) as figures:
            assert b"process_resident_memory_bytes" in figures.read()

        copy = folder / "data/copy.sqlite"
        assert server.control({"do": "backup", "file": str(copy)})["bytes"] == copy.stat().st_size
        outside = tmp_path / "outside.py"
        outside.write_text(SCRIPT)
        if has_landlock(server):
            with pytest.raises(ControlRefused, match=r"the server is contained and may write below .*/arena/data"):
                server.control({"do": "backup", "file": str(tmp_path / "copy.sqlite")})
            with pytest.raises(ControlRefused, match=r"the server is contained and may read below .*/arena"):
                server.create(2, script=str(outside))
            with pytest.raises(ControlRefused, match=r"out\.jsonl: the server is contained and may write below"):
                server.create(2, script=str(folder / "scripts/hello.py"), record=str(tmp_path / "out.jsonl"))
        assert server.control({"do": "player.list"})["ok"]
        assert {each["Seccomp"] for each in threads(server)} == {"2"}  # the threads of by now
    assert not Path(server.control_path).exists()


def hanging(folder: Path, certificate: tuple[str, str], manager: Manager | None = None) -> ServerProcess:
    """A server whose scripts can hang; its script is told at the start."""
    script = folder / "hello.py"
    script.write_text(HANGS.replace("WORD", "'one'"))
    arguments = ("--contain", "--script", str(script))
    server = ServerProcess(arguments=arguments, overrides=LIMITS, certificate=certificate, manager=manager)
    server.command[server.command.index("gsrt")] = "tests.support.hanging_scripts"
    server.allowed_errors = ("error script.watchdog ", "error restarted after a script hung", "error session goes on ")
    return server


def test_it_restarts_itself_and_is_contained_as_before(tmp_path: Path, certificate: tuple[str, str]) -> None:
    with hanging(tmp_path, certificate) as server, linked_players(server.create(2), contained(server)) as players:
        answers(players[0], "one")
        players[0].send(50, 0)
        until(lambda: said(server, "info contained ") == 2, server)
        assert said(server, 'seccomp="since before the restart"') == 1
        logs = server.log_path.read_text().split("error script.watchdog")
        before, after = (lines_of(log, "info not to be had on this box") for log in logs)
        assert before == after  # the same sensors
        assert {each["Seccomp"] for each in threads(server)} == {"2"}
        # What compiles scripts is there as before.
        (tmp_path / "hello.py").write_text(SCRIPT.replace("WORD", "'mended'"))
        with linked_players(server.create(2), server) as others:
            answers(others[0], "mended")
            # A hand-over too: the next program is executed in this one's place.
            server.process.send_signal(signal.SIGUSR2)
            until(lambda: said(server, "info contained ") == 3, server)
            answers(others[0], "mended")
            answers(others[1], "mended")


def test_with_a_manager_it_executes_nothing_and_is_brought_back(tmp_path: Path, certificate: tuple[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="gsrt-") as place:  # a short path: it is a socket's
        manager = Manager(Path(place))
        try:
            server = hanging(tmp_path, certificate, manager)
            with server, linked_players(server.create(2), contained(server)) as players:
                players[0].send(50, 0)
                assert server.wait() == 70
                assert said(server, "a callback did not come back, the server ends") == 1
                server.start()
                assert said(server, "error restarted after a script hung") == 1
                assert said(server, "info sessions are back sessions=1") == 1
                until(lambda: said(server, "info contained ") == 2, server)
        finally:
            manager.close()


def test_with_a_manager_that_keeps_nothing_it_becomes_the_next_by_itself(
    tmp_path: Path, certificate: tuple[str, str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="gsrt-") as place:  # a short path: it is a socket's
        manager = Manager(Path(place), keeps=0)
        try:
            server = hanging(tmp_path, certificate, manager)
            with server, linked_players(server.create(2), contained(server)) as players:
                server.process.send_signal(signal.SIGUSR2)
                until(lambda: said(server, "info contained ") == 2, server)
                assert said(server, 'seccomp="since before the restart"') == 1
                answers(players[0], "one")
                answers(players[1], "one")
                players[0].send(50, 0)  # and where a script hangs
                until(lambda: said(server, "info contained ") == 3, server)
                assert said(server, "error restarted after a script hung") == 1
                assert said(server, "info sessions are back sessions=1") == 2
                until(lambda: sum(each.startswith("READY") for each in list(manager.told)) == 3, server)
        finally:
            manager.close()


@pytest.mark.parametrize("missing", ["cffi", "landlock,seccomp,prctl"])
def test_without_any_of_it_the_server_serves(missing: str, tmp_path: Path, certificate: tuple[str, str]) -> None:
    (tmp_path / "hello.py").write_text(SCRIPT.replace("WORD", "'one'"))
    arguments = ("--contain", "--script", str(tmp_path / "hello.py"))
    server = ServerProcess(arguments=arguments, overrides=LIMITS, certificate=certificate)
    if missing == "cffi":
        (tmp_path / "_cffi_backend.py").write_text("raise ImportError('not installed')\n")
        server.command[0:0] = ["env", f"PYTHONPATH={os.pathsep.join([str(tmp_path), *sys.path])}"]
    else:
        server.command[0:0] = [sys.executable, "-m", "tests.device.unavailable", missing]
    with server:
        until(lambda: said(server, "info contained "), server)
        said_once = server.log().partition("info contained ")[2].splitlines()[0]
        assert said_once.count("no: ") == (4 if missing == "cffi" else 3)
        with linked_players(server.create(2), server) as players:
            answers(players[0], "one")

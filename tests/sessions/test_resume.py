"""A server that hangs and is restarted by its watchdog: same process id, same port, and the players are back in the
sessions they were in."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gsrt.resume import RESTARTS_MAX, VARIABLE, script_tag
from tests.doubles.driver import Driver
from tests.sessions.match import Match
from tests.sessions.player import DEADLINE, Player
from tests.support.server import ControlRefused, Seat, ServerProcess

LIMITS = {"grace_seconds": 10, "script_watchdog_seconds": 0.1}

STARTED = "info listening "
HUNG = "error restarted after a script hung "
UNKNOWN = "error restarted: the server did not answer "


def target_of(descriptor: str) -> str:
    """What a path of /proc/PID/fd stands for; "" where it was closed since the folder was read."""
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:
        return ""


class HangingServer(ServerProcess):
    """A server that hangs at SIGUSR2."""

    def __init__(self, *, certificate: tuple[str, str] | None = None, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(certificate=certificate, arguments=arguments, overrides=LIMITS)
        self.command[self.command.index("gsrt")] = "tests.support.restarting"
        self.allowed_errors = ("error script.watchdog ", HUNG, UNKNOWN)
        self.tag = self.directory / "tag"

    def __enter__(self) -> HangingServer:
        self.start()
        return self

    def restart(self, hung: bytes = b"") -> None:
        """Have it hang in the script of that tag; returns when it is up again."""
        self.tag.write_bytes(hung)
        starts = self.lines(STARTED)
        self.process.send_signal(signal.SIGUSR2)
        until(lambda: self.lines(STARTED) > starts, self.log)

    def lines(self, start: str) -> int:
        return sum(line.startswith(start) for line in self.log_path.read_text().splitlines())

    def image(self) -> str:
        """A path of the image's memory file."""
        folder = f"/proc/{self.process.pid}/fd"
        (path,) = [
            f"{folder}/{name}"
            for name in os.listdir(folder)
            if target_of(f"{folder}/{name}").startswith("/memfd:gsrt-image ")
        ]
        return path

    def descriptors(self) -> list[str]:
        """What its open files are, numbers of pipes and sockets left out."""
        folder = f"/proc/{self.process.pid}/fd"
        targets = [target_of(f"{folder}/{name}") for name in os.listdir(folder)]
        return sorted(each.partition(":[")[0] for each in targets if each)


Join = Callable[..., Player]


def until(condition: Callable[[], object], explain: Callable[[], str] = str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"it has not come about:\n{explain()}"
        time.sleep(0.005)  # between two looks


@pytest.fixture
def server(certificate: tuple[str, str]) -> Iterator[HangingServer]:
    with HangingServer(certificate=certificate) as server:
        yield server


@pytest.fixture
def join() -> Iterator[Join]:
    players: list[Player] = []

    def join(seat: Seat, server: ServerProcess, **options: bool) -> Player:
        players.append(Player(seat, server.port, **options))
        return players[-1]

    yield join
    for player in players:
        player.session.stop()


def exchange(players: list[Player], op_code: int) -> None:
    """Each sends to all others, and gets what they sent."""
    for player in players:
        others = {each.session.peer_id for each in players}
        until(lambda: set(player.session.active_peers) >= others)  # noqa: B023
    for player in players:
        assert player.session.send(op_code, data={1: player.session.peer_id})
    for player in players:
        got = [player.packets.get(timeout=DEADLINE) for _ in range(len(players) - 1)]
        assert {packet.op_code for packet in got} == {op_code}
        assert {packet.sender for packet in got} == {each.session.peer_id for each in players if each is not player}


def test_players_are_back_and_play_on(server: HangingServer, join: Join) -> None:
    table = server.create(2)
    before = server.control({"do": "session.list"})["sessions"][0]
    players = [join(table.seats[0], server), join(table.seats[1], server, tls=True)]
    for player in players:
        player.expect_ready()
    exchange(players, 100)
    pid = server.process.pid
    for number in range(2):
        server.restart()
        for player in players:
            player.expect_loss_and_return()
        exchange(players, 101 + number)
    assert server.process.pid == pid
    assert server.control({"do": "status"})["pid"] == pid
    after = server.control({"do": "session.list"})["sessions"][0]
    assert after["sessionId"] == before["sessionId"]
    assert after["ageSeconds"] >= before["ageSeconds"]
    assert [(each["playerId"], each["peerId"], each["state"]) for each in after["players"]] == [
        ("p1", 1, "ready"),
        ("p2", 2, "ready"),
    ]


def test_both_tokens_are_the_same_and_let_in(server: HangingServer, driver: Driver) -> None:
    match = Match(server, driver, 2)
    first = match.logged_in(1).login_results()[0].reconnect_token
    assert first is not None
    for _ in range(2):
        server.restart()
        probe = match.logged_in(1)  # with the access token
        assert probe.login_results()[0].reconnect_token == first
        assert probe.login_results()[0].peer_id == 1
        again = match.probe()
        again.log_in(first.decode())
        driver.run_until(lambda: bool(again.login_results()), "LoginResult")  # noqa: B023
        assert again.login_results()[0].peer_id == 1
        assert again.login_results()[0].reconnect_token == first


def test_the_kicked_stay_out_and_the_ended_stays_ended(server: HangingServer, driver: Driver) -> None:
    match, other = Match(server, driver, 3), Match(server, driver, 1)
    reconnect = match.logged_in(2).login_results()[0].reconnect_token or b""
    server.kick(match.table, match.table.seats[1])
    server.end(other.table)
    for _ in range(2):
        server.restart()
        assert server.session_ids() == [match.table.session_id]
        assert server.player_state(match.table, 2) == "kicked"
        for token in (match.token(2), reconnect.decode(), other.token(1)):
            probe = match.probe()
            probe.log_in(token)
            driver.run_until(lambda: probe.ended is not None, "the end")  # noqa: B023
            assert not probe.login_results()
        assert match.logged_in(3).login_results()[0].peer_id == 3


def test_what_happens_after_a_restart_is_known_after_the_next(server: HangingServer, driver: Driver) -> None:
    first = Match(server, driver, 2)
    server.restart()
    second = Match(server, driver, 1)
    server.kick(first.table, first.table.seats[0])
    server.restart()
    assert set(server.session_ids()) == {first.table.session_id, second.table.session_id}
    assert server.player_state(first.table, 1) == "kicked"
    server.end(first.table)
    server.restart()
    assert server.session_ids() == [second.table.session_id]
    assert second.logged_in(1).login_results()[0].peer_id == 1


def test_the_port_is_never_closed(server: HangingServer) -> None:
    """Someone connects all the time, and another sends datagrams all the time; nobody is ever refused."""
    over = threading.Event()
    refused: list[OSError] = []
    connected = 0

    def connect() -> None:
        nonlocal connected
        while not over.is_set():
            try:
                socket.create_connection((server.host, server.port), timeout=DEADLINE).close()
                connected += 1
            except OSError as error:
                refused.append(error)

    def post() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect((server.host, server.port))
            while not over.is_set():
                try:
                    datagrams.send(b"\x02\x08\x09")
                except OSError as error:  # what the kernel says of a closed port
                    refused.append(error)
                over.wait(0.0005)

    threads = [threading.Thread(target=work) for work in (connect, post)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = connected
            server.restart()
            until(lambda: connected > before)  # noqa: B023
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert refused == []
    assert server.lines("error the port was not inherited") == 0


def test_a_port_that_was_picked_stays(certificate: tuple[str, str]) -> None:
    with HangingServer(certificate=certificate, arguments=("--port", "0")) as server:
        port = server.control({"do": "status"})["port"]
        server.restart()
        assert server.control({"do": "status"})["port"] == port


def test_descriptors_do_not_accumulate(server: HangingServer, driver: Driver) -> None:
    match = Match(server, driver, 2)
    match.logged_in(1)
    server.restart()
    until(lambda: server.control({"do": "status"})["connections"] == 0)
    before = server.descriptors()  # maybe with the connection of that request
    for _ in range(RESTARTS_MAX - 1):
        match.logged_in(1)
        server.restart()
    until(lambda: len(server.descriptors()) <= len(before), lambda: f"{before}\n{server.descriptors()}")
    assert [each for each in server.descriptors() if each.startswith("/memfd:")] == [
        "/memfd:gsrt-image (deleted)",
        "/memfd:gsrt-note (deleted)",
    ]


def test_the_script_that_hung_is_named(server: HangingServer, driver: Driver) -> None:
    match = Match(server, driver, 1)
    server.restart(script_tag(match.table.session_id, "d1" * 32, "/games/ships.py"))
    (line,) = [line for line in server.log().splitlines() if line.startswith(HUNG)]
    assert f"session={match.table.session_id} script=/games/ships.py todo=" in line
    server.restart()
    assert server.lines(HUNG) == 1, "the note of the last time was read again"
    assert server.lines(UNKNOWN) == 1
    server.restart(script_tag(match.table.session_id, "d2" * 32, "/games/other.py"))
    assert server.lines(HUNG) == 2


SCRIPT = """\
def on_packet(packet):
    if packet.get_op_code() == 666:
        hang()
    session.send(200, {1: packet.get_op_code()}, reliable=True)
"""


def test_a_script_that_hangs_is_left_out_until_it_is_mended(server: HangingServer, join: Join) -> None:
    script = server.directory / "ships.py"
    script.write_text(SCRIPT)
    table, plain = server.create(2, script=str(script)), server.create(2)
    players = [join(seat, server) for seat in table.seats]
    others = [join(seat, server) for seat in plain.seats]
    for player in (*players, *others):
        player.expect_ready()
    assert players[0].session.send(100, peers=[0])
    for player in players:
        packet = player.packets.get(timeout=DEADLINE)
        assert (packet.op_code, packet.sender) == (200, 0)
    starts = server.lines(STARTED)
    assert players[0].session.send(666)
    until(lambda: server.lines(STARTED) > starts, server.log)
    for player in (*players, *others):
        player.expect_loss_and_return()
    (line,) = [line for line in server.log().splitlines() if line.startswith(HUNG)]
    assert f"session={table.session_id} script={script} todo=" in line
    server.allowed_errors += ("error session goes on without its script ",)
    until(lambda: server.lines("error session goes on without its script ") == 1)
    exchange(players, 101)  # and nothing else comes
    exchange(others, 102)
    with pytest.raises(ControlRefused, match="has hung"):
        server.create(2, script=str(script))
    script.write_text(SCRIPT.replace("666", "0"))
    mended = [join(seat, server) for seat in server.create(2, script=str(script)).seats]
    for player in mended:
        player.expect_ready()
    assert mended[0].session.send(666, peers=[0])
    assert mended[1].packets.get(timeout=DEADLINE).op_code == 200


def test_too_many_restarts_turn_scripts_off(server: HangingServer) -> None:
    table = server.create(1)
    for _ in range(RESTARTS_MAX):
        server.restart()
    assert server.lines("error scripts are off ") == 0
    server.allowed_errors += ("error scripts are off ",)
    server.restart()
    assert server.lines("error scripts are off ") == 1
    assert server.session_ids() == [table.session_id]


@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_a_damaged_image_costs_the_sessions_and_nothing_else(
    certificate: tuple[str, str], driver: Driver, damage: str
) -> None:
    with HangingServer(certificate=certificate, arguments=("--demo", "red,blue")) as server:
        server.create(2)
        server.allowed_errors += ("error sessions lost in the restart",)
        assert len(server.session_ids()) == 2  # answered in a later turn than the one that wrote the image
        with open(server.image(), "r+b") as image:
            whole = image.read()
            image.seek(0)
            image.truncate({"empty": 0, "cut": len(whole) - 1, "changed": len(whole)}[damage])
            if damage == "changed":
                image.write(whole.swapcase())
        server.restart()
        assert server.lines("error sessions lost in the restart") == 1
        until(lambda: server.lines("A session is open.") == 2, server.log)  # told after what `restart` waits for
        match = Match(server, driver, 1)
        both = server.session_ids()
        assert len(both) == 2
        server.restart()
        assert server.session_ids() == both
        assert match.logged_in(1).login_results()[0].peer_id == 1


def test_a_demo_session_is_not_opened_twice(certificate: tuple[str, str]) -> None:
    with HangingServer(certificate=certificate, arguments=("--demo", "red,blue")) as server:
        demo = server.session_ids()
        assert len(demo) == 1
        server.restart()
        assert server.session_ids() == demo
        until(lambda: server.lines("A session is open.") == 2, server.log)  # how to join is said again


def test_the_environment_is_as_it_was_but_for_the_variable(server: HangingServer) -> None:
    def variables() -> dict[str, str]:
        pairs = Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")
        return dict(pair.split("=", 1) for pair in pairs if pair)

    def arguments() -> list[str]:
        return Path(f"/proc/{server.process.pid}/cmdline").read_text().split("\0")[1:]

    before, command = variables(), arguments()
    server.restart()
    once = variables()
    server.restart()
    again = variables()
    assert arguments() == command
    assert once.pop(VARIABLE).split(",restarts")[0] == again.pop(VARIABLE).split(",restarts")[0]
    assert once == again == before


def test_a_stranger_with_the_variable_is_an_ordinary_server(
    certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "pid=1,image=2,note=2,listener=1,datagrams=1,restarts=")
    with HangingServer(certificate=certificate) as server:
        table = server.create(1)
        assert server.lines("warn variable ignored") == 1
        server.restart()
        assert server.session_ids() == [table.session_id]
        assert server.lines("warn variable ignored") == 1


def test_no_signal_stays_blocked_or_waiting(server: HangingServer) -> None:
    """The handler that starts the new program runs with its own signal blocked."""
    server.restart()
    status = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    masks = {
        line.partition(":\t")[0]: int(line.partition(":\t")[2], 16)
        for line in status
        if line.startswith("S") and line[:6] in ("SigPnd", "SigBlk", "ShdPnd")
    }
    assert masks == {"SigPnd": 0, "ShdPnd": 0, "SigBlk": 0}


def test_a_signal_to_end_still_ends_it(server: HangingServer) -> None:
    for _ in range(2):
        server.restart()
    assert server.terminate() == 0
    with pytest.raises((FileNotFoundError, ControlRefused)):
        server.control({"do": "status"})


def test_a_signal_to_end_that_came_while_it_hung_ends_it(server: HangingServer) -> None:
    server.create(1)
    (server.directory / "terminate").touch()
    server.restart()
    assert server.wait() == 0
    assert server.log().endswith("info stopped\n")


def test_a_program_the_server_starts_inherits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither before nor after a restart does openssl get the port or the image; nor is it left unburied."""
    programs = tmp_path / "programs"
    programs.mkdir()
    seen = tmp_path / "seen"
    openssl = programs / "openssl"
    openssl.write_text(f"#!/bin/sh\nls -l /proc/$$/fd >> {seen}\necho end >> {seen}\nexit 1\n")
    openssl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with HangingServer() as server:
        server.allowed_errors += ("error no TLS",)
        until(lambda: server.lines("error no TLS") == 1)
        server.restart()
        until(lambda: server.lines("error no TLS") == 2)
        assert Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text() == ""
    lists = seen.read_text().split("end\n")[:-1]
    assert len(lists) == 2
    for each in lists:
        assert "pipe:" in each
        assert "socket:" not in each
        assert "memfd" not in each

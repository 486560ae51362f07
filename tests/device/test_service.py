"""A real server under a manager: a UNIX datagram socket stands in for systemd, a short program opens the port."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import queue
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gsrt.client import Session
from gsrt.transports.port import bind_port
from tests.device.test_systemd import DEADLINE, Manager
from tests.link.test_namespaces import change_address
from tests.platform.test_from_nothing_to_playing import write_game
from tests.support import manager as keeping
from tests.support import network
from tests.support.network import LEFT_ADDRESS, Namespace
from tests.support.server import PROJECT, ServerProcess, free_port, until

# From linux/ptrace.h and linux/wait.h.
PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000

SILENCE = 1.0  # seconds in which others would have given twenty signs of life
ABSENT_ADDRESS = "192.0.2.7"  # for documentation: no machine has it
LATE_ADDRESS = "10.77.0.9"

# Opens sockets as a .socket unit does (argv[1]: kinds and ports, such as "tcp:8784,udp:8784"), then becomes the server.
OPENS_PORT = """
import os, socket, sys
for descriptor, wanted in enumerate(sys.argv[1].split(","), 3):
    kind, _, port = wanted.partition(":")
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == "tcp")
    opened.bind(("127.0.0.1", int(port)))
    if kind == "tcp":
        opened.listen()
    if opened.fileno() != descriptor:
        os.dup2(opened.fileno(), descriptor)
    else:
        os.set_inheritable(descriptor, True)
    opened.detach()
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(descriptor - 2), LISTEN_FDNAMES="gsrt.socket:gsrt.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Attentive(Manager):
    """Reads what it is told as it comes, and lets go of what is left with it, which others look at."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._socket.settimeout(None)
        self._told: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while "END" not in (message := self._next()):
            if not message.keys() & {"FDSTORE", "FDSTOREREMOVE", "BARRIER"}:
                self._told.put(message)

    def _next(self) -> dict[str, str]:
        message, descriptors = super().read_all()
        for descriptor in descriptors:
            os.close(descriptor)
        return message

    def read(self) -> dict[str, str]:
        return self._told.get(timeout=DEADLINE)

    def read_all_there_is(self) -> list[dict[str, str]]:
        """What was told until now and not read yet."""
        self._say("MARK=")
        told = [self.read()]
        while "MARK" not in told[-1]:
            told.append(self.read())
        return told[:-1]

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing more is told for so long."""
        try:
            self._told.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def close(self) -> None:
        self._say("END=")
        self._thread.join()
        super().close()

    def _say(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(text.encode(), self.address)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Attentive]:
    """Started servers tell it."""
    with contextlib.closing(Attentive(f"@gsrt-test-{os.urandom(8).hex()}")) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.environment["NOTIFY_SOCKET"])
        yield manager


def test_ready_is_told_once_when_everybody_can_be_let_in(manager: Attentive, certificate: tuple[str, str]) -> None:
    with ServerProcess(certificate=certificate) as server:
        assert manager.read() == {
            "READY": "1",
            "STATUS": f"port {server.port}: players connected: 0, sessions: 0",
        }
        server.stop()
        assert manager.read() == {"STOPPING": "1", "STATUS": "ending"}
        assert manager.read_all_there_is() == []


def test_a_certificate_that_has_to_be_made_is_there_when_ready_is_told(manager: Attentive) -> None:
    with ServerProcess() as server:
        assert manager.read()["READY"] == "1"
        assert list((server.directory / "state").glob("*.pem"))


def test_signs_of_life_end_with_the_loop(
    manager: Attentive, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with ServerProcess(certificate=certificate) as server:
        while "READY" not in manager.read():
            pass
        for _ in range(3):
            assert manager.read() == {"WATCHDOG": "1"}
        server.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
        manager.read_all_there_is()
        assert manager.read_all_there_is() == []
        server.process.send_signal(signal.SIGCONT)
        assert manager.read() == {"WATCHDOG": "1"}


@contextlib.contextmanager
def main_thread_stopped(process: int) -> Iterator[None]:
    """The other threads of PROCESS, which is a child, go on."""
    traced = ctypes.CDLL(None, use_errno=True)

    def trace(request: int) -> None:
        traced.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        traced.ptrace.restype = ctypes.c_long
        if traced.ptrace(request, process, None, None) == -1:
            number = ctypes.get_errno()
            if request == PTRACE_SEIZE and number in (errno.EPERM, errno.ENOSYS):
                pytest.skip(f"no thread can be stopped here: ptrace: {os.strerror(number)}")
            raise OSError(number, "ptrace")

    trace(PTRACE_SEIZE)
    trace(PTRACE_INTERRUPT)
    _, status = os.waitpid(process, WALL)
    assert os.WIFSTOPPED(status)
    try:
        yield
    finally:
        trace(PTRACE_DETACH)


def states(process: int) -> dict[int, str]:
    """Of its threads: "t" is stopped by a tracer, "S" waits."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        found[int(task.name)] = (task / "stat").read_text().rpartition(")")[2].split()[0]
    return found


def test_signs_of_life_end_with_the_loop_though_other_threads_go_on(
    manager: Attentive, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    game = str(write_game(tmp_path / "arena"))  # a store has a thread
    with ServerProcess(certificate=certificate, arguments=(game,)) as server:
        while "READY" not in manager.read():
            pass
        assert manager.read() == {"WATCHDOG": "1"}
        with main_thread_stopped(server.process.pid):
            threads = states(server.process.pid)
            assert threads.pop(server.process.pid) == "t"
            assert threads
            assert "t" not in threads.values()
            manager.read_all_there_is()  # what was on its way
            assert manager.is_silent(SILENCE)
        assert manager.read() == {"WATCHDOG": "1"}


def test_a_port_that_systemd_has_opened_is_served(manager: Attentive, certificate: tuple[str, str]) -> None:
    port = free_port()
    server = ServerProcess(certificate=certificate, port=free_port())  # that one does not count
    server.command = [sys.executable, "-c", OPENS_PORT, f"udp:{port},tcp:{port}", *server.command]
    with server:
        assert manager.read()["STATUS"].startswith(f"port {port}:")
        assert "the port is the one that systemd has opened" in server.log()
        table = server.create(1)
        assert table.port == port
        with socket.create_connection(("127.0.0.1", port)) as tcp:
            tcp.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tcp.recv(64).startswith(b"HTTP/1.1 200 ")
        player = Session("127.0.0.1", port, table.seats[0].token, link=True)
        player.start()
        end = time.monotonic() + DEADLINE
        while not player.ready:
            assert time.monotonic() < end
            player.update()
        player.stop()


def test_everything_may_come_from_the_configuration(manager: Attentive, certificate: tuple[str, str]) -> None:
    server = ServerProcess()
    words = dict(itertools.pairwise(server.command))
    file = server.directory / "gsrt.toml"
    file.write_text(
        f"""host = "{words["--host"]}"
port = {words["--port"]}
control = "control.sock"  # beside this file
control_group = true
profile = "{words["--profile"]}"
state = "state"
cert = "{certificate[0]}"
key = "{certificate[1]}"
"""
    )
    server.command = [sys.executable, "-m", "gsrt", "serve", "--config", str(file)]
    with server:
        assert manager.read()["STATUS"].startswith(f"port {words['--port']}:")
        assert stat.S_IMODE(os.stat(server.control_path).st_mode) == 0o660


def test_a_port_that_was_left_and_is_not_wanted_any_more_is_given_up(
    certificate: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with contextlib.closing(keeping.Manager(tmp_path_factory.mktemp("k"))) as keeper:
        with ServerProcess(certificate=certificate, manager=keeper) as server:
            before, after = server.port, free_port()
            server.command = [str(after) if word == str(before) else word for word in server.command]
            for _ in range(2):  # the second finds what the first has left
                server.process.send_signal(signal.SIGUSR2)
                assert server.wait() == 0
                server.start()
                assert server.port == after
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", before))
            assert server.log().count("the port is another than before") == 1
        assert sorted(keeper.names()) == ["gsrt-datagrams", "gsrt-listener"]


@pytest.mark.parametrize("opened", ["tcp:{0}", "udp:{0},udp:{1}", "tcp:{0},udp:{1}"])
def test_other_sockets_are_no_port(opened: str, manager: Attentive, certificate: tuple[str, str]) -> None:
    server = ServerProcess(certificate=certificate)
    try:
        words = [sys.executable, "-c", OPENS_PORT, opened.format(free_port(), free_port()), *server.command]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        ended = subprocess.run(
            words, cwd=server.directory, env=environment, capture_output=True, text=True, timeout=DEADLINE
        )
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line.startswith('error cannot start reason="')
        assert "handed in by systemd" in line
        assert manager.read_all_there_is() == []
    finally:
        server.dispose()


def test_what_was_left_is_closed_where_systemd_opens_the_port(
    certificate: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        contextlib.closing(keeping.Manager(tmp_path_factory.mktemp("k"))) as keeper,
        ServerProcess(certificate=certificate, manager=keeper) as server,
    ):
        before = server.port
        server.process.send_signal(signal.SIGUSR2)
        assert server.wait() == 0
        assert {"gsrt-listener", "gsrt-datagrams"} <= set(keeper.names())
        opened = bind_port("127.0.0.1", 0)
        keeper.kept += [("gsrt.socket", each.detach()) for each in opened]  # gsrt.socket is enabled by now
        server.start()
        until(lambda: list(keeper.told).count("READY STATUS") == 2, server)  # and has let go of what it kept
        assert server.port != before
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", before))
        listening = Path(f"/proc/{server.process.pid}/net/udp").read_text()
        assert f"0100007F:{before:04X} " not in listening
        assert f"0100007F:{server.port:04X} " in listening


class ServerElsewhere(ServerProcess):
    host = ABSENT_ADDRESS


def test_a_service_waits_for_its_address(manager: Attentive, certificate: tuple[str, str]) -> None:
    with ServerElsewhere(certificate=certificate) as server:
        status = manager.read()["STATUS"]
        assert status.startswith(f"port {server.port}:")
        assert status.endswith(f"; this machine does not have {ABSENT_ADDRESS}")
        told = f"warn this machine does not have the address: players can come when it has host={ABSENT_ADDRESS}"
        assert server.log().splitlines().count(told) == 1


def test_by_hand_an_address_that_is_not_there_is_a_mistake(certificate: tuple[str, str]) -> None:
    server = ServerElsewhere(certificate=certificate)
    try:
        server.launch()
        assert server.wait() == 1
        assert server.log().splitlines() == [
            f'error cannot start reason="{ABSENT_ADDRESS} is no address of this machine: use 0.0.0.0 for all of them, '
            'or see `ip address`"'
        ]
    finally:
        server.dispose()


class ServerInNamespace(ServerProcess):
    """Its machine is to have this address later."""

    host = LATE_ADDRESS

    def __init__(self, namespace: Namespace, certificate: tuple[str, str], manager: keeping.Manager) -> None:
        super().__init__(certificate=certificate, manager=manager)
        self._namespace = namespace

    def launch(self) -> None:
        with self._namespace.entered():
            super().launch()


def test_players_come_in_as_soon_as_the_address_is_there(
    certificate: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    if reason := network.why_not():
        pytest.skip(reason)
    with (
        Namespace(LEFT_ADDRESS) as namespace,
        contextlib.closing(keeping.Manager(tmp_path_factory.mktemp("k"))) as keeper,
        ServerInNamespace(namespace, certificate, keeper) as server,
    ):
        until(lambda: any("READY" in told for told in list(keeper.told)), server)
        table = server.create(2)

        change_address(namespace, LATE_ADDRESS)

        for seat, link in zip(table.seats, (True, False), strict=True):
            with namespace.entered():
                player = Session(LATE_ADDRESS, server.port, seat.token, link=link)
                player.start()
                play_until(player, lambda player=player: player.ready)  # type: ignore[misc]
                player.stop()
        until(lambda: "info this machine has the address now" in server.log(), server)


def play_until(player: Session, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        player.update()


@pytest.mark.parametrize("there", [True, False])
def test_a_game_with_a_mistake_is_tried_again(
    manager: Attentive, certificate: tuple[str, str], tmp_path: Path, there: bool
) -> None:
    """For half of a file may just have been written, or a disk come later: unlike RestartPreventExitStatus=."""
    game = tmp_path / "arena"
    if there:
        (write_game(game) / "game.toml").write_text("name = 5\n")
    server = ServerProcess(certificate=certificate, arguments=(str(game),))
    try:
        server.launch()
        assert server.wait() == 1, server.log()
        assert server.log().startswith("error cannot start reason=")
        assert manager.read_all_there_is() == []
    finally:
        server.dispose()

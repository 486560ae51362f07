"""A real server under a manager: a UNIX datagram socket stands in for systemd, a short program opens the port."""

from __future__ import annotations

import contextlib
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
from collections.abc import Iterator

import pytest

from gsrt.client import Session
from tests.device.test_systemd import DEADLINE, Manager
from tests.support import manager as keeping
from tests.support.server import PROJECT, ServerProcess, free_port

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

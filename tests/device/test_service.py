"""A real server under a manager: a UNIX datagram socket stands in for systemd, a short program opens the port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.client import Session
from tests.device.test_systemd import DEADLINE, Manager
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


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Manager]:
    """Started servers tell it."""
    with contextlib.closing(Manager(f"@gsrt-test-{os.urandom(8).hex()}")) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.environment["NOTIFY_SOCKET"])
        yield manager


def read_until(manager: Manager, name: str) -> list[dict[str, str]]:
    """Messages up to the one that says NAME."""
    told = [manager.read()]
    while name not in told[-1]:
        told.append(manager.read())
    return told


def test_ready_is_told_once_when_everybody_can_be_let_in(manager: Manager, certificate: tuple[str, str]) -> None:
    with ServerProcess(certificate=certificate) as server:
        assert manager.read() == {
            "READY": "1",
            "STATUS": f"port {server.port}: 0 players connected, 0 sessions",
        }
        server.stop()
        assert manager.read() == {"STOPPING": "1", "STATUS": "ending"}
        assert manager.has_nothing()


def test_a_certificate_that_has_to_be_made_is_there_when_ready_is_told(manager: Manager) -> None:
    with ServerProcess() as server:
        assert manager.read()["READY"] == "1"
        assert list((server.directory / "state").glob("*.pem"))


def test_signs_of_life_end_with_the_loop(
    manager: Manager, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with ServerProcess(certificate=certificate) as server:
        read_until(manager, "READY")
        for _ in range(3):
            assert manager.read() == {"WATCHDOG": "1"}
        server.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
        while not manager.has_nothing():
            manager.read()
        assert manager.has_nothing()
        server.process.send_signal(signal.SIGCONT)
        assert manager.read() == {"WATCHDOG": "1"}


def test_a_port_that_systemd_has_opened_is_served(manager: Manager, certificate: tuple[str, str]) -> None:
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


@pytest.mark.parametrize("opened", ["tcp:{0}", "udp:{0},udp:{1}", "tcp:{0},udp:{1}"])
def test_other_sockets_are_no_port(opened: str, manager: Manager, certificate: tuple[str, str]) -> None:
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
        assert manager.has_nothing()
    finally:
        server.dispose()

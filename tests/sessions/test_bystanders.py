"""While one session's script runs every bomb of the attack corpus, another session's players notice nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gsrt._core import Data
from tests.scripts.corpus.case import REJECT
from tests.scripts.corpus.every import CASES
from tests.support import wire
from tests.support.server import PROJECT, ControlRefused, Seat, ServerProcess

LATE_MS_MAX = 60
COUNT_MIN = 1000  # fewer packets at times when the machine was the server's own say nothing about lateness
SECONDS_MAX = 38.0  # bombs that have not had their turn by then are left out; every kind has had some
DEADLINE = 20.0
PACKETS = 4  # sent into each script, by stream and by datagram


class Heartbeats:
    """The second session's players: see tests.support.heartbeats."""

    def __init__(self, server: ServerProcess, seats: tuple[Seat, ...]) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.heartbeats", server.host, str(server.port)),
                str(server.process.pid),
                *(seat.token for seat in seats),
            ],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready\n"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def report(self) -> dict[str, Any]:
        """What they have noticed since the last report."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._line())
        return found

    def end(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.communicate(timeout=DEADLINE)
        finally:
            self._process.kill()


class Bomber:
    """A player of the first session, with bare sockets."""

    def __init__(self, server: ServerProcess, token: str) -> None:
        login = wire.frame(wire.encode_packet(wire.Packet(op_code=0, payload=wire.encode_login(token.encode()))))
        self.stream = socket.create_connection((server.host, server.port), timeout=DEADLINE)
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.connect((server.host, server.port))
        self.stream.sendall(login)
        assert self.stream.recv(4096)
        self.stream.sendall(wire.frame(wire.encode_packet(wire.Packet(op_code=-7))))
        self.datagrams.send(login)

    def __enter__(self) -> Bomber:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.datagrams.close()

    def throw(self) -> None:
        """A packet that every handler can read, on both ways."""
        data = Data({1: 5, 2: "text", 3: 1.5, 5: [1.0, 2.0, 3.0], 6: Data({1: "inner"})}).encode()
        frame = wire.frame(wire.encode_packet(wire.Packet(op_code=100, data=data, payload=b"raw")))
        try:
            self.stream.sendall(frame)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the script has kicked its player
        self.datagrams.send(frame)


def bombs() -> list[tuple[str, bytes]]:
    """Name and source of every case whose handler a packet calls; one of each group after the other."""
    groups: dict[str, list[tuple[str, bytes]]] = {}
    for case in CASES.values():
        source = case.source if isinstance(case.source, bytes) else case.source.encode(errors="surrogatepass")
        if case.expected != REJECT and b"on_packet" in source:
            groups.setdefault(case.group, []).append((case.key, source))
    most = max(map(len, groups.values()))
    return [group[at] for at in range(most) for group in groups.values() if at < len(group)]


def explode(server: ServerProcess, path: Path, source: bytes) -> str:
    """A session with that script, whose player sends into it until it is off or has had enough: what became of it."""
    path.write_bytes(source)
    try:
        answer = server.control({"do": "session.create", "players": ["bomber", "other"], "script": str(path)})
    except ControlRefused:
        return "refused"
    session_id = answer["sessionId"]
    try:
        with Bomber(server, answer["players"][0]["accessToken"]) as bomber:
            for _ in range(PACKETS):
                bomber.throw()
                time.sleep(0.02)  # as a game does that sends 50 times a second
            figures = script_of(server, session_id)
    finally:
        server.control({"do": "session.end", "sessionId": session_id})
    return str(figures["state"])


def script_of(server: ServerProcess, session_id: str) -> dict[str, Any]:
    for one in server.control({"do": "status"})["perSession"]:
        if one["sessionId"] == session_id:
            found: dict[str, Any] = one["script"]
            return found
    raise AssertionError("the session is gone")


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    server = ServerProcess(overrides={"script_log_lines_per_second": 10})
    server.allowed_errors = ("error script ", "error script.off ", "script")
    with server:
        yield server


def test_every_bomb_in_turn(server: ServerProcess, tmp_path: Path) -> None:
    table = server.create(2)
    heartbeats = Heartbeats(server, table.seats)
    pid = server.control({"do": "status"})["pid"]
    outcomes: dict[str, int] = {}
    left_out = 0
    try:
        alone = heartbeats.report()
        end = time.monotonic() + SECONDS_MAX
        for name, source in bombs():
            if time.monotonic() > end:
                left_out += 1
                continue
            state = explode(server, tmp_path / f"{name.replace('/', '-')}.py", source)
            outcomes[state] = outcomes.get(state, 0) + 1
        found = heartbeats.report()
        counters = server.counters(table)
    finally:
        heartbeats.end()
    print(f"{outcomes}, left out {left_out}; alone {alone}; beside the bombs {found}")
    assert sum(outcomes.values()) > 100
    assert outcomes["off"] > 5
    assert outcomes["running"] > 5
    assert found["losses"] == 0
    assert found["missing"] == {key: [] for key in found["missing"]}
    assert min(found["sent"].values()) > 500
    assert server.control({"do": "status"})["pid"] == pid
    assert server.session_ids() == [table.session_id]
    assert {name: value for name, value in counters.items() if name.startswith(("dropped", "streams_paused"))} == {}
    if found["count"] >= COUNT_MIN:
        assert found["p99"] < LATE_MS_MAX, found

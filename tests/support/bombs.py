"""Every attack of the corpus that packets set off, thrown into a session of its own, while players of another one play.

For a test, which asks that these miss nothing, and for a benchmark, which measures how late their packets are."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from gsrt._core import Data
from tests.scripts.corpus.case import REJECT
from tests.scripts.corpus.every import CASES
from tests.support import wire
from tests.support.server import PROJECT

DEADLINE = 20.0
PACKETS = 4  # sent into each script, by stream and by datagram
APART_SECONDS = 0.02  # as a game does that sends 50 times a second

Ask = Callable[[dict[str, Any]], dict[str, Any]]


class Heartbeats:
    """The other session's players: see tests.support.heartbeats."""

    def __init__(self, address: tuple[str, int], server: int, tokens: list[str]) -> None:
        """`server`: the process."""
        self._process = subprocess.Popen(
            [*(sys.executable, "-m", "tests.support.heartbeats"), address[0], str(address[1]), str(server), *tokens],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=DEADLINE)
        finally:
            self._process.kill()

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


class Bomber:
    """A player of the attacked session, with bare sockets."""

    def __init__(self, address: tuple[str, int], token: str) -> None:
        login = wire.frame(wire.encode_packet(wire.Packet(op_code=0, payload=wire.encode_login(token.encode()))))
        self.stream = socket.create_connection(address, timeout=DEADLINE)
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.connect(address)
        self.stream.sendall(login)
        assert self.stream.recv(4096)
        self.stream.sendall(wire.frame(wire.encode_packet(wire.Packet(op_code=-7))))
        self.datagrams.send(login)

    def __enter__(self) -> Self:
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


def explode(ask: Ask, refusal: type[Exception], address: tuple[str, int], path: Path, source: bytes) -> str:
    """A session with that script, whose player sends into it until it is off or has had enough: what became of it.

    `ask` puts a request to the server's control socket, and raises a `refusal` where that says no."""
    path.write_bytes(source)
    try:
        answer = ask({"do": "session.create", "players": ["bomber", "other"], "script": str(path)})
    except refusal:
        return "refused"
    session_id = answer["sessionId"]
    try:
        with Bomber(address, answer["players"][0]["accessToken"]) as bomber:
            for _ in range(PACKETS):
                bomber.throw()
                time.sleep(APART_SECONDS)
            (script,) = [one["script"] for one in ask({"do": "status"})["perSession"] if one["sessionId"] == session_id]
    finally:
        ask({"do": "session.end", "sessionId": session_id})
    return str(script["state"])


def explode_all(
    ask: Ask, refusal: type[Exception], address: tuple[str, int], folder: Path, seconds_max: float
) -> tuple[dict[str, int], int]:
    """Each in turn: how many came to which end, and how many had no turn within `seconds_max`."""
    outcomes: dict[str, int] = {}
    left_out = 0
    end = time.monotonic() + seconds_max
    for name, source in bombs():
        if time.monotonic() > end:
            left_out += 1
            continue
        state = explode(ask, refusal, address, folder / f"{name.replace('/', '-')}.py", source)
        outcomes[state] = outcomes.get(state, 0) + 1
    return outcomes, left_out

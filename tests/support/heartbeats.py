"""`python -m tests.support.heartbeats HOST PORT SERVER_PID TOKEN TOKEN`: two players with the Python client, in a
process of their own, who send each other 60 packets a second reliably and as many by datagram, each with a number and
its time.

Prints "ready" when all of it flows, then one JSON object for each line on stdin: what was sent since the line before,
what of it has come and how late; ends with stdin. A gap in the numbers stays one until the packet has come.

On a machine that others use too, a packet may be late because the system let the server, or this process, wait for a
processor. How long they did it tells (/proc/PID/schedstat); where that is much of a moment, the moment's packets count
as "contended" and not among those whose lateness says something about the server."""

from __future__ import annotations

import json
import os
import selectors
import sys
import time
from typing import Any

from gsrt._core import Packet
from gsrt.client import Intent, Session

PER_SECOND = 60
OP_CODE = 7
WAYS = {"tcp": Intent.RELIABLE, "udp": Intent.UNRELIABLE}
MOMENT_SECONDS = 0.1
WAIT_MS_MAX = 8.0  # of a moment that a process may have waited for a processor
SETTLE_SECONDS = 3.0  # how long what is under way may take at most before it counts as lost


class Direction:
    """Packets from one player to the other, one way."""

    def __init__(self, sender: Session, way: str) -> None:
        self.sender = sender
        self.way = way
        self.sent = 0
        self.received: set[int] = set()
        self.late: list[tuple[float, float]] = []  # when it was sent, in seconds; how late it came, in milliseconds

    def send(self) -> None:
        intent = WAYS[self.way]
        values = {1: list(WAYS).index(self.way), 2: self.sent, 3: time.monotonic_ns()}
        if self.sender.send(OP_CODE, intent, values):
            self.sent += 1


class Pair:
    """Both players."""

    def __init__(self, host: str, port: int, server: int, tokens: list[str]) -> None:
        self.losses = 0
        self._processes = (server, os.getpid())
        self._contended: list[tuple[float, float]] = []  # from when to when
        self.directions: dict[tuple[int, str], Direction] = {}
        self.sessions = [Session(host, port, token, on_ready=self._ready, on_data=self._data) for token in tokens]
        for number, session in enumerate(self.sessions, 1):
            for way in WAYS:
                self.directions[number, way] = Direction(session, way)
            session.start_background()

    def _ready(self, ready: bool) -> None:
        self.losses += not ready

    def _data(self, packet: Packet) -> None:
        now = time.monotonic_ns()
        assert packet.data is not None
        values: Any = packet.data.to_dict()
        direction = self.directions[packet.sender, list(WAYS)[values[1]]]
        direction.received.add(values[2])
        direction.late.append((values[3] / 1e9, (now - values[3]) / 1e6))

    def beat(self) -> None:
        """Sends for a moment."""
        began, waited = time.monotonic(), self._waited()
        self._send_until(began + MOMENT_SECONDS)
        if any(now - then > WAIT_MS_MAX for now, then in zip(self._waited(), waited, strict=True)):
            self._contended.append((began - MOMENT_SECONDS, time.monotonic()))

    def _waited(self) -> list[float]:
        """Milliseconds that each process's threads have waited for a processor so far."""
        return [sum(map(_waited, _threads(each))) for each in self._processes]

    def _send_until(self, end: float) -> None:
        due = time.monotonic()
        while (now := time.monotonic()) < end:
            if now < due:
                time.sleep(due - now)
            due = max(due + 1 / PER_SECOND, now - 0.25)
            for direction in self.directions.values():
                direction.send()

    def complete(self) -> bool:
        return all(len(each.received) == each.sent for each in self.directions.values())

    def report(self) -> dict[str, Any]:
        """What has happened since the last report, once all is in or too late."""
        end = time.monotonic() + SETTLE_SECONDS
        while not self.complete() and time.monotonic() < end:
            time.sleep(0.01)
        late: list[float] = []
        contended = 0
        every = sorted(milliseconds for each in self.directions.values() for _, milliseconds in each.late)
        for each in self.directions.values():
            for sent, milliseconds in each.late:
                if any(began <= sent <= ended for began, ended in self._contended):
                    contended += 1
                else:
                    late.append(milliseconds)
            each.late = []
        late.sort()
        return {
            "sent": {f"{number} {way}": each.sent for (number, way), each in self.directions.items()},
            "missing": {
                f"{number} {way}": sorted(set(range(each.sent)) - each.received)[:20]
                for (number, way), each in self.directions.items()
            },
            "losses": self.losses,
            "contended": contended,
            "p99 of all": every[int(len(every) * 0.99)],
            "count": len(late),
            "p50": late[len(late) // 2] if late else 0.0,
            "p99": late[int(len(late) * 0.99)] if late else 0.0,
            "most": late[-1] if late else 0.0,
        }


def _threads(process: int) -> list[str]:
    folder = f"/proc/{process}/task"
    return [f"{folder}/{each}/schedstat" for each in os.listdir(folder)]


def _waited(path: str) -> float:
    """Milliseconds; the second of the file's numbers is nanoseconds on the run queue."""
    try:
        with open(path) as file:
            return int(file.read().split()[1]) / 1e6
    except (OSError, IndexError):  # the thread has ended, or the system does not tell
        return 0.0


def main() -> None:
    host, port, server, *tokens = sys.argv[1:]
    pair = Pair(host, int(port), int(server), tokens)
    end = time.monotonic() + 20
    while not all(session.ready and len(session.active_peers) == 2 for session in pair.sessions):
        assert time.monotonic() < end, "the players do not come in"
        time.sleep(0.01)
    for _ in range(5):  # until datagrams are known to pass, they take the stream
        pair.beat()
    pair.report()
    print("ready", flush=True)
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    while True:
        pair.beat()
        if waiting.select(0):
            if not sys.stdin.readline():
                break
            print(json.dumps(pair.report()), flush=True)
    for session in pair.sessions:
        session.stop()


if __name__ == "__main__":
    main()

"""A match of real clients, and whether they notice anything: run in the container's network by the test.

    python -m nspawn.match HOST PORT TOKEN...

The players are, in turn, the Python client over the link, the same over TCP with UDP, and a double of an official SDK
over TCP with UDP. Each sends numbered reliable packets to all others, all the time. Commands on standard input, a line
each: `look` prints a JSON object of how they do; `finish` ends the sending, waits until everything has arrived, prints
the same, and they leave.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

from gsrt.client import Intent, Packet, Session
from tests.doubles.csharp import CSharpDouble
from tests.doubles.driver import Driver
from tests.doubles.writers import Intent as SdkIntent

OP_CODE = 7
EVERY_SECONDS = 0.02
JOIN_SECONDS = 20.0
ARRIVE_SECONDS = 20.0
EXAMPLES_MAX = 5  # of what is wrong, per player


class PythonClient:
    """gsrt.client, over the link or without it."""

    def __init__(self, host: str, port: int, token: str, *, link: bool) -> None:
        self.name = "link" if link else "tcp+udp"
        self.told: list[str] = []
        self._packets: list[tuple[int, bytes]] = []
        self._session = Session(
            host,
            port,
            token,
            link=link,
            on_ready=self._on_ready,
            on_data=self._on_data,
            on_player_disconnect=lambda peer_id: self.told.append(f"peer {peer_id} disconnected"),
        )
        self._session.start()

    def _on_ready(self, ready: bool) -> None:
        if not ready:
            self.told.append(f"not ready: {self._session.problem}")

    def _on_data(self, packet: Packet) -> None:
        self._packets.append((packet.sender, packet.payload or b""))

    def is_ready(self) -> bool:
        return self._session.ready

    def send(self, payload: bytes) -> bool:
        return self._session.send(OP_CODE, Intent.RELIABLE, payload=payload) > 0

    def take(self) -> list[tuple[int, bytes]]:
        packets, self._packets = self._packets, []
        return packets

    def turn(self) -> None:
        self._session.update()

    def leave(self) -> None:
        self._session.stop()


class SdkClient:
    """What the official C# SDK does, over plain TCP with UDP."""

    def __init__(self, host: str, port: int, token: str, driver: Driver) -> None:
        self.name = "sdk"
        self._double = CSharpDouble("sdk", host, port, token, secure=False)
        self._driver = driver
        self._seen = 0
        driver.add(self._double)

    @property
    def told(self) -> list[str]:
        bad = [each for each in self._double.events if each.kind in ("not ready", "player disconnect")]
        return [f"{each.kind} {each.peer_id}" for each in bad] + self._double.violations

    def is_ready(self) -> bool:
        return self._double.ready

    def send(self, payload: bytes) -> bool:
        return self._double.send(OP_CODE, SdkIntent.RELIABLE, payload=payload) > 0

    def take(self) -> list[tuple[int, bytes]]:
        packets = self._double.packets
        new, self._seen = packets[self._seen :], len(packets)
        return [(each.sender, each.payload or b"") for each in new]

    def turn(self) -> None:
        """With the driver."""

    def leave(self) -> None:
        self._double.stop()


class Match:
    """All of them, in one loop."""

    def __init__(self, host: str, port: int, tokens: list[str], driver: Driver) -> None:
        self._driver = driver
        self.clients: list[PythonClient | SdkClient] = []
        for index, token in enumerate(tokens):
            if index % 3 == 2:
                self.clients.append(SdkClient(host, port, token, driver))
            else:
                self.clients.append(PythonClient(host, port, token, link=index % 3 == 0))
        self._sent = [0] * len(tokens)
        self._received = [[0] * len(tokens) for _ in tokens]  # who -> from whom -> the next number that is to come
        self.wrong: list[str] = []

    def turn(self, sending: bool) -> None:
        """One round of a frame's length."""
        self._driver.step(EVERY_SECONDS)
        for index, client in enumerate(self.clients):
            client.turn()
            for sender, payload in client.take():
                if sender:  # else a script's
                    self._count(index, sender - 1, int.from_bytes(payload, "big"))
            if sending and client.send(self._sent[index].to_bytes(4, "big")):
                self._sent[index] += 1

    def _count(self, who: int, sender: int, number: int) -> None:
        wanted = self._received[who][sender]
        if number != wanted:
            self.wrong.append(f"{self.clients[who].name} got {number} of peer {sender + 1}, expected {wanted}")
        self._received[who][sender] = number + 1

    def turn_until(self, condition: Callable[[], bool], seconds: float, *, sending: bool) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            self.turn(sending)
        return True

    def all_ready(self) -> bool:
        return all(each.is_ready() for each in self.clients)

    def all_there(self) -> bool:
        """Whether everybody has everything that the others have sent."""
        return all(
            row[sender] >= self._sent[sender]
            for who, row in enumerate(self._received)
            for sender in range(len(row))
            if sender != who
        )

    def report(self) -> dict[str, Any]:
        """For the test: `ready`, `sent`, `received` (all), `told` (trouble), `wrong` (lost or double)."""
        return {
            "ready": {each.name: each.is_ready() for each in self.clients},
            "sent": dict(zip((each.name for each in self.clients), self._sent, strict=True)),
            "received": {each.name: sum(row) for each, row in zip(self.clients, self._received, strict=True)},
            "told": {each.name: each.told[:EXAMPLES_MAX] for each in self.clients},
            "wrong": self.wrong[: EXAMPLES_MAX * len(self.clients)],
            "all there": self.all_there(),
        }


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("tokens", nargs="+")
    given = parser.parse_args()
    with Driver() as driver:
        match = Match(given.host, given.port, given.tokens, driver)
        if not match.turn_until(match.all_ready, JOIN_SECONDS, sending=False):
            say(match.report())
            return 1
        say(match.report())
        read = bytearray()
        while True:
            match.turn(sending=True)
            if select.select([sys.stdin], [], [], 0)[0]:
                piece = os.read(sys.stdin.fileno(), 4096)
                if not piece:
                    return 1
                read += piece
            while b"\n" in read:
                line, _, read = read.partition(b"\n")
                if line == b"finish":
                    match.turn_until(match.all_there, ARRIVE_SECONDS, sending=False)
                    say(match.report())
                    for client in match.clients:
                        client.leave()
                    return 0
                say(match.report())


if __name__ == "__main__":
    sys.exit(main())

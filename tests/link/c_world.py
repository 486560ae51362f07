"""A client written in C, our server's side of the link, a bad network in between, and virtual time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from gsrt._core import Data, Packet
from gsrt._link import KIND_ORDERED, LinkEndpoint
from gsrt.netsim.model import BadLink, Conditions
from gsrt.protocol import link, rt
from gsrt.protocol.link import Door, Entry, Terms
from tests.link.c_client import READY, CLink, Event

TOKEN = "q5VbRdC8a-_Za-_Zb3jKf0sWxYz19QpLmNoTuVgH"
ADDRESS = b"\xc0\x00\x02\x01\x22\x50"
CONNECTION = b"connects"
START = 1000.0
PERFECT = "delay=10ms"
BAD = "loss=10% delay=20ms jitter=15ms reorder=10% duplicate=5%"


def bare(frame: bytes) -> bytes:
    """An RT packet without its length prefix."""
    at = next(index for index, byte in enumerate(frame) if byte < 0x80)
    return frame[at + 1 :]


class Server:
    """The server's side for one client: the door, then a connection, and LoginResult for whoever comes in."""

    def __init__(self, *, insecure: bool = True, terms: Terms | None = None, token: str = TOKEN) -> None:
        self._terms = terms or Terms()
        self.door = Door(random.Random(1).randbytes, insecure, self._terms)
        self._holders = {link.token_id(token): (token, "player")}
        self._entry: Entry | None = None
        self._answers: list[bytes] = []
        self.endpoint: LinkEndpoint | None = None
        self.messages: list[tuple[int, int, bytes]] = []
        self.silent = False

    def receive_datagram(self, datagram: bytes, now: float) -> None:
        if datagram[:2] == b"\0\x06":
            if self.endpoint is not None and self.endpoint.receive_datagram(datagram, now):
                self._take(now)
            return
        answer = self.door.receive(ADDRESS, datagram, now, self._holders.get)
        if isinstance(answer, Entry):
            if self._entry is None or self._entry.datagram != datagram:
                self._entry = answer
                cipher = link.make_cipher(answer.suite, answer.send_key, answer.receive_key)
                self.endpoint = LinkEndpoint(
                    cipher,
                    CONNECTION,
                    now,
                    is_client=False,
                    receive_bytes=self._terms.receive_bytes,
                    message_bytes=self._terms.message_bytes,
                    peer_receive_bytes=answer.peer_terms.receive_bytes,
                    peer_message_bytes=answer.peer_terms.message_bytes,
                )
            self._answers.append(self._entry.welcome(CONNECTION))
        elif answer is not None:
            self._answers.append(answer)

    def _take(self, now: float) -> None:
        assert self.endpoint is not None
        while (message := self.endpoint.next_message()) is not None:
            if message[2] == bare(rt.player_ready_frame()):
                self.send(bare(rt.login_result_frame("again", 2, (1, 3))), KIND_ORDERED, 0, now)
            else:
                self.messages.append(message)

    def send(self, packet: bytes, kind: int, stream: int, now: float) -> bool:
        assert self.endpoint is not None
        return bool(self.endpoint.send(packet, kind, stream, now))

    def datagrams_to_send(self, now: float) -> list[bytes]:
        made, self._answers = self._answers, []
        if self.endpoint is not None:
            made += self.endpoint.datagrams_to_send(now)
        return [] if self.silent else made

    def next_timer(self) -> float:
        return math.inf if self.endpoint is None else self.endpoint.next_timer()

    def handle_timer(self, now: float) -> None:
        if self.endpoint is not None:
            self.endpoint.handle_timer(now)
            self._take(now)


class World:
    """A client, a server, the network in between, and the time."""

    def __init__(self, client: CLink, server: Server, conditions: str = PERFECT, seed: int = 1) -> None:
        self.client, self.server = client, server
        self.up = BadLink(Conditions.parse(conditions), seed=seed)
        self.down = BadLink(Conditions.parse(conditions), seed=seed + 1000)
        self.now = START
        self.events: list[Event] = []
        self.sent: list[bytes] = []
        self.answered: list[bytes] = []
        self.largest = 1472  # what the way up lets through

    def flush(self) -> None:
        for datagram in self.client.datagrams_to_send(self.now):
            assert len(datagram) <= 1472
            self.sent.append(datagram)
            if len(datagram) <= self.largest:
                self.up.put(datagram, self.now)
        for datagram in self.server.datagrams_to_send(self.now):
            self.answered.append(datagram)
            self.down.put(datagram, self.now)

    def take_events(self) -> None:
        while (event := self.client.next_event()) is not None:
            self.events.append(event)

    def run(self, until: Callable[[], bool] = lambda: False, seconds: float = 60.0) -> bool:
        """Until the condition holds (True), or so much time has passed (False)."""
        deadline, at_once = self.now + seconds, 0
        while True:
            self.flush()
            self.take_events()
            if until():
                return True
            times = [self.client.next_timer(), self.server.next_timer(), deadline]
            times += [time for network in (self.up, self.down) if (time := network.next_time()) is not None]
            at_once = at_once + 1 if min(times) <= self.now else 0
            assert at_once < 2000, "time stands still"
            self.now = max(self.now, min(times))
            if self.now >= deadline:
                return until()
            for datagram in self.up.take(self.now):
                self.server.receive_datagram(datagram, self.now)
            for datagram in self.down.take(self.now):
                self.client.receive_datagram(datagram, self.now)
                self.take_events()
            if self.client.next_timer() <= self.now:
                self.client.handle_timer(self.now)
            if self.server.next_timer() <= self.now:
                self.server.handle_timer(self.now)
            self.client.check()

    def of_type(self, type: int) -> list[Event]:
        return [event for event in self.events if event.type == type]

    def ready(self) -> bool:
        return bool(self.of_type(READY))


def join(module: Any, conditions: str = PERFECT, seed: int = 1, server: Server | None = None, **fields: Any) -> World:
    """A client that is in."""
    world = World(CLink(module, TOKEN, seed, **fields), server or Server(), conditions, seed)
    assert world.client.connect(world.now)
    assert world.run(world.ready, 30)
    return world


def packet_of(op_code: int, number: int, size: int = 0, sender: int = 0) -> bytes:
    """An RT packet that says its number, with a payload of `size` bytes that are told by it."""
    payload = random.Random(number).randbytes(size) if size else b""
    made: bytes = Packet(op_code, data=Data({1: number}), payload=payload or None, sender=sender).encode()
    return made

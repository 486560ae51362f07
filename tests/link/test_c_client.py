"""The C client of the link against our server's side of it, in virtual time over networks of all kinds."""

from __future__ import annotations

import math
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsrt._core import Data, Float32, Packet
from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE, LinkEndpoint
from gsrt.netsim.model import BadLink, Conditions
from gsrt.protocol import link, rt
from gsrt.protocol.link import Door, Entry, Terms
from tests.link import c_client
from tests.link.c_client import CLink, Event

TOKEN = "q5VbRdC8a-_Za-_Zb3jKf0sWxYz19QpLmNoTuVgH"
ADDRESS = b"\xc0\x00\x02\x01\x22\x50"
OTHER_ADDRESS = b"\xc0\x00\x02\x02\x22\x51"
CONNECTION = b"connects"
START = 1000.0
SUITES = [link.SUITE_INSECURE, link.SUITE_CHACHA20_POLY1305]
PERFECT = "delay=10ms"
BAD = "loss=10% delay=20ms jitter=15ms reorder=10% duplicate=5%"
LIMITS = Path(__file__).resolve().parents[2] / "docs" / "LINK.md"

IDLE, GREETING, ENTERING, OPEN, FAILED, CLOSED = range(6)
READY, MESSAGE, PEER_CONNECTED, PEER_DISCONNECTED, SILENT, REFUSED_EVENT, CLOSED_EVENT = range(1, 8)
SENT, NOT_OPEN, FULL, TOO_LONG, BAD_ARGUMENT = range(5)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return c_client.build(tmp_path_factory.mktemp("c_client"))


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


# ---- Build ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_builds_without_warnings(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} here")
    c_client.compile_object(tmp_path, compiler)


def test_builds_as_cpp_header_and_without_sodium(tmp_path: Path) -> None:
    source = c_client.SOURCES / "gsrt_link.c"
    subprocess.run(["gcc", *c_client.WARNINGS, "-c", str(source), "-o", str(tmp_path / "plain.o")], check=True)
    user = tmp_path / "user.cpp"
    user.write_text('#include "gsrt_link.h"\nint main() { return gsrt_link_memory(nullptr) != 0; }\n')
    subprocess.run(["g++", "-Wall", "-Werror", "-fsyntax-only", f"-I{c_client.SOURCES}", user], check=True)


def test_needs_nothing_of_an_operating_system(tmp_path: Path) -> None:
    made = tmp_path / "plain.o"
    subprocess.run(["gcc", "-std=c99", "-O2", "-c", c_client.SOURCES / "gsrt_link.c", "-o", made], check=True)
    listing = subprocess.run(["nm", "-u", made], check=True, capture_output=True, text=True).stdout
    symbols = {line.split()[-1] for line in listing.splitlines()}
    allowed = {"memcpy", "memset", "memcmp", "strlen", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}
    assert symbols <= allowed


def test_constants_are_those_of_the_contract() -> None:
    section = LIMITS.read_text().split("## 8. Limits")[1].split("## 9.")[0]
    limits = dict(re.findall(r"^\| ([A-Z_]+) \| ([0-9.]+) \|", section, re.MULTILINE))
    source = (c_client.SOURCES / "gsrt_link.c").read_text()
    ours = dict(re.findall(r"^#define ([A-Z_]+) ([0-9.]+)u?$", source, re.MULTILINE))
    shared = limits.keys() & ours.keys()
    assert {name: float(ours[name]) for name in shared} == {name: float(limits[name]) for name in shared}
    # COOKIE_SECONDS and the like are the server's.
    theirs = {name for name in limits.keys() - ours.keys() if not name.startswith("CLOSE_")}
    assert theirs == {"COOKIE_SECONDS", "PENDING_SECONDS", "CHALLENGE_SECONDS"}


@pytest.mark.parametrize(
    "fields",
    [
        {"token_size": 0},
        {"token_size": 1025},
        {"suite": 2},
        {"receive_bytes": 65_535},
        {"receive_bytes": 100_000, "message_bytes": 100_001},
        {"message_bytes": 1_099},
        {"message_bytes": 262_145},
        {"send_bytes": 2_199},
        {"frames_max": 7},
        {"datagrams_max": 100},
        {"peers_max": 256},
        {"peers_max": 0},
    ],
    ids=str,
)
def test_refuses_a_configuration_out_of_bounds(module: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="out of its bounds"):
        CLink(module, TOKEN, 1, **fields)


def test_refuses_too_little_memory(module: Any) -> None:
    client = CLink(module, TOKEN, 1)
    memory = module.ffi.new("uint8_t[]", client.memory_bytes)
    assert module.lib.gsrt_link_init(memory, client.memory_bytes - 1, client.config) == module.ffi.NULL
    assert module.lib.gsrt_link_init(module.ffi.NULL, client.memory_bytes, client.config) == module.ffi.NULL


def test_memory_of_the_two_measures(module: Any) -> None:
    assert CLink(module, TOKEN, 1).memory_bytes <= 1_600_000
    assert CLink(module, TOKEN, 1, small=True).memory_bytes <= 150_000


# ---- Handshake -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_comes_in(module: Any, suite: int) -> None:
    world = join(module, suite=suite)
    (event,) = world.of_type(READY)
    assert (event.peer, sorted(event.peers), event.token) == (2, [1, 2, 3], "again")
    assert world.client.state == OPEN
    assert not world.client.connect(world.now)


@pytest.mark.parametrize("seed", range(10))
def test_comes_in_over_a_bad_network(module: Any, seed: int) -> None:
    join(module, "loss=15% delay=30ms jitter=20ms reorder=20% duplicate=20%", seed)


def test_hello_is_repeated_and_given_up(module: Any) -> None:
    server = Server()
    server.silent = True
    world = World(CLink(module, TOKEN, 1), server)
    world.client.connect(world.now)
    sent: list[tuple[float, bytes]] = []
    while world.client.state == GREETING:
        sent += [(world.now - START, datagram) for datagram in world.client.datagrams_to_send(world.now)]
        world.now = world.client.next_timer()
        world.client.handle_timer(world.now)
    assert [round(time, 6) for time, _ in sent] == [0, 0.2, 0.6, 1.4, 3.0]
    assert {datagram for _, datagram in sent} == {sent[0][1]}
    assert len(sent[0][1]) == link.HELLO_BYTES
    world.take_events()
    assert [(event.type, event.reason, event.text) for event in world.events] == [
        (CLOSED_EVENT, -2, "the server does not answer")
    ]
    assert (world.client.state, world.now) == (FAILED, START + link.HANDSHAKE_SECONDS)
    assert world.client.datagrams_to_send(world.now) == []


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (lambda: Server(token="another token"), link.REFUSED_TOKEN),
        (lambda: Server(insecure=False), link.REFUSED_SUITE),
    ],
)
def test_is_refused(module: Any, server: Callable[[], Server], reason: int) -> None:
    world = World(CLink(module, TOKEN, 1, suite=link.SUITE_INSECURE), server())
    world.client.connect(world.now)
    assert world.run(lambda: bool(world.events), 6)
    assert [(event.type, event.reason) for event in world.events] == [(REFUSED_EVENT, reason)]
    assert world.events[0].text
    assert world.client.state == FAILED


def test_begins_anew_when_the_cookie_is_refused(module: Any) -> None:
    world = World(CLink(module, TOKEN, 1), Server())
    client, server = world.client, world.server
    client.connect(world.now)
    (hello,) = client.datagrams_to_send(world.now)
    server.receive_datagram(hello, world.now - 11)
    (cookie,) = server.datagrams_to_send(world.now)
    assert client.receive_datagram(cookie, world.now)
    assert not client.receive_datagram(cookie, world.now)
    assert world.run(world.ready, 3)
    assert server.door.counters["refused_cookie"] == 1
    hellos = {datagram for datagram in world.sent if len(datagram) == link.HELLO_BYTES}
    assert len(hellos) == 1 and hellos != {hello}


def test_gives_up_when_each_cookie_is_refused(module: Any) -> None:
    client = CLink(module, TOKEN, 1)
    client.connect(START)
    for _ in range(3):
        (hello,) = client.datagrams_to_send(START)
        assert client.receive_datagram(b"\0\x02" + hello[2:20] + bytes(24), START)
        (login,) = client.datagrams_to_send(START)
        refused = bytes((0, 5, 3, 1, 1, 2, 0, 0)) + login[4:20]
        assert client.receive_datagram(refused, START)
    event = client.next_event()
    assert event is not None and (event.type, event.reason) == (REFUSED_EVENT, link.REFUSED_COOKIE)


def test_answers_that_are_none_are_dropped(module: Any) -> None:
    client = CLink(module, TOKEN, 1)
    server = Server()
    assert not client.receive_datagram(b"\0\x02" + bytes(42), START)
    client.connect(START)
    (hello,) = client.datagrams_to_send(START)
    server.receive_datagram(hello, START)
    (cookie,) = server.datagrams_to_send(START)
    for at in range(20):
        assert not client.receive_datagram(cookie[:at] + bytes((cookie[at] ^ 1,)) + cookie[at + 1 :], START)
    assert not client.receive_datagram(cookie + b"\0", START)
    assert not client.receive_datagram(b"", START)
    assert client.receive_datagram(cookie, START)
    (login,) = client.datagrams_to_send(START)
    server.receive_datagram(login, START)
    (welcome,) = server.datagrams_to_send(START)
    for at in range(len(welcome)):
        assert not client.receive_datagram(welcome[:at] + bytes((welcome[at] ^ 1,)) + welcome[at + 1 :], START)
    low_order = welcome[:20] + b"\x01" + bytes(31) + welcome[52:]
    assert not client.receive_datagram(low_order, START)
    for datagram in (hello, login, cookie):  # reflected, repeated
        assert not client.receive_datagram(datagram, START)
    assert client.receive_datagram(welcome, START)
    assert not client.receive_datagram(welcome, START)
    assert client.state == OPEN


# ---- Messages ------------------------------------------------------------------------------------------------------


class Traffic:
    """Messages of every kind both ways: what was sent and what came, by direction, kind and channel."""

    def __init__(self, world: World, seed: int, longest: int = 3000) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.longest = longest
        self.number = 0
        self.up: dict[tuple[int, int], list[bytes]] = {}
        self.down: dict[tuple[int, int], list[bytes]] = {}

    def packet(self) -> bytes:
        self.number += 1
        size = self.random.choice((0, 20, 60, 300, 1050, self.random.randrange(1, self.longest)))
        return packet_of(self.random.randrange(1, 100), self.number, size, sender=1)

    def send_one(self) -> None:
        kind = self.random.randrange(4)
        channel = self.random.randrange(4) if kind in (KIND_SEQUENCED, KIND_ORDERED) else 0
        packet = self.packet()
        if kind <= KIND_SEQUENCED:
            packet = packet if len(packet) <= 1000 else packet_of(5, self.number, 10, sender=1)
        now = self.world.now
        if self.random.random() < 0.5:
            if self.world.client.send(packet, kind, channel, now) == SENT:
                self.up.setdefault((kind, channel), []).append(packet)
        else:
            # On channels 1 to 15, each sender has streams of its own.
            stream = channel if kind == KIND_ORDERED and channel == 0 else 16 * 1 + channel
            if self.world.server.send(packet, kind, 0 if kind in (0, 3) else stream, now):
                self.down.setdefault((kind, channel), []).append(packet)

    def came_up(self) -> dict[tuple[int, int], list[bytes]]:
        came: dict[tuple[int, int], list[bytes]] = {}
        for kind, stream, packet in self.world.server.messages:
            came.setdefault((kind, stream), []).append(packet)
        return came

    def came_down(self) -> dict[tuple[int, int], list[bytes]]:
        came: dict[tuple[int, int], list[bytes]] = {}
        for event in self.world.of_type(MESSAGE):
            came.setdefault((event.kind, event.channel), []).append(event.packet)
        return came

    def all_reliable_there(self) -> bool:
        return all(
            len(came.get(key, ())) >= len(sent)
            for sents, came in ((self.up, self.came_up()), (self.down, self.came_down()))
            for key, sent in sents.items()
            if key[0] >= KIND_ORDERED
        )

    def check(self) -> None:
        """Exactly once, in order where that is promised; unreliable ones at most once."""
        for sents, came in ((self.up, self.came_up()), (self.down, self.came_down())):
            for (kind, channel), sent in sents.items():
                got = came.get((kind, channel), [])
                if kind == KIND_ORDERED:
                    assert got == sent
                elif kind == KIND_UNORDERED:
                    assert sorted(got) == sorted(sent)
                else:
                    assert len(set(got)) == len(got)
                    places = [sent.index(packet) for packet in got]
                    if kind == KIND_SEQUENCED:
                        assert places == sorted(places)
            assert not came.keys() - sents.keys()


NETWORKS = [
    PERFECT,
    BAD,
    "loss=30% delay=50ms jitter=40ms reorder=20% duplicate=10%",
    "delay=5ms reorder=30% duplicate=30%",
    "loss=3% delay=100ms jitter=100ms corrupt=1%",
    "loss=2% delay=20ms rate=500kbit",
    "loss=5% delay=20ms blackout=5s/12s",
]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("conditions", NETWORKS)
def test_messages_of_all_kinds(module: Any, conditions: str, suite: int) -> None:
    if suite == link.SUITE_INSECURE:
        conditions = conditions.replace(" corrupt=1%", "")
    for seed in range(3):
        world = join(module, conditions, seed, suite=suite)
        traffic = Traffic(world, seed)
        for _ in range(150):
            for _ in range(traffic.random.randrange(4)):
                traffic.send_one()
            world.run(seconds=0.05)
            assert world.client.state == OPEN
        assert world.run(traffic.all_reliable_there, 60)
        world.run(seconds=3)
        traffic.check()
        assert world.client.quality()["waiting_bytes"] == 0
        assert world.client.quality()["packets_malformed"] == 0


@pytest.mark.parametrize("small", [False, True], ids=["default", "small"])
def test_a_burst_of_messages_of_the_small_measure(module: Any, small: bool) -> None:
    world = join(module, BAD, 7, small=small)
    traffic = Traffic(world, 7, longest=12_000)
    for _ in range(200):
        traffic.send_one()
    assert world.run(traffic.all_reliable_there, 60)
    traffic.check()


@pytest.mark.parametrize("conditions", [PERFECT, BAD])
@pytest.mark.parametrize("kind", [KIND_ORDERED, KIND_UNORDERED])
def test_longest_messages_both_ways(module: Any, conditions: str, kind: int) -> None:
    world = join(module, conditions)
    up, down = (packet_of(7, number, 262_000, sender=1) for number in (1, 2))
    assert world.client.send(up, kind, 0, world.now) == SENT
    assert world.server.send(down, kind, 0, world.now)
    assert world.run(lambda: bool(world.server.messages) and bool(world.of_type(MESSAGE)), 60)
    assert world.server.messages == [(kind, 0, up)]
    (event,) = world.of_type(MESSAGE)
    assert event.packet == down
    assert event.payload == random.Random(2).randbytes(262_000)


def test_long_messages_on_many_channels_at_once(module: Any) -> None:
    """More than the receivers keep, each needing all of its pieces."""
    world = join(module, BAD, 3)
    sent_down: dict[int, bytes] = {}
    for channel in range(1, 6):
        sent_down[channel] = packet_of(9, channel, 150_000, sender=4)
        assert world.server.send(sent_down[channel], KIND_ORDERED, 16 * 4 + channel, world.now)
    up = [packet_of(9, channel, 150_000) for channel in range(2)]
    for channel, packet in enumerate(up):
        assert world.client.send(packet, KIND_ORDERED, channel, world.now) == SENT
    assert world.run(lambda: len(world.of_type(MESSAGE)) == 5 and len(world.server.messages) == 2, 120)
    assert {event.channel: event.packet for event in world.of_type(MESSAGE)} == sent_down
    assert {stream: packet for _, stream, packet in world.server.messages} == dict(enumerate(up))


def test_unreliable_that_is_too_long_goes_unordered(module: Any) -> None:
    world = join(module)
    packet = packet_of(5, 1, 2000)
    assert world.client.send(packet, KIND_UNRELIABLE, 0, world.now) == SENT
    assert world.run(lambda: bool(world.server.messages), 5)
    assert world.server.messages == [(KIND_UNORDERED, 0, packet)]


def test_what_send_refuses(module: Any) -> None:
    client = CLink(module, TOKEN, 1)
    assert client.send(b"\x08\x02", KIND_ORDERED, 0, START) == NOT_OPEN
    world = join(module, server=Server(terms=Terms(65_536, 10_000)))
    send = world.client.send
    assert send(b"", KIND_ORDERED, 0, START) == BAD_ARGUMENT
    assert send(b"\x08\x02", 4, 0, START) == BAD_ARGUMENT
    assert send(b"\x08\x02", KIND_ORDERED, 16, START) == BAD_ARGUMENT
    assert send(bytes(10_001), KIND_ORDERED, 0, START) == TOO_LONG
    results = [send(bytes(1000), KIND_ORDERED, 0, START) for _ in range(400)]
    assert results[0] == SENT and results[-1] == FULL
    assert results == sorted(results)


def test_peers_come_and_go(module: Any) -> None:
    world = join(module)
    for frame in (rt.player_connect_frame(5, (1, 2, 3, 5)), rt.player_disconnect_frame(3, (1, 2, 5))):
        world.server.send(bare(frame), KIND_ORDERED, 0, world.now)
    assert world.run(lambda: len(world.events) == 3, 3)
    connected, disconnected = world.events[1:]
    assert (connected.type, connected.peer, sorted(connected.peers)) == (PEER_CONNECTED, 5, [1, 2, 3, 5])
    assert (disconnected.type, disconnected.peer, sorted(disconnected.peers)) == (PEER_DISCONNECTED, 3, [1, 2, 5])


def test_a_window_of_sequences_waits_for_the_oldest(module: Any) -> None:
    """5000 small messages in one channel, at once: over the window, over the acknowledgements' reach."""
    world = join(module, "loss=10% delay=30ms reorder=10%", 5)
    sent = [packet_of(3, number) for number in range(5000)]
    waiting = list(sent)

    def fill() -> bool:
        while waiting and world.client.send(waiting[0], KIND_ORDERED, 1, world.now) == SENT:
            waiting.pop(0)
        return len(world.server.messages) == len(sent)

    assert world.run(fill, 120)
    assert [packet for _, _, packet in world.server.messages] == sent


# ---- Timers, path, end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_keeps_alive(module: Any, suite: int) -> None:
    world = join(module, suite=suite, probe=False)
    world.run(seconds=2)
    before = len(world.sent)
    world.run(seconds=60)
    assert world.client.state == OPEN and world.server.endpoint is not None and world.server.endpoint.ended is None
    assert 10 <= len(world.sent) - before <= 40


def test_silence_ends_it(module: Any) -> None:
    world = join(module)
    world.server.silent = True
    silent_from = world.now
    assert world.run(lambda: bool(world.of_type(CLOSED_EVENT)), 30)
    assert world.of_type(SILENT)
    assert world.of_type(CLOSED_EVENT)[0].reason == -1
    assert 10 <= world.now - silent_from <= 15.1
    assert world.client.next_timer() >= 1e300


def test_the_client_leaves(module: Any) -> None:
    world = join(module)
    before = len(world.sent)
    world.client.close(0, "good-bye", world.now)
    world.flush()
    assert len(world.sent) - before == 3 and len(set(world.sent[before:])) == 3
    assert world.client.state == CLOSED
    world.run(seconds=1)
    assert world.server.endpoint is not None and world.server.endpoint.ended == (0, "good-bye")
    (event,) = world.of_type(CLOSED_EVENT)
    assert (event.reason, event.text) == (0, "good-bye")
    assert world.client.send(b"\x08\x02", KIND_ORDERED, 0, world.now) == NOT_OPEN


def test_the_server_ends_it(module: Any) -> None:
    world = join(module, "loss=20% delay=10ms", 4)
    assert world.server.endpoint is not None
    world.server.endpoint.close(3, "kicked: \N{BLACK CHESS KING}", world.now)
    assert world.run(lambda: bool(world.of_type(CLOSED_EVENT)), 2)
    (event,) = world.of_type(CLOSED_EVENT)
    assert (event.reason, event.text) == (3, "kicked: \N{BLACK CHESS KING}")


def test_larger_datagrams_are_found(module: Any) -> None:
    world = join(module)
    world.run(seconds=5)
    assert world.client.quality()["datagram_bytes"] == 1472
    assert 1472 in {len(datagram) for datagram in world.sent}
    without = join(module, probe=False)
    without.run(seconds=5)
    assert without.client.quality()["datagram_bytes"] == 1200


def test_replays_are_dropped(module: Any) -> None:
    world = join(module)
    for number in range(5):
        world.server.send(packet_of(5, number), KIND_UNRELIABLE, 0, world.now)
        world.run(seconds=0.1)
    assert len(world.of_type(MESSAGE)) == 5
    assert not any(world.client.receive_datagram(datagram, world.now) for datagram in world.answered)
    world.take_events()
    assert len(world.of_type(MESSAGE)) == 5


def test_estimates(module: Any) -> None:
    world = join(module, "delay=25ms", probe=False)
    for number in range(200):
        world.client.send(packet_of(5, number, 500), KIND_ORDERED, 0, world.now)
        world.run(seconds=0.02)
    quality = world.client.quality()
    assert quality["rtt"] == pytest.approx(0.05, abs=0.012)
    assert quality["min_rtt"] == pytest.approx(0.05, abs=0.002)
    assert quality["loss"] == 0
    assert 25_000 <= quality["bandwidth"] <= 60_000
    lossy = join(module, "delay=25ms loss=20%", probe=False)
    for number in range(400):
        lossy.client.send(packet_of(5, number, 20), KIND_ORDERED, 0, lossy.now)
        lossy.run(seconds=0.02)
    quality = lossy.client.quality()
    assert quality["loss"] == pytest.approx(0.2, abs=0.12)
    assert quality["frames_repeated"] > 100


def test_a_path_that_no_longer_takes_large_datagrams(module: Any) -> None:
    world = join(module)
    world.run(seconds=3)
    assert world.client.quality()["datagram_bytes"] == 1472
    world.largest = 1250
    packets = [packet_of(5, number, 1300) for number in range(40)]
    for packet in packets:
        world.client.send(packet, KIND_ORDERED, 0, world.now)
    assert world.run(lambda: len(world.server.messages) == len(packets), 30)
    assert world.client.quality()["datagram_bytes"] == 1200


def test_a_size_that_does_not_arrive_is_tried_three_times(module: Any) -> None:
    world = World(CLink(module, TOKEN, 1), Server())
    world.largest = 1350
    world.client.connect(world.now)
    world.run(seconds=100)
    sizes = [len(datagram) for datagram in world.sent if len(datagram) > 1200]
    assert sizes == [1300, 1400, 1400, 1400]
    assert world.client.quality()["datagram_bytes"] == 1300
    assert world.client.quality()["loss"] == 0


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_fills_a_slow_path(module: Any, up: bool) -> None:
    """1 MB at 4 Mbit/s takes 2 s."""
    world = join(module, "delay=20ms rate=4mbit queue=30kb")
    sent = [packet_of(5, number, 100_000) for number in range(10)]
    waiting = list(sent)

    def send(packet: bytes) -> bool:
        if up:
            return world.client.send(packet, KIND_ORDERED, 0, world.now) == SENT
        return world.server.send(packet, KIND_ORDERED, 0, world.now)

    def done() -> bool:
        while waiting and send(waiting[0]):
            waiting.pop(0)
        return len(world.server.messages if up else world.of_type(MESSAGE)) == len(sent)

    begun = world.now
    assert world.run(done, 20)
    came = [packet for _, _, packet in world.server.messages] if up else [e.packet for e in world.of_type(MESSAGE)]
    assert came == sent
    assert world.now - begun < 4


def test_sequences_begin_again(module: Any) -> None:
    """66,000 ordered messages up and as many unordered ones down: 16 bits are not enough to count them."""
    world = join(module, "delay=1ms loss=0.5%")
    count, up, down = 66_000, 0, 0
    packets = [packet_of(3, number) for number in range(count)]

    def fill() -> bool:
        nonlocal up, down
        while up < count and world.client.send(packets[up], KIND_ORDERED, 1, world.now) == SENT:
            up += 1
        while down < count and down < len(world.events) + 400 and world.server.send(packets[down], 3, 0, world.now):
            down += 1
        return len(world.server.messages) == count and len(world.events) == count + 1

    assert world.run(fill, 300)
    assert [packet for _, _, packet in world.server.messages] == packets
    assert sorted(event.packet for event in world.of_type(MESSAGE)) == sorted(packets)


# ---- Against a server that is written by hand: what stands in each datagram ----------------------------------------


def varint(value: int) -> bytes:
    made = b""
    while value >= 0x80:
        made += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return made + bytes((value,))


def frame(type: int, stream: int, sequence: int, body: bytes, total: int | None = None) -> bytes:
    made = bytes((type,)) + varint(stream) + (sequence & 0xFFFF).to_bytes(2, "little")
    return made + (b"" if total is None else varint(total)) + varint(len(body)) + body


class Sent:
    """A DATA datagram of the client in suite 0, taken apart."""

    def __init__(self, datagram: bytes) -> None:
        assert datagram[:10] == b"\0\x06" + CONNECTION
        self.size = len(datagram)
        self.number = int.from_bytes(datagram[10:14], "little")
        body = datagram[14:]
        self.acked: set[int] = set()
        self.largest: int | None = None
        self.delay = 0.0
        at = 1
        if body[0]:
            self.largest = int.from_bytes(body[1:5], "little")
            self.delay = int.from_bytes(body[5:7], "little") / 1e4
            at = 6 + body[0]
            bits = int.from_bytes(body[7:at], "little")
            self.acked = {self.largest} | {self.largest - 1 - k for k in range(8 * body[0]) if bits >> k & 1}
        self.ack_bytes = body[0]
        self.frames: list[tuple[int, ...] | tuple[int, bytes]] = []
        self.messages: list[tuple[int, int, int, int | None, bytes]] = []  # type, stream, sequence, total, bytes
        while at < len(body):
            type = body[at]
            at += 1
            if type == 0:
                assert not any(body[at:])
                break
            if type in (2, 3):
                self.frames.append((type, body[at : at + 8]))
                at += 8
            elif type == 4:
                self.frames.append((type, body[at : at + 2 + body[at + 1]]))
                at += 2 + body[at + 1]
            elif type == 1:
                self.frames.append((type,))
            else:
                stream = sequence = 0
                total = None
                if type != 0x80:
                    stream, at = self._number(body, at)
                    sequence = int.from_bytes(body[at : at + 2], "little")
                    at += 2
                if type & 4:
                    total, at = self._number(body, at)
                length, at = self._number(body, at)
                self.messages.append((type, stream, sequence, total, body[at : at + length]))
                at += length
        assert at <= len(body)

    @staticmethod
    def _number(body: bytes, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (body[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if body[at - 1] < 0x80:
                return value, at


class Script:
    """A client in suite 0 that is in, and what a server might send it."""

    def __init__(self, module: Any, **fields: Any) -> None:
        fields.setdefault("probe", False)
        self.client = CLink(module, TOKEN, 1, suite=link.SUITE_INSECURE, **fields)
        self.now = START
        self.number = 0
        server = Server()
        self.client.connect(self.now)
        for _ in range(2):
            for datagram in self.client.datagrams_to_send(self.now):
                server.receive_datagram(datagram, self.now)
            answer = server.door.counters["cookies"], server._answers.pop()
            assert self.client.receive_datagram(answer[1], self.now)
        assert self.client.state == OPEN

    def sent(self) -> list[Sent]:
        return [Sent(datagram) for datagram in self.client.datagrams_to_send(self.now)]

    def ack(self, largest: int, bits: bytes = b"", delay: int = 0) -> bytes:
        return bytes((1 + len(bits),)) + largest.to_bytes(4, "little") + delay.to_bytes(2, "little") + bits

    def receive(self, frames: bytes, number: int | None = None, ack: bytes = b"\0") -> bool:
        if number is None:
            number = self.number
            self.number += 1
        header = b"\0\x06" + CONNECTION + (number & 0xFFFFFFFF).to_bytes(4, "little")
        return self.client.receive_datagram(header + ack + frames, self.now)

    def events(self) -> list[Event]:
        made = []
        while (event := self.client.next_event()) is not None:
            made.append(event)
        return made


PACKET = b"\x08\x02"
MESSAGE_FRAME = frame(0x82, 0, 0, PACKET)


def settled(module: Any, **fields: Any) -> Script:
    """PlayerReady is acknowledged, after 20 ms."""
    script = Script(module, **fields)
    (first,) = script.sent()
    assert first.number == 0 and first.messages == [(0x82, 0, 0, None, b"\x08\x0d")]
    script.now += 0.02
    assert script.receive(b"", ack=script.ack(0))
    assert script.sent() == []
    return script


def test_pieces_of_a_message(module: Any) -> None:
    script = settled(module)
    message = packet_of(5, 1, 2500)
    script.client.send(message, KIND_ORDERED, 3, script.now)
    script.client.send(PACKET, KIND_ORDERED, 3, script.now)
    script.client.send(PACKET, KIND_UNORDERED, 3, script.now)
    script.client.send(PACKET, KIND_SEQUENCED, 3, script.now)
    script.client.send(PACKET, KIND_UNRELIABLE, 3, script.now)
    messages = sorted(message for sent in script.sent() for message in sent.messages)
    assert messages == [
        (0x80, 0, 0, None, PACKET),
        (0x81, 3, 0, None, PACKET),
        (0x82, 3, 3, None, PACKET),
        (0x83, 0, 0, None, PACKET),
        (0x86, 3, 0, len(message), message[:1100]),
        (0x8A, 3, 1, None, message[1100:2200]),
        (0x8A, 3, 2, None, message[2200:]),
    ]


def test_acknowledges_soon(module: Any) -> None:
    script = settled(module)
    script.receive(MESSAGE_FRAME)
    assert script.sent() == []
    assert script.client.next_timer() == pytest.approx(script.now + 0.01)
    script.now = script.client.next_timer()
    (sent,) = script.sent()
    assert (sent.largest, sent.acked, sent.frames, sent.messages) == (1, {0, 1}, [], [])
    assert sent.delay == pytest.approx(0.01, abs=0.0002)
    assert script.sent() == []


def test_acknowledges_at_once_what_came_out_of_turn(module: Any) -> None:
    script = settled(module)
    script.receive(frame(0x82, 0, 1, PACKET), number=3)
    (sent,) = script.sent()
    assert sent.acked == {0, 3}
    script.receive(MESSAGE_FRAME, number=2)
    (sent,) = script.sent()
    assert (sent.largest, sent.acked) == (3, {0, 2, 3})
    assert [event.packet for event in script.events()] == [PACKET, PACKET]


def test_acknowledges_every_eighth_at_once(module: Any) -> None:
    script = settled(module)
    for sequence in range(8):
        assert script.sent() == []
        script.receive(frame(0x83, 0, sequence, PACKET))
    (sent,) = script.sent()
    assert sent.acked == set(range(9))


def test_acknowledges_lazily(module: Any) -> None:
    script = settled(module)
    script.receive(b"\x80\x02" + PACKET)
    assert script.client.next_timer() == pytest.approx(script.now + 0.1)
    for _ in range(63):
        assert script.sent() == []
        script.receive(b"\x80\x02" + PACKET)
    (sent,) = script.sent()
    assert sent.acked == set(range(65))


def test_what_is_known_to_be_known_is_not_told_again(module: Any) -> None:
    script = settled(module)
    for _ in range(20):
        script.receive(b"\x80\x02" + PACKET)
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    (sent,) = script.sent()
    assert (sent.largest, sent.ack_bytes) == (20, 4)
    script.receive(b"", ack=script.ack(sent.number))
    script.receive(b"\x80\x02" + PACKET, number=25)
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    (sent,) = script.sent()
    assert sent.acked == {21, 25}
    # A late one, older than what it knows: told until that is known, too.
    script.number = 26
    script.receive(b"", ack=script.ack(sent.number))
    script.receive(b"\x01", number=22)
    (sent,) = script.sent()
    assert sent.acked == {22, 25, 26}


def test_acknowledgements_reach_256_below(module: Any) -> None:
    script = settled(module)
    for _ in range(400):
        script.receive(b"\x80\x02" + PACKET)
        script.events()
    sent = script.sent()[-1]
    assert sent.ack_bytes == 33
    assert sent.acked == set(range(400 - 256, 401))
    assert not script.receive(b"\x01", number=143)
    assert not script.receive(b"\x01", number=400)


def test_a_gap_in_numbers_is_forgotten(module: Any) -> None:
    """Bits of long ago must not stand for numbers that never came."""
    script = settled(module)
    for number in (1, 2, 3, 600, 1000, 1030):
        script.receive(b"\x01", number=number)
        script.now += 0.01
        sent = script.sent()[-1]
        expected = {known for known in (0, 1, 2, 3, 600, 1000, 1030) if number - 256 <= known <= number}
        assert sent.acked == expected
    assert script.receive(b"\x01", number=1000 - 200)


def test_answers_a_challenge(module: Any) -> None:
    script = settled(module)
    script.receive(b"\x02" + b"who goes")
    (sent,) = script.sent()
    assert sent.frames == [(3, b"who goes")]


def test_a_new_path(module: Any) -> None:
    script = settled(module)
    assert script.client.quality()["rtt"] > 0
    script.client.path_changed(script.now)
    (sent,) = script.sent()
    assert sent.frames == [(1,)]
    quality = script.client.quality()
    assert (quality["rtt"], quality["congestion_window"], quality["datagram_bytes"]) == (0, 12_000, 1200)


def test_timeouts_double_and_the_caller_is_told(module: Any) -> None:
    script = Script(module)
    sent = script.sent()
    times = [0.0]
    told: float | None = None
    while len(times) < 8:
        script.now = script.client.next_timer()
        script.client.handle_timer(script.now)
        if told is None and any(event.type == SILENT for event in script.events()):
            told = script.now - START
        again = script.sent()
        if any(message[4] == b"\x08\x0d" for each in again for message in each.messages):
            times.append(round(script.now - START, 6))
        sent += again
    assert times == [0, 0.2, 0.6, 1.4, 2.4, 3.4, 4.4, 5.4]
    assert told == pytest.approx(2.4)
    assert [each.number for each in sent] == list(range(len(sent)))
    assert script.client.quality()["congestion_window"] == 4 * 1200


def test_lost_frames_are_sent_again_in_new_datagrams(module: Any) -> None:
    script = settled(module)
    packets = [packet_of(5, number, 1000) for number in range(5)]
    for packet in packets:
        script.client.send(packet, KIND_ORDERED, 0, script.now)
    sent = script.sent()
    assert [each.number for each in sent] == [1, 2, 3, 4, 5]
    script.now += 0.02
    script.receive(b"", ack=script.ack(5, bytes((0b111,))))  # 1 is missing
    (again,) = script.sent()
    assert again.messages == sent[0].messages and again.number == 6
    assert script.client.quality()["datagrams_lost"] == 1
    assert script.client.quality()["congestion_window"] == pytest.approx(6000, abs=600)
    # It comes after all: from now on, three later ones are no proof.
    script.now += 0.005
    script.receive(b"", ack=script.ack(1))
    for packet in packets[:4]:
        script.client.send(packet, KIND_ORDERED, 0, script.now)
    script.now += 0.1
    assert [each.number for each in script.sent()] == [7, 8, 9, 10]
    script.receive(b"", ack=script.ack(10, bytes((0b1011,))))
    assert script.client.quality()["datagrams_lost"] == 1


def test_begins_with_ten_datagrams(module: Any) -> None:
    script = settled(module)
    for number in range(60):
        script.client.send(packet_of(5, number, 1000), KIND_ORDERED, 0, script.now)
    assert sum(each.size for each in script.sent()) in range(10_000, 12_001)


def test_unreliable_ones_beyond_the_window_are_dropped(module: Any) -> None:
    script = settled(module)
    for number in range(60):
        script.client.send(packet_of(5, number, 1000), KIND_ORDERED, 0, script.now)
    for _ in range(10):
        script.client.send(packet_of(6, 0, 1000), KIND_UNRELIABLE, 0, script.now)
    sent = script.sent()
    unreliable = [message for each in sent for message in each.messages if message[0] == 0x80]
    assert sent[0].messages[0][0] == 0x80
    assert len(unreliable) == 10 and sum(each.size for each in sent) <= 14 * 1200
    for _ in range(10):
        script.client.send(packet_of(6, 0, 1000), KIND_UNRELIABLE, 0, script.now)
    assert len(script.sent()) <= 2
    assert script.client.quality()["unreliable_dropped"] >= 8


BROKEN = {
    "an unknown frame": b"\x05",
    "a kind that is none": b"\x84\x00\x00\x00\x01a",
    "a frame of unreliable pieces": frame(0x85, 0, 0, bytes(1100), 2000),
    "a cut frame": MESSAGE_FRAME[:-1],
    "a cut challenge": b"\x02" + bytes(7),
    "a cut close": b"\x04\x00\x05abc",
    "a length of 0": b"\x80\x00",
    "a varint of five bytes": b"\x80\x82\x80\x80\x80\x00" + PACKET,
    "a stream over 4095": frame(0x82, 4096, 0, PACKET),
    "a piece over 1100 bytes": frame(0x82, 0, 0, bytes(1101)),
    "a first piece under 1100 bytes": frame(0x86, 0, 0, bytes(1099), 2000),
    "a total that needs no pieces": frame(0x86, 0, 0, bytes(1100), 1100),
    "a total over what is taken": frame(0x86, 0, 0, bytes(1100), 262_145),
    "padding that is not zero": b"\x00\x00\x01",
    "an unordered stream": frame(0x83, 1, 0, PACKET),
    "a sequence beyond the window": frame(0x82, 0, 512, PACKET),
    "an unordered sequence beyond the window": frame(0x83, 0, 512, PACKET),
    "a piece of nothing": frame(0x8A, 0, 0, PACKET),
    "two beginnings": frame(0x86, 0, 1, bytes(1100), 2000) + frame(0x86, 0, 0, bytes(1100), 2000),
    "a last piece of a wrong length": frame(0x86, 0, 0, bytes(1100), 2000) + frame(0x8A, 0, 1, bytes(899)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_the_contract_ends_the_connection(module: Any, what: str) -> None:
    script = settled(module)
    size = len(BROKEN[what])
    if size > 1400:
        middle = BROKEN[what].index(b"\x86", 5) if what == "two beginnings" else BROKEN[what].index(b"\x8a\x00\x01")
        script.receive(BROKEN[what][:middle])
        script.receive(BROKEN[what][middle:])
    else:
        script.receive(BROKEN[what])
    sent = script.sent()
    assert [each.frames[0][0] for each in sent] == [4, 4, 4]
    assert {each.frames[0][1][:1] for each in sent} == {b"\x01"}  # type: ignore[index]
    (event,) = script.events()
    assert (event.type, event.reason) == (CLOSED_EVENT, 1)


def test_acknowledgements_that_make_no_sense(module: Any) -> None:
    for ack in (b"\x22" + bytes(40), b"\x01\x00\x00\x00"):
        script = settled(module)
        script.receive(b"", ack=ack)
        assert script.client.state == CLOSED
    script = settled(module)
    script.receive(b"", ack=script.ack(77))
    script.receive(b"", ack=script.ack(0xFFFFFFFF))
    assert script.client.state == OPEN and script.client.quality()["rtt"] == pytest.approx(0.02)


def test_what_there_is_no_room_for_is_not_acknowledged(module: Any) -> None:
    """Pieces of more long messages than there is room for, of each all but the first: all come through in the end."""
    script = settled(module, small=True)
    messages = {channel: packet_of(5, channel, 16_000, sender=1) for channel in range(1, 9)}
    waiting: list[bytes] = []
    for channel, message in messages.items():
        pieces = [message[at : at + 1100] for at in range(0, len(message), 1100)]
        waiting += [frame(0x8A, 16 + channel, at, piece) for at, piece in enumerate(pieces) if at > 0]
    for channel, message in messages.items():
        waiting.append(frame(0x86, 16 + channel, 0, message[:1100], len(message)))
    came: dict[int, bytes] = {}
    for _ in range(100):
        under_way: dict[int, bytes] = {}
        for piece in waiting:
            under_way[script.number] = piece
            script.receive(piece)
            came.update((event.channel, event.packet) for event in script.events())
            for sent in script.sent():
                for number in sent.acked & under_way.keys():
                    del under_way[number]
        script.now += 0.01
        for sent in script.sent():
            for number in sent.acked & under_way.keys():
                del under_way[number]
        waiting = list(under_way.values())
        if not waiting:
            break
    assert came == messages
    assert script.client.quality()["datagrams_without_room"] > 10


def test_more_peers_than_there_is_room_for(module: Any) -> None:
    script = settled(module, small=True)
    script.receive(frame(0x82, 16 * 16 + 1, 0, PACKET))
    assert script.client.state == OPEN
    script.receive(frame(0x82, 16 * 17 + 1, 0, PACKET))
    (event,) = [event for event in script.events() if event.type == CLOSED_EVENT]
    assert event.reason == 5


# ---- Programs ------------------------------------------------------------------------------------------------------


class Serving:
    """A Server on a UDP socket of the loopback interface, in a thread, for as long as the block lasts."""

    def __init__(self) -> None:
        self.server = Server()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.01)
        self.port: int = self._socket.getsockname()[1]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Serving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        """Answers each message with one of its own, and ends the connection after the message "end"."""
        address: Any = None
        echoed = 0
        while not self._ending.is_set():
            now = time.monotonic()
            try:
                datagram, address = self._socket.recvfrom(2048)
                self.server.receive_datagram(datagram, now)
            except TimeoutError:
                pass
            if self.server.next_timer() <= now:
                self.server.handle_timer(now)
            for kind, stream, packet in self.server.messages[echoed:]:
                echo = Packet.decode(packet)
                echo.sender = 3
                self.server.send(echo.encode(), kind, stream if stream == 0 else 16 * 3 + stream, now)
            echoed = len(self.server.messages)
            for datagram in self.server.datagrams_to_send(now):
                if address is not None:
                    self._socket.sendto(datagram, address)


def test_the_example_joins(tmp_path: Path) -> None:
    subprocess.run(["make", "-s", "-C", c_client.SOURCES, f"BUILD={tmp_path}"], check=True)
    with Serving() as serving:
        command = [tmp_path / "gsrt_example", "127.0.0.1", str(serving.port), TOKEN]
        result = subprocess.run(command, input="hello\nwörld\n", capture_output=True, text=True, timeout=20, check=True)
        lines = result.stdout.splitlines()
        assert lines[0] == "in, as peer 2" and lines[1].startswith("peers: ")
        assert lines[-1] == "closed: left"
        texts = [Packet.decode(packet).data for _, _, packet in serving.server.messages]
        assert texts == [Data({1: "hello"}), Data({1: "wörld"})]
        refused = [*command[:-1], "another token"]
        assert "refused: the token" in subprocess.run(refused, capture_output=True, text=True, timeout=20).stdout


ENGINE = """
#define _POSIX_C_SOURCE 200112L
#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int udp;

double engine_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void engine_send(const uint8_t *datagram, size_t size) { send(udp, datagram, size, 0); }

size_t engine_receive(uint8_t *datagram, size_t capacity)
{
    const ssize_t size = recv(udp, datagram, capacity, MSG_DONTWAIT);
    return size < 0 ? 0 : (size_t)size;
}

void engine_new_socket(void) {}

int main(int argc, char **argv)
{
    struct sockaddr_in server = {0};
    const struct timespec frame = {0, 16000000};
    (void)argc;
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    connect(udp, (struct sockaddr *)&server, sizeof server);
    if (!net_begin(argv[2])) {
        return 1;
    }
    for (int frames = 0; frames < 60 && net_frame(); frames++) {
        nanosleep(&frame, NULL);
    }
    net_leave();
    return 0;
}
"""


def test_what_the_readme_shows_runs(tmp_path: Path) -> None:
    """Its code is a game's: here is the engine."""
    (shown,) = re.findall(r"^```c\n(.*?)^```", (c_client.SOURCES / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    before, _, after = ENGINE.partition("#include <arpa/inet.h>")
    source = tmp_path / "game.c"
    source.write_text(before + shown + "#include <arpa/inet.h>" + after)
    program = tmp_path / "game"
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-DGSRT_LINK_SODIUM", f"-I{c_client.SOURCES}"]
    sources = [str(source), str(c_client.SOURCES / "gsrt_link.c")]
    subprocess.run([*command, *sources, "-lsodium", "-o", str(program)], check=True)
    with Serving() as serving:
        result = subprocess.run(
            [program, str(serving.port), TOKEN], capture_output=True, text=True, timeout=20, check=True
        )
        kinds = sorted((kind, stream) for kind, stream, _ in serving.server.messages)
        assert kinds == [(KIND_SEQUENCED, 1), (KIND_ORDERED, 0)]
    assert sorted(result.stdout.splitlines()) == ["in, as peer 2 of 3", "peer 3 is at 1.5 -2", "peer 3 says hello"]


def test_mutated_datagrams(tmp_path: Path) -> None:
    """GSRT_FUZZ_DATAGRAMS says how many; 10 million take some minutes."""
    count = os.environ.get("GSRT_FUZZ_DATAGRAMS", "100000")
    subprocess.run(["make", "-s", "-C", c_client.SOURCES, f"BUILD={tmp_path}", tmp_path / "fuzz"], check=True)
    result = subprocess.run([tmp_path / "fuzz", "1", count], capture_output=True, text=True, timeout=3600)
    assert result.returncode == 0, result.stderr[-4000:]
    assert int(result.stdout.split()[0]) >= int(count)


# ---- RT packets and RTData -----------------------------------------------------------------------------------------


def write_packet(module: Any, **fields: Any) -> bytes:
    ffi, lib = module.ffi, module.lib
    packet = ffi.new("gsrt_packet *")
    buffers = []
    for name, value in fields.items():
        if isinstance(value, bytes):
            buffers.append(ffi.new("uint8_t[]", value or b"\0"))
            setattr(packet, name, buffers[-1])
            setattr(packet, "target_count" if name == "targets" else f"{name}_size", len(value))
        else:
            setattr(packet, name, value)
    out = ffi.new("uint8_t[]", 4096)
    size = lib.gsrt_packet_write(out, len(out), packet)
    assert lib.gsrt_packet_write(out, size - 1, packet) == 0
    assert lib.gsrt_packet_write(out, size, packet) == size
    return bytes(ffi.buffer(out, size))


@pytest.mark.parametrize("op_code", [1, 63, 64, 100_000, 2**31 - 1, 0, -1, -101, -(2**31)])
def test_packets_are_written_as_ours(module: Any, op_code: int) -> None:
    made = write_packet(module, op_code=op_code, targets=b"\x03\x02", data=b"\x08\x05", payload=bytes(200))
    assert made == Packet(op_code, targets=(3, 2), data=Data({1: -3}), payload=bytes(200)).encode()
    for sequence in (0, 5, -1, 2**31 - 1, -(2**31)):
        made = write_packet(module, op_code=op_code, has_sequence=True, sequence=sequence)
        assert made == Packet(op_code, sequence=sequence).encode()


def read_packet(module: Any, data: bytes) -> Any:
    """The gsrt_packet, None if it is none. Of it: opCode, sequence, sender, data, payload."""
    ffi, lib = module.ffi, module.lib
    packet = ffi.new("gsrt_packet *")
    copy = ffi.new("uint8_t[]", data or b"\0")
    if not lib.gsrt_packet_read(packet, copy, len(data)):
        return None

    def copied(pointer: Any, size: int) -> bytes | None:
        return bytes(ffi.buffer(pointer, size)) if pointer else None

    return (
        packet.op_code,
        packet.sequence if packet.has_sequence else None,
        packet.sender,
        copied(packet.data, packet.data_size),
        copied(packet.payload, packet.payload_size),
    )


@pytest.mark.parametrize("op_code", [1, 100_000, 2**31 - 1, 0, -101, -(2**31)])
@pytest.mark.parametrize("sequence", [None, 0, -1, 2**31 - 1, -(2**31)])
def test_packets_are_read(module: Any, op_code: int, sequence: int | None) -> None:
    packet = Packet(
        op_code, sender=255, targets=(1, 2), sequence=sequence, data=Data({1: -3}), payload=b"pay", reliable=False
    )
    assert read_packet(module, packet.encode()) == (op_code, sequence, 255, b"\x08\x05", b"pay")


def test_what_is_no_packet(module: Any) -> None:
    whole = Packet(5, data=Data({1: "text"}), payload=b"pay").encode()
    assert read_packet(module, whole) is not None
    for size in range(len(whole)):
        got = read_packet(module, whole[:size])
        assert got is None or size in (2, len(whole) - 5)
    for broken in (
        b"\x10\x00",
        b"\x08\x80\x80\x80\x80\x10",
        b"\x08\x02\x3a\x01\x00",
        b"\x08\x02\x28\x80\x02",
        b"\x08\x02\x0b",
    ):
        assert read_packet(module, broken) is None


def test_data_is_that_of_ours(module: Any) -> None:
    ffi, lib = module.ffi, module.lib
    writer = ffi.new("gsrt_data_writer *")
    room = ffi.new("uint8_t[]", 256)
    writer.bytes, writer.capacity = room, 256
    for slot, value in ((1, 0), (2, -1), (3, 2**63 - 1), (4, -(2**63))):
        lib.gsrt_data_put_long(writer, slot, value)
    lib.gsrt_data_put_float(writer, 5, 1.5)
    lib.gsrt_data_put_double(writer, 6, 0.1)
    lib.gsrt_data_put_string(writer, 7, "grün".encode(), 5)
    lib.gsrt_data_put_vector(writer, 16, [1.0, 2.0, -3.5], 3)
    lib.gsrt_data_put_data(writer, 127, b"\x08\x0e", 2)
    assert not writer.failed
    made = bytes(ffi.buffer(room, writer.size))
    expected = {1: 0, 2: -1, 3: 2**63 - 1, 4: -(2**63), 5: Float32(1.5), 6: 0.1, 7: "grün"}
    assert made == Data({**expected, 16: (1.0, 2.0, -3.5), 127: Data({1: 7})}).encode()

    copy = ffi.new("uint8_t[]", made)
    number, real, wide = ffi.new("int64_t *"), ffi.new("float *"), ffi.new("double *")
    text, inner, count, vector = ffi.new("char **"), ffi.new("uint8_t **"), ffi.new("size_t *"), ffi.new("float[4]")
    for slot in range(1, 5):
        assert lib.gsrt_data_get_long(copy, len(made), slot, number) and number[0] == expected[slot]
    assert lib.gsrt_data_get_float(copy, len(made), 5, real) and real[0] == 1.5
    assert lib.gsrt_data_get_double(copy, len(made), 6, wide) and wide[0] == 0.1
    assert lib.gsrt_data_get_string(copy, len(made), 7, text, count)
    assert bytes(ffi.buffer(text[0], count[0])).decode() == "grün"
    assert lib.gsrt_data_get_vector(copy, len(made), 16, vector, count) and list(vector)[: count[0]] == [1, 2, -3.5]
    assert lib.gsrt_data_get_data(copy, len(made), 127, inner, count)
    assert bytes(ffi.buffer(inner[0], count[0])) == b"\x08\x0e"
    assert not lib.gsrt_data_get_long(copy, len(made), 5, number)
    assert not lib.gsrt_data_get_float(copy, len(made), 6, real)
    assert not lib.gsrt_data_get_vector(copy, len(made), 7, vector, count)
    assert not lib.gsrt_data_get_long(copy, len(made), 99, number)


def test_data_that_has_no_room(module: Any) -> None:
    ffi, lib = module.ffi, module.lib
    for capacity in range(7):
        writer = ffi.new("gsrt_data_writer *")
        room = ffi.new("uint8_t[]", capacity) if capacity else ffi.NULL
        writer.bytes, writer.capacity = room, capacity
        lib.gsrt_data_put_string(writer, 1, b"abc", 3)
        assert writer.failed == (capacity < 7) and writer.size == 0
    for slot in (0, 128, -1):
        writer = ffi.new("gsrt_data_writer *")
        room = ffi.new("uint8_t[]", 32)
        writer.bytes, writer.capacity = room, 32
        lib.gsrt_data_put_long(writer, slot, 1)
        assert writer.failed and writer.size == 0

"""The C client of the link against our server's side of it, in virtual time over networks of all kinds."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE, LinkEndpoint
from gsrt.protocol import link, rt
from gsrt.protocol.link import Terms
from tests.link import c_client
from tests.link.c_client import (
    BAD_ARGUMENT,
    CLOSED,
    CLOSED_EVENT,
    ENTERING,
    FAILED,
    FULL,
    GREETING,
    MESSAGE,
    NOT_OPEN,
    OPEN,
    PEER_CONNECTED,
    PEER_DISCONNECTED,
    READY,
    REFUSED_EVENT,
    SENT,
    SILENT,
    TOO_LONG,
    CLink,
)
from tests.link.c_world import BAD, PERFECT, START, TOKEN, Server, World, bare, join, packet_of

SUITES = [link.SUITE_INSECURE, link.SUITE_CHACHA20_POLY1305]
LIMITS = Path(__file__).resolve().parents[2] / "docs" / "LINK.md"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return c_client.build(tmp_path_factory.getbasetemp() / "c_client")


# ---- Build -----------------------------------------------------------------------------------------------------------


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
        {"early_bytes": 1_099},
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
    assert CLink(module, TOKEN, 1).memory_bytes <= 2_100_000
    assert CLink(module, TOKEN, 1, small=True).memory_bytes <= 150_000


# ---- Handshake -------------------------------------------------------------------------------------------------------


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


# ---- Messages --------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("conditions", NETWORKS[:3])
def test_a_server_whose_end_is_dumped_and_restored_is_the_same(module: Any, conditions: str, suite: int) -> None:
    world = join(module, conditions, 3, suite=suite)
    traffic = Traffic(world, 3)
    dumped = 0
    for _ in range(200):
        for _ in range(traffic.random.randrange(4)):
            traffic.send_one()
        world.run(seconds=0.05)
        assert world.client.state == OPEN
        if traffic.random.random() < 0.2:
            end = world.server.endpoint
            assert end is not None
            world.server.endpoint = LinkEndpoint.restore(end.dump(), world.now)
            dumped += 1
    assert dumped > 20
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


# ---- Timers, path, end -----------------------------------------------------------------------------------------------


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


def test_a_second_link_finds_out_that_the_server_has_restarted(module: Any) -> None:
    """As the README has it: it asks, and does not log in before the first one is given up."""
    world = join(module)
    world.server = Server()
    world.client.send(packet_of(5, 1), KIND_ORDERED, 0, world.now)
    assert world.run(lambda: bool(world.of_type(SILENT)), 5)
    second = CLink(module, TOKEN, 2)
    second.connect(world.now)
    (hello,) = second.datagrams_to_send(world.now)
    world.server.receive_datagram(hello, world.now)
    (cookie,) = world.server.datagrams_to_send(world.now)
    assert second.receive_datagram(cookie, world.now)
    assert second.state == ENTERING and world.server.door.counters["cookies"] == 1
    world.client.path_changed(world.now)
    assert world.run(lambda: len(world.of_type(SILENT)) == 2, 5)
    world.client = second
    assert world.run(lambda: len(world.of_type(READY)) == 2, 5)
    assert second.state == OPEN


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

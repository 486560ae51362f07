"""Bad input and bad luck: each has one outcome and one counter, and the players beside it notice nothing."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.driver import Driver
from tests.doubles.probe import Probe
from tests.doubles.websockets import WebSocketDouble
from tests.sessions.bystanders import Bystanders
from tests.sessions.match import MakeMatch, Match
from tests.support import wire
from tests.support.server import ServerProcess, free_port
from tests.support.wire import Packet

LEGS = ("tcp", "tls", "ws", "wss")
LOGIN_SECONDS = 1.0
TIGHT = {
    "login_seconds": LOGIN_SECONDS,
    "grace_seconds": 0.2,
    "udp_hello_interval_seconds": 0.05,
    "pending_per_address_max": 40,
    "pending_connections_max": 60,
    "packets_per_second": 2000,
    "packets_burst": 300,
    "bytes_per_second": 60_000_000,
    "bytes_burst": 16_000_000,
    "stream_out_soft_bytes": 65536,
    "stream_out_hard_bytes": 262144,
}


@pytest.fixture(scope="module")
def tight_server(certificate: tuple[str, str]) -> Iterator[ServerProcess]:
    """A server with limits that tests can reach."""
    with ServerProcess(certificate=certificate, overrides=TIGHT) as server:
        yield server


@pytest.fixture
def server(tight_server: ServerProcess) -> ServerProcess:
    """These tests use it in place of the shared server."""
    assert tight_server.process.poll() is None, f"the server is gone:\n{tight_server.log()}"
    return tight_server


@pytest.fixture
def bystanders(server: ServerProcess, driver: Driver) -> Iterator[Bystanders]:
    """Three players, undisturbed at the end as well."""
    players = Bystanders(server, driver)
    yield players
    players.undisturbed()
    server.end(players.match.table)


def closed(probe: Probe) -> None:
    """Wait until the server has ended the connection."""
    probe.driver.run_until(lambda: probe.ended is not None, f"{probe.name} to be closed")


def counted(server: ServerProcess, driver: Driver, name: str, before: int, more: int = 1) -> None:
    """Wait until a counter of the server stands `more` higher."""
    driver.run_until(lambda: server.counters()[name] >= before + more, f"{name} to be {before + more}")


# -- malformed packets in sound frames --------------------------------------------------------------------------------

MALFORMED = {
    "an opCode of 33 bits": b"\x08\xff\xff\xff\xff\x1f",
    "an opCode of six bytes": b"\x08\x80\x80\x80\x80\x80\x01",
    "a bool of 2": b"\x08\x78\x30\x02",
    "a cut varint": b"\x08\x78\x20\x80",
    "a varint of eleven bytes": b"\x08\x78\x18" + b"\xff" * 10 + b"\x01",
    "a payload longer than its packet": b"\x08\x78\x7a\x05a",
    "data longer than its packet": b"\x08\x78\x72\x7f\x08",
    "a length of four gigabytes": b"\x08\x78\x7a\xff\xff\xff\xff\x0f",
    "a length of 2^63": b"\x08\x78\x7a" + b"\xff" * 9 + b"\x01",
    "wire type 3": b"\x08\x78\x4b",
    "wire type 6": b"\x08\x78\x4e",
    "wire type 7": b"\x08\x78\x0f",
    "field number 0": b"\x08\x78\x02\x01\x00",
    "an opCode of the wrong wire type": b"\x0a\x01\x78",
    "an opCode that is a float": b"\x0d\x00\x00\x00\x00",
    "no opCode": b"\x7a\x01x",
    "a cut fixed field": b"\x08\x78\x49\x00\x00",
    "one byte": b"\x08",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_packet_in_a_sound_frame_is_dropped_and_counted(new_match: MakeMatch, name: str) -> None:
    match = new_match(3)
    watcher = match.ready_probe(3)
    for leg in ("tcp", "ws", "udp"):
        sender = match.fast_probe(1) if leg == "udp" else match.ready_probe(1, leg)
        before = match.server.counters(match.table)["dropped_malformed"]
        if leg == "udp":
            sender.send_datagram(wire.frame(MALFORMED[name]))
        else:
            sender.send(wire.frame(MALFORMED[name]))
        match.until_counted("dropped_malformed", before + 1)
        match.mark_from(sender, [watcher])
        assert sender.ended is None
    assert not [packet for packet in watcher.user_packets if packet.op_code < 9000]


def test_repeated_fields_and_field_floods_do_no_harm(new_match: MakeMatch, bystanders: Bystanders) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    head = wire.encode_packet(Packet(60))
    bodies = [
        head + b"".join(wire.key(4, 0) + wire.varint(2) for _ in range(4000)) + wire.length_delimited(15, b"x"),
        head + b"\x48\x05" * 5000 + wire.length_delimited(15, b"x"),
        head + wire.length_delimited(14, b"\x08\x02" * 5000),
        head + wire.length_delimited(15, b"a") * 3000,
        head * 3000,
        head + b"\x28\x01" * 5000,
        head + b"\x10\x01" * 5000,
    ]
    for body in bodies:
        sender.send(wire.frame(body))
    match.mark_from(sender, [receiver])
    # the strict decoder finds no field twice and none it does not know
    assert {packet.sender for packet in receiver.of_op_code(60)} == {1}
    assert sender.ended is None


# -- unsound framing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff\xff\x01", b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x08", wire.varint(2_000_000)],
    ids=["a length of six bytes", "four gigabytes", "two gigabytes", "two megabytes"],
)
@pytest.mark.parametrize("leg", ["tcp", "tls"])
def test_unsound_framing_ends_the_connection(
    new_match: MakeMatch, bystanders: Bystanders, leg: str, data: bytes
) -> None:
    match = new_match(2)
    watcher, sender = match.ready_probe(1), match.ready_probe(2, leg)
    sender.send_packet(Packet(60, payload=b"before"))
    sender.send(data + bytes(100))
    closed(sender)
    match.driver.run_until(lambda: bool(watcher.changes(wire.OP_PLAYER_DISCONNECT)), "told after the grace")
    assert [packet.op_code for packet in watcher.user_packets] == [60]


@pytest.mark.parametrize("leg", ["tcp", "tls"])
def test_zero_length_frames_reach_nobody(new_match: MakeMatch, leg: str) -> None:
    match = new_match(2)
    watcher, sender = match.ready_probe(1), match.ready_probe(2, leg)
    sender.send(b"\x00\x00\x00")
    match.until_counted("dropped_malformed", 3)
    match.mark_from(sender, [watcher])
    assert len(watcher.user_packets) == 1


@pytest.mark.parametrize("leg", LEGS)
def test_the_first_frame_may_not_be_larger_than_a_login(new_match: MakeMatch, leg: str) -> None:
    match = new_match(1)
    probe = match.probe(leg)
    probe.send_packet(Packet(0, payload=wire.encode_login(b"t" * 5000)))
    closed(probe)
    assert probe.received == []


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize(
    "packet",
    [Packet(60, payload=b"x"), Packet(-7), Packet(-5), Packet(0), Packet(0, payload=b""), Packet(0, payload=b"\x0a")],
    ids=["a user packet", "-7", "-5", "no payload", "an empty payload", "a cut token"],
)
def test_a_first_packet_that_is_no_login_is_closed_in_silence(
    new_match: MakeMatch, bystanders: Bystanders, leg: str, packet: Packet
) -> None:
    match = new_match(1)
    counters = match.server.counters()
    refusals = counters["logins_refused"] + counters["closed_protocol"] + counters["closed_error"]
    probe = match.probe(leg)
    probe.send_packet(packet)
    closed(probe)
    assert probe.received == []
    counters = match.server.counters()
    assert counters["logins_refused"] + counters["closed_protocol"] + counters["closed_error"] == refusals + 1


# -- random bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("when", ["first", "after the login"])
def test_random_bytes_on_a_stream(new_match: MakeMatch, bystanders: Bystanders, leg: str, when: str) -> None:
    generator = random.Random(f"{leg}/{when}")
    match = new_match(2)
    watcher = match.ready_probe(1)
    for round_number in range(25):
        probe = match.probe(leg, f"random-{round_number}")
        if when == "after the login":
            probe.log_in(match.token(2))
            probe.say_ready()
        for _ in range(generator.randrange(1, 5)):
            probe.send(generator.randbytes(generator.choice((1, 3, 20, 200, 3000))))
        match.driver.step(0.001)
        probe.stream.close()
    # a genuine player on the same seat still gets in, and is heard
    player = match.ready_probe(2)
    match.mark_from(player, [watcher])
    for packet in watcher.received:
        assert packet.op_code in (-1, -101, -103) or packet.sender in (None, 2)


def test_random_bytes_by_udp(new_match: MakeMatch, bystanders: Bystanders) -> None:
    generator = random.Random(11)
    match = new_match(2)
    stranger, player = match.probe(), match.fast_probe(1)
    watcher = match.ready_probe(2)
    before = match.server.counters()["datagrams_in"]
    for number in range(300):
        for probe in (stranger, player):
            probe.send_datagram(generator.randbytes(generator.choice((1, 2, 5, 30, 500, 1400))))
        if number % 50 == 0:
            match.driver.step(0.001)
    counted(match.server, match.driver, "datagrams_in", before, 600)
    match.mark_from(player, [watcher])
    for packet in watcher.received:
        assert packet.op_code in (-1, -101) or packet.sender == 1


@pytest.mark.parametrize("leg", LEGS)
def test_mutated_packets_never_reach_others_in_a_form_they_cannot_read(new_match: MakeMatch, leg: str) -> None:
    """The probe reads what is let through as each SDK does, data included."""
    generator = random.Random(12)
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2, leg)
    data = wire.encode_data(
        {1: ("long", -5), 2: ("string", b"text"), 3: ("vector", (1.0, 2.0)), 4: ("data", {1: ("double", 0.5)})}
    )
    body = wire.encode_packet(Packet(60, sequence=None, targets=(2,), data=data, payload=b"payload"))
    for _ in range(250):
        mutated = bytearray(body)
        for _ in range(generator.randrange(1, 4)):
            mutated[generator.randrange(len(mutated))] = generator.randrange(256)
        sender.send(wire.frame(bytes(mutated)))
    match.mark_from(sender, [receiver])
    survivors = 0
    for packet in receiver.user_packets:
        assert packet.sender == 1
        if packet.op_code < 9000:
            survivors += 1
    assert survivors > 0


# -- TLS and WebSocket ------------------------------------------------------------------------------------------------


def raw_probe(match: Match, name: str = "raw") -> Probe:
    """A TCP connection on which not even an upgrade has been said."""
    return match.probe("raw", name)


@pytest.mark.parametrize(
    "opening",
    [
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",  # a ClientHello of one byte
        b"\x16\x03\x01\xff\xff" + bytes(100),  # a record over 16 KB
        b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",  # no ClientHello
        b"\x15\x03\x03\x00\x02\x02\x28",  # an alert
        b"\x80\x2e\x01\x03\x01" + bytes(40),  # SSL 2
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 20,
        b"\xff" * 20,
        b"POST / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /\r\n\r\n",
    ],
    ids=lambda opening: repr(bytes(opening[:8])),
)
def test_openings_that_lead_nowhere_are_closed(new_match: MakeMatch, bystanders: Bystanders, opening: bytes) -> None:
    match = new_match(1)
    probe = raw_probe(match)
    probe.send(opening)
    closed(probe)


def test_garbage_inside_an_established_tls_connection_ends_it_alone(
    new_match: MakeMatch, bystanders: Bystanders
) -> None:
    match = new_match(2)
    watcher, broken = match.ready_probe(1), match.ready_probe(2, "tls")
    broken.stream.write_raw(b"\x17\x03\x03\x00\x20" + bytes(32), match.driver.now)
    closed(broken)
    match.driver.run_until(lambda: bool(watcher.changes(wire.OP_PLAYER_DISCONNECT)), "told after the grace")


def test_an_ip_address_as_sni_is_answered_like_any_name(new_match: MakeMatch) -> None:
    """C++ and C# send it; a hello made for a name of the same length is given the address instead."""
    import ssl

    match = new_match(1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    assert b"localhost" in hello
    probe = raw_probe(match)
    probe.send(hello.replace(b"localhost", b"127.0.0.1"))
    match.driver.run_until(lambda: bool(probe.records), "the server's answer")
    assert probe.records[0][:1] == b"\x16", f"not a handshake record: {probe.records[0][:10].hex()}"


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (0x81, 0x85, 1003),  # text
        (0x83, 0x85, 1002),  # an opcode that is none
        (0xC2, 0x85, 1002),  # a reserved bit
        (0x82, 0x05, 1002),  # unmasked
        (0x80, 0x85, 1002),  # a continuation of nothing
        (0x09, 0x85, 1002),  # a ping in fragments
        (0x89, 0xFE, 1002),  # a ping over 125 bytes
    ],
)
def test_websocket_frames_that_break_the_rules(
    new_match: MakeMatch, bystanders: Bystanders, first: int, second: int, code: int
) -> None:
    match = new_match(2)
    watcher, broken = match.ready_probe(1), match.ready_probe(2, "ws")
    size = b"\x00\x7e" if second & 0x7F == 126 else b""
    payload = bytes(126) if size else b"hello"
    mask = bytes(4) if second & 0x80 else b""
    broken.stream.write(bytes([first, second]) + size + mask + payload, match.driver.now)
    closed(broken)
    assert broken.frames.close_code == code
    match.driver.run_until(lambda: bool(watcher.changes(wire.OP_PLAYER_DISCONNECT)), "told after the grace")


def test_a_websocket_message_without_end_is_bounded(new_match: MakeMatch, bystanders: Bystanders) -> None:
    match = new_match(1)
    probe = match.ready_probe(1, "ws")
    probe.stream.write(probe.frames.frame(0x2, bytes(1000), final=False), match.driver.now)
    for _ in range(100):
        probe.stream.write(probe.frames.frame(0x0, bytes(1000), final=False), match.driver.now)
        match.driver.step(0.0005)
    closed(probe)
    assert probe.frames.close_code in (1009, None)


@pytest.mark.parametrize("length", [2**64 - 1, 2**64 - 4, 2**63, 2**32])
def test_a_websocket_length_that_would_wrap_is_refused(new_match: MakeMatch, length: int) -> None:
    match = new_match(1)
    probe = match.ready_probe(1, "ws")
    probe.stream.write(probe.frames.frame(0x2, b"x", final=False), match.driver.now)
    probe.stream.write(b"\x80\xff" + length.to_bytes(8, "big") + bytes(4) + b"abcdefgh", match.driver.now)
    closed(probe)
    assert probe.frames.close_code in (1002, 1009)
    assert match.server.process.poll() is None


def test_a_websocket_message_of_gigabytes_is_refused_at_its_head(new_match: MakeMatch) -> None:
    match = new_match(1)
    probe = match.ready_probe(1, "ws")
    probe.stream.write(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), match.driver.now)
    closed(probe)
    assert probe.frames.close_code == 1009


# -- half-open connections --------------------------------------------------------------------------------------------


def test_connections_that_never_log_in_meet_their_deadline(
    server: ServerProcess, driver: Driver, bystanders: Bystanders
) -> None:
    match = Match(server, driver, 1)
    before = server.counters()["pending_deadline"]
    half_frame = wire.frame(wire.encode_packet(Packet(0, payload=wire.encode_login(match.token(1).encode()))))[:-1]
    probes = []
    for leg in LEGS:  # connected, upgraded, and silent
        probes.append(match.probe(leg, f"silent-{leg}"))
        probes.append(match.probe(leg, f"half-{leg}"))
        half = probes[-1].frames.frame(0x2, half_frame)[:-1] if probes[-1].is_websocket else half_frame
        probes[-1].stream.write(half, driver.now)
    for data in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        probes.append(raw_probe(match, f"half-{data[:3].hex()}"))
        probes[-1].send(data)
    driver.run_until(lambda: all(probe.ended for probe in probes), "all closed", deadline=LOGIN_SECONDS + 8)
    assert server.counters()["pending_deadline"] == before + len(probes)
    assert server.status()["counters"]["pending_deadline"] == before + len(probes)
    assert all(probe.received == [] for probe in probes if not probe.is_websocket)
    server.end(match.table)


def test_dripping_bytes_do_not_stretch_the_deadline(
    server: ServerProcess, driver: Driver, bystanders: Bystanders
) -> None:
    match = Match(server, driver, 1)
    before = server.counters()["pending_deadline"]
    drip = match.probe()
    login = wire.frame(wire.encode_packet(Packet(0, payload=wire.encode_login(b"x" * 1000))))
    at = 0

    def dripping() -> bool:
        nonlocal at
        if drip.ended is None and at < len(login) - 1:
            drip.send(login[at : at + 1])
            at += 1
        return drip.ended is not None

    driver.run_until(dripping, "closed", deadline=LOGIN_SECONDS + 8)
    counted(server, driver, "pending_deadline", before)
    server.end(match.table)


def test_a_player_that_has_logged_in_may_be_silent_for_longer_than_the_deadline(
    server: ServerProcess, driver: Driver
) -> None:
    match = Match(server, driver, 2)
    quiet, other = match.logged_in(1), match.ready_probe(2, "wss")
    driver.run_for(LOGIN_SECONDS * 1.3)
    assert quiet.ended is None
    quiet.say_ready()
    driver.run_until(lambda: bool(other.changes(wire.OP_PLAYER_CONNECT)), "told")
    server.end(match.table)


# -- crowds -----------------------------------------------------------------------------------------------------------


def test_thousands_of_connections_from_one_address_keep_no_player_out(
    server: ServerProcess, driver: Driver, bystanders: Bystanders
) -> None:
    before = server.counters()
    crowd: list[socket.socket] = []
    match = Match(server, driver, 2)
    try:
        for number in range(2500):
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setblocking(False)
            one.connect_ex((server.host, server.port))
            crowd.append(one)
            if len(crowd) > 300:
                crowd.pop(0).close()
            if number % 250 == 249:
                driver.step(0)
                bystanders.undisturbed()
        players = match.all_ready(["cpp", "js-wss"])
        players[0].send(60, payload=b"x")
        driver.run_until(lambda: bool(players[1].of_op_code(60)), "the players play")
    finally:
        for one in crowd:
            one.close()
    after = server.counters()
    assert after["pending_gave_way"] > before["pending_gave_way"]
    assert after["connections_accepted"] - before["connections_accepted"] > 1000
    assert server.status()["counters"]["pending_gave_way"] >= after["pending_gave_way"]
    server.end(match.table)


def test_one_address_has_only_so_many_places_and_others_have_theirs(
    server: ServerProcess, driver: Driver, bystanders: Bystanders
) -> None:
    """The whole of 127/8 is this machine's."""
    match = Match(server, driver, 1)
    patient = Probe("patient", server.host, server.port, source_address="127.0.0.9")
    driver.add(patient)
    driver.run_until(lambda: patient.opened, "open")
    before = server.counters()
    crowd = []
    for number in range(80):
        crowd.append(Probe(f"crowd-{number}", server.host, server.port))
        driver.add(crowd[-1])
    driver.run_until(lambda: sum(one.ended is not None for one in crowd) >= 40, "the oldest giving way")
    assert patient.ended is None
    patient.log_in(match.token(1))
    driver.run_until(lambda: bool(patient.login_results()), "LoginResult")
    counted(server, driver, "pending_gave_way", before["pending_gave_way"], 40)
    server.end(match.table)


def test_out_of_file_descriptors(certificate: tuple[str, str], driver: Driver) -> None:
    with ServerProcess(certificate=certificate, open_files=80) as server:
        players = Bystanders(server, driver)
        idle: list[Probe] = []
        for number in range(150):
            idle.append(Probe(f"idle-{number}", server.host, server.port))
            driver.add(idle[-1])
        driver.run_until(
            lambda: server_says(server, driver)["connections_refused_descriptors"] > 0, "no descriptor to be left"
        )
        players.undisturbed()
        # newcomers push out idle connections, so the door is not shut
        match = Match(server, driver, 2)
        newcomers = match.all_ready(["cs", "js-wss"])
        newcomers[0].send(60, payload=b"x")
        driver.run_until(lambda: bool(newcomers[1].of_op_code(60)), "the newcomers play")
        players.undisturbed()
        for probe in idle:
            probe.stream.close()
        driver.run_until(
            lambda: server.control({"do": "status"})["connections"] <= 5, "the idle connections to be gone"
        )
        players.undisturbed()
        log = server.log_path.read_text()
        assert "descriptor" in log or "open files" in log
        assert log.count("no new connection can be taken") < 20, "the log is flooded"
        server.allowed_errors = ("no new connection can be taken",)


def server_says(server: ServerProcess, driver: Driver) -> dict[str, int]:
    """Counters, while the loop goes on."""
    driver.step(0.01)
    return server.counters()


def test_out_of_file_descriptors_with_players_alone(certificate: tuple[str, str], driver: Driver) -> None:
    """Nobody is pushed out who is logged in; the newcomer is closed, and gets in when somebody has left."""
    with ServerProcess(certificate=certificate, open_files=40) as server:
        match = Match(server, driver, 64)
        players: list[Probe] = []
        while len(players) < 64:
            probe = Probe(f"player-{len(players)}", server.host, server.port)
            driver.add(probe)
            driver.run_until(lambda: probe.opened or probe.ended is not None, "an answer")  # noqa: B023
            probe.log_in(match.token(len(players) + 1))
            driver.run_until(lambda: bool(probe.login_results()) or probe.ended is not None, "an answer")  # noqa: B023
            if probe.ended is not None:
                break
            players.append(probe)
        assert 10 < len(players) < 40
        assert all(probe.ended is None for probe in players)
        players[0].stream.close()
        latecomer = match.client("js-ws", len(players) + 1)
        driver.run_until(lambda: latecomer.ready or retry(latecomer), "in, once there is room", deadline=10)
        server.allowed_errors = ("no new connection can be taken",)


def retry(double: object) -> bool:
    """A browser's player reloads the page when the connection is refused."""
    assert isinstance(double, WebSocketDouble)
    if double.stream_ended is not None:
        double.restart()
    return False


# -- slow readers and floods ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", LEGS)
def test_a_slow_reader_is_cut_and_the_others_are_told(new_match: MakeMatch, bystanders: Bystanders, leg: str) -> None:
    match = new_match(3)
    sender, watcher = match.ready_probe(1), match.ready_probe(2)
    slow = match.ready_probe(3, leg, receive_buffer=4096)
    cut = match.server.counters()["peers_cut"]
    slow.stream.pause_reading()
    sent = 0

    def flooded() -> bool:
        nonlocal sent
        if sent < 2000:
            for _ in range(4):
                sender.send_packet(Packet(60, targets=(3,), payload=bytes(12000)))
            sent += 4
        return match.server.counters()["peers_cut"] > cut

    match.driver.run_until(flooded, "the slow reader to be cut", 20, longest_wait=0)
    match.driver.run_until(lambda: bool(watcher.changes(wire.OP_PLAYER_DISCONNECT)), "the others told")
    assert watcher.changes(wire.OP_PLAYER_DISCONNECT)[0].peer_id == 3
    assert match.server.counters(match.table)["dropped_slow"] > 0
    assert "does not read" in match.server.log_path.read_text()
    match.mark_from(sender, [watcher])
    # it may come back
    slow.stream.close()
    assert match.ready_probe(3).ended is None


def test_unreliable_packets_to_a_slow_reader_are_dropped_first(new_match: MakeMatch, bystanders: Bystanders) -> None:
    match = new_match(2)
    sender = match.ready_probe(1)
    slow = match.ready_probe(2, receive_buffer=4096)
    cut = match.server.counters()["peers_cut"]
    slow.stream.pause_reading()
    sent = 0

    def flooded() -> bool:
        nonlocal sent
        for _ in range(4):
            sender.send_packet(Packet(60, targets=(2,), reliable=False, payload=bytes(12000)))
        sent += 4
        return match.server.counters(match.table)["dropped_slow"] >= 20

    match.driver.run_until(flooded, "unreliable packets to be dropped", 20, longest_wait=0)
    for number in range(5):
        sender.send_packet(Packet(61, targets=(2,), payload=bytes([number])))
    match.driver.step(0.01)
    slow.stream.resume_reading()
    match.driver.run_until(lambda: len(slow.of_op_code(61)) == 5, "the reliable ones", deadline=20)
    assert match.server.counters()["peers_cut"] == cut
    assert slow.ended is None
    assert 0 < len(slow.of_op_code(60)) < sent


def test_a_flood_over_tcp_is_slowed_down_without_loss(new_match: MakeMatch, bystanders: Bystanders) -> None:
    match = new_match(2)
    flooder, receiver = match.ready_probe(1), match.ready_probe(2)
    count = 1200
    flooder.send(b"".join(wire.frame(wire.encode_packet(Packet(60, payload=wire.varint(n)))) for n in range(count)))
    bystanders.undisturbed()
    match.driver.run_until(lambda: len(receiver.of_op_code(60)) == count, "every packet", deadline=20)
    numbers = [wire.read_varint(packet.payload or b"", 0)[0] for packet in receiver.of_op_code(60)]
    assert numbers == list(range(count))
    assert match.server.counters(match.table)["streams_paused_rate"] > 0
    assert flooder.ended is None


def test_a_flood_over_a_websocket_is_slowed_down_without_loss(new_match: MakeMatch, bystanders: Bystanders) -> None:
    match = new_match(2)
    flooder, receiver = match.ready_probe(1, "wss"), match.ready_probe(2, "ws")
    count = 1000
    for number in range(count):
        flooder.send_packet(Packet(60, payload=wire.varint(number)))
    bystanders.undisturbed()
    match.driver.run_until(lambda: len(receiver.of_op_code(60)) == count, "every packet", deadline=20)
    numbers = [wire.read_varint(packet.payload or b"", 0)[0] for packet in receiver.of_op_code(60)]
    assert numbers == list(range(count))
    assert match.server.counters(match.table)["streams_paused_rate"] > 0


def test_the_byte_rate_slows_large_packets_down_without_loss(certificate: tuple[str, str], driver: Driver) -> None:
    overrides = {"bytes_per_second": 400_000, "bytes_burst": 100_000, "packet_bytes_max": 16000}
    with ServerProcess(certificate=certificate, overrides=overrides) as server:
        match = Match(server, driver, 2)
        flooder, receiver = match.ready_probe(1, "tls"), match.ready_probe(2)
        for number in range(25):
            flooder.send_packet(Packet(60, payload=bytes([number]) * 10000))
        driver.run_until(lambda: len(receiver.of_op_code(60)) == 25, "every packet", deadline=20)
        assert [(packet.payload or b"")[0] for packet in receiver.of_op_code(60)] == list(range(25))
        assert server.counters(match.table)["streams_paused_rate"] > 0


def test_a_flood_that_ends_with_an_orderly_close_is_told_in_full_before_the_departure(
    new_match: MakeMatch, bystanders: Bystanders
) -> None:
    match = new_match(2)
    flooder, receiver = match.ready_probe(1), match.ready_probe(2)
    count = 900
    flooder.send(b"".join(wire.frame(wire.encode_packet(Packet(60, payload=wire.varint(n)))) for n in range(count)))
    flooder.stream.shut_writing()
    match.driver.run_until(lambda: bool(receiver.changes(wire.OP_PLAYER_DISCONNECT)), "told", deadline=20)
    assert len(receiver.of_op_code(60)) == count
    assert receiver.received[-1].op_code == wire.OP_PLAYER_DISCONNECT


def test_a_flood_over_udp_is_dropped_and_counted(new_match: MakeMatch, bystanders: Bystanders) -> None:
    match = new_match(2)
    flooder, receiver = match.fast_probe(1), match.ready_probe(2)
    frame = wire.frame(wire.encode_packet(Packet(60, payload=b"x")))
    for _ in range(40):
        flooder.send_datagram(frame * 100)
    match.until_counted("dropped_rate", 1)
    bystanders.undisturbed()
    flooder.stream.write(wire.frame(wire.encode_packet(Packet(61))), match.driver.now)
    match.driver.run_until(lambda: bool(receiver.of_op_code(61)), "its stream goes on", deadline=20)
    assert 0 < len(receiver.of_op_code(60)) < 4000


def test_a_flood_of_udp_logins_harms_nobody(new_match: MakeMatch, bystanders: Bystanders) -> None:
    match = new_match(1)
    stranger, player = match.probe(), match.logged_in(1)
    before = match.server.counters()
    for _ in range(20):
        for _ in range(100):
            stranger.log_in_fast("no such token")
        match.driver.step(0.001)
    player.log_in_fast(match.token(1))
    match.driver.run_until(lambda: repeat_until_acknowledged(player, match.token(1)), "the player's own")
    after = match.server.counters()
    refused = after["udp_logins_refused"] + after["dropped_login_rate"]
    assert refused - before["udp_logins_refused"] - before["dropped_login_rate"] > 0
    assert stranger.datagrams_received == []


def repeat_until_acknowledged(probe: Probe, token: str) -> bool:
    """What every client does: try again."""
    if len(probe.login_results()) > 1:
        return True
    probe.log_in_fast(token)
    return False


def test_what_is_held_for_a_peer_that_never_gets_ready_is_bounded(new_match: MakeMatch, bystanders: Bystanders) -> None:
    match = new_match(2)
    sender, waiting = match.ready_probe(1), match.logged_in(2)
    for _ in range(40):
        sender.send_packet(Packet(60, payload=bytes(5000)))
    match.until_counted("dropped_held_full", 1)
    assert waiting.ended is None, "nobody counts on it yet"
    waiting.say_ready()
    match.mark_from(sender, [waiting])
    assert 0 < len(waiting.of_op_code(60)) < 40


# -- UDP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x00", b"\x01", b"\x00\x01\x02\x03", b"\xff", b"\x05\x08", b"\x80\x80\x80\x80\x80\x01", bytes(1472)],
    ids=lambda datagram: datagram[:6].hex() or "empty",
)
def test_datagrams_that_are_nothing(new_match: MakeMatch, datagram: bytes) -> None:
    match = new_match(2)
    stranger, player, watcher = match.probe(), match.fast_probe(1), match.ready_probe(2)
    before = match.server.counters()["datagrams_in"]
    stranger.send_datagram(datagram)
    player.send_datagram(datagram)
    counted(match.server, match.driver, "datagrams_in", before, 2)
    player.send_fast(Packet(60, payload=b"x"))
    match.driver.run_until(lambda: bool(watcher.of_op_code(60)), "the next packet")
    assert stranger.datagrams_received == []


def test_a_datagram_larger_than_any_client_sends_is_dropped_and_counted(new_match: MakeMatch) -> None:
    match = new_match(2)
    player, watcher = match.fast_probe(1), match.ready_probe(2)
    player.send_fast(Packet(60, payload=bytes(9000)))
    match.until_counted("dropped_oversize", 1)
    player.send_fast(Packet(61, payload=b"x"))
    match.driver.run_until(lambda: bool(watcher.of_op_code(61)), "the next packet")
    assert not watcher.of_op_code(60)


def test_a_client_whose_udp_socket_is_gone_harms_nobody(new_match: MakeMatch, bystanders: Bystanders) -> None:
    """The kernel answers the server's datagrams with "port unreachable"."""
    match = new_match(3)
    sender, gone, other = match.fast_probe(1), match.fast_probe(2), match.fast_probe(3)
    assert gone.datagrams is not None
    gone.datagrams.close()
    for number in range(50):
        sender.send_fast(Packet(60, payload=bytes([number])))
        match.driver.step(0.0005)
    match.driver.run_until(
        lambda: len([one for one in other.received_fast if one.op_code == 60]) == 50, "the other gets its packets"
    )
    assert gone.ended is None


def test_a_udp_login_from_a_players_address_with_a_wrong_token_changes_nothing(new_match: MakeMatch) -> None:
    match = new_match(2)
    player, other = match.fast_probe(1), match.fast_probe(2)
    player.log_in_fast("wrong token")
    player.send_fast(Packet(60, payload=b"x"))
    match.driver.run_until(lambda: any(one.op_code == 60 for one in other.received_fast), "still bound")


def test_two_players_cannot_share_an_address_the_newer_has_it(new_match: MakeMatch) -> None:
    match = new_match(3)
    first, second, watcher = match.fast_probe(1), match.logged_in(2), match.ready_probe(3)
    first.log_in_fast(match.token(2))  # the second's login, from the first's address
    match.driver.run_until(lambda: len(second.login_results()) == 2, "acknowledged to the second")
    first.send_fast(Packet(60, payload=b"x"))
    match.driver.run_until(lambda: bool(watcher.of_op_code(60)), "the packet")
    assert watcher.of_op_code(60)[0].sender == 2
    # the first goes on by TCP
    watcher.send_packet(Packet(61, targets=(1,), reliable=False, payload=b"x"))
    match.driver.run_until(lambda: bool(first.of_op_code(61)), "by TCP")


# -- start and end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def test_a_port_in_use_is_named_and_ends_with_a_status(kind: socket.SocketKind) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        server = ServerProcess(port=port)
        try:
            server.launch()
            assert server.wait() not in (0, None)
            assert str(port) in server.log()
            assert "in use" in server.log()
            assert "Traceback" not in server.log()
            assert not os.path.exists(server.control_path)
        finally:
            server.dispose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_server_in_good_order(
    certificate: tuple[str, str], driver: Driver, number: signal.Signals
) -> None:
    with ServerProcess(certificate=certificate) as server:
        match = Match(server, driver, 7)
        probes = [match.ready_probe(index + 1, leg) for index, leg in enumerate(LEGS)]
        doubles = [match.client(kind, index + 5) for index, kind in enumerate(("cpp", "js-wss"))]
        driver.run_until(lambda: all(double.ready for double in doubles), "ready")
        pending = match.probe()
        os.kill(server.process.pid, number)
        driver.run_until(lambda: all(probe.ended for probe in [*probes, pending]), "all told")
        assert [probe.ended for probe in probes] == ["fin", "close_notify", "fin", "close_notify"]
        assert [probe.frames.close_code for probe in probes[2:]] == [1001, 1001]
        driver.run_until(lambda: doubles[0].events[-1].kind == "not ready", "OnReady(false)")
        assert server.wait() == 0
        assert not os.path.exists(server.control_path)
        assert server.errors() == []
        match.no_violations()


def test_a_server_ends_while_a_slow_reader_does_not_read(certificate: tuple[str, str], driver: Driver) -> None:
    with ServerProcess(certificate=certificate) as server:
        match = Match(server, driver, 2)
        sender = match.ready_probe(1)
        slow = match.ready_probe(2, "tls", receive_buffer=4096)
        slow.stream.pause_reading()
        for _ in range(40):
            sender.send_packet(Packet(60, payload=bytes(15000)))
        match.until_counted("packets_in", 40)
        assert server.terminate() == 0


def test_the_same_port_can_be_served_again_at_once(certificate: tuple[str, str], driver: Driver) -> None:
    port = free_port()
    for _ in range(2):
        with ServerProcess(certificate=certificate, port=port) as server:
            match = Match(server, driver, 2)
            match.all_ready(["cpp", "js-wss"])
            for double in match.doubles:
                double.stop()


def test_a_self_made_certificate_serves_every_kind_of_client(driver: Driver) -> None:
    with ServerProcess() as server:
        match = Match(server, driver, 5)
        # the first of them may have to wait until the certificate has been made
        match.all_ready(["cpp", "cs", "js-wss", "cs-wss", "xbox-wss"])
        match.no_violations()
        state = Path(server.directory / "state")
        keys = [path for path in state.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
        assert keys
        assert all(path.stat().st_mode & 0o077 == 0 for path in keys)


def test_a_second_server_does_not_take_the_control_socket_of_the_first(certificate: tuple[str, str]) -> None:
    with ServerProcess(certificate=certificate) as first, pytest.raises(AssertionError, match="ended with"):
        second = ServerProcess(certificate=certificate)
        second.command[second.command.index("--control") + 1] = first.control_path
        try:
            second.start()
        finally:
            assert "Traceback" not in second.log()
            second.dispose()
            assert first.create(1).seats


def test_status_shows_every_counter_to_the_operator(server: ServerProcess) -> None:
    counters = server.status()["counters"]
    expected = {
        *("packets_in", "packets_out", "packets_held", "dropped_malformed", "dropped_oversize", "dropped_op_code"),
        *("dropped_stale", "dropped_rate", "dropped_slow", "dropped_unknown_address", "pending_deadline"),
        *("pending_gave_way", "peers_cut", "logins", "logins_refused", "udp_logins_refused"),
        *("connections_refused_descriptors", "connections_accepted"),
    }
    assert expected <= counters.keys()
    assert all(isinstance(value, int) and value >= 0 for value in counters.values())


def test_the_log_is_not_flooded(server: ServerProcess, driver: Driver) -> None:
    """At most a line per kind in five seconds, whatever is thrown at the door."""
    lines = len(server.log_path.read_text().splitlines())
    for number in range(150):
        probe = Probe(f"noise-{number}", server.host, server.port)
        driver.add(probe)
        driver.run_until(lambda: probe.opened, "open")  # noqa: B023
        probe.send(b"\xff" * 40)
        closed(probe)
    assert len(server.log_path.read_text().splitlines()) - lines < 20


def test_descriptors_do_not_leak(server: ServerProcess, driver: Driver) -> None:
    """After all that the server holds what it held before."""

    def open_descriptors() -> int:
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    driver.run_until(lambda: server.control({"do": "status"})["connections"] == 0, "quiet", deadline=10)
    before = open_descriptors()
    for _ in range(3):
        match = Match(server, driver, 4)
        match.all_ready(["cpp", "cs", "js-wss", "cs-wss"])
        server.end(match.table)
        for double in match.doubles:
            double.dispose()
    driver.run_until(lambda: server.control({"do": "status"})["connections"] == 0, "quiet again")
    driver.run_until(lambda: open_descriptors() <= before, "no descriptor more than before")

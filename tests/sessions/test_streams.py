"""Byte streams as networks make them: cut anywhere, read late, mixed with control frames; and a loop that rests."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterator

import pytest

from tests.doubles.driver import Driver
from tests.doubles.legs import browser_context
from tests.sessions.bystanders import Bystanders
from tests.sessions.match import MakeMatch, Match
from tests.support import wire
from tests.support.server import ServerProcess
from tests.support.wire import Packet

LEGS = ("tcp", "tls", "ws", "wss")


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_stream_may_be_cut_anywhere(new_match: MakeMatch, leg: str, seed: int) -> None:
    generator = random.Random(f"{leg}/{seed}")
    match = new_match(2)
    sender, receiver = match.ready_probe(1, leg), match.ready_probe(2)
    sizes = [generator.choice((0, 1, 50, 127, 128, 500, 16000 - 20)) for _ in range(60)]
    stream = b""
    for number, size in enumerate(sizes):
        frame = wire.frame(wire.encode_packet(Packet(60 + number, payload=bytes(size) or None)))
        if sender.is_websocket:
            stream += sender.frames.frame(0x2, frame)
            if number % 7 == 0:
                stream += sender.frames.frame(0x9, b"ping %d" % number)
        else:
            stream += frame
    at = 0
    while at < len(stream):
        size = generator.choice((1, 2, 7, 100, 5000, 16384))
        sender.stream.write(stream[at : at + size], match.driver.now)
        at += size
        if generator.random() < 0.3:
            match.driver.step(0.0005)
    match.driver.run_until(lambda: len(receiver.user_packets) == len(sizes), "every packet")
    assert [packet.op_code for packet in receiver.user_packets] == list(range(60, 60 + len(sizes)))
    assert [len(packet.payload or b"") for packet in receiver.user_packets] == sizes
    if sender.is_websocket:
        match.driver.run_until(lambda: len(sender.frames.pongs) == 9, "a pong for each ping")


@pytest.mark.parametrize("leg", ["ws", "wss"])
def test_an_upgrade_may_come_in_single_bytes(new_match: MakeMatch, leg: str) -> None:
    match = new_match(1)
    probe = match.probe("tls" if leg == "wss" else "tcp")
    probe.leg = leg
    for byte in probe.frames.request():
        probe.stream.write(bytes([byte]), match.driver.now)
        match.driver.step(0)
    match.driver.run_until(lambda: probe.opened, "the upgrade")
    probe.log_in(match.token(1))
    match.driver.run_until(lambda: bool(probe.login_results()), "LoginResult")


def test_a_tls_hello_may_come_in_single_bytes(new_match: MakeMatch) -> None:
    match = new_match(1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = browser_context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    probe = match.probe("raw")
    for byte in outgoing.read():
        probe.send(bytes([byte]))
        match.driver.step(0)
    match.driver.run_until(lambda: bool(probe.records), "the server's hello")
    assert probe.records[0][:1] == b"\x16"


@pytest.mark.parametrize("leg", LEGS)
def test_a_reader_that_pauses_gets_everything_whole_and_in_order(new_match: MakeMatch, leg: str) -> None:
    match = new_match(3)
    sender = match.ready_probe(1)
    prompt = match.ready_probe(3)
    late = match.ready_probe(2, leg, receive_buffer=16384)
    late.stream.pause_reading()
    sent = 0

    def backlog() -> bool:
        """Unreliable packets are the first to be dropped: then the server has something to hold back. Never more at
        once than somebody else has read, or a slow machine would bring it from nothing to far too much."""
        nonlocal sent
        if len(prompt.of_op_code(60)) < sent:
            return False
        for _ in range(20):
            sender.send_packet(Packet(60, payload=wire.varint(sent) + bytes(3000)))
            sent += 1
        sender.send_packet(Packet(61, reliable=False, payload=b"x"))
        return match.server.counters(match.table)["dropped_slow"] > 0

    match.driver.run_until(backlog, "the server to hold something back", 20, longest_wait=0)
    late.stream.resume_reading()
    match.driver.run_until(lambda: len(late.of_op_code(60)) == sent, "every reliable packet", deadline=20)
    numbers = [wire.read_varint(packet.payload or b"", 0)[0] for packet in late.of_op_code(60)]
    assert numbers == list(range(sent))
    if leg == "tls":
        assert all(wire.split_frames(record)[1] == b"" for record in late.records)
    if late.is_websocket:
        assert all(len(wire.datagram_frames(message)) == 1 for message in late.messages)


@pytest.mark.parametrize("leg", ["ws", "wss"])
def test_the_upgrade_and_the_login_in_one_write(new_match: MakeMatch, leg: str) -> None:
    match = new_match(1)
    probe = match.probe("tls" if leg == "wss" else "tcp")
    probe.leg = leg
    login = wire.frame(wire.encode_packet(Packet(0, payload=wire.encode_login(match.token(1).encode()))))
    probe.stream.write(probe.frames.request() + probe.frames.frame(0x2, login), match.driver.now)
    match.driver.run_until(lambda: bool(probe.login_results()), "LoginResult")


@pytest.mark.parametrize(
    "connection", ["Upgrade", "keep-alive, Upgrade", "upgrade", "Keep-Alive,Upgrade"], ids=lambda text: text
)
def test_upgrade_headers_as_browsers_spell_them(new_match: MakeMatch, connection: str) -> None:
    match = new_match(1)
    probe = match.probe("tcp")
    probe.leg = "ws"
    request = probe.frames.request().replace(b"Connection: Upgrade", b"Connection: " + connection.encode())
    probe.stream.write(request.replace(b"Upgrade: websocket", b"Upgrade: WebSocket"), match.driver.now)
    match.driver.run_until(lambda: probe.opened, "the upgrade")
    probe.log_in(match.token(1))
    match.driver.run_until(lambda: bool(probe.login_results()), "LoginResult")


@pytest.mark.parametrize("leg", LEGS)
def test_packets_of_exactly_the_limit_pass_and_one_byte_more_does_not(new_match: MakeMatch, leg: str) -> None:
    """16,000 bytes with the length prefix as relayed: prefix 2, opCode 2, sender 2, payload head 3."""
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2, leg)
    for size in (16000 - 9, 16000 - 8):
        sender.send_packet(Packet(60, payload=bytes(size)))
    match.mark_from(sender, [receiver])
    assert [len(packet.payload or b"") for packet in receiver.of_op_code(60)] == [16000 - 9]
    assert match.server.counters(match.table)["dropped_oversize"] == 1


@pytest.mark.parametrize("leg", LEGS)
def test_oversize_packets_are_skipped_on_every_leg(new_match: MakeMatch, leg: str) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1, leg), match.ready_probe(2)
    for number in range(3):
        sender.send_packet(Packet(60, payload=bytes(40_000)))
        sender.send_packet(Packet(61 + number, payload=b"x"))
    match.driver.run_until(lambda: len(receiver.user_packets) == 3, "the others")
    assert [packet.op_code for packet in receiver.user_packets] == [61, 62, 63]
    assert match.server.counters(match.table)["dropped_oversize"] == 3


def test_more_datagrams_in_one_tick_than_the_server_gathers(new_match: MakeMatch) -> None:
    match = new_match(20)
    probes = [match.fast_probe(peer_id) for peer_id in range(1, 21)]
    count = 60
    for number in range(count):
        probes[0].send_fast(Packet(60, payload=bytes([number]) + bytes(900)))
    match.driver.run_until(
        lambda: all(sum(one.op_code == 60 for one in probe.received_fast) == count for probe in probes[1:]),
        "every packet at everyone",
    )
    for probe in probes[1:]:
        numbers = [(packet.payload or b"")[0] for packet in probe.received_fast if packet.op_code == 60]
        assert numbers == list(range(count))


# -- with a tick ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ticking_server(certificate: tuple[str, str]) -> Iterator[ServerProcess]:
    """A server that gathers its output for 5 ms."""
    with ServerProcess(certificate=certificate, arguments=("--tick", "5")) as server:
        yield server


def test_a_server_with_a_tick_serves_everyone(ticking_server: ServerProcess, driver: Driver) -> None:
    players = Bystanders(ticking_server, driver)
    for _ in range(5):
        players.undisturbed()
    ticking_server.end(players.match.table)


def test_a_tick_gathers_what_comes_into_one_datagram(ticking_server: ServerProcess, driver: Driver) -> None:
    match = Match(ticking_server, driver, 2)
    sender, receiver = match.fast_probe(1), match.fast_probe(2)
    receiver.datagrams_received.clear()
    for number in range(40):
        sender.send_fast(Packet(60, payload=bytes([number])))
    driver.run_until(lambda: sum(one.op_code == 60 for one in receiver.received_fast) == 40, "all")
    assert [(one.payload or b"")[0] for one in receiver.received_fast if one.op_code == 60] == list(range(40))
    assert len(receiver.datagrams_received) < 20
    ticking_server.end(match.table)


# -- a loop that rests ------------------------------------------------------------------------------------------------

RESTING_TICKS = 400  # in 0.3 s; a loop that spins makes many thousands


def ticks_at_rest(server: ServerProcess, driver: Driver) -> int:
    """Turns of the server's loop in 0.3 s."""
    before = server.control({"do": "status"})["loop"]["ticks"]
    driver.run_for(0.3)
    after: int = server.control({"do": "status"})["loop"]["ticks"]
    return after - int(before)


@pytest.mark.parametrize(
    "state", ["idle", "pending", "half hello", "http read, not closed", "half closed", "no udp", "slow", "absent"]
)
def test_the_loop_rests(new_match: MakeMatch, state: str) -> None:
    match = new_match(2)
    driver, server = match.driver, match.server
    player = match.fast_probe(1)
    if state == "pending":
        match.probe("ws")
    elif state == "half hello":
        match.probe("raw").send(b"\x16\x03\x01\x02\x00\x01")
    elif state == "http read, not closed":
        visitor = match.probe("raw")
        visitor.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        driver.run_until(lambda: bool(visitor.records), "the answer")
    elif state == "half closed":
        match.probe("tls").stream.shut_writing()
    elif state == "no udp":
        gone = match.fast_probe(2)
        assert gone.datagrams is not None
        gone.datagrams.close()
        player.send_fast(Packet(60, payload=b"x"))
    elif state == "slow":
        slow = match.ready_probe(2, "tls", receive_buffer=4096)
        slow.stream.pause_reading()

        def stuck() -> bool:
            for _ in range(20):
                player.send_packet(Packet(60, reliable=False, payload=bytes(12000)))
            return bool(server.counters(match.table)["dropped_slow"])

        driver.run_until(stuck, "output to wait", 20, longest_wait=0)
    elif state == "absent":
        lost = match.ready_probe(2)
        lost.stream.reset()
    assert ticks_at_rest(server, driver) < RESTING_TICKS

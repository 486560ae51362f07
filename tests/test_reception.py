"""The door: what a connection speaks, who it is, how many may wait and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.relay.floor import UPGRADE, Floor, Guest, login
from tests.relay.rig import Line, masked, message, packet
from tests.support import wire

Floors = Callable[..., Floor]


@pytest.fixture
def floors() -> Iterator[Floors]:
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(Floor(**limits))


@pytest.fixture
def floor(floors: Floors) -> Floor:
    return floors()


def open_lines(lines: list[Line]) -> list[int]:
    return [number for number, line in enumerate(lines) if line.stream.fd >= 0]


# how many may wait


def test_pending_per_address_the_oldest_gives_way(floors: Floors) -> None:
    floor = floors(pending_per_address_max=3)
    lines = [floor.dial("192.0.2.1") for _ in range(3)]
    other = floor.dial("192.0.2.2")
    assert open_lines(lines) == [0, 1, 2]
    lines.append(floor.dial("192.0.2.1"))
    assert open_lines(lines) == [1, 2, 3]
    lines.append(floor.dial("192.0.2.1"))
    assert open_lines(lines) == [2, 3, 4]
    assert other.stream.fd >= 0
    assert floor.reception.counters["pending_gave_way"] == 2
    assert floor.reception.pending == 4


def test_pending_in_all_the_oldest_gives_way(floors: Floors) -> None:
    floor = floors(pending_connections_max=5, pending_per_address_max=2)
    lines = [floor.dial(f"192.0.2.{number}") for number in range(5)]
    lines.append(floor.dial("192.0.2.200"))
    assert open_lines(lines) == [1, 2, 3, 4, 5]
    lines.append(floor.dial("192.0.2.1"))
    assert open_lines(lines) == [2, 3, 4, 5, 6]
    assert floor.reception.pending == 5


def test_an_address_at_its_limit_while_the_house_is_full(floors: Floors) -> None:
    floor = floors(pending_connections_max=1, pending_per_address_max=1)
    lines = [floor.dial("192.0.2.1") for _ in range(10)]
    assert open_lines(lines) == [9]
    assert floor.reception.pending == 1
    assert floor.reception.counters["pending_gave_way"] == 9


def test_who_has_logged_in_is_not_in_the_way(floors: Floors) -> None:
    floor = floors(pending_per_address_max=2)
    players = floor.create("a", "b", "c", "d").players
    guests = [floor.seat(player, address="192.0.2.1") for player in players]
    assert floor.reception.pending == 0
    for _ in range(5):
        floor.dial("192.0.2.1")
    assert all(guest.line.stream.fd >= 0 for guest in guests)
    assert floor.reception.pending == 2


def test_a_crowd_keeps_no_player_out(floors: Floors) -> None:
    floor = floors(pending_connections_max=8, pending_per_address_max=8)
    red = floor.create().players[0]
    for _ in range(50):
        floor.dial("192.0.2.66")
    guest = Guest(floor, red, floor.dial("192.0.2.66"))
    guest.put(login(red.access_token))
    assert [each.op_code for each in guest.packets()] == [-1]


def test_make_room(floors: Floors) -> None:
    floor = floors()
    assert not floor.reception.make_room()
    first, second = floor.dial(), floor.dial()
    assert floor.reception.make_room()
    assert (first.stream.fd < 0, second.stream.fd >= 0) == (True, True)
    assert floor.reception.make_room()
    assert not floor.reception.make_room()
    assert floor.reception.pending == 0


# how long


def test_the_deadline_of_a_login(floors: Floors) -> None:
    floor = floors(login_seconds=10.0)
    first = floor.dial()
    floor.advance(4.0)
    second = floor.dial()
    assert floor.reception.next_timer() == floor.now + 6.0
    floor.advance(5.5)
    assert first.stream.fd >= 0
    floor.advance(0.5)
    assert (first.stream.fd < 0, second.stream.fd >= 0) == (True, True)
    floor.advance(4.0)
    assert second.stream.fd < 0
    assert floor.reception.counters["pending_deadline"] == 2
    assert floor.reception.next_timer() is None


@pytest.mark.parametrize(
    "start",
    [b"", b"\x20", login("x" * 40)[:20], b"GET / HT", UPGRADE, UPGRADE + b"\x82", b"\x16"],
    ids=["nothing", "prefix", "half a login", "half a head", "upgrade", "upgrade and more", "hello"],
)
def test_half_a_beginning_is_cut_off_at_the_deadline(floors: Floors, start: bytes) -> None:
    floor = floors(login_seconds=10.0)
    line = floor.dial()
    if start:
        line.put(start)
    assert line.stream.fd >= 0
    floor.advance(9.5)
    line.put(b"")
    assert line.stream.fd >= 0
    floor.advance(0.5)
    assert line.stream.fd < 0


def test_trickling_does_not_move_the_deadline(floors: Floors) -> None:
    floor = floors(login_seconds=10.0)
    line = floor.dial()
    for byte in login("x" * 40)[:20]:
        line.put(bytes((byte,)))
        floor.advance(0.5)
    assert line.stream.fd < 0


def test_an_answered_request_does_not_hold_its_connection_for_ever(floors: Floors) -> None:
    floor = floors(login_seconds=10.0)
    line = floor.dial()
    line.put(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    floor.end_tick()
    assert b"ok" in line.read()
    floor.advance(10.0)
    assert line.stream.fd < 0


def test_a_login_ends_the_waiting(floors: Floors) -> None:
    floor = floors(login_seconds=10.0)
    guest = floor.seat(floor.create().players[0], ready=False)
    floor.advance(1000.0)
    assert guest.line.stream.fd >= 0
    assert floor.reception.counters["pending_deadline"] == 0


# who it is


def refused(floor: Floor, line: Line, *frames: bytes) -> bytes:
    """Sends, and sees the connection end without a word."""
    line.put(*frames)
    floor.end_tick()
    data = line.read()
    assert line.stream.fd < 0
    assert line.ended
    return data


def test_a_wrong_token_is_refused_without_a_word(floor: Floor) -> None:
    red = floor.create().players[0]
    wrong = red.access_token[:-1] + ("A" if red.access_token[-1] != "A" else "B")
    for number, token in enumerate((wrong, "", "x", "x" * 1024, red.access_token + "x", "\udcff"), 1):
        raw = token.encode("utf-8", "surrogateescape")
        assert refused(floor, floor.dial(), login(raw)) == b""
        assert floor.reception.counters["logins_refused"] == number
    assert refused(floor, floor.dial(websocket=True), login(wrong)) == b"\x88\x02\x03\xe9"
    assert floor.reception.pending == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x0a",
        b"\x0a\x05ab",
        b"\x10\x02",
        b"\x12\x00",
        wire.encode_login(b"x" * 1025),
        b"\xff" * 30,
        b"\x0a\x01a\x0a\x01b\x3b",
    ],
    ids=bytes.hex,
)
def test_a_login_that_is_none(floor: Floor, body: bytes) -> None:
    assert refused(floor, floor.dial(), packet(0, payload=body)) == b""
    post = floor.post()
    post.send(packet(0, payload=body))
    assert floor.reception.counters["udp_logins_refused"] == 1
    assert floor.reception.counters["closed_error"] == 0
    assert post.quiet()


@pytest.mark.parametrize(
    "frame",
    [b"\x02\x08\x00", packet(0, data=b"\x00"), packet(0, payload=b""), b"\x06\x08\x00\x72\x02\x00\x02"],
    ids=["no payload", "slot 0", "empty payload", "slot 0, value"],
)
def test_a_login_packet_that_holds_no_login(floor: Floor, frame: bytes) -> None:
    assert refused(floor, floor.dial(), frame) == b""
    floor.post().send(frame)
    counters = floor.reception.counters
    assert counters["logins_refused"] == 1
    assert counters["udp_logins_refused"] == 1
    assert counters["closed_error"] == 0


def test_login_fields_that_clients_leave_in_disorder(floor: Floor) -> None:
    """C++ writes field 6 and even a sequence number from uninitialised memory, and empty data."""
    players = floor.create("a", "b", "c").players
    for player, fields in zip(
        players,
        (
            {"reliable": False, "data": b""},
            {"reliable": True, "sequence": -77, "data": b""},
            {"sequence": 12345, "request_id": 4, "targets": (1, 2), "sender": 9},
        ),
        strict=True,
    ):
        line = floor.dial()
        line.put(packet(0, payload=wire.encode_login(player.access_token.encode()), **fields))
        floor.end_tick()
        assert line.op_codes() == [-1]


@pytest.mark.parametrize("version", [0, 1, 2, 3, 2**31 - 1])
def test_client_versions_are_not_judged(floor: Floor, version: int) -> None:
    red = floor.create().players[0]
    line = floor.dial()
    line.put(packet(0, payload=wire.encode_login(red.access_token.encode(), version)))
    floor.end_tick()
    assert line.op_codes() == [-1]


@pytest.mark.parametrize("op_code", [1, 5, -1, -2, -5, -7, -101, 2**31 - 1])
def test_a_first_packet_that_is_no_login(floor: Floor, op_code: int) -> None:
    red = floor.create().players[0]
    assert refused(floor, floor.dial(), packet(op_code), login(red.access_token)) == b""
    assert floor.reception.counters["closed_protocol"] == 1
    assert red.stream is None


def test_a_second_login_on_a_connection_is_no_login(floor: Floor) -> None:
    players = floor.create().players
    guest = floor.seat(players[0])
    guest.put(login(players[1].access_token), login(players[0].access_token), login("nonsense"))
    assert players[1].stream is None
    assert guest.line.stream.fd >= 0
    assert guest.packets() == []
    assert floor.drops() == {"op_code": 3}


def test_ready_with_malformed_data_does_not_end_the_connection(floor: Floor) -> None:
    red = floor.create().players[0]
    guest = floor.seat(red, ready=False)
    guest.put(b"\x06\x08\x0d\x72\x02\x00\x02")
    assert guest.line.stream.fd >= 0
    guest.ready()
    assert red.member.is_open


def test_a_flood_of_logins_by_datagram_is_taken_in_portions(floor: Floor) -> None:
    post = floor.seat(floor.create().players[0]).open_datagrams()  # a player: a stranger has one try a datagram
    for _ in range(40):
        post.socket.send(login("x" * 40) * 10)
    floor.take_datagrams(40)
    counts = floor.counts()
    refused_count = floor.reception.counters["udp_logins_refused"]
    assert refused_count + counts.get("dropped_login_rate", 0) == 400
    assert refused_count >= 10
    assert "dropped_login_rate" in counts or refused_count == 400


def test_a_stranger_has_one_try_a_datagram(floor: Floor) -> None:
    """Clients send one login a datagram; many in one would use up what a tick has for all."""
    post = floor.post()
    post.socket.send(login("x" * 40) * 10)
    floor.take_datagrams(1)
    assert floor.reception.counters["udp_logins_refused"] == 1
    assert floor.counts()["dropped_unknown_address"] == 1


def test_a_login_by_datagram_with_another_player_s_token(floor: Floor) -> None:
    """It opens datagrams for the player whose token it is, and for nobody else."""
    players = floor.create().players
    red, blue = floor.seat(players[0]), floor.seat(players[1])
    red.packets()
    red.open_datagrams(players[1].reconnect_token)
    assert not players[0].member.udp_bound
    assert players[1].member.udp_bound
    assert [each.op_code for each in blue.packets()] == [-1]
    assert red.packets() == []


# what it speaks


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET / HTTP/1.1", 200, b"gsrt "),
        ("GET /healthz HTTP/1.1", 200, b"ok\n"),
        ("GET /healthz?x=1 HTTP/1.0", 200, b"ok\n"),
        ("HEAD /healthz HTTP/1.1", 200, b""),
        ("GET /nothing HTTP/1.1", 404, b"there is"),
        ("POST / HTTP/1.1", 405, b"only GET"),
        ("DELETE /healthz HTTP/1.1", 405, b"only GET"),
        ("GET / HTTP/2.0", 400, b""),
        ("GET  / HTTP/1.1", 400, b""),
        ("GET /\x01 HTTP/1.1", 400, b""),
    ],
)
def test_pages(floor: Floor, request_line: str, status: int, body: bytes) -> None:
    line = floor.dial()
    line.put(request_line.encode() + b"\r\nHost: x\r\n\r\n")
    floor.end_tick()
    head, _, text = line.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert text.startswith(body)
    if request_line.startswith("HEAD"):
        assert text == b""
        assert b"Content-Length: 3" in head
    assert line.ended
    assert floor.reception.counters["closed_error"] == 0


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (UPGRADE.replace(b"Version: 13", b"Version: 8"), 426),
        (UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), 400),
        (UPGRADE.replace(b"Connection: Upgrade", b"Connection: close"), 400),
        (UPGRADE.replace(b"GET", b"POST"), 400),
        (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    ],
    ids=["version", "key", "connection", "method", "http"],
)
def test_upgrades_that_are_refused(floor: Floor, head: bytes, status: int) -> None:
    red = floor.create().players[0]
    line = floor.dial()
    line.put(head + message(login(red.access_token)))
    floor.end_tick()
    assert line.read().startswith(b"HTTP/1.1 %d " % status)
    assert line.ended
    assert red.stream is None


def test_the_upgrade_and_the_first_message_together(floor: Floor) -> None:
    red = floor.create().players[0]
    line = floor.dial()
    line.put(UPGRADE + message(login(red.access_token)) + masked(9, b"!"))
    floor.end_tick()
    answer = line.read()
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # the example of RFC 6455 section 1.3
    assert rest[0] == 0x82
    assert red.stream is line.stream


@pytest.mark.parametrize("first", [b"\x00", b"\x01", b"\xff" * 5, b"SSH-2.0-x\r\n", b"\x05\x09", b"get / http", b"{}"])
def test_nonsense_is_shown_out(floor: Floor, first: bytes) -> None:
    line = floor.dial()
    line.put(first + bytes(20))
    assert line.stream.fd < 0
    assert floor.reception.counters["closed_protocol"] == 1
    assert floor.reception.pending == 0


def test_tls_without_a_certificate(floor: Floor) -> None:
    line = floor.dial()
    line.put(b"\x16\x03\x01\x00\x05hello")
    assert line.stream.fd < 0
    assert floor.reception.counters["tls_unavailable"] == 1


def test_tls_waits_while_a_certificate_is_being_made(floor: Floor) -> None:
    floor.reception.tls_coming = True
    line = floor.dial()
    line.put(b"\x16\x03\x01\x00\x05hello")
    for _ in range(5):
        floor.relay.resume(floor.now)
    assert line.stream.fd >= 0
    floor.reception.tls_coming = False  # and there is none in the end
    floor.relay.resume(floor.now)
    assert line.stream.fd < 0
    assert floor.reception.counters["tls_unavailable"] == 1


def test_waiting_for_a_certificate_has_its_deadline_too(floors: Floors) -> None:
    floor = floors(login_seconds=10.0)
    floor.reception.tls_coming = True
    line = floor.dial()
    line.put(b"\x16\x03\x01\x00\x05hello")
    floor.advance(10.0)
    assert line.stream.fd < 0


def test_a_certificate_that_has_gone_since_it_was_checked(floor: Floor) -> None:
    floor.reception.certificate = ("/nowhere/cert.pem", "/nowhere/key.pem")
    line = floor.dial()
    line.put(b"\x16\x03\x01\x00\x05hello")

    def shown_out() -> bool:
        floor.relay.resume(floor.now)
        return line.stream.fd < 0

    floor.until(shown_out)
    assert "no TLS" in floor.log_text()
    other = floor.dial()
    other.put(b"\x16\x03\x01\x00\x05hello")
    assert other.stream.fd < 0


# sums


def test_every_connection_is_counted_in_and_out(floors: Floors) -> None:
    """What was accepted is waiting, logged in, or in exactly one counter of how it ended."""
    floor = floors(login_seconds=10.0, pending_per_address_max=50)
    players = floor.create().players
    floor.dial().put(b"\x00" * 20)  # nonsense
    floor.dial().put(packet(5))  # no login
    floor.dial().put(login("wrong"))
    quiet = floor.dial()
    quiet.close()  # went before its login
    floor.take_streams()
    floor.seat(players[0])  # stays
    floor.seat(players[1]).line.close()  # leaves
    floor.take_streams()
    floor.dial()  # will be too late
    floor.advance(10.0)
    floor.dial()  # waits
    counters = floor.reception.counters
    ended = sum(
        counters[name]
        for name in (
            "pending_gave_way",
            "pending_deadline",
            "closed_protocol",
            "logins_refused",
            "closed_orderly",
            "closed_lost",
            "closed_error",
        )
    )
    assert counters["connections_accepted"] == 8
    assert ended + len(floor.relay.streams) == 8


def test_a_fault_in_a_session_costs_one_connection(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    players = floor.create().players
    witness, guest = floor.seat(players[0]), floor.seat(players[1], ready=False)

    def fail(now: float) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(type(players[1]), "ready", lambda self, now: fail(now))
    guest.put(packet(-7))
    monkeypatch.undo()
    assert guest.line.stream.fd < 0
    assert floor.reception.counters["closed_error"] == 1
    assert "RuntimeError: a fault of ours" in floor.log_text()
    assert witness.line.stream.fd >= 0
    floor.seat(players[1])
    assert (-101, (2, [1, 2])) in witness.news()


def test_logs_of_strangers_are_limited(floor: Floor) -> None:
    for _ in range(300):
        floor.dial().put(login("wrong"))
        floor.dial().put(packet(5))
        floor.dial().put(b"\x00" * 20)
    assert len(floor.log_text().splitlines()) < 12

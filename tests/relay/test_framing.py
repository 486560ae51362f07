"""A byte stream may be cut anywhere: the same packets come out, on every leg."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.relay.rig import Line, Rig, masked, message, packet
from tests.support import wire

Rigs = Callable[..., Rig]

LOGIN = packet(0, payload=b"1")
READY = packet(-7)
PACKETS = [
    packet(1),
    packet(2, data=b"", payload=b"abc"),
    packet(300, targets=(2, 3), data=wire.encode_data({1: ("string", b"x" * 130)}), payload=bytes(range(140))),
    packet(3, reliable=False, sequence=-1, payload=b"z"),
    b"\x00",  # no packet at all: dropped
    packet(4),
]
EXPECTED = [1, 2, 300, 3, 4]


def rt_stream() -> bytes:
    return b"".join([LOGIN, READY, *PACKETS])


def websocket_stream() -> bytes:
    """Several packets in a message, one in three fragments with control frames between them, an empty message."""
    third = PACKETS[2]
    return b"".join(
        [
            b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
            message(LOGIN),
            message(READY, PACKETS[0], PACKETS[1]),
            masked(2, third[:1], last=False),
            masked(9, b"ping"),
            masked(0, third[1:200], last=False, mask=b"\0\0\0\0"),
            masked(10, b""),
            masked(0, b"", last=False),
            masked(0, third[200:]),
            masked(2, b""),
            message(PACKETS[3], PACKETS[4]),
            message(PACKETS[5]),
        ]
    )


STREAMS = {"rt": rt_stream, "websocket": websocket_stream}


def sent(rig: Rig, pieces: list[bytes]) -> tuple[Line, Line]:
    """A peer that comes in pieces, and its audience."""
    receiver = rig.join(2)
    line = rig.line()
    for piece in pieces:
        line.put(piece)
    rig.flush()
    return line, receiver


def check(rig: Rig, line: Line, receiver: Line, kind: str) -> None:
    assert receiver.op_codes() == EXPECTED
    assert line.stream.fd >= 0
    assert rig.handler.closings == []
    assert rig.drops() == {"malformed": 1}
    if kind == "websocket":
        assert line.read() == b"\x8a\x04ping"


@pytest.mark.parametrize("kind", STREAMS)
def test_byte_at_a_time(rig: Rig, kind: str) -> None:
    data = STREAMS[kind]()
    line, receiver = sent(rig, [data[at : at + 1] for at in range(len(data))])
    check(rig, line, receiver, kind)


@pytest.mark.parametrize("kind", STREAMS)
def test_every_cut_in_two(kind: str) -> None:
    data = STREAMS[kind]()
    for at in range(1, len(data)):
        with Rig() as rig:
            line, receiver = sent(rig, [data[:at], data[at:]])
            check(rig, line, receiver, kind)


@pytest.mark.parametrize("kind", STREAMS)
def test_cuts_in_many_pieces(kind: str) -> None:
    data = STREAMS[kind]()
    chance = random.Random(7)
    for _ in range(200):
        cuts = sorted(chance.sample(range(1, len(data)), chance.randrange(1, 40)))
        with Rig() as rig:
            line, receiver = sent(rig, [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)])
            check(rig, line, receiver, kind)


@pytest.mark.parametrize("kind", STREAMS)
def test_in_one_piece(rig: Rig, kind: str) -> None:
    line, receiver = sent(rig, [STREAMS[kind]()])
    check(rig, line, receiver, kind)


@pytest.mark.parametrize("websocket", [False, True], ids=["rt", "websocket"])
def test_more_than_one_reading_takes(rig: Rig, websocket: bool) -> None:
    """Half a megabyte of packets of all sizes, in the pieces that the kernel makes of it."""
    sender, receiver = rig.join(1, tcp=True, websocket=websocket), rig.join(2, tcp=True)
    frames = [packet(1 + n, payload=bytes((n & 0xFF,)) * (n * 37 % 3000)) for n in range(400)]
    data = b"".join(message(frame) for frame in frames) if websocket else b"".join(frames)
    got: list[wire.Packet] = []
    at = 0

    def all_there() -> bool:
        nonlocal at
        try:
            at += sender.socket.send(data[at : at + 50_000])
        except BlockingIOError:
            pass
        rig.flush()
        got.extend(receiver.packets())
        return len(got) == len(frames)

    rig.until(all_there)
    assert [each.op_code for each in got] == list(range(1, 401))
    for number, each in enumerate(got):
        assert (each.payload or b"") == bytes((number & 0xFF,)) * (number * 37 % 3000)
    assert rig.drops() == {}


def test_what_one_connection_sends_never_shows_on_another(rig: Rig) -> None:
    """Pieces of two streams taken turn by turn: what is kept of one is not the other's."""
    one, two, receiver = rig.join(1), rig.join(2), rig.join(3)
    first = b"".join(packet(1000 + n, payload=b"1" * n) for n in range(60))
    second = b"".join(packet(2000 + n, payload=b"2" * n) for n in range(60))
    chance = random.Random(3)
    while first or second:
        cut = chance.randrange(1, 40)
        one.put(first[:cut])
        first = first[cut:]
        cut = chance.randrange(1, 40)
        two.put(second[:cut])
        second = second[cut:]
    rig.flush()
    got = receiver.packets()
    for sender, mark in ((1, b"1"), (2, b"2")):
        mine = [each for each in got if each.sender == sender]
        assert [each.op_code for each in mine] == [1000 * sender + n for n in range(60)]
        assert [each.payload or b"" for each in mine] == [mark * n for n in range(60)]


@pytest.mark.parametrize(
    ("first", "asked"),
    [(b"?" + bytes(20), 1), (b"GE", 1), (b"GET", 1)],
    ids=["unknown", "two letters", "three letters"],
)
def test_the_handler_is_asked_what_the_first_bytes_are(rig: Rig, first: bytes, asked: int) -> None:
    line = rig.line()
    line.put(first)
    assert len(rig.handler.openings) == asked
    assert all(len(each) <= 16 for each in rig.handler.openings)
    assert (line.stream.fd < 0) == (first[:1] == b"?")
    if line.stream.fd >= 0:
        line.put(b"".join([b"GET /ws HTTP/1.1\r\n\r\n"])[len(first) :], message(LOGIN))
        assert line.stream.is_websocket
        assert line.stream.member is rig.members[1]


def test_a_handler_that_never_knows_is_asked_no_more_than_sixteen_bytes(rig: Rig) -> None:
    rig.handler.opening = lambda stream, data: None  # type: ignore[method-assign]
    line = rig.line()
    for _ in range(15):
        line.put(b"x")
    assert line.stream.fd >= 0
    line.put(b"x")
    assert line.stream.fd < 0


def test_a_stream_that_has_to_wait_is_asked_again_at_resume(rig: Rig) -> None:
    rig.handler.wait = True
    line = rig.line()
    line.put(LOGIN[:1])
    assert rig.relay.paused_count == 1
    line.put(LOGIN[1:] + READY)
    for _ in range(3):
        rig.relay.resume(rig.now)
    assert rig.relay.paused_count == 1
    assert len(rig.handler.openings) == 4
    rig.handler.wait = False
    rig.relay.resume(rig.now)
    rig.take_streams()
    assert rig.members[1].is_open
    assert rig.relay.paused_count == 0


def test_a_stream_that_closes_while_it_waits(rig: Rig) -> None:
    rig.handler.wait = True
    line = rig.line()
    line.put(LOGIN)
    line.stream.close()
    rig.relay.resume(rig.now)
    assert rig.relay.paused_count == 0
    gone = rig.line()
    gone.put(LOGIN)
    gone.close()
    rig.take_streams()
    assert gone.stream.fd < 0
    rig.relay.resume(rig.now)
    assert rig.relay.paused_count == 0


def test_http_is_answered_and_then_drained(rig: Rig) -> None:
    line = rig.line()
    for byte in b"GET / HTTP/1.1\r\n\r\n":
        line.put(bytes((byte,)))
    rig.flush()
    assert line.read() == b"HTTP/1.1 200 OK\r\n\r\nhello"
    assert line.ended
    line.put(bytes(100_000), LOGIN)
    assert rig.handler.controls == []
    assert line.stream.fd >= 0
    line.close()
    rig.take_streams()
    assert [orderly for _, _, orderly in rig.handler.closings] == [True]


@pytest.mark.parametrize("size", [8191, 8192])
def test_a_request_head_is_bounded(rig: Rig, size: int) -> None:
    line = rig.line()
    line.put(b"GET /" + b"a" * (size - 5))
    assert (line.stream.fd < 0) == (size == 8192)

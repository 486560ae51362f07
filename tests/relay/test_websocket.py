"""WebSocket (RFC 6455) as the relay reads and writes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.relay.rig import Line, Rig, masked, message, packet, websocket_frames

Rigs = Callable[..., Rig]


@pytest.mark.parametrize("size", [0, 1, 100, 124, 125, 126, 127, 128, 1000, 15_000])
@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"], ids=bytes.hex)
def test_lengths_and_masks(rig: Rig, size: int, mask: bytes) -> None:
    sender, receiver = rig.join(1, websocket=True), rig.join(2, websocket=True)
    payload = bytes(n * 7 & 0xFF for n in range(size))
    sender.send(masked(2, packet(5, payload=payload or None), mask=mask))
    rig.take_streams()
    rig.flush()
    (got,) = receiver.packets()
    assert (got.op_code, got.sender, got.payload or b"") == (5, 1, payload)


@pytest.mark.parametrize("width", [2, 8])
def test_a_length_in_more_bytes_than_it_needs_is_read(rig: Rig, width: int) -> None:
    sender, receiver = rig.join(1, websocket=True), rig.join(2)
    body = packet(5)
    sender.send(b"\x82" + (b"\xfe" if width == 2 else b"\xff") + len(body).to_bytes(width, "big") + bytes(4) + body)
    rig.take_streams()
    rig.flush()
    assert receiver.op_codes() == [5]


def test_packets_out_are_one_whole_message_each(rig: Rig) -> None:
    sender, receiver = rig.join(1), rig.join(2, websocket=True)
    sizes = [0, 50, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 15_900]
    sender.put(*[packet(1 + n, payload=bytes(size) or None) for n, size in enumerate(sizes)])
    rig.flush()
    frames = websocket_frames(receiver.read())
    assert [op_code for op_code, _ in frames] == [2] * len(sizes)
    receiver.received = b""
    for (_, body), size in zip(frames, sizes, strict=True):
        assert body.count(b"\0") >= size


def closing_code(line: Line) -> int | None:
    frames = websocket_frames(line.read())
    assert line.ended
    if not frames:
        return None
    assert frames[-1][0] == 8
    return int.from_bytes(frames[-1][1][:2], "big")


BROKEN = {
    "unmasked": (b"\x82\x03" + packet(5), 1002),
    "unmasked ping": (b"\x89\x00", 1002),
    "reserved bit 1": (b"\xc2" + masked(2, packet(5))[1:], 1002),
    "reserved bit 2": (b"\xa2" + masked(2, packet(5))[1:], 1002),
    "reserved bit 3": (b"\x92" + masked(2, packet(5))[1:], 1002),
    "text": (masked(1, b"hello"), 1003),
    "text in pieces": (masked(1, b"hel", last=False), 1003),
    "continuation of nothing": (masked(0, packet(5)), 1002),
    "message within a message": (masked(2, b"\x02", last=False) + masked(2, packet(5)), 1002),
    "opcode 3": (masked(3, b""), 1002),
    "opcode 7": (masked(7, b""), 1002),
    "opcode 11": (masked(11, b""), 1002),
    "opcode 15": (masked(15, b""), 1002),
    "ping in pieces": (masked(9, b"", last=False), 1002),
    "close in pieces": (masked(8, b"", last=False), 1002),
    "ping of 126 bytes": (masked(9, bytes(126)), 1002),
    "close of 200 bytes": (masked(8, bytes(200)), 1002),
    "too large": (b"\x82\xff" + (65_537).to_bytes(8, "big") + bytes(4), 1009),
    "too large in pieces": (masked(2, bytes(40_000), last=False) + masked(0, bytes(40_000), last=False), 1009),
    "too large, 2^63": (b"\x82\xff\x80" + bytes(7) + bytes(4), 1009),
    "too large, 2^64 - 1": (b"\x82\xff" + b"\xff" * 8 + bytes(4), 1009),
    "length that wraps": (masked(2, b"\x02", last=False) + b"\x80\xff" + b"\xff" * 8 + bytes(4) + bytes(64), 1009),
    "length that wraps further": (
        masked(2, bytes(5), last=False) + b"\x80\xff" + b"\xff" * 7 + b"\xfc" + bytes(4) + bytes(64),
        1009,
    ),
    "ping whose length wraps": (
        masked(2, b"\x02", last=False) + b"\x89\xff" + b"\xff" * 8 + bytes(4) + bytes(64),
        None,
    ),
}


@pytest.mark.parametrize("logged_in", [True, False])
@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol_is_closed_with_its_code(rig: Rig, name: str, logged_in: bool) -> None:
    data, code = BROKEN[name]
    witness = rig.join(2)
    line = rig.join(1, websocket=True) if logged_in else rig.websocket()
    line.send(data + message(packet(9)))
    rig.take_streams()
    got = closing_code(line)
    assert got == code or code is None or (not logged_in and code == 1009 and got is not None)
    assert [(stream, orderly) for stream, _, orderly in rig.handler.closings] == [(line.stream, False)]
    rig.flush()
    assert witness.packets() == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol_breaks_it_byte_by_byte_too(rig: Rig, name: str) -> None:
    line = rig.join(1, websocket=True)
    data, _ = BROKEN[name]
    if len(data) > 1000:
        data = data[:100]
    for byte in data:
        if line.stream.fd >= 0:
            line.send(bytes((byte,)))
            rig.take_streams()
    if len(BROKEN[name][0]) <= 1000:
        assert closing_code(line) is not None
        assert len(rig.handler.closings) == 1


def test_the_largest_message(rigs: Rigs) -> None:
    rig = rigs()
    sender, receiver = rig.join(1, websocket=True), rig.join(2)
    frames = [packet(1, payload=bytes(15_000)) for _ in range(4)]
    frames.append(packet(2, payload=bytes(65_536 - sum(map(len, frames)) - 7)))
    assert sum(map(len, frames)) == 65_536
    data = message(*frames)
    for at in range(0, len(data), 10_000):
        sender.send(data[at : at + 10_000])
        rig.take_streams()
    rig.flush()
    assert receiver.op_codes() == [1, 1, 1, 1, 2]
    whole = b"".join(frames)
    for at in range(0, 65_536, 8192):
        sender.send(masked(2 if at == 0 else 0, whole[at : at + 8192], last=at + 8192 == 65_536))
        rig.take_streams()
    rig.flush()
    assert receiver.op_codes() == [1, 1, 1, 1, 2]


@pytest.mark.parametrize("body", [b"", b"x", bytes(125)], ids=len)
def test_pings_are_answered_with_their_own_bytes(rig: Rig, body: bytes) -> None:
    line = rig.join(1, websocket=True)
    line.send(masked(9, body) + masked(10, b"unasked") + masked(9, body))
    rig.take_streams()
    rig.flush()
    assert websocket_frames(line.read()) == [(10, body)] * 2
    assert line.stream.fd >= 0


def test_pings_before_the_login_are_answered(rig: Rig) -> None:
    line = rig.websocket()
    line.send(masked(9, b"a"))
    rig.take_streams()
    rig.flush()
    assert websocket_frames(line.read()) == [(10, b"a")]


@pytest.mark.parametrize(
    ("body", "answer"),
    [(b"", b""), (b"\x03\xe8", b"\x03\xe8"), (b"\x03\xe8bye", b"\x03\xe8"), (b"\x03", None)],
    ids=["no code", "code", "code and reason", "half a code"],
)
def test_a_close_frame_is_an_orderly_end(rig: Rig, body: bytes, answer: bytes | None) -> None:
    line, witness = rig.join(1, websocket=True), rig.join(2)
    line.send(message(packet(1)) + masked(8, body) + message(packet(2)))
    rig.take_streams()
    rig.flush()
    assert witness.op_codes() == [1]
    ((op_code, echoed),) = websocket_frames(line.read())
    assert op_code == 8
    assert len(echoed) != 1, "a close frame's body is a whole code or nothing"
    if answer is not None:
        assert echoed == answer
    assert line.ended
    assert [(stream, orderly) for stream, _, orderly in rig.handler.closings] == [(line.stream, True)]


def test_our_own_close_says_going_away(rig: Rig) -> None:
    line = rig.join(1, websocket=True)
    rig.members[1].send(packet(-1, payload=b"\x08\x01"))
    line.stream.close()
    frames = websocket_frames(line.read())
    assert [op_code for op_code, _ in frames] == [2, 8]
    assert frames[1][1] == b"\x03\xe9"
    assert line.ended


def test_fin_without_a_close_frame(rig: Rig) -> None:
    line = rig.join(1, websocket=True)
    line.close()
    rig.take_streams()
    assert [orderly for _, _, orderly in rig.handler.closings] == [True]


@pytest.mark.parametrize(
    "body",
    [b"\x00", b"\x05\x08\x02", b"\x80", b"\xff\xff\xff\xff\xff\xff", b"\x82\x80\x80\x80\x80\x00\x08\x02"],
    ids=bytes.hex,
)
def test_a_message_that_is_no_run_of_packets(rig: Rig, body: bytes) -> None:
    sender, receiver = rig.join(1, websocket=True), rig.join(2)
    sender.send(masked(2, packet(1) + body) + message(packet(2)))
    rig.take_streams()
    rig.flush()
    assert receiver.op_codes() == [1, 2]
    assert rig.drops() == {"malformed": 1}
    stranger = rig.websocket()
    stranger.send(masked(2, body))
    rig.take_streams()
    assert stranger.stream.fd < 0


def test_the_upgrade_and_the_login_in_one_piece(rig: Rig) -> None:
    line = rig.line()
    line.put(b"GET /ws HTTP/1.1\r\n\r\n" + message(packet(0, payload=b"1"), packet(-7)))
    assert rig.members[1].is_open
    assert line.stream.kind == "ws"


def test_a_packet_never_spans_messages(rig: Rig) -> None:
    sender, receiver = rig.join(1, websocket=True), rig.join(2)
    whole = packet(1, payload=b"abcdef")
    sender.send(masked(2, whole[:5]) + masked(2, whole[5:]) + message(packet(2)))
    rig.take_streams()
    rig.flush()
    assert 1 not in receiver.op_codes()
    assert rig.drops()["malformed"] >= 1

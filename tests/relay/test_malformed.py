"""Bytes that are not what the format allows, one example of each fault, on every leg: dropped, counted, survived."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.relay.rig import Rig, packet
from tests.support import wire

Rigs = Callable[..., Rig]


def nested(levels: int) -> bytes:
    """Data that many levels deep; the outermost is the first."""
    made = b"\x08\x02"
    for _ in range(levels - 1):
        made = (
            b"\x0a" + wire.varint(1 + len(wire.varint(len(made))) + len(made)) + b"\x72" + wire.varint(len(made)) + made
        )
    return made


def with_data(data: bytes) -> bytes:
    return b"\x08\x0a" + wire.length_delimited(14, data)


OPEN = b"\x80" * 10 + b"\x01"  # a varint of eleven bytes
OVER = b"\xff" * 9 + b"\x02"  # of 65 bits

MALFORMED: dict[str, bytes] = {
    "no opCode": b"\x72\x00",
    "opCode not first": b"\x10\x01\x08\x02",
    "opCode cut": b"\x08",
    "opCode cut within": b"\x08\x80",
    "opCode over 32 bits": b"\x08\xff\xff\xff\xff\x1f",
    "opCode of six bytes": b"\x08\x82\x80\x80\x80\x80\x00",
    "opCode open": b"\x08" + OPEN,
    "opCode twice": b"\x08\x02\x08\x02",
    "opCode as bytes": b"\x0a\x01\x02",
    "key cut": b"\x08\x02\x80",
    "key open": b"\x08\x02" + OPEN,
    "key over 64 bits": b"\x08\x02" + OVER,
    "number cut": b"\x08\x02\x10",
    "number open": b"\x08\x02\x10" + OPEN,
    "number over 64 bits": b"\x08\x02\x18" + OVER,
    "number over 32 bits": b"\x08\x02\x28" + wire.varint(2**40),
    "unknown number open": b"\x08\x02\x38" + OPEN,
    "unknown number over 64 bits": b"\x08\x02\x38" + OVER,
    "field 0": b"\x08\x02\x00\x01",
    "field 0 of bytes": b"\x08\x02\x02\x01a",
    "unknown bytes": b"\x08\x02\x3a\x01a",
    "unknown bytes of a high field": b"\x08\x02\x82\x01\x01a",
    "unknown fixed 64": b"\x08\x02\x39" + bytes(8),
    "unknown fixed 32": b"\x08\x02\x3d" + bytes(4),
    "group": b"\x08\x02\x3b",
    "end of group": b"\x08\x02\x3c",
    "wire type 6": b"\x08\x02\x3e",
    "wire type 7": b"\x08\x02\x3f",
    "sequence as bytes": b"\x08\x02\x12\x00",
    "payload as fixed": b"\x08\x02\x7d" + bytes(4),
    "packed targets": b"\x08\x02\x22\x02\x01\x02",
    "reliable of 2": b"\x08\x02\x30\x02",
    "reliable of a great number": b"\x08\x02\x30" + wire.varint(2**63),
    "reliable cut": b"\x08\x02\x30",
    "too many targets": b"\x08\x02" + b"\x20\x01" * 256,
    "data cut": b"\x08\x02\x72\x03\x08\x02",
    "data length cut": b"\x08\x02\x72\x80",
    "data length huge": b"\x08\x02\x72" + wire.varint(2**64 - 1),
    "data length open": b"\x08\x02\x72" + OPEN,
    "payload cut": b"\x08\x02\x7a\x05pay",
    "payload length missing": b"\x08\x02\x7a",
    "payload length huge": b"\x08\x02\x7a" + wire.varint(2**63) + b"x",
    "slot 0": with_data(b"\x00\x02"),
    "slot 128": with_data(b"\x80\x08\x02"),
    "slot of a high number": with_data(wire.varint(2**60) + b"\x02"),
    "slot key cut": with_data(b"\x88"),
    "slot key open": with_data(OPEN),
    "slot of wire type 3": with_data(b"\x0b"),
    "slot of wire type 4": with_data(b"\x0c"),
    "slot of wire type 6": with_data(b"\x0e"),
    "slot of wire type 7": with_data(b"\x0f"),
    "long cut": with_data(b"\x08"),
    "long open": with_data(b"\x08" + OPEN),
    "long over 64 bits": with_data(b"\x08" + OVER),
    "double cut": with_data(b"\x09" + bytes(7)),
    "float cut": with_data(b"\x0d" + bytes(3)),
    "value length missing": with_data(b"\x0a"),
    "value cut": with_data(b"\x0a\x05\x0a\x01a"),
    "value empty": with_data(b"\x0a\x00"),
    "value of one byte": with_data(b"\x0a\x01\x0a"),
    "value length huge": with_data(b"\x0a" + wire.varint(2**64 - 1) + b"\x0a\x00"),
    "value unknown": with_data(b"\x0a\x02\x1a\x00"),
    "value a number": with_data(b"\x0a\x02\x08\x02"),
    "string cut": with_data(b"\x0a\x03\x0a\x02a"),
    "string too short for its value": with_data(b"\x0a\x04\x0a\x01ab"),
    "string length huge": with_data(b"\x0a\x0c\x0a" + wire.varint(2**64 - 1) + b"a"),
    "two strings": with_data(b"\x0a\x06\x0a\x01a\x0a\x01b"),
    "vector of 3 bytes": with_data(b"\x0a\x05\x12\x03abc"),
    "vector of 5 bytes": with_data(b"\x0a\x07\x12\x05abcde"),
    "slot 0 inside": with_data(b"\x0a\x04\x72\x02\x00\x02"),
    "long cut inside": with_data(b"\x0a\x03\x72\x01\x08"),
    "33 levels": with_data(nested(33)),
    "64 levels": with_data(nested(64)),
    "second data field": with_data(b"\x08\x02") + b"\x72\x02\x00\x02",
    "first data field": with_data(b"\x00\x02") + b"\x72\x02\x08\x02",
    "a value cut over two data fields": b"\x08\x0a\x72\x01\x08\x72\x01\x02",
    "data behind the payload": b"\x08\x0a\x7a\x01p\x72\x02\x00\x02",
}

SOUND: dict[str, bytes] = {
    "least": b"\x08\x02",
    "opCode over-long": b"\x08\x82\x80\x80\x80\x00",
    "32 levels": with_data(nested(32)),
    "slot 127": with_data(b"\xf8\x07\x02"),
    "all slots": with_data(b"".join(wire.varint(slot << 3) + b"\x02" for slot in range(1, 128))),
    "slots out of order": with_data(b"\x10\x02\x08\x02"),
    "slot twice": with_data(b"\x08\x02\x08\x04"),
    "long of 64 bits": with_data(b"\x08" + b"\xff" * 9 + b"\x01"),
    "empty vector": with_data(b"\x0a\x02\x12\x00"),
    "vector of 5 floats": with_data(b"\x0a\x16\x12\x14" + bytes(20)),
    "empty string": with_data(b"\x0a\x02\x0a\x00"),
    "no UTF-8": with_data(b"\x0a\x04\x0a\x02\xff\xfe"),
    "empty data inside": with_data(b"\x0a\x02\x72\x00"),
    "unknown number": b"\x08\x02\x38\x01",
    "data as a number": b"\x08\x02\x70\x00",  # its key byte is no client's data
    "255 targets": b"\x08\x02" + b"\x20\x02" * 255,
    "payload of anything": b"\x08\x02\x7a\x04\xff\xff\xff\xff",
}


def deliver(rig: Rig, leg: str) -> tuple[Callable[[bytes], None], Callable[[], list[int]]]:
    """How the first peer sends a packet body by that leg, and how the second one reads its opCodes."""
    sender = rig.join(1, websocket=leg == "websocket")
    receiver = rig.join(2)
    post = rig.post(1)

    def put(body: bytes) -> None:
        if leg == "udp":
            post.send(wire.frame(body))
        else:
            sender.put(wire.frame(body))
        rig.flush()

    return put, receiver.op_codes


@pytest.mark.parametrize("leg", ["tcp", "websocket", "udp"])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_packet_is_dropped_and_counted(rig: Rig, leg: str, name: str) -> None:
    put, received = deliver(rig, leg)
    put(MALFORMED[name])
    assert received() == []
    assert rig.drops() == {"malformed": 1}
    put(b"\x08\x06")
    assert received() == [3]
    assert rig.handler.closings == []


@pytest.mark.parametrize("leg", ["tcp", "websocket", "udp"])
@pytest.mark.parametrize("name", SOUND)
def test_what_looks_odd_and_is_sound_goes_through(rig: Rig, leg: str, name: str) -> None:
    put, received = deliver(rig, leg)
    put(SOUND[name])
    assert len(received()) == 1
    assert rig.drops() == {}


def test_an_empty_frame_is_malformed(rig: Rig) -> None:
    sender, receiver = rig.join(1), rig.join(2)
    post = rig.post(1)
    sender.put(b"\x00", b"\x00", packet(1))
    rig.flush()
    assert receiver.op_codes() == [1]
    assert rig.drops() == {"malformed": 2}
    post.send(b"\x00\x00" + packet(2), packet(3))  # 0 begins a link's datagram, and it has no type 0
    rig.flush()
    assert receiver.op_codes() == [3]
    assert rig.drops() == {"malformed": 3}


@pytest.mark.parametrize(
    "rest", [b"\x05\x08\x02", b"\x80", b"\xff\xff\xff\xff\xff\xff\x01", b"\x83\x80\x80\x80\x80\x00\x08\x02\x02"]
)
def test_a_datagram_that_is_cut_keeps_what_was_whole(rig: Rig, rest: bytes) -> None:
    rig.join(1)
    receiver = rig.join(2)
    rig.post(1).send(packet(1) + packet(2) + rest)
    rig.flush()
    assert receiver.op_codes() == [1, 2]
    assert rig.drops() == {"malformed": 1}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_stranger_with_a_malformed_packet(rig: Rig, name: str) -> None:
    """By stream it is shown out; by datagram it is not heard."""
    line = rig.line()
    line.put(wire.frame(MALFORMED[name]))
    assert line.stream.fd < 0
    assert len(rig.handler.closings) + len(rig.handler.controls) + len(rig.handler.failures) >= 1
    rig.post().send(wire.frame(MALFORMED[name]))
    assert sum(rig.drops().values()) >= 1
    rig.handler.failures.clear()


def test_a_stranger_by_datagram_is_not_relayed(rig: Rig) -> None:
    receiver = rig.join(1)
    rig.post().send(packet(5), packet(-5), packet(-7), packet(6, sender=1, targets=(1,)))
    rig.flush()
    assert receiver.packets() == []
    assert rig.drops() == {"unknown_address": 2, "op_code": 2}
    assert rig.handler.datagrams == []


@pytest.mark.parametrize("websocket", [False, True], ids=["rt", "websocket"])
@pytest.mark.parametrize("op_code", [5, -1, -5, -7, -101])
def test_a_first_packet_that_is_no_login_goes_to_the_handler(rig: Rig, op_code: int, websocket: bool) -> None:
    line = rig.websocket() if websocket else rig.line()
    line.put(packet(op_code), packet(6))
    assert [got for _, got, _ in rig.handler.controls] == [op_code]
    assert line.stream.fd < 0
    assert "packets_in" not in rig.counts()

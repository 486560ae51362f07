"""Each dialect meets the poison it is known to die of, and survives what it is known to survive."""

from __future__ import annotations

import pytest

from tests.doubles import dialect as reading
from tests.doubles.dialect import (
    CPP_DATAGRAM,
    CPP_MESSAGE,
    CPP_STREAM,
    CSHARP_DATAGRAM,
    CSHARP_MESSAGE,
    CSHARP_STREAM,
    JAVASCRIPT_MESSAGE,
    Dialect,
    Fate,
    Head,
    Hung,
    Killed,
    PacketReader,
    Received,
    RestLost,
    Source,
    Threw,
)
from tests.support import wire
from tests.support.wire import Packet

EVERY = (
    CPP_STREAM,
    CPP_DATAGRAM,
    CPP_MESSAGE,
    CSHARP_STREAM,
    CSHARP_DATAGRAM,
    CSHARP_MESSAGE,
    JAVASCRIPT_MESSAGE,
)


def read(dialect: Dialect, *records: bytes, newest: int | None = None) -> Received:
    """The first packet of `records`, read by `dialect` after a packet numbered `newest` of the same sender."""

    def is_stale(head: Head) -> bool:
        return newest is not None and head.sequence is not None and newest > head.sequence

    source = Source(complete=True)
    for record in records:
        source.feed(record)
    parsing = PacketReader(dialect, source, is_stale).packet()
    try:
        next(parsing)
    except StopIteration as stop:
        result: Received = stop.value
        return result
    raise AssertionError("a complete source never blocks")


def outcome(dialect: Dialect, *records: bytes, newest: int | None = None) -> type[Fate] | Received:
    """What `read` gives, or the kind of fate it meets."""
    try:
        return read(dialect, *records, newest=newest)
    except Fate as fate:
        return type(fate)


def framed(packet: Packet) -> bytes:
    """With length prefix."""
    return wire.frame(wire.encode_packet(packet))


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_a_plain_packet_is_read_by_all(dialect: Dialect) -> None:
    data = wire.encode_data({1: ("long", -5), 16: ("string", b"\xff"), 127: ("data", {2: ("vector", (1.0, 2.0))})})
    got = read(dialect, framed(Packet(120, sender=3, data=data, payload=b"abc")))
    assert (got.op_code, got.sender, got.data, got.payload, got.with_payload_field) == (120, 3, data, b"abc", True)


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_header_and_data_may_be_cut_anywhere_on_a_stream(dialect: Dialect) -> None:
    whole = framed(Packet(120, sender=3, data=wire.encode_data({1: ("string", b"x" * 30)}), payload=b"abc"))
    records = [whole[at : at + 1] for at in range(len(whole) - 3)] + [whole[-3:]]
    assert isinstance(outcome(dialect, *records), Received)


def test_a_payload_cut_over_two_records_kills_cpp_only() -> None:
    whole = framed(Packet(120, sender=3, payload=b"abcdef"))
    assert outcome(CPP_STREAM, whole[:-2], whole[-2:]) is Killed
    assert isinstance(outcome(CSHARP_STREAM, whole[:-2], whole[-2:]), Received)


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (CPP_STREAM, Killed),
        (CPP_MESSAGE, Killed),
        (CPP_DATAGRAM, None),
        (CSHARP_STREAM, None),
        (CSHARP_MESSAGE, None),
        (JAVASCRIPT_MESSAGE, Hung),
    ],
    ids=lambda one: getattr(one, "name", None),
)
@pytest.mark.parametrize("place", ["packet", "command", "value"])
def test_an_unknown_length_delimited_field(dialect: Dialect, expected: type[Fate] | None, place: str) -> None:
    extra = wire.length_delimited(9, b"new")
    if place == "packet":
        body = wire.encode_packet(Packet(120)) + extra + wire.length_delimited(15, b"p")
    elif place == "command":
        body = wire.encode_packet(Packet(wire.OP_PLAYER_CONNECT, payload=b"\x08\x01" + extra))
    else:
        body = wire.encode_packet(Packet(120, data=wire.length_delimited(1, extra)))
    met: type[Fate] | None = None
    try:
        packet = read(dialect, wire.frame(body))
        if place == "command":
            reading.read_peer_change(packet.payload or b"", dialect)
    except Fate as fate:
        met = type(fate)
    assert met is expected


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_an_unknown_varint_field_is_skipped_by_all(dialect: Dialect) -> None:
    body = wire.encode_packet(Packet(120)) + wire.key(9, 0) + wire.varint(5) + wire.length_delimited(15, b"p")
    assert read(dialect, wire.frame(body)).payload == b"p"


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [(CPP_STREAM, Killed), (CSHARP_STREAM, []), (CSHARP_MESSAGE, []), (JAVASCRIPT_MESSAGE, [])],
    ids=lambda one: getattr(one, "name", None),
)
def test_packed_active_peers_throw_in_cpp_and_are_lost_elsewhere(dialect: Dialect, expected: object) -> None:
    body = b"\x08\x02" + wire.length_delimited(4, b"\x01\x02")
    if expected is Killed:
        with pytest.raises(Killed, match="packed"):
            reading.read_peer_change(body, dialect)
    else:
        assert reading.read_peer_change(body, dialect).active_peers == expected


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_an_empty_payload_kills_cpp_on_streams_only(dialect: Dialect) -> None:
    got = outcome(dialect, framed(Packet(120, sender=1, payload=b"")))
    if dialect in (CPP_STREAM, CPP_MESSAGE):
        assert got is Killed
    else:
        assert isinstance(got, Received)
        assert got.payload == b""


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_a_command_with_an_empty_body_is_safe(dialect: Dialect) -> None:
    assert isinstance(outcome(dialect, bytes.fromhex("0408097a00")), Received)


@pytest.mark.parametrize(
    ("dialect", "small", "large"),
    [
        (CPP_STREAM, Killed, Killed),
        (CPP_DATAGRAM, RestLost, RestLost),
        (CSHARP_STREAM, "muted", Killed),
        (CSHARP_DATAGRAM, "muted", RestLost),
        (CSHARP_MESSAGE, "muted", Killed),
        (JAVASCRIPT_MESSAGE, "muted", Threw),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_a_stale_sequence_number(dialect: Dialect, small: object, large: object) -> None:
    for size, expected in ((256, small), (257, large)):
        got = outcome(dialect, framed(Packet(120, sequence=3, sender=1, payload=bytes(size))), newest=4)
        assert got.stale if isinstance(got, Received) and expected == "muted" else got is expected


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_equal_numbers_and_packets_without_payload_are_never_stale(dialect: Dialect) -> None:
    assert read(dialect, framed(Packet(120, sequence=4, sender=1, payload=b"x")), newest=4).stale is False
    assert read(dialect, framed(Packet(120, sequence=3, sender=1, data=b"")), newest=4).stale is False


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_what_stands_behind_the_payload_is_not_seen(dialect: Dialect) -> None:
    body = wire.length_delimited(15, b"p") + wire.encode_packet(Packet(120, sender=3, data=b""))
    got = read(dialect, wire.frame(body))
    assert (got.op_code, got.sender, got.data) == (0, 0, None)


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_without_payload_field_even_system_op_codes_go_to_the_app(dialect: Dialect) -> None:
    assert read(dialect, framed(Packet(wire.OP_PLAYER_CONNECT))).with_payload_field is False


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_a_zero_length_frame_is_a_packet_of_an_op_code_nobody_sent(dialect: Dialect) -> None:
    assert read(dialect, b"\x00").op_code == (-(2**31) if dialect.name.startswith("C++") else 0)


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "body",
    [
        bytes.fromhex("0802") + b"\x30\x02",  # a bool of 2
        b"\x08\xff\xff\xff\xff\x1f",  # an opCode of 33 bits
        b"\x08\xff\xff\xff\xff\xff\x01",  # an opCode of six bytes
        bytes.fromhex("0802") + b"\x72\x02\x00\x00",  # slot 0
        bytes.fromhex("0802") + b"\x72\x03\x80\x08\x00",  # slot 128
        bytes.fromhex("0802") + b"\x72\x0b\x08" + b"\xff" * 9 + b"\x02",  # a long of 65 bits
        bytes.fromhex("0802") + b"\x72\x05\x0a\x03\x12\x01\x00",  # a vector of one byte
        bytes.fromhex("0802") + b"\x7a\x05a",  # a payload longer than its packet
        bytes.fromhex("0802") + b"\x72\x05\x08",  # data longer than its packet
    ],
    ids=lambda body: body.hex(),
)
def test_malformed_packets_are_survived_by_none(dialect: Dialect, body: bytes) -> None:
    assert outcome(dialect, wire.frame(body)) is dialect.failure


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_a_known_key_spelt_in_two_bytes_is_an_unknown_field(dialect: Dialect) -> None:
    got = outcome(dialect, wire.frame(bytes.fromhex("0802") + b"\xfa\x00\x01A"))
    if dialect.unknown_field is None:
        assert isinstance(got, Received)
        assert got.payload is None
    else:
        assert got is dialect.unknown_field


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "body",
    [
        bytes.fromhex("0802") + b"\x7a\x81\x80\x80\x80\x80\x00A",
        bytes.fromhex("0802") + b"\x72\x0a\x0a\x82\x80\x80\x80\x80\x00\x0a\x00",
        bytes.fromhex("0802") + b"\x72\x09\x0a\x07\x0a\x80\x80\x80\x80\x80\x00",
    ],
    ids=["of the payload", "of a value", "of a string"],
)
def test_a_length_of_six_bytes_is_too_long_for_all(dialect: Dialect, body: bytes) -> None:
    assert outcome(dialect, wire.frame(body)) is dialect.failure


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_a_length_of_five_bytes_is_read_by_all(dialect: Dialect) -> None:
    body = bytes.fromhex("0802") + b"\x7a\x81\x80\x80\x80\x00A"
    assert isinstance(outcome(dialect, wire.frame(body)), Received)


def test_what_every_client_bears_and_what_one_does_not() -> None:
    reading.assert_bearable(framed(Packet(60, sender=1, payload=b"x")), "stream")
    for poison in (framed(Packet(60, payload=b"")), wire.frame(b"\x08\x02\xfa\x00\x01A"), framed(Packet(-5))):
        with pytest.raises(AssertionError):
            reading.assert_bearable(poison, "stream")


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_sixty_four_levels_of_nesting_are_read(dialect: Dialect) -> None:
    data: wire.DataDict = {1: ("long", 1)}
    for _ in range(64):
        data = {1: ("data", data)}
    assert isinstance(outcome(dialect, framed(Packet(120, data=wire.encode_data(data)))), Received)


@pytest.mark.parametrize("dialect", EVERY, ids=lambda one: one.name)
def test_two_data_fields_are_merged_and_the_last_payload_wins(dialect: Dialect) -> None:
    body = wire.encode_packet(Packet(120, data=b"\x08\x02")) + wire.length_delimited(14, b"\x10\x04")
    body += wire.length_delimited(15, b"first") + wire.length_delimited(15, b"last")
    got = read(dialect, wire.frame(body))
    assert (got.data, got.payload) == (b"\x08\x02\x10\x04", b"last")

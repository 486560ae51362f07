"""Packets: every field present and absent, in any order, at both sides of every limit."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._core import MAX_TARGETS, Data, Packet, ProtocolError
from tests.core.strategies import INT32, MODELS, PACKETS, build
from tests.support import wire

MIN_INT, MAX_INT = -(1 << 31), (1 << 31) - 1
FIELDS = ("op_code", "sequence", "request_id", "targets", "sender", "reliable", "data", "payload")

OTHER_THINGS: list[Any] = [1, b"\x08\x02", None]


def fields(packet: Packet) -> dict[str, Any]:
    return {name: getattr(packet, name) for name in FIELDS}


@given(PACKETS)
def test_everything_survives_the_wire(packet: Packet) -> None:
    body = packet.encode()
    decoded = Packet.decode(body)
    assert fields(decoded) == fields(packet)
    assert decoded == packet and decoded.encode() == body
    assert packet.frame() == wire.frame(body)


@given(PACKETS)
def test_the_plain_reading_of_the_format_agrees(packet: Packet) -> None:
    plain = wire.decode_packet(packet.encode())
    assert wire.encode_packet(plain) == packet.encode()
    assert list(plain.order) == sorted(plain.order), "every client reads fields in this order"
    assert plain.op_code == packet.op_code and plain.targets == packet.targets
    assert (plain.sequence, plain.request_id, plain.reliable) == (packet.sequence, packet.request_id, packet.reliable)
    assert plain.sender == (packet.sender or None) and plain.payload == packet.payload
    assert plain.data == (None if packet.data is None else packet.data.encode())


def test_every_combination_of_fields() -> None:
    values: dict[str, Any] = {
        "sequence": 0, "request_id": 0, "targets": (0,), "sender": 3, "reliable": False, "data": Data(), "payload": b"",
    }  # fmt: skip
    for count in range(len(values) + 1):
        for chosen in itertools.combinations(values, count):
            packet = Packet(7, **{name: values[name] for name in chosen})
            decoded = Packet.decode(packet.encode())
            assert fields(decoded) == fields(Packet(7)) | {name: values[name] for name in chosen}


def test_absent_and_empty_are_two_things() -> None:
    assert Packet(1).encode().hex() == "0802"
    assert Packet(1, data=Data()).encode().hex() == "08027200"
    assert Packet(1, payload=b"").encode().hex() == "08027a00"
    absent, empty = Packet.decode(bytes.fromhex("0802")), Packet.decode(bytes.fromhex("080272007a00"))
    assert (absent.data, absent.payload) == (None, None)
    assert (empty.data, empty.payload) == (Data(), b"")
    assert absent != empty
    assert Packet(1, reliable=None) != Packet(1, reliable=True) != Packet(1, reliable=False)
    assert Packet(1, sequence=0) != Packet(1)


@given(INT32)
def test_every_number_field_holds_32_bits(value: int) -> None:
    packet = Packet(value, sequence=value, request_id=value, targets=(value, value), sender=value)
    decoded = Packet.decode(packet.encode())
    assert decoded.op_code == decoded.sequence == decoded.request_id == decoded.sender == value
    assert decoded.targets == (value, value)


@pytest.mark.parametrize("value", [MIN_INT - 1, MAX_INT + 1, 1 << 70])
@pytest.mark.parametrize("field", ["op_code", "sequence", "request_id", "sender", "targets"])
def test_numbers_over_32_bits_are_refused_and_change_nothing(field: str, value: int) -> None:
    wrong: Any = (1, value) if field == "targets" else value
    for packet in (Packet(5), Packet(5, sequence=6, request_id=7, sender=8, targets=(9,))):
        before = fields(packet)
        with pytest.raises(OverflowError):
            setattr(packet, field, wrong)
        assert fields(packet) == before
    if field != "op_code":
        with pytest.raises(OverflowError):
            Packet(5, **{field: wrong})
    else:
        with pytest.raises(OverflowError):
            Packet(value)


def test_target_limit_on_both_sides() -> None:
    most = tuple(range(MAX_TARGETS))
    packet = Packet(MIN_INT, targets=[-1] * MAX_TARGETS, sequence=-1, request_id=-1, sender=-1, reliable=False)
    assert Packet.decode(packet.encode()) == packet
    assert Packet.decode(Packet(1, targets=most).encode()).targets == most
    with pytest.raises(ValueError, match="at most 255"):
        Packet(1, targets=(*most, 1))
    with pytest.raises(ProtocolError, match="more than 255 targets"):
        Packet.decode(b"\x08\x02" + b"\x20\x01" * (MAX_TARGETS + 1))


@pytest.mark.parametrize("targets", [[1, 2], (1, 2), {1: 0, 2: 0}, range(1, 3), iter((1, 2))])
def test_targets_may_be_any_iterable(targets: Any) -> None:
    assert Packet(1, targets=targets).targets == (1, 2)


@pytest.mark.parametrize("wrong", [1.5, 2.0, "5"])
@pytest.mark.parametrize("field", ["op_code", "sequence", "request_id", "sender"])
def test_numbers_are_not_made_of_other_things(field: str, wrong: Any) -> None:
    packet = Packet(5, sequence=6)
    with pytest.raises(TypeError):
        setattr(packet, field, wrong)
    assert packet == Packet(5, sequence=6)


@pytest.mark.parametrize("targets", [None, 5, ["a"], [None], [1.5]])
def test_other_targets_are_refused(targets: Any) -> None:
    with pytest.raises(TypeError):
        Packet(1, targets=targets)


def test_attributes_can_be_changed_and_taken_away() -> None:
    packet = Packet.decode(Packet(1, data=Data({1: 1}), payload=b"x", targets=(2,), sequence=5, reliable=True).encode())
    packet.op_code, packet.sender, packet.sequence, packet.reliable = -7, 9, None, None
    packet.data, packet.payload, packet.targets, packet.request_id = None, None, (), 3
    assert packet.encode() == Packet(-7, sender=9, request_id=3).encode()
    packet.data = {2: "y"}
    packet.payload = bytearray(b"z")
    assert packet.encode() == Packet(-7, sender=9, request_id=3, data=Data({2: "y"}), payload=b"z").encode()


def test_decoded_data_can_be_changed_in_place() -> None:
    packet = Packet.decode(Packet(1, data=Data({1: 1}), payload=b"x").encode())
    assert packet.data is packet.data and packet.data is not None
    packet.data[2] = "two"
    assert packet.encode() == Packet(1, data=Data({1: 1, 2: "two"}), payload=b"x").encode()


def test_data_outlives_its_packet() -> None:
    packet = Packet.decode(Packet(1, data=Data({1: Data({2: "x" * 500})})).encode())
    data = packet.data
    del packet
    assert data is not None and data.to_dict() == {1: {2: "x" * 500}}


def test_the_last_payload_counts_and_data_is_merged_by_slot() -> None:
    body = bytes.fromhex("0802 7202 0802 7a0161 7204 0804 1006 7a0162 7200")
    packet = Packet.decode(body)
    assert packet.payload == b"b"
    assert packet.data is not None and packet.data.to_dict() == {1: 2, 2: 3}
    assert Packet.decode(packet.encode()) == packet


@given(st.lists(MODELS, max_size=4), st.lists(st.binary(max_size=9), max_size=4), st.randoms(use_true_random=False))
def test_fields_may_be_repeated_and_come_in_any_order(models: Any, payloads: Any, shuffler: Any) -> None:
    parts = [(14, build(model).encode()) for model in models] + [(15, payload) for payload in payloads]
    shuffler.shuffle(parts)
    scalars = b"\x10\x05\x30\x00\x20\x03"
    body = (
        b"\x08\x02" + b"".join(wire.length_delimited(number, value) + scalars[:2] for number, value in parts) + scalars
    )
    packet = Packet.decode(body)
    payloads = [value for number, value in parts if number == 15]
    assert packet.payload == (payloads[-1] if payloads else None)
    merged: dict[int, Any] = {}
    for number, value in parts:
        if number == 14:
            merged |= wire.decode_data(value)
    if any(number == 14 for number, _ in parts):
        assert packet.data is not None and list(packet.data) == sorted(merged)
        assert Data(dict(packet.data.items())).encode() == wire.encode_data(merged)
    else:
        assert packet.data is None
    assert (packet.sequence, packet.reliable, packet.targets) == (5, False, (3,))
    assert Packet.decode(packet.encode()) == packet


def test_unknown_numbers_are_skipped() -> None:
    unknown = "38ffffffffffffffffff01 c00600 f8ffffff0f05 7001"
    packet = Packet.decode(bytes.fromhex(f"0802 {unknown} 2003 {unknown} 7a0161 {unknown}"))
    assert packet == Packet(1, targets=(3,), payload=b"a")
    assert packet.encode() == Packet(1, targets=(3,), payload=b"a").encode()


@pytest.mark.parametrize(
    ("body", "packet"),
    [
        ("08828000", Packet(1)),
        ("0882808080 00", Packet(1)),
        ("08ffffffff0f", Packet(MIN_INT)),
        ("0802 10ffffffffffffffffff01", Packet(1, sequence=-1)),
        ("0802 10ffffffff0f", Packet(1, sequence=-1)),
        ("0802 9000 05", Packet(1, sequence=5)),
        ("0802 28808080808080808000", Packet(1)),
        ("0802 30818000", Packet(1, reliable=True)),
        ("0802 3000 3001", Packet(1, reliable=True)),
        ("0802 1001 1002", Packet(1, sequence=2)),
        ("0802 f28000 00", Packet(1, data=Data())),
        ("0802 7a8180800061", Packet(1, payload=b"a")),
    ],
)
def test_unusual_but_sound_packets(body: str, packet: Packet) -> None:
    assert Packet.decode(bytes.fromhex(body)) == packet


@pytest.mark.parametrize(
    ("body", "reason", "offset"),
    [
        ("", "begins with its opCode", 0),
        ("0a", "begins with its opCode", 0),
        ("1002 0802", "begins with its opCode", 0),
        ("7200 0802", "begins with its opCode", 0),
        ("08", "runs past the end", 1),
        ("08ff", "runs past the end", 1),
        ("08ffffffff1f", "opCode is not a 32-bit number", 1),
        ("08ffffffffff00", "opCode is not a 32-bit number", 1),
        ("08ffffffffffffffffffff01", "longer than 64 bits", 1),
        ("0802 0804", "a second opCode", 2),
        ("0802 10", "runs past the end", 3),
        ("0802 108080808010", "not a 32-bit number", 3),
        ("0802 10ffffffffefffffffff01", "not a 32-bit number", 3),
        ("0802 10ffffffffffffffffff02", "longer than 64 bits", 3),
        ("0802 188080808010", "not a 32-bit number", 3),
        ("0802 208080808010", "not a 32-bit number", 3),
        ("0802 288080808010", "not a 32-bit number", 3),
        ("0802 3002", "a flag is 0 or 1", 3),
        ("0802 30ff01", "a flag is 0 or 1", 3),
        ("0802 2203010203", "unknown field", 2),
        ("0802 7a", "runs past the end", 3),
        ("0802 7a02 61", "runs past the end", 3),
        ("0802 7affffffff0f", "runs past the end", 3),
        ("0802 7affffffffffffffffff01", "length or key over 5 bytes", 3),
        ("0802 f8ffffffffffffffff0105", "length or key over 5 bytes", 2),
        ("0802 72ffffffff0f", "runs past the end", 3),
        ("0802 72020002", "slots are 1 to 127", 4),
        ("0802 7a0161 7202 08ff", "runs past the end", 8),
        ("0802 8200 01 61", "unknown field", 2),
        ("0802 8201 0161", "unknown field", 2),
        ("0802 3d00000000", "unknown field", 2),
        ("0802 390000000000000000", "unknown field", 2),
        ("0802 3b", "unknown field", 2),
        ("0802 3c", "unknown field", 2),
        ("0802 80", "runs past the end", 2),
    ],
)
def test_unsound_packets_say_what_and_where(body: str, reason: str, offset: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        Packet.decode(bytes.fromhex(body))
    assert reason in caught.value.reason
    assert caught.value.offset == offset


def test_an_error_in_merged_data_is_still_one() -> None:
    with pytest.raises(ProtocolError, match="slots are 1 to 127"):
        Packet.decode(bytes.fromhex("0802 7202 0802 7202 0002"))


def test_data_cut_over_two_fields_is_no_data() -> None:
    """Each data field is sound for itself: a value begun in one cannot end in the next."""
    with pytest.raises(ProtocolError):
        Packet.decode(bytes.fromhex("0802 7201 08 7201 02"))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_packet_or_a_protocol_error(body: bytes) -> None:
    for prefix in (b"", b"\x08\x02"):
        try:
            packet = Packet.decode(prefix + body)
        except ProtocolError as error:
            assert 0 <= error.offset <= len(prefix + body)
        else:
            assert Packet.decode(packet.encode()) == packet


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_decoded(kind: Any) -> None:
    assert Packet.decode(kind(b"\x08\x02\x7a\x01a")) == Packet(1, payload=b"a")


@pytest.mark.parametrize("wrong", [None, "text", 5, [8, 2]])
def test_other_things_cannot_be_decoded(wrong: Any) -> None:
    with pytest.raises(TypeError):
        Packet.decode(wrong)


def test_a_buffer_that_changes_later_does_not_matter() -> None:
    buffer = bytearray.fromhex("0802 7202 0802 7a0161")
    packet = Packet.decode(buffer)
    buffer[:] = bytes(len(buffer))
    assert packet == Packet(1, data=Data({1: 1}), payload=b"a")


def test_payloads_of_every_length_form() -> None:
    for length in (0, 1, 127, 128, 16383, 16384, 100_000):
        packet = Packet(1, payload=b"p" * length)
        assert packet.encode() == b"\x08\x02" + wire.length_delimited(15, b"p" * length)
        assert packet.frame() == wire.frame(packet.encode())
        assert Packet.decode(packet.encode()).payload == b"p" * length


def test_packets_over_a_megabyte_are_refused() -> None:
    with pytest.raises(ProtocolError, match="over 1048576 bytes"):
        Packet.decode(b"\x08\x02" + bytes(1 << 20))


@pytest.mark.parametrize("wrong", ["text", 5, [1]])
def test_other_payloads_and_data_are_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        Packet(1, payload=wrong)
    with pytest.raises((TypeError, AttributeError)):
        Packet(1, data=wrong)


def test_packets_are_equal_by_meaning() -> None:
    assert Packet(1) == Packet.decode(bytes.fromhex("08828000"))
    assert Packet(1) != Packet(2) and all(Packet(1) != other for other in OTHER_THINGS)
    with pytest.raises(TypeError):
        hash(Packet(1))


def test_repr_shows_what_is_there() -> None:
    assert repr(Packet(5)) == "Packet(5)"
    shown = repr(Packet(5, sender=2, targets=(1,), sequence=0, reliable=False, payload=b"x", data=Data({1: 1})))
    assert all(part in shown for part in ("sender=2", "targets=(1,)", "sequence=0", "reliable=False", "Data({1: 1})"))

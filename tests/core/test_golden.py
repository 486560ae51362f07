"""Packets recorded from the three official SDKs: each is read to its meaning and written again byte for byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gsrt._core import Data, FrameReader, Packet, ProtocolError, split_datagram
from tests.support import sdk_style, wire

GOLDEN = Path(__file__).parents[1] / "vectors" / "golden.jsonl"
VECTORS = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
OVER_64_BITS = {("js", "long_max"), ("js", "long_min")}  # JS writes +-2^63 as a varint of 65 bits
MANGLED_BY_JS = {"long_max", "long_min", "empty_op_int32max", "target_negative"}

sound = [vector for vector in VECTORS if (vector["sdk"], vector["name"]) not in OVER_64_BITS]


def name(vector: Mapping[str, Any]) -> str:
    return f"{vector['sdk']}-{vector['name']}"


def body_of(vector: Mapping[str, Any]) -> bytes:
    (body,) = split_datagram(bytes.fromhex(vector["hex"]))
    return body


def described(data: Data | None) -> dict[str, Any] | None:
    """Data in the form in which the vectors' `wire` gives it."""
    if data is None:
        return None
    found: dict[str, Any] = {}
    for slot in data:
        if data.has_long(slot):
            value: Any = {"long": str(data.get_long(slot))}
        elif data.has_float(slot):
            value = {"floatBits": struct.pack("<f", data.get_float(slot)).hex()}
        elif data.has_double(slot):
            value = {"doubleBits": struct.pack("<d", data.get_double(slot)).hex()}
        elif data.has_string(slot):
            text = data.get_bytes(slot)
            assert text is not None
            value = {"stringHex": text.hex()}
        elif data.has_vector(slot):
            parts = data.get_vector(slot)
            assert parts is not None
            value = {"vecBits": struct.pack(f"<{len(parts)}f", *parts).hex()}
        else:
            value = {"data": described(data.get_data(slot))}
        found[str(slot)] = value
    return found


def built(values: Mapping[str, Mapping[str, Any]]) -> Data:
    """Data from the form in which the vectors' `wire` gives it."""
    data = Data()
    for slot_text, typed in values.items():
        slot = int(slot_text)
        ((kind, value),) = typed.items()
        if kind == "long":
            data.set_long(slot, int(value))
        elif kind == "floatBits":
            data.set_float(slot, struct.unpack("<f", bytes.fromhex(value))[0])
        elif kind == "doubleBits":
            data.set_double(slot, struct.unpack("<d", bytes.fromhex(value))[0])
        elif kind == "stringHex":
            data.set_string(slot, bytes.fromhex(value))
        elif kind == "vecBits":
            data.set_vector(slot, struct.unpack(f"<{len(value) // 8}f", bytes.fromhex(value)))
        else:
            assert kind == "data", kind
            data.set_data(slot, built(value))
    return data


def test_the_vectors_are_all_there() -> None:
    assert len(VECTORS) == 176
    assert {vector["sdk"] for vector in VECTORS} == {"cpp", "cs", "js"}


@pytest.mark.parametrize("vector", sound, ids=name)
def test_decodes_to_its_meaning(vector: Mapping[str, Any]) -> None:
    meaning = vector["meaning"]["wire"]
    packet = Packet.decode(body_of(vector))
    assert packet.op_code == meaning["opCode"]
    assert packet.sequence == meaning["seq"]
    assert list(packet.targets) == meaning["targets"]
    assert packet.reliable is meaning["reliable"]
    assert packet.payload == (None if meaning["payload"] is None else bytes.fromhex(meaning["payload"]))
    assert described(packet.data) == meaning["data"]
    assert packet.sender == 0 and packet.request_id is None


@pytest.mark.parametrize("vector", sound, ids=name)
def test_a_packet_of_that_meaning_has_these_bytes(vector: Mapping[str, Any]) -> None:
    meaning = vector["meaning"]["wire"]
    packet = Packet(
        meaning["opCode"],
        sequence=meaning["seq"],
        targets=meaning["targets"],
        reliable=meaning["reliable"],
        data=None if meaning["data"] is None else built(meaning["data"]),
        payload=None if meaning["payload"] is None else bytes.fromhex(meaning["payload"]),
    )
    assert packet.frame().hex() == vector["hex"]
    assert packet == Packet.decode(body_of(vector))


@pytest.mark.parametrize("vector", sound, ids=name)
def test_decoded_bytes_go_out_unchanged(vector: Mapping[str, Any]) -> None:
    packet = Packet.decode(body_of(vector))
    assert packet.frame().hex() == vector["hex"]
    described(packet.data)
    assert packet.payload is None or isinstance(packet.payload, bytes)
    assert packet.frame().hex() == vector["hex"], "after everything has been read"
    if packet.data is not None:
        assert Data.decode(packet.data.encode()) == packet.data


@pytest.mark.parametrize("vector", sound, ids=name)
def test_the_encoder_in_the_style_of_the_sdk_has_these_bytes(vector: Mapping[str, Any]) -> None:
    if vector["sdk"] == "js" and vector["name"] in MANGLED_BY_JS:
        with pytest.raises(sdk_style.Unencodable):
            sdk_style.js(vector["meaning"]["input"])
    else:
        packet = sdk_style.STYLES[vector["sdk"]](vector["meaning"]["input"])
        assert packet.frame().hex() == vector["hex"]


@pytest.mark.parametrize("vector", sound, ids=name)
def test_the_plain_reading_of_the_format_agrees(vector: Mapping[str, Any]) -> None:
    packet = Packet.decode(body_of(vector))
    plain = wire.decode_packet(body_of(vector))
    assert (packet.op_code, packet.sequence, packet.targets) == (plain.op_code, plain.sequence, plain.targets)
    assert (packet.reliable, packet.payload) == (plain.reliable, plain.payload)
    assert (packet.data is None) == (plain.data is None)
    assert packet.data is None or packet.data.encode() == plain.data


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector not in sound], ids=name)
def test_longs_of_65_bits_are_refused(vector: Mapping[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="64 bits"):
        Packet.decode(body_of(vector))


def test_all_vectors_in_one_stream() -> None:
    stream = b"".join(bytes.fromhex(vector["hex"]) for vector in VECTORS)
    expected = [body_of(vector) for vector in VECTORS]
    assert split_datagram(stream) == expected
    for piece in (1, 2, 3, 100, 1400, len(stream)):
        reader = FrameReader(4096)
        bodies = [body for start in range(0, len(stream), piece) for body in reader.feed(stream[start : start + piece])]
        assert bodies == expected and reader.pending == 0

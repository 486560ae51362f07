"""The doubles write what the SDKs were recorded to write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.cplusplus import CppDouble
from tests.doubles.csharp import CSharpDouble, CSharpWebSocketDouble
from tests.doubles.javascript import JavaScriptDouble
from tests.doubles.writers import Intent, Outgoing, Writer, cpp_packet, csharp_packet, javascript_packet
from tests.support import wire

VECTORS = Path(__file__).parent.parent / "vectors"
WRITERS: dict[str, Writer] = {"cpp": cpp_packet, "cs": csharp_packet, "js": javascript_packet}
INTENTS = {"RELIABLE": Intent.RELIABLE, "UNRELIABLE": Intent.UNRELIABLE, "UNRELIABLE_SEQUENCED": Intent.SEQUENCED}


def golden() -> list[dict[str, Any]]:
    """The recorded encoder outputs."""
    return [json.loads(line) for line in (VECTORS / "golden.jsonl").read_text().splitlines()]


def tagged(values: dict[str, Any]) -> wire.DataDict:
    """RTData of a vector's meaning in the form of tests.support.wire."""
    out: wire.DataDict = {}
    for slot, value in values.items():
        ((kind, content),) = value.items()
        if kind in ("long", "int"):
            out[int(slot)] = ("long", int(content))
        elif kind in ("float", "double"):
            out[int(slot)] = (kind, float(content))
        elif kind == "string":
            out[int(slot)] = ("string", content.encode())
        elif kind == "vec":
            out[int(slot)] = ("vector", tuple(float(one) for one in content))
        else:
            out[int(slot)] = ("data", tagged(content))
    return out


def without_nan() -> list[dict[str, Any]]:
    """NaN has many encodings; which one a client writes is its machine's affair."""
    return [vector for vector in golden() if '"nan"' not in json.dumps(vector["meaning"])]


@pytest.mark.parametrize("vector", without_nan(), ids=lambda vector: f"{vector['name']}-{vector['sdk']}")
def test_writers_reproduce_every_golden_vector(vector: dict[str, Any]) -> None:
    meaning = vector["meaning"]["input"]
    if "login" in meaning:
        out = Outgoing(0, payload=wire.encode_login(meaning["login"].encode()))
    else:
        intent = INTENTS[meaning["intent"]]
        out = Outgoing(
            meaning["opCode"],
            intent,
            fast=meaning.get("fast", False),
            sequence=meaning.get("seqSkip", 0) if intent is Intent.SEQUENCED else None,
            targets=tuple(meaning["targets"]),
            data=None if meaning["data"] is None else tagged(meaning["data"]),
            payload=None if meaning["payload"] is None else bytes.fromhex(meaning["payload"]),
        )
    assert wire.frame(WRITERS[vector["sdk"]](out)).hex() == vector["hex"]


@pytest.mark.parametrize("vector", golden(), ids=lambda vector: f"{vector['name']}-{vector['sdk']}")
def test_the_plain_codec_reads_and_rewrites_every_golden_vector(vector: dict[str, Any]) -> None:
    (body,), rest = wire.split_frames(bytes.fromhex(vector["hex"]))
    packet = wire.decode_packet(body)
    assert not rest
    assert wire.encode_packet(packet) == body
    if packet.data is not None and not (vector["sdk"] == "js" and vector["name"] in ("long_max", "long_min")):
        assert wire.encode_data(wire.decode_data(packet.data)) == packet.data


def test_js_writes_a_varint_over_64_bits_for_what_its_numbers_cannot_hold() -> None:
    written = javascript_packet(Outgoing(1, data={1: ("long", 2**63)}))
    with pytest.raises(wire.WireError, match="over 64 bits"):
        wire.decode_data(wire.decode_packet(written).data or b"")


@pytest.mark.parametrize("nothing", [{"payload": b""}, {"data": {}}, {"data": {1: ("string", b"")}}])
def test_js_throws_on_writing_what_is_empty(nothing: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="empty"):
        javascript_packet(Outgoing(1, **nothing))


def recorded(client: str, leg: str) -> list[bytes]:
    """What a recorded client sent on a leg."""
    lines = (json.loads(line) for line in (VECTORS / "captures.jsonl").read_text().splitlines())
    wanted = (client, leg, "c2s")
    return [bytes.fromhex(one["hex"]) for one in lines if (one["client"], one["leg"], one["dir"]) == wanted]


@pytest.mark.parametrize(
    ("client", "double_class", "leg"),
    [
        ("cpp", CppDouble, "tls"),
        ("cs", CSharpDouble, "tls"),
        ("cs-websocket", CSharpWebSocketDouble, "wss"),
        ("js", JavaScriptDouble, "wss"),
    ],
)
def test_logins_are_the_recorded_ones(client: str, double_class: type[CppDouble], leg: str) -> None:
    first = recorded(client, leg)[0]
    token = wire.read_fields(wire.decode_packet(wire.split_frames(first)[0][0]).payload or b"")[0][2]
    written = {
        wire.frame(double_class("x", "127.0.0.1", 1, token.decode(), seed=seed).login_body()) for seed in range(40)
    }
    assert first in written
    if double_class is CppDouble:
        # uninitialised memory: both values of field 6, and at times a sequence number
        packets = [wire.decode_packet(wire.split_frames(one)[0][0]) for one in written]
        assert {packet.reliable for packet in packets} == {True, False}
        assert any(packet.sequence is not None for packet in packets)
    else:
        assert written == {first}

"""docs/PROTOCOL.md says what the code does: every marked table is checked against it, most of them by doing it."""

from __future__ import annotations

import ast
import importlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gsrt.reception
import gsrt.session
from gsrt._core import Data, FrameReader, Packet, ProtocolError, split_datagram
from gsrt._relay import COUNTER_NAMES
from gsrt.protocol import rt
from gsrt.transports import opening
from gsrt.transports.control import ControlServer
from tests.docs.markdown import PROJECT, Row, items, octets, plain, read_tables
from tests.doubles.probe import Probe
from tests.sessions.match import MakeMatch, Match
from tests.support import wire

TABLES = read_tables((PROJECT / "docs" / "PROTOCOL.md").read_text())
WIRE_SOURCE = (PROJECT / "gsrt" / "_wire.pxd").read_text()

# Counters that grow while everything is as it should be.
TRAFFIC = {
    *("packets_in", "bytes_in", "packets_out", "bytes_out", "datagrams_in", "datagrams_out", "writes_out"),
    *("packets_to_server", "packets_from_server", "packets_held", "connections_accepted", "closed_orderly", "logins"),
    *("udp_logins", "link_logins"),
    *("http_requests", "control_requests", "seeks", "beacons"),
}


def table(name: str) -> list[Row]:
    return TABLES[name]


def rows(name: str) -> pytest.MarkDecorator:
    """One test per row of a table, named by its first cells."""
    return pytest.mark.parametrize("row", table(name), ids=lambda row: " / ".join(map(plain, list(row.values())[:2])))


def test_every_marked_table_is_checked() -> None:
    checked = re.findall(r"(?:table|rows)\(\"(\w+)\"\)", Path(__file__).read_text())
    checked += MESSAGES_WITH_FIELDS
    checked += MESSAGES_WITHOUT
    assert set(TABLES) == set(checked)


# Reading and writing by the document: a message is what its table says, and nothing else.


# Wire types by what the tables of packets and messages call them.
KINDS = {
    "0": 0,
    "0, zig-zag": 0,
    "0, repeated": 0,
    "2": 2,
    "number": 0,
    "number, repeated": 0,
    "flag": 0,
    "string": 2,
}


class Field:
    """One row of a table of fields."""

    def __init__(self, row: Row) -> None:
        self.number = int(row["field"])
        self.key = octets(row["key"])
        kind = row.get("type") or row["wire type"]
        self.wire_type = KINDS[kind]
        self.is_text = kind == "string"
        self.zig_zag = "zig-zag" in kind
        self.repeated = "repeated" in kind
        self.name = row["name"]
        assert self.key == wire.key(self.number, self.wire_type), f"{self.name}: key and field number differ"

    def read(self, raw: Any) -> Any:
        if self.wire_type == 2:
            return raw.decode() if self.is_text else raw
        return wire.unzigzag(raw) if self.zig_zag else wire.signed(raw, 64)

    def write(self, value: Any) -> bytes:
        if self.wire_type == 2:
            raw: bytes = value.encode() if self.is_text else value
            return self.key + wire.varint(len(raw)) + raw
        return self.key + wire.varint(wire.zigzag(value) if self.zig_zag else value)


class Format:
    """A table of fields. Values are a dict by name, those of repeated fields lists."""

    def __init__(self, name: str) -> None:
        self.fields = [Field(row) for row in table(name)]
        self.names = [field.name for field in self.fields]

    def read(self, body: bytes) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for number, wire_type, raw in wire.read_fields(body):
            (field,) = [each for each in self.fields if (each.number, each.wire_type) == (number, wire_type)]
            if field.repeated:
                values.setdefault(field.name, []).append(field.read(raw))
            else:
                assert field.name not in values, f"{field.name} twice"
                values[field.name] = field.read(raw)
        assert list(values) == [name for name in self.names if name in values], "fields out of the document's order"
        return values

    def write(self, values: dict[str, Any]) -> bytes:
        parts = [
            field.write(one)
            for field in self.fields
            if field.name in values
            for one in (values[field.name] if field.repeated else [values[field.name]])
        ]
        return b"".join(parts)


MESSAGES_WITH_FIELDS = ("login", "login_result", "player_connect", "player_disconnect")
MESSAGES_WITHOUT = ("udp_connect", "player_ready", "ping")

PACKET = Format("packet_fields")
BODIES = {name.replace("_", ""): Format(name) for name in MESSAGES_WITH_FIELDS}
OP_CODES = {row["message"]: int(row["opCode"]) for row in table("op_codes")}
ATTRIBUTES = {row["name"]: row["in `gsrt.Packet`"] for row in table("packet_fields")}


def read_packet(frame: bytes) -> dict[str, Any]:
    """A frame's fields, by the document."""
    (body,) = wire.datagram_frames(frame)
    return PACKET.read(body)


def read_message(frame: bytes) -> tuple[str, dict[str, Any]]:
    """A system message's name and values, by the document; with `reliable` where field 6 is present."""
    packet = read_packet(frame)
    op_code = packet.pop("opCode")
    (name,) = [name for name, documented in OP_CODES.items() if documented == op_code]
    payload = packet.pop("payload", b"")
    body = BODIES.get(name.lower())
    values = body.read(payload) if body is not None else {}
    assert body is not None or payload == b""
    return name, {**packet, **values}


# 2 to 4: first bytes, framing, packet


@rows("opening")
def test_first_bytes_are_read_as_the_document_says(row: Row) -> None:
    verdict = opening.classify(octets(row["first bytes"]))
    assert (verdict or "more") == row["read as"]


def test_first_bytes_name_every_http_method() -> None:
    (http,) = [row for row in table("opening") if row["read as"] == "http"]
    methods = re.findall(r"[A-Z]{3,}", http["note"])
    assert {f"{method} ".encode() for method in methods} == set(opening._HTTP_METHODS)


@rows("framing")
def test_frames_are_taken_apart_as_the_document_says(row: Row) -> None:
    data = octets(row["bytes"])

    def frames() -> list[bytes]:
        return {"stream": FrameReader(1 << 16).feed, "datagram": split_datagram}[row["leg"]](data)

    if row["frames in it"] == "error":
        with pytest.raises(ProtocolError):
            frames()
    else:
        assert frames() == [octets(cell) for cell in items(row["frames in it"])]


def everything() -> Packet:
    """A packet with every field there is."""
    return Packet(
        -101,
        sequence=-5,
        request_id=7,
        targets=(3, 200),
        sender=9,
        reliable=True,
        data={1: 5},
        payload=b"\x00\xff",
    )


def test_packet_fields_are_written_as_the_document_says() -> None:
    packet = everything()
    values = PACKET.read(packet.encode())
    assert list(values) == PACKET.names
    assert PACKET.names == [
        *("opCode", "sequenceNumber", "requestId", "targetPlayers", "sender", "reliable", "data", "payload")
    ]
    for name, attribute in ATTRIBUTES.items():
        expected = getattr(packet, attribute)
        expected = expected.encode() if isinstance(expected, Data) else expected
        assert values[name] == (list(expected) if isinstance(expected, tuple) else expected), name


def test_packet_fields_are_read_as_the_document_says() -> None:
    assert Packet.decode(PACKET.write(PACKET.read(everything().encode()))) == everything()


def test_packet_keys_are_those_of_the_scanner() -> None:
    keys = {name: int(value, 16) for name, value in re.findall(r"KEY_(\w+) = (0x[0-9a-f]+)", WIRE_SOURCE)}
    values = {row["type"]: octets(row["key"])[0] for row in table("value_fields")}
    assert keys.pop("STRING") == values["string"]
    assert keys.pop("VECTOR") == values["vector"]
    assert keys["DATA"] == values["data"]
    assert sorted(keys.values()) == sorted(field.key[0] for field in PACKET.fields)


def test_packet_fields_are_relayed_as_the_document_says(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    sent = PACKET.read(everything().encode()) | {"opCode": 60, "targetPlayers": [2]}
    sender.send(wire.frame(PACKET.write(sent)))
    match.mark_from(sender, [receiver])
    (frame,) = [body for body in wire.split_frames(b"".join(receiver.records))[0] if body[:2] == b"\x08\x78"]
    received = PACKET.read(frame)
    for row in table("packet_fields"):
        name = row["name"]
        expected = {"as it came": sent[name], "rewritten": 1, "left out": None}[row["relayed"]]
        assert received.get(name) == expected, name


@rows("packet_examples")
def test_packet_examples_mean_what_the_document_says(row: Row) -> None:
    values: dict[str, Any] = {}
    for name, _, text in (part.partition("=") for part in row["fields"].split()):
        if name in ("data", "payload"):
            values[name] = Data.decode(bytes.fromhex(text)) if name == "data" else bytes.fromhex(text)
        else:
            values[name] = (int(text),) if name == "targets" else int(text)
    body = octets(row["bytes (without length)"])
    packet = Packet(values.pop("op_code"), **values)
    assert packet.encode() == body
    assert Packet.decode(body) == packet


@rows("packet_errors")
def test_unsound_packets_are_refused_for_the_reason_given(row: Row) -> None:
    with pytest.raises(ProtocolError) as caught:
        Packet.decode(octets(row["bytes (without length)"]))
    assert caught.value.reason == row["error"]


# 5: data

SAMPLES = {"long": -3, "double": 0.1, "float": 1.5, "string": "x", "vector": (1.0,), "data": {1: 7}}


def put(kind: str, slot: int, value: Any) -> Data:
    data: Data = getattr(Data(), f"set_{kind}")(slot, value)
    return data


def test_every_type_of_data_is_in_the_document() -> None:
    plain_types = {row["type"] for row in table("data_types")} - {"value"}
    assert plain_types | {row["type"] for row in table("value_fields")} == set(SAMPLES)


@rows("data_types")
def test_values_are_written_as_the_document_says(row: Row) -> None:
    kinds = [each["type"] for each in table("value_fields")] if row["type"] == "value" else [row["type"]]
    for kind in kinds:
        assert put(kind, 3, SAMPLES[kind]).encode()[:1] == wire.key(3, int(row["wire type"])), kind
    for size in re.findall(r"^(\d+) bytes", row["value"]):
        assert len(put(row["type"], 3, SAMPLES[row["type"]]).encode()) == 1 + int(size)
    for bits in re.findall(r"varint of (\d+) bits", row["value"]):
        lowest = -(1 << (int(bits) - 1))
        assert put(row["type"], 3, lowest).get_long(3) == lowest
        with pytest.raises(OverflowError):
            put(row["type"], 3, lowest - 1)


@rows("value_fields")
def test_value_messages_are_written_as_the_document_says(row: Row) -> None:
    ((_, _, body),) = wire.read_fields(put(row["type"], 3, SAMPLES[row["type"]]).encode())
    assert octets(row["key"]) == wire.key(int(row["field"]), 2)
    assert body[:1] == octets(row["key"])
    assert len(wire.read_fields(body)) == 1


@rows("data_examples")
def test_data_examples_hold_what_the_document_says(row: Row) -> None:
    value = ast.literal_eval(row["value"])
    encoded = octets(row["bytes"])
    data = Data.decode(encoded)
    assert data.to_dict() == {int(row["slot"]): value}
    assert data.kind(int(row["slot"])) == row["type"]
    assert put(row["type"], int(row["slot"]), value).encode() == encoded


@rows("data_errors")
def test_unsound_data_is_refused_for_the_reason_given(row: Row) -> None:
    with pytest.raises(ProtocolError) as caught:
        Data.decode(octets(row["bytes"]))
    assert caught.value.reason == row["error"]


# 6: system messages


def test_op_codes_are_those_of_the_code() -> None:
    documented = {plain(row["constant in `gsrt.protocol.rt`"]): int(row["opCode"]) for row in table("op_codes")}
    assert documented == {name: value for name, value in vars(rt).items() if name.startswith("OP_")}
    for row in table("op_codes"):
        assert Packet(int(row["opCode"])).encode() == b"\x08" + octets(row["on the wire"])


TOKEN = "a-token"

WRITERS: dict[str, Callable[[], tuple[bytes, dict[str, Any]]]] = {
    "login": lambda: (rt.login_frame(TOKEN), {"token": TOKEN, "clientVersion": rt.CLIENT_VERSION}),
    "login_result": lambda: (
        rt.login_result_frame(TOKEN, 200, [1, 300], fast=True, fast_port=65535),
        {
            "reliable": 0,
            "success": 1,
            "reconnectToken": TOKEN,
            "peerId": 200,
            "activePeers": [1, 300],
            "fastPort": 65535,
        },
    ),
    "player_connect": lambda: (rt.player_connect_frame(7, [1, 7]), {"peerId": 7, "activePeers": [1, 7]}),
    "player_disconnect": lambda: (rt.player_disconnect_frame(7, [1]), {"peerId": 7, "activePeers": [1]}),
}
READERS: dict[str, Callable[[Packet], Any]] = {
    "login": rt.parse_login,
    "login_result": rt.parse_login_result,
    "player_connect": rt.parse_peer_change,
    "player_disconnect": rt.parse_peer_change,
}


@pytest.mark.parametrize("name", MESSAGES_WITH_FIELDS)
def test_messages_are_written_as_their_table_says(name: str) -> None:
    frame, expected = WRITERS[name]()
    message, values = read_message(frame)
    assert message.lower() == name.replace("_", "")
    assert values == expected
    assert [each for each in values if each != "reliable"] == BODIES[name.replace("_", "")].names


@pytest.mark.parametrize("name", MESSAGES_WITH_FIELDS)
def test_messages_are_read_as_their_table_says(name: str) -> None:
    frame, values = WRITERS[name]()
    op_code = read_packet(frame)["opCode"]
    body = BODIES[name.replace("_", "")].write(values)
    message = READERS[name](Packet(op_code, payload=body))
    for field, value in values.items():
        if field == "reliable":
            continue
        attribute = re.sub("([A-Z])", lambda match: "_" + match[1].lower(), field)
        read = getattr(message, attribute)
        assert (list(read) if isinstance(read, tuple) else read) == value, field


FRAMES: dict[tuple[str, str], Callable[[], bytes]] = {
    ("udp_connect", "server"): rt.udp_connect_frame,
    ("udp_connect", "client"): rt.udp_connect_reply_frame,
    ("player_ready", "client"): rt.player_ready_frame,
    ("ping", "client"): lambda: Packet(rt.OP_PING, payload=b"").frame(),
    ("ping", "server"): lambda: Packet(rt.OP_PING_RESULT, payload=b"").frame(),
}


def test_messages_without_fields_are_written_as_their_table_says() -> None:
    documented = {(name, row["from"]): row for name in MESSAGES_WITHOUT for row in table(name)}
    assert set(documented) == set(FRAMES)
    for which, row in documented.items():
        assert octets(row["frame"]) == FRAMES[which](), which
        payload = read_packet(octets(row["frame"])).get("payload")
        assert payload == {"empty": b"", "absent": None}[row["payload"]], which


def frame_from(message: str, values: dict[str, Any], documented: bytes) -> bytes:
    """The same message, made by the code."""
    peers = values.get("activePeers", [])
    if message == "Login":
        return rt.login_frame(values["token"])
    if message == "LoginResult":
        fast = values.get("reliable") == 0
        return rt.login_result_frame(
            values["reconnectToken"], values["peerId"], peers, fast=fast, fast_port=values.get("fastPort")
        )
    if message == "PlayerConnect":
        return rt.player_connect_frame(values["peerId"], peers)
    if message == "PlayerDisconnect":
        return rt.player_disconnect_frame(values["peerId"], peers)
    (frame,) = {make() for make in FRAMES.values() if make() == documented}
    return frame


@rows("examples")
def test_examples_mean_what_the_document_says(row: Row) -> None:
    expected: dict[str, Any] = {}
    for name, _, text in (part.partition("=") for part in row["values"].split()):
        repeated = name == "activePeers"
        number = [int(one) for one in text.split(",")] if repeated else int(text) if text.isdigit() else text
        expected[name] = number
    frame = octets(row["frame"])
    assert read_message(frame) == (row["message"], expected)
    assert frame_from(row["message"], expected, frame) == frame
    assert Packet.decode(wire.datagram_frames(frame)[0]).op_code == OP_CODES[row["message"]]


def test_there_is_an_example_of_each_message() -> None:
    assert {row["message"] for row in table("examples")} == set(OP_CODES)


# 7 and 8: connecting, leaving


class Newcomer:
    """A client that does what the table says, and the packets that the server has sent it, each taken once."""

    def __init__(self, match: Match, peer_id: int, other: Probe) -> None:
        self.match = match
        self.probe = match.probe()
        self.token = match.token(peer_id)
        self.other = other
        self.taken = {"stream": 0, "UDP": 0, "others": len(other.received)}

    def received(self, leg: str) -> list[wire.Packet]:
        """What has come on a leg and was not taken."""
        packets = {
            "stream": self.probe.received,
            "UDP": self.probe.received_fast,
            "others": self.other.received,
        }[leg]
        return packets[self.taken[leg] :]

    def say(self, message: str, leg: str) -> None:
        assert not self.received("stream") and not self.received("others"), "the server was ahead of the document"
        if message == "Login":
            if leg == "stream":
                self.probe.send(rt.login_frame(self.token))
            else:
                self.probe.send_datagram(
                    rt.login_frame((self.probe.login_results()[0].reconnect_token or b"").decode())
                )
        else:
            self.probe.send({"UDPConnect": rt.udp_connect_reply_frame, "PlayerReady": rt.player_ready_frame}[message]())

    def hear(self, message: str, leg: str) -> None:
        name, _, flag = message.partition(", ")
        self.match.driver.run_until(lambda: bool(self.received(leg)), f"{message} on {leg}")
        packet = self.received(leg)[0]
        self.taken[leg] += 1
        assert packet.op_code == OP_CODES[name]
        assert packet.reliable is (False if flag == "reliable=0" else None)


def test_the_connect_sequence_is_the_documents(new_match: MakeMatch) -> None:
    match = new_match(2)
    newcomer = Newcomer(match, 2, match.ready_probe(1))
    for step, row in enumerate(table("connect_sequence"), 1):
        assert int(row["step"]) == step
        (newcomer.say if row["from"] == "client" else newcomer.hear)(row["message"], row["leg"])
    match.until_state(2, "ready")
    assert not newcomer.received("stream") and not newcomer.received("others")


def test_messages_go_by_the_legs_of_their_table() -> None:
    """The list of messages, the tables of those without fields, and the connect sequence tell the same."""
    listed = {row["message"]: row["leg"] for row in table("op_codes")}
    seen: dict[str, list[str]] = {}
    for row in table("connect_sequence"):
        leg = "stream" if row["leg"] == "others" else row["leg"]
        legs = seen.setdefault(row["message"].partition(",")[0], [])
        if leg not in legs:
            legs.append(leg)
    for message, legs in seen.items():
        assert re.split(r", then | and ", listed[message]) == legs, message
    for name in MESSAGES_WITHOUT:
        for row in table(name):
            message, _ = read_message(octets(row["frame"]))
            assert row["leg"] in listed[message] or listed[message].startswith("defined")
            assert row["leg"] in ("stream", "UDP")
    senders = {(row["message"].partition(",")[0], row["leg"]): row["from"] for row in table("connect_sequence")}
    assert [senders["UDPConnect", row["leg"]] for row in table("udp_connect")] == [
        row["from"] for row in table("udp_connect")
    ]


def test_the_pace_of_udp_connect_is_the_profiles() -> None:
    (step,) = [row for row in table("connect_sequence") if row["message"] == "UDPConnect" and row["from"] == "server"]
    seconds, times = re.findall(r"every ([\d.]+) s, (\d+) times", step["what it does"])[0]
    profile = generic_profile()
    assert (float(seconds), int(times)) == (profile["udp_hello_interval_seconds"], profile["udp_hello_attempts"])


def test_player_states_are_those_of_the_code() -> None:
    states = {value for name, value in vars(gsrt.session).items() if name.isupper() and isinstance(value, str)}
    assert {row["state"] for row in table("player_states")} == states


# 9 and 10: relaying


@rows("relay_targets")
def test_targets_are_relayed_as_the_document_says(row: Row, new_match: MakeMatch) -> None:
    match = new_match(3)
    probes = [match.ready_probe(peer_id) for peer_id in (1, 2, 3)]
    probes[0].send_packet(wire.Packet(60, targets=tuple(map(int, items(row["targets"])))))
    match.mark_from(probes[0], probes[1:])
    match.mark_from(probes[1], [probes[0]])
    received = [str(number) for number, probe in enumerate(probes, 1) for _ in probe.of_op_code(60)]
    assert (", ".join(received) or "nobody") == row["received by"]


@rows("relay_legs")
def test_packets_take_the_leg_that_the_document_says(row: Row, new_match: MakeMatch) -> None:
    match = new_match(2)
    sender = match.fast_probe(1)
    receiver = {"confirmed": match.fast_probe, "none": match.ready_probe}[row["receiver's UDP"]](2)
    reliable = {"absent": None, "0": False, "1": True}[row["field 6"]]
    # With the new header (opCode, sender, payload's key and length, prefix) of 9 bytes: 1024 and 1025.
    payload = bytes({"small": 1015, "large": 1016}[row["packet"]])
    packet = wire.Packet(60, reliable=reliable, payload=payload)
    {"stream": sender.send_packet, "UDP": sender.send_fast}[row["came by"]](packet)

    def arrived() -> dict[str, int]:
        fast = [each for each in receiver.received_fast if each.op_code == 60]
        return {"stream": len(receiver.of_op_code(60)), "UDP": len(fast)}

    match.driver.run_until(lambda: any(arrived().values()), "the packet")
    match.mark_from(sender, [receiver])
    assert arrived() == {"stream": 0, "UDP": 0, row["goes by"]: 1}


@rows("sequences")
def test_sequence_numbers_are_dealt_with_as_the_document_says(row: Row, new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.ready_probe(2)
    numbers = [int(number) for number in items(row["numbers sent by UDP"])]
    for number in numbers:
        sender.send_fast(wire.Packet(60, sequence=number, payload=b"%d" % number))

    def arrived() -> list[int]:
        return [int(packet.payload or b"") for packet in receiver.of_op_code(60)]

    match.driver.run_until(lambda: arrived()[-1:] == numbers[-1:], "the newest")
    assert arrived() == [int(number) for number in items(row["relayed"])]
    assert {packet.sequence for packet in receiver.received} == {None}


# 11: limits


def generic_profile() -> dict[str, float]:
    return tomllib.loads((PROJECT / "firmware_profiles" / "generic.toml").read_text())


@rows("limits")
def test_limits_are_those_of_the_code(row: Row) -> None:
    where, name = plain(row["where it is set"]).split()
    value: float
    if where == "profile":
        value = generic_profile()[name]
    elif where == "compiled":
        sources = "".join(path.read_text() for path in (PROJECT / "gsrt").glob("*.p[yx][xd]"))
        (found,) = re.findall(rf"^    {name} = (\d+)\b", sources, re.MULTILINE)
        value = int(found)
    else:
        value = getattr(importlib.import_module(where), name)
    assert float(row["value"]) == value


def test_numbers_in_the_text_are_those_of_the_tables() -> None:
    """Limits that sentences and rows repeat."""
    values = {row["limit"]: row["value"] for row in table("limits")}
    text = " ".join((PROJECT / "docs" / "PROTOCOL.md").read_text().split())
    for sentence, limit in (
        ("Data nested deeper than {} levels", "levels of nested data"),
        ("always; 1 to {} bytes of UTF-8", "bytes of a token"),
        (
            "a frame length of at least 2 and at most {},",
            "bytes of the first frame of a connection, by its first bytes",
        ),
        ("more than {} UDP logins in one tick", "UDP logins looked at in one tick"),
        ("a message over {} bytes", "bytes of a WebSocket message that is received"),
        ("a datagram over {} bytes", "bytes of a datagram that is received"),
        ("A **frame** is a varint length (at most {} bytes)", "bytes of a frame's length prefix"),
        ("Datagrams stay at {} bytes", "bytes of a datagram that is sent"),
    ):
        assert sentence.format(values[limit]) in text


# 12: the SDKs


@rows("sdk_examples")
def test_sdk_examples_are_golden_vectors(row: Row) -> None:
    lines = (PROJECT / "tests" / "vectors" / "golden.jsonl").read_text().splitlines()
    vectors = {one["sdk"]: one["hex"] for one in map(json.loads, lines) if one["name"] == row["vector"]}
    assert vectors == {
        sdk: octets(row[column]).hex() for sdk, column in (("cpp", "C++"), ("cs", "C#"), ("js", "JavaScript"))
    }


# 13 and 14: what is wrong, counters


def all_counters(tmp_path: Path) -> dict[str, set[str]]:
    """The code's counters by who keeps them."""
    control = ControlServer(str(tmp_path / "control.sock"), lambda request: {})
    names = set(control.counters)
    control.close()
    return {"relay": set(COUNTER_NAMES), "reception": set(gsrt.reception.COUNTERS), "control": names}


def test_every_counter_is_documented_and_exists(tmp_path: Path, new_match: MakeMatch) -> None:
    documented: dict[str, set[str]] = {}
    for row in table("counters"):
        documented.setdefault(row["of"], set()).add(row["counter"])
    assert documented == all_counters(tmp_path)
    status = new_match(1).server.control({"do": "status"})
    assert set(status["counters"]) == set().union(*documented.values())


def test_every_counter_of_trouble_has_a_row_of_what_is_wrong(tmp_path: Path) -> None:
    named = {name for row in table("wrong_bytes") + table("wrong_otherwise") for name in items(row["counters"])}
    assert named == set().union(*all_counters(tmp_path).values()) - TRAFFIC


def trouble(match: Match) -> dict[str, int]:
    """The server's counters of trouble that are not 0."""
    return {name: count for name, count in match.server.counters().items() if count and name not in TRAFFIC}


@pytest.fixture
def quiet_match(new_match: MakeMatch) -> Iterator[Match]:
    """A session on a server where nobody else is connected any more."""
    match = new_match(2)
    match.driver.run_until(lambda: match.server.control({"do": "status"})["connections"] == 0, "an empty server")
    yield match


@rows("wrong_bytes")
def test_what_is_wrong_has_the_outcome_and_counters_given(row: Row, quiet_match: Match) -> None:
    match = quiet_match
    who, leg = row["on"].split()
    closed = {"closed": True, "kept": False}[row["connection"]]
    bystander = match.ready_probe(2)
    if who == "player":
        probe = match.fast_probe(1) if leg == "UDP" else match.ready_probe(1, {"TCP": "tcp", "WebSocket": "ws"}[leg])
    else:
        assert who in ("new", "stranger")
        probe = match.probe({"TCP": "raw", "UDP": "raw", "WebSocket": "ws"}[leg])
    before = trouble(match)
    data = octets(row["bytes"])
    if leg == "UDP":
        probe.send_datagram(data)
    else:
        probe.stream.write(data, match.driver.now)

    expected = dict.fromkeys(items(row["counters"]), 1)

    def happened() -> dict[str, int]:
        return {name: more for name, count in trouble(match).items() if (more := count - before.get(name, 0))}

    match.driver.run_until(lambda: happened().keys() >= expected.keys(), f"{expected}")
    if closed:
        match.driver.run_until(lambda: probe.ended is not None, "the connection's end")
    elif who == "player":
        match.mark_from(probe, [bystander])
    assert happened() == expected
    assert (probe.ended is not None) == closed
    assert bystander.ended is None

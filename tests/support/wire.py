"""A second, slow and plain reading of the RT wire format, for tests only.

It shares no line with the compiled codec, so that a misunderstanding in one of them shows as a difference. Formats:

* a frame is a varint length and that many bytes of packet;
* a packet is a run of fields, each a key varint `number << 3 | wire type` and a value;
* RTData is a dict of slot (1..127) to a tagged value: ("long", int), ("float", float), ("double", float),
  ("string", bytes), ("vector", tuple of floats) or ("data", dict).

Everything malformed or unknown raises `WireError`: what a server sends must hold nothing a client could not know.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

DataDict = dict[int, tuple[str, Any]]

OP_LOGIN = 0
OP_LOGIN_RESULT = -1
OP_PING = -2
OP_PING_RESULT = -3
OP_UDP_CONNECT = -5
OP_PLAYER_READY = -7
OP_PLAYER_CONNECT = -101
OP_PLAYER_DISCONNECT = -103


class WireError(ValueError):
    """The bytes are not what the format allows."""


@dataclass(frozen=True)
class Packet:
    """One packet. None is an absent field; `order` holds the field numbers as met (decoding only)."""

    op_code: int = 0
    sequence: int | None = None
    request_id: int | None = None
    targets: tuple[int, ...] = ()
    sender: int | None = None
    reliable: bool | None = None
    data: bytes | None = None
    payload: bytes | None = None
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class LoginResult:
    """Body of opCode -1."""

    success: bool | None
    reconnect_token: bytes | None
    peer_id: int | None
    active_peers: tuple[int, ...]
    fast_port: int | None


@dataclass(frozen=True)
class PeerChange:
    """Body of opCodes -101 and -103."""

    peer_id: int | None
    active_peers: tuple[int, ...]


def varint(value: int) -> bytes:
    """Base-128 little-endian; negative values as 64-bit two's complement (10 bytes)."""
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The value at `at` and the offset behind it. Raises WireError where it is cut or over 64 bits."""
    value = 0
    for index in range(10):
        if at >= len(data):
            raise WireError("varint cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >> 64:
                raise WireError("varint over 64 bits")
            return value, at
    raise WireError("varint over 10 bytes")


def zigzag(value: int) -> int:
    """Signed to unsigned: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return value * 2 if value >= 0 else -value * 2 - 1


def unzigzag(value: int) -> int:
    """Unsigned back to signed."""
    return value // 2 if value % 2 == 0 else -(value + 1) // 2


def signed(value: int, bits: int) -> int:
    """The low `bits` of a varint as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def key(number: int, wire_type: int) -> bytes:
    """Field key."""
    return varint(number << 3 | wire_type)


def length_delimited(number: int, body: bytes) -> bytes:
    """A field of wire type 2."""
    return key(number, 2) + varint(len(body)) + body


def frame(body: bytes) -> bytes:
    """A packet with its length prefix."""
    return varint(len(body)) + body


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole packet bodies of a byte stream, and the bytes of the unfinished one."""
    bodies: list[bytes] = []
    at = 0
    while at < len(data):
        try:
            length, start = read_varint(data, at)
        except WireError:
            break
        if start + length > len(data):
            break
        bodies.append(data[start : start + length])
        at = start + length
    return bodies, data[at:]


def datagram_frames(data: bytes) -> list[bytes]:
    """Packet bodies of one datagram or WebSocket message, which must hold whole packets only."""
    bodies, rest = split_frames(data)
    if rest or not bodies:
        raise WireError("datagram does not hold whole packets")
    return bodies


def encode_packet(packet: Packet) -> bytes:
    """The packet's fields in ascending order, without length prefix."""
    out = key(1, 0) + varint(zigzag(packet.op_code))
    if packet.sequence is not None:
        out += key(2, 0) + varint(packet.sequence)
    if packet.request_id is not None:
        out += key(3, 0) + varint(packet.request_id)
    for target in packet.targets:
        out += key(4, 0) + varint(target)
    if packet.sender is not None:
        out += key(5, 0) + varint(packet.sender)
    if packet.reliable is not None:
        out += key(6, 0) + varint(int(packet.reliable))
    if packet.data is not None:
        out += length_delimited(14, packet.data)
    if packet.payload is not None:
        out += length_delimited(15, packet.payload)
    return out


def read_fields(data: bytes) -> list[tuple[int, int, Any]]:
    """(number, wire type, value) of a message: ints for wire type 0, bytes for 1, 2 and 5."""
    fields: list[tuple[int, int, Any]] = []
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        value: Any
        if wire_type == 0:
            value, at = read_varint(data, at)
        else:
            if wire_type == 2:
                size, at = read_varint(data, at)
            elif wire_type in (1, 5):
                size = 8 if wire_type == 1 else 4
            else:
                raise WireError(f"wire type {wire_type}")
            if at + size > len(data):
                raise WireError(f"field {number} cut short")
            value = data[at : at + size]
            at += size
        fields.append((number, wire_type, value))
    return fields


def _expect(number: int, wire_type: int, allowed: dict[int, int]) -> None:
    if allowed.get(number) != wire_type:
        raise WireError(f"unknown field {number} of wire type {wire_type}")


def _bool(value: int) -> bool:
    if value not in (0, 1):
        raise WireError(f"bool of {value}")
    return value == 1


PACKET_FIELDS = {1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 14: 2, 15: 2}


def decode_packet(body: bytes) -> Packet:
    """A packet body (no length prefix)."""
    values: dict[int, Any] = {}
    targets: list[int] = []
    order: list[int] = []
    for number, wire_type, value in read_fields(body):
        _expect(number, wire_type, PACKET_FIELDS)
        order.append(number)
        if number == 4:
            targets.append(signed(value, 32))
        elif number in values:
            raise WireError(f"field {number} twice")
        else:
            values[number] = value
    if order[:1] != [1]:
        raise WireError("opCode is not first")
    return Packet(
        op_code=unzigzag(values[1]),
        sequence=signed(values[2], 32) if 2 in values else None,
        request_id=signed(values[3], 32) if 3 in values else None,
        targets=tuple(targets),
        sender=signed(values[5], 32) if 5 in values else None,
        reliable=_bool(values[6]) if 6 in values else None,
        data=values.get(14),
        payload=values.get(15),
        order=tuple(order),
    )


def encode_login(token: bytes, client_version: int = 2) -> bytes:
    """Body of opCode 0."""
    return length_delimited(1, token) + key(2, 0) + varint(client_version)


def decode_login_result(body: bytes) -> LoginResult:
    """Body of opCode -1."""
    values: dict[int, Any] = {}
    peers: list[int] = []
    for number, wire_type, value in read_fields(body):
        _expect(number, wire_type, {1: 0, 2: 2, 3: 0, 4: 0, 5: 0})
        if number == 4:
            peers.append(value)
        else:
            values[number] = value
    return LoginResult(
        _bool(values[1]) if 1 in values else None, values.get(2), values.get(3), tuple(peers), values.get(5)
    )


def encode_login_result(result: LoginResult) -> bytes:
    """Body of opCode -1, activePeers unpacked."""
    out = b""
    if result.success is not None:
        out += key(1, 0) + varint(int(result.success))
    if result.reconnect_token is not None:
        out += length_delimited(2, result.reconnect_token)
    if result.peer_id is not None:
        out += key(3, 0) + varint(result.peer_id)
    for peer in result.active_peers:
        out += key(4, 0) + varint(peer)
    if result.fast_port is not None:
        out += key(5, 0) + varint(result.fast_port)
    return out


def decode_peer_change(body: bytes) -> PeerChange:
    """Body of opCodes -101 and -103."""
    peer_id: int | None = None
    peers: list[int] = []
    for number, wire_type, value in read_fields(body):
        _expect(number, wire_type, {1: 0, 4: 0})
        if number == 1:
            peer_id = value
        else:
            peers.append(value)
    return PeerChange(peer_id, tuple(peers))


def encode_peer_change(change: PeerChange) -> bytes:
    """Body of opCodes -101 and -103, activePeers unpacked."""
    out = b"" if change.peer_id is None else key(1, 0) + varint(change.peer_id)
    for peer in change.active_peers:
        out += key(4, 0) + varint(peer)
    return out


def encode_data(values: DataDict) -> bytes:
    """RTData, slots ascending."""
    out = b""
    for slot in sorted(values):
        kind, value = values[slot]
        if kind == "long":
            out += key(slot, 0) + varint(zigzag(value))
        elif kind == "double":
            out += key(slot, 1) + struct.pack("<d", value)
        elif kind == "float":
            out += key(slot, 5) + struct.pack("<f", value)
        elif kind == "string":
            out += length_delimited(slot, length_delimited(1, value))
        elif kind == "vector":
            out += length_delimited(slot, length_delimited(2, b"".join(struct.pack("<f", one) for one in value)))
        elif kind == "data":
            out += length_delimited(slot, length_delimited(14, encode_data(value)))
        else:
            raise WireError(f"no such kind of value: {kind}")
    return out


def _decode_value(body: bytes) -> tuple[str, Any]:
    fields = read_fields(body)
    if len(fields) != 1:
        raise WireError(f"value with {len(fields)} fields")
    number, wire_type, value = fields[0]
    _expect(number, wire_type, {1: 2, 2: 2, 14: 2})
    if number == 1:
        return "string", value
    if number == 14:
        return "data", decode_data(value)
    if len(value) % 4 or len(value) > 16:
        raise WireError(f"vector of {len(value)} bytes")
    return "vector", struct.unpack(f"<{len(value) // 4}f", value)


def decode_data(body: bytes) -> DataDict:
    """RTData of any nesting Python can follow."""
    values: DataDict = {}
    for slot, wire_type, value in read_fields(body):
        if not 1 <= slot <= 127:
            raise WireError(f"slot {slot}")
        if wire_type == 0:
            values[slot] = ("long", unzigzag(value))
        elif wire_type == 1:
            values[slot] = ("double", struct.unpack("<d", value)[0])
        elif wire_type == 5:
            values[slot] = ("float", struct.unpack("<f", value)[0])
        else:
            values[slot] = _decode_value(value)
    return values

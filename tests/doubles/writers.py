"""What each SDK writes, byte for byte: packets of users and system messages, without the length prefix."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.support import wire


class Intent(Enum):
    """How a packet is meant to travel."""

    RELIABLE = 0
    UNRELIABLE = 1
    SEQUENCED = 2


@dataclass(frozen=True)
class Outgoing:
    """A packet the app asked for. `fast`: it will go by UDP. `data` may be RTData bytes made elsewhere."""

    op_code: int
    intent: Intent = Intent.RELIABLE
    fast: bool = False
    sequence: int | None = None
    targets: tuple[int, ...] = ()
    data: wire.DataDict | bytes | None = None
    payload: bytes | None = None


Writer = Callable[[Outgoing], bytes]


def _plain_data(data: wire.DataDict | bytes | None) -> bytes | None:
    return data if data is None or isinstance(data, bytes) else wire.encode_data(data)


def cpp_packet(out: Outgoing) -> bytes:
    """C++ always writes fields 6 and 14."""
    return wire.encode_packet(
        wire.Packet(
            op_code=out.op_code,
            sequence=out.sequence,
            targets=out.targets,
            reliable=out.intent is Intent.RELIABLE,
            data=_plain_data(out.data) or b"",
            payload=out.payload or None,
        )
    )


def csharp_packet(out: Outgoing) -> bytes:
    """C# writes field 6 only to say "unreliable" on a stream, fields 14 and 15 only where there is something."""
    return wire.encode_packet(
        wire.Packet(
            op_code=out.op_code,
            sequence=out.sequence,
            targets=out.targets,
            reliable=None if out.intent is Intent.RELIABLE or out.fast else False,
            data=_plain_data(out.data),
            payload=out.payload or None,
        )
    )


def javascript_packet(out: Outgoing) -> bytes:
    """JS follows C#'s rules, with numbers as a JS engine has them and strings cut to Latin-1.

    Raises ValueError where the SDK throws: an empty string, an empty RTData, an empty payload.
    """
    if out.payload == b"":
        raise ValueError("JS cannot write an empty payload")
    body = wire.key(1, 0) + _number(_javascript_zigzag32(out.op_code))
    if out.sequence is not None:
        body += wire.key(2, 0) + wire.varint(out.sequence)
    for target in out.targets:
        body += wire.key(4, 0) + _number(abs(target))
    if out.intent is not Intent.RELIABLE and not out.fast:
        body += wire.key(6, 0) + b"\x00"
    if out.data is not None:
        body += wire.length_delimited(14, out.data if isinstance(out.data, bytes) else javascript_data(out.data))
    if out.payload is not None:
        body += wire.length_delimited(15, out.payload)
    return body


def _javascript_zigzag32(value: int) -> int:
    """(n << 1) ^ (n >> 31) on signed 32 bits, of which the writer keeps the magnitude."""
    shifted = wire.signed(value << 1, 32)
    return abs(shifted ^ (-1 if value < 0 else 0))


def _number(value: int) -> bytes:
    """A varint as JS divides it out of a number: no upper bound."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def javascript_data(values: wire.DataDict) -> bytes:
    """RTData as JS writes it. Raises ValueError for what it refuses."""
    if not values:
        raise ValueError("JS cannot write empty RTData")
    out = b""
    for slot in sorted(values):
        kind, value = values[slot]
        if kind == "long":
            number = float(value)
            out += wire.key(slot, 0) + _number(int(number * 2 if number >= 0 else number * -2 - 1))
        elif kind == "double":
            out += wire.key(slot, 1) + struct.pack("<d", value if abs(value) >= 2.0**-1022 else 0.0)
        elif kind == "float":
            out += wire.key(slot, 5) + _javascript_float(value)
        elif kind == "string":
            text = value.decode("utf-8").encode("utf-16-le")[::2]
            if not text:
                raise ValueError("JS cannot write an empty string")
            out += wire.length_delimited(slot, wire.length_delimited(1, text))
        elif kind == "vector":
            out += wire.length_delimited(slot, wire.length_delimited(2, b"".join(map(_javascript_float, value))))
        else:
            out += wire.length_delimited(slot, wire.length_delimited(14, javascript_data(value)))
    return out


def _javascript_float(value: float) -> bytes:
    """Truncated towards zero, denormals and -0 as 0. NaN and infinities are refused by the setters."""
    if not math.isfinite(value):
        raise ValueError("JS refuses NaN and infinities")
    if abs(value) < 2.0**-126:
        return bytes(4)
    packed = struct.pack("<f", value)
    if abs(struct.unpack("<f", packed)[0]) > abs(value):
        packed = struct.pack("<I", struct.unpack("<I", packed)[0] - 1)
    return packed

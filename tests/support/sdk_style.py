"""Packets as each official SDK writes them, built from what an application asked of it.

A request is the `input` of a vector in tests/vectors/golden.jsonl: opCode, intent, data (slot to {type: value}),
payload (hex), targets, whether the packet leaves by UDP (`fast`), the sequence number reached (`seqSkip`); or a login
token.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from gsrt._core import Data, Packet

Request = Mapping[str, Any]

CLIENT_VERSION = 2
JS_OP_CODE_LIMIT = 1 << 30  # from here JS's shift by one bit overflows


class Unencodable(ValueError):
    """This SDK throws, or writes something else than was asked, for such a request."""


def number(value: float | str) -> float:
    """A float of a request; not-a-number and infinities are written as words."""
    return float(value)


def _data(values: Mapping[str, Mapping[str, Any]], set_value: Callable[[Data, int, str, Any], None]) -> Data:
    """Data of a request; `set_value` writes one value in the manner of an SDK."""
    data = Data()
    for slot, typed in values.items():
        ((kind, value),) = typed.items()
        if kind == "data":
            data.set_data(int(slot), _data(value, set_value))
        else:
            set_value(data, int(slot), kind, value)
    return data


def _set_plainly(data: Data, slot: int, kind: str, value: Any) -> None:
    """As C++ and C# do: floats rounded to the nearest, strings in UTF-8."""
    if kind == "long":
        data.set_long(slot, int(value))
    elif kind == "int":
        data.set_int(slot, value)
    elif kind == "float":
        data.set_float(slot, number(value))
    elif kind == "double":
        data.set_double(slot, number(value))
    elif kind == "string":
        data.set_string(slot, value)
    else:
        assert kind == "vec", kind
        data.set_vector(slot, [number(part) for part in value])


def _set_as_cs(data: Data, slot: int, kind: str, value: Any) -> None:
    """.NET's not-a-number has the sign bit set."""
    if kind in ("float", "double") and value == "nan":
        value = "-nan"
    elif kind == "vec":
        value = ["-nan" if part == "nan" else part for part in value]
    _set_plainly(data, slot, kind, value)


def _js_float(value: float | str) -> float:
    """The 32-bit float JS writes: cut towards zero, denormals and minus zero as zero."""
    wanted = number(value)
    nearest: float = struct.unpack("<f", struct.pack("<f", wanted))[0]
    if abs(nearest) > abs(wanted):
        (bits,) = struct.unpack("<I", struct.pack("<f", nearest))
        nearest = struct.unpack("<f", struct.pack("<I", bits - 1))[0]
    return nearest if abs(nearest) >= 2.0**-126 else 0.0


def _js_long(value: int) -> int:
    """The long JS writes: its zig-zag form is computed in 64-bit floats and loses bits beyond 2^52."""
    zigzag = int(float(value) * 2.0 if value >= 0 else float(value) * -2.0 - 1.0)
    if zigzag >> 64:
        raise Unencodable("a long of 65 bits")
    return zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2


def _set_as_js(data: Data, slot: int, kind: str, value: Any) -> None:
    if kind in ("long", "int"):
        data.set_long(slot, _js_long(int(value)))
    elif kind == "float":
        data.set_float(slot, _js_float(value))
    elif kind == "double":
        wanted = number(value)
        data.set_double(slot, wanted if abs(wanted) >= 2.0**-1022 else 0.0)
    elif kind == "vec":
        data.set_vector(slot, [_js_float(part) for part in value])
    elif kind == "string":
        if not value:
            raise Unencodable("an empty string")
        units = value.encode("utf-16-le")  # a JS character is a unit of UTF-16, of which the low byte is written
        data.set_string(slot, units[::2])
    else:
        _set_plainly(data, slot, kind, value)


def _sequence(request: Request) -> int | None:
    return int(request.get("seqSkip", 0)) if request["intent"] == "UNRELIABLE_SEQUENCED" else None


def _payload(request: Request) -> bytes | None:
    """Written only if it holds a byte."""
    return bytes.fromhex(request["payload"]) or None if request["payload"] is not None else None


def _login_body(token: str) -> bytes:
    text = token.encode()
    length = bytes((len(text),)) if len(text) < 128 else bytes((len(text) & 0x7F | 0x80, len(text) >> 7))
    return b"\x0a" + length + text + bytes((0x10, CLIENT_VERSION))


def cpp(request: Request) -> Packet:
    """C++: field 6 always says whether the intent is reliable, data is always there, if only empty."""
    if "login" in request:
        return Packet(0, reliable=True, data=Data(), payload=_login_body(request["login"]))
    return Packet(
        request["opCode"],
        sequence=_sequence(request),
        targets=request["targets"],
        reliable=request["intent"] == "RELIABLE",
        data=_data(request["data"] or {}, _set_plainly),
        payload=_payload(request),
    )


def _sparingly(request: Request, set_value: Callable[[Data, int, str, Any], None]) -> Packet:
    """C# and JS: field 6 only where an unreliable packet leaves by TCP or WebSocket, data only where there is any."""
    if "login" in request:
        return Packet(0, payload=_login_body(request["login"]))
    return Packet(
        request["opCode"],
        sequence=_sequence(request),
        targets=request["targets"],
        reliable=None if request["intent"] == "RELIABLE" or request.get("fast") else False,
        data=None if request["data"] is None else _data(request["data"], set_value),
        payload=_payload(request),
    )


def cs(request: Request) -> Packet:
    """C#."""
    return _sparingly(request, _set_as_cs)


def js(request: Request) -> Packet:
    """JS; raises Unencodable where it throws or mangles."""
    if request.get("opCode", 0) >= JS_OP_CODE_LIMIT:
        raise Unencodable("an opCode of 2^30 or more")
    if any(target < 0 for target in request.get("targets", ())):
        raise Unencodable("a negative target")
    if request.get("data") == {}:
        raise Unencodable("empty data")
    return _sparingly(request, _set_as_js)


STYLES: dict[str, Callable[[Request], Packet]] = {"cpp": cpp, "cs": cs, "js": js}

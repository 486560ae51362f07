"""The WebSocket handshake and outgoing frames (RFC 6455); incoming frames are taken apart by the relay.

No extension and no subprotocol is ever agreed to: compression costs a quarter of a megabyte per connection, and the
official clients ask for no subprotocol. Any path is accepted: clients use "/".
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from gsrt._core import ProtocolError
from gsrt.protocol import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.protocol.http import RequestHead

OPCODE_CONTINUATION = 0x0
OPCODE_TEXT = 0x1
OPCODE_BINARY = 0x2
OPCODE_CLOSE = 0x8
OPCODE_PING = 0x9
OPCODE_PONG = 0xA

MAX_CONTROL_PAYLOAD = 125  # RFC 6455 section 5.5
MAX_CLOSE_REASON = MAX_CONTROL_PAYLOAD - 2

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_FINAL = 0x80
_MASKED = 0x80


class UpgradeRefused(ProtocolError):
    """A WebSocket handshake that cannot be accepted; `response` is the whole HTTP answer that says so."""

    response: bytes

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        headers = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")) if status == 426 else ()
        self.response = http.response(status, reason.encode() + b"\n", headers=headers)


def is_upgrade(head: RequestHead) -> bool:
    """Whether the request asks for a WebSocket, be it correctly or not."""
    return "websocket" in _list_items(head, "upgrade")


def accept(head: RequestHead) -> bytes:
    """The 101 response that opens the WebSocket; raises UpgradeRefused (a ProtocolError) naming what is wrong."""
    if head.method != "GET":
        raise UpgradeRefused("a WebSocket handshake must be a GET request")
    if head.version == "HTTP/1.0":
        raise UpgradeRefused("a WebSocket handshake needs HTTP/1.1")
    if not is_upgrade(head):
        raise UpgradeRefused("header Upgrade does not name websocket")
    if "upgrade" not in _list_items(head, "connection"):
        raise UpgradeRefused("header Connection does not name Upgrade")
    version = head.headers.get("sec-websocket-version")
    if version != "13":
        raise UpgradeRefused("header Sec-WebSocket-Version is not 13", 426)
    key = head.headers.get("sec-websocket-key", "")
    if not _is_nonce(key):
        raise UpgradeRefused("header Sec-WebSocket-Key is not 16 bytes in base64")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept_key(key.encode("ascii"))
        + b"\r\n\r\n"
    )


def accept_key(key: bytes) -> bytes:
    """The value of Sec-WebSocket-Accept for the client's key (RFC 6455 section 4.2.2)."""
    try:
        # hashlib loads OpenSSL, 3.7 MB, for the same function
        from _sha1 import sha1  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha1
    return b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)


def encode_frame(opcode: int, payload: bytes, mask: bytes | None = None) -> bytes:
    """One unfragmented frame. `mask` is 4 random bytes from a client, None from a server.

    Raises ValueError for an opcode outside 0..15, a control frame over 125 bytes and a mask that is not 4 bytes.
    """
    if not 0 <= opcode <= 0xF:
        raise ValueError(f"WebSocket opcode {opcode} is not in 0..15")
    length = len(payload)
    if opcode >= OPCODE_CLOSE and length > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a WebSocket control frame carries at most {MAX_CONTROL_PAYLOAD} bytes, not {length}")
    masked = 0 if mask is None else _MASKED
    if length <= 125:
        head = bytes((_FINAL | opcode, masked | length))
    elif length <= 0xFFFF:
        head = bytes((_FINAL | opcode, masked | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, masked | 127)) + length.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + apply_mask(payload, mask)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """The payload masked, or unmasked, with 4 bytes; raises ValueError for any other number of them."""
    if len(mask) != 4:
        raise ValueError(f"a WebSocket mask is 4 bytes, not {len(mask)}")
    length = len(payload)
    pattern = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(length, "little")


def close_frame(code: int, reason: str = "", mask: bytes | None = None) -> bytes:
    """A close frame with a status code (RFC 6455 section 7.4); a reason over 123 bytes is cut at a character."""
    text = reason.encode("utf-8")[:MAX_CLOSE_REASON].decode("utf-8", "ignore").encode("utf-8")
    return encode_frame(OPCODE_CLOSE, code.to_bytes(2, "big") + text, mask)


def _list_items(head: RequestHead, name: str) -> list[str]:
    """The items of a comma-separated header in lower case; empty if the header is absent."""
    return [item.strip().lower() for item in head.headers.get(name, "").split(",")]


def _is_nonce(key: str) -> bool:
    """Whether a Sec-WebSocket-Key is the base64 of 16 bytes."""
    if len(key) != 24 or not key.isascii():
        return False
    try:
        return len(a2b_base64(key, strict_mode=True)) == 16
    except Base64Error:
        return False

"""What the first bytes of a TCP connection mean.

One port serves every kind of client, and the client always speaks first. RT clients write the length prefix and
the body of their login separately, so the first read often holds a single byte: a verdict is given only once no
further byte could change it.
"""

from __future__ import annotations

# A login is a token of at most 1024 bytes, its keys and lengths, and (from C++) fields 2, 6 and 14: under 1060 bytes.
# Twice that leaves room for over-long varints and still tells nonsense at its first bytes.
MAX_LOGIN_FRAME = 2048

MAX_PREFIX_BYTES = 5  # a length prefix is a varint of 32 bits
FIRST_PACKET_KEY = 0x08  # field 1 (opCode) as a varint: every RT packet begins with it

_HTTP_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ")
_TLS_HANDSHAKE = b"\x16\x03"  # record type handshake, major version 3 (RFC 5246 section 6.2.1)


def classify(first: bytes) -> str | None:
    """Return "rt", "http", "tls" or "unknown" for the bytes read so far; None while they could still be several.

    More bytes never change a verdict. The bytes are not consumed: hand all of them to the layer that is named.
    """
    if not first:
        return None
    if first[0] == _TLS_HANDSHAKE[0] and len(first) > 1 and first[1] == _TLS_HANDSHAKE[1]:
        return "tls"
    for method in _HTTP_METHODS:
        if first.startswith(method):
            return "http"
    framing = _classify_frame(first)
    if framing == "unknown" and any(method.startswith(first) for method in _HTTP_METHODS):
        return None
    return framing


def _classify_frame(first: bytes) -> str | None:
    """As `classify`, where only an RT frame is a possible meaning."""
    length = 0
    for position, byte in enumerate(first[:MAX_PREFIX_BYTES]):
        length |= (byte & 0x7F) << (7 * position)
        if length > MAX_LOGIN_FRAME:
            return "unknown"
        if byte < 0x80:
            if length < 2:  # shorter than the smallest packet, an opCode
                return "unknown"
            if len(first) == position + 1:
                return None
            return "rt" if first[position + 1] == FIRST_PACKET_KEY else "unknown"
    return None if len(first) < MAX_PREFIX_BYTES else "unknown"

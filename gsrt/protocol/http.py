"""HTTP/1.1 as far as a game server needs it: read one request head, write one answer and close.

Grammar: RFC 9112 sections 3 and 5. What that standard lets a recipient forgive (bare line feeds, folded lines, a space
before the colon) is refused here, so that nothing in front of the server can read a request differently.
"""

from __future__ import annotations

from gsrt._core import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_HEAD = 8192  # bytes of a request head; browsers stay under half of it
MAX_HEADERS = 64  # header lines of one request; browsers send about 20

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TARGET = bytes(range(0x21, 0x7F))
_VALUE = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_ONCE = frozenset(("host", "content-length", "sec-websocket-key", "sec-websocket-version"))

_REASONS = {
    101: "Switching Protocols",
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    416: "Range Not Satisfiable",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class RequestHead:
    """Request line and headers of one request.

    `method` and `target` are as sent; `version` is "HTTP/1.0" or "HTTP/1.1"; `headers` maps lower-case names to values
    (read as Latin-1, the values of a repeated header joined with ", ").
    """

    __slots__ = ("headers", "method", "target", "version")

    def __init__(self, method: str, target: str, headers: Mapping[str, str], version: str = "HTTP/1.1") -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.version = version


def parse_head(data: bytes) -> tuple[RequestHead, int] | None:
    """Read the request head at the start of `data`: the head and the bytes it took, or None if more bytes are needed.

    Raises ProtocolError for a head over `MAX_HEAD` bytes or `MAX_HEADERS` headers, and for what the grammar forbids.
    """
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
    head = data[:MAX_HEAD] if end < 0 else data[: end + 2]
    line_ends = head.count(b"\r\n")
    if head.count(b"\n") != line_ends:
        raise ProtocolError("line feed without carriage return in the request head", _bare_line_feed(head))
    if line_ends > MAX_HEADERS + 1:  # one ends the request line
        raise ProtocolError(f"more than {MAX_HEADERS} headers", len(head))
    if end < 0:
        if len(data) >= MAX_HEAD:
            raise ProtocolError(f"request head over {MAX_HEAD} bytes", MAX_HEAD)
        return None
    lines = data[:end].split(b"\r\n")
    method, target, version = _parse_request_line(lines[0])
    headers: dict[str, str] = {}
    offset = len(lines[0]) + 2
    for line in lines[1:]:
        _add_header(headers, line, offset)
        offset += len(line) + 2
    return RequestHead(method, target, headers, version), end + 4


def response(
    status: int,
    body: bytes = b"",
    content_type: str = "text/plain; charset=utf-8",
    headers: Iterable[tuple[str, str]] = (),
    *,
    method: str = "GET",
) -> bytes:
    """The whole answer to a request, which announces its length and that the connection ends with it.

    `method` is the request's: an answer to HEAD has the headers of the answer to GET and no body.
    Raises ValueError for a header that holds a line break.
    """
    fixed = (("Content-Type", content_type), ("Content-Length", str(len(body))))
    head = response_head(status, (*fixed, *headers))
    return head if method == "HEAD" else head + body


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of an answer; the connection ends with it. Raises ValueError for a header that holds a line break."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}", "Connection: close"]
    lines.extend(f"{name}: {value}" for name, value in headers)
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ValueError(f"line break in the response header {line!r}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _bare_line_feed(head: bytes) -> int:
    """Offset of the first line feed that no carriage return precedes; there is one."""
    position = head.find(b"\n")
    while position > 0 and head[position - 1] == 0x0D:
        position = head.find(b"\n", position + 1)
    return position


def _parse_request_line(line: bytes) -> tuple[str, str, str]:
    """Method, target and version of a request line; raises ProtocolError."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise ProtocolError("request line is not 'METHOD TARGET VERSION'", 0)
    method, target, version = parts
    if not method or method.translate(None, _TOKEN):
        raise ProtocolError("request method is not a token", 0)
    if not target or target.translate(None, _TARGET):
        raise ProtocolError("request target is empty or holds bytes no URL has", len(method) + 1)
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise ProtocolError("HTTP version is neither 1.1 nor 1.0", len(method) + len(target) + 2)
    return method.decode("ascii"), target.decode("ascii"), version.decode("ascii")


def _add_header(headers: dict[str, str], line: bytes, offset: int) -> None:
    """Read one header line, which stands at `offset` of the head, into `headers`; raises ProtocolError."""
    raw_name, colon, raw_value = line.partition(b":")
    if not colon:
        raise ProtocolError("header line without a colon", offset)
    if not raw_name or raw_name.translate(None, _TOKEN):
        raise ProtocolError("header name is not a token", offset)
    if raw_value.translate(None, _VALUE):
        raise ProtocolError("control character in a header value", offset + len(raw_name) + 1)
    name = raw_name.decode("ascii").lower()
    value = raw_value.strip(b" \t").decode("latin-1")
    if name not in headers:
        headers[name] = value
    elif name in _ONCE:
        raise ProtocolError(f"header {name} given twice", offset)
    else:
        headers[name] = f"{headers[name]}, {value}"

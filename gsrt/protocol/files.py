"""What a browser asks of a file: its path, its type, whether it has it already, which part of it it wants. No I/O.

Sources: RFC 3986 section 2.1 (percent-encoding), RFC 9110 sections 5.6.7 (dates), 8.8 and 13 (what a client
has already), 14 (ranges).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS_MAX = 32  # folders of a path, and the file; the disk is asked about each
PART_BYTES_MAX = 255  # of a name; no file system has longer ones

_TYPES = {
    b"css": "text/css; charset=utf-8",
    b"gif": "image/gif",
    b"htm": "text/html; charset=utf-8",
    b"html": "text/html; charset=utf-8",
    b"ico": "image/x-icon",
    b"jpeg": "image/jpeg",
    b"jpg": "image/jpeg",
    b"js": "text/javascript; charset=utf-8",
    b"json": "application/json",
    b"map": "application/json",
    b"mjs": "text/javascript; charset=utf-8",
    b"mp3": "audio/mpeg",
    b"mp4": "video/mp4",
    b"ogg": "audio/ogg",
    b"png": "image/png",
    b"svg": "image/svg+xml",
    b"txt": "text/plain; charset=utf-8",
    b"wasm": "application/wasm",
    b"wav": "audio/wav",
    b"webm": "video/webm",
    b"webp": "image/webp",
    b"woff2": "font/woff2",
    b"xml": "application/xml",
}
_ANY_TYPE = "application/octet-stream"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Unsatisfiable(Exception):
    """The range that is asked for begins behind the end of the file."""


def path_of(target: str) -> str:
    """The path of a request target, without its query: still encoded; "" where it has none."""
    for scheme in ("http://", "https://"):
        if target[: len(scheme)].lower() == scheme:
            _, slash, rest = target[len(scheme) :].partition("/")
            target = slash + rest
    return target.partition("?")[0]


def parts_of(path: str) -> tuple[bytes, ...] | None:
    """The names in an encoded PATH, which begins with "/"; the last is empty where it ends with one. None for a path
    that no file of a site may have: dot files, "..", empty names, encoded slashes, backslashes, NUL."""
    names = path.split("/")
    if names[0] or not 2 <= len(names) <= PARTS_MAX + 1:
        return None
    parts = tuple(_decoded(name) for name in names[1:])
    for number, part in enumerate(parts, 1):
        if part is None or len(part) > PART_BYTES_MAX or part.startswith(b".") or (not part and number < len(parts)):
            return None
        if b"/" in part or b"\\" in part or b"\0" in part:
            return None
    return tuple(part for part in parts if part is not None)


def _decoded(text: str) -> bytes | None:
    """TEXT (ASCII) with its percent escapes resolved; None where one is broken."""
    first, *escaped = text.encode("ascii").split(b"%")
    pieces = [first]
    for each in escaped:
        digits = each[:2]
        if len(digits) != 2 or digits.strip(b"0123456789abcdefABCDEF"):
            return None
        pieces += (bytes((int(digits, 16),)), each[2:])
    return b"".join(pieces)


def content_type(name: bytes) -> str:
    """The type of a file of that NAME."""
    return _TYPES.get(name.rpartition(b".")[2].lower(), _ANY_TYPE)


def http_date(seconds: float) -> str:
    """A time (seconds since 1970) as HTTP writes it, whatever the locale."""
    import time

    year, month, day, hour, minute, second, weekday = time.gmtime(max(seconds, 0.0))[:7]
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


def has_it_already(headers: Mapping[str, str], etag: str, modified: str) -> bool:
    """Whether the client has what ETAG and MODIFIED (a date) stand for. Another date is another file, be it older: a
    file may have been put back."""
    known = headers.get("if-none-match")
    if known is None:
        return headers.get("if-modified-since") == modified
    return known == "*" or etag in (each.strip(" \t").removeprefix("W/") for each in known.split(","))


def wanted_range(headers: Mapping[str, str], size: int, etag: str, modified: str) -> tuple[int, int] | None:
    """The part of a file of SIZE bytes that is asked for, as (first byte, byte after the last); None: all of it, also
    where several parts are, or where the client has a part of another version.

    Raises Unsatisfiable."""
    if headers.get("if-range", etag) not in (etag, modified):
        return None
    unit, _, wanted = headers.get("range", "").partition("=")
    first, dash, last = (each.strip(" \t") for each in wanted.partition("-"))
    if unit.lower() != "bytes" or not dash or not size or not (first or last):
        return None
    for number in (first, last):
        if number and not (number.isascii() and number.isdigit() and len(number) <= 18):
            return None
    if not first:
        if int(last) == 0:
            raise Unsatisfiable
        return max(size - int(last), 0), size
    begin = int(first)
    if last and int(last) < begin:
        return None
    if begin >= size:
        raise Unsatisfiable
    return begin, min(int(last) + 1, size) if last else size

"""Request heads are read strictly and in any number of pieces; answers are what a browser understands."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._core import ProtocolError
from gsrt.protocol import http
from gsrt.protocol.http import MAX_HEAD, MAX_HEADERS, RequestHead, parse_head

BROWSER = (
    b"GET /status?now=1 HTTP/1.1\r\nHost: 192.168.1.5:8784\r\nUser-Agent: Browser/1.0 (x)\r\nAccept: */*\r\n"
    b"Accept-Language: de, en;q=0.5\r\nCookie: a=b\r\ncookie: c=d\r\nEmpty:\r\nTabbed:\t value \t\r\n\r\n"
)


def parsed(data: bytes) -> RequestHead:
    result = parse_head(data)
    assert result is not None
    head, consumed = result
    assert consumed == len(data)
    return head


def test_reads_a_browser_request() -> None:
    head = parsed(BROWSER)
    assert (head.method, head.target, head.version) == ("GET", "/status?now=1", "HTTP/1.1")
    assert head.headers["host"] == "192.168.1.5:8784"
    assert head.headers["cookie"] == "a=b, c=d"
    assert head.headers["empty"] == ""
    assert head.headers["tabbed"] == "value"


def test_every_prefix_needs_more_bytes() -> None:
    for length in range(len(BROWSER)):
        assert parse_head(BROWSER[:length]) is None


def test_what_follows_the_head_is_not_consumed() -> None:
    result = parse_head(BROWSER + b"body\r\n\r\n")
    assert result is not None and result[1] == len(BROWSER)


def test_a_request_without_headers() -> None:
    head = parsed(b"HEAD * HTTP/1.0\r\n\r\n")
    assert (head.method, head.target, head.version, dict(head.headers)) == ("HEAD", "*", "HTTP/1.0", {})


def test_values_are_read_as_latin_1() -> None:
    assert parsed(b"GET / HTTP/1.1\r\nX: \xe9\xff\r\n\r\n").headers["x"] == "\xe9\xff"


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        (b"GET /\r\n\r\n", "request line", 0),
        (b"GET  / HTTP/1.1\r\n\r\n", "request line", 0),
        (b"\r\n\r\n", "request line", 0),
        (b"GET / HTTP/1.1 \r\n\r\n", "request line", 0),
        (b" / HTTP/1.1\r\n\r\n", "method", 0),
        (b"G\xc4T / HTTP/1.1\r\n\r\n", "method", 0),
        (b"GET /a\x00b HTTP/1.1\r\n\r\n", "target", 4),
        (b"GET /\xe9 HTTP/1.1\r\n\r\n", "target", 4),
        (b"GET / HTTP/2.0\r\n\r\n", "version", 6),
        (b"GET / http/1.1\r\n\r\n", "version", 6),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", "colon", 16),
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", "name", 16),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", "name", 16),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded: x\r\n\r\n", "name", 22),
        (b"GET / HTTP/1.1\r\nA: b\x00\r\n\r\n", "control character", 18),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "control character", 18),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "host given twice", 25),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "content-length given twice", 35),
        (b"GET / HTTP/1.1\nHost: a\n\n", "line feed", 14),
        (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", "line feed", 20),
        (b"\n", "line feed", 0),
    ],
)
def test_malformed_heads_say_what_and_where(data: bytes, reason: str, offset: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_head(data)
    assert reason in caught.value.reason
    assert caught.value.offset == offset


def test_size_limit_on_both_sides() -> None:
    start = b"GET / HTTP/1.1\r\nA: "
    largest = start + b"x" * (MAX_HEAD - len(start) - 4) + b"\r\n\r\n"
    assert len(largest) == MAX_HEAD
    assert parsed(largest).headers["a"].startswith("xxx")
    assert parse_head(largest[:-1]) is None
    with pytest.raises(ProtocolError, match="over 8192 bytes"):
        parse_head(start + b"x" * (MAX_HEAD - len(start) - 3) + b"\r\n\r\n")
    with pytest.raises(ProtocolError, match="over 8192 bytes"):
        parse_head(b"G" * MAX_HEAD)
    assert parse_head(b"G" * (MAX_HEAD - 1)) is None


def test_header_count_limit_on_both_sides() -> None:
    lines = b"".join(b"H%d: x\r\n" % number for number in range(MAX_HEADERS))
    assert len(parsed(b"GET / HTTP/1.1\r\n" + lines + b"\r\n").headers) == MAX_HEADERS
    with pytest.raises(ProtocolError, match="more than 64 headers"):
        parse_head(b"GET / HTTP/1.1\r\n" + lines + b"One: more\r\n\r\n")


TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=12)
VALUE = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters=[chr(0x7F), *map(chr, range(0x80, 0xA1))]),
    max_size=30,
)


@given(
    TOKEN,
    st.text("/?=&%azAZ09", min_size=1, max_size=40),
    st.dictionaries(TOKEN.map(str.lower), VALUE, max_size=8),
    st.binary(max_size=20),
)
def test_whatever_is_written_is_read(method: str, target: str, headers: dict[str, str], rest: bytes) -> None:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name.upper()}:  {value} " for name, value in headers.items())]
    data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    result = parse_head(data + rest)
    assert result is not None
    head, consumed = result
    assert (head.method, head.target, dict(head.headers), consumed) == (method, target, headers, len(data))
    assert all(parse_head(data[:length]) is None for length in range(len(data)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_a_protocol_error(data: bytes) -> None:
    for suffix in (b"", b"\r\n\r\n"):
        try:
            result = parse_head(data + suffix)
        except ProtocolError as error:
            assert 0 <= error.offset <= len(data + suffix)
        else:
            assert result is None or 0 < result[1] <= len(data + suffix)


def test_mutations_are_a_head_or_a_protocol_error() -> None:
    generator = random.Random(20)
    outcomes = {"head": 0, "more": 0, "error": 0}
    for _ in range(20_000):
        data = bytearray(BROWSER)
        for _ in range(generator.randint(1, 4)):
            start = generator.randrange(len(data))
            action = generator.randrange(4)
            if action == 0:
                data[start] ^= 1 << generator.randrange(8)
            elif action == 1:
                del data[start : start + generator.randint(1, 9)]
            elif action == 2:
                data[start:start] = generator.choice(
                    (b"\r\n", b"\n", b"\r\n\r\n", b":", b" ", b"\0", generator.randbytes(3))
                )
            else:
                other = generator.randrange(len(data))
                data[start:start] = data[other : other + generator.randint(1, 40)]
            if not data:
                data = bytearray(b"G")
        try:
            outcomes["more" if parse_head(bytes(data)) is None else "head"] += 1
        except ProtocolError:
            outcomes["error"] += 1
    assert min(outcomes.values()) > 100


def test_response_announces_length_and_end() -> None:
    head, _, body = http.response(200, b"ok\n").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert "Content-Length: 3" in lines and "Connection: close" in lines
    assert "Content-Type: text/plain; charset=utf-8" in lines
    assert body == b"ok\n"


def test_response_carries_more_headers_and_other_types() -> None:
    answer = http.response(426, b"{}", "application/json", [("Sec-WebSocket-Version", "13")])
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in answer and b"\r\nSec-WebSocket-Version: 13\r\n" in answer


def test_response_to_head_has_no_body() -> None:
    assert http.response(200, b"hello", method="HEAD") == http.response(200, b"hello")[:-5]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\r"])
def test_response_refuses_line_breaks(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        http.response(200, headers=[("Location", value)])

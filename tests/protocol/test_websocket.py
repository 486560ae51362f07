"""The WebSocket handshake as strict as RFC 6455 asks and as lenient as its lists are; frames of every length."""

from __future__ import annotations

import builtins
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._core import ProtocolError
from gsrt.protocol import http, websocket
from gsrt.protocol.http import RequestHead

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 section 1.3, with its answer below
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def request(**changes: str | None) -> RequestHead:
    """The head of a correct upgrade; a keyword replaces a header (underscores are hyphens), None removes it."""
    headers: dict[str, str | None] = {
        "Host": "example.org",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    names = {name.lower(): name for name in headers}
    for name, value in changes.items():
        hyphened = name.replace("_", "-")
        headers[names.get(hyphened, hyphened)] = value
    text = "GET / HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in headers.items() if value is not None
    )
    result = http.parse_head(text.encode() + b"\r\n")
    assert result is not None
    return result[0]


def read_frame(frame: bytes) -> tuple[int, bool, bytes]:
    """Opcode, masked or not, and unmasked payload of one whole frame, read as RFC 6455 section 5.2 says."""
    assert frame[0] & 0xF0 == 0x80, "FIN set, no extension bits"
    opcode, masked, length = frame[0] & 0xF, bool(frame[1] & 0x80), frame[1] & 0x7F
    position = 2
    if length >= 126:
        size = 2 if length == 126 else 8
        length = int.from_bytes(frame[2 : 2 + size], "big")
        assert length > (125 if size == 2 else 0xFFFF), "the shortest form of the length"
        position += size
    mask = frame[position : position + 4] if masked else b"\0\0\0\0"
    position += 4 if masked else 0
    payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(frame[position:]))
    assert len(payload) == length
    return opcode, masked, payload


def test_accepts_the_example_of_the_standard() -> None:
    head = request()
    assert websocket.is_upgrade(head)
    answer = websocket.accept(head)
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n" in answer
    assert b"\r\nUpgrade: websocket\r\n" in answer and b"\r\nConnection: Upgrade\r\n" in answer


def test_accept_key_without_the_built_in_sha1(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_sha1(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "_sha1":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_sha1)
    assert websocket.accept_key(KEY.encode()) == ACCEPT


def test_agrees_to_no_extension_and_no_subprotocol() -> None:
    answer = websocket.accept(request(sec_websocket_extensions="permessage-deflate", sec_websocket_protocol="chat"))
    assert b"extensions" not in answer.lower() and b"protocol:" not in answer.lower()


@pytest.mark.parametrize("connection", ["upgrade", "keep-alive, Upgrade", "UPGRADE ,keep-alive", "keep-alive,upgrade"])
@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket", "WEBSOCKET "])
def test_accepts_lists_in_any_case(connection: str, upgrade: str) -> None:
    assert ACCEPT in websocket.accept(request(connection=connection, upgrade=upgrade))


def test_accepts_any_path_and_repeated_list_headers() -> None:
    data = (
        "GET /any/path?token=x HTTP/1.1\r\nHost: a\r\nconnection: keep-alive\r\nCONNECTION: Upgrade\r\n"
        f"UpGrAdE: websocket\r\nsec-websocket-key: {KEY}\r\nSEC-WEBSOCKET-VERSION: 13\r\nSec-WebSocket-Origin: http://x\r\n\r\n"
    )
    result = http.parse_head(data.encode())
    assert result is not None and ACCEPT in websocket.accept(result[0])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"connection": None}, "Connection"),
        ({"connection": "keep-alive"}, "Connection"),
        ({"connection": "notupgrade"}, "Connection"),
        ({"upgrade": "h2c"}, "Upgrade"),
        ({"upgrade": None}, "Upgrade"),
        ({"sec_websocket_key": None}, "Key"),
        ({"sec_websocket_key": "c2hvcnQ="}, "Key"),
        ({"sec_websocket_key": "!!!!IHNhbXBsZSBub25jZQ=="}, "Key"),
        ({"sec_websocket_key": KEY + "AAAA"}, "Key"),
        ({"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZSEh"}, "Key"),
        ({"sec_websocket_key": KEY + ", " + KEY}, "Key"),
    ],
)
def test_refusals_name_the_header(changes: dict[str, str | None], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason) as caught:
        websocket.accept(request(**changes))
    assert isinstance(caught.value, websocket.UpgradeRefused)
    assert caught.value.response.startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("version", [None, "8", "13, 8", "", "013"])
def test_another_version_is_told_which_one_to_use(version: str | None) -> None:
    with pytest.raises(websocket.UpgradeRefused, match="Version") as caught:
        websocket.accept(request(sec_websocket_version=version))
    assert caught.value.response.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in caught.value.response


def test_other_methods_and_http_1_0_are_refused() -> None:
    head = request()
    with pytest.raises(websocket.UpgradeRefused, match="GET"):
        websocket.accept(RequestHead("POST", "/", head.headers))
    with pytest.raises(websocket.UpgradeRefused, match=r"HTTP/1\.1"):
        websocket.accept(RequestHead("GET", "/", head.headers, "HTTP/1.0"))


@pytest.mark.parametrize("upgrade", [None, "", "h2c", "websockets", "web socket"])
def test_other_requests_are_no_upgrade(upgrade: str | None) -> None:
    assert not websocket.is_upgrade(request(upgrade=upgrade))


def test_an_incorrect_upgrade_is_still_meant_as_one() -> None:
    assert websocket.is_upgrade(request(connection=None, sec_websocket_key=None))


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("mask", [None, b"\x01\x02\x03\x04", b"\0\0\0\0", b"\xff\x00\xff\x80"])
def test_frames_of_every_length_form(length: int, mask: bytes | None) -> None:
    payload = random.Random(length).randbytes(length)
    frame = websocket.encode_frame(websocket.OPCODE_BINARY, payload, mask)
    assert read_frame(frame) == (websocket.OPCODE_BINARY, mask is not None, payload)


def test_the_masked_example_of_the_standard() -> None:
    frame = websocket.encode_frame(websocket.OPCODE_TEXT, b"Hello", bytes.fromhex("37fa213d"))
    assert frame.hex() == "818537fa213d7f9f4d5158"  # RFC 6455 section 5.7


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_twice_gives_the_payload(payload: bytes, mask: bytes) -> None:
    assert websocket.apply_mask(websocket.apply_mask(payload, mask), mask) == payload
    assert read_frame(websocket.encode_frame(0xA, payload[:125], mask)) == (0xA, True, payload[:125])


def test_frame_limits() -> None:
    with pytest.raises(ValueError, match="control frame"):
        websocket.encode_frame(websocket.OPCODE_PING, bytes(126))
    with pytest.raises(ValueError, match="opcode"):
        websocket.encode_frame(16, b"")
    with pytest.raises(ValueError, match="mask"):
        websocket.encode_frame(websocket.OPCODE_BINARY, b"x", b"abc")
    assert len(websocket.encode_frame(websocket.OPCODE_PING, bytes(125))) == 127


def test_close_frames() -> None:
    assert websocket.close_frame(1000) == b"\x88\x02\x03\xe8"
    assert read_frame(websocket.close_frame(1001, "bye")) == (8, False, b"\x03\xe9bye")
    assert read_frame(websocket.close_frame(1001, "bye", b"abcd")) == (8, True, b"\x03\xe9bye")


@given(st.text(max_size=200))
def test_a_long_close_reason_is_cut_at_a_character(reason: str) -> None:
    _, _, payload = read_frame(websocket.close_frame(1008, reason))
    text = payload[2:].decode("utf-8")
    assert len(payload) <= 125 and reason.startswith(text)
    assert len(payload) > 121 or text == reason


HEADER_VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters=[chr(0x7F)]), max_size=40
)


@given(
    st.dictionaries(
        st.sampled_from(["upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "host"]),
        HEADER_VALUES | st.sampled_from(["websocket", "Upgrade", KEY, "13"]),
    ),
    st.sampled_from(["GET", "POST"]),
)
def test_any_head_is_accepted_or_refused(headers: dict[str, str], method: str) -> None:
    head = RequestHead(method, "/", headers)
    websocket.is_upgrade(head)
    try:
        answer = websocket.accept(head)
    except ProtocolError:
        return
    assert answer.startswith(b"HTTP/1.1 101 ") and websocket.is_upgrade(head)


def test_mutated_handshakes_are_accepted_or_refused() -> None:
    generator = random.Random(31)
    original = (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    accepted = refused = 0
    for _ in range(10_000):
        data = bytearray(original)
        for _ in range(generator.randint(1, 3)):
            position = generator.randrange(len(data))
            if generator.randrange(3):
                data[position] ^= 1 << generator.randrange(8)
            else:
                del data[position : position + generator.randint(1, 6)]
        try:
            result = http.parse_head(bytes(data))
            if result is not None:
                websocket.accept(result[0])
                accepted += 1
        except ProtocolError:
            refused += 1
    assert accepted > 100 and refused > 100

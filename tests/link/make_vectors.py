"""Makes vectors.json: `python -m tests.link.make_vectors`. docs/LINK.md is the contract; here its bytes are put
together by tests/link/wire.py and libsodium, without the code of the link. Only the handshake is ours, with fixed
randomness."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gsrt._sodium import seal
from gsrt.protocol import link
from gsrt.protocol.link import ClientHandshake, Door, Entry, Established, Terms
from tests.link.wire import (
    BEGIN,
    CHALLENGE,
    CLOSE,
    MORE,
    ORDERED,
    PING,
    RESPONSE,
    SEQUENCED,
    UNORDERED,
    UNRELIABLE,
    Ack,
    Frame,
    raw,
    write,
)

PATH = Path(__file__).with_name("vectors.json")
TOKEN = "q5VbRdC8a-_Za-_Zb3jKf0sWxYz19QpLmNoTuVgH"
ADDRESS = b"\xc0\x00\x02\x01\x22\x50"
CONNECTION = bytes.fromhex("0100c0ffee112233")
KEY = bytes(range(100, 132))  # of the datagrams below, in suite 1
NOW = 1000.0
CLIENT_TERMS = Terms(65_536, 16_384)
SERVER_TERMS = Terms(393_216, 262_144)
LONG = bytes(number % 251 for number in range(2300))

Vector = dict[str, Any]


def entropy(*pieces: bytes) -> Callable[[int], bytes]:
    """Gives these, in turn."""
    left = list(pieces)

    def give(size: int) -> bytes:
        piece = left.pop(0)
        assert len(piece) == size
        return piece

    return give


def handshake(suite: int) -> Vector:
    nonce, cookie_key = bytes(range(16)), bytes(range(32, 64))
    client_private, server_private = bytes(range(64, 96)), bytes(range(128, 160))
    client = ClientHandshake(TOKEN, suite, entropy(nonce, client_private), CLIENT_TERMS)
    door = Door(entropy(cookie_key, server_private), True, SERVER_TERMS)
    client.start(NOW)
    (hello,) = client.datagrams_to_send()
    cookie = door.receive(ADDRESS, hello, NOW, lambda _: None)
    assert isinstance(cookie, bytes)
    client.receive(cookie, NOW)
    (login,) = client.datagrams_to_send()
    entry = door.receive(ADDRESS, login, NOW, lambda _: (TOKEN, None))
    assert isinstance(entry, Entry)
    welcome = entry.welcome(CONNECTION)
    client.receive(welcome, NOW)
    assert isinstance(client.outcome, Established)
    return {
        "suite": suite,
        "token": TOKEN,
        "token_id": link.token_id(TOKEN).hex(),
        "psk": link.token_psk(TOKEN).hex(),
        "client_nonce": nonce.hex(),
        "client_private": client_private.hex(),
        "client_terms": CLIENT_TERMS.to_bytes().hex(),
        "server_private": server_private.hex(),
        "server_terms": SERVER_TERMS.to_bytes().hex(),
        "cookie_key": cookie_key.hex(),
        "cookie_microseconds": int(NOW * 1_000_000),
        "address": ADDRESS.hex(),
        "hello": hello.hex(),
        "cookie": cookie.hex(),
        "login": login.hex(),
        "connection": CONNECTION.hex(),
        "welcome": welcome.hex(),
        "client_to_server": client.outcome.send_key.hex(),
        "server_to_client": client.outcome.receive_key.hex(),
    }


def refusals() -> list[Vector]:
    nonce = bytes(range(16))
    names = ("VERSION", "SUITE", "COOKIE", "TOKEN", "FULL")
    reasons = [(name, getattr(link, f"REFUSED_{name}")) for name in names]
    return [
        {
            "reason": f"REFUSED_{name}",
            "nonce": nonce.hex(),
            "suites": [1],
            "datagram": (bytes((0, 5, reason, 1, 1, 2, 0, 0)) + nonce).hex(),
        }
        for name, reason in reasons
    ]


def described(frame: Frame) -> Vector:
    """A frame in words, without what its type has no field for."""
    names = {
        PING: "PING",
        CHALLENGE: "CHALLENGE",
        RESPONSE: "RESPONSE",
        CLOSE: "CLOSE",
        UNRELIABLE: "UNRELIABLE",
        SEQUENCED: "SEQUENCED",
        ORDERED: "ORDERED",
        UNORDERED: "UNORDERED",
        ORDERED | BEGIN: "ORDERED_BEGIN",
        UNORDERED | BEGIN: "UNORDERED_BEGIN",
        ORDERED | MORE: "ORDERED_MORE",
        UNORDERED | MORE: "UNORDERED_MORE",
    }
    words: Vector = {"frame": names[frame.type]}
    if frame.type == CLOSE:
        return {**words, "reason": frame.sequence, "text": frame.bytes.decode()}
    if frame.type > UNRELIABLE:
        words |= {"stream": frame.stream, "sequence": frame.sequence}
    if frame.total:
        words["total"] = frame.total
    if frame.bytes:
        words["bytes"] = frame.bytes.hex()
    return words


def ack_words(ack: Ack | None) -> Vector | None:
    if ack is None:
        return None
    return {"largest": ack.largest, "delay": ack.delay, "numbers": sorted(ack.numbers(), reverse=True)}


def datagrams() -> list[Vector]:
    """Each by itself, as the first that comes; the two pieces of a long message one after the other."""
    shapes: list[tuple[str, int, Ack | None, list[Frame], int]] = [
        ("a PING, padded", 0, None, [Frame(PING)], 64),
        ("a probe of 1300 bytes", 7, None, [Frame(PING)], 1300),
        ("a CHALLENGE", 0, None, [Frame(CHALLENGE, bytes=bytes(range(8)))], 0),
        ("a RESPONSE", 0, None, [Frame(RESPONSE, bytes=bytes(range(8)))], 0),
        ("a CLOSE with a text", 0, None, [Frame(CLOSE, sequence=3, bytes="hinausgeschmissen: tschüß".encode())], 0),
        ("a CLOSE without one", 0, None, [Frame(CLOSE)], 0),
        ("an unreliable message", 0, None, [Frame(UNRELIABLE, bytes=b"\x08\x01\x28\x02")], 0),
        ("the shortest message", 0, None, [Frame(UNRELIABLE, bytes=b"\x01")], 0),
        ("a sequenced message", 0, None, [Frame(SEQUENCED, 15, 65_535, 0, b"\x08\x01")], 0),
        ("an ordered message", 0, None, [Frame(ORDERED, 3, 0, 0, b"\x08\x01")], 0),
        ("an unordered message", 0, None, [Frame(UNORDERED, 0, 0, 0, b"\x08\x01")], 0),
        ("a length of two bytes", 0, None, [Frame(ORDERED, 0, 0, 0, LONG[:1100])], 0),
        (
            "a message in pieces: the first",
            0,
            None,
            [Frame(ORDERED | BEGIN, 1, 0, 1250, LONG[:1100])],
            0,
        ),
        ("an unordered one", 0, None, [Frame(UNORDERED | BEGIN, 0, 0, 1250, LONG[:1100])], 0),
        ("the second", 0, None, [Frame(ORDERED | MORE, 1, 1, 0, LONG[1100:1250])], 0),
        ("the second of an unordered one", 0, None, [Frame(UNORDERED | MORE, 0, 1, 0, LONG[1100:1250])], 0),
        (
            "several frames, and a number beyond 32 bits",
            2**32 + 0x01020304,
            None,
            [Frame(UNRELIABLE, bytes=b"\x08\x02"), Frame(ORDERED, 0, 0, 0, b"\x08\x03"), Frame(PING)],
            64,
        ),
    ]
    made = []
    for name, number, ack, frames, size in shapes:
        for suite in (0, 1):
            body = (ack.block() if ack else b"\0") + b"".join(map(write, frames))
            body = body.ljust(size - 14 - 16 * suite, b"\0")
            datagram = raw(number, body, CONNECTION)
            if suite:
                datagram = datagram[:14] + seal(KEY, number, datagram[:14], body)
            made.append(
                {
                    "name": name,
                    "suite": suite,
                    "key": KEY.hex(),
                    "connection": CONNECTION.hex(),
                    "number": number,
                    "acknowledges": ack_words(ack),
                    "frames": [described(frame) for frame in frames],
                    "datagram": datagram.hex(),
                }
            )
    return made


def acknowledgements() -> list[Vector]:
    """Blocks at the beginning of a body, for who has sent the numbers 0 to 299."""
    blocks = [
        Ack.of({0}),
        Ack.of({299}, delay=123),
        Ack.of({299}, delay=65_535),
        Ack.of({5, 3, 2}),
        Ack.of(set(range(10))),
        Ack.of({290, 282, 281}),
        Ack.of({299, 299 - 256}),
        Ack.of(set(range(299 - 256, 300))),
        Ack.of(set(range(0, 200, 3)), delay=100),
    ]
    return [{"block": block.block().hex(), **(ack_words(block) or {})} for block in blocks]


def malformed() -> list[Vector]:
    """Bodies that break the contract, for a server that has sent the datagrams 0 to 2; `before`: bodies that came."""
    ordered = Frame(ORDERED | BEGIN, 0, 0, 3300, bytes(1100))
    unordered = Frame(UNORDERED | BEGIN, 0, 0, 3300, bytes(1100))
    bodies: list[tuple[str, list[Frame], bytes]] = [
        ("acknowledges what was never sent", [], b"\1\3\0\0\0\0\0"),
        ("acknowledges a number below 0", [], b"\2\1\0\0\0\0\0\2"),
        ("an acknowledgement that is cut", [], b"\3\2\0\0\0\0\0\1"),
        ("an acknowledgement of 34 bytes", [], b"\x22" + bytes(100)),
        *(
            (f"frame type {type_:#04x}", [], bytes((0, type_, 0, 0, 0, 1, 1)))
            for type_ in (5, 0x7F, 0x84, 0x88, 0x8C, 255)
        ),
        ("a CHALLENGE that is cut", [], b"\0\2" + bytes(7)),
        ("a CLOSE that is cut", [], b"\0\4\0\5text"),
        ("a message that is cut", [], b"\0\x80\5text"),
        ("a message of length 0", [], b"\0\x80\0"),
        ("a varint of five bytes", [], b"\0\x80\x81\x80\x80\x80\0\1"),
        ("channel 16", [], b"\0" + write(Frame(ORDERED, 16, 0, 0, b"x"))),
        ("an unordered stream but 0", [], b"\0" + write(Frame(UNORDERED, 1, 0, 0, b"x"))),
        ("a sequence too far ahead", [], b"\0" + write(Frame(ORDERED, 0, 512, 0, b"x"))),
        ("a whole of 1100 bytes in pieces", [], b"\0" + write(Frame(ORDERED | BEGIN, 0, 0, 1100, bytes(1100)))),
        ("a whole that is too long", [], b"\0" + write(Frame(ORDERED | BEGIN, 0, 0, 262_145, bytes(1100)))),
        ("a first piece that is too short", [], b"\0" + write(Frame(ORDERED | BEGIN, 0, 0, 3300, bytes(1099)))),
        ("a piece of no message", [], b"\0" + write(Frame(ORDERED | MORE, 0, 0, 0, bytes(1100)))),
        ("an unordered piece of no message", [], b"\0" + write(Frame(UNORDERED | MORE, 0, 0, 0, bytes(1100)))),
        ("a message within another", [ordered], b"\0" + write(Frame(ORDERED, 0, 1, 0, b"x"))),
        ("a message begun within another", [ordered], b"\0" + write(ordered._replace(sequence=1))),
        ("an unordered message within another", [unordered], b"\0" + write(Frame(UNORDERED, 0, 1, 0, b"x"))),
        ("a piece that is too short", [ordered], b"\0" + write(Frame(ORDERED | MORE, 0, 1, 0, bytes(1099)))),
    ]
    return [
        {
            "name": name,
            "before": [(b"\0" + write(one)).hex() for one in before],
            "body": body.hex(),
            "outcome": "CLOSE_PROTOCOL",
        }
        for name, before, body in bodies
    ]


def vectors() -> Vector:
    return {
        "about": "Test vectors of docs/LINK.md; bytes are hexadecimal. Made by tests/link/make_vectors.py.",
        "handshakes": [handshake(suite) for suite in (0, 1)],
        "refusals": refusals(),
        "datagrams": datagrams(),
        "acknowledgements": acknowledgements(),
        "malformed": malformed(),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")

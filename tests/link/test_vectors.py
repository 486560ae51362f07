"""vectors.json is there to hold another implementation of the link against docs/LINK.md: ours is held against it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gsrt._core import ACK_LIMITS
from gsrt._link import FRAMES, Cipher, LinkEndpoint
from gsrt._sodium import ChaCha20Poly1305, seal
from gsrt.protocol import link
from gsrt.protocol.link import ClientHandshake, Door, Entry, Established, Failed, Terms
from tests.link.make_vectors import PATH, entropy, vectors
from tests.link.wire import CLOSE, Hand, raw

VECTORS = json.loads(PATH.read_text())
Vector = dict[str, Any]


def name_of(vector: Vector) -> str:
    name = vector.get("name") or vector.get("reason") or vector.get("block") or "handshake"
    return f"{str(name)[:40]} {vector.get('suite', '')}"


def test_they_are_what_is_made() -> None:
    assert json.loads(json.dumps(vectors())) == VECTORS, "python -m tests.link.make_vectors makes them anew"


@pytest.mark.parametrize("vector", VECTORS["handshakes"], ids=name_of)
def test_handshakes(vector: Vector) -> None:
    """Both sides, byte for byte."""
    known = {key: bytes.fromhex(value) for key, value in vector.items() if isinstance(value, str) and key != "token"}
    now = vector["cookie_microseconds"] / 1_000_000
    randomness = entropy(known["client_nonce"], known["client_private"])
    client = ClientHandshake(vector["token"], vector["suite"], randomness, Terms.from_bytes(known["client_terms"]))
    client.start(now)
    assert client.datagrams_to_send() == [known["hello"]]
    client.receive(known["cookie"], now)
    assert client.datagrams_to_send() == [known["login"]]
    client.receive(known["welcome"], now)
    established = client.outcome
    assert isinstance(established, Established)
    assert established.connection == known["connection"]
    assert (established.send_key, established.receive_key) == (known["client_to_server"], known["server_to_client"])
    assert established.peer_terms.to_bytes() == known["server_terms"]

    door = Door(entropy(known["cookie_key"], known["server_private"]), True, Terms.from_bytes(known["server_terms"]))
    assert door.receive(known["address"], known["hello"], now, lambda _: None) == known["cookie"]
    holders = {known["token_id"]: (vector["token"], "holder")}
    entry = door.receive(known["address"], known["login"], now, holders.get)
    assert isinstance(entry, Entry)
    assert entry.welcome(known["connection"]) == known["welcome"]
    assert (entry.receive_key, entry.send_key) == (known["client_to_server"], known["server_to_client"])
    assert entry.peer_terms.to_bytes() == known["client_terms"]
    assert link.token_psk(vector["token"]) == known["psk"]


@pytest.mark.parametrize("vector", VECTORS["refusals"], ids=name_of)
def test_refusals(vector: Vector) -> None:
    client = ClientHandshake("a token", 1, entropy(bytes.fromhex(vector["nonce"])), Terms())
    client.start(0.0)
    client.receive(bytes.fromhex(vector["datagram"]), 0.0)
    assert isinstance(client.outcome, Failed)
    assert client.outcome.refusal == getattr(link, vector["reason"])


def ends(vector: Vector) -> tuple[LinkEndpoint, LinkEndpoint]:
    """Who sends it and who takes it: client and server, or the other way round for what only a server sends."""
    connection = bytes.fromhex(vector["connection"])
    key = bytes.fromhex(vector["key"])
    number = vector["number"]
    made = []
    for is_client in (True, False):
        cipher = ChaCha20Poly1305(key, key) if vector["suite"] else Cipher()
        made.append(LinkEndpoint(cipher, connection, 0.0, is_client=is_client, first_number=number))
    return made[0], made[1]


@pytest.mark.parametrize("vector", VECTORS["datagrams"], ids=name_of)
def test_datagrams_as_they_are_taken(vector: Vector) -> None:
    _, taker = ends(vector)
    datagram = bytes.fromhex(vector["datagram"])
    number = vector["number"]
    if number >= 1 << 32:  # the taker has come so far
        for before in (0xFFFFFFFF, number - 1):
            plain = raw(before, b"\0", bytes.fromhex(vector["connection"]))
            sealed = plain[:14] + seal(bytes.fromhex(vector["key"]), before, plain[:14], plain[14:])
            assert taker.receive_datagram(sealed if vector["suite"] else plain, 0.0)
    assert taker.receive_datagram(datagram, 0.0)
    messages = []
    for frame in vector["frames"]:
        kind = FRAMES[frame["frame"]]
        if kind >= 0x80 and kind <= 0x83 and frame.get("sequence", 0) in (0, 65535):
            messages.append((kind & 3, frame.get("stream", 0), bytes.fromhex(frame["bytes"])))
        if frame["frame"] == "CLOSE":
            assert taker.ended == (frame["reason"], frame["text"])
        if frame["frame"] == "CHALLENGE":
            (answer,) = taker.datagrams_to_send(0.0)
            if vector["suite"] == 0:
                assert answer.endswith(b"\3" + bytes.fromhex(frame["bytes"]))
    assert list(iter(taker.next_message, None)) == messages


# Not the first thing that a sender makes of one message.
NOT_AT_ONCE = {
    "a sequenced message",  # the 65,536th
    "a CHALLENGE",
    "a RESPONSE",
    "a probe of 1300 bytes",
    "a PING, padded",
    "the second",
    "the second of an unordered one",
    "several frames, and a number beyond 32 bits",
}


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS["datagrams"] if vector["name"] not in NOT_AT_ONCE], ids=name_of
)
def test_datagrams_as_they_are_made(vector: Vector) -> None:
    sender, _ = ends(vector)
    (frame,) = vector["frames"]
    if frame["frame"] == "CLOSE":
        sender.close(frame["reason"], frame["text"], 0.0)
        expected = 3
    else:
        packet = bytes.fromhex(frame["bytes"])
        if frame.get("total"):
            packet = bytes(number % 251 for number in range(frame["total"]))
        assert sender.send(packet, FRAMES[frame["frame"]] & 3, frame.get("stream", 0), 0.0)
        expected = 2 if frame.get("total") else 1
    made = sender.datagrams_to_send(0.0)
    assert made[0].hex() == vector["datagram"]
    assert len(made) == expected
    if frame.get("total"):
        seconds = {vector["datagram"] for vector in VECTORS["datagrams"] if vector["name"].startswith("the second")}
        # Numbered 0 in the vectors, and 1 here.
        if vector["suite"] == 0:
            assert (made[1][:10] + bytes(4) + made[1][14:]).hex() in seconds


def test_a_ping_as_it_is_made() -> None:
    vector = next(one for one in VECTORS["datagrams"] if one["name"] == "a PING, padded" and one["suite"] == 0)
    sender = LinkEndpoint(Cipher(), bytes.fromhex(vector["connection"]), 0.0, is_client=True)
    sender.send(b"lost", 0, 0, 0.0)
    sender.datagrams_to_send(0.0)
    sender.handle_timer(ACK_LIMITS["PTO_FIRST"] + 0.11)
    (made,) = sender.datagrams_to_send(ACK_LIMITS["PTO_FIRST"] + 0.11)
    assert made[14:].hex() == vector["datagram"][28:]


def sent_numbers(count: int) -> Hand:
    """Who has sent so many datagrams."""
    hand = Hand()
    for _ in range(count):
        hand.end.send(b"x", 0, 0, 0.0)
        hand.take()
    return hand


@pytest.mark.parametrize("vector", VECTORS["acknowledgements"], ids=name_of)
def test_acknowledgements(vector: Vector) -> None:
    hand = sent_numbers(300)
    assert hand.end.next_number == 300
    before = hand.end.in_flight
    sizes = before // 300
    assert hand.give_body(bytes.fromhex(vector["block"]))
    assert hand.end.largest_acked == vector["largest"]
    assert hand.end.arrived_count == len(vector["numbers"])
    assert hand.end.delivered == sizes * len(vector["numbers"])


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=name_of)
def test_malformed(vector: Vector) -> None:
    hand = sent_numbers(3)
    for body in vector["before"]:
        assert hand.give_body(bytes.fromhex(body))
    assert not hand.give_body(bytes.fromhex(vector["body"]))
    assert hand.end.ended is not None and vector["outcome"] == "CLOSE_PROTOCOL"
    assert [[frame.type for frame in made.frames] for made in hand.take()] == [[CLOSE]] * 3
    assert hand.end.ended[0] == 1

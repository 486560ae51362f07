"""vectors.json held against the C client, through its public face: datagrams go in; what it sends and tells is seen.

The keys of the vectors' DATA are none that a handshake gave. The cryptography is the caller's, so here it is one that
takes the vectors' key for whatever has the header of a DATA datagram beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gsrt._core import Packet, ProtocolError
from gsrt._link import FRAMES, KIND_ORDERED, KIND_SEQUENCED, KIND_UNRELIABLE
from gsrt._sodium import open_sealed, seal
from gsrt.protocol import link
from gsrt.protocol.link import Terms
from tests.link import c_client
from tests.link.c_client import (
    CLOSED,
    CLOSED_EVENT,
    ENTERING,
    FAILED,
    GREETING,
    MESSAGE,
    OPEN,
    READY,
    REFUSED_EVENT,
    SENT,
    CLink,
    Event,
)
from tests.link.make_vectors import PATH, entropy
from tests.link.test_c_datagrams import Script
from tests.link.wire import CLOSE, ORDERED, Frame, raw, write

VECTORS = json.loads(PATH.read_text())
Vector = dict[str, Any]
HEADER_BYTES, ACK_DELAY, PROBE_AFTER = 14, 0.01, 1.0
NOW = 1000.0
PLAYER_READY = write(Frame(ORDERED, bytes=b"\x08\x0d"))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return c_client.build(tmp_path_factory.getbasetemp() / "c_client")


def name_of(vector: Vector) -> str:
    name = vector.get("name") or vector.get("reason") or vector.get("block") or "handshake"
    return f"{str(name)[:40]} {vector.get('suite', '')}"


def given(module: Any, *pieces: bytes) -> Any:
    """The `random` of a configuration that gives these in turn."""
    give = entropy(*pieces)

    def random(_context: Any, out: Any, size: int) -> None:
        module.ffi.memmove(out, give(size), size)

    return module.ffi.callback("void(void *, uint8_t *, size_t)", random)


class Known:
    """The C client in a handshake of the vectors, whose bytes it has to make; `key`: encrypts DATA instead of those
    that the handshake gives."""

    def __init__(self, module: Any, suite: int, key: bytes | None = None, *, probe: bool = False) -> None:
        (vector,) = (one for one in VECTORS["handshakes"] if one["suite"] == suite)
        self.suite, self.now = suite, vector["cookie_microseconds"] / 1_000_000
        in_hex = {name: value for name, value in vector.items() if isinstance(value, str) and name != "token"}
        self.known = {name: bytes.fromhex(value) for name, value in in_hex.items()}
        self.key = key
        self._module = module
        terms = Terms.from_bytes(self.known["client_terms"])
        self._random = given(module, self.known["client_nonce"], self.known["client_private"])
        fields: dict[str, Any] = {"random": self._random}
        if key is not None and suite:
            self._kept = fields["crypto"] = self._crypto()
        self.client = CLink(
            module,
            vector["token"],
            1,
            suite=suite,
            receive_bytes=terms.receive_bytes,
            message_bytes=terms.message_bytes,
            probe=probe,
            **fields,
        )
        self.client.connect(self.now)
        assert self.sent() == [self.known["hello"]]
        assert self.client.state == GREETING
        assert self.client.receive_datagram(self.known["cookie"], self.now)
        assert self.sent() == [self.known["login"]]
        assert self.client.state == ENTERING
        assert self.client.receive_datagram(self.known["welcome"], self.now)
        assert self.client.state == OPEN

    def _crypto(self) -> Any:
        """libsodium's, but for the key of DATA."""
        ffi, sodium = self._module.ffi, self._module.lib.gsrt_link_sodium
        bytes_in = "const uint8_t *"
        signature = f"int(uint8_t *, {bytes_in}, {bytes_in}, {bytes_in}, size_t, {bytes_in}, size_t)"
        key_of_data = ffi.new("uint8_t[]", self.key)

        def chosen(function: Callable[..., int]) -> Any:
            def call(out: Any, key: Any, nonce: Any, beside: Any, beside_size: int, text: Any, size: int) -> int:
                used = key_of_data if beside_size == HEADER_BYTES else key
                return function(out, used, nonce, beside, beside_size, text, size)

            return ffi.callback(signature, call)

        made = ffi.new("gsrt_link_crypto *", sodium)
        made.seal, made.open = self._callbacks = chosen(sodium.seal), chosen(sodium.open)
        return made

    def sent(self) -> list[bytes]:
        return self.client.datagrams_to_send(self.now)

    def give(self, number: int, body: bytes) -> bool:
        """A datagram of the server."""
        datagram = raw(number, body, self.known["connection"])
        if self.suite:
            key = self.key or self.known["server_to_client"]
            datagram = datagram[:HEADER_BYTES] + seal(key, number, datagram[:HEADER_BYTES], body)
        return self.client.receive_datagram(datagram, self.now)

    def opened(self, datagram: bytes) -> bytes:
        """The body of a datagram of the client."""
        assert datagram[:10] == b"\0\6" + self.known["connection"]
        header, body = datagram[:HEADER_BYTES], datagram[HEADER_BYTES:]
        if self.suite:
            number = int.from_bytes(header[10:], "little")
            plain = open_sealed(self.key or self.known["client_to_server"], number, header, body)
            assert plain is not None
            return plain
        return body

    def frames(self) -> list[bytes]:
        """What the client sends now, behind what it acknowledges."""
        bodies = [self.opened(datagram) for datagram in self.sent()]
        return [body[1 if body[0] == 0 else 6 + body[0] :] for body in bodies]

    def settle(self) -> None:
        """PlayerReady has gone out, and come."""
        assert self.frames() == [PLAYER_READY]
        self.now += 0.02
        assert self.give(0, b"\1" + bytes(6))
        assert self.sent() == []

    def events(self) -> list[Event]:
        return list(iter(self.client.next_event, None))


@pytest.mark.parametrize("suite", [0, 1])
def test_handshakes(module: Any, suite: int) -> None:
    """Its datagrams byte for byte, and the keys by what is encrypted with them."""
    known = Known(module, suite)
    (ready,) = known.sent()
    assert int.from_bytes(ready[10:14], "little") == 0
    assert known.opened(ready) == b"\0" + PLAYER_READY
    assert known.give(0, b"\1" + bytes(6) + write(Frame(0x80, bytes=b"\x08\x02\x28\x03")))
    (event,) = known.events()
    assert (event.type, event.op_code, event.sender, event.kind) == (MESSAGE, 1, 3, KIND_UNRELIABLE)
    assert known.client.quality()["waiting_bytes"] == 0


@pytest.mark.parametrize("suite", [0, 1])
def test_terms_of_the_server(module: Any, suite: int) -> None:
    """What it takes may be sent, and no more."""
    known = Known(module, suite)
    terms = Terms.from_bytes(known.known["server_terms"])
    assert known.client.send(bytes(terms.message_bytes), KIND_ORDERED, 0, known.now) == SENT
    assert known.client.send(bytes(terms.message_bytes + 1), KIND_ORDERED, 0, known.now) == c_client.TOO_LONG


@pytest.mark.parametrize("vector", VECTORS["refusals"], ids=name_of)
def test_refusals(module: Any, vector: Vector) -> None:
    random = given(module, bytes.fromhex(vector["nonce"]))
    client = CLink(module, "a token", 1, random=random)
    client.connect(NOW)
    client.datagrams_to_send(NOW)
    assert client.receive_datagram(bytes.fromhex(vector["datagram"]), NOW)
    assert client.state == FAILED
    event = client.next_event()
    assert event is not None
    assert (event.type, event.reason) == (REFUSED_EVENT, getattr(link, vector["reason"]))
    assert client.next_event() is None and client.datagrams_to_send(NOW) == []


def told_of(packet: bytes) -> int | None:
    """The type of the event that an RT packet makes; None: none. Raises ProtocolError for what is none."""
    op_code = Packet.decode(packet).op_code
    return MESSAGE if op_code > 0 else READY if op_code == -1 else None


@pytest.mark.parametrize("vector", VECTORS["datagrams"], ids=name_of)
def test_datagrams_as_they_are_taken(module: Any, vector: Vector) -> None:
    known = Known(module, vector["suite"], bytes.fromhex(vector["key"]))
    known.frames()
    number = vector["number"]
    if number >= 1 << 32:  # it has come so far
        assert known.give(0xFFFFFFFF, b"\0") and known.give(number - 1, b"\0")
    assert known.client.receive_datagram(bytes.fromhex(vector["datagram"]), known.now)
    assert not known.client.receive_datagram(bytes.fromhex(vector["datagram"]), known.now), "a replay"
    expected: list[tuple[Any, ...]] = []
    malformed = 0
    types = [FRAMES[frame["frame"]] for frame in vector["frames"]]
    for type, frame in zip(types, vector["frames"], strict=True):
        if type == CLOSE:
            expected.append((CLOSED_EVENT, frame["reason"], frame["text"]))
        elif 0x80 <= type <= 0x83:
            packet = bytes.fromhex(frame["bytes"])
            try:
                told = told_of(packet)
            except ProtocolError:
                malformed += 1
                continue
            if told is not None:
                expected.append((told, type & 3, frame.get("stream", 0), packet))
    events = [
        (event.type, event.reason, event.text)
        if event.type == CLOSED_EVENT
        else (event.type, event.kind, event.channel, event.packet)
        for event in known.events()
    ]
    assert sorted(events, key=repr) == sorted(expected, key=repr)
    assert known.client.quality()["packets_malformed"] == malformed
    if vector["frames"][0]["frame"] == "CHALLENGE":
        assert known.frames() == [b"\3" + bytes.fromhex(vector["frames"][0]["bytes"])]
        return
    known.now += ACK_DELAY
    answers = [known.opened(datagram) for datagram in known.sent()]
    if any(type == 1 or (type >= 0x80 and type & 2) for type in types):  # elicits soon
        assert len(answers) == 1 and answers[0][0] > 0
        assert answers[0][1:5] == (number & 0xFFFFFFFF).to_bytes(4, "little")
    else:
        assert answers == []


def test_two_pieces_are_a_message(module: Any) -> None:
    """What they make is no RT packet: that it was handed on shows in what is counted."""
    by_name = {vector["name"]: vector for vector in VECTORS["datagrams"] if vector["suite"] == 0}
    for names in (
        ("a message in pieces: the first", "the second"),
        ("an unordered one", "the second of an unordered one"),
    ):
        for order in (names, names[::-1]):
            known = Known(module, 0)
            for number, name in enumerate(order):
                assert known.client.quality()["packets_malformed"] == 0
                assert known.give(number, bytes.fromhex(by_name[name]["datagram"])[HEADER_BYTES:])
                assert known.events() == []
            assert known.client.quality()["packets_malformed"] == 1


BEGINNINGS = ("UNRELIABLE", "SEQUENCED", "ORDERED", "UNORDERED", "ORDERED_BEGIN", "UNORDERED_BEGIN")
MADE = [one for one in VECTORS["datagrams"] if len(one["frames"]) == 1 and one["frames"][0]["frame"] in BEGINNINGS]


@pytest.mark.parametrize("vector", MADE, ids=name_of)
def test_messages_as_they_are_made(module: Any, vector: Vector) -> None:
    """Frames byte for byte, but for the sequence where the vector's is not the first."""
    known = Known(module, vector["suite"], bytes.fromhex(vector["key"]))
    known.settle()
    (frame,) = vector["frames"]
    kind, channel = FRAMES[frame["frame"]] & 3, frame.get("stream", 0)
    total = frame.get("total", 0)
    packet = bytes(number % 251 for number in range(total)) if total else bytes.fromhex(frame["bytes"])
    (plain,) = (one["datagram"] for one in VECTORS["datagrams"] if (one["name"], one["suite"]) == (vector["name"], 0))
    expected = bytearray.fromhex(plain)[HEADER_BYTES + 1 :]
    if kind == KIND_SEQUENCED:
        expected[2:4] = b"\0\0"
    elif kind == KIND_ORDERED and channel == 0:  # PlayerReady was there before
        expected[2:4] = b"\1\0"
    assert known.client.send(packet, kind, channel, known.now) == SENT
    made = known.frames()
    assert made[0] == bytes(expected)
    if total:
        names = ("the second", "the second of an unordered one")
        seconds = [one["datagram"] for one in VECTORS["datagrams"] if one["name"] in names and one["suite"] == 0]
        assert made[1] in [bytes.fromhex(second)[HEADER_BYTES + 1 :] for second in seconds]
    assert len(made) == (2 if total else 1)


CLOSES = [vector for vector in VECTORS["datagrams"] if vector["frames"][0]["frame"] == "CLOSE"]


@pytest.mark.parametrize("vector", CLOSES, ids=name_of)
def test_a_close_as_it_is_made(module: Any, vector: Vector) -> None:
    """The whole datagram, header and tag too: nothing else has gone out."""
    known = Known(module, vector["suite"], bytes.fromhex(vector["key"]))
    (frame,) = vector["frames"]
    known.client.close(frame["reason"], frame["text"], known.now)
    made = known.sent()
    assert made[0].hex() == vector["datagram"]
    assert [known.opened(datagram) for datagram in made] == [known.opened(made[0])] * 3


@pytest.mark.parametrize("suite", [0, 1])
def test_a_ping_and_a_probe_as_they_are_made(module: Any, suite: int) -> None:
    vectors = {one["name"]: bytes.fromhex(one["datagram"]) for one in VECTORS["datagrams"] if one["suite"] == suite}
    known = Known(module, suite, probe=True)
    known.settle()
    known.now += PROBE_AFTER
    known.client.handle_timer(known.now)
    (probe,) = known.sent()
    assert len(probe) == len(vectors["a probe of 1300 bytes"])
    without = Known(module, suite)
    without.settle()
    without.now = without.client.next_timer()
    without.client.handle_timer(without.now)
    (ping,) = without.sent()
    assert len(ping) == len(vectors["a PING, padded"])
    for one, of in ((probe, known), (ping, without)):
        body = of.opened(one)
        frames = body[6 + body[0] if body[0] else 1 :]
        assert frames == b"\1".ljust(len(frames), b"\0")


@pytest.mark.parametrize("vector", VECTORS["acknowledgements"], ids=name_of)
def test_acknowledgements(module: Any, vector: Vector) -> None:
    """Of 300 datagrams with a message of two bytes each, those that have come are known to have."""
    script = Script(module)
    assert len(script.sent()) == 1
    for number in range(1, 300):
        script.client.send(b"\x08\x02", KIND_ORDERED, 0, script.now)
        (sent,) = script.sent()
        assert sent.number == number
    assert script.client.quality()["waiting_bytes"] == 600
    script.now += 0.05
    assert script.receive(b"", ack=bytes.fromhex(vector["block"]))
    quality = script.client.quality()
    numbers = set(vector["numbers"])
    assert quality["waiting_bytes"] == 600 - 2 * len(numbers)
    sample = max(0.05 - min(vector["delay"] / 1e4, 0.2), 0.0001)
    assert quality["rtt"] == pytest.approx(sample)
    too_late = sample * 9 / 8 <= 0.05  # then all before the largest, else those that are three before it
    lost = set(range(vector["largest"] - (0 if too_late else 2))) - numbers
    assert quality["datagrams_lost"] == len(lost)


# Only a server has channels; a client is sent streams, up to 4095.
OF_A_SERVER = {"channel 16"}


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=name_of)
def test_malformed(module: Any, vector: Vector) -> None:
    script = Script(module)
    for _ in range(2):
        assert len(script.sent()) == 1
        script.client.send(b"\x08\x02", KIND_UNRELIABLE, 0, script.now)
    assert len(script.sent()) == 1
    for body in vector["before"]:
        assert script.receive(b"", ack=bytes.fromhex(body))
        assert script.client.state == OPEN
    script.receive(b"", ack=bytes.fromhex(vector["body"]))
    if vector["name"] in OF_A_SERVER:
        assert script.client.state == OPEN
        return
    assert vector["outcome"] == "CLOSE_PROTOCOL"
    assert script.client.state == CLOSED
    assert [(event.type, event.reason) for event in script.events()] == [(CLOSED_EVENT, 1)]
    sent = script.sent()
    assert [each.frames[0][0] for each in sent] == [CLOSE] * 3
    assert {each.frames[0][1][0] for each in sent} == {1}  # type: ignore[index]

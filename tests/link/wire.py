"""DATA datagrams of suite 0 as docs/LINK.md has them, in plain Python: to make them by hand, to read what the link
makes, and to stand for the other side of an endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gsrt._link import Cipher, LinkEndpoint
from tests.link.pair import CONNECTION

PADDING, PING, CHALLENGE, RESPONSE, CLOSE = range(5)
UNRELIABLE, SEQUENCED, ORDERED, UNORDERED = range(0x80, 0x84)
BEGIN, MORE = 4, 8


class Ack(NamedTuple):
    """`largest`: its low 32 bits; `delay`: in units of 100 µs; `below`: bit N is number largest - 1 - N."""

    largest: int
    delay: int
    below: int
    bit_bytes: int

    @classmethod
    def of(cls, numbers: Iterable[int], delay: int = 0) -> Ack:
        """What acknowledges these numbers."""
        numbers = set(numbers)
        largest = max(numbers)
        below = sum(1 << largest - 1 - number for number in numbers if number != largest)
        return cls(largest & 0xFFFFFFFF, delay, below, (below.bit_length() + 7) // 8)

    def numbers(self) -> set[int]:
        """What it acknowledges, of numbers below 2^32."""
        return {self.largest} | {
            self.largest - 1 - bit for bit in range(self.below.bit_length()) if self.below >> bit & 1
        }

    def block(self) -> bytes:
        head = bytes((self.bit_bytes + 1,)) + self.largest.to_bytes(4, "little") + self.delay.to_bytes(2, "little")
        return head + self.below.to_bytes(self.bit_bytes, "little")


class Frame(NamedTuple):
    """One frame; what its type has no field for is 0 or empty. A CLOSE has its reason in `sequence`."""

    type: int
    stream: int = 0
    sequence: int = 0
    total: int = 0
    bytes: bytes = b""


class Datagram(NamedTuple):
    """`padding`: zeros at the end."""

    number: int
    ack: Ack | None
    frames: list[Frame]
    padding: int
    size: int


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write(frame: Frame) -> bytes:
    """A frame's bytes."""
    type_, stream, sequence, total, data = frame
    head = bytes((type_,))
    if type_ < 0x80:
        if type_ == CLOSE:
            return head + bytes((sequence, len(data))) + data
        return head + data
    if type_ != UNRELIABLE:
        head += varint(stream) + sequence.to_bytes(2, "little")
    if type_ & BEGIN:
        head += varint(total)
    return head + varint(len(data)) + data


def datagram(number: int, *frames: Frame, ack: Ack | None = None, connection: bytes = CONNECTION) -> bytes:
    body = b"\0" if ack is None else ack.block()
    return raw(number, body + b"".join(map(write, frames)), connection)


def raw(number: int, body: bytes, connection: bytes = CONNECTION) -> bytes:
    return b"\0\x06" + connection + (number & 0xFFFFFFFF).to_bytes(4, "little") + body


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        assert len(taken) == size, "cut"
        self.at += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7


def read(data: bytes) -> Datagram:
    """A datagram as the link made it, checked byte by byte."""
    reader = _Reader(data)
    assert reader.take(2) == b"\0\x06"
    assert reader.take(8) == CONNECTION
    number = reader.number(4)
    ack_bytes = reader.number(1)
    assert ack_bytes <= 33
    ack = None
    if ack_bytes:
        ack = Ack(reader.number(4), reader.number(2), reader.number(ack_bytes - 1), ack_bytes - 1)
    frames: list[Frame] = []
    while reader.at < len(data):
        type_ = reader.number(1)
        if type_ == PADDING:
            rest = data[reader.at - 1 :]
            assert not any(rest)
            return Datagram(number, ack, frames, len(rest), len(data))
        if type_ == PING:
            frames.append(Frame(PING))
        elif type_ in (CHALLENGE, RESPONSE):
            frames.append(Frame(type_, bytes=reader.take(8)))
        elif type_ == CLOSE:
            reason = reader.number(1)
            frames.append(Frame(CLOSE, sequence=reason, bytes=reader.take(reader.number(1))))
        else:
            assert type_ in (UNRELIABLE, SEQUENCED, ORDERED, UNORDERED, 0x86, 0x87, 0x8A, 0x8B)
            stream = sequence = total = 0
            if type_ != UNRELIABLE:
                stream, sequence = reader.varint(), reader.number(2)
            if type_ & BEGIN:
                total = reader.varint()
            frames.append(Frame(type_, stream, sequence, total, reader.take(reader.varint())))
    return Datagram(number, ack, frames, 0, len(data))


class Hand:
    """The other side of an endpoint, led by the test's hand. `now` is the time of both."""

    def __init__(self, *, is_client: bool = False, now: float = 0.0, number: int = 0, **terms: int) -> None:
        """`is_client`: the endpoint is; `number`: of the first datagram given to it."""
        self.end = LinkEndpoint(Cipher(), CONNECTION, now, is_client=is_client, **terms)
        self.now = now
        self.number = number

    def give(self, *frames: Frame, ack: Iterable[int] | Ack | None = None, delay: int = 0) -> bool:
        """The next datagram comes, with these frames; `ack`: the numbers it acknowledges, or its whole block."""
        block = ack if ack is None or isinstance(ack, Ack) else Ack.of(ack, delay)
        taken = self.end.receive_datagram(datagram(self.number, *frames, ack=block), self.now)
        self.number += 1
        return taken

    def give_body(self, body: bytes) -> bool:
        taken = self.end.receive_datagram(raw(self.number, body), self.now)
        self.number += 1
        return taken

    def take(self) -> list[Datagram]:
        """What the endpoint sends now."""
        return [read(made) for made in self.end.datagrams_to_send(self.now)]

    def at(self, now: float) -> list[Datagram]:
        """Time goes on to `now`, timer by timer: what the endpoint sends at it, and on the way."""
        made: list[Datagram] = []
        while (due := self.end.next_timer()) <= now:
            assert due >= self.now or not made, "a timer that is due again at once"
            self.now = max(self.now, due)
            self.end.handle_timer(self.now)
            made += self.take()
        self.now = now
        return made

    def send(self, packet: bytes, kind: int = 2, stream: int = 0) -> list[Datagram]:
        """The endpoint sends a message: the datagrams of it."""
        assert self.end.send(packet, kind, stream, self.now)
        return self.take()

    def heard(self) -> list[tuple[int, int, bytes]]:
        return list(iter(self.end.next_message, None))

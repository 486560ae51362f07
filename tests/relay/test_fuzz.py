"""Bytes gone wrong on every leg of peers that are logged in: nothing falls over, what comes out is fit for the most
fragile client, and two bystanders in the same room notice nothing."""

from __future__ import annotations

import os
import random

import pytest

from tests.doubles.dialect import CPP_STREAM, PacketReader, Source
from tests.relay.rig import Line, Post, Rig, masked, packet
from tests.relay.test_malformed import MALFORMED, SOUND
from tests.support import wire

CASES = int(os.environ.get("FUZZ_CASES", "200000"))
CHECK_EVERY = 25

RT, WEBSOCKET, FAST, SPEAKER, LISTENER = 1, 2, 3, 4, 5

EXTREMES = [
    wire.varint(value) for value in (0, 1, 127, 128, 255, 16383, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)
] + [b"\x80" * 4 + b"\x00", b"\x80" * 9 + b"\x01", b"\xff" * 10, b"\xff" * 20]

SEEDS = [
    *MALFORMED.values(),
    *list(SOUND.values()) * 5,
    wire.encode_packet(
        wire.Packet(
            op_code=77,
            targets=(1, 2, 3, 5),
            sender=3,
            reliable=False,
            data=wire.encode_data(
                {
                    1: ("long", -5),
                    2: ("float", 1.5),
                    3: ("double", 2.5),
                    4: ("string", b"text"),
                    5: ("vector", (1.0, 2.0, 3.0)),
                    6: ("data", {1: ("data", {127: ("string", b"")})}),
                    100: ("long", 2**62),
                }
            ),
            payload=b"payload",
        )
    ),
    b"\x08\x02\x10\x07\x30\x00",
    b"\x08\x02\x20\x09",
    b"\x08\x09",
    b"\x08\x0d",
    b"\x08\x00\x7a\x02\x0a\x00",
]


def mutated(chance: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(9)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif kind == 1 and out:
            out[at % len(out)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 2:
            out[at:at] = chance.randbytes(chance.randrange(1, 5))
        elif kind == 3:
            del out[at : at + chance.randrange(1, 5)]
        elif kind == 4:
            del out[at:]
        elif kind == 5:
            out[at:at] = chance.choice(EXTREMES)
        elif kind == 6:
            other = chance.choice(SEEDS)
            out[at:] = other[chance.randrange(len(other) + 1) :]
        elif kind == 7:
            end = min(len(out), at + chance.randrange(1, 20))
            out[at:at] = out[at:end]
        else:
            out[at : at + 1] = chance.choice((b"\x72", b"\x7a", b"\x20", b"\x30", b"\x10", b"\x0a", b"\x12"))
    return bytes(out[:3000])


class Arena:
    """Three attackers, a speaker and a listener."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.chance = random.Random(seed)
        rig.handler.on_datagram = self.bind
        self.lines: dict[int, Line] = {}
        self.posts: dict[int, Post] = {}
        for number in (RT, WEBSOCKET, FAST, SPEAKER, LISTENER):
            self.enter(number)
        self.said = 0
        self.heard = 0
        self.relayed = 0
        self.ended = 0

    def enter(self, number: int) -> None:
        self.lines[number] = self.rig.join(number, websocket=number == WEBSOCKET)
        if number == FAST:
            self.posts[number] = self.rig.post(number)

    def bind(self, address: bytes, body: bytes, now: float) -> None:
        """The rig's own login by datagram and no other: mutated ones must not move addresses about."""
        if wire.frame(body) == packet(0, payload=b"%d" % FAST):
            self.rig.members[FAST].bind(address)

    def leave(self, number: int) -> None:
        """Its sockets closed on both sides, so that thousands of connections fit."""
        line = self.lines[number]
        self.rig.members[number].detach()
        line.stream.close()
        line.close()
        self.rig.sockets.remove(line.socket)
        if number in self.posts:
            post = self.posts.pop(number)
            post.socket.close()
            self.rig.sockets.remove(post.socket)

    def attack(self) -> None:
        """One case. Whoever is shown out for it comes in again at once."""
        chance = self.chance
        number = chance.choice((RT, WEBSOCKET, FAST))
        data = wire.frame(mutated(chance, chance.choice(SEEDS)))
        unsound = chance.random() < 0.15  # the framing too
        if unsound:
            data = mutated(chance, data + wire.frame(chance.choice(SEEDS)))
        if number == FAST:
            self.posts[FAST].socket.send(data)
            return
        if number == WEBSOCKET:
            whole = not unsound or chance.random() < 0.3
            op_code = 2 if whole else chance.choice((0, 0, 1, 8, 9, 10, 15))
            data = masked(op_code, data, last=whole or chance.random() < 0.5)
            if unsound and chance.random() < 0.5:
                data = mutated(chance, data)
        line = self.lines[number]
        line.send(data)
        self.rig.take_streams()
        gone = line.stream.fd < 0
        self.ended += gone
        if gone or (unsound and chance.random() < 0.5):  # it may wait for the end of a frame, and swallow what follows
            self.leave(number)
            self.enter(number)

    def settle(self) -> None:
        """Takes the datagrams, has the speaker speak, reads all legs and checks what came."""
        rig = self.rig
        while rig.relay.receive_datagrams(rig.now):
            pass
        rig.take_streams()
        self.said += 1
        self.lines[SPEAKER].put(packet(1000 + self.said, payload=b"%d" % self.said))
        rig.flush()
        rig.now += 1.0
        for member, reason in rig.relay.take_doomed():
            pytest.fail(f"{member.peer_id} was given up: {reason}")
        self.listen()
        for number in (RT, WEBSOCKET, FAST, SPEAKER):
            self.lines[number].read()
        self.rig.handler.closings.clear()
        rig.handler.controls.clear()
        rig.handler.openings.clear()
        rig.handler.datagrams.clear()

    def listen(self) -> None:
        data = self.lines[LISTENER].read()
        bodies, rest = wire.split_frames(data)
        assert rest == b""
        for body in bodies:
            check_for_fragile_clients(wire.frame(body))
            got = wire.decode_packet(body)
            assert got.op_code > 0
            assert got.payload != b""
            assert got.sequence is got.reliable is got.request_id is None
            assert got.targets == ()
            if got.sender == SPEAKER:
                self.heard += 1
                assert (got.op_code, got.payload) == (1000 + self.heard, b"%d" % self.heard)
            else:
                assert got.sender in (RT, WEBSOCKET, FAST)
                self.relayed += 1
        assert self.heard == self.said


def check_for_fragile_clients(frame: bytes) -> None:
    """Reads a frame as C++ does over TCP; a Fate is raised where it would die."""
    source = Source(complete=True)
    source.feed(frame)
    reading = PacketReader(CPP_STREAM, source, lambda head: False).packet()
    with pytest.raises(StopIteration):
        while True:
            next(reading)
    assert not source


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_bystanders_notice_nothing(seed: int) -> None:
    cases = CASES // 4
    with Rig(5) as rig:
        arena = Arena(rig, seed)
        for case in range(1, cases + 1):
            arena.attack()
            if case % CHECK_EVERY == 0:
                arena.settle()
        arena.settle()
        counts = rig.counts()
    assert arena.heard == arena.said
    # that the cases reached what they are for
    assert arena.relayed > cases // 25
    assert arena.ended > cases // 100
    assert counts["dropped_malformed"] > cases // 10
    assert "dropped_unknown_address" not in counts
    for reason in ("stale", "no_target", "op_code"):
        assert counts[f"dropped_{reason}"] > 0


def test_noise_of_strangers() -> None:
    """Random bytes as the first thing on a connection, and as datagrams from nobody."""
    chance = random.Random(9)
    with Rig() as rig:
        speaker, listener = rig.join(1), rig.join(2)
        post = rig.post()
        starts = [b"", b"GET /ws HTTP/1.1\r\n\r\n", b"G", b"\x16\x03\x01", packet(0, payload=b"9")[:3]]
        for case in range(4000):
            line = rig.line()
            noise = chance.choice(starts) + chance.randbytes(chance.randrange(60))
            if chance.random() < 0.5:
                noise = mutated(chance, noise)
            if noise:
                line.send(noise)
                post.socket.send(noise)
            if case % 20 == 0:
                rig.take_streams()
                while rig.relay.receive_datagrams(rig.now):
                    pass
                speaker.put(packet(1 + case))
                rig.flush()
                assert listener.op_codes() == [1 + case]
            if case % 3 == 0:
                line.close()
            else:
                line.stream.close()
                line.close()
            rig.sockets.remove(line.socket)
        rig.take_streams()
        rig.handler.failures.clear()  # the rig's own login reads strictly, and raises
        assert listener.packets() == []

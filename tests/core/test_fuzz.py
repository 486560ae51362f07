"""Over 100,000 mutated packets, data, streams and datagrams: each is read, or refused with a ProtocolError.

What is read must be read the same by a second, plain reader of the format, and come back equal from its own bytes.
FUZZ_SEED and FUZZ_SCALE in the environment give another run, or a longer one.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gsrt._core import MAX_SLOT, Data, Float32, FrameReader, Packet, ProtocolError, split_datagram
from tests.core.strategies import bits, read
from tests.support import wire

SEED = int(os.environ.get("FUZZ_SEED", "20150611"))
SCALE = float(os.environ.get("FUZZ_SCALE", "1"))

GOLDEN = Path(__file__).parents[1] / "vectors" / "golden.jsonl"
FRAMES = [bytes.fromhex(json.loads(line)["hex"]) for line in GOLDEN.read_text().splitlines()]
BODIES = [body for frame in FRAMES for body in split_datagram(frame)]

# Field keys, varints at the edge of their widths, lengths that lead past every end.
PIECES = [bytes((key,)) for key in bytes.fromhex("00 01 08 0a 0d 10 12 20 28 30 72 7a 7f 80 ff")] + [
    bytes.fromhex(piece)
    for piece in (
        *("8000", "ffffffff0f", "ffffffff1f", "ffffffffffffffffff01", "ffffffffffffffffff02", "8080808008"),
        *("80808080808080808000", "8080808080808080808000", "7a00", "7200", "720108", "0a020a00", "0a0472020802"),
        *("fa07021200", "3000", "2000"),
    )
]


def mutated(generator: random.Random, corpus: list[bytes]) -> bytes:
    """One of the corpus with one to four flips, cuts, insertions, repetitions or splices."""
    data = bytearray(generator.choice(corpus))
    for _ in range(generator.choice((1, 1, 1, 2, 2, 3, 4))):
        length = len(data)
        place = generator.randrange(length + 1)
        action = generator.randrange(9)
        if action == 0 and length:
            data[place % length] ^= 1 << generator.randrange(8)
        elif action == 1 and length:
            data[place % length] = generator.choice(PIECES)[0]
        elif action == 2 and length:  # a length or a number one off
            data[place % length] = (data[place % length] + generator.choice((-2, -1, 1, 2))) & 0xFF
        elif action == 3:
            del data[place:]
        elif action == 4:
            del data[place : place + generator.randint(1, 8)]
        elif action == 5:
            data[place:place] = generator.choice(PIECES)
        elif action == 6:
            data[place:place] = generator.randbytes(generator.randint(1, 6))
        elif action == 7:
            data[place:place] = data[generator.randrange(length + 1) :][: generator.randint(1, 30)]
        else:
            other = generator.choice(corpus)
            data[place:] = other[generator.randrange(len(other) + 1) :]
    return bytes(data)


class Outcome:
    """How many inputs were read and how many refused, so that a test that tries nothing is noticed."""

    def __init__(self) -> None:
        self.read = 0
        self.refused = 0

    def run(self, cases: int, make: Callable[[], bytes], check: Callable[[bytes], None]) -> None:
        """Check that many inputs; whatever is raised, other than ProtocolError, is shown with its input."""
        for _ in range(int(cases * SCALE)):
            data = make()
            try:
                check(data)
                self.read += 1
            except ProtocolError as error:
                assert 0 <= error.offset <= len(data), f"offset {error.offset} in {data.hex()}"
                self.refused += 1
            except BaseException as error:
                raise AssertionError(f"{error!r} for {data.hex()}") from error
        assert self.read > cases // 20 and self.refused > cases // 20, (self.read, self.refused)


def check_packet(body: bytes) -> None:
    packet = Packet.decode(body)
    again = Packet.decode(packet.encode())
    assert again == packet
    assert packet.frame() == wire.frame(packet.encode())
    if packet.data is not None:
        check_read_data(packet.data)
    assert again == packet and again.encode() == packet.encode()
    agrees_with_plain_reader(body, packet)


def agrees_with_plain_reader(body: bytes, packet: Packet) -> None:
    """The plain reader takes no repeated field and none it does not know; what it takes, it reads the same."""
    try:
        plain = wire.decode_packet(body)
    except wire.WireError:
        return
    assert (plain.op_code, plain.sequence, plain.request_id) == (packet.op_code, packet.sequence, packet.request_id)
    assert (plain.sender or 0, plain.targets, plain.reliable) == (packet.sender, packet.targets, packet.reliable)
    assert (plain.payload, plain.data) == (packet.payload, None if packet.data is None else packet.data.encode())


def check_data(encoded: bytes) -> None:
    check_read_data(Data.decode(encoded))


def check_read_data(data: Data) -> None:
    encoded = data.encode()
    model = read(data)
    assert Data.decode(data.encode()) == data
    assert bits(read(Data(data))) == bits(model)
    try:
        plain = wire.decode_data(encoded)
    except wire.WireError as error:
        assert "vector of" in str(error), "a vector of more than four is read as its first four"
        return
    assert bits(plain) == bits(model)


def data_of(bodies: list[bytes]) -> list[bytes]:
    """The data fields of packets that have one."""
    found = []
    for body in bodies:
        data = wire.decode_packet(body).data
        if data:
            found.append(data)
    return found


def deep(levels: int) -> bytes:
    encoded = b"\x08\x02"
    for _ in range(levels):
        encoded = wire.length_delimited(1, wire.length_delimited(14, encoded))
    return encoded


DATA = [*data_of(BODIES), deep(3), deep(30), deep(31), deep(40)]


def test_packets() -> None:
    generator = random.Random(SEED)
    corpus = [*BODIES, b"\x08\x02\x72" + wire.varint(len(deep(31))) + deep(31)]
    Outcome().run(50_000, lambda: mutated(generator, corpus), check_packet)


def test_data() -> None:
    generator = random.Random(SEED + 1)
    Outcome().run(40_000, lambda: mutated(generator, DATA), check_data)


def test_changed_data() -> None:
    """Data that was read from mutated bytes can be changed like any other."""
    generator = random.Random(SEED + 2)
    values: list[Any] = [5, -(1 << 63), Float32(0.5), 2.5, "text", b"\xff" * 200, (1, 2, 3), {1: {2: 3}}]
    values.append(Data.decode(b"\x10\x02\x08\x02"))

    def check(encoded: bytes) -> None:
        data = Data.decode(encoded)
        model = read(data)
        for _ in range(generator.randint(1, 6)):
            slot = generator.choice((1, 2, 15, 16, MAX_SLOT, generator.randint(1, MAX_SLOT)))
            if slot in data and generator.randrange(3) == 0:
                del data[slot]
                del model[slot]
            else:
                value = generator.choice(values)
                data[slot] = value
                model |= read(Data({slot: value}))
        assert bits(read(data)) == bits(model)
        assert bits(read(Data.decode(data.encode()))) == bits(model)

    Outcome().run(10_000, lambda: mutated(generator, DATA), check)


def test_streams() -> None:
    generator = random.Random(SEED + 3)

    def stream() -> bytes:
        return b"".join(
            mutated(generator, FRAMES) if generator.randrange(2) else generator.choice(FRAMES) for _ in range(3)
        )

    def check(data: bytes) -> None:
        at_once = FrameReader(512)
        frames = at_once.feed(data)
        reader = FrameReader(512)
        pieces: list[bytes] = []
        place = 0
        while place < len(data):
            size = generator.choice((1, 2, 3, 50, 400))
            pieces += reader.feed(data[place : place + size])
            place += size
        assert pieces == frames and reader.pending == at_once.pending <= 512 + 5
        for body in frames:
            assert len(body) <= 512
        if any(not _is_sound(body) for body in frames) or reader.pending:
            raise ProtocolError("counted as refused")

    Outcome().run(15_000, stream, check)


def test_datagrams() -> None:
    generator = random.Random(SEED + 4)

    def check(data: bytes) -> None:
        frames = split_datagram(data)
        assert sum(map(len, frames)) < len(data) or not data
        reader = FrameReader(max([1, *map(len, frames)]))
        assert reader.feed(data) == frames and reader.pending == 0

    Outcome().run(15_000, lambda: mutated(generator, FRAMES), check)


def _is_sound(body: bytes) -> bool:
    try:
        Packet.decode(body)
    except ProtocolError:
        return False
    return True


def test_nothing_is_kept() -> None:
    """The same inputs over and over leave the process as large as they found it."""

    def one_round() -> None:
        generator = random.Random(SEED + 5)
        for _ in range(1_500):
            for check, corpus in ((check_packet, BODIES), (check_data, DATA)):
                try:
                    check(mutated(generator, corpus))
                except ProtocolError:
                    pass
            reader = FrameReader(300)
            try:
                reader.feed(mutated(generator, FRAMES))
                reader.feed(mutated(generator, FRAMES))
            except ProtocolError:
                pass

    one_round()
    tracemalloc.start()
    try:
        one_round()
        gc.collect()
        blocks, (before, _) = sys.getallocatedblocks(), tracemalloc.get_traced_memory()
        for _ in range(4):
            one_round()
        gc.collect()
        assert sys.getallocatedblocks() - blocks < 500
        assert tracemalloc.get_traced_memory()[0] - before < 100_000, "more than the free lists of Data and Packet hold"
    finally:
        tracemalloc.stop()

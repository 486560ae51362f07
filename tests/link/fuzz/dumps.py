"""Damaged dumps of links: each is refused with ValueError, or makes a link that does no harm.

`python -m tests.link.fuzz.dumps --runs N [--seed S]` tries N of them and tells what memory that has cost.
"""

from __future__ import annotations

import argparse
import random
import socket
import struct
import time
from collections.abc import Iterator

from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE, Cipher, LinkEndpoint
from gsrt._links import Carrier, Links
from gsrt.netsim.model import Conditions
from tests.link.pair import CONNECTION, Pair, ciphers

KINDS = (KIND_ORDERED, KIND_ORDERED, KIND_UNORDERED, KIND_UNORDERED, KIND_SEQUENCED, KIND_UNRELIABLE)
SIZES = (1, 30, 300, 1_100, 1_101, 3_000, 12_000)
DUMPS = 80
ADDRESS = struct.pack("=H", socket.AF_INET) + struct.pack("!H", 4567) + bytes((10, 1, 2, 3)) + bytes(8)
EDGES = [0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x1FF, 0x200, 0x44C, 0x44D, 0x7FFF, 0x8000, 0xFFFF, 0x40000, 0x60000]
EDGES += [0x7FFFFFFF, 0xFFFFFFFF, 1 << 62, 0x7FF0000000000000, 0x7FF8000000000001, 0xFFFFFFFFFFFFFFFF]


def dumps_of(seed: int, encrypted: bool) -> Iterator[tuple[float, bytes]]:
    """Dumps, and when they were made, of two ends that talk over a bad network."""
    chance = random.Random(seed)
    loss = chance.choice((0.0, 0.1, 0.4))
    pair = Pair(Conditions(loss=loss, delay=0.03, jitter=0.03, jitter_reorders=True), seed=seed, encrypted=encrypted)
    for _ in range(chance.choice((0, 3, 20, 60))):
        for _ in range(chance.choice((1, 3))):
            kind = chance.choice(KINDS)
            stream = chance.randrange(3) if kind in (KIND_ORDERED, KIND_SEQUENCED) else 0
            pair.send(chance.randrange(2), chance.randbytes(chance.choice(SIZES)), kind, stream)
        pair.run(pair.now + chance.choice((0.001, 0.02, 0.2, 3.0)))
    for end in pair.ends:
        yield pair.now, end.dump()


def as_leg(dump: bytes) -> bytes:
    """The dump of a server's leg, made from that of an endpoint without messages that were not fetched."""
    return dump[:5] + b"\2" + b"\0" + dump[7:-4] + struct.pack("<dBB", 0.0, True, len(ADDRESS)) + ADDRESS


class DumpFuzz:
    """`refused`, `restored`: what became of those that were damaged."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.refused = self.restored = 0
        self.dumps: list[tuple[float, bytes]] = []
        while len(self.dumps) < DUMPS:
            self.dumps += dumps_of(self.chance.randrange(1 << 32), self.chance.random() < 0.5)
        self.dumps = [(now, dump) for now, dump in self.dumps if len(dump) < 60_000]

    def run(self, count: int) -> None:
        for _ in range(count):
            self._try()

    def _try(self) -> None:
        chance = self.chance
        now, dump = chance.choice(self.dumps)
        is_leg = dump[6] == 0 and chance.random() < 0.3
        damaged = self._damage(as_leg(dump) if is_leg else dump)
        try:
            if is_leg:
                links = Links(Carrier(), chance.randbytes, 1 << 20)
                links.dump_leg(links.restore_leg(damaged, now))
                assert links.count == 0
            else:
                self._live(LinkEndpoint.restore(damaged, now), now)
        except ValueError:
            self.refused += 1
        else:
            self.restored += 1

    def _damage(self, dump: bytes) -> bytes:
        """One to three things are other than they were. The first fields are the link's name, and the last the most."""
        chance = self.chance
        made = bytearray(dump)
        for _ in range(chance.choice((1, 1, 2, 3))):
            at = chance.randrange(len(made)) if chance.random() < 0.5 else chance.randrange(min(len(made), 700))
            what = chance.random()
            if what < 0.3:
                made[at] ^= 1 << chance.randrange(8)
            elif what < 0.7:
                size = chance.choice((1, 2, 2, 4, 8))
                made[at : at + size] = (chance.choice(EDGES) & (1 << 8 * size) - 1).to_bytes(size, "little")
            elif what < 0.8:
                del made[at : at + chance.randrange(1, 40)]
            elif what < 0.9:
                from_ = chance.randrange(len(made))
                made[at:at] = made[from_ : from_ + chance.randrange(1, 40)]
            else:
                from_ = chance.randrange(len(made))
                size = chance.randrange(1, 200)
                made[at : at + size] = made[from_ : from_ + size]
            made = made or bytearray(1)
        return bytes(made)

    def _live(self, end: LinkEndpoint, now: float) -> None:
        """The link goes on for some seconds, with a peer that hears and says something, until both have enough."""
        connection = end.connection
        cipher = ciphers(True)[end.is_client] if end.cipher.tag_bytes else Cipher()
        peer = LinkEndpoint(cipher, connection, now, is_client=not end.is_client, first_number=end.highest + 1)
        for step in range(12):
            for kind in (KIND_ORDERED, KIND_UNORDERED, KIND_SEQUENCED):
                end.send(b"y" * 40, kind, 0, now)
                peer.send(b"x" * 1_400, kind, 0, now)
            for made in end.datagrams_to_send(now)[:200]:
                peer.receive_datagram(made, now)
            for made in peer.datagrams_to_send(now)[:200]:
                end.receive_datagram(made, now)
            while end.next_message() is not None or peer.next_message() is not None:
                pass
            now += 0.05 if step < 8 else 2.0
            for each in (end, peer):
                if each.next_timer() <= now:
                    each.handle_timer(now)
        assert end.connection == connection != b"" and len(CONNECTION) == len(connection)
        if end.ended is None:
            LinkEndpoint.restore(end.dump(), now)  # whatever it is, it can be dumped


def main() -> None:
    from tests.links.remote import memory

    parser = argparse.ArgumentParser(prog="python -m tests.link.fuzz.dumps", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    fuzz = DumpFuzz(options.seed)
    fuzz.run(options.runs // 10)
    before = memory()
    fuzz.run(options.runs - options.runs // 10)
    after = memory()
    print(f"{fuzz.refused} refused, {fuzz.restored} restored, {time.monotonic() - began:.0f} s")
    grown = after.allocated - before.allocated
    print(f"growth after the first tenth: {grown} bytes, {after.blocks - before.blocks} blocks")
    assert grown < 1 << 20, "memory leaks"


if __name__ == "__main__":
    main()

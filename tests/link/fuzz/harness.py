"""Mutated datagrams against a whole server without its loop: relay, links, reception, sessions, and bystanders.

Victims are links of suite 0, opened without a handshake; whoever is closed by what it has sent comes in anew. What is
sent in suite 1, and handshakes, is recorded from the bystanders. These talk to each other all the time, in a session of
their own and in one with victims, over links and over TCP; not one of their messages may be missing, changed or out of
order.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

from gsrt._core import Packet
from gsrt._link import Cipher
from gsrt._links import Leg
from gsrt.session import KICKED, Player
from tests.links.house import Client, House
from tests.links.remote import Memory, memory
from tests.relay.floor import Guest
from tests.relay.rig import packet
from tests.scripts.stage import Post

SOURCE = Path(__file__).with_name("mutants.c")
BATCH = 64
VICTIMS = 48  # a datagram of each in a round
ELSEWHERE = 8  # of these, by another socket
RECORDS = 8  # recorded datagrams in a round
ROOMS = 12
# What is kept is small, so that it is used up now and then.
LIMITS: dict[str, Any] = {
    "grace_seconds": 0.5,
    "script_turn_ms": 1000,
    "script_turn_all_ms": 1000,
    "link_receive_bytes": 65_536,
    "link_receive_bytes_all": 600_000,
    "link_message_bytes_max": 65_536,
}
TALK_EVERY = 16  # rounds
TALK_OP_CODE = 70_000  # no victim sends that


def build(folder: Path) -> ctypes.CDLL:
    """The maker of datagrams, compiled."""
    path = folder / "mutants.so"
    subprocess.run(
        [os.environ.get("CC", "cc"), "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", path, SOURCE],
        check=True,
    )
    mutants = ctypes.CDLL(str(path))
    for name in ("bytes_in", "bytes_out", "datagrams_out", "changed"):
        getattr(mutants, f"mutants_{name}").restype = ctypes.c_uint64
    mutants.mutants_seed.argtypes = [ctypes.c_uint64]
    return mutants


class Talk:
    """Two that must hear each other, each word of it, in order: links, or a link and a guest by TCP."""

    def __init__(self, one: Client, two: Client | Guest) -> None:
        self.one = one
        self.two = two
        self.said = 0
        self.heard = [0, 0]
        self._next: dict[tuple[int, int], int] = {}  # of each end and opCode

    def say(self) -> None:
        self.said += 1
        word = struct.pack("<I", self.said) * (1 + self.said % 30)
        channel = self.said % 3
        self.one.send(TALK_OP_CODE + channel, word, channel=channel, targets=(2,))
        if isinstance(self.two, Client):
            self.two.send(TALK_OP_CODE + channel, word, channel=channel, targets=(1,))
        else:
            self.two.line.send(packet(TALK_OP_CODE + channel, payload=word, targets=(1,)))

    def listen(self) -> None:
        """Takes what has come, and asserts that it is what was said."""
        for which, end in enumerate((self.one, self.two)):
            if isinstance(end, Client):
                packets = [(each.op_code, each.sender, each.payload) for _, _, each in end.heard]
                end.heard.clear()
                assert end.ended is None, f"a bystander was closed: {end.ended}"
            else:
                packets = [(each.op_code, each.sender or 0, each.payload) for each in end.line.packets()]
                assert not end.line.ended, "a bystander's stream was closed"
            for op_code, sender, payload in packets:
                if op_code >= TALK_OP_CODE and sender == 2 - which:
                    self.heard[which] += 1
                    number = struct.unpack_from("<I", payload or b"")[0]
                    assert payload == struct.pack("<I", number) * (1 + number % 30), "a message was changed"
                    assert op_code == TALK_OP_CODE + number % 3
                    # Channels do not wait for each other; in each, every third number comes, in order.
                    key = (which, op_code)
                    assert number == self._next.get(key, (op_code - TALK_OP_CODE) or 3), "a message is missing"
                    self._next[key] = number + 3


class Fuzz:
    """A house under fire. `run(n)` sends n datagrams whose bytes were changed, and about as many that are only
    unlikely; `check()` looks whether all is well."""

    def __init__(self, mutants: ctypes.CDLL, seed: int) -> None:
        self.mutants = mutants
        self.chance = random.Random(seed)
        mutants.mutants_seed(seed)
        self.house = house = House(**LIMITS)
        house.chance.seed(seed)
        self.here, self.there = house.new_socket(), house.new_socket()
        self._addresses = [self._raw_address(end) for end in (self.here, self.there)]
        quiet = house.create("1", "2", "3")
        rooms = [house.create(*(str(number) for number in range(1, 3 + VICTIMS // ROOMS))) for _ in range(ROOMS)]
        self.talks = [
            Talk(house.enter(quiet.players[0]), house.enter(quiet.players[1])),
            Talk(house.enter(rooms[0].players[0]), house.enter(rooms[0].players[1], suite=0)),
            Talk(house.enter(rooms[1].players[0]), house.seat(rooms[1].players[1])),
        ]
        house.room = rooms[2].room
        house.members = {each.peer_id: each.member for each in rooms[2].players}
        self.script = Post(house)
        self.script.handlers.on_every_packet(lambda each: None)
        self.victims: list[Player] = [player for room in rooms for player in room.players[2:]]
        self.legs: list[Leg | None] = [None] * len(self.victims)
        self.opened = 0
        self.rounds = 0
        for each in self._packets():
            mutants.mutants_packet(each, len(each))
        self._record()

    def _raw_address(self, end: socket.socket) -> bytes:
        host, port = end.getsockname()
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)

    def _packets(self) -> list[bytes]:
        """What victims say: first PlayerReady, then packets good and bad."""
        good = [Packet(op, payload=b"x" * size) for op, size in ((1, 0), (2, 5), (300, 40))]
        good += [Packet(4, targets=(3, 4)), Packet(5, targets=(0,)), Packet(6, sequence=7), Packet(7, targets=(250,))]
        bad = [b"\xff" * 5, b"\x08", b"\x08\x01\x12", Packet(-101).encode(), Packet(0).encode()]
        return [Packet(-7).encode(), *(each.encode() for each in good), *bad, Packet(-7).encode()]

    def _record(self) -> None:
        """Keeps what the bystanders have sent and heard: handshakes, and DATA of both suites."""
        for talk in self.talks:
            for end in (talk.one, talk.two):
                if isinstance(end, Client):
                    for datagram in [*end.sent[-20:], *end.received[-20:]]:
                        # Whoever has suite 0's datagrams can close it: that is what suite 0 is.
                        if end.suite or datagram[1] != 6:
                            self.mutants.mutants_record(datagram, len(datagram))
                    end.sent.clear()
                    end.received.clear()

    def _revive(self) -> None:
        """Victims that are no more come in anew."""
        house = self.house
        for which, player in enumerate(self.victims):
            leg = self.legs[which]
            if leg is not None and not leg.closed:
                continue
            assert player.state != KICKED
            profile = house.profile
            leg = house.relay.open_link(
                self._addresses[0],
                Cipher(),
                house.now,
                receive_bytes=profile.link_receive_bytes,
                message_bytes=profile.link_message_bytes_max,
                peer_receive_bytes=65_536,
                peer_message_bytes=1_100 if which == 5 else 262_144,
            )
            assert leg is not None
            leg.owner = player
            self.legs[which] = leg
            self.mutants.mutants_victim(which, leg.connection)
            self.opened += 1

    def run(self, datagrams: int) -> None:
        """Sends so many, about; the bystanders talk meanwhile."""
        mutants, house, relay = self.mutants, self.house, self.house.relay
        here, there = self.here.fileno(), self.there.fileno()
        end = mutants.mutants_changed() + datagrams
        most = VICTIMS - ELSEWHERE
        while mutants.mutants_changed() < end:
            self.rounds += 1
            house.now += self.chance.choice((0.0002, 0.0002, 0.002, 0.011))
            self._revive()
            place = self.chance.randrange(most) if self.rounds % 4 == 0 else most
            sent = mutants.mutants_send(here, 0, place, False)
            sent += mutants.mutants_send(there, place, ELSEWHERE, True)
            sent += mutants.mutants_send(here, place + ELSEWHERE, most - place, False)
            sent += mutants.mutants_send_records(there, RECORDS)
            assert sent == VICTIMS + RECORDS
            if self.rounds % TALK_EVERY == 0:
                self._talk()
            while relay.receive_datagrams(house.now):
                pass
            house.timers.run(house.now)
            relay.run_links(house.now)
            house.end_tick()
            self.script.turn.begin()
            mutants.mutants_drain(here, VICTIMS)
            mutants.mutants_drain(there, VICTIMS)
            if self.rounds % 4096 == 0:
                house.lines_logged.seek(0)
                house.lines_logged.truncate()

    def _talk(self) -> None:
        house = self.house
        if self.rounds % (TALK_EVERY * 512) == 0:
            self.talks[0].one.move()  # in the middle of all that
            self._record()
        for talk in self.talks:
            talk.say()
        for client in house.clients:
            if client.next_timer() <= house.now:
                client.handle_timer()
            client.send_out()
        house.take_streams()
        for talk in self.talks:
            talk.listen()
        for client in house.clients:
            client.take_in()

    def check(self) -> None:
        """The bystanders have heard everything, and the server has failed nowhere."""
        house = self.house
        house.until_quiet(60)
        for talk in self.talks:
            talk.listen()
            assert talk.heard == [talk.said, talk.said]
        assert house.reception.counters["closed_error"] == 0, house.log_text()[-2000:]
        assert "error" not in {line.split(" ", 1)[0] for line in house.log_text().splitlines()}
        assert self.script.owner.failures == []

    def rest(self) -> Memory:
        """Ends all victims: what the process then has."""
        house = self.house
        for which, leg in enumerate(self.legs):
            if leg is not None:
                leg.close()
            self.legs[which] = None
        house.end_tick()
        self.mutants.mutants_drain(self.here.fileno(), 0)
        self.mutants.mutants_drain(self.there.fileno(), 0)
        house.advance(2)  # the others are told, and what waited is forgotten
        assert house.relay.links_count == sum(isinstance(end, Client) for t in self.talks for end in (t.one, t.two))
        house.lines_logged.seek(0)
        house.lines_logged.truncate()
        self._record()
        return memory()

    def close(self) -> None:
        self.house.close()


def growth(before: Memory, after: Memory) -> str:
    """What has become more, for a report."""
    return (
        f"{(after.resident - before.resident) / 1024:+.0f} KB resident, "
        f"{(after.allocated - before.allocated) / 1024:+.0f} KB of malloc, {after.blocks - before.blocks:+d} blocks"
    )

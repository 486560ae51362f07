"""Four peers on mixed legs do whatever they like, in any order; a plain model says who must have received what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.relay.rig import Line, Post, Rig, message, packet
from tests.relay.test_malformed import MALFORMED
from tests.relay.test_tls import XorLayer, hidden, records
from tests.support import wire

PEERS = (1, 2, 3, 4)
LEGS = {1: "tcp", 2: "websocket", 3: "tls", 4: "tcp"}

OUT, WAITING, OPEN, AWAY = "out", "waiting", "open", "away"

DATA = wire.encode_data({1: ("long", 3), 9: ("string", b"\xe9")})

Content = tuple[int, int, bytes | None, bytes | None]  # opCode, sender, data, payload


@dataclass
class Peer:
    """What the model knows of one peer, and its sockets."""

    number: int
    state: str = OUT
    bound: bool = False
    confirmed: bool = False
    sequence: int | None = None
    by_stream: list[Content] = field(default_factory=list)
    by_datagram: list[Content] = field(default_factory=list)
    unsent_datagrams: list[Content] = field(default_factory=list)
    held: list[Content] = field(default_factory=list)
    line: Line | None = None
    post: Post | None = None

    @property
    def here(self) -> bool:
        return self.state in (WAITING, OPEN)


class Match(RuleBasedStateMachine):
    """Sends are judged when they are made; what was received is looked at whenever all has been flushed."""

    @initialize(present=st.sampled_from([PEERS, PEERS, (1, 4), ()]), by_datagram=st.booleans())
    def begin(self, present: tuple[int, ...], by_datagram: bool) -> None:
        self.rig = Rig()
        self.rig.handler.layer = XorLayer
        self.peers = {number: Peer(number) for number in PEERS}
        for peer in self.peers.values():
            peer.post = self.rig.post()
        self.drops: Counter[str] = Counter()
        self.packets_in = 0
        self.to_server = 0
        self.held = 0
        self.packets_out = 0
        self.op_code = 0
        for number in present:
            self.log_in(number)
            self.be_ready(number)
            if by_datagram:
                self.bind(number)
                self.confirm(number)

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            with self.rig:
                self.compare()

    # connections

    def write(self, peer: Peer, data: bytes) -> None:
        assert peer.line is not None
        leg = LEGS[peer.number]
        if leg == "websocket":
            data = message(data)
        elif leg == "tls":
            data = hidden(data)
        peer.line.send(data)
        self.rig.take_streams()

    def read(self, peer: Peer) -> list[wire.Packet]:
        assert peer.line is not None
        if LEGS[peer.number] == "tls":
            data = b"".join(records(peer.line.read()))
            bodies, rest = wire.split_frames(data)
            assert rest == b""
            return [wire.decode_packet(body) for body in bodies]
        return peer.line.packets()

    @rule(number=st.sampled_from(PEERS))
    def log_in(self, number: int) -> None:
        """For the first time, again after a loss, or over a connection that still lives."""
        peer = self.peers[number]
        leg = LEGS[number]
        if leg == "tls":
            self.compare()  # its hello is answered by a flush
        older = peer.line if peer.here else None
        unread = peer.by_stream
        line = self.rig.websocket() if leg == "websocket" else self.rig.line()
        if leg == "tls":
            line.put(b"\x16")
            self.rig.flush()
            assert line.read() == b"\x16"
        before, peer.line = peer.line, line
        self.write(peer, packet(0, payload=b"%d" % number))
        if older is not None:
            assert older.stream.fd < 0
            peer.line = before
            self.expect(self.read(peer), unread)  # what was on its way out has left with the goodbye
            older.close()
            peer.line = line
        peer.by_stream = []
        self.unbind(peer)
        peer.state = WAITING
        peer.sequence = None

    @rule(number=st.sampled_from(PEERS))
    def be_ready(self, number: int) -> None:
        peer = self.peers[number]
        if peer.here:
            self.write(peer, packet(-7))
            peer.by_stream += peer.held
            self.packets_out += len(peer.held)
            peer.held = []
            peer.state = OPEN

    @rule(number=st.sampled_from(PEERS))
    def lose_the_connection(self, number: int) -> None:
        peer = self.peers[number]
        if peer.here:
            assert peer.line is not None
            self.rig.flush()
            self.compare()
            peer.line.close()
            self.rig.take_streams()
            peer.by_stream = []
            self.unbind(peer)
            peer.state = AWAY

    @rule(number=st.sampled_from(PEERS))
    def leave(self, number: int) -> None:
        peer = self.peers[number]
        if peer.state != OUT:
            self.rig.flush()
            self.compare()
            member = self.rig.members[number]
            stream = member.stream
            member.leave()
            if stream is not None:
                stream.close()
            self.drops["unsent"] += len(peer.held)
            peer.by_stream, peer.held = [], []
            self.unbind(peer)
            peer.state = OUT

    # datagrams

    def unbind(self, peer: Peer) -> None:
        self.drops["unsent"] += len(peer.unsent_datagrams)
        peer.unsent_datagrams = []
        peer.bound = peer.confirmed = False

    @rule(number=st.sampled_from(PEERS))
    def bind(self, number: int) -> None:
        peer = self.peers[number]
        assert peer.post is not None
        if peer.here and LEGS[number] != "websocket":
            peer.post.send(packet(0, payload=b"%d" % number))
            peer.bound = True

    @rule(number=st.sampled_from(PEERS))
    def confirm(self, number: int) -> None:
        peer = self.peers[number]
        if peer.here:
            self.write(peer, packet(-5))
            peer.confirmed = peer.bound

    @rule(number=st.sampled_from(PEERS), other=st.sampled_from(PEERS))
    def take_over_an_address(self, number: int, other: int) -> None:
        """A login of one peer from the address of another."""
        thief, victim = self.peers[number], self.peers[other]
        if number == other or not thief.here or LEGS[number] == "websocket":
            return
        assert victim.post is not None
        victim.post.send(packet(0, payload=b"%d" % number))
        self.unbind(victim)
        self.unbind(thief)
        victim.post, thief.post = thief.post, victim.post
        thief.bound = True

    # packets

    @rule(
        number=st.sampled_from(PEERS),
        fast=st.booleans(),
        receivers=st.one_of(st.just(()), st.lists(st.integers(-1, 5), max_size=4).map(tuple)),
        reliable=st.sampled_from([None, True, False]),
        sequence=st.one_of(st.none(), st.integers(-3, 12)),
        data=st.sampled_from([None, b"", DATA]),
        size=st.sampled_from([None, 0, 1, 90, 400, 1100]),
        scrambled=st.booleans(),
    )
    def send(
        self,
        number: int,
        fast: bool,
        receivers: tuple[int, ...],
        reliable: bool | None,
        sequence: int | None,
        data: bytes | None,
        size: int | None,
        scrambled: bool,
    ) -> None:
        peer = self.peers[number]
        self.op_code += 1
        payload = None if size is None else bytes((self.op_code & 0xFF,)) * size
        header: dict[str, Any] = {"targets": receivers, "reliable": reliable, "sequence": sequence, "sender": 3}
        body = wire.encode_packet(wire.Packet(op_code=self.op_code, data=data, payload=payload, **header))
        if scrambled:  # the payload first, then the data, then the header
            tail = b"" if payload is None else wire.length_delimited(15, payload)
            tail += b"" if data is None else wire.length_delimited(14, data)
            head = wire.encode_packet(wire.Packet(op_code=self.op_code, **header))
            opcode = wire.encode_packet(wire.Packet(op_code=self.op_code))
            body = opcode + tail + head[len(opcode) :]
        if fast:
            assert peer.post is not None
            peer.post.send(wire.frame(body))
            if not peer.bound:
                self.drops["unknown_address"] += 1
                return
        elif peer.here:
            self.write(peer, wire.frame(body))
        else:
            return
        self.judge(peer, (self.op_code, number, data, payload or None), receivers, sequence, fast or reliable is False)

    @rule(numbers=st.lists(st.sampled_from(PEERS), min_size=1, max_size=30), fast=st.booleans())
    def send_a_burst(self, numbers: list[int], fast: bool) -> None:
        """Many packets that share datagrams and writes."""
        for number in numbers:
            self.send(number, fast, (), False, None, None, 90, False)

    def judge(
        self, sender: Peer, content: Content, targets: tuple[int, ...], sequence: int | None, unreliable: bool
    ) -> None:
        self.packets_in += 1
        if unreliable and sequence is not None:
            if sender.sequence is not None and sequence <= sender.sequence:
                self.drops["stale"] += 1
                return
            sender.sequence = sequence
        wanted = set(targets) if targets else set(PEERS) - {sender.number}
        met = [peer for peer in self.peers.values() if peer.number in wanted and peer.state != OUT]
        if 0 in targets:
            self.to_server += 1
        elif not met:
            self.drops["no_target"] += 1
        for peer in met:
            if peer.state == AWAY and unreliable:
                self.drops["absent"] += 1
            elif peer.state != OPEN:
                self.held += 1
                peer.held.append(content)
            elif unreliable and peer.confirmed and size_of(content) <= 1024:
                self.packets_out += 1
                peer.unsent_datagrams.append(content)
            else:
                self.packets_out += 1
                peer.by_stream.append(content)

    @rule(number=st.sampled_from(PEERS), fast=st.booleans(), name=st.sampled_from(sorted(MALFORMED)))
    def send_nonsense(self, number: int, fast: bool, name: str) -> None:
        peer = self.peers[number]
        frame = wire.frame(MALFORMED[name])
        before = self.rig.counts().get("packets_in", 0)
        if fast:
            assert peer.post is not None
            peer.post.send(frame)
            if self.rig.drops().get("unknown_address", 0) > self.drops["unknown_address"]:
                assert not peer.bound  # its header was sound, and nobody knows it
                self.drops["unknown_address"] += 1
                return
        elif peer.here:
            self.write(peer, frame)
        else:
            return
        self.drops["malformed"] += 1
        self.packets_in += self.rig.counts().get("packets_in", 0) - before

    @rule(number=st.sampled_from(PEERS), op_code=st.sampled_from([0, -1, -101, -103, -(2**31)]))
    def send_system_packet(self, number: int, op_code: int) -> None:
        peer = self.peers[number]
        if peer.here:
            self.write(peer, packet(op_code, payload=b"\x08\x01"))
            self.drops["op_code"] += 1

    # what has come

    @rule()
    def look(self) -> None:
        self.rig.flush()
        self.compare()

    def expect(self, got: list[wire.Packet], expected: list[Content]) -> None:
        for each in got:
            assert list(each.order) == sorted(each.order)
            assert each.sequence is each.reliable is each.request_id is None
            assert each.targets == ()
        assert [(each.op_code, each.sender, each.data, each.payload) for each in got] == expected

    def compare(self) -> None:
        self.rig.flush()
        for peer in self.peers.values():
            if peer.here:
                self.expect(self.read(peer), peer.by_stream)
                peer.by_stream = []
            assert peer.post is not None
            got: list[wire.Packet] = []
            while len(got) < len(peer.unsent_datagrams):
                datagram = peer.post.socket.recv(2048)
                assert len(datagram) <= 1024
                got += [wire.decode_packet(body) for body in wire.datagram_frames(datagram)]
            assert peer.post.quiet()
            self.expect(got, peer.unsent_datagrams)
            peer.unsent_datagrams = []

    @precondition(lambda self: hasattr(self, "rig"))
    @invariant()
    def the_counters_say_the_same(self) -> None:
        assert self.rig.drops() == {name: count for name, count in self.drops.items() if count}
        counts = self.rig.counts()
        assert counts.get("packets_in", 0) == self.packets_in
        assert counts.get("packets_to_server", 0) == self.to_server
        assert counts.get("packets_held", 0) == self.held
        assert counts.get("packets_out", 0) == self.packets_out
        for number, peer in self.peers.items():
            member = self.rig.members[number]
            assert (member.udp_bound, member.udp_confirmed) == (peer.bound, peer.confirmed)
            assert (member.stream is not None, member.is_open) == (peer.here, peer.state == OPEN)


def size_of(content: Content) -> int:
    op_code, sender, data, payload = content
    return len(packet(op_code, sender=sender, data=data, payload=payload))


TestMatch = Match.TestCase
TestMatch.settings = settings(max_examples=200, stateful_step_count=50)

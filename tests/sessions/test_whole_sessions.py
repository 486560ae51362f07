"""Whole sessions of 2, 8 and 64 clients on mixed legs: every packet's sender, content, order and count."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from tests.doubles.base import Double, Event
from tests.doubles.catalogue import KINDS
from tests.doubles.streaming import StreamingDouble
from tests.doubles.writers import Intent, Outgoing
from tests.sessions.match import MakeMatch, Match
from tests.support import wire

OP_CODES = {Intent.RELIABLE: 100, Intent.UNRELIABLE: 101, Intent.SEQUENCED: 102}
Content = tuple[bytes | None, bytes | None]


def has_udp(double: Double) -> bool:
    """Does it get unreliable packets by UDP?"""
    return isinstance(double, StreamingDouble) and double.can_send_fast()


def content(generator: random.Random, number: int) -> tuple[wire.DataDict, bytes | None]:
    """Data and payload of a packet, sizes from a few bytes to some hundred."""
    data: wire.DataDict = {
        1: ("long", number),
        2: ("string", b"name %d" % number),
        3: ("double", generator.random()),
        16: ("vector", (1.0, 2.0, 3.0)),
        17: ("data", {1: ("long", -number)}),
    }
    return data, generator.randbytes(generator.choice((1, 5, 40, 300))) if generator.random() < 0.7 else None


class Exchange:
    """Sends packets of every intent from everyone and checks what arrives."""

    def __init__(self, match: Match, seed: int) -> None:
        self.match = match
        self.generator = random.Random(seed)
        self.expected: dict[tuple[int, int, int], list[Content]] = defaultdict(list)  # receiver, sender, opCode
        self.number = 0

    def send_one(self, sender: Double, intent: Intent, targets: tuple[int, ...] = ()) -> None:
        """One packet, noted for those who must get it."""
        self.number += 1
        data, payload = content(self.generator, self.number)
        assert sender.send(OP_CODES[intent], intent, data=data, payload=payload, targets=targets) > 0
        written = wire.decode_packet(type(sender).writer(Outgoing(1, data=data)))
        for receiver in self.match.doubles:
            chosen = receiver.peer_id in targets if targets else receiver is not sender
            if chosen:
                key = (receiver.peer_id, sender.peer_id, OP_CODES[intent])
                self.expected[key].append((written.data, payload))

    def outstanding(self) -> int:
        """Packets not yet arrived."""
        arrived = sum(len(self.match.user_events(double)) for double in self.match.doubles)
        return sum(map(len, self.expected.values())) - arrived

    def check(self) -> None:
        """Every packet once, in order, from whom it says, on the leg it should take."""
        self.match.driver.run_until(lambda: self.outstanding() <= 0, f"{self.outstanding()} packets", deadline=40.0)
        self.match.barrier()
        got: dict[tuple[int, int, int], list[Content]] = defaultdict(list)
        for receiver in self.match.doubles:
            for event in self.match.user_events(receiver):
                got[receiver.peer_id, event.sender, event.op_code].append((event.data, event.payload))
                self.check_leg(receiver, event)
        assert got.keys() == self.expected.keys()
        for key, packets in self.expected.items():
            assert got[key] == packets, f"receiver, sender, opCode {key}"
        self.match.no_violations()

    def check_leg(self, receiver: Double, event: Event) -> None:
        """Unreliable packets take UDP wherever it is confirmed, reliable ones never."""
        assert event.while_ready
        if event.op_code != OP_CODES[Intent.RELIABLE] and has_udp(receiver):
            assert event.leg == "datagram", f"{receiver.name} got {event.op_code} by {event.leg}"
        else:
            assert event.leg == ("stream" if isinstance(receiver, StreamingDouble) else "message")


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", ["cpp", "js-wss", "cs-plain"])
def test_two_clients_of_any_kind_play(new_match: MakeMatch, first: str, second: str) -> None:
    match = new_match(2)
    clients = match.all_ready([first, second])
    exchange = Exchange(match, seed=2)
    for _ in range(5):
        for sender in clients:
            for intent in Intent:
                exchange.send_one(sender, intent)
    exchange.check()
    assert [sorted(client.active_peers) for client in clients] == [[1, 2], [1, 2]]


def test_eight_clients_on_mixed_legs_play(new_match: MakeMatch) -> None:
    match = new_match(8)
    kinds = ["cpp", "cs", "js-wss", "cs-wss", "cpp-plain", "cs-plain-without-udp", "js-ws", "xbox-wss"]
    clients = match.all_ready(kinds)
    exchange = Exchange(match, seed=8)
    for _ in range(10):
        for sender in clients:
            for intent in Intent:
                targets = tuple(exchange.generator.sample(range(1, 9), exchange.generator.randrange(4)))
                exchange.send_one(sender, intent, targets)
        match.driver.run_until(lambda: exchange.outstanding() < 400, "room for the next round")
    exchange.check()
    for client in clients:
        assert sorted(client.active_peers) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert len(client.told("player connect")) == len(set(client.told("player connect")))


def test_sixty_four_clients_on_mixed_legs_play(new_match: MakeMatch) -> None:
    match = new_match(64)
    kinds = [KINDS[index % len(KINDS)] for index in range(64)]
    clients = match.all_ready(kinds)
    exchange = Exchange(match, seed=64)
    for round_number in range(2):
        for index, sender in enumerate(clients):
            for intent in Intent:
                exchange.send_one(sender, intent)
            if index % 8 == 7:
                match.driver.run_until(lambda: exchange.outstanding() < 2500, f"room in round {round_number}")
    exchange.check()
    for client in clients:
        assert sorted(client.active_peers) == list(range(1, 65))
    counters = match.server.counters(match.table)
    assert counters["packets_in"] >= 2 * 3 * 64
    assert counters["dropped_malformed"] == counters["dropped_stale"] == counters["dropped_rate"] == 0


def test_sessions_do_not_hear_each_other(new_match: MakeMatch) -> None:
    matches = [new_match(2) for _ in range(4)]
    for match in matches:
        match.all_ready(["cpp", "js-wss"])
    exchanges = [Exchange(match, seed=index) for index, match in enumerate(matches)]
    for exchange in exchanges:
        for sender in exchange.match.doubles:
            for intent in Intent:
                exchange.send_one(sender, intent)
    for exchange in exchanges:
        exchange.check()

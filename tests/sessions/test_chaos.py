"""Clients of every kind come, go, break, replace each other and talk at random: what must hold whatever happens."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest

from tests.doubles.base import Double
from tests.doubles.catalogue import make
from tests.doubles.driver import Driver
from tests.doubles.streaming import StreamingDouble
from tests.doubles.websockets import WebSocketDouble
from tests.doubles.writers import Intent
from tests.sessions.match import MakeMatch, Match, fast_leg_complete
from tests.support import wire

KINDS = ("cpp", "cs", "js-wss", "cs-wss", "cpp-plain", "cs-plain", "js-ws", "xbox-wss", "cs-plain-without-udp")
SEATS = 8
STEPS = 150
RELIABLE, UNRELIABLE = 100, 101


@dataclass
class Witness:
    """A client that stays from first to last, and what it must have been sent."""

    double: Double
    expected: dict[Double, list[int]] = field(default_factory=dict)  # per sending client, reliable packets


class Chaos:
    """Seats 1 and 2 are witnesses; the rest change hands at random."""

    def __init__(self, match: Match, seed: int) -> None:
        self.match = match
        self.random = random.Random(seed)
        self.count = 0
        self.number = 0
        self.witnesses = [Witness(double) for double in match.all_ready(["cpp", "js-wss"])]
        self.seated: dict[int, Double | None] = dict.fromkeys(range(3, SEATS + 1))

    @property
    def driver(self) -> Driver:
        """The loop."""
        return self.match.driver

    def step(self) -> None:
        """One random act, and a moment for it to be overtaken by the next."""
        peer_id = self.random.choice(list(self.seated))
        act = self.random.choice((self.come, self.come, self.go, self.break_off, self.replace, *[self.talk] * 6))
        act(peer_id)
        for _ in range(self.random.randrange(4)):
            self.driver.step(self.random.choice((0.0, 0.001, 0.01)))

    def come(self, peer_id: int) -> None:
        """A new client on an empty seat."""
        if self.seated[peer_id] is None:
            self.sit_down(peer_id)

    def replace(self, peer_id: int) -> None:
        """A new client in the place of one that is ready: of two on their way in, the later to log in would win."""
        old = self.seated[peer_id]
        if old is None or not old.ready:
            return
        # a C# client would fight for its seat; its player has put it down
        old.handle_timer = lambda now: None  # type: ignore[method-assign]
        old.next_timer = lambda: None  # type: ignore[method-assign]
        self.sit_down(peer_id)

    def sit_down(self, peer_id: int) -> None:
        """A new client dials."""
        self.count += 1
        kind = self.random.choice(KINDS)
        server = self.match.server
        double = make(kind, f"{kind}-{self.count}", server.host, server.port, self.match.token(peer_id), pace=0.02)
        self.match.doubles.append(double)
        self.driver.add(double)
        self.seated[peer_id] = double

    def go(self, peer_id: int) -> None:
        """Session.Stop()."""
        double = self.seated[peer_id]
        if double is not None and double.ready:
            double.stop()
            self.seated[peer_id] = None

    def break_off(self, peer_id: int) -> None:
        """The connection breaks; C# comes back by itself, others never."""
        double = self.seated[peer_id]
        if isinstance(double, StreamingDouble | WebSocketDouble) and double.ready:
            double.reset()
            if double.sdk != "C#":
                self.seated[peer_id] = None

    def talk(self, peer_id: int) -> None:
        """A burst from a seat or a witness."""
        double = self.seated[peer_id] or self.random.choice(self.witnesses).double
        if not double.ready:
            return
        for _ in range(self.random.randrange(1, 6)):
            self.number += 1
            data: wire.DataDict = {1: ("long", self.number)}
            double.send(UNRELIABLE, Intent.SEQUENCED, data=data, payload=b"u")
            if double.send(RELIABLE, data=data, payload=b"r") > 0 and double in [one.double for one in self.witnesses]:
                for witness in self.witnesses:
                    if witness.double is not double:
                        witness.expected.setdefault(double, []).append(self.number)

    def settle(self) -> list[Double]:
        """Wait until everyone who is there is ready and everyone has the same list."""
        present = [witness.double for witness in self.witnesses]
        present += [double for double in self.seated.values() if double is not None]
        ids = sorted(self.peer_id_of(double) for double in present)

        def calm() -> bool:
            return all(
                double.ready and fast_leg_complete(double) and sorted(double.active_peers) == ids for double in present
            )

        self.driver.run_until(calm, f"everyone to agree on {ids}", deadline=20)
        self.match.barrier(present)
        return present

    def peer_id_of(self, double: Double) -> int:
        """The seat of a client, which may not know it yet."""
        for peer_id, one in self.seated.items():
            if one is double:
                return peer_id
        return double.peer_id


def check_told(witness: Double) -> None:
    """For each peer: connect, disconnect, connect, ... and never the same twice running."""
    for peer_id in range(1, SEATS + 1):
        told = [event.kind for event in witness.events if event.peer_id == peer_id and event.kind != "data"]
        assert all(earlier != later for earlier, later in itertools.pairwise(told)), (peer_id, told)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_chaos(new_match: MakeMatch, seed: int) -> None:
    chaos = Chaos(new_match(SEATS), seed)
    for _ in range(STEPS):
        chaos.step()
    present = chaos.settle()
    chaos.match.no_violations()
    for witness in chaos.witnesses:
        check_told(witness.double)
        assert witness.double.logins == 1
        for sender, expected in witness.expected.items():
            received = [
                wire.decode_data(event.data or b"")[1][1]
                for event in witness.double.of_op_code(RELIABLE)
                if event.sender == sender.peer_id
            ]
            assert received == expected
        for peer_id in range(1, SEATS + 1):
            numbers = [
                (event.op_code, wire.decode_data(event.data or b"")[1][1])
                for event in witness.double.packets
                if event.sender == peer_id and event.op_code in (RELIABLE, UNRELIABLE)
            ]
            for op_code in (RELIABLE, UNRELIABLE):
                sequence = [number for one, number in numbers if one == op_code]
                assert sequence == sorted(set(sequence)), f"out of order or twice from {peer_id}"
    for double in present:
        assert double.state not in ("dead", "stopped")

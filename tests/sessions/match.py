"""A session of a real server with test clients in it: what most session tests begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.doubles import base
from tests.doubles.base import Double
from tests.doubles.catalogue import make
from tests.doubles.driver import Driver
from tests.doubles.probe import Probe
from tests.doubles.streaming import StreamingDouble
from tests.support import wire
from tests.support.link import LossyLink
from tests.support.server import ServerProcess, Table
from tests.support.wire import Packet

MARK = 9000  # opCodes from here on belong to barriers


class Match:
    """One session. Clients are named by their peer id, 1 to the number of seats."""

    def __init__(self, server: ServerProcess, driver: Driver, count: int) -> None:
        self.server = server
        self.driver = driver
        self.table: Table = server.create(count)
        self.doubles: list[Double] = []
        self._marks = MARK

    def token(self, peer_id: int) -> str:
        """The access token of a seat."""
        return self.table.seats[peer_id - 1].token

    # -- clients --------------------------------------------------------------------------------------------------

    def client(self, kind: str, peer_id: int, *, pace: float = 0.1, link: LossyLink | None = None) -> Double:
        """A double on its way in."""
        double = make(
            kind, f"{kind}-{peer_id}", self.server.host, self.server.port, self.token(peer_id), pace=pace, link=link
        )
        self.doubles.append(double)
        self.driver.add(double)
        return double

    def ready(self, kind: str, peer_id: int, **options: float) -> Double:
        """A double that is in, its UDP confirmed if it has any."""
        double = self.client(kind, peer_id, **options)  # type: ignore[arg-type]
        self.until_ready([double])
        return double

    def all_ready(self, kinds: Sequence[str], **options: float) -> list[Double]:
        """Doubles of these kinds on seats 1, 2, ...; all come in at the same time."""
        doubles = [self.client(kind, index + 1, **options) for index, kind in enumerate(kinds)]  # type: ignore[arg-type]
        self.until_ready(doubles)
        return doubles

    def until_ready(self, doubles: Sequence[Double], deadline: float = 30.0) -> None:
        """Wait until all are ready, know each other, and the server knows it too."""

        def complete() -> bool:
            return all(double.ready and fast_leg_complete(double) for double in doubles)

        self.driver.run_until(complete, f"{len(doubles)} clients ready", deadline)
        present = {double.peer_id for double in doubles}
        self.driver.run_until(
            lambda: all(present <= set(double.active_peers) for double in doubles), "complete peer lists", deadline
        )
        self.barrier(doubles)

    def probe(self, leg: str = "tcp", name: str = "probe", **options: Any) -> Probe:
        """A connection on which nothing has been said."""
        probe = Probe(name, self.server.host, self.server.port, leg, **options)
        self.driver.add(probe)
        self.driver.run_until(lambda: probe.opened or probe.ended is not None, f"{leg} open")
        assert probe.opened, probe.describe()
        return probe

    def logged_in(self, peer_id: int, leg: str = "tcp", **options: Any) -> Probe:
        """A probe with its LoginResult."""
        probe = self.probe(leg, f"{leg}-probe-{peer_id}", **options)
        probe.log_in(self.token(peer_id))
        self.driver.run_until(lambda: bool(probe.login_results()), "LoginResult")
        return probe

    def ready_probe(self, peer_id: int, leg: str = "tcp", **options: Any) -> Probe:
        """A probe that has said -7, and of which the server has taken note."""
        probe = self.logged_in(peer_id, leg, **options)
        probe.say_ready()
        self.until_state(peer_id, "ready")
        return probe

    def fast_probe(self, peer_id: int, leg: str = "tcp") -> Probe:
        """A ready probe with a confirmed UDP leg."""
        probe = self.logged_in(peer_id, leg)
        probe.log_in_fast(probe.login_results()[0].reconnect_token or b"")
        self.driver.run_until(
            lambda: bool(probe.received_fast) and len(probe.login_results()) == 2, "UDP login answered"
        )
        probe.send_packet(Packet(wire.OP_UDP_CONNECT))
        probe.say_ready()
        self.until_state(peer_id, "ready")
        return probe

    def until_state(self, peer_id: int, *states: str, deadline: float = 10.0) -> None:
        """Wait until the server says a player is in one of these states."""
        self.driver.run_until(
            lambda: self.server.player_state(self.table, peer_id) in states, f"player {peer_id} {states}", deadline
        )

    def until_counted(self, name: str, least: int, deadline: float = 10.0) -> None:
        """Wait until one of the session's counters has come so far."""
        self.driver.run_until(
            lambda: self.server.counters(self.table)[name] >= least, f"{name} to reach {least}", deadline
        )

    # -- barriers -------------------------------------------------------------------------------------------------

    def barrier(self, doubles: Sequence[Double] | None = None) -> None:
        """Wait until everybody has everything that was sent on reliable legs before this call.

        Each sends a mark to all and waits for everybody's, so whatever the server was going to write before is there.
        """
        clients = list(doubles or self.doubles)
        self._marks += 1
        mark = self._marks
        for double in clients:
            double.send(mark, data={1: ("long", 1)})
        expected = {double.peer_id for double in clients}

        def met() -> bool:
            return all(
                {event.sender for event in double.of_op_code(mark)} >= expected - {double.peer_id} for double in clients
            )

        self.driver.run_until(met, "the barrier")

    def mark_from(self, sender: Double | Probe, receivers: Sequence[Double | Probe]) -> None:
        """Wait until receivers have what `sender` sent before on its reliable leg."""
        self._marks += 1
        mark = self._marks
        if isinstance(sender, Probe):
            sender.send_packet(Packet(mark))
        else:
            sender.send(mark, data={1: ("long", 1)})
        self.driver.run_until(lambda: all(one.of_op_code(mark) for one in receivers), "the mark")

    def user_events(self, double: Double) -> list[base.Event]:
        """Packets of the test itself, barriers left out."""
        return [event for event in double.packets if event.op_code < MARK]

    def no_violations(self) -> None:
        """Nobody was killed, frozen, muted or made to throw."""
        violations = {double.name: double.violations for double in self.doubles if double.violations}
        assert not violations, violations


def fast_leg_complete(double: Double) -> bool:
    """Is UDP confirmed, or known not to be had?"""
    if not isinstance(double, StreamingDouble):
        return True
    return double.state == base.RELIABLE_AND_FAST or (double.link is not None and double.link.loss == 1.0)


MakeMatch = Callable[[int], Match]

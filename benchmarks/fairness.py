"""link.fair_*: how a bottleneck is shared by one flow over the link and one over TCP, and by two over the link.

Each flow sends as much as it can from one namespace to the other: TCP's by plain sockets, the link's by two
LinkEndpoints with encryption. There is no server between them, for its rate limits are no matter of the network's.
"""

from __future__ import annotations

import gc
import select
import socket
import sys
import time
from dataclasses import dataclass
from typing import Protocol

from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation
from gsrt._link import KIND_ORDERED, LinkEndpoint
from gsrt._sodium import ChaCha20Poly1305
from tests.support.network import RIGHT_ADDRESS, Network, why_not

RUNS = 1
WARM_UP = 5.0  # seconds, in which both find their rates
SECONDS = 20.0
MESSAGE = bytes(65536)  # no longer, so that what is delivered is counted in small steps
WAITING_BYTES = 8 * len(MESSAGE)  # of the link's messages that are not acknowledged
CHUNK = bytes(262144)
DATAGRAM_BYTES = 2048
SOCKET_BYTES = 1 << 20
PATIENCE = 0.05  # seconds without an event before timers are looked at


@dataclass(frozen=True)
class Bottleneck:
    """What passes in one direction; the way back is as long, and wide. Its queue holds what a round trip carries."""

    megabits: float
    round_trip: float  # seconds

    @property
    def name(self) -> str:
        return f"{self.megabits:g}mbit_{self.round_trip * 1e3:g}ms"

    def conditions(self) -> tuple[str, str]:
        """Of both directions, as Network takes them."""
        delay = f"delay={self.round_trip * 500:g}ms"
        queue = self.megabits * 1e6 / 8 * self.round_trip
        return f"rate={self.megabits:g}mbit queue={queue / 1e3:g}kB {delay}", delay


BOTTLENECKS = tuple(Bottleneck(megabits, round_trip) for megabits in (4, 10) for round_trip in (0.02, 0.06))
RIVALS = ("cubic", "reno", "link")


class Flow(Protocol):
    """Sends as much as it can."""

    delivered: int  # bytes

    def wants(self) -> tuple[list[socket.socket], list[socket.socket]]:
        """Sockets to be read, and to be written."""

    def next_timer(self) -> float: ...

    def advance(self, now: float) -> None:
        """Does all that can be done without waiting."""

    def close(self) -> None: ...


class TcpFlow:
    """TCP with this congestion control. Raises Problem where the system does not have that."""

    def __init__(self, network: Network, congestion_control: str) -> None:
        self.delivered = 0
        listener = network.right.socket(socket.SOCK_STREAM)
        self._source = network.left.socket(socket.SOCK_STREAM)
        with listener:
            try:
                self._source.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion_control.encode())
            except OSError as error:
                raise Problem(f"TCP congestion control {congestion_control!r}: {error.strerror}") from None
            listener.bind((RIGHT_ADDRESS, 0))
            listener.listen(1)
            self._source.connect(listener.getsockname())
            self._sink, _ = listener.accept()
        self._source.setblocking(False)
        self._sink.setblocking(False)

    def wants(self) -> tuple[list[socket.socket], list[socket.socket]]:
        return [self._sink], [self._source]

    def next_timer(self) -> float:
        return float("inf")

    def advance(self, now: float) -> None:
        try:
            self._source.send(CHUNK)
        except BlockingIOError:
            pass
        try:
            self.delivered += len(self._sink.recv(len(CHUNK)))
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._source.close()
        self._sink.close()


class LinkFlow:
    """Ordered messages over one link."""

    def __init__(self, network: Network) -> None:
        self.delivered = 0
        keys, connection, now = (bytes(32), b"\1" * 32), bytes(8), time.monotonic()
        self._ends = (
            LinkEndpoint(ChaCha20Poly1305(*keys), connection, now, is_client=True),
            LinkEndpoint(ChaCha20Poly1305(*reversed(keys)), connection, now, is_client=False),
        )
        self._sockets = (network.left.socket(socket.SOCK_DGRAM), network.right.socket(socket.SOCK_DGRAM))
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            one.setblocking(False)
        left, right = self._sockets
        right.bind((RIGHT_ADDRESS, 0))
        left.connect(right.getsockname())
        right.connect(left.getsockname())

    @property
    def sender(self) -> LinkEndpoint:
        return self._ends[0]

    def wants(self) -> tuple[list[socket.socket], list[socket.socket]]:
        return list(self._sockets), []

    def next_timer(self) -> float:
        return min(end.next_timer() for end in self._ends)

    def advance(self, now: float) -> None:
        while self.sender.waiting_bytes < WAITING_BYTES and self.sender.send(MESSAGE, KIND_ORDERED, 1, now):
            pass
        for end, own_socket in zip(self._ends, self._sockets, strict=True):
            try:
                while True:
                    end.receive_datagram(own_socket.recv(DATAGRAM_BYTES), now)
            except BlockingIOError:
                pass
            if end.next_timer() <= now:
                end.handle_timer(now)
            while (message := end.next_message()) is not None:
                self.delivered += len(message[2])
            for datagram in end.datagrams_to_send(now):
                own_socket.send(datagram)
            if end.ended is not None:
                raise Problem(f"the link has ended: {end.ended}")

    def close(self) -> None:
        for one in self._sockets:
            one.close()


def run_until(flows: list[Flow], end: float) -> None:
    """Drives the flows."""
    while (now := time.monotonic()) < end:
        for flow in flows:
            flow.advance(now)
        read = [one for flow in flows for one in flow.wants()[0]]
        write = [one for flow in flows for one in flow.wants()[1]]
        patience = min([PATIENCE, *(flow.next_timer() - time.monotonic() for flow in flows)])
        select.select(read, write, [], max(0.0, patience))


def share(bottleneck: Bottleneck, rival: str, seed: int) -> float:
    """What one flow over the link gets of all that arrives, 0 to 1; `rival` is TCP's congestion control, or "link"."""
    forth, back = bottleneck.conditions()
    flows: list[Flow] = []
    gc.disable()
    with Network(forth, back, seed=seed) as network:
        try:
            link = LinkFlow(network)
            flows += [link, LinkFlow(network) if rival == "link" else TcpFlow(network, rival)]
            start = time.monotonic()
            run_until(flows, start + WARM_UP)
            before = [flow.delivered for flow in flows]
            run_until(flows, start + WARM_UP + SECONDS)
            own, other = (flow.delivered - at for flow, at in zip(flows, before, strict=True))
        finally:
            for flow in flows:
                flow.close()
            gc.enable()
        forwarder = network.counters()["forwarder"]
    found = own / (own + other)
    print(
        f"  {bottleneck.name:10s} beside {rival:5s}: {found:.3f} of {(own + other) * 8e-6 / SECONDS:.2f} Mbit/s;"
        f" the link sent {link.sender.counts()['link_resent']} frames again; forwarder over 1 ms late"
        f" {forwarder['late']:.0f} of {forwarder['wakes']:.0f} times",
        file=sys.stderr,
    )
    return found


def jain(share_of_one: float) -> float:
    """Jain's index of two flows, of which one has this share: 1 where both have the same, 0.5 where one has all."""
    return 1 / (2 * (share_of_one**2 + (1 - share_of_one) ** 2))


def measure(installation: Installation, runs: int | None, record: Record) -> None:
    """Over each bottleneck beside each rival; `link.fairness` is the least fair of these."""
    why = why_not()
    if why:
        raise Problem(why)
    for number in range(runs or RUNS):
        worst = 1.0
        for bottleneck in BOTTLENECKS:
            for rival in RIVALS:
                found = share(bottleneck, rival, seed=number + 1)
                record.add(f"link.fair_{rival}_{bottleneck.name}", found)
                worst = min(worst, jain(found))
        record.add("link.fairness", worst)

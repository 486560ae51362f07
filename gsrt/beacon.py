"""A server's beacon: that it is here, told to its network from time to time, by its own UDP socket.

One timer, and a few system calls with each; what fails is counted, for an interface comes and goes. Not loaded where
there is none to be told: a server of loopback addresses, or `beacon_seconds` 0 in its profile.
"""

from __future__ import annotations

import os
import socket

from gsrt import __version__
from gsrt.discovery import BEACON_PORT, Announcer, Notice
from gsrt.transports.interfaces import broadcasting, send_broadcast, send_to_all_nodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from gsrt.server import Server
    from gsrt.timers import Timers

SERVER_BYTES = 8


def announcer_of(server: Server, name: str) -> Announcer:
    """Says what SERVER, which is called NAME, is like at the moment."""
    run = os.urandom(SERVER_BYTES)

    def describe(nonce: bytes) -> Notice:
        return Notice(
            nonce=nonce,
            server=run,
            port=server.port,
            sessions=len(server.sessions),
            players=server.sessions.connected,
            version=__version__,
            name=name,
            game=None if server.platform is None else server.platform.game.name,
        )

    return Announcer(describe, server.reception.counters)


class Beacon:
    """Sends it by `datagrams`, which is bound to the IP address `host`, each `seconds`, from `now` on. `counters` has
    "beacons", the datagrams that have gone out, and "beacons_failed"."""

    def __init__(
        self,
        datagrams: socket.socket,
        host: str,
        announcer: Announcer,
        timers: Timers,
        seconds: float,
        counters: MutableMapping[str, int],
        now: float,
    ) -> None:
        self._datagrams = datagrams
        self._has_one_address = host not in ("0.0.0.0", "::")
        self._announcer = announcer
        self._timers = timers
        self._seconds = seconds
        self._counters = counters
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        timers.set(now, self._send)

    def _send(self, now: float) -> None:
        self._timers.set(now + self._seconds, self._send)
        datagram = self._announcer.beacon()
        has_ipv4 = self._datagrams.family == socket.AF_INET
        try:
            indices = [0] if has_ipv4 and self._has_one_address else broadcasting(self._datagrams)
        except OSError:
            self._counters["beacons_failed"] += 1
            return
        for index in indices:
            if has_ipv4 or not self._has_one_address:
                self._try(send_broadcast, datagram, index)
            if not has_ipv4:
                self._try(send_to_all_nodes, datagram, index)

    def _try(self, send: Callable[[socket.socket, bytes, int, int], None], datagram: bytes, index: int) -> None:
        try:
            send(self._datagrams, datagram, BEACON_PORT, index)
        except OSError:  # the interface is down or gone, the buffer full, or a firewall forbids it
            self._counters["beacons_failed"] += 1
        else:
            self._counters["beacons"] += 1

"""`discover()`: the servers on this network. Wire and rules: docs/LINK.md, section 10.

A server is found by its answer to a question of ours, which has our nonce in it; a beacon only says whom to ask. So
what strangers broadcast, be it a flood under a thousand addresses, costs no more than some questions, and lists
nothing.
"""

from __future__ import annotations

import os
import select
import socket
import time

from gsrt import DEFAULT_PORT
from gsrt.discovery import BEACON, BEACON_PORT, HERE, NONCE_BYTES, Notice, seek
from gsrt.transports.interfaces import broadcasting, send_broadcast, send_to_all_nodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Address: TypeAlias = tuple[str, int]  # an IP address, with %interface where it needs one, and a port

SEEK_AT = (0.0, 0.25, 1.0)  # seconds from the beginning, then each SEEK_SECONDS: a datagram may be lost
SEEK_SECONDS = 5.0
ASK_AGAIN_SECONDS = 0.5  # who has told us that it is there, and has not answered yet
ASKED_MAX = 256  # servers that are asked one by one
FOUND_MAX = 256
DATAGRAM_BYTES = 2048  # room for one; a longer one is none of ours
BATCH = 256  # datagrams looked at before anything else is

_LOOPBACK = ("127.", "::1")


class Found:
    """A server: `host` and `port` as seen from here; its `name`, gsrt `version`, numbers of `sessions` and of connected
    `players`; `game`, the name of what it serves, or None. All of it is what it says of itself."""

    __slots__ = ("game", "host", "name", "players", "port", "sessions", "version")

    def __init__(
        self, host: str, port: int, *, name: str, version: str, sessions: int, players: int, game: str | None
    ) -> None:
        self.host = host
        self.port = port
        self.name = name
        self.version = version
        self.sessions = sessions
        self.players = players
        self.game = game

    def __repr__(self) -> str:
        return f"<Found {self.name!r} at {self.host} port {self.port}>"


class Seeker:
    """Who asks, without I/O. `nonce`: NONCE_BYTES; `to_ask`: the servers that `question` is to be sent to next."""

    def __init__(self, nonce: bytes) -> None:
        self.question = seek(nonce)
        self.to_ask: list[Address] = []
        self._nonce = nonce
        self._found: dict[Address, Notice] = {}
        self._asked: dict[Address, float] = {}  # by a beacon's word: when

    def hears_beacon(self, datagram: bytes, address: Address, now: float) -> None:
        """What has come to BEACON_PORT, and from where."""
        notice = Notice.from_bytes(datagram, BEACON)
        if notice is None:
            return
        server = (address[0], notice.port)
        asked = self._asked.get(server)
        is_wanted = len(self._asked) < ASKED_MAX if asked is None else now - asked >= ASK_AGAIN_SECONDS
        if is_wanted and server not in self._found:
            self._asked[server] = now
            self.to_ask.append(server)

    def hears(self, datagram: bytes, address: Address) -> None:
        """What has come to where our questions are from, and from where."""
        notice = Notice.from_bytes(datagram, HERE)
        if notice is None or notice.nonce != self._nonce:
            return
        if address in self._found or len(self._found) < FOUND_MAX:
            self._found[address] = notice

    def found(self) -> list[Found]:
        """The servers that have answered, by name. One with several addresses is there with the one that is best for
        telling others: an IPv4 address before an IPv6 one, any before this machine's own to itself."""
        best: dict[bytes, int] = {}
        for (host, _), notice in self._found.items():
            best[notice.server] = min(_distance(host), best.get(notice.server, 2))
        return sorted(
            (
                Found(
                    *address,
                    name=notice.name,
                    version=notice.version,
                    sessions=notice.sessions,
                    players=notice.players,
                    game=notice.game,
                )
                for address, notice in self._found.items()
                if _distance(address[0]) == best[notice.server]
            ),
            key=lambda each: (each.name.casefold(), each.host, each.port),
        )


def _distance(host: str) -> int:
    return 2 if host.startswith(_LOOPBACK) else ":" in host


def discover(seconds: float = 2.0, port: int = DEFAULT_PORT) -> list[Found]:
    """The servers that let themselves be found within SECONDS: those of PORT on all networks of this machine, on the
    machine itself, and those whose beacon comes meanwhile, whatever their port. OSError where there can be no
    socket."""
    seeker = Seeker(os.urandom(NONCE_BYTES))
    roads: list[Road] = []
    try:
        roads.append(Road(socket.AF_INET, port))
        try:
            roads.append(Road(socket.AF_INET6, port))
        except OSError:
            pass  # a system without IPv6
        _seek(seeker, roads, seconds)
    finally:
        for road in roads:
            road.close()
    return seeker.found()


def _seek(seeker: Seeker, roads: list[Road], seconds: float) -> None:
    began = now = time.monotonic()
    times = list(SEEK_AT)
    while now - began < seconds:
        if now - began >= times[0]:
            times = times[1:] or [times[0] + SEEK_SECONDS]
            for road in roads:
                road.ask_all(seeker.question)
        wait = min(seconds, times[0]) - (now - began)
        sockets = {each: road for road in roads for each in (road.mouth, road.ear) if each is not None}
        ready, _, _ = select.select(sockets, (), (), max(wait, 0.0))
        now = time.monotonic()
        for each in ready:
            road = sockets[each]
            for datagram, sender in road.take(each):
                if each is road.ear:
                    seeker.hears_beacon(datagram, sender, now)
                else:
                    seeker.hears(datagram, sender)
            while seeker.to_ask:
                road.ask(seeker.question, seeker.to_ask.pop())


class Road:
    """The sockets of one family of addresses: the `mouth` asks and hears answers, the `ear` hears beacons, unless a
    program keeps that port to itself (None)."""

    def __init__(self, family: socket.AddressFamily, port: int) -> None:
        self._family = family
        self._port = port
        self.ear: socket.socket | None = None
        self.mouth = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self.mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if family == socket.AF_INET6:
                self.mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.mouth.bind(("", 0))
            self.ear = _listening(family)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for each in (self.mouth, self.ear):
            if each is not None:
                each.close()

    def ask_all(self, question: bytes) -> None:
        """By all interfaces, and this machine itself. What cannot be sent is left out: the others may know more."""
        self.ask(question, ("::1" if self._family == socket.AF_INET6 else "127.0.0.1", self._port))
        send = send_to_all_nodes if self._family == socket.AF_INET6 else send_broadcast
        try:
            indices = broadcasting(self.mouth)
        except OSError:
            return
        for index in indices:
            try:
                send(self.mouth, question, self._port, index)
            except OSError:  # it is going down, or a firewall forbids it
                pass

    def ask(self, question: bytes, address: Address) -> None:
        """One server."""
        host, _, scope = address[0].partition("%")
        to = (host, address[1]) if self._family == socket.AF_INET else (host, address[1], 0, _index(scope))
        try:
            self.mouth.sendto(question, to)
        except OSError:  # a beacon may give any address as its own
            pass

    def take(self, which: socket.socket) -> Iterator[tuple[bytes, Address]]:
        """What has come to one of the sockets, and from where, at most BATCH."""
        for _ in range(BATCH):
            try:
                datagram, sender = which.recvfrom(DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # nobody is where we have asked
                continue
            yield datagram, (_with_interface(*sender), sender[1])


def _with_interface(host: str, port: int, flow: int = 0, index: int = 0) -> str:
    """The host of a socket address, which for a link-local one has an interface to be reached by."""
    if not index:
        return host
    try:
        return f"{host}%{socket.if_indextoname(index)}"
    except OSError:  # gone meanwhile
        return f"{host}%{index}"


def _index(scope: str) -> int:
    """Of the interface that follows the % of an IPv6 address; 0 where none does."""
    try:
        return int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0
    except OSError:
        return 0


def _listening(family: socket.AddressFamily) -> socket.socket | None:
    """A socket for beacons, beside those of other programs; None where one wants to be alone."""
    ear = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ear.bind(("", BEACON_PORT))
    except OSError:
        ear.close()
        return None
    return ear

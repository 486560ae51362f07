"""A bad network between clients and one server, for programs that know nothing of it: `Proxy` listens where the clients
are pointed to, and forwards to the server and to nobody else.

UDP datagrams go through a BadLink for each client and direction. A TCP connection on the same port is passed through
with delay, jitter and rate. Nothing of it is lost: between its two ends here it has arrived, and is not sent again.
"""

from __future__ import annotations

import select
import selectors
import socket
import struct
import time

from gsrt.netsim.model import COUNTERS, BadLink, Conditions, SplitMix64
from gsrt.timers import INFINITY, Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.timers import Timer

    Address = tuple[str, int] | tuple[str, int, int, int]

CLIENTS_MAX = 256  # of UDP, each with a socket towards the server
CONNECTIONS_MAX = 64  # of TCP
IDLE_SECONDS = 60.0  # then a UDP client is forgotten; a game's keep-alive comes more often
PORT_ATTEMPTS = 16  # to find a port that is free for TCP and for UDP
READ_BATCH = 64  # datagrams of one socket, before it is another's turn
DATAGRAM_BYTES_MAX = 65_535
SOCKET_BUFFER_BYTES = 1_000_000  # so that the system does not drop what comes in a burst
CHUNK_BYTES = 1_400  # of a TCP stream; about a segment, so that a rate does not show in steps
STREAM_BYTES_MAX = 262_144  # of a TCP stream under way in one direction; over this, the source has to wait
STREAM_CHUNKS_MAX = 4_096


class Passage:
    """One direction through a BadLink: calls `deliver(datagram)` when it has arrived."""

    def __init__(self, link: BadLink, timers: Timers, deliver: Callable[[bytes], None]) -> None:
        self.link = link
        self._timers = timers
        self._deliver = deliver
        self._timer: Timer | None = None
        self._closed = False

    def put(self, datagram: bytes, now: float) -> None:
        self.link.put(datagram, now)
        self._set_timer()

    def close(self) -> None:
        """Nothing more is delivered."""
        self._closed = True
        self._timers.cancel(self._timer)

    def _set_timer(self) -> None:
        when = None if self._closed else self.link.next_time()
        if when is not None and (self._timer is None or when < self._timer.when):
            self._timers.cancel(self._timer)
            self._timer = self._timers.set(when, self._on_timer)

    def _on_timer(self, now: float) -> None:
        self._timer = None
        for datagram in self.link.take(now):
            if not self._closed:  # by what came before it
                self._deliver(datagram)
        self._set_timer()


class Client:
    """A client's UDP address, and the socket that stands for it towards the server. Raises OSError where there cannot
    be one."""

    def __init__(self, proxy: Proxy, address: Address, now: float) -> None:
        self._proxy = proxy
        self.address = address
        self.last_seen = now
        self.socket = socket.socket(proxy.server_family, socket.SOCK_DGRAM)
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
            self.socket.connect(proxy.server)
        except OSError:
            self.socket.close()
            raise
        self.up = Passage(proxy.new_link(proxy.up, now), proxy.timers, self._to_server)
        self.down = Passage(proxy.new_link(proxy.down, now), proxy.timers, self._to_client)

    def on_event(self, mask: int, now: float) -> None:
        """The server has sent something."""
        for _ in range(READ_BATCH):
            try:
                datagram = self.socket.recv(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:  # nobody listens there
                self._proxy.unreachable += 1
                return
            self.last_seen = now
            self.down.put(datagram, now)

    def waits_for_something(self) -> bool:
        return self.up.link.in_flight > 0 or self.down.link.in_flight > 0

    def close(self) -> None:
        self.up.close()
        self.down.close()
        self.socket.close()

    def _to_server(self, datagram: bytes) -> None:
        try:
            self.socket.send(datagram)
        except OSError:
            self._proxy.unreachable += 1

    def _to_client(self, datagram: bytes) -> None:
        self._proxy.send_to_client(datagram, self.address)


class Stream:
    """One direction of a TCP connection. `failed` is called when it breaks, `finished` when its end has arrived."""

    def __init__(self, connection: Connection, source: socket.socket, sink: socket.socket, link: BadLink) -> None:
        self._connection = connection
        self._source = source
        self._sink = sink
        self._passage = Passage(link, connection.proxy.timers, self._deliver)
        self._unsent = bytearray()
        self._under_way = 0  # bytes read and not yet sent
        self._read_all = False
        self._end_arrived = False
        self.finished = False
        self.bytes = 0  # sent

    def wants_to_read(self) -> bool:
        """There is room, and there may be more."""
        return (
            not self._read_all
            and self._under_way < STREAM_BYTES_MAX
            and self._passage.link.in_flight < STREAM_CHUNKS_MAX
        )

    def wants_to_write(self) -> bool:
        return bool(self._unsent)

    def read(self, now: float) -> None:
        """Takes what the source has to say. Raises OSError."""
        for _ in range(READ_BATCH):
            if not self.wants_to_read():
                return
            try:
                chunk = self._source.recv(CHUNK_BYTES)
            except BlockingIOError:
                return
            self._read_all = not chunk
            self._under_way += len(chunk)
            self._passage.put(chunk, now)  # an empty one stands for the end

    def write(self) -> None:
        """Sends what has arrived, as far as the sink takes it. Raises OSError."""
        try:
            while self._unsent:
                sent = self._sink.send(self._unsent)
                del self._unsent[:sent]
                self._under_way -= sent
                self.bytes += sent
        except BlockingIOError:
            return
        if self._end_arrived and not self.finished:
            self.finished = True
            self._sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._passage.close()

    def _deliver(self, chunk: bytes) -> None:
        self._unsent += chunk
        self._end_arrived = self._end_arrived or not chunk
        self._connection.on_arrival(self)


class Connection:
    """A TCP connection of a client, and the one to the server that stands for it. Raises OSError where there cannot be
    one."""

    def __init__(self, proxy: Proxy, client: socket.socket, now: float) -> None:
        self.proxy = proxy
        self._connected = False
        self._closed = False
        self._client = client
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = socket.socket(proxy.server_family, socket.SOCK_STREAM)
        self._server.setblocking(False)
        self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.up = Stream(self, client, self._server, proxy.new_link(_without_loss(proxy.up), now))
        self.down = Stream(self, self._server, client, proxy.new_link(_without_loss(proxy.down), now))
        self._masks: dict[socket.socket, int] = {client: 0, self._server: 0}
        self._server.connect_ex(proxy.server)
        self._watch()

    def close(self, *, broken: bool = False) -> None:
        """Closes both sides; broken: they learn that it was not in order."""
        if self._closed:
            return
        self._closed = True
        self.up.close()
        self.down.close()
        for each, mask in self._masks.items():
            if mask:
                self.proxy.selector.unregister(each)
            if broken:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        self.proxy.forget_connection(self)

    def on_arrival(self, stream: Stream) -> None:
        """Something has come through this stream."""
        self._attempt(stream.write)

    def _on_client(self, mask: int, now: float) -> None:
        if mask & selectors.EVENT_WRITE:
            self._attempt(self.down.write)
        if mask & selectors.EVENT_READ and not self._closed:
            self._attempt(lambda: self.up.read(now))

    def _on_server(self, mask: int, now: float) -> None:
        if not self._connected:
            if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.proxy.unreachable += 1
                self.close(broken=True)
                return
            self._connected = True
        if mask & selectors.EVENT_WRITE:
            self._attempt(self.up.write)
        if mask & selectors.EVENT_READ and not self._closed:
            self._attempt(lambda: self.down.read(now))

    def _attempt(self, work: Callable[[], None]) -> None:
        """Work on the sockets, after which there may be other things to wait for, or nothing at all."""
        if self._closed:
            return
        try:
            work()
        except OSError:
            self.close(broken=True)
            return
        if self.up.finished and self.down.finished:
            self.close()
        else:
            self._watch()

    def _watch(self) -> None:
        """Waits for what there is to wait for now."""
        reading, writing = selectors.EVENT_READ, selectors.EVENT_WRITE
        if self._connected:
            client = reading * self.up.wants_to_read() | writing * self.down.wants_to_write()
            server = reading * self.down.wants_to_read() | writing * self.up.wants_to_write()
        else:
            client, server = 0, writing
        self._wait_for(self._client, client, self._on_client)
        self._wait_for(self._server, server, self._on_server)

    def _wait_for(self, each: socket.socket, mask: int, handle: Callable[[int, float], None]) -> None:
        before, self._masks[each] = self._masks[each], mask
        if mask == before:
            return
        if not before:
            self.proxy.selector.register(each, mask, handle)
        elif not mask:
            self.proxy.selector.unregister(each)
        else:
            self.proxy.selector.modify(each, mask, handle)


class Proxy:
    """Listens at `listen` (host, port; port 0: a free one), UDP and TCP, and forwards to `server` (host, port).

    `up` are the conditions from clients to the server, `down` those of the way back. Every link gets a seed of its own
    from `seed`, in the order in which the clients come. Raises OSError where an address does not exist or is taken.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        server: tuple[str, int],
        up: Conditions,
        down: Conditions,
        seed: int,
        *,
        clients_max: int = CLIENTS_MAX,
        connections_max: int = CONNECTIONS_MAX,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.up = up
        self.down = down
        self.timers = Timers()
        self.refused = 0  # datagrams and connections for which there was no room, or the system gave no socket
        self.unreachable = 0  # datagrams and connections that the system could not deliver
        self._clients_max = clients_max
        self._connections_max = connections_max
        self._idle_seconds = idle_seconds
        self._seeds = SplitMix64(seed)
        self._clients: dict[Address, Client] = {}
        self._connections: set[Connection] = set()
        self._past = {name: dict.fromkeys(COUNTERS, 0) for name in ("up", "down")}  # of clients that are forgotten
        self._past_bytes = {"up": 0, "down": 0}
        self.server_family, self.server = _resolve(server)
        family, address = _resolve(listen)
        self._listener, self._datagrams = _listening(family, address)
        self.address: Address = self._listener.getsockname()
        self.selector = selectors.EpollSelector()
        self.selector.register(self._listener, selectors.EVENT_READ, self._on_connection)
        self.selector.register(self._datagrams, selectors.EVENT_READ, self._on_datagrams)

    def run(self, seconds: float = INFINITY) -> None:
        """Forwards for so long."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            when = min(until, self.timers.next() or INFINITY)
            self._wait(None if when == INFINITY else max(0.0, when - now))
            now = time.monotonic()
            for key, mask in self.selector.select(0):
                # What was closed by an event before it has nothing to say.
                if self.selector.get_map().get(key.fd) is key:
                    key.data(mask, now)
            self.timers.run(time.monotonic())

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        for connection in list(self._connections):
            connection.close(broken=True)
        self._listener.close()
        self._datagrams.close()
        self.selector.close()

    def statistics(self) -> dict[str, dict[str, int]]:
        """Counters: of datagrams "up" and "down" what a BadLink counts, of "tcp" bytes that were passed on, and of the
        "proxy" itself."""
        directions = {name: dict(past) for name, past in self._past.items()}
        for client in self._clients.values():
            _add(directions["up"], client.up)
            _add(directions["down"], client.down)
        connections = self._connections
        tcp = {
            "up": self._past_bytes["up"] + sum(each.up.bytes for each in connections),
            "down": self._past_bytes["down"] + sum(each.down.bytes for each in connections),
        }
        proxy = {
            "clients": len(self._clients),
            "connections": len(connections),
            "refused": self.refused,
            "unreachable": self.unreachable,
        }
        return {**directions, "tcp": tcp, "proxy": proxy}

    # For clients and connections.

    def new_link(self, conditions: Conditions, now: float) -> BadLink:
        return BadLink(conditions, self._seeds.bits(), origin=now)

    def send_to_client(self, datagram: bytes, address: Address) -> None:
        try:
            self._datagrams.sendto(datagram, address)
        except OSError:
            self.unreachable += 1

    def forget_connection(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._past_bytes["up"] += connection.up.bytes
        self._past_bytes["down"] += connection.down.bytes

    def _wait(self, seconds: float | None) -> None:
        """Until a socket has something, or for so long. With select, for it waits microseconds; epoll counts in
        milliseconds."""
        select.select([self.selector.fileno()], [], [], seconds)

    def _on_datagrams(self, mask: int, now: float) -> None:
        for _ in range(READ_BATCH):
            try:
                datagram, address = self._datagrams.recvfrom(DATAGRAM_BYTES_MAX)
            except OSError:
                return
            client = self._clients.get(address) or self._new_client(address, now)
            if client is None:
                self.refused += 1
                continue
            client.last_seen = now
            client.up.put(datagram, now)

    def _new_client(self, address: Address, now: float) -> Client | None:
        if len(self._clients) >= self._clients_max:
            return None
        try:
            client = Client(self, address, now)
        except OSError:
            return None
        if not self._clients:
            self.timers.set(now + self._idle_seconds, self._forget_idle)
        self._clients[address] = client
        self.selector.register(client.socket, selectors.EVENT_READ, client.on_event)
        return client

    def _forget_idle(self, now: float) -> None:
        for client in list(self._clients.values()):
            if (
                client.last_seen <= now - self._idle_seconds
                and not client.up.link.in_flight + client.down.link.in_flight
            ):
                _add(self._past["up"], client.up)
                _add(self._past["down"], client.down)
                self.selector.unregister(client.socket)
                client.close()
                del self._clients[client.address]
        if self._clients:
            oldest = min(client.last_seen for client in self._clients.values())
            self.timers.set(max(oldest, now - self._idle_seconds / 2) + self._idle_seconds, self._forget_idle)

    def _on_connection(self, mask: int, now: float) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) < self._connections_max:
            try:
                self._connections.add(Connection(self, client, now))
                return
            except OSError:
                pass
        self.refused += 1
        client.close()


def describe_statistics(statistics: dict[str, dict[str, int]]) -> str:
    """One line; what never happened is left out."""
    parts = []
    for name, counters in statistics.items():
        unit = " bytes" if name == "tcp" else ""
        words = [f"{what.replace('_', ' ')} {count}{unit}" for what, count in counters.items() if count]
        if words:
            parts.append(f"{name}: {', '.join(words)}")
    return "; ".join(parts) or "nothing has come yet"


def _resolve(address: tuple[str, int]) -> tuple[socket.AddressFamily, Address]:
    """Family and numeric address. Of a name that has both, such as localhost, the one of IPv4, for that is what games
    and gsrt listen at. Raises OSError."""
    found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    family, _, _, _, numeric = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, numeric  # type: ignore[return-value]


def _listening(family: socket.AddressFamily, address: Address) -> tuple[socket.socket, socket.socket]:
    """Sockets for TCP and UDP on the same port; if it may be any, one that is free for both. Raises OSError."""
    for attempts_left in reversed(range(PORT_ATTEMPTS)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            datagrams.bind(listener.getsockname())
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
            listener.listen()
            listener.setblocking(False)
            datagrams.setblocking(False)
            return listener, datagrams
        except OSError:
            listener.close()
            datagrams.close()
            if address[1] or not attempts_left:
                raise
    raise AssertionError("unreachable")


def _without_loss(conditions: Conditions) -> Conditions:
    """What of them a TCP stream meets. Its queue is bounded by letting the source wait."""
    return Conditions(
        delay=conditions.delay,
        jitter=conditions.jitter,
        rate=conditions.rate,
        queue_bytes=2 * STREAM_BYTES_MAX,
    )


def _add(total: dict[str, int], passage: Passage) -> None:
    for name, count in passage.link.counters().items():
        total[name] += count

"""A server for links on a test's table: the session floor with a gate for links, clients over real sockets, no clock.

What is sent over the loopback lies at the receiver at once, so `turn` passes on whatever there is, in one moment of the
test's time; `advance` lets time pass from timer to timer.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gsrt._core import Packet
from gsrt._link import KIND_ORDERED, LinkEndpoint
from gsrt._links import Leg
from gsrt.linkgate import LinkGate
from gsrt.protocol import rt
from gsrt.protocol.link import (
    DATA,
    LOGIN,
    SUITE_CHACHA20_POLY1305,
    SUITE_INSECURE,
    WELCOME,
    ClientHandshake,
    Established,
    Failed,
    Terms,
    make_cipher,
)
from gsrt.session import Player
from tests.relay.floor import Floor, Guest

BOTH_SUITES = (SUITE_INSECURE, SUITE_CHACHA20_POLY1305)
PENDING_SECONDS = 5.0
IDLE_SECONDS = 15.0
ROUNDS_MAX = 10_000  # of one turn; a conversation that does not end is a fault

Heard = tuple[int, int, Packet]
Filter = Callable[[bytes], Sequence[bytes]]


def read_all(end: socket.socket) -> list[bytes]:
    """The datagrams that lie there."""
    found = []
    while True:
        try:
            found.append(end.recv(2048))
        except BlockingIOError:
            return found
        except ConnectionRefusedError:
            pass  # nobody was there for what we have sent; what lies there is worth reading all the same


class Surroundings(Protocol):
    """What a client needs: the time, sockets to the server, and chance."""

    chance: random.Random

    @property
    def now(self) -> float: ...
    def new_socket(self) -> socket.socket: ...


class Client:
    """A player's link over a UDP socket of its own, every datagram noted.

    `heard`: (kind, stream, packet) of what has come; `sent`, `received`: datagrams; `on_send`: what goes out in place
    of a datagram, `on_receive`: what comes in. Its first DATA has PlayerReady; without `ready` a packet for the server.
    `believed`: what it takes for the server's terms.
    """

    def __init__(
        self,
        house: Surroundings,
        token: str,
        *,
        suite: int = SUITE_CHACHA20_POLY1305,
        terms: Terms | None = None,
        believed: Terms | None = None,
        ready: bool = True,
        chance: random.Random | None = None,
    ) -> None:
        self.house = house
        self.suite = suite
        self.socket = house.new_socket()
        self.handshake = ClientHandshake(token, suite, (chance or house.chance).randbytes, terms)
        self.terms = terms or Terms()
        self.believed = believed
        self.end: LinkEndpoint | None = None
        self.heard: list[Heard] = []
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.on_send: Filter = lambda datagram: (datagram,)
        self.on_receive: Filter = lambda datagram: (datagram,)
        self.is_silent = False  # it does nothing, and reads nothing
        self._says_ready = ready
        self.handshake.start(house.now)

    # the loop's

    def send_out(self) -> int:
        """Sends what there is to send: how many datagrams went out."""
        if self.is_silent:
            return 0
        waiting = self.handshake.datagrams_to_send()
        if self.end is not None:
            waiting = self.end.datagrams_to_send(self.house.now)
        self.sent += waiting
        passed = [each for datagram in waiting for each in self.on_send(datagram)]
        for datagram in passed:
            try:
                self.socket.send(datagram)
            except ConnectionRefusedError:
                pass  # of an earlier one; this one is lost, as any may be
        return len(passed)

    def take_in(self) -> int:
        """Takes what has come: how many datagrams it was."""
        if self.is_silent:
            return 0
        came = read_all(self.socket)
        self.received += came
        for datagram in came:
            for each in self.on_receive(datagram):
                self._take(each)
        return len(came)

    def _take(self, datagram: bytes) -> None:
        if self.end is None:
            self.handshake.receive(datagram, self.house.now)
            if isinstance(self.handshake.outcome, Established):
                self._open(self.handshake.outcome)
            return
        self.end.receive_datagram(datagram, self.house.now)
        while (message := self.end.next_message()) is not None:
            self.heard.append((message[0], message[1], Packet.decode(message[2])))

    def _open(self, outcome: Established) -> None:
        theirs = self.believed or outcome.peer_terms
        self.end = LinkEndpoint(
            make_cipher(outcome.suite, outcome.send_key, outcome.receive_key),
            outcome.connection,
            self.house.now,
            is_client=True,
            receive_bytes=self.terms.receive_bytes,
            message_bytes=self.terms.message_bytes,
            peer_receive_bytes=theirs.receive_bytes,
            peer_message_bytes=theirs.message_bytes,
        )
        if self._says_ready:
            self.ready()
        else:
            self.send(1, targets=(0,))

    def next_timer(self) -> float:
        if self.is_silent:
            return float("inf")
        if self.end is not None:
            return self.end.next_timer()
        due = self.handshake.next_timer()
        return float("inf") if due is None else due

    def handle_timer(self) -> None:
        if self.end is not None:
            self.end.handle_timer(self.house.now)
        else:
            self.handshake.handle_timer(self.house.now)

    # the game's

    def ready(self) -> None:
        self.link.send(Packet(rt.OP_PLAYER_READY).encode(), KIND_ORDERED, 0, self.house.now)

    def send(
        self,
        op_code: int,
        payload: bytes | None = None,
        *,
        kind: int = KIND_ORDERED,
        channel: int = 0,
        targets: tuple[int, ...] = (),
    ) -> None:
        """A packet; it leaves with the next turn."""
        packet = Packet(op_code, payload=payload, targets=targets).encode()
        assert self.link.send(packet, kind, channel, self.house.now)

    def close(self, reason: int = 0, text: str = "") -> None:
        self.link.close(reason, text, self.house.now)

    def move(self) -> socket.socket:
        """Goes on over another socket: the old one."""
        old, self.socket = self.socket, self.house.new_socket()
        return old

    @property
    def link(self) -> LinkEndpoint:
        assert self.end is not None, f"not in: {self.why_not}"
        return self.end

    @property
    def why_not(self) -> str | None:
        """Why it was not let in."""
        return self.handshake.outcome.reason if isinstance(self.handshake.outcome, Failed) else None

    @property
    def refusal(self) -> int | None:
        return self.handshake.outcome.refusal if isinstance(self.handshake.outcome, Failed) else None

    @property
    def ended(self) -> tuple[int, str] | None:
        return None if self.end is None else self.end.ended

    def op_codes(self) -> list[int]:
        """OpCodes of what was heard since this was last asked."""
        heard, self.heard = self.heard, []
        return [packet.op_code for _, _, packet in heard]

    def news(self) -> list[tuple[int, int, bytes | None]]:
        """(opCode, sender, payload) of players' packets that were heard since this was last asked."""
        heard, self.heard = self.heard, []
        return [(each.op_code, each.sender, each.payload) for _, _, each in heard if each.op_code > 0]

    def of_type(self, kind: int, *, received: bool = False) -> list[bytes]:
        """The datagrams of that type that were sent, or that came."""
        return [each for each in (self.received if received else self.sent) if each[1] == kind]

    @property
    def login(self) -> bytes:
        """The LOGIN that was sent last."""
        return self.of_type(LOGIN)[-1]

    @property
    def welcome(self) -> bytes:
        return self.of_type(WELCOME, received=True)[-1]

    @property
    def data(self) -> list[bytes]:
        """The DATA datagrams that were sent."""
        return self.of_type(DATA)


class House(Floor):
    """A server without its loop that takes links, and its clients."""

    def __init__(self, *, insecure: bool = True, **limits: float) -> None:
        super().__init__(**limits)
        self.chance = random.Random(11)
        self.clients: list[Client] = []
        self.reception.link_gate = lambda: self._make_gate(insecure)

    def _make_gate(self, insecure: bool) -> LinkGate:
        return LinkGate(
            self.relay,
            self.tokens,
            self.profile,
            self.reception.log,
            self.reception.counters,
            entropy=self.chance.randbytes,
            insecure=insecure,
            make_room=self.reception.make_room,
            later=self.timers.set,
        )

    def new_socket(self) -> socket.socket:
        """A client's UDP socket."""
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        end.connect(("127.0.0.1", self.port))
        self.sockets.append(end)
        return end

    def client(self, player: Player | str, **how: Any) -> Client:
        """A client on its way in: nothing is sent before the next turn. It comes later than those before it, as cookies
        are told apart by their time."""
        self.now += 0.001
        client = Client(self, player if isinstance(player, str) else player.access_token, **how)
        self.clients.append(client)
        return client

    def enter(self, player: Player | str, **how: Any) -> Client:
        """A client that is in, and what it heard of that is forgotten."""
        client = self.client(player, **how)
        self.turn()
        assert client.op_codes()[:1] == [rt.OP_LOGIN_RESULT], client.why_not
        return client

    def leg(self, player: Player) -> Leg:
        """The server's end of a player's link."""
        leg = player.member.link
        assert leg is not None
        return leg

    def tick(self, datagrams: int) -> None:
        """One turn of the server's loop, with so many datagrams."""
        self.take_datagrams(datagrams)
        self.relay.run_links(self.now)
        self.end_tick()

    def turn(self) -> None:
        """Passes on all that anybody has to say now."""
        for _ in range(ROUNDS_MAX):
            sent = sum(client.send_out() for client in self.clients)
            self.tick(sent)
            came = sum(client.take_in() for client in self.clients)
            if sent == 0 and came == 0:
                return
        raise AssertionError("they do not stop talking")

    def knock(self, end: socket.socket, *datagrams: bytes) -> list[bytes]:
        """What is answered to datagrams from a socket that is nobody's."""
        for datagram in datagrams:
            end.send(datagram)
        self.tick(len(datagrams))
        return read_all(end)

    def next_due(self) -> float:
        due = min(self.relay.links_due, min((client.next_timer() for client in self.clients), default=float("inf")))
        for when in (self.timers.next(), self.reception.next_timer()):
            if when is not None:
                due = min(due, when)
        return due

    def advance(self, seconds: float) -> None:
        """So much later, with all that was due on the way, at its time."""
        end = self.now + seconds
        self.turn()
        while (due := self.next_due()) <= end:
            self.now = max(self.now + 1e-6, due)
            self._do_what_is_due()
        self.now = max(self.now, end)
        self._do_what_is_due()

    def _do_what_is_due(self) -> None:
        for client in self.clients:
            if client.next_timer() <= self.now:
                client.handle_timer()
        self.timers.run(self.now)
        self.reception.expire(self.now)
        self.relay.resume(self.now)
        self.take_streams()
        self.turn()

    def until_quiet(self, seconds: float = 30.0) -> None:
        """Lets time pass until all reliable messages have arrived, both ways."""
        end = self.now + seconds
        self.turn()
        while not self.is_quiet:
            assert self.now < end, "reliable messages do not arrive"
            due = self.next_due()
            self.advance(max(due - self.now, 0.001))

    @property
    def is_quiet(self) -> bool:
        legs = [player.member.link for session in self.sessions for player in session.players]
        return all(leg is None or leg.waiting_bytes == 0 for leg in legs) and all(
            client.end is None or client.ended is not None or client.end.waiting_bytes == 0 for client in self.clients
        )

    def stream_players(self, *guests: Guest) -> list[list[tuple[int, int, bytes | None]]]:
        """(opCode, sender, payload) of players' packets that have come to each over its stream."""
        return [
            [(each.op_code, each.sender or 0, each.payload) for each in guest.packets() if each.op_code > 0]
            for guest in guests
        ]

    def all_counts(self) -> dict[str, int]:
        """All counters that are not zero."""
        return {name: n for name, n in (self.relay.counts() | self.reception.counts()).items() if n}

    def close(self) -> None:
        errors = [line for line in self.log_text().splitlines() if line.startswith("error")]
        super().close()
        assert not errors, errors

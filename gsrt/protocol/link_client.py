"""The client's side of a session over the gsrt link, without I/O: handshake, connect sequence, sending, reconnect.

Contract: docs/LINK.md. A driver owns the sockets and the clock. Times are seconds of a monotonic clock (float). The
driver's part:

* hold a datagram socket to the server exactly while `wanted_socket` is not 0, and a *new* one whenever its number has
  changed. Where the server has several addresses, one to each of them until `answered`; then only the one over which
  that came;
* pass on what arrives, before it calls `handle_timer(now)`, which it does when `next_timer()` is due;
* tell `unreachable` when the system says that nobody has that port;
* after each of these calls send `datagrams_to_send(now)` (before it closes a socket that is not wanted any more), and
  take events until `next_event()` returns None.

libsodium is loaded when the server has answered for the first time, not with this module.
"""

from __future__ import annotations

from gsrt._core import Packet
from gsrt.protocol.client_connection import LOGIN_SECONDS, ConnectionState, Place, PlayerConnection, check_numbers
from gsrt.protocol.link import (
    COOKIE,
    COOKIE_BYTES,
    HANDSHAKE_SECONDS,
    MESSAGE_BYTES_MAX,
    REFUSED_SUITE,
    REFUSED_TOKEN,
    REFUSED_VERSION,
    SUITE_CHACHA20_POLY1305,
    ClientHandshake,
    Established,
    HandshakeState,
    make_cipher,
)
from gsrt.protocol.rt import (
    OP_LOGIN_RESULT,
    OP_PLAYER_CONNECT,
    OP_PLAYER_DISCONNECT,
    OP_PLAYER_READY,
    Intent,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gsrt._core import Data, _Writable
    from gsrt._link import LinkEndpoint

CLOSE_LEFT = 0
CLOSE_PROTOCOL = 1
CLOSE_REPLACED = 2
CLOSE_KICKED = 3
CLOSE_ENDED = 4
CLOSE_SLOW = 5
CLOSE_SILENCE = -1  # is not on the wire: nothing was heard for too long

REBIND_PTOS = 4  # probe timeouts in a row without a word; then another socket may have another way
REBIND_SECONDS = 0.5  # from the first of them on, at least: a busy server is no lost path
FORGOTTEN_PTOS = 2  # in a row, while the server answers a HELLO: it has no such connection any more
MAX_OUTPUT_BYTES = 1_048_576  # of reliable messages that the server has not acknowledged

_NAMED = slice(2, 20)  # version, suite and nonce of a HELLO, and of its COOKIE
_UNRELIABLE, _SEQUENCED, _ORDERED, _UNORDERED = range(4)  # kinds, as gsrt._link has them
_KINDS = {
    Intent.RELIABLE: _ORDERED,
    Intent.UNRELIABLE: _UNRELIABLE,
    Intent.UNRELIABLE_SEQUENCED: _SEQUENCED,
    Intent.RELIABLE_UNORDERED: _UNORDERED,
}
_WITH_CHANNEL = (_ORDERED, _SEQUENCED)
_REASONS = {
    CLOSE_LEFT: "the server closed the connection",
    CLOSE_PROTOCOL: "the server says that we broke the contract of the link",
    CLOSE_REPLACED: "this player has come in anew from elsewhere",
    CLOSE_KICKED: "the server put this player out of the session",
    CLOSE_ENDED: "the session is over, or the server has stopped",
    CLOSE_SLOW: "the server closed the connection: more was waiting for us than it keeps",
    CLOSE_SILENCE: "nothing was heard of the server for too long",
}


class LinkConnection(PlayerConnection):
    """One player's connection to one session, over any number of links one after the other.

    `entropy(n)` returns n random bytes fit for secrets (os.urandom in a driver); `suite`: of docs/LINK.md; `place`: one
    that another connection shares, instead of a new one. Raises ValueError for a token that is empty or over
    MAX_TOKEN_BYTES.

    Attributes for reading: those of PlayerConnection; `answered` (the server has, since the last start);
    `not_offered` (it does not take our version or suite, or we lack libsodium).
    """

    def __init__(
        self,
        access_token: str,
        *,
        entropy: Callable[[int], bytes],
        suite: int = SUITE_CHACHA20_POLY1305,
        place: Place | None = None,
    ) -> None:
        super().__init__(Place(access_token, entropy) if place is None else place)
        self._entropy = entropy
        self._suite = suite
        self.answered = False
        self.not_offered = False
        self._handshake: ClientHandshake | None = None
        self._link: LinkEndpoint | None = None
        self._message_bytes = MESSAGE_BYTES_MAX
        self._hello = b""  # the one to be repeated, if any
        self._waiting: list[bytes] = []
        self._socket_number = 0
        self._ptos_before = 0  # the link's count when the server was last heard, or the socket changed
        self._asking_since: float | None = None  # the first probe timeout after that
        self._port_closed = False  # so the system said since the server was last heard
        self._hello_ptos = 0  # the link's count when the last HELLO went out beside it
        self._cookie_ptos: int | None = None  # and when one was answered
        self._known_peers: set[int] = set()

    # What the driver asks.

    @property
    def wanted_socket(self) -> int:
        """0: no socket is wanted now. Otherwise the number of the one that is to be open."""
        return self._socket_number if self.state >= ConnectionState.CONNECTING else 0

    @property
    def delivered(self) -> bool:
        """Whether the server has all reliable packets that were sent."""
        return self._link is None or self._link.unit_count == 0

    @property
    def quality(self) -> dict[str, float] | None:
        """The link's estimates (LinkEndpoint.quality); None: there are none yet."""
        quality = None if self._link is None else self._link.quality()
        return quality if quality is not None and quality["rtt"] > 0 else None

    def next_timer(self) -> float | None:
        """When handle_timer is to be called next, if nothing happens before; None: no need."""
        times = [self._deadline]
        if self._handshake is not None:
            times.append(self._handshake.next_timer())
        if self._link is not None:
            times.append(self._link.next_timer())
        due = min(time for time in (*times, float("inf")) if time is not None)
        return due if due < float("inf") else None

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Datagrams for the server; each is handed out once."""
        waiting, self._waiting = self._waiting, []
        if self._handshake is not None:
            waiting += self._handshake.datagrams_to_send()
        elif self._link is not None:
            waiting += self._link.datagrams_to_send(now)
        return waiting

    # What the driver tells.

    def start(self, now: float) -> None:
        """Want a socket and greet the server. After close() this logs in again, with the reconnect token if any."""
        if self.state > ConnectionState.CLOSED:
            return
        self.state = ConnectionState.CONNECTING
        self._deadline = None
        self._socket_number += 1
        self.answered = self.not_offered = False
        self._handshake = ClientHandshake(self._place.token, self._suite, self._entropy)
        self._handshake.start(now)
        self._waiting = self._handshake.datagrams_to_send()
        self._hello = self._waiting[0]

    def greet_again(self) -> None:
        """Repeat the HELLO, sooner than its timer does, if it was not answered."""
        if self._handshake is not None and self._handshake.state is HandshakeState.GREETING:
            self._waiting.append(self._hello)

    def close(self, now: float) -> None:
        """Want no socket any more. What datagrams_to_send() still has is our goodbye."""
        goodbye: list[bytes] = []
        if self._link is not None:
            self._link.close(CLOSE_LEFT, "", now)
            goodbye = self._link.datagrams_to_send(now)
        self.rest()
        self._waiting = goodbye
        self.state = ConnectionState.CLOSED
        self._place.leave()

    def rest(self) -> None:
        """Want no socket any more, and forget what was to be sent: the place goes on over another leg."""
        super().rest()
        self._handshake = None
        self._link = None
        self._waiting = []
        self._known_peers.clear()

    def unreachable(self, now: float, reason: str) -> None:
        """The system says so, for the `reason` given. It may be wrong (anybody can forge that), so an open link goes on
        until it is silent for long enough."""
        if self._link is not None:
            self._port_closed = True
        elif self.state == ConnectionState.CONNECTING and not self.answered:
            self._end(now, reason)

    def receive_datagram(self, datagram: bytes, now: float) -> None:
        """One datagram from the server."""
        if self._handshake is not None:
            try:
                self._handshake.receive(datagram, now)
            except ImportError as error:
                self.not_offered = True
                self._end(now, f"the link needs libsodium, which cannot be loaded here: {error}")
                return
            self.answered = self.answered or self._handshake.state is not HandshakeState.GREETING
            self._follow_handshake(now)
        elif self._link is not None:
            if self._hello and len(datagram) == COOKIE_BYTES and datagram[1] == COOKIE:
                if datagram[_NAMED] == self._hello[_NAMED] and self._cookie_ptos is None:
                    self._cookie_ptos = self._link.pto_count
            elif self._link.receive_datagram(datagram, now):
                self._server_heard()
            self._take_messages(now)
            self._follow_link(now)

    def handle_timer(self, now: float) -> None:
        """Do what is due; nothing if nothing is."""
        if self._handshake is not None:
            self._handshake.handle_timer(now)
            self._follow_handshake(now)
        elif self._link is not None:
            self._link.handle_timer(now)
            self._look_for_silence(now)
            self._follow_link(now)
        if self._deadline is not None and now >= self._deadline:
            if self.state == ConnectionState.WAITING:
                self.start(now)
            else:
                self._end(now, f"no answer to the login within {LOGIN_SECONDS:g} s")

    # What the application does.

    def send(
        self,
        op_code: int,
        intent: Intent = Intent.RELIABLE,
        data: Data | Mapping[int, _Writable] | None = None,
        payload: bytes | None = None,
        peers: Iterable[int] = (),
        channel: int = 0,
        *,
        now: float,
    ) -> int:
        """Queue a packet for `peers` (none named: all others; 0: the server); its bytes, or 0.

        0 means that it was not sent: there is no login at the moment, or the server does not keep up. Reliable packets
        of different channels do not wait for each other; RELIABLE_UNORDERED ones wait for none. Unreliable packets that
        do not fit a datagram go as RELIABLE_UNORDERED. An empty payload is left out. Raises ValueError for an opCode
        below 1, a peer id below 0, a channel that there is not, and a packet that is longer than the server takes.
        """
        intent = Intent(intent)
        targets = tuple(peers)
        check_numbers(op_code, targets, channel)
        body = Packet(op_code, data=data, payload=payload or None, targets=targets).encode()
        if len(body) > self._message_bytes:
            raise ValueError(f"a packet of {len(body)} bytes: {self._message_bytes} is the most, send several packets")
        if self._link is None or self.state < ConnectionState.RELIABLE_ONLY:
            return 0
        kind = _KINDS[intent]
        if self._link.waiting_bytes + len(body) <= MAX_OUTPUT_BYTES and self._link.send(
            body, kind, channel if kind in _WITH_CHANNEL else 0, now
        ):
            return len(body)
        self.sends_dropped += 1
        return 0

    # The way in.

    def _follow_handshake(self, now: float) -> None:
        assert self._handshake is not None
        outcome = self._handshake.outcome
        if isinstance(outcome, Established):
            self._open(outcome, now)
        elif outcome is not None:
            self.not_offered = outcome.refusal in (REFUSED_VERSION, REFUSED_SUITE)
            reason = outcome.reason
            if not self.answered:
                reason = (
                    f"nothing answers by UDP within {HANDSHAKE_SECONDS:g} s: the server does not run or does not offer"
                    " the link, or a firewall is in between"
                )
            self._end(now, reason, outcome.refusal == REFUSED_TOKEN)

    def _open(self, established: Established, now: float) -> None:
        from gsrt._link import LinkEndpoint

        self._handshake = None
        self._message_bytes = established.peer_terms.message_bytes
        self._link = LinkEndpoint(
            make_cipher(established.suite, established.send_key, established.receive_key),
            established.connection,
            now,
            is_client=True,
            peer_receive_bytes=established.peer_terms.receive_bytes,
            peer_message_bytes=established.peer_terms.message_bytes,
        )
        self._server_heard()
        self._link.send(Packet(OP_PLAYER_READY).encode(), _ORDERED, 0, now)
        self.state = ConnectionState.LOGGING_IN
        self._deadline = now + LOGIN_SECONDS

    def _take_messages(self, now: float) -> None:
        while self._link is not None:
            message = self._link.next_message()
            if message is None:
                return
            kind, stream, body = message
            packet = self._decode(body)
            if packet is None:
                continue
            if packet.op_code > 0:
                self._receive_user_packet(packet, len(body))
            elif kind != _ORDERED or stream != 0 or packet.payload is None:
                self.ignored += 1
            elif packet.op_code == OP_LOGIN_RESULT and self.state == ConnectionState.LOGGING_IN:
                self._receive_login_result(packet, now)
            elif packet.op_code in (OP_PLAYER_CONNECT, OP_PLAYER_DISCONNECT) and self.ready:
                self._receive_peer_change(packet)
                self._know_peers()
            else:
                self.ignored += 1

    def _receive_login_result(self, packet: Packet, now: float) -> None:
        result = self._read_login_result(packet, now)
        if result is None:
            return
        self._place.logged_in(result)
        self.state = ConnectionState.RELIABLE_AND_FAST
        self._deadline = None
        self._place.become_ready(now)
        self._know_peers()

    def _know_peers(self) -> None:
        """Packets of who is here now need not wait for word of their coming any more."""
        self._known_peers.update(self.active_peers)
        self._release_held()

    def _has_to_wait(self, packet: Packet) -> bool:
        # Word of a player's coming is in channel 0, and a packet in another one may overtake it. Who has left again may
        # still be heard: what comes late was sent before.
        return not self.ready or (packet.sender != 0 and packet.sender not in self._known_peers)

    def _follow_link(self, now: float) -> None:
        """Ends the connection when the link has ended."""
        if self._link is None or self._link.ended is None:
            return
        reason, text = self._link.ended
        goodbye = self._link.datagrams_to_send(now)
        words = _REASONS.get(reason, f"the server closed the connection for reason {reason}")
        if goodbye:  # it is us who ended it
            words = "the server broke the contract of the link"
        if text and text.isprintable() and reason != CLOSE_SILENCE:
            words = f"{words}: {text}"
        self._end(now, words)
        self._waiting = goodbye

    def _server_heard(self) -> None:
        assert self._link is not None
        self._port_closed = False
        self._hello = b""
        self._cookie_ptos = None
        self._ptos_before = self._link.pto_count
        self._asking_since = None

    def _look_for_silence(self, now: float) -> None:
        """Wants another socket when the server has been silent for long: that one may have another way. And asks with a
        HELLO, which costs it nothing, whether it is there at all: one that has restarted is silent to what it does not
        know, and the next attempt need not wait until all hope is gone."""
        assert self._link is not None
        ptos = self._link.pto_count
        if ptos > self._ptos_before and self._asking_since is None:
            self._asking_since = now
        if self._cookie_ptos is not None and ptos - self._cookie_ptos >= FORGOTTEN_PTOS:
            self._end(now, "the server does not know this connection any more; it may have been restarted")
        elif (
            self._asking_since is not None
            and ptos - self._ptos_before >= REBIND_PTOS
            and now - self._asking_since >= REBIND_SECONDS
        ):
            if self._port_closed:
                self._end(now, "the server is gone: nobody has its UDP port now")
                return
            self._socket_number += 1
            self._ptos_before = ptos
            self._asking_since = None
            handshake = ClientHandshake(self._place.token, self._suite, self._entropy)
            handshake.start(now)
            [self._hello] = handshake.datagrams_to_send()
            self._send_hello(ptos)
        elif self._hello and ptos != self._hello_ptos:
            self._send_hello(ptos)

    def _send_hello(self, ptos: int) -> None:
        self._hello_ptos = ptos
        self._waiting.append(self._hello)

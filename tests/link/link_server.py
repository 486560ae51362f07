"""The server's end of links in a test: a Door, and a LinkEndpoint for each who has come in, without I/O."""

from __future__ import annotations

import random

from gsrt._core import Packet
from gsrt._link import KIND_ORDERED, LinkEndpoint
from gsrt.protocol import rt
from gsrt.protocol.link import Door, Entry, Terms, make_cipher, token_id


class Guest:
    """One connection as the server sees it; `received` has (kind, stream, packet) of all but PlayerReady."""

    def __init__(self, server: LinkServer, entry: Entry, connection: bytes, address: bytes, now: float) -> None:
        self.entry = entry
        self.connection = connection
        self.address = address
        self.received: list[tuple[int, int, Packet]] = []
        self.opened = False
        self.ready = False
        self._server = server
        self.end = LinkEndpoint(
            make_cipher(entry.suite, entry.send_key, entry.receive_key),
            connection,
            now,
            is_client=False,
            peer_receive_bytes=entry.peer_terms.receive_bytes,
            peer_message_bytes=entry.peer_terms.message_bytes,
        )

    def say(self, frame: bytes, now: float, kind: int = KIND_ORDERED, stream: int = 0) -> None:
        """A frame, as gsrt.protocol.rt makes it, without its length."""
        prefix = 1 if frame[0] < 0x80 else 2 if frame[1] < 0x80 else 3
        assert self.end.send(frame[prefix:], kind, stream, now)

    def packet(self, packet: Packet, now: float, kind: int = KIND_ORDERED, stream: int = 0) -> None:
        assert self.end.send(packet.encode(), kind, stream, now)

    def take(self, now: float) -> None:
        """Deals with what has come."""
        if not self.opened:
            self.opened = True
            self.say(rt.login_result_frame(self._server.reconnect_token, self._server.peer_id, self._server.peers), now)
        while (message := self.end.next_message()) is not None:
            packet = Packet.decode(message[2])
            if packet.op_code == rt.OP_PLAYER_READY:
                self.ready = True
            else:
                self.received.append((message[0], message[1], packet))


class LinkServer:
    """Takes links with the tokens it knows; who comes in anew moves the older connection out.

    `quiet`: it does as if it were not there.
    """

    def __init__(self, *tokens: str, seed: int = 1, insecure: bool = False, terms: Terms | None = None) -> None:
        self._random = random.Random(seed)
        self.tokens = set(tokens)
        self.reconnect_token = "reconnect"
        self.peer_id = 1
        self.peers: tuple[int, ...] = ()
        self.quiet = False
        self.door = Door(self._random.randbytes, insecure, terms or Terms())
        self.guests: list[Guest] = []
        self.tokens_seen: list[str] = []
        self._waiting: list[tuple[bytes, bytes]] = []

    @property
    def guest(self) -> Guest:
        return self.guests[-1]

    def receive(self, datagram: bytes, address: bytes, now: float) -> None:
        if self.quiet:
            return
        if datagram[1:2] == b"\x06":
            self._data(datagram, address, now)
            return
        answer = self.door.receive(address, datagram, now, self._find)
        if isinstance(answer, bytes):
            self._waiting.append((address, answer))
        elif answer is not None:
            self._enter(answer, address, now)

    def _find(self, wanted: bytes) -> tuple[str, object] | None:
        for token in (*self.tokens, self.reconnect_token):
            if token_id(token) == wanted:
                return token, None
        return None

    def _enter(self, entry: Entry, address: bytes, now: float) -> None:
        for guest in self.guests:
            if guest.entry.datagram == entry.datagram:
                self._waiting.append((address, guest.entry.welcome(guest.connection)))
                return
        self.tokens_seen.append(entry.token)
        guest = Guest(self, entry, self._random.randbytes(8), address, now)
        self.guests.append(guest)
        self._waiting.append((address, entry.welcome(guest.connection)))

    def _data(self, datagram: bytes, address: bytes, now: float) -> None:
        for guest in self.guests:
            if datagram[2:10] == guest.connection and guest.end.receive_datagram(datagram, now):
                guest.address = address  # without a challenge: that is the server's to test
                guest.take(now)

    def handle_timer(self, now: float) -> None:
        for guest in self.guests:
            if guest.end.next_timer() <= now:
                guest.end.handle_timer(now)

    def next_timer(self) -> float:
        return min((guest.end.next_timer() for guest in self.guests), default=float("inf"))

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, bytes]]:
        """(address, datagram) each."""
        waiting, self._waiting = self._waiting, []
        for guest in self.guests:
            waiting += [(guest.address, datagram) for datagram in guest.end.datagrams_to_send(now)]
        return [] if self.quiet else waiting

"""Two ends of a link with a bad network between them, in virtual time: from event to event, without a wait."""

from __future__ import annotations

from gsrt._link import Cipher, LinkEndpoint
from gsrt._sodium import ChaCha20Poly1305
from gsrt.netsim.model import BadLink, Conditions

CONNECTION = b"\1\0connid"
KEYS = (bytes(range(32)), bytes(range(32, 64)))
INFINITY = float("inf")

Message = tuple[int, int, bytes]


def ciphers(encrypted: bool) -> tuple[Cipher, Cipher]:
    """The client's and the server's."""
    if encrypted:
        return ChaCha20Poly1305(*KEYS), ChaCha20Poly1305(*reversed(KEYS))
    return Cipher(), Cipher()


class Pair:
    """`ends`: client and server; `roads[i]`: what carries the datagrams of `ends[i]`; `heard[i]`: the messages that
    have come to `ends[i]`, as next_message gives them; `sent[i]`: datagrams that `ends[i]` made, if `keep` is set."""

    def __init__(
        self,
        conditions: Conditions | str = "",
        back: Conditions | str | None = None,
        *,
        seed: int = 1,
        encrypted: bool = False,
        now: float = 0.0,
        keep: bool = False,
    ) -> None:
        self.now = now
        there = Conditions.parse(conditions) if isinstance(conditions, str) else conditions
        back = there if back is None else back
        back = Conditions.parse(back) if isinstance(back, str) else back
        client, server = ciphers(encrypted)
        self.ends = (
            LinkEndpoint(client, CONNECTION, now, is_client=True),
            LinkEndpoint(server, CONNECTION, now, is_client=False),
        )
        self.roads = (BadLink(there, 2 * seed, origin=now), BadLink(back, 2 * seed + 1, origin=now))
        self.heard: tuple[list[Message], list[Message]] = ([], [])
        self.sent: tuple[list[tuple[float, bytes]], list[tuple[float, bytes]]] = ([], [])
        self.events = 0
        self._keep = keep
        self._away: dict[int, tuple[float, bytes, list[bytes]]] = {}  # until when, the dump, what came meanwhile

    def next_event(self) -> float:
        """When something happens by itself; infinity: never."""
        due = min(self.ends[0].next_timer(), self.ends[1].next_timer(), *(until for until, _, _ in self._away.values()))
        for road in self.roads:
            arrives = road.next_time()
            if arrives is not None and arrives < due:
                due = arrives
        return due

    def flush(self, which: int) -> None:
        """What an end has to send goes on its way."""
        road = self.roads[which]
        now = self.now
        for datagram in self.ends[which].datagrams_to_send(now):
            if self._keep:
                self.sent[which].append((now, datagram))
            road.put(datagram, now)

    def step(self, until: float) -> bool:
        """What happens next, if it is before `until`; else False, and it is `until`."""
        due = self.next_event()
        if due >= until:
            self.now = until
            return False
        self.now = now = due if due > self.now else self.now
        self.events += 1
        for which in (0, 1):
            end, road = self.ends[which], self.roads[1 - which]
            arrives = road.next_time()
            busy = False
            if which in self._away:
                until, _, waiting = self._away[which]
                waiting += road.take(now)
                if until <= now:
                    self._come_back(which)
                continue
            if arrives is not None and arrives <= now:
                for datagram in road.take(now):
                    end.receive_datagram(datagram, now)
                busy = True
                self._listen(which)
            if end.next_timer() <= now:
                end.handle_timer(now)
                busy = True
            if busy:
                self.flush(which)
        return True

    def _listen(self, which: int) -> None:
        while (message := self.ends[which].next_message()) is not None:
            self.heard[which].append(message)

    def hand_over(self, which: int, seconds: float = 0.0) -> bytes:
        """The endpoint is dumped, and made again from that so much later; what arrives meanwhile lies in the socket.
        Returns the dump."""
        dump = self.ends[which].dump()
        self._away[which] = (self.now + seconds, dump, [])
        if not seconds:
            self._come_back(which)
        return dump

    def is_away(self, which: int) -> bool:
        return which in self._away

    def _come_back(self, which: int) -> None:
        _, dump, waiting = self._away.pop(which)
        end = LinkEndpoint.restore(dump, self.now)
        self.ends = (end, self.ends[1]) if which == 0 else (self.ends[0], end)
        for datagram in waiting:
            end.receive_datagram(datagram, self.now)
        self._listen(which)
        self.flush(which)

    def run(self, until: float) -> None:
        """Everything that happens before `until`."""
        while self.step(until):
            pass

    def send(self, which: int, packet: bytes, kind: int, stream: int = 0, *, flush: bool = True) -> bool:
        sent = self.ends[which].send(packet, kind, stream, self.now)
        if flush:
            self.flush(which)
        return sent

    @property
    def is_quiet(self) -> bool:
        """Whether all reliable messages are acknowledged."""
        return not self._away and all(end.unit_count == 0 and end.waiting_bytes == 0 for end in self.ends)

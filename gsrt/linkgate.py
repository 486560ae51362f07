"""Where links come in: whose LOGIN is new, which answer it gets, and the player that it lets in.

Loaded with the first datagram of a link's handshake. Contract: docs/LINK.md, section 3; gsrt.protocol.link judges the
bytes.
"""

from __future__ import annotations

from gsrt._relay import format_address
from gsrt.protocol.link import REFUSED_FULL, Door, Entry, Terms, make_cipher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt._links import Leg
    from gsrt._relay import Relay
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.session import Player
    from gsrt.tokens import Tokens


class TooMany(Exception):
    """More logins have come in this turn than are looked at in one; the client repeats."""


class Entrance:
    """The LOGIN by which a player has last come in: what a repetition of it is told by from a replay."""

    __slots__ = ("answer", "cookie_time", "datagram", "leg")

    def __init__(self, cookie_time: int, datagram: bytes, leg: Leg, answer: bytes) -> None:
        self.cookie_time = cookie_time
        self.datagram = datagram
        self.leg = leg
        self.answer = answer

    @property
    def is_pending(self) -> bool:
        """Whether the client has not shown yet that it has the keys."""
        return not self.leg.established and not self.leg.closed


class LinkGate:
    """Answers the handshakes of links. `entropy(n)` gives n random bytes fit for secrets; `insecure`: links without
    encryption are let in, too."""

    def __init__(
        self,
        relay: Relay,
        tokens: Tokens,
        profile: Profile,
        log: Log,
        counters: dict[str, int],
        *,
        entropy: Callable[[int], bytes],
        insecure: bool,
    ) -> None:
        self._relay = relay
        self._tokens = tokens
        self._profile = profile
        self._log = log
        self._counters = counters
        self._terms = Terms(profile.link_receive_bytes, profile.link_message_bytes_max)
        self._door = Door(entropy, insecure, self._terms)
        self._turn = 0.0
        self._logins_left = 0

    def counts(self) -> dict[str, int]:
        """What became of handshakes, by name."""
        return {f"link_{name}": count for name, count in self._door.counters.items()}

    def opening(self, address: bytes, datagram: bytes, now: float) -> bytes | None:
        """A datagram of a handshake from `address`: what is to be sent back, or None."""
        if now != self._turn:  # a turn of the loop has one time
            self._turn = now
            self._logins_left = self._profile.link_logins_per_turn
        try:
            found = self._door.receive(address, datagram, now, self._find)
        except TooMany:
            self._counters["link_logins_put_off"] += 1
            return None
        if isinstance(found, Entry):
            return self._enter(found, address, now)
        return found

    def _find(self, token_id: bytes) -> tuple[str, Player] | None:
        if self._logins_left == 0:
            raise TooMany
        self._logins_left -= 1
        return self._tokens.find_link(token_id)

    def _enter(self, entry: Entry, address: bytes, now: float) -> bytes | None:
        player: Player = entry.holder
        last = player.entrance
        if last is not None:
            if entry.datagram == last.datagram and last.is_pending:
                return last.answer
            if entry.cookie_time <= last.cookie_time:
                self._counters["link_replays"] += 1
                self._log.limited(
                    "warn",
                    "link_replay",
                    "repeated login dropped",
                    address=format_address(address),
                    player=player.player_id,
                )
                return None
        if len(self._relay.streams) + self._relay.links_count >= self._profile.connections_max:
            self._counters["connections_refused_full"] += 1
            self._log.limited(
                "warn",
                "full",
                "link refused: as many connections are open as the profile allows",
                address=format_address(address),
                connections_max=self._profile.connections_max,
            )
            return entry.refusal(REFUSED_FULL)
        if last is not None and last.is_pending:
            last.leg.drop()
        leg = self._relay.open_link(
            address,
            make_cipher(entry.suite, entry.send_key, entry.receive_key),
            now,
            receive_bytes=self._terms.receive_bytes,
            message_bytes=self._terms.message_bytes,
            peer_receive_bytes=entry.peer_terms.receive_bytes,
            peer_message_bytes=entry.peer_terms.message_bytes,
        )
        if leg is None:
            return entry.refusal(REFUSED_FULL)
        leg.owner = player
        answer = entry.welcome(leg.connection)
        player.entrance = Entrance(entry.cookie_time, entry.datagram, leg, answer)
        return answer

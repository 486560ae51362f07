"""Where links come in: whose LOGIN is new, which answer it gets, and the player that it lets in.

Loaded with the first datagram of a link's handshake. Contract: docs/LINK.md, section 3; gsrt.protocol.link judges the
bytes.
"""

from __future__ import annotations

from gsrt._relay import format_address
from gsrt.protocol.link import (
    REFUSED,
    REFUSED_COOKIE,
    REFUSED_FULL,
    REFUSED_SUITE,
    REFUSED_VERSION,
    SUITE_INSECURE,
    VERSION,
    Door,
    Entry,
    Terms,
    make_cipher,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt._links import Leg
    from gsrt._relay import Relay
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.session import Player
    from gsrt.tokens import Tokens


# Logins that wait for a turn that has time for them: those of everybody, when a server has restarted. Others repeat.
LOGINS_WAITING_MAX = 1024


class TooMany(Exception):
    """More logins have come in this turn than are looked at in one, or more than one of `player`."""

    def __init__(self, player: Player) -> None:
        self.player = player


class Repeated(Exception):
    """The LOGIN by which `player` has last come in comes again."""

    def __init__(self, player: Player) -> None:
        self.player = player


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
        make_room: Callable[[], bool],
        later: Callable[[float, Callable[[float], None]], object],
        cookie_key: bytes | None = None,
    ) -> None:
        self._relay = relay
        self._tokens = tokens
        self._profile = profile
        self._log = log
        self._counters = counters
        self._terms = Terms(profile.link_receive_bytes, profile.link_message_bytes_max)
        self._door = Door(entropy, insecure, self._terms, cookie_key)
        self._make_room = make_room
        self._later = later
        self._looks_later = False
        self._waiting: dict[Player, tuple[bytes, bytes]] = {}  # address and LOGIN, oldest first
        self._turn = 0.0
        self._logins_left = 0
        self._seen: set[Player] = set()  # whose logins were looked at in this turn
        self._datagram = b""  # that is being looked at

    @property
    def cookie_key(self) -> bytes:
        """For the program that takes this one's place: handshakes go on there."""
        return self._door.cookie_key

    def counts(self) -> dict[str, int]:
        """What became of handshakes, by name."""
        counts = {f"link_{name}": count for name, count in self._door.counters.items()}
        counts["link_handshakes_malformed"] = counts.pop("link_malformed")  # that is the name of another one
        return counts

    def opening(self, address: bytes, datagram: bytes, now: float) -> bytes | None:
        """A datagram of a handshake from `address`: what is to be sent back, or None."""
        if now != self._turn:  # a turn of the loop has one time
            self._turn = now
            self._logins_left = self._profile.link_logins_per_turn
            self._seen.clear()
        self._datagram = datagram
        try:
            found = self._door.receive(address, datagram, now, self._find)
        except TooMany as many:
            self._put_off(many.player, address, datagram, now)
            return None
        except Repeated as repeated:
            entrance = repeated.player.entrance
            if entrance is not None and entrance.is_pending:
                return entrance.answer
            self._note_replay(address, repeated.player)
            return None
        if isinstance(found, Entry):
            return self._enter(found, address, now)
        if found is not None and found[1] == REFUSED:
            self._note_refusal(found[2], address)
        return found

    def _find(self, token_id: bytes) -> tuple[str, Player] | None:
        """Whose token that is. Only a known one costs work, so only that is limited; and only one of a player's logins
        is looked at in a turn, or one who floods would keep the others out."""
        found = self._tokens.find_link(token_id)
        if found is None:
            return None
        player = found[1]
        if player.entrance is not None and player.entrance.datagram == self._datagram:
            raise Repeated(player)
        if self._logins_left == 0 or player in self._seen:
            raise TooMany(player)
        self._logins_left -= 1
        self._seen.add(player)
        return found

    def _put_off(self, player: Player, address: bytes, datagram: bytes, now: float) -> None:
        """A LOGIN waits for the next turn. Of a player who sends several, the last one does."""
        if player not in self._waiting and len(self._waiting) == LOGINS_WAITING_MAX:
            self._counters["link_logins_put_off"] += 1
            return
        self._waiting[player] = (address, datagram)
        self._look_later(now)

    def _look_later(self, now: float) -> None:
        if not self._looks_later:
            self._looks_later = True
            self._later(now, self._take_waiting)

    def _take_waiting(self, now: float) -> None:
        """As many of the LOGINs that wait as a turn has time for."""
        self._looks_later = False
        for player in list(self._waiting)[: self._profile.link_logins_per_turn]:
            address, datagram = self._waiting.pop(player)
            answer = self.opening(address, datagram, now)
            if answer is not None:
                self._relay.answer(address, answer)
        if self._waiting:
            self._look_later(now)

    def _note_replay(self, address: bytes, player: Player) -> None:
        self._counters["link_replays"] += 1
        self._log.limited(
            "warn", "link_replay", "repeated login dropped", address=format_address(address), player=player.player_id
        )

    def _note_refusal(self, refusal: int, address: bytes) -> None:
        """The door has counted it."""
        if refusal == REFUSED_VERSION:
            reason = f"it speaks version {self._datagram[2]} of the link, and we version {VERSION}"
        elif refusal == REFUSED_SUITE:
            suite = self._datagram[3]
            reason = f"it wants suite {suite} of the link, which is not taken"
            if suite == SUITE_INSECURE:
                reason += ": without encryption only where --insecure-link is given"
        elif refusal == REFUSED_COOKIE:
            reason = "its cookie is too old, or not for this address; it can begin anew"
        else:
            reason = "its token is wrong, revoked, or of a session that has ended"
        self._log.limited(
            "warn", f"link_refused {refusal}", "link refused", address=format_address(address), reason=reason
        )

    def _refuse_full(self, entry: Entry, address: bytes) -> bytes:
        self._counters["connections_refused_full"] += 1
        self._log.limited(
            "warn",
            "full",
            "link refused: as many connections are open as the profile allows",
            address=format_address(address),
            connections_max=self._profile.connections_max,
        )
        return entry.refusal(REFUSED_FULL)

    def _has_place(self, player: Player) -> bool:
        """Whether one more may be open. Who comes in anew takes the place of its older connection."""
        if player.stream is not None or (player.entrance is not None and player.entrance.is_pending):
            return True
        is_full = len(self._relay.streams) + self._relay.links_count >= self._profile.connections_max
        return not is_full or self._make_room()

    def _enter(self, entry: Entry, address: bytes, now: float) -> bytes | None:
        player: Player = entry.holder
        last = player.entrance
        if last is not None and entry.cookie_time <= last.cookie_time:
            self._note_replay(address, player)
            return None
        if not self._has_place(player):
            return self._refuse_full(entry, address)
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
            return self._refuse_full(entry, address)
        leg.owner = player
        answer = entry.welcome(leg.connection)
        player.entrance = Entrance(entry.cookie_time, entry.datagram, leg, answer)
        return answer

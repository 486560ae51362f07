"""What every connection of a client to a session has in common, whichever leg it takes, without I/O.

A `Place` is what the client knows of its place in the session and how its attempts to be there went; it outlives
connections, and connections over different legs can share one. A `PlayerConnection` is the base of those:
`rt_client.ClientConnection` (a stream, and UDP beside it) and `link_client.LinkConnection` (the link).
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from gsrt._core import Packet, ProtocolError
from gsrt.protocol.rt import MAX_OP_CODE, MAX_PEER_ID, PlayerConnect, login_frame, parse_login_result, parse_peer_change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.protocol.rt import LoginResult

FIRST_RETRY_SECONDS = 0.2  # after a loss: soon, since the server keeps the place only for a grace period
MAX_RETRY_SECONDS = 5.0  # a network that comes back should not have to wait longer
FIRST_REFUSED_RETRY_SECONDS = 1.0  # a refused token is hardly ever better a moment later
MAX_REFUSED_RETRY_SECONDS = 30.0
STABLE_SECONDS = 5.0  # ready for so long: the next loss begins the back-off anew
LOGIN_SECONDS = 5.0  # from an open leg until the login result
MAX_HELD_PACKETS = 256  # that arrive before their time
MAX_HELD_BYTES = 262_144
CHANNELS = 16


class ConnectionState(IntEnum):
    """Where a connection stands. From RELIABLE_ONLY on it is logged in and `send` sends."""

    IDLE = 0
    WAITING = 1  # until the next attempt
    CLOSED = 2
    CONNECTING = 3
    LOGGING_IN = 4
    RELIABLE_ONLY = 5
    RELIABLE_AND_FAST_SEND = 6  # the server hears our datagrams
    RELIABLE_AND_FAST = 7  # and we hear the server's; a link is so from the login on


class Ready:
    """The connect sequence is done: the other players are told, packets flow. Comes again after each reconnect."""

    __slots__ = ()


class Lost:
    """A ready connection ended; the next attempt is under way by itself."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Failed:
    """An attempt ended before Ready; the next is under way by itself. `refused`: the server did not take the token."""

    __slots__ = ("reason", "refused")

    def __init__(self, reason: str, refused: bool) -> None:
        self.reason = reason
        self.refused = refused


class PacketReceived:
    """A packet of another player, or of the server itself (`packet.sender` 0)."""

    __slots__ = ("packet",)

    def __init__(self, packet: Packet) -> None:
        self.packet = packet


class _PeerEvent:
    __slots__ = ("peer_id",)

    def __init__(self, peer_id: int) -> None:
        self.peer_id = peer_id


class PeerConnected(_PeerEvent):
    """Another player became ready."""

    __slots__ = ()


class PeerDisconnected(_PeerEvent):
    """Another player has gone."""

    __slots__ = ()


if TYPE_CHECKING:
    Event = Ready | Lost | Failed | PacketReceived | PeerConnected | PeerDisconnected


class Place:
    """A player's place in a session as the client knows it.

    `entropy(n)` returns n random bytes (os.urandom in a driver). Raises ValueError for a token that is empty or over
    MAX_TOKEN_BYTES.

    Attributes for reading: `peer_id` (0 before the first login); `active_peers`; `ready`; `failures` and `refusals`
    (attempts in a row that failed, and those that were refused); `fell` (the connection that ended last had been
    ready); `events`, those not taken yet.
    """

    def __init__(self, access_token: str, entropy: Callable[[int], bytes]) -> None:
        login_frame(access_token)  # refuses a token that cannot be sent, now rather than at the first login
        self._access_token = access_token
        self.reconnect_token = ""
        self.entropy = entropy
        self.peer_id = 0
        self.active_peers: tuple[int, ...] = ()
        self.ready = False
        self.failures = 0
        self.refusals = 0
        self.fell = False
        self.events: deque[Event] = deque()
        self._ready_since = 0.0

    @property
    def token(self) -> str:
        """What to log in with."""
        return self.reconnect_token or self._access_token

    def logged_in(self, result: LoginResult) -> None:
        """The server has let us in."""
        self.reconnect_token = result.reconnect_token
        self.peer_id = result.peer_id
        self.active_peers = result.active_peers
        self.refusals = 0

    def become_ready(self, now: float) -> None:
        """The connect sequence is done."""
        self.ready = True
        self._ready_since = now
        if self.peer_id not in self.active_peers:
            self.active_peers += (self.peer_id,)
        self.events.append(Ready())

    def lose(self, now: float, reason: str, refused: bool) -> float:
        """A connection has ended, or an attempt. Returns how many seconds to wait until the next."""
        self.fell = self.ready
        if self.ready:
            self.events.append(Lost(reason))
            if now - self._ready_since >= STABLE_SECONDS:
                self.failures = 0
        else:
            self.events.append(Failed(reason, refused))
        self.ready = False
        delay = self._retry_delay(refused)
        self.failures += 1
        self.refusals = self.refusals + 1 if refused else 0
        return delay

    def leave(self) -> None:
        """The player goes. What was not told yet is not told any more."""
        self.ready = False
        self.failures = self.refusals = 0
        self.events.clear()

    def _retry_delay(self, refused: bool) -> float:
        """Doubles with each failure in a row up to its limit; a random part of half keeps many clients apart."""
        if refused:
            delay = min(MAX_REFUSED_RETRY_SECONDS, FIRST_REFUSED_RETRY_SECONDS * 2.0 ** min(self.refusals, 16))
        else:
            delay = min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(self.failures, 16))
        fraction = int.from_bytes(self.entropy(2), "little") / 65_536
        return delay * (0.5 + 0.5 * fraction)


class AtPlace:
    """What shows a place: its attributes for reading, and its events."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def ready(self) -> bool:
        return self._place.ready

    @property
    def peer_id(self) -> int:
        return self._place.peer_id

    @property
    def active_peers(self) -> tuple[int, ...]:
        return self._place.active_peers

    @property
    def failures(self) -> int:
        return self._place.failures

    @property
    def refusals(self) -> int:
        return self._place.refusals

    def next_event(self) -> Event | None:
        """The oldest event not taken yet."""
        return self._place.events.popleft() if self._place.events else None


class PlayerConnection(AtPlace):
    """One player's connection to one session over one kind of leg, as often as it takes.

    Attributes for reading: `state`; of the place: `peer_id`, `active_peers`, `ready`, `failures`, `refusals`; counters
    `malformed` (packets that could not be read), `ignored` (system messages that were not expected), `held_dropped`
    (packets before their time, over the bound), `sends_dropped` (over the bounds of the output).
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.state = ConnectionState.IDLE
        self.malformed = 0
        self.ignored = 0
        self.held_dropped = 0
        self.sends_dropped = 0
        self._deadline: float | None = None
        self._held: list[tuple[Packet, int]] = []
        self._held_bytes = 0

    def rest(self) -> None:
        """Want nothing any more, and say nothing: the place goes on over another leg."""
        self.state = ConnectionState.IDLE
        self._deadline = None
        self._forget_held()

    def _end(self, now: float, reason: str, refused: bool = False) -> None:
        self.rest()
        self.state = ConnectionState.WAITING
        self._deadline = now + self._place.lose(now, reason, refused)

    def _read_login_result(self, packet: Packet, now: float) -> LoginResult | None:
        """The server's answer to a login; None: it is no, or cannot be read, and that was the end of this attempt."""
        try:
            result = parse_login_result(packet)
        except ProtocolError as error:
            self._end(now, f"the server's login result cannot be read: {error}")
            return None
        if not result.success:
            self._end(now, "the server refused the login", refused=True)
            return None
        return result

    def _receive_peer_change(self, packet: Packet) -> None:
        try:
            change = parse_peer_change(packet)
        except ProtocolError:
            self.malformed += 1
            return
        self._place.active_peers = change.active_peers
        if self.ready:
            kind = PeerConnected if isinstance(change, PlayerConnect) else PeerDisconnected
            self._place.events.append(kind(change.peer_id))

    def _receive_user_packet(self, packet: Packet, size: int) -> None:
        if not self._has_to_wait(packet):
            self._place.events.append(PacketReceived(packet))
        elif len(self._held) < MAX_HELD_PACKETS and self._held_bytes + size <= MAX_HELD_BYTES:
            self._held.append((packet, size))
            self._held_bytes += size
        else:
            self.held_dropped += 1

    def _has_to_wait(self, packet: Packet) -> bool:
        """Whether it is too early for that packet."""
        return not self.ready

    def _release_held(self) -> None:
        """Hands on what need not wait any more."""
        held = self._held
        self._forget_held()
        for packet, size in held:
            self._receive_user_packet(packet, size)

    def _forget_held(self) -> None:
        self._held = []
        self._held_bytes = 0

    def _decode(self, body: bytes) -> Packet | None:
        try:
            return Packet.decode(body)
        except ProtocolError:
            self.malformed += 1
            return None


def check_numbers(op_code: int, targets: tuple[int, ...], channel: int) -> None:
    """Raises ValueError, in words for the game's author, for numbers that cannot be sent."""
    if op_code == 0:
        raise ValueError("opCode 0 is the login's; use opCodes from 1 on for your packets")
    if not 0 < op_code <= MAX_OP_CODE:
        raise ValueError(f"opCode {op_code}: negative ones are the protocol's own; use 1 to {MAX_OP_CODE}")
    for peer_id in targets:
        if not 0 <= peer_id <= MAX_PEER_ID:
            raise ValueError(f"peer {peer_id}: name peers by the ids in active_peers, or 0 for the server")
    if not 0 <= channel < CHANNELS:
        raise ValueError(f"channel {channel}: there are 0 to {CHANNELS - 1}")

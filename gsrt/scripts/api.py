"""What a real-time script may call: `session` and everything it gives.

A script reaches public names only and writes no attributes, so whatever begins with `_` here, and in the modules that
this one is made of, is out of its reach. gsrt.scripts.arguments judges what it passes; what the server does for it is
done through the few `Capabilities` that were handed over."""

from __future__ import annotations

from gsrt.scripts.arguments import INT_MAX, checked_text, refusal, whole
from gsrt.scripts.capabilities import Asker
from gsrt.scripts.log_api import Logger
from gsrt.scripts.random_api import Random
from gsrt.scripts.request_api import Requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    from gsrt._guest import Data
    from gsrt.scripts.capabilities import Common
    from gsrt.scripts.quality import Quality

    Function = TypeVar("Function", bound=Callable[..., object])

    class Capabilities(Common, Protocol):
        """All that the script of one session can bring about."""

        @property
        def session_id(self) -> str: ...
        def now_ms(self) -> int:
            """Milliseconds since the session began; the same during one callback."""

        def new_data(self) -> Data: ...
        def send(
            self,
            op_code: int,
            data: Data | dict[int, object] | None,
            payload: bytes | None,
            peers: tuple[int, ...] | None,
            reliable: bool,
            sender: int,
        ) -> None:
            """DATA as it is now: values of a dict are still to be judged. PEERS: distinct peer ids, at least one; None:
            all players."""

        def on_packet(self, op_code: int, function: Callable[..., object]) -> None: ...
        def on_player_connect(self, function: Callable[..., object]) -> None: ...
        def on_player_disconnect(self, function: Callable[..., object]) -> None: ...
        def set_timer(self, function: Callable[..., object], milliseconds: float, repeat: bool) -> int: ...
        def clear_timer(self, timer_id: int) -> None: ...
        def player(self, peer_id: int) -> Player | None: ...
        def players(self) -> list[Player]: ...
        def quality(self, peer_id: int) -> Quality | None: ...
        def kick(self, peer_id: int, reason: str) -> None: ...


OP_CODE_MAX = 2**31 - 1
PEERS_MAX = 255
TIMER_MS_MAX = 24 * 60 * 60 * 1000
REASON_CHARACTERS_MAX = 200
PAYLOAD_BYTES_MAX = 16_300  # the largest a profile can allow; what this server allows is judged when it is sent

DATA = "a Data, a dict of index to value, or None"


class Session(Asker):
    """The session that the script belongs to: where it registers its functions, sends, and asks who is there."""

    __slots__ = ("_data_type", "_logger", "_random")

    _capabilities: Capabilities

    def __init__(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        self._data_type = type(capabilities.new_data())
        self._logger = Logger(capabilities)
        self._random: Random | None = None

    def __repr__(self) -> str:
        return "<session>"

    # What is to be called, and when

    def on_packet(self, op_code: int, function: Any = ...) -> Any:
        """Has `function(packet)` called for every packet of OP_CODE (1 to 2147483647), before any player gets it.

        Without a function, a decorator: `@session.on_packet(100)`. A function that returns False cancels the packet.
        Several functions of one op code are called in the order of their registration, up to the first False.
        Gives back the function. Raises TypeError, ValueError, QuotaError."""
        whole("op_code", op_code, 1, OP_CODE_MAX)
        if function is ...:

            def register(function: Function) -> Function:
                self._capabilities.on_packet(op_code, self._own(function))
                return function

            return register
        self._capabilities.on_packet(op_code, self._own(function))
        return function

    def on_player_connect(self, function: Function) -> Function:
        """Has `function(player)` called when a player is ready to play; also a decorator: `@session.on_player_connect`.

        The other players have been told by then. Gives back the function. Raises TypeError, QuotaError."""
        self._capabilities.on_player_connect(self._own(function))
        return function

    def on_player_disconnect(self, function: Function) -> Function:
        """Has `function(player)` called when a player has left; also a decorator: `@session.on_player_disconnect`.

        The other players have been told by then. Gives back the function. Raises TypeError, QuotaError."""
        self._capabilities.on_player_disconnect(self._own(function))
        return function

    def set_timeout(self, function: Callable[[], object], ms: float) -> int:
        """Has `function()` called once, MS milliseconds from now (0 to 86400000, which is a day).

        Gives an id for clear_timeout. Raises TypeError, ValueError, QuotaError (too many timers)."""
        return self._capabilities.set_timer(self._own(function), _milliseconds(ms), False)

    def set_interval(self, function: Callable[[], object], ms: float) -> int:
        """Has `function()` called every MS milliseconds (0 to 86400000; the server's profile names the shortest).

        Gives an id for clear_interval. Raises TypeError, ValueError, QuotaError (too many timers)."""
        return self._capabilities.set_timer(self._own(function), _milliseconds(ms), True)

    def every(self, ms: float) -> Callable[[Function], Function]:
        """A decorator that has the function called every MS milliseconds, for good: `@session.every(100)`.

        Raises TypeError, ValueError, QuotaError (too many timers). To be able to stop it, use set_interval."""
        milliseconds = _milliseconds(ms)

        def register(function: Function) -> Function:
            self._capabilities.set_timer(self._own(function), milliseconds, True)
            return function

        return register

    def clear_timeout(self, timer_id: int | None) -> None:
        """Takes back what set_timeout gave the id of. One that has run, or None, is no matter. Raises TypeError."""
        if timer_id is not None:
            self._capabilities.clear_timer(whole("timer_id", timer_id, 0, INT_MAX))

    def clear_interval(self, timer_id: int | None) -> None:
        """Stops what set_interval gave the id of. One that was stopped, or None, is no matter. Raises TypeError."""
        self.clear_timeout(timer_id)

    # Who is there

    def get_player(self, peer_id: int) -> Player | None:
        """The player with this PEER_ID (1 to 255) if connected now, else None. Raises TypeError, ValueError."""
        return self._capabilities.player(whole("peer_id", peer_id, 1, PEERS_MAX))

    def get_players(self) -> list[Player]:
        """The players connected now, in the order in which they came."""
        return self._capabilities.players()

    def quality(self, peer_id: int) -> Quality | None:
        """What is known of the way to the player with this PEER_ID (1 to 255): see player.quality. None where nothing
        is. Raises TypeError, ValueError."""
        return self._capabilities.quality(whole("peer_id", peer_id, 1, PEERS_MAX))

    def get_session_id(self) -> str:
        """The id of the session."""
        return self._capabilities.session_id

    # Sending

    def send(
        self,
        op_code: int,
        data: Data | dict[int, object] | None = None,
        peers: Any = None,
        reliable: bool = False,
    ) -> None:
        """Sends a packet of OP_CODE (1 to 2147483647) from the server (sender 0).

        DATA: a Data, or a dict of index (1 to 127) to value, or None. PEERS: a peer id, a Player, or a list or tuple of
        them; None: all players; an empty list: nobody. RELIABLE: True: it surely arrives, and in order.
        Raises TypeError, ValueError, QuotaError (too much in one callback)."""
        whole("op_code", op_code, 1, OP_CODE_MAX)
        targets = None if peers is None else peer_ids(peers)
        if type(reliable) is not bool:
            raise refusal(TypeError, "reliable", "True or False", reliable)
        if data is not None and type(data) is not dict and type(data) is not self._data_type:
            raise refusal(TypeError, "data", DATA, data)
        if targets != ():
            self._capabilities.send(op_code, data, None, targets, reliable, 0)

    def new_packet(self) -> PacketBuilder:
        """A packet to be built step by step and sent."""
        return PacketBuilder(self)

    def new_data(self) -> Data:
        """An empty Data, to be filled and sent."""
        return self._capabilities.new_data()

    # Everything else

    def new_request(self) -> Requests:
        """Requests to the backend, on behalf of any player."""
        return Requests(self)

    def get_logger(self) -> Logger:
        """The script's log: `gsrt logs` shows it."""
        return self._logger

    @property
    def random(self) -> Random:
        """Random numbers that are the same again whenever the session is replayed."""
        if self._random is None:
            self._random = Random(self._capabilities)
        return self._random

    @property
    def now_ms(self) -> int:
        """Whole milliseconds since the session began; the same during one callback."""
        return self._capabilities.now_ms()

    def _data(self, data: object) -> Data:
        """DATA; of a dict, what is in it now."""
        if type(data) is self._data_type:
            return data
        if type(data) is not dict:
            raise refusal(TypeError, "data", DATA, data)
        made = self._capabilities.new_data()
        for index, value in data.items():
            made[index] = value
        return made


class Player:
    """A player of the session. The same player is the same object as long as the script runs."""

    __slots__ = ("_capabilities", "_is_out", "_peer_id", "_player_id")

    def __init__(self, capabilities: Capabilities, peer_id: int, player_id: str, is_out: bool = False) -> None:
        self._capabilities = capabilities
        self._peer_id = peer_id
        self._player_id = player_id
        self._is_out = is_out  # the match goes on without it, and its number may be another's

    def __repr__(self) -> str:
        return f"<player {self._peer_id} {self._player_id!r}>"

    @property
    def peer_id(self) -> int:
        """The player's number in the session, 1 to 255."""
        return self._peer_id

    @property
    def player_id(self) -> str:
        """The id under which the player is known to the server."""
        return self._player_id

    def get_peer_id(self) -> int:
        """The player's number in the session, 1 to 255."""
        return self._peer_id

    def get_player_id(self) -> str:
        """The id under which the player is known to the server."""
        return self._player_id

    @property
    def quality(self) -> Quality | None:
        """What is known of the way to the player: the same during one callback, the same again when the session is
        replayed. None where nothing is: not connected, not by the gsrt link, or only just now."""
        return self.get_quality()

    def get_quality(self) -> Quality | None:
        """What is known of the way to the player, or None."""
        return None if self._is_out else self._capabilities.quality(self._peer_id)

    def kick(self, reason: str = "") -> None:
        """Throws the player out, for good: the token is worthless from now on. REASON (at most 200 characters) is for
        the server's log.

        It happens after the callback. One who has left already cannot come back. Raises TypeError, ValueError."""
        checked_text("reason", reason, REASON_CHARACTERS_MAX)
        if not self._is_out:
            self._capabilities.kick(self._peer_id, reason)


class PacketBuilder:
    """A packet to send, built step by step: `session.new_packet().set_op_code(5).set_data(data).send()`.

    Each step gives back the builder. One builder may send several times."""

    __slots__ = ("_data", "_op_code", "_payload", "_peers", "_reliable", "_sender", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._op_code = 0
        self._data: Data | None = None
        self._payload: bytes | None = None
        self._peers: tuple[int, ...] | None = None
        self._reliable = False
        self._sender = 0

    def __repr__(self) -> str:
        return f"<packet to send, op code {self._op_code}>"

    def set_op_code(self, op_code: int) -> PacketBuilder:
        """What kind of packet it is (1 to 2147483647); there is no packet without. Raises TypeError, ValueError."""
        self._op_code = whole("op_code", op_code, 1, OP_CODE_MAX)
        return self

    def set_data(self, data: Data | dict[int, object] | None) -> PacketBuilder:
        """What it carries: a Data (as it is when the packet is sent), a dict of index (1 to 127) to value, or None.

        Raises TypeError, ValueError."""
        self._data = None if data is None else self._session._data(data)
        return self

    def set_payload(self, payload: bytes | None) -> PacketBuilder:
        """Bytes to carry besides the data, or None. Raises TypeError, ValueError."""
        if payload is not None:
            expected = f"at most {PAYLOAD_BYTES_MAX} bytes, or None"
            if type(payload) is not bytes:
                raise refusal(TypeError, "payload", expected, payload)
            if len(payload) > PAYLOAD_BYTES_MAX:
                raise ValueError(f"payload: {expected}, not {len(payload)}")
        self._payload = payload
        return self

    def set_reliable(self, reliable: bool) -> PacketBuilder:
        """True: it surely arrives, and in order; False, as it is at first: as quick as can be. Raises TypeError."""
        if type(reliable) is not bool:
            raise refusal(TypeError, "reliable", "True or False", reliable)
        self._reliable = reliable
        return self

    def set_sender(self, peer_id: int) -> PacketBuilder:
        """As whose packet it arrives: a peer id (1 to 255), or 0, as it is at first: the server's.

        Raises TypeError, ValueError."""
        self._sender = whole("peer_id", peer_id, 0, PEERS_MAX)
        return self

    def set_target_peers(self, peers: Any) -> PacketBuilder:
        """Who gets it: a peer id, a Player, or a list or tuple of them; None, as it is at first: all players.

        An empty list: nobody. Raises TypeError, ValueError."""
        self._peers = None if peers is None else peer_ids(peers)
        return self

    def send(self) -> PacketBuilder:
        """Sends it. Raises ValueError (no op code, too large), QuotaError (too much in one callback)."""
        if self._op_code == 0:
            raise ValueError("op_code: a packet needs one, call set_op_code first")
        if self._peers != ():
            self._session._capabilities.send(
                self._op_code, self._data, self._payload, self._peers, self._reliable, self._sender
            )
        return self


def peer_ids(value: Any) -> tuple[int, ...]:
    """The distinct ids that VALUE names: a peer id, a Player, or a list or tuple of them. TypeError, ValueError."""
    kind = type(value)
    if kind is int or kind is Player:
        value = (value,)
    elif kind is not list and kind is not tuple:
        raise refusal(TypeError, "peers", "a peer id, a Player, a list or tuple of them, or None", value)
    if len(value) > PEERS_MAX:
        raise ValueError(f"peers: at most {PEERS_MAX}, not {len(value)}")
    # The test of `whole` is here once more because a call for each peer would be most of what sending costs.
    ids = [each if type(each) is int and 0 < each <= PEERS_MAX else _peer_id(each) for each in value]
    return tuple(dict.fromkeys(ids))


def _peer_id(value: Any) -> int:
    return value._peer_id if type(value) is Player else whole("peers", value, 1, PEERS_MAX)


def _milliseconds(ms: Any) -> float:
    expected = f"milliseconds, a number from 0 to {TIMER_MS_MAX}"
    if type(ms) is not float and type(ms) is not int:
        raise refusal(TypeError, "ms", expected, ms)
    if not 0 <= ms <= TIMER_MS_MAX:
        raise refusal(ValueError, "ms", expected, ms)
    return float(ms)

"""What a real-time script may call: `session` and everything it gives.

A script reaches public names only and writes no attributes, so whatever begins with `_` here is out of its reach. Every
argument is judged by its exact type, for an instance of a script's own class would bring methods of its own
(`__eq__`, `__lt__`, `__hash__`) into the host's code. A refused argument is a TypeError or a ValueError that says what
was expected. What the server does for a script, it does through the few `Capabilities` it was handed; asked for more
than its profile grants, they raise QuotaError, a RuntimeError."""

from __future__ import annotations

from math import cos, log, pi, sqrt
from types import FunctionType, MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    from gsrt._guest import Data

    Function = TypeVar("Function", bound=Callable[..., object])

    class Common(Protocol):
        """What the script of a session and that of an event can bring about."""

        @property
        def seed(self) -> int:
            """What the random numbers begin with; the same whenever a session is replayed."""

        def charge(self, ticks: int) -> None:
            """Takes gas for work that the host does for the script."""

        def text(self, value: object) -> str:
            """VALUE as a text of bounded length, without running code of unbounded length and without addresses."""

        def is_own(self, function: FunctionType) -> bool:
            """Whether FUNCTION was defined by this script."""

        def log(self, level: str, text: str) -> None:
            """LEVEL: debug, info, warn or error. TEXT may be of any length and hold any characters."""

        def request(
            self,
            name: str,
            player_id: str | None,
            fields: dict[str, object],
            callback: Callable[..., object] | None,
        ) -> None:
            """Has CALLBACK called with a Response in a later turn."""

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
        def kick(self, peer_id: int, reason: str) -> None: ...


OP_CODE_MAX = 2**31 - 1
PEERS_MAX = 255
TIMER_MS_MAX = 24 * 60 * 60 * 1000
REASON_CHARACTERS_MAX = 200
PLAYER_ID_CHARACTERS_MAX = 128  # as sessions have it
PAYLOAD_BYTES_MAX = 16_300  # the largest a profile can allow; what this server allows is judged when it is sent
REAL_MAX = 1e300  # so that the difference of two is still a number
RANDOM_INT_MAX = 2**63 - 1
RANDOM_ELEMENTS_MAX = 20_000
ELEMENTS_PER_TICK = 16  # what one tick of gas pays for in a list that the host walks
FIELDS_MAX = 64
FIELD_NAME_CHARACTERS_MAX = 64
VALUE_NODES_MAX = 500
VALUE_DEPTH_MAX = 32
VALUE_CHARACTERS_MAX = 65_536
PRINT_CHARACTERS_MAX = 4096
SEPARATOR_CHARACTERS_MAX = 100
SHOWN_CHARACTERS_MAX = 40  # of a refused value, in the message that refuses it

DATA = "a Data, a dict of index to value, or None"

# Fields of requests whose spelling does not follow from their words.
IRREGULAR_FIELDS = {"device_os": "deviceOS"}


class Asker:
    """What a script gets its capabilities from: a session, or an event."""

    __slots__ = ("_capabilities",)

    _capabilities: Common

    def _own(self, function: object) -> Callable[..., object]:
        """FUNCTION, a function or a method of this script; anything of the host's could do more than a script may."""
        plain = function.__func__ if type(function) is MethodType else function
        if type(plain) is FunctionType and self._capabilities.is_own(plain):
            return function  # type: ignore[return-value]
        raise _refusal(TypeError, "function", "a function of this script", function)


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
        _whole("op_code", op_code, 1, OP_CODE_MAX)
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
            self._capabilities.clear_timer(_whole("timer_id", timer_id, 0, RANDOM_INT_MAX))

    def clear_interval(self, timer_id: int | None) -> None:
        """Stops what set_interval gave the id of. One that was stopped, or None, is no matter. Raises TypeError."""
        self.clear_timeout(timer_id)

    # Who is there

    def get_player(self, peer_id: int) -> Player | None:
        """The player with this PEER_ID (1 to 255) if connected now, else None. Raises TypeError, ValueError."""
        return self._capabilities.player(_whole("peer_id", peer_id, 1, PEERS_MAX))

    def get_players(self) -> list[Player]:
        """The players connected now, in the order in which they came."""
        return self._capabilities.players()

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
        _whole("op_code", op_code, 1, OP_CODE_MAX)
        targets = None if peers is None else peer_ids(peers)
        if type(reliable) is not bool:
            raise _refusal(TypeError, "reliable", "True or False", reliable)
        if data is not None and type(data) is not dict and type(data) is not self._data_type:
            raise _refusal(TypeError, "data", DATA, data)
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
            raise _refusal(TypeError, "data", DATA, data)
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
        self._op_code = _whole("op_code", op_code, 1, OP_CODE_MAX)
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
                raise _refusal(TypeError, "payload", expected, payload)
            if len(payload) > PAYLOAD_BYTES_MAX:
                raise ValueError(f"payload: {expected}, not {len(payload)}")
        self._payload = payload
        return self

    def set_reliable(self, reliable: bool) -> PacketBuilder:
        """True: it surely arrives, and in order; False, as it is at first: as quick as can be. Raises TypeError."""
        if type(reliable) is not bool:
            raise _refusal(TypeError, "reliable", "True or False", reliable)
        self._reliable = reliable
        return self

    def set_sender(self, peer_id: int) -> PacketBuilder:
        """As whose packet it arrives: a peer id (1 to 255), or 0, as it is at first: the server's.

        Raises TypeError, ValueError."""
        self._sender = _whole("peer_id", peer_id, 0, PEERS_MAX)
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


class Logger:
    """The script's log. A value that is no text is written as print would; long ones are cut, floods thinned out."""

    __slots__ = ("_capabilities",)

    def __init__(self, capabilities: Common) -> None:
        self._capabilities = capabilities

    def __repr__(self) -> str:
        return "<logger>"

    def debug(self, value: object) -> None:
        """Writes VALUE for whoever looks for a mistake."""
        self._write("debug", value)

    def info(self, value: object) -> None:
        """Writes VALUE as something that is meant to happen."""
        self._write("info", value)

    def warn(self, value: object) -> None:
        """Writes VALUE as something that somebody may want to know."""
        self._write("warn", value)

    def error(self, value: object) -> None:
        """Writes VALUE as something that somebody has to put right."""
        self._write("error", value)

    def _write(self, level: str, value: object) -> None:
        self._capabilities.log(level, value if type(value) is str else self._capabilities.text(value))


def make_print(capabilities: Common) -> Callable[..., None]:
    """The `print` of a script: a line of level info in its log."""

    def print(*values: object, sep: str = " ", end: str = "\n", file: None = None) -> None:
        """Writes the values to the script's log, with SEP (at most 100 characters) between them.

        Raises TypeError for any END or FILE but the usual ones, for a log has lines and nothing else."""
        checked_text("sep", sep, SEPARATOR_CHARACTERS_MAX)
        if file is not None or type(end) is not str or end != "\n":
            raise TypeError("print: it writes lines to the log; file= and end= are not available")
        capabilities.charge(len(values) // ELEMENTS_PER_TICK)
        parts: list[str] = []
        room = PRINT_CHARACTERS_MAX
        for value in values:
            part = value if type(value) is str else capabilities.text(value)
            parts.append(part[: room + 1])  # one more than there is room for, so that it shows as cut
            room -= len(part) + len(sep)
            if room < 0:
                break
        capabilities.log("info", sep.join(parts))

    print.__qualname__ = "print"
    return print


class Random:
    """Random numbers, the same again whenever the session is replayed: `session.random`."""

    __slots__ = ("_bits", "_capabilities", "_unit")

    def __init__(self, capabilities: Common) -> None:
        # The generator behind random.Random: that module would bring half a megabyte, during a callback that is
        # charged for it; and its choices from the generator's bits are another version's to change.
        from _random import Random as Generator

        generator = Generator(capabilities.seed)
        self._capabilities = capabilities
        self._unit = generator.random
        self._bits = generator.getrandbits

    def __repr__(self) -> str:
        return "<random>"

    def random(self) -> float:
        """A number from 0 up to, not including, 1."""
        return self._unit()

    def randint(self, a: int, b: int) -> int:
        """A whole number from A to B, both included. Raises TypeError, ValueError (none between, beyond 64 bits)."""
        _whole("a", a, -RANDOM_INT_MAX, RANDOM_INT_MAX)
        _whole("b", b, a, RANDOM_INT_MAX)
        return a + self._below(b - a + 1)

    def uniform(self, a: float, b: float) -> float:
        """A number between A and B. Raises TypeError, ValueError."""
        first, last = _real("a", a), _real("b", b)
        return first + (last - first) * self._unit()

    def choice(self, sequence: Any) -> Any:
        """One element of a list, tuple, range or text. Raises TypeError, ValueError (there is none in it)."""
        if type(sequence) not in (list, tuple, range, str):
            raise _refusal(TypeError, "sequence", "a list, tuple, range or text", sequence)
        if not sequence:
            raise ValueError("sequence: there is nothing in it to choose from")
        return sequence[self._below(len(sequence))]

    def shuffle(self, elements: list[Any]) -> None:
        """Brings a list (of at most 20000 elements) into a random order, in place. Raises TypeError, ValueError."""
        if type(elements) is not list:
            raise _refusal(TypeError, "elements", "a list", elements)
        self._charge(len(elements))
        for last in range(len(elements) - 1, 0, -1):
            chosen = self._below(last + 1)
            elements[last], elements[chosen] = elements[chosen], elements[last]

    def sample(self, elements: Any, count: int) -> list[Any]:
        """COUNT different elements of a list or tuple (of at most 20000), in random order, as a new list.

        Raises TypeError, ValueError (there are fewer)."""
        if type(elements) is not list and type(elements) is not tuple:
            raise _refusal(TypeError, "elements", "a list or tuple", elements)
        _whole("count", count, 0, len(elements))
        self._charge(len(elements))
        pool = list(elements)
        for place in range(count):
            chosen = place + self._below(len(pool) - place)
            pool[place], pool[chosen] = pool[chosen], pool[place]
        del pool[count:]
        return pool

    def gauss(self, mu: float, sigma: float) -> float:
        """A number of the normal distribution around MU with the standard deviation SIGMA (not below 0).

        Raises TypeError, ValueError."""
        middle, deviation = _real("mu", mu), _real("sigma", sigma)
        if deviation < 0:
            raise _refusal(ValueError, "sigma", "a number not below 0", sigma)
        distance = sqrt(-2.0 * log(1.0 - self._unit()))
        return middle + deviation * distance * cos(2.0 * pi * self._unit())

    def _below(self, bound: int) -> int:
        """A whole number from 0 up to, not including, BOUND; each as likely as any other."""
        width = (bound - 1).bit_length()
        if width == 0:
            return 0
        number = self._bits(width)
        while number >= bound:
            number = self._bits(width)
        return number

    def _charge(self, elements: int) -> None:
        if elements > RANDOM_ELEMENTS_MAX:
            raise ValueError(f"elements: at most {RANDOM_ELEMENTS_MAX}, not {elements}")
        self._capabilities.charge(elements // 4)  # a dearer step than just walking past


class Requests:
    """Requests to the backend: `session.new_request().create_account_details_request()` gives one to fill and send."""

    __slots__ = ("_asker",)

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def __repr__(self) -> str:
        return "<requests>"

    def create_registration_request(self) -> Request:
        """Registers a player: display_name, user_name, password, segments."""
        return Request(self._asker, "RegistrationRequest")

    def create_authentication_request(self) -> Request:
        """Logs a player in: user_name, password."""
        return Request(self._asker, "AuthenticationRequest")

    def create_device_authentication_request(self) -> Request:
        """Logs a device in: device_id, device_os, device_model, device_name, device_type, display_name,
        operating_system, segments."""
        return Request(self._asker, "DeviceAuthenticationRequest")

    def create_end_session_request(self) -> Request:
        """Logs the player out."""
        return Request(self._asker, "EndSessionRequest")

    def create_account_details_request(self) -> Request:
        """Asks for the player's account."""
        return Request(self._asker, "AccountDetailsRequest")

    def create_change_user_details_request(self) -> Request:
        """Changes the account: display_name, user_name, new_password, old_password, language."""
        return Request(self._asker, "ChangeUserDetailsRequest")

    def create_matchmaking_request(self) -> Request:
        """Looks for a match, or no longer: match_short_code, skill, match_group, match_data, participant_data,
        custom_query, action ("cancel")."""
        return Request(self._asker, "MatchmakingRequest")

    def create_find_pending_matches_request(self) -> Request:
        """Asks which matches wait for players: match_short_code, match_group, max_matches_to_find."""
        return Request(self._asker, "FindPendingMatchesRequest")

    def create_join_pending_match_request(self) -> Request:
        """Joins a match that waits for players: match_short_code, pending_match_id, match_group."""
        return Request(self._asker, "JoinPendingMatchRequest")

    def create_match_details_request(self) -> Request:
        """Asks about a match: match_id, realtime_enabled."""
        return Request(self._asker, "MatchDetailsRequest")

    def create_log_event_request(self) -> Request:
        """Reports an event: event_key, and the event's own attributes."""
        return Request(self._asker, "LogEventRequest")

    def create_leaderboard_data_request(self) -> Request:
        """Asks for a leaderboard: leaderboard_short_code, entry_count, offset, include_first,
        include_last, social."""
        return Request(self._asker, "LeaderboardDataRequest")

    def create_around_me_leaderboard_request(self) -> Request:
        """Asks for a leaderboard around the player: leaderboard_short_code, entry_count,
        include_first, include_last, social."""
        return Request(self._asker, "AroundMeLeaderboardRequest")

    def create_list_achievements_request(self) -> Request:
        """Asks for the achievements and which the player has."""
        return Request(self._asker, "ListAchievementsRequest")

    def create_list_message_request(self) -> Request:
        """Asks for the player's messages: entry_count, offset, include."""
        return Request(self._asker, "ListMessageRequest")

    def create_dismiss_message_request(self) -> Request:
        """Removes one of the player's messages: message_id."""
        return Request(self._asker, "DismissMessageRequest")

    def create_list_virtual_goods_request(self) -> Request:
        """Asks for the game's virtual goods, and what they cost."""
        return Request(self._asker, "ListVirtualGoodsRequest")

    def create_buy_virtual_goods_request(self) -> Request:
        """Buys a virtual good with the player's currency: short_code, quantity,
        currency_short_code or currency_type."""
        return Request(self._asker, "BuyVirtualGoodsRequest")

    def create_consume_virtual_good_request(self) -> Request:
        """Uses up some of the player's virtual goods: short_code, quantity."""
        return Request(self._asker, "ConsumeVirtualGoodRequest")

    def create_change_currency_request(self) -> Request:
        """Gives the player currency, or takes it: currency_short_code, amount (below 0: takes),
        reason. For scripts only."""
        return Request(self._asker, "ChangeCurrencyRequest")

    def create_grant_good_request(self) -> Request:
        """Gives the player a virtual good: short_code, quantity, reason. For scripts only."""
        return Request(self._asker, "GrantGoodRequest")

    def create_award_achievement_request(self) -> Request:
        """Gives the player an achievement: short_code. For scripts only."""
        return Request(self._asker, "AwardAchievementRequest")

    def create_send_message_request(self) -> Request:
        """Sends the player a ScriptMessage, which waits until the player is online: ext_code, data,
        title, sub_title, summary, keep. For scripts only."""
        return Request(self._asker, "SendMessageRequest")

    def create_submit_score_request(self) -> Request:
        """Enters a score of the player's: leaderboard_short_code, score, attributes. For scripts
        only."""
        return Request(self._asker, "SubmitScoreRequest")

    def create_document_get_request(self) -> Request:
        """Reads a document of the player's, or of the game's (no player, or game): collection, id,
        game. For scripts only."""
        return Request(self._asker, "DocumentGetRequest")

    def create_document_set_request(self) -> Request:
        """Writes a document of the player's, or of the game's (no player, or game): collection, id,
        document, version, game. For scripts only."""
        return Request(self._asker, "DocumentSetRequest")

    def create_document_remove_request(self) -> Request:
        """Removes a document of the player's, or of the game's (no player, or game): collection, id,
        version, game. For scripts only."""
        return Request(self._asker, "DocumentRemoveRequest")

    def create_document_find_request(self) -> Request:
        """Finds documents of the player's, or of the game's (no player, or game): collection,
        conditions, limit, after, game. For scripts only."""
        return Request(self._asker, "DocumentFindRequest")


class Request:
    """A request to the backend, filled step by step; each step gives back the request.

    Every field has its setter: `set_display_name("Anna")` sets displayName. A name in capitals is taken as it is, as
    attributes of events are called: `set_SCORE(5)` sets SCORE. A value is a text, number, bool or None, or a list or a
    dict (its keys texts) of such, 500 in all; a request has at most 64 fields."""

    __slots__ = ("_asker", "_fields", "_name", "_player_id")

    def __init__(self, asker: Asker, name: str) -> None:
        self._asker = asker
        self._name = name
        self._player_id: str | None = None
        self._fields: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"<{self._name}>"

    def set_player_id(self, player_id: str | None) -> Request:
        """On whose behalf it is sent: a player's id, such as player.player_id; None, as it is at first: nobody's, for
        documents of the game. Raises TypeError, ValueError."""
        if player_id is not None:
            checked_text("player_id", player_id, PLAYER_ID_CHARACTERS_MAX)
        self._player_id = player_id
        return self

    def send(self, callback: Callable[[Response], object] | None = None) -> None:
        """Sends it; `callback(response)` is called with the answer, in a later turn. Nothing waits meanwhile.

        Raises TypeError, QuotaError (too many requests)."""
        function = None if callback is None else self._asker._own(callback)
        self._asker._capabilities.request(self._name, self._player_id, self._fields.copy(), function)

    def __getattr__(self, name: str) -> Callable[[object], Request]:
        field = field_of(name)
        if field is None:
            raise AttributeError(
                "a request has set_player_id(id), set_NAME(value) for each of its fields, and send(callback); "
                f"there is no {name[:SHOWN_CHARACTERS_MAX]!r}"
            )

        def set_field(value: object) -> Request:
            if field not in self._fields and len(self._fields) >= FIELDS_MAX:
                raise ValueError(f"{field}: a request has at most {FIELDS_MAX} fields")
            copier = ValueCopier(field)
            copied = copier.copy(value, VALUE_DEPTH_MAX)
            self._asker._capabilities.charge(copier.nodes // ELEMENTS_PER_TICK)
            self._fields[field] = copied
            return self

        return set_field


class Response:
    """The answer to a request: `response["displayName"]` (KeyError where there is none), `response.get("displayName")`,
    `"displayName" in response`."""

    __slots__ = ("_errors", "_fields")

    def __init__(self, fields: dict[str, object]) -> None:
        """FIELDS: the answer as it came, with its errors (a dict of field to code) under "error"."""
        errors = fields.get("error")
        self._fields = fields
        self._errors: dict[str, object] = errors if type(errors) is dict else {}

    def __repr__(self) -> str:
        return "<response>"

    def get(self, name: str, default: object = None) -> Any:
        """The value of a field, or DEFAULT where the answer has none of this NAME. Raises TypeError."""
        return self._fields.get(exact_text("name", name), default)

    def __getitem__(self, name: str) -> Any:
        return self._fields[exact_text("name", name)]

    def __contains__(self, name: str) -> bool:
        return exact_text("name", name) in self._fields

    def has_errors(self) -> bool:
        """Whether the request failed."""
        return bool(self._errors)

    def get_errors(self) -> dict[str, object]:
        """What was wrong: a dict of field to error; an empty one where nothing was."""
        return self._errors


class ValueCopier:
    """Copies the value of a request's field, so that what the script does to it later changes nothing."""

    __slots__ = ("characters", "field", "nodes")

    def __init__(self, field: str) -> None:
        self.field = field
        self.nodes = 0
        self.characters = 0

    def copy(self, value: object, depth: int) -> object:
        """A copy of VALUE, at most DEPTH deep. Raises TypeError, ValueError."""
        self.nodes += 1
        if self.nodes > VALUE_NODES_MAX:
            raise ValueError(f"{self.field}: at most {VALUE_NODES_MAX} values in all")
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value)
        if kind is int:
            return _whole(self.field, value, -RANDOM_INT_MAX, RANDOM_INT_MAX)
        if kind is float:
            return _real(self.field, value)
        if kind is not list and kind is not tuple and kind is not dict:
            raise _refusal(TypeError, self.field, "a text, number, bool, None, list or dict", value)
        if depth == 0:
            raise ValueError(f"{self.field}: at most {VALUE_DEPTH_MAX} lists and dicts inside one another")
        if type(value) is dict:
            return {self._key(key): self.copy(each, depth - 1) for key, each in value.items()}
        return [self.copy(each, depth - 1) for each in value]  # type: ignore[attr-defined]

    def _key(self, key: object) -> str:
        if type(key) is not str:
            raise _refusal(TypeError, self.field, "a dict whose keys are texts", key)
        return self._text(key)

    def _text(self, text: Any) -> str:
        self.characters += len(text)
        if self.characters > VALUE_CHARACTERS_MAX:
            raise ValueError(f"{self.field}: at most {VALUE_CHARACTERS_MAX} characters in all")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{self.field}: a text with half of a surrogate pair is no text elsewhere") from None
        return str(text)


def field_of(name: str) -> str | None:
    """The field that a setter NAME sets, or None: set_display_name: displayName; set_SCORE: SCORE."""
    words = name[4:]
    if (
        not name.startswith("set_")
        or len(words) > FIELD_NAME_CHARACTERS_MAX
        or not words.isascii()
        or not words.isidentifier()
        or words.startswith("_")
        or words.endswith("_")
        or "__" in words
    ):
        return None
    if words.isupper():
        return words
    if not words.islower():
        return None
    first, *others = words.split("_")
    return IRREGULAR_FIELDS.get(words, first + "".join(word.capitalize() for word in others))


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is int and least <= value <= most:
        return value
    kind = ValueError if type(value) is int else TypeError
    raise _refusal(kind, name, f"a whole number from {least} to {most}", value)


def _real(name: str, value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise _refusal(TypeError, name, "a number", value)
    if not -REAL_MAX <= value <= REAL_MAX:  # NaN is not between either
        raise _refusal(ValueError, name, f"a number between -{REAL_MAX:g} and {REAL_MAX:g}", value)
    return float(value)


def _milliseconds(ms: Any) -> float:
    expected = f"milliseconds, a number from 0 to {TIMER_MS_MAX}"
    if type(ms) is not float and type(ms) is not int:
        raise _refusal(TypeError, "ms", expected, ms)
    if not 0 <= ms <= TIMER_MS_MAX:
        raise _refusal(ValueError, "ms", expected, ms)
    return float(ms)


def peer_ids(value: Any) -> tuple[int, ...]:
    """The distinct ids that VALUE names: a peer id, a Player, or a list or tuple of them. TypeError, ValueError."""
    kind = type(value)
    if kind is int or kind is Player:
        value = (value,)
    elif kind is not list and kind is not tuple:
        raise _refusal(TypeError, "peers", "a peer id, a Player, a list or tuple of them, or None", value)
    if len(value) > PEERS_MAX:
        raise ValueError(f"peers: at most {PEERS_MAX}, not {len(value)}")
    # The test of _whole is here once more because a call for each peer would be most of what sending costs.
    ids = [each if type(each) is int and 0 < each <= PEERS_MAX else _peer_id(each) for each in value]
    return tuple(dict.fromkeys(ids))


def _peer_id(value: Any) -> int:
    return value._peer_id if type(value) is Player else _whole("peers", value, 1, PEERS_MAX)


def checked_text(name: str, value: Any, characters_max: int) -> str:
    expected = f"a text of at most {characters_max} characters"
    if type(value) is not str:
        raise _refusal(TypeError, name, expected, value)
    if len(value) > characters_max:
        raise ValueError(f"{name}: {expected}, not {len(value)}")
    return value


def exact_text(name: str, value: Any) -> str:
    if type(value) is not str:
        raise _refusal(TypeError, name, "a text", value)
    return value


def _refusal(kind: type[Exception], name: str, expected: str, value: object) -> Exception:
    return kind(f"{name}: {expected}, not {_shown(value)}")


def _shown(value: object) -> str:
    """VALUE as a message can show it: short, and without running anything of a script's."""
    if value is None or type(value) is bool or type(value) is float:
        return repr(value)
    if type(value) is int:
        return repr(value) if value.bit_length() <= 64 else f"a number of {value.bit_length()} bits"
    if type(value) is str:
        return repr(value if len(value) <= SHOWN_CHARACTERS_MAX else value[:SHOWN_CHARACTERS_MAX] + "...")
    return f"something of type {type(value).__name__[:SHOWN_CHARACTERS_MAX]}"

"""Players' connections: the handshake's outcome, requests in, answers and messages out; who is online.

A `Connection` is one WebSocket of one device. Until it has proved that it knows the game's secret it counts among those
that are not logged in (gsrt.reception). Whoever signs in by it is online; a player may be, with several devices.
"""

from __future__ import annotations

from collections import deque

from gsrt.backend import messages, players
from gsrt.backend.desk import FAILED, TOO_MANY, refusal
from gsrt.backend.registry import response_of
from gsrt.log import error_text
from gsrt.protocol import platform
from gsrt.protocol.platform import Greeting, PlatformProtocol, Reply, Request
from gsrt.store.errors import StoreError
from gsrt.tokens import is_token
from gsrt.transports.streams import Borrowed, address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gsrt._relay import Relay, Stream
    from gsrt.backend.desk import Desk
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.store.store import Store
    from gsrt.timers import Timer, Timers

GREETING_BYTES_MAX = 8192  # of a message before the handshake: clients send some 500
# Messages of all connections that wait to be heard, and their characters. Over half of either no connection is read, so
# that TCP holds back the rest; over the whole, for some have been read already, the oldest is heard at once.
INBOX_MAX = 1024
INBOX_CHARACTERS_MAX = 4 * 1024 * 1024
# What requests that wait for their turn may weigh, in bytes of memory: those of all connections together, and what each
# may have however much the others have. Somebody who sends the largest again and again shall not use up the memory.
WAITING_WEIGHT_MAX = 16 * 1024 * 1024
# Of the memory that the server may have, neither takes more than one part in so many.
INBOX_PART = 64
WAITING_PART = 16
WAITING_WEIGHT_FREE = 16 * 1024
VALUE_WEIGHT = 72  # of an empty object in a list, the heaviest there is for its length; behind a comma or a bracket
NONCE_BYTES = 24
SESSION_ID_BYTES = 16
SILENCE_LOOKS = 4  # how often in the time that a client may be silent it is looked for who was

PREFIX = "/ws/"
MATCH_FOUND = ".MatchFoundMessage"

WRONG_PATH = "the platform is at /ws/<anything>/<api key>\n"
WRONG_KEY = "unknown API key: give the client the api_key of the game's game.toml\n"
WRONG_MODE = f"secure: {platform.SECURE_MODE}\n"

COUNTERS = (
    "platform_connections",
    "platform_refused",
    "platform_handshakes",
    "platform_messages_in",
    "platform_messages_out",
    "platform_messages_malformed",
    "platform_messages_too_many",
    "platform_silent",
    "platform_made_room",
    "platform_inbox_full",
    "www_downloads",
    "www_too_many",
    "www_slow",
)


class Connection:
    """One WebSocket by which requests come; what `stream.owner` is. `player_id`: who has signed in, or None;
    `opened`, `signed_in_at`: seconds of the loop's clock; `local_host`: our address as the client reached it."""

    __slots__ = (
        "_catching_up",
        "_connections",
        "_protocol",
        "_stream",
        "_when_drained",
        "auth_token",
        "device_id",
        "local_host",
        "name",
        "opened",
        "player_id",
        "session_id",
        "signed_in_at",
        "waiting_weight",
    )

    def __init__(self, connections: Connections, stream: Stream, protocol: PlatformProtocol, session_id: str) -> None:
        self._connections = connections
        self._stream: Stream | None = stream
        self._protocol = protocol
        self._catching_up: object = None  # the fetching of stored messages; those announced meanwhile are among them
        self._when_drained: Callable[[], None] | None = None
        self.session_id = session_id
        self.name = stream.peer_name
        self.opened = connections.clock()
        self.signed_in_at: float | None = None
        self.local_host = host_of(stream)
        self.player_id: str | None = None
        self.auth_token: str | None = None
        self.device_id: str | None = None
        self.waiting_weight = 0  # of its requests that were not answered yet

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return self._stream is not None

    @property
    def address(self) -> str:
        """Where the client is, without the port."""
        return address_of(self.name)

    @property
    def heard_at(self) -> float:
        """When the client last said something, be it a ping; seconds of the loop's clock."""
        return self._stream.heard_at if self._stream is not None else self.opened

    def send(self, message: Mapping[str, object]) -> bool:
        """Sends a message (with "@class"); False where it cannot go. What names our address names the one that this
        client reached."""
        if self.local_host and message.get("@class") == MATCH_FOUND and "host" in message:
            message = {**message, "host": self.local_host}
        return self._send_text(platform.encode(message))

    def announce(self, message: Mapping[str, object]) -> bool:
        """Sends a message that is stored. False where it cannot go, or is about to be fetched from there anyway."""
        return self._catching_up is None and self.send(message)

    def sign_in(self, player_id: str, auth_token: str | None) -> None:
        """PLAYER_ID is who asks by this connection from here on; the messages kept for that player come after the
        answer to the request that is being done."""
        if self._stream is None:
            return
        if player_id != self.player_id:
            self.sign_out()
            self._connections.is_nobodys(self, False)
            self.player_id = player_id
            self.signed_in_at = self._connections.clock()
            self._connections.presence.enter(self)
        self.auth_token = auth_token or self.auth_token
        self._fetch_messages(player_id)

    def sign_out(self) -> float:
        """Nobody asks by this connection any more; it stays open. Returns the seconds that somebody was signed in."""
        if self.player_id is None or self.signed_in_at is None:
            return 0.0
        self._connections.presence.leave(self)
        seconds = self._connections.clock() - self.signed_in_at
        self.player_id = self.auth_token = self.signed_in_at = self._catching_up = self._when_drained = None
        self._connections.is_nobodys(self, True)
        return seconds

    def close(self) -> None:
        """Says goodbye and closes."""
        stream = self._stream
        if stream is not None:
            self._forget()
            stream.close()

    # What the reception passes on

    def text(self, text: str, now: float) -> None:
        """A whole message of the client's: it is heard when its turn comes."""
        self._connections.counters["platform_messages_in"] += 1
        self._connections.take(self, text)

    def hear(self, text: str | None) -> None:
        """Does what a message asks for. None: the client has left, and all it said before was heard."""
        if text is None:
            self._forget()
            return
        event = self._protocol.receive(text)
        if type(event) is Request:
            self._ask(event, weight_of(text))
        elif type(event) is Greeting:
            self._greet(event)
        elif type(event) is Reply:
            self._reply(event)

    def lost(self, reason: str, orderly: bool, now: float) -> None:
        """The stream is closed already."""
        if self._stream is None:
            return
        if not orderly:
            self._connections.log.limited(
                "warn", "platform_lost", "connection lost", player=self.player_id, address=self.name, reason=reason
            )
            self._forget()
        elif self._connections.has_more:
            self._connections.take(self, None)
        else:
            self._forget()

    def _forget(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.owner = None
            self._connections.settled(stream)
        self.sign_out()
        self._connections.remove(self)

    # Steps

    def _greet(self, greeting: Greeting) -> None:
        self.device_id = greeting.device_id
        if greeting.auth_token is None or not is_token(greeting.auth_token):
            self._welcome(None, None)
            return
        auth_token = greeting.auth_token

        def found(player_id: object, error: BaseException | None) -> None:
            if error is None:
                self._welcome(None if player_id is None else auth_token, player_id)
            else:
                self._cannot_tell(error)

        try:
            self._connections.desk.store.submit(players.by_token, (auth_token,), found)
        except StoreError as error:
            self._cannot_tell(error)

    def _welcome(self, auth_token: str | None, player_id: object) -> None:
        if self._stream is None:
            return
        connections = self._connections
        connections.counters["platform_handshakes"] += 1
        self._stream.start_text(connections.profile.platform_message_bytes_max)
        connections.settled(self._stream)
        if type(player_id) is not str:
            connections.is_nobodys(self, True)
            self._send_text(platform.welcome(self.session_id))
            return
        self._send_text(platform.welcome(self.session_id, auth_token, player_id))
        self.sign_in(player_id, auth_token)

    def _cannot_tell(self, error: BaseException) -> None:
        """Whose token it is cannot be found out. Closed without an answer, for one that signs nobody in would have the
        client forget its token; it comes again."""
        self._connections.log.limited(
            "error", "by_token", "nobody can be signed in by token", address=self.name, reason=str(error)
        )
        self.close()

    def _ask(self, request: Request, weight: int) -> None:
        connections = self._connections
        if not connections.has_room(self, weight):
            connections.counters["platform_messages_too_many"] += 1
            self._answer(request, refusal(TOO_MANY))
            return
        connections.weigh(self, weight)

        def answer(found: Mapping[str, object]) -> None:
            connections.weigh(self, -weight)
            self._answer(request, found)

        connections.desk.submit(request.name, request.fields, answer, connection=self)

    def _answer(self, request: Request, found: Mapping[str, object]) -> None:
        if self._stream is None:
            return
        connections = self._connections
        class_name = connections.response_class(request.name)
        try:
            text = platform.response(class_name, request.request_id, found)
        except (ValueError, TypeError, RecursionError) as error:
            connections.log.limited(
                "error",
                f"answer {request.name}",
                "an answer that JSON cannot say",
                request=request.name,
                reason=error_text(error),
            )
            text = platform.response(class_name, request.request_id, refusal(FAILED))
        self._send_text(text)

    def _reply(self, reply: Reply) -> None:
        connections = self._connections
        connections.counters["platform_messages_malformed"] += 1
        connections.log.limited(
            "warn", "platform_message", "message refused", address=self.name, reason=reply.reason, closed=reply.final
        )
        self._send_text(reply.text)
        if reply.final:
            self.close()

    def _fetch_messages(self, player_id: str) -> None:
        """Sends what is stored for the player, a page after the other as the client takes them. What is announced
        meanwhile comes in its turn."""
        self._catching_up = object()
        self._fetch_page(player_id, 0)

    def _fetch_page(self, player_id: str, after: int) -> None:
        connections, fetching = self._connections, self._catching_up

        def found(page: Any, error: BaseException | None) -> None:
            if self._catching_up is not fetching:  # somebody has signed in or out since
                return
            if error is not None:
                self._no_messages(error)
                return
            waiting, following = page
            connections.presence.note_delivered(player_id, [each["messageId"] for each in waiting if self.send(each)])
            if following is None or self._stream is None:
                self._catching_up = None
            else:
                self._when_drained = lambda: self._fetch_page(player_id, following)
                self._stream.await_drained()

        try:
            connections.desk.store.submit(messages.waiting, (player_id, after), found)
        except StoreError as error:
            self._no_messages(error)

    def drained(self, now: float) -> None:
        """All that was written to the stream has gone out."""
        go_on, self._when_drained = self._when_drained, None
        if go_on is not None:
            go_on()

    def _no_messages(self, error: BaseException) -> None:
        self._catching_up = None
        self._connections.log.limited(
            "error", "stored messages", "stored messages cannot be sent", player=self.player_id, reason=str(error)
        )

    def _send_text(self, text: bytes) -> bool:
        if self._stream is None or not self._stream.send_text(text):
            return False
        self._connections.counters["platform_messages_out"] += 1
        return True


class Presence:
    """Who is online: players and their connections.

    `went_online`, `went_offline`, `went_away` and `was_deleted` are lists of callbacks(player_id); away is who has had
    no connection for the profile's `away_seconds`."""

    def __init__(self, store: Store, timers: Timers, clock: Callable[[], float], profile: Profile, log: Log) -> None:
        self.went_online: list[Callable[[str], object]] = []
        self.went_offline: list[Callable[[str], object]] = []
        self.went_away: list[Callable[[str], object]] = []
        self.was_deleted: list[Callable[[str], object]] = []
        self.gave_way = 0
        self._store = store
        self._timers = timers
        self._clock = clock
        self._profile = profile
        self._log = log
        self._present: dict[str, list[Connection]] = {}  # oldest first; never an empty list
        self._missed: dict[str, Timer] = {}  # who is offline, and not away yet

    @property
    def players(self) -> int:
        """How many are online."""
        return len(self._present)

    def online(self, player_id: str) -> bool:
        """Whether that player has a connection."""
        return player_id in self._present

    def connections(self, player_id: str) -> tuple[Connection, ...]:
        """That player's, oldest first."""
        return tuple(self._present.get(player_id, ()))

    def local_host(self, player_id: str) -> str | None:
        """Our address as that player's newest connection reached it; None: offline."""
        there = self._present.get(player_id)
        return there[-1].local_host if there else None

    def send(self, player_id: str, message: Mapping[str, object]) -> bool:
        """Sends a message to all of that player's connections; False where none could take it."""
        return sum([each.send(message) for each in self.connections(player_id)]) > 0

    def announce(self, player_id: str, message: Mapping[str, object]) -> None:
        """The same for a message that is stored; who is offline gets it with the next sign-in."""
        if sum([each.announce(message) for each in self.connections(player_id)]) > 0:
            self.note_delivered(player_id, [message["messageId"]])

    def note_delivered(self, player_id: str, message_ids: list[object]) -> None:
        """Has the store know that these messages have gone out. Where it cannot be noted they come again."""
        if not message_ids:
            return
        try:
            self._store.submit(messages.delivered, (player_id, message_ids), self._noted)
        except StoreError as error:
            self._noted(None, error)

    def _noted(self, _: object, error: BaseException | None) -> None:
        if error is not None:
            self._log.limited("error", "delivered", "messages will be sent again", reason=str(error))

    def expect(self, player_id: str) -> None:
        """A player who was there before a restart: away, if not online within the profile's time."""
        if player_id not in self._present and player_id not in self._missed:
            self._miss(player_id)

    def disconnect(self, player_id: str, reason: str) -> None:
        """Closes all of that player's connections."""
        for each in self.connections(player_id):
            self._log.info("player disconnected", player=player_id, address=each.name, reason=reason)
            each.close()

    def deleted(self, player_id: str) -> None:
        """The operator has deleted that player."""
        self.disconnect(player_id, "deleted by the operator")
        self._tell(self.was_deleted, player_id)

    def enter(self, connection: Connection) -> None:
        """Somebody has signed in by it. The oldest of too many connections of one player gives way."""
        player_id = connection.player_id
        assert player_id is not None
        there = self._present.get(player_id)
        if there is None:
            self._present[player_id] = [connection]
            self._timers.cancel(self._missed.pop(player_id, None))
            self._tell(self.went_online, player_id)
            return
        there.append(connection)
        if len(there) > self._profile.platform_devices_max:
            self.gave_way += 1
            self._log.limited(
                "warn",
                "devices",
                "connection gave way: its player has too many",
                player=player_id,
                platform_devices_max=self._profile.platform_devices_max,
            )
            there[0].close()

    def leave(self, connection: Connection) -> None:
        """Nobody is signed in by it any more."""
        player_id = connection.player_id
        assert player_id is not None
        there = self._present.get(player_id, [])
        if connection in there:
            there.remove(connection)
            if not there:
                del self._present[player_id]
                self._miss(player_id)
                self._tell(self.went_offline, player_id)

    def _miss(self, player_id: str) -> None:
        def away(now: float) -> None:
            del self._missed[player_id]
            self._tell(self.went_away, player_id)

        self._missed[player_id] = self._timers.set(self._clock() + self._profile.away_seconds, away)

    def _tell(self, callbacks: list[Callable[[str], object]], player_id: str) -> None:
        for callback in callbacks:
            try:
                callback(player_id)
            except Exception as error:  # the next one is to hear of it all the same
                self._log.limited("error", "presence", "news of a player was not taken", reason=error_text(error))


class Connections:
    """All connections of the platform. `settled(stream)` is called when one does not wait for its handshake any more:
    it is done, or the connection was closed."""

    def __init__(
        self,
        desk: Desk,
        presence: Presence,
        *,
        clock: Callable[[], float],
        timers: Timers,
        entropy: Callable[[int], bytes],
        log: Log,
    ) -> None:
        self.desk = desk
        self.presence = presence
        self.clock = clock
        self.log = log
        self.profile = desk.profile
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.settled: Callable[[Stream], object] = lambda stream: None  # until there is someone to be told
        self._api_key = desk.game.api_key  # the first game's: a changed one is for the next start
        self._secret = desk.game.secret
        self._entropy = entropy
        self.timers = timers
        self._all: dict[Connection, None] = {}
        self._nobodys: dict[Connection, None] = {}  # by which nobody has signed in (yet), the oldest of them first
        self._inbox: deque[tuple[Connection, str | None]] = deque()  # messages that nobody has heard yet
        self._inbox_characters = 0
        self._inbox_part = self.profile.memory_bytes_max // INBOX_PART
        self._waiting_part = self.profile.memory_bytes_max // WAITING_PART
        self._relay: Relay | None = None  # from the first connection on
        self._waiting_weight = 0  # of requests that were not answered yet
        self._look: Timer | None = None

    def __len__(self) -> int:
        return len(self._all)

    def counts(self) -> dict[str, int]:
        """All counters by name."""
        return {**self.counters, "platform_gave_way": self.presence.gave_way}

    def why_not(self, target: str) -> str | None:
        """Why the WebSocket that a request for TARGET asks for is refused, in a text for the client's developer; None:
        it is right. TARGET begins with PREFIX."""
        parts = target.partition("?")[0].strip("/").split("/")
        if parts[1:2] == ["secure"]:
            reason = WRONG_MODE
        elif len(parts) != 3:
            reason = WRONG_PATH
        elif parts[2] != self._api_key:
            reason = WRONG_KEY
        else:
            return None
        self.counters["platform_refused"] += 1
        return reason

    def open(self, stream: Stream) -> Connection:
        """The WebSocket is open: its connection begins with the nonce."""
        self.counters["platform_connections"] += 1
        self._relay = stream.relay
        protocol = PlatformProtocol(self._secret, self._entropy(NONCE_BYTES).hex())
        connection = Connection(self, stream, protocol, self._entropy(SESSION_ID_BYTES).hex())
        stream.owner = connection
        stream.start_text(min(GREETING_BYTES_MAX, self.profile.platform_message_bytes_max))
        stream.send_text(protocol.challenge())
        self._all[connection] = None
        self._watch()
        return connection

    @property
    def has_more(self) -> bool:
        """Whether messages wait to be heard."""
        return bool(self._inbox)

    def take(self, connection: Connection, text: str | None) -> None:
        """A message, or a client's end (None), that waits for its turn: hundreds that come at once shall not keep the
        loop from its packets."""
        self._inbox.append((connection, text))
        self._inbox_characters += len(text or "")
        while len(self._inbox) > INBOX_MAX or self._inbox_characters > self._inbox_characters_max:
            self._hear_one()
        self._hold_back()

    def work(self, enough: Callable[[], bool]) -> None:
        """Hears the messages that wait, in the order in which they came, until `enough()`."""
        while self._inbox:
            self._hear_one()
            if enough():
                break
        self._hold_back()

    @property
    def _inbox_characters_max(self) -> int:
        return min(INBOX_CHARACTERS_MAX, self._inbox_part)

    def _hold_back(self) -> None:
        """Has connections read, or not read where enough of what they say waits already."""
        if self._relay is None:
            return
        full = len(self._inbox) * 2 > INBOX_MAX or self._inbox_characters * 2 > self._inbox_characters_max
        if full and not self._relay.texts_held:
            self.counters["platform_inbox_full"] += 1
        self._relay.texts_held = full

    def _hear_one(self) -> None:
        connection, text = self._inbox.popleft()
        self._inbox_characters -= len(text or "")
        if not connection.is_open:
            return
        try:
            connection.hear(text)
        except Exception as error:
            self.log.limited(
                "error",
                "platform_failed",
                "connection closed",
                address=connection.name,
                reason=error_text(error),
            )
            connection.close()

    def has_room(self, connection: Connection, weight: int) -> bool:
        """Whether a request of that WEIGHT may wait for its turn."""
        return (
            connection.waiting_weight + weight <= WAITING_WEIGHT_FREE
            or self._waiting_weight + weight <= min(WAITING_WEIGHT_MAX, self._waiting_part)
        )

    def weigh(self, connection: Connection, weight: int) -> None:
        """A request of that WEIGHT waits, or (below zero) does not any more."""
        connection.waiting_weight += weight
        self._waiting_weight += weight

    @property
    def nobodys(self) -> int:
        """Connections whose handshake is done, and by which nobody has signed in."""
        return len(self._nobodys)

    def is_nobodys(self, connection: Connection, whether: bool) -> None:
        """Whether it counts among those from now on."""
        if whether:
            self._nobodys[connection] = None
        else:
            self._nobodys.pop(connection, None)

    def make_room(self) -> None:
        """No place is left: the one of those that has been so for longest gives way, for every client has the secret.
        Who is at a sign-in form meanwhile is soon connected again."""
        connection = next(iter(self._nobodys))
        self.counters["platform_made_room"] += 1
        self.log.limited(
            "warn", "made_room", "connection gave way: nobody has signed in by it", address=connection.name
        )
        connection.close()

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self._all.pop(connection, None)
        self._nobodys.pop(connection, None)

    def close(self) -> None:
        """Says goodbye to everybody."""
        for connection in list(self._all):
            connection.close()
        self.timers.cancel(self._look)
        self._look = None

    def response_class(self, name: str) -> str:
        """The "@class" of the answer to request NAME, be there such a request or not."""
        try:
            request = self.desk.registry.find(name)
        except Exception:  # its file cannot be loaded, as the desk has said already
            request = None
        return platform.response_class(name) if request is None else response_of(request)

    def _watch(self) -> None:
        if self._look is None and self._all:
            self._look = self.timers.set(
                self.clock() + self.profile.platform_silence_seconds / SILENCE_LOOKS, self._end_silent
            )

    def _end_silent(self, now: float) -> None:
        """Closes the connections of clients that have said nothing for too long."""
        self._look = None
        silent_since = now - self.profile.platform_silence_seconds
        for connection in [each for each in self._all if each.heard_at <= silent_since]:
            self.counters["platform_silent"] += 1
            self.log.limited("warn", "silent", "connection closed: its client is silent", address=connection.name)
            connection.close()
        self._watch()


def weight_of(text: str) -> int:
    """What the request in a TEXT takes of memory while it waits, in bytes: not more than that, by and large."""
    return len(text) + VALUE_WEIGHT * (text.count(",") + text.count("[") + text.count("{"))


def host_of(stream: Stream) -> str:
    """Our own address of a connection, an IPv4 one in its own form; "" where that cannot be found out."""
    try:
        with Borrowed(stream.fd) as ours:
            name = ours.getsockname()
    except OSError:  # the other side has reset it
        return ""
    return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else ""

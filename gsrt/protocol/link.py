"""The handshake of the gsrt link, both sides, without I/O: docs/LINK.md, sections 1 and 3.

A client makes a `ClientHandshake`, sends what it asks for and tells it what comes and when a timer is due, until it has
an `outcome`. A server has one `Door` for all comers: it keeps nothing of a stranger, and gives an `Entry` only for who
has proved a token. Times are seconds of a monotonic clock (float). `entropy(n)` gives n random bytes fit for secrets
(os.urandom in a driver). libsodium is loaded with the first of either, not with this module.
"""

from __future__ import annotations

# What hmac.compare_digest is in CPython; hmac itself loads OpenSSL (3.7 MB).
from _operator import _compare_digest as same_digest
from enum import IntEnum

from gsrt.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gsrt._link import Cipher
    from gsrt.protocol.noise import Initiator, Responder

VERSION = 1  # the only one, so the lowest and the highest

HELLO = 1
COOKIE = 2
LOGIN = 3
WELCOME = 4
REFUSED = 5
DATA = 6

HELLO_BYTES = 64
COOKIE_BYTES = 44
LOGIN_BYTES = 108
WELCOME_BYTES = 84
REFUSED_BYTES = 24

SUITE_INSECURE = 0
SUITE_CHACHA20_POLY1305 = 1

REFUSED_VERSION = 1
REFUSED_SUITE = 2
REFUSED_COOKIE = 3
REFUSED_TOKEN = 4
REFUSED_FULL = 5

RECEIVE_BYTES = 393_216
RECEIVE_BYTES_LEAST = 65_536
MESSAGE_BYTES_LEAST = 1_100
MESSAGE_BYTES_MAX = 262_144

HANDSHAKE_REPEAT = 0.2  # seconds without an answer; doubles with each repetition
HANDSHAKE_SECONDS = 5.0  # for all of it
COOKIE_SECONDS = 10.0  # that a cookie is good for
GREETINGS_MAX = 3  # HELLOs with a nonce of their own: an address that changes more often has no handshake in it

NONCE_BYTES = 16
CONNECTION_BYTES = 8
KEY_BYTES = 32
_TERMS_BYTES = 8
# Where fields begin. Version, suite and nonce, which every message but REFUSED repeats, are the 18 bytes from 2 on.
_NAMED = slice(2, 20)
_NONCE = slice(4, 20)
_AFTER_NAMED = 20
_LOGIN_COOKIE = slice(20, 44)
_LOGIN_TOKEN_ID = slice(44, 52)
_PROLOGUE = slice(0, 52)
_LOGIN_EPHEMERAL = slice(52, 84)
_LOGIN_SEALED = slice(84, 108)
_WELCOME_EPHEMERAL = slice(20, 52)
_WELCOME_SEALED = slice(52, 84)
_REFUSED_ZEROS = slice(6, 8)
_REFUSED_NONCE = slice(8, 24)
_HELLO_PADDING = bytes(HELLO_BYTES - _AFTER_NAMED)
_COOKIE_TIME_BYTES = 8

_REFUSAL_COUNTERS = {
    REFUSED_VERSION: "refused_version",
    REFUSED_SUITE: "refused_suite",
    REFUSED_COOKIE: "refused_cookie",
    REFUSED_TOKEN: "refused_token",
}
_MICROSECONDS = 1_000_000
_COOKIE_MICROSECONDS = int(COOKIE_SECONDS * _MICROSECONDS)


def token_id(token: str) -> bytes:
    """What a LOGIN names an access or reconnect token by: 8 bytes. They say nothing about the token."""
    digest: bytes = sha256(b"gsrt link id" + token.encode()).digest()
    return digest[:8]


def token_psk(token: str) -> bytes:
    """The pre-shared key of the handshake, which proves the token: 32 bytes."""
    digest: bytes = sha256(b"gsrt link psk" + token.encode()).digest()
    return digest


def make_cipher(suite: int, send_key: bytes, receive_key: bytes) -> Cipher:
    """The cipher of `suite` for the DATA datagrams of one side. ValueError for a suite that we do not have."""
    if suite == SUITE_INSECURE:
        from gsrt._link import Cipher

        return Cipher()
    if suite == SUITE_CHACHA20_POLY1305:
        from gsrt._sodium import ChaCha20Poly1305

        return ChaCha20Poly1305(send_key, receive_key)
    raise ValueError(f"the link has no suite {suite}")


class Terms:
    """What one side takes, in bytes: of reliable messages before those that are missing have come, and of one message.
    ValueError for what the contract does not allow."""

    __slots__ = ("message_bytes", "receive_bytes")

    def __init__(self, receive_bytes: int = RECEIVE_BYTES, message_bytes: int = MESSAGE_BYTES_MAX) -> None:
        if not RECEIVE_BYTES_LEAST <= receive_bytes <= 0xFFFF_FFFF:
            raise ValueError(f"receive_bytes has to be {RECEIVE_BYTES_LEAST} to 4294967295, not {receive_bytes}")
        if not MESSAGE_BYTES_LEAST <= message_bytes <= MESSAGE_BYTES_MAX:
            raise ValueError(
                f"message_bytes has to be {MESSAGE_BYTES_LEAST} to {MESSAGE_BYTES_MAX}, not {message_bytes}"
            )
        self.receive_bytes = receive_bytes
        self.message_bytes = message_bytes

    def to_bytes(self) -> bytes:
        return self.receive_bytes.to_bytes(4, "little") + self.message_bytes.to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, data: bytes) -> Terms:
        """What `to_bytes` made: 8 bytes. ValueError as above."""
        return cls(int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little"))


class Established:
    """The handshake succeeded. `connection`: the connection id; the keys are of 32 bytes, the client's view."""

    __slots__ = ("connection", "peer_terms", "receive_key", "send_key", "suite")

    def __init__(self, connection: bytes, send_key: bytes, receive_key: bytes, suite: int, peer_terms: Terms) -> None:
        self.connection = connection
        self.send_key = send_key
        self.receive_key = receive_key
        self.suite = suite
        self.peer_terms = peer_terms


class Failed:
    """The handshake did not succeed. `refusal`: what the server gave as the reason, a REFUSED_...; None when it is not
    the server who has refused."""

    __slots__ = ("reason", "refusal")

    def __init__(self, reason: str, refusal: int | None) -> None:
        self.reason = reason
        self.refusal = refusal


class HandshakeState(IntEnum):
    """Where a ClientHandshake stands."""

    IDLE = 0
    GREETING = 1  # HELLO is sent
    ENTERING = 2  # LOGIN is sent
    OVER = 3  # there is an outcome


class ClientHandshake:
    """A client's attempt to open a link with an access or reconnect token. Times out by itself.

    After each call send `datagrams_to_send()`; call `handle_timer(now)` when `next_timer()` is due. Raises ValueError
    for an empty token, or a suite that there is not. Attributes for reading: `state`, `outcome`, `dropped` (datagrams
    that were no answer to what we sent).
    """

    def __init__(self, token: str, suite: int, entropy: Callable[[int], bytes], terms: Terms | None = None) -> None:
        if not token:
            raise ValueError("a link needs an access token or reconnect token")
        if suite not in (SUITE_INSECURE, SUITE_CHACHA20_POLY1305):
            raise ValueError(f"the link has no suite {suite}")
        self._token_id = token_id(token)
        self._psk = token_psk(token)
        self._suite = suite
        self._entropy = entropy
        self._terms = Terms() if terms is None else terms
        self.state = HandshakeState.IDLE
        self.outcome: Established | Failed | None = None
        self.dropped = 0
        self._greetings = 0
        self._named = b""
        self._initiator: Initiator | None = None
        self._message = b""
        self._waiting: list[bytes] = []
        self._interval = 0.0
        self._repeat_at = 0.0
        self._deadline = 0.0

    def start(self, now: float) -> None:
        """Sends the first HELLO. To be called once."""
        self._deadline = now + HANDSHAKE_SECONDS
        self._greet(now)

    def receive(self, datagram: bytes, now: float) -> None:
        """A datagram from the server's address."""
        head = datagram[:_AFTER_NAMED]
        size = len(datagram)
        if self.state is HandshakeState.GREETING and size == COOKIE_BYTES and head == self._head(COOKIE):
            self._enter(datagram[_AFTER_NAMED:], now)
        elif self.state is HandshakeState.ENTERING and size == WELCOME_BYTES and head == self._head(WELCOME):
            self._welcome(datagram)
        elif (
            self.state in (HandshakeState.GREETING, HandshakeState.ENTERING)
            and size == REFUSED_BYTES
            and datagram[0] == 0
            and datagram[1] == REFUSED
            and datagram[_REFUSED_ZEROS] == b"\0\0"
            and datagram[_REFUSED_NONCE] == self._named[2:]
        ):
            self._refused(datagram, now)
        else:
            self.dropped += 1

    def datagrams_to_send(self) -> list[bytes]:
        """Datagrams for the server; each is handed out once."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def next_timer(self) -> float | None:
        """When handle_timer is to be called next, if nothing happens before; None: no need."""
        if self.state in (HandshakeState.IDLE, HandshakeState.OVER):
            return None
        return min(self._repeat_at, self._deadline)

    def handle_timer(self, now: float) -> None:
        """Time has passed: repeats what was not answered, or gives up."""
        if self.state in (HandshakeState.IDLE, HandshakeState.OVER):
            return
        if now >= self._deadline:
            what = "the HELLO" if self.state is HandshakeState.GREETING else "the LOGIN"
            self._fail(f"the server has not answered {what} within {HANDSHAKE_SECONDS:g} seconds", None)
        elif now >= self._repeat_at:
            self._interval *= 2
            self._repeat_at = now + self._interval
            self._waiting.append(self._message)

    def _head(self, kind: int) -> bytes:
        return bytes((0, kind)) + self._named

    def _send(self, message: bytes, now: float) -> None:
        self._message = message
        self._waiting = [message]
        self._interval = HANDSHAKE_REPEAT
        self._repeat_at = now + HANDSHAKE_REPEAT

    def _greet(self, now: float) -> None:
        self._greetings += 1
        self._named = bytes((VERSION, self._suite)) + self._entropy(NONCE_BYTES)
        self._initiator = None
        self.state = HandshakeState.GREETING
        self._send(self._head(HELLO) + _HELLO_PADDING, now)

    def _enter(self, cookie: bytes, now: float) -> None:
        from gsrt.protocol.noise import Initiator

        prologue = self._head(LOGIN) + cookie + self._token_id
        self._initiator = Initiator(self._psk, prologue, self._entropy(KEY_BYTES))
        ephemeral, sealed = self._initiator.write(self._terms.to_bytes())
        self.state = HandshakeState.ENTERING
        self._send(prologue + ephemeral + sealed, now)

    def _welcome(self, datagram: bytes) -> None:
        assert self._initiator is not None
        answer = self._initiator.read(datagram[_WELCOME_EPHEMERAL], datagram[_WELCOME_SEALED])
        if answer is None:
            self.dropped += 1
            return
        payload, send_key, receive_key = answer
        try:
            terms = Terms.from_bytes(payload[CONNECTION_BYTES:])
        except ValueError as error:
            self._fail(f"the server's terms break the contract of the link: {error}", None)
            return
        self._end(Established(payload[:CONNECTION_BYTES], send_key, receive_key, self._suite, terms))

    def _refused(self, datagram: bytes, now: float) -> None:
        refusal, lowest, highest, suites = datagram[2:6]
        if refusal == REFUSED_COOKIE and self.state is HandshakeState.ENTERING and self._greetings < GREETINGS_MAX:
            self._greet(now)
        elif refusal == REFUSED_VERSION:
            self._fail(f"the server speaks versions {lowest} to {highest} of the link, we speak {VERSION}", refusal)
        elif refusal == REFUSED_SUITE:
            taken = ", ".join(str(suite) for suite in range(8) if suites >> suite & 1) or "none"
            self._fail(f"the server does not take suite {self._suite} of the link; it takes {taken}", refusal)
        elif refusal == REFUSED_COOKIE:
            self._fail("the server does not take its own cookie: is our address another with each datagram?", refusal)
        elif refusal == REFUSED_TOKEN:
            self._fail("the server does not know the token, or its session is over", refusal)
        elif refusal == REFUSED_FULL:
            self._fail("the server has as many connections as it may", refusal)
        else:
            self._fail(f"the server refused for a reason that we do not know: {refusal}", refusal)

    def _fail(self, reason: str, refusal: int | None) -> None:
        self._end(Failed(reason, refusal))

    def _end(self, outcome: Established | Failed) -> None:
        self.outcome = outcome
        self.state = HandshakeState.OVER
        self._initiator = None
        self._waiting = []


class Entry:
    """A LOGIN that has proved its token.

    Attributes: `holder` and `token`, what `find` gave; `cookie_time`, when the server made the cookie (µs of the
    door's clock, int): a later LOGIN of one client has a later one; `datagram`, the LOGIN itself; `suite`;
    `peer_terms`, the client's; `send_key` and `receive_key`, the server's view.
    """

    __slots__ = (
        "_head",
        "_responder",
        "_suites",
        "_terms",
        "_welcome",
        "cookie_time",
        "datagram",
        "holder",
        "peer_terms",
        "receive_key",
        "send_key",
        "suite",
        "token",
    )

    def __init__(
        self,
        datagram: bytes,
        cookie_time: int,
        found: tuple[str, Any],
        peer_terms: Terms,
        responder: Responder,
        agreed: tuple[bytes, bytes, bytes],
        terms: Terms,
        suites: int,
    ) -> None:
        """`agreed`: of responder.agree(); `terms`: ours; `suites`: a bit for each that the door takes."""
        self.datagram = datagram
        self.cookie_time = cookie_time
        self.token, self.holder = found
        self.suite = datagram[3]
        self.peer_terms = peer_terms
        public, self.send_key, self.receive_key = agreed
        self._head = bytes((0, WELCOME)) + datagram[_NAMED] + public
        self._responder = responder
        self._terms = terms
        self._suites = suites
        self._welcome: tuple[bytes, bytes] | None = None

    def welcome(self, connection: bytes) -> bytes:
        """The WELCOME for the connection id `connection` (8 bytes); the same however often it is asked for.

        ValueError for another length, or another id than before: one key must not encrypt two things."""
        if self._welcome is None:
            if len(connection) != CONNECTION_BYTES:
                raise ValueError(f"a connection id has {CONNECTION_BYTES} bytes, not {len(connection)}")
            sealed = self._responder.write(connection + self._terms.to_bytes())
            self._welcome = (connection, self._head + sealed)
        elif self._welcome[0] != connection:
            raise ValueError("this LOGIN was answered with another connection id already")
        return self._welcome[1]

    def refusal(self, reason: int) -> bytes:
        """The REFUSED for who has proved its token and is not let in all the same: REFUSED_FULL."""
        return _refusal(reason, self._suites, self.datagram)


class Door:
    """The server's side, where strangers knock. Keeps nothing between two datagrams but its counters.

    `entropy` gives the key of this run's cookies, and the key pairs; `insecure`: SUITE_INSECURE is taken, too;
    `terms`: ours; `cookie_key`: that of another door, whose cookies are good here, too. `counters` has, by outcome, how
    many datagrams there were: "cookies" answered with one, "entries" that proved a token, "refused_..." by reason,
    "malformed" dropped.
    """

    def __init__(
        self, entropy: Callable[[int], bytes], insecure: bool, terms: Terms, cookie_key: bytes | None = None
    ) -> None:
        from gsrt._sodium import blake2b_16

        self._entropy = entropy
        self.cookie_key = cookie_key if cookie_key and len(cookie_key) == KEY_BYTES else entropy(KEY_BYTES)
        self._cookie_digest = blake2b_16
        self._suites = 1 << SUITE_CHACHA20_POLY1305 | (1 << SUITE_INSECURE if insecure else 0)
        self._terms = terms
        self.counters = dict.fromkeys(("cookies", "entries", *_REFUSAL_COUNTERS.values(), "malformed"), 0)

    def receive(
        self, address: bytes, datagram: bytes, now: float, find: Callable[[bytes], tuple[str, Any] | None]
    ) -> bytes | Entry | None:
        """A HELLO, a LOGIN or whatever else came from `address` (any bytes that name IP address and port).

        Bytes: they go back to `address`, and are not longer than what came. An Entry: it is the caller who judges
        whether that is new (`cookie_time`), and who makes the connection. None: dropped. `find(token_id)` gives the
        token with that id and whose it is; it is asked only about a LOGIN with a good cookie."""
        size = len(datagram)
        if size == HELLO_BYTES:
            if not datagram.startswith(b"\0\x01") or not datagram.endswith(_HELLO_PADDING):
                return self._drop()
        elif size != LOGIN_BYTES or not datagram.startswith(b"\0\x03"):
            return self._drop()
        if datagram[2] != VERSION:
            return self._refuse(REFUSED_VERSION, datagram)
        if not self._suites >> datagram[3] & 1:
            return self._refuse(REFUSED_SUITE, datagram)
        time = int(now * _MICROSECONDS)
        named = datagram[_NAMED]
        if size == HELLO_BYTES:
            self.counters["cookies"] += 1
            stamp = time.to_bytes(_COOKIE_TIME_BYTES, "little")
            return b"\0\x02" + named + stamp + self._cookie_digest(self.cookie_key, stamp + named + address)
        cookie = datagram[_LOGIN_COOKIE]
        stamp = cookie[:_COOKIE_TIME_BYTES]
        cookie_time = int.from_bytes(stamp, "little")
        if not 0 <= time - cookie_time <= _COOKIE_MICROSECONDS or not same_digest(
            cookie[_COOKIE_TIME_BYTES:], self._cookie_digest(self.cookie_key, stamp + named + address)
        ):
            return self._refuse(REFUSED_COOKIE, datagram)
        return self._prove(datagram, cookie_time, find(datagram[_LOGIN_TOKEN_ID]))

    def _prove(self, datagram: bytes, cookie_time: int, found: tuple[str, Any] | None) -> bytes | Entry | None:
        from gsrt.protocol.noise import Responder

        if found is None:
            return self._refuse(REFUSED_TOKEN, datagram)
        responder = Responder(token_psk(found[0]), datagram[_PROLOGUE])
        payload = responder.read(datagram[_LOGIN_EPHEMERAL], datagram[_LOGIN_SEALED])
        if payload is None:
            return self._refuse(REFUSED_TOKEN, datagram)
        try:
            peer_terms = Terms.from_bytes(payload)
        except ValueError:
            return self._drop()
        agreed = responder.agree(self._entropy(KEY_BYTES))
        if agreed is None:
            return self._drop()
        self.counters["entries"] += 1
        return Entry(datagram, cookie_time, found, peer_terms, responder, agreed, self._terms, self._suites)

    def _drop(self) -> bytes | None:
        self.counters["malformed"] += 1
        return None

    def _refuse(self, reason: int, datagram: bytes) -> bytes:
        self.counters[_REFUSAL_COUNTERS[reason]] += 1
        return _refusal(reason, self._suites, datagram)


def _refusal(reason: int, suites: int, datagram: bytes) -> bytes:
    """The REFUSED for the HELLO or LOGIN `datagram`."""
    return bytes((0, REFUSED, reason, VERSION, VERSION, suites, 0, 0)) + datagram[_NONCE]

"""How each SDK reads what it receives, weaknesses included.

One reader serves all SDKs; a `Dialect` says where they differ. The reader is a generator that yields whenever the real
client would block in recv(), because for C++ it matters which recv() the bytes came from. What a client does not
survive is raised as a `Fate`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NoReturn

INT_MIN = -(2**31)
MAX_SLOT = 127
SKIP_BUFFER = 256  # C# and JS skip a stale payload through a buffer of this many bytes, and only once


class Fate(Exception):
    """What became of a client that met bytes it cannot bear. str() says why."""

    word = "met its fate"


class Killed(Fate):
    """The connection is torn down."""

    word = "killed"


class Threw(Fate):
    """An exception left the receive or update call; the rest of that message is lost, the client goes on."""

    word = "threw"


class Hung(Fate):
    """The client loops for ever; nothing of it is ever heard again."""

    word = "hung"


class RestLost(Fate):
    """The rest of a datagram is silently lost."""

    word = "lost"


@dataclass(frozen=True)
class Dialect:
    """Where the SDKs differ in reading. `failure` is what malformed bytes cause."""

    name: str
    failure: type[Fate]
    unknown_field: type[Fate] | None  # length-delimited or fixed-size fields; None: skipped
    packed_peers: type[Fate] | None  # None: the list is lost without a word
    stale_payload: type[Fate] | None  # None: skipped if it fits SKIP_BUFFER
    empty_payload: type[Fate] | None
    single_payload_read: bool
    empty_frame_op_code: int
    rejoin_throws: bool
    udp_connect_throws: bool = False
    largest_datagram: int = 0


CPP_STREAM = Dialect("C++ stream", Killed, Killed, Killed, Killed, Killed, True, INT_MIN, False)
CPP_DATAGRAM = Dialect("C++ datagram", RestLost, None, Threw, RestLost, None, False, INT_MIN, False, False, 1024)
CPP_MESSAGE = Dialect("C++ message", Killed, Killed, Killed, Killed, Killed, True, INT_MIN, False, True)
CSHARP_STREAM = Dialect("C# stream", Killed, None, None, None, None, False, 0, True)
CSHARP_DATAGRAM = Dialect("C# datagram", RestLost, None, None, None, None, False, 0, True, False, 1400)
CSHARP_MESSAGE = Dialect("C# message", Killed, None, None, None, None, False, 0, True, True)
JAVASCRIPT_MESSAGE = Dialect("JS message", Threw, Hung, None, None, None, False, 0, False, True)


@dataclass
class Head:
    """Header fields read so far."""

    op_code: int = 0
    sender: int = 0
    sequence: int | None = None
    reliable: bool | None = None


@dataclass(frozen=True)
class Received:
    """A packet as the SDK hands it on. `with_payload_field` False: handed to the app whatever its opCode."""

    op_code: int
    sender: int
    sequence: int | None
    reliable: bool | None
    data: bytes | None
    payload: bytes | None
    with_payload_field: bool
    stale: bool = False


class Source:
    """The bytes a client's recv() returns. `complete` sources (a datagram, a message) never block: they end."""

    def __init__(self, complete: bool = False) -> None:
        self._records: deque[bytes] = deque()
        self._complete = complete

    def feed(self, record: bytes) -> None:
        """Add what one recv() could return at most: one TLS record, or what the kernel held."""
        if record:
            self._records.append(record)

    def __bool__(self) -> bool:
        return bool(self._records)

    def recv(self, limit: int) -> Generator[None, None, bytes]:
        """At most `limit` bytes of the first record, blocking while there is none; b"" at the end."""
        while not self._records:
            if self._complete:
                return b""
            yield
        record = self._records.popleft()
        if len(record) > limit:
            self._records.appendleft(record[limit:])
        return record[:limit]


StaleCheck = Callable[[Head], bool]


class PacketReader:
    """Reads one packet after the other from a `Source` in the manner of `dialect`."""

    def __init__(self, dialect: Dialect, source: Source, is_stale: StaleCheck) -> None:
        self.dialect = dialect
        self._source = source
        self._is_stale = is_stale
        self._left = 0

    def _fail(self, why: str) -> NoReturn:
        raise self.dialect.failure(why)

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        if size > self._left:
            self._fail("field runs over the end of its packet")
        out = b""
        while len(out) < size:
            piece = yield from self._source.recv(size - len(out))
            if not piece:
                self._fail("packet cut short")
            out += piece
        self._left -= size
        return out

    def _varint(self, most_bytes: int, last_byte_limit: int) -> Generator[None, None, int]:
        value = 0
        for index in range(most_bytes):
            byte = (yield from self._exactly(1))[0]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if index == most_bytes - 1 and byte > last_byte_limit:
                    self._fail("varint too large")
                return value
        self._fail("varint too long")

    def packet(self) -> Generator[None, None, Received]:
        """One packet. Raises a Fate."""
        self._left = 5
        length = yield from self._varint(5, 0x0F)
        self._left = length
        head = Head(op_code=self.dialect.empty_frame_op_code if length == 0 else 0)
        data: bytes | None = None
        result: Received | None = None
        while self._left:
            # the SDKs look for a key's one byte: a known number spelt in more bytes is an unknown field to them
            key = (yield from self._exactly(1))[0]
            number, wire_type = key >> 3, key & 7
            if key >= 0x80:
                yield from self._unknown_key(key)
            elif number in (1, 2, 3, 4, 5, 6) and wire_type == 0:
                yield from self._header_field(number, head)
            elif number == 14 and wire_type == 2:
                size = yield from self._varint(5, 0x0F)
                body = yield from self._exactly(size)
                check_data(body, self.dialect)
                data = body if data is None else data + body
            elif number == 15 and wire_type == 2:
                result = yield from self._payload(head, data)
            else:
                yield from self._unknown(number, wire_type)
        if result is None:
            return Received(head.op_code, head.sender, head.sequence, head.reliable, data, None, False)
        return result

    def _header_field(self, number: int, head: Head) -> Generator[None, None, None]:
        if number == 1:
            raw = yield from self._varint(5, 0x0F)
            head.op_code = raw // 2 if raw % 2 == 0 else -(raw + 1) // 2
            return
        raw = yield from self._varint(10, 1)
        value = raw & 0xFFFFFFFF
        value -= (value >> 31) << 32
        if number == 2:
            head.sequence = value
        elif number == 5:
            head.sender = value
        elif number == 6:
            if raw not in (0, 1):
                self._fail(f"bool of {raw}")
            head.reliable = raw == 1

    def _payload(self, head: Head, data: bytes | None) -> Generator[None, None, Received]:
        dialect = self.dialect
        size = yield from self._varint(5, 0x0F)
        is_command = head.op_code in COMMANDS
        stale = not is_command and head.sequence is not None and self._is_stale(head)
        if stale:
            if dialect.stale_payload is not None:
                raise dialect.stale_payload(f"stale sequence number {head.sequence} from sender {head.sender}")
            if size > SKIP_BUFFER:
                self._fail(f"stale payload of {size} bytes")
        if size == 0 and not is_command and dialect.empty_payload is not None:
            raise dialect.empty_payload("empty payload read as the end of the stream")
        if dialect.single_payload_read and size:
            if size > self._left:
                self._fail("payload runs over the end of its packet")
            payload = yield from self._source.recv(size)
            if len(payload) < size:
                self._fail(f"payload cut: {len(payload)} of {size} bytes in one read")
            self._left -= size
        else:
            payload = yield from self._exactly(size)
        return Received(head.op_code, head.sender, head.sequence, head.reliable, data, payload, True, stale)

    def _unknown_key(self, first: int) -> Generator[None, None, None]:
        """A key of several bytes, of which the first has been read."""
        rest = yield from self._varint(4, 0x0F)
        key = first & 0x7F | rest << 7
        yield from self._unknown(key >> 3, key & 7)

    def _unknown(self, number: int, wire_type: int) -> Generator[None, None, None]:
        if number == 0:
            self._fail("field number 0")
        if wire_type == 0:
            yield from self._varint(10, 1)
            return
        if wire_type not in (1, 2, 5):
            self._fail(f"wire type {wire_type}")
        if self.dialect.unknown_field is not None:
            raise self.dialect.unknown_field(f"unknown field {number} of wire type {wire_type}")
        size = {1: 8, 5: 4}.get(wire_type)
        if size is None:
            size = yield from self._varint(5, 0x0F)
        yield from self._exactly(size)


COMMANDS = frozenset((-1, -3, -5, -101, -103))


class Fields:
    """Walks the fields of a message that is wholly there."""

    def __init__(self, body: bytes, dialect: Dialect) -> None:
        self._body = body
        self._at = 0
        self._dialect = dialect

    def fail(self, why: str) -> NoReturn:
        """The client's way to take malformed bytes."""
        raise self._dialect.failure(why)

    def more(self) -> bool:
        """Is anything left?"""
        return self._at < len(self._body)

    def varint(self, most_bytes: int = 10) -> int:
        """One varint of 32 (5 bytes) or 64 bits (10 bytes)."""
        value = 0
        for index in range(most_bytes):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if index == most_bytes - 1 and byte > (1 if most_bytes == 10 else 0x0F):
                    self.fail("varint too large")
                return value
        raise self._dialect.failure("varint too long")

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if self._at + size > len(self._body):
            self.fail("field runs over the end of its message")
        self._at += size
        return self._body[self._at - size : self._at]

    def slot_key(self) -> tuple[int, int]:
        """Slot and wire type of RTData."""
        key = self.varint(5)
        return key >> 3, key & 7

    def key(self) -> tuple[int, int]:
        """Field number and wire type. Of a key in more than one byte the number is negative: the SDKs look for the
        one byte, so it is none of those they know."""
        at = self._at
        key = self.varint(5)
        number = key >> 3
        return (number if self._at - at == 1 else -number), key & 7

    def bytes(self) -> bytes:
        """A length and that many bytes."""
        return self.take(self.varint(5))

    def unknown(self, number: int, wire_type: int) -> None:
        """Skip a field the client does not know, if it can."""
        if number == 0:
            self.fail("field number 0")
        elif wire_type == 0:
            self.varint()
        elif wire_type not in (1, 2, 5):
            self.fail(f"wire type {wire_type}")
        elif self._dialect.unknown_field is not None:
            raise self._dialect.unknown_field(f"unknown field {number} of wire type {wire_type}")
        elif wire_type == 2:
            self.bytes()
        else:
            self.take(8 if wire_type == 1 else 4)


def check_data(body: bytes, dialect: Dialect) -> None:
    """Read RTData as the client does: returns where it would, else raises its Fate."""
    fields = Fields(body, dialect)
    while fields.more():
        slot, wire_type = fields.slot_key()
        if not 1 <= slot <= MAX_SLOT:
            fields.fail(f"slot {slot}")
        if wire_type == 0:
            fields.varint()
        elif wire_type == 1:
            fields.take(8)
        elif wire_type == 5:
            fields.take(4)
        elif wire_type == 2:
            _check_value(fields.bytes(), dialect)


def _check_value(body: bytes, dialect: Dialect) -> None:
    fields = Fields(body, dialect)
    while fields.more():
        number, wire_type = fields.key()
        if (number, wire_type) == (1, 2):
            fields.bytes()
        elif (number, wire_type) == (2, 2):
            if len(fields.bytes()) % 4:
                fields.fail("vector length is no multiple of 4")
        elif (number, wire_type) == (14, 2):
            check_data(fields.bytes(), dialect)
        else:
            fields.unknown(number, wire_type)


@dataclass
class LoginResult:
    """Body of opCode -1 as a client holds it: what was missing is its type's zero."""

    success: bool = False
    reconnect_token: bytes = b""
    peer_id: int = 0
    active_peers: list[int] | None = None
    fast_port: int | None = None


@dataclass
class PeerChange:
    """Body of opCodes -101 and -103."""

    peer_id: int = 0
    active_peers: list[int] | None = None


def _peers(fields: Fields, wire_type: int, dialect: Dialect, peers: list[int]) -> None:
    if wire_type == 0:
        peers.append(fields.varint())
        return
    if dialect.packed_peers is not None:
        raise dialect.packed_peers("packed activePeers")
    fields.bytes()


def read_login_result(body: bytes, dialect: Dialect) -> LoginResult:
    """Raises the client's Fate where it cannot read it."""
    fields = Fields(body, dialect)
    result = LoginResult(active_peers=[])
    assert result.active_peers is not None
    while fields.more():
        number, wire_type = fields.key()
        if (number, wire_type) == (1, 0):
            flag = fields.varint()
            if flag > 1:
                fields.fail(f"bool of {flag}")
            result.success = flag == 1
        elif (number, wire_type) == (2, 2):
            result.reconnect_token = fields.bytes()
        elif (number, wire_type) == (3, 0):
            result.peer_id = fields.varint()
        elif number == 4 and wire_type in (0, 2):
            _peers(fields, wire_type, dialect, result.active_peers)
        elif (number, wire_type) == (5, 0):
            result.fast_port = fields.varint()
        else:
            fields.unknown(number, wire_type)
    return result


def read_peer_change(body: bytes, dialect: Dialect) -> PeerChange:
    """Raises the client's Fate where it cannot read it."""
    fields = Fields(body, dialect)
    result = PeerChange(active_peers=[])
    assert result.active_peers is not None
    while fields.more():
        number, wire_type = fields.key()
        if (number, wire_type) == (1, 0):
            result.peer_id = fields.varint()
        elif number == 4 and wire_type in (0, 2):
            _peers(fields, wire_type, dialect, result.active_peers)
        else:
            fields.unknown(number, wire_type)
    return result


def assert_bearable(frame: bytes, leg: str) -> None:
    """A frame as it came ("stream" or "datagram") is read by every SDK without harm; AssertionError says who dies."""
    dialects = (CPP_STREAM, CSHARP_STREAM, JAVASCRIPT_MESSAGE) if leg == "stream" else (CPP_DATAGRAM, CSHARP_DATAGRAM)
    for dialect in dialects:
        source = Source(complete=True)
        source.feed(frame)
        parsing = PacketReader(dialect, source, lambda head: False).packet()
        try:
            next(parsing)
        except StopIteration as stop:
            packet: Received = stop.value
        except Fate as fate:
            raise AssertionError(f"{dialect.name} {fate.word}: {fate}; frame {frame.hex()}") from None
        assert packet.with_payload_field or packet.op_code > 0, f"the app gets opCode {packet.op_code}: {frame.hex()}"
        assert not source, f"{dialect.name} is left with bytes of {frame.hex()}"

"""Recordings: what came to a session, as JSON lines, to feed a script with later (`gsrt script run`).

The first line may tell of the session, each further one is an event; times are milliseconds since the session began:

    {"session": "7f3a", "seed": 42, "players": {"1": "anna", "2": "ben"}}
    {"at": 0, "connect": 1}
    {"at": 20, "packet": {"opCode": 5, "sender": 1, "reliable": false, "targets": [2], "data": {"1": 5}}}
    {"at": 40, "quality": {"peer": 1, "rttMs": 41.5, "jitterMs": 2.5, "minRttMs": 38, "loss": 0.01, "bandwidth": 52000}}
    {"at": 60, "disconnect": 1}
    {"at": 900}

"quality" is what a script was told of the way to a player; with "peer" alone: that nothing was known. Of the rest,
"rttMs" is needed; the others are 0 where they are missing, "minRttMs" is as "rttMs". The last kind says only that this
much time has passed. Events of the same time are one turn of the server. What a
packet does not name is absent: no targets (everyone but the sender), no data, no payload, unreliable. A payload is
base64. Data is an object of slots: 5 a long, 2.5 or {"double": 2} a double, {"float": 1.5} a 32-bit float, "text" a
string, [1, 2.5] a vector, {"data": {...}} data; "inf", "-inf" and "nan" are texts in {"float": ...}, {"double": ...}
and vectors.

A *packet list* written by hand needs less: without a first line the players are those whom the events name, and whoever
is not connected by an event is there from the beginning. An event without "at" happens at the time of the one before.
"""

from __future__ import annotations

from bisect import bisect_left

from gsrt._core import MAX_DEPTH, MAX_TARGETS, Data, Float32, Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO, Any, Protocol

    from gsrt.scripts.quality import Figures

    class Writable(Protocol):
        """What a recording is written to, besides a file of its own."""

        def write(self, text: str, /) -> object: ...
        def flush(self) -> None: ...


FILE_BYTES_MAX = 64 * 1024 * 1024  # of a recording; read whole, each packet takes about as much again
LINE_BYTES_MAX = 8 * 1024 * 1024  # far above the line of the largest packet that a link carries
PROBLEMS_MAX = 20  # told of one file
PEER_ID_MAX = 255
OP_CODE_MAX = 0x7FFF_FFFF
SEED_MAX = (1 << 64) - 1
AT_MAX = 10**10  # milliseconds, some months
PLAYER_ID_CHARACTERS_MAX = 128
TEXT_CHARACTERS_MAX = 128  # of a session's id

CONNECT = "connect"
DISCONNECT = "disconnect"
PACKET = "packet"
QUALITY = "quality"
PASS = "pass"  # nothing comes, time passes

SPECIAL = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}
HEAD_KEYS = ("session", "seed", "players")
EVENT_KEYS = (CONNECT, DISCONNECT, PACKET, QUALITY)
PACKET_KEYS = ("opCode", "sender", "reliable", "targets", "data", "payload")
QUALITY_KEYS = ("peer", "rttMs", "jitterMs", "minRttMs", "loss", "bandwidth")
MILLISECONDS_MAX = 10**6  # of a round trip
BANDWIDTH_MAX = (1 << 63) - 1  # bytes a second; within one machine, next to no time can have passed
LATE_MS = 100  # so much later than it was meant to a timer may have run, in a server that has much to do


class RecordingError(Exception):
    """A recording cannot be read. `problems`: (line, text) of each, line 0 for the file as a whole; str() is one line
    for each, `FILE:LINE: text`."""

    def __init__(self, name: str, problems: list[tuple[int, str]]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{name}:{line}: {text}" if line else f"{name}: {text}" for line, text in problems))


class Event:
    """Something that came to the session: `kind` CONNECT, DISCONNECT, PACKET or PASS; `at` in milliseconds; `peer` who
    comes, goes or sends (0: nobody); `packet` where there is one."""

    __slots__ = ("at", "kind", "packet", "peer")

    def __init__(self, at: float, kind: str, peer: int = 0, packet: Packet | None = None) -> None:
        self.at = at
        self.kind = kind
        self.peer = peer
        self.packet = packet


class Recording:
    """A session as it came in: `players` by peer id, `events` in the order of their times; `qualities` are what the
    script was told of the ways to players: by peer id, (milliseconds, what) in the order of times."""

    __slots__ = ("events", "players", "qualities", "seed", "session_id")

    def __init__(
        self,
        session_id: str,
        seed: int,
        players: dict[int, str],
        events: list[Event],
        qualities: dict[int, list[tuple[float, Figures | None]]],
    ) -> None:
        self.session_id = session_id
        self.seed = seed
        self.players = players
        self.events = events
        self.qualities = qualities

    def quality(self, peer: int, at: float) -> Figures | None:
        """What a script is told that asks at AT ms for the way to PEER: what it was told then, or else before. When a
        timer is replayed it runs in time, so an answer that came a little later (LATE_MS) may be the one to it."""
        answers = self.qualities.get(peer, [])
        place = bisect_left(answers, at, key=_time_of)
        if place < len(answers) and answers[place][0] <= at + LATE_MS:
            return answers[place][1]
        return answers[place - 1][1] if place else None


def _time_of(answer: tuple[float, Figures | None]) -> float:
    return answer[0]


# Reading


def read_recording(path: str) -> Recording:
    """The recording in the file at PATH. Raises RecordingError, with every line that is wrong and what was expected."""
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise RecordingError(path, [(0, f"cannot be read: {error.strerror}")]) from None
    return parse_recording(content, path)


def parse_recording(content: bytes, name: str = "recording") -> Recording:
    """The recording that CONTENT is; NAME is what errors call it. Raises RecordingError."""
    if len(content) > FILE_BYTES_MAX:
        raise RecordingError(name, [(0, f"is larger than {FILE_BYTES_MAX} bytes; expected a shorter session")])
    reader = _Reader()
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            reader.line(line)
        except _Wrong as error:
            problems.append((number, str(error)))
            if len(problems) == PROBLEMS_MAX:
                problems.append((0, "there may be more; these are the first"))
                break
    if not problems and not reader.begun:
        problems.append((0, 'is empty; expected a line such as {"packet": {"opCode": 1, "sender": 1}}'))
    if problems:
        raise RecordingError(name, problems)
    return reader.recording()


class _Wrong(Exception):
    """A line is not what it should be; the message says what was expected."""


class _Reader:
    """Takes a recording line by line."""

    def __init__(self) -> None:
        self.begun = False  # a line has come
        self._session_id = "recorded"
        self._seed = 1
        self._players: dict[int, str] | None = None
        self._events: list[Event] = []
        self._qualities: dict[int, list[tuple[float, Figures | None]]] = {}
        self._at: float = 0
        self._present: set[int] = set()
        self._connected_once: set[int] = set()
        self._from_the_beginning: set[int] = set()
        self._named: set[int] = set()

    def line(self, line: bytes) -> None:
        """One more line. Raises _Wrong."""
        values = _object_of(line)
        first, self.begun = not self.begun, True
        if any(key in values for key in HEAD_KEYS):
            if not first:
                raise _Wrong(f"{_listed(HEAD_KEYS)} stand in the first line only")
            self._head(values)
        else:
            self._event(values)

    def recording(self) -> Recording:
        players = self._players
        if players is None:
            players = {peer: f"player{peer}" for peer in sorted(self._named)}
        start: float = self._events[0].at if self._events else 0
        here = [Event(min(0, start), CONNECT, peer) for peer in sorted(self._from_the_beginning)]
        return Recording(self._session_id, self._seed, players, here + self._events, self._qualities)

    def _head(self, values: dict[str, Any]) -> None:
        _known(values, HEAD_KEYS, "the first line")
        session_id = values.get("session", self._session_id)
        if type(session_id) is not str or not 0 < len(session_id) <= TEXT_CHARACTERS_MAX:
            raise _Wrong(f"session: expected a text of 1 to {TEXT_CHARACTERS_MAX} characters")
        self._session_id = session_id
        self._seed = _whole(values.get("seed", self._seed), "seed", 0, SEED_MAX)
        if "players" not in values:
            return
        players = values["players"]
        if type(players) is not dict or not players:
            raise _Wrong('players: expected an object such as {"1": "anna", "2": "ben"}')
        self._players = {}
        for key, name in players.items():
            peer = _key(key, "players", PEER_ID_MAX, "a peer id")
            if type(name) is not str or not 0 < len(name) <= PLAYER_ID_CHARACTERS_MAX:
                raise _Wrong(f"players: expected a name of 1 to {PLAYER_ID_CHARACTERS_MAX} characters for {key}")
            self._players[peer] = name

    def _event(self, values: dict[str, Any]) -> None:
        _known(values, ("at", *EVENT_KEYS), "an event")
        kinds = [key for key in EVENT_KEYS if key in values]
        if len(kinds) > 1:
            raise _Wrong(f"{_listed(kinds)} in one line; expected one of them")
        if not kinds and "at" not in values:
            raise _Wrong(f'expected one of {_listed(EVENT_KEYS)}, or {{"at": ...}} alone')
        at = _at(values.get("at", self._at))
        if at < self._at:
            raise _Wrong(f"at: {at} ms is before the line above; expected {self._at} or more")
        kind = kinds[0] if kinds else PASS
        packet = None
        peer = 0
        if kind == QUALITY:
            peer, figures = _quality(values[QUALITY])
            self._name(peer, QUALITY)
            self._at = at
            self._qualities.setdefault(peer, []).append((at, figures))
            return
        if kind == PACKET:
            packet = _packet(values[PACKET])
            peer = packet.sender
            self._name(peer, "sender")
            if self._players is None:  # of a real session they may be anything, and whoever is not there gets nothing
                self._named.update(target for target in packet.targets if 1 <= target <= PEER_ID_MAX)
            if peer not in self._present:
                self._begin_with(peer)
        elif kind == CONNECT:
            peer = _whole(values[CONNECT], CONNECT, 1, PEER_ID_MAX)
            self._name(peer, CONNECT)
            if peer in self._present:
                raise _Wrong(f"connect: peer {peer} is connected already")
            self._present.add(peer)
            self._connected_once.add(peer)
        elif kind == DISCONNECT:
            peer = _whole(values[DISCONNECT], DISCONNECT, 1, PEER_ID_MAX)
            self._name(peer, DISCONNECT)
            if peer not in self._present:
                self._begin_with(peer)
            self._present.discard(peer)
        self._at = at
        self._events.append(Event(at, kind, peer, packet))

    def _name(self, peer: int, where: str) -> None:
        """PEER takes part: in a recording with players it is one of them."""
        if self._players is None:
            self._named.add(peer)
        elif peer not in self._players:
            raise _Wrong(f"{where}: there is no player {peer}; expected one of {_listed(self._players)}")

    def _begin_with(self, peer: int) -> None:
        """PEER does something and no line has connected it: in a written list it is there from the beginning."""
        if self._players is not None or peer in self._connected_once:
            raise _Wrong(f'peer {peer} is not connected; expected {{"connect": {peer}}} before')
        self._connected_once.add(peer)
        self._present.add(peer)
        self._from_the_beginning.add(peer)


def _packet(value: object) -> Packet:
    if type(value) is not dict:
        raise _Wrong('packet: expected an object such as {"opCode": 1, "sender": 1}')
    _known(value, PACKET_KEYS, "a packet")
    for key in ("opCode", "sender"):
        if key not in value:
            raise _Wrong(f"packet: {key} is missing")
    reliable = value.get("reliable", False)
    if type(reliable) is not bool:
        raise _Wrong("reliable: expected true or false")
    targets = value.get("targets", [])
    if type(targets) is not list or len(targets) > MAX_TARGETS:
        raise _Wrong(f"targets: expected a list of at most {MAX_TARGETS} peer ids")
    return Packet(
        _whole(value["opCode"], "opCode", 1, OP_CODE_MAX),
        sender=_whole(value["sender"], "sender", 1, PEER_ID_MAX),
        reliable=reliable,
        targets=[_whole(target, "targets", -(1 << 31), (1 << 31) - 1) for target in targets],
        data=_data(value["data"]) if "data" in value else None,
        payload=_payload(value["payload"]) if "payload" in value else None,
    )


def _quality(value: object) -> tuple[int, Figures | None]:
    """Whose way it is, and what is known of it."""
    if type(value) is not dict:
        raise _Wrong('quality: expected an object such as {"peer": 1, "rttMs": 41.5}')
    _known(value, QUALITY_KEYS, "a quality")
    peer = _whole(value.get("peer"), "peer", 1, PEER_ID_MAX)
    if len(value) == 1:
        return peer, None
    rtt = _between(value.get("rttMs"), "rttMs", MILLISECONDS_MAX)
    return peer, (
        rtt,
        _between(value.get("jitterMs", 0), "jitterMs", MILLISECONDS_MAX),
        _between(value.get("minRttMs", rtt), "minRttMs", MILLISECONDS_MAX),
        _between(value.get("loss", 0), "loss", 1),
        _whole(value.get("bandwidth", 0), "bandwidth", 0, BANDWIDTH_MAX),
    )


def _data(value: object, where: str = "data", depth: int = 1) -> Data:
    if type(value) is not dict:
        raise _Wrong(f'{where}: expected an object of slots such as {{"1": 5, "2": "text"}}')
    if depth > MAX_DEPTH:
        raise _Wrong(f"{where}: expected data nested at most {MAX_DEPTH} deep")
    data = Data()
    for key, one in value.items():
        slot = _key(key, where, 127, "a slot")
        try:
            _set(data, slot, one, f"{where} {key}", depth)
        except (ValueError, OverflowError) as error:
            raise _Wrong(f"{where} {key}: {error}") from None
    return data


def _set(data: Data, slot: int, value: object, where: str, depth: int) -> None:
    if type(value) is int:
        if not -(1 << 63) <= value < 1 << 63:
            raise _Wrong(f'{where}: expected a whole number of 64 bits, or {{"double": ...}}')
        data.set_long(slot, value)
    elif type(value) is float:
        data.set_double(slot, value)
    elif type(value) is str:
        data.set_string(slot, value.encode("utf-8", "surrogateescape"))
    elif type(value) is list:
        data.set_vector(slot, [_number(part, where) for part in value])
    elif type(value) is dict and len(value) == 1 and (kind := next(iter(value))) in ("float", "double", "data"):
        if kind == "data":
            data.set_data(slot, _data(value[kind], where, depth + 1))
        elif kind == "float":
            data.set_float(slot, _number(value[kind], where))
        else:
            data.set_double(slot, _number(value[kind], where))
    else:
        raise _Wrong(
            f"{where}: expected a number, a text, a list of up to 4 numbers, "
            '{"float": ...}, {"double": ...} or {"data": {...}}'
        )


def _object_of(line: bytes) -> dict[str, Any]:
    import json

    if len(line) > LINE_BYTES_MAX:
        raise _Wrong(f"{len(line)} bytes in a line; expected at most {LINE_BYTES_MAX}")
    try:
        values = json.loads(line.decode(), object_pairs_hook=_without_twins, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _Wrong("expected UTF-8") from None
    except RecursionError:
        raise _Wrong(f"nested too deep; expected at most {MAX_DEPTH} levels of data") from None
    except ValueError as error:
        raise _Wrong(f"expected a JSON object: {error}") from None
    if type(values) is not dict:
        raise _Wrong('expected a JSON object such as {"at": 20, "connect": 1}')
    return values


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Wrong(f"{next(key for key in keys if keys.count(key) > 1)!r} is there twice; expected it once")
    return values


def _no_constant(name: str) -> float:
    raise _Wrong(f'{name}: expected a number; "inf", "-inf" and "nan" are written as texts in {{"double": ...}}')


def _known(values: Iterable[str], keys: Iterable[str], where: str) -> None:
    for key in values:
        if key not in keys:
            raise _Wrong(f"{key!r} is nothing that {where} has; expected {_listed(keys)}")


def _whole(value: object, where: str, smallest: int, largest: int) -> int:
    if type(value) is not int or not smallest <= value <= largest:
        raise _Wrong(f"{where}: expected a whole number from {smallest} to {largest}, not {_shown(value)}")
    return value


def _at(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= AT_MAX:  # type: ignore[operator]
        raise _Wrong(f"at: expected milliseconds from 0 to {AT_MAX}, not {_shown(value)}")
    return value  # type: ignore[return-value]


def _between(value: object, where: str, largest: int) -> float:
    if type(value) not in (int, float) or not 0 <= value <= largest:  # type: ignore[operator]
        raise _Wrong(f"{where}: expected a number from 0 to {largest}, not {_shown(value)}")
    return float(value)  # type: ignore[arg-type]


def _number(value: object, where: str) -> float:
    if type(value) is str and value in SPECIAL:
        return SPECIAL[value]
    if type(value) not in (int, float):
        raise _Wrong(f"{where}: expected a number, not {_shown(value)}")
    return float(value)  # type: ignore[arg-type]


def _key(key: str, where: str, largest: int, what: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) <= 3 and 1 <= int(key) <= largest and str(int(key)) == key):
        raise _Wrong(f"{where}: {key!r} is not {what}; expected a number from 1 to {largest} as text")
    return int(key)


def _payload(value: object) -> bytes:
    from binascii import Error, a2b_base64

    if type(value) is not str:
        raise _Wrong("payload: expected a text in base64")
    try:
        return a2b_base64(value, strict_mode=True) if value else b""
    except (Error, ValueError) as error:
        raise _Wrong(f"payload: expected base64: {error}") from None


def _listed(words: Iterable[object]) -> str:
    return ", ".join(map(str, words))


def _shown(value: object) -> str:
    """VALUE as it stands in the line, cut short."""
    text = ascii(value)
    return text if len(text) <= 40 else text[:37] + "..."


# Writing


class Recorder:
    """Writes a recording as a session goes on. A recorder never gets in its session's way: where a line cannot be
    written, `stopped` says why, and nothing more is written."""

    def __init__(
        self,
        target: str | Writable,
        *,
        session_id: str,
        seed: int,
        players: dict[int, str],
        bytes_max: int = FILE_BYTES_MAX,
    ) -> None:
        """TARGET: a path, whose file is made or replaced, or a text file, which close() leaves open. PLAYERS: names by
        peer id. Raises OSError where the file cannot be made."""
        self.stopped: str | None = None
        self._left = bytes_max
        self._at = 0
        self._own: IO[str] | None = None
        if isinstance(target, str):
            self._own = open(target, "w", encoding="ascii")  # noqa: SIM115  # it stays open as long as this
            target = self._own
        self._file: Writable = target
        names = {str(peer): name for peer, name in players.items()}
        self._write({"session": session_id, "seed": seed, "players": names})

    def connect(self, at: float, peer: int) -> None:
        """Player PEER is ready; AT: milliseconds since the session began, as everywhere here."""
        self._write({"at": self._time(at), CONNECT: peer})

    def disconnect(self, at: float, peer: int) -> None:
        """Player PEER has left."""
        self._write({"at": self._time(at), DISCONNECT: peer})

    def packet(self, at: float, sender: int, body: bytes, reliable: bool) -> None:
        """BODY, a packet without its length prefix, has come from the player SENDER. Raises ProtocolError."""
        if self.stopped is None:
            self._write({"at": self._time(at), PACKET: packet_to_json(Packet.decode(body), sender, reliable)})

    def quality(self, at: float, peer: int, figures: Figures | None) -> None:
        """The script was told that of the way to PEER; None: that nothing is known."""
        values = zip(QUALITY_KEYS, (peer, *(figures or ())), strict=False)  # where nothing is known: the peer alone
        self._write({"at": self._time(at), QUALITY: dict(values)})

    def close(self, at: float) -> None:
        """The session is over; nothing more has come until AT."""
        self._write({"at": self._time(at)})
        try:
            self._file.flush()
            if self._own is not None:
                self._own.close()
        except OSError as error:
            self._stop(f"the recording cannot be written: {error.strerror}")
        self._stop("closed")

    def _time(self, at: float) -> int:
        """AT in whole milliseconds, as scripts see it; never before the line above."""
        self._at = max(self._at, int(at))
        return self._at

    def _stop(self, why: str) -> None:
        if self.stopped is None:
            self.stopped = why

    def _write(self, values: dict[str, Any]) -> None:
        import json

        if self.stopped is not None:
            return
        line = json.dumps(values, separators=(", ", ": ")) + "\n"
        self._left -= len(line)
        if self._left < 0:
            self._stop("the recording has reached its largest size")
            return
        try:
            self._file.write(line)
        except OSError as error:
            self._stop(f"the recording cannot be written: {error.strerror}")


def packet_to_json(packet: Packet, sender: int, reliable: bool) -> dict[str, Any]:
    """PACKET as an object of a recording: the values of PACKET_KEYS, its data as by data_to_json."""
    from binascii import b2a_base64

    values: dict[str, Any] = {
        "opCode": packet.op_code,
        "sender": sender,
        "reliable": reliable,
        "targets": list(packet.targets),
    }
    if packet.data is not None:
        values["data"] = data_to_json(packet.data)
    if packet.payload is not None:
        values["payload"] = b2a_base64(packet.payload, newline=False).decode()
    return values


def data_to_json(data: Data) -> dict[str, Any]:
    """DATA as an object of slots."""
    return {str(slot): _value_to_json(value) for slot, value in data.items()}


def _value_to_json(value: object) -> object:
    if isinstance(value, Data):
        return {"data": data_to_json(value)}
    if isinstance(value, Float32):
        return {"float": _number_to_json(value)}
    if isinstance(value, float):
        number = _number_to_json(value)
        return {"double": number} if isinstance(number, str) else number
    if isinstance(value, tuple):
        return [_number_to_json(part) for part in value]
    return value


def _number_to_json(value: float) -> float | str:
    if value != value:
        return "nan"
    if value in (SPECIAL["inf"], SPECIAL["-inf"]):
        return "inf" if value > 0 else "-inf"
    return float(value)

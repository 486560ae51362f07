"""The hand-over: all that a program taking this one's place has to know, so that players do not notice the change.

Sessions and tokens are in the image anyway (gsrt.resume); what comes here besides is of the moment: who is in, by which
connection, what is on its way. It is written once, when the old program is about to go, into a memory file of the name
`gsrt-live`: `gsrtliv1`, length and CRC as in the image, then lines of JSON: the first, one for each session and one for
each player who is in it, one for each connection that is about to log in:

    {"left": when the program before took its last packet, in seconds, "cookies": the key of links' cookies or null}
    {"session": id, "expires": seconds or null}
    {"session": id, "peer": number, "state", "grace", "hellos", "member",
     "stream": {"name", "state"} or null, "link": {"state", "cookie"} or null}
    {"session": id, "peer": number, "entrance": {"state", "cookie", "datagram", "answer"}}: who is coming in by a link
    {"newcomer": {"name", "state"}}

Bytes are base64; what `member` and the two `state` hold is told where it is dumped (Member.dump, Stream.dump,
Links.dump_leg). Times are those of the monotonic clock, which both programs share. There are keys in it: it never lies
on a disk.

TCP and WebSocket connections go along as descriptors, told apart by the other side's address. Those with TLS cannot:
their players are as if they had lost the connection at this moment, and have the profile's grace to come back
unnoticed. Links and the UDP legs need no descriptor but the port's.
"""

from __future__ import annotations

import os
import socket

# the C code behind json.dumps, without the module, which costs half a megabyte
from _json import encode_basestring_ascii as quoted
from _json import make_encoder
from binascii import a2b_base64, b2a_base64

from gsrt._links import Leg
from gsrt.log import error_text
from gsrt.session import ABSENT
from gsrt.timers import INFINITY
from gsrt.transports.streams import Borrowed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from gsrt._relay import Relay, Stream
    from gsrt.log import Log
    from gsrt.session import Player, Session
    from gsrt.sessions import Sessions


# What comes of reading what is damaged, or of another version.
_DAMAGES = (ValueError, KeyError, TypeError, OSError, OverflowError, AttributeError)


class Departure:
    """What goes along: lines, which are given to `add` one by one, for all at once may be more than memory has room
    for, and the `streams`, whose sockets do."""

    def __init__(
        self,
        sessions: Sessions,
        relay: Relay,
        add: Callable[[bytes], None],
        now: float,
        cookie_key: bytes | None = None,
    ) -> None:
        """Takes it down. From here on no packet may be taken or sent."""
        self.streams: list[Stream] = []
        self._relay = relay
        self._add = add
        self._put({"left": now, "cookies": cookie_key})
        for each in sessions:
            self._session(each)
        for connection in relay.streams.values():
            if connection.member is None and (told := self._stream(connection)) is not None:
                self._put({"newcomer": told})

    def _session(self, session: Session) -> None:
        self._put({"session": session.session_id, "expires": None if session.expiry is None else session.expiry.when})
        for each in session.players:
            told = self._player(each)
            if told is not None:
                self._put({"session": session.session_id, "peer": each.peer_id, **told})
            entrance = each.entrance
            if entrance is not None and entrance.is_pending and (coming := self._link(each, entrance.leg)) is not None:
                coming |= {"datagram": entrance.datagram, "answer": entrance.answer}
                self._put({"session": session.session_id, "peer": each.peer_id, "entrance": coming})

    def _put(self, told: dict[str, Any]) -> None:
        self._add("".join(_encode(told, 0)).encode("ascii") + b"\n")

    def _player(self, player: Player) -> dict[str, Any] | None:
        told = player.dump()
        if told is None:
            return None
        told["stream"] = told["link"] = None
        connection = player.stream
        if isinstance(connection, Leg):
            told["link"] = self._link(player, connection)
        elif connection is not None:
            told["stream"] = self._stream(connection)
        return told

    def _stream(self, connection: Stream) -> dict[str, Any] | None:
        state = connection.dump()
        if state is None:
            return None
        self.streams.append(connection)
        return {"name": connection.peer_name, "state": state}

    def _link(self, player: Player, leg: Leg) -> dict[str, Any] | None:
        links = self._relay.links
        assert links is not None
        try:
            state = links.dump_leg(leg)
        except ValueError:  # it has just ended
            return None
        return {"state": state, "cookie": 0 if player.entrance is None else player.entrance.cookie_time}


class Arrival:
    """What has become of those who were in: `players` are in as before, `to_come_back` have to by themselves. `seconds`
    without service: known when the loop runs. `cookie_key`: for the links' gate."""

    __slots__ = ("cookie_key", "left", "players", "seconds", "to_come_back")

    def __init__(self, left: float) -> None:
        self.left = left
        self.cookie_key: bytes | None = None
        self.players = self.to_come_back = 0
        self.seconds = 0.0

    def figures(self) -> dict[str, float]:
        """For the status."""
        return {"players": self.players, "playersToComeBack": self.to_come_back, "seconds": self.seconds}


def arrive(
    body: bytes,
    descriptors: Sequence[int],
    sessions: Sessions,
    relay: Relay,
    admit: Callable[[Stream, float], None],
    log: Log,
    now: float,
) -> Arrival:
    """The other end: puts into the sessions, which are there already, who was in, and takes over the connections of
    those DESCRIPTORS; `admit(stream, now)` gets those that have not logged in. A player whose part is damaged is told
    in the log and has to come back by itself, too."""
    import json
    from io import BytesIO

    by_name = _by_name(descriptors)
    arrival = Arrival(now)
    without: list[Callable[[], None]] = []  # the others are told when they are all there
    for line in BytesIO(body):
        try:
            told = json.loads(line)
            if "left" in told:
                arrival.left = min(_time(told["left"]), now)
                arrival.cookie_key = None if told["cookies"] is None else _bytes(told["cookies"])
                continue
            if "newcomer" in told:
                newcomer = _stream(told["newcomer"], by_name, relay)
                if newcomer is not None:
                    admit(newcomer, now)
                continue
            session = sessions.find(told["session"])
            if session is None:
                continue
            if "peer" not in told:
                if told["expires"] is not None and (when := _time(told["expires"])) > now:
                    session.expire_at(when)
                continue
            player = next(each for each in session.players if each.peer_id == told["peer"])
            if "entrance" in told:
                _let_on(player, _with_bytes(told["entrance"]), relay, now)
                continue
        except (*_DAMAGES, StopIteration, RecursionError) as error:
            log.error("somebody may have to come back: what was handed over is damaged", reason=error_text(error))
            continue
        leave = _take_over(player, told, by_name, relay, log, now)
        if leave is None:
            arrival.players += 1
        else:
            arrival.to_come_back += 1
            without.append(leave)
    for leave in without:
        leave()
    for descriptor in by_name.values():
        os.close(descriptor)
    return arrival


def _take_over(
    player: Player, told: Mapping[str, Any], by_name: dict[str, int], relay: Relay, log: Log, now: float
) -> Callable[[], None] | None:
    """None where the player is in as before; else what is to be done with it when all others are there."""
    connection: Stream | Leg | None = None
    try:
        connection = _connection(player, told, by_name, relay, now)
    except _DAMAGES as error:
        log.error("a player has lost the connection", player=player.player_id, reason=error_text(error))
    try:
        if told["state"] == ABSENT:
            _time(told["grace"])
        if type(told["hellos"]) is not int:
            raise ValueError("a number of greetings is something else")
        player.restore({**told, "member": _with_bytes(told["member"])}, connection, now)
    except _DAMAGES as error:
        log.error("a player has to come back", player=player.player_id, reason=error_text(error))
        if connection is not None:
            connection.close()
        return lambda: player.forgo("the server was restarted", now)
    if connection is not None or told["state"] == ABSENT:
        return None
    return lambda: player.lost("the server was restarted", False, now)


def _connection(
    player: Player, told: Mapping[str, Any], by_name: dict[str, int], relay: Relay, now: float
) -> Stream | Leg | None:
    if told["link"] is not None:
        leg = relay.restore_link(_bytes(told["link"]["state"]), now)
        _remember_login(player, leg, told["link"]["cookie"])
        return leg
    return None if told["stream"] is None else _stream(told["stream"], by_name, relay)


def _stream(told: Mapping[str, Any], by_name: dict[str, int], relay: Relay) -> Stream | None:
    descriptor = by_name.pop(told["name"], None)
    return None if descriptor is None else relay.restore_stream(descriptor, told["name"], _with_bytes(told["state"]))


def _let_on(player: Player, told: Mapping[str, Any], relay: Relay, now: float) -> None:
    """That player has been let in by a link, and has not said anything on it yet."""
    leg = relay.restore_link(told["state"], now)
    leg.owner = player
    _remember_login(player, leg, told["cookie"], told["datagram"], told["answer"])


def _remember_login(player: Player, leg: Leg, cookie: int, datagram: bytes = b"", answer: bytes = b"") -> None:
    """What tells the LOGIN by which that player has come in from a later one, and, as long as it may come again, from
    others."""
    from gsrt.linkgate import Entrance

    player.entrance = Entrance(cookie, datagram, leg, answer)


def _by_name(descriptors: Sequence[int]) -> dict[str, int]:
    """Connections by "ip:port" of the other side; those that are broken already are closed."""
    found = {}
    for descriptor in descriptors:
        try:
            with Borrowed(descriptor) as connection:
                address = connection.getpeername()
                connection.setblocking(False)
                is_stream = connection.type == socket.SOCK_STREAM
        except OSError:
            is_stream = False
        if is_stream and f"{address[0]}:{address[1]}" not in found:
            os.set_inheritable(descriptor, False)
            found[f"{address[0]}:{address[1]}"] = descriptor
        else:
            os.close(descriptor)
    return found


def _time(value: object) -> float:
    """Raises ValueError for what is no time of the loop's clock."""
    if type(value) not in (int, float) or not 0 <= value < INFINITY:  # type: ignore[operator]  # a number
        raise ValueError(f"{value!r} is no time")
    return float(value)  # type: ignore[arg-type]


def _text(value: object) -> str:
    if type(value) is not bytes:
        raise TypeError(f"{type(value).__name__} is not handed over")
    return b2a_base64(value, newline=False).decode("ascii")


# Of what: markers, default, encoder, indent, separators, sort_keys, skipkeys, allow_nan.
_encode = make_encoder(None, _text, quoted, None, ": ", ", ", False, False, True)


def _bytes(text: str) -> bytes:
    return a2b_base64(text.encode("ascii"), strict_mode=True)


def _with_bytes(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a dump() of the relay has told: texts there are bytes."""
    return {name: _bytes(value) if type(value) is str else value for name, value in told.items()}

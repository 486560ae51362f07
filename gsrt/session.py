"""Session and Player: who is in, and what each is told.

The connect sequence and the messages are those of docs/PROTOCOL.md. A session knows no socket and no clock: streams and
members come from the relay, `now` (seconds) with each call, later things go to the Timers.
"""

from __future__ import annotations

from gsrt._links import Leg
from gsrt._relay import Member, Room
from gsrt.protocol import rt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from gsrt._relay import Relay, Stream
    from gsrt.governor import Governor
    from gsrt.linkgate import Entrance
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.resume import SavedPlayer, SavedSession
    from gsrt.timers import Timer, Timers
    from gsrt.tokens import Tokens

PLAYER_ID_CHARACTERS_MAX = 128

# Why a link is closed: docs/LINK.md, section 8.
CLOSE_REPLACED = 2
CLOSE_KICKED = 3
CLOSE_ENDED = 4
CLOSE_SLOW = 5

if TYPE_CHECKING:

    class Guest(Protocol):
        """A script that runs in a session: what it is told."""

        def connected(self, peer_id: int, now: float) -> None: ...
        def disconnected(self, peer_id: int, now: float) -> None: ...
        def added(self, peer_id: int, player_id: str) -> None: ...
        def removed(self, peer_id: int) -> None: ...
        def ended(self) -> None: ...

    class Watcher(Protocol):
        """Who brought a session about: what it is told. Players by their ids."""

        def player_ready(self, player: Player, now: float) -> None: ...
        def player_gone(self, player: Player, now: float) -> None: ...
        def session_ended(self, session: Session) -> None: ...


# What a player can be. Absent: the connection was lost, the others do not know yet. Kicked: for good.
EXPECTED = "expected"
JOINING = "joining"
READY = "ready"
ABSENT = "absent"
GONE = "gone"
KICKED = "kicked"


class SessionError(Exception):
    """Something that cannot be done with a session; the message says why and what to do."""


class House:
    """What all sessions of a server share. `changed(session)` is called when a session has begun or ended, or someone
    in it was kicked: what has to be known after a restart is another."""

    __slots__ = ("changed", "governor", "log", "profile", "relay", "timers", "tokens")

    def __init__(self, relay: Relay, tokens: Tokens, timers: Timers, profile: Profile, log: Log) -> None:
        self.relay = relay
        self.tokens = tokens
        self.timers = timers
        self.profile = profile
        self.log = log
        self.changed: Callable[[Session], object] = lambda session: None  # until there is someone to be told
        self.governor: Governor | None = None  # None: nobody looks at what the box can do


class Player:
    """Someone the session expects: a name, a peer id, two tokens, and the connection when there is one."""

    __slots__ = (
        "access_token",
        "entrance",
        "grace",
        "hello",
        "hellos_left",
        "member",
        "peer_id",
        "player_id",
        "reconnect_token",
        "session",
        "state",
    )

    def __init__(self, session: Session, player_id: str, peer_id: int, saved: SavedPlayer | None = None) -> None:
        """With new tokens, or with those that were `saved` before a restart."""
        self.session = session
        self.player_id = player_id
        self.peer_id = peer_id
        self.member = Member(session.room, peer_id)
        self.member.owner = self
        self.state = EXPECTED
        tokens = session.house.tokens
        if saved is None:
            self.access_token = tokens.issue(self)
            self.reconnect_token = tokens.issue(self)
        else:
            self.access_token = saved.access_token
            self.reconnect_token = saved.reconnect_token
            if saved.kicked:
                self.state = KICKED
            else:
                tokens.restore(self.access_token, self)
                tokens.restore(self.reconnect_token, self)
        self.grace: Timer | None = None
        self.hello: Timer | None = None
        self.hellos_left = 0
        self.entrance: Entrance | None = None  # its last login by a link

    @property
    def stream(self) -> Stream | Leg | None:
        """The connection, or None: of TCP, TLS or WebSocket, or a link."""
        return self.member.stream or self.member.link

    @property
    def announced(self) -> bool:
        """Whether the others believe that it is here."""
        return self.member.is_known

    # What the player's client does

    def log_in(self, stream: Stream | Leg, now: float) -> None:
        """A login with one of the player's tokens has come on `stream`; an older connection gives way."""
        older = self.stream
        if older is not None:
            self._note("info", "replaced", stream, older=older.peer_name)
        self._disconnect(CLOSE_REPLACED, "the same player has come in anew")
        self.session.keep()
        if isinstance(stream, Leg):
            self.member.attach_link(stream)
        else:
            self.member.attach(stream)
        stream.owner = self
        self.state = JOINING
        self.member.send(rt.login_result_frame(self.reconnect_token, self.peer_id, self._present()))
        self._note("info", "login", stream, leg=stream.kind)

    def udp_login(self, address: bytes, now: float) -> bool:
        """The UDP login has come from `address`: acknowledged over the stream and by UDP. False where it has no place:
        no connection, or one over WebSocket, whose clients have no UDP and fail at its messages."""
        stream = self.member.stream
        if stream is None or stream.is_websocket:
            return False
        self.member.bind(address)
        self.member.send(rt.login_result_frame(self.reconnect_token, self.peer_id, self._present(), fast=True))
        self.session.house.timers.cancel(self.hello)
        self.hellos_left = self.session.house.profile.udp_hello_attempts
        self._say_hello(now)
        return True

    def udp_confirmed(self) -> None:
        """The client has said that datagrams reach it."""
        self.member.confirm_udp()
        self.session.house.timers.cancel(self.hello)
        self.hello = None

    def ready(self, now: float) -> None:
        """The client is ready: it gets what was held for it, and the others are told."""
        if self.state != JOINING:
            return
        self.state = READY
        self.member.open()
        self._note("info", "ready", self.stream)
        if not self.announced:
            self.member.is_known = True
            self.session.tell_others(self, rt.player_connect_frame)
            if self.session.guest is not None:
                self.session.guest.connected(self.peer_id, now)
        if self.session.watcher is not None:
            self.session.watcher.player_ready(self, now)

    def lost(self, reason: str, orderly: bool, now: float) -> None:
        """The connection is over. After an orderly close the others know at once; after a loss there is a time in
        which the player can come back without anyone having noticed."""
        house = self.session.house
        self._stop_timers()
        self.member.detach()
        if orderly or not self.announced or house.profile.grace_seconds == 0:
            self._leave(reason, now)
            return
        self.state = ABSENT
        self.grace = house.timers.set(now + house.profile.grace_seconds, lambda later: self._leave(reason, later))
        self._note("info", "lost", None, reason=reason, grace=house.profile.grace_seconds)

    # Going over to another program

    def dump(self) -> dict[str, Any] | None:
        """What the program that takes over has to know of it, besides its connection; None where it is not in."""
        if self.state not in (JOINING, READY, ABSENT):
            return None
        return {
            "state": self.state,
            "grace": None if self.grace is None else self.grace.when,
            "hellos": 0 if self.hello is None else self.hellos_left,
            "member": self.member.dump(),
        }

    def restore(self, dumped: Mapping[str, Any], connection: Stream | Leg | None, now: float) -> None:
        """As dump() has told, before anything has happened in the session. Where it was in, but its `connection` could
        not be taken over, lost() comes next. Raises ValueError for what no dump() tells."""
        state = dumped["state"]
        if state not in (JOINING, READY, ABSENT):
            raise ValueError(f"a player who is {state!r}")
        if isinstance(connection, Leg):
            self.member.attach_link(connection)
        elif connection is not None:
            self.member.attach(connection)
        self.member.restore(dumped["member"])
        self.session.keep()
        self.state = state
        if connection is not None:
            connection.owner = self
            if dumped["hellos"]:
                self.hellos_left = dumped["hellos"]
                self._say_hello(now)
        elif state == ABSENT:
            self.grace = self.session.house.timers.set(
                dumped["grace"], lambda later: self._leave("it has not come back", later)
            )

    def forgo(self, reason: str, now: float) -> None:
        """It was in, but how cannot be restored: for the others, who may know it, it has left."""
        self.member.is_known = True
        self._leave(reason, now)

    # What the server does

    def cut(self, reason: str, now: float) -> None:
        """Ends the player's connection for a limit it is over; it may come back."""
        stream = self._disconnect(CLOSE_SLOW, reason)
        self._note("warn", "cut", stream, reason=reason)
        self._leave(reason, now)

    def kick(self, now: float) -> None:
        """Ends the player's connection and takes both tokens back."""
        self._put_out("kicked", now)
        self.session.house.changed(self.session)

    def _put_out(self, reason: str, now: float) -> None:
        self._revoke()
        self._disconnect(CLOSE_KICKED, reason)
        self.state = KICKED
        self._leave(reason, now)

    def dismiss(self) -> None:
        """The session is over."""
        self._revoke()
        self._disconnect(CLOSE_ENDED, "the session is over")
        self.member.leave()
        self.state = GONE

    def _disconnect(self, why: int, text: str) -> Stream | Leg | None:
        """Ends the connection there is, with a goodbye: which it was. A link's client is told why, in a number of
        docs/LINK.md and in words."""
        stream = self.stream
        self._stop_timers()
        self.member.detach()
        if stream is not None:
            stream.owner = None
            if isinstance(stream, Leg):
                stream.close(reason=why, text=text)
            else:
                stream.close()
        return stream

    def _say_hello(self, now: float) -> None:
        """Says over UDP that datagrams can be had, until the client answers or the attempts are used up."""
        house = self.session.house
        self.member.send_datagram(rt.udp_connect_frame())
        self.hellos_left -= 1
        self.hello = None
        if self.hellos_left > 0 and not self.member.udp_confirmed:
            self.hello = house.timers.set(now + house.profile.udp_hello_interval_seconds, self._say_hello)

    def _leave(self, reason: str, now: float) -> None:
        self.grace = None
        self.member.leave()
        if self.state != KICKED:
            self.state = GONE
        if self.announced:
            self.member.is_known = False
            self.session.tell_others(self, rt.player_disconnect_frame)
            if self.session.guest is not None:
                self.session.guest.disconnected(self.peer_id, now)
        self._note("info", "left", None, reason=reason)
        if self.session.watcher is not None:
            self.session.watcher.player_gone(self, now)
        self.session.rest(now)

    def _revoke(self) -> None:
        self.session.house.tokens.revoke(self.access_token)
        self.session.house.tokens.revoke(self.reconnect_token)

    def _stop_timers(self) -> None:
        timers = self.session.house.timers
        timers.cancel(self.grace)
        timers.cancel(self.hello)
        self.grace = self.hello = None

    def _present(self) -> list[int]:
        """The peers that a client is told of at its login. A newcomer adds itself when it is ready, one that comes back
        unnoticed is among them."""
        return [each.peer_id for each in self.session.players if each.announced]

    def _note(self, level: str, event: str, stream: Stream | Leg | None, **fields: object) -> None:
        """One line of the log; one that comes and goes all the time fills no disk with them."""
        session_id = self.session.session_id
        self.session.house.log.limited(
            level,
            f"{event} {session_id} {self.peer_id}",
            event,
            session=session_id,
            player=self.player_id,
            peer=self.peer_id,
            address=None if stream is None else stream.peer_name,
            **fields,
        )


class Session:
    """One running match: its players and the room their packets go through."""

    __slots__ = (
        "began",
        "ended",
        "expiry",
        "guest",
        "house",
        "lasting",
        "on_end",
        "players",
        "room",
        "script",
        "session_id",
        "watcher",
    )

    def __init__(self, house: House, session_id: str, now: float, on_end: Callable[[Session], None]) -> None:
        self.house = house
        self.session_id = session_id
        self.began = now
        self.room = Room(house.relay)
        self.players: list[Player] = []
        self.lasting = False  # never ends by itself
        self.script: str | None = None  # path of the script that runs in it
        self.guest: Guest | None = None  # the script itself
        self.watcher: Watcher | None = None
        self.ended = False
        self.on_end = on_end
        self.expiry: Timer | None = None

    @classmethod
    def create(
        cls,
        players: Sequence[str],
        *,
        house: House,
        session_id: str,
        now: float,
        on_end: Callable[[Session], None],
        lasting: bool = False,
    ) -> Session:
        """A session that expects `players` (their ids, in the order of their peer ids from 1).

        `on_end(session)` is called once, when it is over; a `lasting` one is only ended by end(). Raises SessionError
        for no player, too many, an id that is empty, too long or there twice."""
        limit = house.profile.players_per_session_max
        if not players:
            raise SessionError("a session has at least one player")
        if len(players) > limit:
            raise SessionError(f"{len(players)} players; this server's profile allows {limit} in a session")
        for player_id in players:
            if not player_id or len(player_id) > PLAYER_ID_CHARACTERS_MAX:
                raise SessionError(
                    f"a player's id has 1 to {PLAYER_ID_CHARACTERS_MAX} characters, not {len(player_id)}"
                )
        if len(set(players)) < len(players):
            raise SessionError("each player can be in a session only once")
        session = cls(house, session_id, now, on_end)
        session.lasting = lasting
        session.players = [Player(session, player_id, number) for number, player_id in enumerate(players, 1)]
        session._expire_after(house.profile.session_unused_seconds, now)
        return session

    @classmethod
    def restore(cls, saved: SavedSession, *, house: House, now: float, on_end: Callable[[Session], None]) -> Session:
        """A session as it was before a restart. Its players are expected, all but the kicked, with the tokens they
        have."""
        session = cls(house, saved.session_id, saved.began, on_end)
        session.lasting = saved.lasting
        session.script = saved.script
        session.players = [Player(session, each.player_id, each.peer_id, each) for each in saved.players]
        session._expire_after(house.profile.session_unused_seconds, now)
        return session

    def player(self, player_id: str) -> Player:
        """The player of that id; SessionError where there is none."""
        for each in self.players:
            if each.player_id == player_id:
                return each
        names = ", ".join(each.player_id for each in self.players)
        raise SessionError(f"session {self.session_id} has no player {player_id!r}; it has {names}")

    def add_player(self, saved: SavedPlayer) -> Player:
        """One more that the running session expects, with the tokens it was given; SessionError where it has no
        place."""
        limit = self.house.profile.players_per_session_max
        if len(self.players) >= limit:
            raise SessionError(f"{limit} players are in it, as many as this server's profile allows")
        if any(saved.player_id == each.player_id or saved.peer_id == each.peer_id for each in self.players):
            raise SessionError(f"player {saved.player_id!r} or peer {saved.peer_id} is in the session already")
        player = Player(self, saved.player_id, saved.peer_id, saved)
        self.players.append(player)
        if self.guest is not None:
            self.guest.added(player.peer_id, player.player_id)
        self.house.changed(self)
        return player

    def remove_player(self, player: Player, now: float) -> None:
        """The session does not expect that one any more: its connection ends, its tokens are worthless, its peer id is
        free."""
        player._put_out("removed", now)
        self.players.remove(player)
        if self.guest is not None:
            self.guest.removed(player.peer_id)
        self.house.changed(self)

    def tell_others(self, about: Player, message: Callable[[int, list[int]], bytes]) -> None:
        """Tells every other player that is logged in about one; the list each gets holds itself, as clients need it."""
        present = [each.peer_id for each in self.players if each.announced]
        for each in self.players:
            if each is about or each.stream is None:
                continue
            peers = present if each.announced else sorted([*present, each.peer_id])
            each.member.send(message(about.peer_id, peers))

    def keep(self) -> None:
        """Someone is here: the session does not end by itself."""
        self.house.timers.cancel(self.expiry)
        self.expiry = None

    def rest(self, now: float) -> None:
        """Someone has left: without anyone else, the session ends after its time, unless that runs already."""
        if self.expiry is not None or any(each.state in (JOINING, READY, ABSENT) for each in self.players):
            return
        self._expire_after(self.house.profile.session_linger_seconds, now)

    def expire_at(self, when: float) -> None:
        """It ends at that time if nobody comes."""
        self.keep()
        if not self.lasting and not self.ended:
            self.expiry = self.house.timers.set(when, lambda later: self.end("nobody has been in it"))

    def end(self, reason: str) -> None:
        """Closes all connections, takes all tokens back."""
        if self.ended:
            return
        self.ended = True
        self.keep()
        if self.guest is not None:
            self.guest.ended()
            self.guest = None
        for each in self.players:
            each.dismiss()
        self.house.log.info("session ended", session=self.session_id, reason=reason)
        self.on_end(self)
        if self.watcher is not None:
            self.watcher.session_ended(self)

    def _expire_after(self, seconds: float, now: float) -> None:
        self.expire_at(now + seconds)

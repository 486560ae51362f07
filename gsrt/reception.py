"""Reception: what the relay cannot decide by itself. What a new connection speaks, whose login this is, who has gone.

It also keeps the connections that are not logged in yet: each has a deadline, and there are only so many, per address
and in all. Over the bound the oldest gives way, so that a crowd at the door never keeps a player out.
"""

from __future__ import annotations

from gsrt._core import Packet, ProtocolError
from gsrt._links import Leg
from gsrt._relay import format_address
from gsrt.log import error_text
from gsrt.protocol import rt
from gsrt.session import CLOSE_ENDED, CLOSE_SLOW, EXPECTED, KICKED
from gsrt.transports import opening
from gsrt.transports.streams import address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from gsrt._relay import Member, Stream
    from gsrt.connections import Connection, Connections
    from gsrt.linkgate import LinkGate
    from gsrt.log import Log
    from gsrt.metrics import Metrics
    from gsrt.profile import Profile
    from gsrt.protocol.http import RequestHead
    from gsrt.session import Player
    from gsrt.sessions import Sessions
    from gsrt.site import Download, Site
    from gsrt.transports.tls import ServerContext

    class Owner(Protocol):
        """Whose a stream is: a player of a session, a connection of the platform, or a download."""

        def lost(self, reason: str, orderly: bool, now: float) -> None: ...


# An RSA signature is what a stranger can make the server work hardest with; the rest of a crowd waits its turn.
HANDSHAKES_PER_TURN = 4

TLS_BYTES = 5 << 20  # of memory that the library takes, when it is loaded

# Paths that mean something else than a file, whatever there is in www/.
HEALTH = "/healthz"
METRICS = "/metrics"
PLATFORM = "/ws/"

COUNTERS = (
    "connections_accepted",
    "connections_refused_full",
    "connections_refused_descriptors",
    "pending_gave_way",
    "pending_deadline",
    "closed_protocol",
    "closed_orderly",
    "closed_lost",
    "closed_error",
    "logins",
    "logins_refused",
    "udp_logins",
    "udp_logins_refused",
    "link_logins",
    "link_logins_put_off",
    "link_replays",
    "peers_cut",
    "tls_unavailable",
    "http_requests",
    "seeks",
    "seeks_malformed",
    "seeks_too_many",
    "beacons",
    "beacons_failed",
)


class Pending:
    """A connection that has not logged in."""

    __slots__ = ("address", "deadline")

    def __init__(self, address: str, deadline: float) -> None:
        self.address = address
        self.deadline = deadline


class Reception:
    """The relay's handler. `certificate` (paths of certificate and key) is set when there is one; `tls_coming` while
    one is being made; `platform` where a game is served."""

    def __init__(self, profile: Profile, log: Log) -> None:
        self.profile = profile
        self.log = log
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.certificate: tuple[str, str] | None = None
        self.tls_coming = False
        self.handshakes_left = HANDSHAKES_PER_TURN  # the server fills it up again every turn
        self.platform: Connections | None = None
        self.link_gate: Callable[[], LinkGate] | None = None  # makes it; the server's to set
        self.metrics: Callable[[], Metrics] | None = None  # the same
        self.answer_seek: Callable[[bytes, float], bytes | None] | None = None  # see discovery.Announcer.answer
        self._gate: LinkGate | None = None
        self._metrics: Metrics | None = None
        self._site: Site | None = None
        self._tls: ServerContext | None = None
        self._pending: dict[Stream, Pending] = {}  # oldest first
        self._by_address: dict[str, dict[Stream, None]] = {}
        self._sessions: Sessions | None = None

    @property
    def sessions(self) -> Sessions:
        assert self._sessions is not None
        return self._sessions

    @sessions.setter
    def sessions(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @property
    def pending(self) -> int:
        """Connections that are not logged in."""
        return len(self._pending)

    @property
    def cookie_key(self) -> bytes | None:
        """Of links' handshakes, if there were any."""
        return None if self._gate is None else self._gate.cookie_key

    # The door

    def admit(self, stream: Stream, address: str, now: float) -> None:
        """A new connection from `address` (without port). The oldest that are not logged in give way to it."""
        self.counters["connections_accepted"] += 1
        self._await(stream, address, now)

    def admit_again(self, stream: Stream, now: float) -> None:
        """The same of one that the program before had admitted."""
        self._await(stream, address_of(stream.peer_name), now)

    def _await(self, stream: Stream, address: str, now: float) -> None:
        """Something is to come by that connection, be it its end."""
        mates = self._by_address.setdefault(address, {})
        if len(mates) >= self.profile.pending_per_address_max:
            self._give_way(next(iter(mates)), "too many connections without a login from one address")
            mates = self._by_address.setdefault(address, {})
        if len(self._pending) >= self.profile.pending_connections_max:
            self._give_way(next(iter(self._pending)), "too many connections without a login")
            mates = self._by_address.setdefault(address, {})
        self._pending[stream] = Pending(address, now + self.profile.login_seconds)
        mates[stream] = None

    def make_room(self) -> bool:
        """Closes the oldest connection that is not logged in, or by which nobody has signed in, if there are more of
        those; False if there is none."""
        if self.platform is not None and self.platform.nobodys > len(self._pending):
            self.platform.make_room()
            return True
        for stream in self._pending:
            self._give_way(stream, "too many connections without a login")
            return True
        return False

    def next_timer(self) -> float | None:
        """When the oldest pending connection's time is up."""
        for pending in self._pending.values():
            return pending.deadline
        return None

    def expire(self, now: float) -> None:
        """Closes connections that have not logged in within their time."""
        while self._pending:
            stream, pending = next(iter(self._pending.items()))
            if pending.deadline > now:
                return
            self.counters["pending_deadline"] += 1
            self.log.limited(
                "warn",
                "pending_deadline",
                "no login in time",
                address=stream.peer_name,
                seconds=self.profile.login_seconds,
            )
            self._close(stream)

    def settled(self, stream: Stream) -> None:
        """A connection of the platform has proved that its client is one of the game's, or was closed."""
        self._forget(stream)

    def _give_way(self, stream: Stream, reason: str) -> None:
        self.counters["pending_gave_way"] += 1
        self.log.limited("warn", "pending_gave_way", "connection gave way", address=stream.peer_name, reason=reason)
        self._close(stream)

    def _close(self, stream: Stream) -> None:
        """Closes a connection that is not logged in."""
        self._forget(stream)
        connection: Connection | None = stream.owner  # of the platform: a player's would be logged in
        if connection is None:
            stream.close()
        else:
            connection.close()

    def _disown(self, stream: Stream | Leg, reason: str, orderly: bool, now: float) -> bool:
        """Tells whose stream it was that it is closed; False: nobody's."""
        owner: Owner | None = stream.owner
        if owner is None:
            return False
        stream.owner = None
        owner.lost(reason, orderly, now)
        return True

    def _forget(self, stream: Stream) -> None:
        pending = self._pending.pop(stream, None)
        if pending is None:
            return
        mates = self._by_address[pending.address]
        del mates[stream]
        if not mates:
            del self._by_address[pending.address]

    # What the relay passes up (see _relay)

    def opening(self, stream: Stream, data: bytes) -> str | None:
        what = opening.classify(data)
        if what != "tls":
            return what
        if stream.layer is not None:
            return "unknown"  # TLS inside TLS
        coming = self.tls_coming  # looked at first: it ends on another thread, once _tls is there
        if self._tls is not None:
            from gsrt.transports.tls import TlsLayer

            if self.handshakes_left == 0:
                return "wait"
            self.handshakes_left -= 1
            stream.start_tls(TlsLayer(self._tls))
            return "tls"
        if self.certificate is not None:
            governor = self.sessions.house.governor
            if governor is None or governor.has_room(TLS_BYTES):
                self._load_tls(*self.certificate)
                return "wait"
            self.counters["tls_unavailable"] += 1
            self.log.limited(
                "warn",
                "tls_memory",
                "client refused: it speaks TLS, and there is no memory for that",
                address=stream.peer_name,
            )
            return "unknown"
        if coming:
            return "wait"
        self.counters["tls_unavailable"] += 1
        self.log.limited(
            "warn",
            "tls_unavailable",
            "client refused: it speaks TLS and there is no certificate",
            address=stream.peer_name,
            todo="see the certificate's error at start-up",
        )
        return "unknown"

    def http(self, stream: Stream, data: bytes, now: float) -> int:
        from gsrt.protocol import http, websocket
        from gsrt.protocol.files import path_of

        try:
            parsed = http.parse_head(data)
        except ProtocolError as error:
            self.counters["closed_protocol"] += 1
            self.log.limited("warn", "http", "HTTP request refused", address=stream.peer_name, reason=str(error))
            stream.write(http.response(400, f"{error}\n".encode()))
            stream.finish()
            return len(data)
        if parsed is None:
            return 0
        head, used = parsed
        self.counters["http_requests"] += 1
        if websocket.is_upgrade(head):
            platform = self.platform if head.target.startswith(PLATFORM) else None
            why_not = None if platform is None else platform.why_not(head.target)
            try:
                answer = websocket.accept(head) if why_not is None else http.response(403, why_not.encode())
            except websocket.UpgradeRefused as error:
                why_not, answer = str(error), error.response
            stream.write(answer)
            if why_not is not None:
                stream.finish()
            elif platform is not None:
                platform.open(stream)
            else:
                stream.start_websocket()
            return used
        path = path_of(head.target) or "/"
        if not self._answer_with_file(stream, head, path, now):
            stream.write(self._page(stream, head.method, path, now))
            stream.finish()
        return used

    def drained(self, stream: Stream, now: float) -> None:
        owner: Connection | Download | None = stream.owner
        if owner is not None:
            owner.drained(now)

    def control(self, stream: Stream | Leg, op_code: int, packet: bytes, now: float) -> None:
        player: Player | None = stream.owner
        if player is not None:
            if op_code == rt.OP_UDP_CONNECT:
                player.udp_confirmed()
            elif op_code == rt.OP_PLAYER_READY:
                player.ready(now)
            return
        if isinstance(stream, Leg):
            return  # its player has just left
        self._forget(stream)
        if op_code != rt.OP_LOGIN:
            self.counters["closed_protocol"] += 1
            self.log.limited(
                "warn", "no_login", "the first packet is no login", address=stream.peer_name, op_code=op_code
            )
            stream.close()
            return
        player, why_not = self._authenticate(packet)
        if player is None:
            # Closed without a word: a LoginResult that says no sends the C# client into a hot loop.
            self.counters["logins_refused"] += 1
            self.log.limited("warn", "login_refused", "login refused", address=stream.peer_name, reason=why_not)
            stream.close()
            return
        if not self._has_memory(player, stream.peer_name):
            stream.close()
            return
        self.counters["logins"] += 1
        player.log_in(stream, now)

    def _has_memory(self, player: Player, address: str) -> bool:
        """Whether a player who was never in may come in; who was, always may."""
        governor = self.sessions.house.governor
        why_not = governor.login_refusal() if governor is not None and player.state == EXPECTED else None
        if why_not is None:
            return True
        self.counters["logins_refused"] += 1
        self.log.limited(
            "warn", "login_memory", "login refused", address=address, player=player.player_id, text=why_not
        )
        return False

    def downloads(self) -> list[Download]:
        """Files on their way to browsers."""
        return [] if self._site is None else self._site.downloads()

    def drop(self, stream: Stream) -> None:
        """Closes a connection that is no player's of a session."""
        for download in self.downloads():
            if download.stream is stream:
                download.abort()
                return
        self._close(stream)

    def datagram(self, address: bytes, packet: bytes, now: float) -> None:
        player, why_not = self._authenticate(packet)
        if player is not None:
            if player.udp_login(address, now):
                self.counters["udp_logins"] += 1
                return
            why_not = "it has no TCP or TLS connection"
        self.counters["udp_logins_refused"] += 1
        self.log.limited("warn", "udp_login", "UDP login refused", address=format_address(address), reason=why_not)

    def counts(self) -> dict[str, int]:
        """All counters by name."""
        return {**self.counters, **(self._gate.counts() if self._gate is not None else {})}

    def link_opening(self, address: bytes, datagram: bytes, now: float) -> bytes | None:
        if self._gate is None:
            if self.link_gate is None:
                return None
            self._gate = self.link_gate()
        return self._gate.opening(address, datagram, now)

    def seek(self, datagram: bytes, now: float) -> bytes | None:
        return None if self.answer_seek is None else self.answer_seek(datagram, now)

    def link_established(self, leg: Leg, now: float) -> None:
        player: Player = leg.owner
        if player.state == KICKED or player.session.ended:
            leg.close(reason=CLOSE_ENDED, text="the session is over, or the player is not wanted any more")
            return
        if not self._has_memory(player, leg.peer_name):
            leg.close(reason=CLOSE_SLOW, text="the server is short of memory: try again later")
            return
        self.counters["link_logins"] += 1
        player.log_in(leg, now)

    def text(self, stream: Stream, message: str, now: float) -> None:
        connection: Connection = stream.owner
        connection.text(message, now)

    def closed(self, stream: Stream | Leg, reason: str, orderly: bool, now: float) -> None:
        if not isinstance(stream, Leg):
            self._forget(stream)
        if self._disown(stream, reason, orderly, now):
            self.counters["closed_orderly" if orderly else "closed_lost"] += 1
            return
        if orderly:
            self.counters["closed_orderly"] += 1
            return
        self.counters["closed_protocol"] += 1
        self.log.limited("warn", "closed_protocol", "connection refused", address=stream.peer_name, reason=reason)

    def failed(self, stream: Stream | None, error: Exception, now: float) -> None:
        """A fault of ours, or bytes that only the upper layers could judge; the connection is closed, nothing else."""
        self.counters["closed_error"] += 1
        name = None if stream is None else stream.peer_name
        kind = "protocol" if isinstance(error, ProtocolError) else "error"
        self.log.limited(
            "error" if kind == "error" else "warn",
            f"failed_{kind}",
            "connection closed",
            address=name,
            reason=error_text(error),
        )
        if stream is None:
            return
        self._forget(stream)
        self._disown(stream, type(error).__name__, False, now)

    def cut(self, member: Member, reason: str, now: float) -> None:
        """A peer is over a limit that ends its connection."""
        self.counters["peers_cut"] += 1
        player: Player = member.owner
        player.cut(reason, now)

    def _authenticate(self, packet: bytes) -> tuple[Player | None, str]:
        """Whose login this is; or None, and why it is nobody's."""
        try:
            login = rt.parse_login(Packet.decode(packet))
        except ProtocolError as error:
            return None, str(error)
        player = self.sessions.holder(login.token)
        return player, "" if player else "its token is wrong, revoked, or of a session that has ended"

    def use_certificate(self, cert: str, key: str) -> None:
        """New TLS connections are shown this one: at once if there is none yet, else as soon as it is loaded."""
        if self._tls is None:
            self.certificate = (cert, key)
        else:
            self._load_tls(cert, key)

    def _load_tls(self, cert: str, key: str) -> None:
        """Loads the TLS library and the certificate on a thread: it takes longer than players should wait for."""
        import threading

        self.certificate = None
        self.tls_coming = True

        def load() -> None:
            from gsrt.transports import tls

            try:
                self._tls = tls.make_context(cert, key)
            except Exception as error:  # it was sound when it was checked or made; the disk may have lost it since
                self.log.error("no TLS: the certificate cannot be loaded", path=cert, reason=str(error))
            self.tls_coming = False

        threading.Thread(target=load, name="load TLS", daemon=True).start()

    def _answer_with_file(self, stream: Stream, head: RequestHead, path: str, now: float) -> bool:
        """Whether the game has a folder for browsers, and that answers."""
        platform = self.platform
        if platform is None or head.method not in ("GET", "HEAD"):
            return False
        folder = platform.desk.game.www
        if folder is None or path in (HEALTH, METRICS) or path.startswith(PLATFORM):
            return False
        if self._site is None:
            from gsrt.site import Site

            self._site = Site(
                self.profile,
                clock=platform.clock,
                timers=platform.timers,
                worker=platform.desk.worker,
                counters=platform.counters,
                busy=self._forget,
                idle=lambda stream, now: self._await(stream, address_of(stream.peer_name), now),
                log=self.log,
            )
        return self._site.answer(stream, head, folder, now)

    def _page(self, stream: Stream, method: str, path: str, now: float) -> bytes:
        from gsrt import __version__
        from gsrt.protocol import http

        if method not in ("GET", "HEAD"):
            return http.response(405, b"only GET is answered here\n", headers=(("Allow", "GET, HEAD"),))
        if path == HEALTH:
            return http.response(200, b"ok\n", method=method)
        if path == METRICS and self.metrics is not None:
            self._metrics = self._metrics or self.metrics()
            return self._metrics.answer(address_of(stream.peer_name), method, now)
        if path == "/":
            text = f"gsrt {__version__}: players {self.sessions.connected}, sessions {len(self.sessions)}\n"
            return http.response(200, text.encode(), method=method)
        return http.response(404, b"there is /, /healthz and /metrics\n", method=method)

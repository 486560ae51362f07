"""The loop: owns every socket, the clock, the entropy and the order of a tick.

One tick: wait, until something is ready or due -> drain UDP -> drain TCP -> due timers -> flush each peer once ->
housekeeping. With a tick time (`--tick MS`) a flush is at least that long after the one before: what comes meanwhile is
taken and sent together.
"""

from __future__ import annotations

import errno
import gc
import os
import selectors
import signal
import socket
import sys
import time

from gsrt import DEFAULT_PORT
from gsrt._relay import Relay
from gsrt.box import Box
from gsrt.device.systemd import (
    DATAGRAMS_NAME,
    LISTENER_NAME,
    STATUS_SECONDS,
    Notifier,
    SocketsError,
    bundle,
    take_left_port,
    take_listen_descriptors,
    take_port,
)
from gsrt.log import Log, error_text
from gsrt.profile import Profile
from gsrt.reception import HANDSHAKES_PER_TURN, Reception
from gsrt.requests import describe_created, handle, totals
from gsrt.resume import IMAGE_NAME, LIVE_NAME, NOTE_NAME, STREAM_NAME, Image, Resumed
from gsrt.scripts import compiling
from gsrt.scripts.compiling import HostError, compile_file
from gsrt.scripts.host import Scripts
from gsrt.session import House, Session
from gsrt.sessions import Sessions
from gsrt.timers import INFINITY, Timers
from gsrt.tokens import Tokens
from gsrt.transports.certificate import CertificateError, CertificateMaker, check_pair
from gsrt.transports.control import ControlError, ControlServer
from gsrt.worker import Worker, deliver_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.cli.serve import Options
    from gsrt.device.containment import Contained
    from gsrt.discovery import Announcer
    from gsrt.game.model import Game
    from gsrt.handover import Arrival
    from gsrt.linkgate import LinkGate
    from gsrt.metrics import Metrics
    from gsrt.platform import Platform
    from gsrt.scripts.sandbox import Sandbox
    from gsrt.store.precedence import Precedence

BACKLOG = 1024  # connections the kernel keeps until they are accepted
ACCEPTS_PER_TICK = 64  # so that a crowd at the door does not keep the players waiting
WAKE_BYTES = 4096  # numbers of signals taken at once
PAUSED_SECONDS = 0.01  # how soon a connection that is not read is looked at again
PORT_ATTEMPTS = 16  # tries to find one number that is free for both TCP and UDP
RAISE_DESCRIPTORS = "raise the limit on open files (ulimit -n, or LimitNOFILE= in the unit)"
DESCRIPTORS_SPARE = 64  # descriptors for what is no player's connection, and no file of www/

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)  # that the server heeds

READ_SECONDS = 5.0  # for the service manager to take what is handed over

SCRIPTS_BACK_SECONDS = 30.0  # for the scripts of before a restart; each takes some tenths to compile

ACCEPT_PAUSE_SECONDS = 0.5  # how long new connections wait after there was no descriptor for one

# What a selector key stands for.
UDP, STREAMS, LISTENER, CERTIFICATE, WAKE, WORK = "udp", "streams", "listener", "certificate", "wake", "work"
STORE = "store"
ONLY_UDP = [UDP]

# Not in the socket module; see socket(7). They need CAP_NET_ADMIN and are not bound by net.core.*mem_max.
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

# Nor are these; see ip(7) and ipv6(7).
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_PROBE = 3


class ServeError(Exception):
    """The server cannot start; the message says what to do."""


def bind_port(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A listening TCP socket and a UDP socket of one port number (0: any that is free); ServeError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    attempts = PORT_ATTEMPTS if port == 0 else 1
    for attempt in range(attempts):
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        datagrams = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        kind = "TCP"
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((host, port))
            kind = "UDP"
            datagrams.bind((host, listener.getsockname()[1]))
            kind = "TCP"
            listener.listen(BACKLOG)
            return listener, datagrams
        except OSError as error:
            listener.close()
            datagrams.close()
            if error.errno == errno.EADDRINUSE and attempt + 1 < attempts:
                continue
            raise ServeError(_why_not_bound(error, host, port, kind)) from None
    raise AssertionError("the loop above returns or raises")


def _why_not_bound(error: OSError, host: str, port: int, kind: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{kind} port {port} is in use by another program: end it (ss -lnptu shows it) or choose another --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs the right to bind ports under 1024: choose another --port"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine: use 0.0.0.0 for all of them, or see `ip address`"
    return f"cannot listen at {host} port {port} ({kind}): {error.strerror}"


def forbid_fragments(datagrams: socket.socket) -> None:
    """IP's don't-fragment bit for all datagrams, whatever the kernel believes of the path: links find out by themselves
    how long they may be, and datagrams for other clients are shorter than any path requires."""
    datagrams.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
    if datagrams.family == socket.AF_INET6:
        datagrams.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)


def enlarge_buffers(datagrams: socket.socket, profile: Profile) -> None:
    """Asks for the profile's UDP buffers; the kernel gives what it may."""
    for forced, plain, size in (
        (SO_RCVBUFFORCE, socket.SO_RCVBUF, profile.udp_receive_buffer_bytes),
        (SO_SNDBUFFORCE, socket.SO_SNDBUF, profile.udp_send_buffer_bytes),
    ):
        try:
            datagrams.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            if datagrams.getsockopt(socket.SOL_SOCKET, plain) < size:  # else systemd has given more than we may ask for
                datagrams.setsockopt(socket.SOL_SOCKET, plain, size)


def raise_descriptor_limit(wanted: int) -> int:
    """Raises the limit on file descriptors as far as needed and allowed: what it is now."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


class Server:
    """A running server: made with its options, it listens; run() is the loop until stop()."""

    def __init__(
        self,
        options: Options,
        log: Log,
        resumed: Resumed | None = None,
        game: Game | None = None,
        manager: Notifier | None = None,
    ) -> None:
        """Opens the sockets, or takes those of before a restart; the store of the `game`, if one is served. The
        `manager` of the service, if there is one, is told how it goes. Raises ServeError, ProfileError, ControlError,
        CertificateError or StoreError."""
        resumed = resumed or Resumed()
        self.manager = manager or Notifier({}, time.monotonic)
        self.log = log
        self.clock = time.monotonic
        self.began = self.clock()
        self.profile = Profile.load(options.profile)
        log.limit(self.profile.log_lines_per_second, self.profile.log_lines_burst)
        self.tick = (self.profile.tick_ms if options.tick_ms is None else options.tick_ms) / 1000
        self.host = options.host
        self.contained: Contained | None = None
        # Contained, a server that somebody else starts again executes nothing, not even itself.
        self._executes = not (options.contain and self.manager.enabled)
        self._stopping = False
        self._departs = False  # another program takes this one's place
        self._has_departed = False
        self._reloads = False  # the files are to be read again
        self._live = -1  # descriptor of what was handed over; -1: that could not be told
        self._left: list[int] = []  # descriptors of the connections that go along
        self._cookie_key: bytes | None = None  # of the program before
        self.arrival: Arrival | None = None  # of those who were in when this program took another's place
        self._ticks = 0
        self._worst_tick = 0.0
        self._worst_tick_lately = 0.0
        self._flushed_at = 0.0
        self._gathers = False  # with a tick time: something had come in the turn before
        self._due = 0.0  # the first turn finds out
        self._accept_again: float | None = None
        self._resume_at: float | None = None
        self._options = options
        self.command = options.command
        self.script = options.script

        if options.cert is not None and options.key is not None:
            check_pair(options.cert, options.key)
        descriptors = self.profile.connections_max + self.profile.www_downloads_max + DESCRIPTORS_SPARE
        limit = raise_descriptor_limit(descriptors)
        if limit < descriptors:
            log.warn("few file descriptors", allowed=limit, todo=RAISE_DESCRIPTORS)
        self._listener, self._datagrams = resumed.sockets or bind_port(options.host, wanted_port(options, game))
        for each in (self._listener, self._datagrams):
            each.set_inheritable(True)
        self.port: int = self._listener.getsockname()[1]
        if resumed.sockets is not None:
            self.host = self._listener.getsockname()[0]
        enlarge_buffers(self._datagrams, self.profile)
        forbid_fragments(self._datagrams)
        try:
            self.control = ControlServer(
                options.control,
                lambda request: handle(self, request),
                clients_max=self.profile.control_clients_max,
                line_bytes_max=self.profile.control_line_bytes_max,
                idle_seconds=self.profile.control_idle_seconds,
                group=options.control_group,
                log=log,
            )
        except ControlError:
            self._listener.close()
            self._datagrams.close()
            raise
        self.timers = Timers()
        self.reception = Reception(self.profile, log)
        self.relay = Relay(self._datagrams.fileno(), self.profile, self.reception, os.urandom)
        tokens = Tokens(os.urandom)
        self.reception.link_gate = lambda: self._make_link_gate(tokens)
        self.reception.metrics = self._make_metrics
        self.reception.answer_seek = lambda datagram, now: self._known_announcer().answer(datagram, now)
        self._announcer: Announcer | None = None
        house = House(self.relay, tokens, self.timers, self.profile, log)
        self.sessions = Sessions(house, os.urandom)
        self.image = Image(log, resumed)
        house.changed = self.image.changed
        if resumed.sessions is not None:
            for saved in resumed.sessions:
                self.sessions.restore(saved, self.began)
            log.info("sessions are back", sessions=len(resumed.sessions))
        self.image.keep_current()
        if resumed.live is not None:
            self._arrive(resumed.live, resumed.streams)
        self.reception.sessions = self.sessions
        self._take_spare()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._datagrams, selectors.EVENT_READ, UDP)
        self._selector.register(self.relay, selectors.EVENT_READ, STREAMS)
        self._selector.register(self._listener, selectors.EVENT_READ, LISTENER)
        self.control.register(self._selector)
        self.worker = Worker(
            lambda error: log.error("work failed", reason=error_text(error)), self.profile.worker_waiting_max
        )
        self._selector.register(self.worker, selectors.EVENT_READ, WORK)
        self.scripts = Scripts(self.profile, log, self.timers, self.worker, self.clock, os.urandom)
        self.scripts.quarantined = self.image.quarantined
        self.scripts.allowed = resumed.scripts_allowed
        self.scripts.armed = self._arm
        for session in list(self.sessions):
            if session.script is not None:
                self.scripts.begin_again(session, session.script)
        self._maker: CertificateMaker | None = None
        self.platform: Platform | None = None
        self._precedence: Precedence | None = None  # over the store's thread
        self.box: Box | None = None
        if game is not None:
            self._open_platform(game)
        if self.profile.governor_seconds:
            self.box = Box(self, options.state_dir)
            house.governor = self.box.governor

    def _make_link_gate(self, tokens: Tokens) -> LinkGate:
        """With the first client that knocks; without one nothing of it is loaded."""
        from gsrt.linkgate import LinkGate

        return LinkGate(
            self.relay,
            tokens,
            self.profile,
            self.log,
            self.reception.counters,
            entropy=os.urandom,
            insecure=self._options.insecure_link,
            make_room=self.reception.make_room,
            later=self.timers.set,
            cookie_key=self._cookie_key,
        )

    def _make_metrics(self) -> Metrics:
        """With the first scrape."""
        from gsrt.metrics import Metrics

        return Metrics(self._options.metrics, lambda: totals(self))

    def _known_announcer(self) -> Announcer:
        """Made with the first beacon, or when somebody asks whether there is a server."""
        if self._announcer is None:
            from gsrt.beacon import announcer_of

            self._announcer = announcer_of(self, self._options.name or socket.gethostname())
        return self._announcer

    def _light_beacon(self) -> None:
        """Where anybody else could reach us."""
        seconds, address = self.profile.beacon_seconds, self._datagrams.getsockname()[0]
        if seconds and not address.startswith("127.") and address != "::1":
            from gsrt.beacon import Beacon

            announcer, counters = self._known_announcer(), self.reception.counters
            Beacon(self._datagrams, address, announcer, self.timers, seconds, counters, self.clock())

    def _open_platform(self, game: Game) -> None:
        from gsrt.platform import Platform
        from gsrt.store.errors import StoreError

        try:
            self.platform = Platform(self, game)
        except StoreError:
            self.close()
            raise
        self._selector.register(self.platform.store, selectors.EVENT_READ, STORE)
        self._precedence = self.platform.store.precedence

    # Life

    def run(self) -> None:
        """The loop, until stop()."""
        self._prepare_tls()
        self._wait_for_scripts()
        self._light_beacon()
        if self.box is not None:
            self.box.begin(self.clock())
        # What is there by now stays: a collection need not go through it every time, at some milliseconds in a tick.
        gc.collect()
        gc.freeze()
        if self._maker is None:
            self._tell_ready()
        if self.manager.watchdog_seconds is not None:
            self._give_sign_of_life(self.clock())
        if self.arrival is not None:
            self.arrival.seconds = self.clock() - self.arrival.left
            self.log.info("players are in as before", **self.arrival.figures())
        while not self._stopping:
            self._turn()

    def stop(self) -> None:
        """The loop ends after the tick it is in."""
        self._departs = False
        self._stopping = True

    def depart(self) -> None:
        """As stop(), but close() then says no goodbye: another program takes this one's place. Who wants it to end for
        good is heeded first."""
        self._departs = self._departs or not self._stopping
        self._stopping = True

    @property
    def has_departed(self) -> bool:
        """Whether everything is ready for another program, after close()."""
        return self._has_departed

    def close(self) -> None:
        """Says goodbye to all players, closes everything. What was acknowledged is on disk then."""
        departs, now = self._departs, self.clock()  # a signal from here on is for the program that comes
        if self.platform is not None:
            self.platform.stop()
        if departs:
            self.sessions.rest_scripts()
        else:
            self.sessions.end_all("the server is shutting down")
        if self.platform is not None:
            self.platform.close()
        if departs:
            self._cut_doomed(now)  # they have missed something, which is not to be hidden from them
        self.relay.flush()
        if departs:
            self._leave_behind(now)
        for stream in list(self.relay.streams.values()):
            stream.close()
        if self._maker is not None:
            self._maker.cancel()
        if self.box is not None:
            self.box.close()
        self.control.close()
        self.worker.close()
        self._selector.close()
        self._give_spare()
        if not self.has_departed:
            self._listener.close()
            self._datagrams.close()
            self.image.close()

    def _leave_behind(self, now: float) -> None:
        """What the program that comes needs to know of who is in; if it cannot be told, it knows the sessions."""
        from gsrt.handover import Departure
        from gsrt.resume import LiveFile

        self._has_departed = True
        self.image.keep_current()
        try:
            live = LiveFile()
            cookie_key = self.reception.cookie_key or self._cookie_key
            departure = Departure(self.sessions, self.relay, live.add, now, cookie_key)
            live.finish()
        except Exception as error:  # whatever it is: the sessions, at least, are to live on
            self.log.error("players have to come back by themselves", reason=error_text(error))
            return
        self._live = live.descriptor
        self._left = [each.give_up() for each in departure.streams]
        self.log.info("handed over", sessions=len(self.sessions), connections=len(self._left))

    def _arrive(self, live: bytes, streams: list[int]) -> None:
        from gsrt.handover import arrive

        self.arrival = arrive(
            live, streams, self.sessions, self.relay, self.reception.admit_again, self.log, self.began
        )
        self._cookie_key = self.arrival.cookie_key
        self._resume_at = self.began  # what has come of frames meanwhile is taken in the first turn

    def restart_command(self) -> tuple[bytes, list[bytes], list[bytes]]:
        """Path, arguments and environment for execve(2) to restart this server with its port and its sessions; after
        wake_on_signals()."""
        sockets = {"listener": self._listener, "datagrams": self._datagrams, "wake": self._wake[0]}
        named: dict[str, int | str] = {name: each.fileno() for name, each in sockets.items()}
        if compiling.helper is not None:
            named["compiler"] = f"{compiling.helper.fileno()}/{sys.implementation.cache_tag}"
        if self.has_departed:
            for descriptor in (self._live, *self._left):
                if descriptor >= 0:
                    os.set_inheritable(descriptor, True)
            named |= {"live": self._live, "streams": "/".join(map(str, self._left))}
        return self.image.restart_command(named)

    def leave_with_manager(self) -> None:
        """Has the manager keep what a later program needs: after start-up, and again after close()."""
        for descriptor, name in (
            (self.image.descriptor, IMAGE_NAME),
            (self.image.note, NOTE_NAME),
            (self._listener.fileno(), LISTENER_NAME),
            (self._datagrams.fileno(), DATAGRAMS_NAME),
            (self._live, LIVE_NAME),
        ):
            if descriptor >= 0:
                self.manager.store(descriptor, name)
        if not self._left:
            return
        try:
            bundled = bundle(self._left)
        except OSError as error:
            self.log.error("connections are not handed over", reason=error.strerror, todo=RAISE_DESCRIPTORS)
            return
        self.manager.store(bundled, STREAM_NAME)
        os.close(bundled)

    def wake_on_signals(self) -> None:
        """SIGTERM and SIGINT end the loop; they interrupt its waiting."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        reader.set_inheritable(True)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._wake = (reader, writer)
        self._selector.register(reader, selectors.EVENT_READ, WAKE)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        signal.signal(signal.SIGUSR2, lambda *_: self.depart())
        signal.signal(signal.SIGHUP, lambda *_: self._read_again())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # after a hand-over those come now that came meanwhile

    def public_host(self) -> str:
        """The address that players are told: the one listened at, or this machine's own on its network."""
        if self.host not in ("0.0.0.0", "::", ""):
            return self.host
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; asks the kernel which address it would use
                return str(probe.getsockname()[0])
            except OSError:
                return "127.0.0.1"

    def _read_again(self) -> None:
        """The loop is to read again what the server has read from files."""
        self._reloads = True

    def _reload(self) -> None:
        """A certificate of the host's, the scripts and the game, as far as they have changed."""
        self._reloads = False
        self.manager.reloading()
        self.log.info("reading the files again")
        options = self._options
        try:
            if options.cert is not None and options.key is not None:
                check_pair(options.cert, options.key)
                self._use_certificate(options.cert, options.key)
        except CertificateError as error:
            self.log.error("the certificate stays as it was", reason=str(error))
        self.scripts.look_now()
        if self.platform is not None:
            self.platform.look_now()
        self.manager.ready(self._status_text())

    def _public_address(self) -> str:
        """The same as an IP address; 127.0.0.1 where the server listens at a name."""
        host = self.public_host()
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.inet_pton(family, host)
            except OSError:
                continue
            return host
        return "127.0.0.1"

    def loop_figures(self) -> dict[str, float]:
        """What the loop has taken; `worstTickLatelyMs`: since this was last asked."""
        lately, self._worst_tick_lately = self._worst_tick_lately, 0.0
        self._worst_tick = max(self._worst_tick, lately)
        return {**self.loop_totals(), "worstTickLatelyMs": lately * 1000}

    def loop_totals(self) -> dict[str, float]:
        """What the loop has taken in all."""
        return {
            "ticks": self._ticks,
            "worstTickMs": max(self._worst_tick, self._worst_tick_lately) * 1000,
            "tickMs": self.tick * 1000,
        }

    # The tick

    def _turn(self) -> None:
        due = min(self._due, self.timers.earliest)
        links_due = self.relay.links_due
        if self.tick:  # what they send leaves with a tick, as all does
            links_due = max(links_due, self._flushed_at + self.tick)
        events, now = self._wait(due, links_due)
        scripts_late = self.scripts.begin_turn()
        if self._precedence is not None:
            self._precedence.turn_begins()
        ready = [key.data for key, _ in events]
        if UDP in ready:
            self.relay.receive_datagrams(now)
        further = ready != ONLY_UDP or now >= due
        if further:
            self.reception.handshakes_left = HANDSHAKES_PER_TURN
            if STREAMS in ready:
                self.relay.receive_streams(now)
        if scripts_late:
            self._let_scripts_on(now)
        if now >= links_due:
            self.relay.run_links(now)
        if further:
            self._turn_further(ready, events, now, due)
        if self.image.stale:
            self.image.keep_current()
        self._cut_doomed(now)
        if self.relay.has_output:
            self.relay.flush()
            self._flushed_at = now
        self._ticks += 1
        taken = self.clock() - now
        if taken > self._worst_tick_lately:
            self._worst_tick_lately = taken
        if self.box is not None:
            self.box.turn_ended(now, taken)
        if self._precedence is not None:
            self._precedence.turn_ends()

    def _wait(self, due: float, links_due: float) -> tuple[list[tuple[selectors.SelectorKey, int]], float]:
        """Until something is ready or due: what is ready, and what time it is. With a tick time, what comes before the
        next tick waits for it, and is taken together."""
        tick_at = self._flushed_at + self.tick
        if self._gathers and due >= tick_at:
            # Where packets come all the time, the timer alone wakes the loop: whoever sends the first one would, too,
            # and on his processor, whose caches have nothing of this.
            self._sleep_until(tick_at)
        wake = min(due, links_due)
        events = self._selector.select(None if wake == INFINITY else max(wake - self.clock(), 0.0))
        now = self.clock()
        if self.tick and events and now < tick_at:
            self._sleep_until(tick_at)
            events = self._selector.select(0)
            now = self.clock()
        self._gathers = self.tick > 0 and bool(events)
        return events, now

    def _sleep_until(self, when: float) -> None:
        seconds = when - self.clock()
        if seconds > 0:
            time.sleep(seconds)

    def _cut_doomed(self, now: float) -> None:
        """Those who are over a limit, and those whom that takes over theirs."""
        while doomed := self.relay.take_doomed():
            for member, reason in doomed:
                self.reception.cut(member, reason, now)

    def _let_scripts_on(self, now: float) -> None:
        """Scripts that had used up their time in the turn before: what has come for others meanwhile goes out first, or
        it would wait twice."""
        self.relay.flush()
        self.scripts.let_on()
        self.relay.take_later(now)
        self.relay.resume(now)

    def _turn_further(
        self, ready: list[object], events: list[tuple[selectors.SelectorKey, int]], now: float, due: float
    ) -> None:
        """What a turn does besides players' packets, between taking them and the flush."""
        if WAKE in ready:
            self._wake[0].recv(WAKE_BYTES)
            if self._reloads:
                self._reload()
        if LISTENER in ready:
            self._accept(now)
        if self.control in ready:
            for key, mask in events:
                if key.data is self.control:
                    self.control.on_event(key.fd, mask, now)
        if CERTIFICATE in ready:
            self._certificate_made()
        if WORK in ready:
            self.worker.deliver()
        if self.platform is not None and (STORE in ready or self.platform.has_more):
            self.platform.work()
        if self.image.stale:  # what the operator was told of is to be known even if a due script hangs
            self.image.keep_current()
        if now >= due:
            self._do_what_is_due(now)
        self._due = self._next_due()

    def _next_due(self) -> float:
        """When the next thing is to be done that nothing on a socket brings about. Datagrams alone change it only by
        setting timers, whose earliest is looked at besides."""
        if self.relay.paused_count and self._resume_at is None:
            self._resume_at = self.clock() + (0.0 if self.scripts.is_behind else PAUSED_SECONDS)
        if self.platform is not None and self.platform.has_more:
            return 0.0  # at once, after the packets that have come meanwhile
        times = (
            self.timers.next(),
            self.reception.next_timer(),
            self.control.next_timer(),
            self._accept_again,
            self._resume_at,
        )
        return min((when for when in times if when is not None), default=INFINITY)

    def _do_what_is_due(self, now: float) -> None:
        if self._resume_at is not None and now >= self._resume_at:
            self._resume_at = None
            self.relay.resume(now)
        self.timers.run(now)
        self.reception.expire(now)
        self.control.expire(now)
        if self._accept_again is not None and now >= self._accept_again:
            self._accept_again = None
            if self._spare < 0:
                self._take_spare()
            self._selector.register(self._listener, selectors.EVENT_READ, LISTENER)

    def _accept(self, now: float) -> None:
        for _ in range(ACCEPTS_PER_TICK):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._out_of_descriptors(error, now)
                return
            if len(self.relay.streams) >= self.profile.connections_max and not self.reception.make_room():
                connection.close()
                self.reception.counters["connections_refused_full"] += 1
                self.log.limited(
                    "warn",
                    "full",
                    "connection refused: as many are open as the profile allows",
                    address=address[0],
                    connections_max=self.profile.connections_max,
                )
                continue
            self._tune(connection)
            stream = self.relay.add_stream(connection.detach(), f"{address[0]}:{address[1]}")
            self.reception.admit(stream, address[0], now)

    def _tune(self, connection: socket.socket) -> None:
        """Sends small packets at once, and notices within the profile's times that the other side is no more."""
        profile = self.profile
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, profile.keepalive_idle_seconds)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, profile.keepalive_interval_seconds)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, profile.keepalive_probes)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(profile.user_timeout_seconds * 1000))
        except OSError:
            pass  # already reset by the other side, which the first read will tell

    def _out_of_descriptors(self, error: OSError, now: float) -> None:
        """No descriptor for a new connection: the oldest that has not logged in gives one; else this one is refused."""
        self.log.limited(
            "error",
            "descriptors",
            "no new connection can be taken",
            reason=error.strerror,
            todo=RAISE_DESCRIPTORS,
        )
        self.reception.counters["connections_refused_descriptors"] += 1
        if self.reception.make_room():
            return
        self._give_spare()
        try:
            self._listener.accept()[0].close()
        except OSError:
            pass
        self._take_spare()
        self._selector.unregister(self._listener)
        self._accept_again = now + ACCEPT_PAUSE_SECONDS

    def _take_spare(self) -> None:
        """Keeps a descriptor back, with which a connection can be refused when there is no other; -1: not even that."""
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._spare = -1

    def _give_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _lock_memory(self) -> None:
        from gsrt.device.linux import lock_memory

        outcome = lock_memory()
        if outcome.done:
            self.log.info("memory locked")
        else:
            self.log.warn("memory is not locked", reason=outcome.why)

    def _contain(self) -> None:
        """Last of the start, if asked for: nothing that is open by now is touched by it."""
        if not self._options.contain:
            return
        from gsrt.contained import contain_server

        self.contained = contain_server(self._options, self.log, executes=self._executes)
        if self.scripts.sandbox is not None:
            self._arm_watchdog(self.scripts.sandbox)  # what a restart has to inherit has become more

    # The manager of this service

    def _tell_ready(self) -> None:
        """Everybody can be let in: the port is open, and whether there is TLS is known."""
        if self._options.lock_memory:
            self._lock_memory()
        self._contain()
        if self.manager.ready(self._status_text()):
            self.timers.set(self.clock() + STATUS_SECONDS, self._tell_status)

    def _tell_status(self, now: float) -> None:
        self.manager.status(self._status_text())
        self.timers.set(now + STATUS_SECONDS, self._tell_status)

    def _give_sign_of_life(self, now: float) -> None:
        """From a turn, as any timer: a loop that hangs gives none."""
        self.manager.feed_watchdog()
        assert self.manager.watchdog_seconds is not None
        self.timers.set(now + self.manager.watchdog_seconds, self._give_sign_of_life)

    def _status_text(self) -> str:
        text = f"port {self.port}: players connected: {self.sessions.connected}, sessions: {len(self.sessions)}"
        causes = [] if self.box is None else list(self.box.governor.causes)
        return text + (f"; strained: {', '.join(causes)}" if causes else "")

    # Scripts

    def _arm(self, sandbox: Sandbox) -> None:
        """There is a script: from now on its processor time is measured, and it cannot hang the server for good."""
        sandbox.meter.start_timer()
        self._arm_watchdog(sandbox)

    def _arm_watchdog(self, sandbox: Sandbox) -> None:
        if self.image.note >= 0:
            path, arguments, environment = self.restart_command()
            seconds = self.profile.script_watchdog_seconds
            sandbox.meter.arm_watchdog(
                seconds, path if self._executes else None, arguments, environment, self.image.note
            )

    def _wait_for_scripts(self) -> None:
        """After a restart nobody is let in before the sessions' scripts are back: what they would have refused is not
        to be relayed meanwhile."""

        def enough() -> bool:
            self.manager.feed_watchdog()  # of before, where the restart was by execve(2)
            return self._stopping or not self.worker.waiting

        if not deliver_until(enough, self.worker, SCRIPTS_BACK_SECONDS, self.clock):
            self.log.error("players are let in before all scripts are back", waited=SCRIPTS_BACK_SECONDS)

    def open_demo(self, players: list[str]) -> Session:
        """A session that stays open, with the script of `serve` if there is one; after a restart, the one there was.
        Raises HostError."""
        for session in self.sessions:
            if session.lasting:
                return session
        version = None
        if self.script is not None:
            version = compile_file(self.script, self.profile.script_source_bytes)
            self.scripts.know(self.script, version)
        session = self.sessions.create(players, self.clock(), lasting=True)
        if self.script is not None and version is not None:
            session.script = self.script
            self.image.keep_current()  # should the script hang at its very beginning
            self.scripts.attach(session, self.script, version[0], self.clock())
        return session

    # TLS

    def _prepare_tls(self) -> None:
        """Loads the certificate, or has one made; the server listens meanwhile."""
        options = self._options
        if options.cert is not None and options.key is not None:
            self._use_certificate(options.cert, options.key)
            return
        maker = CertificateMaker(options.state_dir, self._public_address())
        existing = maker.existing()
        if existing is not None:
            self._use_certificate(*existing)
            return
        try:
            descriptor = maker.start()
        except CertificateError as error:
            self._no_tls(error)
            return
        self._maker = maker
        self.reception.tls_coming = True
        self._selector.register(descriptor, selectors.EVENT_READ, CERTIFICATE)
        self._maker_descriptor = descriptor

    def _certificate_made(self) -> None:
        assert self._maker is not None
        self._selector.unregister(self._maker_descriptor)
        maker, self._maker = self._maker, None
        self.reception.tls_coming = False
        try:
            cert, key = maker.finish()
        except CertificateError as error:
            self._no_tls(error)
        else:
            self.log.info("certificate made", path=cert)
            self._use_certificate(cert, key)
        self._tell_ready()

    def _use_certificate(self, cert: str, key: str) -> None:
        """From now on TLS connections are taken; the TLS library itself loads with the first of them."""
        self.reception.use_certificate(cert, key)

    def _no_tls(self, error: Exception) -> None:
        self.log.error("no TLS: official clients of 2017 and later cannot connect", reason=str(error))


def serve(options: Options) -> int:
    """Runs a server until SIGTERM or SIGINT: the exit status. What keeps it from starting is one line in the log."""
    log = Log(sys.stderr, time.monotonic)
    manager = Notifier(os.environ, time.monotonic)
    handed_in = take_listen_descriptors(os.environ, os.getpid())
    resumed = Resumed.from_environment(os.environ, time.monotonic(), log)
    resumed.take_stored(handed_in, log)
    if resumed.compiler is not None:
        from gsrt.scripts.helper import Helper

        compiling.helper = Helper(resumed.compiler)
    refusals: tuple[type[Exception], ...] = (ServeError, CertificateError, SocketsError)
    game: Game | None = None
    if options.game is not None:
        from gsrt.store.errors import StoreError

        refusals = (*refusals, StoreError)
        game = _read(options.game, Profile.load(options.profile), log, again=resumed.image >= 0)
        if game is None:
            return 1
    try:
        _use_port_of_systemd(handed_in, resumed, options.host, wanted_port(options, game), log)
        server = Server(options, log, resumed, game, manager)
    except refusals as error:
        log.error("cannot start", reason=str(error))
        return 1
    server.wake_on_signals()
    if resumed.told_to_stop:
        server.stop()
    if server.profile.chosen:
        log.info("profile chosen", profile=server.profile.name, why=server.profile.chosen)
    log.info("listening", host=server.host, port=server.port, profile=server.profile.name, control=options.control)
    if options.demo:
        try:
            session = server.open_demo(options.demo)
        except HostError as refused:
            for line in str(refused).splitlines():
                log.error("cannot start", reason=line)
            server.close()
            return 1
        if server.arrival is None:  # else they have come by it, and it still holds
            print(_invitation(server, session), flush=True)
    if manager.enabled:
        for name in (LIVE_NAME, STREAM_NAME, LISTENER_NAME, DATAGRAMS_NAME):
            manager.forget(name)
        server.leave_with_manager()
    try:
        server.run()
    finally:
        manager.stopping("ending")
        server.close()
    if server.has_departed:
        _hand_over(server)
        return 0
    for name in (IMAGE_NAME, NOTE_NAME):  # there is nothing to come back to
        manager.forget(name)
    manager.wait_until_read(READ_SECONDS)
    log.info("stopped")
    return 0


def _hand_over(server: Server) -> None:
    """Another program takes this one's place: the manager's next, or else one that this process becomes."""
    if server.manager.enabled:
        server.leave_with_manager()
        if not server.manager.wait_until_read(READ_SECONDS):
            server.log.error("systemd does not take what is handed over", todo="see journalctl -u gsrt")
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the one that comes is not killed by them before it heeds them
    program, arguments, environment = server.restart_command()
    os.execve(program, arguments, {name: value for name, _, value in (each.partition(b"=") for each in environment)})


def wanted_port(options: Options, game: Game | None) -> int:
    """The one of the options, else the game's, else the usual one."""
    port = game.port if options.port is None and game is not None else options.port
    return DEFAULT_PORT if port is None else port


def _use_port_of_systemd(handed_in: dict[str, list[int]], resumed: Resumed, host: str, port: int, log: Log) -> None:
    """Has the server listen at the sockets that systemd has opened for it, if any, or else has kept of the server
    before, if they are at the HOST and port that are wanted. Raises SocketsError."""
    if resumed.sockets is not None:
        return
    resumed.sockets = take_port(handed_in)
    if resumed.sockets is not None:
        log.info("the port is the one that systemd has opened: host and port of the configuration do not count")
    elif LISTENER_NAME in handed_in:
        resumed.sockets = take_left_port(handed_in, host, port)
        if resumed.sockets is None:
            log.warn("the port is another than before", todo="players who were in have to come by the new one")


def _read(folder: str, profile: Profile, log: Log, *, again: bool) -> Game | None:
    """The game to serve; None where it has mistakes, which the log tells. A server that starts again by itself
    (`again`) goes on with what is right."""
    from gsrt.game.model import GameError
    from gsrt.game.reading import read_game, read_sound_parts

    try:
        if not again:
            return read_game(folder, profile)
        game, mistakes = read_sound_parts(folder, profile)
    except GameError as refused:
        for line in str(refused).splitlines():
            log.error("cannot start", reason=line)
        return None
    for mistake in mistakes:
        log.error("left out of the game", reason=str(mistake))
    return game


def _invitation(server: Server, session: Session) -> str:
    """The lines that bring the players of a session in."""
    created = describe_created(server, session, server.public_host())
    lines = [f"A session is open. In a terminal each, on this machine or another ({created['host']}):"]
    lines += [
        f"  {server.command} join {created['host']} {created['port']} {each['accessToken']}    # {each['playerId']}"
        for each in created["players"]
    ]
    return "\n".join(lines)

"""The loop: owns every socket, the clock, the entropy and the order of a tick.

One tick: wait, until something is ready or due -> drain UDP -> drain TCP -> due timers -> flush each peer once ->
housekeeping. With a tick time (`--tick MS`) a flush is at least that long after the one before: what comes meanwhile is
taken and sent together.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import time

from gsrt import DEFAULT_PORT
from gsrt._relay import Relay
from gsrt.accepting import LISTENER, Acceptor, provide_descriptors
from gsrt.box import Box
from gsrt.device.systemd import STATUS_SECONDS, Notifier
from gsrt.log import Log, error_text
from gsrt.profile import Profile
from gsrt.reception import HANDSHAKES_PER_TURN, Reception
from gsrt.requests import handle, totals
from gsrt.resume import Image, Resumed
from gsrt.scripts.compiling import Compiler
from gsrt.scripts.host import Scripts
from gsrt.session import House, Session
from gsrt.sessions import Sessions
from gsrt.succession import Succession
from gsrt.timers import INFINITY, Timers
from gsrt.tokens import Tokens
from gsrt.transports.certificate import CertificateError, CertificateMaker, check_pair
from gsrt.transports.control import ControlError, ControlServer
from gsrt.transports.port import bind_port, bound_stream_buffers, forbid_fragments, has_address, size_buffers
from gsrt.waking import woken_by_signals
from gsrt.worker import Worker, deliver_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.cli.serve import Options
    from gsrt.device.containment import Contained
    from gsrt.device.linux import Outcome
    from gsrt.discovery import Announcer
    from gsrt.game.model import Game
    from gsrt.handover import Arrival
    from gsrt.linkgate import LinkGate
    from gsrt.metrics import Metrics
    from gsrt.platform import Platform
    from gsrt.scripts.sandbox import Sandbox
    from gsrt.store.precedence import Precedence

WAKE_BYTES = 4096  # numbers of signals taken at once
PAUSED_SECONDS = 0.01  # how soon a connection that is not read is looked at again

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)  # that the server heeds

SCRIPTS_BACK_SECONDS = 30.0  # for the scripts of before a restart; each takes some tenths to compile

# What a selector key stands for, besides the listener's.
UDP, STREAMS, CERTIFICATE, WAKE, WORK, STORE = "udp", "streams", "certificate", "wake", "work", "store"
ONLY_UDP = [UDP]


def wanted_port(options: Options, game: Game | None) -> int:
    """The one of the options, else the game's, else the usual one."""
    port = game.port if options.port is None and game is not None else options.port
    return DEFAULT_PORT if port is None else port


class Server:
    """A running server: made with its options, it listens; run() is the loop until stop()."""

    def __init__(
        self,
        options: Options,
        log: Log,
        resumed: Resumed | None = None,
        game: Game | None = None,
        manager: Notifier | None = None,
        profile: Profile | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        """Opens the sockets, or takes those of before a restart; the store of the `game`, if one is served. The
        `manager` of the service, if there is one, is told how it goes; `profile` is that of the options, if it has been
        read already, and `compiler` what the game's scripts were compiled with. Raises PortError, ProfileError,
        ControlError, CertificateError or StoreError."""
        resumed = resumed or Resumed()
        self.manager = manager or Notifier({}, time.monotonic)
        self.log = log
        self.clock = time.monotonic
        self.began = self.clock()
        self.profile = profile or Profile.load(options.profile)
        log.limit(self.profile.log_lines_per_second, self.profile.log_lines_burst)
        self.outcomes: list[Outcome] = []  # of what was asked of the kernel and the C library
        arenas = 0 if game is None else self.profile.malloc_arenas
        if arenas or self.profile.timer_slack_us:
            self._apply_settings(arenas, self.profile.timer_slack_us)  # before there are threads
        self.tick = (self.profile.tick_ms if options.tick_ms is None else options.tick_ms) / 1000
        self.host = options.host
        self.contained: Contained | None = None
        # Contained, a server that somebody else starts again with all it has left executes nothing, not even itself.
        self._executes = not (options.contain and self.manager.keeps)
        self._stopping = False
        self._departs = False  # another program takes this one's place
        self._reloads = False  # the files are to be read again
        self._cookie_key: bytes | None = None  # of the program before
        self.arrival: Arrival | None = None  # of those who were in when this program took another's place
        self._ticks = 0
        self._worst_tick = 0.0
        self._worst_tick_lately = 0.0
        self._flushed_at = 0.0
        self._gathers = False  # with a tick time: something had come in the turn before
        self._due = 0.0  # the first turn finds out
        self._resume_at: float | None = None
        self._options = options
        self.command = options.command
        self.script = options.script

        if options.cert is not None and options.key is not None:
            check_pair(options.cert, options.key)
        provide_descriptors(self.profile, log)
        self._listener, self._datagrams = resumed.sockets or bind_port(
            options.host, wanted_port(options, game), waits=self.manager.enabled
        )
        self.port: int = self._listener.getsockname()[1]
        if resumed.sockets is not None:
            self.host = self._listener.getsockname()[0]
        self._lacks_address = self.manager.enabled and not has_address(self._listener.getsockname()[0])
        if self._lacks_address:  # a service may be started before the network has told this machine its address
            log.warn("this machine does not have the address: players can come when it has", host=self.host)
        size_buffers(self._datagrams, self.profile)
        bound_stream_buffers(self._listener, self.profile)
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
        self.compiler = compiler or Compiler()
        self.succession = Succession(self.image, self._listener, self._datagrams, self.compiler, log)
        house.changed = self.image.changed
        if resumed.sessions is not None:
            for saved in resumed.sessions:
                self.sessions.restore(saved, self.began)
            log.info("sessions are back", sessions=len(resumed.sessions))
        self.image.keep_current()
        if resumed.live is not None:
            self._arrive(resumed.live, resumed.streams)
        self.reception.sessions = self.sessions
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._datagrams, selectors.EVENT_READ, UDP)
        self._selector.register(self.relay, selectors.EVENT_READ, STREAMS)
        self._acceptor = Acceptor(self._listener, self._selector, self.relay, self.reception, self.profile, log)
        self.control.register(self._selector)
        self.worker = Worker(
            lambda error: log.error("work failed", reason=error_text(error)), self.profile.worker_waiting_max
        )
        self._selector.register(self.worker, selectors.EVENT_READ, WORK)
        self.scripts = Scripts(self.profile, log, self.timers, self.worker, self.compiler, self.clock, os.urandom)
        self.scripts.files.quarantined = self.image.quarantined
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
    def becomes_next(self) -> bool:
        """Whether this process is to become the program that takes its place: nobody keeps what another would need."""
        return self._departs and not self.manager.keeps

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
            cookie_key = self.reception.cookie_key or self._cookie_key
            self.succession.leave_behind(self.sessions, self.relay, cookie_key, now)
        for stream in list(self.relay.streams.values()):
            stream.close()
        if self._maker is not None:
            self._maker.cancel()
        if self.box is not None:
            self.box.close()
        self.control.close()
        self.worker.close()
        self._selector.close()
        self._acceptor.close()
        if not self.succession.is_ready:
            self._listener.close()
            self._datagrams.close()
            self.image.close()

    def _arrive(self, live: bytes, streams: list[int]) -> None:
        from gsrt.handover import arrive

        self.arrival = arrive(
            live, streams, self.sessions, self.relay, self.reception.admit_again, self.log, self.began
        )
        self._cookie_key = self.arrival.cookie_key
        self._resume_at = self.began  # what has come of frames meanwhile is taken in the first turn

    def wake_on_signals(self) -> None:
        """SIGTERM and SIGINT end the loop; they interrupt its waiting."""
        reader, _ = self._wake = woken_by_signals()
        reader.set_inheritable(True)
        self.succession.wake = reader
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
        self.scripts.files.look_now()
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
            self._acceptor.accept(now)
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
            self._acceptor.again_at,
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
        self._acceptor.go_on(now)

    def _apply_settings(self, arenas: int, timer_slack_us: int) -> None:
        from gsrt.device.linux import apply_settings, describe

        self.outcomes += apply_settings(arenas, timer_slack_us)
        tell = self.log.info if all(outcome.done for outcome in self.outcomes) else self.log.warn
        tell("process settings", **describe(self.outcomes))

    def _lock_memory(self) -> None:
        from gsrt.device.linux import lock_memory

        outcome = lock_memory()
        self.outcomes.append(outcome)
        if outcome.done:
            self.log.info("memory locked")
        else:
            self.log.warn("memory is not locked", reason=outcome.why)

    def _contain(self) -> None:
        """Last of the start, if asked for: nothing that is open by now is touched by it."""
        if not self._options.contain:
            return
        from gsrt.contained import contain_server

        self.contained = contain_server(self._options, self.compiler, self.log, executes=self._executes)
        self.outcomes += self.contained.outcomes
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
        self.succession.prepare()

    def _tell_status(self, now: float) -> None:
        if self._lacks_address and has_address(self._listener.getsockname()[0]):
            self._lacks_address = False
            self.log.info("this machine has the address now", host=self.host)
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
        text += f"; strained: {', '.join(causes)}" if causes else ""
        return text + (f"; this machine does not have {self.host}" if self._lacks_address else "")

    # Scripts

    def _arm(self, sandbox: Sandbox) -> None:
        """There is a script: from now on its processor time is measured, and it cannot hang the server for good."""
        sandbox.meter.start_timer()
        self._arm_watchdog(sandbox)

    def _arm_watchdog(self, sandbox: Sandbox) -> None:
        if self.image.note >= 0:
            path, arguments, environment = self.succession.restart_command()
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
            version = self.compiler.compile_file(self.script, self.profile.script_source_bytes)
            self.scripts.files.know(self.script, version)
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

"""All scripts of a server: reading and compiling them, putting them to work in sessions, exchanging changed ones.

Files are looked at and compiled on the worker thread; everything else happens on the loop's.
"""

from __future__ import annotations

import os
import time

from gsrt.log import error_text
from gsrt.scripts.compiling import HostError, compile_file, stamp_of
from gsrt.scripts.journal import BURST_SECONDS, Journal, LineBudget
from gsrt.session import KICKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from gsrt.backend.desk import Desk
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.compiling import Stamp
    from gsrt.scripts.guest import Guest
    from gsrt.scripts.quality import Figures
    from gsrt.scripts.recording import Recorder
    from gsrt.scripts.reload import Nowhere
    from gsrt.scripts.sandbox import Sandbox
    from gsrt.session import Session
    from gsrt.timers import Timer, Timers
    from gsrt.worker import Worker

    Prepared = tuple[Compiled, Stamp]

    class Watching(Protocol):
        """Whoever runs a script and takes up its changes."""

        @property
        def path(self) -> str: ...
        @property
        def digest(self) -> str | None:
            """Of the version that is or was at work; None: none has been."""

        def try_out(self, compiled: Compiled) -> None:
            """The file holds this now."""

        def not_taken(self, reason: str) -> None:
            """The changed file is no good."""


SEED_BYTES = 8
TOOK_PART = 64
TIDY_SECONDS = 1.0  # after a script was switched off
WRITE_SECONDS = 1.0  # how long a recording waits for the disk
RECORDING_BYTES_MAX = 64 << 20


class Scripts:
    """The server's scripts. Nothing of the sandbox is loaded before the first of them.

    `quarantined` (digest -> path) are scripts that hung the server before; `armed(sandbox)` is called once, when the
    sandbox has been made."""

    def __init__(
        self,
        profile: Profile,
        log: Log,
        timers: Timers,
        worker: Worker,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.profile = profile
        self.log = log
        self.timers = timers
        self.clock = clock
        self.worker = worker
        self.journal = Journal(profile.script_log_ring_lines, log, time.time, profile.script_log_characters_max)
        self.sandbox: Sandbox | None = None
        self.quarantined: dict[str, str] = {}
        self.allowed = True
        self.desk: Desk | None = None  # where requests are done, if a game is served
        self.armed: Callable[[Sandbox], None] = lambda sandbox: None
        self.took_much: Callable[[float], object] = lambda now: None  # told when timers' callbacks took much memory
        self._took = 0  # bytes, since that was told
        self._entropy = entropy
        self._attached: dict[str, Attached] = {}  # session id -> what runs in it
        self._watching: dict[Watching, None] = {}  # others that run scripts
        self._stamps: dict[str, Stamp] = {}  # path -> of the version looked at last
        self._preparing: dict[str, list[Callable[[Compiled | None, HostError | None], None]]] = {}  # who waits, by path
        self._versions: dict[str, Prepared] = {}  # path -> the last that could be compiled
        self._look: Timer | None = None
        self._looking = False

    def __len__(self) -> int:
        return len(self._attached)

    def get(self, session_id: str) -> Attached | None:
        """What runs in that session."""
        return self._attached.get(session_id)

    def begin_turn(self) -> bool:
        """Every script has time again; True: some had used up theirs before, and go on after let_on()."""
        return self.sandbox is not None and self.sandbox.turn.begin(True)

    def let_on(self) -> None:
        """All others have been served in this turn."""
        if self.sandbox is not None:
            self.sandbox.turn.let_on()

    @property
    def is_behind(self) -> bool:
        """Whether a script was put off to the next turn."""
        return self.sandbox is not None and self.sandbox.turn.is_behind

    # Putting to work

    def prepare(self, path: str, done: Callable[[Compiled | None, HostError | None], None]) -> None:
        """Has `done(compiled, None)` or `done(None, error)` called when the file has been compiled. Raises HostError at
        once when that cannot even begin. However many ask meanwhile, it is one job of the worker's: after a restart
        hundreds of matches begin again with the same script."""
        from gsrt.worker import WorkerError

        if not self.allowed:
            raise HostError("scripts are off: the server had to be restarted too often; see its log")
        others = self._preparing.get(path)
        if others is not None:
            others.append(done)
            return
        limit, known = self.profile.script_source_bytes, self._versions.get(path)

        waiting = [done]

        def tell(compiled: Compiled | None, error: HostError | None) -> None:
            for each in waiting:
                try:
                    each(compiled, error)
                except Exception as failed:  # the others are to hear of it all the same
                    reason = error_text(failed)
                    self.log.limited("error", "script prepared", "a compiled script was not taken", reason=reason)

        def work() -> Prepared:
            _load_runtime()
            if known is not None:
                try:
                    if stamp_of(path) == known[1]:
                        return known
                except OSError:
                    pass  # compiling it says what is wrong
            return compile_file(path, limit)

        def finished(result: Prepared | None, error: BaseException | None) -> None:
            del self._preparing[path]
            if result is None:
                unforeseen = HostError(f"{path}: {type(error).__name__}: {error}")
                tell(None, error if isinstance(error, HostError) else unforeseen)
                return
            compiled, stamp = result
            if self._stamps.get(path, stamp) != stamp:  # those that run an older version would not hear of it any more
                self._changed(path, compiled)
            self.know(path, result)
            if compiled.digest in self.quarantined:
                tell(None, HostError(f"{path}: this script has hung the server; it does not run until it has changed"))
                return
            tell(compiled, None)

        try:
            self.worker.submit(work, finished)
            self._preparing[path] = waiting
        except WorkerError as error:
            raise HostError(str(error)) from None

    def know(self, path: str, version: Prepared) -> None:
        """What the file holds has been compiled: as long as it does not change, it is not again."""
        self._stamps[path] = version[1]
        self._versions[path] = version

    def attach(
        self,
        session: Session,
        path: str,
        compiled: Compiled,
        now: float,
        record: str | None = None,
        *,
        restored: bool = False,
    ) -> None:
        """Puts a script to work in a session: its top level runs, and its `on_restore` if the session was `restored`
        after a restart. Raises HostError; the session then has none."""
        from gsrt.scripts.guest import ScriptError

        for warning in compiled.warnings:
            self.log.warn("script", session=session.session_id, text=str(warning))
        attached = self._place(session, path, restored)
        try:
            attached.begin(compiled, now, record)
        except ScriptError as error:
            raise HostError(str(error)) from None
        except OSError as error:
            raise HostError(f"{record}: {error.strerror}") from None
        self._enter(attached, now)

    def leave_off(self, session: Session, path: str, now: float, *, restored: bool = False) -> None:
        """The session is to have the script, which cannot run as it is: it begins when its file has changed."""
        self._enter(self._place(session, path, restored), now)

    def _place(self, session: Session, path: str, restored: bool) -> Attached:
        return Attached(self, session, path, int.from_bytes(self._entropy(SEED_BYTES), "little"), restored)

    def put_to_work(
        self,
        session: Session,
        path: str,
        compiled: Compiled | None,
        error: HostError | None,
        now: float,
        *,
        restored: bool = False,
    ) -> None:
        """What `prepare` has brought goes to work in a session that is to be played even without it."""
        try:
            if compiled is None:
                raise error or HostError("it cannot be compiled")
            self.attach(session, path, compiled, now, restored=restored)
        except HostError as refused:
            self.log.error("session goes on without its script", session=session.session_id, reason=str(refused))
            self.leave_off(session, path, now, restored=restored)

    def begin_again(self, session: Session, path: str) -> None:
        """After a restart of the server, the session's script begins anew."""

        def prepared(compiled: Compiled | None, error: HostError | None) -> None:
            if not session.ended:
                self.put_to_work(session, path, compiled, error, self.clock(), restored=True)

        try:
            self.prepare(path, prepared)
        except HostError as refused:
            prepared(None, refused)

    def _enter(self, attached: Attached, now: float) -> None:
        session = attached.session
        self._attached[session.session_id] = attached
        session.script = attached.path
        session.guest = attached
        self.count_memory(attached, now)
        self._look_later(now)

    def detach(self, attached: Attached) -> None:
        """The session is over."""
        self._attached.pop(attached.session.session_id, None)

    def watch(self, watching: Watching) -> None:
        """From now on it is told of changes of its file."""
        self._watching[watching] = None
        self._look_later(self.clock())

    def unwatch(self, watching: Watching) -> None:
        """It is not any more."""
        self._watching.pop(watching, None)

    def new_seed(self) -> int:
        """For the random numbers of a script."""
        return int.from_bytes(self._entropy(SEED_BYTES), "little")

    def needed_sandbox(self) -> Sandbox:
        """The sandbox, made now if this is the first script."""
        if self.sandbox is None:
            from gsrt.scripts.sandbox import Sandbox

            self.sandbox = Sandbox(self.profile, self.journal)
            self.armed(self.sandbox)
        return self.sandbox

    def switch_off_largest(self, least: int, reason: str) -> int | None:
        """Switches off the script that holds most, for a REASON that need be no fault of its own: how many bytes that
        were. None: none holds LEAST of them."""
        largest: Attached | None = None
        for each in self._attached.values():
            if each.held_bytes >= least:
                largest, least = each, each.held_bytes
        if largest is None or largest.guest is None:
            return None
        largest.guest.close()
        largest.switched_off(reason)
        return least

    def count_memory(self, attached: Attached, now: float) -> None:
        """What a script has taken outside of packets, where many may in one turn: beyond a part of the memory that
        there may be, it is looked at."""
        guest = attached.guest
        if guest is None:
            return
        self._took += guest.handlers.took
        guest.handlers.took = 0
        if self._took > self.profile.memory_bytes_max // TOOK_PART:
            self._took = 0
            self.took_much(now)

    def tidy_up(self) -> None:
        """A script has gone that may have taken much: what is left of it goes back to the system, a little later."""

        def work(now: float) -> None:
            import gc

            from gsrt._meter import give_back_memory

            gc.collect()
            give_back_memory()

        self.timers.set(self.clock() + TIDY_SECONDS, work)

    # Changed files

    def look_now(self) -> None:
        """Looks at the files before it is time, unless that happens already."""
        if not self._looking:
            self.timers.cancel(self._look)
            self._look_at_files(self.clock())

    def _look_later(self, now: float) -> None:
        if self._look is None and self.profile.script_reload_seconds > 0 and (self._attached or self._watching):
            self._look = self.timers.set(now + self.profile.script_reload_seconds, self._look_at_files)

    def _look_at_files(self, now: float) -> None:
        from gsrt.worker import WorkerError

        self._look = None
        paths = {each.path for each in (*self._attached.values(), *self._watching)}
        for path in set(self._stamps) - paths:
            del self._stamps[path]
            self._versions.pop(path, None)
        known = {path: self._stamps.get(path) for path in paths}
        if not known:
            return
        limit = self.profile.script_source_bytes

        def work() -> list[tuple[str, Stamp, Compiled | HostError]]:
            found: list[tuple[str, Stamp, Compiled | HostError]] = []
            for path, stamp in known.items():
                try:
                    now_is = stamp_of(path)
                except OSError:
                    continue  # being replaced, or deleted: what runs goes on
                if now_is == stamp:
                    continue
                try:
                    compiled, now_is = compile_file(path, limit)
                    found.append((path, now_is, compiled))
                except HostError as error:
                    found.append((path, now_is, error))
            return found

        def finished(found: list[tuple[str, Stamp, Compiled | HostError]] | None, error: BaseException | None) -> None:
            self._looking = False
            for path, stamp, result in found or ():
                self._stamps[path] = stamp
                if not isinstance(result, HostError):
                    self._versions[path] = (result, stamp)
                self._changed(path, result)
            self._look_later(self.clock())

        try:
            self.worker.submit(work, finished)
            self._looking = True
        except WorkerError:
            self._look_later(now)

    def _changed(self, path: str, result: Compiled | HostError) -> None:
        concerned: list[Watching] = [*self._attached.values(), *self._watching]
        for each in concerned:
            if each.path != path:
                continue
            if isinstance(result, HostError):
                each.not_taken(str(result))
            elif result.digest in self.quarantined:
                each.not_taken("it has hung the server before")
            elif result.digest != each.digest:
                each.try_out(result)


def _load_runtime() -> None:
    """Loads what scripts are run by, with the first of them; on the worker, for it takes longer than players should
    wait."""
    from gsrt.scripts import event_guest, sandbox  # noqa: F401


class Attached:
    """A script's place in a session: the guest that is at work there, and its surroundings (see gsrt.scripts.guest)."""

    def __init__(self, scripts: Scripts, session: Session, path: str, seed: int, restored: bool = False) -> None:
        self.session = session
        self.path = path
        self.guest: Guest | None = None  # None: switched off
        self.state = "off"  # or "running"
        self.digest: str | None = None  # of the version that is or was at work; None: none has been
        self.reloads = 0
        self._leaving: set[int] = set()  # peers that are about to be kicked
        self._scripts = scripts
        self._seed = seed
        self._restored = restored  # it was there before the server's restart
        self._trial: Timer | None = None
        self._tape: Tape | None = None
        profile = scripts.profile
        self._lines = LineBudget(
            profile.script_log_lines_per_second,
            profile.script_log_lines_per_second * BURST_SECONDS,
            scripts.clock(),
        )

    # Life

    def begin(self, compiled: Compiled, now: float, record: str | None) -> None:
        """Raises ScriptError, or OSError when the recording cannot be made."""
        guest = self._make(compiled, self)
        guest.load(now, self._here(), restored=self._restored)
        if record is not None:
            try:
                self._tape = Tape(self, record)
            except OSError:
                guest.close()
                raise
        self._take_over(guest)

    def _make(self, compiled: Compiled, surroundings: Attached | Nowhere) -> Guest:
        from gsrt.resume import script_tag
        from gsrt.scripts.guest import Guest

        session = self.session
        return Guest(
            self._scripts.needed_sandbox(),
            compiled,
            surroundings,
            session_id=session.session_id,
            players={each.peer_id: each.player_id for each in session.players},
            seed=self._seed,
            began=session.began,
            tag=script_tag(session.session_id, compiled.digest, self.path),
        )

    def _here(self) -> list[int]:
        return [each.peer_id for each in self.session.players if each.announced]

    def _take_over(self, guest: Guest) -> None:
        self.guest = guest
        self.digest = guest.compiled.digest
        self.state = "running"
        guest.handlers.recorder = None if self._tape is None else self._tape.recorder.packet
        self.session.room.interceptor = guest.handlers

    def ended(self) -> None:
        """The session is over."""
        self._stop_trial()
        if self.guest is not None:
            self.guest.close()
            self.guest = None
        self.session.room.interceptor = None
        if self._tape is not None:
            self._tape.close()
        self._scripts.detach(self)

    def added(self, peer_id: int, player_id: str) -> None:
        """One more player is expected."""
        if self.guest is not None:
            self.guest.added(peer_id, player_id)

    def removed(self, peer_id: int) -> None:
        """A player who has left is not expected any more."""
        if self.guest is not None:
            self.guest.removed(peer_id)

    def connected(self, peer_id: int, now: float) -> None:
        """A player is ready, and the others have been told."""
        if self._tape is not None:
            self._tape.recorder.connect((now - self.session.began) * 1000, peer_id)
        if self.guest is not None:
            self.guest.connected(peer_id, now)

    def disconnected(self, peer_id: int, now: float) -> None:
        """A player has left, and the others have been told."""
        if self._tape is not None:
            self._tape.recorder.disconnect((now - self.session.began) * 1000, peer_id)
        if self.guest is not None:
            self.guest.disconnected(peer_id, now)

    @property
    def held_bytes(self) -> int:
        """What the script holds, about; 0: it is off."""
        return 0 if self.guest is None else self.guest.handlers.account.bytes_now

    def figures(self) -> dict[str, Any]:
        """For the status."""
        found: dict[str, Any] = {"path": self.path, "state": self.state, "reloads": self.reloads}
        guest = self.guest
        if guest is not None:
            handlers = guest.handlers
            found |= {
                "strikes": guest.strikes,
                "failures": guest.failures,
                "calls": handlers.calls,
                "sent": handlers.sent,
                "milliseconds": handlers.seconds * 1000,
                "longestMs": handlers.longest * 1000,
                "gasMost": handlers.account.gas_most,
                "heldBytes": handlers.account.held_bytes,
            }
        return found

    # The surroundings of its guest

    def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> int:
        return self.session.room.deliver(frame, peers, reliable)

    def later(self, when: float, callback: Callable[[float], None]) -> Timer:
        def run(now: float) -> None:
            callback(now)
            self._scripts.count_memory(self, now)

        return self._scripts.timers.set(when, run)

    def cancel(self, timer: Timer | None) -> None:
        self._scripts.timers.cancel(timer)

    def quality(self, peer_id: int, at: int) -> Figures | None:
        figures = self._known_of(peer_id)
        if self._tape is not None:
            self._tape.recorder.quality(at, peer_id, figures)
        return figures

    def _known_of(self, peer_id: int) -> Figures | None:
        from gsrt.scripts.quality import figures_of

        for player in self.session.players:
            if player.peer_id == peer_id:
                link = player.member.link
                return None if link is None else figures_of(link.quality())
        return None

    def kick(self, peer_id: int, reason: str) -> None:
        """Not at once: the callback that asks for it is looking at who is here."""
        if peer_id not in self._leaving:
            self._leaving.add(peer_id)
            self._scripts.timers.set(self._scripts.clock(), lambda now: self._kick(peer_id, reason, now))

    def _kick(self, peer_id: int, reason: str, now: float) -> None:
        self._leaving.discard(peer_id)
        for player in self.session.players:
            if player.peer_id == peer_id and player.state != KICKED and not self.session.ended:
                self._scripts.log.info(
                    "kicked by the script", session=self.session.session_id, player=player.player_id, reason=reason
                )
                player.kick(now)

    def log(self, level: str, text: str, now: float) -> None:
        suppressed = self._lines.take(now)
        if suppressed is not None:
            name = os.path.basename(self.path)
            self._scripts.journal.add(self.session.session_id, name, level, text, suppressed=suppressed)

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
    ) -> None:
        desk = self._scripts.desk
        if desk is None:
            from gsrt.scripts.errands import absent

            done(absent())
        else:  # what is done in nobody's name keeps an order of the session's own
            desk.submit(name, fields, done, player_id=player_id, line=player_id or ("session", self.session.session_id))

    def switched_off(self, reason: str) -> None:
        """Strikes have ended it: the session goes on as a plain relay."""
        from gsrt._core import Packet

        self.guest = None
        self.state = "off"
        self.session.room.interceptor = None
        self._scripts.tidy_up()
        self._scripts.log.error(
            "script switched off",
            session=self.session.session_id,
            script=self.path,
            reason=reason,
            todo="mend it: the changed file is taken up by itself; until then the session is a plain relay",
        )
        op_code = self._scripts.profile.script_off_op_code
        if op_code:
            self.deliver(Packet(op_code, data={1: f"script switched off: {reason}"[:200]}).frame(), None, True)

    # Another version

    def try_out(self, compiled: Compiled) -> None:
        """Begins a trial of a changed script; it takes over when it passes."""
        from gsrt.scripts.guest import ScriptError
        from gsrt.scripts.reload import Trial

        self._stop_trial()
        if self.guest is None:
            self._exchange(compiled, self._scripts.clock())
            return
        trial = Trial(self._make, compiled, self.guest, self._known_of)

        def step(now: float) -> None:
            self._trial = None
            if self.guest is None:  # switched off meanwhile
                self._exchange(compiled, now)
                return
            try:
                passed = trial.step(now)
            except ScriptError as error:
                self.not_taken(str(error))
                return
            if passed:
                self._exchange(compiled, now)
            else:
                self._trial = self._scripts.timers.set(now, step)

        self._trial = self._scripts.timers.set(self._scripts.clock(), step)

    def _exchange(self, compiled: Compiled, now: float) -> None:
        from gsrt.scripts.guest import ScriptError
        from gsrt.scripts.reload import state_of

        old = self.guest
        new = self._make(compiled, self)
        state, left_out = ({}, []) if old is None else state_of(old, new.handlers.players)
        try:
            begins = self._restored and self.digest is None
            new.load(now, self._here(), None if old is None else state, restored=begins)
        except ScriptError as error:
            self.not_taken(str(error))
            return
        if old is not None:
            old.close()
        self._take_over(new)
        self.reloads += 1
        self._scripts.log.info(
            "script taken up again",
            session=self.session.session_id,
            script=self.path,
            not_handed_over=",".join(left_out) or None,
        )

    def not_taken(self, reason: str) -> None:
        """The changed file is no good; what runs goes on."""
        for line in reason.splitlines():
            self._scripts.log.error(
                "changed script not taken", session=self.session.session_id, script=self.path, reason=line
            )

    def _stop_trial(self) -> None:
        self._scripts.timers.cancel(self._trial)
        self._trial = None


class Tape:
    """The recording of one session's packets: lines are gathered, and written to disk by the worker."""

    def __init__(self, attached: Attached, path: str) -> None:
        from gsrt.scripts.recording import Recorder

        session = attached.session
        self._attached = attached
        self._scripts = attached._scripts
        self._file = open(path, "w", encoding="ascii")  # noqa: SIM115  # it stays open as long as the session
        self._lines: list[str] = []
        self._timer: Timer | None = None
        self._writing = False
        self._closing = False
        self.recorder: Recorder = Recorder(
            self,
            session_id=session.session_id,
            seed=attached._seed,
            players={each.peer_id: each.player_id for each in session.players},
            bytes_max=RECORDING_BYTES_MAX,
        )

    def write(self, text: str) -> int:
        """A line, for later."""
        self._lines.append(text)
        self._hand_over_later()
        return len(text)

    def _hand_over_later(self) -> None:
        if self._timer is None and self._lines and not self._writing and not self._closing:
            self._timer = self._scripts.timers.set(self._scripts.clock() + WRITE_SECONDS, self._hand_over)

    def flush(self) -> None:
        """Not here: it could keep the loop waiting."""

    def close(self) -> None:
        self.recorder.close((self._scripts.clock() - self._attached.session.began) * 1000)
        self._scripts.timers.cancel(self._timer)
        self._closing = True
        if not self._writing:
            # The last second's lines; the worker may not be there any more when the server ends.
            try:
                self._write("".join(self._lines), True)
            except OSError as error:
                self._trouble(error)

    def _hand_over(self, now: float) -> None:
        from gsrt.worker import WorkerError

        self._timer = None
        text, last = "".join(self._lines), self._closing
        self._lines.clear()
        try:
            self._scripts.worker.submit(lambda: self._write(text, last), self._written)
        except WorkerError as error:
            self._trouble(error)
        else:
            self._writing = True

    def _write(self, text: str, last: bool) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        finally:
            if last:
                self._file.close()

    def _written(self, nothing: None, error: BaseException | None) -> None:
        self._writing = False
        if error is not None:
            self._trouble(error)
        if self._closing and not self._file.closed:
            self._hand_over(0.0)
        self._hand_over_later()

    def _trouble(self, error: BaseException) -> None:
        self._scripts.log.limited("error", "recording", "recording not written", reason=str(error))

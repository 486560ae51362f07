"""All scripts of a server: reading and compiling them, putting them to work in sessions, exchanging changed ones.

Files are looked at and compiled on the worker thread; everything else happens on the loop's.
"""

from __future__ import annotations

import time

from gsrt.log import error_text
from gsrt.scripts.compiling import HostError, stamp_of
from gsrt.scripts.journal import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from gsrt.backend.desk import Desk
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.scripts.attached import Attached
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.compiling import Compiler, Stamp
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
        compiler: Compiler,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.profile = profile
        self.log = log
        self.timers = timers
        self.clock = clock
        self.worker = worker
        self.compiler = compiler
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
            return self.compiler.compile_file(path, limit)

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
        from gsrt.scripts.attached import Attached

        return Attached(self, session, path, self.new_seed(), restored)

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
                    compiled, now_is = self.compiler.compile_file(path, limit)
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
    from gsrt.scripts import attached, event_guest, sandbox  # noqa: F401

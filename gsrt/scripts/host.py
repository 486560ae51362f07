"""All scripts of a server: what they share, and putting them to work in sessions."""

from __future__ import annotations

import time

from gsrt.scripts.compiling import HostError
from gsrt.scripts.files import ScriptFiles
from gsrt.scripts.journal import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.backend.desk import Desk
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.scripts.attached import Attached
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.compiling import Compiler
    from gsrt.scripts.sandbox import Sandbox
    from gsrt.session import Session
    from gsrt.timers import Timers
    from gsrt.worker import Worker

SEED_BYTES = 8
TOOK_PART = 64
TIDY_SECONDS = 1.0  # after a script was switched off


class Scripts:
    """The server's scripts. Nothing of the sandbox is loaded before the first of them.

    `armed(sandbox)` is called once, when the sandbox has been made."""

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
        self.journal = Journal(profile.script_log_ring_lines, log, time.time, profile.script_log_characters_max)
        self.sandbox: Sandbox | None = None
        self.allowed = True
        self.desk: Desk | None = None  # where requests are done, if a game is served
        self.armed: Callable[[Sandbox], None] = lambda sandbox: None
        self.took_much: Callable[[float], object] = lambda now: None  # told when timers' callbacks took much memory
        self._took = 0  # bytes, since that was told
        self._entropy = entropy
        self._attached: dict[str, Attached] = {}  # session id -> what runs in it
        self.files = ScriptFiles(profile, log, timers, worker, compiler, clock)

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
        """See ScriptFiles. Raises HostError at once, too, when scripts may not run at all."""
        if not self.allowed:
            raise HostError("scripts are off: the server had to be restarted too often; see its log")
        self.files.prepare(path, done)

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
        self.files.watch(attached)

    def detach(self, attached: Attached) -> None:
        """The session is over."""
        self._attached.pop(attached.session.session_id, None)
        self.files.unwatch(attached)

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

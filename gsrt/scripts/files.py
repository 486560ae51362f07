"""The files of scripts: each is compiled once, and again when it has changed, which those that run it are told.

They are looked at and compiled on the worker thread; everything else happens on the loop's.
"""

from __future__ import annotations

from gsrt.log import error_text
from gsrt.scripts.compiling import HostError, stamp_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.compiling import Compiler, Stamp
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


class ScriptFiles:
    """`quarantined` (digest -> path) are versions that hung the server before, and do not run again."""

    def __init__(
        self,
        profile: Profile,
        log: Log,
        timers: Timers,
        worker: Worker,
        compiler: Compiler,
        clock: Callable[[], float],
    ) -> None:
        self._profile = profile
        self._log = log
        self._timers = timers
        self._worker = worker
        self._compiler = compiler
        self._clock = clock
        self.quarantined: dict[str, str] = {}
        self._watching: dict[Watching, None] = {}
        self._stamps: dict[str, Stamp] = {}  # path -> of the version looked at last
        self._preparing: dict[str, list[Callable[[Compiled | None, HostError | None], None]]] = {}  # who waits, by path
        self._versions: dict[str, Prepared] = {}  # path -> the last that could be compiled
        self._look: Timer | None = None
        self._looking = False

    def prepare(self, path: str, done: Callable[[Compiled | None, HostError | None], None]) -> None:
        """Has `done(compiled, None)` or `done(None, error)` called when the file has been compiled. Raises HostError at
        once when that cannot even begin. However many ask meanwhile, it is one job of the worker's: after a restart
        hundreds of matches begin again with the same script."""
        from gsrt.worker import WorkerError

        others = self._preparing.get(path)
        if others is not None:
            others.append(done)
            return
        limit, known = self._profile.script_source_bytes, self._versions.get(path)

        waiting = [done]

        def tell(compiled: Compiled | None, error: HostError | None) -> None:
            for each in waiting:
                try:
                    each(compiled, error)
                except Exception as failed:  # the others are to hear of it all the same
                    reason = error_text(failed)
                    self._log.limited("error", "script prepared", "a compiled script was not taken", reason=reason)

        def work() -> Prepared:
            _load_runtime()
            if known is not None:
                try:
                    if stamp_of(path) == known[1]:
                        return known
                except OSError:
                    pass  # compiling it says what is wrong
            return self._compiler.compile_file(path, limit)

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
            self._worker.submit(work, finished)
            self._preparing[path] = waiting
        except WorkerError as error:
            raise HostError(str(error)) from None

    def know(self, path: str, version: Prepared) -> None:
        """What the file holds has been compiled: as long as it does not change, it is not again."""
        self._stamps[path] = version[1]
        self._versions[path] = version

    def watch(self, watching: Watching) -> None:
        """From now on it is told of changes of its file."""
        self._watching[watching] = None
        self._look_later(self._clock())

    def unwatch(self, watching: Watching) -> None:
        """It is not any more."""
        self._watching.pop(watching, None)

    def look_now(self) -> None:
        """Looks at the files before it is time, unless that happens already."""
        if not self._looking:
            self._timers.cancel(self._look)
            self._look_at_files(self._clock())

    def _look_later(self, now: float) -> None:
        if self._look is None and self._profile.script_reload_seconds > 0 and self._watching:
            self._look = self._timers.set(now + self._profile.script_reload_seconds, self._look_at_files)

    def _look_at_files(self, now: float) -> None:
        from gsrt.worker import WorkerError

        self._look = None
        paths = {each.path for each in self._watching}
        for path in set(self._stamps) - paths:
            del self._stamps[path]
            self._versions.pop(path, None)
        known = {path: self._stamps.get(path) for path in paths}
        if not known:
            return
        limit = self._profile.script_source_bytes

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
                    compiled, now_is = self._compiler.compile_file(path, limit)
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
            self._look_later(self._clock())

        try:
            self._worker.submit(work, finished)
            self._looking = True
        except WorkerError:
            self._look_later(now)

    def _changed(self, path: str, result: Compiled | HostError) -> None:
        for each in list(self._watching):
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

"""Changes of a game's files are taken up while the server runs. They are looked for and read on the worker thread."""

from __future__ import annotations

from gsrt.game.model import GameError
from gsrt.game.reading import read_game, stamps_of
from gsrt.log import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.game.model import Game
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.scripts.compiling import Compiler, Stamp
    from gsrt.timers import Timer, Timers
    from gsrt.worker import Worker

    Found = tuple[dict[str, Stamp], Game | GameError] | None  # None: nothing has changed

FIXED = ("api_key", "secret", "port")  # what a server keeps until it starts anew
LINES_MAX = 10  # of mistakes, in the log


class Watcher:
    """Looks at the files of a game every `seconds` (0: never). `changed(game)` is told of a new one; where that has
    mistakes, the log is, once, and the old one stays."""

    def __init__(
        self,
        game: Game,
        profile: Profile,
        worker: Worker,
        compiler: Compiler,
        timers: Timers,
        clock: Callable[[], float],
        changed: Callable[[Game], None],
        log: Log,
    ) -> None:
        self.game = game
        self._profile = profile
        self._worker = worker
        self._compiler = compiler
        self._timers = timers
        self._clock = clock
        self._seconds = profile.game_reload_seconds
        self._changed = changed
        self._log = log
        self._stamps = game.stamps  # of the version looked at last
        self._said: set[str] = set()  # of what is fixed: which changes the log has told of
        self._timer: Timer | None = None
        self._open = True
        self._look_later()

    def close(self) -> None:
        """Nothing is looked at any more."""
        self._open = False
        self._timers.cancel(self._timer)

    def look_now(self) -> None:
        """Looks before it is time, unless that happens already."""
        if self._open and (self._timer is not None or self._seconds == 0):
            self._timers.cancel(self._timer)
            self._look(self._clock())

    def _look_later(self) -> None:
        if self._open and self._seconds > 0:
            self._timer = self._timers.set(self._clock() + self._seconds, self._look)

    def _look(self, now: float) -> None:
        from gsrt.worker import WorkerError

        self._timer = None
        before, game, profile, compiler = self._stamps, self.game, self._profile, self._compiler

        def work() -> Found:
            stamps = stamps_of(game.folder)
            if stamps == before:
                return None
            try:
                return stamps, read_game(game.folder, profile, known=game, compiler=compiler)
            except GameError as error:
                return stamps, error

        try:
            self._worker.submit(work, self._looked)
        except WorkerError:
            self._look_later()

    def _looked(self, found: Found, error: BaseException | None) -> None:
        if not self._open:
            return
        if error is not None:
            self._log.limited("error", "game", "the game cannot be looked at", reason=error_text(error))
        elif found is not None:
            self._stamps, game = found
            if isinstance(game, GameError):
                self._refuse(game)
            else:
                self._take(game)
        self._look_later()

    def _refuse(self, error: GameError) -> None:
        mistakes = error.mistakes
        self._log.error("game not taken up", folder=self.game.folder, mistakes=len(mistakes))
        for each in mistakes[:LINES_MAX]:
            self._log.error("game", text=str(each))

    def _take(self, game: Game) -> None:
        for name in FIXED:
            if getattr(game, name) == getattr(self.game, name):
                self._said.discard(name)
                continue
            if name not in self._said:
                self._said.add(name)
                self._log.warn("restart needed", folder=game.folder, changed=name)
            setattr(game, name, getattr(self.game, name))
        self.game = game
        self._log.info("game taken up", folder=game.folder)
        self._changed(game)

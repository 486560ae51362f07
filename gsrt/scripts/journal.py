"""What scripts have written: the collection `realtime.log`, the newest lines of all sessions.

The newest are in memory. Where a game is served, a keeper hands them to the store too, which keeps more of them, and
through a restart of the server.
"""

from __future__ import annotations

from gsrt.bucket import Bucket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.log import Log
    from gsrt.store.store import Store
    from gsrt.timers import Timer, Timers

    Older = Callable[[list[dict[str, object]] | None, BaseException | None], None]

CHARACTERS_MAX = 1024  # of one line
LINES_AT_ONCE = 200
LINES_WAITING_MAX = 1000  # for the store, within a second
WRITE_SECONDS = 1.0  # between two writes of the store
BURST_SECONDS = 10  # so many seconds' worth of a script's lines at once


class Journal:
    """A ring of the newest lines, numbered from 1 as they come. Each is a line of the server's log too."""

    __slots__ = ("_characters_max", "_clock", "_lines", "_lines_max", "_log", "_newest", "keeper")

    def __init__(
        self, lines_max: int, log: Log, clock: Callable[[], float], characters_max: int = CHARACTERS_MAX
    ) -> None:
        """CLOCK gives the time of day, in seconds since 1970. Of a line CHARACTERS_MAX characters are kept."""
        self._lines_max = lines_max
        self._characters_max = characters_max
        self._log = log
        self._clock = clock
        self.keeper: Keeper | None = None
        self._newest = 0  # its number
        # Line n is at (n - 1) % lines_max: number, time, session, script, level, text, suppressed.
        self._lines: list[tuple[int, float, str, str, str, str, int]] = []

    def keep_in(self, store: Store, timers: Timers, clock: Callable[[], float], rows_max: int) -> None:
        """From now on lines are kept in the STORE as well, ROWS_MAX of them. CLOCK gives seconds for the TIMERS."""
        self.keeper = Keeper(store, timers, clock, rows_max, self._log)

    def close(self) -> None:
        """The server ends: what was not handed to the store yet is now."""
        if self.keeper is not None:
            self.keeper.hand_over()
            self.keeper = None

    def rest(self, whether: bool) -> None:
        """WHETHER no lines are kept in the store for a while: it has no room for what can be done without."""
        if self.keeper is not None:
            self.keeper.rests = whether

    @property
    def newest(self) -> int:
        """The number of the newest line; 0: there was none yet."""
        return self._newest

    def add(
        self, session_id: str, script: str, level: str, text: str, at: float | None = None, suppressed: int = 0
    ) -> None:
        """Takes a line of a SCRIPT. LEVEL: debug, info, warn or error. AT: seconds since 1970; None: now. SUPPRESSED:
        how many lines of it were thrown away since the one before."""
        if len(text) > self._characters_max:
            text = text[: self._characters_max] + "..."
        self._newest += 1
        line = (self._newest, self._clock() if at is None else at, session_id, script, level, text, suppressed)
        if len(self._lines) < self._lines_max:
            self._lines.append(line)
        else:
            self._lines[(self._newest - 1) % self._lines_max] = line
        if self.keeper is not None:
            self.keeper.take(line[1:])
        # The log quotes what is not plain, so that a text cannot pass for another line or another field.
        tell = {"warn": self._log.warn, "error": self._log.error}.get(level, self._log.info)
        tell("script", session=session_id, script=script, level=level, text=text, suppressed=suppressed or None)

    def after(
        self, number: int, session: str | None = None, limit: int = LINES_AT_ONCE
    ) -> tuple[list[dict[str, object]], int]:
        """At most LIMIT lines with numbers above NUMBER, of one SESSION or of all, oldest first, and the number to ask
        with next time.

        A line is {number, time (seconds since 1970), session, script, level, text, suppressed}. A NUMBER above the
        newest line's is one of a server before this one: it gets all there is."""
        if number > self._newest:
            number = 0
        entries: list[dict[str, object]] = []
        oldest = self._newest - len(self._lines) + 1
        for each in range(max(number + 1, oldest), self._newest + 1):
            line = self._lines[(each - 1) % self._lines_max]
            if session is not None and line[2] != session:
                continue
            if len(entries) >= limit:
                return entries, each - 1
            entries.append(
                {
                    "number": line[0],
                    "time": line[1],
                    "session": line[2],
                    "script": line[3],
                    "level": line[4],
                    "text": line[5],
                    "suppressed": line[6],
                }
            )
        return entries, self._newest


class Keeper:
    """Takes lines to the store: all of a second together, for every write wears a card."""

    __slots__ = (
        "_clock",
        "_lines",
        "_log",
        "_lost",
        "_operations",
        "_rows_max",
        "_store",
        "_timer",
        "_timers",
        "rests",
    )

    def __init__(self, store: Store, timers: Timers, clock: Callable[[], float], rows_max: int, log: Log) -> None:
        from gsrt.backend import journal  # not as late as the server's end: an upgrade has changed the files by then

        self._operations = journal
        self._store = store
        self._timers = timers
        self._clock = clock
        self._rows_max = rows_max
        self._log = log
        self._lines: list[tuple[float, str, str, str, str, int]] = []  # not handed over yet
        self._lost = 0  # lines since the last that were handed over
        self._timer: Timer | None = None
        self.rests = False  # nothing is taken for a while

    def take(self, line: tuple[float, str, str, str, str, int]) -> None:
        """One more: see gsrt.backend.journal. In a flood the first ones stay."""
        if self.rests or len(self._lines) >= LINES_WAITING_MAX:
            self._lost += 1
            return
        self._lines.append(line)
        if self._timer is None:
            self._timer = self._timers.set(self._clock() + WRITE_SECONDS, lambda now: self.hand_over())

    def hand_over(self) -> None:
        """Everything there is, now."""
        from gsrt.store.store import StoreError

        self._timers.cancel(self._timer)
        self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._lost:
            at, session, script, level, text, suppressed = lines[-1]
            lines[-1] = (at, session, script, level, text, suppressed + self._lost)
            self._lost = 0
        try:
            self._store.submit(self._operations.append, (lines, self._rows_max), self._written)
        except StoreError as error:
            self._written(None, error)

    def older(self, number: int, session: str | None, done: Older) -> None:
        """Has `done(lines, None)` called with kept lines after that number, those of this moment included; or
        `done(None, error)`. Raises StoreError."""
        self.hand_over()
        self._store.submit(self._operations.after, (number, session), done)

    def _written(self, nothing: object, error: BaseException | None) -> None:
        if error is not None:
            # They are in the ring and in the server's log; kept here they would be more and more.
            self._log.limited("error", "journal", "lines of scripts were not kept", reason=str(error))


class LineBudget:
    """How much one script may write: a number of lines each second, and some more at once after a silence."""

    __slots__ = ("_bucket", "_suppressed")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        """NOW: seconds, on any clock that does not go back."""
        self._bucket = Bucket(per_second, burst, now)
        self._suppressed = 0

    def take(self, now: float) -> int | None:
        """Whether one more line may be written: None: no. Else how many were not since the last one that was."""
        if not self._bucket.take(now):
            self._suppressed += 1
            return None
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed

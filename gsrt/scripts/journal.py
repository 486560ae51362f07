"""What scripts have written: the collection `realtime.log`, the newest lines of all sessions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.log import Log

CHARACTERS_MAX = 1024  # of one line
LINES_AT_ONCE = 200
BURST_SECONDS = 10  # so many seconds' worth of a script's lines at once


class Journal:
    """A ring of the newest lines, numbered from 1 as they come. Each is a line of the server's log too."""

    __slots__ = ("_characters_max", "_clock", "_lines", "_lines_max", "_log", "_newest")

    def __init__(
        self, lines_max: int, log: Log, clock: Callable[[], float], characters_max: int = CHARACTERS_MAX
    ) -> None:
        """CLOCK gives the time of day, in seconds since 1970. Of a line CHARACTERS_MAX characters are kept."""
        self._lines_max = lines_max
        self._characters_max = characters_max
        self._log = log
        self._clock = clock
        self._newest = 0  # its number
        # Line n is at (n - 1) % lines_max: number, time, session, script, level, text, suppressed.
        self._lines: list[tuple[int, float, str, str, str, str, int]] = []

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


class LineBudget:
    """How much one script may write: a number of lines each second, and some more at once after a silence."""

    __slots__ = ("_at", "_burst", "_left", "_per_second", "_suppressed")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        """NOW: seconds, on any clock that does not go back."""
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = now
        self._suppressed = 0

    def take(self, now: float) -> int | None:
        """Whether one more line may be written: None: no. Else how many were not since the last one that was."""
        self._left = min(self._burst, self._left + max(now - self._at, 0.0) * self._per_second)
        self._at = now
        if self._left < 1:
            self._suppressed += 1
            return None
        self._left -= 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed

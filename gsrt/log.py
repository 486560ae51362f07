"""Log lines for the host: one event a line, `level event key=value ...`. Whoever runs the server adds the date
(systemd's journal does). The standard library's logging would cost more memory than all of a session's players."""

from __future__ import annotations

import select

# the C function behind json.dumps, without the module, which costs half a megabyte
from _json import encode_basestring_ascii as quoted

from gsrt.bucket import Bucket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

LIMITED_SECONDS = 5.0  # a flood of one kind of trouble is one line in this time
KINDS_MAX = 256  # kinds remembered; they are names in the code, so this only stops a mistake from growing without end
VALUE_CHARACTERS_MAX = 200  # what one value may fill of a line: some of them come from strangers
ERRORS_SHARE = 10  # one part in so many of what may be written at once is left to errors
TEXT_CHARACTERS_MAX = 600  # the same for what a script has written; quoted, it still fits a pipe that is ready

# A value made of these stands as it is; any other is quoted, so that one event is one line that a program can cut up.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:,;/@+%#*()[]<>!?|~^&$")


class Log:
    """Writes lines to STREAM; NOW gives the time in seconds (monotonic). A stream that takes no more lines is no
    reason to stop serving: such lines are only counted, in `lost`."""

    __slots__ = ("_bucket", "_for_errors", "_kinds", "_now", "_stream", "_untold", "lost", "suppressed")

    def __init__(self, stream: TextIO, now: Callable[[], float]) -> None:
        self._stream = stream
        self._now = now
        self._kinds: dict[str, tuple[float, int]] = {}  # kind -> (time of its last line, lines kept back since)
        self._bucket: Bucket | None = None  # of lines; None: no limit yet
        self._for_errors = 0  # lines of it that are kept for them
        self._untold = 0  # of `suppressed`, those that no line has told of
        self.lost = 0
        self.suppressed = 0

    def limit(self, lines_per_second: float, burst: int) -> None:
        """From now on at most BURST lines at once and LINES_PER_SECOND on average. The rest is counted, in
        `suppressed`, and the next line that has room is preceded by one that says how many there were. The last tenth
        of the burst is kept for errors."""
        self._bucket = Bucket(lines_per_second, burst, self._now())
        self._for_errors = burst // ERRORS_SHARE

    def info(self, event: str, /, **fields: object) -> None:
        """Something that is meant to happen."""
        self._write("info", event, fields)

    def warn(self, event: str, /, **fields: object) -> None:
        """Something the server coped with, and that the host may want to know."""
        self._write("warn", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Something the host has to put right."""
        self._write("error", event, fields)

    def limited(self, level: str, kind: str, event: str, /, **fields: object) -> None:
        """The same (LEVEL is info, warn or error), but at most one line of this KIND in 5 seconds; the next one says
        how many were `suppressed` since."""
        now = self._now()
        last = self._kinds.pop(kind, None)
        if last is not None and 0 <= now - last[0] < LIMITED_SECONDS:
            self._kinds[kind] = (last[0], last[1] + 1)
            return
        if last is not None and last[1]:
            fields["suppressed"] = last[1]
        if len(self._kinds) >= KINDS_MAX:
            del self._kinds[next(iter(self._kinds))]
        self._kinds[kind] = (now, 0)
        self._write(level, event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if self._bucket is not None and not self._bucket.take(
            self._now(), keep=0 if level == "error" else self._for_errors
        ):
            self.suppressed += 1
            self._untold += 1
            return
        if self._untold:
            untold, self._untold = self._untold, 0
            self._put("warn", "log lines suppressed", {"lines": untold})
        self._put(level, event, fields)

    def _put(self, level: str, event: str, fields: dict[str, object]) -> None:
        pairs = "".join(
            f" {key}={_shown(value, TEXT_CHARACTERS_MAX if key == 'text' else VALUE_CHARACTERS_MAX)}"
            for key, value in fields.items()
            if value is not None
        )
        if not self._takes_a_line():
            self.lost += 1
            return
        try:
            self._stream.write(f"{level} {event}{pairs}\n")
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, a pipe nobody reads, a closed stream
            self.lost += 1

    def _takes_a_line(self) -> bool:
        """Whether the stream would take a line at once: a pipe that nobody reads, or a terminal stopped with Ctrl-S,
        would keep the whole server waiting. (A pipe that is ready takes 4 KB, more than a line has.)"""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # no file at all
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(0))


def error_text(error: BaseException) -> str:
    """An error that nobody has foreseen: what it is, and what it says."""
    return f"{type(error).__name__}: {error}"


def _shown(value: object, characters_max: int) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if len(text) > characters_max:
        text = text[:characters_max] + "..."
    return text if text and _PLAIN.issuperset(text) else quoted(text)

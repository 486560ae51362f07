"""Everything that is wrong with a firmware profile at once, each with its line, for `gsrt profile check`. The server
itself stops at the first mistake (gsrt.profile)."""

from __future__ import annotations

import os
import stat

from gsrt.flatfile import read_lines
from gsrt.profile import LIMITS, ORDER, expected, is_allowed
from gsrt.profile_memory import MIB, worst_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE_BYTES_MAX = 1 << 20  # a profile with all its comments has a fiftieth of it
CPP_DATAGRAM_BYTES = 1024  # what C++ clients receive into

# (a, b, what it means): with a value of a over that of b a profile is allowed, and hardly meant.
DOUBTFUL = (
    ("sessions_max", "players_max", "a session has at least one player"),
    ("players_max", "connections_max", "not all of them can be connected"),
    ("tick_ms", "slow_tick_ms", "the tick is no longer when the server is slowed"),
    ("script_turn_all_ms", "loop_lag_slow_ms", "scripts alone make the loop so late that the server is slowed"),
)


class Finding:
    """One thing to tell of a profile: its LINE (0: none in particular), the KEY it is about ("": none), and a TEXT."""

    __slots__ = ("key", "line", "text")

    def __init__(self, line: int, key: str, text: str) -> None:
        self.line = line
        self.key = key
        self.text = text


class Checked:
    """A profile's file, looked through: `mistakes`, for which the server would not take it, and `warnings`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.mistakes: list[Finding] = []
        self.warnings: list[Finding] = []
        self._is_read = False
        self._values: dict[str, int | float] = {}
        self._lines: dict[str, int] = {}  # key -> where it is set first
        try:
            self._read()
        except OSError as error:
            self._mistake(0, "", f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self._mistake(0, "", "this is no text file; a profile has lines `key = number`")
        if self._is_read:
            self._compare()
        self.mistakes.sort(key=lambda each: each.line or FILE_BYTES_MAX)

    def _mistake(self, line: int, key: str, text: str) -> None:
        self.mistakes.append(Finding(line, key, text))

    def _read(self) -> None:
        status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):
            self._mistake(0, "", "this is no file")
            return
        if status.st_size > FILE_BYTES_MAX:
            self._mistake(0, "", f"this is no profile: it has more than {FILE_BYTES_MAX} bytes")
            return
        for line in read_lines(self.path):
            if line.value is None or isinstance(line.value, (str, bool)):
                hint = f"; {line.key} is {expected(line.key)}" if line.key in LIMITS else ""
                self._mistake(line.number, line.key, f"{line.text!r} is no line `key = number`{hint}")
            elif line.key in self._lines:
                first = self._lines[line.key]
                self._mistake(line.number, line.key, f"{line.key} is set a second time, after line {first}")
            elif line.key not in LIMITS:
                self._mistake(line.number, line.key, f"there is no key {line.key!r}{_meant(line.key)}")
            elif not is_allowed(line.key, line.value):
                self._mistake(line.number, line.key, f"{line.key} is {line.value}; expected {expected(line.key)}")
            else:
                self._values[line.key] = line.value
            self._lines.setdefault(line.key, line.number)
        self._is_read = True

    def _compare(self) -> None:
        """What no line tells by itself."""
        for key in LIMITS:
            if key not in self._lines:
                self._mistake(0, key, f"{key} is missing; expected {expected(key)}")
        values = self._values
        for smaller, larger in ORDER:
            if smaller in values and larger in values and values[smaller] > values[larger]:
                self._mistake(
                    self._lines[smaller],
                    smaller,
                    f"{smaller} is {values[smaller]}; expected at most {larger}, which is {values[larger]} "
                    f"(line {self._lines[larger]})",
                )
        if not self.mistakes:
            self.warnings = [Finding(self._lines[key], key, text) for key, text in _doubts(values)]


def _doubts(values: Mapping[str, int | float]) -> Iterator[tuple[str, str]]:
    """What is allowed and hardly meant: the key it is about, and why."""
    for smaller, larger, meaning in DOUBTFUL:
        if values[smaller] > values[larger]:
            yield smaller, f"{smaller} is {values[smaller]}, {larger} is {values[larger]}: {meaning}"
    if values["script_watchdog_seconds"] * 1000 <= values["script_cpu_ms"]:
        yield (
            "script_watchdog_seconds",
            f"script_watchdog_seconds is {values['script_watchdog_seconds']}, script_cpu_ms is "
            f"{values['script_cpu_ms']}: the server starts anew before it could stop a callback",
        )
    if values["datagram_bytes_max"] > CPP_DATAGRAM_BYTES:
        yield (
            "datagram_bytes_max",
            f"datagram_bytes_max is {values['datagram_bytes_max']}: C++ clients lose datagrams of more than "
            f"{CPP_DATAGRAM_BYTES} bytes",
        )
    if not values["governor_seconds"]:
        yield "governor_seconds", "governor_seconds is 0: nobody looks at memory, heat and disk; no promise is kept"
    parts = worst_memory(values)
    worst, promise = sum(part.bytes for part in parts), values["memory_bytes_max"]
    if worst > promise:
        largest = sorted(parts, key=lambda part: -part.bytes)[:3]
        yield (
            "memory_bytes_max",
            f"memory_bytes_max is {promise / MIB:.1f} MiB; all limits at once would take {worst / MIB:.1f}, most of it "
            f"{', '.join(f'{part.what} ({part.bytes / MIB:.1f})' for part in largest)}: only the governor keeps the "
            "promise then, by refusing new sessions",
        )


def _meant(key: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key, LIMITS, 1)
    return f"; do you mean {near[0]}?" if near else ""

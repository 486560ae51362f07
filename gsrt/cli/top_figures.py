"""What `gsrt top` shows, made of two looks at the server: rates are differences of counters, over the time between."""

from __future__ import annotations

import os
import time

from gsrt.cli import CommandError
from gsrt.cli.asking import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DROPPED = "dropped_"  # what counters of packets that were not passed on begin with; the reason follows

NEEDED = {"pid", "players", "scripts", "counters", "perSession", "inside", "loop"}  # of an overview

# Of /proc/PID/stat, behind the name, in ticks, and /proc/PID/statm, in pages: proc(5).
_USER_TICKS = 11
_SYSTEM_TICKS = 12
_RESIDENT_PAGES = 1


class Look:
    """What the server said at a time (`at`, seconds of the monotonic clock), and the system of its process: processor
    time (seconds) and resident memory (bytes), None where it does not."""

    __slots__ = ("at", "cpu_seconds", "memory_bytes", "overview")

    def __init__(
        self, at: float, overview: dict[str, Any], cpu_seconds: float | None = None, memory_bytes: int | None = None
    ) -> None:
        self.at = at
        self.overview = overview
        self.cpu_seconds = cpu_seconds
        self.memory_bytes = memory_bytes


def look(control: str | None, timeout: float, inside: str | None = None) -> Look:
    """Asks the server at the control socket; INSIDE: the session of which all is wanted. Raises CommandError, and
    Unserved where there is no server."""
    overview = ask(control, {"do": "overview", "inside": inside}, timeout)
    at = time.monotonic()
    if not overview.keys() >= NEEDED:
        version = overview.get("version")
        raise CommandError(f"the server is gsrt {version}, and this is another: use the top of its own")
    return Look(at, overview, *_of_process(overview["pid"]))


def _of_process(pid: int) -> tuple[float | None, int | None]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open(f"/proc/{pid}/statm", "rb") as file:
            pages = int(file.read().split()[_RESIDENT_PAGES])
    except (OSError, IndexError):  # it is in another container, or has just ended
        return None, None
    ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


class Rates:
    """How quickly counters grow: `before` and `now` as the server gives them, so many `seconds` apart; `before` None:
    there is nothing to compare with."""

    __slots__ = ("_before", "_seconds", "now")

    def __init__(self, before: Mapping[str, float] | None, now: Mapping[str, float], seconds: float) -> None:
        self._before = before if seconds > 0 else None
        self.now = now
        self._seconds = seconds

    def of(self, name: str) -> float | None:
        """A second; what the server leaves out is 0."""
        if self._before is None:
            return None
        return max(self.now.get(name, 0) - self._before.get(name, 0), 0) / self._seconds

    @property
    def drops(self) -> dict[str, float]:
        """Packets a second that were not passed on, by reason, the most frequent first."""
        names = [name for name in self.now if name.startswith(DROPPED)]
        found = {name.removeprefix(DROPPED): self.of(name) or 0.0 for name in names}
        return dict(sorted(((name, rate) for name, rate in found.items() if rate), key=lambda each: -each[1]))

    @property
    def dropped(self) -> float | None:
        """All of them."""
        return None if self._before is None else sum(self.drops.values())


class Session:
    """One session of a frame. `script`: the state of its script, None where there is none; `round_trip_ms`: of its
    slowest link, or None."""

    __slots__ = ("age_seconds", "connected", "players", "rates", "round_trip_ms", "script", "session_id", "strikes")

    def __init__(self, told: Mapping[str, Any], rates: Rates) -> None:
        self.session_id: str = told["sessionId"]
        self.age_seconds: float = told["ageSeconds"]
        self.players: int = told["players"]
        self.connected: int = told["connected"]
        self.round_trip_ms: float | None = told["roundTripMs"]
        self.script: str | None = told["script"]
        self.strikes: int = told["strikes"]
        self.rates = rates


class Figures:
    """One frame: the last look, and what has become of the figures since one before it (None, or of another run of the
    server: rates are not known). `inside`: all about the session that was asked for, if it is there."""

    def __init__(self, before: Look | None, now: Look) -> None:
        told = now.overview
        if before is not None and (
            before.overview["pid"] != told["pid"] or before.overview["uptimeSeconds"] > told["uptimeSeconds"]
        ):
            before = None
        self.overview = told
        self.inside: dict[str, Any] | None = told["inside"]
        self.seconds = 0.0 if before is None else now.at - before.at
        self.rates = Rates(None if before is None else before.overview["counters"], told["counters"], self.seconds)
        self.governor: dict[str, Any] = told.get("governor") or {}
        known = self.governor.get("memoryBytes")
        self.memory_bytes: int | None = now.memory_bytes if known is None else known
        self.cpu_percent: float | None = self.governor.get("cpuPercent")
        if before is not None and before.cpu_seconds is not None and now.cpu_seconds is not None and self.seconds > 0:
            self.cpu_percent = max(now.cpu_seconds - before.cpu_seconds, 0.0) / self.seconds * 100
        old = {} if before is None else {each["sessionId"]: each["counters"] for each in before.overview["perSession"]}
        self.sessions = [
            # One that has begun meanwhile has counted from nothing.
            Session(each, Rates(old.get(each["sessionId"], {}) if before else None, each["counters"], self.seconds))
            for each in told["perSession"]
        ]

    def to_json(self) -> dict[str, Any]:
        """For programs: what the server said, with the rates that were made of it."""
        return {
            **self.overview,
            "seconds": self.seconds,
            "cpuPercent": self.cpu_percent,
            "memoryBytes": self.memory_bytes,
            "perSecond": {name: self.rates.of(name) for name in self.rates.now},
            "perSession": [
                {**told, "perSecond": {name: each.rates.of(name) for name in each.rates.now}}
                for told, each in zip(self.overview["perSession"], self.sessions, strict=True)
            ],
        }

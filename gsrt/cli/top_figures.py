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
HERE = ("joining", "ready")  # states of players who are connected

NEEDED = {"pid", "players", "scripts", "counters", "perSession", "loop"}  # of a status

# Of /proc/PID/stat, behind the name, in ticks, and /proc/PID/statm, in pages: proc(5).
_USER_TICKS = 11
_SYSTEM_TICKS = 12
_RESIDENT_PAGES = 1


class Look:
    """What the server said at a time (`at`, seconds of the monotonic clock), and the system of its process: processor
    time (seconds) and resident memory (bytes), None where it does not."""

    __slots__ = ("at", "cpu_seconds", "memory_bytes", "sessions", "status")

    def __init__(
        self,
        at: float,
        status: dict[str, Any],
        sessions: list[dict[str, Any]],
        cpu_seconds: float | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self.at = at
        self.status = status
        self.sessions = sessions
        self.cpu_seconds = cpu_seconds
        self.memory_bytes = memory_bytes


def look(control: str | None, timeout: float) -> Look:
    """Asks the server at the control socket. Raises CommandError, and Unserved where there is none."""
    status = ask(control, {"do": "status"}, timeout)
    at = time.monotonic()
    if not status.keys() >= NEEDED:
        raise CommandError(f"the server is gsrt {status.get('version')}, and this is another: use the top of its own")
    sessions = ask(control, {"do": "session.list"}, timeout)["sessions"]
    return Look(at, status, sessions, *_of_process(status["pid"]))


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
    """One session of a frame. `script` is None where there is none; `round_trip_ms`: of its slowest link, or None."""

    __slots__ = ("age_seconds", "connected", "links", "players", "rates", "round_trip_ms", "script", "session_id")

    def __init__(self, listed: Mapping[str, Any], told: Mapping[str, Any], rates: Rates) -> None:
        self.session_id: str = listed["sessionId"]
        self.age_seconds: float = listed["ageSeconds"]
        self.players: list[dict[str, Any]] = listed["players"]
        self.links: dict[str, dict[str, float]] = told.get("links", {})
        self.script: dict[str, Any] | None = told.get("script")
        self.rates = rates
        self.connected = sum(each["state"] in HERE for each in self.players)
        trips = [each["roundTripMs"] for each in self.players if each.get("roundTripMs") is not None]
        self.round_trip_ms: float | None = max(trips, default=None)


class Figures:
    """One frame: the last look, and what has become of the figures since the look before it (None, or of another run of
    the server: rates are not known)."""

    def __init__(self, before: Look | None, now: Look) -> None:
        if before is not None and (
            before.status["pid"] != now.status["pid"] or before.status["uptimeSeconds"] > now.status["uptimeSeconds"]
        ):
            before = None
        self.status = now.status
        self.seconds = 0.0 if before is None else now.at - before.at
        self.rates = Rates(None if before is None else before.status["counters"], now.status["counters"], self.seconds)
        self.governor: dict[str, Any] = now.status.get("governor") or {}
        known = self.governor.get("memoryBytes")
        self.memory_bytes: int | None = now.memory_bytes if known is None else known
        self.cpu_percent: float | None = self.governor.get("cpuPercent")
        if before is not None and before.cpu_seconds is not None and now.cpu_seconds is not None and self.seconds > 0:
            self.cpu_percent = max(now.cpu_seconds - before.cpu_seconds, 0.0) / self.seconds * 100
        told = {each["sessionId"]: each for each in now.status["perSession"]}
        old = {} if before is None else {each["sessionId"]: each["counters"] for each in before.status["perSession"]}
        self.sessions = [
            Session(
                each,
                told[each["sessionId"]],
                # One that has begun meanwhile has counted from nothing.
                Rates(
                    None if before is None else old.get(each["sessionId"], {}),
                    told[each["sessionId"]]["counters"],
                    self.seconds,
                ),
            )
            for each in now.sessions
            if each["sessionId"] in told  # else it has begun between the two questions
        ]

    def to_json(self) -> dict[str, Any]:
        """For programs: the status, with the rates that were made of it."""
        return {
            "seconds": self.seconds,
            "cpuPercent": self.cpu_percent,
            "memoryBytes": self.memory_bytes,
            "perSecond": {name: self.rates.of(name) for name in self.rates.now},
            "sessions": [
                {
                    "sessionId": each.session_id,
                    "ageSeconds": each.age_seconds,
                    "players": each.players,
                    "roundTripMs": each.round_trip_ms,
                    "perSecond": {name: each.rates.of(name) for name in each.rates.now},
                }
                for each in self.sessions
            ],
            "status": self.status,
        }

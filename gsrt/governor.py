"""The governor: judges what the box tells of itself, and says how much the server may do.

Each cause (memory, heat, ...) has a mark from which the server is slowed, and for most one from which it takes no new
sessions. A mark counts at once when it is reached, or after a few looks in a row where the figure has spikes, and is
left when the figure has been well below for a while. It touches nothing: readings and `now` (seconds, monotonic) go in,
a level comes out. See docs/GOVERNOR.md.
"""

from __future__ import annotations

from gsrt.device.readings import FREQUENCY_CAPPED, THROTTLED, UNDER_VOLTAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gsrt.device.readings import Readings
    from gsrt.log import Log
    from gsrt.profile import Profile

# Levels: each includes the one before.
NORMAL, SLOWED, REFUSING = 0, 1, 2
LEVELS = ("normal", "slowed", "refusing")

CALM_SECONDS = 10.0  # a figure has to be well below its mark for so long
MEMORY_LEAVE_PERCENT = 5  # below the mark, of the promise
CELSIUS_LEAVE = 3.0
BYTES_LEAVE = 2.0  # times the bytes that have to be free
BYTES_SLOW = 1.5  # times the same: slowed before it is too late
LAG_LEAVE = 0.5  # of the mark
CPU_LEAVE_PERCENT = 5
WRITES_LEAVE = 0.9  # of the budget

# What may be taken between two looks at the memory is kept free: what the relay puts out before it is flushed, what one
# sender or script may have it put out at once (both are the relay's bounds: MADE_MUCH_PART, MADE_MOST_PART), and what
# one script may take.
OUTPUT_PART = 64  # of the promise
OUTPUT_MOST_PART = 32
MARGIN_PART = 32  # between what is taken back first and what is taken back last
SLOWED_SHARE = 0.95  # of the mark from which nobody is let in: slowed at the latest

# In each of so many the loop has to be late: a single hold-up is told, and nothing else. In each of so many a processor
# has to be too hot before nobody new is let in: one that works hard for a moment is hot for a moment.
LOOKS_IN_A_ROW = 3
CPU_AVERAGE_SECONDS = 10.0
HOUR = 3600.0
NUMBER_MAX = 1e18  # no figure of a box is larger
NEVER = float("inf")
MEBIBYTE = 1 << 20

# What the cause `power` is. The fourth flag (TEMPERATURE_LIMITED) is of heat, which has marks of its own: a Pi 3B+ or
# 3A+ has it from 60 degrees on, and loses little by that.
POWER_TEXTS = (
    (UNDER_VOLTAGE, "the power supply is too weak (under-voltage): use the one made for this board, and a short cable"),
    (THROTTLED, "the board slows itself down (throttled): look at its power supply and its cooling"),
    (FREQUENCY_CAPPED, "the board runs at a lower frequency: look at its power supply and its cooling"),
)
STRAINED_POWER = UNDER_VOLTAGE | THROTTLED | FREQUENCY_CAPPED


class Cause:
    """One thing that is watched. The larger its figure the worse; what gets worse by getting less is given negative.

    `slow` and `refuse` are its marks (NEVER: there is none), `slow_leave` and `refuse_leave` what it has to be below to
    leave them. The second counts when it is reached in LOOKS in a row. `describe(figure)` says what is the matter and
    what to do."""

    __slots__ = (
        "_calm_level",
        "_calm_since",
        "_describe",
        "_looks",
        "_reached",
        "figure",
        "level",
        "name",
        "refuse",
        "refuse_leave",
        "slow",
        "slow_leave",
    )

    def __init__(
        self,
        name: str,
        slow: tuple[float, float],
        refuse: tuple[float, float],
        describe: Callable[[float], str],
        *,
        looks: int = 1,
    ) -> None:
        self.name = name
        self.slow, self.slow_leave = slow
        self.refuse, self.refuse_leave = refuse
        self.level = NORMAL
        self.figure: float | None = None
        self._describe = describe
        self._looks = looks
        self._reached = 0  # looks in a row in which the second mark was
        self._calm_since: float | None = None
        self._calm_level = NORMAL  # the worst within that time

    def judge(self, figure: float | None, now: float) -> bool:
        """Takes the next figure (None: it is not known, and counts as calm). True: the level is another."""
        before = self.level
        if figure is not None:
            self.figure = figure
        reached = self._level(figure, self.slow, self.refuse)
        self._reached = self._reached + 1 if reached == REFUSING else 0
        if before < REFUSING and 0 < self._reached < self._looks:
            reached = SLOWED
        if reached >= before:
            self.level = reached
            self._calm_since = None
            return reached != before
        # Between a mark and where it is left, the level stays.
        stays = min(before, self._level(figure, self.slow_leave, self.refuse_leave))
        if stays == before:
            self._calm_since = None
            return False
        if self._calm_since is None or now < self._calm_since:
            self._calm_since, self._calm_level = now, stays
        self._calm_level = max(self._calm_level, stays)
        if now - self._calm_since < CALM_SECONDS:
            return False
        self.level = self._calm_level
        self._calm_since = None
        return True

    @property
    def text(self) -> str:
        """What is the matter, and what to do."""
        if self.figure is None:
            return ""
        better = f" (it is better by now: over in {CALM_SECONDS:.0f} s or less)"
        return self._describe(self.figure) + ("" if self._calm_since is None else better)

    def _level(self, figure: float | None, slow: float, refuse: float) -> int:
        if figure is None:
            return NORMAL
        return REFUSING if figure >= refuse else SLOWED if figure >= slow else NORMAL


class MemoryMarks:
    """Bytes of memory at which something has to be done, whatever the profile's percentages say, or the promise could
    be broken before the next look."""

    __slots__ = ("early", "most", "promise", "refuse", "slow")

    def __init__(self, profile: Profile, *, hashes: bool) -> None:
        """HASHES: whether passwords are, which takes much memory for a moment."""
        self.promise = promise = profile.memory_bytes_max
        readers = profile.players_per_session_max
        at_once = min(
            readers * profile.stream_out_hard_bytes,
            promise // OUTPUT_MOST_PART + readers * profile.stream_out_soft_bytes,
        )
        at_once += profile.script_memory_bytes
        hashing = profile.password_memory_kb * 1024 if hashes else 0
        # From here on all is taken back that can be; from `early` on, what nobody misses who behaves.
        # Where a profile lets one script or session take nearly all there is, half of it is for use all the same.
        self.most = max(promise - promise // OUTPUT_PART - at_once - hashing, promise // 2)
        self.early = self.most - promise // MARGIN_PART
        self.refuse = min(promise * profile.memory_refuse_percent // 100, self.early)
        self.slow = min(promise * profile.memory_slow_percent // 100, int(self.refuse * SLOWED_SHARE))


class Governor:
    """How much the server may do, as of the last look. `level` is the worst of all causes but `disk writes`, which only
    has the store gather for longer."""

    def __init__(self, profile: Profile, log: Log, *, hashes: bool = False) -> None:
        """HASHES: whether passwords are, which takes much memory for a moment."""
        self.level = NORMAL
        self.marks = MemoryMarks(profile, hashes=hashes)
        self.memory: Callable[[], int | None] = lambda: None  # bytes that the process has at this moment; the box's
        self.counters = {"looks": 0, "changes": 0, "holdUps": 0, "refused": 0}
        self._profile = profile
        self._log = log
        self._readings: Readings | None = None
        self._lags: list[float] = []
        self._cpu: float | None = None
        self._looked_at: float | None = None
        self._written: float | None = None  # by the store, as it said last
        self._writes = 0.0  # bytes of the budget that are used up; it comes back within an hour
        self._all = {each.name: each for each in self._watched()}

    def _watched(self) -> list[Cause]:
        profile = self._profile
        marks = self.marks

        def held(mark: int) -> tuple[float, float]:
            return mark, mark - marks.promise * MEMORY_LEAVE_PERCENT / 100

        def bytes_left(least: int, factor: float) -> tuple[float, float]:
            return (-least * factor, -least * BYTES_LEAVE) if least else (NEVER, NEVER)

        def degrees(mark: float) -> tuple[float, float]:
            return mark, mark - CELSIUS_LEAVE

        def lag(mark: float) -> tuple[float, float]:
            return mark, mark * LAG_LEAVE

        never = (NEVER, NEVER)
        free, disk = profile.free_memory_bytes_min, profile.disk_free_bytes_min
        cpu, writes = profile.cpu_slow_percent, profile.disk_bytes_per_hour
        hot = profile.temperature_slow_celsius
        return [
            Cause(
                "memory",
                held(marks.slow),
                held(marks.refuse),
                lambda figure: (
                    f"gsrt has {_mebibytes(figure)} of memory; its profile allows {_mebibytes(marks.promise)}, of which"
                    f" {_mebibytes(marks.promise - marks.refuse)} are kept free for what may come at once: end a "
                    "session (gsrt session end ID), or choose a profile with more memory"
                ),
            ),
            Cause(
                "free memory",
                bytes_left(free, BYTES_SLOW),
                bytes_left(free, 1.0),
                lambda figure: (
                    f"the box has {_mebibytes(-figure)} of memory left and should have {_mebibytes(free)}: end other "
                    "programs (ps aux --sort=-rss shows them)"
                ),
            ),
            Cause(
                "temperature",
                degrees(hot),
                degrees(profile.temperature_refuse_celsius),
                lambda figure: (
                    f"the processor has {figure:.0f} degrees Celsius, and from {hot:.0f} on it is too hot: give it air,"
                    " or a cooler"
                ),
                looks=LOOKS_IN_A_ROW,
            ),
            Cause("power", (1, 1), never, _describe_power),
            Cause(
                "disk",
                bytes_left(disk, BYTES_SLOW),
                bytes_left(disk, 1.0),
                lambda figure: (
                    f"{_mebibytes(-figure)} are free on the disk and {_mebibytes(disk)} should be: free some space (du "
                    "-xh / | sort -h | tail shows what takes it)"
                ),
            ),
            Cause(
                "lag",
                lag(profile.loop_lag_slow_ms),
                lag(profile.loop_lag_refuse_ms),
                lambda figure: (
                    f"players wait up to {figure:.0f} ms for the server: this is more than the box can do; end a "
                    "session, or other programs (top shows them)"
                ),
            ),
            Cause(
                "processor",
                (cpu, max(cpu - CPU_LEAVE_PERCENT, 0)),
                never,
                lambda figure: (
                    f"gsrt takes {figure:.0f} % of a processor's core: this is all that the box can do; end a session, "
                    "or look at the scripts (gsrt status)"
                ),
            ),
            Cause(
                "disk writes",
                (writes, writes * WRITES_LEAVE) if writes else never,
                never,
                lambda figure: (
                    f"more than {_mebibytes(writes)} were written within the last hour: what players change is written "
                    "less often for a while, to save the card"
                ),
            ),
        ]

    def decide(self, readings: Readings, now: float) -> int:
        """Judges one look at the box: the level from now on. One line in the log for each cause that comes or goes."""
        self.counters["looks"] += 1
        self._readings = readings
        seconds = 0.0 if self._looked_at is None else max(now - self._looked_at, 0.0)
        self._looked_at = now
        available, free = _number(readings.memory_available_bytes), _number(readings.disk_free_bytes)
        figures = {
            "memory": _number(readings.memory_bytes),
            "free memory": None if available is None else -available,
            "temperature": _number(readings.temperature_celsius),
            "power": _strained_power(_number(readings.power)),
            "disk": None if free is None else -free,
            "lag": self._lag(_number(readings.loop_lag_ms)),
            "processor": self._average(_number(readings.cpu_percent), seconds),
            "disk writes": self._written_lately(_number(readings.disk_written_bytes), seconds),
        }
        for name, figure in figures.items():
            cause = self._all[name]
            before = cause.level
            if cause.judge(figure, now):
                self._note(cause, before)
        self.level = max(cause.level for name, cause in self._all.items() if name != "disk writes")
        return self.level

    @property
    def causes(self) -> dict[str, str]:
        """What is the matter, by cause, the worst first: for the host."""
        found = [cause for cause in self._all.values() if cause.level]
        return {cause.name: cause.text for cause in sorted(found, key=lambda cause: -cause.level)}

    @property
    def store_is_slow(self) -> bool:
        """Whether the store is to gather changes for longer."""
        return self.level > NORMAL or self._all["disk writes"].level > NORMAL

    @property
    def memory_is_short(self) -> bool:
        """Whether the server has so much of it that it is slowed."""
        return self._all["memory"].level > NORMAL

    @property
    def disk_is_full(self) -> bool:
        """Whether nothing is to be written that can be done without."""
        return self._all["disk"].level == REFUSING

    def refusal(self, needed: int) -> str | None:
        """Why nobody new is let in who would need so many bytes of memory, those of players who may still come
        included; None: whoever comes is. It is counted."""
        why_not = self._strain() or self._no_memory(needed)
        if why_not is not None:
            self.counters["refused"] += 1
        return why_not

    def login_refusal(self) -> str | None:
        """Why a player who has a place, and was never in, is not let in; None: it is. Only where memory is short: the
        place was promised. It is counted."""
        short = [self._all[name] for name in ("memory", "free memory") if self._all[name].level == REFUSING]
        if not short:
            return None
        self.counters["refused"] += 1
        return f"no new player now: {short[0].text}"

    def has_room(self, needed: int) -> bool:
        """Whether so many bytes of memory may be taken at once, by whatever else."""
        held = self.memory()
        return held is None or held + needed <= self.marks.most

    def _strain(self) -> str | None:
        causes = [cause.text for cause in self._all.values() if cause.level == REFUSING]
        if self.level < REFUSING or not causes:
            return None
        return f"nobody new is let in now: {'; '.join(causes)}. When that has passed, try again (gsrt status shows it)"

    def _no_memory(self, needed: int) -> str | None:
        held = self.memory()
        most = self.marks.refuse
        if held is None or held + needed <= most:
            return None
        return (
            f"nobody new is let in now: {_mebibytes(held)} of memory are in use, {_mebibytes(needed)} more would be "
            f"needed for those who are still to come, and the profile allows {_mebibytes(most)}: end a session first "
            "(gsrt session end ID)"
        )

    def figures(self) -> dict[str, Any]:
        """For the status. Bytes, percent, degrees Celsius, milliseconds; None: not known."""
        readings = self._readings
        return {
            "level": LEVELS[self.level],
            "causes": {cause.name: LEVELS[cause.level] for cause in self._all.values() if cause.level},
            "reasons": list(self.causes.values()),
            "memoryBytes": None if readings is None else readings.memory_bytes,
            "memoryBytesMax": self._profile.memory_bytes_max,
            "memoryAvailableBytes": None if readings is None else readings.memory_available_bytes,
            "cpuPercent": self._cpu,
            "temperatureCelsius": None if readings is None else readings.temperature_celsius,
            "power": None if readings is None else readings.power,
            "diskFreeBytes": None if readings is None else readings.disk_free_bytes,
            "loopLagMs": None if readings is None else readings.loop_lag_ms,
            "counters": dict(self.counters),
        }

    def _note(self, cause: Cause, before: int) -> None:
        self.counters["changes"] += 1
        if cause.level > NORMAL:
            tell = self._log.warn if cause.level > before else self._log.info
            tell("box strained", cause=cause.name, level=LEVELS[cause.level], text=cause.text)
        else:
            self._log.info("box recovered", cause=cause.name)

    def _lag(self, milliseconds: float | None) -> float | None:
        """What the loop was late in each of the last looks."""
        if milliseconds is None:
            self._lags.clear()
            return None
        if milliseconds >= self._profile.loop_lag_refuse_ms:
            self.counters["holdUps"] += 1
            self._log.limited(
                "warn", "held up", "the loop was held up", milliseconds=milliseconds, todo="see gsrt status, and top"
            )
        self._lags = [*self._lags[1 - LOOKS_IN_A_ROW :], milliseconds]
        return min(self._lags) if len(self._lags) == LOOKS_IN_A_ROW else 0.0

    def _average(self, percent: float | None, seconds: float) -> float | None:
        if percent is not None:
            before = self._cpu or 0.0
            self._cpu = before + (percent - before) * min(seconds / CPU_AVERAGE_SECONDS, 1.0)
        return self._cpu

    def _written_lately(self, written: float | None, seconds: float) -> float | None:
        """Bytes of the hour's budget that are used up."""
        budget = self._profile.disk_bytes_per_hour
        self._writes = max(self._writes - budget / HOUR * seconds, 0.0)
        if written is None:
            return None
        if self._written is not None:
            # A flood of writes is not to be made up for in more than an hour.
            self._writes = min(self._writes + max(written - self._written, 0.0), 2.0 * budget)
        self._written = written
        return self._writes


def _strained_power(flags: float | None) -> float | None:
    return None if flags is None else int(flags) & STRAINED_POWER


def _describe_power(figure: float) -> str:
    for bit, text in POWER_TEXTS:
        if int(figure) & bit:
            return text
    return "the board tells of trouble with its power supply"


def _number(value: object) -> float | None:
    """VALUE, where it is a number that a box may tell; else None."""
    if isinstance(value, (int, float)) and -NUMBER_MAX < value < NUMBER_MAX:
        return value
    return None


def _mebibytes(count: float) -> str:
    return f"{count / MEBIBYTE:.0f} MiB"

"""/metrics: the server's figures for Prometheus, made of the status of gsrt.requests. Loaded with the first scrape.

Format: Prometheus' text exposition format 0.0.4. Seconds and bytes, counters end in _total, and there are no labels
whose values a player or a session could add to. docs/METRICS.md lists what there is.
"""

from __future__ import annotations

import os
import time

from gsrt.governor import STRAINED_POWER
from gsrt.protocol import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Samples = Iterable[tuple[str, float | None]]  # labels with their braces, or "", and the value; None: not known

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RENDER_SECONDS = 1.0  # for which a text is served again, however many ask: what they cost must not grow with them

OFF, LOCAL, ALL = "off", "local", "all"  # who gets it
ONLY_LOCAL = (
    'the metrics of this server are for its own machine only: start it with --metrics all, or put metrics = "all" into'
    " its configuration file, to have them from elsewhere\n"
)
NOT_HERE = "this server has no metrics: start it with --metrics local or --metrics all\n"

# Counters that are told under another name, for what is counted belongs into a name, and units do.
TRAFFIC = {
    "packets_in": ("gsrt_received_packets_total", "Packets of players, before they are judged."),
    "bytes_in": ("gsrt_received_bytes_total", "Bytes of these packets."),
    "packets_out": ("gsrt_sent_packets_total", "Packets queued for players."),
    "bytes_out": ("gsrt_sent_bytes_total", "Bytes of these packets."),
    "datagrams_in": ("gsrt_received_datagrams_total", "UDP datagrams received."),
    "datagrams_out": ("gsrt_sent_datagrams_total", "UDP datagrams that the kernel took."),
    "writes_out": ("gsrt_stream_writes_total", "Writes to TCP connections."),
}
DROPPED = "dropped_"  # and the reason
PLAYER_STATES = ("expected", "joining", "ready", "absent", "gone", "kicked")
SCRIPT_STATES = ("running", "off")
EVENT_STATES = ("new", "loading", "running", "off", "broken", "gone")
CAUSES = ("memory", "free memory", "temperature", "power", "disk", "lag", "processor", "disk writes")  # of the governor
LEVELS = ("normal", "slowed", "refusing")

_STARTED_FIELD = 19  # of /proc/self/stat behind the name: starttime, in ticks since the machine's start (proc(5))
_RESIDENT_FIELD = 1  # of /proc/self/statm, in pages


class Metrics:
    """Answers requests for /metrics. `who`: OFF, LOCAL or ALL get it; `totals()` gives the status."""

    def __init__(self, who: str, totals: Callable[[], dict[str, Any]]) -> None:
        self._who = who
        self._totals = totals
        self._text = b""
        self._rendered_at = float("-inf")
        self._began = _process_began()

    def answer(self, address: str, method: str, now: float) -> bytes:
        """The whole answer to a GET or HEAD (`method`) that comes from the IP address."""
        if self._who == OFF:
            return http.response(404, NOT_HERE.encode(), method=method)
        if self._who == LOCAL and not is_local(address):
            return http.response(403, ONLY_LOCAL.encode(), method=method)
        if not 0 <= now - self._rendered_at < RENDER_SECONDS:
            self._text = (render(self._totals()) + render_process(self._began)).encode()
            self._rendered_at = now
        return http.response(200, self._text, CONTENT_TYPE, method=method)


def is_local(address: str) -> bool:
    """Whether an IP address is one of this machine's own to itself."""
    return address.removeprefix("::ffff:").startswith("127.") or address == "::1"


def render(status: Mapping[str, Any]) -> str:
    """The text of a status: what gsrt.requests.totals or status gives."""
    build = labels(version=status["version"], profile=status["profile"])
    players, scripts, loop = status["players"], status["scripts"], status["loop"]
    empty = status["sessionsEmpty"]
    sessions = (labels(state="played"), status["sessions"] - empty), (labels(state="empty"), empty)
    parts = [
        family("gsrt_build_info", "gauge", "What runs here; always 1.", ((build, 1),)),
        gauge("gsrt_uptime_seconds", "Since the server was started.", status["uptimeSeconds"]),
        family("gsrt_sessions", "gauge", "Sessions: with players who are connected, and without.", sessions),
        by_state("gsrt_players", "Players whom sessions know.", PLAYER_STATES, players),
        gauge("gsrt_connections", "TCP connections that are open.", status["connections"]),
        gauge("gsrt_links", "Links that are open.", status["links"]),
        by_state("gsrt_scripts", "Scripts of sessions.", SCRIPT_STATES, scripts),
        gauge("gsrt_script_strikes", "Strikes that scripts of the open sessions have.", scripts["strikes"]),
        gauge("gsrt_script_failures", "Failures of these scripts.", scripts["failures"]),
        counter("gsrt_loop_ticks_total", "Turns of the loop.", loop["ticks"]),
        gauge("gsrt_loop_worst_tick_seconds", "The longest turn since the start.", loop["worstTickMs"] / 1000),
        gauge("gsrt_loop_tick_seconds", "For how long output is gathered.", loop["tickMs"] / 1000),
        *_counters(status["counters"]),
    ]
    if "governor" in status:
        parts += _governor(status["governor"])
    if "platform" in status:
        parts += _platform(status["platform"])
    return "".join(parts)


def _counters(counts: Mapping[str, int]) -> list[str]:
    dropped = [
        (labels(reason=name.removeprefix(DROPPED)), count) for name, count in counts.items() if name.startswith(DROPPED)
    ]
    parts = [family("gsrt_dropped_packets_total", "counter", "Packets that were not passed on.", dropped)]
    for name, count in counts.items():
        if name in TRAFFIC:
            parts.append(counter(*TRAFFIC[name], count))
        elif not name.startswith(DROPPED):
            parts.append(_counter_of_status(name, count))
    return parts


def _counter_of_status(name: str, count: float) -> str:
    return counter(f"gsrt_{name}_total", f"Counter {name} of gsrt status.", count)


def _governor(figures: Mapping[str, Any]) -> list[str]:
    causes = [(labels(cause=each.replace(" ", "_")), int(each in figures["causes"])) for each in CAUSES]
    level, lag, power = figures["level"], figures["loopLagMs"], figures["power"]
    parts = [
        gauge("gsrt_governor_level", "0: normal, 1: slowed, 2: no new sessions.", LEVELS.index(level)),
        family("gsrt_governor_cause", "gauge", "Whether that strains the box.", causes),
        gauge("gsrt_memory_promised_bytes", "What the server's memory stays below.", figures["memoryBytesMax"]),
        gauge("gsrt_box_memory_available_bytes", "What programs may still take.", figures["memoryAvailableBytes"]),
        gauge("gsrt_box_temperature_celsius", "Of the processor.", figures["temperatureCelsius"]),
        gauge(
            "gsrt_box_power_strained",
            "Whether the power supply is weak, or the board slows itself down.",
            None if power is None else int(power & STRAINED_POWER != 0),
        ),
        gauge("gsrt_box_disk_free_bytes", "Where the server writes to.", figures["diskFreeBytes"]),
        gauge("gsrt_loop_lag_seconds", "How late the loop was at worst lately.", None if lag is None else lag / 1000),
    ]
    for name, count in figures["counters"].items():
        snake = "".join(f"_{each.lower()}" if each.isupper() else each for each in name)
        parts.append(counter(f"gsrt_governor_{snake}_total", f"Counter {name} of the governor.", count))
    for name, count in figures.get("takenBack", {}).items():
        parts.append(counter(f"gsrt_taken_back_{name}_total", f"To keep the promise of memory: {name}.", count))
    return parts


def _platform(figures: Mapping[str, Any]) -> list[str]:
    matches, store = dict(figures["matches"]), dict(figures["store"])
    events = list(figures["events"].values())
    states = {state: sum(each["state"] == state for each in events) for state in EVENT_STATES}
    parts = [
        gauge("gsrt_players_online", "Players who have signed in.", figures["playersOnline"]),
        gauge("gsrt_platform_connections_open", "Connections of the platform.", figures["connections"]),
        gauge("gsrt_matches_running", "Matches that are played.", matches.pop("running")),
        gauge("gsrt_tickets", "Players and groups that look for a match.", matches.pop("tickets")),
        by_state("gsrt_event_scripts", "Scripts of events.", EVENT_STATES, states),
        gauge("gsrt_event_script_strikes", "Their strikes.", sum(each.get("strikes", 0) for each in events)),
        gauge("gsrt_store_waiting_operations", "That the store has not told yet.", store.pop("store_waiting")),
        gauge("gsrt_store_commit_worst_seconds", "The longest commit.", store.pop("store_commit_worst_ms") / 1000),
    ]
    counts = {**figures["counters"], **matches, **store}
    return parts + [_counter_of_status(name, count) for name, count in counts.items()]


def render_process(began: float | None) -> str:
    """What Prometheus' client libraries tell of their process; BEGAN: when it did. What the system does not tell is
    left out."""
    return "".join(
        (
            gauge("process_resident_memory_bytes", "Resident memory size in bytes.", _resident_bytes()),
            counter("process_cpu_seconds_total", "User and system CPU time spent in seconds.", time.process_time()),
            gauge("process_open_fds", "Number of open file descriptors.", _open_descriptors()),
            gauge("process_max_fds", "Maximum number of open file descriptors.", _descriptors_max()),
            gauge("process_start_time_seconds", "Start time of the process since the Unix epoch in seconds.", began),
        )
    )


def _resident_bytes() -> int | None:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[_RESIDENT_FIELD]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _open_descriptors() -> int | None:
    try:
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")) - 1  # the size since Linux 6.2
    except OSError:
        return None


def _descriptors_max() -> int | None:
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if most == resource.RLIM_INFINITY else most


def _process_began() -> float | None:
    """Seconds since 1970. Asked once: two answers would differ by what the clocks do."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[_STARTED_FIELD])
    except OSError:
        return None
    return round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK"), 2)


# The format


def labels(**values: str) -> str:
    """Labels of one sample."""
    inner = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in values.items())
    return f"{{{inner}}}"


def family(name: str, kind: str, text: str, samples: Samples) -> str:
    """A metric with all its samples; "" where none is known."""
    lines = [f"{name}{label} {_number(value)}\n" for label, value in samples if value is not None]
    return f"# HELP {name} {_escaped(text)}\n# TYPE {name} {kind}\n{''.join(lines)}" if lines else ""


def gauge(name: str, text: str, value: float | None) -> str:
    return family(name, "gauge", text, (("", value),))


def counter(name: str, text: str, value: float) -> str:
    return family(name, "counter", text, (("", value),))


def by_state(name: str, text: str, states: Iterable[str], counts: Mapping[str, int]) -> str:
    return family(name, "gauge", text, [(labels(state=state), counts[state]) for state in states])


def _escaped(text: str, *, quotes: bool = False) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', '\\"') if quotes else escaped


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))

"""What this machine can bear: every limit of the server, read from a firmware profile.

A profile is a TOML file of lines `key = number` and comments (gsrt.flatfile)."""

from __future__ import annotations

import os

from gsrt.flatfile import read_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

AUTO = "auto"  # in the place of a name: the profile that suits this box

# What a profile holds: key -> (smallest, largest) value; gsrt.profile_schema says what each means. Two floats make it a
# key in seconds or milliseconds, where whole numbers are welcome too; two ints make it a count or a number of bytes.
LIMITS: Mapping[str, tuple[int, int] | tuple[float, float]] = {
    "sessions_max": (1, 65535),
    "players_per_session_max": (1, 255),
    "players_max": (1, 1_000_000),
    "connections_max": (1, 1_000_000),
    "pending_connections_max": (1, 1_000_000),
    "pending_per_address_max": (1, 1_000_000),
    "packets_per_second": (1, 10_000_000),
    "packets_burst": (1, 10_000_000),
    "bytes_per_second": (1024, 10_000_000_000),
    "bytes_burst": (1024, 10_000_000_000),
    "packet_bytes_max": (64, 16_300),
    "datagram_bytes_max": (64, 1_400),
    "frame_skip_bytes_max": (64, 1 << 30),
    "login_bytes_max": (64, 16_300),
    "held_bytes_max": (1024, 1 << 30),
    "stream_out_soft_bytes": (1024, 1 << 30),
    "stream_out_hard_bytes": (1024, 1 << 30),
    "link_receive_bytes": (65_536, 1 << 30),
    "link_receive_bytes_all": (65_536, 1 << 40),
    "link_message_bytes_max": (1_100, 262_144),
    "link_out_bytes": (1_100, 1 << 30),
    "link_logins_per_turn": (1, 1000),
    "login_seconds": (0.1, 3600.0),
    "grace_seconds": (0.0, 3600.0),
    "session_linger_seconds": (0.0, 604_800.0),
    "session_unused_seconds": (0.1, 604_800.0),
    "udp_hello_interval_seconds": (0.01, 60.0),
    "udp_hello_attempts": (1, 1000),
    "keepalive_idle_seconds": (1, 32_767),  # the kernel's own bounds, here and for the next two
    "keepalive_interval_seconds": (1, 32_767),
    "keepalive_probes": (1, 127),
    "user_timeout_seconds": (0.1, 86_400.0),
    "udp_receive_buffer_bytes": (4096, 1 << 30),
    "udp_send_buffer_bytes": (4096, 1 << 30),
    "tcp_receive_buffer_bytes": (0, 1 << 30),
    "tcp_send_buffer_bytes": (0, 1 << 30),
    "datagram_batches_max": (1, 1024),
    "tick_ms": (0.0, 100.0),
    "malloc_arenas": (0, 1024),
    "timer_slack_us": (0, 100_000),
    "script_gas": (1000, 100_000_000),
    "script_cpu_ms": (5, 10_000),
    "script_memory_bytes": (1 << 20, 1 << 30),
    "script_source_bytes": (1024, 1 << 20),
    "script_packet_bytes_max": (64, 262_144),
    "script_strikes": (1, 1000),
    "script_turn_ms": (1.0, 10_000.0),
    "script_turn_all_ms": (1.0, 10_000.0),
    "script_watchdog_seconds": (0.1, 3600.0),
    "script_timers_max": (0, 65_536),
    "script_timer_ms_min": (1.0, 1000.0),
    "script_sends_max": (1, 1_000_000),
    "script_send_bytes_max": (1024, 1 << 30),
    "script_requests_max": (0, 65_536),
    "script_off_op_code": (0, 2_147_483_647),
    "script_reload_seconds": (0.0, 3600.0),
    "script_trial_packets": (0, 1024),
    "script_log_lines_per_second": (0.1, 10_000.0),
    "script_log_characters_max": (16, 65_536),
    "script_log_ring_lines": (1, 1_000_000),
    "platform_message_bytes_max": (1024, 1_048_576),
    "platform_messages_per_second": (1.0, 100000.0),
    "platform_messages_burst": (1, 100_000),
    "platform_silence_seconds": (1.0, 86400.0),
    "platform_devices_max": (1, 1024),
    "requests_waiting_max": (1, 65_536),
    "away_seconds": (0.0, 86400.0),
    "password_memory_kb": (1024, 1_048_576),
    "password_passes": (1, 64),
    "new_players_per_address": (1, 1_000_000),
    "new_players_per_address_per_hour": (0.0, 1_000_000.0),
    "login_failures_max": (1, 1000),
    "login_lock_seconds": (1.0, 86400.0),
    "auth_tokens_per_player_max": (1, 1024),
    "store_batch_ms": (0.0, 1000.0),
    "store_batch_writes": (1, 100_000),
    "store_waiting_max": (16, 1_000_000),
    "tickets_max": (1, 1_000_000),
    "document_bytes_max": (64, 16_777_216),
    "documents_per_owner_max": (1, 10_000_000),
    "messages_per_player_max": (1, 100_000),
    "leaderboard_page_max": (1, 10_000),
    "log_rows_max": (1, 10_000_000),
    "game_reload_seconds": (0.0, 3600.0),
    "www_downloads_max": (1, 100_000),
    "www_downloads_per_address_max": (1, 100_000),
    "www_stall_seconds": (0.1, 3600.0),
    "control_clients_max": (1, 1024),
    "control_line_bytes_max": (1024, 1 << 24),
    "control_idle_seconds": (0.1, 3600.0),
    "memory_bytes_max": (1 << 24, 1 << 40),
    "memory_slow_percent": (1, 100),
    "memory_refuse_percent": (1, 100),
    "free_memory_bytes_min": (0, 1 << 40),
    "temperature_slow_celsius": (20.0, 150.0),
    "temperature_refuse_celsius": (20.0, 150.0),
    "loop_lag_slow_ms": (1.0, 60_000.0),
    "loop_lag_refuse_ms": (1.0, 60_000.0),
    "cpu_slow_percent": (1, 1000),
    "disk_free_bytes_min": (0, 1 << 40),
    "disk_bytes_per_hour": (0, 1 << 40),
    "slow_tick_ms": (0.0, 100.0),
    "slow_script_percent": (1, 100),
    "slow_store_factor": (1, 1000),
    "governor_seconds": (0.0, 60.0),
    "log_lines_per_second": (0.1, 10_000.0),
    "log_lines_burst": (1, 1_000_000),
    "worker_waiting_max": (1, 65_536),
    "beacon_seconds": (0.0, 3600.0),
}

# (a, b): the value of a may not be larger than that of b, or a could never be reached.
ORDER = (
    ("players_per_session_max", "players_max"),
    ("pending_per_address_max", "pending_connections_max"),
    ("pending_connections_max", "connections_max"),
    ("login_bytes_max", "packet_bytes_max"),
    ("packet_bytes_max", "frame_skip_bytes_max"),
    ("packet_bytes_max", "bytes_burst"),
    ("packet_bytes_max", "stream_out_soft_bytes"),
    ("held_bytes_max", "stream_out_hard_bytes"),
    ("stream_out_soft_bytes", "stream_out_hard_bytes"),
    ("link_receive_bytes", "link_receive_bytes_all"),
    ("link_message_bytes_max", "link_receive_bytes"),
    ("link_message_bytes_max", "link_out_bytes"),
    ("script_turn_ms", "script_turn_all_ms"),
    ("packet_bytes_max", "script_send_bytes_max"),
    ("www_downloads_per_address_max", "www_downloads_max"),
    ("memory_slow_percent", "memory_refuse_percent"),
    ("temperature_slow_celsius", "temperature_refuse_celsius"),
    ("loop_lag_slow_ms", "loop_lag_refuse_ms"),
    ("script_memory_bytes", "memory_bytes_max"),
)


class ProfileError(Exception):
    """A profile that cannot be used; the message names the file, the key and what was expected."""


class Profile:
    """The limits of one machine. Counts and bytes are int; seconds and milliseconds are float, but for the
    keep-alive times, which the kernel takes in whole seconds."""

    __slots__ = ("chosen", "name", *LIMITS)

    name: str
    chosen: str  # why it is this one, where it was asked for as "auto"; else ""
    sessions_max: int
    players_per_session_max: int
    players_max: int
    connections_max: int
    pending_connections_max: int
    pending_per_address_max: int
    packets_per_second: int
    packets_burst: int
    bytes_per_second: int
    bytes_burst: int
    packet_bytes_max: int
    datagram_bytes_max: int
    frame_skip_bytes_max: int
    login_bytes_max: int
    held_bytes_max: int
    stream_out_soft_bytes: int
    stream_out_hard_bytes: int
    link_receive_bytes: int
    link_receive_bytes_all: int
    link_message_bytes_max: int
    link_out_bytes: int
    link_logins_per_turn: int
    login_seconds: float
    grace_seconds: float
    session_linger_seconds: float
    session_unused_seconds: float
    udp_hello_interval_seconds: float
    udp_hello_attempts: int
    keepalive_idle_seconds: int
    keepalive_interval_seconds: int
    keepalive_probes: int
    user_timeout_seconds: float
    udp_receive_buffer_bytes: int
    udp_send_buffer_bytes: int
    tcp_receive_buffer_bytes: int
    tcp_send_buffer_bytes: int
    datagram_batches_max: int
    tick_ms: float
    malloc_arenas: int
    timer_slack_us: int
    script_gas: int
    script_cpu_ms: int
    script_memory_bytes: int
    script_source_bytes: int
    script_packet_bytes_max: int
    script_strikes: int
    script_turn_ms: float
    script_turn_all_ms: float
    script_watchdog_seconds: float
    script_timers_max: int
    script_timer_ms_min: float
    script_sends_max: int
    script_send_bytes_max: int
    script_requests_max: int
    script_off_op_code: int
    script_reload_seconds: float
    script_trial_packets: int
    script_log_lines_per_second: float
    script_log_characters_max: int
    script_log_ring_lines: int
    platform_message_bytes_max: int
    platform_messages_per_second: float
    platform_messages_burst: int
    platform_silence_seconds: float
    platform_devices_max: int
    requests_waiting_max: int
    away_seconds: float
    password_memory_kb: int
    password_passes: int
    new_players_per_address: int
    new_players_per_address_per_hour: float
    login_failures_max: int
    login_lock_seconds: float
    auth_tokens_per_player_max: int
    store_batch_ms: float
    store_batch_writes: int
    store_waiting_max: int
    tickets_max: int
    document_bytes_max: int
    documents_per_owner_max: int
    messages_per_player_max: int
    leaderboard_page_max: int
    log_rows_max: int
    game_reload_seconds: float
    www_downloads_max: int
    www_downloads_per_address_max: int
    www_stall_seconds: float
    control_clients_max: int
    control_line_bytes_max: int
    control_idle_seconds: float
    memory_bytes_max: int
    memory_slow_percent: int
    memory_refuse_percent: int
    free_memory_bytes_min: int
    temperature_slow_celsius: float
    temperature_refuse_celsius: float
    loop_lag_slow_ms: float
    loop_lag_refuse_ms: float
    cpu_slow_percent: int
    disk_free_bytes_min: int
    disk_bytes_per_hour: int
    slow_tick_ms: float
    slow_script_percent: int
    slow_store_factor: int
    governor_seconds: float
    log_lines_per_second: float
    log_lines_burst: int
    worker_waiting_max: int
    beacon_seconds: float

    def __init__(self, values: Mapping[str, object], name: str = "unnamed", source: str = "profile") -> None:
        """A profile of VALUES (every key of `LIMITS`, nothing else). SOURCE is where they came from, for the errors.

        Raises ProfileError on an unknown or missing key, a value of another type or out of its range, and on two
        values that contradict each other."""
        unknown = sorted(values.keys() - LIMITS.keys())
        if unknown:
            raise ProfileError(f"{source}: unknown key {unknown[0]!r}; a profile holds {', '.join(LIMITS)}")
        self.name = name
        self.chosen = ""
        for key in LIMITS:
            if key not in values:
                raise ProfileError(f"{source}: {key} is missing; expected {expected(key)}")
            setattr(self, key, _checked(source, key, values[key]))
        for smaller, larger in ORDER:
            if getattr(self, smaller) > getattr(self, larger):
                raise ProfileError(
                    f"{source}: {smaller} is {getattr(self, smaller)}; expected at most {larger}, "
                    f"which is {getattr(self, larger)}"
                )

    @classmethod
    def load(cls, name_or_path: str) -> Profile:
        """The profile called NAME_OR_PATH, as `locate` finds it.

        Raises ProfileError when there is none, when a line is something else, and as the constructor does."""
        path, why = locate(name_or_path)
        profile = cls(_read(path), name_of(path), path)
        profile.chosen = why
        return profile


def available() -> list[str]:
    """The names of the profiles that come with gsrt, in alphabetical order."""
    names: set[str] = set()
    for folder in _folders():
        if os.path.isdir(folder):
            names.update(file.removesuffix(".toml") for file in os.listdir(folder) if file.endswith(".toml"))
    return sorted(names)


def _folders() -> tuple[str, str]:
    """Where profiles are: beside the installed package's modules, or at the top of a working tree."""
    package = os.path.dirname(os.path.abspath(__file__))
    return os.path.join(package, "firmware_profiles"), os.path.join(os.path.dirname(package), "firmware_profiles")


def locate(name_or_path: str) -> tuple[str, str]:
    """The file of a profile, and why it is this one ("" where it was asked for by name). That is one that comes with
    gsrt and is called so, the one that suits this box for "auto", or the path itself: with a "/", or ending in .toml.

    Raises ProfileError when no profile is called so."""
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return name_or_path, ""
    name, why = name_or_path, ""
    if name == AUTO:
        from gsrt.device.model import choose_here

        name, why = choose_here()
    for folder in _folders():
        path = os.path.join(folder, name + ".toml")
        if os.path.isfile(path):
            return path, why
    names = ", ".join(available())
    raise ProfileError(
        f"there is no profile {name!r}; there are {names}, auto for the one that suits this box, or give the path of a "
        ".toml file"
    )


def name_of(path: str) -> str:
    """What the profile in this file is called."""
    return os.path.basename(path).removesuffix(".toml")


def _read(path: str) -> dict[str, int | float]:
    values: dict[str, int | float] = {}
    try:
        for line in read_lines(path):
            value = line.value
            if value is None or isinstance(value, (str, bool)):
                raise ProfileError(f"{path}: line {line.number} is {line.text!r}; expected `key = number`")
            if line.key in values:
                raise ProfileError(f"{path}: line {line.number} sets {line.key} a second time")
            values[line.key] = value
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path}: not a text file") from None
    return values


def expected(key: str) -> str:
    """What a key's value has to be: "a whole number from 1 to 65535"."""
    smallest, largest = LIMITS[key]
    return f"a {'whole number' if isinstance(smallest, int) else 'number'} from {smallest} to {largest}"


def is_allowed(key: str, value: object) -> bool:
    """Whether a key may have this value, of the right type and in its range."""
    smallest, largest = LIMITS[key]
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole and not (isinstance(smallest, float) and isinstance(value, float)):
        return False
    return smallest <= value <= largest  # type: ignore[operator]  # a number, by the line above


def _checked(source: str, key: str, value: object) -> int | float:
    if not is_allowed(key, value):
        raise ProfileError(f"{source}: {key} is {value!r}; expected {expected(key)}")
    return float(value) if isinstance(LIMITS[key][0], float) else value  # type: ignore[arg-type,return-value]

"""Every figure in one table: its name, unit and goal, and the group that is measured together with it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

COMPARISONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """A figure; `goal` reads like "<= 1.3", or is None where the figure is only for information."""

    name: str
    unit: str
    goal: str | None
    group: str

    def meets_goal(self, value: float) -> bool:
        if self.goal is None:
            return True
        comparison, bound = self.goal.split()
        return COMPARISONS[comparison](value, float(bound))


# Units: "x" = how many times; "us" = microseconds of processor time per packet received; "ns" = the same per call.
FIGURES = (
    Figure("codec.encode_vs_upb", "x", ">= 4", "codec"),
    Figure("codec.decode_vs_upb", "x", ">= 3", "codec"),
    Figure("codec.lazy_vs_upb", "x", ">= 4", "codec"),
    Figure("codec.few_vs_upb", "x", None, "codec"),
    Figure("codec.encode_ns", "ns", None, "codec"),
    Figure("codec.decode_ns", "ns", None, "codec"),
    Figure("codec.lazy_ns", "ns", None, "codec"),
    Figure("codec.few_ns", "ns", None, "codec"),
    Figure("relay.udp_vs_c_coalesced", "x", "<= 1.3", "relay_udp"),
    Figure("relay.udp_vs_c_single", "x", "<= 0.4", "relay_udp"),
    Figure("relay.udp_vs_enet", "x", "<= 1.1", "relay_udp"),
    Figure("relay.udp_us", "us", None, "relay_udp"),
    Figure("relay.c_coalesced_us", "us", None, "relay_udp"),
    Figure("relay.c_single_us", "us", None, "relay_udp"),
    Figure("relay.enet_us", "us", None, "relay_udp"),
    Figure("relay.udp_tick10_vs_enet", "x", None, "relay_tick"),
    Figure("relay.udp_tick10_us", "us", None, "relay_tick"),
    Figure("relay.enet_tick10_us", "us", None, "relay_tick"),
    Figure("relay.ws_vs_colyseus", "x", "<= 0.3333", "relay_ws"),
    Figure("relay.ws_us", "us", None, "relay_ws"),
    Figure("relay.colyseus_us", "us", None, "relay_ws"),
    Figure("relay.growth", "x", "<= 1.2", "relay_growth"),
    Figure("relay.growth_same_total", "x", None, "relay_growth"),
    Figure("relay.c_growth_same_total", "x", None, "relay_growth"),
    Figure("relay.udp_8_clients_us", "us", None, "relay_growth"),
    Figure("relay.udp_1000_clients_us", "us", None, "relay_growth"),
    Figure("link.reliable_vs_enet", "x", "<= 0.6", "link_reliable"),
    Figure("link.reliable_tick10_vs_enet", "x", "<= 0.6", "link_reliable"),
    Figure("link.reliable_tick10_busy_vs_enet", "x", "<= 0.6", "link_reliable"),
    Figure("link.encrypted_vs_enet", "x", "<= 1.2", "link_reliable"),
    Figure("link.encrypted_tick10_vs_enet", "x", "<= 1.2", "link_reliable"),
    Figure("link.reliable_us", "us", None, "link_reliable"),
    Figure("link.encrypted_us", "us", None, "link_reliable"),
    Figure("link.enet_reliable_us", "us", None, "link_reliable"),
    Figure("link.reliable_tick10_us", "us", None, "link_reliable"),
    Figure("link.encrypted_tick10_us", "us", None, "link_reliable"),
    Figure("link.enet_reliable_tick10_us", "us", None, "link_reliable"),
    Figure("link.reliable_tick10_busy_us", "us", None, "link_reliable"),
    Figure("link.enet_reliable_tick10_busy_us", "us", None, "link_reliable"),
    Figure("link.unreliable_vs_enet", "x", "<= 1.1", "link_unreliable"),
    Figure("link.unreliable_encrypted_vs_enet", "x", None, "link_unreliable"),
    Figure("link.unreliable_us", "us", None, "link_unreliable"),
    Figure("link.enet_unreliable_us", "us", None, "link_unreliable"),
    Figure("link.hol_vs_tcp", "x", "<= 0.4", "link_hol"),
    Figure("link.hol_vs_enet", "x", "<= 0.7", "link_hol"),
    Figure("link.hol_link_p50_ms", "ms", None, "link_hol"),
    Figure("link.hol_link_p99_ms", "ms", None, "link_hol"),
    Figure("link.hol_link_p999_ms", "ms", None, "link_hol"),
    Figure("link.hol_link_bytes", "bytes", None, "link_hol"),
    Figure("link.hol_tcp_p50_ms", "ms", None, "link_hol"),
    Figure("link.hol_tcp_p99_ms", "ms", None, "link_hol"),
    Figure("link.hol_tcp_p999_ms", "ms", None, "link_hol"),
    Figure("link.hol_tcp_bytes", "bytes", None, "link_hol"),
    Figure("link.hol_enet_p50_ms", "ms", None, "link_hol"),
    Figure("link.hol_enet_p99_ms", "ms", None, "link_hol"),
    Figure("link.hol_enet_p999_ms", "ms", None, "link_hol"),
    Figure("link.hol_enet_bytes", "bytes", None, "link_hol"),
    Figure("link.hol_latest_ms", "ms", None, "link_hol"),
    Figure("link.fairness", "", ">= 0.86", "link_fairness"),
    Figure("link.fair_cubic_4mbit_20ms", "", None, "link_fairness"),
    Figure("link.fair_cubic_4mbit_60ms", "", None, "link_fairness"),
    Figure("link.fair_cubic_10mbit_20ms", "", None, "link_fairness"),
    Figure("link.fair_cubic_10mbit_60ms", "", None, "link_fairness"),
    Figure("link.fair_reno_4mbit_20ms", "", None, "link_fairness"),
    Figure("link.fair_reno_4mbit_60ms", "", None, "link_fairness"),
    Figure("link.fair_reno_10mbit_20ms", "", None, "link_fairness"),
    Figure("link.fair_reno_10mbit_60ms", "", None, "link_fairness"),
    Figure("link.fair_link_4mbit_20ms", "", None, "link_fairness"),
    Figure("link.fair_link_4mbit_60ms", "", None, "link_fairness"),
    Figure("link.fair_link_10mbit_20ms", "", None, "link_fairness"),
    Figure("link.fair_link_10mbit_60ms", "", None, "link_fairness"),
    Figure("script.handler_vs_plain", "x", "<= 2", "script_handler"),
    Figure("script.handler_us", "us", None, "script_handler"),
    Figure("script.plain_us", "us", None, "script_handler"),
    Figure("script.upcall_us", "us", "<= 1", "script_upcall"),
    Figure("script.relay_ratio", "x", "<= 1.3", "script_relay"),
    Figure("script.relay_ratio_reading", "x", None, "script_relay"),
    Figure("script.bystanders_p99_ms", "ms", "<= 60", "script_bystanders"),
    Figure("script.bystanders_p50_ms", "ms", None, "script_bystanders"),
    Figure("script.bystanders_most_ms", "ms", None, "script_bystanders"),
    Figure("script.first_mb", "MiB", "<= 5", "script_memory"),
    Figure("script.next_kb", "KiB", "<= 100", "script_memory"),
    Figure("platform.worst_tick_ms", "ms", "<= 5", "platform_requests"),
    Figure("platform.requests_per_s", "1/s", None, "platform_requests"),
    Figure("platform.p50_ms", "ms", None, "platform_requests"),
    Figure("platform.p99_ms", "ms", None, "platform_requests"),
    Figure("platform.idle1000_mb", "MiB", "<= 25", "platform_idle"),
    Figure("platform.game_mb", "MiB", None, "platform_idle"),
    Figure("match.place_ms", "ms", "<= 1", "match"),
    Figure("match.place_median_ms", "ms", None, "match"),
    Figure("store.bytes_ratio", "x", "<= 0.2", "store"),
    Figure("store.bytes_ratio_few", "x", None, "store"),
    Figure("store.kb_per_1000", "KiB", None, "store"),
    Figure("store.kb_per_1000_few", "KiB", None, "store"),
    Figure("store.kb_per_1000_alone", "KiB", None, "store"),
    Figure("store.updates_per_batch", "", None, "store"),
    Figure("store.updates_per_s", "1/s", None, "store"),
    Figure("footprint.idle_mb", "MiB", "<= 14", "footprint_idle"),
    Figure("footprint.listen_ms", "ms", "<= 100", "footprint_listen"),
    Figure("footprint.listen_cpu_ms", "ms", "<= 75", "footprint_listen"),
    Figure("footprint.contain_listen_ms", "ms", "<= 200", "footprint_listen"),
    Figure("footprint.contain_listen_cpu_ms", "ms", "<= 80", "footprint_listen"),
    Figure("footprint.game_listen_ms", "ms", "<= 250", "footprint_listen"),
    Figure("footprint.game_listen_cpu_ms", "ms", "<= 110", "footprint_listen"),
    Figure("footprint.tls_listen_ms", "ms", "<= 150", "footprint_listen"),
    Figure("footprint.tls_listen_cpu_ms", "ms", "<= 100", "footprint_listen"),
    Figure("footprint.script_ready_ms", "ms", "<= 200", "footprint_listen"),
    Figure("footprint.script_ready_cpu_ms", "ms", "<= 120", "footprint_listen"),
    Figure("footprint.contain_mb", "MiB", "<= 15", "footprint_used"),
    Figure("footprint.pi_zero_mb", "MiB", "<= 14", "footprint_used"),
    Figure("footprint.metrics_mb", "MiB", "<= 15", "footprint_used"),
    Figure("footprint.link_mb", "MiB", "<= 15", "footprint_used"),
    Figure("footprint.tls_mb", "MiB", "<= 20", "footprint_used"),
    Figure("footprint.metrics_first_ms", "ms", "<= 20", "footprint_used"),
    Figure("footprint.link_first_ms", "ms", "<= 40", "footprint_used"),
    Figure("footprint.tls_first_ms", "ms", "<= 60", "footprint_used"),
    Figure("footprint.scripted8_mb", "MiB", "<= 20", "footprint_scripted8"),
    Figure("footprint.udp64_mb", "MiB", "<= 16", "footprint_udp64"),
    Figure("footprint.link_idle_kb", "KiB", "<= 4", "footprint_link"),
    Figure("footprint.link_player_kb", "KiB", "<= 7.5", "footprint_link"),
    Figure("footprint.import.interpreter", "MiB", "<= 9.7", "footprint_import"),
    Figure("footprint.import.core", "MiB", "<= 0.3", "footprint_import"),
    Figure("footprint.import.relay", "MiB", "<= 1.2", "footprint_import"),
    Figure("footprint.import.server", "MiB", "<= 3.9", "footprint_import"),
    Figure("footprint.import.profile", "MiB", "<= 0.45", "footprint_import"),
    Figure("footprint.import.control", "MiB", "<= 2.2", "footprint_import"),
    Figure("footprint.import.tls", "MiB", "<= 7.2", "footprint_import"),
    Figure("footprint.import.client", "MiB", "<= 2.7", "footprint_import"),
    Figure("handover.gap_ms", "ms", None, "handover"),
    Figure("handover.cpu_ms", "ms", "<= 150", "handover"),
    Figure("handover.link_worst_ms", "ms", None, "handover"),
    Figure("handover.tcp_worst_ms", "ms", None, "handover"),
)


class Problem(Exception):
    """Why something cannot be measured, and what would help."""


class Record:
    """What was measured: the single values of each figure, or why there are none."""

    def __init__(self) -> None:
        self.runs: dict[str, list[float]] = {}
        self.problems: dict[str, str] = {}

    def add(self, name: str, value: float) -> None:
        self.runs.setdefault(name, []).append(value)

    def cannot(self, name: str, why: str) -> None:
        self.problems[name] = why

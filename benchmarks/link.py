"""link.*: the server's processor time per packet received over the link, against ENet, in interleaved runs."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import gsrt_server
from benchmarks.figures import Record
from benchmarks.gsrt_server import Installation
from benchmarks.processes import Result
from benchmarks.relay import RUNS, SATURATED, TICK_MS, Load, Run, compare, generate, peer

# With a packet of each client in flight a tick has 64 packets, and the server sleeps most of it: that is not saturated.
FULL_TICKS = replace(SATURATED, window=16)
# Ticks that fill ENet's processor, as one packet does without a tick; 128 is more than small clients keep.
BUSY_TICKS = replace(SATURATED, window=64)


def link(installation: Installation, mode: str, *options: str) -> Run:
    """A run of gsrt over the link; `mode` as link_load.c has it."""

    def run(load: Load) -> Result:
        with gsrt_server.running(installation, "--insecure-link", *options) as started:
            tokens = started.tokens(load.clients, load.room_size)
            return generate("link_load", load, started.port, started.process.pid, "--mode", mode, "--file", tokens)

    return run


def enet(tick_ms: int, mode: str) -> Run:
    """A run of the relay on ENet, reliable or unreliable."""

    def run(load: Load) -> Result:
        return peer("enet_relay", "enet_load", "{port}", str(tick_ms), load_options=("--mode", mode))(load)

    return run


def measure_reliable(installation: Installation, runs: int | None, record: Record) -> None:
    """64 clients in rooms of 4, reliable packets: one of each in flight; with a tick of 10 ms 16, and 64."""
    tick = ("--tick", str(TICK_MS))
    contestants = {
        "reliable": (link(installation, "insecure-reliable"), SATURATED),
        "encrypted": (link(installation, "reliable"), SATURATED),
        "enet_reliable": (enet(0, "reliable"), SATURATED),
        "reliable_tick10": (link(installation, "insecure-reliable", *tick), FULL_TICKS),
        "encrypted_tick10": (link(installation, "reliable", *tick), FULL_TICKS),
        "enet_reliable_tick10": (enet(TICK_MS, "reliable"), FULL_TICKS),
        "reliable_tick10_busy": (link(installation, "insecure-reliable", *tick), BUSY_TICKS),
        "enet_reliable_tick10_busy": (enet(TICK_MS, "reliable"), BUSY_TICKS),
    }
    ratios = {
        "link.reliable_vs_enet": ("reliable", "enet_reliable"),
        "link.encrypted_vs_enet": ("encrypted", "enet_reliable"),
        "link.reliable_tick10_vs_enet": ("reliable_tick10", "enet_reliable_tick10"),
        "link.encrypted_tick10_vs_enet": ("encrypted_tick10", "enet_reliable_tick10"),
        "link.reliable_tick10_busy_vs_enet": ("reliable_tick10_busy", "enet_reliable_tick10_busy"),
    }
    compare(record, contestants, runs or RUNS, ratios, family="link")


def measure_unreliable(installation: Installation, runs: int | None, record: Record) -> None:
    """The same with unreliable packets."""
    contestants = {
        "unreliable": (link(installation, "insecure-unreliable"), SATURATED),
        "unreliable_encrypted": (link(installation, "unreliable"), SATURATED),
        "enet_unreliable": (enet(0, "unreliable"), SATURATED),
    }
    ratios = {
        "link.unreliable_vs_enet": ("unreliable", "enet_unreliable"),
        "link.unreliable_encrypted_vs_enet": ("unreliable_encrypted", "enet_unreliable"),
    }
    compare(record, contestants, runs or RUNS, ratios, family="link")

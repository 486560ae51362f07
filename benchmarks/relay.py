"""relay.*: the server's processor time per packet received, against relays that do less, in interleaved runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from benchmarks import gsrt_server, processes
from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation
from benchmarks.processes import Result
from benchmarks.workshop import folder, program

RUNS = 7
GROWTH_RUNS = 5
ATTEMPTS = 3  # of a run in which something was lost or damaged
SPARE_SECONDS = 60.0  # for the logins and the end of a run

Run = Callable[["Load"], Result]


@dataclass(frozen=True)
class Load:
    """What a generator does: a closed loop of `window` packets in flight for each client; or, if `in_flight` is not 0,
    of so many in flight for all together; or, if `rate` is not 0, an open loop of so many a second from each client."""

    clients: int = 64
    room_size: int = 4
    window: int = 1
    in_flight: int = 0
    rate: float = 0.0
    seconds: float = 2.0

    def options(self, port: int, pid: int) -> list[str]:
        values = {
            "port": port,
            "pid": pid,
            "clients": self.clients,
            "room": self.room_size,
            "window": self.window,
            "in-flight": self.in_flight,
            "rate": self.rate,
            "seconds": self.seconds,
        }
        return [word for name, value in values.items() for word in (f"--{name}", str(value))]


SATURATED = Load()
STEADY = Load(rate=100.0)
TICK_MS = 10


def generate(program_name: str, load: Load, port: int, pid: int, *options: str) -> Result:
    command = [program(program_name), *load.options(port, pid), *options]
    return processes.generate(command, load.seconds + SPARE_SECONDS)


def gsrt(installation: Installation, mode: str, *options: str) -> Run:
    """A run of gsrt with real logins; mode is "udp" or "ws"."""

    def run(load: Load) -> Result:
        with gsrt_server.running(installation, *options) as started:
            tokens = started.tokens(load.clients, load.room_size)
            return generate("rt_load", load, started.port, started.process.pid, "--mode", mode, "--file", tokens)

    return run


def peer(relay_name: str, load_name: str, *options: str, load_options: tuple[str, ...] = ()) -> Run:
    """A run of one of our C relays. `{port}` among its options is filled in."""

    def run(load: Load) -> Result:
        port, log = processes.free_port(), folder() + "/peer.log"
        command = [program(relay_name), *(option.replace("{port}", str(port)) for option in options)]
        with processes.server(command, log, folder()) as process:
            processes.wait_for_output(process, log, b"listening")
            return generate(load_name, load, port, process.pid, *load_options)

    return run


def damage(result: Result) -> str:
    """What was wrong with the packets of a run; empty if each one arrived once, in order, whole, where it belongs."""
    kinds = ("lost", "corrupt", "misdelivered", "disordered", "disconnected")
    found = [f"{result[kind]} {kind}" for kind in kinds if result[kind]]
    return f"{', '.join(found)}: {result['note']}" if found else ""


def summary(result: Result) -> str:
    return (
        f"{result['cpu_us_per_packet']:7.3f} us/packet, {result['packets_per_second']:.0f} packets/s, "
        f"server {result['server_share']:.2f}, generator {result['generator_share']:.2f} of a processor"
    )


def valid_run(name: str, run: Run, load: Load) -> Result:
    """The result of a run without damage. Raises Problem after ATTEMPTS damaged ones."""
    for _ in range(ATTEMPTS):
        result = run(load)
        wrong = damage(result)
        if not wrong:
            print(f"  {name:16s} {summary(result)}", file=sys.stderr)
            return result
        print(f"  {name:16s} did not count: {wrong}", file=sys.stderr)
    raise Problem(f"{ATTEMPTS} runs of {name} lost or damaged packets; the last: {wrong}")


def interleave(contestants: Mapping[str, tuple[Run, Load]], runs: int) -> tuple[list[dict[str, float]], dict[str, str]]:
    """Runs all of them in turn, `runs` times, beginning with another one each time. Returns the costs of each round,
    and what keeps a contestant from running: it is left out from then on."""
    rounds: list[dict[str, float]] = []
    problems: dict[str, str] = {}
    names = list(contestants)
    for number in range(runs):
        first = number % len(names)
        costs: dict[str, float] = {}
        for name in names[first:] + names[:first]:
            if name in problems:
                continue
            try:
                costs[name] = float(valid_run(name, *contestants[name])["cpu_us_per_packet"])
            except Problem as problem:
                problems[name] = str(problem)
        rounds.append(costs)
    return rounds, problems


def compare(
    record: Record,
    contestants: Mapping[str, tuple[Run, Load]],
    runs: int,
    ratios: Mapping[str, tuple[str, str]],
    *,
    family: str = "relay",
) -> None:
    """Records `<family>.<contestant>_us`, and for each of `ratios` the ratio of two contestants in each round."""
    rounds, problems = interleave(contestants, runs)
    for name in contestants:
        if name in problems:
            record.cannot(f"{family}.{name}_us", problems[name])
        for costs in rounds:
            if name in costs:
                record.add(f"{family}.{name}_us", costs[name])
    for figure, (above, below) in ratios.items():
        why = [problems[name] for name in (above, below) if name in problems]
        if why:
            record.cannot(figure, "; ".join(why))
            continue
        for costs in rounds:
            record.add(figure, costs[above] / costs[below])


def measure_udp(installation: Installation, runs: int | None, record: Record) -> None:
    """64 clients in rooms of 4, one packet of each in flight, against the C relays and ENet."""
    contestants = {
        "udp": (gsrt(installation, "udp"), SATURATED),
        "c_coalesced": (peer("plain_relay", "plain_load", "coalesced", "{port}"), SATURATED),
        "c_single": (peer("plain_relay", "plain_load", "single", "{port}"), SATURATED),
        "enet": (peer("enet_relay", "enet_load", "{port}", "0"), SATURATED),
    }
    ratios = {
        "relay.udp_vs_c_coalesced": ("udp", "c_coalesced"),
        "relay.udp_vs_c_single": ("udp", "c_single"),
        "relay.udp_vs_enet": ("udp", "enet"),
    }
    compare(record, contestants, runs or RUNS, ratios)


def measure_tick(installation: Installation, runs: int | None, record: Record) -> None:
    """The same clients at 100 packets a second each, both servers working every 10 ms only."""
    contestants = {
        "udp_tick10": (gsrt(installation, "udp", "--tick", str(TICK_MS)), STEADY),
        "enet_tick10": (peer("enet_relay", "enet_load", "{port}", str(TICK_MS)), STEADY),
    }
    compare(record, contestants, runs or RUNS, {"relay.udp_tick10_vs_enet": ("udp_tick10", "enet_tick10")})


def measure_growth(installation: Installation, runs: int | None, record: Record) -> None:
    """1,000 clients against 8: each keeping one packet in flight, and all together keeping 64; the latter on C too."""
    ours, theirs = gsrt(installation, "udp"), peer("plain_relay", "plain_load", "coalesced", "{port}")
    few, many = replace(SATURATED, clients=8), replace(SATURATED, clients=1000)
    few_busy, many_calm = replace(few, in_flight=64), replace(many, in_flight=64)
    contestants = {
        "udp_8_clients": (ours, few),
        "udp_1000_clients": (ours, many),
        "udp_8_busy": (ours, few_busy),
        "udp_1000_calm": (ours, many_calm),
        "c_8_busy": (theirs, few_busy),
        "c_1000_calm": (theirs, many_calm),
    }
    ratios = {
        "relay.growth": ("udp_1000_clients", "udp_8_clients"),
        "relay.growth_same_total": ("udp_1000_calm", "udp_8_busy"),
        "relay.c_growth_same_total": ("c_1000_calm", "c_8_busy"),
    }
    compare(record, contestants, runs or GROWTH_RUNS, ratios)

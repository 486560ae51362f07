"""link.hol_*: how long reliable packets take through a network that loses 5 %, over the link, TCP and ENet, in turn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import gsrt_server, processes
from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation
from benchmarks.processes import Result
from benchmarks.relay import ATTEMPTS, Load
from benchmarks.workshop import folder, program
from tests.support.network import DEVICE, RIGHT_ADDRESS, Namespace, Network, why_not

CONDITIONS = "loss=5% delay=30ms"  # in each direction, for a round trip of 60 ms
RUNS = 5
GAME = Load(clients=16, room_size=4, rate=30.0, seconds=12.0)
CHANNELS = 4
WARM_UP = 3.0  # seconds, after which all have measured the way and its losses
SPARE_SECONDS = 60.0  # for logins and the end of a run
EVERYWHERE = "0.0.0.0"
TAIL = ("p50_ms", "p99_ms", "p999_ms")

Run = Callable[[Network, Load], Result]


def sent_bytes(namespace: Namespace) -> int:
    """Bytes of the IP packets that it has sent, those that were lost among them."""
    with namespace.entered():
        lines = Path("/proc/thread-self/net/dev").read_text(encoding="ascii").splitlines()
    fields = next(line for line in lines if line.strip().startswith(DEVICE.decode())).partition(":")[2].split()
    return int(fields[8])


def generate(name: str, network: Network, load: Load, port: int, pid: int, *options: str) -> Result:
    """Runs a generator in the left namespace. Adds to its result the bytes that both sides have sent for each packet of
    a client, and what the forwarder says."""
    command = [
        program(name),
        *load.options(port, pid),
        "--warm-up",
        str(WARM_UP),
        *options,
        RIGHT_ADDRESS,
        str(CHANNELS),
    ]
    before = sent_bytes(network.left) + sent_bytes(network.right)
    with network.left.entered():
        result = processes.generate(command, load.seconds + SPARE_SECONDS)
    result["wire_bytes"] = (sent_bytes(network.left) + sent_bytes(network.right) - before) / result["packets"]
    return result | network.counters()["forwarder"]


def gsrt(installation: Installation, name: str) -> Run:
    """A run of gsrt, with the generator `name`."""

    def run(network: Network, load: Load) -> Result:
        with network.right.entered(), gsrt_server.running(installation, "--host", EVERYWHERE) as started:
            tokens = started.tokens(load.clients, load.room_size)
            return generate(name, network, load, started.port, started.process.pid, "--file", tokens)

    return run


def enet(network: Network, load: Load) -> Result:
    """A run of the relay on ENet."""
    log = folder() + "/peer.log"
    with network.right.entered():
        port = processes.free_port()
        with processes.server([program("latency_enet_relay"), str(port), str(CHANNELS)], log, folder()) as process:
            processes.wait_for_output(process, log, b"listening")
            return generate("latency_enet", network, load, port, process.pid)


def valid_run(name: str, run: Run, load: Load, seed: int) -> Result:
    """The result of a run in which every packet came once and in order. Raises Problem after ATTEMPTS others."""
    for attempt in range(ATTEMPTS):
        try:
            with Network(CONDITIONS, seed=seed) as network:
                result = run(network, load)
                dropped = network.left.dropped() + network.right.dropped()
        except Problem as problem:
            wrong = str(problem)
        else:
            if not dropped:
                print(f"  {name:5s} {summary(result)}", file=sys.stderr)
                return result
            wrong = f"{dropped} packets were dropped before the network could lose them"
        print(f"  {name:5s} did not count: {wrong}", file=sys.stderr)
        seed += 1000 * (attempt + 1)
    raise Problem(f"{ATTEMPTS} runs of {name} did not count; the last: {wrong}")


def summary(result: Result) -> str:
    percentiles = ", ".join(f"{name[:-3]} {result[name]:.1f}" for name in TAIL)
    return (
        f"{percentiles} ms, {result['wire_bytes']:.0f} bytes/packet, {result['deliveries']} deliveries; forwarder over"
        f" 1 ms late {result['late']:.0f} of {result['wakes']:.0f} times, {result['latest'] * 1e3:.1f} ms at most"
    )


def measure(installation: Installation, runs: int | None, record: Record) -> None:
    """All three in turn over the same conditions and seed, beginning with another one each round."""
    why = why_not()
    if why:
        raise Problem(why)
    contestants = {"link": gsrt(installation, "latency_link"), "tcp": gsrt(installation, "latency_tcp"), "enet": enet}
    names = list(contestants)
    for number in range(runs or RUNS):
        first = number % len(names)
        results = {
            name: valid_run(name, contestants[name], GAME, seed=number + 1) for name in names[first:] + names[:first]
        }
        for name, result in results.items():
            for share in TAIL:
                record.add(f"link.hol_{name}_{share}", result[share])
            record.add(f"link.hol_{name}_bytes", result["wire_bytes"])
        for rival in ("tcp", "enet"):
            record.add(f"link.hol_vs_{rival}", results["link"]["p99_ms"] / results[rival]["p99_ms"])
        record.add("link.hol_latest_ms", max(result["latest"] for result in results.values()) * 1e3)

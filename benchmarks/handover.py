"""handover.*: how long packets wait while another program takes the server's place, which 128 players are using."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks import gsrt_server, processes
from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation, RunningServer
from benchmarks.processes import Result, ask, cpu_ms
from benchmarks.relay import Load
from benchmarks.workshop import program

RUNS = 3
HAND_OVERS = 4  # of each run
GAME = Load(clients=64, room_size=8, rate=20.0, seconds=16.0)  # over each leg
WARM_UP = 2.0  # seconds
APART = 1.5  # seconds between two of them
LOOK_SECONDS = 0.02
PATIENCE = 20.0
SPARE_SECONDS = 60.0  # for logins and the end of a run
CHANNELS = 4


def hand_over(started: RunningServer, before: float) -> float:
    """Has it happen once, after one that was without service for `before` seconds: seconds without service."""
    os.kill(started.process.pid, signal.SIGUSR2)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        try:
            (status,) = ask(started.control, [{"do": "status"}])
        except (OSError, ValueError, Problem):  # one has just gone, and the other is not there yet
            continue
        arrival = status.get("handOver")
        if not isinstance(arrival, dict) or arrival["seconds"] == before:
            continue
        if arrival["playersToComeBack"] or arrival["players"] != 2 * GAME.clients:
            raise Problem(f"players were lost: {arrival}")
        return float(arrival["seconds"])
    raise Problem(f"the server did not hand over: see {started.log}")


def run(installation: Installation, record: Record) -> None:
    """Every packet comes once and in the order of its channel, or the generators raise a Problem."""
    generators = {name: program(name) for name in ("latency_link", "latency_tcp")}
    with gsrt_server.running(installation) as started, ThreadPoolExecutor() as threads:

        def play(name: str) -> Result:
            command = [generators[name], *GAME.options(started.port, started.process.pid), "--warm-up", str(WARM_UP)]
            command += ["--file", tokens[name], "127.0.0.1", str(CHANNELS)]
            return processes.generate(command, GAME.seconds + SPARE_SECONDS)

        tokens = {}
        for name in generators:
            path = started.tokens(GAME.clients, GAME.room_size)
            tokens[name] = f"{path}-{name}"
            os.rename(path, tokens[name])
        players = {name: threads.submit(play, name) for name in tokens}
        end = time.monotonic() + PATIENCE
        while ask(started.control, [{"do": "status"}])[0]["peersConnected"] != 2 * GAME.clients:
            if time.monotonic() > end:
                raise Problem(f"not everybody has come in: see {started.log}")
            time.sleep(LOOK_SECONDS)
        time.sleep(WARM_UP)
        seconds = 0.0
        for _ in range(HAND_OVERS):
            time.sleep(APART)
            before = cpu_ms(started.process.pid)
            seconds = hand_over(started, seconds)
            record.add("handover.gap_ms", seconds * 1e3)
            record.add("handover.cpu_ms", cpu_ms(started.process.pid) - before)
        for name, future in players.items():
            record.add(f"handover.{name.removeprefix('latency_')}_worst_ms", future.result()["worst_ms"])


def measure(installation: Installation, runs: int | None, record: Record) -> None:
    for _ in range(runs or RUNS):
        run(installation, record)

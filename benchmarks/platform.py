"""platform.*: requests of players beside the loop's worst tick, on a disk made slow, and what idle players take."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator

from benchmarks import gsrt_server
from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation, RunningServer
from benchmarks.processes import GENERATOR_CPU, ask, on_cpu, rss_mib
from benchmarks.workshop import library
from gsrt.game.skeleton import make_game
from tests.platform.client import PlatformClient

RUNS = 3
SLOW_MS = 150  # of every fdatasync: a worn SD card
PLAYERS = 64
WARM_SECONDS = 2.0
MEASURED_SECONDS = 6.0
IDLE_PLAYERS = 1000
SETTLE_SECONDS = 1.0


@contextlib.contextmanager
def game_server(installation: Installation, *, slow_ms: int = 0) -> Iterator[tuple[RunningServer, str, str]]:
    """A server with a new game: itself, the api key and the secret."""
    with tempfile.TemporaryDirectory(prefix="gsrt-bench-") as directory:
        folder = os.path.join(directory, "game")
        make_game(folder, os.urandom)
        with open(os.path.join(folder, "game.toml"), "rb") as file:
            head = tomllib.load(file)
        slow = {"LD_PRELOAD": library("slow_disk"), "SLOW_DISK_MS": str(slow_ms)} if slow_ms else {}
        with gsrt_server.running(installation, folder, environment=slow) as server:
            yield server, head["api_key"], head["secret"]


class Player(threading.Thread):
    """Reports a score, waits for the answer, reports the next, until `until`."""

    def __init__(self, client: PlatformClient, number: int, until: float, measured_from: float) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.number = number
        self.until = until
        self.measured_from = measured_from
        self.seconds: list[float] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            number = 0
            while (began := time.perf_counter()) < self.until:
                number += 1
                self.client.request("LogEventRequest", eventKey="score", points=number % 1000, level="bench")
                if began >= self.measured_from:
                    self.seconds.append(time.perf_counter() - began)
        except BaseException as error:
            self.failure = error


def measure_requests(installation: Installation, runs: int | None, record: Record) -> None:
    """Every request is a score, written to disk before it is answered."""
    for _ in range(runs or RUNS):
        with game_server(installation, slow_ms=SLOW_MS) as (server, api_key, secret), contextlib.ExitStack() as stack:
            stack.enter_context(on_cpu(GENERATOR_CPU))
            clients = [
                stack.enter_context(PlatformClient("127.0.0.1", server.port, api_key, secret)) for _ in range(PLAYERS)
            ]
            for number, client in enumerate(clients):
                client.sign_in_device(f"device-{number}")
            measured_from = time.perf_counter() + WARM_SECONDS
            until = measured_from + MEASURED_SECONDS
            players = [Player(client, number, until, measured_from) for number, client in enumerate(clients)]
            for player in players:
                player.start()
            time.sleep(max(0.0, measured_from - time.perf_counter()))
            ask(server.control, [{"do": "status"}])  # from here on its worst tick counts
            for player in players:
                player.join()
                if player.failure is not None:
                    raise Problem(f"a request failed: {player.failure}")
            (status,) = ask(server.control, [{"do": "status"}])
            seconds = [each for player in players for each in player.seconds]
            loop = status["loop"]
            assert isinstance(loop, dict)
            record.add("platform.worst_tick_ms", float(loop["worstTickLatelyMs"]))
            record.add("platform.requests_per_s", len(seconds) / MEASURED_SECONDS)
            record.add("platform.p50_ms", statistics.median(seconds) * 1e3)
            record.add("platform.p99_ms", statistics.quantiles(seconds, n=100)[98] * 1e3)


def measure_idle(installation: Installation, runs: int | None, record: Record) -> None:
    """Signed in and silent, over the server with one such player."""
    for _ in range(runs or RUNS):
        with game_server(installation) as (server, api_key, secret), contextlib.ExitStack() as stack:

            def enter(
                number: int,
                server: RunningServer = server,
                api_key: str = api_key,
                secret: str = secret,
                stack: contextlib.ExitStack = stack,
            ) -> None:
                client = stack.enter_context(PlatformClient("127.0.0.1", server.port, api_key, secret))
                client.sign_in_device(f"device-{number}")

            enter(0)
            time.sleep(SETTLE_SECONDS)
            before = rss_mib(server.process.pid)
            for number in range(1, IDLE_PLAYERS + 1):
                enter(number)
            time.sleep(SETTLE_SECONDS)
            record.add("platform.game_mb", before)
            record.add("platform.idle1000_mb", rss_mib(server.process.pid) - before)

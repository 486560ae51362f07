"""footprint.*: memory and start of the server, and what importing each part of it costs."""

from __future__ import annotations

import shutil
import subprocess
import time

from benchmarks import gsrt_server
from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation, RunningServer
from benchmarks.processes import SERVER_CPU, ask, cpu_ms, on_cpu, rss_mib, wait_for_connect
from benchmarks.relay import Load, generate, gsrt, valid_run
from benchmarks.workshop import folder

RUNS = 5
IDLE_SECONDS = 1.0
LISTEN_RUNS = 9
PLAYING = Load(rate=20.0)
IDLE_LINKS = Load(clients=500, seconds=3.0)  # nobody sends

# What a part of gsrt is, as statements: the import, and the first use where that imports more.
FEATURES = {
    "core": "import gsrt._core",
    "relay": "import gsrt._relay",
    "server": "import gsrt.server",
    "profile": "import gsrt.profile; gsrt.profile.Profile.load('generic')",
    "control": "import gsrt.transports.control, json",
    "tls": "import gsrt.transports.tls, ssl",
    "client": "import gsrt.client",
}
PRINT_RSS = "print(next(line for line in open('/proc/self/status') if line.startswith('VmRSS:')).split()[1])"


def measure_idle(installation: Installation, runs: int | None, record: Record) -> None:
    for _ in range(runs or RUNS):
        with gsrt_server.launch(installation) as started:
            wait_for_connect(started.process, started.log, started.port)
            time.sleep(IDLE_SECONDS)
            record.add("footprint.idle_mb", rss_mib(started.process.pid))


def measure_listen(installation: Installation, runs: int | None, record: Record) -> None:
    """From just before the server is executed to the first TCP connect that works."""
    for _ in range(runs or LISTEN_RUNS):
        before = time.perf_counter()
        with gsrt_server.launch(installation) as started:
            wait_for_connect(started.process, started.log, started.port)
            record.add("footprint.listen_ms", (time.perf_counter() - before) * 1e3)
            record.add("footprint.listen_cpu_ms", cpu_ms(started.process.pid))


def measure_udp64(installation: Installation, runs: int | None, record: Record) -> None:
    """With 64 clients that have confirmed UDP and have exchanged packets for 2.5 s."""
    run = gsrt(installation, "udp")
    for _ in range(runs or RUNS):
        record.add("footprint.udp64_mb", float(valid_run("udp64", run, PLAYING)["rss_kb"]) / 1024)


def _rss_with_links(started: RunningServer, load: Load, tokens: str) -> float:
    """MiB of the server when so many more links have been open and left alone for a while. Nobody says goodbye, so that
    for the server they are open for some seconds more."""
    options = ("--warm-up", "0", "--file", tokens, "127.0.0.1", "1")
    generate("latency_link", load, started.port, started.process.pid, *options)
    return rss_mib(started.process.pid)


def measure_link(installation: Installation, runs: int | None, record: Record) -> None:
    """What a link adds when its session is there, and as many others have used up what was free before. And all that a
    player costs: a link, a quarter of a session, tokens, a share of libsodium and of what else the first ones load."""
    load = IDLE_LINKS
    for _ in range(runs or RUNS):
        with gsrt_server.running(installation) as started:
            idle = rss_mib(started.process.pid)
            tokens = started.tokens(load.clients, load.room_size)
            first_tokens = shutil.move(tokens, tokens + "-first")
            started.tokens(load.clients, load.room_size)
            half = _rss_with_links(started, load, first_tokens)
            whole = _rss_with_links(started, load, tokens)
            if ask(started.control, [{"do": "status"}])[0]["links"] != 2 * load.clients:
                raise Problem("not all links were open")
        record.add("footprint.link_idle_kb", (whole - half) * 1024 / load.clients)
        record.add("footprint.link_player_kb", (whole - idle) * 1024 / (2 * load.clients))


def _rss_after(installation: Installation, statements: str) -> float:
    """MiB of a fresh interpreter after the statements."""
    command = [installation.python, "-c", f"{statements}\n{PRINT_RSS}"]
    with on_cpu(SERVER_CPU):
        done = subprocess.run(command, cwd=folder(), capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise Problem(f"{statements!r}: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout) / 1024


def measure_import(installation: Installation, runs: int | None, record: Record) -> None:
    """Each in an interpreter of its own: what two of them share is counted in both."""
    for _ in range(runs or RUNS):
        bare = _rss_after(installation, "")
        record.add("footprint.import.interpreter", bare)
        for feature, statements in FEATURES.items():
            name = f"footprint.import.{feature}"
            try:
                record.add(name, _rss_after(installation, statements) - bare)
            except Problem as problem:
                record.cannot(name, str(problem))

"""footprint.*: memory and start of the server, what each feature adds, and what importing each part of it costs."""

from __future__ import annotations

import os
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable

from benchmarks import gsrt_server
from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation, RunningServer
from benchmarks.processes import SERVER_CPU, START_SECONDS, ask, cpu_ms, on_cpu, rss_mib, wait_for_connect
from benchmarks.relay import Load, generate, gsrt, valid_run
from benchmarks.script import script_path
from benchmarks.workshop import folder
from gsrt.client import Session
from gsrt.game.skeleton import make_game
from gsrt.transports.certificate import CertificateMaker

RUNS = 5
IDLE_SECONDS = 1.0
LISTEN_RUNS = 9
CERTIFICATE_SECONDS = 60.0  # to make one
LINK_SECONDS = 10.0  # for a link to be there
PLAYING = Load(rate=20.0)
ONE_SESSION = Load(clients=8, room_size=8, rate=20.0, seconds=3.0)  # of legacy players
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


def _certificate(directory: str) -> tuple[str, str]:
    """One that a host would give to the server."""
    maker = CertificateMaker(directory)
    select.select([maker.start()], [], [], CERTIFICATE_SECONDS)
    return maker.finish()


def _wait_for_script(started: RunningServer) -> None:
    """The first answer comes from the loop, and that begins when the session with the script is there."""
    until = time.monotonic() + START_SECONDS
    while not os.path.exists(started.control) and time.monotonic() < until:
        pass
    (status,) = ask(started.control, [{"do": "status"}])
    scripts = status["scripts"]
    if not isinstance(scripts, dict) or scripts["running"] != 1:
        raise Problem(f"no script runs: {scripts}")


def measure_listen(installation: Installation, runs: int | None, record: Record) -> None:
    """From just before the server is executed to the first TCP connect that works: plain, as the service has it, and
    with what is loaded at the start where it is asked for."""
    with tempfile.TemporaryDirectory(prefix="gsrt-bench-") as directory:
        game = os.path.join(directory, "game")
        make_game(game, os.urandom)
        cert, key = _certificate(directory)
        variants = {
            "footprint.listen": (),
            "footprint.contain_listen": ("--contain", "--profile", "auto"),
            "footprint.game_listen": (game,),
            "footprint.tls_listen": ("--cert", cert, "--key", key),
            "footprint.script_ready": ("--demo", "red,blue", "--script", script_path("typical")),
        }
        for _ in range(runs or LISTEN_RUNS):
            for name, options in variants.items():
                before = time.perf_counter()
                with gsrt_server.launch(installation, *options) as started:
                    wait_for_connect(started.process, started.log, started.port)
                    if name == "footprint.script_ready":
                        _wait_for_script(started)
                    record.add(f"{name}_ms", (time.perf_counter() - before) * 1e3)
                    record.add(f"{name}_cpu_ms", cpu_ms(started.process.pid))


def _first_scrape(started: RunningServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{started.port}/metrics", timeout=10) as answer:
        answer.read()


def _first_tls(started: RunningServer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", started.port), timeout=10) as plain, context.wrap_socket(plain):
        pass


def _first_link(started: RunningServer) -> None:
    with open(started.tokens(1, 1), encoding="ascii") as file:
        token = file.readline().strip()
    session = Session("127.0.0.1", started.port, token, link=True)
    session.start()
    until = time.monotonic() + LINK_SECONDS
    while not session.ready and time.monotonic() < until:
        session.update()
    if session.leg != "link":
        raise Problem("the link was not made")
    session.stop()


def _nothing(started: RunningServer) -> None:
    """Being there is enough."""


# What a host may use besides: figure -> (options of the server, what makes it load).
USED: dict[str, tuple[tuple[str, ...], Callable[[RunningServer], None]]] = {
    "footprint.contain": (("--contain",), _nothing),
    "footprint.pi_zero": (("--profile", "pi-zero-w"), _nothing),
    "footprint.metrics": ((), _first_scrape),
    "footprint.link": ((), _first_link),
    "footprint.tls": ((), _first_tls),
}


def measure_used(installation: Installation, runs: int | None, record: Record) -> None:
    """The whole server with each, alone: what it holds then, not what that adds to idle_mb. And how long the first use
    takes of what is loaded by that, which a start need not wait for."""
    for _ in range(runs or RUNS):
        for name, (options, use) in USED.items():
            with gsrt_server.running(installation, *options) as started:
                before = time.perf_counter()
                use(started)
                if use is not _nothing:
                    record.add(f"{name}_first_ms", (time.perf_counter() - before) * 1e3)
                time.sleep(IDLE_SECONDS)
                record.add(f"{name}_mb", rss_mib(started.process.pid))


def measure_scripted8(installation: Installation, runs: int | None, record: Record) -> None:
    """One session with a script that reads and answers packets, and eight legacy players (TCP and UDP) in it."""
    run = gsrt(installation, "udp", "--script", script_path("typical"))
    for _ in range(runs or RUNS):
        record.add("footprint.scripted8_mb", float(valid_run("scripted8", run, ONE_SESSION)["rss_kb"]) / 1024)


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

"""script.*: what the sandbox costs a handler, a packet, the server at saturation, and its memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import gsrt_server
from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation
from benchmarks.processes import ask, rss_mib, wait_for_connect
from benchmarks.relay import SATURATED, gsrt, interleave
from benchmarks.workshop import HERE
from gsrt._core import Packet
from gsrt.log import Log
from gsrt.profile import Profile
from gsrt.scripts.api import Player, Session
from gsrt.scripts.compiler import compile_script
from gsrt.scripts.guest import Guest
from gsrt.scripts.journal import Journal
from gsrt.scripts.reload import Nowhere
from gsrt.scripts.sandbox import Sandbox
from tests.support.bombs import Heartbeats, explode_all

RUNS = 7
SLICES = 9  # of each contestant in one run; the fastest counts
CALLS = 20_000  # in a slice
RELAY_RUNS = 7
MEMORY_RUNS = 3
BYSTANDERS_RUNS = 3
BOMBS_SECONDS_MAX = 120.0  # all have had their turn long before
BEATS_MIN = 1000  # fewer say nothing about the latest hundredth
FURTHER_SESSIONS = 100
SETTLE_SECONDS = 1.0
PLAYERS = {1: "anna", 2: "ben", 3: "carl", 4: "dora"}


def script_path(name: str) -> str:
    return f"{HERE}/scripts/{name}.py"


def source_of(name: str) -> str:
    with open(script_path(name), encoding="utf-8") as file:
        return file.read()


def new_guest(name: str) -> Guest:
    """A script in the sandbox as the server has it, with four players there; what it sends goes nowhere."""
    profile = Profile.load("generic")
    journal = Journal(10, Log(open("/dev/null", "w"), time.monotonic), time.time)  # noqa: SIM115
    sandbox = Sandbox(profile, journal)
    compiled = compile_script(source_of(name), name)
    guest = Guest(sandbox, compiled, Nowhere(), session_id="bench", players=PLAYERS, seed=1, began=0.0)
    guest.load(0.0, list(PLAYERS))
    return guest


class Plain:
    """Capabilities without any bound, for the same handler in plain Python."""

    session_id, seed = "bench", 1

    def __init__(self, players: dict[int, Any]) -> None:
        self._players = list(players.values())
        self._sent: list[tuple[bytes, object, bool]] = []

    def new_data(self) -> Any:
        from gsrt._guest import Data

        return Data()

    def is_own(self, function: object) -> bool:
        return True

    def on_packet(self, op_code: int, function: object) -> None:
        """Called by hand."""

    def players(self) -> list[Player]:
        return list(self._players)

    def send(self, op_code: int, data: Any, payload: Any, peers: Any, reliable: bool, sender: int) -> None:
        from gsrt._guest import data_of

        frame = Packet(op_code, data=data_of(data), payload=payload, sender=sender).frame()
        self._sent.append((frame, peers, reliable))

    def deliver(self) -> None:
        self._sent.clear()


def fastest(work: Callable[[int], None], calls: int = CALLS) -> float:
    """Seconds of processor time for one of `calls`."""
    before = time.thread_time()
    work(calls)
    return (time.thread_time() - before) / calls


def a_packet() -> bytes:
    return Packet(100, data={1: 7, 2: 12.5, 3: 3.25, 4: "anna"}, targets=(0,)).encode()


def measure_handler(installation: Installation, runs: int | None, record: Record) -> None:
    """The whole callback in the sandbox, budgets, quotas and delivery included, against a call of the same function in
    plain Python with the same API on top of it."""
    guest = new_guest("typical")
    guest.handlers.feed(0.0, 1, a_packet(), False)
    (packet,) = guest.globals["kept"]
    guarded, run = guest.globals["handle"], guest.handlers.run
    plain = Plain(guest.handlers.players)
    names: dict[str, Any] = {"session": Session(plain)}  # type: ignore[arg-type]
    exec(compile(source_of("typical"), "typical", "exec"), names)
    function = names["handle"]

    def in_sandbox(calls: int) -> None:
        for _ in range(calls):
            run(0.0, guarded, packet)

    def in_plain_python(calls: int) -> None:
        for _ in range(calls):
            function(packet)
            plain.deliver()

    for _ in range(runs or RUNS):
        both = [(fastest(in_sandbox), fastest(in_plain_python)) for _ in range(SLICES)]
        sandboxed, unbounded = min(a for a, _ in both), min(b for _, b in both)
        record.add("script.handler_vs_plain", sandboxed / unbounded)
        record.add("script.handler_us", sandboxed * 1e6)
        record.add("script.plain_us", unbounded * 1e6)
    assert guest.strikes == guest.failures == 0
    assert names["best"][1] and guest.globals["best"][1]


def measure_upcall(installation: Installation, runs: int | None, record: Record) -> None:
    """A packet for an empty handler, less the same packet with an opCode that nobody wants."""
    guest = new_guest("empty")
    feed = guest.handlers.feed
    wanted = a_packet()
    unwanted = Packet(99, data={1: 7, 2: 12.5, 3: 3.25, 4: "anna"}, targets=(0,)).encode()

    def feed_with(body: bytes) -> Callable[[int], None]:
        def work(calls: int) -> None:
            for _ in range(calls):
                feed(0.0, 1, body, False)

        return work

    for _ in range(runs or RUNS):
        both = [(fastest(feed_with(wanted)), fastest(feed_with(unwanted))) for _ in range(SLICES)]
        record.add("script.upcall_us", (min(a for a, _ in both) - min(b for _, b in both)) * 1e6)


def measure_relay(installation: Installation, runs: int | None, record: Record) -> None:
    """The relay at saturation over UDP, with no script, with an empty handler for every packet, and with one that reads
    a number of every packet."""
    contestants = {
        "plain": (gsrt(installation, "udp"), SATURATED),
        "empty": (gsrt(installation, "udp", "--script", script_path("empty")), SATURATED),
        "reading": (gsrt(installation, "udp", "--script", script_path("reading")), SATURATED),
    }
    rounds, problems = interleave(contestants, runs or RELAY_RUNS)
    for figure, name in (("script.relay_ratio", "empty"), ("script.relay_ratio_reading", "reading")):
        why = [problems[each] for each in ("plain", name) if each in problems]
        if why:
            record.cannot(figure, "; ".join(why))
            continue
        for costs in rounds:
            record.add(figure, costs[name] / costs["plain"])


def measure_bystanders(installation: Installation, runs: int | None, record: Record) -> None:
    """How late two players' packets are while another session's script runs every bomb of the attack corpus."""
    for _ in range(runs or BYSTANDERS_RUNS):
        with gsrt_server.running(installation) as started, tempfile.TemporaryDirectory() as folder:

            def control(request: dict[str, Any], path: str = started.control) -> dict[str, Any]:
                (answer,) = ask(path, [request])
                return answer

            address = ("127.0.0.1", started.port)
            seats = control({"do": "session.create", "players": ["anna", "ben"]})["players"]
            with Heartbeats(address, started.process.pid, [each["accessToken"] for each in seats]) as heartbeats:
                heartbeats.report()
                explode_all(control, Problem, address, Path(folder), BOMBS_SECONDS_MAX)
                found = heartbeats.report()
        if found["losses"] or any(found["missing"].values()):
            raise Problem(f"the bystanders miss packets: {found}")
        if found["count"] < BEATS_MIN:
            raise Problem(f"only {found['count']} packets while the machine was the server's own; end what else runs")
        for each in ("p99", "p50", "most"):
            record.add(f"script.bystanders_{each}_ms", found[each])


def measure_memory(installation: Installation, runs: int | None, record: Record) -> None:
    """A server with one plain session, then with a scripted one besides, then with many more of those."""
    for _ in range(runs or MEMORY_RUNS):
        with gsrt_server.launch(installation) as started:
            wait_for_connect(started.process, started.log, started.port)

            def create(count: int, script: str | None, control: str = started.control) -> None:
                request: dict[str, Any] = {"do": "session.create", "players": list(PLAYERS.values())}
                if script is not None:
                    request["script"] = script
                for answer in ask(control, [request] * count):
                    assert answer["ok"], answer

            create(1, None)
            time.sleep(SETTLE_SECONDS)
            before = rss_mib(started.process.pid)
            create(1, script_path("typical"))
            time.sleep(SETTLE_SECONDS)
            first = rss_mib(started.process.pid)
            create(FURTHER_SESSIONS, script_path("typical"))
            time.sleep(SETTLE_SECONDS)
            many = rss_mib(started.process.pid)
        record.add("script.first_mb", first - before)
        record.add("script.next_kb", (many - first) * 1024 / FURTHER_SESSIONS)

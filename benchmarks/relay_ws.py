"""relay.ws_*: packets over plain WebSockets, against a Colyseus room that relays bytes."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request

from benchmarks import processes
from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation
from benchmarks.processes import Result
from benchmarks.relay import RUNS, SATURATED, Load, compare, generate, gsrt
from benchmarks.workshop import colyseus, node

REQUEST_SECONDS = 10.0


def reserve_seats(port: int, load: Load, path: str) -> None:
    """Asks Colyseus for one seat per client, one room after the other, and writes their WebSocket paths into a file."""
    with open(path, "w", encoding="ascii") as file:
        for client in range(load.clients):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/matchmake/joinOrCreate/relay",
                json.dumps({"group": client // load.room_size}).encode(),
                {"Content-Type": "application/json", "Accept": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:
                    seat = json.load(answer)
                file.write(f"/{seat['processId']}/{seat['roomId']}?sessionId={seat['sessionId']}\n")
            except (urllib.error.URLError, KeyError) as error:
                raise Problem(f"Colyseus reserves no seat: {error!r}") from None


def run_colyseus(load: Load) -> Result:
    home, port = colyseus(), processes.free_port()
    log, seats = os.path.join(home, "server.log"), os.path.join(home, "seats")
    command = [node(), "server.mjs", str(port), str(load.room_size)]
    with processes.server(command, log, home, {"NODE_ENV": "production"}) as process:
        processes.wait_for_output(process, log, b"listening")
        reserve_seats(port, load, seats)
        return generate("colyseus_load", load, port, process.pid, "--file", seats)


def measure(installation: Installation, runs: int | None, record: Record) -> None:
    contestants = {"ws": (gsrt(installation, "ws"), SATURATED), "colyseus": (run_colyseus, SATURATED)}
    compare(record, contestants, runs or RUNS, {"relay.ws_vs_colyseus": ("ws", "colyseus")})

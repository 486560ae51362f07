"""`python -m benchmarks [PREFIX]`: prints a table and one JSON line per figure; exit 1 if a goal is missed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from benchmarks import codec, fairness, footprint, handover, hol, link, match, platform, relay, relay_ws, script, store
from benchmarks.figures import FIGURES, Problem, Record
from benchmarks.gsrt_server import Installation
from benchmarks.processes import PINNED
from benchmarks.report import row, table, write
from benchmarks.workshop import HERE

RESULTS = os.path.join(HERE, "results.jsonl")
NICE = -10  # so that what else runs on the machine disturbs less; only root may


MEASUREMENTS: dict[str, Callable[[Installation, int | None, Record], None]] = {
    "codec": codec.measure,
    "relay_udp": relay.measure_udp,
    "relay_tick": relay.measure_tick,
    "relay_growth": relay.measure_growth,
    "relay_ws": relay_ws.measure,
    "link_reliable": link.measure_reliable,
    "link_unreliable": link.measure_unreliable,
    "link_hol": hol.measure,
    "link_fairness": fairness.measure,
    "script_handler": script.measure_handler,
    "script_upcall": script.measure_upcall,
    "script_relay": script.measure_relay,
    "script_bystanders": script.measure_bystanders,
    "script_memory": script.measure_memory,
    "match": match.measure,
    "platform_requests": platform.measure_requests,
    "platform_idle": platform.measure_idle,
    "store": store.measure,
    "footprint_idle": footprint.measure_idle,
    "footprint_listen": footprint.measure_listen,
    "footprint_used": footprint.measure_used,
    "footprint_scripted8": footprint.measure_scripted8,
    "footprint_udp64": footprint.measure_udp64,
    "footprint_link": footprint.measure_link,
    "footprint_import": footprint.measure_import,
    "handover": handover.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures gsrt against its peers.")
    parser.add_argument("prefix", nargs="?", default="", help="only figures whose name begins so")
    parser.add_argument("--only", metavar="PREFIX", default="", help="the same")
    parser.add_argument("--runs", type=int, help="interleaved repetitions (default: each group's own number)")
    parser.add_argument("--server-python", default=sys.executable, metavar="PATH", help="the Python that has gsrt")
    arguments = parser.parse_args()
    wanted = [figure for figure in FIGURES if figure.name.startswith(arguments.only or arguments.prefix)]
    if not wanted:
        parser.error(f"no figure begins with {arguments.only or arguments.prefix!r}")
    if arguments.runs is not None and arguments.runs < 1:
        parser.error("--runs must be at least 1")
    if not PINNED:
        print("only one processor: server and generator share it, and the relay figures say little", file=sys.stderr)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except PermissionError:
        pass

    record = Record()
    installation = Installation(arguments.server_python)
    for group in dict.fromkeys(figure.group for figure in wanted):
        try:
            MEASUREMENTS[group](installation, arguments.runs, record)
        except (Problem, ImportError, OSError) as problem:
            for figure in wanted:
                if figure.group == group:
                    record.cannot(figure.name, str(problem))
    rows = [row(figure, record) for figure in wanted]
    print(table(rows))
    print(write(rows, RESULTS))
    return 0 if all(line["ok"] for line in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

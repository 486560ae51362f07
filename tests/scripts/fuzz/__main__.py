"""Plays random scripts in the sandbox, and tells what is wrong with any; exit status 1: something is."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.scripts.fuzz.batches import run
from tests.scripts.fuzz.grammar import program


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scripts.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first script")
    parser.add_argument("--count", type=int, default=1000, help="how many scripts, of consecutive seeds")
    parser.add_argument("--minutes", type=float, help="no longer than this")
    parser.add_argument("--show", action="store_true", help="print the script of the seed, and no more")
    options = parser.parse_args()
    if options.show:
        print(program(options.seed))
        return 0
    until = None if options.minutes is None else time.monotonic() + options.minutes * 60
    outcomes: Counter[str] = Counter()
    wrong = 0
    for harvest in run(range(options.seed, options.seed + options.count), until=until):
        outcomes += harvest.outcomes
        wrong += len(harvest.findings)
        for finding in harvest.findings:
            print(f"==== seed {finding.seed}: {finding.fault}", flush=True)
            if finding.is_new:
                print(f"{finding.source}\n====", flush=True)
    print(f"{outcomes.total() - outcomes['batch']} scripts: ", end="")
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()) + f"; {wrong} with a fault")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

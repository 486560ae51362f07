"""`python -m tests.link.fuzz --runs N [--seed S]`: N mutated datagrams, and what became of it."""

from __future__ import annotations

import argparse
import faulthandler
import tempfile
import time
from pathlib import Path

from tests.link.fuzz.harness import Fuzz, build, growth

CHUNKS = 20
PART = 20_000
HANG_SECONDS = 120.0  # that a part may take; under sanitizers it takes some five


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.link.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000_000, help="datagrams to change and send")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(build(Path(folder)), options.seed)
        fuzz.run(options.runs // 10)
        before = fuzz.rest()
        chunk = max((options.runs - options.runs // 10) // CHUNKS, 1)
        for number in range(1, CHUNKS + 1):
            left = chunk
            while left > 0:
                faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
                fuzz.run(min(left, PART))
                left -= PART
            fuzz.check()
            sent, changed = fuzz.mutants.mutants_datagrams_out(), fuzz.mutants.mutants_changed()
            rate = sent / (time.monotonic() - began)
            print(f"{number}/{CHUNKS}: {changed} changed of {sent} datagrams, {rate:.0f} a second", flush=True)
        faulthandler.cancel_dump_traceback_later()
        after = fuzz.rest()
        counts = fuzz.house.all_counts()
        print(f"{fuzz.opened} links were opened and closed")
        print(f"{sum(sum(talk.heard) for talk in fuzz.talks)} words of bystanders were heard")
        print(f"growth after the first tenth: {growth(before, after)}")
        print({name: count for name, count in sorted(counts.items()) if name.startswith(("link_", "dropped_"))})
        assert after.blocks - before.blocks < 5_000, "Python objects leak"
        assert after.allocated - before.allocated < 2 << 20, "memory leaks"
        fuzz.close()


if __name__ == "__main__":
    main()

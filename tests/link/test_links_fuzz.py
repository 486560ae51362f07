"""A short run of the fuzzer of the server's links; `make fuzz-link` is the long one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.link.fuzz.harness import Fuzz, build

CHANGED = 30_000

Fuzzers = Callable[[int], Fuzz]


@pytest.fixture(scope="module")
def fuzzers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzers]:
    mutants = build(tmp_path_factory.mktemp("mutants"))
    yield lambda seed: Fuzz(mutants, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_datagrams_do_no_harm(fuzzers: Fuzzers, seed: int, tmp_path: Path) -> None:
    fuzz = fuzzers(seed)
    fuzz.run(CHANGED // 3)
    before = fuzz.rest()
    fuzz.run(CHANGED * 2 // 3)
    fuzz.check()
    after = fuzz.rest()
    assert after.blocks - before.blocks < 5_000
    assert after.allocated - before.allocated < 2 << 20
    counts = fuzz.house.all_counts()
    fuzz.close()
    # It has got somewhere.
    for name in ("link_malformed", "link_duplicates", "link_stale", "link_moved", "link_forged", "link_replayed"):
        assert counts[name] > 50, name
    assert fuzz.opened > CHANGED // 100
    assert all(talk.said > CHANGED // 56 // 16 for talk in fuzz.talks)

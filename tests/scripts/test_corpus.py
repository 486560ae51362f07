"""Every attack of the corpus against the sandbox, in processes of their own, on every CPython that is there."""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import cache
from typing import Any

import pytest

from tests.scripts.corpus import interpreters
from tests.scripts.corpus.case import OUTCOMES
from tests.scripts.corpus.every import CASES
from tests.scripts.corpus.probe import tuple_shape
from tests.support.beside import Work

SECONDS = 600  # bound of one run of everything, when nothing else runs any longer
GROUPS = sorted({case.group for case in CASES.values()})


def _on(version: str) -> Any:
    """The parameter of a test of that CPython."""
    work = Work(sys.executable, "-m", "tests.scripts.corpus", version)
    return pytest.param(work, marks=pytest.mark.beside(work), id=f"cpython-{version}")


INTERPRETERS = [_on(each.version) for each in interpreters.available()]


@cache
def _results(work: Work) -> dict[str, dict[str, Any]]:
    """Key of a case -> what the runner says about it."""
    return {result["key"]: result for result in map(json.loads, work.said(SECONDS).splitlines())}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("work", INTERPRETERS)
def test_every_attack_of_a_group_is_contained(work: Work, group: str) -> None:
    results = _results(work)
    wrong = []
    for key, case in CASES.items():
        if case.group != group:
            continue
        result = results.get(key, {"faults": ["no result"]})
        wrong += [f"{key}: {fault} {result.get('said', '')}" for fault in result["faults"]]
    assert not wrong, "\n".join(wrong)


def test_the_corpus_is_large_and_expects_every_outcome() -> None:
    expected = Counter(outcome for case in CASES.values() for outcome in case.expected.split("|"))

    assert len(CASES) > 320
    assert set(expected) == set(OUTCOMES)


def test_the_probe_measures_shared_tuples_without_walking_them() -> None:
    shared: tuple[Any, ...] = ()
    for _ in range(60):
        shared = (shared, shared)

    assert tuple_shape((1, (2, 3), ())) == (6, 2)
    assert tuple_shape(shared) == (2**61 - 1, 61)

"""Every attack of the corpus against the sandbox, in processes of their own, on every CPython that is there."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from functools import cache
from typing import Any

import pytest

from tests.scripts.corpus import interpreters
from tests.scripts.corpus.case import OUTCOMES
from tests.scripts.corpus.every import CASES
from tests.scripts.corpus.interpreters import Interpreter
from tests.scripts.corpus.probe import tuple_shape

SECONDS = 600  # bound of one run of everything
RUNNERS = 2  # processes side by side


@cache
def _results(interpreter: Interpreter) -> dict[str, dict[str, Any]]:
    """Key of a case -> what the runner says about it."""
    interpreters.prepare(interpreter)
    keys = list(CASES)
    environment = {**os.environ, "PYTHONPATH": str(interpreter.root), "PYTHONDONTWRITEBYTECODE": "1"}
    runners = [
        subprocess.Popen(
            [interpreter.python, "-m", "tests.scripts.corpus.runner", *keys[part::RUNNERS]],
            cwd=interpreter.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in range(RUNNERS)
    ]
    found: dict[str, dict[str, Any]] = {}
    try:
        for runner in runners:
            output, errors = runner.communicate(timeout=SECONDS)
            assert runner.returncode == 0, errors[-2000:]
            for line in output.splitlines():
                result = json.loads(line)
                found[result["key"]] = result
    finally:
        for runner in runners:
            if runner.poll() is None:
                runner.kill()
                runner.communicate()
    return found


GROUPS = sorted({case.group for case in CASES.values()})


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("interpreter", interpreters.available(), ids=lambda each: f"cpython-{each.version}")
def test_every_attack_of_a_group_is_contained(interpreter: Interpreter, group: str) -> None:
    results = _results(interpreter)
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

"""All cases of the corpus."""

from __future__ import annotations

from tests.scripts.corpus import (
    api,
    builtins,
    bulk,
    climb,
    cpu,
    crash,
    events,
    exceptions,
    formatting,
    isolation,
    memory,
    operators,
    order,
    shapes,
    source,
)
from tests.scripts.corpus.case import OUTCOMES, Case


def _gathered() -> dict[str, Case]:
    limits = (cpu, memory, crash, shapes, bulk)
    found: dict[str, Case] = {}
    for module in (climb, formatting, builtins, exceptions, operators, api, events, *limits, source, isolation, order):
        for case in module.CASES:
            if case.key in found or not set(case.expected.split("|")) <= set(OUTCOMES):
                raise ValueError(f"{case.key}: there already, or an outcome that is none")
            found[case.key] = case
    return found


CASES: dict[str, Case] = _gathered()
"""Key ("group/name") -> case."""

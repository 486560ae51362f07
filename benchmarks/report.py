"""The table for people and the JSON lines for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable

from benchmarks.figures import Figure, Record


def row(figure: Figure, record: Record) -> dict[str, object]:
    """One figure as it goes into the results: value is the median of the runs, or null together with a `why`."""
    runs = record.runs.get(figure.name, [])
    why = record.problems.get(figure.name) or (None if runs else "was not measured")
    value = None if why else statistics.median(runs)
    out: dict[str, object] = {
        "name": figure.name,
        "value": None if value is None else significant(value),
        "unit": figure.unit,
        "goal": figure.goal,
        "ok": value is not None and figure.meets_goal(value),
        "runs": [significant(run) for run in runs],
    }
    if why:
        out["why"] = why
    return out


def significant(value: float) -> float:
    """Five significant digits: more than the measurement is worth."""
    return float(f"{value:.5g}")


def table(rows: Iterable[dict[str, object]]) -> str:
    lines = [f"{'figure':30s} {'value':>10s} {'unit':4s} {'goal':>10s} {'':6s} lowest .. highest of the runs"]
    for line in rows:
        runs, value = line["runs"], line["value"]
        assert isinstance(runs, list)
        spread = f"{min(runs):.4g} .. {max(runs):.4g} of {len(runs)}" if runs else ""
        verdict = "" if line["ok"] and line["goal"] is None else "ok" if line["ok"] else "FAILED"
        lines.append(
            f"{line['name']!s:30s} {'-' if value is None else format(value, '.4g'):>10s} {line['unit']!s:4s} "
            f"{line['goal'] or '':>10s} {verdict:6s} {line.get('why') or spread}"
        )
    return "\n".join(lines)


def write(rows: Iterable[dict[str, object]], path: str) -> str:
    """One JSON object a line, into the file and as the answer."""
    text = "\n".join(json.dumps(line) for line in rows)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    return text

"""How runs become figures: damaged ones do not count, and a contestant that cannot run does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Problem, Record
from benchmarks.processes import Result
from benchmarks.relay import ATTEMPTS, SATURATED, Load, Run, compare

SOUND: Result = {
    "cpu_us_per_packet": 1.0,
    "packets_per_second": 1.0,
    "server_share": 1.0,
    "generator_share": 1.0,
    "lost": 0,
    "corrupt": 0,
    "misdelivered": 0,
    "disordered": 0,
    "disconnected": 0,
    "note": "",
}


def scripted(*results: Result | Problem) -> Run:
    left: Iterator[Result | Problem] = iter(results)

    def run(_load: Load) -> Result:
        result = next(left)
        if isinstance(result, Problem):
            raise result
        return result

    return run


def cost(microseconds: float) -> Result:
    return {**SOUND, "cpu_us_per_packet": microseconds}


def compared(ours: Run, theirs: Run, runs: int) -> Record:
    record = Record()
    contestants = {"ours": (ours, SATURATED), "theirs": (theirs, SATURATED)}
    compare(record, contestants, runs, {"ratio": ("ours", "theirs")})
    return record


def test_ratios_are_taken_within_a_round() -> None:
    record = compared(scripted(cost(2.0), cost(3.0)), scripted(cost(4.0), cost(12.0)), 2)
    assert record.runs == {"relay.ours_us": [2.0, 3.0], "relay.theirs_us": [4.0, 12.0], "ratio": [0.5, 0.25]}
    assert not record.problems


def test_a_damaged_run_is_repeated() -> None:
    record = compared(scripted({**cost(0.1), "lost": 1}, cost(2.0)), scripted(cost(4.0)), 1)
    assert record.runs["ratio"] == [0.5]


def test_damage_each_time_leaves_no_figure_but_a_reason() -> None:
    damaged = {**cost(0.1), "disordered": 7, "note": "packet 3 twice"}
    record = compared(scripted(*[damaged] * ATTEMPTS), scripted(cost(4.0), cost(5.0)), 2)
    assert "ratio" not in record.runs
    assert "7 disordered: packet 3 twice" in record.problems["ratio"]
    assert record.runs["relay.theirs_us"] == [4.0, 5.0]


def test_a_peer_that_cannot_be_installed_is_named_and_left_out() -> None:
    record = compared(scripted(cost(2.0), cost(3.0)), scripted(Problem("missing: libenet-dev")), 2)
    assert record.problems == {"relay.theirs_us": "missing: libenet-dev", "ratio": "missing: libenet-dev"}
    assert record.runs == {"relay.ours_us": [2.0, 3.0]}

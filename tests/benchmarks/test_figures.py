from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import MEASUREMENTS
from benchmarks.codec import FEW_VALUES, VALUES, comparable, ours, upb
from benchmarks.figures import FIGURES, Figure, Record
from benchmarks.report import row, table, write

RATIO = Figure("relay.example", "x", "<= 1.3", "relay_udp")


def test_each_figure_has_a_name_of_its_own_and_a_measurement() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    assert {figure.group for figure in FIGURES} == set(MEASUREMENTS)


def test_each_line_of_the_footprint_has_a_budget() -> None:
    lines = [figure for figure in FIGURES if figure.name.startswith("footprint.")]
    assert len(lines) > 30 and [figure.name for figure in lines if figure.goal is None] == []


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [("<= 1.3", 1.3, True), ("<= 1.3", 1.31, False), (">= 4", 4.0, True), (">= 4", 3.9, False), (None, 99.0, True)],
)
def test_goals(goal: str | None, value: float, met: bool) -> None:
    assert Figure("a.b", "x", goal, "codec").meets_goal(value) is met


def test_the_value_is_the_median_of_the_runs() -> None:
    record = Record()
    for value in (1.5, 1.1, 1.2):
        record.add(RATIO.name, value)
    assert row(RATIO, record) == {
        "name": "relay.example",
        "value": 1.2,
        "unit": "x",
        "goal": "<= 1.3",
        "ok": True,
        "runs": [1.5, 1.1, 1.2],
    }


def test_a_figure_without_a_measurement_has_no_value_and_says_why() -> None:
    record = Record()
    record.add(RATIO.name, 1.0)
    record.cannot(RATIO.name, "no libenet")
    line = row(RATIO, record)
    assert (line["value"], line["ok"], line["why"]) == (None, False, "no libenet")
    assert "no libenet" in table([line])


def test_the_results_are_one_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    text = write([row(RATIO, Record()), row(RATIO, Record())], str(path))
    assert path.read_text() == text + "\n"
    assert [json.loads(line)["name"] for line in text.splitlines()] == ["relay.example"] * 2


def test_our_codec_and_protobuf_agree_on_the_packet() -> None:
    pytest.importorskip("google.protobuf")
    bodies = []
    for encode, decode, few, _parse in (ours(), upb()):
        body = encode()
        assert comparable(decode(body)) == VALUES
        assert few(body) == FEW_VALUES
        bodies.append(body)
    assert bodies[0] == bodies[1]

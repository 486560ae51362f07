"""docs/MATCHES.md against the matchmaker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gsrt.game.model import MatchConfig, Threshold
from gsrt.match import cliques, pool, query, wishes
from gsrt.match.matchmaker import Found, Matchmaker
from gsrt.match.query import QueryError, parse_query
from gsrt.match.thresholds import NOBODY, interval
from gsrt.match.waiting import Ticket, pending_match
from tests.docs.markdown import PROJECT, plain, read_blocks, read_tables

TEXT = (PROJECT / "docs" / "MATCHES.md").read_text(encoding="utf-8")
TABLES = read_tables(TEXT)
BLOCKS = {block.name: block for block in read_blocks(TEXT)}


def numbers(name: str) -> list[list[int]]:
    """The numbers that a table of bounds names, row by row."""
    return [[int(word) for word in row["at most"].split() if word.isdigit()] for row in TABLES[name]]


@pytest.mark.parametrize("row", TABLES["thresholds"], ids=lambda row: f"{row['type']} {row['my skill']}")
def test_thresholds(row: dict[str, str]) -> None:
    threshold = Threshold(1, plain(row["type"]), float(row["min"]), float(row["max"]))
    expected = NOBODY if row["others from"] == "nobody" else (float(row["others from"]), float(row["others to"]))
    assert interval(threshold, float(row["my skill"])) == expected


def test_scene() -> None:
    thresholds: list[Threshold] = []
    bounds: dict[str, int] = {}
    made: list[Matchmaker] = []

    def matchmaker() -> Matchmaker:
        if not made:
            made.append(Matchmaker({"m": MatchConfig("m", thresholds=thresholds, **bounds)}))  # type: ignore[arg-type]
        return made[0]

    def told(outcomes: list[Any]) -> list[str]:
        return [
            " ".join(each.player_id for each in outcome.tickets)
            if isinstance(outcome, Found)
            else f"nobody for {outcome.ticket.player_id}"
            for outcome in outcomes
        ]

    def at(now: float, player_id: str, skill: float, *expected: str) -> None:
        assert told(matchmaker().add(Ticket(player_id, "m", skill, since=now), now)) == list(expected)

    def until(now: float, *expected: str) -> None:
        assert told(matchmaker().advance(now - 0.001)) == []
        assert told(matchmaker().advance(now)) == list(expected)

    names = {
        "config": bounds.update,
        "threshold": lambda *values, **more: thresholds.append(Threshold(*values, **more)),
        "at": at,
        "until": until,
    }
    exec(BLOCKS["widening"].text, names)
    assert made and len(made[0]) == 0


def test_every_operator_is_described_and_does_what_its_row_says() -> None:
    values = json.loads(BLOCKS["anna"].text)
    anna = Ticket("anna", "m", values["skill"], None, None, values["participantData"], values["matchData"])
    pending = pending_match(None, None, [anna])
    for row in TABLES["operators"]:
        operator = plain(row["operator"])
        for column, expected in (("accepts her", True), ("does not", False)):
            example = plain(row[column])
            assert operator == "a value" or f'"{operator}"' in example
            assert parse_query(json.loads(example)).accepts(pending) is expected, example
    described = {plain(row["operator"]) for row in TABLES["operators"]} - {"a value"}
    known = {"$eq", "$ne", "$in", "$nin", "$exists", "$not", "$and", "$or", *query.ORDERINGS}
    assert described == known


def test_every_path_is_described() -> None:
    described = {plain(row["path"]) for row in TABLES["paths"]}
    known = {
        name if not below else f"{name}.{inner}"
        for name, below in query.ROOTS.items()
        if name != "players"
        for inner in (below or [""])
    }
    assert described == known
    for path in described:
        parse_query({path: {"$exists": True}})
    for path in ("id", "location", "matchedPlayers.location"):
        with pytest.raises(QueryError):
            parse_query({path: 1})


def test_bounds() -> None:
    assert numbers("bounds") == [
        [query.DEPTH_MAX],
        [query.CONDITIONS_MAX],
        [query.PATHS_MAX],
        [query.PATH_NAMES_MAX],
        [query.TEXT_CHARACTERS_MAX],
    ]
    assert numbers("search") == [[pool.NEAREST_MAX, 4], [cliques.STEPS_MAX], [wishes.ASKED_MAX]]

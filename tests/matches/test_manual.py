"""Manual matches: players see who waits, and choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.matches.hall import Hall, config, ids


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with Hall(tmp_path, config("chosen", manually_match_players=True, min_players=2, max_players=2), config()) as made:
        yield made


def pending(hall: Hall, player_id: str, **fields: object) -> list[dict[str, Any]]:
    answer = hall.ask(player_id, "FindPendingMatchesRequest", matchShortCode="chosen", **fields)
    found: list[dict[str, Any]] = answer["pendingMatches"]
    return found


def test_choosing(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann, "chosen", skill=4, matchData={"map": "ice"}, participantData={"car": "red"})
    hall.seek(ben, "chosen", skill=6)
    assert hall.told == {}
    (seen,) = pending(hall, ben)
    assert {key: seen[key] for key in seen if key not in ("id", "matchedPlayers")} == {
        "matchData": {"map": "ice"},
        "matchGroup": None,
        "matchShortCode": "chosen",
        "skill": 4.0,
    }
    (member,) = seen["matchedPlayers"]
    assert member == {"playerId": ann, "skill": 4.0, "location": {}, "participantData": {"car": "red"}}
    answer = hall.ask(ben, "JoinPendingMatchRequest", matchShortCode="chosen", pendingMatchId=seen["id"])
    joined = answer["pendingMatch"]
    assert joined["id"] == seen["id"]
    assert [each["playerId"] for each in joined["matchedPlayers"]] == [ann, ben]
    assert joined["skill"] == 5.0
    assert ids(hall.found(ben)["participants"]) == [ann, ben]
    assert pending_error(hall, ben) == {"match": "NOT_IN_PROGRESS"}


def pending_error(hall: Hall, player_id: str) -> object:
    return hall.ask(player_id, "FindPendingMatchesRequest", matchShortCode="chosen")["error"]


def test_groups(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann, "chosen", matchGroup="north")
    hall.seek(ben, "chosen", matchGroup="south")
    assert pending(hall, ben) == []


def test_what_is_wrong(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    assert pending_error(hall, ann) == {"match": "NOT_IN_PROGRESS"}
    join = {"matchShortCode": "chosen", "pendingMatchId": "none"}
    assert hall.ask(ann, "JoinPendingMatchRequest", **join) == {"error": {"match": "NOT_IN_PROGRESS"}}
    hall.seek(ann, "chosen")
    assert hall.ask(ann, "JoinPendingMatchRequest", **join) == {"error": {"pendingMatchId": "NOT_AVAILABLE"}}
    hall.seek(ben)
    automatic = hall.ask(ben, "FindPendingMatchesRequest", matchShortCode="duel")
    assert automatic == {"error": {"match": "NOT_IN_PROGRESS"}}

"""What the matchmaker decides, case by case."""

from __future__ import annotations

import os
import subprocess
import sys
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from gsrt.game.model import MatchConfig, Threshold
from gsrt.match import pool, wishes
from gsrt.match.matchmaker import Found, Joined, Matchmaker, NotAvailable, NotInProgress, UnknownMatch
from gsrt.match.query import parse_query
from gsrt.match.thresholds import NOBODY, interval
from gsrt.match.waiting import Ticket, pending_match

PROJECT = Path(__file__).resolve().parents[2]


def close(most: int = 2, least: int = 2, accept: bool = False, **more: Any) -> MatchConfig:
    """Skills within 1 for ten seconds, within 100 for ten more."""
    thresholds = [Threshold(10, "RELATIVE", -1, 1, accept), Threshold(10, "RELATIVE", -100, 100, accept)]
    return MatchConfig("m", min_players=least, max_players=most, thresholds=thresholds, **more)


def shown(outcomes: list[Any]) -> list[str]:
    """Outcomes in few words: "found a b", "none a", "match1 +a"."""
    words = []
    for outcome in outcomes:
        if isinstance(outcome, Found):
            words.append(" ".join(["found", *(each.player_id for each in outcome.tickets)]))
        elif isinstance(outcome, Joined):
            words.append(f"{outcome.match_id} +{outcome.ticket.player_id}")
        else:
            words.append(f"none {outcome.ticket.player_id}")
    return words


class Hall:
    """A matchmaker of one kind of match, or of several."""

    def __init__(self, *configs: MatchConfig) -> None:
        self.matchmaker = Matchmaker({each.short_code: each for each in configs})

    def add(self, player_id: str, skill: float = 0.0, now: float = 0.0, code: str = "m", **more: Any) -> list[str]:
        if isinstance(more.get("query"), dict):
            more["query"] = parse_query(more["query"])
        return shown(self.matchmaker.add(Ticket(player_id, code, skill, since=now, **more), now))

    def advance(self, now: float) -> list[str]:
        return shown(self.matchmaker.advance(now))


@pytest.mark.parametrize(
    ("kind", "low", "high", "skill", "expected"),
    [
        ("ABSOLUTE", 5, 9, 7, (5, 9)),
        ("ABSOLUTE", 5, 9, 4, NOBODY),
        ("RELATIVE", -1, 2, 7, (6, 9)),
        ("RELATIVE", -1, 2, -7, (-8, -5)),
        ("PERCENT", -10, 15, 100, (90, 115)),
        ("PERCENT", -10, 15, -100, (-110, -85)),
        ("PERCENT", -10, 10, 0, (0, 0)),
        ("PERCENT", -200, 200, 10, (-10, 30)),
        ("RELATIVE", -1, 1, 1e308, (1e308, 1e308)),
        ("PERCENT", -50, 100, 1.7e308, (0.85e308, inf)),
    ],
)
def test_thresholds(kind: str, low: float, high: float, skill: float, expected: tuple[float, float]) -> None:
    assert interval(Threshold(1, kind, low, high), skill) == expected


@pytest.mark.parametrize("skill", [nan, inf, -inf, 10**400])
def test_a_skill_is_finite(skill: float) -> None:
    with pytest.raises(ValueError, match="a skill is a"):
        Ticket("a", "m", skill)


def test_huge_skills_match_their_like() -> None:
    hall = Hall(MatchConfig("m", thresholds=[Threshold(1, "PERCENT", -10, 10)]))
    assert hall.add("a", 1e308) == []
    assert hall.add("b", -1e308) == []
    assert hall.add("c", 1e307) == []
    assert hall.add("d", 1.05e308) == ["found a d"]


def test_both_have_to_suit() -> None:
    hall = Hall(MatchConfig("m", thresholds=[Threshold(9, "RELATIVE", 0, 10)]))
    assert hall.add("a", 5) == []
    assert hall.add("b", 8) == []  # b suits a, and a does not suit b
    assert hall.add("c", 5) == ["found a c"]


def test_who_waits_longest_plays_first() -> None:
    hall = Hall(close(most=3))
    for player, skill in (("a", 5.0), ("b", 6.0), ("c", 3.5), ("d", 6.5), ("e", 3.0)):
        assert hall.add(player, skill) == []
    assert hall.add("f", 5.9) == ["found a b f"]
    assert [each.player_id for each in hall.matchmaker.tickets()] == ["c", "d", "e"]


def test_thresholds_widen_for_each_by_its_own_time() -> None:
    hall = Hall(close())
    hall.add("a", 0, now=0)
    hall.add("b", 50, now=4)
    assert hall.matchmaker.next_timer() == 10
    assert hall.advance(10) == []  # b does not want a yet
    assert hall.advance(13.999) == []
    assert hall.advance(14) == ["found a b"]
    assert hall.matchmaker.next_timer() == inf


def test_many_periods_at_once_are_gone_through_in_their_order() -> None:
    hall = Hall(close(), MatchConfig("n", thresholds=[Threshold(13, "RELATIVE", 0, 0)]))
    hall.add("x", 900, now=0)
    hall.add("a", 0, now=1)
    hall.add("y", code="n", now=2)
    hall.add("b", 50, now=3)
    hall.add("z", code="n", now=4)  # y and z are a match at once
    hall.add("y", code="n", now=4.5)
    assert hall.advance(1000) == ["found a b", "none y", "none x"]


def test_the_minimum_is_accepted_at_the_end_of_a_period() -> None:
    hall = Hall(close(most=4, least=2, accept=True))
    hall.add("a", 0.0, now=0)
    hall.add("b", 0.5, now=1)
    hall.add("c", 1.0, now=2)
    hall.add("d", 1.5, now=3)  # with b and c, not with a
    assert hall.advance(9.99) == []
    assert hall.advance(10) == ["found a b c"]
    assert hall.advance(23) == ["none d"]


def test_the_minimum_is_not_accepted_where_it_is_not_said() -> None:
    hall = Hall(close(most=4, least=2))
    hall.add("a")
    hall.add("b", now=1)
    assert hall.advance(19) == []
    assert hall.advance(21) == ["none a", "none b"]


def test_one_player_can_be_enough() -> None:
    assert Hall(close(most=1, least=1)).add("a") == ["found a"]
    hall = Hall(close(most=3, least=1, accept=True))
    hall.add("a")
    assert hall.advance(10) == ["found a"]


def test_groups() -> None:
    hall = Hall(close())
    assert hall.add("a", group="x") == []
    assert hall.add("b", group="y") == []
    assert hall.add("c") == []
    assert hall.add("d") == ["found c d"]
    assert hall.add("e", group="y") == ["found b e"]


def test_queries_both_ways() -> None:
    hall = Hall(close())
    wants_desert = {"matchData.map": "desert"}
    assert hall.add("a", query=wants_desert, match_data={"map": "desert"}) == []
    assert hall.add("b", match_data={"map": "forest"}) == []
    assert hall.add("c", query={"matchData.map": "x"}, match_data={"map": "desert"}) == []
    assert hall.add("d", query={"players.playerId": "a"}, match_data={"map": "desert"}) == ["found a d"]


def test_a_second_request_replaces_the_first() -> None:
    hall = Hall(close())
    hall.add("a", 0, group="x")
    assert hall.add("a", 50, now=5, group="y") == []
    assert len(hall.matchmaker) == 1 and hall.matchmaker.next_timer() == 15
    assert hall.add("b", 0, now=5, group="x") == []
    assert hall.add("c", 50, now=5, group="y") == ["found a c"]


def test_cancel() -> None:
    hall = Hall(close())
    hall.add("a", group="x")
    assert not hall.matchmaker.cancel("a", "n")
    assert not hall.matchmaker.cancel("a", "m", "y")
    assert hall.matchmaker.cancel("a", "m", "x")
    assert not hall.matchmaker.cancel("a", "m")
    assert hall.advance(1000) == [] and hall.matchmaker.next_timer() == inf
    hall.add("a", group="x")
    assert hall.matchmaker.cancel("a", "m")


def test_found_players_look_for_nothing_else() -> None:
    other = MatchConfig("n", thresholds=[Threshold(10, "RELATIVE", -1, 1)])
    hall = Hall(close(), other)
    hall.add("a", code="n")
    hall.add("a")
    assert hall.matchmaker.ticket_of("a", "n") is not None
    assert hall.add("b") == ["found a b"]
    assert hall.matchmaker.ticket_of("a") is None and len(hall.matchmaker) == 0
    assert hall.add("c", code="n") == []


def test_unknown_matches() -> None:
    hall = Hall(close(), MatchConfig("empty", thresholds=[]))
    for code in ("empty", "x"):
        with pytest.raises(UnknownMatch):
            hall.add("a", code=code)


def test_a_ticket_from_before_a_restart_waits_for_what_is_left() -> None:
    matchmaker = Matchmaker({"m": close()})
    assert matchmaker.add(Ticket("a", "m", 0, since=0), 12) == []
    assert matchmaker.next_timer() == 20
    assert shown(matchmaker.add(Ticket("b", "m", 60, since=1), 12)) == ["found a b"]
    assert shown(matchmaker.add(Ticket("c", "m", 0, since=0), 20)) == ["none c"]
    assert matchmaker.next_timer() == inf


def test_changed_configurations_apply_to_those_who_wait() -> None:
    gone = MatchConfig("n", thresholds=[Threshold(10, "RELATIVE", -1, 1)])
    hall = Hall(close(), gone)
    hall.add("a", 0)
    hall.add("b", 5)
    hall.add("c", 50)
    hall.add("d", code="n")
    hall.add("a", code="n", skill=70)
    wider = MatchConfig("m", thresholds=[Threshold(20, "RELATIVE", -9, 9)])
    assert shown(hall.matchmaker.configure({"m": wider}, 1)) == ["found a b", "none d"]
    assert hall.matchmaker.next_timer() == 20


# --- Manual matches ---


def manual(**more: Any) -> Hall:
    return Hall(close(manually_match_players=True, **more))


def listed(hall: Hall, player_id: str, most: int = 10) -> list[list[str]]:
    pending: list[Any] = hall.matchmaker.pending("m", None, player_id, most)
    return [[each["playerId"] for each in one["matchedPlayers"]] for one in pending]


def pending_id(hall: Hall, player_id: str) -> str:
    pending: Any = hall.matchmaker.pending_of(player_id, "m")
    return str(pending["id"])


def test_players_see_and_join_each_others_matches() -> None:
    hall = manual(most=3)
    for number, player in enumerate("abcd"):
        assert hall.add(player, number / 4, participant_data={"of": player}) == []
    hall.add("far", 50)
    assert listed(hall, "a") == [["b"], ["c"], ["d"]]
    assert listed(hall, "a", 2) == [["b"], ["c"]]
    assert hall.matchmaker.join("b", pending_id(hall, "a"), 1) == []
    assert listed(hall, "c") == [["a", "b"], ["d"]]
    assert hall.matchmaker.pending("m", None, "c", 1) == [
        {
            "id": pending_id(hall, "a"),
            "matchData": {},
            "matchGroup": None,
            "matchShortCode": "m",
            "matchedPlayers": [
                {"playerId": "a", "skill": 0.0, "location": {}, "participantData": {"of": "a"}},
                {"playerId": "b", "skill": 0.25, "location": {}, "participantData": {"of": "b"}},
            ],
            "skill": 0.125,
        }
    ]
    (found,) = hall.matchmaker.join("c", first := pending_id(hall, "a"), 2)
    assert isinstance(found, Found) and shown([found]) == ["found a b c"]
    described: Any = pending_match(found.pending_id, found.group, found.tickets)
    assert described["id"] == first and described["skill"] == 0.25
    with pytest.raises(NotAvailable):
        hall.matchmaker.join("d", first, 2)
    assert listed(hall, "d") == []


def test_what_cannot_be_joined() -> None:
    hall = manual()
    hall.add("a", 0)
    hall.add("far", 50)
    hall.add("query", 0, query={"matchData.map": "x"})
    hall.add("group", 0, group="g")
    with pytest.raises(NotInProgress):
        hall.matchmaker.pending("m", None, "stranger", 10)
    with pytest.raises(NotInProgress):
        hall.matchmaker.pending("m", "g", "a", 10)
    with pytest.raises(NotInProgress):
        hall.matchmaker.join("group", pending_id(hall, "a"), 0)
    for player in ("a", "far", "query"):
        with pytest.raises(NotAvailable):
            hall.matchmaker.join(player, pending_id(hall, "a"), 0)
    with pytest.raises(NotAvailable):
        hall.matchmaker.join("a", pending_id(hall, "query"), 0)
    with pytest.raises(NotAvailable):
        hall.matchmaker.join("a", "nothing", 0)
    assert listed(hall, "a") == listed(hall, "query") == []


def test_an_automatic_match_is_not_joined_by_hand() -> None:
    hall = Hall(close())
    hall.add("a")
    with pytest.raises(NotInProgress):
        hall.matchmaker.pending("m", None, "a", 10)
    assert hall.matchmaker.pending_of("a", "m") is None


def test_a_manual_match_of_the_minimum_is_found_at_the_end_of_a_members_period() -> None:
    hall = manual(most=4, accept=True)
    hall.add("a", now=0)
    hall.add("b", now=1)
    hall.matchmaker.join("b", pending_id(hall, "a"), 2)
    assert hall.advance(10) == ["found a b"]


def test_a_manual_match_that_is_never_full_is_not_found() -> None:
    hall = manual(most=3)
    hall.add("a", now=0)
    hall.add("b", now=1)
    hall.matchmaker.join("b", pending_id(hall, "a"), 2)
    assert hall.advance(20) == ["none a"]
    assert pending_id(hall, "b") and hall.matchmaker.pending_of("a", "m") is None
    assert hall.advance(21) == ["none b"]


def test_who_leaves_a_pending_match_leaves_it_to_the_others() -> None:
    hall = manual(most=3)
    for player in "abc":
        hall.add(player)
    hall.matchmaker.join("b", pending_id(hall, "a"), 0)
    hall.matchmaker.cancel("a", "m")
    assert listed(hall, "c") == [["b"]]
    hall.matchmaker.join("b", pending_id(hall, "c"), 0)
    assert listed(hall, "b") == []
    assert hall.add("d") == [] and listed(hall, "d") == [["c", "b"]]


def test_a_manual_match_of_one_is_found_at_once() -> None:
    assert manual(most=1, least=1).add("a") == ["found a"]


# --- Matches under way ---


def under_way(hall: Hall, *players: tuple[str, float], until: float = inf, **more: Any) -> None:
    tickets = [Ticket(player, "m", skill) for player, skill in players]
    config = hall.matchmaker._configs["m"]
    assert hall.matchmaker.open("match1", config, None, tickets, until) == []


def test_newcomers_enter_before_new_matches_are_made() -> None:
    hall = Hall(close(most=4))
    hall.add("w", 50)
    under_way(hall, ("a", 0), ("b", 1))
    assert hall.add("c", 2) == []  # too far from a
    assert hall.add("d", 0.5) == ["match1 +d"]
    assert hall.add("e", 0.5, group="g") == []
    assert hall.add("a", 0.5) == []  # is in it
    hall.matchmaker.cancel("a", "m")
    assert hall.add("f", 0) == ["match1 +f"]
    assert hall.add("g", 0) == []  # it is full
    assert shown(hall.matchmaker.left("match1", "d")) == ["match1 +g"]


def test_the_match_that_has_had_a_place_for_longest_takes_the_newcomer() -> None:
    hall = Hall(close(most=3))
    for match_id, players in (("one", "abc"), ("two", "de"), ("three", "fg")):
        tickets = [Ticket(player, "m") for player in players]
        assert hall.matchmaker.open(match_id, close(most=3), None, tickets) == []
    assert hall.matchmaker.left("one", "a") == []
    assert [hall.add(player) for player in "wxyz"] == [["two +w"], ["three +x"], ["one +y"], []]
    hall.matchmaker.close("one")
    assert shown(hall.matchmaker.left("one", "b")) == []
    assert shown(hall.matchmaker.left("two", "w")) == ["two +z"]


def test_those_who_wait_enter_as_soon_as_they_fit() -> None:
    hall = Hall(close(most=4))
    hall.add("far", 50, now=0)
    hall.add("near", 0.5, now=0)
    hall.add("other", 1.5, now=0)
    tickets = [Ticket("a", "m", 0, threshold=1), Ticket("b", "m", 2, threshold=1)]
    # By the thresholds they were found with, a and b take anybody; those who wait take only who is near.
    assert shown(hall.matchmaker.open("match1", close(most=4), None, tickets)) == []
    assert hall.advance(10) == ["match1 +far", "match1 +near"]
    assert shown(hall.matchmaker.left("match1", "far")) == ["match1 +other"]


def test_thresholds_of_a_found_match_are_kept() -> None:
    hall = Hall(close(most=3, accept=True))
    hall.add("a", 0, now=0)
    hall.add("b", 50, now=0)
    (found,) = hall.matchmaker.advance(20)
    assert isinstance(found, Found) and [each.threshold for each in found.tickets] == [1, 1]
    assert hall.matchmaker.open("match1", found.config, None, found.tickets) == []
    assert hall.add("c", 25, now=21) == []
    assert hall.advance(31) == ["match1 +c"]


def test_nobody_enters_after_expiry_or_when_all_have_left() -> None:
    hall = Hall(close(most=4))
    under_way(hall, ("a", 0), ("b", 0), until=5)
    assert hall.matchmaker.next_timer() == 5
    assert hall.add("c", now=4.9) == ["match1 +c"]
    assert hall.add("d", now=5) == []
    assert hall.matchmaker.left("match1", "a") == []
    hall.matchmaker.cancel("d", "m")
    under_way(hall, ("a", 0), ("b", 0), until=50)
    hall.matchmaker.left("match1", "a")
    hall.matchmaker.left("match1", "b")
    assert hall.add("e", now=6) == []
    hall.matchmaker.cancel("e", "m")
    assert hall.matchmaker.next_timer() == inf


def test_a_manual_match_under_way_is_joined_by_hand() -> None:
    hall = manual(most=3)
    under_way(hall, ("a", 0), ("b", 0))
    assert hall.add("c") == []
    (pending,) = hall.matchmaker.pending("m", None, "c", 10)
    assert pending["id"] == "match1"
    assert shown(hall.matchmaker.join("c", "match1", 1)) == ["match1 +c"]
    assert hall.matchmaker.ticket_of("c") is None


# --- Bounds, and the same again ---


def test_beyond_the_bound_of_neighbours_those_nearest_in_skill_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """a fits many who do not fit one another, and two far off who do."""

    def crowd() -> Hall:
        narrow = Threshold(10, "RELATIVE", -1, 1000)
        hall = Hall(MatchConfig("m", max_players=3, thresholds=[narrow, Threshold(99, "RELATIVE", -1000, 1000)]))
        hall.add("a", 300, now=0)
        hall.add("b", 0, now=5)
        hall.add("c", 0.5, now=5)
        for number in range(90):
            hall.add(f"x{number}", 10 + 3.0 * number, now=5)
        return hall

    assert crowd().advance(10) == []
    monkeypatch.setattr(pool, "NEAREST_MAX", 200)
    assert crowd().advance(10) == ["found a b c"]


def test_a_bounded_number_of_queries_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def crowd() -> Hall:
        hall = Hall(MatchConfig("m", thresholds=[Threshold(10, "RELATIVE", -1, 1)]))
        for number in range(5):
            hall.add(f"x{number}", query={"players.participantData.level": {"$gt": 50 - 10 * number}})
        return hall

    assert crowd().add("a", participant_data={"level": 11}) == ["found x4 a"]
    monkeypatch.setattr(wishes, "ASKED_MAX", 3)
    assert crowd().add("a", participant_data={"level": 11}) == []
    assert crowd().add("a", participant_data={"level": 31}) == ["found x2 a"]


def test_timers_of_those_who_have_gone_are_not_kept() -> None:
    hall = Hall(close())
    for number in range(1000):
        hall.add("a", float(number))
    assert len(hall.matchmaker._timers) < 200


SCENE = """
from random import Random
from gsrt.game.model import MatchConfig, Threshold
from gsrt.match.matchmaker import Matchmaker
from gsrt.match.query import parse_query
from gsrt.match.waiting import Ticket
random = Random(4)
thresholds = [Threshold(5, "PERCENT", -20, 20), Threshold(5, "RELATIVE", -40, 40, True)]
matchmaker = Matchmaker({code: MatchConfig(code, max_players=4, thresholds=thresholds) for code in "mn"})
for now in range(400):
    query = random.choice([None, {"matchData.map": random.choice("ab")}, {"matchData.map": {"$in": ["a", "b"]}}])
    player, skill = f"p{random.randrange(60)}", random.uniform(-50, 50)
    ticket = Ticket(player, random.choice("mn"), skill, random.choice([None, "g"]),
        None if query is None else parse_query(query), {}, {"map": random.choice("abc")}, now / 5)
    print(matchmaker.add(ticket, now / 5))
print(matchmaker.advance(1000))
"""


def test_the_same_comes_out_whatever_the_hashes() -> None:
    results = set()
    for seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(
            [sys.executable, "-c", SCENE], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        results.add(done.stdout)
    (result,) = results
    assert "Found" in result and "NotFound" in result

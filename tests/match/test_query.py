"""customQuery: what is understood, what is not, and that nothing a player writes upsets the server."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.game.model import MatchConfig, Threshold
from gsrt.match import query as limits
from gsrt.match.query import Query, QueryError, View, parse_query
from gsrt.match.waiting import Ticket, Waiting, pending_match
from gsrt.match.wishes import Wishes

PENDING: dict[str, Any] = {
    "id": None,
    "matchData": {"map": "desert", "mode": None, "size": 4, "ranked": True, "tags": ["a", "b"], "far": {"x": 1}},
    "matchGroup": "g",
    "matchShortCode": "m",
    "matchedPlayers": [
        {"playerId": "p1", "skill": 10.0, "participantData": {"level": 3}},
        {"playerId": "p2", "skill": 20.0, "participantData": {"level": 7, "clan": "red"}},
    ],
    "skill": 15.0,
}

HOLDS: list[Any] = [
    {},
    {"matchData.map": "desert"},
    {"matchData.map": "desert", "skill": 15},
    {"matchData.map": {"$eq": "desert"}},
    {"matchData.map": {"$ne": "forest"}},
    {"matchData.size": {"$gt": 3, "$lt": 4.5}},
    {"matchData.size": {"$gte": 4, "$lte": 4}},
    {"matchData.map": {"$in": ["forest", "desert"]}},
    {"matchData.map": {"$nin": ["forest", 3, None]}},
    {"matchData.map": {"$gte": "d", "$lt": "e"}},
    {"matchData.mode": None},
    {"matchData.absent": None},
    {"matchData.mode": {"$exists": True}},
    {"matchData.absent": {"$exists": False}},
    {"matchData.ranked": True},
    {"matchData.tags": "b"},
    {"matchData.far.x": 1.0},
    {"matchData": {"$exists": True}},
    {"matchedPlayers.participantData.level": 7},
    {"players.participantData.level": {"$lt": 5}},
    {"players.participantData.level": {"$not": {"$gt": 7}}},
    {"players.participantData.clan": "red"},
    {"matchedPlayers.playerId": {"$in": ["p2"]}},
    {"matchGroup": "g", "matchShortCode": "m"},
    {"$or": [{"matchData.map": "forest"}, {"skill": 15}]},
    {"$and": [{"matchData.map": "desert"}, {"$or": [{"skill": 1}, {"skill": {"$gt": 1}}]}]},
    {"skill": {"$lt": 10**400}},
]
FAILS: list[Any] = [
    {"matchData.map": "Desert"},
    {"matchData.ranked": 1},
    {"matchData.size": "4"},
    {"matchData.size": {"$gt": "3"}},
    {"matchData.map": {"$lt": 3}},
    {"matchData.size": True},
    {"matchData.map": {"$in": []}},
    {"matchData.far": None},
    {"matchData.far": 1},
    {"matchData.map.inner": "desert"},
    {"matchData.absent": {"$ne": None}},
    {"players.participantData.level": {"$nin": [3]}},
    {"players.participantData.level": {"$ne": 3}},
    {"$or": [{"skill": 1}, {"skill": 2}]},
    {"matchData.map": "desert", "skill": 1},
]
WRONG: list[tuple[Any, str]] = [
    (None, "a query is an object, not None"),
    ("x", "a query is an object, not 'x'"),
    ([], "a query is an object, not a list"),
    ({1: 2}, "a name is a text, not 1"),
    ({"$where": "1"}, r"'\$where' is not known here"),
    ({"$not": {"skill": 1}}, r"'\$not' is not known here"),
    ({"$or": []}, r"\$or needs a list of queries"),
    ({"$and": {"skill": 1}}, r"\$and needs a list of queries"),
    ({"$or": [3]}, "a query is an object, not 3"),
    ({"skil": 1}, "'skil' leads nowhere at 'skil': there is skill, matchGroup"),
    ({"skill.x": 1}, "leads nowhere at 'x': it has no fields"),
    ({"matchedPlayers.level": 1}, "there is playerId, skill, participantData"),
    ({"": 1}, "'' has an empty name in it"),
    ({"matchData.": 1}, "'matchData.' has an empty name in it"),
    ({"matchData..map": 1}, "'matchData..map' has an empty name in it"),
    ({"skill": {}}, "skill: an object of operators is needed, not an object"),
    ({"skill": {"$regex": "a"}}, r"skill: '\$regex' is not known here"),
    ({"skill": {"x": 1}}, "skill: 'x' is not known here"),
    ({"skill": [1]}, "compares with a text, a number, true, false or null, not a list"),
    ({"skill": {"$eq": {}}}, "compares with a text, a number, true, false or null, not an object"),
    ({"skill": math.nan}, "not nan"),
    ({"skill": {"$gt": math.inf}}, "not inf"),
    ({"skill": {"$gt": None}}, r"\$gt needs a number or a text, not None"),
    ({"skill": {"$gt": True}}, "a flag"),
    ({"skill": {"$in": 3}}, r"\$in needs a list, not 3"),
    ({"skill": {"$exists": 1}}, r"\$exists needs true or false, not 1"),
    ({"skill": {"$not": 3}}, "an object of operators is needed, not 3"),
    ({"matchData.x": "y" * 257}, "at most 256 characters"),
    ({"matchData." + "x" * 257: 1}, "at most 256 characters"),
    ({"matchData" + ".x" * 8: 1}, "8 names"),
    ({"skill": {"$in": list(range(64))}}, "at most 64 conditions and values"),
    ({"$or": [{}] * 65}, "at most 64 conditions and values"),
    ({f"matchData.x{number}": 1 for number in range(9)}, "no more than 8 different paths"),
]


@pytest.mark.parametrize("value", HOLDS, ids=str)
def test_holds(value: Any) -> None:
    assert parse_query(value).accepts(PENDING)


@pytest.mark.parametrize("value", FAILS, ids=str)
def test_does_not_hold(value: Any) -> None:
    assert not parse_query(value).accepts(PENDING)


@pytest.mark.parametrize(("value", "text"), WRONG, ids=str)
def test_what_is_not_understood_is_named(value: Any, text: str) -> None:
    with pytest.raises(QueryError, match=text):
        parse_query(value)


def test_depth_is_bounded() -> None:
    value: Any = {"skill": 1}
    for _ in range(limits.DEPTH_MAX - 1):
        value = {"$and": [value]}
    parse_query(value)
    with pytest.raises(QueryError, match="8 levels deep"):
        parse_query({"$and": [value]})
    operators: Any = {"$gt": 1}
    for _ in range(5000):
        operators = {"$not": operators}
    with pytest.raises(QueryError, match="8 levels deep"):
        parse_query({"skill": operators})


def test_equal_queries_are_known_as_equal() -> None:
    assert parse_query({"skill": 1, "matchGroup": "g"}).key == parse_query({"skill": 1.0, "matchGroup": "g"}).key
    assert parse_query({"matchData.x": True}).key != parse_query({"matchData.x": 1}).key
    assert parse_query({"players.skill": 1}).key == parse_query({"matchedPlayers.skill": {"$eq": 1}}).key


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["", "a", "b", "$gt", "skill"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["$and", "$or", "$not", "$eq", "$in", "$gt", "$exists", "skill", "matchData.x", "players", "x", ""]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
scalars = st.sampled_from([None, True, False, 0, 1, 2, 1.5, -0.0, "", "a", "b", 10**30])
values = st.recursive(
    scalars | st.sampled_from([math.nan, math.inf]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=5,
)
paths = st.sampled_from(
    ["matchData.x", "matchData.x.y", "matchData", "players.participantData.x", "skill", "matchGroup"]
)
comparisons = st.recursive(
    st.one_of(
        st.dictionaries(st.sampled_from(["$eq", "$ne"]), scalars, min_size=1),
        st.dictionaries(
            st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.sampled_from([0, 1, 1.5, "", "a"]), min_size=1
        ),
        st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3), min_size=1),
        st.dictionaries(st.just("$exists"), st.booleans(), min_size=1),
    ),
    lambda inner: st.fixed_dictionaries({"$not": inner}),
    max_leaves=2,
)
queries = st.recursive(
    st.dictionaries(paths, scalars | comparisons, max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), max_size=2
    ),
    max_leaves=4,
)
CONFIG = MatchConfig("m", thresholds=[Threshold(1, "RELATIVE", -1, 1)])


@given(anything, anything)
def test_anything_is_understood_or_refused(value: Any, data: Any) -> None:
    try:
        query = parse_query(value)
    except QueryError as error:
        assert str(error)
        return
    assert query.accepts({"matchData": data, "matchedPlayers": data, "skill": data}) in (True, False)


def meant(value: Any, pending: dict[str, Any]) -> bool:
    """The same by the words of the documentation, in a different way."""

    def at(things: list[Any], names: list[str]) -> list[Any]:
        spread = [each for thing in things for each in (thing if isinstance(thing, list) else [thing])]
        if not names:
            return spread or things
        return at([each[names[0]] for each in spread if isinstance(each, dict) and names[0] in each], names[1:])

    def kind(one: Any) -> str:
        if isinstance(one, float) and not math.isfinite(one):
            return "other"
        return {bool: "flag", int: "number", float: "number", str: "text", type(None): "null"}.get(type(one), "other")

    def equal(one: Any, two: Any) -> bool:
        return kind(one) == kind(two) != "other" and one == two

    def compared(found: list[Any], operator: str, bound: Any) -> bool:
        if operator == "$eq":
            return any(equal(each, bound) for each in found) or (bound is None and not found)
        if operator == "$in":
            return any(compared(found, "$eq", each) for each in bound)
        if operator in ("$ne", "$nin"):
            return not compared(found, {"$ne": "$eq", "$nin": "$in"}[operator], bound)
        if operator == "$exists":
            return bool(found) is bound
        if operator == "$not":
            return not all(compared(found, *each) for each in bound.items())
        comparable = [each for each in found if kind(each) == kind(bound)]
        signs = {"$gt": (1,), "$gte": (0, 1), "$lt": (-1,), "$lte": (-1, 0)}
        return any((each > bound) - (each < bound) in signs[operator] for each in comparable)

    results = []
    for name, operand in value.items():
        if name == "$and":
            results.append(all(meant(each, pending) for each in operand))
        elif name == "$or":
            results.append(any(meant(each, pending) for each in operand))
        else:
            found = at([pending], name.replace("players.", "matchedPlayers.").split("."))
            operators = operand if isinstance(operand, dict) else {"$eq": operand}
            results.append(all(compared(found, *each) for each in operators.items()))
    return all(results)


@settings(max_examples=300, deadline=None)
@given(queries, st.lists(st.tuples(values, values, st.sampled_from([0.0, 1.0, 1.5])), min_size=1, max_size=6))
def test_queries_mean_what_is_documented_one_by_one_and_for_all_at_once(
    value: Any, players: list[tuple[Any, Any, float]]
) -> None:
    try:
        query = parse_query(value)
    except QueryError:
        return  # too large
    wishes = Wishes()
    everybody = []
    for number, (match_data, participant_data, skill) in enumerate(players):
        ticket = Ticket(f"p{number}", "m", skill, None, query, {"x": participant_data}, {"x": match_data})
        waiting = Waiting(ticket, CONFIG, number)
        wishes.add(waiting)
        everybody.append(waiting)
    expected = [meant(value, pending_match(None, None, [each.ticket])) for each in everybody]
    assert [query.accepts(each.shown) for each in everybody] == expected
    for asking in everybody:
        promising = wishes.promising(asking)
        own = query.holds(View(asking.shown))
        for index, other in enumerate(everybody):
            # My query is exactly known; the others' queries may be asked in vain, but never be left out.
            assert not promising >> other.slot & 1 or expected[index]
            assert not (own and expected[index]) or promising >> other.slot & 1
    for each in everybody:
        wishes.remove(each)
    assert not wishes


def test_a_query_that_accepts_nobody_may_wait_twice() -> None:
    wishes = Wishes()
    query = parse_query({"matchData.x": {"$in": []}})
    both = [Waiting(Ticket(player, "m", query=query), CONFIG, number) for number, player in enumerate("ab")]
    for each in both:
        wishes.add(each)
    assert [wishes.promising(each) for each in both] == [0, 0]
    for each in both:
        wishes.remove(each)
    assert not wishes


def test_source_is_kept_for_storing() -> None:
    value = {"skill": {"$gt": 1}}
    assert isinstance(parse_query(value), Query) and parse_query(value).source == value

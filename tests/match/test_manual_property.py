"""Random comings and goings of manual matches: who is shown, who may join, and what is found."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.game.model import MatchConfig, Threshold
from gsrt.match.matchmaker import Found, Matchmaker, NotAvailable, NotFound, NotInProgress
from gsrt.match.query import parse_query
from gsrt.match.waiting import Ticket
from tests.match.oracle import shown, suits

PLAYERS = [f"p{number}" for number in range(6)]
steps = st.one_of(
    st.tuples(
        st.just("add"),
        st.sampled_from(PLAYERS),
        st.integers(0, 6),
        st.sampled_from([None, None, {"skill": {"$lt": 4}}, {"players.playerId": {"$ne": "p1"}}]),
    ),
    st.tuples(st.just("join"), st.sampled_from(PLAYERS), st.sampled_from(PLAYERS)),
    st.tuples(st.just("join"), st.sampled_from(PLAYERS), st.sampled_from(PLAYERS)),
    st.tuples(st.just("cancel"), st.sampled_from(PLAYERS)),
    st.tuples(st.just("advance"), st.integers(0, 4)),
)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.booleans(), st.lists(steps, max_size=40))
def test_joined_players_fit_and_each_is_in_one_pending_match(
    most: int, accept: bool, schedule: list[tuple[Any, ...]]
) -> None:
    thresholds = [Threshold(4, "RELATIVE", -2, 2, accept), Threshold(4, "RELATIVE", -4, 4)]
    config = MatchConfig(
        "m", min_players=min(2, most), max_players=most, manually_match_players=True, thresholds=thresholds
    )
    matchmaker = Matchmaker({"m": config})
    tickets: dict[str, Ticket] = {}
    groups: list[list[str]] = []  # as they must be, in the order in which they joined
    now = 0.0

    def leave(player_id: str) -> None:
        del tickets[player_id]
        for group in groups:
            if player_id in group:
                group.remove(player_id)
        groups[:] = [each for each in groups if each]

    def take(outcomes: list[Any]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Found):
                members = [each.player_id for each in outcome.tickets]
                assert members in groups and config.min_players <= len(members) <= most
                assert len(members) == most or accept
                for player_id in members:
                    leave(player_id)
            else:
                assert isinstance(outcome, NotFound) and outcome.ticket.since + 8 <= now
                leave(outcome.ticket.player_id)

    def may_join(player_id: str, group: list[str]) -> bool:
        asking, members = tickets[player_id], [tickets[each] for each in group]
        described: Any = matchmaker.pending_of(group[0], "m")
        return (
            player_id not in group
            and len(group) < most
            and all(suits(thresholds[asking.threshold], asking.skill, each.skill) for each in members)
            and all(suits(thresholds[each.threshold], each.skill, asking.skill) for each in members)
            and (asking.query is None or asking.query.accepts(described))
            and all(each.query is None or each.query.accepts(shown(asking)) for each in members)
        )

    for step in schedule:
        match step:
            case ("add", player_id, skill, query):
                take(matchmaker.advance(now))
                if player_id in tickets:
                    leave(player_id)
                ticket = Ticket(player_id, "m", skill, None, None if query is None else parse_query(query), since=now)
                tickets[player_id] = ticket
                groups.append([player_id])
                take(matchmaker.add(ticket, now))
            case ("join", player_id, other) if other in tickets:
                (group,) = [each for each in groups if other in each]
                described: Any = matchmaker.pending_of(other, "m")
                expected = player_id in tickets and may_join(player_id, group)
                try:
                    outcomes = matchmaker.join(player_id, described["id"], now)
                except NotAvailable:
                    assert player_id in tickets and not expected
                except NotInProgress:
                    assert player_id not in tickets
                else:
                    assert expected
                    (own,) = [each for each in groups if player_id in each]
                    own.remove(player_id)
                    group.append(player_id)
                    groups[:] = [each for each in groups if each]
                    take(outcomes)
            case ("cancel", player_id):
                assert matchmaker.cancel(player_id, "m") is (player_id in tickets)
                if player_id in tickets:
                    leave(player_id)
            case ("advance", seconds):
                now += seconds
                take(matchmaker.advance(now))
        assert {each.player_id for each in matchmaker.tickets()} == set(tickets)
        for player_id in tickets:
            pending: list[Any] = matchmaker.pending("m", None, player_id, 10)
            listed = [[each["playerId"] for each in one["matchedPlayers"]] for one in pending]
            assert sorted(listed) == sorted(group for group in groups if may_join(player_id, group))

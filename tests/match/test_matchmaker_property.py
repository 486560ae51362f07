"""Random comings and goings, against an oracle that tries every set of players."""

from __future__ import annotations

import os
from math import inf
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsrt.game.model import MatchConfig, Threshold
from gsrt.match.matchmaker import Found, Joined, Matchmaker, NotFound, Ticket
from gsrt.match.query import parse_query
from tests.match.oracle import all_fit, fit, sets_of

PLAYERS = [f"p{number}" for number in range(12)]
GROUPS = [None, None, "g"]
QUERIES: list[Any] = [
    None,
    None,
    None,
    {"matchData.map": "a"},
    {"matchData.map": {"$in": ["a", None, "a"]}},
    {"matchedPlayers.participantData.level": {"$gte": 2}},
    {"players.participantData.level": {"$not": {"$gt": 1}}},
    {"$or": [{"matchedPlayers.playerId": "p1"}, {"skill": {"$lt": 5}}]},
]
DATA: list[dict[str, Any]] = [{}, {"map": "a"}, {"map": "b"}]

thresholds = st.one_of(
    st.builds(
        lambda period, low, high, accept: Threshold(period, "RELATIVE", low, high, accept),
        st.integers(1, 6),
        st.integers(-8, 2),
        st.integers(-2, 8),
        st.booleans(),
    ),
    st.builds(
        lambda period, low, high, accept: Threshold(period, "ABSOLUTE", low, high, accept),
        st.integers(1, 6),
        st.integers(-5, 5),
        st.integers(0, 12),
        st.booleans(),
    ),
    st.builds(
        lambda period, low, high, accept: Threshold(period, "PERCENT", low, high, accept),
        st.integers(1, 6),
        st.sampled_from([-250, -100, -50, 0, 20, 150]),
        st.sampled_from([-20, 0, 50, 100, 300]),
        st.booleans(),
    ),
)


@st.composite
def configs(draw: st.DrawFn, short_code: str) -> MatchConfig:
    most = draw(st.integers(1, 5))
    return MatchConfig(
        short_code,
        min_players=draw(st.integers(1, most)),
        max_players=most,
        thresholds=draw(st.lists(thresholds, min_size=1, max_size=3)),
    )


skills = st.one_of(st.integers(-6, 12).map(float), st.sampled_from([-1e308, 1e308, 0.5, -0.0]))
adds = st.tuples(
    st.just("add"),
    st.sampled_from(PLAYERS),
    st.sampled_from("mn"),
    skills,
    st.sampled_from(GROUPS),
    st.sampled_from(QUERIES),
    st.sampled_from(DATA),
    st.integers(0, 3),
)
steps = st.one_of(
    adds,
    adds,
    adds,
    st.tuples(st.just("cancel"), st.sampled_from(PLAYERS), st.sampled_from("mn")),
    st.tuples(st.just("advance"), st.integers(0, 7)),
    st.tuples(st.just("open")),
    st.tuples(st.just("leave"), st.integers(0, 9)),
)


class Run:
    """One schedule, checked after every step."""

    def __init__(self, matches: dict[str, MatchConfig]) -> None:
        self.configs = matches
        self.matchmaker = Matchmaker(matches)
        self.now = 0.0
        self.waiting: list[Ticket] = []  # in the order of arrival
        self.ended: dict[int, tuple[Ticket, str]] = {}  # by identity; the ticket is kept, so that no other has it
        self.found: list[Found] = []
        self.open: dict[str, tuple[MatchConfig, str | None, list[Ticket]]] = {}
        self.told: list[str] = []

    def end(self, ticket: Ticket, how: str) -> None:
        assert id(ticket) not in self.ended, "a ticket has two outcomes"
        self.ended[id(ticket)] = (ticket, how)
        self.waiting.remove(ticket)

    def end_others(self, player_id: str) -> None:
        for ticket in [each for each in self.waiting if each.player_id == player_id]:
            self.end(ticket, "elsewhere")

    def take(self, outcomes: list[Any]) -> None:
        for outcome in outcomes:
            self.told.append(repr(outcome))
            if isinstance(outcome, Found):
                config = self.configs[outcome.config.short_code]
                size = len(outcome.tickets)
                assert config.min_players <= size <= config.max_players
                assert size == config.max_players or any(
                    config.thresholds[each.threshold].accept_min_players for each in outcome.tickets
                )
                assert all_fit(config, outcome.tickets)
                assert {each.group for each in outcome.tickets} == {outcome.group}
                order = [self.waiting.index(each) for each in outcome.tickets]
                assert order == sorted(order)
                self.found.append(outcome)
                for ticket in outcome.tickets:
                    self.end(ticket, "found")
                for ticket in outcome.tickets:
                    self.end_others(ticket.player_id)
            elif isinstance(outcome, Joined):
                config, group, members = self.open[outcome.match_id]
                assert len(members) < config.max_players and outcome.ticket.group == group
                assert all(fit(config, each, outcome.ticket) for each in members)
                members.append(outcome.ticket)
                self.end(outcome.ticket, "joined")
                self.end_others(outcome.ticket.player_id)
            else:
                assert isinstance(outcome, NotFound)
                config = self.configs[outcome.ticket.short_code]
                over = outcome.ticket.since + sum(each.period for each in config.thresholds)
                assert over <= self.now
                self.end(outcome.ticket, "not found")

    def check(self) -> None:
        assert sorted(map(id, self.matchmaker.tickets())) == sorted(map(id, self.waiting))
        assert len(self.matchmaker) == len(self.waiting)
        assert self.matchmaker.next_timer() > self.now
        for config in self.configs.values():
            theirs = [each for each in self.waiting if each.short_code == config.short_code]
            assert not sets_of(config, theirs, config.max_players)
            for ticket in theirs:
                begun = sum(each.period for each in config.thresholds[: ticket.threshold])
                period = config.thresholds[ticket.threshold].period
                assert ticket.threshold == 0 or ticket.since + begun <= self.now
                assert self.now < ticket.since + begun + period
        for config, group, members in self.open.values():
            if len(members) < config.max_players:
                for ticket in self.waiting:
                    if ticket.short_code == config.short_code and ticket.group == group:
                        assert not all(fit(config, each, ticket) for each in members)

    def do(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("add", player_id, code, skill, group, query, data, after):
                self.advance(self.now + after)
                ticket = Ticket(
                    player_id,
                    code,
                    skill,
                    group,
                    None if query is None else parse_query(query),
                    {"level": int(player_id[1:]) % 4},
                    data,
                    self.now,
                )
                for old in [each for each in self.waiting if (each.player_id, each.short_code) == (player_id, code)]:
                    self.end(old, "replaced")
                self.waiting.append(ticket)
                self.take(self.matchmaker.add(ticket, self.now))
            case ("cancel", player_id, code):
                theirs = [each for each in self.waiting if (each.player_id, each.short_code) == (player_id, code)]
                assert self.matchmaker.cancel(player_id, code) is bool(theirs)
                for ticket in theirs:
                    self.end(ticket, "cancelled")
            case ("advance", seconds):
                self.advance(self.now + seconds)
            case ("open",) if self.found:
                found = self.found.pop()
                match_id = f"match{len(self.told)}-{found.tickets[0].player_id}"
                self.open[match_id] = (found.config, found.group, list(found.tickets))
                self.take(self.matchmaker.open(match_id, found.config, found.group, found.tickets, inf))
            case ("leave", number) if self.open:
                match_id = list(self.open)[number % len(self.open)]
                gone = self.open[match_id][2].pop(0)
                empty = not self.open[match_id][2]
                if empty:
                    del self.open[match_id]
                self.take(self.matchmaker.left(match_id, gone.player_id))

    def advance(self, now: float) -> None:
        """In one go or not, the same becomes of everybody; here nobody's period is over before `expect` has looked."""
        while self.matchmaker.next_timer() <= now:
            self.now = self.matchmaker.next_timer()
            self.expect_minimum()
        self.now = now
        self.take(self.matchmaker.advance(now))

    def expect_minimum(self) -> None:
        """Whose period ends now is found with the largest set that fits, if that is accepted."""
        due = [each for each in self.waiting if self.ends(each) == self.now]
        if len(due) == 1:
            (ticket,) = due
            config = self.configs[ticket.short_code]
            expected: tuple[Ticket, ...] = ()
            if config.thresholds[ticket.threshold].accept_min_players:
                theirs = [each for each in self.waiting if each.short_code == config.short_code]
                for size in range(config.max_players, config.min_players - 1, -1):
                    sets = [each for each in sets_of(config, theirs, size) if ticket in each]
                    if sets:
                        expected = sets[0]
                        break
            last = ticket.threshold == len(config.thresholds) - 1
            outcomes = self.matchmaker.advance(self.now)
            if expected:
                assert isinstance(outcomes[0], Found) and tuple(outcomes[0].tickets) == expected
            else:
                assert not last or isinstance(outcomes[0], NotFound)
            self.take(outcomes)
        else:
            self.take(self.matchmaker.advance(self.now))

    def ends(self, ticket: Ticket) -> float:
        thresholds = self.configs[ticket.short_code].thresholds
        return ticket.since + sum(each.period for each in thresholds[: ticket.threshold + 1])


@settings(max_examples=int(os.environ.get("EXAMPLES", "300")), deadline=None, suppress_health_check=list(HealthCheck))
@given(configs("m"), configs("n"), st.lists(steps, min_size=2, max_size=40))
def test_matches_keep_all_rules_and_nobody_who_could_play_is_left(
    one: MatchConfig, two: MatchConfig, schedule: list[tuple[Any, ...]]
) -> None:
    run = Run({"m": one, "n": two})
    for step in schedule:
        run.do(step)
        run.check()
    run.advance(run.now + 100)
    assert run.waiting == [] and run.matchmaker.next_timer() == inf

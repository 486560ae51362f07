"""The soak of dumps: two ends of a link over bad networks in virtual time, each dumped and restored at random moments.

At once or after a pause in which datagrams pile up in its socket, now and then twice in a row. Every reliable message
arrives exactly once, in order per channel; no number is used twice; nothing is kept in the end.
"""

from __future__ import annotations

import random

import pytest

from gsrt.netsim.model import Conditions
from tests.link.pair import Pair
from tests.link.test_soak import RECEIVE_BYTES, UNITS_MAX, WORST, Traffic, network

NETWORKS = 30
SECONDS = 200.0
REST_SECONDS = 300.0
BETWEEN = 0.7  # seconds from one dump to the next, about
PAUSES = (0.0, 0.0, 0.0, 0.02, 0.3, 2.0)


class Dumps:
    """When which end is dumped, and what was seen of them then."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"dumps {seed}")
        self.next_at = 1.0
        self.count = 0
        self.most_kept = self.most_flown = 0

    def take_turn(self, pair: Pair) -> None:
        chance = self.chance
        self.next_at = pair.now + chance.expovariate(1.0 / BETWEEN)
        which = chance.randrange(2)
        if pair.is_away(which):
            return
        self.most_kept = max(self.most_kept, pair.ends[which].pending_bytes)
        self.most_flown = max(self.most_flown, pair.ends[which].flown_bytes)
        for _ in range(chance.choice((1, 1, 1, 2))):
            self.count += 1
            pair.hand_over(which, pause := chance.choice(PAUSES))
            if pause:
                return


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_nothing_is_lost_or_doubled_by_dumps(seed: int) -> None:
    chance = random.Random(f"network {seed}")
    there, back = network(chance), network(chance)
    if seed in WORST:
        there = back = Conditions.parse(WORST[seed])
    hardship = sum(conditions.delay + conditions.jitter / 2 + 2 * conditions.loss for conditions in (there, back))
    hardship += 0.5 + 0.5 * any(conditions.blackout_length for conditions in (there, back))
    pair = Pair(there, back, seed=seed, encrypted=seed % 2 == 1 or bool(there.corrupt or back.corrupt), keep=True)
    traffic = tuple(Traffic(f"traffic {seed} {which}", which, hardship) for which in (0, 1))
    for one in traffic:
        one.longest_at = chance.uniform(0.0, SECONDS / 2)
    dumps = Dumps(seed)

    def check() -> None:
        for which, end in enumerate(pair.ends):
            if pair.heard[which]:
                traffic[1 - which].check(pair.heard[which])
            assert end.pending_bytes <= 2 * RECEIVE_BYTES
            assert end.unit_count <= UNITS_MAX
            assert end.flown_bytes <= RECEIVE_BYTES
            assert (end.ended is None) != pair.is_away(which)

    while pair.now < SECONDS:
        while pair.step(min(traffic[0].next_at, traffic[1].next_at, SECONDS, dumps.next_at)):
            check()
        for which, one in enumerate(traffic):
            if one.next_at <= pair.now < SECONDS:
                if pair.is_away(which):
                    one.next_at = pair.now + 0.05  # a game whose server is away waits, too
                else:
                    one.send(pair)
        if dumps.next_at <= pair.now < SECONDS:
            dumps.take_turn(pair)
    while pair.step(SECONDS + REST_SECONDS) and not (pair.is_quiet and all(one.is_through for one in traffic)):
        check()
    check()
    assert all(one.is_through for one in traffic)
    assert pair.is_quiet
    assert [end.pending_bytes for end in pair.ends] == [0, 0]
    assert [end.flown_bytes for end in pair.ends] == [0, 0]
    assert dumps.count > SECONDS / BETWEEN / 2
    assert pair.events < 200_000  # no timer that is due without end
    for sent in pair.sent:
        numbers = [datagram[10:14] for _, datagram in sent]
        assert len(set(numbers)) == len(numbers)
    if there.delay >= 0.08 and there.rate is None:
        assert dumps.most_flown > 10_000, "a link was never dumped with much under way"

"""The soak of dumps: two ends of a link over bad networks in virtual time, each dumped and restored at random moments.

At once or after a pause in which datagrams pile up in its socket, now and then twice in a row. Every reliable message
arrives exactly once, in order per channel; no number is used twice; nothing is kept in the end.
"""

from __future__ import annotations

import random

import pytest

from tests.link.pair import Pair
from tests.link.soak import Interruptions, Soak

NETWORKS = 30
SECONDS = 200.0
HARDSHIP_SECONDS = 0.5  # of the dumps
BETWEEN = 0.7  # seconds from one dump to the next, about
PAUSES = (0.0, 0.0, 0.0, 0.02, 0.3, 2.0)


class Dumps(Interruptions):
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
    soak = Soak(seed, SECONDS, hardship=HARDSHIP_SECONDS, keep=True)
    dumps = Dumps(seed)
    soak.run(dumps)
    assert dumps.count > SECONDS / BETWEEN / 2
    assert soak.pair.events < 200_000  # no timer that is due without end
    for sent in soak.pair.sent:
        numbers = [datagram[10:14] for _, datagram in sent]
        assert len(set(numbers)) == len(numbers)
    if soak.there.delay >= 0.08 and soak.there.rate is None:
        assert dumps.most_flown > 10_000, "a link was never dumped with much under way"

"""The model of a bad network: what is true of every run, what is true on average, and what never changes."""

from __future__ import annotations

import hashlib
import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.netsim.model import BadLink, Conditions, SplitMix64
from tests.netsim.strategies import conditions

MANY = 40_000
TICK = 0.001

# When each datagram is sent, as the time since the one before, and how many bytes it has.
traffic = st.lists(st.tuples(st.floats(0.0, 0.5), st.integers(8, 1500)), max_size=60)

Arrival = tuple[float, bytes]


class Run:
    """Traffic through a link, taken out as soon as it arrives; each datagram begins with its number."""

    def __init__(self, link: BadLink, sent: list[tuple[float, int]]) -> None:
        self.link = link
        self.sent: list[tuple[float, bytes]] = []
        self.arrived: list[Arrival] = []
        now = 100.0
        for number, (pause, size) in enumerate(sent):
            now += pause
            self._take_until(now)
            datagram = number.to_bytes(8, "big") + b"\x55" * (size - 8)
            self.sent.append((now, datagram))
            link.put(datagram, now)
        self._take_until(None)

    def _take_until(self, now: float | None) -> None:
        while (when := self.link.next_time()) is not None and (now is None or when <= now):
            taken = self.link.take(when)
            assert taken
            self.arrived += [(when, datagram) for datagram in taken]

    def numbers(self) -> list[int]:
        return [int.from_bytes(datagram[:8], "big") for _, datagram in self.arrived]


def steady(count: int, size: int = 60) -> list[tuple[float, int]]:
    """One datagram in a millisecond."""
    return [(TICK, size)] * count


@settings(deadline=None)
@given(conditions(), traffic, st.integers(), st.integers(1, 50))
def test_nothing_disappears_uncounted(
    given_conditions: Conditions, sent: list[tuple[float, int]], seed: int, most: int
) -> None:
    link = BadLink(given_conditions, seed, in_flight_max=most)
    for now, (pause, size) in zip(itertools.accumulate(pause for pause, _ in sent), sent, strict=True):
        link.put(bytes(size), now)
        link.take(now - pause / 2)
        counted = link.delivered + link.lost + link.blacked_out + link.over_rate + link.overfull + link.in_flight
        assert link.sent + link.duplicated == counted
        assert link.in_flight <= most
    assert link.sent == len(sent)
    link.take(1e9)
    assert link.in_flight == 0
    assert link.next_time() is None
    assert all(count >= 0 for count in link.counters().values())


@settings(deadline=None)
@given(conditions(jitter=0.0, reorder=0.0, duplicate=0.0, rate=12_500.0), traffic, st.integers())
def test_the_rate_is_never_exceeded(given_conditions: Conditions, sent: list[tuple[float, int]], seed: int) -> None:
    run = Run(BadLink(given_conditions, seed), sent)
    for first in range(len(run.arrived)):
        since = 0
        for when, datagram in run.arrived[first + 1 :]:
            since += len(datagram)
            assert since <= 12_500.0 * (when - run.arrived[first][0]) + 0.001


@settings(deadline=None)
@given(conditions(corrupt=0.0), traffic, st.integers())
def test_nobody_waits_longer_than_the_conditions_say(
    given_conditions: Conditions, sent: list[tuple[float, int]], seed: int
) -> None:
    run = Run(BadLink(given_conditions, seed), sent)
    queue = 0.0
    if given_conditions.rate is not None:
        queue = (given_conditions.queue_bytes + 1500) / given_conditions.rate
    longest = given_conditions.delay + 2 * given_conditions.jitter + given_conditions.reorder_delay + queue
    for (arrived, datagram), number in zip(run.arrived, run.numbers(), strict=True):
        put, original = run.sent[number]
        assert datagram == original
        assert given_conditions.delay - 1e-9 <= arrived - put <= longest + 1e-9


@settings(deadline=None)
@given(conditions(jitter_reorders=False, reorder=0.0, corrupt=0.0), traffic, st.integers())
def test_where_nothing_reorders_the_order_is_kept(
    given_conditions: Conditions, sent: list[tuple[float, int]], seed: int
) -> None:
    run = Run(BadLink(given_conditions, seed), sent)
    assert run.numbers() == sorted(run.numbers())
    assert run.link.reordered == 0


@settings(deadline=None)
@given(conditions(jitter_reorders=False, reorder=0.0, duplicate=0.0, loss=0.0), traffic, st.integers())
def test_corruption_turns_over_one_bit(given_conditions: Conditions, sent: list[tuple[float, int]], seed: int) -> None:
    link = BadLink(given_conditions, seed)
    run = Run(link, sent)
    wrong = 0
    if len(run.arrived) == len(run.sent):
        for (_, before), (_, after) in zip(run.sent, run.arrived, strict=True):
            difference = int.from_bytes(before, "big") ^ int.from_bytes(after, "big")
            assert len(before) == len(after)
            assert difference.bit_count() <= 1
            wrong += difference.bit_count()
        assert wrong == link.corrupted


@settings(deadline=None)
@given(conditions(), traffic, st.integers())
def test_the_same_seed_conditions_and_calls_give_the_same_result(
    given_conditions: Conditions, sent: list[tuple[float, int]], seed: int
) -> None:
    assert Run(BadLink(given_conditions, seed), sent).arrived == Run(BadLink(given_conditions, seed), sent).arrived


def test_a_run_is_the_same_in_every_process_and_version() -> None:
    text = (
        "loss=10% loss_burst=3 delay=30ms jitter=40ms reorder=2% duplicate=3% corrupt=1% rate=400kbit queue=8kB "
        "blackout=300ms/5s,1s@7s"
    )
    digest = hashlib.sha256()
    for words in (text, text + " jitter_reorders=yes", "loss=30%"):
        run = Run(BadLink(Conditions.parse(words), seed=42), steady(20_000))
        for when, datagram in run.arrived:
            digest.update(when.hex().encode() + datagram)
        digest.update(repr(run.link.counters()).encode())
    assert digest.hexdigest() == "e0ef9e1c4f41c98380b89f416774558d60a66abb09382218fe7b8bf043d1d8bc"


def test_the_generator_gives_the_numbers_of_its_authors() -> None:
    random = SplitMix64(1234567)
    assert [random.bits() for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_fractions_are_over_0_up_to_1_and_even() -> None:
    random = SplitMix64(5)
    fractions = [random.fraction() for _ in range(MANY)]
    assert 0.0 < min(fractions) < 0.001 < 0.999 < max(fractions) <= 1.0
    assert statistics.fmean(fractions) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 0.3, 0.9, 1.0])
@pytest.mark.parametrize(
    ("condition", "counter"), [("loss", "lost"), ("duplicate", "duplicated"), ("corrupt", "corrupted")]
)
def test_shares_are_kept(condition: str, counter: str, share: float) -> None:
    link = BadLink(Conditions(**{condition: share}), seed=7)  # type: ignore[arg-type]
    Run(link, steady(MANY))
    assert getattr(link, counter) == pytest.approx(share * MANY, abs=4 * deviation(share))


@pytest.mark.parametrize("share", [0.002, 0.05, 0.3])
def test_the_share_that_is_held_back_is_overtaken(share: float) -> None:
    link = BadLink(Conditions(reorder=share), seed=7)
    Run(link, steady(MANY))
    assert link.reordered == pytest.approx(share * MANY, abs=4 * deviation(share))


def deviation(share: float) -> float:
    """Of the number of datagrams among many that something happens to."""
    return math.sqrt(MANY * share * (1 - share))


def test_each_loss_is_for_itself() -> None:
    lost = losses(Conditions(loss=0.2), seed=3)
    after_a_loss = [after for before, after in itertools.pairwise(lost) if before]
    assert statistics.fmean(after_a_loss) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("share", "burst"), [(0.05, 1.0), (0.05, 4.0), (0.3, 5.0), (0.6, 1.5)])
def test_losses_come_in_rows(share: float, burst: float) -> None:
    lost = losses(Conditions(loss=share, loss_burst=burst), seed=3)
    rows = [len(list(row)) for is_lost, row in itertools.groupby(lost) if is_lost]
    assert statistics.fmean(lost) == pytest.approx(share, rel=0.1)
    assert statistics.fmean(rows) == pytest.approx(burst, rel=0.1)
    assert (max(rows) == 1) == (burst == 1.0)


def losses(given_conditions: Conditions, seed: int) -> list[bool]:
    """Which datagrams of many were lost."""
    run = Run(BadLink(given_conditions, seed), steady(MANY))
    arrived = set(run.numbers())
    return [number not in arrived for number in range(MANY)]


def delays(given_conditions: Conditions) -> list[float]:
    """Of many datagrams, in the order in which they were sent."""
    run = Run(BadLink(given_conditions, 11), steady(MANY))
    arrivals = sorted(zip(run.numbers(), (when for when, _ in run.arrived), strict=True))
    return [when - run.sent[number][0] for number, when in arrivals]


def test_jitter_that_keeps_the_order_wanders() -> None:
    found = delays(Conditions(delay=0.03, jitter=0.02))
    assert min(found) >= 0.03 - 1e-9
    assert max(found) <= 0.05 + 1e-9
    assert statistics.pstdev(found) > 0.004
    steps = [abs(after - before) for before, after in itertools.pairwise(found)]
    assert statistics.median(steps) == pytest.approx(0.0, abs=1e-9)  # most come as far apart as they were sent


def test_jitter_that_reorders_is_even_and_another_for_each() -> None:
    found = delays(Conditions(delay=0.03, jitter=0.02, jitter_reorders=True))
    assert statistics.fmean(found) == pytest.approx(0.04, abs=0.001)
    assert statistics.pstdev(found) == pytest.approx(0.02 / 12**0.5, rel=0.02)


def test_what_is_held_back_is_overtaken_by_what_comes_meanwhile() -> None:
    link = BadLink(Conditions(reorder=0.5, reorder_delay=0.01, delay=0.1), seed=1)
    run = Run(link, steady(200))
    for (when, _), number in zip(run.arrived, run.numbers(), strict=True):
        assert when - run.sent[number][0] == pytest.approx(0.1) or when - run.sent[number][0] == pytest.approx(0.11)
    assert 60 < link.reordered < 140


@pytest.mark.parametrize("burst", [0.0, 10.0])
def test_the_smallest_share_never_happens(burst: float) -> None:
    link = BadLink(Conditions(loss=5e-324, loss_burst=burst), seed=1)
    Run(link, steady(1000))
    assert link.delivered == 1000


def test_a_copy_arrives_with_its_original() -> None:
    link = BadLink(Conditions(duplicate=1.0, delay=0.01), seed=1)
    link.put(b"one", 0.0)
    link.put(b"two", 0.0)
    assert link.take(0.01) == [b"one", b"one", b"two", b"two"]


def test_a_rate_makes_a_queue_that_has_an_end() -> None:
    link = BadLink(Conditions(rate=1000, queue_bytes=300), seed=1)
    for _ in range(5):
        link.put(bytes(100), 0.0)
    assert (link.over_rate, link.in_flight) == (2, 3)
    assert [len(link.take(when)) for when in (0.05, 0.1001, 0.2001, 0.25, 0.3001)] == [0, 1, 1, 0, 1]
    link.put(bytes(1000), 1.0)  # more than the queue holds, but nothing waits
    assert link.next_time() == pytest.approx(2.0)


def test_blackouts_come_again_and_again_at_the_end_of_each_time() -> None:
    link = BadLink(Conditions.parse("blackout=2s/10s"), seed=1, origin=50.0)
    for tenth in range(300):
        link.put(tenth.to_bytes(2, "big"), 50.05 + tenth / 10)
    arrived = {int.from_bytes(datagram, "big") for datagram in link.take(1e9)}
    assert arrived == {tenth for tenth in range(300) if tenth % 100 < 80}
    assert link.blacked_out == 60


def test_single_blackouts_come_when_they_are_due_and_may_overlap() -> None:
    link = BadLink(Conditions.parse("blackout=1s@2s,2s@2.5s,500ms@20s"), seed=1, origin=50.0)
    for tenth in range(250):
        link.put(tenth.to_bytes(2, "big"), 50.05 + tenth / 10)
    dark = set(range(250)) - {int.from_bytes(datagram, "big") for datagram in link.take(1e9)}
    assert dark == {*range(20, 45), *range(200, 205)}


def test_conditions_change_for_what_is_sent_from_then_on() -> None:
    link = BadLink(Conditions(delay=1.0), seed=1)
    link.put(b"slow", 0.0)
    link.change(Conditions(loss=1.0))
    link.put(b"lost", 0.1)
    link.change(Conditions())
    link.put(b"quick", 0.2)
    assert link.next_time() == 1.0  # behind the slow one, for nothing reorders
    assert link.take(1.0) == [b"slow", b"quick"]
    assert (link.sent, link.lost) == (3, 1)


def test_an_empty_datagram_has_no_bit_that_could_be_wrong() -> None:
    link = BadLink(Conditions(corrupt=1.0), seed=1)
    link.put(b"", 0.0)
    assert (link.take(0.0), link.corrupted) == ([b""], 0)

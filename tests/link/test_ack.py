"""What is acknowledged, when, and what that tells of the path: docs/LINK.md, sections 4 and 5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._core import ACK_LIMITS
from gsrt._link import KIND_ORDERED, KIND_UNRELIABLE
from tests.link.wire import ORDERED, PING, UNRELIABLE, Ack, Frame, Hand, datagram, raw

WINDOW = int(ACK_LIMITS["ACK_WINDOW"])
ACK_DELAY = ACK_LIMITS["ACK_DELAY"]
LAZY_ACK_DELAY = ACK_LIMITS["LAZY_ACK_DELAY"]
MEMORY = ACK_LIMITS["LOSS_MEMORY"]
SOON = Frame(PING)
LATER = Frame(UNRELIABLE, bytes=b"x")


# ---- what has come


@given(
    first=st.sampled_from((0, 1, 1000, 2**16 - 3, 2**31 - 5, 2**32 - 7, 2**32 - 300)),
    moves=st.lists(
        st.tuples(st.integers(-300, 40), st.booleans(), st.integers(0, 7))
        | st.tuples(st.just(1), st.just(True), st.just(0)),
        max_size=80,
    ),
)
def test_every_number_is_taken_once_and_told_until_it_is_known(first: int, moves: list[tuple[int, bool, int]]) -> None:
    """Against a set of numbers: one that came before, or is behind the window, is dropped; an acknowledgement tells of
    nothing that has not come, and of all within the window that the other side does not know of."""
    hand = Hand()
    came: set[int] = set()
    known: set[int] = set()
    highest = -1
    tells: list[tuple[int, set[int]]] = []  # what each datagram of the endpoint has told
    acknowledged: set[int] = set()
    for move, flushes, learns in moves:
        number = first if highest < 0 else max(0, highest + move)
        fresh = number not in came and (highest < 0 or number >= highest - WINDOW)
        block = None
        if fresh and learns and tells:
            told_by, told = tells[-min(learns, len(tells))]
            known |= told
            acknowledged.add(told_by)
            block = Ack.of({told_by})
        hand.now += 0.2
        assert hand.end.receive_datagram(datagram(number, SOON, ack=block), hand.now) is fresh
        if not fresh:
            continue
        came.add(number)
        highest = max(highest, number)
        assert hand.end.highest == highest
        if not flushes:
            continue
        for made in hand.take():
            low = highest & 0xFFFFFFFF
            assert made.ack is not None and made.ack.largest == low
            told = {highest} | {highest - 1 - bit for bit in range(WINDOW) if made.ack.below >> bit & 1}
            assert told <= came
            assert {one for one in came if one >= highest - WINDOW} <= told | known
            assert made.ack.bit_bytes <= WINDOW // 8
            tells.append((made.number, told))


def test_what_the_other_side_knows_is_not_told_again() -> None:
    hand = Hand()
    for _ in range(20):
        hand.give(SOON)
    (told,) = hand.take()
    assert told.ack is not None and told.ack.numbers() == set(range(20)) and told.ack.bit_bytes == 3
    hand.give(SOON, ack={told.number})
    assert hand.end.told_floor == 20
    hand.now = 1.0
    (told,) = hand.take()
    assert told.ack == Ack(20, 10_000, 0, 0)
    hand.give(ack={told.number})
    hand.send(b"data")
    assert hand.end.told_floor == 21


def test_what_came_late_is_told_until_a_later_acknowledgement_is_known() -> None:
    hand = Hand()
    hand.give(SOON)
    hand.number = 2
    hand.give(SOON)
    (first,) = hand.take()
    hand.number = 1
    hand.give(SOON)
    (second,) = hand.take()
    assert second.ack is not None and second.ack.numbers() == {0, 1, 2}
    hand.number = 3
    hand.give(SOON, ack={first.number})  # which did not tell of 1
    assert hand.end.told_floor == 1
    (third,) = hand.at(hand.now + 0.01)
    assert third.ack is not None and third.ack.numbers() >= {1, 2, 3}
    hand.give(SOON, ack={third.number})
    assert hand.end.told_floor == 4


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30), st.integers(0, 255), st.binary(max_size=40))
def test_no_acknowledgement_of_strangers_does_harm(numbers: list[int], ack_bytes: int, rest: bytes) -> None:
    """Whatever it says: what was never sent is not acknowledged."""
    for largest in numbers:
        hand = Hand()
        for _ in range(3):
            hand.send(b"data")
        hand.give_body(bytes((ack_bytes,)) + largest.to_bytes(4, "little") + b"\0\0" + rest)
        assert hand.end.arrived_count <= 3
        if ack_bytes and largest >= 3:
            assert hand.end.ended is not None and hand.end.ended[0] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"\1\3\0\0\0\0\0",  # 3 was never sent
        b"\1\xff\xff\xff\xff\0\0",
        b"\2\1\0\0\0\0\0\2",  # bit 1 of 1: below 0
        b"\1\0\0\0\0\0",  # cut
        b"\3\2\0\0\0\0\0\1",
        b"\x22" + bytes(100),  # more bits than there can be
    ],
)
def test_acknowledgements_that_cannot_be_end_the_connection(body: bytes) -> None:
    hand = Hand()
    for _ in range(3):
        hand.send(b"data")
    assert not hand.give_body(body)
    assert hand.end.ended is not None and hand.end.ended[0] == 1


def test_numbers_beyond_32_bits() -> None:
    """Two directions that have gone on for years."""
    hand = Hand(first_number=2**32 - 50, number=2**32 - 30)
    for sequence in range(100):
        (made,) = hand.send(b"data")
        hand.now += 0.01
        hand.give(Frame(ORDERED, 0, sequence, 0, b"data"), ack=Ack(made.number, 0, 0, 0))
        hand.now += 0.01
    assert len(hand.heard()) == 100
    assert hand.end.next_number == 2**32 + 50
    assert hand.end.largest_acked == 2**32 + 49
    assert hand.end.highest == 2**32 + 69
    assert hand.end.unit_count == 0
    assert hand.end.lost_count == 0


# ---- when


def test_soon_is_after_ack_delay() -> None:
    hand = Hand(now=5.0)
    hand.give(SOON)
    assert hand.take() == []
    assert hand.end.next_timer() == 5.0 + ACK_DELAY
    (made,) = hand.at(5.0 + ACK_DELAY)
    assert made.frames == [] and made.ack is not None and made.ack.numbers() == {0}
    assert made.ack.delay == pytest.approx(ACK_DELAY * 10_000, abs=1)
    assert hand.at(5.9) == []


def test_later_is_after_lazy_ack_delay() -> None:
    hand = Hand(now=5.0)
    hand.give(LATER)
    assert hand.take() == []
    assert hand.end.next_timer() == 5.0 + LAZY_ACK_DELAY
    assert len(hand.at(5.0 + LAZY_ACK_DELAY)) == 1


@pytest.mark.parametrize(("frame", "every"), [(SOON, "ACK_EVERY"), (LATER, "LAZY_ACK_EVERY")])
def test_at_once_after_so_many(frame: Frame, every: str) -> None:
    hand = Hand()
    for _ in range(int(ACK_LIMITS[every]) - 1):
        hand.give(frame)
    assert hand.take() == []
    hand.give(frame)
    assert len(hand.take()) == 1
    assert hand.take() == []


def test_at_once_out_of_turn() -> None:
    hand = Hand()
    hand.give(SOON)
    hand.number += 1
    hand.give(SOON)
    assert len(hand.take()) == 1
    hand.number -= 2
    hand.give(SOON)
    assert len(hand.take()) == 1


def test_never_for_acknowledgements() -> None:
    hand = Hand()
    hand.give(ack=None)
    hand.number += 5
    hand.give(ack=None)
    assert hand.at(0.9) == []


def test_at_most_one_in_a_flush_and_none_beside_data() -> None:
    hand = Hand()
    for _ in range(40):
        hand.give(SOON)
    assert len(hand.take()) == 1
    hand.give(SOON)
    (made,) = hand.send(b"data")
    assert made.ack is not None and made.ack.largest == 40
    assert hand.at(1.0) == [] or hand.end.counts()["link_acks_out"] == 1


# ---- estimates


@given(st.lists(st.tuples(st.floats(0.0001, 2.0), st.integers(0, 4000)), min_size=1, max_size=30))
def test_round_trips(trips: list[tuple[float, int]]) -> None:
    """RFC 6298, 2, and RFC 3550, 6.4.1, against a direct computation."""
    hand = Hand()
    srtt = rttvar = min_rtt = jitter = latest = 0.0
    for index, (seconds, delay_units) in enumerate(trips):
        made = hand.send(b"data")
        begin = hand.now
        hand.now += seconds  # without timers: nothing else goes out
        seconds = hand.now - begin
        hand.give(ack={made[-1].number}, delay=delay_units)
        delay = min(delay_units * 0.0001, ACK_LIMITS["ACK_DELAY_MAX"])
        sample = max(seconds - delay, min(seconds, 0.0001))
        if index == 0:
            min_rtt = latest = srtt = sample
            rttvar = srtt / 2
        else:
            min_rtt = min(min_rtt, sample)
            jitter += (abs(sample - latest) - jitter) / 16
            rttvar = 0.75 * rttvar + 0.25 * abs(srtt - sample)
            srtt = 0.875 * srtt + 0.125 * sample
            latest = sample
        end = hand.end
        assert (end.srtt, end.rttvar, end.min_rtt, end.jitter, end.latest) == pytest.approx(
            (srtt, rttvar, min_rtt, jitter, latest), rel=1e-9, abs=1e-12
        )
        hand.now += 0.001


def test_no_sample_of_what_elicits_nothing_or_was_acknowledged_before() -> None:
    hand = Hand()
    (made,) = hand.send(b"data")
    hand.now = 0.1
    hand.give(SOON, ack={made.number})
    (told,) = hand.at(0.11)
    hand.now = 5.0
    hand.give(ack={made.number})
    hand.give(ack={told.number})
    assert hand.end.srtt == pytest.approx(0.1)


@given(st.lists(st.booleans(), max_size=60))
def test_loss_is_an_average(fates: list[bool]) -> None:
    hand = Hand()
    loss = 0.0
    for arrives in fates:
        (made,) = hand.send(b"data", KIND_UNRELIABLE)
        arrived = {made.number}
        if not arrives:  # three come after it
            arrived = {hand.send(b"data", KIND_UNRELIABLE)[0].number for _ in range(3)}
        hand.now += 0.01
        hand.give(ack=arrived)
        loss *= (1 - 1 / MEMORY) ** len(arrived)
        if not arrives:
            loss += (1 - loss) / MEMORY
        assert hand.end.loss == pytest.approx(loss)
    assert hand.end.lost_count == fates.count(False)


def test_bandwidth_is_what_was_acknowledged_meanwhile_and_forgotten() -> None:
    hand = Hand()
    made = [hand.send(bytes(1000), KIND_UNRELIABLE)[0] for _ in range(5)]
    hand.now = 0.1
    hand.give(ack={one.number for one in made[:4]})
    # The fourth is acknowledged first, with nothing before it: what one datagram tells is its own bytes.
    assert hand.end.bandwidth == pytest.approx(made[3].size / 0.1)
    hand.now = 0.2
    hand.give(ack={made[4].number})
    assert hand.end.bandwidth == pytest.approx(sum(one.size for one in made) / 0.2)
    hand.now = 0.2 + ACK_LIMITS["BANDWIDTH_SECONDS"] + 1
    (slow,) = hand.send(b"data", KIND_UNRELIABLE)
    hand.now += 1
    hand.give(ack={slow.number})
    assert hand.end.bandwidth == pytest.approx(slow.size)


# ---- loss


def fly(hand: Hand, count: int, gap: float = 0.0) -> list[int]:
    """So many datagrams, each with a reliable message: their numbers."""
    numbers = []
    for _ in range(count):
        numbers += [made.number for made in hand.send(b"data")]
        hand.now += gap
    return numbers


def settle(hand: Hand, seconds: float = 0.1) -> None:
    """A first round trip of so many seconds."""
    (made,) = hand.send(b"data")
    hand.now += seconds
    hand.give(ack={made.number})


def test_lost_by_packets() -> None:
    hand = Hand()
    settle(hand)
    numbers = fly(hand, 4)
    hand.now += 0.1
    hand.give(ack={numbers[2]})
    assert hand.end.lost_count == 0
    hand.give(ack={numbers[3]})
    assert hand.end.lost_count == 1  # three below
    (again,) = hand.take()
    assert again.frames == [Frame(ORDERED, 0, 1, 0, b"data")]


def test_lost_by_time() -> None:
    hand = Hand()
    settle(hand, 0.08)
    numbers = fly(hand, 2, 0.001)
    sent_at = hand.now - 0.002
    hand.now = sent_at + 0.081
    hand.give(ack={numbers[1]})
    longer = max(hand.end.srtt, hand.end.latest)
    assert hand.end.next_timer() == pytest.approx(sent_at + 9 / 8 * longer)
    assert hand.at(sent_at + 9 / 8 * longer - 0.0001) == []
    (again,) = hand.at(sent_at + 9 / 8 * longer + 0.0001)
    assert [frame.sequence for frame in again.frames] == [1]


def test_reordering_is_learnt_and_forgotten() -> None:
    hand = Hand()
    settle(hand, 0.1)
    numbers = fly(hand, 6)
    sent_at = hand.now
    hand.now += 0.1
    hand.give(ack={numbers[5]})
    assert hand.end.lost_count == 3
    after = 9 / 8 * max(hand.end.srtt, hand.end.latest)
    hand.now = sent_at + 0.15
    hand.give(ack={numbers[0]})
    assert hand.end.spurious_count == 1
    assert hand.end.reorder == pytest.approx(0.15 - after)
    learnt = hand.end.reorder
    hand.now = sent_at + 10
    hand.give(ack=set(numbers))
    hand.take()
    # While it is not 0, the distance does not count.
    hand.now += 1
    before = hand.end.lost_count
    numbers = fly(hand, 6)
    hand.now += 0.1
    hand.give(ack={numbers[5]})
    assert hand.end.lost_count == before
    assert 0 < hand.end.reorder <= ACK_LIMITS["REORDER_MAX"]
    hand.give(ack=set(numbers))
    for _ in range(100):
        (made,) = hand.send(b"data")
        hand.now += 0.2
        hand.give(ack={made.number})
    assert hand.end.reorder == 0 < learnt


def test_reorder_has_a_limit() -> None:
    hand = Hand()
    settle(hand, 0.1)
    numbers = fly(hand, 6)
    hand.now += 0.1
    hand.give(ack={numbers[5]})
    hand.now += 30
    hand.give(ack={numbers[0]})
    assert hand.end.reorder == ACK_LIMITS["REORDER_MAX"]


def test_pto_doubles_to_its_most() -> None:
    hand = Hand(is_client=True)
    settle(hand, 0.04)
    pto = hand.end.srtt + max(4 * hand.end.rttvar, ACK_LIMITS["GRANULARITY"]) + ACK_DELAY
    hand.send(b"data", KIND_ORDERED)
    seconds, due = pto, hand.now
    for count in range(8):
        due += min(seconds, ACK_LIMITS["PTO_MAX"])
        made = [one for one in hand.at(due + 1e-6) if any(frame.type == ORDERED for frame in one.frames)]
        assert len(made) == (1 if count == 0 else 2), count
        assert made[0].frames[0].bytes == b"data"
        assert hand.end.pto_count == count + 1
        seconds *= 2
    hand.give(ack={hand.end.next_number - 1})
    assert hand.end.pto_count == 0
    assert hand.end.unit_count == 0


def test_pto_allows_for_how_long_the_other_side_waits() -> None:
    """One with a tick acknowledges later than it means to; that is no reason to ask."""
    hand = Hand()
    settle(hand, 0.05)
    held = hand.end.held
    assert held == pytest.approx(0.0)
    for wait in (0.03, 0.002, 0.3):
        (first,) = hand.send(b"data")
        hand.now += wait
        (second,) = hand.send(b"data")
        hand.now += 0.05
        hand.give(ack={first.number, second.number})
        held = min(ACK_LIMITS["ACK_DELAY_MAX"], max(held * (1 - 1 / MEMORY), wait))
        assert hand.end.held == pytest.approx(held)
    hand.now += 0.001
    hand.send(b"data")
    pto = hand.end.srtt + max(4 * hand.end.rttvar, ACK_LIMITS["GRANULARITY"]) + max(ACK_DELAY, held)
    assert hand.end.next_timer() == pytest.approx(hand.now + pto)


def test_pto_before_a_sample() -> None:
    hand = Hand()
    hand.send(b"data")
    assert hand.end.next_timer() == pytest.approx(ACK_LIMITS["PTO_FIRST"] + ACK_DELAY)
    hand = Hand()
    hand.send(b"data", KIND_UNRELIABLE)
    assert hand.end.next_timer() == pytest.approx(ACK_LIMITS["PTO_FIRST"] + LAZY_ACK_DELAY)
    (ping,) = hand.at(0.35)
    assert ping.frames == [Frame(PING)]


def test_who_sends_all_the_time_asks_too() -> None:
    """The pto counts from the first that is under way, not from the last."""
    hand = Hand()
    settle(hand, 0.04)
    begin = hand.now
    while hand.end.pto_count < 2:
        hand.send(b"data")
        hand.at(hand.now + 0.01)
        assert hand.now < begin + 1
    assert hand.end.pto_count == 2


def test_a_malformed_datagram_is_dropped() -> None:
    hand = Hand()
    whole = datagram(0, SOON)
    for size in range(15):
        assert not hand.end.receive_datagram(whole[:size], 0.0)
    assert not hand.end.receive_datagram(whole + bytes(1472), 0.0)
    assert not hand.end.receive_datagram(raw(0, b"\0\1", b"someelse"), 0.0)
    assert hand.end.ended is None
    assert hand.end.receive_datagram(whole, 0.0)

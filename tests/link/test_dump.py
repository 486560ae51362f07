"""A link as bytes: what goes on exactly, what goes on carefully, what is refused. The format: gsrt/_linkdump.pyx."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE, LINK_LIMITS, Cipher, LinkEndpoint
from gsrt._links import Carrier, Links
from tests.link.fuzz.dumps import ADDRESS, DumpFuzz, as_leg, dumps_of
from tests.link.pair import CONNECTION, KEYS, Pair
from tests.link.wire import (
    BEGIN,
    CHALLENGE,
    MORE,
    ORDERED,
    SEQUENCED,
    UNORDERED,
    UNRELIABLE,
    Datagram,
    Frame,
    Hand,
    datagram,
)

FRAGMENT = int(LINK_LIMITS["FRAGMENT_BYTES"])
LONGEST = int(LINK_LIMITS["MESSAGE_BYTES_MAX"])
LEFT_OUT = 65_536  # numbers, at least
HANDED_OVER = -2
FUZZED = 10_000


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def hand_over(hand: Hand) -> None:
    hand.end = LinkEndpoint.restore(hand.end.dump(), hand.now)


def lasting(dump: bytes) -> bytes:
    """A dump without what is another one after a restore: the next number, and when the link was certainly alive."""
    at = 16 if dump[15] == 0 else 16 + 64
    at += 16  # the terms
    return dump[:at] + dump[at + 16 :]


def frames(sent: list[Datagram]) -> list[tuple[int, int, bytes]]:
    """(type, sequence, bytes) of the messages in them."""
    return [(each.type, each.sequence, each.bytes) for made in sent for each in made.frames if each.type >= 0x80]


# ---- the same again


@given(st.integers(0, 2**32), st.booleans())
def test_what_was_restored_is_dumped_as_the_same(seed: int, encrypted: bool) -> None:
    for now, dump in dumps_of(seed, encrypted):
        again = LinkEndpoint.restore(dump, now).dump()
        assert lasting(again) == lasting(dump)
        assert lasting(LinkEndpoint.restore(again, now + 100).dump()) == lasting(dump)


def test_a_dump_is_no_longer_than_what_is_in_it() -> None:
    pair = Pair("delay=20ms", encrypted=True)
    pair.run(5.0)
    assert len(pair.ends[1].dump()) < 600
    pair = Pair("delay=20ms", encrypted=True)
    pair.send(1, content(LONGEST), KIND_ORDERED)
    assert len(pair.ends[1].dump()) < LONGEST * 1.02


def test_who_it_is_and_what_is_known_of_the_path_stay() -> None:
    pair = Pair("delay=20ms jitter=5ms loss=3%", encrypted=True)
    for number in range(200):
        pair.send(1, b"x" * 200, KIND_ORDERED, number % 7)
        pair.run(0.05 * (number + 1))
    pair.run(20.0)
    before = pair.ends[1]
    known, counts = before.quality(), before.counts()
    assert known["datagram_bytes"] == 1472
    assert known["loss"] > 0
    pair.hand_over(1)
    after = pair.ends[1]
    assert after is not before
    assert after.quality() == known
    assert after.connection == before.connection == CONNECTION
    assert not after.is_client
    assert {name: after.counts()[name] - n for name, n in counts.items() if name.endswith("_in")} == {
        "link_datagrams_in": 0,
        "link_bytes_in": 0,
    }


def test_the_other_side_has_its_whole_time_to_be_heard_again() -> None:
    hand = Hand()
    hand.give(Frame(ORDERED, bytes=b"a"))
    dump = hand.end.dump()
    end = LinkEndpoint.restore(dump, 60.0)
    end.handle_timer(74.9)
    assert end.ended is None
    end.datagrams_to_send(74.9)
    end.handle_timer(75.1)
    assert end.ended is not None


# ---- what was dumped is at its end


def test_a_dumped_endpoint_does_nothing_any_more() -> None:
    hand = Hand()
    hand.send(b"a")
    hand.end.send(b"b", KIND_ORDERED, 0, hand.now)
    hand.end.dump()
    assert hand.end.ended is not None
    assert hand.end.ended[0] == HANDED_OVER
    assert not hand.give(Frame(ORDERED, bytes=b"c"))
    assert hand.take() == []
    assert hand.at(100.0) == []
    assert not hand.end.send(b"d", KIND_ORDERED, 0, hand.now)
    assert hand.heard() == []
    assert (hand.end.unit_count, hand.end.waiting_bytes, hand.end.pending_bytes) == (0, 0, 0)
    with pytest.raises(ValueError, match="closed"):
        hand.end.dump()


def test_a_closed_endpoint_is_not_dumped() -> None:
    hand = Hand()
    hand.end.close(0, "enough", hand.now)
    with pytest.raises(ValueError, match="closed"):
        hand.end.dump()
    assert len(hand.take()) == 3


# ---- numbers


def test_numbers_go_on_far_above() -> None:
    hand = Hand()
    last = hand.send(b"a")[-1].number
    for _ in range(3):
        hand_over(hand)
        sent = hand.take()
        assert sent[0].number >= last + LEFT_OUT
        last = sent[-1].number


@pytest.mark.parametrize("seconds", [0.0, 1.5, 14.0])
def test_one_dump_that_is_restored_again_later_has_no_number_twice(seconds: float) -> None:
    """It is not to be done: both would speak for one link. But they do not give the keys away."""
    hand = Hand()
    hand.send(b"a")
    dump = hand.end.dump()
    first, second = LinkEndpoint.restore(dump, hand.now), LinkEndpoint.restore(dump, hand.now + seconds + 0.001)
    numbers = set()
    for _ in range(1000):
        first.send(b"x", KIND_UNRELIABLE, 0, hand.now + seconds)
        numbers |= {made[10:14] for made in first.datagrams_to_send(hand.now + seconds)}
    assert not numbers & {made[10:14] for made in second.datagrams_to_send(hand.now + seconds + 0.001)}


def test_replays_are_refused_and_what_is_late_is_taken() -> None:
    hand = Hand(number=10)
    old = datagram(10, Frame(UNRELIABLE, bytes=b"a"))
    assert hand.give(Frame(UNRELIABLE, bytes=b"a"))
    hand.number = 13
    assert hand.give(Frame(UNRELIABLE, bytes=b"b"))
    hand.heard()
    hand_over(hand)
    assert not hand.end.receive_datagram(old, hand.now)
    assert hand.end.counts()["link_replayed"] == 1
    hand.number = 12
    assert hand.give(Frame(UNRELIABLE, bytes=b"c"))
    assert hand.heard() == [(KIND_UNRELIABLE, 0, b"c")]
    hand_over(hand)
    hand.number = 12
    assert not hand.give(Frame(UNRELIABLE, bytes=b"c"))
    assert hand.heard() == []


# ---- acknowledgements


def test_what_has_come_is_acknowledged_at_once() -> None:
    hand = Hand()
    for number in (0, 2, 3, 9):
        hand.number = number
        hand.give(Frame(UNRELIABLE, bytes=b"a"))
    hand_over(hand)
    (said,) = hand.take()
    assert said.ack is not None
    assert said.ack.numbers() == {0, 2, 3, 9}
    assert said.frames == []
    assert hand.take() == []


def test_what_the_other_side_knows_to_have_arrived_is_not_repeated() -> None:
    hand = Hand()
    for _ in range(5):
        hand.give(Frame(ORDERED, sequence=hand.number, bytes=b"a"))
    (said,) = hand.send(b"b")
    hand.give(ack={said.number})
    hand_over(hand)
    (said,) = hand.take()
    assert said.ack is not None
    assert said.ack.numbers() == {5}


def test_acknowledgements_of_before_change_nothing() -> None:
    hand = Hand()
    before = hand.send(b"a", KIND_ORDERED)[0].number
    hand_over(hand)
    (again,) = hand.take()
    assert frames([again]) == [(ORDERED, 0, b"a")]
    assert hand.give(ack={before})
    assert hand.end.unit_count == 1
    assert hand.end.ended is None
    assert hand.give(ack={again.number})
    assert hand.end.unit_count == 0
    assert not hand.end.quality()["loss"]


def test_what_comes_twice_is_handed_on_once() -> None:
    """The first copy arrives after the second, or its acknowledgement after the dump."""
    pair = Pair("delay=50ms", keep=True, encrypted=True)
    pair.send(1, b"a", KIND_ORDERED, 3)
    pair.send(1, b"b", KIND_UNORDERED)
    pair.send(1, content(5000), KIND_UNORDERED)
    pair.run(0.07)  # there, but not known here
    for _ in range(3):
        pair.hand_over(1)
        pair.run(pair.now + 0.02)
    pair.run(2.0)
    said = [(KIND_ORDERED, 3, b"a"), (KIND_UNORDERED, 0, b"b"), (KIND_UNORDERED, 0, content(5000))]
    assert sorted(pair.heard[0]) == sorted(said)
    assert pair.ends[0].counts()["link_duplicates"] > 0
    assert pair.is_quiet


# ---- what has come


def test_kept_frames_are_there_with_their_bytes() -> None:
    hand = Hand()
    for sequence in (1, 2, 4):
        assert hand.give(Frame(ORDERED, 5, sequence, bytes=bytes((sequence,))))
    kept = hand.end.pending_bytes
    assert kept > 0
    hand_over(hand)
    assert hand.end.pending_bytes == kept
    assert hand.give(Frame(ORDERED, 5, 2, bytes=b"again"))
    hand.give(Frame(ORDERED, 5, 0, bytes=b"\0"))
    assert hand.heard() == [(KIND_ORDERED, 5, bytes((sequence,))) for sequence in (0, 1, 2)]
    hand.give(Frame(ORDERED, 5, 3, bytes=b"\3"))
    assert hand.heard() == [(KIND_ORDERED, 5, b"\3"), (KIND_ORDERED, 5, b"\4")]
    assert hand.end.pending_bytes == 0


@pytest.mark.parametrize("kind", [ORDERED, UNORDERED])
@pytest.mark.parametrize("first", [0, 65_530])
def test_a_message_goes_on_from_any_piece(kind: int, first: int) -> None:
    hand = Hand()
    for _ in range(first // 400):  # so that sequences come round
        for _ in range(400):
            hand.give(Frame(kind, sequence=hand.number, bytes=b"x"))
        hand.heard()
    while hand.number < first:
        hand.give(Frame(kind, sequence=hand.number, bytes=b"x"))
    hand.heard()
    message = content(9 * FRAGMENT + 7)
    pieces = [message[at : at + FRAGMENT] for at in range(0, len(message), FRAGMENT)]
    order = list(range(len(pieces)))
    if kind == UNORDERED:
        random.Random(3).shuffle(order)
    for index in order:
        assert hand.heard() == []
        total = 0 if index else len(message)
        type_ = kind | (MORE if index else BEGIN)
        assert hand.give(Frame(type_, 0, (first + index) & 0xFFFF, total, pieces[index]))
        heard = hand.heard()
        hand_over(hand)
    assert heard == [(kind & 3, 0, message)]
    assert hand.end.pending_bytes == 0
    assert hand.end.ended is None


def test_a_full_window_of_what_is_kept() -> None:
    hand = Hand(receive_bytes=65_536)
    sequence = 1
    while hand.give(Frame(ORDERED, 0, sequence, bytes=b"x" * 1000)):
        sequence += 1
    refused = hand.number - 1
    hand_over(hand)
    hand.number = refused
    assert not hand.give(Frame(ORDERED, 0, sequence, bytes=b"x" * 1000))
    assert hand.end.counts()["link_replayed"] == 1
    assert not hand.give(Frame(ORDERED, 0, sequence, bytes=b"x" * 1000))
    assert hand.end.counts()["link_not_taken"] == 2
    hand_over(hand)
    assert hand.give(Frame(ORDERED, 0, 0, bytes=b"x" * 1000))
    assert len(hand.heard()) == sequence
    assert hand.give(Frame(ORDERED, 0, sequence, bytes=b"y"))
    assert hand.heard() == [(KIND_ORDERED, 0, b"y")]


def test_what_is_stale_stays_stale() -> None:
    hand = Hand()
    for stream, sequence in ((2, 7), (3, 65_535)):
        hand.give(Frame(SEQUENCED, stream, sequence, bytes=b"new"))
    hand.heard()
    hand_over(hand)
    hand.give(Frame(SEQUENCED, 2, 6, bytes=b"old"))
    hand.give(Frame(SEQUENCED, 3, 65_535, bytes=b"old"))
    assert hand.heard() == []
    assert hand.end.counts()["link_stale"] == 2
    hand.give(Frame(SEQUENCED, 2, 8, bytes=b"newer"))
    hand.give(Frame(SEQUENCED, 3, 0, bytes=b"newer"))
    assert len(hand.heard()) == 2


def test_messages_that_were_not_fetched_are_not_lost() -> None:
    hand = Hand()
    hand.give(Frame(ORDERED, bytes=b"a"), Frame(UNRELIABLE, bytes=b"b"))
    old = hand.end
    hand_over(hand)
    assert old.next_message() is None
    assert hand.heard() == [(KIND_ORDERED, 0, b"a"), (KIND_UNRELIABLE, 0, b"b")]


# ---- what is to be sent


def test_only_what_is_not_acknowledged_goes_out_again_the_oldest_first() -> None:
    hand = Hand()
    sent = [hand.send(bytes((number,)), KIND_ORDERED, 16 * (number % 3))[0].number for number in range(9)]
    hand.give(ack={sent[0], sent[3], sent[4], sent[8]})
    hand_over(hand)
    assert frames(hand.take()) == [(ORDERED, number // 3, bytes((number,))) for number in (1, 2, 5, 6, 7)]
    assert hand.end.counts()["link_resent"] == 5


def test_sequences_go_on() -> None:
    hand = Hand()
    for kind in (KIND_ORDERED, KIND_UNORDERED, KIND_SEQUENCED):
        hand.send(b"a", kind)
    hand_over(hand)
    hand.take()
    for kind in (KIND_ORDERED, KIND_UNORDERED, KIND_SEQUENCED):
        (said,) = hand.send(b"b", kind)
        assert frames([said]) == [(0x80 | kind, 1, b"b")]


def test_what_was_under_way_halves_the_window_and_rest_does_not() -> None:
    hand = Hand()
    before = hand.end.congestion_window
    hand_over(hand)
    assert hand.end.congestion_window == before
    hand.send(b"a")
    for _ in range(2):
        hand_over(hand)
        assert hand.end.congestion_window == before // 2


def test_a_message_whose_beginning_is_acknowledged() -> None:
    hand = Hand(peer_receive_bytes=65_536)
    message = content(60_000)
    assert hand.end.send(message, KIND_ORDERED, 0, hand.now)
    assert hand.end.send(b"x" * 9_000, KIND_ORDERED, 16, hand.now)
    first = hand.take()
    hand.give(ack={first[0].number, first[2].number})
    assert hand.end.flown_bytes == 60_000
    got = {sequence: data for type_, sequence, data in frames([first[0], first[2]])}
    for _ in range(3):
        hand_over(hand)
        assert hand.end.flown_bytes == 60_000
    for _ in range(200):
        made = hand.at(hand.now + 0.05)
        made += hand.take()
        if made:
            hand.give(ack={each.number for each in made})
        for each in made:
            got |= {frame.sequence: frame.bytes for frame in each.frames if frame.type >= 0x80 and frame.stream == 0}
    assert b"".join(got[number] for number in sorted(got)) == message
    assert (hand.end.unit_count, hand.end.flown_bytes, hand.end.waiting_bytes) == (0, 0, 0)


@pytest.mark.parametrize("kind", [KIND_ORDERED, KIND_UNORDERED])
@pytest.mark.parametrize("encrypted", [False, True])
def test_dumps_in_the_middle_of_the_longest_message(kind: int, encrypted: bool) -> None:
    pair = Pair("delay=30ms loss=5% rate=8mbit", encrypted=encrypted)
    pair.send(1, content(LONGEST), kind)
    pair.send(0, content(LONGEST - 1), kind)
    most = [0, 0]
    for turn in range(40):
        pair.run(pair.now + 0.12)
        most[turn % 2] = max(most[turn % 2], pair.ends[turn % 2].pending_bytes)
        pair.hand_over(turn % 2, 0.03 * (turn % 3))
    pair.run(pair.now + 10)
    assert pair.heard == ([(kind, 0, content(LONGEST))], [(kind, 0, content(LONGEST - 1))])
    assert min(most) > LONGEST // 2
    assert pair.is_quiet
    assert [end.pending_bytes for end in pair.ends] == [0, 0]


def test_dumps_while_nothing_gets_through() -> None:
    pair = Pair("delay=20ms blackout=6s/10s", encrypted=True)
    for number in range(300):
        pair.run(0.1 * (number + 1))
        for which in (0, 1):
            if not pair.is_away(which):
                pair.send(which, number.to_bytes(2, "little"), KIND_ORDERED, number % 4)
        if number % 7 == 0:
            pair.hand_over(number // 7 % 2, (number % 4) * 0.4)
    pair.run(60.0)
    for heard in pair.heard:
        for channel in range(4):
            numbers = [packet for _, stream, packet in heard if stream == channel]
            assert numbers == sorted(numbers, key=lambda packet: int.from_bytes(packet, "little"))
            assert len(set(numbers)) == len(numbers)
    assert pair.is_quiet


def test_what_is_dropped() -> None:
    """Unreliable messages that wait, and an answer to a challenge: the other side asks again."""
    hand = Hand(is_client=True)
    hand.end.send(b"loose", KIND_UNRELIABLE, 0, hand.now)
    hand.give(Frame(CHALLENGE, bytes=b"01234567"))
    hand_over(hand)
    (said,) = hand.take()
    assert said.frames == []


# ---- what is refused


def some_dumps() -> list[bytes]:
    return [dump for seed in range(6) for _, dump in dumps_of(seed, seed % 2 == 1)]


def test_another_version_is_refused_by_its_number() -> None:
    dump = bytearray(Hand().end.dump())
    dump[4] = 2
    with pytest.raises(ValueError, match="version 2"):
        LinkEndpoint.restore(bytes(dump), 0.0)


def test_what_is_cut_or_longer_is_refused() -> None:
    for dump in some_dumps():
        ends = range(len(dump)) if len(dump) < 3_000 else [*range(700), *range(700, len(dump), 97)]
        for end in ends:
            with pytest.raises(ValueError, match="damaged"):
                LinkEndpoint.restore(dump[:end], 200.0)
        with pytest.raises(ValueError, match="longer"):
            LinkEndpoint.restore(dump + b"\0", 200.0)


def test_a_dump_of_long_ago_is_refused() -> None:
    hand = Hand()
    dump = hand.end.dump()
    assert LinkEndpoint.restore(dump, 600.0).ended is None
    with pytest.raises(ValueError, match="no more"):
        LinkEndpoint.restore(dump, 601.0)


def test_no_dump_at_all() -> None:
    for dump in (b"", b"gsrl", b"\0" * 1000, random.Random(1).randbytes(1000)):
        with pytest.raises(ValueError, match="damaged"):
            LinkEndpoint.restore(dump, 0.0)


def test_a_dump_of_another_kind_is_refused() -> None:
    links = Links(Carrier(), random.Random(1).randbytes, 1 << 20)
    dump = Hand().end.dump()
    with pytest.raises(ValueError, match="damaged"):
        links.restore_leg(dump, 0.0)
    with pytest.raises(ValueError, match="damaged"):
        LinkEndpoint.restore(as_leg(dump), 0.0)
    assert links.count == 0


@given(st.data())
def test_damaged_bytes_do_no_harm(data: st.DataObject) -> None:
    dump = bytearray(data.draw(st.sampled_from(SOME_DUMPS)))
    for _ in range(data.draw(st.integers(1, 4))):
        dump[data.draw(st.integers(0, len(dump) - 1))] = data.draw(st.integers(0, 255))
    try:
        end = LinkEndpoint.restore(bytes(dump), 50.0)
    except ValueError:
        return
    end.datagrams_to_send(50.0)
    assert end.dump()


def test_many_damaged_dumps_do_no_harm() -> None:
    fuzz = DumpFuzz(1)
    fuzz.run(FUZZED)
    assert fuzz.refused > FUZZED // 20
    assert fuzz.restored > FUZZED // 20


# ---- legs without a server


def test_legs_take_their_places() -> None:
    """A place is the first two bytes of the connection id; those between stay free."""
    links = Links(Carrier(), random.Random(1).randbytes, 1 << 20)
    here = {}
    for slot in (7, 0, 300, 2):
        end = LinkEndpoint(Cipher(), slot.to_bytes(2, "little") + b"abcdef", 0.0, is_client=False)
        leg = links.restore_leg(as_leg(end.dump()), 1.0)
        assert leg.connection[:2] == slot.to_bytes(2, "little")
        assert leg.established
        assert leg.peer_name == "10.1.2.3:4567"
        here[slot] = leg
    assert links.count == 4
    end = LinkEndpoint(Cipher(), b"\7\0others", 0.0, is_client=False)
    with pytest.raises(ValueError, match="taken"):
        links.restore_leg(as_leg(end.dump()), 1.0)
    terms = {"receive_bytes": 65_536, "message_bytes": 1_100, "peer_receive_bytes": 65_536, "peer_message_bytes": 1_100}
    for _ in range(400):
        opened = links.open(bytes(16), Cipher(), 1.0, **terms)
        assert opened is not None
        place = int.from_bytes(opened.connection[:2], "little")
        assert place not in here
        here[place] = opened
    assert len(here) == 404
    assert sorted(here) == list(range(404))


def test_a_leg_that_is_dumped_leaves_its_place() -> None:
    links = Links(Carrier(), random.Random(1).randbytes, 1 << 20)
    dump = as_leg(LinkEndpoint(Cipher(), CONNECTION, 0.0, is_client=False).dump())
    leg = links.restore_leg(dump, 1.0)
    again = links.dump_leg(leg)
    assert lasting(again) == lasting(dump)
    assert links.count == 0
    assert leg.closed
    with pytest.raises(ValueError, match="closed"):
        links.dump_leg(leg)
    links.restore_leg(again, 2.0)
    assert links.count == 1


def test_a_leg_is_established_as_before_and_that_of_elsewhere_is_not_dumped() -> None:
    links, others = (Links(Carrier(), random.Random(1).randbytes, 1 << 20) for _ in range(2))
    terms = {"receive_bytes": 65_536, "message_bytes": 1_100, "peer_receive_bytes": 65_536, "peer_message_bytes": 1_100}
    leg = links.open(ADDRESS, Cipher(), 1.0, **terms)
    assert leg is not None
    leg = links.restore_leg(links.dump_leg(leg), 1.0)
    assert (leg.established, links.count) == (False, 1)
    assert not leg.closed and links.earliest <= 1.0  # its time is looked at
    leg = links.restore_leg(as_leg(LinkEndpoint(Cipher(), CONNECTION, 0.0, is_client=False).dump()), 1.0)
    with pytest.raises(ValueError, match="of these links"):
        others.dump_leg(leg)
    assert links.count == 2


def test_keys_are_kept() -> None:
    pair = Pair(encrypted=True)
    assert KEYS[1] + KEYS[0] in pair.ends[1].dump()


SOME_DUMPS = some_dumps()

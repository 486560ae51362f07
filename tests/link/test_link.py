"""One connection: messages and their frames, windows, congestion, the path, closing, and peers that break the contract.
docs/LINK.md, sections 2 and 5 to 8."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._core import ACK_LIMITS
from gsrt._link import (
    KIND_ORDERED,
    KIND_SEQUENCED,
    KIND_UNORDERED,
    KIND_UNRELIABLE,
    LINK_LIMITS,
    Cipher,
    LinkEndpoint,
)
from tests.link.pair import CONNECTION, Pair
from tests.link.wire import (
    BEGIN,
    CHALLENGE,
    CLOSE,
    MORE,
    ORDERED,
    PADDING,
    PING,
    RESPONSE,
    SEQUENCED,
    UNORDERED,
    UNRELIABLE,
    Frame,
    Hand,
    datagram,
    raw,
    write,
)

FRAGMENT = int(LINK_LIMITS["FRAGMENT_BYTES"])
LONGEST = int(LINK_LIMITS["MESSAGE_BYTES_MAX"])
RECEIVE = int(LINK_LIMITS["RECEIVE_BYTES"])
WINDOW = int(LINK_LIMITS["SEQUENCE_WINDOW"])
LEAST_WINDOW = int(LINK_LIMITS["MIN_WINDOW"]) * 1200
PROTOCOL = 1
UNITS_MAX = 16_384


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# ---- messages


@pytest.mark.parametrize("kind", [KIND_ORDERED, KIND_UNORDERED])
@pytest.mark.parametrize("size", [1, FRAGMENT - 1, FRAGMENT, FRAGMENT + 1, 2 * FRAGMENT, 2 * FRAGMENT + 1, LONGEST])
@pytest.mark.parametrize("conditions", ["delay=10ms", "delay=10ms jitter=40ms jitter_reorders=yes loss=10%"])
def test_messages_of_every_length(kind: int, size: int, conditions: str) -> None:
    pair = Pair(conditions)
    packet = content(size)
    assert pair.send(0, packet, kind)
    assert pair.send(0, b"next", kind)
    while pair.step(120.0) and not pair.is_quiet:
        assert pair.ends[1].pending_bytes <= 2 * RECEIVE
    assert sorted(pair.heard[1]) == sorted([(kind, 0, packet), (kind, 0, b"next")])
    assert pair.ends[1].pending_bytes == 0


def test_a_message_is_cut_into_pieces() -> None:
    hand = Hand()
    packet = content(2 * FRAGMENT + 5)
    pieces = [frame for made in hand.send(packet, KIND_ORDERED, 3) for frame in made.frames]
    assert pieces == [
        Frame(ORDERED | BEGIN, 3, 0, len(packet), packet[:FRAGMENT]),
        Frame(ORDERED | MORE, 3, 1, 0, packet[FRAGMENT : 2 * FRAGMENT]),
        Frame(ORDERED | MORE, 3, 2, 0, packet[2 * FRAGMENT :]),
    ]


def test_what_is_not_sent() -> None:
    end = LinkEndpoint(Cipher(), CONNECTION, 0.0, is_client=True, peer_message_bytes=5000, peer_receive_bytes=65536)
    assert not end.send(b"", KIND_ORDERED, 0, 0.0)
    assert not end.send(bytes(5001), KIND_ORDERED, 0, 0.0)
    assert end.send(bytes(5000), KIND_ORDERED, 0, 0.0)
    for kind, stream in ((4, 0), (-1, 0), (KIND_ORDERED, 16), (KIND_SEQUENCED, 16), (KIND_UNORDERED, 1)):
        with pytest.raises(ValueError, match="no stream"):
            end.send(b"x", kind, stream, 0.0)
    small = LinkEndpoint(Cipher(), CONNECTION, 0.0, is_client=True, peer_receive_bytes=65536)
    assert not small.send(bytes(65537), KIND_ORDERED, 0, 0.0)
    for terms in ({"receive_bytes": 65535}, {"peer_message_bytes": 1099}, {"message_bytes": LONGEST + 1}):
        with pytest.raises(ValueError, match="terms"):
            LinkEndpoint(Cipher(), CONNECTION, 0.0, is_client=True, **terms)
    with pytest.raises(ValueError, match="8 bytes"):
        LinkEndpoint(Cipher(), b"short", 0.0, is_client=True)


def test_no_more_frames_wait_than_may() -> None:
    hand = Hand()
    accepted = 0
    while hand.end.send(b"x", KIND_ORDERED, accepted % 16, 0.0):
        accepted += 1
    assert accepted == UNITS_MAX
    assert not hand.end.send(b"x", KIND_UNORDERED, 0, 0.0)
    assert hand.end.unit_count == UNITS_MAX


def test_an_unreliable_message_that_does_not_fit_is_sent_unordered() -> None:
    hand = Hand()
    (made,) = hand.send(content(1000), KIND_UNRELIABLE)
    assert [frame.type for frame in made.frames] == [UNRELIABLE]
    pieces = hand.send(content(1190), KIND_SEQUENCED, 5)
    assert [frame[:3] for one in pieces for frame in one.frames] == [
        (UNORDERED | BEGIN, 0, 0),
        (UNORDERED | MORE, 0, 1),
    ]


@pytest.mark.parametrize("kind", [KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED])
def test_sequences_wrap(kind: int) -> None:
    """More messages in one stream than 16 bits count."""
    pair = Pair("delay=5ms", seed=3)
    for number in range(70_000):
        assert pair.send(0, number.to_bytes(4, "little"), kind, 0, flush=number % 40 == 39)
        if number % 40 == 39:
            pair.run(pair.now + 0.011)
    pair.run(pair.now + 1)
    assert [int.from_bytes(packet, "little") for _, _, packet in pair.heard[1]] == list(range(70_000))
    assert pair.is_quiet


@pytest.mark.parametrize("first", [0, 65_000])
def test_sequenced_never_goes_back(first: int) -> None:
    hand = Hand()
    order = list(range(first, first + 1000))
    random.Random(1).shuffle(order)
    latest = -1
    hand.give(Frame(SEQUENCED, 2, (first - 1) & 0xFFFF, 0, b"x"))
    hand.heard()
    for number in order:
        hand.give(Frame(SEQUENCED, 2, number & 0xFFFF, 0, number.to_bytes(4, "little")))
        heard = hand.heard()
        assert len(heard) == (number > latest)
        latest = max(latest, number)
    assert hand.end.counts()["link_stale"] > 0


@given(st.permutations(range(12)), st.sampled_from((0, 250, 510)), st.booleans())
def test_reliable_frames_in_any_order(order: list[int], first: int, is_ordered: bool) -> None:
    """Once each, whatever the order, doubled; ordered ones in turn."""
    give_in_order(order, first, is_ordered)


@pytest.mark.parametrize("is_ordered", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_reliable_frames_in_any_order_where_sequences_wrap(seed: int, is_ordered: bool) -> None:
    give_in_order(random.Random(seed).sample(range(12), 12), 65530, is_ordered)


def give_in_order(order: list[int], first: int, is_ordered: bool) -> None:
    """Frames with sequences from `first` on come in this order."""
    hand = Hand()
    kind = ORDERED if is_ordered else UNORDERED
    for begin in range(0, first, 150):  # to where the sequence begins
        before = (Frame(kind, 0, number, 0, b"x") for number in range(begin, min(begin + 150, first)))
        assert hand.give_body(b"\0" + b"".join(map(write, before)))
    assert len(hand.heard()) == first
    for number in order:
        for _ in range(2):
            assert hand.give(Frame(kind, 0, first + number & 0xFFFF, 0, bytes((number,))))
    heard = [packet[0] for _, _, packet in hand.heard()]
    assert heard == (list(range(12)) if is_ordered else list(order))
    assert hand.end.pending_bytes == 0


# ---- windows


def test_no_more_than_a_window_of_sequences_is_under_way() -> None:
    hand = Hand()
    for number in range(2 * WINDOW):
        assert hand.end.send(b"%4d" % number, KIND_ORDERED, 1, 0.0)
    made = hand.take()
    # The congestion window is wider than these frames are long.
    assert [frame.sequence for one in made for frame in one.frames] == list(range(WINDOW))
    assert hand.end.send(b"other", KIND_ORDERED, 2, 0.0)
    assert [frame.stream for one in hand.take() for frame in one.frames] == [2]  # streams do not wait for each other
    hand.now = 0.1
    hand.give(ack={one.number for one in made[1:]})
    held = [frame for one in hand.take() for frame in one.frames if frame.sequence >= WINDOW]
    assert held == []  # the oldest is not acknowledged
    hand.give(ack={made[0].number})
    assert [frame.sequence for one in hand.take() for frame in one.frames][-1] > WINDOW


def test_no_more_bytes_are_under_way_than_the_other_side_takes() -> None:
    small = LinkEndpoint(Cipher(), CONNECTION, 0.0, is_client=True, peer_receive_bytes=65536)
    for _ in range(3):
        assert small.send(bytes(40_000), KIND_ORDERED, 0, 0.0)
    assert small.flown_bytes == 0
    now, number = 0.0, 0
    for _ in range(400):
        made = small.datagrams_to_send(now)
        assert small.flown_bytes <= 65536
        for one in made:
            now += 0.001
            acked = int.from_bytes(one[10:14], "little")
            small.receive_datagram(raw(number, b"\1" + acked.to_bytes(4, "little") + b"\0\0"), now)
            number += 1
        now += 0.01
        if small.next_timer() <= now:
            small.handle_timer(now)
    assert small.unit_count == 0 and small.flown_bytes == 0


def test_a_long_message_holds_up_its_own_stream_only() -> None:
    pair = Pair("delay=30ms rate=1mbit")
    for stream in (1, 2):
        assert pair.send(0, content(LONGEST), KIND_ORDERED, stream)
    pair.run(0.5)
    begin = pair.now
    assert pair.send(0, b"small", KIND_ORDERED, 3)
    while not any(stream == 3 for _, stream, _ in pair.heard[1]):
        assert pair.step(60.0)
    assert pair.now - begin < 0.7  # the queue in the network holds half a second
    pair.run(60.0)
    assert sorted(stream for _, stream, _ in pair.heard[1]) == [1, 2, 3]


def test_reliable_messages_do_not_starve_beside_unreliable_ones() -> None:
    """More unreliable messages than ever get through."""
    pair = Pair("delay=20ms rate=256kbit queue=8kB")
    for number in range(20):
        assert pair.send(0, b"reliable %d" % number, KIND_ORDERED)
    while pair.now < 10.0:
        for _ in range(20):
            pair.send(0, content(1000), KIND_UNRELIABLE, flush=False)
        pair.flush(0)
        pair.run(pair.now + 0.02)
    reliable = [packet for kind, _, packet in pair.heard[1] if kind == KIND_ORDERED]
    assert reliable == [b"reliable %d" % number for number in range(20)]
    assert pair.ends[0].counts()["link_congested"] > 1000


# ---- peers that break the contract


def broken(body: bytes, *before: Frame, is_client: bool = False) -> Hand:
    hand = Hand(is_client=is_client)
    for frame in before:
        assert hand.give(frame)
    assert not hand.give_body(body)
    assert hand.end.ended is not None and hand.end.ended[0] == PROTOCOL, hand.end.ended
    assert hand.end.counts()["link_malformed"] == 1
    goodbye = hand.take()
    assert [one.frames[0].type for one in goodbye] == [CLOSE] * 3
    assert hand.end.pending_bytes == 0
    return hand


@pytest.mark.parametrize("type_", [5, 0x10, 0x7F, 0x84, 0x85, 0x88, 0x89, 0x8C, 0x8F, 0xFF])
def test_no_frame_of_that_type(type_: int) -> None:
    broken(b"\0" + bytes((type_, 0, 0, 0, 4)) + b"data")


WHOLE = [
    Frame(CHALLENGE, bytes=b"12345678"),
    Frame(RESPONSE, bytes=b"12345678"),
    Frame(CLOSE, sequence=3, bytes=b"goodbye"),
    Frame(UNRELIABLE, bytes=b"packet"),
    Frame(SEQUENCED, 15, 65535, 0, b"packet"),
    Frame(ORDERED, 15, 0, 0, b"packet"),
    Frame(UNORDERED, 0, 0, 0, b"packet"),
    Frame(ORDERED | BEGIN, 15, 0, 1101, bytes(FRAGMENT)),
    Frame(UNORDERED | BEGIN, 0, 0, 1101, bytes(FRAGMENT)),
    Frame(ORDERED | MORE, 15, 1, 0, b"x"),
    Frame(UNORDERED | MORE, 0, 1, 0, b"x"),
]


@pytest.mark.parametrize("frame", WHOLE, ids=lambda frame: f"{frame.type:#x}")
def test_a_frame_that_is_cut(frame: Frame) -> None:
    whole = write(frame)
    for size in range(1, len(whole)):
        broken(b"\0" + whole[:size])
    assert Hand().give(frame)


@pytest.mark.parametrize(
    "body",
    [
        write(Frame(ORDERED, 16, 0, 0, b"x")),
        write(Frame(SEQUENCED, 16, 0, 0, b"x")),
        write(Frame(UNORDERED, 1, 0, 0, b"x")),
        write(Frame(ORDERED, 0, WINDOW, 0, b"x")),
        write(Frame(UNORDERED, 0, WINDOW, 0, b"x")),
        write(Frame(ORDERED, 0, 0x7FFF, 0, b"x")),
        b"\x80\0",
        b"\x82\0\0\0\0",
        b"\x82\x80\x80\x80\x80\0\0\0\1x",  # a varint of five bytes
        write(Frame(ORDERED | MORE, 0, 0, 0, b"x")),
        write(Frame(UNORDERED | MORE, 0, 0, 0, b"x")),
        write(Frame(ORDERED | BEGIN, 0, 0, FRAGMENT, bytes(FRAGMENT))),
        write(Frame(UNORDERED | BEGIN, 0, 0, 0, bytes(FRAGMENT))),
        write(Frame(ORDERED | BEGIN, 0, 0, LONGEST + 1, bytes(FRAGMENT))),
        write(Frame(UNORDERED | BEGIN, 0, 1, LONGEST + 1, bytes(FRAGMENT))),
        write(Frame(ORDERED | BEGIN, 0, 0, 5000, bytes(FRAGMENT - 1))),
        write(Frame(UNORDERED | BEGIN, 0, 0, 5000, bytes(FRAGMENT - 1))),
        write(Frame(ORDERED | BEGIN, 0, 0, 5000, bytes(FRAGMENT + 1))),
    ],
)
def test_frames_that_cannot_be(body: bytes) -> None:
    broken(b"\0" + body)


@pytest.mark.parametrize("kind", [ORDERED, UNORDERED])
@pytest.mark.parametrize(
    "wrong",
    [
        (0, 0, b"a message within another"),
        (BEGIN, 5000, bytes(FRAGMENT)),
        (MORE, 0, bytes(FRAGMENT - 1)),
        (MORE, 0, b"x"),
    ],
)
def test_pieces_that_do_not_fit_together(kind: int, wrong: tuple[int, int, bytes]) -> None:
    flags, total, data = wrong
    broken(
        b"\0" + write(Frame(kind | flags, 0, 1, total, data)), Frame(kind | BEGIN, 0, 0, 3 * FRAGMENT, bytes(FRAGMENT))
    )


def test_a_client_has_more_streams() -> None:
    hand = Hand(is_client=True)
    assert hand.give(Frame(ORDERED, 4095, 0, 0, b"x"), Frame(SEQUENCED, 4095, 0, 0, b"x"))
    broken(b"\0" + write(Frame(ORDERED, 4096, 0, 0, b"x")), is_client=True)
    broken(b"\0" + write(Frame(UNORDERED, 1, 0, 0, b"x")), is_client=True)


def test_frames_before_their_turn_are_kept_within_bounds() -> None:
    """What there is no room for is not acknowledged; what the others wait for always has room."""
    hand = Hand(receive_bytes=65536)
    for stream in range(16):
        for sequence in range(1, 60):
            hand.give(Frame(ORDERED, stream, sequence, 0, bytes(FRAGMENT)))
            assert hand.end.pending_bytes <= 65536
    assert hand.end.ended is None
    assert hand.end.counts()["link_not_taken"] > 0
    for stream in range(16):
        for sequence in range(60):
            assert hand.give(Frame(ORDERED, stream, sequence, 0, bytes(FRAGMENT)))
    assert len(hand.heard()) == 16 * 60
    assert hand.end.pending_bytes == 0


def test_messages_that_are_begun_are_bounded() -> None:
    hand = Hand()
    taken = 0
    while hand.give(Frame(ORDERED | BEGIN, taken, 0, LONGEST // 4, bytes(FRAGMENT))):
        taken += 1
    assert taken == RECEIVE // (LONGEST // 4)
    assert hand.end.ended is not None and hand.end.ended[0] == PROTOCOL
    # The same with BEGINs that come before their turn.
    hand = Hand()
    for stream in range(16):
        hand.give(Frame(ORDERED | BEGIN, stream, 1, LONGEST, bytes(FRAGMENT)))
    for stream in range(16):
        hand.give(Frame(ORDERED, stream, 0, 0, b"x"))
    assert hand.end.ended is not None and hand.end.ended[0] == PROTOCOL


def test_unordered_pieces_are_bounded() -> None:
    hand = Hand(receive_bytes=65536)
    sequence = 0
    for _ in range(2000):  # pieces without a beginning, as far as the window reaches
        sequence = sequence % (WINDOW - 2) + 1
        hand.give(Frame(UNORDERED | MORE, 0, sequence, 0, bytes(FRAGMENT)))
        assert hand.end.pending_bytes <= 65536
    assert hand.end.ended is None


frames = st.lists(
    st.builds(
        lambda type_, stream, sequence, total, data: write(
            Frame(type_, stream, sequence, total, data[:8].ljust(8) if type_ in (2, 3) else data)
        ),
        st.sampled_from((1, 2, 3, 0x80, 0x81, 0x82, 0x83, 0x86, 0x87, 0x8A, 0x8B)),
        st.integers(0, 15),
        st.integers(0, 20),
        st.sampled_from((1101, 2200, 3300, LONGEST)),
        st.binary(min_size=1, max_size=20) | st.just(bytes(FRAGMENT)),
    ).filter(lambda written: written[0] != 1 or len(written) == 1),
    max_size=5,
).map(b"".join)


@given(st.lists(st.binary(min_size=1, max_size=60) | st.builds(lambda body: b"\0" + body, frames), max_size=60))
def test_whatever_a_peer_with_keys_sends(bodies: list[bytes]) -> None:
    hand = Hand(receive_bytes=65536)
    hand.end.send(b"data", KIND_ORDERED, 0, 0.0)
    for body in bodies:
        if len(body) > 1458:
            continue
        hand.give_body(body)
        hand.now += 0.05
        hand.end.handle_timer(hand.now)
        for made in hand.end.datagrams_to_send(hand.now):
            assert len(made) <= hand.end.datagram_bytes or len(made) in (1300, 1400, 1452, 1472)
        assert hand.end.pending_bytes <= 2 * 65536
        if hand.end.ended:
            assert hand.end.pending_bytes == 0
            assert not hand.give_body(b"\0\1")


# ---- answers


def test_a_challenge_is_answered_and_a_ping_acknowledged() -> None:
    hand = Hand()
    hand.give(Frame(CHALLENGE, bytes=b"a secret"), Frame(PING))
    (made,) = hand.take()
    assert made.frames == [Frame(RESPONSE, bytes=b"a secret")]
    assert made.ack is not None and made.ack.largest == 0
    assert hand.at(0.9) == []


def test_keep_alive_is_the_clients_and_padded() -> None:
    client, server = Hand(is_client=True), Hand(is_client=False)
    assert server.at(0.9) == []
    client.at(0.99)
    for probe in client.at(1.0):
        client.give(ack={probe.number})
    while client.end.datagram_bytes < 1472:
        for probe in client.take() + client.at(client.now + 0.05):
            client.give(ack={probe.number})
    quiet_since = client.now
    made = client.at(quiet_since + LINK_LIMITS["KEEPALIVE_SECONDS"] + 0.01)
    assert [one.frames for one in made] == [[Frame(PING)]]
    assert made[0].size == LINK_LIMITS["PING_BYTES"]


def test_silence_ends_a_connection() -> None:
    hand = Hand(now=3.0)
    hand.now = 4.0
    hand.give(Frame(PING))
    hand.at(4.0 + LINK_LIMITS["IDLE_SECONDS"] - 0.001)
    assert hand.end.ended is None
    assert hand.at(4.0 + LINK_LIMITS["IDLE_SECONDS"]) == []
    assert hand.end.ended is not None and hand.end.ended[0] == -1
    assert hand.end.next_timer() == float("inf")
    assert not hand.end.send(b"data", KIND_ORDERED, 0, 20.0)


@pytest.mark.parametrize("which", [0, 1])
def test_closing(which: int) -> None:
    pair = Pair("delay=10ms", keep=True)
    pair.send(which, b"data", KIND_ORDERED)
    pair.run(0.1)
    pair.ends[which].close(3, "out of the session", pair.now)
    pair.flush(which)
    assert len(pair.sent[which]) >= 3
    pair.run(1.0)
    assert [end.ended for end in pair.ends] == [(3, "out of the session")] * 2
    sent = len(pair.sent[0]) + len(pair.sent[1])
    pair.run(60.0)
    assert len(pair.sent[0]) + len(pair.sent[1]) == sent


def test_a_long_goodbye_is_cut_between_characters() -> None:
    hand = Hand()
    hand.end.close(0, "é" * 300 + "\ud800", 0.0)
    made = hand.take()
    assert len(made) == 3
    assert made[0].frames == [Frame(CLOSE, sequence=0, bytes=("é" * 100).encode())]
    hand = Hand()
    assert hand.give(Frame(CLOSE, sequence=1, bytes=b"\xff broken text"))
    assert hand.end.ended == (1, "\ufffd broken text")
    assert hand.take() == []


# ---- repetition, congestion


def test_a_second_copy_makes_a_lost_one_good() -> None:
    hand = Hand()
    (made,) = hand.send(b"first")
    hand.now = 0.1
    hand.give(ack={made.number})
    lost = [hand.send(b"lost %d" % number)[0] for number in range(4)]
    hand.now = 0.2
    hand.give(ack={lost[3].number})
    assert hand.end.loss >= LINK_LIMITS["REPEAT_LOSS"]
    hand.give(ack={made.number for made in hand.at(0.25)})
    assert hand.end.unit_count == 0
    begin = hand.now
    (first,) = hand.send(b"twice")
    delay = max(LINK_LIMITS["REPEAT_MIN"], min(hand.end.srtt / 4, LINK_LIMITS["REPEAT_MAX"]))
    assert hand.at(begin + delay - 0.001) == []
    (second,) = hand.at(begin + delay)
    assert [frame.bytes for frame in second.frames] == [b"twice"]
    assert second.frames == first.frames
    before = hand.end.counts()["link_repeated"]
    hand.send(bytes(int(LINK_LIMITS["REPEAT_BYTES"]) + 1))
    hand.at(hand.now + 0.03)
    assert hand.end.counts()["link_repeated"] == before


def test_no_second_copy_of_what_is_acknowledged() -> None:
    hand = Hand()
    numbers = [hand.send(b"data")[0].number for _ in range(4)]
    hand.now = 0.1
    hand.give(ack={numbers[3]})
    hand.give(ack={made.number for made in hand.at(0.2)})
    assert hand.end.loss >= LINK_LIMITS["REPEAT_LOSS"]
    (made,) = hand.send(b"once")
    hand.now += 0.004
    hand.give(ack={made.number})
    assert hand.at(hand.now + 0.1) == []
    assert hand.end.counts()["link_repeated"] == 0


def fill(hand: Hand, count: int) -> list[int]:
    """So many datagrams of about 1,100 bytes: their numbers."""
    for _ in range(count):
        assert hand.end.send(bytes(FRAGMENT), KIND_ORDERED, 0, hand.now)
    return [made.number for made in hand.take()]


def test_the_window_grows_and_is_halved_once_in_a_round_trip() -> None:
    hand = Hand()
    initial = int(LINK_LIMITS["INITIAL_WINDOW"]) * 1200
    assert hand.end.congestion_window == initial
    assert hand.end.send(bytes(LONGEST), KIND_ORDERED, 0, 0.0)
    made = hand.take()
    assert sum(one.size for one in made) <= initial + 1200
    hand.now = 0.1
    hand.give(ack={one.number for one in made})
    grown = initial + sum(one.size for one in made)
    assert hand.end.congestion_window == grown  # slow start: by what was acknowledged
    made = hand.at(0.19)
    numbers = [one.number for one in made]
    hand.now = 0.2
    hand.give(ack=set(numbers[1:]))  # the first is lost
    halved = hand.end.congestion_window
    assert halved == pytest.approx((grown + sum(one.size for one in made[1:])) / 2, rel=0.5)
    hand.give(ack=set(numbers))
    assert hand.end.congestion_window == halved


def test_the_window_grows_by_a_datagram_in_a_round_trip_in_avoidance() -> None:
    hand = Hand()
    assert hand.end.send(bytes(LONGEST), KIND_ORDERED, 0, 0.0)
    made = hand.take()
    hand.now = 0.1
    hand.give(ack={one.number for one in made[1:]})
    assert hand.end.lost_count == 1
    window = hand.end.congestion_window
    made = hand.at(0.19)
    hand.now = 0.2
    hand.give(ack={one.number for one in made})
    acknowledged = sum(one.size for one in made)
    assert hand.end.congestion_window - window == pytest.approx(1200 * acknowledged / window, rel=0.1)


def test_the_window_has_a_least() -> None:
    pair = Pair("delay=20ms loss=30%")
    assert pair.send(0, bytes(LONGEST), KIND_ORDERED)
    least = 10**9
    while pair.step(60.0):
        least = min(least, pair.ends[0].congestion_window)
    assert least == LEAST_WINDOW
    assert pair.is_quiet


def test_the_window_does_not_grow_while_it_is_not_used() -> None:
    pair = Pair("delay=20ms")
    for _ in range(200):
        pair.send(0, bytes(100), KIND_ORDERED)
        pair.run(pair.now + 0.02)
    assert pair.ends[0].congestion_window == int(LINK_LIMITS["INITIAL_WINDOW"]) * 1200


def test_silence_for_several_ptos_takes_the_window_back() -> None:
    hand = Hand()
    (made,) = hand.send(b"data")
    hand.now = 0.05
    hand.give(ack={made.number})
    fill(hand, 8)
    while hand.end.pto_count < LINK_LIMITS["PERSISTENT_PTOS"] - 1:
        hand.at(hand.end.next_timer())
    assert hand.end.congestion_window > LEAST_WINDOW
    while hand.end.pto_count < LINK_LIMITS["PERSISTENT_PTOS"]:
        hand.at(hand.end.next_timer())
    assert hand.end.congestion_window == LEAST_WINDOW


def test_unreliable_messages_that_the_window_has_no_room_for_are_dropped_and_counted() -> None:
    hand = Hand()
    most = hand.end.congestion_window + int(LINK_LIMITS["UNRELIABLE_EXCESS"]) * 1200
    for _ in range(50):
        assert hand.end.send(bytes(1000), KIND_UNRELIABLE, 0, 0.0)
    made = hand.take()
    assert most <= hand.end.in_flight < most + 1200
    assert hand.end.counts()["link_congested"] == 50 - len(made)
    assert hand.take() == []
    while hand.end.send(bytes(1000), KIND_UNRELIABLE, 0, 0.0):  # so much is kept for one flush
        pass
    assert hand.end.counts()["link_congested"] == 50 - len(made) + 1


def test_reliable_frames_are_spaced() -> None:
    """No more than a burst at once, once there is a round trip to space them by."""
    pair = Pair("delay=50ms", keep=True)
    assert pair.send(0, bytes(LONGEST), KIND_ORDERED)
    assert pair.send(0, bytes(LONGEST), KIND_ORDERED)
    pair.run(2.0)
    at_once: dict[float, int] = {}
    for when, _ in pair.sent[0]:
        at_once[when] = at_once.get(when, 0) + 1
    assert max(at_once.values()) <= LINK_LIMITS["PACE_BURST"] + 2


# ---- the path


def test_datagrams_grow_as_far_as_the_path_takes_them() -> None:
    pair = Pair("delay=10ms", keep=True)
    pair.send(0, b"data", KIND_ORDERED)
    pair.run(LINK_LIMITS["PROBE_AFTER"] - 0.01)
    assert {end.datagram_bytes for end in pair.ends} == {1200}
    pair.run(3.0)
    assert {end.datagram_bytes for end in pair.ends} == {1472}
    assert {1300, 1400, 1452, 1472} <= {len(made) for _, made in pair.sent[0]}
    pair.send(0, bytes(100_000), KIND_ORDERED)
    pair.run(10.0)
    assert max(len(made) for _, made in pair.sent[0]) <= 1472


class Narrow(Pair):
    """A path that drops what is longer than `most`."""

    most = 1472

    def flush(self, which: int) -> None:
        for made in self.ends[which].datagrams_to_send(self.now):
            self.sent[which].append((self.now, made))
            if len(made) <= self.most:
                self.roads[which].put(made, self.now)


def test_a_path_that_takes_no_longer_ones_is_left_alone() -> None:
    pair = Narrow("delay=10ms")
    pair.most = 1400
    for _ in range(100):
        pair.send(0, b"data", KIND_ORDERED)
        pair.run(pair.now + 0.1)
    assert pair.ends[0].datagram_bytes == 1400
    window = pair.ends[0].congestion_window
    assert window == int(LINK_LIMITS["INITIAL_WINDOW"]) * 1200  # a lost probe is no congestion
    tried = [when for when, made in pair.sent[0] if len(made) == 1452]
    assert len(tried) == LINK_LIMITS["PROBE_ATTEMPTS"]
    for _ in range(70):
        pair.send(0, b"data", KIND_ORDERED)
        pair.run(pair.now + 10)
    again = [when for when, made in pair.sent[0] if len(made) == 1452][len(tried) :]
    assert len(again) == LINK_LIMITS["PROBE_ATTEMPTS"]
    assert again[0] == pytest.approx(tried[-1] + LINK_LIMITS["REPROBE_SECONDS"], abs=11)


def test_a_black_hole_is_noticed() -> None:
    pair = Narrow("delay=10ms")
    pair.send(0, b"data", KIND_ORDERED)
    pair.run(3.0)
    assert pair.ends[0].datagram_bytes == 1472
    pair.most = 1200
    for number in range(100):
        pair.send(0, bytes(700), KIND_ORDERED, number % 4, flush=False)
    pair.flush(0)
    pair.run(13.0)
    assert max(len(made) for when, made in pair.sent[0] if when >= 3.0) > 1400
    assert pair.ends[0].datagram_bytes == 1200
    assert len(pair.heard[1]) == 101
    assert pair.is_quiet


# ---- progress


def test_a_blackout_is_over_when_it_is_over() -> None:
    pair = Pair("delay=20ms blackout=5s/10s")
    pair.run(4.9)
    number = 0
    while pair.now < 10.0:
        pair.send(0, b"%d" % number, KIND_ORDERED)
        number += 1
        pair.run(pair.now + 0.05)
    pair.run(11.2)
    assert len(pair.heard[1]) == number


def test_a_one_way_network_does_not_make_it_spin() -> None:
    """Nothing of ours arrives, all of theirs does: acknowledgements go on, and no timer is due over and over."""
    pair = Pair("loss=100%", "delay=10ms")
    for _ in range(20):
        pair.send(0, bytes(1000), KIND_ORDERED)
    while pair.now < 14.0:
        pair.send(1, b"data", KIND_UNRELIABLE)
        pair.send(0, b"data", KIND_UNRELIABLE)
        pair.run(pair.now + 0.005)
    assert pair.events < 10_000
    assert pair.ends[0].counts()["link_acks_out"] > 20


@pytest.mark.parametrize("seed", range(4))
def test_tiny_messages_in_masses(seed: int) -> None:
    """As many frames under way as are remembered."""
    pair = Pair("delay=100ms loss=5%", seed=seed)
    sent = 0
    for _ in range(300):
        for stream in range(16):
            for _ in range(8):
                sent += pair.send(0, b"x", KIND_ORDERED, stream, flush=False)
        pair.flush(0)
        pair.run(pair.now + 0.02)
    pair.run(pair.now + 120)
    assert pair.is_quiet
    assert len(pair.heard[1]) == sent


def test_quiet_links_give_memory_back_and_go_on() -> None:
    pair = Pair("delay=10ms")
    for _ in range(5):
        for end in (0, 1):
            for _ in range(200):
                pair.send(end, bytes(100), KIND_ORDERED, flush=False)
                pair.send(end, bytes(100), KIND_UNRELIABLE, flush=False)
            pair.flush(end)
        pair.run(pair.now + 20.0)
        assert pair.is_quiet
    assert sum(kind == KIND_ORDERED for kind, _, _ in pair.heard[0]) == 1000
    assert sum(kind == KIND_ORDERED for kind, _, _ in pair.heard[1]) == 1000


def test_padding_is_skipped() -> None:
    hand = Hand()
    assert hand.give_body(b"\0" + write(Frame(ORDERED, 0, 0, 0, b"data")) + bytes((PADDING,)) * 40)
    assert hand.heard() == [(KIND_ORDERED, 0, b"data")]


def test_replayed_datagrams_are_dropped() -> None:
    hand = Hand()
    made = datagram(0, Frame(UNRELIABLE, bytes=b"data"))
    assert hand.end.receive_datagram(made, 0.0)
    assert not hand.end.receive_datagram(made, 0.0)
    assert hand.end.counts()["link_replayed"] == 1
    assert len(hand.heard()) == 1


def test_quality() -> None:
    hand = Hand()
    assert hand.end.quality() == {
        "rtt": 0.0,
        "rtt_variation": 0.0,
        "min_rtt": 0.0,
        "jitter": 0.0,
        "loss": 0.0,
        "bandwidth": 0.0,
        "congestion_window": 12000,
        "datagram_bytes": 1200,
    }
    assert hand.end.connection == CONNECTION
    assert ACK_LIMITS["ACK_DELAY"] < LINK_LIMITS["KEEPALIVE_SECONDS"]

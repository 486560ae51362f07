"""Who gets which packet, and what it looks like then: header, targets, sequence numbers, legs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gsrt._relay import Member, Room
from tests.relay.rig import Line, Post, Rig, packet
from tests.support import wire

Rigs = Callable[..., Rig]

DATA = wire.encode_data({1: ("long", -7), 2: ("string", b"\xff\x00"), 100: ("data", {1: ("vector", (1.0, 2.0))})})


class Table:
    """Four peers with stream and confirmed datagrams each."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.lines: dict[int, Line] = {}
        self.posts: dict[int, Post] = {}
        for number in (1, 2, 3, 4):
            self.lines[number] = rig.join(number)
            self.posts[number] = rig.post(number)

    def by_stream(self, sender: int, *frames: bytes) -> dict[int, list[wire.Packet]]:
        """What each peer gets on its stream."""
        self.lines[sender].put(*frames)
        self.rig.flush()
        return {number: got for number, line in self.lines.items() if (got := line.packets())}


@pytest.fixture
def table(rig: Rig) -> Table:
    return Table(rig)


def relayed(op_code: int, sender: int, data: bytes | None = None, payload: bytes | None = None) -> wire.Packet:
    """What a target gets: nothing but these, in this order."""
    order = [1, 5] + ([14] if data is not None else []) + ([15] if payload is not None else [])
    return wire.Packet(op_code=op_code, sender=sender, data=data, payload=payload, order=tuple(order))


def test_the_bytes_of_a_relayed_packet(table: Table) -> None:
    frame = packet(
        77, sequence=3, request_id=9, targets=(2, 3), sender=4, reliable=True, data=DATA, payload=b"\x00\xff"
    )
    table.lines[1].put(frame)
    table.rig.flush()
    expected = wire.frame(
        b"\x08\x9a\x01\x28\x01" + wire.length_delimited(14, DATA) + wire.length_delimited(15, b"\x00\xff")
    )
    assert table.lines[2].read() == expected
    assert table.lines[3].read() == expected
    assert table.lines[1].read() == table.lines[4].read() == b""


@pytest.mark.parametrize(
    ("targets", "receivers"),
    [
        ((), [2, 3, 4]),
        ((2,), [2]),
        ((4, 2), [2, 4]),
        ((1,), [1]),
        ((1, 2, 3, 4), [1, 2, 3, 4]),
        ((2, 2, 2), [2]),
        ((9,), []),
        ((255,), []),
        ((256,), []),
        ((258,), []),  # 2, if an id were cut to a byte
        ((-1,), []),
        ((-254,), []),
        ((2**31 - 1, -(2**31)), []),
        ((9, 3, -5, 400), [3]),
        (tuple(range(1, 256)), [1, 2, 3, 4]),
        ((3,) * 255, [3]),
        ((0,), []),
        ((0, 2), [2]),
        ((0, 0), []),
    ],
    ids=str,
)
def test_targets(table: Table, targets: tuple[int, ...], receivers: list[int]) -> None:
    got = table.by_stream(1, packet(5, targets=targets, payload=b"x"))
    assert got == {number: [relayed(5, 1, payload=b"x")] for number in receivers}
    drops = table.rig.drops()
    assert drops == ({"no_target": 1} if not receivers and 0 not in targets else {})
    assert table.rig.counts().get("packets_to_server", 0) == (1 if 0 in targets else 0)


def test_more_targets_than_there_can_be_peers(table: Table) -> None:
    assert table.by_stream(1, packet(5, targets=(2,) * 256), packet(6)) == {
        number: [relayed(6, 1)] for number in (2, 3, 4)
    }
    assert table.rig.drops() == {"malformed": 1}


def test_a_target_of_the_highest_id(rigs: Rigs) -> None:
    rig = rigs(255)
    sender, highest, lowest = rig.join(64), rig.join(255), rig.join(128)
    sender.put(packet(1, targets=(255,)), packet(2, targets=(128,)), packet(3, targets=(63, 65, 127, 191, 192)))
    rig.flush()
    assert highest.packets() == [relayed(1, 64)]
    assert [(each.op_code, each.sender) for each in lowest.packets()] == [(2, 64)]
    highest.put(packet(4))
    rig.flush()
    assert sender.packets()[0].sender == 255


def test_alone_in_the_room(rig: Rig) -> None:
    only = rig.join(1)
    only.put(packet(1), packet(2, targets=(1,)))
    rig.flush()
    assert only.packets() == [relayed(2, 1)]
    counts = rig.counts()
    assert counts["packets_in"] == 2
    assert counts["dropped_no_target"] == 1


@pytest.mark.parametrize("op_code", [1, 2, 63, 64, 2**30 - 1, 2**30, 2**31 - 1])
def test_op_codes_of_users(table: Table, op_code: int) -> None:
    assert table.by_stream(1, packet(op_code, targets=(2,)))[2] == [relayed(op_code, 1)]


@pytest.mark.parametrize("op_code", [0, -1, -2, -3, -4, -6, -8, -101, -103, -(2**31)])
def test_op_codes_of_the_system_are_never_relayed(table: Table, op_code: int) -> None:
    controls = len(table.rig.handler.controls)
    frame = packet(op_code, data=DATA, payload=b"\x08\x01")
    assert table.by_stream(1, frame, packet(5, targets=(2,))) == {2: [relayed(5, 1)]}
    assert table.rig.drops() == {"op_code": 1}
    assert len(table.rig.handler.controls) == controls
    if op_code != 0:
        table.posts[1].send(frame)
        assert table.rig.drops() == {"op_code": 2}
        table.rig.flush()
        assert all(post.quiet() for post in table.posts.values())


def test_udp_connect_and_ready_by_datagram_are_not_heard(table: Table) -> None:
    table.posts[1].send(packet(-5), packet(-7))
    assert table.rig.drops() == {"op_code": 2}
    assert [op_code for _, op_code, _ in table.rig.handler.controls if op_code == -5] == []


def test_an_empty_payload_is_left_out(table: Table) -> None:
    for frame, expected in (
        (packet(5, payload=b""), relayed(5, 1)),
        (packet(5, data=b"", payload=b""), relayed(5, 1, data=b"")),
        (packet(5, data=DATA, payload=b""), relayed(5, 1, data=DATA)),
        (packet(5, data=b""), relayed(5, 1, data=b"")),
    ):
        assert table.by_stream(1, frame)[2] == [expected]


# fields in an unusual order, or more than once: written anew as every client reads it

PAYLOAD = wire.length_delimited(15, b"pay")
EMPTY_PAYLOAD = b"\x7a\x00"
ONE = wire.length_delimited(14, wire.encode_data({1: ("long", 1)}))
TWO = wire.length_delimited(14, wire.encode_data({2: ("long", 2)}))
OTHER_ONE = wire.length_delimited(14, wire.encode_data({1: ("long", 9)}))


@pytest.mark.parametrize(
    ("tail", "data", "payload"),
    [
        (PAYLOAD + ONE, {1: ("long", 1)}, b"pay"),
        (PAYLOAD + EMPTY_PAYLOAD, None, None),
        (EMPTY_PAYLOAD + PAYLOAD, None, b"pay"),
        (EMPTY_PAYLOAD + ONE, {1: ("long", 1)}, None),
        (EMPTY_PAYLOAD + EMPTY_PAYLOAD, None, None),
        (ONE + TWO, {1: ("long", 1), 2: ("long", 2)}, None),
        (ONE + TWO + PAYLOAD, {1: ("long", 1), 2: ("long", 2)}, b"pay"),
        (ONE + PAYLOAD + TWO, {1: ("long", 1), 2: ("long", 2)}, b"pay"),
        (ONE + b"\x28\x04" + PAYLOAD, {1: ("long", 1)}, b"pay"),
        (PAYLOAD + b"\x28\x04", None, b"pay"),
        (PAYLOAD + b"\x38\x05", None, b"pay"),  # an unknown number at the end
        (ONE + b"\xb8\x01\x05" + PAYLOAD, {1: ("long", 1)}, b"pay"),  # one of field 23 between
        (b"\x38\x05" + PAYLOAD, None, b"pay"),
        (b"\xf8\xff\xff\xff\x0f\x01" + ONE, {1: ("long", 1)}, None),
        (b"\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + ONE, {1: ("long", 1)}, None),
        (PAYLOAD + wire.length_delimited(15, b"last"), None, b"last"),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else None,
)
def test_unusual_orders(table: Table, tail: bytes, data: wire.DataDict | None, payload: bytes | None) -> None:
    got = table.by_stream(1, wire.frame(b"\x08\x0a" + tail))[2]
    assert len(got) == 1
    assert (got[0].op_code, got[0].sender, got[0].payload) == (5, 1, payload)
    assert (None if got[0].data is None else wire.decode_data(got[0].data)) == data
    assert list(got[0].order) == sorted(got[0].order)


def test_the_last_of_two_values_in_a_slot_wins(table: Table) -> None:
    (got,) = table.by_stream(1, wire.frame(b"\x08\x0a" + ONE + OTHER_ONE))[2]
    assert got.data is not None
    assert wire.decode_data(got.data) == {1: ("long", 9)}


def test_a_target_behind_the_payload_counts(table: Table) -> None:
    got = table.by_stream(1, wire.frame(b"\x08\x0a" + PAYLOAD + b"\x20\x03"))
    assert got == {3: [relayed(5, 1, payload=b"pay")]}


def test_a_reliable_flag_behind_the_payload_counts(table: Table) -> None:
    assert table.by_stream(1, wire.frame(b"\x08\x0a" + PAYLOAD + b"\x30\x00\x20\x02")) == {}
    assert table.posts[2].packets(1) == [relayed(5, 1, payload=b"pay")]


def test_a_sequence_number_behind_the_payload_counts(table: Table) -> None:
    stale = wire.frame(b"\x08\x0a" + PAYLOAD + b"\x30\x00\x10\x05\x20\x02")
    table.by_stream(1, stale, stale)
    assert table.posts[2].packets(1) == [relayed(5, 1, payload=b"pay")]
    assert table.rig.drops() == {"stale": 1}


def test_the_last_of_two_header_fields_wins(table: Table) -> None:
    frame = wire.frame(b"\x08\x0a\x30\x01\x30\x00\x10\x09\x10\x05\x20\x02" + PAYLOAD)
    table.by_stream(1, frame)
    assert len(table.posts[2].packets(1)) == 1
    table.by_stream(1, packet(6, sequence=6, reliable=False, targets=(2,)))
    assert len(table.posts[2].packets(1)) == 1


@pytest.mark.parametrize(
    "tail",
    [
        b"\x7a\x81\x80\x80\x80\x80\x00A",  # a length of six bytes: every SDK's parser stops there
        b"\x72\x83\x80\x80\x80\x80\x00\x08\x02\x7a",
        b"\x72\x0a\x0a\x88\x80\x80\x80\x80\x00\x0a\x00",
        b"\x72\x0b\x0a\x09\x0a\x81\x80\x80\x80\x80\x80\x00A",
        b"\x72\x09\x88\x80\x80\x80\x80\x80\x00\x02",  # a slot's key of seven bytes
    ],
    ids=bytes.hex,
)
def test_varints_longer_than_a_client_reads_do_not_reach_it(table: Table, tail: bytes) -> None:
    for unplain in (b"", b"\x28\x01"):
        table.lines[1].put(wire.frame(b"\x08\x0a" + tail + unplain))
        table.rig.flush()
        assert table.lines[2].read() == b""
    assert table.rig.drops() == {"malformed": 2}


@pytest.mark.parametrize(
    "tail",
    [b"\xfa\x00\x01A", b"\xf2\x00\x02\x08\x02", b"\xf2\x80\x00\x02\x08\x02", b"\x72\x00\xfa\x00\x01A", b"\xfa\x00\x00"],
    ids=bytes.hex,
)
def test_keys_are_one_byte_to_every_client(table: Table, tail: bytes) -> None:
    """The SDKs know their fields by the key's byte; the same key in two bytes is an unknown field to them, and one of
    wire type 2 disconnects C++ and hangs JS."""
    (got,) = table.by_stream(1, wire.frame(b"\x08\x0a" + tail))[2]
    canonical = wire.encode_packet(got)
    table.lines[1].put(wire.frame(b"\x08\x0a" + tail))
    table.rig.flush()
    assert table.lines[2].read() == wire.frame(canonical)


# legs


@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])
@pytest.mark.parametrize("confirmed", [False, True])
def test_which_leg_a_packet_leaves_by(rigs: Rigs, websocket: bool, confirmed: bool) -> None:
    rig = rigs()
    sender, receiver = rig.join(1), rig.join(2, websocket=websocket)
    fast = rig.post(1)
    post = rig.post(2, confirmed=confirmed)
    sender.put(packet(1), packet(2, reliable=True), packet(3, reliable=False), packet(4, sequence=1, reliable=False))
    fast.send(packet(5), packet(6, reliable=True), packet(7, reliable=False))
    rig.flush()
    by_post = [each.op_code for each in post.packets(1)] if confirmed else []
    assert by_post == ([3, 4, 5, 6, 7] if confirmed else [])
    assert receiver.op_codes() == ([1, 2] if confirmed else [1, 2, 3, 4, 5, 6, 7])
    assert post.quiet()


def test_a_datagram_before_its_confirmation_is_heard(rig: Rig) -> None:
    rig.join(1)
    receiver = rig.join(2)
    rig.post(1, confirmed=False).send(packet(4))
    rig.flush()
    assert receiver.packets() == [relayed(4, 1)]


def test_confirming_without_an_address_is_nothing(rig: Rig) -> None:
    sender, receiver = rig.join(1), rig.join(2)
    receiver.put(packet(-5))
    assert not rig.members[2].udp_confirmed
    post = rig.post(2, confirmed=False)
    assert rig.members[2].udp_bound
    assert not rig.members[2].udp_confirmed
    sender.put(packet(4, reliable=False))
    rig.flush()
    assert receiver.op_codes() == [4]
    assert post.quiet()


def test_a_new_address_has_to_be_confirmed_anew(rig: Rig) -> None:
    sender, receiver = rig.join(1), rig.join(2)
    old = rig.post(2)
    new = rig.post(2, confirmed=False)
    sender.put(packet(4, reliable=False))
    rig.flush()
    assert receiver.op_codes() == [4]
    receiver.put(packet(-5))
    sender.put(packet(5, reliable=False))
    rig.flush()
    assert [each.op_code for each in new.packets(1)] == [5]
    assert old.quiet()


# sequence numbers


def test_stale_packets_are_dropped_across_op_codes_targets_and_legs(table: Table) -> None:
    def put(op_code: int, sequence: int, targets: tuple[int, ...] = (2,)) -> None:
        table.lines[1].put(packet(op_code, sequence=sequence, reliable=False, targets=targets))

    put(1, 5)
    put(2, 4)
    put(3, 5)
    put(4, 6, targets=(3,))
    put(5, 6)
    table.posts[1].send(packet(6, sequence=5, targets=(2,)), packet(7, sequence=8, targets=(2,)))
    put(8, 7)
    put(9, 9)
    table.rig.flush()
    assert [each.op_code for each in table.posts[2].packets(1)] == [1, 7, 9]
    assert [each.op_code for each in table.posts[3].packets(1)] == [4]
    assert table.rig.drops() == {"stale": 5}


def test_the_first_number_may_be_any(table: Table) -> None:
    for sender, first in ((1, 0), (2, -(2**31)), (3, 2**31 - 1)):
        table.lines[sender].put(packet(1, sequence=first, reliable=False, targets=(4,)))
    table.rig.flush()
    assert sorted(each.sender or 0 for each in table.posts[4].packets(1)) == [1, 2, 3]


def test_numbers_wrap(table: Table) -> None:
    numbers = [2**31 - 2, 2**31 - 1, -(2**31), -(2**31) + 1, 2**31 - 1, -(2**31), -1, 0, 1, -1]
    for op_code, number in enumerate(numbers, 1):
        table.lines[1].put(packet(op_code, sequence=number, reliable=False, targets=(2,)))
    table.rig.flush()
    assert [each.op_code for each in table.posts[2].packets(1)] == [1, 2, 3, 4, 7, 8, 9]


def test_a_number_as_far_ahead_as_behind_is_stale(table: Table) -> None:
    for op_code, number in ((1, 0), (2, -(2**31)), (3, 2**31 - 1)):
        table.lines[1].put(packet(op_code, sequence=number, reliable=False, targets=(2,)))
    table.rig.flush()
    assert [each.op_code for each in table.posts[2].packets(1)] == [1, 3]


@pytest.mark.parametrize("raw", [2**32 - 1, 2**64 - 1])
def test_minus_one_in_32_or_64_bits(table: Table, raw: int) -> None:
    table.lines[1].put(packet(1, sequence=-2, reliable=False, targets=(2,)))
    table.lines[1].put(wire.frame(b"\x08\x04\x10" + wire.varint(raw) + b"\x20\x02\x30\x00"))
    table.rig.flush()
    assert [each.op_code for each in table.posts[2].packets(1)] == [1, 2]


@pytest.mark.parametrize("raw", [2**32, 2**63, 2**64 - 2**31 - 1, 2**64 - 2**32])
def test_numbers_over_32_bits_are_malformed(table: Table, raw: int) -> None:
    for key in (0x10, 0x18, 0x20, 0x28):
        assert table.by_stream(1, wire.frame(b"\x08\x04" + bytes((key,)) + wire.varint(raw))) == {}
    assert table.rig.drops() == {"malformed": 4}


def test_reliable_packets_are_not_ordered(table: Table) -> None:
    """Field 2 of a reliable packet is nothing: C++ may write what lay in its memory."""
    got = table.by_stream(1, packet(1, sequence=9), packet(2, sequence=3, reliable=True), packet(3, sequence=9))
    assert [each.op_code for each in got[2]] == [1, 2, 3]
    table.by_stream(1, packet(4, sequence=0, reliable=False, targets=(2,)))
    assert len(table.posts[2].packets(1)) == 1


def test_senders_have_numbers_of_their_own(table: Table) -> None:
    for sender in (1, 2, 3):
        table.lines[sender].put(packet(1, sequence=10 - sender, reliable=False, targets=(4,)))
    table.rig.flush()
    assert len(table.posts[4].packets(1)) == 3


def test_a_new_login_begins_anew(rig: Rig) -> None:
    first, receiver = rig.join(1), rig.join(2)
    first.put(packet(1, sequence=100, reliable=False))
    rig.flush()
    again = rig.join(1)
    again.put(packet(2, sequence=0, reliable=False), packet(3, sequence=0, reliable=False))
    rig.flush()
    assert receiver.op_codes() == [1, 2]


def test_no_number_reaches_anybody(table: Table) -> None:
    got = table.by_stream(1, packet(1, sequence=1, payload=b"x"), packet(2, sequence=2, reliable=True, payload=b"x"))
    assert all(each.sequence is None for packets in got.values() for each in packets)
    table.posts[1].send(packet(3, sequence=3, payload=b"x"))
    table.rig.flush()
    for number in (2, 3, 4):
        assert [each.sequence for each in table.posts[number].packets(1)] == [None]


def test_a_malformed_packet_does_not_move_the_number(table: Table) -> None:
    table.lines[1].put(
        wire.frame(b"\x08\x02\x10\x64\x30\x00\x72\x02\x00\x00"), packet(2, sequence=1, reliable=False, targets=(2,))
    )
    table.rig.flush()
    assert [each.op_code for each in table.posts[2].packets(1)] == [2]


def test_rooms_do_not_hear_each_other(rig: Rig) -> None:
    other_room = Room(rig.relay)
    inside = rig.join(1)
    mate = rig.join(2)
    outside = rig.line()
    strangers = Member(other_room, 1), Member(other_room, 2)
    outside.put(packet(0, payload=b"3"))
    rig.members[3].leave()
    strangers[0].attach(outside.stream)
    strangers[0].open()
    outside.put(packet(7), packet(8, targets=(2,)))
    inside.put(packet(9))
    rig.flush()
    assert mate.packets() == [relayed(9, 1)]
    assert outside.packets() == []
    assert rig.drops() == {"no_target": 2}
    assert other_room.counts()["packets_in"] == 2
    assert rig.room.counts()["packets_in"] == 1
    strangers[0].leave()

"""A script's handlers in the relay's way: what comes to them, what becomes of it, what waits when they take long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gsrt import _core
from gsrt._guest import Packet, QuotaError
from gsrt._relay import Member, Room
from tests.relay.rig import Line, Rig, masked, message, packet
from tests.scripts.stage import Post, data, numbers
from tests.support import wire

Judge = Callable[[Packet], object]


@pytest.fixture
def post(rig: Rig) -> Post:
    return Post(rig)


def never(packet: Packet) -> object:
    raise AssertionError(f"opCode {packet.op_code} has reached Python")


def quiet(post: Post) -> None:
    assert post.owner.failures == []


# What comes


@pytest.mark.parametrize("wanted", [1, 63, 64, 1023, 1024, 70_000, 2**31 - 1])
def test_only_op_codes_asked_for_reach_python(rig: Rig, post: Post, wanted: int) -> None:
    seen: list[int] = []
    post.handlers.on_packet(wanted, lambda packet: seen.append(packet.op_code))
    red, blue = rig.join(1), rig.join(2)
    around = [1, 62, 63, 64, 65, 1022, 1023, 1024, 1025, 70_000, 70_001, 2**31 - 1]
    red.put(*(packet(code) for code in around))
    rig.flush()
    assert blue.op_codes() == around
    assert seen == [wanted]
    assert post.handlers.calls == 1
    assert rig.counts()["packets_in"] == len(around)
    quiet(post)


def test_an_op_code_nobody_asked_for_never_calls(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, never)
    post.handlers.on_packet(5000, never)
    red, blue = rig.join(1), rig.join(2)
    red.put(*(packet(code) for code in (1, 4, 6, 4999, 5001, 5 + 1024, 5 + 64)))
    rig.flush()
    assert len(blue.op_codes()) == 7
    assert post.handlers.calls == 0
    quiet(post)


def test_every_packet_of_any_op_code(rig: Rig, post: Post) -> None:
    seen: list[int] = []
    post.handlers.on_every_packet(lambda packet: seen.append(packet.op_code))
    red = rig.join(1)
    rig.join(2)
    codes = [1, 2, 1023, 1024, 99_999, 2**31 - 1]
    red.put(*map(packet, codes))
    assert seen == codes


@pytest.mark.parametrize("op_code", [0, -1, -(2**31)])
def test_system_op_codes_are_not_to_be_had(post: Post, op_code: int) -> None:
    with pytest.raises(ValueError, match="opCode"):
        post.handlers.on_packet(op_code, never)


def test_the_number_of_functions_is_bounded(post: Post) -> None:
    for number in range(256):
        post.handlers.on_packet(1 + number % 3, never)
    with pytest.raises(QuotaError, match="256 functions"):
        post.handlers.on_packet(1, never)
    assert len(post.handlers.functions) == 256


def test_a_function_registered_meanwhile_is_called_from_the_next_packet_on(rig: Rig, post: Post) -> None:
    seen: list[int] = []

    def handler(packet: Packet) -> None:
        number = packet.get_data().get_number(1)
        assert number is not None
        seen.append(number)
        post.handlers.on_packet(1, handler)

    post.handlers.on_packet(1, handler)
    red = rig.join(1)
    rig.join(2)
    red.put(packet(1, data=data(_1=1)), packet(1, data=data(_1=2)), packet(1, data=data(_1=3)))
    assert seen == [1, 2, 2, 3, 3, 3, 3]


def test_login_and_system_packets_do_not_come(rig: Rig, post: Post) -> None:
    post.handlers.on_every_packet(never)
    red = rig.join(1)
    rig.post(1)
    red.put(packet(-5), packet(-7), packet(-101))
    assert post.handlers.calls == 0


def test_what_a_handler_sees(rig: Rig, post: Post) -> None:
    seen: list[tuple[object, ...]] = []

    def look(packet: Packet) -> None:
        sender = packet.get_sender()
        seen.append(
            (
                packet.op_code,
                packet.get_op_code(),
                sender.peer_id,
                sender.player_id,
                packet.get_data().get_number(1),
                packet.get_payload(),
                packet.get_target_players(),
                packet.is_reliable(),
            )
        )

    post.handlers.on_packet(7, look)
    red, blue = rig.join(1), rig.join(2)
    red.put(packet(7, targets=(2, 3), data=data(_1=-5), payload=b"load"))
    blue.put(packet(7, reliable=False), packet(7, targets=(0, 255), reliable=True, sender=200))
    rig.post(3).send(packet(7, data=data(_1=9)))
    assert seen == [
        (7, 7, 1, "p1", -5, b"load", [2, 3], True),
        (7, 7, 2, "p2", None, None, [], False),
        (7, 7, 2, "p2", None, None, [0, 255], True),
        (7, 7, 3, "p3", 9, None, [], False),
    ]
    quiet(post)


def test_fields_in_an_unusual_order_are_put_right_first(rig: Rig, post: Post) -> None:
    seen: list[tuple[object, ...]] = []
    post.handlers.on_packet(7, lambda packet: seen.append((packet.data.get_number(1), packet.get_payload())))
    red, blue = rig.join(1), rig.join(2)
    values = data(_1=3)
    body = b"\x08\x0e" + b"\x7a\x01x" + b"\x72" + bytes((len(values),)) + values  # opCode 7, payload, data
    red.put(bytes((len(body),)) + body)
    rig.flush()
    assert seen == [(3, b"x")]
    (got,) = blue.packets()
    assert (got.op_code, got.data, got.payload) == (7, values, b"x")


# What becomes of it


LEGS = ("tcp", "websocket", "udp")


class Leg:
    """Peer 1 sends on one kind of connection, peers 2 and 3 hear it on the same."""

    def __init__(self, rig: Rig, kind: str) -> None:
        self.rig = rig
        self.kind = kind
        self.lines = [rig.join(number, websocket=kind == "websocket") for number in (1, 2, 3)]
        self.posts = [rig.post(number) for number in (1, 2, 3)] if kind == "udp" else []

    def send(self, *frames: bytes) -> None:
        if self.posts:
            self.posts[0].send(*frames)
        else:
            self.lines[0].put(*frames)
        self.rig.flush()

    def heard(self, number: int) -> list[tuple[int, int | None, bytes | None, bytes | None]]:
        """(opCode, sender, data, payload) of what peer `number` has got."""
        if self.posts:
            found: list[wire.Packet] = []
            while not self.posts[number - 1].quiet():
                bodies = wire.datagram_frames(self.posts[number - 1].socket.recv(2048))
                found += map(wire.decode_packet, bodies)
            assert self.lines[number - 1].packets() == []
        else:
            found = self.lines[number - 1].packets()
        return [(each.op_code, each.sender, each.data, each.payload) for each in found]


@pytest.fixture(params=LEGS)
def leg(request: pytest.FixtureRequest, rig: Rig) -> Leg:
    return Leg(rig, request.param)


def test_what_passes_goes_on_as_it_came(leg: Leg, post: Post) -> None:
    answers: list[object] = [None, True, 0, "", [], 1.0]
    post.handlers.on_packet(5, lambda packet: answers.pop(0))  # only False itself cancels
    for _ in range(6):
        leg.send(packet(5, data=data(_1=4), payload=b"p"))
    assert leg.heard(2) == leg.heard(3) == [(5, 1, data(_1=4), b"p")] * 6
    assert leg.heard(1) == []
    quiet(post)


def test_what_is_cancelled_reaches_nobody(leg: Leg, post: Post) -> None:
    post.handlers.on_packet(5, lambda packet: False)
    leg.send(packet(5), packet(6, payload=b"p"))
    assert [each[0] for each in leg.heard(2)] == [each[0] for each in leg.heard(3)] == [6]
    assert leg.rig.drops() == {"by_script": 1}
    assert leg.rig.room.counts()["dropped_by_script"] == 1
    assert leg.rig.counts()["packets_in"] == 2
    quiet(post)


def test_a_replaced_packet_keeps_its_sender_and_leg(leg: Leg, post: Post) -> None:
    def change(packet: Packet) -> None:
        packet.data.set_number(1, 2).set_string(2, "two")
        packet.set_payload(b"other")

    post.handlers.on_packet(5, change)
    leg.send(packet(5, data=data(_1=1), payload=b"p", sender=77))
    assert leg.heard(2) == leg.heard(3) == [(5, 1, data(_1=2, _2="two"), b"other")]
    assert leg.heard(1) == []
    assert leg.rig.drops() == {}
    quiet(post)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda packet: packet.set_data({3: "x"}), (data(_3="x"), b"p")),
        (lambda packet: packet.set_data(None), (None, b"p")),
        (lambda packet: packet.set_data(None).data.set_number(1, 6), (data(_1=6), b"p")),
        (lambda packet: packet.set_data({}), (b"", b"p")),
        (lambda packet: packet.set_payload(None), (data(_1=1), None)),
        (lambda packet: packet.set_payload(b""), (data(_1=1), None)),  # an empty payload is none: clients throw at it
        (lambda packet: packet.set_payload(b"\0\xff"), (data(_1=1), b"\0\xff")),
        (lambda packet: packet.data.__setitem__(2, 2.5), (data(_1=1, _2=2.5), b"p")),
        (lambda packet: packet.data.__delitem__(1), (b"", b"p")),
        (lambda packet: packet.set_target_peers([2]), (data(_1=1), b"p")),
    ],
)
def test_what_is_changed(rig: Rig, post: Post, change: Judge, expected: tuple[bytes | None, bytes | None]) -> None:
    def judge(packet: Packet) -> None:
        change(packet)

    post.handlers.on_packet(5, judge)
    red, blue = rig.join(1), rig.join(2)
    red.put(packet(5, data=data(_1=1), payload=b"p"))
    rig.flush()
    (got,) = blue.packets()
    assert (got.sender, got.data, got.payload) == (1, *expected)
    assert got.order == tuple(sorted(got.order))
    quiet(post)


@pytest.mark.parametrize(
    ("targets", "heard"),
    [([2], [2]), ([3, 3, 2], [2, 3]), ([], [2, 3]), ([1], [1]), ([0], []), ([0, 2], [2]), ([200], []), ([1, 200], [1])],
)
def test_other_targets(rig: Rig, post: Post, targets: list[int], heard: list[int]) -> None:
    post.handlers.on_packet(5, lambda packet: packet.set_target_peers(targets) and None)
    lines = {number: rig.join(number) for number in (1, 2, 3)}
    lines[1].put(packet(5, targets=(2, 3, 255)))
    rig.flush()
    assert [number for number, line in lines.items() if line.op_codes() == [5]] == heard
    counts = rig.counts()
    assert counts.get("packets_to_server", 0) == (0 in targets)
    assert rig.drops() == ({"no_target": 1} if targets == [200] else {})
    quiet(post)


def test_reliability_stays(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, lambda packet: packet.set_payload(b"x") and None)
    red, blue = rig.join(1), rig.join(2)
    red_post, blue_post = rig.post(1), rig.post(2)
    red.put(packet(5))
    rig.flush()
    assert blue.op_codes() == [5]
    red.put(packet(5, reliable=False))
    rig.flush()
    assert blue.op_codes() == []
    assert [each.payload for each in blue_post.packets(1)] == [b"x"]
    red_post.send(packet(5))
    rig.flush()
    assert [each.payload for each in blue_post.packets(1)] == [b"x"]


@pytest.mark.parametrize("websocket", [False, True])
def test_too_large_after_the_change_is_dropped(rig: Rig, post: Post, websocket: bool) -> None:
    sizes = [15_000, 15_900, 16_000]
    post.handlers.on_packet(5, lambda packet: packet.set_payload(b"x" * sizes.pop(0)) and None)
    red, blue = rig.join(1, websocket=websocket), rig.join(2, websocket=websocket)
    red.put(packet(5))
    red.put(packet(5))
    red.put(packet(5))
    rig.flush()
    assert [len(each.payload or b"") for each in blue.packets()] == [15_000, 15_900]
    assert rig.drops() == {"oversize": 1}
    quiet(post)


def test_the_largest_packet_after_a_change_to_the_byte(rig: Rig, post: Post) -> None:
    head = 2 + 2 + 2 + 3  # length, opCode, sender, payload's key and length
    limit = int(rig.profile.packet_bytes_max)
    sizes = [limit - head - 1 + 1, limit - head + 1]
    post.handlers.on_packet(5, lambda packet: packet.set_payload(b"x" * sizes.pop(0)) and None)
    red, blue = rig.join(1), rig.join(2)
    red.put(packet(5), packet(5))
    rig.flush()
    raw = blue.read()
    assert len(raw) == limit
    assert rig.drops() == {"oversize": 1}


def test_a_change_that_cannot_be_written_lets_it_through_as_it_came(rig: Rig, post: Post) -> None:
    def grow(packet: Packet) -> None:
        for index in range(1, 128):
            packet.data.set_string(index, "x" * 16_000)

    post.handlers.on_packet(5, grow)
    red, blue = rig.join(1), rig.join(2)
    red.put(packet(5, payload=b"p"))
    rig.flush()
    got = blue.packets()
    assert len(got) <= 1  # either dropped as too large, or as it came
    assert len(got) == 1 or rig.drops() == {"oversize": 1}


def test_a_handler_that_raises_lets_it_through_as_it_came(leg: Leg, post: Post) -> None:
    def bad(packet: Packet) -> None:
        packet.set_payload(b"half done")
        raise KeyError("oh")

    post.handlers.on_packet(5, bad)
    leg.send(packet(5, payload=b"p"))
    assert leg.heard(2) == [(5, 1, None, b"p")]
    assert [(type(error), what) for error, what in post.owner.failures] == [(KeyError, 5)]


def test_a_packet_for_the_server_only_is_seen_and_counted(rig: Rig, post: Post) -> None:
    seen: list[list[int]] = []
    post.handlers.on_packet(5, lambda packet: seen.append(packet.get_target_players()))
    red, blue = rig.join(1), rig.join(2)
    red.put(packet(5, targets=(0,)), packet(6, targets=(0,)))
    rig.flush()
    assert seen == [[0]]
    assert blue.op_codes() == []
    assert rig.counts()["packets_to_server"] == 2
    assert rig.drops() == {}


# What never comes


def test_malformed_packets_never_come(rig: Rig, post: Post) -> None:
    post.handlers.on_every_packet(never)
    red = rig.join(1)
    red.put(packet(5, data=b"\xff\xff\xff"), packet(5, data=b"\x0a\x7f"), b"\x03\x08\x0a\x7a")
    rig.post(1).send(packet(5, data=b"\x0a\x7f"), b"\xff\xff")
    assert rig.counts()["dropped_malformed"] == 5
    assert post.handlers.calls == 0


def test_stale_packets_never_come(rig: Rig, post: Post) -> None:
    seen: list[int | None] = []
    post.handlers.on_packet(5, lambda packet: seen.append(packet.data.get_number(1)))
    rig.join(1)
    rig.join(2)
    sender = rig.post(1)
    sender.send(*(packet(5, sequence=number, data=data(_1=number)) for number in (3, 2, 3, 4, 1, 5)))
    assert seen == [3, 4, 5]
    assert rig.drops() == {"stale": 3}


def test_a_cancelled_packet_counts_for_the_order_of_later_ones(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, lambda packet: False if packet.data.get_number(1) == 4 else None)
    rig.join(1)
    rig.join(2)
    sender, receiver = rig.post(1), rig.post(2)
    sender.send(*(packet(5, sequence=number, data=data(_1=number)) for number in (4, 3, 5)))
    rig.flush()
    assert numbers(receiver.packets(1)) == [5]
    assert rig.drops() == {"stale": 1, "by_script": 1}


def test_packets_over_the_rate_never_come(rigs: Callable[..., Rig]) -> None:
    rig = rigs(packets_per_second=10, packets_burst=4)
    post = Post(rig)
    seen: list[int | None] = []
    post.handlers.on_packet(5, lambda packet: seen.append(packet.data.get_number(1)))
    rig.join(1)
    rig.join(2)
    sender = rig.post(1)
    sender.send(*(packet(5, data=data(_1=number)) for number in range(6)))
    assert seen == list(range(len(seen)))
    assert rig.drops() == {"rate": 6 - len(seen)}
    assert 0 < len(seen) < 6


def test_a_stranger_s_packets_never_come(rig: Rig, post: Post) -> None:
    post.handlers.on_every_packet(never)
    rig.join(1)
    stranger = rig.post()
    stranger.send(packet(5))
    assert rig.drops() == {"unknown_address": 1}


# Another, or none, in the middle


def test_the_handlers_may_go_while_a_packet_is_judged(rig: Rig, post: Post) -> None:
    """As when what the script holds makes it strike out: what it has decided still counts."""

    def change(packet: Packet) -> None:
        packet.set_payload(b"last word")
        packet.set_target_peers([3])
        rig.room.interceptor = None

    post.handlers.on_packet(5, change)
    lines = [rig.join(number) for number in (1, 2, 3)]
    lines[0].put(packet(5, payload=b"p"), packet(5, payload=b"q"))
    rig.flush()
    assert [each.payload for each in lines[1].packets()] == [b"q"]
    assert [each.payload for each in lines[2].packets()] == [b"last word", b"q"]


def test_others_take_over_between_two_packets(rig: Rig, post: Post) -> None:
    other = post.more_handlers()
    seen: list[str] = []

    def hand_over(packet: Packet) -> None:
        seen.append("old")
        rig.room.interceptor = other

    post.handlers.on_packet(5, hand_over)
    other.on_packet(5, lambda packet: seen.append("new"))
    red = rig.join(1)
    rig.join(2)
    red.put(packet(5), packet(5))
    assert seen == ["old", "new"]


# The time of a turn


def drain(rig: Rig, post: Post, turns: int = 200) -> int:
    """Turns of the loop until nothing waits; how many it took."""
    for number in range(turns):
        post.turn.begin()
        rig.take_streams()
        if not rig.relay.paused_count:
            return number
        rig.relay.resume(rig.now)
        rig.flush()
    raise AssertionError("streams still wait")


def chunks(frames: list[bytes], size: int) -> list[list[bytes]]:
    return [frames[at : at + size] for at in range(0, len(frames), size)]


def fragmented(*pieces: bytes) -> bytes:
    """A binary WebSocket message in so many frames."""
    last = len(pieces) - 1
    return b"".join(masked(2 if at == 0 else 0, piece, last=at == last) for at, piece in enumerate(pieces))


COUNT = 25


def in_one_go(line: Line, frames: list[bytes]) -> None:
    line.put(*frames)


def in_pieces(line: Line, frames: list[bytes]) -> None:
    """Cut anywhere, the pieces one after the other."""
    whole = message(*frames) if line.websocket else b"".join(frames)
    for at in range(0, len(whole), 37):
        line.send(whole[at : at + 37])
        line.rig.take_streams()


def in_messages_of_four(line: Line, frames: list[bytes]) -> None:
    line.send(b"".join(message(*some) for some in chunks(frames, 4)))
    line.rig.take_streams()


def in_fragments(line: Line, frames: list[bytes]) -> None:
    whole = b"".join(frames)
    line.send(fragmented(*(whole[at : at + 41] for at in range(0, len(whole), 41))))
    line.rig.take_streams()


def in_many_fragmented_messages(line: Line, frames: list[bytes]) -> None:
    raw = b""
    for some in chunks(frames, 6):
        whole = b"".join(some)
        raw += fragmented(whole[:10], b"", whole[10:11], whole[11:])
        raw += masked(9, b"ping")
    line.send(raw)
    line.rig.take_streams()


WAYS = [
    (False, in_one_go),
    (False, in_pieces),
    (True, in_one_go),
    (True, in_pieces),
    (True, in_messages_of_four),
    (True, in_fragments),
    (True, in_many_fragmented_messages),
]


@pytest.mark.parametrize(("websocket", "way"), WAYS)
@pytest.mark.parametrize("milliseconds", [11.0, 4.0])
def test_streams_wait_for_the_next_turn_and_lose_nothing(
    rig: Rig,
    post: Post,
    websocket: bool,
    way: Callable[[Line, list[bytes]], None],
    milliseconds: float,
) -> None:
    post.handlers.on_packet(5, post.takes(milliseconds))
    red, blue = rig.join(1, websocket=websocket), rig.join(2)
    post.turn.begin()
    frames = [packet(5 if number % 3 else 6, data=data(_1=number), payload=b"x" * number) for number in range(COUNT)]
    way(red, frames)
    assert rig.relay.paused_count == 1
    took = drain(rig, post)
    rig.flush()
    per_turn = 1 if milliseconds > 10 else 3
    assert took >= (COUNT * 2 // 3) // per_turn - 1
    assert numbers(blue.packets()) == list(range(COUNT))
    assert rig.counts()["streams_paused_script"] >= took
    assert rig.room.counts()["streams_paused_script"] == rig.counts()["streams_paused_script"]
    assert rig.drops() == {}
    quiet(post)


def test_several_streams_of_a_room_wait_and_go_on_in_turn(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, post.takes(11))
    lines = [rig.join(1), rig.join(2, websocket=True), rig.join(3)]
    watcher = rig.join(4)
    for line in lines:
        line.put(*(packet(5, data=data(_1=number)) for number in range(6)))
    drain(rig, post)
    rig.flush()
    got = watcher.packets()
    for sender in (1, 2, 3):
        assert numbers([each for each in got if each.sender == sender]) == list(range(6))
    assert rig.drops() == {}


def test_what_comes_while_a_stream_waits_follows_in_order(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, post.takes(11))
    red, blue = rig.join(1), rig.join(2)
    for number in range(8):
        red.put(packet(5, data=data(_1=number)))
        if number % 3 == 0:
            post.turn.begin()
            rig.relay.resume(rig.now)
    drain(rig, post)
    rig.flush()
    assert numbers(blue.packets()) == list(range(8))


@pytest.mark.parametrize("websocket", [False, True])
def test_a_goodbye_after_packets_that_wait(rig: Rig, post: Post, websocket: bool) -> None:
    """FIN comes after everything that was sent before it."""
    post.handlers.on_packet(5, post.takes(11))
    red, blue = rig.join(1, websocket=websocket, tcp=True), rig.join(2)
    red.put(*(packet(5, data=data(_1=number)) for number in range(5)))
    red.socket.shutdown(1)
    for _ in range(20):
        post.turn.begin()
        rig.take_streams()
        rig.relay.resume(rig.now)
    rig.until(lambda: rig.handler.closings)
    rig.flush()
    assert numbers(blue.packets()) == list(range(5))


def test_datagrams_are_dropped_meanwhile(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, post.takes(11))
    rig.join(1)
    blue = rig.join(2)
    sender = rig.post(1)
    post.turn.begin()
    sender.send(*(packet(5, data=data(_1=number)) for number in range(4)))
    assert post.handlers.is_behind
    sender.send(packet(6, data=data(_1=4)))  # nobody asked for it, but it must not overtake either
    post.turn.begin()
    sender.send(packet(5, data=data(_1=5)))
    rig.flush()
    assert numbers(blue.packets()) == [0, 5]
    assert rig.drops() == {"script_busy": 4}
    assert rig.room.counts()["dropped_script_busy"] == 4


def test_a_late_script_s_packets_wait_until_others_were_served(rig: Rig, post: Post) -> None:
    """What came for other rooms while it was at work is out before it goes on."""
    other_room = Room(rig.relay)
    for number in (11, 12):
        rig.members[number] = Member(other_room, number)
    green = rig.join(12)
    other = rig.post(11)
    seen: list[int | None] = []

    def slow(packet: Packet) -> None:
        seen.append(packet.data.get_number(1))
        post.takes(11)(packet)

    post.handlers.on_packet(5, slow)
    red, blue = rig.join(1), rig.join(2)
    sender = rig.post(1)
    post.turn.begin()
    sender.send(packet(5, data=data(_1=0)))
    red.put(packet(5, data=data(_1=1)))
    assert post.turn.begin(True)
    assert post.handlers.is_behind
    assert post.handlers.is_late
    sender.send(packet(5, data=data(_1=2)), packet(5, data=data(_1=3)))
    other.send(packet(6, data=data(_1=9)))
    rig.take_streams()
    rig.flush()
    assert seen == [0]
    assert numbers(green.packets()) == [9]
    post.turn.let_on()
    assert not post.handlers.is_late
    rig.relay.take_later(rig.now)
    rig.relay.resume(rig.now)
    assert seen == [0, 2]  # that was all its time again
    assert rig.drops() == {"script_busy": 1}
    assert post.turn.begin(True)
    post.turn.let_on()
    rig.relay.resume(rig.now)
    rig.flush()
    assert numbers(blue.packets()) == [0, 2, 1]
    assert not post.turn.begin()
    assert not post.turn.is_behind


def test_what_was_put_off_is_bounded_and_dies_with_its_sender(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, post.takes(11))
    rig.join(1)
    rig.join(2)
    sender, blue = rig.post(1), rig.post(2)
    post.turn.begin()
    sender.send(packet(5))
    post.turn.begin(True)
    for first in range(0, 260, 26):  # no more at a time than the kernel keeps
        sender.send(*(packet(6, data=data(_1=number)) for number in range(first, first + 26)))
    assert rig.drops() == {"script_busy": 4}
    post.turn.let_on()
    rig.relay.take_later(rig.now)
    rig.flush()
    got: list[wire.Packet] = []
    while not blue.quiet():
        got += map(wire.decode_packet, wire.datagram_frames(blue.socket.recv(2048)))
    assert numbers(got[1:]) == list(range(256))
    post.turn.begin()
    sender.send(packet(5))
    post.turn.begin(True)
    sender.send(packet(6), packet(6))
    rig.members[1].leave()
    post.turn.let_on()
    rig.relay.take_later(rig.now)
    assert rig.drops() == {"script_busy": 4, "unknown_address": 2}


def test_a_datagram_s_later_packets_are_dropped_too(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, post.takes(11))
    rig.join(1)
    blue = rig.join(2)
    post.turn.begin()
    rig.post(1).send(b"".join(packet(5, data=data(_1=number)) for number in range(3)))
    rig.flush()
    assert numbers(blue.packets()) == [0]
    assert rig.drops() == {"script_busy": 2}


def test_just_within_its_time_nothing_waits(rig: Rig, post: Post) -> None:
    post.handlers.on_packet(5, post.takes(2.4))
    red, blue = rig.join(1), rig.join(2)
    post.turn.begin()
    red.put(*(packet(5, data=data(_1=number)) for number in range(4)))
    assert rig.relay.paused_count == 0
    assert not post.turn.is_behind
    red.put(packet(5, data=data(_1=4)))
    assert post.turn.is_behind
    rig.flush()
    assert numbers(blue.packets()) == list(range(5))


def test_another_room_does_not_wait(rig: Rig, post: Post) -> None:
    other_room = Room(rig.relay)
    for number in (11, 12):
        rig.members[number] = Member(other_room, number)
    others = [rig.join(11), rig.join(12)]
    post.handlers.on_packet(5, post.takes(11))
    red, blue = rig.join(1), rig.join(2)
    post.turn.begin()
    red.put(*(packet(5, data=data(_1=number)) for number in range(3)))
    assert rig.relay.paused_count == 1
    others[0].put(*(packet(5, data=data(_1=number)) for number in range(3)))
    other_post = rig.post(11)
    other_post.send(packet(5, data=data(_1=3)))
    rig.flush()
    assert numbers(others[1].packets()) == [0, 1, 2, 3]
    assert numbers(blue.packets()) == [0]
    assert "dropped_script_busy" not in rig.counts()
    assert "streams_paused_script" not in other_room.counts()
    drain(rig, post)


def test_all_scripts_together_have_their_time_too(rig: Rig) -> None:
    post = Post(rig, each_ms=10, all_ms=15)
    room = Room(rig.relay)
    for number in (11, 12):
        rig.members[number] = Member(room, number)
    second = post.more_handlers(room.deliver)
    room.interceptor = second
    for handlers in (post.handlers, second):
        handlers.on_packet(5, post.takes(9))
    red, green = rig.join(1), rig.join(11)
    rig.join(12)
    rig.join(2)
    post.turn.begin()
    red.put(packet(5))
    assert not post.turn.is_behind
    green.put(packet(5), packet(5))
    assert second.is_behind
    assert not post.handlers.is_behind
    assert rig.relay.paused_count == 1
    post.turn.begin()
    assert not second.is_behind
    assert post.turn.used == 0
    drain(rig, post)
    assert second.calls == 2


def test_time_of_delivering_counts_too(rig: Rig, post: Post) -> None:
    def slow_deliver(frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> None:
        post.clock.now += 0.02

    handlers = post.more_handlers(slow_deliver)
    rig.room.interceptor = handlers
    handlers.on_packet(5, lambda packet: handlers.send(9, None, None, None, True, 0))
    red = rig.join(1)
    rig.join(2)
    post.turn.begin()
    red.put(packet(5))
    assert handlers.is_behind
    assert handlers.longest == handlers.seconds == pytest.approx(0.02)
    assert (handlers.calls, handlers.sent) == (1, 1)


# Packets of the server's own


def frame(op_code: int = 9, sender: int = 0, **fields: object) -> bytes:
    return _core.Packet(op_code, sender=sender, **fields).frame()  # type: ignore[arg-type]


def test_delivered_to_all_some_or_nobody(rig: Rig) -> None:
    lines = {number: rig.join(number) for number in (1, 2, 3)}
    assert rig.room.deliver(frame(1), None, True) == 3
    assert rig.room.deliver(frame(2), (1, 3), True) == 2
    assert rig.room.deliver(frame(3), (2, 77), True) == 1
    assert rig.room.deliver(frame(4), (), True) == 0
    assert rig.room.deliver(frame(5), (77, 0, 256, -1), True) == 0
    assert rig.room.deliver(frame(6), (4,), True) == 0  # expected, not here
    rig.flush()
    assert {number: line.op_codes() for number, line in lines.items()} == {1: [1, 2], 2: [1, 3], 3: [1, 2]}
    assert rig.counts()["packets_from_server"] == 6
    assert rig.drops() == {"no_target": 3}


def test_to_an_empty_room(rig: Rig) -> None:
    assert rig.room.deliver(frame(), None, True) == 0
    assert rig.drops() == {"no_target": 1}


def test_held_for_a_player_who_is_not_ready(rig: Rig) -> None:
    red = rig.join(1)
    late = rig.join(2, ready=False)
    assert rig.room.deliver(frame(1), None, True) == 2
    assert rig.room.deliver(frame(2), (2,), False) == 1
    rig.flush()
    assert (red.op_codes(), late.op_codes()) == ([1], [])
    assert rig.counts()["packets_held"] == 2
    late.put(packet(-7))
    rig.flush()
    assert late.op_codes() == [1, 2]


def test_held_for_a_player_who_was_lost_only_if_reliable(rig: Rig) -> None:
    line = rig.join(1)
    line.close()
    rig.until(lambda: rig.handler.closings)
    rig.room.deliver(frame(1), None, True)
    rig.room.deliver(frame(2), None, False)
    again = rig.join(1)
    rig.flush()
    assert again.op_codes() == [1]
    assert rig.drops() == {"absent": 1}


def test_by_datagram_where_it_may_be_lost(rig: Rig) -> None:
    line = rig.join(1)
    post = rig.post(1)
    plain = rig.join(2)
    rig.room.deliver(frame(1), None, False)
    rig.room.deliver(frame(2), None, True)
    rig.flush()
    assert [each.op_code for each in post.packets(1)] == [1]
    assert line.op_codes() == [2]
    assert plain.op_codes() == [1, 2]


def test_the_sender_is_the_server_or_who_it_says(rig: Rig) -> None:
    red = rig.join(1)
    rig.room.deliver(frame(1), None, True)
    rig.room.deliver(frame(2, sender=77), None, True)
    rig.flush()
    assert [(each.op_code, each.sender or 0) for each in red.packets()] == [(1, 0), (2, 77)]


def test_a_packet_that_is_too_large_is_refused(rig: Rig) -> None:
    limit = int(rig.profile.packet_bytes_max)
    rig.join(1)
    fits = limit - len(frame(9, payload=b"x" * 15_000)) + 15_000
    assert rig.room.deliver(frame(9, payload=b"x" * fits), None, True) == 1
    with pytest.raises(ValueError, match="at most 16000"):
        rig.room.deliver(frame(9, payload=b"x" * (fits + 1)), None, True)


def test_what_a_handler_sends_comes_before_the_packet(leg: Leg, post: Post) -> None:
    def answer(packet: Packet) -> None:
        post.handlers.send(9, {1: 1}, None, None, packet.is_reliable(), 0)
        post.handlers.send(10, None, b"p", (2,), packet.is_reliable(), 3)

    post.handlers.on_packet(5, answer)
    leg.send(packet(5))
    assert [each[:2] for each in leg.heard(2)] in ([(9, 0), (10, 3), (5, 1)], [(9, None), (10, 3), (5, 1)])
    assert [each[0] for each in leg.heard(1)] == [9]
    assert leg.rig.counts()["packets_from_server"] == 2


def test_too_large_a_packet_is_refused_where_it_is_sent(rig: Rig, post: Post) -> None:
    """Nothing of it may come up while packets are being taken, where nobody expects it."""
    said: list[str] = []

    def answer(packet: Packet) -> None:
        for text in ("x" * 15_990, "x" * 16_000):
            try:
                post.handlers.send(9, {1: text}, None, None, True, 0)
            except ValueError as error:
                said.append(str(error))
        post.handlers.send(10, None, None, None, True, 0)

    post.handlers.on_packet(5, answer)
    red, blue = rig.join(1), rig.join(2)
    rig.post(1).send(packet(5, payload=b"p"))
    red.put(packet(5))
    rig.flush()
    assert blue.op_codes()[-2:] == [10, 5]
    assert said
    assert all("16000" in each for each in said)
    quiet(post)


def test_sends_of_a_handler_that_raised_still_go_out(rig: Rig, post: Post) -> None:
    def bad(packet: Packet) -> None:
        post.handlers.send(9, None, None, None, True, 0)
        raise ValueError("oh")

    post.handlers.on_packet(5, bad)
    red, blue = rig.join(1), rig.join(2)
    red.put(packet(5))
    rig.flush()
    assert blue.op_codes() == [9, 5]
    assert len(post.owner.failures) == 1


def test_the_last_packets_are_kept_for_a_trial(rigs: Callable[..., Rig]) -> None:
    rig = rigs(script_trial_packets=4)
    post = Post(rig)
    post.handlers.on_packet(5, lambda packet: packet.set_payload(b"changed") and None)
    red = rig.join(1)
    rig.join(2)
    assert post.handlers.last_packets() == []
    red.put(*(packet(5, data=data(_1=number)) for number in range(3)), packet(6))
    assert [_core.Packet.decode(body).data[1] for _, body, _ in post.handlers.last_packets()] == [0, 1, 2]  # type: ignore[index]
    red.put(*(packet(5, data=data(_1=number)) for number in range(3, 9)), packet(5, payload=b"x" * 600))
    kept = post.handlers.last_packets()
    assert [_core.Packet.decode(body).data[1] for _, body, _ in kept] == [5, 6, 7, 8]  # type: ignore[index]
    assert {(sender, reliable) for sender, _, reliable in kept} == {(1, True)}
    rig.post(1).send(packet(5, targets=(2,)))
    sender, body, reliable = post.handlers.last_packets()[-1]
    assert (sender, reliable, _core.Packet.decode(body).targets) == (1, False, (2,))


def test_the_recorder_gets_each_packet_as_it_came(rig: Rig, post: Post) -> None:
    lines: list[tuple[int, int, bytes, bool]] = []
    post.handlers.recorder = lambda *line: lines.append(line)
    post.handlers.on_packet(5, lambda packet: packet.set_payload(b"changed") and None)
    red = rig.join(1)
    rig.join(2)
    rig.now += 1.2345
    red.put(packet(5, payload=b"p"), packet(6))
    assert [(at, sender, _core.Packet.decode(body).payload, reliable) for at, sender, body, reliable in lines] == [
        (1234, 1, b"p", True)
    ]

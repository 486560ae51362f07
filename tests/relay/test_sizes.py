"""How large things may be, on both sides of each limit: packets, datagrams, frames to skip, logins."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest

from tests.relay.rig import Rig, masked, message, packet
from tests.support import wire

Rigs = Callable[..., Rig]


def of_size(size: int, **fields: object) -> bytes:
    """A frame of exactly `size` bytes, prefix included."""
    for payload in range(size, -1, -1):
        made = packet(1, payload=bytes(payload), **fields)
        if len(made) == size:
            return made
    raise AssertionError(f"no frame has {size} bytes")


def relayed_size(payload: int, sender: int = 1) -> int:
    """Bytes of the frame that a payload of that size becomes."""
    return len(packet(1, sender=sender, payload=bytes(payload)))


# packet_bytes_max: of the frame as it goes out; a frame that is larger on its way in is skipped


@pytest.mark.parametrize("leg", ["tcp", "websocket", "udp"])
def test_packet_bytes_max(rigs: Rigs, leg: str) -> None:
    rig = rigs(packet_bytes_max=500, login_bytes_max=500)
    sender = rig.join(1, websocket=leg == "websocket")
    receiver = rig.join(2)
    post = rig.post(1)

    def put(frame: bytes) -> None:
        if leg == "udp":
            post.send(frame)
        else:
            sender.put(frame)
        rig.flush()

    fits = max(size for size in range(500) if relayed_size(size) <= 500)
    put(packet(7, payload=bytes(fits)))
    assert [len(each.payload or b"") for each in receiver.packets()] == [fits]
    put(packet(7, payload=bytes(fits + 1)))
    put(packet(7, payload=bytes(900)))
    assert receiver.packets() == []
    assert rig.drops() == {"oversize": 2}
    put(packet(8))
    assert receiver.op_codes() == [8]


def test_targets_of_a_packet_do_not_make_it_too_large(rigs: Rigs) -> None:
    """The incoming frame may be as large as the outgoing one, plus what is left out."""
    rig = rigs(packet_bytes_max=500, login_bytes_max=500)
    sender, receiver = rig.join(1), rig.join(2)
    sender.put(packet(7, targets=(2,) * 100, payload=bytes(280)))
    rig.flush()
    assert receiver.op_codes() == [7]


def test_frame_skip_bytes_max(rigs: Rigs) -> None:
    rig = rigs(packet_bytes_max=500, login_bytes_max=500, frame_skip_bytes_max=2000)
    sender, receiver = rig.join(1), rig.join(2)
    sender.put(wire.varint(501) + b"\x08\x02" + bytes(499), packet(2))
    sender.put(wire.varint(2000) + b"\x08\x02" + bytes(1998), packet(3))
    rig.flush()
    assert receiver.op_codes() == [2, 3]
    assert rig.drops() == {"oversize": 2}
    sender.put(wire.varint(2001))
    assert [(stream, orderly) for stream, _, orderly in rig.handler.closings] == [(sender.stream, False)]
    assert rig.drops() == {"oversize": 3}


def test_a_skipped_frame_may_come_in_any_pieces(rigs: Rigs) -> None:
    rig = rigs(packet_bytes_max=64, login_bytes_max=64)
    sender, receiver = rig.join(1), rig.join(2)
    data = packet(1) + wire.varint(300) + bytes(300) + packet(2) + wire.varint(70_000) + bytes(70_000) + packet(3)
    for at in range(320):
        sender.put(data[at : at + 1])
    sender.put(data[320:])
    rig.flush()
    assert receiver.op_codes() == [1, 2, 3]
    assert rig.drops() == {"oversize": 2}


@pytest.mark.parametrize("prefix", [b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x7f"], ids=["4 GB", "32 GB"])
def test_a_frame_that_claims_gigabytes_ends_the_connection(rig: Rig, prefix: bytes) -> None:
    sender = rig.join(1)
    sender.put(prefix)
    assert [orderly for _, _, orderly in rig.handler.closings] == [False]
    assert rig.drops() == {"oversize": 1}


def test_a_length_prefix_of_six_bytes_ends_the_connection(rig: Rig) -> None:
    sender, receiver = rig.join(1), rig.join(2)
    sender.put(packet(1), b"\x82\x80\x80\x80\x00\x08\x02")  # five bytes, over-long: still a prefix
    rig.flush()
    assert receiver.op_codes() == [1, 1]
    for byte in b"\x82\x80\x80\x80\x80\x00\x08\x02":
        if sender.stream.fd >= 0:
            sender.put(bytes((byte,)))
    rig.flush()
    assert receiver.op_codes() == []
    assert [orderly for _, _, orderly in rig.handler.closings] == [False]
    assert rig.drops() == {"malformed": 1}


# login_bytes_max


@pytest.mark.parametrize("websocket", [False, True], ids=["rt", "websocket"])
def test_login_bytes_max(rigs: Rigs, websocket: bool) -> None:
    rig = rigs(login_bytes_max=200)

    def dial(body_size: int) -> None:
        line = rig.websocket() if websocket else rig.line()
        # targets fill the packet up to the size wanted: two bytes each
        head, tail = b"\x08\x00", b"\x7a\x011"
        filler = body_size - len(head) - len(tail)
        made = head + b"\x20\x01" * (filler // 2) + tail
        assert len(made) == body_size
        line.put(wire.frame(made))

    dial(199)  # odd, as the parts without filler are
    assert [op_code for _, op_code, _ in rig.handler.controls] == [0]
    dial(201)
    assert [op_code for _, op_code, _ in rig.handler.controls] == [0]
    assert len(rig.handler.closings) == 1
    assert rig.drops() == {"oversize": 1}


def test_before_its_login_a_websocket_cannot_make_the_server_keep_much(rigs: Rigs) -> None:
    rig = rigs(login_bytes_max=200)
    line = rig.websocket()
    line.send(masked(2, bytes(4000), last=False))
    rig.take_streams()
    assert [orderly for _, _, orderly in rig.handler.closings] == [False]
    whole = rig.websocket()
    whole.send(masked(2, bytes(4000))[:100])
    rig.take_streams()
    assert len(rig.handler.closings) == 2


# datagrams in


def test_a_datagram_over_the_room_for_one_is_dropped_whole(rig: Rig) -> None:
    rig.join(1)
    receiver = rig.join(2)
    post = rig.post(1)
    post.send(of_size(2048), of_size(2049))
    rig.flush()
    assert len(receiver.packets()) == 1
    assert rig.drops() == {"oversize": 1}


def test_a_datagram_too_large_of_a_stranger_is_counted_too(rig: Rig) -> None:
    rig.post().send(bytes(3000))
    assert rig.drops() == {"oversize": 1}


def test_an_empty_datagram_is_nothing(rig: Rig) -> None:
    rig.join(1)
    post = rig.post(1)
    post.send(b"", packet(1))
    assert rig.counts()["datagrams_in"] == 3


# datagram_bytes_max: how many packets share a datagram


def test_packets_share_a_datagram_up_to_its_limit(rigs: Rigs) -> None:
    rig = rigs(datagram_bytes_max=100)
    sender = rig.join(1)
    rig.join(2)
    post = rig.post(2)
    each = 20
    payload = next(size for size in range(20) if relayed_size(size) == each)
    sender.put(*[packet(1, reliable=False, payload=bytes((n,)) * payload) for n in range(11)])
    rig.flush()
    got = post.datagrams(3)
    assert [len(datagram) for datagram in got] == [100, 100, 20]
    order = [wire.decode_packet(body).payload for datagram in got for body in wire.datagram_frames(datagram)]
    assert order == [bytes((n,)) * payload for n in range(11)]
    assert rig.counts()["datagrams_out"] == 3


def test_a_packet_that_just_does_not_fit_begins_the_next_datagram(rigs: Rigs) -> None:
    rig = rigs(datagram_bytes_max=100)
    sender = rig.join(1)
    rig.join(2)
    post = rig.post(2)
    sizes = [60, 40, 60, 41, 99, 100]
    payloads = [next(p for p in range(size) if relayed_size(p) == size) for size in sizes]
    sender.put(*[packet(1, reliable=False, payload=bytes(p)) for p in payloads])
    rig.flush()
    assert [len(datagram) for datagram in post.datagrams(5)] == [100, 60, 41, 99, 100]
    assert rig.counts()["datagrams_out"] == 5


def test_an_unreliable_packet_larger_than_a_datagram_goes_by_stream(rigs: Rigs) -> None:
    rig = rigs(datagram_bytes_max=100)
    sender, receiver = rig.join(1), rig.join(2)
    post = rig.post(2)
    fits = next(size for size in range(100) if relayed_size(size) == 100)
    sender.put(packet(1, reliable=False, payload=bytes(fits)), packet(2, reliable=False, payload=bytes(fits + 1)))
    rig.flush()
    assert [each.op_code for each in post.packets(1)] == [1]
    assert receiver.op_codes() == [2]


def test_more_datagrams_than_a_tick_gathers(rigs: Rigs) -> None:
    rig = rigs(datagram_bytes_max=64)
    sender = rig.join(1)
    rig.join(2)
    post = rig.post(2)
    frames = [packet(1000 + n, reliable=False, payload=bytes(50)) for n in range(600)]
    sender.send(b"".join(frames))
    rig.take_streams()
    rig.flush()
    got = []
    while select.select([post.socket], [], [], 0.05)[0]:
        got += [wire.decode_packet(body).op_code for body in wire.datagram_frames(post.socket.recv(2048))]
    lost = rig.counts().get("dropped_udp_send", 0)
    assert got == sorted(got)
    assert rig.counts()["datagrams_out"] == 600 - lost
    # the kernel's receive buffer of the test may be smaller than 600 datagrams; none is lost on our side
    assert len(got) > 100


def test_what_waits_for_several_peers_stays_theirs(rig: Rig) -> None:
    for number in (1, 2, 3, 4):
        rig.join(number)
    posts = {number: rig.post(number) for number in (1, 2, 3, 4)}
    for number in (1, 2, 3, 4):
        posts[number].send(packet(10 * number), packet(10 * number + 1, targets=(1 + number % 4,)))
    rig.flush()
    for number in (1, 2, 3, 4):
        expected = [10 * other for other in (1, 2, 3, 4) if other != number]
        mate = number - 1 or 4
        assert sorted(each.op_code for each in posts[number].packets(1)) == sorted([*expected, 10 * mate + 1])


def test_a_message_may_hold_a_packet_too_large_between_good_ones(rigs: Rigs) -> None:
    rig = rigs(packet_bytes_max=500, login_bytes_max=500)
    sender, receiver = rig.join(1, websocket=True), rig.join(2)
    sender.send(message(packet(1), packet(2, payload=bytes(600)), packet(3)))
    rig.take_streams()
    rig.flush()
    assert receiver.op_codes() == [1, 3]
    assert rig.drops() == {"oversize": 1}

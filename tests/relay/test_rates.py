"""How much one peer may send: datagrams over the rate are dropped and counted, streams wait and lose nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.relay.rig import Line, Rig, masked, message, packet

Rigs = Callable[..., Rig]


def numbered(count: int, first: int = 0) -> list[bytes]:
    """Packets with the opCodes first + 1, first + 2, ..."""
    return [packet(first + number) for number in range(1, count + 1)]


def test_datagrams_just_at_the_burst_all_arrive(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=20)
    sender, receiver = rig.join(1), rig.join(2)
    post = rig.post(1)
    rig.now += 100.0  # what the login cost is filled up again
    post.send(*numbered(20))
    rig.flush()
    assert receiver.op_codes() == list(range(1, 21))
    assert rig.drops() == {}
    assert sender.packets() == []


def test_datagrams_over_the_burst_are_dropped_and_counted(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=20)
    rig.join(1)
    receiver = rig.join(2)
    post = rig.post(1)
    rig.now += 100.0
    post.send(*numbered(23))
    rig.flush()
    assert receiver.op_codes() == list(range(1, 21))
    assert rig.drops() == {"rate": 3}
    rig.now += 0.25  # two packets and a half
    post.send(*numbered(4, first=100))
    rig.flush()
    assert receiver.op_codes() == [101, 102]
    assert rig.drops() == {"rate": 5}


def test_every_packet_of_a_datagram_over_the_rate_is_counted(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=5)
    rig.join(1)
    receiver = rig.join(2)
    post = rig.post(1)
    rig.now += 100.0
    post.send(b"".join(numbered(9)))
    rig.flush()
    assert receiver.op_codes() == [1, 2, 3, 4, 5]
    assert rig.drops() == {"rate": 4}


def test_bytes_of_datagrams_have_a_rate_of_their_own(rigs: Rigs) -> None:
    rig = rigs(bytes_per_second=1024, bytes_burst=16000)
    rig.join(1)
    receiver = rig.join(2)
    post = rig.post(1)
    rig.now += 100.0
    large = packet(1, payload=bytes(995))  # 1,000 bytes of packet
    assert len(large) == 1002
    for _ in range(17):
        post.send(large)
    rig.flush()
    # 16,000 bytes are there; the seventeenth packet finds a balance of 0, which is not below it
    assert len(receiver.packets()) == 17
    assert rig.drops() == {}
    post.send(large)
    assert rig.drops() == {"rate": 1}
    rig.now += 1000 / 1024 + 0.001
    post.send(large, large)
    assert rig.drops() == {"rate": 2}


def test_tokens_never_pass_the_burst(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=1000, packets_burst=5)
    rig.join(1)
    rig.join(2)
    post = rig.post(1)
    rig.now += 1e6
    post.send(*numbered(6))
    assert rig.drops() == {"rate": 1}


def test_a_clock_that_goes_back_neither_fills_nor_breaks_the_rate(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=20)
    rig.join(1)
    receiver = rig.join(2)
    post = rig.post(1)
    rig.now += 100.0
    post.send(*numbered(20))
    rig.now -= 50.0
    post.send(*numbered(1))
    assert rig.drops() == {"rate": 1}
    rig.now += 50.15
    post.send(*numbered(1, first=200))
    rig.flush()
    assert receiver.op_codes() == [*range(1, 21), 201]


def all_in_one(line: Line, frames: list[bytes]) -> bytes:
    return b"".join(message(each) for each in frames) if line.websocket else b"".join(frames)


@pytest.mark.parametrize("websocket", [False, True], ids=["rt", "websocket"])
def test_a_stream_over_its_rate_waits_and_loses_nothing(rigs: Rigs, websocket: bool) -> None:
    rig = rigs(packets_per_second=10, packets_burst=20)
    sender, receiver = rig.join(1, websocket=websocket), rig.join(2)
    rig.now += 100.0
    sender.send(all_in_one(sender, numbered(50)))
    rig.take_streams()
    rig.flush()
    assert receiver.op_codes() == list(range(1, 21))
    assert rig.relay.paused_count == 1
    sender.send(all_in_one(sender, numbered(10, first=50)))
    rig.take_streams()  # not read meanwhile
    rig.flush()
    assert receiver.op_codes() == []
    got = []
    for _ in range(25):
        rig.now += 0.2
        rig.relay.resume(rig.now)
        rig.take_streams()
        rig.flush()
        fresh = receiver.op_codes()
        assert len(fresh) <= 2
        got += fresh
    assert got == list(range(21, 61))
    assert rig.relay.paused_count == 0
    assert rig.drops() == {}
    assert rig.counts()["streams_paused_rate"] > 0


def test_a_resume_too_early_changes_nothing(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=5)
    sender, receiver = rig.join(1), rig.join(2)
    rig.now += 100.0
    sender.put(*numbered(8))
    rig.flush()
    assert receiver.op_codes() == [1, 2, 3, 4, 5]
    for _ in range(10):
        rig.relay.resume(rig.now)
    rig.flush()
    assert receiver.op_codes() == []
    assert rig.relay.paused_count == 1


def test_one_peer_over_its_rate_holds_up_nobody_else(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=5)
    flood, calm, receiver = rig.join(1), rig.join(2), rig.join(3)
    rig.now += 100.0
    flood.put(*numbered(100))
    calm.put(*numbered(3, first=1000))
    rig.flush()
    assert sorted(each.op_code for each in receiver.packets() if each.sender == 2) == [1001, 1002, 1003]


def test_a_peer_that_closes_while_it_waits_is_heard_to_the_end(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=5)
    sender, receiver = rig.join(1, tcp=True), rig.join(2)
    rig.now += 100.0
    sender.send(b"".join(numbered(12)))
    rig.until(lambda: rig.relay.paused_count)
    sender.close()
    rig.take_streams()
    assert rig.handler.closings == []
    rig.now += 0.5
    rig.relay.resume(rig.now)
    rig.now += 0.5
    rig.relay.resume(rig.now)
    rig.until(lambda: rig.handler.closings)
    rig.flush()
    assert receiver.op_codes() == list(range(1, 13))
    assert [(stream, orderly) for stream, _, orderly in rig.handler.closings] == [(sender.stream, True)]
    assert rig.relay.paused_count == 0


def test_a_rate_survives_a_new_login(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=1, packets_burst=5)
    sender = rig.join(1)
    receiver = rig.join(2)
    rig.now += 100.0
    sender.put(*numbered(5))
    again = rig.line()
    again.put(packet(0, payload=b"1"), *numbered(1, first=50))
    rig.flush()
    assert receiver.op_codes() == [1, 2, 3, 4, 5]
    assert rig.relay.paused_count == 1


def test_malformed_packets_count_against_the_rate(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=20)
    sender = rig.join(1)
    rig.now += 100.0
    sender.put(b"\x02\x08\x02", *([b"\x02\x10\x01"] * 100))
    assert rig.relay.paused_count == 1
    assert rig.drops()["malformed"] <= 20


def test_frames_too_large_count_against_the_rate(rigs: Rigs) -> None:
    rig = rigs(bytes_per_second=1024, bytes_burst=16000)
    sender = rig.join(1)
    rig.now += 100.0
    oversize = b"\xff\x7d" + bytes(0x3EFF)  # 16,127 bytes
    sender.put(oversize)
    sender.put(oversize)
    assert rig.relay.paused_count == 1
    assert rig.drops() == {"oversize": 1}


def test_control_frames_count_against_the_rate(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=20)
    sender = rig.join(1, websocket=True)
    rig.now += 100.0
    sender.send(masked_pings(100))
    rig.take_streams()
    rig.flush()
    assert rig.relay.paused_count == 1
    assert 0 < sender.read().count(b"\x8a\x01p") <= 20


def masked_pings(count: int) -> bytes:
    return masked(9, b"p") * count


def test_empty_messages_and_fragments_count_against_the_rate(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=20)
    first, second = rig.join(1, websocket=True), rig.join(2, websocket=True)
    rig.now += 100.0
    first.send(masked(2, b"") * 100)
    second.send(masked(2, b"", last=False) + masked(0, b"", last=False) * 100)
    rig.take_streams()
    assert rig.relay.paused_count == 2


def test_system_packets_count_against_the_rate(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=20)
    sender = rig.join(1)
    rig.now += 100.0
    sender.put(*([packet(-5)] * 100))
    assert rig.relay.paused_count == 1
    assert len([op_code for _, op_code, _ in rig.handler.controls if op_code == -5]) == 20

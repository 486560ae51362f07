"""What is put out within one turn is bounded: much of it goes out before the turn ends, and one sender cannot fill
everybody's buffers at once."""

from __future__ import annotations

from collections.abc import Callable

from tests.relay.rig import Rig, packet

Rigs = Callable[..., Rig]

MEMORY_BYTES = 1 << 24
MUCH_BYTES = MEMORY_BYTES // 64
MOST_BYTES = MEMORY_BYTES // 32
PAYLOAD = bytes(15_000)


def test_much_output_goes_out_before_the_turn_ends(rigs: Rigs) -> None:
    rig = rigs(6, memory_bytes_max=MEMORY_BYTES)
    lines = [rig.join(number) for number in range(1, 7)]
    told: list[float] = []
    rig.relay.made_much = told.append
    for line in lines[:4]:
        line.send(packet(1, payload=PAYLOAD) * 4)
    rig.relay.receive_streams(rig.now)
    assert 4 * 5 * len(PAYLOAD) > MUCH_BYTES
    assert told == [rig.now] * 4  # after each of them
    assert len(lines[5].packets()) >= 8  # before the flush at its end
    rig.flush()
    assert rig.drops() == {}


def test_little_output_waits_for_its_end(rigs: Rigs) -> None:
    rig = rigs(6, memory_bytes_max=MEMORY_BYTES)
    lines = [rig.join(number) for number in range(1, 7)]
    told: list[float] = []
    rig.relay.made_much = told.append
    for _ in range(3):  # each turn is looked at by itself
        lines[0].send(packet(1, payload=PAYLOAD) * 3)
        rig.relay.receive_streams(rig.now)
        assert lines[5].packets() == []
        rig.flush()
        assert len(lines[5].packets()) == 3
    assert told == []


def test_one_sender_gives_nobody_more_than_the_soft_limit_beyond_the_most(rigs: Rigs) -> None:
    count = 21
    rig = rigs(count, memory_bytes_max=MEMORY_BYTES, stream_out_soft_bytes=20_000)
    lines = [rig.join(number) for number in range(1, count + 1)]
    lines[0].send(packet(1, payload=PAYLOAD) * 2)
    rig.relay.receive_streams(rig.now)
    doomed = rig.relay.take_doomed()
    # The first packet is below everyone's soft limit; of the second, some get it before the most is reached.
    assert len(doomed) == 2 * (count - 1) - MOST_BYTES // len(PAYLOAD) - 1
    assert {reason for _, reason in doomed} == {"it does not read what is sent to it"}


def test_what_waits_for_a_connection_goes_when_it_is_closed(rigs: Rigs) -> None:
    rig = rigs(2)
    sender, slow = rig.join(1), rig.join(2, send_buffer=4096)
    while slow.stream.backlog < 100_000:
        sender.put(packet(1, payload=PAYLOAD, reliable=True))
        rig.flush()
    slow.stream.close(orderly=False)
    assert slow.stream.backlog == 0

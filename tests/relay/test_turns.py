"""How much is taken in one call, so that nobody keeps the loop for himself, and that nothing is forgotten over it."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest

from tests.relay.rig import Rig, message, packet

Rigs = Callable[..., Rig]

READ_BYTES = 65_536  # of one connection in one call
BATCH = 64  # datagrams


def test_datagrams_in_batches(rigs: Rigs) -> None:
    rig = rigs(datagram_batches_max=2)
    rig.join(1)
    post = rig.post(1)
    for number in range(1, 181):
        post.socket.send(packet(number, targets=(9,)))
    left = 180
    for _ in range(100):
        got = rig.relay.receive_datagrams(rig.now)
        assert got <= 2 * BATCH
        left -= got
        if not left:
            break
        select.select([rig.udp], [], [], 0.1)
    assert left == 0
    assert rig.drops() == {"no_target": 180}


def test_one_piece_of_each_connection(rig: Rig) -> None:
    """A connection with much to say has its turn after everybody else has had one."""
    loud, quiet, witness = rig.join(1), rig.join(2), rig.join(3)
    frame = packet(1, payload=bytes(1000))
    loud.send(frame * 150)
    quiet.send(packet(2))
    rig.relay.receive_streams(rig.now)
    rig.flush()
    got = [each.op_code for each in witness.packets()]
    assert got.count(2) == 1
    assert got.count(1) <= READ_BYTES // len(frame) + 1
    rig.take_streams()
    rig.flush()
    assert got.count(1) + witness.op_codes().count(1) == 150


@pytest.mark.parametrize("websocket", [False, True])
def test_more_connections_ready_than_are_looked_at_in_one_go(rigs: Rigs, websocket: bool) -> None:
    rig = rigs(255)
    lines = {number: rig.join(number, websocket=websocket) for number in range(1, 256)}
    for number, line in lines.items():
        frame = packet(number, targets=(number % 255 + 1,))
        line.send(message(frame) if websocket else frame)
    left = 255
    while left:
        got = rig.relay.receive_streams(rig.now)
        assert 0 < got <= 128
        left -= got
    rig.flush()
    for number, line in lines.items():
        ((op_code, sender),) = [(each.op_code, each.sender) for each in line.packets()]
        assert sender == op_code == (number - 1 or 255)


def test_a_full_room_hears_one_packet_once_each(rigs: Rigs) -> None:
    rig = rigs(255)
    lines = [rig.join(number) for number in range(1, 256)]
    posts = {number: rig.post(number) for number in range(200, 256)}
    lines[0].put(packet(7, reliable=False, payload=b"x"))
    rig.flush()
    for number, line in enumerate(lines, 1):
        expected = [] if number == 1 or number in posts else [7]
        assert line.op_codes() == expected
    for post in posts.values():
        assert [each.op_code for each in post.packets(1)] == [7]
    assert rig.counts()["packets_out"] == 254


def test_nothing_to_do_is_nothing(rig: Rig) -> None:
    assert rig.relay.receive_datagrams(rig.now) == 0
    assert rig.relay.receive_streams(rig.now) == 0
    rig.relay.resume(rig.now)
    rig.flush()
    assert not rig.relay.has_output
    assert rig.relay.take_doomed() == ()
    assert rig.counts() == {}


def test_output_is_announced_and_leaves_only_with_a_flush(rig: Rig) -> None:
    sender, receiver = rig.join(1), rig.join(2)
    post = rig.post(2)
    announced = [rig.relay.has_output]
    for number, reliable in ((1, True), (2, False)):
        sender.put(packet(number, reliable=reliable))
        assert receiver.packets() == []
        assert post.quiet()
        announced.append(rig.relay.has_output)
        rig.flush()
        announced.append(rig.relay.has_output)
        got = receiver.packets() if reliable else post.packets(1)
        assert [each.op_code for each in got] == [number]
    assert announced == [False, True, False, True, False]


def test_what_a_turn_makes_for_one_peer_leaves_in_one_write(rig: Rig) -> None:
    lines = [rig.join(number) for number in (1, 2, 3)]
    before = rig.counts().get("writes_out", 0)
    for number, line in enumerate(lines[:2]):
        line.put(*[packet(10 * number + n, payload=bytes(100)) for n in range(1, 8)])
    rig.flush()
    assert rig.counts()["writes_out"] - before == 3
    assert len(lines[2].packets()) == 14

"""What waits for a peer that is not ready, away, or slow: bounded, unreliable first to go, then the peer."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import pytest

from tests.relay.rig import Line, Rig, masked, packet
from tests.support import wire

Rigs = Callable[..., Rig]


def out_of(payload: int) -> int:
    """Bytes that a packet of the first peer with so much payload is on its way out."""
    return len(packet(1, sender=1, payload=bytes(payload)))


# held for a peer that has logged in and is not ready


def test_a_peer_that_is_not_ready_gets_all_in_order_once_it_is(rig: Rig) -> None:
    sender, late = rig.join(1), rig.join(2, ready=False)
    sender.put(packet(1), packet(2, reliable=False), packet(3, sequence=5, reliable=False), packet(4))
    rig.flush()
    assert late.packets() == []
    late.put(packet(-7))
    sender.put(packet(5))
    rig.flush()
    assert [(each.op_code, each.sender, each.sequence) for each in late.packets()] == [
        (number, 1, None) for number in (1, 2, 3, 4, 5)
    ]
    assert rig.counts()["packets_held"] == 4


@pytest.mark.parametrize("reliable", [True, False])
def test_held_bytes_max(rigs: Rigs, reliable: bool) -> None:
    """Unreliable packets may take half of the room, reliable ones all of it; then the peer is given up."""
    rig = rigs(held_bytes_max=2000)
    sender, late = rig.join(1), rig.join(2, ready=False)
    rig.members[2].is_known = True
    room = 2000 if reliable else 1000
    each = 100
    payload = next(size for size in range(each) if out_of(size) == each)
    flag = None if reliable else False
    for number in range(room // each):
        sender.put(packet(1 + number % 60, reliable=flag, payload=bytes(payload)))
    assert rig.drops() == {}
    assert rig.relay.take_doomed() == ()
    sender.put(packet(1, reliable=flag))
    assert rig.drops() == {"held_full": 1} | ({"unsent": room // each} if reliable else {})
    doomed = rig.relay.take_doomed()
    assert [member.peer_id for member, _ in doomed] == ([2] if reliable else [])
    assert rig.relay.take_doomed() == ()
    if not reliable:
        sender.put(packet(9))
        assert rig.drops() == {"held_full": 1}
        late.put(packet(-7))
        rig.flush()
        assert len(late.packets()) == room // each + 1


def test_what_is_held_is_bounded_for_good(rigs: Rigs) -> None:
    rig = rigs(held_bytes_max=2000)
    sender = rig.join(1)
    rig.join(2, ready=False)
    rig.members[2].is_known = True
    for _ in range(200):
        sender.put(packet(1, payload=bytes(90)))
    assert [member.peer_id for member, _ in rig.relay.take_doomed()] == [2]
    counts = rig.counts()
    assert counts["packets_held"] + counts["dropped_held_full"] == 200
    assert counts["packets_held"] <= 20


def test_a_newcomer_misses_what_is_too_much_to_hold_and_comes_in_all_the_same(rigs: Rigs) -> None:
    """Nobody knows of it yet; else a busy room could never be joined, and one player could keep all others out."""
    rig = rigs(held_bytes_max=2000)
    sender, late = rig.join(1), rig.join(2, ready=False)
    for _ in range(200):
        sender.put(packet(1, payload=bytes(90)))
    assert rig.relay.take_doomed() == ()
    assert rig.counts()["packets_held"] + rig.drops()["held_full"] == 200
    late.put(packet(-7))
    sender.put(packet(2))
    rig.flush()
    assert late.op_codes() == [1] * rig.counts()["packets_held"] + [2]


def test_unreliable_packets_for_one_who_is_away_are_dropped_reliable_ones_held(rig: Rig) -> None:
    sender, away = rig.join(1), rig.join(2)
    away.stream.close()
    rig.members[2].detach()
    sender.put(packet(1), packet(2, reliable=False), packet(3))
    assert rig.drops() == {"absent": 1}
    back = rig.join(2)
    rig.flush()
    assert back.op_codes() == [1, 3]


def test_one_who_is_away_too_long_is_given_up_once(rigs: Rigs) -> None:
    rig = rigs(held_bytes_max=1024)
    sender = rig.join(1)
    rig.join(2).stream.close()
    rig.members[2].detach()
    rig.members[2].is_known = True
    for _ in range(100):
        sender.put(packet(1, payload=bytes(100)))
    doomed = [member.peer_id for member, _ in rig.relay.take_doomed()]
    assert doomed == [2]


def test_nothing_is_held_for_one_who_has_left_or_never_came(rig: Rig) -> None:
    sender = rig.join(1)
    rig.join(2)
    rig.members[2].leave()
    sender.put(packet(1, targets=(2, 3)), packet(2, targets=(2,)))
    assert rig.drops() == {"no_target": 2}
    assert "packets_held" not in rig.counts()


def test_what_is_held_for_one_who_leaves_is_counted(rig: Rig) -> None:
    sender, late = rig.join(1), rig.join(2, ready=False)
    sender.put(packet(1), packet(2), packet(3, reliable=False))
    rig.members[2].leave()
    late.stream.close()
    assert rig.drops() == {"unsent": 3}


def test_output_that_nobody_will_get_is_counted(rig: Rig) -> None:
    sender, gone = rig.join(1), rig.join(2)
    rig.post(2)
    sender.put(packet(1), packet(2), packet(3, reliable=False))
    gone.stream.close(False)
    rig.members[2].detach()
    assert rig.drops() == {"unsent": 3}
    assert rig.counts()["packets_out"] == 3


# output of a slow reader


def fill(rig: Rig, slow: Line) -> None:
    """Fills the kernel's buffers towards a peer, so that all that follows has to wait."""
    member = slow.stream.member
    assert member is not None
    while slow.stream.backlog == 0:
        member.send(packet(99, payload=bytes(900)))
        rig.flush()


@pytest.mark.parametrize("websocket", [False, True], ids=["rt", "websocket"])
def test_over_the_soft_limit_unreliable_packets_are_dropped(rigs: Rigs, websocket: bool) -> None:
    rig = rigs(stream_out_soft_bytes=4096, packet_bytes_max=2000, login_bytes_max=2000)
    sender, slow = rig.join(1), rig.join(2, websocket=websocket, send_buffer=4096)
    fill(rig, slow)
    frame = packet(1, reliable=False, payload=bytes(100))
    while slow.stream.backlog + out_of(100) <= 4096:
        sender.put(frame)
    assert rig.drops() == {}
    full = slow.stream.backlog
    sender.put(frame)
    assert rig.drops() == {"slow": 1}
    assert slow.stream.backlog == full
    sender.put(packet(2, payload=bytes(100)))
    assert rig.drops() == {"slow": 1}
    assert slow.stream.backlog > full
    assert rig.relay.take_doomed() == ()
    # and all that was accepted arrives
    got = [each.op_code for each in drain(rig, slow)]
    assert got[-1] == 2
    assert got.count(2) == 1
    assert set(got[:-1]) <= {-7, 1, 99}


def drain(rig: Rig, slow: Line) -> list[wire.Packet]:
    data = b""
    while slow.stream.backlog:
        data += slow.read()
        rig.take_streams()
        rig.flush()
    slow.received = data + slow.received
    return slow.packets()


def test_over_the_hard_limit_the_peer_is_given_up(rigs: Rigs) -> None:
    rig = rigs(
        stream_out_soft_bytes=4096,
        stream_out_hard_bytes=8192,
        held_bytes_max=1024,
        packet_bytes_max=2000,
        login_bytes_max=2000,
    )
    sender, slow = rig.join(1), rig.join(2, send_buffer=4096)
    fill(rig, slow)
    while slow.stream.backlog + out_of(100) <= 8192:
        sender.put(packet(1, payload=bytes(100)))
    assert rig.drops() == {}
    assert rig.relay.take_doomed() == ()
    full = slow.stream.backlog
    sender.put(packet(1, payload=bytes(100)), packet(2), packet(3))
    assert [(member.peer_id, reason) for member, reason in rig.relay.take_doomed()] == [
        (2, "it does not read what is sent to it")
    ]
    assert slow.stream.backlog == full
    assert rig.relay.take_doomed() == ()
    assert rig.drops() == {"slow": 3}


def test_a_slow_reader_gets_every_byte_once_it_reads(rigs: Rigs) -> None:
    rig = rigs(stream_out_soft_bytes=1 << 20)
    sender, slow = rig.join(1), rig.join(2, send_buffer=4096, tcp=True)
    total = 3000
    for number in range(total):
        sender.put(packet(1 + number, payload=bytes(100)))
        if number % 100 == 0:
            rig.flush()
    rig.flush()
    got: list[int] = []

    def all_there() -> bool:
        rig.flush()
        got.extend(slow.op_codes())
        return len(got) == total

    rig.until(all_there)
    assert got == list(range(1, total + 1))
    assert slow.stream.backlog == 0
    assert rig.drops() == {}


def test_flush_does_not_try_a_full_socket_again_and_again(rigs: Rigs) -> None:
    rig = rigs(stream_out_soft_bytes=1 << 20)
    sender, slow = rig.join(1), rig.join(2, send_buffer=4096)
    fill(rig, slow)
    writes = rig.counts()["writes_out"]
    for _ in range(50):
        sender.put(packet(1))
        rig.flush()
    assert rig.counts()["writes_out"] == writes
    drain(rig, slow)


def test_pongs_that_nobody_reads_are_bounded(rigs: Rigs) -> None:
    rig = rigs(stream_out_hard_bytes=131072)
    line = rig.join(1, websocket=True, send_buffer=4096)
    ping = masked(9, bytes(125))
    sent = 0
    while line.stream.fd >= 0 and sent < 2_000_000:
        line.send(ping * 100)
        sent += 100 * len(ping)
        rig.take_streams()
        rig.flush()
        assert line.stream.backlog <= 131072 + 200
    assert line.stream.fd < 0
    assert [orderly for _, _, orderly in rig.handler.closings] == [False]


def test_pings_of_one_who_is_not_logged_in_are_bounded_too(rigs: Rigs) -> None:
    rig = rigs(stream_out_hard_bytes=131072)
    line = rig.websocket(send_buffer=4096)
    for _ in range(50):
        if line.stream.fd >= 0:
            line.send(masked(9, bytes(125)) * 100)
            rig.take_streams()
            rig.flush()
    assert line.stream.fd < 0


# a full device and addresses that cannot be sent to


def test_a_datagram_that_cannot_go_is_counted_and_the_next_one_goes(rig: Rig) -> None:
    sender = rig.join(1)
    rig.join(2)
    rig.join(3)
    post = rig.post(3)
    for hopeless in (("127.0.0.1", 0), ("255.255.255.255", 9)):  # no port; a broadcast that nobody has allowed
        rig.members[2].bind(raw_address(*hopeless))
        rig.members[2].confirm_udp()
        before = rig.drops().get("udp_send", 0)
        sender.put(packet(5, reliable=False))
        rig.flush()
        assert rig.drops() == {"udp_send": before + 1}
        assert [each.op_code for each in post.packets(1)] == [5]
    assert rig.counts()["datagrams_out"] == 2


def test_a_datagram_over_what_the_device_takes(rigs: Rigs) -> None:
    """A send buffer of the kernel's smallest size: EMSGSIZE or EAGAIN, whatever it says, is counted."""
    rig = rigs()
    sender = rig.join(1)
    rig.join(2)
    post = rig.post(2)
    rig.udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for _ in range(300):
        sender.put(packet(1, reliable=False, payload=bytes(900)))
    rig.flush()
    counts = rig.counts()
    assert counts["datagrams_out"] + counts.get("dropped_udp_send", 0) == 300
    post.socket.close()


def test_sending_to_a_port_that_has_closed_harms_nobody(rig: Rig) -> None:
    sender = rig.join(1)
    rig.join(2)
    rig.join(3)
    gone, there = rig.post(2), rig.post(3)
    gone.socket.close()
    for number in range(1, 6):
        sender.put(packet(number, reliable=False))
        rig.flush()
        assert [each.op_code for each in there.packets(1)] == [number]
    there.send(packet(9))  # an error that the kernel keeps for the socket must not eat a datagram
    rig.flush()
    assert sender.op_codes() == [9]


def raw_address(host: str, port: int) -> bytes:
    """struct sockaddr_in."""
    return socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)


def test_the_addresses_of_this_test_are_hopeless() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for address, expected in (
            (("127.0.0.1", 0), (errno.EINVAL,)),
            (("255.255.255.255", 9), (errno.EACCES, errno.EPERM, errno.ENETUNREACH)),
        ):
            with pytest.raises(OSError) as failed:
                probe.sendto(b"x", address)
            assert failed.value.errno in expected

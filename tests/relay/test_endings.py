"""How connections end: from the other side, from ours, in the middle of a reading, by a handler's fault; and what is
left of them afterwards, which is nothing."""

from __future__ import annotations

import gc
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gsrt._relay import Member, Relay, Room, Stream
from tests.relay.rig import Line, Rig, masked, message, packet, profile
from tests.support import wire

Rigs = Callable[..., Rig]


def reset(line: Line) -> None:
    """RST instead of FIN."""
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.socket.close()


def endings(rig: Rig) -> list[tuple[Stream, bool]]:
    return [(stream, orderly) for stream, _, orderly in rig.handler.closings]


# from the other side


@pytest.mark.parametrize("websocket", [False, True])
def test_fin_is_orderly(rig: Rig, websocket: bool) -> None:
    line, witness = rig.join(1, tcp=True, websocket=websocket), rig.join(2)
    line.send(message(packet(5)) if websocket else packet(5))
    line.close()
    rig.until(lambda: rig.handler.closings)
    rig.flush()
    assert witness.op_codes() == [5]
    assert endings(rig) == [(line.stream, True)]
    assert line.stream.fd == -1
    assert line.stream.fd not in rig.relay.streams


def test_a_half_close_is_an_end_too(rig: Rig) -> None:
    line = rig.join(1, tcp=True)
    line.socket.shutdown(socket.SHUT_WR)
    rig.until(lambda: rig.handler.closings)
    assert endings(rig) == [(line.stream, True)]


def test_reset_is_a_loss(rig: Rig) -> None:
    line = rig.join(1, tcp=True)
    reset(line)
    rig.until(lambda: rig.handler.closings)
    assert endings(rig) == [(line.stream, False)]


def test_reset_that_is_met_by_our_own_sending_is_a_loss(rig: Rig) -> None:
    """The error is given to whoever asks first: send() takes it, and recv() then says "end of stream"."""
    line = rig.join(1, tcp=True)
    reset(line)
    rig.members[1].send(packet(-1, payload=b"\x08\x01"))
    rig.flush()
    rig.until(lambda: rig.handler.closings)
    assert endings(rig) == [(line.stream, False)]


def test_reset_while_output_waits_is_a_loss(rig: Rig) -> None:
    line = rig.join(1, tcp=True, send_buffer=4096)
    while line.stream.backlog == 0:
        rig.members[1].send(packet(99, payload=bytes(900)))
        rig.flush()
    reset(line)
    rig.until(lambda: rig.handler.closings)
    assert endings(rig) == [(line.stream, False)]


def test_reset_while_over_the_rate_is_a_loss(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=1, packets_burst=5)
    line = rig.join(1, tcp=True)
    rig.now += 100.0
    line.send(b"".join(packet(n) for n in range(1, 20)))
    rig.until(lambda: rig.relay.paused_count)
    reset(line)
    rig.until(lambda: rig.handler.closings)
    assert endings(rig) == [(line.stream, False)]
    rig.now += 100.0
    rig.relay.resume(rig.now)
    assert rig.relay.paused_count == 0
    assert len(rig.handler.closings) == 1


def test_packets_before_a_fin_in_the_same_tick_are_relayed(rig: Rig) -> None:
    line, witness = rig.join(1), rig.join(2)
    line.send(packet(1) + packet(2) + packet(3)[:1])
    line.close()
    rig.take_streams()
    rig.flush()
    assert witness.op_codes() == [1, 2]
    assert [stream for stream, _ in endings(rig)] == [line.stream]


# a new login in place of the old one


def test_a_new_login_replaces_the_old_connection_without_a_leaked_packet(rig: Rig) -> None:
    witness = rig.join(2)
    old = rig.join(1)
    old.send(packet(1) + packet(2))  # unread when the new login comes
    new = rig.line()
    new.send(packet(0, payload=b"1") + packet(3) + packet(-7) + packet(4))
    new_first = Line(rig, new.socket, new.stream)
    rig.take_streams()
    rig.flush()
    op_codes = witness.op_codes()
    assert op_codes[-2:] == [3, 4]
    assert old.stream.fd < 0
    assert old.read() == b""
    assert old.ended
    assert rig.members[1].stream is new_first.stream
    witness.put(packet(9))
    rig.flush()
    assert new.op_codes() == [9]


def test_two_logins_of_one_peer_in_one_tick(rig: Rig) -> None:
    lines = [rig.line() for _ in range(5)]
    for line in lines:
        line.send(packet(0, payload=b"1") + packet(-7))
    rig.take_streams()
    alive = [line for line in lines if line.stream.fd >= 0]
    assert [line.stream for line in alive] == [rig.members[1].stream]
    assert rig.members[1].is_open
    assert rig.handler.closings == []


@pytest.mark.parametrize("websocket", [False, True])
def test_an_old_connection_that_is_cut_off_while_it_is_being_read(rig: Rig, websocket: bool) -> None:
    """One reading holds packets, then something that makes the handler close this very stream, then more packets."""
    line, witness = rig.join(1, websocket=websocket), rig.join(2)

    def close_it(stream: Stream, op_code: int, body: bytes, now: float) -> None:
        member = stream.member
        assert member is not None
        member.detach()
        stream.close()

    rig.handler.on_control = close_it
    line.put(packet(1), packet(2), packet(-7), packet(3), packet(4))
    rig.flush()
    assert witness.op_codes() == [1, 2]
    assert line.stream.fd == -1
    assert rig.handler.closings == []


def test_a_handler_that_closes_another_stream_of_the_same_batch(rig: Rig) -> None:
    victims = [rig.join(number) for number in (2, 3, 4)]
    killer = rig.join(1)

    def close_all(stream: Stream, op_code: int, body: bytes, now: float) -> None:
        for each in victims:
            each.stream.close()

    rig.handler.on_control = close_all
    for line in (victims[0], killer, *victims[1:]):
        line.send(packet(-7) + packet(5))
    rig.take_streams()
    rig.flush()
    assert all(each.stream.fd == -1 for each in victims)
    assert rig.handler.closings == []


@pytest.mark.parametrize("how", ["leave", "detach", "close", "everything"])
def test_a_peer_that_leaves_within_its_own_packet(rig: Rig, how: str) -> None:
    witness = rig.join(2)
    rig.post(2)

    def go(stream: Stream, op_code: int, body: bytes, now: float) -> None:
        member = stream.member
        if member is None:
            rig.handler.take_control(stream, op_code, body)
        elif how == "leave":
            member.leave()
        elif how == "detach":
            member.detach()
        elif how == "close":
            stream.close()
        else:
            member.leave()
            stream.close()
            stream.close(False)
            member.unbind()

    line = rig.join(1)
    rig.post(1)
    rig.handler.on_control = go
    line.put(packet(-7), packet(3), packet(-7), packet(4))
    rig.flush()
    assert witness.packets() == []
    assert rig.drops() == {}


# faults of the handler

CALLS = ["opening", "http", "control", "closed", "datagram"]


@pytest.mark.parametrize("call", CALLS)
def test_a_handler_that_raises_costs_one_connection(rig: Rig, call: str) -> None:
    sender, witness = rig.join(1), rig.join(2)

    def fail(*arguments: object) -> None:
        raise RuntimeError(f"{call} is broken")

    line = rig.line()
    setattr(rig.handler, call, fail)
    if call == "opening":
        line.put(b"x")
    elif call == "http":
        line.put(b"GET / HTTP/1.1\r\n\r\n")
    elif call == "control":
        line.put(packet(0))
    elif call == "closed":
        line.close()
        rig.take_streams()
    else:
        rig.post().send(packet(0, payload=b"1"), packet(0, payload=b"2"))
    expected = [None, None] if call == "datagram" else [line.stream]
    assert [stream for stream, _ in rig.handler.failures] == expected
    assert all(isinstance(error, RuntimeError) for _, error in rig.handler.failures)
    if call != "datagram":
        assert line.stream.fd == -1
    rig.handler.failures.clear()
    sender.put(packet(5))
    rig.flush()
    assert witness.op_codes() == [5]


def test_a_handler_that_raises_at_a_packet_of_a_peer(rig: Rig) -> None:
    line, witness = rig.join(1), rig.join(2)

    def fail(*arguments: object) -> None:
        raise KeyError("broken")

    rig.handler.on_control = fail
    line.put(packet(1), packet(-5), packet(2))
    rig.flush()
    assert witness.op_codes() == [1]
    assert [stream for stream, _ in rig.handler.failures] == [line.stream]
    assert rig.members[1].stream is None
    rig.handler.failures.clear()


def test_a_handler_that_raises_while_resuming(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=1, packets_burst=2)
    line, other, witness = rig.join(1), rig.join(2), rig.join(3)
    rig.now += 100.0
    line.put(packet(1), packet(2), packet(-5), packet(3))
    other.put(packet(11), packet(12), packet(13))
    assert rig.relay.paused_count == 2

    def fail(*arguments: object) -> None:
        raise KeyError("broken")

    rig.handler.on_control = fail
    rig.now += 100.0
    rig.relay.resume(rig.now)
    rig.flush()
    assert [each.op_code for each in witness.packets()] == [1, 2, 11, 12, 13]
    assert [stream for stream, _ in rig.handler.failures] == [line.stream]
    rig.handler.failures.clear()


# from our side


def test_what_waits_goes_out_before_the_close(rig: Rig) -> None:
    line = rig.join(1)
    rig.members[1].send(packet(-103, payload=b"\x08\x02"))
    line.stream.close()
    assert line.op_codes() == [-103]
    assert line.ended


def test_an_answer_larger_than_the_socket_takes_is_finished_later(rig: Rig) -> None:
    answer = bytes(range(256)) * 1000

    def answer_at_length(stream: Stream, data: bytes, now: float) -> int:
        stream.write(answer)
        stream.finish()
        return len(data)

    rig.handler.http = answer_at_length  # type: ignore[method-assign]
    line = rig.line(send_buffer=4096)
    line.put(b"GET / HTTP/1.1\r\n\r\n", bytes(1000))
    got = b""
    for _ in range(10_000):
        rig.flush()
        got += line.read()
        if line.ended:
            break
        assert rig.handler.closings == []
        rig.take_streams()
    assert got == answer
    assert line.ended
    line.close()
    rig.take_streams()
    assert endings(rig) == [(line.stream, True)]


def test_an_abrupt_close_sends_nothing(rig: Rig) -> None:
    line = rig.join(1, websocket=True)
    rig.members[1].send(packet(-103, payload=b"\x08\x02"))
    line.stream.close(False)
    assert line.read() == b""
    assert line.ended
    rig.flush()


def test_last_words_survive_bytes_that_were_not_read(rig: Rig) -> None:
    """Closing over unread bytes resets the connection, and a reset overtakes what was sent before it."""
    line = rig.join(1, tcp=True)
    line.send(packet(1) * 3000)
    rig.members[1].send(packet(-103, payload=b"\x08\x02"))
    line.stream.close()
    line.socket.settimeout(10)
    got = b""
    while piece := line.socket.recv(4096):
        got += piece
    assert got == packet(-103, payload=b"\x08\x02")


def test_everything_on_a_closed_stream_is_nothing(rig: Rig) -> None:
    line = rig.join(1, websocket=True)
    stream = line.stream
    rig.members[1].detach()
    stream.close()
    stream.close()
    stream.close(False)
    stream.write(b"x")
    stream.finish()
    assert stream.backlog == 0
    rig.flush()
    rig.take_streams()
    assert rig.handler.closings == []
    assert rig.relay.streams == {}


def test_a_member_without_a_stream_takes_what_it_is_told(rig: Rig) -> None:
    member = rig.members[1]
    member.send(packet(1))
    member.send_datagram(packet(1))
    member.confirm_udp()
    member.unbind()
    member.detach()
    member.leave()
    member.leave()
    assert not rig.relay.has_output
    assert (member.is_open, member.udp_bound, member.udp_confirmed, member.stream) == (False, False, False, None)


def test_a_closed_member_gets_no_datagram_of_this_tick(rig: Rig) -> None:
    sender = rig.join(1)
    rig.join(2)
    post = rig.post(2)
    sender.put(packet(5, reliable=False))
    rig.members[2].detach()
    sender.put(packet(6, reliable=False))
    rig.flush()
    assert post.quiet()


@pytest.mark.parametrize("peer_id", [0, 256, -1, 1000])
def test_peer_ids(rig: Rig, peer_id: int) -> None:
    with pytest.raises(ValueError, match="peer id"):
        Member(rig.room, peer_id)


def test_a_descriptor_that_is_no_socket_is_refused(rig: Rig) -> None:
    with pytest.raises(OSError, match=r"Bad file descriptor|not permitted"):
        rig.relay.add_stream(os.open("/dev/null", os.O_RDONLY), "file")


# what is left


def streams_alive() -> int:
    gc.collect()
    return sum(isinstance(each, Stream) for each in gc.get_objects())


def test_closed_streams_die() -> None:
    before = streams_alive()
    with Rig() as rig:
        for n in range(50):
            line = rig.websocket() if n % 2 else rig.line()
            line.send(masked(2, b"x", last=False) if n % 2 else b"\x7f")
            rig.take_streams()
            if n % 3 == 0:
                line.close()
            elif n % 3 == 1:
                line.stream.close()
        rig.take_streams()
        rig.flush()
        rig.handler.closings.clear()
        rig.handler.controls.clear()
        del line
        assert streams_alive() - before == len(rig.relay.streams) == 16
        count = sys.getrefcount(rig.relay)
        for stream in list(rig.relay.streams.values()):
            stream.close()
            del stream
        rig.take_streams()
        rig.flush()
        assert streams_alive() == before
        assert sys.getrefcount(rig.relay) < count
    del rig


@pytest.mark.parametrize("output", [False, True])
def test_a_relay_that_is_dropped_with_all_its_streams_open(output: bool) -> None:
    before = streams_alive()
    descriptors = len(os.listdir("/proc/self/fd"))
    ends = []

    def make() -> None:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        ends.append(udp)
        relay = Relay(udp.fileno(), profile(), None)  # type: ignore[arg-type]
        room = Room(relay)
        for number in range(1, 20):
            near, far = socket.socketpair()
            near.setblocking(False)
            ends.append(far)
            stream = relay.add_stream(near.detach(), "x")
            member = Member(room, number)
            member.attach(stream)
            member.owner = relay
            if output:
                member.open()
                member.send(packet(1))

    make()
    alive = streams_alive()
    closed = []
    for each in ends[1:]:
        each.setblocking(False)
        try:
            closed.append(each.recv(1) == b"")
        except BlockingIOError:
            closed.append(False)
    for each in ends:
        each.close()
    assert alive == before
    assert all(closed)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_member_that_is_dropped_while_it_has_an_address(rig: Rig) -> None:
    """The table of addresses must not keep what is no more."""
    member = Member(rig.room, 99)
    post = rig.post()
    member.bind(b"\x02\x00" + post.socket.getsockname()[1].to_bytes(2, "big") + b"\x7f\0\0\x01" + bytes(8))
    assert member.udp_bound
    member.send_datagram(packet(-5, payload=b""))
    del member
    gc.collect()
    rig.flush()
    post.send(packet(1))
    assert rig.drops().get("unknown_address", 0) + rig.counts().get("packets_in", 0) == 1


# A sanitizer keeps freed memory to find late uses of it.
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
# The clock of these tests stands still, and no rate is to stop them.
NO_RATE: dict[str, Any] = {"packets_burst": 10_000_000, "bytes_burst": 10_000_000_000}
measures_memory = pytest.mark.skipif(SANITIZED, reason="memory of a sanitized process says nothing")


def rss() -> int:
    """Bytes of memory this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@measures_memory
def test_thousands_of_connections_leave_nothing() -> None:
    def crowd(rig: Rig, rounds: int) -> None:
        for turn in range(rounds):
            kind = turn % 5
            if kind == 0:
                line = rig.line()
                line.put(b"\x7f\x08")
            elif kind == 1:
                line = rig.join(1)
                line.put(packet(1, payload=bytes(3000)), b"\x80")
            elif kind == 2:
                line = rig.join(2, websocket=True)
                line.send(masked(2, bytes(5000), last=False) + masked(0, bytes(500))[:300])
                rig.take_streams()
            elif kind == 3:
                line = rig.line()
                line.put(b"GET / HTTP/1.1\r\n\r\n")
            else:
                line = rig.join(3, ready=False)
                rig.members[3].send(packet(1, payload=bytes(9000)))
                rig.members[3].leave()
            if turn % 2:
                line.close()
            else:
                line.stream.close()
                line.close()
            rig.sockets.pop()
            rig.take_streams()
            rig.flush()
            rig.relay.take_doomed()
            rig.handler.closings.clear()
            rig.handler.controls.clear()
            rig.handler.openings.clear()

    with Rig(**NO_RATE) as rig:
        crowd(rig, 1000)
        gc.collect()
        before = rss()
        crowd(rig, 5000)
        gc.collect()
        assert rss() - before < 2_000_000, "over 400 bytes are left of a connection"
        assert len(rig.relay.streams) == 0


@measures_memory
def test_what_is_held_is_given_back(rigs: Callable[..., Rig]) -> None:
    rig = rigs(**NO_RATE)
    sender = rig.join(1)
    frame = packet(1, payload=bytes(15_000))
    before = rss()
    for turn in range(300):
        rig.join(2, ready=False)
        for _ in range(4):
            sender.put(frame)
        if turn % 2:
            rig.members[2].leave()
        else:
            line = rig.line()
            line.put(packet(0, payload=b"2"), packet(-7))
            rig.flush()
            assert len(line.read()) > 4 * 15_000
    assert rss() - before < 4_000_000


def test_wire_of_the_rig_is_sound() -> None:
    """The rig's login is a packet like any other to the second codec."""
    (body,) = wire.datagram_frames(packet(0, payload=b"1"))
    assert wire.decode_packet(body).payload == b"1"

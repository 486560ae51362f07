"""Text WebSockets: whole messages in, texts out, and everything that is none."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt._relay import Stream
from tests.relay.rig import Line, Rig, masked, packet, websocket_frames
from tests.relay.test_tls import XorLayer, hidden, records

Rigs = Callable[..., Rig]

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def text_line(rig: Rig, bytes_max: int = 65536, **how: Any) -> Line:
    line = rig.line(**how)
    line.send(b"GET /text/%d HTTP/1.1\r\n\r\n" % bytes_max)
    rig.until(lambda: line.stream.is_websocket)
    return line


def texts(rig: Rig) -> list[str]:
    return [message for _, message in rig.handler.texts]


def told(rig: Rig, line: Line) -> list[tuple[int, bytes]]:
    rig.flush()
    return websocket_frames(line.read())


def closing_code(line: Line) -> int | None:
    frames = websocket_frames(line.read())
    assert line.ended
    if not frames:
        return None
    assert frames[-1][0] == CLOSE
    return int.from_bytes(frames[-1][1][:2], "big")


# in


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_sizes(rig: Rig, size: int) -> None:
    line = text_line(rig, 100_000, tcp=True)
    message = ("Grüße, 你好! " * size)[: size // 4]
    line.socket.setblocking(True)
    line.send(masked(TEXT, message.encode()))
    rig.until(lambda: rig.handler.texts)
    assert texts(rig) == [message]


def test_a_message_in_pieces_with_pings_between(rig: Rig) -> None:
    line = text_line(rig)
    euro = "€".encode()
    line.send(masked(TEXT, b"12 " + euro[:1], last=False))
    line.send(masked(PING, b"still there?"))
    line.send(masked(0, euro[1:2], last=False) + masked(0, b"", last=False))
    rig.take_streams()
    assert texts(rig) == []
    assert told(rig, line) == [(PONG, b"still there?")]
    line.send(masked(0, euro[2:]) + masked(TEXT, b"next"))
    rig.take_streams()
    assert texts(rig) == ["12 €", "next"]


def test_a_ping_where_a_message_has_reached_its_limit(rig: Rig) -> None:
    line = text_line(rig, 10)
    line.send(masked(TEXT, b"0123456789", last=False) + masked(PING, bytes(100)) + masked(0, b""))
    rig.take_streams()
    assert texts(rig) == ["0123456789"]
    assert told(rig, line) == [(PONG, bytes(100))]


BROKEN = {
    "unmasked": (b"\x81\x01a", 1002),
    "reserved bit": (b"\xc1" + masked(TEXT, b"a")[1:], 1002),
    "binary": (masked(BINARY, b"a"), 1003),
    "binary in pieces": (masked(BINARY, b"a", last=False), 1003),
    "binary within a message": (masked(TEXT, b"a", last=False) + masked(BINARY, b"b"), 1002),
    "text within a message": (masked(TEXT, b"a", last=False) + masked(TEXT, b"b"), 1002),
    "continuation of nothing": (masked(0, b"a"), 1002),
    "opcode 3": (masked(3, b""), 1002),
    "opcode 15": (masked(15, b""), 1002),
    "ping in pieces": (masked(PING, b"", last=False), 1002),
    "ping of 126 bytes": (masked(PING, bytes(126)), 1002),
    "one byte over": (masked(TEXT, bytes(65_537)), 1009),
    "over in pieces": (masked(TEXT, bytes(40_000), last=False) + masked(0, bytes(25_537)), 1009),
    "2^64 - 1 bytes": (b"\x81\xff" + b"\xff" * 8 + bytes(4), 1009),
    "length that wraps": (masked(TEXT, b"a", last=False) + b"\x80\xff" + b"\xff" * 8 + bytes(4), 1009),
    "no UTF-8": (masked(TEXT, b"\xff"), 1007),
    "UTF-8 cut short": (masked(TEXT, "€".encode()[:2]), 1007),
    "a surrogate in UTF-8": (masked(TEXT, b"\xed\xa0\x80"), 1007),
    "overlong UTF-8": (masked(TEXT, b"\xc0\x80"), 1007),
    "no UTF-8, in pieces": (masked(TEXT, "€".encode()[:2], last=False) + masked(0, b"a"), 1007),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(rig: Rig, what: str) -> None:
    data, code = BROKEN[what]
    line = text_line(rig, tcp=True)
    line.send(data)
    rig.until(lambda: rig.handler.closings)
    rig.until(lambda: line.socket.recv(1, socket.MSG_PEEK) is not None)
    assert closing_code(line) == code
    assert texts(rig) == []
    ((stream, reason, orderly),) = rig.handler.closings
    assert stream is line.stream
    assert reason
    assert not orderly


def test_what_comes_after_a_fault_is_not_heard(rig: Rig) -> None:
    line = text_line(rig)
    line.send(masked(TEXT, b"good") + masked(TEXT, b"\xff") + masked(TEXT, b"late"))
    rig.take_streams()
    assert texts(rig) == ["good"]


def test_close_is_echoed(rig: Rig) -> None:
    line = text_line(rig)
    line.send(masked(CLOSE, (1000).to_bytes(2, "big") + b"bye"))
    rig.take_streams()
    assert closing_code(line) == 1000
    ((_, _, orderly),) = rig.handler.closings
    assert orderly


def test_the_limit_can_be_changed_by_a_message(rig: Rig) -> None:
    line = text_line(rig, 10)
    rig.handler.on_text = lambda stream, message, now: stream.start_text(100)
    line.send(masked(TEXT, b"0123456789") + masked(TEXT, bytes(100)) + masked(TEXT, bytes(101)))
    rig.take_streams()
    assert [len(each) for each in texts(rig)] == [10, 100]
    assert closing_code(line) == 1009


def test_closing_in_a_message(rig: Rig) -> None:
    line = text_line(rig)

    def answer_and_close(stream: Stream, message: str, now: float) -> None:
        assert stream.send_text(b"bye")
        stream.close()
        assert not stream.send_text(b"more")

    rig.handler.on_text = answer_and_close
    line.send(masked(TEXT, b"1", last=False) + masked(0, b"2") + masked(TEXT, b"3"))
    rig.take_streams()
    assert texts(rig) == ["12"]
    assert websocket_frames(line.read()) == [(TEXT, b"bye"), (CLOSE, (1001).to_bytes(2, "big"))]
    assert line.ended
    assert not rig.handler.closings


def test_a_handler_that_raises_costs_this_connection_only(rig: Rig) -> None:
    line, other = text_line(rig), text_line(rig)

    def fail(stream: Stream, message: str, now: float) -> None:
        if message == "fail":
            raise LookupError(message)

    rig.handler.on_text = fail
    line.send(masked(TEXT, b"fa", last=False) + masked(0, b"il") + masked(TEXT, b"late"))
    other.send(masked(TEXT, b"fine"))
    rig.take_streams()
    assert sorted(texts(rig)) == ["fail", "fine"]
    ((stream, error),) = rig.handler.failures
    assert stream is line.stream
    assert isinstance(error, LookupError)
    rig.handler.failures.clear()


# pace


def test_over_its_rate_it_is_not_read(rigs: Rigs) -> None:
    rig = rigs(platform_messages_per_second=10, platform_messages_burst=5)
    line, other = text_line(rig), text_line(rig)
    line.send(b"".join(masked(TEXT, b"%d" % number) for number in range(12)))
    other.send(masked(TEXT, b"other"))
    rig.take_streams()
    assert sorted(texts(rig)) == ["0", "1", "2", "3", "4", "other"]
    assert rig.relay.paused_count == 1
    rig.now += 0.25
    rig.relay.resume(rig.now)
    assert [each for each in texts(rig) if each != "other"] == [str(number) for number in range(7)]
    rig.now += 100.0
    for _ in range(3):
        rig.relay.resume(rig.now)
    assert [each for each in texts(rig) if each != "other"] == [str(number) for number in range(12)]
    assert rig.relay.paused_count == 0
    assert rig.counts()["streams_paused_rate"] == 2
    line.send(masked(TEXT, b"again"))
    rig.now += 100.0
    rig.take_streams()
    assert texts(rig)[-1] == "again"


def test_pings_and_empty_pieces_pay_too_and_pieces_of_a_message_do_not(rigs: Rigs) -> None:
    rig = rigs(platform_messages_per_second=1, platform_messages_burst=10)
    pings, empty, pieces = text_line(rig), text_line(rig), text_line(rig)
    pings.send(masked(PING, b"") * 20)
    empty.send(masked(TEXT, b"", last=False) + masked(0, b"", last=False) * 20)
    pieces.send(masked(TEXT, b"-", last=False) + masked(0, b"-", last=False) * 20 + masked(0, b"!"))
    rig.take_streams()
    assert rig.relay.paused_count == 2
    assert told(rig, pings) == [(PONG, b"")] * 10
    assert texts(rig) == ["-" * 21 + "!"]


def test_a_clock_set_back_gives_nothing(rigs: Rigs) -> None:
    rig = rigs(platform_messages_per_second=10, platform_messages_burst=1)
    line = text_line(rig)
    line.send(masked(TEXT, b"1") + masked(TEXT, b"2"))
    rig.take_streams()
    rig.now -= 50.0
    rig.relay.resume(rig.now)
    assert texts(rig) == ["1"]
    rig.now += 0.2
    rig.relay.resume(rig.now)
    assert texts(rig) == ["1", "2"]


def test_when_it_was_heard(rig: Rig) -> None:
    line = text_line(rig)
    began = line.stream.heard_at
    rig.now += 5.0
    line.send(masked(PING, b"")[:3])
    rig.take_streams()
    assert line.stream.heard_at == began
    line.send(masked(PING, b"")[3:])
    rig.take_streams()
    assert line.stream.heard_at == rig.now


# out


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 200_000])
def test_texts_out(rig: Rig, size: int) -> None:
    line = text_line(rig, tcp=True)
    assert line.stream.send_text(b"x" * size)
    assert line.stream.send_text(b"end")
    got = b""

    def whole() -> bool:
        nonlocal got
        rig.flush()
        got += line.read()
        return got.endswith(b"\x81\x03end")

    rig.until(whole)
    assert websocket_frames(got) == [(TEXT, b"x" * size), (TEXT, b"end")]


def test_who_does_not_read_is_closed_at_the_end_of_the_turn(rigs: Rigs) -> None:
    rig = rigs(stream_out_hard_bytes=131_072)
    line = text_line(rig, send_buffer=4096)
    sent = 0
    while line.stream.send_text(bytes(5000)):
        rig.flush()
        sent += 1
        assert sent < 1000
    assert not line.stream.send_text(b"")
    assert rig.handler.closings == []
    assert rig.relay.has_output
    rig.flush()
    ((stream, reason, orderly),) = rig.handler.closings
    assert stream is line.stream
    assert "does not read" in reason
    assert not orderly
    assert rig.drops()["slow"] == 2
    assert line.stream.backlog == 0


def test_pings_of_who_does_not_read(rigs: Rigs) -> None:
    rig = rigs(stream_out_hard_bytes=131_072, platform_messages_burst=100_000)
    line = text_line(rig, send_buffer=4096)
    for _ in range(2000):
        if line.stream.fd < 0:
            break
        line.send(masked(PING, bytes(125)))
        rig.take_streams()
        rig.flush()
    assert line.stream.fd < 0
    assert len(rig.handler.closings) == 1


# under TLS


def test_records(rig: Rig) -> None:
    layer = XorLayer()
    rig.handler.layer = lambda: layer
    line = rig.line()
    line.send(b"\x16" + hidden(b"GET /text/1000 HTTP/1.1\r\n\r\n"))
    rig.until(lambda: line.stream.is_websocket)
    assert line.stream.kind == "wss"
    line.send(hidden(masked(TEXT, b"hello")))
    rig.until(lambda: rig.handler.texts)
    assert texts(rig) == ["hello"]
    rig.flush()
    assert line.read() == b"\x16"
    for size in (10, 20, 16_000, 1_000, 40_000, 3):
        assert line.stream.send_text(b"%d" % (size % 10) * size)
    rig.flush()
    plain = records(line.read())
    assert [len(each) for each in plain] == [16_038, 1_004, 16_384, 16_384, 7_241]
    assert [len(payload) for _, payload in websocket_frames(b"".join(plain))] == [10, 20, 16_000, 1_000, 40_000, 3]


# anything


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=60), st.lists(st.integers(0, 1000), max_size=4)), max_size=6),
    st.lists(st.integers(0, 100_000), max_size=8),
    st.randoms(use_true_random=False),
)
def test_any_fragments_in_any_chunks_are_the_same_messages(
    messages: list[tuple[str, list[int]]], cuts: list[int], chance: random.Random
) -> None:
    data = b""
    for message, fragment_cuts in messages:
        fragments = pieces_of(message.encode(), fragment_cuts)
        for number, fragment in enumerate(fragments):
            mask = chance.randbytes(4)
            data += masked(0 if number else TEXT, fragment, last=number == len(fragments) - 1, mask=mask)
            if chance.random() < 0.2:
                data += masked(PING, b"?", mask=mask)
    with Rig(1, platform_messages_per_second=10, platform_messages_burst=3) as rig:
        line = text_line(rig)
        for chunk in pieces_of(data, cuts):
            line.send(chunk)
            rig.take_streams()
            rig.now += chance.choice((0.0, 0.05))
            rig.relay.resume(rig.now)
        rig.take_streams()
        while rig.relay.paused_count:
            rig.now += 0.1
            rig.relay.resume(rig.now)
            rig.take_streams()
        assert texts(rig) == [message for message, _ in messages]
        assert rig.handler.closings == []


@pytest.mark.parametrize("seed", range(40))
def test_random_bytes(seed: int) -> None:
    chance = random.Random(seed)
    with Rig(1, platform_messages_burst=100_000) as rig:
        for _ in range(20):
            line = text_line(rig, chance.choice((0, 1, 100, 65_536)))
            for _ in range(20):
                if line.stream.fd < 0:
                    break
                kind = chance.random()
                if kind < 0.3:
                    piece = chance.randbytes(chance.randrange(40))
                else:
                    body = chance.randbytes(chance.choice((0, 3, 125, 126, 300))) if kind < 0.5 else b"text" * 9
                    op_code = chance.choice((0, 0, 1, 1, 1, 2, 8, 9, 10, 3))
                    whole = bytearray(masked(op_code, body, last=chance.random() < 0.6, mask=chance.randbytes(4)))
                    if chance.random() < 0.3:
                        whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
                    piece = bytes(whole[: chance.randrange(len(whole) + 1)]) if chance.random() < 0.2 else bytes(whole)
                line.send(piece)
                rig.take_streams()
            rig.flush()
            line.close()
        rig.take_streams()
        assert not rig.relay.streams


# texts are held


def test_texts_are_held_and_packets_go_on(rig: Rig) -> None:
    line, other = text_line(rig), text_line(rig)
    red, blue = rig.join(1), rig.join(2)
    rig.relay.texts_held = True
    line.send(masked(TEXT, b"1") + masked(TEXT, b"2"))
    other.send(masked(TEXT, b"3"))
    rig.take_streams()
    red.put(packet(5, sequence=None))
    rig.flush()
    assert blue.op_codes() == [5]
    assert texts(rig) == []
    assert rig.relay.paused_count == 2
    for _ in range(3):
        rig.relay.resume(rig.now)
    assert (texts(rig), rig.relay.paused_count) == ([], 2)
    assert rig.relay.receive_streams(rig.now) == 0  # what lies there wakes nobody up
    rig.relay.texts_held = False
    rig.relay.resume(rig.now)
    rig.take_streams()
    assert sorted(texts(rig)) == ["1", "2", "3"]
    assert (rig.relay.paused_count, rig.counts().get("streams_paused_rate")) == (0, None)


def test_held_in_the_midst_of_what_was_read(rig: Rig) -> None:
    """Nothing is lost, and what each says is heard in the order in which it has said it."""

    def hold(stream: Stream, message: str, now: float) -> None:
        rig.relay.texts_held = True

    rig.handler.on_text = hold
    lines = [text_line(rig) for _ in range(3)]
    for number, line in enumerate(lines):
        line.send(b"".join(masked(TEXT, b"%d.%d" % (number, each)) for each in range(4)))
    rig.take_streams()
    assert len(texts(rig)) == 1
    for count in range(2, 13):
        rig.relay.texts_held = False
        rig.relay.resume(rig.now)
        rig.take_streams()
        assert len(texts(rig)) == count
    for number in range(3):
        assert [each for each in texts(rig) if each[0] == str(number)] == [f"{number}.{each}" for each in range(4)]


def test_each_in_its_turn(rigs: Rigs) -> None:
    """Where all have been read already, those go on first that have had to wait."""
    rig = rigs(platform_messages_burst=4, platform_messages_per_second=1)
    lines = [text_line(rig) for _ in range(3)]
    for number, line in enumerate(lines):
        line.send(b"".join(masked(TEXT, b"%d" % number) for _ in range(8)))
    rig.take_streams()
    assert len(texts(rig)) == 12
    rig.now += 100.0

    def hold(stream: Stream, message: str, now: float) -> None:
        rig.relay.texts_held = True

    rig.handler.on_text = hold
    for count in range(13, 25):
        rig.relay.texts_held = False
        rig.relay.resume(rig.now)
        assert len(texts(rig)) == count
    for three in range(12, 24, 3):
        assert set(texts(rig)[three : three + 3]) == {"0", "1", "2"}


def test_who_has_gone_while_texts_were_held(rig: Rig) -> None:
    line, reset = text_line(rig, tcp=True), text_line(rig, tcp=True)
    rig.relay.texts_held = True
    line.send(masked(TEXT, b"last words"))
    line.close()
    reset.send(masked(TEXT, b"never heard"))
    rig.until(lambda: rig.relay.paused_count == 2)
    reset.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    reset.close()
    rig.until(lambda: reset.stream.fd < 0)
    rig.relay.resume(rig.now)
    rig.relay.texts_held = False
    rig.relay.resume(rig.now)
    rig.until(lambda: line.stream.fd < 0)
    assert texts(rig) == ["last words"]
    assert rig.relay.paused_count == 0


# when all has gone out


def test_told_when_all_has_gone_out_and_read_meanwhile(rig: Rig) -> None:
    line = text_line(rig, send_buffer=4096)
    line.stream.send_text(b"x" * 200_000)
    line.stream.await_drained()
    line.send(masked(TEXT, b"meanwhile"))
    rig.flush()
    got = len(line.read())
    rig.take_streams()
    assert texts(rig) == ["meanwhile"]
    while got < 200_000:
        assert rig.handler.drains == []
        rig.relay.receive_streams(rig.now)
        rig.flush()
        got += len(line.read())
    for _ in range(3):
        rig.relay.receive_streams(rig.now)
        rig.flush()
    assert rig.handler.drains == [line.stream]
    line.send(masked(TEXT, b"and later"))
    rig.take_streams()
    assert texts(rig) == ["meanwhile", "and later"]

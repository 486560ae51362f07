"""Answers that are written in pieces: who is told when, and what the stream hears meanwhile."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from gsrt._relay import Stream
from tests.relay.rig import Line, Rig
from tests.relay.test_tls import XorLayer, hidden, records

Rigs = Callable[..., Rig]

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def asked(rig: Rig, **how: object) -> Line:
    """A connection that has asked for something that comes in pieces; its head has gone out."""
    line = rig.line(**how)  # type: ignore[arg-type]
    line.put(b"GET /pieces HTTP/1.1\r\n\r\n")
    rig.flush()
    return line


def turn(rig: Rig) -> None:
    rig.relay.receive_streams(rig.now)
    rig.flush()


def test_told_once_in_a_later_turn(rig: Rig) -> None:
    line = asked(rig)
    assert rig.handler.drains == []
    turn(rig)
    assert rig.handler.drains == [line.stream]
    for _ in range(5):
        turn(rig)
    assert rig.handler.drains == [line.stream]
    assert line.read() == HEAD
    line.stream.finish()
    rig.flush()
    assert (line.read(), line.ended) == (b"", True)


def test_a_piece_a_turn(rig: Rig) -> None:
    pieces = [os.urandom(500) for _ in range(20)]
    left = list(pieces)

    def on_drained(stream: Stream, now: float) -> None:
        if left:
            stream.write(left.pop(0))
            stream.await_drained()
        else:
            stream.finish()

    rig.handler.on_drained = on_drained
    line = asked(rig)
    for number in range(len(pieces) + 1):
        assert len(rig.handler.drains) == number
        turn(rig)
    assert line.read() == HEAD + b"".join(pieces)
    assert line.ended


def test_not_told_before_all_has_gone_out(rig: Rig) -> None:
    line = asked(rig, send_buffer=4096)
    turn(rig)
    line.stream.write(bytes(1_000_000))
    line.stream.await_drained()
    got = len(line.read())
    while got < len(HEAD) + 1_000_000:
        assert rig.handler.drains == [line.stream] or line.stream.backlog == 0
        turn(rig)
        got += len(line.read())
    turn(rig)
    assert rig.handler.drains == [line.stream] * 2


def test_told_nothing_where_a_finish_comes_first(rig: Rig) -> None:
    line = asked(rig)
    line.stream.finish()
    for _ in range(3):
        turn(rig)
    assert (rig.handler.drains, line.read(), line.ended) == ([], HEAD, True)


def test_what_comes_meanwhile_is_not_read(rig: Rig) -> None:
    line = asked(rig)
    line.send(b"GET / HTTP/1.1\r\n\r\n")
    line.socket.shutdown(socket.SHUT_WR)
    turn(rig)
    for _ in range(3):
        turn(rig)
    assert rig.relay.receive_streams(rig.now) == 0  # no turn after the other for it
    line.stream.write(b"still here")
    line.stream.finish()
    rig.flush()
    rig.until(lambda: rig.handler.closings)
    assert line.read() == HEAD + b"still here"
    assert rig.handler.closings == [(line.stream, "closed by the other side", True)]


@pytest.mark.parametrize("waits", [True, False], ids=["awaits", "reads its disk"])
def test_a_reset_is_told(rig: Rig, waits: bool) -> None:
    line = asked(rig, tcp=True)
    if not waits:
        rig.until(lambda: rig.handler.drains)
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.close()
    rig.until(lambda: rig.handler.closings)
    assert [orderly for _, _, orderly in rig.handler.closings] == [False]
    assert not rig.relay.streams


def test_the_handler_fails(rig: Rig) -> None:
    def on_drained(stream: Stream, now: float) -> None:
        raise ValueError("no piece")

    rig.handler.on_drained = on_drained
    line = asked(rig)
    turn(rig)
    assert [(stream, str(error)) for stream, error in rig.handler.failures] == [(line.stream, "no piece")]
    assert line.stream.fd < 0
    line.stream.await_drained()
    rig.handler.failures.clear()


def test_the_handler_closes(rig: Rig) -> None:
    rig.handler.on_drained = lambda stream, now: stream.close(orderly=False)
    line = asked(rig)
    line.close()  # so that there is more than one thing to see to
    turn(rig)
    assert (line.stream.fd, rig.handler.closings) == (-1, [])


def test_a_long_piece_is_many_records(rig: Rig) -> None:
    layer = XorLayer()
    rig.handler.layer = lambda: layer
    line = rig.line()
    line.put(b"\x16" + hidden(b"GET /pieces HTTP/1.1\r\n\r\n"))
    rig.flush()
    line.read()
    turn(rig)
    piece = os.urandom(40_000)
    line.stream.write(piece)
    line.stream.await_drained()
    rig.flush()
    assert [len(each) for each in layer.records[1:]] == [16384, 16384, 7232]
    assert b"".join(records(line.read())) == piece
    turn(rig)
    assert rig.handler.drains == [line.stream] * 2

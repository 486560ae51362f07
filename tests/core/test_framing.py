"""Streams and datagrams are taken apart into frames, whatever the pieces they come in."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._core import FrameReader, ProtocolError, split_datagram
from tests.support import wire

BODIES = st.lists(st.binary(max_size=300), max_size=8)


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in itertools.pairwise(places)]


@given(BODIES, st.lists(st.integers(0, 5000), max_size=12))
def test_any_pieces_give_the_same_frames(bodies: list[bytes], cuts: list[int]) -> None:
    reader = FrameReader(300)
    stream = b"".join(map(wire.frame, bodies))
    assert [body for piece in in_pieces(stream, cuts) for body in reader.feed(piece)] == bodies
    assert reader.pending == 0


@given(BODIES, st.binary(min_size=2, max_size=200))
def test_pending_is_what_is_kept_of_an_unfinished_frame(bodies: list[bytes], last: bytes) -> None:
    reader = FrameReader(300)
    stream = b"".join(map(wire.frame, bodies))
    for length in range(len(wire.frame(last))):
        kept = wire.frame(last)[:length]
        again = FrameReader(300)
        assert again.feed(stream + kept) == bodies
        assert again.pending == length
    for byte in stream + wire.frame(last):
        assert reader.pending < 302
        reader.feed(bytes([byte]))
    assert reader.pending == 0


def test_each_frame_is_given_as_soon_as_it_is_whole() -> None:
    reader = FrameReader(100)
    assert reader.feed(b"\x02") == []
    assert reader.feed(b"\x08") == []
    assert reader.feed(b"\x02\x00\x01") == [b"\x08\x02", b""]
    assert reader.feed(b"a\x01") == [b"a"]
    assert reader.feed(b"") == []
    assert reader.pending == 1


@pytest.mark.parametrize("max_frame", [1, 2, 127, 128, 300, 16383, 16384, 70_000])
def test_frame_limit_on_both_sides(max_frame: int) -> None:
    largest = b"x" * max_frame
    assert FrameReader(max_frame).feed(wire.frame(largest)) == [largest]
    reader = FrameReader(max_frame)
    assert reader.max_frame == max_frame
    with pytest.raises(ProtocolError, match=f"frame of {max_frame + 1} bytes") as caught:
        reader.feed(wire.frame(b"") + wire.varint(max_frame + 1))
    assert caught.value.offset == 1


@pytest.mark.parametrize("max_frame", [0, -1])
def test_a_limit_of_nothing_is_refused(max_frame: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FrameReader(max_frame)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_over_long_prefixes_of_up_to_5_bytes_are_taken(width: int) -> None:
    prefix = b"\x02" if width == 1 else b"\x82" + b"\x80" * (width - 2) + b"\x00"
    assert FrameReader(10).feed(prefix + b"\x08\x02") == [b"\x08\x02"]
    assert split_datagram(prefix + b"\x08\x02") == [b"\x08\x02"]


@pytest.mark.parametrize(
    "prefix", ["828080808000", "8080808080", "ffffffffff", "ffffffffffffffffff01", "80808080808080808000"]
)
def test_prefixes_over_5_bytes_are_refused(prefix: str) -> None:
    for data in (bytes.fromhex(prefix), bytes.fromhex(prefix) + b"\x08\x02"):
        with pytest.raises(ProtocolError, match="5 bytes"):
            FrameReader(10).feed(data)
        with pytest.raises(ProtocolError):
            split_datagram(data)
    reader = FrameReader(10)
    for byte in bytes.fromhex(prefix)[:4]:
        assert reader.feed(bytes([byte])) == []
    with pytest.raises(ProtocolError, match="5 bytes"):
        reader.feed(bytes.fromhex(prefix)[4:5])


def test_a_huge_length_reserves_nothing() -> None:
    tracemalloc.start()
    try:
        reader = FrameReader((1 << 31) - 1)
        assert reader.feed(b"\xff\xff\xff\xff\x07" + b"x" * 1000) == []
        with pytest.raises(ProtocolError, match="frame of 34359738367 bytes"):
            FrameReader((1 << 31) - 1).feed(b"\xff\xff\xff\xff\x7f")
        with pytest.raises(ProtocolError):
            split_datagram(b"\xff\xff\xff\xff\x07")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_an_error_stays_an_error() -> None:
    reader = FrameReader(10)
    for _ in range(3):
        with pytest.raises(ProtocolError):
            reader.feed(b"\x0b")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_read(kind: Any) -> None:
    assert FrameReader(10).feed(kind(b"\x01a")) == [b"a"]
    assert split_datagram(kind(b"\x01a")) == [b"a"]


@pytest.mark.parametrize("wrong", [None, "text", 5])
def test_other_things_cannot_be_read(wrong: Any) -> None:
    with pytest.raises(TypeError):
        FrameReader(10).feed(wrong)
    with pytest.raises(TypeError):
        split_datagram(wrong)


@given(BODIES)
def test_datagrams_hold_whole_frames(bodies: list[bytes]) -> None:
    datagram = b"".join(map(wire.frame, bodies))
    assert split_datagram(datagram) == bodies
    whole = {0}
    for body in bodies:
        whole.add(max(whole) + len(wire.frame(body)))
    for length in range(len(datagram)):
        if length in whole:
            assert b"".join(map(wire.frame, split_datagram(datagram[:length]))) == datagram[:length]
        else:
            with pytest.raises(ProtocolError, match="cut") as caught:
                split_datagram(datagram[:length])
            assert caught.value.offset == max(place for place in whole if place < length)


@given(st.binary(max_size=100), st.integers(1, 200))
def test_any_bytes_are_frames_or_a_protocol_error(stream: bytes, max_frame: int) -> None:
    def frames(pieces: list[bytes]) -> tuple[list[bytes], str | None, int]:
        reader = FrameReader(max_frame)
        found: list[bytes] = []
        try:
            for piece in pieces:
                found += reader.feed(piece)
        except ProtocolError as error:
            return found, error.reason, 0
        assert reader.pending <= len(stream)
        return found, None, reader.pending

    singly = frames([stream[place : place + 1] for place in range(len(stream))])
    at_once = frames([stream])
    assert singly[1:] == at_once[1:]
    assert singly[0] == at_once[0] or at_once[1] is not None
    try:
        assert b"".join(map(wire.frame, split_datagram(stream))) == stream or b"\x80" in stream or max(stream) > 0x80
    except ProtocolError as error:
        assert 0 <= error.offset <= len(stream)

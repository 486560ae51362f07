"""What first bytes mean: decided as early as possible, never contradicted later."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.transports import opening
from gsrt.transports.opening import MAX_LOGIN_FRAME, classify

METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"]
VERDICTS = ("rt", "http", "tls", "unknown")


def varint(value: int, width: int = 0) -> bytes:
    """A varint, padded with empty groups to `width` bytes."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    groups += [0] * (width - len(groups))
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


def decided_at(first: bytes) -> tuple[int, str | None]:
    """How many bytes it takes to decide, and the verdict, after checking that every prefix agrees with it."""
    verdicts = [classify(first[:length]) for length in range(len(first) + 1)]
    known = [verdict for verdict in verdicts if verdict is not None]
    assert len(set(known)) <= 1, f"{first.hex()} changed its meaning: {verdicts}"
    if not known:
        return len(first) + 1, None
    position = verdicts.index(known[0])
    assert all(verdict == known[0] for verdict in verdicts[position:])
    return position, known[0]


def test_nothing_is_undecided() -> None:
    assert classify(b"") is None


@pytest.mark.parametrize("method", METHODS)
def test_http_methods_are_http_at_the_space(method: str) -> None:
    request = f"{method} / HTTP/1.1\r\n\r\n".encode()
    assert decided_at(request) == (len(method) + 1, "http")


@pytest.mark.parametrize("text", [b"get / ", b"GETS ", b"G ET", b"GE T", b" GET", b"\r\nGET ", b"PING ", b"HELO "])
def test_other_words_are_unknown(text: bytes) -> None:
    assert classify(text) == "unknown"


def test_tls_needs_both_bytes() -> None:
    assert decided_at(bytes.fromhex("16030100c8010000c40303")) == (2, "tls")
    assert classify(b"\x16\x02") == "unknown"


@pytest.mark.parametrize(
    "frame",
    [
        "2408007a200a1c74686973206973206e6f742061207265616c20746f6b656e2121211002",
        "06080230017200",
        "0208 09",
        "16 08 00 7a",  # as long as a TLS record type
        "47 08 00 7a",  # as long as the letter G
        "50 08 00 7a",
        "c3 02 08 00 30 00 72 00 7a",
    ],
)
def test_frames_are_rt_at_the_key_of_the_op_code(frame: str) -> None:
    first = bytes.fromhex(frame)
    prefix = 1 if first[0] < 0x80 else 2
    assert decided_at(first) == (prefix + 1, "rt")


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("length", [2, 63, 127])
def test_over_long_prefixes_are_rt(length: int, width: int) -> None:
    assert classify(varint(length, width) + b"\x08") == "rt"


def test_every_length_on_both_sides_of_the_bounds() -> None:
    for length in range(MAX_LOGIN_FRAME + 300):
        expected = "rt" if 2 <= length <= MAX_LOGIN_FRAME else "unknown"
        assert decided_at(varint(length) + b"\x08")[1] == expected, length


@pytest.mark.parametrize(
    "first", ["8080808080", "828080808008", "ffffffff0f08", "8280808010", "ffff", "00", "01", "8000", "8180808000"]
)
def test_impossible_prefixes_are_unknown(first: str) -> None:
    assert classify(bytes.fromhex(first)) == "unknown"


def test_all_openings_of_up_to_three_bytes() -> None:
    for first in itertools.chain.from_iterable(itertools.product(range(256), repeat=size) for size in (1, 2)):
        decided_at(bytes(first))
    interesting = sorted(
        {0x00, 0x01, 0x02, 0x03, 0x08, 0x16, 0x20, 0x7F, 0x80, 0x82, 0xFF, *b"".join(m.encode() for m in METHODS)}
    )
    for triple in itertools.product(interesting, repeat=3):
        decided_at(bytes(triple))


@given(st.binary(max_size=12))
def test_prefixes_of_anything_agree(first: bytes) -> None:
    position, verdict = decided_at(first)
    assert verdict in VERDICTS or position > len(first)


@given(
    st.sampled_from(
        [
            b"\x16\x03\x01",
            b"\x24\x08\x00",
            b"\x16\x08",
            b"\x82\x80\x80\x80\x00\x08",
            *(m.encode() + b" /" for m in METHODS),
        ]
    ),
    st.integers(0, 8),
    st.binary(max_size=6),
)
def test_prefixes_of_near_openings_agree(opening_bytes: bytes, kept: int, rest: bytes) -> None:
    decided_at(opening_bytes[:kept] + rest)


def test_eight_bytes_always_decide() -> None:
    generator = random.Random(1)
    for _ in range(20_000):
        first = generator.randbytes(8)
        assert classify(first) in VERDICTS
    assert len("OPTIONS ") == max(len(method) + 1 for method in METHODS) == 8
    assert opening.MAX_PREFIX_BYTES + 1 <= 8

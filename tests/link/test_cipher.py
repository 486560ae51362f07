"""Suite 1 as a link uses it: datagrams that are sealed and opened where they stand."""

from __future__ import annotations

import pytest

from gsrt._link import KIND_ORDERED, KIND_UNRELIABLE, LinkEndpoint
from gsrt._sodium import ChaCha20Poly1305, open_sealed, seal

CLIENT_KEY = bytes(range(32))
SERVER_KEY = bytes(range(32, 64))
CONNECTION = b"connects"
HEADER = b"\0\x06" + CONNECTION + bytes(4)
ORDERED_BODY = b"\0\x82\0\0\0\x08a packet"  # acknowledges nothing; ORDERED, stream 0, sequence 0, length 8


def endpoint(is_client: bool) -> LinkEndpoint:
    keys = (CLIENT_KEY, SERVER_KEY) if is_client else (SERVER_KEY, CLIENT_KEY)
    return LinkEndpoint(ChaCha20Poly1305(*keys), CONNECTION, 0.0, is_client=is_client)


def test_the_tag_of_a_cipher() -> None:
    assert ChaCha20Poly1305(CLIENT_KEY, SERVER_KEY).tag_bytes == 16


@pytest.mark.parametrize("is_client", [True, False])
def test_a_cipher_seals_with_the_key_of_its_direction(is_client: bool) -> None:
    """Number and header are in the tag, the body is encrypted; both as `seal` has it."""
    sender = endpoint(is_client)
    key = CLIENT_KEY if is_client else SERVER_KEY
    for number in range(3):
        assert sender.send(b"a packet", KIND_UNRELIABLE, 0, 0.0)
        (datagram,) = sender.datagrams_to_send(0.0)
        assert datagram[:14] == HEADER[:10] + number.to_bytes(4, "little")
        body = open_sealed(key, number, datagram[:14], datagram[14:])
        assert body is not None
        assert b"a packet" in body
        assert b"a packet" not in datagram


@pytest.mark.parametrize("is_client", [True, False])
def test_a_cipher_opens_with_the_key_of_the_other_direction(is_client: bool) -> None:
    key, wrong = (SERVER_KEY, CLIENT_KEY) if is_client else (CLIENT_KEY, SERVER_KEY)
    receiver = endpoint(is_client)
    genuine = HEADER + seal(key, 0, HEADER, ORDERED_BODY)
    for bit in range(8 * len(genuine)):
        changed = bytearray(genuine)
        changed[bit // 8] ^= 1 << bit % 8
        assert not receiver.receive_datagram(bytes(changed), 0.0)
    for forged in (
        HEADER + seal(wrong, 0, HEADER, ORDERED_BODY),
        HEADER + seal(key, 1, HEADER, ORDERED_BODY),
        HEADER + seal(key, 0, b"", ORDERED_BODY),
        HEADER + ORDERED_BODY,
        genuine[:-1],
        genuine + b"\0",
    ):
        assert not receiver.receive_datagram(forged, 0.0)
    assert receiver.next_message() is None
    assert receiver.receive_datagram(genuine, 0.0)
    assert receiver.next_message() == (KIND_ORDERED, 0, b"a packet")
    assert not receiver.receive_datagram(genuine, 0.0), "a replay"

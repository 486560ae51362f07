"""What is taken from libsodium, against the vectors of the standards and against Python's own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._sodium import ChaCha20Poly1305, blake2b_16, hmac_sha256, open_sealed, seal, x25519, x25519_public
from tests.link.test_noise import LOW_ORDER_KEYS

KEYS = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**64 - 1)

# RFC 7748, section 6.1
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
ALICE_AND_BOB = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")

# RFC 8439, appendix A.5: the one whose nonce begins with 4 zeros, as all of ours do
AEAD_KEY = bytes.fromhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
AEAD_NUMBER = int.from_bytes(bytes.fromhex("0102030405060708"), "little")
AEAD_ASSOCIATED = bytes.fromhex("f33388860000000000004e91")
AEAD_PLAIN = (
    "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or obsoleted"
    " by other documents at any time. It is inappropriate to use Internet-Drafts as reference material or to cite them"
    " other than as /“work in progress./”"
).encode()
AEAD_SEALED = bytes.fromhex(
    "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7"
    "b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797a06e"
    "f4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e99040c5a40433"
    "225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a0bb2316053fa7699"
    "1955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130305beaba2eda04df997b"
    "714d6c6f2c29a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38"
)


def test_x25519_of_rfc_7748() -> None:
    assert x25519_public(ALICE) == ALICE_PUBLIC
    assert x25519_public(BOB) == BOB_PUBLIC
    assert x25519(ALICE, BOB_PUBLIC) == x25519(BOB, ALICE_PUBLIC) == ALICE_AND_BOB


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        (1, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"),
        (1000, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"),
    ],
)
def test_x25519_over_and_over(rounds: int, expected: str) -> None:
    """RFC 7748, section 5.2: each result is the next key, and each key the next point."""
    key = point = b"\x09" + bytes(31)
    for _ in range(rounds):
        key, point = x25519(key, point), key
    assert key.hex() == expected


@given(KEYS, KEYS)
def test_x25519_both_sides_agree(red: bytes, blue: bytes) -> None:
    assert x25519(red, x25519_public(blue)) == x25519(blue, x25519_public(red))


@pytest.mark.parametrize("key", LOW_ORDER_KEYS, ids=bytes.hex)
def test_x25519_refuses_a_public_key_of_low_order(key: bytes) -> None:
    with pytest.raises(ValueError, match="low order"):
        x25519(ALICE, key)


def test_seal_of_rfc_8439() -> None:
    assert seal(AEAD_KEY, AEAD_NUMBER, AEAD_ASSOCIATED, AEAD_PLAIN) == AEAD_SEALED
    assert open_sealed(AEAD_KEY, AEAD_NUMBER, AEAD_ASSOCIATED, AEAD_SEALED) == AEAD_PLAIN


@given(KEYS, NUMBERS, st.binary(max_size=100), st.binary(max_size=300))
def test_what_was_sealed_opens(key: bytes, number: int, associated: bytes, plain: bytes) -> None:
    sealed = seal(key, number, associated, plain)
    assert len(sealed) == len(plain) + 16
    assert open_sealed(key, number, associated, sealed) == plain


@given(KEYS, NUMBERS, st.binary(max_size=20), st.binary(max_size=40), st.integers(0, 10_000))
def test_nothing_opens_that_was_changed(
    key: bytes, number: int, associated: bytes, plain: bytes, position: int
) -> None:
    def flipped(data: bytes) -> bytes:
        bit = position % (8 * len(data))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    sealed = seal(key, number, associated, plain)
    assert open_sealed(key, number, associated, flipped(sealed)) is None
    assert open_sealed(flipped(key), number, associated, sealed) is None
    assert open_sealed(key, number ^ 1 << position % 64, associated, sealed) is None
    assert open_sealed(key, number, associated + b"\0", sealed) is None
    assert open_sealed(key, number, associated, sealed + b"\0") is None
    assert open_sealed(key, number, associated, sealed[: position % len(sealed)]) is None


@given(st.binary(max_size=60))
def test_nothing_opens_that_was_not_sealed(sealed: bytes) -> None:
    assert open_sealed(AEAD_KEY, 0, b"", sealed) is None


@pytest.mark.parametrize(
    ("key", "data", "expected"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ],
    ids=["case 1", "case 2", "case 3", "case 6"],
)
def test_hmac_of_rfc_4231(key: bytes, data: bytes, expected: str) -> None:
    assert hmac_sha256(key, data).hex() == expected


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_hmac_is_pythons(key: bytes, data: bytes) -> None:
    assert hmac_sha256(key, data) == hmac.digest(key, data, "sha256")


@given(st.binary(min_size=16, max_size=64), st.binary(max_size=300))
def test_blake2b_is_pythons(key: bytes, data: bytes) -> None:
    assert blake2b_16(key, data) == hashlib.blake2b(data, key=key, digest_size=16).digest()


@pytest.mark.parametrize(
    "call",
    [
        lambda key: x25519_public(key),
        lambda key: x25519(key, ALICE_PUBLIC),
        lambda key: x25519(ALICE, key),
        lambda key: seal(key, 0, b"", b""),
        lambda key: open_sealed(key, 0, b"", bytes(16)),
        lambda key: ChaCha20Poly1305(key, ALICE),
        lambda key: ChaCha20Poly1305(ALICE, key),
    ],
)
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(call: Callable[[bytes], object], size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        call(bytes(size))


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_of_blake2b_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        blake2b_16(bytes(size), b"")


@pytest.mark.parametrize("number", [-1, 2**64])
def test_a_number_that_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        seal(ALICE, number, b"", b"")

"""Noise_NNpsk0_25519_ChaChaPoly_SHA256, both sides, without I/O (the Noise Protocol Framework, revision 34).

Pattern NNpsk0: `-> psk, e` and `<- e, ee`. Who has the pre-shared key proves it with the first message already; who
answers has proved it with the second. Each key that encrypts a part of the handshake is made for that part alone, so
the number that it is used with is always 0. The names follow section 5 of the specification.
"""

from __future__ import annotations

from gsrt._sodium import hmac_sha256, open_sealed, seal, x25519, x25519_public
from gsrt.sha256 import sha256

PROTOCOL_NAME = b"Noise_NNpsk0_25519_ChaChaPoly_SHA256"
KEY_BYTES = 32  # of private, public, pre-shared and made keys
TAG_BYTES = 16

_INITIAL_HASH = sha256(PROTOCOL_NAME).digest()  # the name is longer than a hash


class _SymmetricState:
    """What both sides mix everything into that they have agreed upon so far."""

    __slots__ = ("_chaining_key", "_hash", "_key")

    def __init__(self, prologue: bytes) -> None:
        self._chaining_key = _INITIAL_HASH
        self._hash = _INITIAL_HASH
        self._key = b""
        self.mix_hash(prologue)

    def copy(self) -> _SymmetricState:
        """One that can be tried on a message, and thrown away if that was forged."""
        copy = _SymmetricState.__new__(_SymmetricState)
        copy._chaining_key, copy._hash, copy._key = self._chaining_key, self._hash, self._key
        return copy

    def mix_hash(self, data: bytes) -> None:
        self._hash = sha256(self._hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, self._key = _derive_two(self._chaining_key, material)

    def mix_key_and_hash(self, material: bytes) -> None:
        self._chaining_key, hashed, self._key = _derive_three(self._chaining_key, material)
        self.mix_hash(hashed)

    def encrypt_and_hash(self, plain: bytes) -> bytes:
        sealed = seal(self._key, 0, self._hash, plain)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes | None:
        plain = open_sealed(self._key, 0, self._hash, sealed)
        if plain is not None:
            self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[bytes, bytes]:
        """The keys of what comes after the handshake: the initiator's, and the responder's."""
        return _derive_two(self._chaining_key, b"")


class Initiator:
    """The client's side: `write()`, then `read()` for each message that may be the answer.

    `psk` and `private` have 32 bytes; `private` is random, and used for one handshake only.
    """

    __slots__ = ("_private", "_state")

    def __init__(self, psk: bytes, prologue: bytes, private: bytes) -> None:
        self._private = private
        self._state = _SymmetricState(prologue)
        self._state.mix_key_and_hash(psk)

    def write(self, payload: bytes) -> tuple[bytes, bytes]:
        """The first message: public key, and `payload` encrypted. To be called once."""
        public = x25519_public(self._private)
        self._state.mix_hash(public)
        self._state.mix_key(public)
        return public, self._state.encrypt_and_hash(payload)

    def read(self, public: bytes, sealed: bytes) -> tuple[bytes, bytes, bytes] | None:
        """The payload of the answer, the key to send with and the one to receive with; None when the answer is forged,
        and another may still come."""
        state = self._state.copy()
        state.mix_hash(public)
        state.mix_key(public)
        try:
            state.mix_key(x25519(self._private, public))
        except ValueError:
            return None
        payload = state.decrypt_and_hash(sealed)
        return None if payload is None else (payload, *state.split())


class Responder:
    """The server's side: `read()`, if that gives something `agree()`, then `write()`."""

    __slots__ = ("_initiator_public", "_state")

    def __init__(self, psk: bytes, prologue: bytes) -> None:
        self._initiator_public = b""
        self._state = _SymmetricState(prologue)
        self._state.mix_key_and_hash(psk)

    def read(self, public: bytes, sealed: bytes) -> bytes | None:
        """The payload of the first message; None when it was made with another pre-shared key or prologue, or forged.
        Costs no key agreement."""
        self._state.mix_hash(public)
        self._state.mix_key(public)
        self._initiator_public = public
        return self._state.decrypt_and_hash(sealed)

    def agree(self, private: bytes) -> tuple[bytes, bytes, bytes] | None:
        """Our public key, the key to send with and the one to receive with. `private`: 32 random bytes, for this
        handshake only. None when the initiator's public key is of low order: whoever sent that wants no secret."""
        public = x25519_public(private)
        self._state.mix_hash(public)
        self._state.mix_key(public)
        try:
            self._state.mix_key(x25519(private, self._initiator_public))
        except ValueError:
            return None
        receive_key, send_key = self._state.split()
        return public, send_key, receive_key

    def write(self, payload: bytes) -> bytes:
        """`payload` encrypted: with the public key of `agree` it is the answer. To be called once."""
        return self._state.encrypt_and_hash(payload)


def _derive_two(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs (section 4.3)."""
    temporary = hmac_sha256(chaining_key, material)
    first = hmac_sha256(temporary, b"\x01")
    return first, hmac_sha256(temporary, first + b"\x02")


def _derive_three(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes, bytes]:
    """HKDF with three outputs."""
    temporary = hmac_sha256(chaining_key, material)
    first = hmac_sha256(temporary, b"\x01")
    second = hmac_sha256(temporary, first + b"\x02")
    return first, second, hmac_sha256(temporary, second + b"\x03")

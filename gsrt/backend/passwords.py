"""Passwords, hashed by scrypt (RFC 7914): a guess costs memory and time, as much as the profile says.

These functions take a tenth of a second and more: they are for the worker's thread. What is stored is one text,
`scrypt$N$r$p$salt$key`, the last two in hexadecimal: a hash is checked with the costs it was made with, and made anew
when its player signs in after the profile's have changed.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SCHEME = "scrypt"
BLOCK = 8  # r of RFC 7914: 1,024 bytes of memory for each unit of N
SALT_BYTES = 16
KEY_BYTES = 32
SLACK_BYTES = 64 * 1024  # above what OpenSSL reckons it needs, which differs a little between its versions

PASSWORD_CHARACTERS_MAX = 256
ALPHABET = "abcdefghijkmnopqrstuvwxyz23456789"  # of passwords that are made here: no l, 0 or 1
MADE_CHARACTERS = 16  # of such a password: 80 bits


def hashed(password: str, memory_kb: int, passes: int, entropy: Callable[[int], bytes] = os.urandom) -> str:
    """What is stored of PASSWORD. MEMORY_KB is rounded down to a power of two, for scrypt takes no other."""
    return _written(password, _cost(memory_kb), BLOCK, passes, entropy(SALT_BYTES))


def verified(
    stored: str | None, password: str, memory_kb: int, passes: int, entropy: Callable[[int], bytes] = os.urandom
) -> tuple[bool, str | None]:
    """Whether PASSWORD is the one that was STORED; and what to store in its place, where it was hashed at other costs
    than MEMORY_KB and PASSES.

    STORED is None where there is no such account: that takes as long as a wrong password does."""
    if stored is None:
        _key(password, b"\0" * SALT_BYTES, _cost(memory_kb), BLOCK, passes)
        return False, None
    # What hmac.compare_digest is in CPython.
    from _operator import _compare_digest as same_digest

    scheme, cost, block, parallel, salt, key = stored.split("$")
    if scheme != SCHEME:
        raise ValueError(f"a password was stored by {scheme!r}, which this version does not know")
    found = _key(password, bytes.fromhex(salt), int(cost), int(block), int(parallel))
    if not same_digest(found, bytes.fromhex(key)):
        return False, None
    if (int(cost), int(block), int(parallel)) == (_cost(memory_kb), BLOCK, passes):
        return True, None
    return True, hashed(password, memory_kb, passes, entropy)


def made(entropy: Callable[[int], bytes] = os.urandom) -> str:
    """A new password that nobody guesses and anybody can type."""
    number = int.from_bytes(entropy(MADE_CHARACTERS * 2))
    characters = []
    for _ in range(MADE_CHARACTERS):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)


def _cost(memory_kb: int) -> int:
    """N of RFC 7914 for that much memory."""
    return 1 << (memory_kb.bit_length() - 1)


def _written(password: str, cost: int, block: int, parallel: int, salt: bytes) -> str:
    key = _key(password, salt, cost, block, parallel)
    return "$".join((SCHEME, str(cost), str(block), str(parallel), salt.hex(), key.hex()))


def _key(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    from hashlib import scrypt  # with OpenSSL: only where somebody has a password

    memory = 128 * block * (cost + parallel + 2) + SLACK_BYTES
    return scrypt(password.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=memory, dklen=KEY_BYTES)

"""Passwords: what is stored, what is compared, what it costs."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from gsrt.backend import passwords
from gsrt.profile import LIMITS

COSTS = 1024, 1


def salt(size: int) -> bytes:
    return bytes(range(size))


def test_the_right_password_and_others() -> None:
    stored = passwords.hashed("correct horse", *COSTS)
    assert passwords.verified(stored, "correct horse", *COSTS) == (True, None)
    for wrong in ("", "correct hors", "correct horse ", "Correct horse"):
        assert passwords.verified(stored, wrong, *COSTS) == (False, None)


def test_what_is_stored() -> None:
    """RFC 7914's scrypt, checked by hand: N, r, p, salt and key."""
    stored = passwords.hashed("pässword", 2048, 3, salt)
    key = hashlib.scrypt("pässword".encode(), salt=salt(16), n=2048, r=8, p=3, dklen=32)
    assert stored == f"scrypt$2048$8$3${salt(16).hex()}${key.hex()}"


def test_the_same_password_is_stored_differently_each_time() -> None:
    assert passwords.hashed("x", *COSTS) != passwords.hashed("x", *COSTS)


@pytest.mark.parametrize("costs", [(2048, 1), (1024, 2)])
def test_other_costs_have_it_hashed_anew(costs: tuple[int, int]) -> None:
    stored = passwords.hashed("x", *COSTS)
    right, rehashed = passwords.verified(stored, "x", *costs)
    assert right
    assert rehashed is not None
    assert passwords.verified(rehashed, "x", *costs) == (True, None)
    assert passwords.verified(stored, "wrong", *costs) == (False, None)


def test_memory_that_is_no_power_of_two_is_rounded_down() -> None:
    stored = passwords.hashed("x", 2047, 1)
    assert stored.startswith("scrypt$1024$8$1$")
    assert passwords.verified(stored, "x", 2047, 1) == (True, None)


@pytest.mark.parametrize("costs", [(1024, LIMITS["password_passes"][1]), (131_072, 1)])
def test_openssl_is_allowed_the_memory_it_needs(costs: tuple[int, int]) -> None:
    stored = passwords.hashed("x", int(costs[0]), int(costs[1]))
    assert passwords.verified(stored, "x", int(costs[0]), int(costs[1])) == (True, None)


def test_an_unknown_name_costs_what_a_wrong_password_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def scrypt(password: bytes, **costs: object) -> bytes:
        asked.append({key: value for key, value in costs.items() if key != "salt"})
        return bytes(passwords.KEY_BYTES)

    stored = passwords.hashed("x", *COSTS)
    monkeypatch.setattr(hashlib, "scrypt", scrypt)
    assert passwords.verified(stored, "y", *COSTS) == (False, None)
    assert passwords.verified(None, "y", *COSTS) == (False, None)
    assert asked[0] == asked[1]


def test_what_was_stored_by_something_else_is_not_taken_for_a_wrong_password() -> None:
    with pytest.raises(ValueError, match="argon2"):
        passwords.verified("argon2$1$2$3$00$00", "x", *COSTS)


def test_a_made_password() -> None:
    made = {passwords.made() for _ in range(100)}
    assert len(made) == 100
    for each in made:
        assert len(each) == passwords.MADE_CHARACTERS
        assert set(each) <= set(passwords.ALPHABET)
    assert len(set("".join(made))) == len(set(passwords.ALPHABET)), "every character comes up"


def test_openssl_is_loaded_with_the_first_password_only() -> None:
    code = (
        "import sys; from gsrt.backend import passwords; assert '_hashlib' not in sys.modules;"
        " passwords.hashed('x', 1024, 1); assert '_hashlib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

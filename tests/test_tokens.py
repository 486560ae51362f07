"""Tokens: unguessable, found by their first part, proven by the rest."""

from __future__ import annotations

import hashlib
import random
import string
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gsrt.tokens import NAME_CHARACTERS, TOKEN_CHARACTERS, Tokens

URL_SAFE = set(string.ascii_letters + string.digits + "-_")


def made(entropy: Callable[[int], bytes] | None = None) -> Tokens:
    return Tokens(entropy or random.Random(1).randbytes)


def someone() -> Any:
    return object()


def test_a_token_finds_its_player() -> None:
    tokens = made()
    red, blue = someone(), someone()
    of_red, again, of_blue = tokens.issue(red), tokens.issue(red), tokens.issue(blue)
    assert len({of_red, again, of_blue}) == 3
    assert tokens.find(of_red) is red
    assert tokens.find(again) is red
    assert tokens.find(of_blue) is blue
    assert len(tokens) == 3


def test_what_a_token_is_made_of() -> None:
    tokens = made()
    for _ in range(2000):
        token = tokens.issue(someone())
        assert len(token) == TOKEN_CHARACTERS
        assert set(token) <= URL_SAFE
        assert not token.startswith("-"), "a command line would take it for an option"


def test_all_of_it_is_random() -> None:
    """240 bits are asked for, and each of them shows."""
    asked = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return random.Random(len(asked)).randbytes(count)

    tokens = made(entropy)
    issued = [tokens.issue(someone()) for _ in range(300)]
    assert set(asked) == {30}
    for position in range(TOKEN_CHARACTERS):
        assert len({token[position] for token in issued}) > 40


@pytest.mark.parametrize("position", range(TOKEN_CHARACTERS))
def test_one_wrong_character(position: int) -> None:
    tokens = made()
    token = tokens.issue(someone())
    wrong = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
    assert tokens.find(wrong) is None
    tokens.revoke(wrong)
    assert tokens.find(token) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "",
        lambda token: token[:NAME_CHARACTERS],
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token + "\0",
        lambda token: " " + token,
        lambda token: token.swapcase(),
        lambda token: token[:NAME_CHARACTERS] + "ü" * 32,
        lambda token: token[:NAME_CHARACTERS] + "\udcff" * 32,
        lambda token: token[:NAME_CHARACTERS] + "\udc80",
        lambda token: "\udcff" * 40,
        lambda token: "🙂" * 40,
        lambda token: token * 25,
    ],
)
def test_what_is_nearly_a_token(change: Callable[[str], str]) -> None:
    tokens = made()
    token = tokens.issue(someone())
    assert tokens.find(change(token)) is None
    tokens.revoke(change(token))
    assert len(tokens) == 1


def test_the_second_half_of_another_token_proves_nothing() -> None:
    tokens = made()
    first, second = tokens.issue(someone()), tokens.issue(someone())
    assert tokens.find(first[:NAME_CHARACTERS] + second[NAME_CHARACTERS:]) is None


def test_revoking() -> None:
    tokens = made()
    token, other = tokens.issue(someone()), tokens.issue(someone())
    tokens.revoke(token)
    tokens.revoke(token)
    assert tokens.find(token) is None
    assert tokens.find(other) is not None
    assert len(tokens) == 1


def test_two_tokens_never_share_their_first_part() -> None:
    """Where chance would make it so, it is asked again."""
    pieces = [b"\1" * 6 + bytes((n,)) * 24 for n in range(3)] + [b"\2" * 30]
    tokens = made(lambda count: pieces.pop(0))
    first = tokens.issue(someone())
    second = tokens.issue(someone())
    assert first[:NAME_CHARACTERS] != second[:NAME_CHARACTERS]
    assert pieces == []
    assert tokens.find(first) is not None


def link_id(token: str) -> bytes:
    return hashlib.sha256(b"gsrt link id" + token.encode("ascii")).digest()[:8]


def test_over_a_link_a_token_is_found_by_its_id() -> None:
    """Those from before the first question, and those from after it."""
    tokens = made()
    red, blue, green = someone(), someone(), someone()
    of_red = tokens.issue(red)
    assert tokens.find_link(link_id(of_red)) == (of_red, red)
    of_blue = tokens.issue(blue)
    kept = made(random.Random(2).randbytes).make()
    tokens.restore(kept, green)
    assert tokens.find_link(link_id(of_blue)) == (of_blue, blue)
    assert tokens.find_link(link_id(kept)) == (kept, green)
    assert tokens.find_link(link_id(of_red)) == (of_red, red)


@pytest.mark.parametrize("asked_before", [False, True])
def test_over_a_link_a_revoked_token_is_not_found(asked_before: bool) -> None:
    tokens = made()
    token, other = tokens.issue(someone()), tokens.issue(someone())
    if asked_before:
        assert tokens.find_link(link_id(token)) is not None
    tokens.revoke(token[:-1] + ("A" if token[-1] != "A" else "B"))
    assert not asked_before or tokens.find_link(link_id(token)) is not None
    tokens.revoke(token)
    assert tokens.find_link(link_id(token)) is None
    assert tokens.find_link(link_id(other)) is not None


def test_over_a_link_what_is_no_id_finds_nothing() -> None:
    tokens = made()
    token = tokens.issue(someone())
    for nearly in (b"", link_id(token)[:7], link_id(token) + b"\0", bytes(8), token.encode()[:8], link_id(token[:-1])):
        assert tokens.find_link(nearly) is None


def test_over_a_link_a_player_who_moved_is_found_where_it_is() -> None:
    tokens = made()
    red, blue = someone(), someone()
    token = tokens.issue(red)
    assert tokens.find_link(link_id(token)) == (token, red)
    tokens.restore(token, blue)
    assert tokens.find_link(link_id(token)) == (token, blue)


def test_without_links_their_part_is_not_even_loaded() -> None:
    program = """
import os, sys
from gsrt.tokens import Tokens
tokens = Tokens(os.urandom)
token = tokens.issue(None)
tokens.revoke(token)
assert "gsrt.protocol.link" not in sys.modules
assert tokens.find_link(bytes(8)) is None
tokens.issue(None)
assert not {"gsrt._sodium", "hashlib"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)

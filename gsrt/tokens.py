"""Access and reconnect tokens: what lets one player into one session.

A token is 40 characters of URL-safe base64: 8 that find the player and 32 (192 random bits) that prove it. Only the
first part is looked up; the second is compared in constant time, so that answers do not tell how much of it was right.
"""

from __future__ import annotations

# What hmac.compare_digest is in CPython; hmac itself loads OpenSSL (3.7 MB).
from _operator import _compare_digest as same_digest
from binascii import b2a_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.session import Player

NAME_CHARACTERS = 8
TOKEN_CHARACTERS = 40
_RANDOM_BYTES = TOKEN_CHARACTERS * 6 // 8
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def is_token(text: str) -> bool:
    """Whether that could be a token: the right number of the right characters."""
    return len(text) == TOKEN_CHARACTERS and _CHARACTERS.issuperset(text)


class Tokens:
    """The valid tokens and whose they are. `entropy(n)` gives n random bytes fit for secrets (os.urandom)."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._holders: dict[str, tuple[bytes, Player]] = {}
        self._link_tokens: dict[bytes, str] | None = None  # by token id; None until somebody comes over a link

    def __len__(self) -> int:
        return len(self._holders)

    def make(self) -> str:
        """A new token that is nobody's yet."""
        while True:
            token = b2a_base64(self._entropy(_RANDOM_BYTES), newline=False).translate(_URL_SAFE).decode("ascii")
            # One that began with "-" would be taken for an option on a command line.
            if token[0] != "-" and token[:NAME_CHARACTERS] not in self._holders:
                return token

    def issue(self, player: Player) -> str:
        """A new token of `player`, valid until it is revoked."""
        token = self.make()
        self.restore(token, player)
        return token

    def restore(self, token: str, player: Player) -> None:
        """A token that was made earlier is `player`'s: before a restart, or until its match was stored. No two begin
        with the same 8 characters."""
        self._holders[token[:NAME_CHARACTERS]] = (token[NAME_CHARACTERS:].encode("ascii"), player)
        if self._link_tokens is not None:
            self._link_tokens[_link_token_id(token)] = token

    def find(self, token: str) -> Player | None:
        """Whose token this is; None for one that was never issued or was revoked."""
        found = self._holders.get(token[:NAME_CHARACTERS])
        if found is None or not same_digest(found[0], token[NAME_CHARACTERS:].encode("utf-8", "surrogateescape")):
            return None
        return found[1]

    def revoke(self, token: str) -> None:
        """Makes a token worthless; an unknown one is no matter."""
        if self.find(token) is not None:
            del self._holders[token[:NAME_CHARACTERS]]
            if self._link_tokens is not None:
                self._link_tokens.pop(_link_token_id(token), None)

    def find_link(self, token_id: bytes) -> tuple[str, Player] | None:
        """The token with that id (8 bytes; docs/LINK.md, section 3) and whose it is; None for an unknown one. An id
        proves nothing."""
        if self._link_tokens is None:
            tokens = (name + secret.decode("ascii") for name, (secret, _) in self._holders.items())
            self._link_tokens = {_link_token_id(token): token for token in tokens}
        token = self._link_tokens.get(token_id)
        if token is None:
            return None
        return token, self._holders[token[:NAME_CHARACTERS]][1]


def _link_token_id(token: str) -> bytes:
    """What a link names `token` by. A server without links does not load this part of it."""
    from gsrt.protocol.link import token_id

    return token_id(token)

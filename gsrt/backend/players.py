"""Players: who they are, how they sign in, and all that is known of one. Operations of the store.

A sign-in token is 40 characters, like those of gsrt.tokens: 8 that find it and 32 that prove it, of which only the
SHA-256 is stored.
"""

from __future__ import annotations

# What hmac.compare_digest is in CPython; hmac itself loads OpenSSL (3.7 MB).
from _operator import _compare_digest as same_digest
from binascii import b2a_base64

from gsrt.backend import achievements, newcomers, wallet
from gsrt.backend.call import Failure
from gsrt.sha256 import sha256
from gsrt.tokens import NAME_CHARACTERS, TOKEN_CHARACTERS, is_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from gsrt.store.store import Transaction

    Row = dict[str, Any]

DISPLAY_NAME_CHARACTERS_MAX = 64
USER_NAME_CHARACTERS_MAX = 128
LANGUAGE_CHARACTERS_MAX = 32
SEGMENTS_CHARACTERS_MAX = 4096  # all of a player's, as JSON
NUMBERED_CURRENCIES = 6  # currency1 to currency6 in the answers
SIGNUP = "signup"  # the reason in the ledger for what a new player gets
USE_NOTED_SECONDS = 60.0  # between two notes that a token was used: each is a write to the disk

TAKEN = {"USERNAME": "TAKEN"}
LOCKED = {"DETAILS": "LOCKED"}
UNRECOGNISED = {"DETAILS": "UNRECOGNISED"}
GONE = {"authentication": "NOTAUTHORIZED"}  # who was signed in was deleted meanwhile


# --- Tokens ---------------------------------------------------------------------------------------------------------


def issue_token(tx: Transaction, player_id: str, tokens_max: int) -> str:
    """A new token by which PLAYER_ID signs in. Of more than TOKENS_MAX the one not used for longest goes."""
    while True:
        random = bytes.fromhex(tx.new_id() + tx.new_id() + tx.new_id())[: TOKEN_CHARACTERS * 6 // 8]
        token = b2a_base64(random, newline=False).decode("ascii").translate({ord("+"): "-", ord("/"): "_"})
        made = tx.execute(
            "INSERT INTO auth_tokens(name, secret, player, created, used) VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (token[:NAME_CHARACTERS], _proof(token), player_id, tx.now, tx.now),
        )
        if made.rowcount == 1:
            break
    tx.execute(
        "DELETE FROM auth_tokens WHERE player = :player AND name <> :new AND name NOT IN"
        " (SELECT name FROM auth_tokens WHERE player = :player AND name <> :new"
        " ORDER BY used DESC, name LIMIT :others)",
        {"player": player_id, "new": token[:NAME_CHARACTERS], "others": tokens_max - 1},
    )
    return token


def by_token(tx: Transaction, token: str) -> str | None:
    """Whose TOKEN that is; None for one that was never issued or has gone. Notes that it was used."""
    if not is_token(token):
        return None
    found = tx.one("SELECT secret, player, used FROM auth_tokens WHERE name = ?", (token[:NAME_CHARACTERS],))
    if found is None or not same_digest(found[0], _proof(token)):
        return None
    player_id: str = found[1]
    if tx.now - found[2] >= USE_NOTED_SECONDS:
        tx.execute("UPDATE auth_tokens SET used = ? WHERE name = ?", (tx.now, token[:NAME_CHARACTERS]))
        note_seen(tx, player_id)
    return player_id


def revoke_tokens(tx: Transaction, player_id: str) -> None:
    """Makes all tokens of PLAYER_ID worthless."""
    tx.execute("DELETE FROM auth_tokens WHERE player = ?", (player_id,))


def _proof(token: str) -> bytes:
    proof: bytes = sha256(token[NAME_CHARACTERS:].encode("ascii")).digest()
    return proof


# --- Accounts -------------------------------------------------------------------------------------------------------


def create(
    tx: Transaction,
    display_name: str | None,
    signup: Mapping[str, int],
    user_name: str | None = None,
    password: str | None = None,
) -> str:
    """A new player's id. SIGNUP: currency -> what a new player gets; PASSWORD: as gsrt.backend.passwords stores it.

    Raises Failure USERNAME: TAKEN."""
    import sqlite3

    player_id = tx.new_id()
    try:
        tx.execute(
            "INSERT INTO players(id, display_name, user_name, password, created, seen) VALUES(?, ?, ?, ?, ?, ?)",
            (player_id, display_name or f"Player-{player_id[:4]}", user_name, password, tx.now, tx.now),
        )
    except sqlite3.IntegrityError:
        raise Failure(TAKEN) from None
    for currency, amount in signup.items():
        wallet.change_currency(tx, player_id, currency, amount, SIGNUP)
    return player_id


def name_is_free(tx: Transaction, user_name: str) -> bool:
    """Whether nobody has that USER_NAME. Upper and lower case of A to Z are the same in it."""
    return tx.one("SELECT 1 FROM players WHERE user_name = ?", (user_name,)) is None


def register(
    tx: Transaction,
    asker: str | None,
    display_name: str,
    user_name: str,
    password: str,
    segments: Mapping[str, object] | None,
    signup: Mapping[str, int],
    tokens_max: int,
    may_create: bool = True,
) -> Row:
    """A player with USER_NAME and PASSWORD (as it is stored): ASKER, if that player has no user name yet, as after a
    device's sign-in; else, where that is allowed, a new one. What `signed_in` gives.

    Raises Failure USERNAME: TAKEN, player: TOO_MANY."""
    import sqlite3

    upgraded = False
    if asker is not None:
        try:
            upgraded = bool(
                tx.execute(
                    "UPDATE players SET user_name = ?, password = ?, display_name = ?"
                    " WHERE id = ? AND user_name IS NULL",
                    (user_name, password, display_name, asker),
                ).rowcount
            )
        except sqlite3.IntegrityError:
            raise Failure(TAKEN) from None
    if asker is not None and upgraded:
        player_id = asker
    elif may_create:
        player_id = create(tx, display_name, signup, user_name, password)
    else:
        raise Failure(newcomers.TOO_MANY)
    merge_segments(tx, player_id, segments)
    return signed_in(tx, player_id, not upgraded, asker, tokens_max)


def device_sign_in(
    tx: Transaction,
    asker: str | None,
    device_id: str,
    device_os: str,
    display_name: str | None,
    segments: Mapping[str, object] | None,
    signup: Mapping[str, int],
    tokens_max: int,
    may_create: bool = True,
) -> Row:
    """The player of that device, who is made with the first sign-in, where that is allowed. What `signed_in` gives.

    Raises Failure player: TOO_MANY."""
    found = tx.one("SELECT player FROM devices WHERE device_id = ? AND device_os = ?", (device_id, device_os))
    if found is not None:
        player_id: str = found[0]
    elif not may_create:
        raise Failure(newcomers.TOO_MANY)
    else:
        player_id = create(tx, display_name, signup)
        tx.execute(
            "INSERT INTO devices(device_id, device_os, player, created) VALUES(?, ?, ?, ?)",
            (device_id, device_os, player_id, tx.now),
        )
    merge_segments(tx, player_id, segments)
    return signed_in(tx, player_id, found is None, asker, tokens_max)


def signed_in(tx: Transaction, player_id: str, new: bool, asker: str | None, tokens_max: int) -> Row:
    """Notes a sign-in. {userId, displayName, newPlayer, authToken (none where TOKENS_MAX is 0), switchSummary (where
    ASKER is another player: who it was)}."""
    row = tx.one("SELECT display_name FROM players WHERE id = ?", (player_id,))
    if row is None:
        raise Failure(UNRECOGNISED)
    note_seen(tx, player_id)
    found: Row = {"userId": player_id, "displayName": row[0], "newPlayer": new}
    if tokens_max:
        found["authToken"] = issue_token(tx, player_id, tokens_max)
    if asker is not None and asker != player_id:
        before = tx.one("SELECT display_name FROM players WHERE id = ?", (asker,))
        if before is not None:
            found["switchSummary"] = {"id": asker, "displayName": before[0]}
    return found


def note_seen(tx: Transaction, player_id: str) -> None:
    """Notes that the player was there until now."""
    tx.execute("UPDATE players SET seen = ? WHERE id = ?", (tx.now, player_id))


# --- Passwords ------------------------------------------------------------------------------------------------------


def is_locked(tx: Transaction, locked_until: float, lock_seconds: float) -> bool:
    """Whether an account is. No longer than LOCK_SECONDS from now: otherwise the clock was set back meanwhile, on a
    board that has none of its own by years."""
    return tx.now < locked_until <= tx.now + lock_seconds


def credentials(tx: Transaction, user_name: str, lock_seconds: float) -> tuple[str, str | None] | None:
    """(id, password as it is stored) of the player with USER_NAME; None where there is none. LOCK_SECONDS: how long an
    account is locked.

    Raises Failure DETAILS: LOCKED."""
    row = tx.one("SELECT id, password, locked_until FROM players WHERE user_name = ?", (user_name,))
    if row is None:
        return None
    if is_locked(tx, row[2], lock_seconds):
        raise Failure(LOCKED)
    return row[0], row[1]


def own_password(tx: Transaction, player_id: str, lock_seconds: float) -> str | None:
    """The password of PLAYER_ID as it is stored; None where there is none. LOCK_SECONDS: how long an account is locked.

    Raises Failure DETAILS: LOCKED, authentication: NOTAUTHORIZED."""
    row = tx.one("SELECT password, locked_until FROM players WHERE id = ?", (player_id,))
    if row is None:
        raise Failure(GONE)
    if is_locked(tx, row[1], lock_seconds):
        raise Failure(LOCKED)
    password: str | None = row[0]
    return password


def judge(
    tx: Transaction,
    player_id: str,
    checked: str | None,
    right: bool,
    rehashed: str | None,
    failures_max: int,
    lock_seconds: float,
) -> dict[str, str]:
    """What comes of a password that was compared with the one CHECKED, as it was stored: {} if it lets the player in,
    or the errors. A wrong one is counted; after FAILURES_MAX in a row the account is locked for LOCK_SECONDS.

    Guesses made side by side come here one after the other, and only here does anyone learn what they are worth."""
    row = tx.one("SELECT password, failures, locked_until FROM players WHERE id = ?", (player_id,))
    if row is None or row[0] != checked:
        return UNRECOGNISED  # it was deleted, or has another password since
    if is_locked(tx, row[2], lock_seconds):
        return LOCKED
    if not right:
        failures = row[1] + 1
        locked_until = tx.now + lock_seconds if failures >= failures_max else 0.0
        tx.execute(
            "UPDATE players SET failures = ?, locked_until = ? WHERE id = ?",
            (0 if locked_until else failures, locked_until, player_id),
        )
        return UNRECOGNISED
    if row[1] or row[2] or rehashed:
        tx.execute(
            "UPDATE players SET failures = 0, locked_until = 0, password = ? WHERE id = ?",
            (rehashed or checked, player_id),
        )
    return {}


def password_sign_in(
    tx: Transaction,
    player_id: str,
    checked: str | None,
    right: bool,
    rehashed: str | None,
    failures_max: int,
    lock_seconds: float,
    asker: str | None,
    tokens_max: int,
) -> Row:
    """What `signed_in` gives, or {"error": errors} as `judge` has them."""
    errors = judge(tx, player_id, checked, right, rehashed, failures_max, lock_seconds)
    return {"error": errors} if errors else signed_in(tx, player_id, False, asker, tokens_max)


# --- Details --------------------------------------------------------------------------------------------------------


def details(tx: Transaction, player_id: str, currencies: Sequence[str]) -> Row:
    """What an AccountDetailsResponse holds. CURRENCIES: the game's, in order.

    Raises Failure authentication: NOTAUTHORIZED."""
    row = tx.one("SELECT display_name FROM players WHERE id = ?", (player_id,))
    if row is None:
        raise Failure(GONE)
    balances = dict.fromkeys(currencies, 0)
    balances.update(wallet.balances(tx, player_id))
    numbered = [balances[code] for code in currencies[:NUMBERED_CURRENCIES]]
    numbered += [0] * (NUMBERED_CURRENCIES - len(numbered))
    return {
        "userId": player_id,
        "displayName": row[0],
        **{f"currency{number}": amount for number, amount in enumerate(numbered, 1)},
        "currencies": balances,
        **{f"reservedCurrency{number}": {} for number in range(1, NUMBERED_CURRENCIES + 1)},
        "reservedCurrencies": {},
        "virtualGoods": wallet.goods(tx, player_id),
        "achievements": achievements.earned(tx, player_id),
        "externalIds": {},
        "location": {},
    }


def display_names(tx: Transaction, player_ids: Sequence[str]) -> dict[str, str]:
    """Player id -> display name, of those there are."""
    names: dict[str, str] = {}
    for player_id in player_ids:
        row = tx.one("SELECT display_name FROM players WHERE id = ?", (player_id,))
        if row is not None:
            names[player_id] = row[0]
    return names


def change(
    tx: Transaction,
    player_id: str,
    changes: Mapping[str, str],
    checked: str | None,
    tokens_max: int,
) -> Row:
    """Sets columns of a player: display_name, user_name, language, and password, if it is still the one CHECKED (as it
    is stored). A new password makes the tokens worthless; {authToken: a new one} then, unless TOKENS_MAX is 0.

    Raises Failure USERNAME: TAKEN, DETAILS: UNRECOGNISED, authentication: NOTAUTHORIZED."""
    import sqlite3

    row = tx.one("SELECT password FROM players WHERE id = ?", (player_id,))
    if row is None:
        raise Failure(GONE)
    if "password" in changes and row[0] != checked:
        raise Failure(UNRECOGNISED)
    for column in ("display_name", "user_name", "language", "password"):
        if column in changes:
            try:
                tx.execute(f"UPDATE players SET {column} = ? WHERE id = ?", (changes[column], player_id))
            except sqlite3.IntegrityError:
                raise Failure(TAKEN) from None
    if "password" not in changes:
        return {}
    revoke_tokens(tx, player_id)
    return {"authToken": issue_token(tx, player_id, tokens_max)} if tokens_max else {}


def segments(tx: Transaction, player_id: str) -> Row:
    """The segments a player belongs to: name -> value."""
    return _object(tx, "segments", player_id)


def merge_segments(tx: Transaction, player_id: str, added: Mapping[str, object] | None) -> None:
    """Puts a player into further segments (name -> value; None takes the player out).

    Raises Failure `segments` where that is more than is kept."""
    if added:
        merged = {**segments(tx, player_id), **added}
        _put_object(tx, "segments", player_id, {name: value for name, value in merged.items() if value is not None})


def script_data(tx: Transaction, player_id: str) -> Row:
    """What scripts have noted with a player."""
    return _object(tx, "script_data", player_id)


def put_script_data(tx: Transaction, player_id: str, values: Mapping[str, object], characters_max: int) -> None:
    """Notes VALUES with a player, in place of what was there; None: nothing of that name.

    Raises Failure `script_data` where that is more than CHARACTERS_MAX of JSON."""
    merged = {name: value for name, value in values.items() if value is not None}
    _put_object(tx, "script_data", player_id, merged, characters_max)


def _object(tx: Transaction, column: str, player_id: str) -> Row:
    import json

    row = tx.one(f"SELECT {column} FROM players WHERE id = ?", (player_id,))
    if row is None:
        raise Failure(GONE)
    found: Row = json.loads(row[0])
    return found


def _put_object(
    tx: Transaction, column: str, player_id: str, values: Row, characters_max: int = SEGMENTS_CHARACTERS_MAX
) -> None:
    import json

    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    if len(text) > characters_max:
        raise Failure({column: f"must be at most {characters_max:,} characters of JSON"})
    tx.execute(f"UPDATE players SET {column} = ? WHERE id = ?", (text, player_id))

"""All that is known of a player, for the operator: to look at, to hand out, to delete. Operations of the store.

A player is named by the id or by the user name.
"""

from __future__ import annotations

from gsrt.backend import achievements, players, wallet
from gsrt.backend.call import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.store.store import Transaction

    Row = dict[str, Any]

# What is kept of a player: section -> table, columns, the condition that finds the rows of :player, the order they
# stand in. What proves who somebody is (passwords, tokens) is in none of them.
SECTIONS: dict[str, tuple[str, str, str, str]] = {
    "player": (
        "players",
        "id, display_name, user_name, language, created, seen, failures, locked_until, segments, script_data",
        "id = :player",
        "id",
    ),
    "devices": ("devices", "device_id, device_os, created", "player = :player", "device_id, device_os"),
    "signIns": ("auth_tokens", "created, used", "player = :player", "created, name"),
    "balances": ("balances", "currency, amount", "player = :player", "currency"),
    "goods": ("goods", "good, quantity", "player = :player", "good"),
    "ledger": ("ledger", "kind, code, delta, balance, reason, at", "player = :player", "id"),
    "documents": ("documents", "collection, id, version, changed, body", "owner = :player", "collection, id"),
    "scores": ("scores", "leaderboard, part, score, attributes, at", "player = :player", "leaderboard, part"),
    "achievements": ("achievements", "code, at", "player = :player", "at, code"),
    "messages": ("messages", "id, class, body, at", "player = :player", "number, id"),
    "matches": (
        'match_players JOIN matches ON matches.id = match_players."match"',
        'matches.id, short_code, match_group, created, ended, peer_id, match_players.skill, participant_data, "left"',
        "player = :player",
        "created, matches.id",
    ),
    "tickets": ("tickets", "short_code, match_group, body, since", "player = :player", "short_code"),
}
JSON_COLUMNS = frozenset(("segments", "script_data", "body", "attributes", "participant_data"))
PAGE_ROWS = 500  # of an export at once,
PAGE_CHARACTERS = 200_000  # or somewhat more than so many: the loop is to pass it on in a moment


def find(tx: Transaction, who: str) -> str:
    """The id of the player WHO is. Raises Failure `player`."""
    row = tx.one("SELECT id FROM players WHERE id = :who OR user_name = :who ORDER BY id <> :who", {"who": who})
    if row is None:
        raise Failure(player="there is no player with that id or user name; `gsrt player list` shows who there is")
    found: str = row[0]
    return found


def listing(tx: Transaction, after: str | None, most: int, name: str | None) -> Row:
    """{players: the newest first, at most MOST, those before the player AFTER; all: how many there are}. NAME: only
    those who have it in a name, whatever its case."""
    rows = tx.all(
        "SELECT id, display_name, user_name, created, seen, locked_until,"
        " (SELECT count(*) FROM devices WHERE player = players.id) FROM players"
        " WHERE (:after IS NULL OR rowid < (SELECT rowid FROM players WHERE id = :after))"
        " AND (:name IS NULL OR instr(lower(display_name), lower(:name)) OR instr(lower(user_name), lower(:name)))"
        " ORDER BY rowid DESC LIMIT :most",
        {"after": after, "name": name, "most": most},
    )
    counted = tx.one("SELECT count(*) FROM players")
    assert counted is not None
    return {
        "players": [
            {
                "playerId": player_id,
                "displayName": display_name,
                "userName": user_name,
                "created": created,
                "seen": seen,
                "locked": locked_until > tx.now,
                "devices": devices,
            }
            for player_id, display_name, user_name, created, seen, locked_until, devices in rows
        ],
        "all": counted[0],
    }


def show(tx: Transaction, who: str) -> Row:
    """One player: the account, what the player owns, and how much there is of everything else."""
    player_id = find(tx, who)
    account = page(tx, player_id, "player", 0)["rows"][0]
    counted = ("signIns", "documents", "scores", "messages", "matches", "tickets")
    return {
        "playerId": account.pop("id"),
        **account,
        "lockedSeconds": max(0.0, account.pop("lockedUntil") - tx.now),
        "devices": page(tx, player_id, "devices", 0)["rows"],
        "currencies": wallet.balances(tx, player_id),
        "virtualGoods": wallet.goods(tx, player_id),
        "achievements": achievements.earned(tx, player_id),
        "counts": {section: _count(tx, player_id, section) for section in counted},
    }


def page(tx: Transaction, who: str, section: str, offset: int) -> Row:
    """{rows: [{column: value}] of a SECTION from number OFFSET on; next: the offset of those that follow, or None}."""
    import json

    table, columns, condition, order = SECTIONS[section]
    cursor = tx.execute(
        f"SELECT {columns} FROM {table} WHERE {condition} ORDER BY {order} LIMIT {PAGE_ROWS} OFFSET :offset",
        {"player": find(tx, who), "offset": offset},
    )
    names = [column[0] for column in cursor.description]
    rows: list[Row] = []
    characters = 0
    for values in cursor:
        rows.append(
            {
                _camel(name): json.loads(value) if name in JSON_COLUMNS and value is not None else value
                for name, value in zip(names, values, strict=True)
            }
        )
        characters += sum(len(value) for value in values if type(value) is str)
        if characters >= PAGE_CHARACTERS:
            break
    else:
        if len(rows) < PAGE_ROWS:
            return {"rows": rows, "next": None}
    cursor.close()
    return {"rows": rows, "next": offset + len(rows)}


def reset(tx: Transaction, who: str, password: str | None) -> Row:
    """Unlocks an account. With a PASSWORD (as it is stored) that is the player's from now on, if the player has a user
    name, and no device is signed in any more. {playerId, userName}."""
    player_id = find(tx, who)
    tx.execute("UPDATE players SET failures = 0, locked_until = 0 WHERE id = ?", (player_id,))
    if password is not None:
        tx.execute("UPDATE players SET password = ? WHERE id = ? AND user_name IS NOT NULL", (password, player_id))
        players.revoke_tokens(tx, player_id)
    row = tx.one("SELECT user_name FROM players WHERE id = ?", (player_id,))
    assert row is not None
    return {"playerId": player_id, "userName": row[0]}


def delete(tx: Transaction, who: str) -> Row:
    """Removes a player and all there is of that player. {playerId, displayName}.

    The rows of the ledger go with the balances they add up to, so that what is left still balances. Matches that are
    over go with the last of their players; one that is played goes on. Messages to others stay theirs."""
    player_id = find(tx, who)
    (account,) = page(tx, player_id, "player", 0)["rows"]
    matches = tx.all('SELECT "match" FROM match_players WHERE player = ?', (player_id,))
    tx.execute("DELETE FROM players WHERE id = ?", (player_id,))  # the other tables follow by their foreign keys
    for (match_id,) in matches:
        tx.execute(
            "DELETE FROM matches WHERE id = :match AND ended IS NOT NULL"
            ' AND NOT EXISTS (SELECT 1 FROM match_players WHERE "match" = :match)',
            {"match": match_id},
        )
    return {"playerId": player_id, "displayName": account["displayName"]}


def _count(tx: Transaction, player_id: str, section: str) -> int:
    table, _, condition, _ = SECTIONS[section]
    row = tx.one(f"SELECT count(*) FROM {table} WHERE {condition}", {"player": player_id})
    assert row is not None
    count: int = row[0]
    return count


def _camel(column: str) -> str:
    """display_name: displayName"""
    first, *others = column.split("_")
    return first + "".join(word.capitalize() for word in others)

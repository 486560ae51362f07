"""Messages to players: kept until they could be told, and those worth it until they are dismissed.

A message is stored, and announced when that is committed. Who is online gets it at once, anybody else when signing in
next. When it was put on an open connection, `delivered` is called: a message with `keep` stays listed until it is
dismissed, any other is gone. A server killed in between delivers it again: clients know a message by its messageId.

Kept are those that say something which is to be seen again: AchievementEarnedMessage, and a ScriptMessage unless its
script says otherwise. NewHighScoreMessage goes once delivered, for the leaderboard itself has the score.
A player has a bounded number of messages; over it the oldest goes.
"""

from __future__ import annotations

from gsrt.backend.bodies import encode
from gsrt.backend.owners import must_exist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from gsrt.store.store import Transaction

    Message = dict[str, Any]

MESSAGES_MAX = 100  # of one player, where the caller says nothing else
BYTES_MAX = 65536  # of one message: what a player's client may send in one, too
PAGE_BYTES_MAX = 262_144  # of messages that go out at once: a stream's queue has to take them


def put(
    tx: Transaction,
    player_id: str,
    class_name: str,
    body: Mapping[str, object],
    keep: bool = True,
    most: int = MESSAGES_MAX,
) -> Message:
    """Stores a message for the player and has it announced; returns it as the client gets it. CLASS_NAME is written
    without the dot. MOST: messages that the player may have.

    Raises Failure: playerId: NOT_FOUND, message: TOO_LARGE or INVALID."""
    must_exist(tx, player_id)
    message: Message = {
        "title": "",
        "subTitle": "",
        "summary": "",
        "notification": False,
        **body,
        "@class": f".{class_name}",
        "messageId": tx.new_id(),
    }
    text = encode(message, "message", BYTES_MAX)
    found = tx.one("SELECT number FROM messages WHERE player = ? ORDER BY number DESC LIMIT 1", (player_id,))
    number = 1 if found is None else found[0] + 1
    tx.execute(
        "INSERT INTO messages (id, player, class, body, at, number, keep, seen) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
        (message["messageId"], player_id, class_name, text, tx.now, number, int(keep)),
    )
    last = tx.one(
        "SELECT number FROM messages WHERE player = ? ORDER BY number DESC LIMIT 1 OFFSET ?", (player_id, most)
    )
    if last is not None:
        tx.execute("DELETE FROM messages WHERE player = ? AND number <= ?", (player_id, last[0]))
    tx.announce(player_id, message)
    return message


def waiting(tx: Transaction, player_id: str, after: int = 0) -> tuple[list[Message], int | None]:
    """Those that were not delivered yet, oldest first: what the player is told at sign-in. A page of them, and what to
    give as AFTER for the next; None: there are no more."""
    rows = tx.execute(
        "SELECT body, number FROM messages WHERE player = ? AND number > ? AND NOT seen ORDER BY number",
        (player_id, after),
    )
    return _read(rows)


def delivered(tx: Transaction, player_id: str, message_ids: Sequence[str]) -> None:
    """The messages were put on an open connection of the player. Unknown ones are passed over."""
    for message_id in message_ids:
        tx.execute("DELETE FROM messages WHERE id = ? AND player = ? AND NOT keep", (message_id, player_id))
        tx.execute("UPDATE messages SET seen = 1 WHERE id = ? AND player = ? AND NOT seen", (message_id, player_id))


def list_page(
    tx: Transaction, player_id: str, entry_count: int, page: int = 0, class_name: str | None = None
) -> list[Message]:
    """ENTRY_COUNT messages of the player, newest first, from the PAGE (0: the newest). CLASS_NAME: such ones only.
    A page of more than PAGE_BYTES_MAX ends early."""
    of_class = "" if class_name is None else "AND class = ?"
    rows = tx.execute(
        f"SELECT body, number FROM messages WHERE player = ? {of_class} ORDER BY number DESC LIMIT ? OFFSET ?",
        (player_id, *(() if class_name is None else (class_name,)), entry_count, entry_count * page),
    )
    return _read(rows)[0]


def dismiss(tx: Transaction, player_id: str, message_id: str) -> bool:
    """The player has done with the message. False: there is no such message of the player's."""
    return tx.execute("DELETE FROM messages WHERE id = ? AND player = ?", (message_id, player_id)).rowcount > 0


def _read(rows: Iterable[tuple[str, int]]) -> tuple[list[Message], int | None]:
    """A page, and the number of its last message if more would have followed."""
    import json

    found: list[Message] = []
    size = last = 0
    for body, number in rows:
        size += len(body.encode())
        if size > PAGE_BYTES_MAX:
            return found, last
        found.append(json.loads(body))
        last = number
    return found, None

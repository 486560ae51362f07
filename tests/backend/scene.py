"""A database in memory to try operations on: the store's own layout and transactions, without its thread."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from typing import Any

from gsrt.store.migrations import migrate
from gsrt.store.transaction import Transaction

WALL = 1_700_000_000.0  # 2023-11-14T22:13:20Z


class Scene:
    """Does operations one after the other. `told`: (player, message) of those that were announced."""

    def __init__(self) -> None:
        self.now = WALL
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._entropy = random.Random(7).randbytes
        migrate(self._connection, 0)
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("BEGIN")

    def close(self) -> None:
        self._connection.close()

    def do(self, operation: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The operation's result. What it raises undoes it, as in the store."""
        tx = Transaction(self._connection, self.now, self._entropy)
        self._connection.execute("SAVEPOINT operation")
        try:
            result = operation(tx, *arguments, **options)
        except BaseException:
            self._connection.execute("ROLLBACK TO operation")
            raise
        finally:
            self._connection.execute("RELEASE operation")
            tx.end()
        self.told += tx.announcements
        return result

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()

    def player(self, player_id: str) -> str:
        """A new player of that id, who is called by it."""
        self._connection.execute("INSERT INTO players (id, display_name) VALUES (?, ?)", (player_id, player_id.title()))
        return player_id

    def delete_player(self, player_id: str) -> None:
        self._connection.execute("DELETE FROM players WHERE id = ?", (player_id,))

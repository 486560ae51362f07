"""What an operation works with."""

from __future__ import annotations

from gsrt.store.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Parameters = Sequence[Any] | Mapping[str, Any]

ID_BYTES = 12  # 24 characters, as the original service's ids have


class Transaction:
    """The database as one operation sees it: all that it changes is there afterwards, or nothing. `now`: wall-clock
    seconds, the same throughout. No longer than the operation."""

    __slots__ = ("_connection", "_entropy", "announcements", "now")

    def __init__(self, connection: sqlite3.Connection, now: float, entropy: Callable[[int], bytes]) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._entropy = entropy
        self.now = now
        self.announcements: list[tuple[str, dict[str, Any]]] = []

    def execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """One statement. Raises sqlite3.IntegrityError where a constraint forbids it."""
        connection = self._connection
        if connection is None or not connection.in_transaction:
            # After some errors SQLite itself undoes the whole transaction: what came now would be on its own.
            raise StoreError("the operation is over, or was undone")
        return connection.execute(sql, parameters)

    def one(self, sql: str, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        cursor = self.execute(sql, parameters)
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()
        return row

    def all(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.execute(sql, parameters).fetchall()

    def new_id(self) -> str:
        """24 random lower-case hexadecimal characters."""
        return self._entropy(ID_BYTES).hex()

    def announce(self, player_id: str, message: dict[str, Any]) -> None:
        """Has MESSAGE handed to the loop for PLAYER_ID when this operation is on the disk."""
        self.announcements.append((player_id, message))

    def end(self) -> None:
        self._connection = None

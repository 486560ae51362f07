"""From every older version, with rows in it, to the newest one; all or nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gsrt.store.database import APPLICATION_ID, open_database
from gsrt.store.migrations import STEPS, migrate

# A row of each table that a version has brought, by column.
ROWS: dict[int, dict[str, dict[str, Any]]] = {
    1: {
        "players": {"id": "p1", "display_name": "Anna", "user_name": "anna", "created": 1.5, "seen": 2.5},
        "devices": {"device_id": "d", "device_os": "IOS", "player": "p1", "created": 1.0},
        "auth_tokens": {"name": "t", "secret": b"\0\1", "player": "p1", "created": 1.0, "used": 2.0},
    },
    2: {
        "balances": {"player": "p1", "currency": "gold", "amount": 2**53},
        "goods": {"player": "p1", "good": "hat", "quantity": 1},
        "ledger": {"id": 7, "player": "p1", "kind": "good", "code": "hat", "delta": 1, "balance": 1, "at": 1.0},
        "documents": {"owner": "p1", "collection": "c", "id": "i", "body": "{}", "version": 3, "changed": 1.0},
    },
    3: {
        "scores": {"leaderboard": "l", "part": "", "player": "p1", "score": 9.5, "at": 1.0, "number": 1},
        "achievements": {"player": "p1", "code": "first", "at": 1.0},
        "messages": {"id": "m", "player": "p1", "class": ".M", "body": "{}", "at": 1.0, "number": 1},
    },
    4: {
        "matches": {"id": "s", "short_code": "duel", "data": "{}", "created": 1.0},
        "match_players": {"match": "s", "player": "p1", "peer_id": 1, "access_token": "a", "left": 5.0},
        "tickets": {"player": "p1", "short_code": "duel", "body": "{}", "since": 1.0},
        "log": {"id": 1, "at": 1.0, "session": "s", "level": "info", "text": "t"},
    },
}


def database_of(version: int, path: Path) -> None:
    """A database as that version of the program has left it, with rows in every table."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate(connection, 0, STEPS[:version])
    connection.execute("PRAGMA foreign_keys = ON")
    for number in range(1, version + 1):
        for table, row in ROWS[number].items():
            columns = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table}({columns}) VALUES ({marks})", tuple(row.values()))
    connection.close()


def layout(connection: sqlite3.Connection) -> dict[str, Any]:
    """Every table's columns and every index and trigger, however they came about."""
    found: dict[str, Any] = {}
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master ORDER BY name").fetchall():
        found[f"{kind} {name}"] = connection.execute(f'PRAGMA {kind}_info("{name}")').fetchall()
    return found


def test_every_version_is_tried() -> None:
    assert sorted(ROWS) == list(range(1, len(STEPS) + 1))


@pytest.mark.parametrize("version", range(len(STEPS) + 1))
def test_a_database_of_an_older_version_gets_the_newest_layout_and_keeps_its_rows(version: int, tmp_path: Path) -> None:
    path, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    database_of(version, path)
    fresh, fresh_lock = open_database(str(new))
    connection, lock = open_database(str(path))
    try:
        assert layout(connection) == layout(fresh)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for number in range(1, version + 1):
            for table, row in ROWS[number].items():
                columns = ", ".join(f'"{name}"' for name in row)
                assert connection.execute(f"SELECT {columns} FROM {table}").fetchall() == [tuple(row.values())], table
    finally:
        for each in (connection, fresh):
            each.close()
        for held in (lock, fresh_lock):
            held.release()


def test_with_a_player_goes_all_that_is_the_players(tmp_path: Path) -> None:
    path = tmp_path / "game.sqlite"
    database_of(len(STEPS), path)
    connection, lock = open_database(str(path))
    try:
        connection.execute("DELETE FROM players")
        left = {
            table
            for number in ROWS
            for table in ROWS[number]
            if connection.execute(f"SELECT count(*) FROM {table}").fetchone() != (0,)
        }
        assert left == {"matches", "log"}
    finally:
        connection.close()
        lock.release()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_step_that_fails_leaves_the_version_before(fails_at: int, tmp_path: Path) -> None:
    steps = [["CREATE TABLE a(x)", "INSERT INTO a VALUES (1)"], ["ALTER TABLE a ADD COLUMN y", "UPDATE a SET y = x"]]
    steps[fails_at - 1].append("INSERT INTO nowhere VALUES (1)")
    connection = sqlite3.connect(tmp_path / "game.sqlite", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(connection, 0, steps)
    assert connection.execute("PRAGMA user_version").fetchone() == (fails_at - 1,)
    assert not connection.in_transaction
    columns = [row[1] for row in connection.execute("PRAGMA table_info(a)")]
    assert columns == (["x"] if fails_at == 2 else [])
    steps[fails_at - 1].pop()
    migrate(connection, fails_at - 1, steps)
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, 1)]
    connection.close()

"""Opening: what is made, with which rights and settings; what is refused, in words that say what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gsrt.store import database
from gsrt.store.database import APPLICATION_ID, path_in
from gsrt.store.migrations import STEPS
from gsrt.store.store import StoreError
from tests.store.rig import Loop, names, put, store_threads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(path_in(str(tmp_path)))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OPEN_SECONDS", 0.01)


@pytest.fixture
def filled(path: Path) -> Path:
    """A database larger than what is kept of it in memory."""
    with Loop(path, batch_seconds=1.0, batch_writes=100) as loop:
        for number in range(300):
            loop.submit(put, f"{number:03}", "x" * 20_000)
        loop.until_outcomes(300)
    return path


@contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as any program opens it."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0.01)
    try:
        yield connection
    finally:
        connection.close()


def refusal(path: Path) -> str:
    before = store_threads()
    with pytest.raises(StoreError) as refused:
        Loop(path)
    assert store_threads() == before
    return str(refused.value)


# What is made


def test_a_new_database_is_this_users_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with Loop(path) as loop:
            loop.ask(put, "a")
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("game.sqlite", "game.sqlite-wal", "game.sqlite.lock"), 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_how_it_is_set_up(path: Path) -> None:
    asked = ("journal_mode", "synchronous", "foreign_keys", "application_id", "user_version", "locking_mode")
    with Loop(path) as loop:
        found = [loop.ask(lambda tx, name: tx.one(f"PRAGMA {name}"), name)[0] for name in asked]
    assert found == ["wal", 2, 1, APPLICATION_ID, len(STEPS), "exclusive"]


def test_what_was_written_is_there_when_it_is_opened_again(path: Path) -> None:
    for name in "abc":
        with Loop(path) as loop:
            loop.ask(put, name)
    with Loop(path) as loop:
        assert loop.ask(names) == ["a", "b", "c"]


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with Loop(path) as loop:
        assert loop.ask(names) == []


def test_the_folder_around_must_be_there(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nowhere" / "data" / "game.sqlite")


# Who else has it


def test_a_second_server_is_refused_and_the_first_goes_on(path: Path) -> None:
    with Loop(path) as loop:
        code = f"""
from gsrt.store.store import StoreError
from tests.store.rig import Loop
try:
    Loop({str(path)!r})
except StoreError as refused:
    print(refused)
"""
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert f"another gsrt (process {os.getpid()})" in ran.stdout
        assert f"another gsrt (process {os.getpid()})" in refusal(path)
        loop.ask(put, "a")
        assert "process" in refusal(path), "refusing one has let go of the lock"
    with Loop(path) as loop:
        assert loop.ask(names) == ["a"]


def test_another_program_gets_nothing_in_between(path: Path) -> None:
    with Loop(path) as loop, plain(path) as other:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("SELECT * FROM players")
        loop.ask(put, "a")


@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_database_that_another_program_writes_is_refused(filled: Path, how: str) -> None:
    with plain(filled) as other:
        other.execute(f"BEGIN {how}")
        other.execute("DELETE FROM documents")
        assert "another program has it open: end it" in refusal(filled)
        other.execute("ROLLBACK")
    with Loop(filled) as loop:
        assert len(loop.ask(names)) == 300


def test_a_lock_file_left_behind_locks_nothing(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("game.sqlite.lock").write_text("12345678901234567890")
    with Loop(path):
        assert path.with_name("game.sqlite.lock").read_text() == f"{os.getpid()}\n"


# Damage


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_damaged_header(filled: Path) -> None:
    overwrite(filled, 0, b"\xff" * 100)
    text = refusal(filled)
    assert str(filled) in text
    assert "`gsrt restore` puts a backup in its place" in text


def test_a_damaged_page_in_the_middle(filled: Path) -> None:
    overwrite(filled, filled.stat().st_size // 4096 // 2 * 4096, b"\xff" * 4096)
    text = refusal(filled)
    assert str(filled) in text
    assert "damaged" in text
    assert "`gsrt restore` puts a backup in its place" in text
    assert "\n" not in text


def test_a_file_cut_short(filled: Path) -> None:
    os.truncate(filled, filled.stat().st_size // 2)
    assert "`gsrt restore` puts a backup in its place" in refusal(filled)


def test_no_database_at_all(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("my notes, which are long enough to be taken for a header of a database\n" * 100)
    assert "`gsrt restore`" in refusal(path)
    assert path.read_text().startswith("my notes")


def test_a_page_that_is_damaged_later_is_told_to_those_who_need_it(filled: Path) -> None:
    with Loop(filled) as loop:
        size = filled.stat().st_size
        for page in range(size // 4096 // 2, size // 4096):
            overwrite(filled, page * 4096, b"\xff" * 4096)
        with pytest.raises(StoreError, match="`gsrt restore` puts a backup in its place"):
            loop.ask(lambda tx: len(tx.all("SELECT CAST(body AS BLOB) FROM documents")))
        assert loop.ask(lambda tx: tx.one("SELECT 1")) == (1,)


def test_a_log_with_a_torn_end_loses_only_what_was_not_acknowledged(path: Path, tmp_path: Path) -> None:
    torn = tmp_path / "game.sqlite"
    log, torn_log = path.with_name("game.sqlite-wal"), torn.with_name("game.sqlite-wal")
    with Loop(path) as loop:
        loop.ask(put, "a")
        before = log.read_bytes()
        loop.ask(put, "b")
        after = log.read_bytes()
        shutil.copy(path, torn)
    written = [at for at in range(len(after)) if after[at : at + 1] != before[at : at + 1]]
    torn_log.write_bytes(after)
    overwrite(torn_log, written[-1], before[written[-1] : written[-1] + 1] or b"\xff")
    with Loop(torn) as loop:
        assert loop.ask(names) == ["a"]


# Versions and origins


def test_a_database_of_a_later_version(filled: Path) -> None:
    with plain(filled) as other:
        other.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    before = filled.read_bytes()
    text = refusal(filled)
    assert f"its version is {len(STEPS) + 1}, this program knows {len(STEPS)}" in text
    assert "update gsrt" in text
    assert filled.read_bytes() == before


def test_a_database_of_another_program(path: Path) -> None:
    path.parent.mkdir()
    with plain(path) as other:
        other.execute("CREATE TABLE mine(a)")
    before = path.read_bytes()
    assert "not made by gsrt" in refusal(path)
    assert path.read_bytes() == before


def test_a_folder_in_the_databases_place(path: Path) -> None:
    path.mkdir(parents=True)
    assert str(path) in refusal(path)


def test_a_file_in_the_folders_place(path: Path) -> None:
    path.parent.write_text("")
    assert str(path.parent) in refusal(path)

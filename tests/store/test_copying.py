"""A backup while the server writes, and its restoration."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gsrt.store import copying, database
from gsrt.store.copying import restore
from gsrt.store.database import path_in
from gsrt.store.migrations import STEPS
from gsrt.store.store import StoreError
from tests.store.rig import NEVER, Loop, bodies, names, put

BODY = "x" * 5000
STAMP = "20261122-101112"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(path_in(str(tmp_path)))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.sqlite"


def fill(path: Path, *documents: str) -> Path:
    with Loop(path, batch_seconds=NEVER, batch_writes=len(documents)) as loop:
        for name in documents:
            loop.submit(put, name, BODY)
        loop.until_outcomes(len(documents))
    return path


def take_backup(loop: Loop, path: Path) -> int:
    came = loop.backup(path)
    loop.until(lambda: bool(came))
    ((size, error),) = came
    if error is not None:
        raise error
    assert isinstance(size, int)
    return size


def documents_in(path: Path) -> list[str]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [name for (name,) in connection.execute("SELECT id FROM documents ORDER BY id")]
    finally:
        connection.close()


# Backup


def test_a_backup_holds_everything_in_one_file_of_this_users(path: Path, copy: Path) -> None:
    with Loop(fill(path, "a", "b")) as loop:
        loop.ask(put, "c", BODY)
        size = take_backup(loop, copy)
    assert documents_in(copy) == ["a", "b", "c"]
    assert size == copy.stat().st_size
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [each.name for each in copy.parent.iterdir() if each.name.startswith("copy")] == ["copy.sqlite"]
    assert copy.read_bytes()[18:20] == b"\1\1", "it needs no log beside it"


def test_what_waited_to_be_written_is_in_the_backup(path: Path, copy: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=1000) as loop:
        loop.submit(put, "a")
        take_backup(loop, copy)
        assert loop.outcomes == [("a", None)]
    assert documents_in(copy) == ["a"]


def test_operations_go_on_during_a_backup_and_it_ends_all_the_same(
    path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "STEP_PAGES", 1)
    fill(path, *(f"{number:03}" for number in range(100)))
    with Loop(path, batch_seconds=0.001, batch_writes=5) as loop:
        came = loop.backup(copy)
        for number in range(100):
            loop.submit(put, f"new {number:03}", BODY)
            loop.submit(names)
        loop.until_outcomes(100)
        assert not came, "nobody was served before it was over"
        loop.until(lambda: bool(came))
        assert came[0][1] is None
        loop.until(lambda: loop.store.waiting == 0)
        assert all(error is None for _, error in loop.outcomes)
        everything = loop.ask(names)
    copied = documents_in(copy)
    assert set(copied) >= {f"{number:03}" for number in range(100)}
    assert copied == everything[: len(copied)], "what came later is there without what came before"


def test_one_backup_at_a_time(path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loop(path) as loop:
        came = loop.backup(copy)
        with pytest.raises(StoreError, match="already"):
            loop.backup(copy)
        loop.until(lambda: bool(came))
        take_backup(loop, copy)


def test_a_newer_backup_replaces_an_older_one_and_what_was_left_of_one(path: Path, copy: Path) -> None:
    copy.with_name("copy.sqlite.part").write_text("half a backup")
    with Loop(path) as loop:
        take_backup(loop, copy)
        loop.ask(put, "a")
        take_backup(loop, copy)
    assert documents_in(copy) == ["a"]
    assert not copy.with_name("copy.sqlite.part").exists()


def test_a_backup_by_a_link_is_written_where_that_points(path: Path, copy: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(copy)
    with Loop(path) as loop:
        take_backup(loop, link)
    assert link.is_symlink()
    assert documents_in(copy) == []


def refused_targets(path: Path, tmp_path: Path) -> dict[str, tuple[Path, str]]:
    notes = tmp_path / "notes.txt"
    notes.write_text("not to be lost")
    hard_link = tmp_path / "hard link"
    os.link(path, hard_link)
    soft_link = tmp_path / "soft link"
    soft_link.symlink_to(path)
    return {
        "itself": (path, "the database itself"),
        "hard link": (hard_link, "the database itself"),
        "soft link": (soft_link, "the database itself"),
        "notes": (notes, "no backup, and stays"),
        "folder": (tmp_path, "no file"),
        "device": (Path("/dev/null"), "no file"),
        "missing folder": (tmp_path / "nowhere" / "copy", "No such file"),
    }


@pytest.mark.parametrize("name", ["itself", "hard link", "soft link", "notes", "folder", "device", "missing folder"])
def test_what_a_backup_does_not_overwrite(name: str, path: Path, tmp_path: Path) -> None:
    with Loop(path) as loop:
        loop.ask(put, "a")
        target, text = refused_targets(path, tmp_path)[name]
        before = target.read_bytes() if target.is_file() and name != "device" else None
        with pytest.raises(StoreError, match=text) as refused:
            take_backup(loop, target)
        assert "nowhere" in str(refused.value) or os.path.realpath(target) in str(refused.value)
        if name == "notes":
            assert target.read_bytes() == before
        assert not list(tmp_path.rglob("*.part"))
        second = [sys.executable, "-c", f"from tests.store.rig import Loop; Loop({str(path)!r})"]
        assert b"another gsrt" in subprocess.run(second, capture_output=True).stderr, "its locks are gone"
        loop.ask(put, "b")


def test_a_server_that_ends_leaves_no_half_a_backup(path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "STEP_PAGES", 1)
    fill(path, *(f"{number:03}" for number in range(100)))
    loop = Loop(path)
    came = loop.backup(copy)
    loop.submit(put, "a")
    loop.close()
    assert loop.outcomes == [("a", None)]
    ((size, error),) = came
    assert size is None
    assert isinstance(error, StoreError)
    assert "shutting down" in str(error)
    assert not [each for each in copy.parent.iterdir() if each.name.startswith("copy")]
    with Loop(path) as loop:
        assert "a" in loop.ask(names)


# Restore


@pytest.fixture
def backup(path: Path, copy: Path) -> Path:
    """Holds "a"; the game itself holds "a" and "b"."""
    with Loop(fill(path, "a")) as loop:
        take_backup(loop, copy)
        loop.ask(put, "b")
    return copy


def test_a_backup_takes_the_databases_place_and_that_is_kept(path: Path, backup: Path) -> None:
    aside = restore(str(path), str(backup), STAMP)
    assert aside == f"{path}.{STAMP}"
    with Loop(path) as loop:
        assert loop.ask(names) == ["a"]
        loop.ask(put, "c")
    with Loop(aside) as loop:
        assert loop.ask(names) == ["a", "b"]
    assert documents_in(backup) == ["a"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_game_that_remembered_nothing_is_restored_too(backup: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "data" / "game.sqlite"
    new.parent.parent.mkdir()
    assert restore(str(new), str(backup), STAMP) is None
    with Loop(new) as loop:
        assert loop.ask(names) == ["a"]


def test_what_a_killed_server_left_in_its_log_goes_aside_with_the_database(path: Path, backup: Path) -> None:
    kept = path.parent.parent / "killed"
    with Loop(path) as loop:
        loop.ask(put, "c")
        shutil.copytree(path.parent, kept)  # as the files are when a server is killed now
    killed = kept / path.name
    assert (kept / "game.sqlite-wal").stat().st_size > 0
    aside = restore(str(killed), str(backup), STAMP)
    assert aside is not None
    with Loop(killed) as loop:
        assert loop.ask(names) == ["a"]
    with Loop(aside) as loop:
        assert loop.ask(names) == ["a", "b", "c"]


def test_a_damaged_database_is_replaced(path: Path, backup: Path) -> None:
    path.write_bytes(b"\xff" * 10_000)
    with pytest.raises(StoreError, match="gsrt restore"):
        Loop(path)
    aside = restore(str(path), str(backup), STAMP)
    with Loop(path) as loop:
        assert loop.ask(names) == ["a"]
    assert aside is not None
    assert Path(aside).read_bytes() == b"\xff" * 10_000


def test_nothing_is_restored_while_a_server_has_the_game_open(path: Path, backup: Path) -> None:
    with Loop(path) as loop:
        with pytest.raises(StoreError, match=f"process {os.getpid()}"):
            restore(str(path), str(backup), STAMP)
        loop.ask(put, "c")
        assert loop.ask(names) == ["a", "b", "c"]


def damaged(backup: Path) -> None:
    with open(backup, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def later(backup: Path) -> None:
    connection = sqlite3.connect(backup, isolation_level=None)
    connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    connection.close()


def foreign(backup: Path) -> None:
    backup.unlink()
    connection = sqlite3.connect(backup, isolation_level=None)
    connection.execute("CREATE TABLE mine(a)")
    connection.close()


def folder(backup: Path) -> None:
    backup.unlink()
    backup.mkdir()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (damaged, "damaged"),
        (later, "newer gsrt"),
        (foreign, "not made by gsrt"),
        (lambda backup: backup.write_bytes(b""), "holds nothing"),
        (lambda backup: backup.write_text("my notes\n" * 1000), "no backup at all"),
        (lambda backup: backup.unlink(), "No such file"),
        (folder, "no file"),
    ],
)
def test_what_is_no_sound_backup_leaves_the_database_in_its_place(
    path: Path, backup: Path, spoil: Callable[[Path], object], text: str
) -> None:
    spoil(backup)
    with pytest.raises(StoreError, match=text) as refused:
        restore(str(path), str(backup), STAMP)
    assert str(backup) in str(refused.value)
    with Loop(path) as loop:
        assert loop.ask(names) == ["a", "b"]
    assert sorted(each.name for each in path.parent.iterdir()) == ["game.sqlite", "game.sqlite.lock"]


def test_the_database_is_no_backup_of_itself(path: Path, backup: Path) -> None:
    with pytest.raises(StoreError, match="not a backup"):
        restore(str(path), str(path), STAMP)


def test_two_restorations_at_the_same_moment_lose_nothing(path: Path, backup: Path) -> None:
    restore(str(path), str(backup), STAMP)
    with pytest.raises(StoreError, match="there already"):
        restore(str(path), str(backup), STAMP)
    with Loop(f"{path}.{STAMP}") as loop:
        assert loop.ask(names) == ["a", "b"]


def test_a_database_that_was_put_aside_can_be_restored_itself(path: Path, backup: Path) -> None:
    aside = restore(str(path), str(backup), STAMP)
    assert aside is not None
    restore(str(path), aside, "20261122-101113")
    with Loop(path) as loop:
        assert loop.ask(names) == ["a", "b"]


def test_a_backup_of_an_older_version_is_brought_up_to_date(path: Path, tmp_path: Path) -> None:
    from tests.store.test_migrations import database_of

    old = tmp_path / "old.sqlite"
    database_of(1, old)
    restore(str(path), str(old), STAMP)
    with Loop(path) as loop:
        assert loop.ask(lambda tx: tx.all("SELECT id FROM players")) == [("p1",)]
        assert loop.ask(bodies) == {}


def test_a_disk_without_links(path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*names: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    aside = restore(str(path), str(backup), STAMP)
    assert aside is not None
    with Loop(path) as loop, Loop(aside) as other:
        assert (loop.ask(names), other.ask(names)) == (["a"], ["a", "b"])


def test_where_the_database_of_a_game_is() -> None:
    assert database.path_in("/games/duel") == "/games/duel/data/game.sqlite"

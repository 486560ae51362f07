"""Copies of the database: one taken while the server works, and one put in its place."""

from __future__ import annotations

import os
import stat

from gsrt.store.database import (
    FILE_MODE,
    Lock,
    check_identity,
    damage,
    is_empty,
    make_folder,
    named,
    read_identity,
    sync_folder,
)
from gsrt.store.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

STEP_PAGES = 256  # copied in one go, 256 KB: a card takes some 30 ms for it, and operations wait as long
SPARE_BYTES = 16 << 20  # stay free on the disk that a backup goes to: it may be the server's own
MAGIC = b"SQLite format 3\0"  # begins every database (https://www.sqlite.org/fileformat.html)


def back_up(connection: sqlite3.Connection, path: str, between: Callable[[], None]) -> int:
    """Writes what CONNECTION's database holds to the file at PATH, which has its name only when it is whole, and gives
    its size in bytes. `between()` is called after each step: CONNECTION may be written with then, and what it has
    committed will be in the copy.

    Raises StoreError, or what `between` raises."""
    import sqlite3

    path = os.path.realpath(path)
    part = path + ".part"
    copy: sqlite3.Connection | None = None
    descriptor = -1
    try:
        _check_target(connection, path)
        descriptor = _new_file(part)
        copy = sqlite3.connect(part, isolation_level=None)
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")  # done here, step by step: a card would need long for all at once

        def progress(status: int, remaining: int, total: int) -> None:
            os.fdatasync(descriptor)
            between()

        connection.backup(copy, pages=STEP_PAGES, progress=progress)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, that can be read where nothing can be written
        copy.close()
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
        os.replace(part, path)
        sync_folder(path)
    except BaseException as error:
        if copy is not None:
            copy.close()
        if descriptor >= 0:
            _remove(part)
        if isinstance(error, (OSError, sqlite3.Error)):
            raise StoreError(named(path, error)) from None
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return size


def restore(path: str, backup: str, stamp: str) -> str | None:
    """Puts a copy of the file BACKUP in the place of the database at PATH, and gives the name that the old one was put
    aside by: its own, with STAMP (None: there was none).

    Raises StoreError: a server has the game open, BACKUP is damaged or no backup, the disk is full. Then the old one is
    still in its place."""
    import sqlite3

    make_folder(path)
    lock = Lock(path)
    part = path + ".part"
    descriptor = -1
    try:
        _check_backup(path, backup)
        descriptor = _new_file(part)
        source = _open_backup(backup)
        try:
            _check_content(source, backup)
            copy = sqlite3.connect(part, isolation_level=None)
            try:
                copy.execute("PRAGMA journal_mode = OFF")
                copy.execute("PRAGMA synchronous = OFF")
                source.backup(copy)
            finally:
                copy.close()
        finally:
            source.close()
        os.fsync(descriptor)
        aside = _put_aside(path, f"{path}.{stamp}") if os.path.exists(path) else None
        os.replace(part, path)
        sync_folder(path)
    except (OSError, sqlite3.Error) as error:
        _remove(part)
        raise StoreError(named(path, error)) from None
    except BaseException:
        _remove(part)
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        lock.release()
    return aside


def _check_target(connection: sqlite3.Connection, path: str) -> None:
    """Raises StoreError when a backup at PATH would overwrite something else than a backup, or fill the disk. Raises
    OSError."""
    database = connection.execute("PRAGMA database_list").fetchone()[2]
    if os.path.exists(path):
        # By name only: were the database itself opened and closed here, its locks would be gone.
        if os.path.samefile(path, database):
            raise StoreError(f"{path}: this is the database itself; name another file")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise StoreError(f"{path}: this is no file; name a file")
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) not in (b"", MAGIC):
                raise StoreError(f"{path}: this is no backup, and stays as it is; name another file")
    pages, page_bytes = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
    disk = os.statvfs(os.path.dirname(path))
    if disk.f_bavail * disk.f_frsize < pages * page_bytes + SPARE_BYTES:
        raise StoreError(
            f"{path}: the disk has too little space for {pages * page_bytes:,} bytes and some to spare: free some space"
        )


def _check_backup(path: str, backup: str) -> None:
    """Raises StoreError unless the file BACKUP could be one."""
    try:
        mode = os.stat(backup).st_mode
    except OSError as error:
        raise StoreError(named(backup, error)) from None
    if not stat.S_ISREG(mode):
        raise StoreError(f"{backup}: this is no file")
    if os.path.exists(path) and os.path.samefile(path, backup):
        raise StoreError(f"{backup}: this is the game's database itself, not a backup")


def _open_backup(backup: str) -> sqlite3.Connection:
    import sqlite3
    from urllib.parse import quote

    return sqlite3.connect(f"file:{quote(os.path.abspath(backup))}?mode=ro", uri=True, isolation_level=None)


def _check_content(source: sqlite3.Connection, backup: str) -> None:
    """Raises StoreError unless SOURCE, opened from the file BACKUP, is a sound database of this program's."""
    import sqlite3

    try:
        application, version = read_identity(source)
        if is_empty(source):
            raise StoreError(f"{backup}: this is no backup: it holds nothing")
        check_identity(backup, application, version, empty=False)
        found = damage(source)
    except sqlite3.Error as error:
        raise StoreError(f"{backup}: this is damaged, or no backup at all: {error}") from None
    if found is not None:
        raise StoreError(f"{backup}: this backup is damaged ({found}): take another one")


def _put_aside(path: str, aside: str) -> str:
    """Gives the database at PATH the name ASIDE, and what of it stands in its log so that it is found with it. PATH
    itself goes on being there as long as it can. Raises OSError, StoreError."""
    if os.path.exists(aside):
        raise StoreError(f"{aside} is there already: try again in a moment")
    try:
        os.link(path, aside)
    except PermissionError:  # a file system without links, as on many sticks
        os.replace(path, aside)
    if os.path.exists(path + "-wal"):
        os.replace(path + "-wal", aside + "-wal")
    _remove(path + "-shm")
    return aside


def _new_file(path: str) -> int:
    """An empty file of this user's, in place of one that was left over. Raises OSError."""
    _remove(path)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # it is not there, or stays: neither is worse than before
        pass

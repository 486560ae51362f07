"""The database's file: found sound, locked, brought to this version's layout, and set up for cards that wear out."""

from __future__ import annotations

import os

from gsrt.store.errors import InUse, StoreError, describe
from gsrt.store.migrations import STEPS, migrate

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

FOLDER = "data"
NAME = "game.sqlite"
FILE_MODE = 0o600  # it holds what lets players in
FOLDER_MODE = 0o700

APPLICATION_ID = 0x67737274  # "gsrt": what this program has made (PRAGMA application_id)
OPEN_SECONDS = 2.0  # waited for the one who has the file, such as a server that is just ending
# A change writes whole pages, to the log and later to the database. Where few players play, small ones wear a card less
# than half as much as pages of 4 KB; where many do, it makes no difference (benchmarks/README.md, store.*).
PAGE_BYTES = 1024
CHECKPOINT_PAGES = 4000  # in the log before they are brought into the database itself, each once
LOG_BYTES_KEPT = CHECKPOINT_PAGES * PAGE_BYTES * 2  # after a transaction larger than usual the log shrinks to this
CACHE_KB = 2048


def path_in(game_folder: str) -> str:
    """Where a game's folder has its database."""
    return os.path.join(game_folder, FOLDER, NAME)


class Lock:
    """Held by the one that works with the database at PATH. It is a file beside it, for a restore puts another file in
    the database's place. The kernel releases it however the process ends."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: str) -> None:
        """Raises InUse when somebody holds it, StoreError when that cannot be told."""
        import fcntl

        name = path + ".lock"
        try:
            self._descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StoreError(f"{name}: {_reason(error)}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip() or "?"
            os.close(self._descriptor)
            raise InUse(
                f"{path}: another gsrt (process {holder}) has this game open: end it, or serve another folder"
            ) from None
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except OSError:  # a full disk: the number is only for people
            pass

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_database(path: str, steps: Sequence[Sequence[str]] = STEPS) -> tuple[sqlite3.Connection, Lock]:
    """The database at PATH, made if there is none, in autocommit mode, for any one thread at a time; and its lock, to
    be released when the connection is closed.

    Raises StoreError: it is locked, damaged, of a later version, not to be written."""
    make_folder(path)
    lock = Lock(path)
    connection: sqlite3.Connection | None = None
    try:
        make_file(path)
        connection = _connect(path)
        _prepare(connection, path, steps)
    except BaseException as error:
        if connection is not None:
            connection.close()
        lock.release()
        if isinstance(error, (StoreError, OSError)) or hasattr(error, "sqlite_errorcode"):
            raise StoreError(named(path, error)) from None
        raise
    return connection, lock


def make_folder(path: str) -> None:
    """Makes the folder that PATH lies in. Raises StoreError."""
    folder = os.path.dirname(path) or "."
    try:
        if not os.path.isdir(folder):
            os.mkdir(folder, FOLDER_MODE)
    except OSError as error:
        raise StoreError(f"{folder}: {_reason(error)}") from None


def make_file(path: str) -> None:
    """Makes an empty file that only this user reads, unless there is a file. Raises OSError."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except FileExistsError:
        return
    sync_folder(path)


def sync_folder(path: str) -> None:
    """Has the disk know what the folder of PATH calls its files by now. Raises OSError."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(path: str) -> sqlite3.Connection:
    import sqlite3

    return sqlite3.connect(path, timeout=OPEN_SECONDS, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, path: str, steps: Sequence[Sequence[str]]) -> None:
    # Exclusive: no other program gets in between, and the log's index needs no file of its own, which the kernel would
    # write out again and again.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    application, version = read_identity(connection)
    check_identity(path, application, version, empty=is_empty(connection), newest=len(steps))
    journal = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if journal != "wal":
        raise StoreError(f"{path}: SQLite keeps no write-ahead log here (it says {journal!r}): use a local file system")
    connection.execute("PRAGMA synchronous = FULL")  # what is acknowledged is on the disk
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_KEPT}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    found = damage(connection)
    if found is not None:
        raise StoreError(f"{path}: it is damaged ({found}): `gsrt restore` puts a backup in its place")
    connection.execute("PRAGMA foreign_keys = OFF")
    if application != APPLICATION_ID:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate(connection, version, steps)
    connection.execute("PRAGMA foreign_keys = ON")
    empty_log(connection)


def empty_log(connection: sqlite3.Connection) -> None:
    """Brings what stands in the log into the database itself, if the disk lets it: the log then begins anew, and needs
    no more space."""
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except Exception:
        pass


def read_identity(connection: sqlite3.Connection) -> tuple[int, int]:
    """The file's application id and version."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def check_identity(path: str, application: int, version: int, *, empty: bool, newest: int = len(STEPS)) -> None:
    """Raises StoreError unless this is a database of this program's that it can read; an empty one is."""
    if application != APPLICATION_ID and not empty:
        raise StoreError(f"{path}: this database was not made by gsrt; move it away, or name another")
    if version > newest:
        raise StoreError(
            f"{path}: a newer gsrt has used it (its version is {version}, this program knows {newest}): update gsrt"
        )


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever put into it."""
    return bool(connection.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])


def damage(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the database, in SQLite's words; None: nothing. Reads all of it. Raises sqlite3.Error."""
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return None if found == "ok" else " ".join(found.split())


def named(path: str, error: BaseException) -> str:
    """What went wrong with the file at PATH, in one line."""
    text = _reason(error) if isinstance(error, OSError) else describe(error)
    return text if text.startswith(path) else f"{path}: {text}"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

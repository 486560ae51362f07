"""What goes wrong with the database, in words that say what to do."""

from __future__ import annotations

# SQLite's primary result codes (https://www.sqlite.org/rescode.html) that no operation can do anything about, and what
# the operator can.
TROUBLES = {
    3: "this user may not write there: check who owns the folder",
    5: "another program has it open: end it",
    6: "another program has it open: end it",
    7: "there is no memory left",
    8: "it cannot be written: check that its file system is not read-only, and who owns the file and its folder",
    10: "the disk reports an error: look at `dmesg`, and take a backup at once",
    11: "it is damaged: `gsrt restore` puts a backup in its place",
    13: "the disk is full: free some space",
    14: "it cannot be opened: check that its folder is there, and who owns it",
    15: "another program has it open: end it",
    22: "this file system cannot hold so large a file",
    26: "it is damaged, or no database: `gsrt restore` puts a backup in its place",
}


class StoreError(Exception):
    """The store cannot do it; nothing of it was changed. The message says what to do."""


class InUse(StoreError):
    """Another process works with the database."""


def trouble(error: BaseException) -> str | None:
    """What to do about ERROR where it is the database's, and not a statement's or something else's; else None."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else TROUBLES.get(code & 0xFF)


def describe(error: BaseException) -> str:
    """One line for ERROR, whatever it is, with what to do about it where that is known."""
    text = str(error) or type(error).__name__
    advice = trouble(error)
    return text if advice is None else f"{text}: {advice}"

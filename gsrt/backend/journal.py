"""What scripts have logged, as the store keeps it: the collection realtime.log, its newest lines.

Operations of the store. A line is (time in seconds since 1970, session, script, level, text, suppressed), as
gsrt.scripts.journal has it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsrt.store.store import Transaction

    Line = tuple[float, str, str, str, str, int]

LINES_AT_ONCE = 200


def append(tx: Transaction, lines: Sequence[Line], rows_max: int) -> None:
    """Adds LINES; of all there are, the newest ROWS_MAX are kept."""
    for at, session, script, level, text, suppressed in lines[-rows_max:]:
        tx.execute(
            "INSERT INTO log (at, session, script, level, text, suppressed) VALUES (?, ?, ?, ?, ?, ?)",
            (at, _writable(session), _writable(script), level, _writable(text), suppressed),
        )
    tx.execute("DELETE FROM log WHERE id <= (SELECT max(id) FROM log) - ?", (rows_max,))


def after(tx: Transaction, number: int, session: str | None, limit: int = LINES_AT_ONCE) -> list[dict[str, object]]:
    """At most LIMIT lines with numbers above NUMBER, of one SESSION or of all, oldest first."""
    rows = tx.all(
        "SELECT id, at, session, script, level, text, suppressed FROM log"
        " WHERE id > ? AND (? IS NULL OR session = ?) ORDER BY id LIMIT ?",
        (number, session, session, limit),
    )
    names = ("number", "time", "session", "script", "level", "text", "suppressed")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _writable(text: str) -> str:
    """TEXT as a database takes it: a script can make halves of surrogate pairs."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

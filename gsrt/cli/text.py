"""Text for people: aligned columns and durations."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def columns(rows: Iterable[Sequence[object]], indent: str = "  ") -> str:
    """ROWS of the same length as lines of aligned columns: numbers to the right, anything else to the left."""
    shown = [[(printable(str(cell)), isinstance(cell, int | float)) for cell in row] for row in rows]
    widths = [max(len(text) for text, _ in column) for column in zip(*shown, strict=True)]
    lines = (
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for (text, number), width in zip(row, widths, strict=True)
        )
        for row in shown
    )
    return "\n".join((indent + line).rstrip() for line in lines)


def printable(text: str) -> str:
    """TEXT with what could play tricks on a terminal shown as escapes."""
    return text if text.isprintable() else ascii(text)[1:-1]


def duration(seconds: float) -> str:
    """SECONDS in the two largest units that matter: "42 s", "3 min 20 s", "2 h 5 min", "4 d 1 h"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join([f"{amount} {unit}" for amount, unit in units if amount][:2]) or "0 s"


def count(amount: int, noun: str) -> str:
    """ "1 player", "2 players"."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def plain(number: float) -> str:
    """NUMBER without a fraction where it has none: "3", "0.25"."""
    return str(int(number)) if number == int(number) else str(number)


def amount(number: float, unit: str) -> str:
    """NUMBER with its unit: "16 sessions", "0.25 seconds", and for many bytes "67108864 bytes (64 MiB)"."""
    text = f"{plain(number)} {unit}".rstrip()
    if not unit.startswith("bytes") or number < 4096:
        return text
    for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{text} ({number / size:.3g} {name})"
    return text

"""The tables of keys in docs/GAMES.md, made from the schemas of a game's files: `python -m tests.docs.game_reference`
writes them anew."""

from __future__ import annotations

from gsrt.game import schema
from gsrt.game.schema import Key, spelled
from tests.docs.markdown import PROJECT

DOCUMENT = PROJECT / "docs" / "GAMES.md"

# What the document calls a table, and its keys.
SUBJECTS: dict[str, tuple[Key, ...]] = {
    "game.toml": schema.GAME,
    "currency": schema.CURRENCY,
    "match": schema.MATCH,
    "threshold": schema.THRESHOLD,
    "leaderboard": schema.LEADERBOARD,
    "achievement": schema.ACHIEVEMENT,
    "good": schema.GOOD,
}


def with_tables(document: str) -> str:
    """The document with the tables of today behind their marks."""
    for name, keys in SUBJECTS.items():
        before, mark, rest = document.partition(f"<!-- table: keys of {name} -->\n")
        assert mark, f"there is no table of the keys of {name}"
        _, _, after = rest.partition("\n\n")
        document = f"{before}{mark}{table(keys)}\n\n{after}"
    return document


def table(keys: tuple[Key, ...]) -> str:
    """A table of the keys that are no tables themselves."""
    lines = [f"| `{key.name}` | {_kind(key)} | {_default(key)} | {key.doc} |" for key in keys if not key.keys]
    return "\n".join(["| key | is | if left out | |", "|---|---|---|---|", *lines])


def _kind(key: Key) -> str:
    if key.choices:
        return ", ".join(f'`"{each}"`' for each in key.choices)
    if key.kind in (schema.NUMBER, schema.WHOLE) and key.least is not None and key.least != -(key.most or 0):
        return f"{key.kind}, {spelled(key.least)} to {spelled(key.most)}"
    return key.kind


def _default(key: Key) -> str:
    if key.required:
        return "a mistake"
    if key.default is None or key.default == "" or key.default == ():
        return ""
    if isinstance(key.default, bool):
        return f"`{str(key.default).lower()}`"
    return f"`{key.default:g}`" if isinstance(key.default, int | float) else f'`"{key.default}"`'


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))

"""docs/PROFILES.md and the comments of firmware_profiles/generic.toml, made from the schema of the profiles:
`python -m tests.docs.profile_reference` writes them anew."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

from gsrt.device.model import BOARDS, FAMILY, MEMORY_SHARE, MIB
from gsrt.profile import LIMITS, available
from gsrt.profile_memory import worst_memory
from gsrt.profile_schema import GROUPS, KEYS, Key
from tests.docs.markdown import PROJECT

FOLDER = PROJECT / "firmware_profiles"
GENERIC = FOLDER / "generic.toml"
DOCUMENT = PROJECT / "docs" / "PROFILES.md"
BEGIN = "<!-- begin of the reference -->\n"
END = "<!-- end of the reference -->\n"
COLUMNS = 120
SIZES = ("memory_bytes_max", "players_max", "packets_per_second")  # by which profiles are ordered


def values(name: str) -> dict[str, float]:
    """The numbers of a profile that comes with gsrt."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text())


def comments(path: Path) -> dict[str, str]:
    """The comment before each key of a profile, its lines joined."""
    found: dict[str, str] = {}
    waiting: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            waiting.append(line.removeprefix("#").strip())
        elif line:
            found[line.partition(" ")[0]] = " ".join(waiting)
            waiting = []
        else:
            waiting = []
    return found


def head(path: Path) -> list[str]:
    """The lines of the comment that a profile begins with, without their marks."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def memory_lines(name: str) -> list[str]:
    """The sum of what a profile's limits may take, as it stands in the profile's head."""
    parts = worst_memory(values(name))
    lines = [f"{part.bytes / MIB:8.1f} MiB  {part.what}" for part in parts]
    return [*lines, f"{sum(part.bytes for part in parts) / MIB:8.1f} MiB  in all"]


def commented_generic(text: str) -> str:
    """generic.toml with the comments of the schema; its head and its numbers are its own."""
    numbers = {line.partition(" ")[0]: line for line in text.splitlines() if line and not line.startswith("#")}
    lines = [line for line in text.split("\n\n", 1)[0].splitlines() if line.startswith("#")]
    for group, about in GROUPS.items():
        lines += ["", "", f"# --- {group} ".ljust(COLUMNS - 4, "-"), *_comment(about)]
        for name, key in KEYS.items():
            if key.group == group:
                lines += ["", *_comment(key.text), numbers[name]]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The part of docs/PROFILES.md that is made: the profiles, where they differ, every key."""
    names = sorted(available(), key=lambda name: [values(name)[key] for key in SIZES])
    parts = ["## Profiles", _profiles(names), "## Boards", _boards(), "## Where they differ", _differences(names)]
    parts.append("## Every key")
    for group, about in GROUPS.items():
        parts.append(f"### {group}")
        parts += [about] if about else []
        parts.append(_keys({name: key for name, key in KEYS.items() if key.group == group}))
    return "\n\n".join(parts)


def with_reference(document: str) -> str:
    """The document with the reference of today between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest, "the marks of the reference are missing"
    return f"{before}{BEGIN}\n{reference()}\n\n{END}{after}"


def _profiles(names: list[str]) -> str:
    rows = [
        "| profile | for | memory, MiB | sessions | players | all limits at once, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        numbers = values(name)
        worst = sum(part.bytes for part in worst_memory(numbers)) / MIB
        promise = numbers["memory_bytes_max"] / MIB
        purpose = head(FOLDER / f"{name}.toml")[0].rstrip(".")
        sessions, players = numbers["sessions_max"], numbers["players_max"]
        rows.append(f"| {name} | {purpose} | {promise:.0f} | {sessions} | {players} | {worst:.1f} |")
    return "\n".join(rows)


def _boards() -> str:
    rows = [f"| {FAMILY.strip()} ... | profile | |", "|---|---|---|"]
    rows += [f"| {start.strip()} | {name} | {alike} |" for start, name, alike in BOARDS]
    text = (
        "What `--profile auto` takes for a board whose name begins so, if the box has at least "
        f"{MEMORY_SHARE} times the memory that the profile promises to stay below; else the next smaller one."
    )
    return "\n".join([text, "", *rows])


def _differences(names: list[str]) -> str:
    numbers = {name: values(name) for name in names}
    rows = [f"| key | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key in KEYS:
        if len({each[key] for each in numbers.values()}) > 1:
            rows.append(f"| {key} | {' | '.join(str(numbers[name][key]) for name in names)} |")
    return "\n".join(rows)


def _keys(keys: dict[str, Key]) -> str:
    generic = values("generic")
    rows = ["| key | generic | unit | from | to | |", "|---|---|---|---|---|---|"]
    for name, key in keys.items():
        smallest, largest = LIMITS[name]
        rows.append(f"| {name} | {generic[name]} | {key.unit} | {smallest} | {largest} | {key.text} |")
    return "\n".join(rows)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, COLUMNS, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    GENERIC.write_text(commented_generic(GENERIC.read_text()))
    DOCUMENT.write_text(with_reference(DOCUMENT.read_text()))

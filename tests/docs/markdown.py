"""Reading what the documents promise: marked tables and marked code blocks of a markdown file.

A mark is an HTML comment right before the thing it names: `<!-- table: login -->`, `<!-- run: first session -->`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

Row = dict[str, str]

_MARK = re.compile(r"<!-- (?P<kind>[a-z]+): (?P<name>.+?) -->")
_REPEATED = re.compile(r"([0-9a-f]{2})\*(\d+)")


@dataclass(frozen=True)
class Block:
    """A fenced code block: its mark's kind and name, the fence's language and its lines."""

    kind: str
    name: str
    language: str
    text: str


def read_tables(text: str) -> dict[str, list[Row]]:
    """Every table marked `table: NAME`; rows map the header's words to the cells, without outer spaces."""
    lines = text.splitlines()
    found: dict[str, list[Row]] = {}
    for number, line in enumerate(lines):
        mark = _MARK.fullmatch(line.strip())
        if mark is None or mark["kind"] != "table":
            continue
        name = mark["name"]
        assert name not in found, f"table {name} stands there twice"
        header, ruler, *rest = lines[number + 1 :]
        assert header.startswith("|") and set(ruler) <= set("|-"), f"no table follows the mark {name}"
        names = _cells(header)
        rows: list[Row] = []
        for row in rest:
            if not row.startswith("|"):
                break
            cells = _cells(row)
            assert len(cells) == len(names), f"table {name}: {row}"
            rows.append(dict(zip(names, cells, strict=True)))
        assert rows, f"table {name} is empty"
        found[name] = rows
    return found


def read_blocks(text: str) -> list[Block]:
    """Every fenced code block that has a mark of any kind."""
    lines = text.splitlines()
    blocks: list[Block] = []
    for number, line in enumerate(lines):
        mark = _MARK.fullmatch(line.strip())
        if mark is None or mark["kind"] == "table":
            continue
        fence = lines[number + 1]
        assert fence.startswith("```"), f"no code follows the mark {mark['name']}"
        end = lines.index("```", number + 2)
        blocks.append(Block(mark["kind"], mark["name"], fence[3:], "\n".join(lines[number + 2 : end]) + "\n"))
    return blocks


def plain(cell: str) -> str:
    """A cell's text without backticks."""
    return cell.replace("`", "").strip()


def items(cell: str) -> list[str]:
    """The parts of a cell that lists things with commas; "none" is no part."""
    return [] if plain(cell) in ("", "none") else [plain(part) for part in cell.split(",")]


def octets(cell: str) -> bytes:
    """The bytes of a cell such as `08 02 00*5`."""
    spelled = _REPEATED.sub(lambda match: match[1] * int(match[2]), plain(cell))
    return bytes.fromhex(spelled)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]

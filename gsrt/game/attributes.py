"""What an event's script says that comes with the event: `ATTRIBUTES = {"score": "number"}` at the beginning of a line.

The script is not run for it, nor is `ast` loaded."""

from __future__ import annotations

from gsrt.game.model import ATTRIBUTE_KINDS
from gsrt.game.schema import is_code

WORD = "ATTRIBUTES"
ATTRIBUTES_MAX = 64
OF_REQUESTS = ("eventKey", "requestId")  # what a LogEventRequest has besides
EXPECTED = 'expected ATTRIBUTES = {"name": "kind"}, with the kinds ' + ", ".join(
    f'"{each}"' for each in ATTRIBUTE_KINDS
)


class AttributesError(Exception):
    """What is declared cannot be understood. `line`: from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def declared_attributes(source: str) -> dict[str, str]:
    """Name -> kind, as the first line that begins with ATTRIBUTES and those after it say; {} without such a line.

    Raises AttributesError."""
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if line.startswith(WORD) and line[len(WORD) :].lstrip().startswith("="):
            reader = _Reader(lines, number, len(WORD))
            reader.take("=")
            return reader.table()
    return {}


class _Reader:
    """Goes through lines; white space and comments count for nothing."""

    def __init__(self, lines: list[str], number: int, column: int) -> None:
        self._lines = lines
        self._number = number
        self._column = column

    def table(self) -> dict[str, str]:
        found: dict[str, str] = {}
        self.take("{")
        while self._next() != "}":
            name = self._text()
            if not is_code(name):
                raise AttributesError(self._number, f"{name!a} is no name; expected letters, digits, _ and -")
            if name in OF_REQUESTS:
                raise AttributesError(self._number, f"{name} is a field of the request itself; expected another name")
            if name in found:
                raise AttributesError(self._number, f"{name} is declared twice")
            self.take(":")
            kind = self._text()
            if kind not in ATTRIBUTE_KINDS:
                raise AttributesError(self._number, f"{name} is {kind!a}; {EXPECTED}")
            found[name] = kind
            if self._next() != "}":
                self.take(",")
        if len(found) > ATTRIBUTES_MAX:
            raise AttributesError(self._number, f"expected at most {ATTRIBUTES_MAX} attributes")
        return found

    def take(self, character: str) -> None:
        if self._next() != character:
            raise AttributesError(self._number, EXPECTED)
        self._column += 1

    def _next(self) -> str:
        """The character that stands here; "" at the end."""
        while self._number <= len(self._lines):
            line = self._lines[self._number - 1]
            while self._column < len(line) and line[self._column] in " \t\f":
                self._column += 1
            if self._column < len(line) and line[self._column] != "#":
                return line[self._column]
            if self._number == len(self._lines):
                break
            self._number += 1
            self._column = 0
        return ""

    def _text(self) -> str:
        quote = self._next()
        line = self._lines[self._number - 1]
        end = line.find(quote, self._column + 1) if quote in ("'", '"') else -1
        if end < 0:
            raise AttributesError(self._number, EXPECTED)
        found = line[self._column + 1 : end]
        self._column = end + 1
        return found

"""Where in the text of a TOML file a key stands, for tomllib does not say."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = tuple[str | int, ...]  # keys, and places in arrays: ("threshold", 0, "period")

BARE_ENDS = " \t\n=.#[]{},\"'"
ESCAPES = {'"': '"', "\\": "\\", "b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def lines_of(text: str) -> dict[Path, int]:
    """The line (from 1) of every key of a TOML text, at its first mention, and of every element of its arrays.

    The text is one that tomllib reads; of another, some lines are missing."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    try:
        scanner.document()
    except (IndexError, RecursionError):
        pass  # the text ended too soon, or is nested as deeply as nobody would
    return scanner.found


class _Scanner:
    """Goes through a text; past its end, IndexError is raised."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counts: dict[Path, int] = {}  # of an array of tables: how many there have been

    def document(self) -> None:
        table: Path = ()
        while True:
            self._skip(" \t\n")
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line = self._line
        is_array = self._text.startswith("[[", self._at)
        self._step(2 if is_array else 1)
        path: Path = ()
        keys = self._keys()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            self.found.setdefault(path, line)
            count = self._counts.get(path, 0)
            if is_array and number == len(keys):
                count += 1
                self._counts[path] = count
            if count:
                path = (*path, count - 1)
                self.found.setdefault(path, line)
        self._step(2 if is_array else 1)
        return path

    def _pair(self, table: Path) -> None:
        """key = value, in the table of that path."""
        line = self._line
        for key in self._keys():
            table = (*table, key)
            self.found.setdefault(table, line)
        self._step(1)  # the equals sign
        self._skip(" \t")
        self._value(table)

    def _keys(self) -> list[str]:
        """The parts of a key with dots."""
        keys = []
        while True:
            self._skip(" \t")
            keys.append(self._string() if self._text[self._at] in "\"'" else self._bare())
            self._skip(" \t")
            if self._text[self._at] != ".":
                return keys
            self._step(1)

    def _bare(self) -> str:
        start = self._at
        while self._text[self._at] not in BARE_ENDS:
            self._at += 1
        if self._at == start:
            raise IndexError("no key")
        return self._text[start : self._at]

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            while self._text[self._at] not in ",]}#\n":
                self._at += 1

    def _array(self, path: Path) -> None:
        self._step(1)
        count = 0
        while True:
            self._skip(" \t\n,")
            if self._text[self._at] == "]":
                self._step(1)
                return
            self.found.setdefault((*path, count), self._line)
            before = self._at
            self._value((*path, count))
            if self._at == before:
                raise IndexError("no value")
            count += 1

    def _inline_table(self, path: Path) -> None:
        self._step(1)
        while True:
            self._skip(" \t\n,")
            if self._text[self._at] == "}":
                self._step(1)
                return
            self._pair(path)

    def _string(self) -> str:
        """A text in quotes, of any kind."""
        quote = self._text[self._at]
        ends = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._step(len(ends))
        parts = []
        while not self._text.startswith(ends, self._at):
            character = self._text[self._at]
            if character == "\\" and quote == '"':
                self._step(1)
                character = ESCAPES.get(self._text[self._at], self._text[self._at])
                if character in "uU":
                    digits = 4 if character == "u" else 8
                    character = _character(self._text[self._at + 1 : self._at + 1 + digits])
                    self._step(digits)
            parts.append(character)
            self._step(1)
        self._step(len(ends))
        while len(ends) == 3 and self._text.startswith(quote, self._at):
            self._step(1)  # up to two quotes may stand right before the three that end it
        return "".join(parts)

    def _skip(self, characters: str) -> None:
        """On to the next that is neither one of these nor, where a line may end, a comment."""
        while True:
            character = self._text[self._at]
            if character == "#" and "\n" in characters:
                while self._text[self._at] != "\n":
                    self._at += 1
            elif character not in characters:
                return
            self._step(1)

    def _step(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count


def _character(digits: str) -> str:
    try:
        return chr(int(digits, 16))
    except (ValueError, OverflowError):
        return ""

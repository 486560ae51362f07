"""Files of lines `key = value` and comments: what firmware profiles and the server's configuration are written in.

That is a part of TOML (https://toml.io/en/v1.0.0), and what is read here means the same there; reading all of it would
bring in 1.7 MB. A key is bare. A value is a number without sign or exponent, true or false, or text: in double quotes
with TOML's escapes, in single quotes without any. There are no tables, lists and dates."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Value = str | int | float | bool

BLANKS = " \t"
TEXT_CHARACTERS_MAX = 80  # of a line as it is told in an error

_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_CODE_DIGITS = {"u": 4, "U": 8}
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_FORBIDDEN = frozenset(map(chr, (*range(9), *range(10, 32), 127)))  # anywhere in TOML, but for the ends of lines
_WORDS = {"true": True, "false": False}


class Line:
    """A line that is not blank and no comment only. `value` is None where it is not of the form `key = value`."""

    __slots__ = ("key", "number", "text", "value")

    def __init__(self, number: int, text: str) -> None:
        """TEXT is line NUMBER (from 1), without its end."""
        self.number = number
        self.text = text if len(text) <= TEXT_CHARACTERS_MAX else text[:TEXT_CHARACTERS_MAX] + "..."
        self.key, self.value = _read(text)


def read_lines(path: str) -> Iterator[Line]:
    """The lines of a file, as far as they are to say something. Raises OSError, and UnicodeDecodeError where it is no
    text."""
    with open(path, encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            text = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
            text = text.strip(BLANKS)
            if text and not (text[0] == "#" and _FORBIDDEN.isdisjoint(text)):
                yield Line(number, text)


def _read(text: str) -> tuple[str, Value | None]:
    """Key and value; None for the value where the line is something else."""
    key, equals, rest = text.partition("=")
    key, rest = key.strip(BLANKS), rest.strip(BLANKS)
    if not (equals and key and _KEY_CHARACTERS.issuperset(key) and _FORBIDDEN.isdisjoint(text)):
        return key, None
    quote = rest[:1]
    if quote == "'":
        value, closed, rest = rest[1:].partition("'")
        return key, value if closed and _is_over(rest) else None
    if quote == '"':
        return key, _quoted(rest)
    word = rest.partition("#")[0].rstrip(BLANKS)
    return key, _WORDS[word] if word in _WORDS else _number(word)


def _is_over(rest: str) -> bool:
    """Whether nothing but a comment follows a value."""
    rest = rest.lstrip(BLANKS)
    return not rest or rest[0] == "#"


def _quoted(text: str) -> str | None:
    """The text between the double quotes that TEXT begins with, and that end the line's value; None where not."""
    value = ""
    at = 1
    while at < len(text):
        character = text[at]
        at += 1
        if character == '"':
            return value if _is_over(text[at:]) else None
        if character == "\\":
            kind = text[at : at + 1]
            at += 1
            if kind in _CODE_DIGITS:
                digits = text[at : at + _CODE_DIGITS[kind]]
                at += _CODE_DIGITS[kind]
                escaped = _character(digits) if len(digits) == _CODE_DIGITS[kind] else None
            else:
                escaped = _ESCAPES.get(kind)
            if escaped is None:
                return None
            character = escaped
        value += character
    return None


def _character(digits: str) -> str | None:
    """The character of a hexadecimal code; None where there is none."""
    if not _HEXADECIMAL.issuperset(digits):
        return None
    code = int(digits, 16)
    return chr(code) if code <= sys.maxunicode and not 0xD800 <= code <= 0xDFFF else None


def _number(text: str) -> int | float | None:
    """A TOML integer or float without sign or exponent, such as 65536, 65_536 or 0.25; None for anything else."""
    whole, point, fraction = text.partition(".")
    digits = whole + (fraction if point else "")
    if not (text.isascii() and digits.replace("_", "").isdigit()) or (len(whole) > 1 and whole[0] == "0"):
        return None
    try:
        # Python is as strict as TOML about underscores; it would take "5." and ".5", which TOML does not.
        return int(whole) if not point else float(text) if whole and fraction else None
    except ValueError:
        return None

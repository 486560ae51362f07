"""Where a key stands in a TOML text: against texts whose writer has kept the lines."""

from __future__ import annotations

import random
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.game.lines import lines_of
from tests.support import reproducible as reproducible

SCALARS = (
    *("1", "-2.5e3", "true", "1979-05-27T07:32:00Z", "inf", "0xff", '""', "''", '"a # b = [c]"', "'it \"is\" so'"),
    *(
        r'"\"\u00e9\\"',
        '"""x"""',
        "'''\n[not.a.table]\nkey = 1\n'''",
        '"""\na = "b"\n\\"""\n"""',
        '"""a""""',
        "''''a'''''",
    ),
)
KEYS = ("a", "b-1", "c_d", '"quoted.key"', "'it is'", "7")


class Writer:
    """Writes random TOML; `lines` says where each key and element is."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.text = ""
        self.lines: dict[tuple[Any, ...], int] = {}
        for _ in range(self.random.randrange(4)):
            self.filler()
        self.pairs(())
        for number in range(self.random.randrange(4)):
            self.filler()
            if self.random.random() < 0.5:
                self.mark((f"t{number}",))
                self.text += f"[ t{number} ] # [comment]\n"
                self.pairs((f"t{number}",))
                continue
            for index in range(self.random.randrange(1, 4)):
                self.mark((f"t{number}",))
                self.mark((f"t{number}", index))
                self.text += f"[[t{number}]]\n"
                self.pairs((f"t{number}", index))
                if self.random.random() < 0.3:
                    self.mark((f"t{number}", index, "inner"))
                    self.text += f"[t{number}.inner]\n"
                    self.pairs((f"t{number}", index, "inner"))

    def mark(self, path: tuple[Any, ...]) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def filler(self) -> None:
        self.text += self.random.choice(("\n", "# a = 1\n", "  \t\n", "#\n", '# """ [\n'))

    def pairs(self, table: tuple[Any, ...]) -> None:
        for key in self.random.sample(KEYS, self.random.randrange(4)):
            self.filler()
            self.pair(table, key)
            self.text += self.random.choice(("\n", " # comment ]\n", "\t\n"))

    def pair(self, table: tuple[Any, ...], key: str, deep: int = 0) -> None:
        path = (*table, key.strip("\"'"))
        self.mark(path)
        if self.random.random() < 0.2:
            path = (*path, "dotted")
            self.mark(path)
            key += self.random.choice((".dotted", " . dotted", '."dotted"'))
        self.text += key + self.random.choice(("=", " = ", "\t="))
        self.value(path, deep)

    def value(self, path: tuple[Any, ...], deep: int) -> None:
        kind = self.random.random()
        if deep > 2 or kind < 0.6:
            self.text += self.random.choice(SCALARS)
        elif kind < 0.8:
            self.text += "["
            for index in range(self.random.randrange(4)):
                self.text += self.random.choice(("", "\n", " # ]\n", " "))
                self.mark((*path, index))
                self.value((*path, index), deep + 1)
                self.text += self.random.choice((",", " ,", "\n,"))
            self.text += self.random.choice(("]", "\n]", " # x\n]"))
        else:
            self.text += "{"
            for number, key in enumerate(self.random.sample(KEYS, self.random.randrange(3))):
                self.text += ", " if number else " "
                self.pair(path, key, deep + 1)
            self.text += " }"


@given(st.integers(0, 2**32))
def test_every_key_is_found_in_its_line(seed: int) -> None:
    written = Writer(seed)
    tomllib.loads(written.text)  # the writer writes TOML
    assert lines_of(written.text) == written.lines
    assert lines_of(written.text.replace("\n", "\r\n")) == written.lines


@given(st.text(st.sampled_from("ab.=[]{},\"'#\\\n u0")))
def test_no_text_is_too_odd(text: str) -> None:
    lines = text.count("\n") + 1
    assert all(1 <= line <= lines for line in lines_of(text).values())


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a." * 100_000, "[[a", "[]", "a = {b"])
def test_what_is_no_toml_ends_too(text: str) -> None:
    assert lines_of(text).get(("a",), 1) == 1

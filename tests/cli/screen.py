"""A program in a terminal of its own, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

DEADLINE = 20.0

_ESCAPE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])")


class Screen:
    """A terminal that understands what top needs, and complains about anything else: ECMA-48's CUP without arguments,
    EL, ED and SGR, and xterm's alternate screen and cursor. Writing past an edge is an error: nothing may wrap."""

    def __init__(self, width: int, height: int) -> None:
        self.rows: list[list[str]] = []
        self.is_alternate = False
        self.entered = 0  # how often it has become the alternate one
        self.cursor_shown = True
        self.styles: set[str] = set()  # that were ever used
        self._rest = b""
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._clear()
        self._row = self._column = 0

    def _clear(self) -> None:
        self.rows = [[" "] * self.width for _ in range(self.height)]

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.rows]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def feed(self, data: bytes, *, lenient: bool = False) -> None:
        """LENIENT: what is past an edge is left out, for a program that does not know the new size yet."""
        data, self._rest = self._rest + data, b""
        cut = max(data.rfind(b"\x1b"), len(data) - 3)
        if cut > 0 and not (data[cut:].isascii() and b"\x1b" not in data[cut:]):
            data, self._rest = data[:cut], data[cut:]
            if _whole(self._rest):
                data, self._rest = data + self._rest, b""
        text, at = data.decode(), 0
        while at < len(text):
            if text[at] == "\x1b":
                found = _ESCAPE.match(text, at)
                assert found, f"no escape that is known: {text[at : at + 12]!r}"
                self._obey(*found.groups())
                at = found.end()
                continue
            self._put(text[at], lenient)
            at += 1

    def _obey(self, private: str, numbers: str, letter: str) -> None:
        if private:
            assert (numbers, letter) in {(n, x) for n in ("1049", "25") for x in "hl"}
            if numbers == "25":
                self.cursor_shown = letter == "h"
            else:
                self.is_alternate = letter == "h"
                self.entered += self.is_alternate
                if not self.is_alternate:  # the other has been empty all the time
                    self._clear()
                    self._row = self._column = 0
        elif letter == "m":
            self.styles.add(numbers)
        elif (letter, numbers) == ("H", ""):
            self._row = self._column = 0
        elif (letter, numbers) == ("K", ""):
            self.rows[self._row][self._column :] = [" "] * (self.width - self._column)
        elif (letter, numbers) == ("J", ""):
            # On the last line, behind its last column, nothing of the line is to go.
            for row in range(self._row + 1, self.height):
                self.rows[row] = [" "] * self.width
        elif (letter, numbers) == ("J", "2"):
            self._clear()
        else:
            raise AssertionError(f"no escape that is known: {numbers}{letter}")

    def _put(self, character: str, lenient: bool) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            assert lenient or self._row + 1 < self.height, f"the screen scrolls:\n{self.text}"
            self._row = min(self._row + 1, self.height - 1)
        else:
            assert character.isprintable() or unicodedata.combining(character), repr(character)
            wide = 2 if unicodedata.east_asian_width(character) in "WF" else 1
            if unicodedata.combining(character):
                return
            if self._column + wide > self.width:
                assert lenient, f"a line wraps at {character!r}:\n{self.text}"
                return
            self.rows[self._row][self._column : self._column + wide] = [character] + [""] * (wide - 1)
            self._column += wide


def _whole(piece: bytes) -> bool:
    """Whether these bytes end neither within a character nor within an escape."""
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return False
    return "\x1b" not in text or bool(_ESCAPE.match(text, text.rindex("\x1b")))


class OnScreen:
    """A program in a pseudo terminal of this size. A context manager: what still runs at the end is killed."""

    def __init__(
        self, words: Sequence[str], width: int, height: int, *, directory: Path, environment: Mapping[str, str]
    ) -> None:
        self.screen = Screen(width, height)
        self.status: int | None = None
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(directory)
                _set_size(0, width, height)
                os.execve(words[0], list(words), dict(environment))
            finally:
                os._exit(127)
        self._lenient = False

    def __enter__(self) -> OnScreen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"on the screen:\n{self.screen.text}")
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def resize(self, width: int, height: int) -> None:
        """The kernel sends SIGWINCH."""
        self._lenient = True
        self.screen.resize(width, height)
        _set_size(self.descriptor, width, height)

    def until(self, wanted: Callable[[Screen], object]) -> Screen:
        """Reads until the screen shows it."""
        end = time.monotonic() + DEADLINE
        while not wanted(self.screen):
            assert time.monotonic() < end, "that is not shown"
            self._read(0.2)
        return self.screen

    def end(self) -> int:
        """Reads until it has ended: its exit status, negative for a signal."""
        end = time.monotonic() + DEADLINE
        while self.status is None:
            assert time.monotonic() < end, "it does not end"
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        while self._read(0):
            pass
        return self.status

    def _read(self, seconds: float) -> bool:
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.descriptor, 1 << 16)
        except OSError:  # EIO: the other side is closed
            return False
        self.screen.feed(data, lenient=self._lenient)
        return bool(data)

    @property
    def modes(self) -> list[int]:
        """Of the terminal: tcgetattr's flags."""
        return [int(each) for each in termios.tcgetattr(self.descriptor)[:4]]


def _set_size(descriptor: int, width: int, height: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

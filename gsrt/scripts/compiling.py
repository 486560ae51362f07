"""A script's file to code, in a process of its own.

CPython compiles in a few long calls that hold the interpreter, some 400 ms for 64 KB of awkward source on a PC, and
can take hundreds of MB for it; RestrictedPython and `ast` stay in memory for good. None of that is to be the server's.
Called on the worker thread, which waits for the child.
"""

from __future__ import annotations

import os
import select
import signal
import time

from gsrt.children import spawn_python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.helper import Helper

    Stamp = tuple[int, int, int]  # of a file: modification time, size, inode

SECONDS_MAX = 60.0  # 64 KB of awkward source take 2 s on a PC
CODE_BYTES_MAX = 4 << 20  # of a script as marshal has it: it stays in memory as long as the script
READ_BYTES = 65536


class HostError(Exception):
    """A script that cannot be put to work; the message says why, a line for each problem."""


def stamp_of(path: str) -> Stamp:
    """What tells a changed file. Raises OSError."""
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino


class Compiler:
    """A server's way to have scripts compiled, on whatever thread. `helper`: of a process that may start no other any
    more, which is for good; None: it may."""

    __slots__ = ("helper",)

    def __init__(self, helper: Helper | None = None) -> None:
        self.helper = helper

    def compile_file(self, path: str, source_bytes_max: int) -> tuple[Compiled, Stamp]:
        """The script in a file, and the file's stamp before it was read. Raises HostError."""
        import marshal

        from gsrt.scripts.compiler import Compiled, Problem

        try:
            stamp = stamp_of(path)
            answer: Any = marshal.loads(self._run(path, source_bytes_max))
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}") from None
        except (ValueError, EOFError, TypeError):
            raise HostError(f"{path}: it cannot be compiled: the compiler ended without a result") from None
        kind, *parts = answer
        if kind == "refused":
            raise HostError("\n".join(str(Problem(*each)) for each in parts[0]))
        if kind == "error":
            raise HostError(f"{path}: {parts[0]}")
        code, filename, digest, warnings = parts
        return Compiled(code, filename, digest, [], [Problem(*each) for each in warnings]), stamp

    def _run(self, path: str, source_bytes_max: int) -> bytes:
        """What the process that compiles it writes. Raises OSError, HostError."""
        asked = self.helper
        if asked is None:
            try:
                return _run_child(path, source_bytes_max)
            except PermissionError:
                asked = self.helper
                if asked is None:
                    raise  # else the process was contained since, on another thread
        reader = asked.begin(path, source_bytes_max)
        try:
            return _read(path, reader)
        finally:
            os.close(reader)


def _run_child(path: str, source_bytes_max: int) -> bytes:
    """What a child writes. Raises OSError, HostError."""
    program = f"from gsrt.scripts.compile_child import main; main({path!r}, {source_bytes_max})"
    reader, writer = os.pipe()
    try:
        child = spawn_python(program, output=writer)
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        return _read(path, reader)
    finally:
        os.close(reader)
        # It has ended, or there is no use for it any more.
        try:
            os.kill(child, signal.SIGKILL)
        except PermissionError:
            pass  # contained since: it ends by itself
        os.waitpid(child, 0)


def _read(path: str, reader: int) -> bytes:
    deadline = time.monotonic() + SECONDS_MAX
    found = bytearray()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise HostError(f"{path}: it is not compiled after {SECONDS_MAX:g} seconds; shorten it")
        part = os.read(reader, READ_BYTES)
        if not part:
            return bytes(found)
        found += part
        if len(found) > CODE_BYTES_MAX:
            raise HostError(f"{path}: its code has more than {CODE_BYTES_MAX >> 20} MB; shorten its constants")

"""A program to watch while it runs, its input and output in pipes."""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

DEADLINE = 20.0  # seconds that a line or its end may take on a busy machine


class Program:
    """A running program: lines go in, lines come out; standard error is with standard output."""

    def __init__(self, words: Sequence[str], directory: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            words,
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.said: list[str] = []

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def type(self, *lines: str) -> None:
        assert self._process.stdin is not None
        for line in lines:
            self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def next_line(self) -> str:
        """The next line it prints."""
        try:
            self.said.append(self._lines.get(timeout=DEADLINE))
        except queue.Empty:
            raise AssertionError("no further line after:\n" + "\n".join(self.said)) from None
        return self.said[-1]

    def expect(self, start: str) -> str:
        """The next line, which must begin with `start`."""
        line = self.next_line()
        assert line.startswith(start), line
        return line

    def until(self, wanted: Callable[[str], bool]) -> str:
        """The next line that is wanted; those before it are passed over."""
        while not wanted(line := self.next_line()):
            pass
        return line

    def status(self) -> int:
        """Its exit status, once it has ended."""
        return self._process.wait(DEADLINE)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> int:
        """SIGTERM; its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.status()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

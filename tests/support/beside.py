"""Long work of tests, done beside the other tests in what these leave of the processors.

    WORK = Work(sys.executable, "-m", "a.module")

    @pytest.mark.beside(WORK)
    def test_it(): assert "done" in WORK.said(300)

tests/conftest.py begins the works of the tests that are to run, as processes which everything else goes before
(SCHED_IDLE), and lets these tests come last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import psutil

from tests.support.server import PROJECT

SIDE_BY_SIDE = 2  # works; the others wait


class Work:
    """One command, begun in the project's folder."""

    def __init__(self, *command: str) -> None:
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._output = self._errors = Path()

    def begin(self, folder: Path, slot: Path) -> None:
        """Start it. What it says is kept in the folder. It waits for other works in the same slot, which is a file."""
        folder.mkdir()
        self._output, self._errors = folder / "output", folder / "errors"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.beside", str(slot), *self.command],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    def hurry(self) -> None:
        """It is waited for: from now on it is as important as anything."""
        for each in self._processes():
            with contextlib.suppress(OSError):
                os.sched_setscheduler(each.pid, os.SCHED_OTHER, os.sched_param(0))

    def said(self, seconds: float) -> str:
        """All that it printed, once it has ended well. AssertionError; TimeoutExpired after so many seconds."""
        assert self._process is not None, "never begun"
        for each in _begun:
            each.hurry()
        status = self._process.wait(seconds)
        output, errors = (each.read_text(errors="replace") for each in (self._output, self._errors))
        assert status == 0, f"status {status}\n{output[-4000:]}\n{errors[-4000:]}"
        return output

    def end(self) -> None:
        """Kill what still runs."""
        for each in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        if self._process is not None:
            self._process.wait()

    def _processes(self) -> list[psutil.Process]:
        """Its process and those below it, as long as it runs."""
        if self._process is None or self._process.poll() is not None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]


_begun: list[Work] = []
_folders: list[Path] = []


def begin(works: Iterable[Work]) -> None:
    """Starts them all; `end` has to follow."""
    _folders.append(Path(tempfile.mkdtemp(prefix="gsrt-test-")))
    for number, work in enumerate(works):
        _begun.append(work)
        work.begin(_folders[-1] / str(number), _folders[-1] / f"slot-{number % SIDE_BY_SIDE}")


def end() -> None:
    """None of them runs any longer, and nothing is left of them."""
    while _begun:
        _begun.pop().end()
    while _folders:
        shutil.rmtree(_folders.pop())


def main() -> None:
    """`python -m tests.support.beside SLOT COMMAND...`: becomes the command when it is its turn."""
    slot, *command = sys.argv[1:]
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # some systems know only one kind
        os.nice(19)
    descriptor = os.open(slot, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.set_inheritable(descriptor, True)  # the slot is taken until the command has ended
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()

"""What a trial has found, on the terminal and in a file."""

from __future__ import annotations

import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path


class Report:
    """Steps with their outcomes; a step that fails does not keep the next ones from being tried."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w")
        self._began = time.monotonic()
        self.failed: list[str] = []
        self.steps = 0

    def say(self, text: str) -> None:
        line = f"{time.monotonic() - self._began:6.1f} s  {text}"
        print(line, flush=True)
        self._file.write(line + "\n")
        self._file.flush()

    def keep(self, title: str, text: str) -> None:
        """Something long, for the file only."""
        self._file.write("".join(f"          | {line}\n" for line in (f"{title}:", *text.splitlines())))
        self._file.flush()

    def step(self, name: str, trial: Callable[[], str], details: Callable[[], str]) -> None:
        """Has TRIAL tried, which returns what was seen or raises; DETAILS are kept where it fails."""
        self.steps += 1
        began = time.monotonic()
        try:
            seen = trial()
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
            self.failed.append(name)
            self.say(f"FAILED {name}: {error}")
            self.keep("where", traceback.format_exc())
            try:
                self.keep("journal", details())
            except (AssertionError, OSError, subprocess.SubprocessError) as further:
                self.keep("no journal", str(further))
            return
        self.say(f"ok     {name} ({time.monotonic() - began:.1f} s): {seen}")

    def close(self) -> None:
        self.say(
            f"{self.steps - len(self.failed)} of {self.steps} steps passed"
            + "".join(f", not: {each}" for each in self.failed)
        )
        self._file.close()

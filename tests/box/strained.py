"""A server on a made-up box, for tests of what becomes of it when the box is strained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from tests.support.server import ControlRefused, ServerProcess

DEADLINE = 20.0
CALM_SECONDS = 0.3
# What this machine really does is not looked at: each test strains the box in one way.
QUIET = {
    "governor_seconds": 0.05,
    "free_memory_bytes_min": 0,
    "disk_free_bytes_min": 0,
    "loop_lag_slow_ms": 60_000,
    "loop_lag_refuse_ms": 60_000,
    "cpu_slow_percent": 1000,
}
ZONE = "sys/class/thermal/thermal_zone0"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


class StrainedServer(ServerProcess):
    """One server; `root` is its box."""

    def __init__(
        self,
        root: Path,
        overrides: Mapping[str, float] | None = None,
        arguments: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
    ) -> None:
        """BEFORE: the words of a command that ends with another command, which it becomes."""
        super().__init__(overrides=QUIET | dict(overrides or {}), arguments=arguments)
        self.root = root
        (root / "proc").symlink_to("/proc")
        self.write(f"{ZONE}/type", "cpu-thermal")
        self.write(f"{ZONE}/temp", "48000")
        self.write(THROTTLED, "0")
        words = self.command[self.command.index("serve") :]
        launch = [self.command[0], "-m", "tests.box.launch", str(root), str(CALM_SECONDS)]
        self.command = [*before, *launch, *words]

    def __enter__(self) -> Self:
        self.start()
        return self

    def write(self, path: str, text: str) -> None:
        """A file of the box; it stays the same file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def governor(self) -> dict[str, Any]:
        """What the status says of the box."""
        found: dict[str, Any] = self.control({"do": "status"})["governor"]
        return found

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits until that holds."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"{what}; governor: {self.governor()}"
            time.sleep(0.02)  # between two looks

    def until_level(self, level: str) -> None:
        self.until(lambda: self.governor()["level"] == level, f"it is not {level}")

    def refusal(self) -> str:
        """Why no session is made now; "" if one was."""
        try:
            self.create(2)
        except ControlRefused as refused:
            return str(refused)
        return ""

    def told(self, words: str) -> list[str]:
        """Lines of its log with these words."""
        return [line for line in self.log().splitlines() if words in line]

"""A box that a test furnishes: its files, what its programs print, what its server says."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gsrt.cli import CommandError
from gsrt.cli.asking import Unserved
from gsrt.doctor.commands import Output
from gsrt.doctor.surroundings import Settings, Surroundings

NOON = 1_780_000_000.0  # 2026-05-28, a time at which a clock may be right


class Box:
    """`commands` maps the beginning of a command line to what the program prints; one that is not there is not
    installed. `status` is the answer of the running server, the error that it gives, or None: none runs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        self.commands: dict[str, str | Output] = {}
        self.asked: list[str] = []
        self.status: dict[str, Any] | CommandError | None = None
        self.settings: dict[str, Any] = {"state": str(self.state)}
        self.now = NOON
        self.user = 0
        self.environment: dict[str, str] = {}
        self.landlock: int | None = 4
        self.segments = True
        self.found = True  # a search of the network finds the server

    def write(self, path: str, text: str | bytes) -> None:
        """A file of this box."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def link(self, path: str, target: str) -> None:
        """A symbolic link of this box."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    def interface(
        self,
        name: str,
        *addresses: str,
        flags: Sequence[str] = ("BROADCAST", "MULTICAST", "UP", "LOWER_UP"),
    ) -> None:
        """A network interface with addresses such as 192.168.1.5/24, besides those that are there."""
        command = "ip -json address show"
        known = json.loads(str(self.commands.get(command, "[]")))
        infos = [{"local": each.split("/")[0], "prefixlen": int(each.split("/")[1])} for each in addresses]
        known.append({"ifname": name, "flags": list(flags), "addr_info": infos})
        self.commands[command] = json.dumps(known)

    def surroundings(self) -> Surroundings:
        """What the checks see of it."""
        seen = Seen(
            Settings(**self.settings),
            root=str(self.root),
            run=self._run,
            ask=self._ask,
            user=self.user,
            environment=self.environment,
        )
        seen.now = lambda: self.now
        seen.landlock = self.landlock
        seen.segments = self.segments
        seen.found = self.found
        return seen

    def _run(self, words: Sequence[str], seconds: float) -> Output | None:
        line = " ".join(words)
        self.asked.append(line)
        for command in sorted(self.commands, key=len, reverse=True):
            if line.startswith(command):
                said = self.commands[command]
                return said if isinstance(said, Output) else Output(0, said)
        return None

    def _ask(self, control: str | None, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert request == {"do": "status"}
        if self.status is None:
            raise Unserved("no gsrt server listens there")
        if isinstance(self.status, CommandError):
            raise self.status
        return self.status


class Seen(Surroundings):
    """Surroundings whose kernel is the test's."""

    landlock: int | None = 4
    segments = True
    found = True

    def machine(self) -> str:
        return "aarch64"

    def can_segment(self) -> bool:
        return self.segments

    def is_found(self, port: int) -> bool:
        return self.found

    def landlock_version(self) -> int | None:
        return self.landlock


def device_link(folder: Path) -> str:
    """The name below /sys/dev/block of the device that holds a folder."""
    number = os.stat(folder).st_dev
    return f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"

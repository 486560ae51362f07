"""Starts gsrt the way a user does, with sessions and access tokens for a load generator."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.processes import ask, free_port, server, wait_for_connect, wait_until_childless
from benchmarks.workshop import folder


@dataclass(frozen=True)
class Installation:
    """A Python in which gsrt is installed."""

    python: str

    def command(self) -> list[str]:
        """The `gsrt` program beside that Python, or `python -m gsrt` where there is none."""
        program = os.path.join(os.path.dirname(self.python), "gsrt")
        return [program] if os.access(program, os.X_OK) else [self.python, "-m", "gsrt"]


@dataclass(frozen=True)
class RunningServer:
    process: subprocess.Popen[bytes]
    port: int
    log: str
    token_file: str
    control: str

    def tokens(self, clients: int, room_size: int) -> str:
        """Opens sessions for all clients. Returns a file of access tokens, one a line, session by session."""
        requests = [
            {"do": "session.create", "players": [f"player-{first + place}" for place in range(room_size)]}
            for first in range(0, clients, room_size)
        ]
        with open(self.token_file, "w", encoding="ascii") as file:
            for answer in ask(self.control, requests):
                players = answer["players"]
                assert isinstance(players, list)
                file.writelines(player["accessToken"] + "\n" for player in players)
        return self.token_file


@contextlib.contextmanager
def launch(
    installation: Installation, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """A fresh server, just executed: it need not listen yet. Its state is kept inside benchmarks/.work."""
    # The control socket's path must be short, and the working folder may be anywhere: so a temporary folder.
    with tempfile.TemporaryDirectory(prefix="gsrt-bench-") as run_folder:
        port, control = free_port(), os.path.join(run_folder, "control")
        command = [*installation.command(), "serve", "--host", "127.0.0.1", "--port", str(port), "--control", control]
        state = folder("state")
        homes = {"HOME": state, "XDG_STATE_HOME": state, "XDG_CONFIG_HOME": state, "XDG_DATA_HOME": state}
        log = os.path.join(run_folder, "log")
        with server([*command, *options], log, folder(), {**homes, **(environment or {})}) as process:
            yield RunningServer(process, port, log, os.path.join(run_folder, "tokens"), control)


@contextlib.contextmanager
def running(
    installation: Installation, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """A fresh server that listens and has nothing left to do."""
    with launch(installation, *options, environment=environment) as started:
        wait_for_connect(started.process, started.log, started.port)
        wait_until_childless(started.process.pid)
        yield started

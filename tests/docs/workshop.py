"""A folder in which the documents' commands can be typed as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.markdown import PROJECT
from tests.support.program import DEADLINE, Program

# `.venv/bin/gsrt` of the documents. A server gets a free port on the loopback address, and a certificate that is there.
_COMMAND = """#!{python}
import sys

sys.path.insert(0, {project!r})
from gsrt.cli import main

if sys.argv[1:2] == ["serve"]:
    sys.argv += ["--host", "127.0.0.1", "--port", "0", "--cert", {certificate!r}, "--key", {key!r}]
sys.exit(main())
"""


class Workshop:
    """The folder. `port` is that of the server in it, once there is one; the documents call it 8784."""

    def __init__(self, directory: Path, certificate: tuple[str, str]) -> None:
        self.directory = directory
        self.port = 0
        self._programs: list[Program] = []
        commands = directory / ".venv" / "bin"
        commands.mkdir(parents=True)
        (directory / "firmware_profiles").symlink_to(PROJECT / "firmware_profiles")
        runtime = directory / "run"
        runtime.mkdir(mode=0o700)
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if name not in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY")
            },
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_STATE_HOME": str(directory / "state"),
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
        }
        command = _COMMAND.format(
            python=sys.executable, project=str(PROJECT), certificate=certificate[0], key=certificate[1]
        )
        for name, text in (("gsrt", command), ("python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')):
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)

    def here(self, text: str) -> str:
        """Text of a document with this server's address in place of the one that stands there."""
        return text.replace("192.0.2.2", "127.0.0.1").replace("8784", str(self.port))

    def start(self, words: list[str]) -> Program:
        """A program in this folder; dispose() ends it."""
        program = Program(words, self.directory, self.environment)
        self._programs.append(program)
        return program

    def run(self, script: str) -> str:
        """What a piece of shell prints; it must end with 0, and so must each of its commands."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(script)],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def dispose(self) -> None:
        for program in self._programs:
            program.end()

"""A real server process for tests: `python -m gsrt serve` with its own port, control socket, state and profile."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.manager import Manager

PROJECT = Path(__file__).resolve().parents[2]
GENERIC_PROFILE = PROJECT / "firmware_profiles" / "generic.toml"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
WAIT_SECONDS = 20.0


@dataclass(frozen=True)
class Seat:
    """One player of a session, as `session.create` answers."""

    player_id: str
    peer_id: int
    token: str


@dataclass(frozen=True)
class Table:
    """A session and its seats, in the order of their peer ids."""

    session_id: str
    host: str
    port: int
    seats: tuple[Seat, ...]


class ControlRefused(AssertionError):
    """The control socket answered with an error; str() is its text."""


class ServerProcess:
    """One server. `overrides` change keys of the generic profile; `open_files` is its RLIMIT_NOFILE.

    A context manager: entering starts it, leaving ends it with SIGTERM and asserts that it says exit 0, or kills it
    where the test has failed anyway.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        overrides: Mapping[str, float] | None = None,
        certificate: tuple[str, str] | None = None,
        port: int | None = None,
        open_files: int | None = None,
        arguments: tuple[str, ...] = (),
        manager: Manager | None = None,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gsrt-test-"))
        self.control_path = str(self.directory / "control.sock")
        self.log_path = self.directory / "log.txt"
        self.port = free_port() if port is None else port
        self._open_files = open_files
        self._manager = manager
        self.allowed_errors: tuple[str, ...] = ()  # what a test provokes on purpose
        self._process: subprocess.Popen[bytes] | None = None
        self.command = [
            *(sys.executable, "-m", "gsrt", "serve", "--host", self.host, "--port", str(self.port)),
            *("--control", self.control_path, "--state", str(self.directory / "state")),
            *("--profile", str(self._write_profile(overrides or {})), *arguments),
        ]
        if certificate is not None:
            self.command += ["--cert", certificate[0], "--key", certificate[1]]

    def _write_profile(self, overrides: Mapping[str, float]) -> Path:
        values = tomllib.loads(GENERIC_PROFILE.read_text())
        unknown = overrides.keys() - values.keys()
        assert not unknown, f"no such limits: {unknown}"
        path = self.directory / "test.toml"
        path.write_text("".join(f"{key} = {value}\n" for key, value in (values | dict(overrides)).items()))
        return path

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> ServerProcess:
        """Start it and wait until its control socket answers."""
        self.launch()
        end = time.monotonic() + START_SECONDS
        while True:
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()}"
            try:
                answer = self.control({"do": "status"})
            except (OSError, ValueError):
                assert time.monotonic() < end, f"the control socket does not answer:\n{self.log()}"
                time.sleep(0.01)  # between two looks; the condition is the answer
                continue
            self.port = answer["port"]
            return self

    def launch(self) -> None:
        """Start the process without waiting for anything."""
        limit, manager = self._open_files, self._manager

        def prepare() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            if manager is not None:
                manager.hand_in()

        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
        command = self.command
        if manager is not None:
            environment |= manager.environment()
            command = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "manager", *command]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env=environment,
                preexec_fn=prepare if limit is not None or manager is not None else None,
                close_fds=manager is None,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None, "not started"
        return self._process

    def terminate(self) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end it is bound for; its exit status."""
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server does not end:\n{self.log()}") from None

    def stop(self) -> None:
        """End it as an operator would, and see that it was content."""
        status = self.process.poll()
        assert status is None, f"the server had ended with {status}:\n{self.log()}"
        status = self.terminate()
        assert status == 0, f"exit status {status} after SIGTERM:\n{self.log()}"
        assert not self.errors(), f"errors in the log:\n{self.log()}"

    def dispose(self) -> None:
        """Kill what still runs, remove its directory."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self.process.poll() is None:
                    self.stop()
            else:
                error.add_note(f"log of the server:\n{self.log()}")
        finally:
            self.dispose()

    def log(self) -> str:
        """The end of what it has written."""
        return self.log_path.read_text(errors="replace")[-8000:] if self.log_path.exists() else ""

    def errors(self) -> list[str]:
        """Log lines of level error, and tracebacks."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return [
            line
            for line in lines
            if line.startswith(("error ", "Traceback")) and not any(allowed in line for allowed in self.allowed_errors)
        ]

    # -- control --------------------------------------------------------------------------------------------------

    def control(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request over the control socket. Raises ControlRefused with the server's words."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5.0)
            connection.connect(self.control_path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                piece = connection.recv(1 << 16)
                if not piece:
                    break
                answer += piece
        decoded: dict[str, Any] = json.loads(answer)
        if not decoded["ok"]:
            raise ControlRefused(decoded["error"])
        return decoded

    def create(self, count: int, **fields: str) -> Table:
        """A session of `count` players p1, p2, ...; `fields` are further ones of the request."""
        players = [f"p{index + 1}" for index in range(count)]
        answer = self.control({"do": "session.create", "players": players, **fields})
        seats = tuple(Seat(one["playerId"], one["peerId"], one["accessToken"]) for one in answer["players"])
        return Table(answer["sessionId"], answer["host"], answer["port"], seats)

    def end(self, table: Table) -> None:
        """End a session."""
        self.control({"do": "session.end", "sessionId": table.session_id})

    def kick(self, table: Table, seat: Seat) -> None:
        """Kick a player."""
        self.control({"do": "player.kick", "sessionId": table.session_id, "player": seat.player_id})

    def status(self) -> dict[str, Any]:
        """What `gsrt status --json` prints."""
        output = subprocess.run(
            [sys.executable, "-m", "gsrt", "status", "--json", "--control", self.control_path],
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
            cwd=PROJECT,
        ).stdout
        answer: dict[str, Any] = json.loads(output)
        return answer

    def counters(self, table: Table | None = None) -> dict[str, int]:
        """Counters of the server, or of one session; what never happened is 0."""
        answer = self.control({"do": "status"})
        if table is None:
            return Counters(answer["counters"])
        for one in answer["perSession"]:
            if one["sessionId"] == table.session_id:
                return Counters(one["counters"])
        raise AssertionError(f"status does not know session {table.session_id}")

    def player_state(self, table: Table, peer_id: int) -> str:
        """A player's state as `session.list` tells it."""
        for session in self.control({"do": "session.list"})["sessions"]:
            if session["sessionId"] == table.session_id:
                for player in session["players"]:
                    if player["peerId"] == peer_id:
                        return str(player["state"])
        return "no such player"

    def session_ids(self) -> list[str]:
        """Ids of the sessions that are open."""
        return [one["sessionId"] for one in self.control({"do": "session.list"})["sessions"]]


class Counters(dict[str, int]):
    """A dict whose absent keys count 0."""

    def __missing__(self, _key: str) -> int:
        return 0


def free_port() -> int:
    """A port number that is free for TCP and UDP on the loopback address."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                try:
                    datagrams.bind(("127.0.0.1", port))
                except OSError:
                    continue
            return port
    raise AssertionError("no port is free for both TCP and UDP")


def until(condition: Callable[[], object], server: ServerProcess) -> None:
    """Waits until that holds, which the server brings about by itself."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"it has not come about:\n{server.log()}"
        time.sleep(0.005)  # between two looks

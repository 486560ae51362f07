"""A stand-in for the server at its control socket, and a way to run `gsrt` against it."""

from __future__ import annotations

import selectors
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gsrt.cli import main
from gsrt.transports.control import ControlServer


class ServerDouble:
    """Answers what the test put into `answers` (request name -> answer), and keeps the requests."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.answers: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._server = ControlServer(path, self._handle)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        return self.answers[request["do"]]

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            self._server.register(selector)
            while not self._stop.is_set():
                for key, mask in selector.select(0.01):
                    key.data.on_event(key.fd, mask, 0.0)
            self._server.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


class Outcome:
    """What one run of `gsrt` printed and returned."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


Run = Callable[..., Outcome]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerDouble]:
    """A server at the default place of the control socket."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    double = ServerDouble(str(tmp_path / "gsrt" / "control.sock"))
    yield double
    double.close()


@pytest.fixture
def gsrt(capsys: pytest.CaptureFixture[str]) -> Run:
    """`gsrt(words...)` runs the command in this process."""

    def run(*words: str) -> Outcome:
        try:
            status = main(words)
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
        return Outcome(status, *capsys.readouterr())

    return run

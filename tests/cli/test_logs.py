"""`gsrt logs`: what scripts have logged, and what they log from now on."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, ServerDouble
from tests.support.server import PROJECT, ServerProcess


def entry(number: int, text: str = "hello", level: str = "info", suppressed: int = 0) -> dict[str, Any]:
    return {
        "number": number,
        "time": 1_700_000_000.5 + number,
        "session": "7f3a",
        "script": "ships.py",
        "level": level,
        "text": text,
        "suppressed": suppressed,
    }


class Ring:
    """The server's side: answers with what is numbered above `after`, so many entries at a time."""

    def __init__(self, server: ServerDouble, *entries: dict[str, Any]) -> None:
        self.entries = list(entries)
        server.answers = self  # type: ignore[assignment]
        self._server = server

    def __getitem__(self, name: str) -> dict[str, Any]:
        assert name == "logs"
        after = self._server.requests[-1]["after"]
        found = [each for each in self.entries if each["number"] > after][:2]
        last = found[-1]["number"] if found else max([each["number"] for each in self.entries], default=0)
        return {"ok": True, "entries": found, "last": last}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


class Pauses:
    """What happens in the pauses between two looks, one after the other; after the last one Ctrl-C is pressed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happenings: list[Callable[[], object]] = []
        monkeypatch.setattr(time, "sleep", self._pause)

    def _pause(self, seconds: float) -> None:
        assert seconds == 0.5
        if not self.happenings:
            raise KeyboardInterrupt
        self.happenings.pop(0)()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    return Pauses(monkeypatch)


def test_prints_what_there_is(gsrt: Run, server: ServerDouble) -> None:
    Ring(server, entry(1), entry(2, "bad \x1b[2J\nline", "error"), entry(3, "again", suppressed=7))
    outcome = gsrt("logs")
    assert outcome.status == 0
    assert outcome.out == (
        "2023-11-14 22:13:21 7f3a ships.py info hello\n"
        "2023-11-14 22:13:22 7f3a ships.py error bad \\x1b[2J\\nline\n"
        "2023-11-14 22:13:23 7f3a ships.py info again (7 lines before it left out)\n"
    )
    assert server.requests == [{"do": "logs", "after": after} for after in (0, 2, 3)]


def test_of_one_session(gsrt: Run, server: ServerDouble) -> None:
    Ring(server)
    assert gsrt("logs", "--session", "7f3a").out == ""
    assert server.requests == [{"do": "logs", "after": 0, "session": "7f3a"}]


@pytest.mark.parametrize(("lines", "shown"), [("0", []), ("1", ["c"]), ("2", ["b", "c"]), ("9", ["a", "b", "c"])])
def test_the_last_lines_only(gsrt: Run, server: ServerDouble, lines: str, shown: list[str]) -> None:
    Ring(server, entry(1, "a"), entry(2, "b"), entry(3, "c"))
    assert [line.split()[-1] for line in gsrt("logs", "-n", lines).out.splitlines()] == shown


@pytest.mark.parametrize("lines", ["-1", "x", "1.5", ""])
def test_a_number_of_lines_is_one(gsrt: Run, lines: str) -> None:
    outcome = gsrt("logs", f"-n={lines}")
    assert (outcome.status, outcome.out) == (2, "")


def test_json_is_one_object_a_line(gsrt: Run, server: ServerDouble) -> None:
    Ring(server, entry(1), entry(2, "Zoë\n"))
    assert [json.loads(line) for line in gsrt("logs", "--json").out.splitlines()] == [entry(1), entry(2, "Zoë\n")]


def test_following_asks_for_what_is_new_and_ends_quietly(gsrt: Run, server: ServerDouble, pauses: Pauses) -> None:
    ring = Ring(server, entry(1, "a"), entry(2, "b"))
    pauses.happenings = [lambda: None, lambda: ring.entries.append(entry(3, "c"))]
    outcome = gsrt("logs", "-f", "-n", "1")
    assert (outcome.status, outcome.err) == (0, "")
    assert [line.split()[-1] for line in outcome.out.splitlines()] == ["b", "c"]
    assert [request["after"] for request in server.requests] == [0, 2, 2, 2, 3]


def test_following_says_when_the_server_has_gone(gsrt: Run, server: ServerDouble, pauses: Pauses) -> None:
    Ring(server, entry(1, "a"))
    pauses.happenings = [server.close]
    outcome = gsrt("logs", "--follow")
    assert outcome.status == 1
    assert outcome.err.startswith("gsrt: the server has gone: no gsrt server listens at ")


def test_ctrl_c_while_not_following_is_an_interruption(gsrt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gsrt.cli.asking.call", interrupted)
    assert gsrt("logs").status == 130


# Against a real server


def follow(server: ServerProcess, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gsrt", "logs", "-f", "--control", server.control_path, *words]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def test_a_real_server_is_followed_until_ctrl_c_or_its_end(
    gsrt: Run, tmp_path: Path, certificate: tuple[str, str]
) -> None:
    script = tmp_path / "talker.py"
    script.write_text("print('hello', session.get_session_id())\nsession.get_logger().warn('careful')\n")
    with ServerProcess(certificate=certificate) as server:
        words = {"do": "session.create", "players": ["anna"], "script": str(script)}
        first, second = (server.control(words)["sessionId"] for _ in range(2))
        shown = gsrt("logs", "--control", server.control_path).out.splitlines()
        assert [line.split(" ", 2)[2] for line in shown] == [
            f"{first} talker.py info hello {first}",
            f"{first} talker.py warn careful",
            f"{second} talker.py info hello {second}",
            f"{second} talker.py warn careful",
        ]
        shown = gsrt("logs", "--control", server.control_path, "--session", second, "-n", "1").out.splitlines()
        assert [line.split(" ", 2)[2] for line in shown] == [f"{second} talker.py warn careful"]

        interrupted = follow(server, "--session", first)
        left_behind = follow(server, "-n", "0")
        try:
            assert interrupted.stdout is not None and left_behind.stdout is not None
            assert [interrupted.stdout.readline().split()[-1] for _ in range(2)] == [first, "careful"]
            interrupted.send_signal(signal.SIGINT)
            assert (*interrupted.communicate(timeout=20), interrupted.returncode) == ("", "", 0)
            third = ""
            while not select.select([left_behind.stdout], [], [], 0.2)[0]:  # until it has begun to follow
                third = server.control(words)["sessionId"]
            assert left_behind.stdout.readline().endswith("\n")
            assert third
            server.stop()
            _, errors = left_behind.communicate(timeout=20)
            assert left_behind.returncode == 1
            assert errors.startswith("gsrt: the server has gone: no gsrt server listens at ")
        finally:
            for process in (interrupted, left_behind):
                process.kill()
                process.communicate()


class Kept:
    """The server's side, where a game is served: so many kept entries at a time, and those in memory."""

    def __init__(self, server: ServerDouble, kept: list[dict[str, Any]], newest: int) -> None:
        self._server = server
        self._kept = kept
        self._newest = newest
        self.news: list[dict[str, Any]] = []
        server.answers = self  # type: ignore[assignment]

    def __getitem__(self, name: str) -> dict[str, Any]:
        after = self._server.requests[-1]["after"]
        if name == "logs":
            found = [each for each in self.news if each["number"] > after]
            return {"ok": True, "entries": found, "last": found[-1]["number"] if found else after}
        assert name == "logs.older"
        found = [each for each in self._kept if each["number"] > after][:2]
        return {"ok": True, "entries": found, "last": found[-1]["number"] if found else after, "newest": self._newest}


def test_older_ones_come_from_what_is_kept(gsrt: Run, server: ServerDouble, pauses: Pauses) -> None:
    """Their numbers are others than those of the lines in memory, which go on with what is new."""
    kept = Kept(server, [entry(501, "a"), entry(502, "b"), entry(503, "c")], 7)
    pauses.happenings = [lambda: kept.news.append(entry(8, "d"))]
    outcome = gsrt("logs", "--older", "-f", "-n", "2", "--session", "7f3a")
    assert [line.split()[-1] for line in outcome.out.splitlines()] == ["b", "c", "d"]
    assert [(request["do"], request["after"]) for request in server.requests] == [
        ("logs.older", 0),
        ("logs.older", 502),
        ("logs.older", 503),
        ("logs", 7),
        ("logs", 8),
    ]
    assert {request["session"] for request in server.requests} == {"7f3a"}


def test_without_a_game_nothing_older_is_kept(gsrt: Run) -> None:
    with ServerProcess() as server:
        outcome = gsrt("logs", "--older", "--control", server.control_path)
    assert outcome.status == 1
    assert "no game is served" in outcome.err

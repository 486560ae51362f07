"""`gsrt serve`: what the server is started with."""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

import pytest

from gsrt.cli.serve import Options, add_arguments, default_state_dir
from gsrt.config import KEYS, METRICS
from gsrt.profile import ProfileError
from gsrt.transports.control import ControlError
from tests.cli.conftest import Run


class Started:
    """Stands in for gsrt.service: keeps the options, and ends as the test says."""

    def __init__(self) -> None:
        self.options: list[Options] = []
        self.error: Exception | None = None
        self.status = 0

    def serve(self, options: Options) -> int:
        self.options.append(options)
        if self.error is not None:
            raise self.error
        return self.status


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    double = Started()
    module = types.ModuleType("gsrt.service")
    module.serve = double.serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsrt.service", module)
    return double


def values(options: Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in Options.__slots__}


def test_without_arguments_everything_has_a_default(
    gsrt: Run, started: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert gsrt("serve").status == 0
    assert values(started.options[0]) == {
        "host": "0.0.0.0",
        "port": None,
        "control": f"{tmp_path}/gsrt/control.sock",
        "control_group": False,
        "profile": "generic",
        "tick_ms": None,
        "insecure_link": False,
        "metrics": "local",
        "name": None,
        "contain": False,
        "lock_memory": False,
        "cert": None,
        "key": None,
        "state_dir": f"{tmp_path}/state/gsrt",
        "demo": None,
        "script": None,
        "game": None,
        "command": "gsrt",
    }


def test_every_argument_arrives(gsrt: Run, started: Started) -> None:
    arguments = "--host ::1 --port 0 --control /run/c --profile pi4 --tick 2.5 --cert c.pem --key k.pem --state /s"
    words = [*arguments.split(), "--insecure-link", "--demo", "red,blue", "--script", "/games/tag.py", "/games/tag"]
    words += ["--control-group", "--metrics", "all", "--name", "Anna's", "--contain", "--lock-memory"]
    assert gsrt("serve", *words).status == 0
    assert values(started.options[0]) == {
        "host": "::1",
        "port": 0,
        "control": "/run/c",
        "control_group": True,
        "profile": "pi4",
        "tick_ms": 2.5,
        "insecure_link": True,
        "metrics": "all",
        "name": "Anna's",
        "contain": True,
        "lock_memory": True,
        "cert": "c.pem",
        "key": "k.pem",
        "state_dir": "/s",
        "demo": ["red", "blue"],
        "script": "/games/tag.py",
        "game": "/games/tag",
        "command": "gsrt",
    }


def test_what_the_command_line_does_not_say_the_configuration_does(gsrt: Run, started: Started, tmp_path: Path) -> None:
    file = tmp_path / "gsrt.toml"
    file.write_text(
        """host = "::"
port = 8785
name = "Anna's box"
game = "duel"
script = "tag.py"
profile = "auto"
tick_ms = 2
cert = "c.pem"
key = "k.pem"
state = "/s"
control = "/run/c"
control_group = true
insecure_link = true
metrics = "off"
contain = true
lock_memory = true
"""
    )
    assert gsrt("serve", "--config", str(file)).status == 0
    in_file = {
        "host": "::",
        "port": 8785,
        "control": "/run/c",
        "control_group": True,
        "profile": "auto",
        "tick_ms": 2,
        "insecure_link": True,
        "metrics": "off",
        "name": "Anna's box",
        "contain": True,
        "lock_memory": True,
        "cert": f"{tmp_path}/c.pem",
        "key": f"{tmp_path}/k.pem",
        "state_dir": "/s",
        "demo": None,
        "script": f"{tmp_path}/tag.py",
        "game": f"{tmp_path}/duel",
        "command": "gsrt",
    }
    assert values(started.options[0]) == in_file
    words = "--host ::1 --port 0 --no-insecure-link --no-contain --cert d.pem --key l.pem --metrics all /games/tag"
    assert gsrt("serve", "--config", str(file), *words.split()).status == 0
    assert values(started.options[1]) == in_file | {
        "host": "::1",
        "port": 0,
        "insecure_link": False,
        "contain": False,
        "cert": "d.pem",
        "key": "l.pem",
        "metrics": "all",
        "game": "/games/tag",
    }


def test_every_mistake_in_the_configuration_is_a_line(gsrt: Run, started: Started, tmp_path: Path) -> None:
    file = tmp_path / "gsrt.toml"
    file.write_text('prot = 1\nmetrics = "some"\n')
    outcome = gsrt("serve", "--config", str(file))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.splitlines() == [
        f"{file}:1: there is no key 'prot': is 'port' meant?",
        f'{file}:2: \'metrics = "some"\': metrics is "off", "local" or "all"',
    ]
    assert not started.options


def test_command_line_and_configuration_know_the_same_settings() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = {action.dest: action for action in parser._actions}
    assert words["metrics"].choices == METRICS
    assert {"tick" if key == "tick_ms" else key for key in KEYS} == words.keys() - {"help", "config", "demo"}


def test_the_servers_status_is_the_commands(gsrt: Run, started: Started) -> None:
    started.status = 1
    assert gsrt("serve", "--control", "c").status == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--port", "65536"),
        ("--port", "-1"),
        ("--port", "http"),
        ("--port", "²"),
        ("--tick", "-0.1"),
        ("--tick", "101"),
        ("--tick", "nan"),
        ("--tick", "fast"),
        ("--demo", "red,red"),
    ],
)
def test_values_out_of_range_are_usage_errors(gsrt: Run, started: Started, words: tuple[str, ...]) -> None:
    outcome = gsrt("serve", *words)
    assert outcome.status == 2
    assert f"argument {words[0]}" in outcome.err
    assert not started.options


@pytest.mark.parametrize("words", [("--cert", "c.pem"), ("--key", "k.pem")])
def test_a_certificate_needs_its_key_and_the_key_its_certificate(
    gsrt: Run, started: Started, words: tuple[str, ...]
) -> None:
    outcome = gsrt("serve", *words)
    assert (outcome.status, outcome.err) == (2, "gsrt: --cert and --key belong together: give both or none\n")
    assert not started.options


@pytest.mark.parametrize("error", [ProfileError("generic.toml: sessions_max is missing"), ControlError("in use")])
def test_a_server_that_cannot_start_says_why_in_one_line(gsrt: Run, started: Started, error: Exception) -> None:
    started.error = error
    outcome = gsrt("serve", "--control", "c")
    assert (outcome.status, outcome.out, outcome.err) == (1, "", f"gsrt: {error}\n")


def test_under_systemd_the_state_is_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/gsrt:/var/lib/other")
    assert default_state_dir() == "/var/lib/gsrt"


def test_elsewhere_the_state_is_in_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_state_dir() == "/home/someone/.local/state/gsrt"

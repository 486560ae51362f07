"""`gsrt` itself: finding the subcommand, help, and how errors end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gsrt import __version__
from gsrt.cli import COMMANDS, command_name
from tests.cli.conftest import Run, ServerDouble

# What costs memory or time to import, and which no subcommand for operators needs.
HEAVY = {"asyncio", "dataclasses", "hashlib", "logging", "random", "secrets", "ssl", "subprocess", "tomllib", "typing"}


def run_process(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "gsrt", *words], capture_output=True, text=True, timeout=30)


def test_version() -> None:
    done = run_process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"gsrt {__version__}\n", "")


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_help_names_every_command(gsrt: Run, word: str) -> None:
    outcome = gsrt(word)
    assert outcome.status == 0
    assert all(f"gsrt {name} " in outcome.out and summary in outcome.out for name, (_, summary) in COMMANDS.items())


def test_no_command_is_a_usage_error_that_shows_the_help(gsrt: Run) -> None:
    outcome = gsrt()
    assert (outcome.status, outcome.out) == (2, "")
    assert "gsrt session create" in outcome.err


def test_an_unknown_command_is_named(gsrt: Run) -> None:
    outcome = gsrt("sessions", "list")
    assert outcome.status == 2
    assert outcome.err.startswith("gsrt: there is no command 'sessions list'\n")


@pytest.mark.parametrize(("words", "status"), [(("session",), 2), (("session", "--help"), 0), (("session", "x"), 2)])
def test_half_a_command_shows_its_group_only(gsrt: Run, words: tuple[str, ...], status: int) -> None:
    outcome = gsrt(*words)
    assert outcome.status == status
    shown = outcome.out + outcome.err
    assert "gsrt session create" in shown
    assert "gsrt status" not in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(gsrt: Run, name: str) -> None:
    outcome = gsrt(*name.split(), "--help")
    assert outcome.status == 0
    assert outcome.out.startswith(f"usage: gsrt {name} ")


@pytest.mark.parametrize(
    "words", [("status", "--jsn"), ("session", "end"), ("player", "kick", "s"), ("serve", "a", "b")]
)
def test_wrong_arguments_end_with_status_2(gsrt: Run, words: tuple[str, ...]) -> None:
    outcome = gsrt(*words)
    assert (outcome.status, outcome.out) == (2, "")
    assert "usage: gsrt " in outcome.err


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("session", "list", "--json"),
        ("session", "create", "--players", "red"),
        ("session", "end", "1"),
        ("player", "kick", "1", "red"),
    ],
)
def test_without_a_server_one_line_says_where_it_was_looked_for_and_how_to_start_one(
    gsrt: Run, words: tuple[str, ...]
) -> None:
    outcome = gsrt(*words, "--control", "/nowhere/control.sock")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "gsrt: no gsrt server listens at /nowhere/control.sock: start one (gsrt serve --control "
        "/nowhere/control.sock), or name the socket of a running one with --control\n"
    )


def test_what_the_server_refuses_is_passed_on(gsrt: Run, server: ServerDouble) -> None:
    server.answers["session.end"] = {"ok": False, "error": "there is no session 'x'"}
    outcome = gsrt("session", "end", "x")
    assert (outcome.status, outcome.out, outcome.err) == (1, "", "gsrt: there is no session 'x'\n")


def test_a_refusal_without_a_reason_is_still_one(gsrt: Run, server: ServerDouble) -> None:
    server.answers["session.end"] = {}
    assert gsrt("session", "end", "x").err == "gsrt: the server refused and gave no reason\n"


def test_output_nobody_reads_ends_without_a_traceback(server: ServerDouble) -> None:
    server.answers["session.list"] = {"ok": True, "sessions": [], "padding": "x" * 1_000_000}
    command = f"{sys.executable} -m gsrt session list --json --control {server.path} | true"
    done = subprocess.run(["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (".venv/bin/gsrt", ".venv/bin/gsrt"),
        ("/opt/gsrt/bin/gsrt", "/opt/gsrt/bin/gsrt"),
        ("/usr/local/bin/gsrt", "gsrt"),
        ("/somewhere/gsrt/__main__.py", "gsrt"),
    ],
)
def test_what_to_type_is_what_the_shell_finds(monkeypatch: pytest.MonkeyPatch, program: str, name: str) -> None:
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setattr("sys.argv", [program])
    assert command_name() == name


def test_ctrl_c_ends_a_command_with_status_130(gsrt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gsrt.cli.asking.call", interrupted)
    outcome = gsrt("status", "--control", "x")
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "")


# What runs in the command's own process needs what it runs with.
@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"script run", "join"}))
def test_a_command_loads_only_what_it_needs(name: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; before = set(sys.modules); from gsrt.cli import main\n"
            "try: main(sys.argv[1:])\n"
            "finally: print('modules', *(set(sys.modules) - before))",
            *name.split(),
            "--help",
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    loaded = set(done.stdout.rpartition("modules ")[2].split())
    assert COMMANDS[name][0] in loaded
    assert not loaded & HEAVY
    assert not {other for command, (other, _) in COMMANDS.items() if command != name} & loaded
    assert not any(module.startswith("gsrt._") for module in loaded)

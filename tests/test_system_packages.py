"""What `make` says and does when the machine lacks something: run with a PATH that holds what the test put there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "system-packages"
NEEDED = ("gcc", "make", "openssl", "systemd-analyze")


class Machine:
    """A machine with a user and some commands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls = directory / "calls.txt"
        self.has("tr", f'exec {shutil.which("tr")} "$@"')
        self.user(1000)

    def has(self, name: str, body: str = "exit 0") -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def has_all(self) -> None:
        for name in NEEDED:
            self.has(name)
        self.has("python3", f'exec {sys.executable} "$@"')

    def user(self, number: int) -> None:
        self.has("id", f"echo {number}")

    def look(self, python: str = "python3") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPT), python], env={"PATH": str(self.directory)}, capture_output=True, text=True, timeout=30
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_is_said_where_nothing_is_missing(machine: Machine) -> None:
    machine.has_all()
    done = machine.look()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_bare_machine_is_told_the_whole_command(machine: Machine) -> None:
    done = machine.look()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "    sudo apt-get install python3 python3-venv python3-dev gcc libc6-dev libsodium-dev make openssl systemd"
    )


@pytest.mark.parametrize(
    ("missing", "packages"),
    [("gcc", "gcc libc6-dev libsodium-dev"), ("make", "make"), ("openssl", "openssl"), ("systemd-analyze", "systemd")],
)
def test_only_what_is_missing_is_named(machine: Machine, missing: str, packages: str) -> None:
    machine.has_all()
    (machine.directory / missing).unlink()
    assert machine.look().stderr.endswith(f"\n    sudo apt-get install {packages}\n")


def test_a_python_without_venv_and_headers_needs_their_packages(machine: Machine) -> None:
    machine.has_all()
    machine.has("python3", 'case "$2" in *ensurepip*|*Python.h*) exit 1;; *) exit 0;; esac')
    assert machine.look().stderr.endswith("\n    sudo apt-get install python3-venv python3-dev\n")


def test_root_gets_it_installed(machine: Machine) -> None:
    machine.has_all()
    (machine.directory / "openssl").unlink()
    machine.user(0)
    machine.has("apt-get", f'echo "$@" >> {machine.calls}')
    done = machine.look()
    assert (done.returncode, done.stdout) == (0, "installing what the build needs: openssl\n")
    assert machine.calls.read_text() == "update -qq\ninstall -y -qq --no-install-recommends openssl\n"


def test_a_python_of_another_version_is_refused_and_the_way_to_name_one_told(machine: Machine) -> None:
    machine.has_all()
    machine.has("python3.9", 'case "$1 $2" in -V*) echo Python 3.9.2;; *version_info*) exit 1;; *) exit 0;; esac')
    done = machine.look("python3.9")
    assert done.returncode == 1
    assert (
        done.stderr
        == "gsrt runs on Python 3.11 to 3.13, and python3.9 is Python 3.9.2; name another: make PYTHON=python3.12\n"
    )

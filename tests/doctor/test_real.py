"""`gsrt doctor` on this machine: as it is, as a user without rights, and in a network namespace without a network."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsrt.cli.doctor import add_arguments, line, settings_of
from gsrt.doctor.examination import CHECKS
from gsrt.doctor.finding import STATES, Finding, worst
from gsrt.doctor.surroundings import Settings
from tests.support.server import PROJECT, ServerProcess

PATIENCE = 60.0  # seconds; of its own accord it takes less than ten
NOBODY = 65534
PLAIN = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
CLONE_NEWNET = 0x40000000  # linux/sched.h
CLONE_NEWUSER = 0x10000000

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


class Told:
    """What a run said: its exit status and, by check, what was found."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.stderr == ""
        self.status = done.returncode
        self.answer: dict[str, Any] = json.loads(done.stdout)
        self.findings = {each["check"]: each for each in self.answer["findings"]}

    def state(self, check: str) -> str:
        return str(self.findings[check]["state"])

    def __getitem__(self, check: str) -> str:
        return str(self.findings[check]["found"])


def run(
    folder: Path,
    *words: str,
    become: Callable[[], None] | None = None,
    program: str = sys.executable,
    json_wanted: bool = True,
) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        environment.pop(name, None)
    return subprocess.run(
        [program, "-m", "gsrt", "doctor", *words, *(["--json"] if json_wanted else [])],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=folder,
        env=environment,
        preexec_fn=become,
    )


def as_it_should_be(told: Told) -> None:
    """What holds of every run, whatever was found."""
    assert set(told.answer) == {"findings", "worst"}
    assert [each["check"] for each in told.answer["findings"]] == [name for name, _ in CHECKS]
    for each in told.answer["findings"]:
        assert set(each) == {"check", "state", "found", "todo"}
        assert each["state"] in STATES
        assert all(isinstance(each[key], str) for key in each)
        assert each["found"]
        assert each["todo"] or each["state"] == "ok"
        assert "report this as a bug" not in each["todo"], each
    assert told.answer["worst"] == worst(each["state"] for each in told.answer["findings"])
    assert told.status == (1 if told.answer["worst"] == "fail" else 0)


def test_on_this_machine(tmp_path: Path) -> None:
    as_it_should_be(Told(run(tmp_path)))


def test_for_people(tmp_path: Path) -> None:
    done = run(tmp_path, json_wanted=False)
    lines = done.stdout.splitlines()
    assert len(lines) == len(CHECKS)
    assert all(each.startswith(("ok    ", "warn  ", "fail  ")) for each in lines)
    assert done.returncode == (1 if any(each.startswith("fail") for each in lines) else 0)


def test_lines() -> None:
    assert line("clock", Finding("warn", "slow", "wind it")) == "warn  clock: slow  -> wind it"
    assert line("clock", Finding("ok", "fine")) == "ok    clock: fine"


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def python_for_everybody() -> str | None:
    """A Python of this version that a user without rights may run, and that finds gsrt; None: there is none."""
    for program in (sys.executable, "/usr/bin/python3"):
        words = [program, "-c", f"import gsrt._core, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"]
        try:
            done = subprocess.run(words, preexec_fn=become_nobody, capture_output=True, cwd="/", env=PLAIN, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return program
    return None


@as_root
def test_as_a_user_without_rights() -> None:
    program = python_for_everybody()
    if program is None:
        pytest.skip("no Python here is for everybody")
    with tempfile.TemporaryDirectory() as home:  # pytest's own folders are for root only
        os.chown(home, NOBODY, NOBODY)
        told = Told(run(Path(home), become=become_nobody, program=program))
    as_it_should_be(told)
    assert told.state("disk speed") in ("ok", "warn")
    assert told.state("firewall") in ("ok", "warn")


def enter_an_empty_network() -> None:
    """A network namespace in which not even the loopback device is up."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def may_have_namespaces() -> bool:
    try:
        subprocess.run([sys.executable, "-c", ""], preexec_fn=enter_an_empty_network, check=True)
    except (subprocess.SubprocessError, OSError):
        return False
    return True


@pytest.mark.skipif(not may_have_namespaces(), reason="no network namespaces for this user")
def test_in_an_empty_network(tmp_path: Path) -> None:
    told = Told(run(tmp_path, become=enter_an_empty_network))
    as_it_should_be(told)
    assert told.state("addresses") == "fail"
    assert told.state("discovery") == "warn"
    assert told.status == 1


FURNISH = """\
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth0 up
ip link set eth1 up
ip address add 192.0.2.9/24 dev eth0
nft -f -
"""
RULES = """\
table inet filter {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "lo" accept
    tcp dport { 22, 8784 } accept
  }
}
"""


@as_root
@pytest.mark.skipif(shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") is None, reason="nftables is not installed")
def test_with_a_real_firewall(tmp_path: Path) -> None:
    """A namespace with an interface and rules that let TCP in, and no UDP."""

    def enter() -> None:
        enter_an_empty_network()
        subprocess.run(["sh", "-ec", FURNISH], input=RULES, text=True, check=True)

    told = Told(run(tmp_path, become=enter))
    as_it_should_be(told)
    assert told.state("addresses") == "ok"
    assert (told.state("firewall"), told["firewall"]) == ("fail", "drops UDP to port 8784")
    assert told.status == 1


def test_with_a_running_server(tmp_path: Path, certificate: tuple[str, str]) -> None:
    with ServerProcess(certificate=certificate) as server:
        told = Told(run(tmp_path, "--control", server.control_path))
        as_it_should_be(told)
        assert told["server"].startswith("gsrt ")
        assert f"process {server.process.pid}" in told["server"]
        assert told.state("load") in ("ok", "warn")  # warn on a machine that is busy with other things
        assert str(server.port) in told["port"]
        assert told.state("port") == "warn"  # it listens at the loopback address
        assert told.state("reachable") == "ok"
        assert told["reachable"].startswith(f"TCP and UDP arrive at 127.0.0.1, port {server.port}")

        other = Told(run(tmp_path, "--port", str(server.port)))
        as_it_should_be(other)
        assert other.state("port") == "warn"
        assert f"gsrt server (process {server.process.pid})" in other["port"]


def test_a_configuration_is_taken(tmp_path: Path) -> None:
    config = tmp_path / "gsrt.toml"
    config.write_text('port = 9123\nprofile = "pi-4"\nstate = "kept"\n')
    told = Told(run(tmp_path, "--config", str(config)))
    as_it_should_be(told)
    assert told.state("configuration") == "ok"
    assert told["profile"].startswith("pi-4")
    assert told["port"].startswith("9123 ")
    assert str(tmp_path / "kept") in told["state folder"]
    config.write_text("prot = 9123\n")
    told = Told(run(tmp_path, "--config", str(config)))
    assert told.state("configuration") == "fail"
    assert "is 'port' meant?" in told["configuration"]
    assert told.status == 1


def settings_for(*words: str, packaged: str = "/nonexistent") -> Settings:
    parser = ArgumentParser()
    add_arguments(parser)
    return settings_of(parser.parse_args(words), packaged)


def test_what_a_server_would_be_started_with(tmp_path: Path) -> None:
    packaged = tmp_path / "gsrt.toml"
    packaged.write_text('port = 9000\nprofile = "auto"\ngame = "duel"\ncontrol = "c.sock"\n')
    found = settings_for(packaged=str(packaged))
    assert (found.config, found.port, found.profile) == (str(packaged), 9000, "auto")
    assert (found.game, found.control) == (str(tmp_path / "duel"), str(tmp_path / "c.sock"))
    assert found.state == "/var/lib/gsrt"
    assert (found.port_given, found.profile_given) == (False, False)
    found = settings_for("--port", "9001", "--profile", "pi-5", "--control", "d.sock", packaged=str(packaged))
    assert (found.port, found.profile, found.control) == (9001, "pi-5", "d.sock")
    assert (found.port_given, found.profile_given) == (True, True)


def test_a_game_of_ones_own_is_not_the_services(tmp_path: Path) -> None:
    packaged = tmp_path / "gsrt.toml"
    packaged.write_text("port = 9000\n")
    found = settings_for("duel", packaged=str(packaged))
    assert (found.config, found.port, found.game) == (None, None, str(Path.cwd() / "duel"))
    assert found.state != "/var/lib/gsrt"


def test_it_ends_within_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program that hangs in place of one that it asks."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "nft").write_text("#!/bin/sh\nexec sleep 600\n")
    (slow / "nft").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    began = time.monotonic()
    as_it_should_be(Told(run(tmp_path)))
    assert time.monotonic() - began < PATIENCE

"""The unit and its companions, as systemd's own programs judge them, and the program that ends the service."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import pytest

from gsrt import DEFAULT_PORT
from gsrt.accepting import DESCRIPTORS_SPARE
from gsrt.config import KEYS, read_config
from gsrt.profile import Profile, available
from gsrt.transports.control import SERVICE_PATH
from tests.support.server import PROJECT

PACKAGING = PROJECT / "packaging"
SYSTEMD = PACKAGING / "systemd"
SERVICE = SYSTEMD / "gsrt.service"
HAND_OVER = SYSTEMD / "hand-over"

EXPOSURE_MAX = 11  # tenths
LEFT_MAX = 16  # descriptors that a server leaves with systemd: it has a handful of them
SLOW_START_SECONDS = 8.0  # until a start fails, on a Pi Zero
DEADLINE = 20.0


def settings(path: Path) -> dict[str, list[str]]:
    """Every setting of a unit with its values in their order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit for a machine where the package is not installed: its programs are others, and are there."""
    text = SERVICE.read_text()
    for program in ("/usr/bin/gsrt serve --config /etc/gsrt/gsrt.toml", "/usr/lib/gsrt/hand-over %n $MAINPID"):
        assert text.count(program) == 1
        text = text.replace(program, "/bin/true")
    path = tmp_path / "gsrt.service"
    path.write_text(text)
    shutil.copy(SYSTEMD / "gsrt.socket", tmp_path)
    return path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)


def test_the_unit_exposes_as_little_as_was_promised(unit: Path) -> None:
    judged = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert judged.stderr == ""


def test_units_are_understood_to_the_last_line(unit: Path) -> None:
    judged = analyze("verify", unit, unit.with_name("gsrt.socket"))
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_the_user_and_the_state_are_made(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root makes users")
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "gsrt.sysusers"], capture_output=True, timeout=DEADLINE
    )
    assert made.returncode == 0, made.stderr
    (user,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
    name, _, number, group, _, home, shell = user.split(":")
    assert (name, home) == ("gsrt", "/var/lib/gsrt")
    assert shell.endswith("nologin")
    made = subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", SYSTEMD / "gsrt.tmpfiles"],
        capture_output=True,
        timeout=DEADLINE,
    )
    assert made.returncode == 0, made.stderr
    state = (tmp_path / "var" / "lib" / "gsrt").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (int(number), int(group), 0o750)


def test_the_unit_fits_the_server() -> None:
    unit = settings(SERVICE)
    assert f"/run/{unit['RuntimeDirectory'][0]}/control.sock" == SERVICE_PATH
    assert unit["RestartPreventExitStatus"] == ["2"], "mistakes in the configuration"
    descriptors, kept = int(unit["LimitNOFILE"][0]), int(unit["FileDescriptorStoreMax"][0])
    assert kept >= LEFT_MAX
    assert f"FDSTORE={kept}" in unit["Environment"], "by which the server knows, before systemd 254"
    for name in available():
        profile = Profile.load(name)
        assert float(unit["WatchdogSec"][0]) > 2 * profile.script_watchdog_seconds, (
            "that ends a script, this the server"
        )
        assert descriptors >= profile.connections_max + profile.www_downloads_max + DESCRIPTORS_SPARE


def test_a_hang_is_always_started_again_and_what_fails_at_every_start_is_not() -> None:
    unit = settings(SERVICE)
    within, starts = int(unit["StartLimitIntervalSec"][0]), int(unit["StartLimitBurst"][0])
    pause = float(unit["RestartSec"][0].removesuffix("ms")) / 1000
    assert within / (float(unit["WatchdogSec"][0]) + pause) < starts, "as often as the watchdog ends it"
    assert within / (SLOW_START_SECONDS + pause) > starts, "a board on which it takes so long to fail"


def test_a_box_need_not_have_the_folders_in_which_nothing_is_executed() -> None:
    for name in ("NoExecPaths", "InaccessiblePaths", "ReadWritePaths"):
        for places in settings(SERVICE).get(name, []):
            assert all(place.startswith("-/") for place in places.split()), f"{name}={places}"


def test_the_governor_can_see_the_box() -> None:
    assert "ProcSubset" not in settings(SERVICE)


def test_the_configuration_is_the_packaged_one() -> None:
    (command,) = settings(SERVICE)["ExecStart"]
    assert command.endswith("--config /etc/gsrt/gsrt.toml")
    packaged = PACKAGING / "etc" / "gsrt.toml"
    assert read_config(str(packaged))["contain"] is True
    shown = dict(re.findall(r'^#? ?(\w+) = "?([^"\n]*)"?$', packaged.read_text(), re.M))
    assert {"port": str(DEFAULT_PORT), "control": SERVICE_PATH}.items() <= shown.items()
    assert shown.keys() <= KEYS.keys()


def test_everybody_says_the_same_port() -> None:
    opened = settings(SYSTEMD / "gsrt.socket")
    assert opened["ListenStream"] == opened["ListenDatagram"] == [str(DEFAULT_PORT)]
    told = ElementTree.parse(SYSTEMD / "gsrt.service.xml").getroot().findall("service")
    assert {(each.findtext("type"), each.findtext("port")) for each in told} == {
        ("_gsrt._udp", str(DEFAULT_PORT)),
        ("_gsrt._tcp", str(DEFAULT_PORT)),
    }


# -- the end of the service ---------------------------------------------------------------------------------------


def hand_over(directory: Path, jobs: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program with a systemctl whose jobs are those given ("" and an exit status: it fails)."""
    systemctl = directory / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {directory}/asked\n{jobs}\n')
    systemctl.chmod(0o755)
    return subprocess.run(
        [HAND_OVER, *arguments],
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def environment(directory: Path) -> Mapping[str, str]:
    return {"PATH": f"{directory}:/usr/bin:/bin"}


# Says which signal has ended it, after a while in which it might have been left alone.
WAITS = """
import signal, sys, time
def end(number, frame):
    time.sleep(0.3)
    print(signal.Signals(number).name, flush=True)
    sys.exit(0)
signal.signal(signal.SIGUSR2, end)
print("ready", flush=True)
while True:
    signal.pause()
"""


class Server:
    """A process that stands in for the server."""

    def __enter__(self) -> Server:
        self.process = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    @property
    def pid(self) -> str:
        return str(self.process.pid)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("kind", ["restart", "try-restart"])
def test_in_a_restart_the_server_is_asked_to_hand_over_and_waited_for(tmp_path: Path, kind: str) -> None:
    # Here the one that waits is not its parent, so that the server is gone with its end.
    program = f"exec {sys.executable} -c '{WAITS}'"
    launched = subprocess.run(
        ["/bin/sh", "-c", f"{program} > {tmp_path}/said 2>&1 & echo $!"], capture_output=True, text=True, check=True
    )
    pid = launched.stdout.strip()
    try:
        while not (tmp_path / "said").exists() or not (tmp_path / "said").read_text():
            os.stat(f"/proc/{pid}")
        done = hand_over(tmp_path, f"echo '17 gsrt.service {kind} running'", "gsrt.service", pid)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (tmp_path / "said").read_text() == "ready\nSIGUSR2\n"
        assert not _runs(pid)
    finally:
        if _runs(pid):
            os.kill(int(pid), signal.SIGKILL)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "jobs",
    [
        "echo '17 gsrt.service stop running'",
        "echo '17 gsrt.service start waiting'",
        "echo '17 other.service restart running'",
        "echo",
        "exit 1",
        "echo '17 gsrt.service restart running'; exit 1",
    ],
)
def test_else_it_is_left_to_systemd(tmp_path: Path, jobs: str) -> None:
    with Server() as server:
        done = hand_over(tmp_path, jobs, "gsrt.service", server.pid)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert server.process.poll() is None
        assert (tmp_path / "asked").read_text() == "list-jobs --no-legend --plain gsrt.service\n"


def test_a_server_that_has_ended_by_itself_is_not_looked_for(tmp_path: Path) -> None:
    done = hand_over(tmp_path, "echo '17 gsrt.service restart running'", "gsrt.service")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "asked").exists()

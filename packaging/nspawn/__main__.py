"""`make systemd-test`: installs the package in a container with a real systemd, and tries what it has promised.

    PYTHONPATH=.:packaging python -m nspawn PACKAGE [--python 3.13] [--report FILE] [--only STEP,...]

Needs root. What was seen is kept in the report, with the journal of steps that fail; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from pathlib import Path

from cross.targets import PYTHONS
from nspawn.container import Container, ContainerError, base_system, install_tools
from nspawn.report import Report
from nspawn.trial import PROJECT, Trial

WORK = PROJECT / "build" / "systemd-test"
REPORT = PROJECT / "build" / "reports" / "systemd-test.txt"

OWN_MOUNTS = "GSRT_TEST_OWN_MOUNTS"

STEPS = (
    "is_installed",
    "owner_can_ask",
    "tells_how_it_is",
    "is_contained",
    "is_played",
    "is_reloaded",
    "is_restarted",
    "is_restarted_often",
    "restarts_itself",
    "is_upgraded",
    "hangs",
    "is_killed",
    "has_its_port_from_systemd",
    "serves_a_game",
    "stops_with_a_goodbye",
    "tells_mistakes",
    "is_removed_and_comes_back",
    "is_purged",
    "runs_without_the_package",
)
WITHOUT_PACKAGE = ("is_installed", "is_purged", "runs_without_the_package")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make systemd-test", description="tries the package on a real systemd")
    parser.add_argument("package", type=Path, help="the .deb for this machine")
    parser.add_argument("--python", choices=tuple(PYTHONS), default="3.11", help="with the Debian whose own that is")
    parser.add_argument("--report", type=Path, default=REPORT, metavar="FILE")
    parser.add_argument("--only", metavar="STEPS", help="only these, after the installation: " + ",".join(STEPS[1:]))
    given = parser.parse_args()
    wanted = STEPS if given.only is None else (STEPS[0], *given.only.split(","))
    if unknown := set(wanted) - set(STEPS):
        parser.error(f"no such steps: {', '.join(sorted(unknown))}")
    if os.getuid() != 0:
        print("containers with a systemd of their own need root: sudo make systemd-test", file=sys.stderr)
        return 1
    if OWN_MOUNTS not in os.environ:  # so that they are gone with this process, however it ends
        words = ["unshare", "--mount", sys.executable, "-m", "nspawn", *sys.argv[1:]]
        os.execvpe(words[0], words, {**os.environ, OWN_MOUNTS: "1"})
    install_tools()
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one container at a time: they would share their cgroups
        return attempt(given.package, given.python, given.report, wanted)


def attempt(package: Path, python: str, path: Path, steps: tuple[str, ...]) -> int:
    """Tries the steps in a new container: the exit status."""
    base = base_system(WORK, PYTHONS[python])
    report = Report(path)
    container = Container(base, WORK / "mounted", WORK / "console.txt")
    try:
        container.start()
        report.say(f"{package.name} on {container.run('systemctl', '--version').splitlines()[0]}")
        trial = Trial(container, package, python)
        for name in steps:
            if name not in WITHOUT_PACKAGE:
                trial.restore()
            report.step(name.replace("_", " "), getattr(trial, name), container.journal)
        report.keep("journal", container.journal())
    except ContainerError as error:
        report.failed.append("container")
        report.say(f"FAILED {error}")
    finally:
        container.stop()
        report.close()
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

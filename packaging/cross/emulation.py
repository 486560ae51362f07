"""`make arm-test`: the wheels for ARM in an emulated Debian, and the test suite with them there.

    PYTHONPATH=packaging python -m cross.emulation [--for aarch64,armv6l] [--python 3.13] [--tests tests/core]

qemu-user runs single programs of another machine; their files are looked for below the unpacked Debian first. Programs
they start (a shell, openssl) are this machine's, but for Python, which is a script that calls the emulator again.

What is asked for is run a folder at a time. A folder in which nothing has failed with the same wheel and the same tests
is not run again; what each said is kept below build/cross/emulation/.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cross.compiler import folder_name, tool_chain
from cross.debian import Archive
from cross.targets import PYTHONS, Target, named, python_tag
from cross.tree import is_source
from cross.wheels import WORK, Builder
from cross.workshop import PROJECT, Workshop, digest, require_commands, version

MACHINES = "aarch64,armv7l,armv6l"

# Compiled packages come from Debian, all others from PyPI, at versions that have no compiled modules.
DEBIAN = (
    "libsodium23",
    "libsqlite3-0",
    "python3-cffi",
    "python3-cffi-backend",
    "python3-cryptography",
    "python3-psutil",
)
PYPI = (
    "hypothesis==6.148.0",
    "attrs==25.4.0",
    "sortedcontainers==2.4.0",
    "pytest==9.0.2",
    "iniconfig==2.3.0",
    "packaging==25.0",
    "pluggy==1.6.0",
    "pygments==2.19.2",
    "noiseprotocol==0.3.1",
    "prometheus-client==0.23.1",
    "protobuf==6.33.2",
    "RestrictedPython==9.0",
)

# What the tests reach beside gsrt/ itself.
FOLDERS = (".ci", "benchmarks", "clients", "docs", "examples", "packaging", "tests")
TOP = ("CHANGELOG.md", "MANIFEST.in", "Makefile")

# Without other words the tests of compiled code and of what stands directly on it; "tests" is all of them.
TESTS = (
    "tests/core,tests/link,tests/links,tests/relay,tests/transports,tests/protocol,tests/client,tests/device,tests/*.py"
)

# Reads a number as far from a multiple of 4 as it is told.
MISALIGNED = """
#include <stdint.h>
#include <stdlib.h>
static uint32_t room[4];
__attribute__((noinline)) static uint32_t load(const void *at) { return *(const uint32_t *)at; }
int main(int count, char **words) { return count == 2 ? (int)load((char *)room + atoi(words[1])) : 1; }
"""

FOLDER_SECONDS_MAX = 3 * 3600
STILL_SECONDS_MAX = 1200  # a single test; then its stack is printed and the folder given up

PASSED, SKIPPED, FAILED = "passed", "skipped", "failed"


class Ended(NamedTuple):
    """How a run of pytest ended."""

    status: int
    """Of the process."""
    closing: str
    """pytest's own summary, "" if it did not come to one."""
    seconds: float

    @property
    def verdict(self) -> str:
        """SKIPPED: nothing failed, for nothing was run."""
        if self.status != 0 or not self.closing or re.search(r"\b(failed|errors?)\b", self.closing):
            return FAILED
        return PASSED if re.search(r"\bpassed\b", self.closing) else SKIPPED

    def __str__(self) -> str:
        said = self.closing or "it came to no end"
        return f"{self.verdict}: {said}{f', exit status {self.status}' if self.status else ''}"


class Machine:
    """An emulated Debian with gsrt and the test tools in it."""

    def __init__(self, builder: Builder, target: Target, python: str) -> None:
        self.builder = builder
        self.target = target
        self.python = python
        name = folder_name(f"{target.name}-{python}", builder.sanitizer)
        self.folder = builder.workshop.folder / "emulation" / name
        self.tree = self.folder / "tree"
        self.site = self.folder / "lib" / f"python{python}" / "site-packages"
        self.interpreter = self.folder / "bin" / "python"

    def prepare(self) -> None:
        """Everything a test run needs. Raises SystemExit, subprocess.CalledProcessError."""
        wheel = self.builder.wheel(self.target, self.python)
        packages = [f"python{self.python}", f"libpython{self.python}-stdlib", *DEBIAN]
        archive = Archive(self.builder.workshop, PYTHONS[self.python], self.target.debian)
        root = archive.unpacked("root", packages, dependencies=True)
        self._write_interpreter(root)
        self._install(root, wheel)
        if self.builder.sanitizer:
            self._require_bite(root)
        copy_tests(PROJECT, self.tree)
        with zipfile.ZipFile(wheel) as packed:
            for name in packed.namelist():
                if name.startswith("gsrt/") and not name.startswith("gsrt/firmware_profiles/"):
                    packed.extract(name, self.tree)

    def _require_bite(self, root: Path) -> None:
        """A program that the sanitizer should end is ended by it, or its silence would mean nothing. SystemExit."""
        source, program = self.folder / "bite.c", self.folder / "bite"
        source.write_text(MISALIGNED)
        sanitizer = self.builder.sanitizer
        cc = tool_chain(self.builder.workshop, self.target, sanitizer) / "cc"
        subprocess.run([cc, "-O1", f"-fsanitize={sanitizer}", "-o", program, source], check=True)
        emulated = [*self.target.emulator, "-L", str(root), str(program)]
        ends = [subprocess.run([*emulated, at], stderr=subprocess.DEVNULL).returncode for at in ("4", "1")]
        if ends[0] != 0 or ends[1] >= 0:
            raise SystemExit(f"a {sanitizer} sanitizer that finds nothing: exit statuses {ends}")

    def _write_interpreter(self, root: Path) -> None:
        """A virtual environment around the emulated Python, whose `python` is a script."""
        program = root / "usr" / "bin" / f"python{self.python}"
        emulator, *options = self.target.emulator
        self.interpreter.parent.mkdir(parents=True, exist_ok=True)
        command = [emulator, *options, "-L", str(root), "-0", str(self.interpreter), str(program)]
        self.interpreter.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
        self.interpreter.chmod(0o755)
        (self.folder / "pyvenv.cfg").write_text(f"home = {program.parent}\ninclude-system-site-packages = false\n")

    def _install(self, root: Path, wheel: Path) -> None:
        stamp = self.site / "installed"
        wanted = "\n".join([str(root), *PYPI, digest(wheel)])
        if stamp.exists() and stamp.read_text() == wanted:
            return
        shutil.rmtree(self.site, ignore_errors=True)
        self.site.mkdir(parents=True)
        pure = ["--platform=any", "--implementation=py", "--abi=none", f"--python-version={self.python}"]
        only = ["--only-binary=:all:", "--no-deps", "--no-compile"]
        tag = f"cp{python_tag(self.python)}"
        here = [f"--platform={self.target.platform}", "--implementation=cp", f"--abi={tag}", pure[-1], "--no-index"]
        self.builder.workshop.pip("install", f"--target={self.site}", *here, *only, str(wheel))
        shutil.rmtree(self.site / "bin")  # its program is for the Python that installs
        self.builder.workshop.pip("install", f"--target={self.site}", *pure, *only, *PYPI)
        check_installed(self.site, version())
        (self.site / "debian.pth").write_text(f"{root}/usr/lib/python3/dist-packages\n")
        stamp.write_text(wanted)

    def run(self, tests: str, log: Path, arguments: list[str]) -> Ended:
        """pytest with the tests of a folder, its output in `log`."""
        begun = time.monotonic()
        still = ["-o", f"faulthandler_timeout={STILL_SECONDS_MAX}", "-o", "faulthandler_exit_on_timeout=true"]
        command = [str(self.interpreter), "-m", "pytest", "-p", "cross.emulated", "-p", "no:cacheprovider", "-rfEs"]
        command += [*still, *arguments, *([tests] if "*" not in tests else sorted(map(str, self.tree.glob(tests))))]
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": f"{self.tree / 'packaging'}",
        }
        with log.open("w") as out, (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = subprocess.Popen(
                ["nice", *command], cwd=self.tree, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
            try:
                status = process.wait(FOLDER_SECONDS_MAX)
            except BaseException:
                process.kill()
                process.wait()
                raise
        return Ended(status, closing_line(log.read_text(errors="replace")), time.monotonic() - begun)

    def fingerprint(self) -> str:
        """Another one whenever the tests could come out in another way."""
        wheel = self.builder.wheel(self.target, self.python)
        files = [path for path in test_files(PROJECT) if path.parts[0] in ("packaging", "tests")]
        return "\n".join([digest(wheel), *PYPI, *(f"{path} {digest(self.tree / path)}" for path in files)])


def test_files(project: Path) -> Iterator[Path]:
    """What is copied for the tests, as paths below `project`."""
    for folder in FOLDERS:
        for path in sorted((project / folder).rglob("*")):
            place = path.relative_to(project)
            if (
                path.is_file()
                and not {"__pycache__", "build"} & set(place.parts)
                and path.suffix not in (".so", ".pyc")
            ):
                yield place
    yield from map(Path, TOP)


def copy_tests(project: Path, copy: Path) -> None:
    """The sources and the tests; what is not among them any more goes."""
    wanted = {path.relative_to(project) for path in (project / "gsrt").rglob("*") if is_source(path)}
    wanted |= {path.relative_to(project) for path in (project / "firmware_profiles").glob("*.toml")}
    wanted |= {*test_files(project), Path("LICENSE"), Path("README.md"), Path("pyproject.toml"), Path("setup.py")}
    for path in list(copy.rglob("*")):
        if path.is_file() and path.relative_to(copy) not in wanted:
            path.unlink()
    for place in sorted(wanted):
        (copy / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / place, copy / place)


def closing_line(output: str) -> str:
    """pytest's own summary, as "3 failed, 21 passed in 4.1s"; "" if it did not come to one."""
    found = re.findall(r"^(?:=+ )?(\d+ \w+.* in [\d.:]+s.*?)(?: =+)?$", output, re.MULTILINE)
    return found[-1] if found else ""


def check_installed(site: Path, version: str) -> None:
    """An installer has put gsrt there, with all that Python and users find it by. Raises SystemExit."""
    found = list(importlib.metadata.distributions(name="gsrt", path=[str(site)]))
    if [each.version for each in found] != [version]:
        raise SystemExit(f"gsrt {version} is not what {site} holds: {[each.version for each in found]}")
    (ours,) = found
    commands = {each.name: each.value for each in ours.entry_points.select(group="console_scripts")}
    if commands != {"gsrt": "gsrt.cli:main"}:
        raise SystemExit(f"the metadata of the wheel names other commands than gsrt: {commands}")
    missing = [str(each) for each in ours.files or () if each.parts[0] == "gsrt" and not (site / each).is_file()]
    if not ours.files or missing:
        raise SystemExit(f"the wheel's list of files is not what was installed: {missing or 'it is empty'}")


def units(tests: str, tree: Path) -> list[str]:
    """Folders to be run one after the other: "tests" stands for each below it, and for the files beside them."""
    found: list[str] = []
    for each in tests.split(","):
        if each != "tests":
            found.append(each)
            continue
        below = (path.relative_to(tree / "tests").parts[0] for path in (tree / "tests").glob("*/**/test_*.py"))
        folders = sorted(set(below))
        found += [*(f"tests/{name}" for name in folders), "tests/*.py"]
    return list(dict.fromkeys(found))


def main() -> None:
    parser = argparse.ArgumentParser(prog="make arm-test", description="runs the tests with the wheels for ARM")
    parser.add_argument("--for", dest="machines", default=MACHINES, metavar="NAMES", help="only these")
    parser.add_argument("--python", choices=tuple(PYTHONS), default="3.11")
    parser.add_argument("--tests", default=TESTS, help="folders, with commas between; tests is all of them")
    parser.add_argument("--again", action="store_true", help="what has not failed, too")
    parser.add_argument("--sanitizer", choices=("alignment",), default="", help="with wheels that it is compiled into")
    parser.add_argument("--jobs", type=int, default=2, help="compilers side by side")
    parser.add_argument("arguments", nargs="*", help="of pytest")
    given = parser.parse_args()
    require_commands({"qemu-arm-static": "qemu-user-static"})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    builder = Builder(Workshop(WORK), given.jobs, given.sanitizer)
    builder.prepare()
    failures = 0
    for target in named(given.machines):
        machine = Machine(builder, target, given.python)
        machine.prepare()
        results = machine.folder / "results"
        results.mkdir(exist_ok=True)
        fingerprint = machine.fingerprint()
        for unit in units(given.tests, machine.tree):
            name = unit.replace("/", ".").replace("*.py", "files")
            stamp, log = results / f"{name}.stamp", results / f"{name}.txt"
            if not given.again and stamp.exists() and stamp.read_text().partition("\n\n")[2] == fingerprint:
                print(f"{target.name}  {unit}  {stamp.read_text().partition(chr(10))[0]}  (before)", flush=True)
                continue
            ended = machine.run(unit, log, given.arguments)
            print(f"{target.name}  {unit}  {ended}  {ended.seconds:.0f} s", flush=True)
            if ended.verdict != FAILED:
                stamp.write_text(f"{ended}\n\n{fingerprint}")
            else:
                failures += 1
                print(f"    see {log.relative_to(PROJECT)}", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

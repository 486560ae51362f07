"""`make wheels`: wheels for every target and every Python of it, built on this machine.

PYTHONPATH=packaging python -m cross.wheels [--for aarch64,armv6l] [--twice]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import zipfile
from pathlib import Path

from cross.checks import SODIUM_LICENCE, check_wheel
from cross.compiler import folder_name, tool_chain
from cross.headers import build_variables, debian_sodium, python_headers, write_build_variables
from cross.sodium import sodium_licence, static_sodium
from cross.targets import PYTHONS, Target, named, python_tag
from cross.tree import copy_tree, source_files
from cross.workshop import PROJECT, SODIUM_SOURCE, TOOLS, Workshop, digest, version

WORK = PROJECT / "build" / "cross"


class Builder:
    """Builds from one copy of the tree; with a SANITIZER of the compiler, or without."""

    def __init__(self, workshop: Workshop, jobs: int, sanitizer: str = "") -> None:
        self.workshop = workshop
        self.jobs = jobs
        self.sanitizer = sanitizer
        self.tree = workshop.folder / "tree"

    def prepare(self) -> None:
        """Tools and tree."""
        self.workshop.folder.mkdir(parents=True, exist_ok=True)
        with self.workshop.alone():
            self.workshop.prepare()
            copy_tree(PROJECT, self.tree)

    def wheel(self, target: Target, python: str) -> Path:
        """The wheel, libsodium in it; that of last time, if nothing has changed since. Raises SystemExit."""
        with self.workshop.alone():
            return self._wheel(target, python)

    def _wheel(self, target: Target, python: str) -> Path:
        made = self.workshop.folder / folder_name("wheels", self.sanitizer)
        wheel = made / target.wheel_name(version(), python)
        inputs = wheel.with_suffix(".inputs")
        fingerprint = self._fingerprint(target)
        if wheel.exists() and inputs.exists() and inputs.read_text() == fingerprint:
            return wheel
        inputs.unlink(missing_ok=True)
        prefix = static_sodium(self.workshop, target, self.jobs)
        shutil.copyfile(sodium_licence(self.workshop), self.tree / SODIUM_LICENCE)  # setuptools packs what is called so
        base = self._base(target, python)
        shutil.rmtree(base, ignore_errors=True)
        compile_all = ["build", f"--build-base={base}", "build_ext", f"--parallel={self.jobs}"]
        pack = ["bdist_wheel", f"--plat-name={target.platform}", f"--dist-dir={made}"]
        more = {"GSRT_SANITIZE": self.sanitizer} if self.sanitizer else {}
        self._setup([*compile_all, *pack], target, python, {"GSRT_SODIUM": str(prefix), **more})
        check_wheel(self.workshop, self.tree, wheel, target, python_tag(python))
        inputs.write_text(fingerprint)
        return wheel

    def package_contents(self, wheel: Path, target: Target, python: str) -> Path:
        """A folder with what the wheel holds, its module for libsodium being linked with Debian's instead."""
        with self.workshop.alone():
            return self._package_contents(wheel, target, python)

    def _package_contents(self, wheel: Path, target: Target, python: str) -> Path:
        folder = self.workshop.folder / "contents" / f"{target.name}-{python}"
        shutil.rmtree(folder, ignore_errors=True)
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(folder)
        (sodium,) = (folder / "gsrt").glob("_sodium.*.so")
        sodium.unlink()
        for path in folder.rglob("*.so"):
            path.touch()  # newer than their sources, so that only what is missing is built
        headers, library = debian_sodium(self.workshop, target)
        build = ["build", f"--build-base={self._base(target, python)}", "build_ext", f"--build-lib={folder}"]
        self._setup(build, target, python, {"CPPFLAGS": f"-I{headers}", "LDFLAGS": f"-L{library}"})
        return folder

    def _fingerprint(self, target: Target) -> str:
        """Another one whenever another wheel would come out."""
        lines = [repr(target), str(self.workshop.epoch), *TOOLS, *SODIUM_SOURCE]
        steps = [path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("emulat")]
        files = [*source_files(self.tree), *sorted(steps)]
        return "\n".join([*lines, *(f"{path} {digest(self.tree / path)}" for path in files)])

    def _base(self, target: Target, python: str) -> Path:
        return self.workshop.folder / "objects" / folder_name(f"{target.name}-{python}", self.sanitizer)

    def _setup(self, arguments: list[str], target: Target, python: str, more: dict[str, str]) -> None:
        headers = python_headers(self.workshop, target, python)
        variables = build_variables(target, python, headers, tool_chain(self.workshop, target, self.sanitizer))
        folder = self.workshop.folder / "sysconfig" / folder_name(f"{target.name}-{python}", self.sanitizer)
        told = {
            "_PYTHON_SYSCONFIGDATA_NAME": write_build_variables(folder, variables),
            "_PYTHON_HOST_PLATFORM": f"linux-{target.name}",
            "PYTHONPATH": str(folder),
            **more,
        }
        self.workshop.run([self.workshop.python, "setup.py", "--quiet", *arguments], self.tree, told)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make wheels", description="builds wheels for other machines")
    parser.add_argument("--for", dest="machines", default="", metavar="NAMES", help="only these, with commas between")
    parser.add_argument("--jobs", type=int, default=2, help="compilers side by side")
    parser.add_argument("--twice", action="store_true", help="builds all of it again elsewhere, and compares")
    given = parser.parse_args()
    targets = named(given.machines)
    builder = Builder(Workshop(WORK), given.jobs)
    builder.prepare()
    again = Builder(Workshop(WORK / "again"), given.jobs) if given.twice else None
    if again is not None:
        shutil.rmtree(WORK / "again", ignore_errors=True)
        again.prepare()
    places = PROJECT / "dist"
    places.mkdir(exist_ok=True)
    for target in targets:
        for python in PYTHONS:
            begun = time.monotonic()
            wheel = builder.wheel(target, python)
            shutil.copyfile(wheel, places / wheel.name)
            size, seconds = wheel.stat().st_size, time.monotonic() - begun
            print(f"dist/{wheel.name}  {size / 1024:.0f} KB  {seconds:.0f} s  sha256 {digest(wheel)}", flush=True)
            if again is not None and digest(again.wheel(target, python)) != digest(wheel):
                sys.exit(f"{wheel.name} came out different when it was built again: {WORK / 'again' / 'wheels'}")


if __name__ == "__main__":
    main()

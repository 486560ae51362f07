"""The folder everything is made in, the tools that lie there, and how commands are run with them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

TOOLS = ("ziglang==0.17.1", "setuptools==84.2.1", "Cython==3.3.1", "cffi==2.1.1", "auditwheel==6.8.2")

# libsodium's own releases are not on PyPI, but PyNaCl's source distribution holds one: 1.0.20.
SODIUM_SOURCE = ("PyNaCl==1.6.2", "018494d6d696ae03c7e656e5e74cdfd8ea1326962cc401bcf018f1ed8436811c")
SODIUM_FOLDER = "pynacl-1.6.2/src/libsodium"

# command -> Debian package
COMMANDS = {"apt-get": "apt", "dpkg-deb": "dpkg", "make": "make", "readelf": "binutils"}


class Workshop:
    """A folder with the tools in it. What is there already is not made again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.python = self.folder / "tools" / "bin" / "python"
        self.epoch = source_date(PROJECT, os.environ)

    def prepare(self) -> None:
        """Tools from PyPI, at the versions that stand above. Raises SystemExit, subprocess.CalledProcessError."""
        require_commands(COMMANDS)
        if importlib.util.find_spec("ensurepip") is None:
            require_packages(["python3-venv"])
        os.umask(0o022)
        stamp = self.folder / "tools" / "installed"
        wanted = "\n".join(TOOLS)
        if not stamp.exists() or stamp.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.folder / "tools")], check=True)
            self.pip("install", *TOOLS)
            stamp.write_text(wanted)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else builds in this folder meanwhile."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def pip(self, command: str, *arguments: str) -> None:
        """Runs the tools' own pip."""
        quiet = ("--quiet", "--disable-pip-version-check")
        subprocess.run([str(self.python), "-m", "pip", command, *quiet, *arguments], check=True)

    def zig(self) -> Path:
        """The compiler's program."""
        (path,) = (self.folder / "tools" / "lib").glob("python3.*/site-packages/ziglang/zig")
        return path

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a build: nothing of the caller's but where programs are, and `more`."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ZIG_GLOBAL_CACHE_DIR": str(self.folder / "zig-cache"),
            "ZIG_LOCAL_CACHE_DIR": str(self.folder / "zig-cache"),
            **(more or {}),
        }

    def run(self, command: Sequence[str | Path], cwd: Path, more: Mapping[str, str] | None = None) -> None:
        """Runs a step of a build; what it says goes into FOLDER/log.txt and is shown if it fails (SystemExit)."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words,
            cwd=cwd,
            env=self.environment(more),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            errors="replace",
        )
        with (self.folder / "log.txt").open("a") as log:
            log.write(f"$ {' '.join(words)}\n{done.stdout}\n")
        if done.returncode != 0:
            sys.stderr.write(done.stdout[-8000:])
            raise SystemExit(f"{' '.join(words)} ended with status {done.returncode}")


def require_commands(commands: Mapping[str, str]) -> None:
    """Each command -> its package: what is missing is installed, or named. Raises SystemExit."""
    require_packages({package for command, package in commands.items() if shutil.which(command) is None})


def require_packages(missing: Collection[str]) -> None:
    """Root gets these packages installed, everybody else is told (SystemExit)."""
    if not missing:
        return
    words = sorted(missing)
    if os.geteuid() != 0:
        raise SystemExit(f"this needs some more packages:\n    sudo apt-get install {' '.join(words)}")
    print(f"installing {' '.join(words)}", flush=True)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*apt, "update"], check=True, env=quietly)
    subprocess.run([*apt, "install", "-y", "--no-install-recommends", *words], check=True, env=quietly)


def source_date(project: Path, environment: Mapping[str, str]) -> int:
    """The time that everything made bears, in seconds since 1970: what the caller says by SOURCE_DATE_EPOCH, else when
    the last change was committed, else when the changelog was last written."""
    said = environment.get("SOURCE_DATE_EPOCH", "")
    if said.isascii() and said.isdigit():
        return int(said)
    if shutil.which("git") is not None:
        asked = ["git", "-C", str(project), "log", "-1", "--format=%ct"]
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip().isdigit():
            return int(done.stdout)
    return int((project / "CHANGELOG.md").stat().st_mtime)


def digest(path: Path) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version() -> str:
    """gsrt's own."""
    for line in (PROJECT / "gsrt" / "__init__.py").read_text().splitlines():
        if line.startswith("__version__ = "):
            return line.partition("=")[2].strip().strip('"')
    raise SystemExit("gsrt/__init__.py does not say a version")

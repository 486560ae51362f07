"""A Debian in a container whose first process is a real systemd; needs root, and Linux's unified cgroups somewhere.

The container's network is its own and has only a loopback. Everything that is started here ends with `stop`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

# What a fresh Raspberry Pi OS Lite has of that which matters here, what it depends on, and what docs/INSTALL.md
# wants without the package.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libnss-systemd", "procps", "iproute2"),
    *("python3", "python3-cffi-backend", "openssl", "libsodium23", "python3-venv"),
)
TOOLS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux"}

CHANGES_BYTES_MAX = 4 << 30  # a bound; some 50 MB are used, and a governor wants a disk that is not full
BOOT_SECONDS = 60.0
COMMAND_SECONDS = 60.0
LET_IN = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
MAKE_SECONDS = 900.0
CGROUPS = Path("/sys/fs/cgroup")


class ContainerError(Exception):
    """The container cannot be made, or does not come up; the message says why."""


def install_tools() -> None:
    """Has Debian's packages of missing programs installed."""
    missing = [package for program, package in TOOLS.items() if shutil.which(program) is None]
    if missing:
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=MAKE_SECONDS)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(
            command, check=True, timeout=MAKE_SECONDS, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )


def base_system(cache: Path, suite: str) -> Path:
    """The folder of that Debian without gsrt; made when it is not in CACHE yet. Raises CalledProcessError."""
    key = hashlib.sha256(" ".join((suite, *PACKAGES)).encode()).hexdigest()[:12]
    folder = cache / f"{suite}-{key}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = folder.with_suffix(".part")
        shutil.rmtree(made, ignore_errors=True)
        subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
                *("--format=directory", "--dpkgopt=path-exclude=/usr/share/locale/*", suite, str(made)),
            ],
            check=True,
            timeout=MAKE_SECONDS,
            stdout=subprocess.DEVNULL,
        )
        made.rename(folder)
    return folder


class Container:
    """A running system, whose files are below `root`."""

    def __init__(self, base: Path, work: Path, console: Path) -> None:
        """A system that begins as BASE, which stays as it is: what changes is kept in memory, mounted below WORK. What
        its console shows is written to CONSOLE."""
        work.mkdir(parents=True, exist_ok=True)
        _mount("tmpfs", "gsrt-test", work, f"size={CHANGES_BYTES_MAX},mode=0755")
        self.root = work / "root"
        for name in ("root", "changes", "work"):
            (work / name).mkdir()
        _mount("overlay", "gsrt-test", self.root, f"lowerdir={base},upperdir={work}/changes,workdir={work}/work")
        self._work = work
        self._console = console
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0
        # systemd-nspawn makes cgroups below those it is started in; those of other containers are not to be there.
        self._name = f"gsrt-test-{os.getpid()}"
        self._cgroups = [path / self._name for path in _own_cgroups()]

    def start(self) -> None:
        """Boots it. Raises ContainerError where it does not come up."""
        for path in self._cgroups:
            path.mkdir()
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig=KILL"),  # it is not to outlive this process
                    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network"),
                    *("--console=pipe", f"--directory={self.root}", f"--machine={self._name}"),
                    f"--system-call-filter={' '.join(LET_IN)}",  # its own filter is of before these
                    "--boot",
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                preexec_fn=self._enter_cgroups,
                start_new_session=True,
            )
        end = time.monotonic() + BOOT_SECONDS
        while True:
            if self._process.poll() is not None:
                said = self._console.read_text(errors="replace")[-2000:]
                raise ContainerError(f"systemd-nspawn ended with {self._process.returncode}:\n{said}")
            self._init = _child_of(self._process.pid)
            state = self.run("systemctl", "is-system-running", check=False).strip() if self._init else ""
            if state in ("running", "degraded"):
                return
            if time.monotonic() > end:
                raise ContainerError(f"the container is not up after {BOOT_SECONDS:g} s: {state}")
            time.sleep(0.1)

    def run(self, *words: str, check: bool = True, seconds: float = COMMAND_SECONDS) -> str:
        """What a command inside prints, errors included. Raises AssertionError where it fails, unless not to CHECK."""
        done = subprocess.run(
            [*self._enter("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def beside(self, words: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        """Starts a program of the host in the container's network, its input and output in pipes."""
        return subprocess.Popen(
            [*self._enter("--net"), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment,
        )

    def show(self, name: str, unit: str = "gsrt.service") -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self) -> str:
        """What the server and systemd have said about it."""
        return self.run("journalctl", "--no-pager", "--output=short-precise", "--unit=gsrt.service", check=False)

    def stop(self) -> None:
        """Ends all of it; its files are gone."""
        process = self._process
        if process is not None and process.poll() is None:
            if self._init:
                try:
                    self.run("systemctl", "poweroff", "--force", "--force", check=False, seconds=10.0)
                    process.wait(10.0)
                except subprocess.TimeoutExpired:
                    pass
            if process.poll() is None:
                process.kill()
            process.wait()
        for path in self._cgroups:
            _remove_cgroup(path)
        for mounted in (self.root, self._work):
            subprocess.run(["umount", mounted], check=False, timeout=COMMAND_SECONDS)

    def _enter_cgroups(self) -> None:
        for path in self._cgroups:
            (path / "cgroup.procs").write_text("0")

    def _enter(self, *namespaces: str) -> list[str]:
        return ["nsenter", f"--target={self._init}", *namespaces, "--"]


def _mount(kind: str, name: str, place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, name, str(place)], check=True, timeout=COMMAND_SECONDS)


def _child_of(pid: int) -> int:
    """The first child of a process; 0 where it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return 0
    return int(children[0]) if children else 0


def _own_cgroups() -> list[Path]:
    """The cgroups of this process in the hierarchies that systemd-nspawn uses."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mounts = [CGROUPS, CGROUPS / "unified"]
        elif controllers == "name=systemd":
            mounts = [CGROUPS / "systemd"]
        else:
            continue
        places = [mount / path.lstrip("/") for mount in mounts]
        found += [place for place in places if (place / "cgroup.procs").exists()]
    return found


def _remove_cgroup(path: Path) -> None:
    """Removes a cgroup and those below it, as far as nothing runs there any more."""
    for folder, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            pass

"""What the process may still do once it has started, so that whoever breaks into it has won little.

Four parts, each of which may be missing (an old kernel, a container that forbids it, no cffi):

* `no_new_privileges`: no program that it executes has more rights than it has (prctl(2)).
* `code`: memory that was ever writable never becomes executable (PR_SET_MDWE, Linux 6.3).
* `landlock`: files are read below READABLE only and written below WRITABLE only, and of devices nothing is asked; no
  other process gets a signal (Linux 6.12), no TCP port is opened or connected to (Linux 6.7). Every thread is bound.
* `seccomp`: neither a program nor another process is started, sockets are of the internet or UNIX only, and a hundred
  calls that no server needs are refused with EPERM.

Nothing of it can be taken back, and children and programs inherit it. What landlock does not look at: what files are
called and how large they are (stat), and to which UNIX sockets with a name in a folder there are connections.
"""

from __future__ import annotations

import errno
import os
import sys

from gsrt.device.linux import NO_MODULE, Outcome, calls, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsrt.device import _linux

THREADS_MILLISECONDS = 2000  # for all threads to be bound: one that writes to a card sees the signal when that is done

# Where a system keeps its libraries, what libraries read of their own accord, and what tells of the machine: a server
# that restarts itself reads that anew.
SYSTEM_READABLE = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl",
    "/dev/urandom",
    "/sys/class",
    "/sys/devices",
    "/sys/firmware/devicetree",
    "/sys/fs/cgroup",
)
SYSTEM_WRITABLE = ("/dev/null",)
FIGURES = ("/proc/self", "/proc/meminfo")  # no more of /proc: it tells of other processes, too

# Packages that are imported after the server has started.
LATE_PACKAGES = ("gsrt", "RestrictedPython", "cffi")

_WITHOUT_SECRETS = {"/", "", "/etc", "/home", "/root", "/tmp", "/var"}  # never readable for Python's sake


class Contained:
    """What was asked for, and what came of it."""

    __slots__ = ("outcomes", "readable", "writable")

    def __init__(self, readable: Iterable[str], writable: Iterable[str], outcomes: list[Outcome]) -> None:
        self.readable = tuple(dict.fromkeys(os.path.realpath(path) for path in (*readable, *writable)))
        self.writable = tuple(dict.fromkeys(os.path.realpath(path) for path in writable))
        self.outcomes = outcomes

    @property
    def binds_files(self) -> bool:
        """Whether landlock is in force."""
        return any(outcome.done for outcome in self.outcomes if outcome.part == "landlock")

    def why_not_read(self, path: str) -> str | None:
        """Why the file at PATH cannot be read; None: nothing here is in the way."""
        return self._why_not(path, self.readable, "read")

    def why_not_write(self, path: str) -> str | None:
        """The same for writing, or making, it."""
        return self._why_not(path, self.writable, "write")

    def _why_not(self, path: str, places: tuple[str, ...], do: str) -> str | None:
        if not self.binds_files or is_below(path, places):
            return None
        return f"{path}: the server is contained and may {do} below {', '.join(places) or 'nothing'} only"


def is_below(path: str, places: Iterable[str]) -> bool:
    """Whether PATH is one of the PLACES or below one, links followed."""
    real = os.path.realpath(path)
    return any(real == place or real.startswith(place.rstrip("/") + "/") for place in places)


def contain(
    readable: Iterable[str],
    writable: Iterable[str],
    executable: Iterable[str] = (),
    *,
    allow_exec: bool = False,
    allow_children: bool = False,
) -> list[Outcome]:
    """Contains this process, all its threads included: an Outcome for each part, in the order of the module's list.

    Paths that are not there are left out. Python's own library, the system's and the process's own part of /proc stay
    readable. With `allow_exec` files of EXECUTABLE may be executed; with `allow_children` processes may be started. A
    process that is contained already, because the one that executed it was, stays as it is."""
    lib = calls()
    if lib is None:
        return [Outcome(part, False, NO_MODULE) for part in ("no_new_privileges", "code", "landlock", "seccomp")]
    if lib.gsrt_filtered_already():
        return [
            Outcome(part, True, "since before the restart")
            for part in ("no_new_privileges", *(("landlock",) if _is_bound() else ()), "seccomp")
        ]
    allowed = (lib.GSRT_ALLOW_EXECUTE if allow_exec else 0) | (lib.GSRT_ALLOW_CHILDREN if allow_children else 0)
    packages = late_packages()
    rules = [
        *((path, lib.GSRT_READ) for path in (*SYSTEM_READABLE, *FIGURES, *packages, *python_paths(), *readable)),
        # Python looks for a package among the names beside it.
        *((os.path.dirname(path), lib.GSRT_LIST) for path in packages),
        *((path, lib.GSRT_WRITE) for path in (*SYSTEM_WRITABLE, *writable)),
        *((path, lib.GSRT_EXECUTE) for path in (executable if allow_exec else ())),
    ]
    return [
        _outcome("no_new_privileges", lib.gsrt_no_new_privileges(), "on"),
        _outcome("code", lib.gsrt_refuse_code_made_at_run_time(), "on"),
        _landlock(lib, rules),
        _outcome("seccomp", lib.gsrt_filter_calls(allowed), "on"),
    ]


def interpreter_files() -> list[str]:
    """What has to be executable for this Python to be executed: itself, and the loader of its libraries."""
    found = [os.path.realpath(sys.executable)]
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
            paths = {line.split(None, 5)[-1].rstrip("\n") for line in file}
    except OSError:
        return found
    return found + sorted(path for path in paths if path.startswith("/") and os.path.basename(path).startswith("ld-"))


def late_packages() -> list[str]:
    """The folders of packages that are imported later, wherever they lie, and of the one that was started (-m)."""
    from importlib.machinery import PathFinder

    started = getattr(sys.modules["__main__"], "__spec__", None)
    names = (*LATE_PACKAGES, *([] if started is None else [started.name.partition(".")[0]]))
    specs = [PathFinder.find_spec(name) for name in dict.fromkeys(names)]
    return [path for spec in specs if spec is not None for path in spec.submodule_search_locations or ()]


def python_paths() -> list[str]:
    """Where this Python is, and reads what it imports."""
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, os.path.dirname(os.__file__)]
    found += [entry for entry in sys.path if os.path.basename(entry) in ("site-packages", "dist-packages")]
    found.append(sys.argv[0] if sys.argv and os.path.isfile(sys.argv[0]) else "")
    return [path for path in dict.fromkeys(found) if path not in _WITHOUT_SECRETS]


def _landlock(lib: type[_linux.lib], rules: list[tuple[str, int]]) -> Outcome:
    part = "landlock"
    version = lib.gsrt_landlock_version()
    if version == -errno.EOPNOTSUPP:
        return Outcome(part, False, "this kernel has it switched off: add it to lsm= of the kernel's command line")
    if version < 0:
        return Outcome(part, False, reason(version))
    ruleset = lib.gsrt_landlock_begin(version)
    if ruleset < 0:
        return Outcome(part, False, reason(ruleset))
    try:
        for path, rights in rules:
            returned = lib.gsrt_landlock_allow(ruleset, version, os.fsencode(path), rights)
            if returned < 0 and returned not in (-errno.ENOENT, -errno.ENOTDIR, -errno.EACCES):
                return Outcome(part, False, f"{path}: {reason(returned)}")
        _keep(FIGURES)
        returned = lib.gsrt_landlock_enforce(ruleset, THREADS_MILLISECONDS)
    finally:
        os.close(ruleset)
    if returned == -errno.ETIME:
        return Outcome(part, False, "a thread of the server did not answer, and is not bound")
    return _outcome(part, returned, f"version {version}")


def _keep(paths: Iterable[str]) -> None:
    """A rule is for an object in the kernel's memory, and those of /proc are made anew when it has dropped them. These
    it keeps for as long as the process lives: their descriptors stay open on purpose, and are inherited."""
    for path in paths:
        try:
            os.set_inheritable(os.open(path, os.O_PATH), True)
        except OSError:
            pass  # hidden from this service


def _is_bound() -> bool:
    """Whether landlock is in force: reading the root folder is never allowed then."""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))
    except PermissionError:
        return True
    return False


def _outcome(part: str, returned: int, done: str) -> Outcome:
    return Outcome(part, True, done) if returned >= 0 else Outcome(part, False, reason(returned))

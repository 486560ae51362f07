"""The Python that runs gsrt, and what it needs besides: asked in a process of its own, for a compiled module made for
another processor ends the process that imports it."""

from __future__ import annotations

import signal
import sys

from gsrt.doctor.finding import Finding, fail, ok, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

OLDEST, NEWEST = (3, 11), (3, 13)
COMPILED = (
    "gsrt._core",
    "gsrt._link",
    "gsrt._linkdump",
    "gsrt._links",
    "gsrt._relay",
    "gsrt._meter",
    "gsrt._guard",
    "gsrt._guest",
)
IMPORT_SECONDS = 2.8  # a Pi Zero takes a second for all of them
LINES_MAX = 100

# Imports what it is given, one after the other, and says of each how that went: "name ok version" or "name no reason".
PROGRAM = """
import sys
paths, names = sys.argv[1].split("\\n"), sys.argv[2:]
sys.path[:] = paths
from importlib import import_module
for name in names:
    try:
        module = import_module(name)
    except BaseException as error:
        print(name, "no", type(error).__name__, " ".join(str(error).split())[:200], flush=True)
        continue
    version = getattr(module, "sqlite_version", None) or getattr(module, "__version__", None)
    if name == "gsrt._sodium":
        import ctypes
        try:  # the library's own function, if it can be seen through the module
            function = ctypes.CDLL(module.__file__).sodium_version_string
            function.restype = ctypes.c_char_p
            version = function().decode("ascii")
        except Exception:
            version = "(version unknown)"
    elif version is None and not name.startswith("gsrt."):
        from importlib.metadata import version as of_package
        try:
            version = of_package(name)
        except Exception:
            version = ""
    print(name, "ok", version or "", flush=True)
"""


def python(surroundings: Surroundings) -> Finding:
    """The version of Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return fail(f"{version} at {sys.executable}", "gsrt needs Python 3.11, 3.12 or 3.13")
    return ok(f"{version} at {sys.executable}")


def modules(surroundings: Surroundings) -> Finding:
    """Whether gsrt's compiled modules can be loaded on this processor."""
    found = imports(surroundings, COMPILED)
    if found is None:
        return warn("cannot tell: Python takes too long to load them", "look at the lines on processor and disk speed")
    for name in COMPILED:
        word, text = found.get(name, ("", ""))
        if word == "died":
            return fail(
                f"{name} ends the process with {text}: it was built for another processor",
                "install the package made for this board: docs/INSTALL.md",
            )
        if word != "ok":
            return fail(f"{name} cannot be loaded: {text}", "build or install it again: docs/INSTALL.md")
    return ok(f"all {len(COMPILED)} compiled ones can be loaded")


def libraries(surroundings: Surroundings) -> Finding:
    """What gsrt uses of others: libsodium for the link, SQLite for games, RestrictedPython for scripts, cffi for what
    Linux offers a small server."""
    wanted = ("gsrt._sodium", "sqlite3", "RestrictedPython", "gsrt.device._linux", "_cffi_backend")
    found = imports(surroundings, wanted)
    if found is None:
        return warn("cannot tell: Python takes too long to load them", "look at the lines on processor and disk speed")
    words = {name: found.get(name, ("no", "not looked at")) for name in wanted}
    for name, what, todo in (
        ("gsrt._sodium", "no link (libsodium)", "apt-get install libsodium23"),
        ("sqlite3", "no games (SQLite)", "apt-get install python3, or build Python with SQLite"),
        (
            "RestrictedPython",
            "no scripts (RestrictedPython)",
            "pip install 'RestrictedPython>=9.0,<10' for this Python; the .deb brings it",
        ),
    ):
        if words[name][0] != "ok":
            return fail(f"{what}: {words[name][1]}", todo)
    if words["gsrt.device._linux"][0] != "ok":
        return warn(
            f"memory is not locked and nothing contained: {words['gsrt.device._linux'][1]}",
            "apt-get install python3-cffi-backend; the server works without",
        )
    names = {"gsrt._sodium": "libsodium", "sqlite3": "SQLite", "RestrictedPython": "", "_cffi_backend": "cffi"}
    return ok(", ".join(f"{title or name} {words[name][1]}".strip() for name, title in names.items()))


def imports(surroundings: Surroundings, names: tuple[str, ...]) -> dict[str, tuple[str, str]] | None:
    """What became of importing each: ("ok", version), ("no", reason) or ("died", name of the signal); None: it took too
    long. After one that died nothing is known of the rest."""
    path = "\n".join(sys.path)
    output = surroundings.run(sys.executable, "-c", PROGRAM, path, *names, seconds=IMPORT_SECONDS)
    if output is None or output.status is None:
        return None
    found: dict[str, tuple[str, str]] = {}
    for line in output.text.splitlines()[:LINES_MAX]:
        name, _, rest = line.partition(" ")
        word, _, text = rest.partition(" ")
        if name in names and word in ("ok", "no"):
            found[name] = (word, text.strip())
    if output.status < 0:
        name = next((name for name in names if name not in found), "")
        if name:
            found[name] = ("died", _signal_name(-output.status))
    return found


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

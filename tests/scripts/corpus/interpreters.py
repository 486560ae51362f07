"""Which CPythons run the corpus: this one, and others that are installed, each with the extensions built for it.

Others are looked for as `python3.N` on the PATH and among the versions of pyenv. They need their headers, and a C
compiler must be there, but nothing is installed for them, and no network is needed: Cython here makes the C, compiled
for each of them into a copy of the package below `build/corpus/`, as often as the sources change.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
PLACE = ROOT / "build" / "corpus"
VERSIONS = ("3.11", "3.12", "3.13")
EXTENSIONS = ("_core", "_link", "_links", "_relay", "_meter", "_guard", "_guest")
COMPILE = ("-shared", "-fPIC", "-O1", "-g0", "-w", "-fwrapv", "-DNDEBUG")
BUILD_SECONDS = 600

ASK = """
import json, sys, sysconfig
print(json.dumps([sys.implementation.name, "%d.%d" % sys.version_info[:2], sysconfig.get_path("include"),
                  sysconfig.get_config_var("EXT_SUFFIX"), sys.abiflags]))
"""


class Interpreter(NamedTuple):
    """`python`: what to start; `root`: the directory from which it imports gsrt and the tests; the rest: how to build
    for it (None: it is built already)."""

    version: str
    python: Path
    root: Path
    include: str | None = None
    suffix: str = ""


def available() -> list[Interpreter]:
    """This interpreter first, then every other CPython of VERSIONS that starts and can be built for."""
    own = "{}.{}".format(*sys.version_info)
    found = [Interpreter(own, Path(sys.executable), ROOT)]
    if shutil.which("cc") is None or find_spec("Cython") is None or find_spec("RestrictedPython") is None:
        return found
    for version in VERSIONS:
        if version != own:
            each = next(filter(None, (_asked(path, version) for path in _candidates(version))), None)
            found += [each] if each else []
    return found


def _candidates(version: str) -> list[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = sorted((pyenv / "versions").glob(f"{version}.*/bin/python{version}"), reverse=True)
    on_path = shutil.which(f"python{version}")
    return [*([Path(on_path)] if on_path else []), *candidates]


def _asked(path: Path, version: str) -> Interpreter | None:
    try:
        answer = subprocess.run([path, "-c", ASK], capture_output=True, text=True, timeout=30, check=False)
        name, is_version, include, suffix, flags = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if name != "cpython" or is_version != version or flags or not (Path(include) / "Python.h").exists():
        return None
    return Interpreter(version, path, PLACE / version, include, suffix)


def prepare(interpreter: Interpreter) -> None:
    """Builds what the interpreter lacks. CalledProcessError with the compiler's words where that fails."""
    if interpreter.include is None:
        return
    _copy_python(interpreter.root)
    with (PLACE / "lock").open("w") as lock:  # the C is shared, and compilers take much memory: one build at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        _build(interpreter)


def _build(interpreter: Interpreter) -> None:
    mark = interpreter.root / "built"
    built_from = _digest()
    if mark.exists() and mark.read_text() == built_from:
        return
    mark.unlink(missing_ok=True)
    generated = _generated(built_from)
    compilers = [
        subprocess.Popen(
            [
                *("cc", *COMPILE, f"-I{interpreter.include}", str(generated / f"{name}.c")),
                *("-o", str(interpreter.root / "gsrt" / f"{name}{interpreter.suffix}")),
            ]
        )
        for name in EXTENSIONS
    ]
    for compiler in compilers:
        if compiler.wait(BUILD_SECONDS):
            raise subprocess.CalledProcessError(compiler.returncode, compiler.args)
    mark.write_text(built_from)


def _generated(built_from: str) -> Path:
    """The directory with the C of all extensions; it is the same for every interpreter."""
    place = PLACE / "c"
    mark = place / "made"
    if not mark.exists() or mark.read_text() != built_from:
        place.mkdir(parents=True, exist_ok=True)
        for name in EXTENSIONS:
            options = ["-3", "-X", "boundscheck=True", "-X", "binding=False", "--module-name", f"gsrt.{name}"]
            subprocess.run(
                [sys.executable, "-m", "cython", *options, f"gsrt/{name}.pyx", "-o", str(place / f"{name}.c")],
                cwd=ROOT,
                check=True,
                timeout=BUILD_SECONDS,
            )
        mark.write_text(built_from)
    return place


def _digest() -> str:
    """Of everything that the extensions are made from."""
    digest = hashlib.sha256(repr(EXTENSIONS).encode())
    for source in sorted([*(ROOT / "gsrt").glob("*.pyx"), *(ROOT / "gsrt").glob("*.pxd")]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _copy_python(root: Path) -> None:
    """The package with its profiles, the tests of scripts, and RestrictedPython, which is pure Python."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.pyx", "*.pxd")
    for name in ("gsrt", "firmware_profiles", "tests/scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored, dirs_exist_ok=True)
    shutil.copy2(ROOT / "tests" / "__init__.py", root / "tests" / "__init__.py")
    restricted = find_spec("RestrictedPython")
    assert restricted is not None and restricted.origin is not None
    shutil.copytree(Path(restricted.origin).parent, root / "RestrictedPython", ignore=ignored, dirs_exist_ok=True)

"""The target's Python as a compiler sees it: its headers, and what its sysconfig says."""

from __future__ import annotations

import pprint
import shutil
from pathlib import Path

from cross.debian import Archive
from cross.targets import PYTHONS, Target, python_tag
from cross.workshop import Workshop

SODIUM = ("libsodium-dev", "libsodium23")


def python_headers(workshop: Workshop, target: Target, python: str) -> Path:
    """A folder with Python.h and the rest, pyconfig.h being the target's own: Debian's is a dispatcher to it, by paths
    that would let the C library's headers of another machine in."""
    root = Archive(workshop, PYTHONS[python], target.debian).unpacked("headers", [f"libpython{python}-dev"])
    folder = root / "python"
    if not (folder / "done").exists():
        shutil.copytree(root / "usr/include" / f"python{python}", folder, dirs_exist_ok=True)
        shutil.copy(root / "usr/include" / target.triple / f"python{python}" / "pyconfig.h", folder / "pyconfig.h")
        (folder / "done").touch()
    return folder


def debian_sodium(workshop: Workshop, target: Target) -> tuple[Path, Path]:
    """Debian's libsodium for the target: the folder of its headers, and that of the library to be linked with."""
    root = Archive(workshop, PYTHONS["3.11"], target.debian).unpacked("sodium", SODIUM)
    headers = root / "include"
    if not (headers / "sodium.h").exists():
        shutil.copytree(root / "usr/include/sodium", headers / "sodium")
        shutil.copy(root / "usr/include/sodium.h", headers)
    return headers, root / "usr/lib" / target.triple


def build_variables(target: Target, python: str, headers: Path, compiler: Path) -> dict[str, object]:
    """What sysconfig tells setuptools about the Python that it builds for."""
    return {
        "AR": str(compiler / "ar"),
        "ARFLAGS": "rcs",
        "CC": str(compiler / "cc"),
        "CCSHARED": "-fPIC",
        "CFLAGS": "-DNDEBUG -fwrapv -fno-sanitize=undefined -fvisibility=hidden",
        "CONFINCLUDEPY": str(headers),
        "CXX": str(compiler / "cc"),
        "EXT_SUFFIX": target.extension_suffix(python),
        "INCLUDEPY": str(headers),
        "LDCXXSHARED": f"{compiler / 'cc'} -shared",
        "LDSHARED": f"{compiler / 'cc'} -shared -s -Wl,--gc-sections",
        "MULTIARCH": target.triple,
        "Py_DEBUG": 0,
        "Py_ENABLE_SHARED": 0,
        "Py_GIL_DISABLED": 0,
        "SHLIB_SUFFIX": ".so",
        "SOABI": target.extension_tag(python),
        "VERSION": python,
        "py_version_short": python,
        "py_version_nodot": python_tag(python),
    }


def write_build_variables(folder: Path, variables: dict[str, object]) -> str:
    """Writes them as a module into `folder`; returns its name, for _PYTHON_SYSCONFIGDATA_NAME."""
    name = "_sysconfigdata_cross"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(f"build_time_vars = {pprint.pformat(variables)}\n")
    return name

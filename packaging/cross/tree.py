"""The sources that wheels are built from: a copy, so that no build meets another's leavings."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator
from pathlib import Path

TOP = ("LICENSE", "README.md", "pyproject.toml", "setup.py")
FOLDERS = ("firmware_profiles", "gsrt")
_SUFFIXES = (".h", ".pxd", ".py", ".pyi", ".pyx", ".toml")


def source_files(project: Path) -> Iterator[Path]:
    """The files a build reads, as paths below `project`, in a fixed order."""
    yield from map(Path, TOP)
    for folder in FOLDERS:
        for path in sorted((project / folder).rglob("*")):
            if is_source(path):
                yield path.relative_to(project)


def is_source(path: Path) -> bool:
    """Whether it is a file that was written, not one that a build has left."""
    return path.is_file() and (path.suffix in _SUFFIXES or path.name == "py.typed")


def copy_tree(project: Path, copy: Path) -> None:
    """Makes `copy` hold these files and no others (but for what a build puts below copy/build); dates of files that
    are the same stay, so that only what changed is compiled again."""
    wanted = set(source_files(project))
    for name in FOLDERS:
        for path in list((copy / name).rglob("*")):
            if path.is_file() and path.relative_to(copy) not in wanted:
                path.unlink()
    for place in sorted(wanted):
        there = copy / place
        if not there.exists() or not filecmp.cmp(project / place, there, shallow=False):
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / place, there)
        there.chmod(0o644)

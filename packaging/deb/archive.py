"""A tree of files into a .deb, the same one to the byte whenever and wherever that is done."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

CONTROL = "DEBIAN"


def put(root: Path, place: str, content: bytes | str, mode: int = 0o644) -> None:
    """Writes the file `place` (as in "/usr/bin/gsrt") below `root`."""
    path = root / place.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def put_copy(root: Path, place: str, source: Path, mode: int = 0o644) -> None:
    """Copies the file or, with all that is below it, the folder."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                put_copy(root, f"{place}/{path.relative_to(source)}", path, mode)
    else:
        put(root, place, source.read_bytes(), mode)


def compressed(content: bytes) -> bytes:
    """As gzip -9n does it: without a date."""
    return gzip.compress(content, 9, mtime=0)


def payload(root: Path) -> list[Path]:
    """The files that get installed, in a fixed order."""
    return [path for path in sorted(root.rglob("*")) if path.is_file() and path.relative_to(root).parts[0] != CONTROL]


def installed_kilobytes(root: Path) -> int:
    """Installed-Size, by the Policy's estimate: each file in whole kilobytes, one for everything else."""
    size = 0
    for path in root.rglob("*"):
        if path.relative_to(root).parts[0] != CONTROL:
            size += -(-path.stat().st_size // 1024) if path.is_file() else 1
    return size


def md5sums(root: Path) -> str:
    """DEBIAN/md5sums, by which `dpkg --verify` finds what was changed."""
    lines = []
    for path in payload(root):
        lines.append(f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(root)}\n")
    return "".join(lines)


def conffiles(root: Path) -> str:
    """DEBIAN/conffiles: everything below /etc."""
    return "".join(f"/{path.relative_to(root)}\n" for path in payload(root) if path.relative_to(root).parts[0] == "etc")


def settle(root: Path, epoch: int) -> None:
    """Modes and dates of folders, and dates of files, as they shall be in the archive."""
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (epoch, epoch))


def build(root: Path, archive: Path, epoch: int, environment: Mapping[str, str] = os.environ) -> None:
    """Makes the .deb of what lies below `root`. Raises subprocess.CalledProcessError."""
    settle(root, epoch)
    # One thread: how xz divides its input hangs on their number.
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z6", "--threads-max=1", "--build", str(root), str(archive)]
    told = {**environment, "SOURCE_DATE_EPOCH": str(epoch)}
    subprocess.run(command, check=True, env=told, stdout=subprocess.DEVNULL)


def clear(root: Path) -> None:
    """An empty folder."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)

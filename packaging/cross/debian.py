"""Packages of Debian for other machines, taken apart: nothing of them is installed on this one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cross.workshop import Workshop

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def mirror() -> str:
    """Where this machine gets its Debian packages, or what GSRT_DEBIAN_MIRROR says. Raises SystemExit."""
    said = os.environ.get("GSRT_DEBIAN_MIRROR", "")
    if said:
        return said
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    places = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    for place in places:
        if place.rstrip("/").endswith("/debian"):
            return place
    raise SystemExit("this machine has no Debian mirror in its package sources: name one by GSRT_DEBIAN_MIRROR=...")


class Archive:
    """The packages of one release for one architecture, by an apt-get with a state of its own."""

    def __init__(self, workshop: Workshop, suite: str, architecture: str) -> None:
        self.suite = suite
        self.architecture = architecture
        self.folder = workshop.folder / "debian" / f"{suite}-{architecture}"

    def unpacked(self, name: str, packages: Iterable[str], dependencies: bool = False) -> Path:
        """The folder `name` with the packages (and all they depend on, if asked for) unpacked in it.

        Raises SystemExit, subprocess.CalledProcessError."""
        wanted = " ".join(packages)
        root, stamp = self.folder / name, self.folder / f"{name}.unpacked"
        if stamp.exists() and stamp.read_text() == wanted:
            return root
        subprocess.run(["rm", "-rf", str(root)], check=True)
        archives = self._downloaded(name, wanted.split(), dependencies)
        root.mkdir(parents=True)
        for archive in archives:
            subprocess.run(["dpkg-deb", "--extract", str(archive), str(root)], check=True)
        # Below /usr since Debian 13, where the links to there are no package's.
        for folder in ("bin", "lib", "lib64", "sbin"):
            if (root / "usr" / folder).is_dir() and not (root / folder).exists():
                (root / folder).symlink_to(f"usr/{folder}")
        stamp.write_text(wanted)
        return root

    def _downloaded(self, name: str, packages: list[str], dependencies: bool) -> list[Path]:
        self._update()
        there = self.folder / f"{name}.packages"
        subprocess.run(["rm", "-rf", str(there)], check=True)
        (there / "partial").mkdir(parents=True)
        if dependencies:
            where = ["-o", f"Dir::Cache::archives={there}"]
            self._apt([*where, "install", "--yes", "--download-only", "--no-install-recommends", *packages], there)
        else:
            self._apt(["download", *packages], there)
        return sorted(there.glob("*.deb"))

    def _update(self) -> None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "state" / "status").touch()
        signed = f" [signed-by={_KEYRING}]" if os.path.exists(_KEYRING) else ""
        (self.folder / "sources.list").write_text(f"deb{signed} {mirror()} {self.suite} main\n")
        self._apt(["update"], self.folder)

    def _apt(self, arguments: list[str], cwd: Path) -> None:
        settings = {
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "",
            "Dir::State": self.folder / "state",
            "Dir::State::status": self.folder / "state" / "status",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferencesparts": "-",
        }
        words = ["apt-get", "-qq"]
        for key, value in settings.items():
            words += ["-o", f"{key}={value}"]
        done = subprocess.run([*words, *arguments], cwd=cwd, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"apt-get {' '.join(arguments)} for {self.suite}, {self.architecture}:\n{done.stderr}")

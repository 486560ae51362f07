"""`make debs`: packages for Debian 12 and 13 and Raspberry Pi OS, from the wheels of `make wheels`.

    PYTHONPATH=packaging python -m deb.build [--for x86_64,aarch64,armv6l] [--twice]

A package holds the modules for the Pythons of both releases; each Python finds its own by their names.
"""

from __future__ import annotations

import argparse
import email.utils
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from cross.targets import PYTHONS, Target, named
from cross.wheels import WORK, Builder
from cross.workshop import PROJECT, Workshop, digest, require_commands, version
from deb import archive
from deb.control import MAINTAINER, bundled_requirement, control_file, debian_version, glibc_dependency

HERE = Path(__file__).resolve().parent
PACKAGING = HERE.parent

# Of the two 32-bit builds it is the older that runs everywhere.
MACHINES = "x86_64,aarch64,armv6l"

RESTRICTED_PYTHON = ("RestrictedPython==9.0", "77df98181cf8f20810038b492ca4760b12712c9aa572f6fb5b8f2b02cfd5fc7e")

# what it is in packaging/ -> where it goes, and its mode
FILES = {
    "deb/gsrt": ("/usr/bin/gsrt", 0o755),
    "deb/gsrt.rtupdate": ("/usr/share/python3/runtime.d/gsrt.rtupdate", 0o755),
    "etc/gsrt.toml": ("/etc/gsrt/gsrt.toml", 0o644),
    "systemd/gsrt.service": ("/usr/lib/systemd/system/gsrt.service", 0o644),
    "systemd/gsrt.socket": ("/usr/lib/systemd/system/gsrt.socket", 0o644),
    "systemd/gsrt.sysusers": ("/usr/lib/sysusers.d/gsrt.conf", 0o644),
    "systemd/gsrt.tmpfiles": ("/usr/lib/tmpfiles.d/gsrt.conf", 0o644),
    "systemd/gsrt.service.xml": ("/etc/avahi/services/gsrt.service", 0o644),
    "systemd/hand-over": ("/usr/lib/gsrt/hand-over", 0o755),
}
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
DOCUMENTATION = "/usr/share/doc/gsrt"
MODULES = "/usr/lib/gsrt"


def bundled(workshop: Workshop) -> Path:
    """The wheel of RestrictedPython. Raises SystemExit, also where that is not all to be brought along;
    subprocess.CalledProcessError."""
    bundled_requirement(PROJECT)
    requirement, wanted = RESTRICTED_PYTHON
    folder = workshop.folder / "bundled"
    found = list(folder.glob("*.whl"))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{wanted}\n")
        workshop.pip("download", "--no-deps", "--only-binary=:all:", f"--dest={folder}", f"--requirement={pinned}")
        found = list(folder.glob("*.whl"))
    (wheel,) = found
    return wheel


def put_modules(root: Path, contents: list[Path]) -> None:
    """The package gsrt, made of what wheels for several Pythons hold. Raises SystemExit if they differ in more than
    compiled modules."""
    for folder in contents:
        for path in sorted((folder / "gsrt").rglob("*")):
            if not path.is_file():
                continue
            place = f"{MODULES}/{path.relative_to(folder)}"
            there = root / place.lstrip("/")
            if there.exists() and path.suffix != ".so" and there.read_bytes() != path.read_bytes():
                raise SystemExit(f"{path.relative_to(folder)} is not the same for every Python")
            archive.put_copy(root, place, path)


def put_bundled(root: Path, wheel: Path) -> str:
    """RestrictedPython beside it; returns its licence."""
    with zipfile.ZipFile(wheel) as packed:
        for name in sorted(packed.namelist()):
            if name.startswith("RestrictedPython/"):
                archive.put(root, f"{MODULES}/{name}", packed.read(name))
        (licence,) = (name for name in packed.namelist() if name.endswith("LICENSE.txt"))
        return packed.read(licence).decode()


def indented(text: str) -> str:
    """As a field of several lines has it."""
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.strip().splitlines())


def put_documentation(root: Path, licence: str, epoch: int) -> None:
    """/usr/share/doc/gsrt, and the manual page."""
    archive.put_copy(root, DOCUMENTATION, PROJECT / "docs")
    archive.put_copy(root, f"{DOCUMENTATION}/README.md", PROJECT / "README.md")
    archive.put_copy(root, f"{DOCUMENTATION}/examples", PROJECT / "examples")
    news = (PROJECT / "CHANGELOG.md").read_bytes()
    archive.put(root, f"{DOCUMENTATION}/NEWS.gz", archive.compressed(news))
    when = email.utils.formatdate(epoch)
    entry = f"gsrt ({debian_version(version())}) stable; urgency=medium\n\n  * What is new is told in NEWS.gz.\n\n"
    archive.put(
        root, f"{DOCUMENTATION}/changelog.gz", archive.compressed(f"{entry} -- {MAINTAINER}  {when}\n".encode())
    )
    own = (PROJECT / "LICENSE").read_text()
    (owner,) = re.findall(r"^Copyright \(c\) (.*)$", own, re.MULTILINE)
    text = (HERE / "copyright").read_text().replace("@COPYRIGHT@", owner)
    text = text.replace("@LICENSE@", indented(own[own.index("Permission") :])).replace("@ZPL@", indented(licence))
    archive.put(root, f"{DOCUMENTATION}/copyright", text)
    page = (HERE / "gsrt.1").read_bytes()
    archive.put(root, "/usr/share/man/man1/gsrt.1.gz", archive.compressed(page))
    overrides = (HERE / "lintian-overrides").read_bytes()
    archive.put(root, "/usr/share/lintian/overrides/gsrt", overrides)


def wanted_symbols(root: Path) -> set[str]:
    """The versions of the C library that the compiled modules ask for."""
    found = set()
    for path in root.rglob("*.so"):
        said = subprocess.run(["readelf", "--version-info", path], check=True, capture_output=True, text=True).stdout
        found |= set(re.findall(r"GLIBC_[\d.]+", said))
    return found


def build(builder: Builder, target: Target, folder: Path) -> Path:
    """The package for the target, in `folder`. Raises SystemExit."""
    workshop = builder.workshop
    root = workshop.folder / "debs" / target.debian
    archive.clear(root)
    wheels = {python: builder.wheel(target, python) for python in PYTHONS}
    put_modules(root, [builder.package_contents(wheel, target, python) for python, wheel in wheels.items()])
    licence = put_bundled(root, bundled(workshop))
    for source, (place, mode) in FILES.items():
        archive.put_copy(root, place, PACKAGING / source, mode)
    put_documentation(root, licence, workshop.epoch)
    size = archive.installed_kilobytes(root)
    control = control_file(version(), target.debian, size, glibc_dependency(wanted_symbols(root)))
    archive.put(root, "DEBIAN/md5sums", archive.md5sums(root))
    archive.put(root, "DEBIAN/conffiles", archive.conffiles(root))
    archive.put(root, "DEBIAN/control", control)
    for name in SCRIPTS:
        archive.put_copy(root, f"DEBIAN/{name}", HERE / name, 0o755)
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / f"gsrt_{debian_version(version())}_{target.debian}.deb"
    archive.build(root, package, workshop.epoch)
    return package


def main() -> None:
    parser = argparse.ArgumentParser(prog="make debs", description="builds Debian packages")
    parser.add_argument("--for", dest="machines", default=MACHINES, metavar="NAMES", help="only these")
    parser.add_argument("--jobs", type=int, default=2, help="compilers side by side")
    parser.add_argument("--twice", action="store_true", help="builds all of it again elsewhere, and compares")
    given = parser.parse_args()
    require_commands({"xz": "xz-utils"})
    builder = Builder(Workshop(WORK), given.jobs)
    builder.prepare()
    again = Builder(Workshop(WORK / "again"), given.jobs) if given.twice else None
    if again is not None:
        shutil.rmtree(WORK / "again", ignore_errors=True)
        again.prepare()
    for target in named(given.machines):
        begun = time.monotonic()
        package = build(builder, target, PROJECT / "dist")
        size, seconds = package.stat().st_size, time.monotonic() - begun
        print(f"dist/{package.name}  {size / 1024:.0f} KB  {seconds:.0f} s  sha256 {digest(package)}", flush=True)
        if again is not None and digest(build(again, target, again.workshop.folder / "dist")) != digest(package):
            sys.exit(f"{package.name} came out different when it was built again: {again.workshop.folder / 'dist'}")
        if shutil.which("lintian") is not None:
            complaints = subprocess.run(["lintian", "--no-cfg", "--allow-root", "--fail-on=error,warning", package])
            if complaints.returncode != 0:
                sys.exit(f"lintian is not content with {package}")


if __name__ == "__main__":
    main()

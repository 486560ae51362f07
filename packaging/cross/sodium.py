"""libsodium for a target, to be linked into a module: a wheel needs no package of the system then."""

from __future__ import annotations

from pathlib import Path

from cross.compiler import tool_chain
from cross.targets import Target
from cross.workshop import SODIUM_FOLDER, SODIUM_SOURCE, Workshop


def static_sodium(workshop: Workshop, target: Target, jobs: int) -> Path:
    """A folder with include/sodium.h and lib/libsodium.a, for GSRT_SODIUM. Raises SystemExit."""
    prefix = workshop.folder / "sodium" / target.name
    if (prefix / "done").exists():
        return prefix
    source = _source(workshop)
    build = workshop.folder / "sodium" / f"{target.name}.build"
    prefix.parent.mkdir(parents=True, exist_ok=True)
    workshop.run(["rm", "-rf", build, prefix], workshop.folder)
    workshop.run(["cp", "-Rp", source, build], workshop.folder)
    tools = tool_chain(workshop, target)
    flags = "-O2 -g0 -DNDEBUG -fno-sanitize=undefined -fvisibility=hidden -DSODIUM_STATIC"
    flags += " -ffunction-sections -fdata-sections"
    told = {"CC": str(tools / "cc"), "AR": str(tools / "ar"), "RANLIB": str(tools / "ranlib"), "CFLAGS": flags}
    # A build system's idea of "the same machine" would have it run what it compiled: told apart by `--build`.
    options = ["--build=none-unknown-linux-gnu", f"--host={target.triple}", "--prefix=/", "--disable-shared"]
    options += ["--enable-static", "--with-pic", "--disable-dependency-tracking", "--disable-ssp", "--disable-pie"]
    workshop.run(["./configure", "--quiet", *options], build, told)
    workshop.run(["make", "--silent", f"--jobs={jobs}", "install", f"DESTDIR={prefix}"], build, told)
    workshop.run(["rm", "-rf", build], workshop.folder)
    (prefix / "done").touch()
    return prefix


def sodium_licence(workshop: Workshop) -> Path:
    """Its text, which has to come with every copy."""
    return _source(workshop) / "LICENSE"


def _source(workshop: Workshop) -> Path:
    folder = workshop.folder / "sources"
    unpacked = folder / SODIUM_FOLDER
    if unpacked.exists():
        return unpacked
    requirement, wanted = SODIUM_SOURCE
    folder.mkdir(parents=True, exist_ok=True)
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{wanted}\n")
    workshop.pip("download", "--no-deps", "--no-binary=:all:", f"--dest={folder}", f"--requirement={pinned}")
    (archive,) = folder.glob("*.tar.gz")
    workshop.run(["tar", "--extract", "--gzip", f"--file={archive}"], folder)
    return unpacked

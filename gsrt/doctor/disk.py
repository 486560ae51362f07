"""The disk that the server writes to: room, kind, health, and how long a write takes that has to last."""

from __future__ import annotations

import os
import time

from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.surroundings import megabytes, whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsrt.doctor.surroundings import Surroundings

LOW_TIMES = 4  # less than so many times what the profile wants free is said
INODES_MIN = 1000
WRITES = 5  # measured; their middle one counts
WRITE_BYTES = 4096
SLOW_MS = 100.0  # a good card takes under 20; above it players' stored requests are felt to hang
MOUNTS_MAX = 10_000


def folder(surroundings: Surroundings) -> str:
    """Where the server writes: the game's data if there is a game, else the state folder; of what is not there yet, the
    folder that it would be made in."""
    settings = surroundings.settings
    found = settings.game or settings.state or "/"
    while not os.path.isdir(found) and os.path.dirname(found) != found:
        found = os.path.dirname(found)
    return found


def space(surroundings: Surroundings) -> Finding:
    """Room for what has to be written."""
    where = folder(surroundings)
    status = os.statvfs(where)
    free = status.f_bavail * status.f_frsize
    profile = surroundings.profile()
    wanted = profile.disk_free_bytes_min if profile is not None else 0
    if free < wanted:
        return fail(
            f"{megabytes(free)} free at {where}; the profile wants {megabytes(wanted)}, so no sessions are taken",
            "remove what is not needed: sudo apt-get clean, sudo journalctl --vacuum-size=50M",
        )
    if status.f_files and status.f_favail < INODES_MIN:
        return fail(f"room for {status.f_favail} more files only at {where}", "remove files, many small ones first")
    if free < wanted * LOW_TIMES:
        return warn(
            f"{megabytes(free)} free at {where}; below {megabytes(wanted)} no sessions are taken",
            "make room before the evening: sudo apt-get clean, sudo journalctl --vacuum-size=50M",
        )
    return ok(f"{megabytes(free)} free at {where}")


def medium(surroundings: Surroundings) -> Finding:
    """What kind of disk it is, and whether the kernel has found fault with it."""
    where = folder(surroundings)
    source, options = _mount(surroundings, where)
    device, name = device_of(surroundings, where)
    if "ro" in options:
        return fail(
            f"{where} can only be read: after errors the kernel lets nobody write any more",
            "sudo dmesg | grep -i error; restart the box; if it comes back, the card is worn out: copy it to a new one",
        )
    errors = surroundings.number(f"/sys/fs/ext4/{device}/errors_count") or 0
    if errors:
        return warn(
            f"the file system of {where} has noted {errors} errors",
            "gsrt backup now; then check it at the next start: add fsck.mode=force to the kernel's command line once",
        )
    if source == "tmpfs" or source == "ramfs":
        return warn(f"{where} is in memory: a restart of the box forgets everything", "name a folder on the disk")
    if is_card(surroundings, name):
        return ok(
            f"{where} is on an SD card, which wears out by writing",
            "keep a copy elsewhere after each evening: gsrt backup",
        )
    return ok(f"{where} is on {name or source or 'a disk'}")


def speed(surroundings: Surroundings) -> Finding:
    """How long it takes until a small write is safe; so long a stored request waits for its answer."""
    where = folder(surroundings)
    try:
        times = sorted(_writes(where))
    except PermissionError:
        return warn(f"cannot measure: this user may not write to {where}", "sudo gsrt doctor")
    except OSError as error:
        return fail(f"cannot write to {where}: {error.strerror}", "see the lines on disk and disk space")
    middle, longest = times[len(times) // 2] * 1000, times[-1] * 1000
    text = f"a small write is safe after {middle:.1f} ms (at worst {longest:.1f} ms of {WRITES})"
    if middle > SLOW_MS:
        return warn(text, "an A1 or A2 class card, or a USB disk, is quicker; or something else is writing now (iotop)")
    return ok(text)


def _writes(where: str) -> Iterator[float]:
    """Seconds that each of some writes with fsync takes, in a file that has no name and so leaves nothing behind."""
    try:
        descriptor = os.open(where, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        from tempfile import mkstemp  # a file system that knows no files without names

        descriptor, path = mkstemp(prefix=".gsrt-doctor-", dir=where)
        os.unlink(path)
    try:
        for _ in range(WRITES):
            began = time.monotonic()
            os.write(descriptor, bytes(WRITE_BYTES))
            os.fsync(descriptor)
            yield time.monotonic() - began
    finally:
        os.close(descriptor)


def _mount(surroundings: Surroundings, where: str) -> tuple[str, frozenset[str]]:
    """(what is mounted there, its options), of /proc/self/mounts (fstab(5)); the longest mount point that fits counts,
    and of equals the last."""
    best: tuple[str, str, frozenset[str]] = ("", "", frozenset())
    resolved = os.path.realpath(where)
    for line in (surroundings.read("/proc/self/mounts") or "").splitlines()[:MOUNTS_MAX]:
        parts = line.split(" ")
        if len(parts) < 4:
            continue
        point = parts[1].replace("\\040", " ")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            source = parts[2] if parts[2] in ("tmpfs", "ramfs") else parts[0]
            best = (point, source, frozenset(parts[3].split(",")))
    return best[1], best[2]


def device_of(surroundings: Surroundings, where: str) -> tuple[str, str]:
    """(name of the partition, name of its disk) that holds a folder, such as ("mmcblk0p2", "mmcblk0"); "" for what is
    no block device."""
    try:
        number = os.stat(where).st_dev
    except OSError:
        return "", ""
    return device_named(surroundings, os.major(number), os.minor(number))


def device_named(surroundings: Surroundings, major: int, minor: int) -> tuple[str, str]:
    """The same by the device's numbers: /sys/dev/block/MAJOR:MINOR leads to .../block/DISK[/PARTITION]."""
    parts = surroundings.link(f"/sys/dev/block/{major}:{minor}").split("/")
    if "block" not in parts[:-1]:
        return "", ""
    return parts[-1], parts[parts.index("block") + 1]


def is_card(surroundings: Surroundings, disk: str) -> bool:
    """Whether a disk is an SD card: MMC devices say what they are, SD or MMC (soldered on)."""
    if not disk.startswith("mmcblk"):
        return False
    return surroundings.word(f"/sys/block/{disk}/device/type") != "MMC"


def is_swap_on_card(surroundings: Surroundings) -> bool:
    """Whether pages are written out to an SD card: /proc/swaps (proc(5)) lists path, type, size, ..."""
    for line in (surroundings.read("/proc/swaps") or "").splitlines()[1:100]:
        parts = line.split()
        if len(parts) < 3 or not whole_number(parts[2]):
            continue
        path, kind = parts[0], parts[1]
        name = path.rpartition("/")[2]
        disk = device_of(surroundings, path)[1] if kind == "file" else name.partition("p")[0]
        if is_card(surroundings, disk):
            return True
    return False

"""What the kernel lets the server have."""

from __future__ import annotations

import sys

from gsrt.accepting import descriptors_needed
from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.surroundings import megabytes, whole_number
from gsrt.transports.port import BACKLOG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

OLDEST = (5, 3)  # pidfd_open(2), by which the server waits for its children
LANDLOCK_SINCE = (5, 13)


def version(surroundings: Surroundings) -> tuple[int, int] | None:
    """(major, minor) of the kernel that runs."""
    major, _, rest = surroundings.word("/proc/sys/kernel/osrelease").partition(".")
    digits = rest[: next((at for at, character in enumerate(rest) if not character.isdigit()), len(rest))]
    numbers = whole_number(major), whole_number(digits)
    return None if None in numbers else numbers  # type: ignore[return-value]  # mypy does not follow `in`


def kernel(surroundings: Surroundings) -> Finding:
    """Its version, and the order of bytes in a word, which the compiled parts rely on."""
    if sys.byteorder != "little":
        return fail("this processor is big-endian", "gsrt does not run there: take another board")
    found = version(surroundings)
    release = surroundings.word("/proc/sys/kernel/osrelease")
    if found is None:
        return warn("cannot tell the kernel's version", "it has to be Linux 5.3 or later: uname -r")
    if found < OLDEST:
        return fail(f"Linux {release} is too old", "it has to be 5.3 or later: sudo apt-get full-upgrade")
    return ok(f"Linux {release}")


def udp_buffers(surroundings: Surroundings) -> Finding:
    """What the kernel lets a UDP socket buffer, against what the profile asks for."""
    profile = surroundings.profile()
    if profile is None:
        return warn("cannot tell without a profile", "see the line on the profile")
    short = []
    for name, key, wanted in (
        ("receive", "rmem_max", profile.udp_receive_buffer_bytes),
        ("send", "wmem_max", profile.udp_send_buffer_bytes),
    ):
        allowed = surroundings.number(f"/proc/sys/net/core/{key}")
        if allowed is not None and allowed < wanted:
            short.append((name, key, allowed, wanted))
    if not short:
        return ok("as large as the profile asks for")
    found = ", ".join(f"{name} {kilobytes(allowed)} of {kilobytes(wanted)}" for name, _, allowed, wanted in short)
    lines = "\\n".join(f"net.core.{key} = {wanted}" for _, key, _, wanted in short)
    return warn(
        f"smaller than the profile asks for ({found}): a burst of packets may not fit",
        f"printf '{lines}\\n' | sudo tee /etc/sysctl.d/60-gsrt.conf && sudo sysctl --system; then restart the server",
    )


def kilobytes(amount: int) -> str:
    return megabytes(amount) if amount >= 1 << 20 else f"{amount >> 10} KiB"


def udp_batches(surroundings: Surroundings) -> Finding:
    """Whether several datagrams can leave with one call (UDP_SEGMENT)."""
    if surroundings.can_segment():
        return ok("several datagrams leave with one call (UDP segmentation offload)")
    return warn(
        "this kernel takes each datagram by itself: the server needs more processor time for the same packets",
        "nothing has to be done; a kernel from 4.18 on can",
    )


def connections(surroundings: Surroundings) -> Finding:
    """Open files and the queue of new connections."""
    profile = surroundings.profile()
    if profile is None:
        return warn("cannot tell without a profile", "see the line on the profile")
    wanted = descriptors_needed(profile)
    allowed, whose = _open_files(surroundings)
    waiting = surroundings.number("/proc/sys/net/core/somaxconn")
    if allowed is not None and allowed < wanted:
        return warn(
            f"{whose} may open {allowed} files; the profile's {profile.connections_max} connections want {wanted}",
            "raise LimitNOFILE= in the unit, or `ulimit -n` in the shell that starts the server",
        )
    if waiting is not None and waiting < BACKLOG:
        return warn(
            f"only {waiting} new connections may wait at once (somaxconn): of a crowd some are refused",
            f"sudo sysctl net.core.somaxconn={BACKLOG}",
        )
    return ok(f"enough files for {profile.connections_max} connections")


def _open_files(surroundings: Surroundings) -> tuple[int | None, str]:
    """(how many files may be open, whose limit that is): the running server's, else what it could raise its own to."""
    status = surroundings.status()
    process = status.get("pid") if status is not None else "self"
    for line in (surroundings.read(f"/proc/{process}/limits") or "").splitlines():
        if line.startswith("Max open files"):
            limits = line.removeprefix("Max open files").split()
            # The server has raised its own limit (the first) as far as it could; another may still do so (the second).
            text = (limits[:2] or [""])[0 if status is not None and len(limits) > 1 else -1]
            return whole_number(text), "the server" if status is not None else "a server started from here"
    return None, ""


def containment(surroundings: Surroundings) -> Finding:
    """Whether the kernel can lock the server in: landlock for files, seccomp for system calls."""
    landlock = surroundings.landlock_version()
    if landlock is None:
        return warn("cannot tell without gsrt's module for Linux's own calls", "see the line on libraries")
    has_seccomp = "errno" in (surroundings.read("/proc/sys/kernel/seccomp/actions_avail") or "").split()
    if landlock > 0 and has_seccomp:
        return ok(f"landlock (version {landlock}) and seccomp are there")
    todo = "nothing has to be done: the server runs without; what holds it then is the systemd unit"
    found = version(surroundings)
    if landlock <= 0 and found is not None and found >= LANDLOCK_SINCE:
        todo += "; where the kernel was built with landlock, lsm=landlock,... on its command line switches it on"
    missing = [name for name, there in (("landlock", landlock > 0), ("seccomp", has_seccomp)) if not there]
    return warn(f"this kernel has no {' and no '.join(missing)}", todo)

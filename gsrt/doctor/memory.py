"""Memory that limits can be set on, and what happens when it is short."""

from __future__ import annotations

from gsrt.doctor.disk import is_swap_on_card
from gsrt.doctor.finding import Finding, ok, warn
from gsrt.doctor.surroundings import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

STRICT_OVERCOMMIT = 2  # vm.overcommit_memory (proc(5)): no more is promised than there is


def limits(surroundings: Surroundings) -> Finding:
    """Whether systemd can hold a service to a limit of memory: the kernel's controller, off by default on a Pi."""
    if surroundings.there("/sys/fs/cgroup/cgroup.controllers"):
        there = "memory" in (surroundings.read("/sys/fs/cgroup/cgroup.controllers") or "").split()
    else:
        there = _of_old_kind(surroundings)
    if there:
        return ok("the kernel can hold a unit to a MemoryMax= or MemoryHigh= (memory controller)")
    return ok(
        "no memory controller: a MemoryMax= or MemoryHigh= in a unit does nothing; the server's own promise holds",
        "on a Pi: add cgroup_enable=memory to the line in /boot/firmware/cmdline.txt, and restart the box",
    )


def _of_old_kind(surroundings: Surroundings) -> bool:
    """The same for version 1: /proc/cgroups (cgroups(7)) has name, hierarchy, number, enabled."""
    for line in (surroundings.read("/proc/cgroups") or "").splitlines()[:100]:
        parts = line.split()
        if len(parts) == 4 and parts[0] == "memory":
            return parts[3] == "1"
    return False


def memory(surroundings: Surroundings) -> Finding:
    """Overcommit, and swap on a card."""
    if surroundings.number("/proc/sys/vm/overcommit_memory") == STRICT_OVERCOMMIT:
        return warn(
            "the kernel promises no more memory than there is: programs that the server starts may fail",
            "sudo sysctl vm.overcommit_memory=0",
        )
    if is_swap_on_card(surroundings):
        return warn(
            "swap is on the SD card: a server whose pages are there stutters, and the card wears out",
            "sudo dphys-swapfile swapoff, zram-tools in its place; or lock_memory = true in the configuration",
        )
    available, total = of_meminfo(surroundings, "MemAvailable"), of_meminfo(surroundings, "MemTotal")
    if available is None or total is None:
        return warn("cannot tell how much is free", "free -m")
    return ok(f"{available >> 20} of {total >> 20} MiB are available")


def of_meminfo(surroundings: Surroundings, name: str) -> int | None:
    """A line of /proc/meminfo (proc(5)) in bytes."""
    for line in (surroundings.read("/proc/meminfo") or "").splitlines()[:200]:
        if line.startswith(f"{name}:"):
            words = line[len(name) + 1 :].split()
            kibibytes = whole_number(words[0]) if words else None
            return None if kibibytes is None else kibibytes * 1024
    return None

"""The wall clock: certificates and what players are given for some days count by it, and a Pi has no battery for it."""

from __future__ import annotations

import os
import time

from gsrt.doctor.finding import Finding, fail, ok, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

SYNCHRONIZED_FILE = "/run/systemd/timesync/synchronized"
# No clock that is right says less: gsrt is younger. 2025-01-01T00:00:00Z.
EARLIEST = 1_735_689_600.0
DAY = 86_400.0


def clock(surroundings: Surroundings) -> Finding:
    """Whether the time is set, and by whom."""
    now = surroundings.now()
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(min(max(now, 0.0), 2**40)))
    if now < earliest(surroundings):
        return fail(
            f"says {shown}, which is over: certificates are not valid yet, what has been stored lies in the future",
            "connect it to the internet once (timedatectl set-ntp true), or set it: sudo date -s '2026-01-31 20:00'",
        )
    synchronized = is_synchronized(surroundings)
    keeps = any(name.startswith("rtc") for name in surroundings.names("/sys/class/rtc"))
    if synchronized:
        return ok(f"{shown}, synchronized")
    without = "" if keeps else "; this box has no battery-backed clock, so it is wrong after each start without network"
    if synchronized is None:
        return warn(
            f"{shown}; cannot tell whether it is synchronized{without}", "compare it with yours; apt-get install chrony"
        )
    return warn(
        f"{shown}, not synchronized{without}",
        "compare it with yours; sudo timedatectl set-ntp true, or sudo date -s '2026-01-31 20:00'",
    )


def is_synchronized(surroundings: Surroundings) -> bool | None:
    """Whether the kernel's clock follows another; None: nobody tells."""
    if surroundings.there(SYNCHRONIZED_FILE):
        return True
    output = surroundings.run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if output is not None and output.status == 0 and output.text.strip() in ("yes", "no"):
        return output.text.strip() == "yes"
    output = surroundings.run("chronyc", "-c", "tracking")
    if output is not None and output.status == 0:  # the last of its comma-separated fields is the leap status
        return "Not synchronised" not in output.text
    return None


def earliest(surroundings: Surroundings) -> float:
    """No time before it can be now: that of the program itself, or of the time the box has last saved."""
    times = [EARLIEST]
    for path in ("/var/lib/systemd/timesync/clock", "/etc/fake-hwclock.data"):
        try:
            times.append(os.stat(surroundings.path(path)).st_mtime - DAY)
        except OSError:
            pass
    return max(times)

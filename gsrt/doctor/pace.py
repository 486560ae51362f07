"""How quickly the processor runs."""

from __future__ import annotations

from gsrt.doctor.finding import Finding, ok, warn
from gsrt.doctor.surroundings import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

PROCESSORS = "/sys/devices/system/cpu"
# What each governor of the kernel's cpufreq means for a game (Documentation/admin-guide/pm/cpufreq.rst).
MEANINGS = {
    "performance": "always at its highest frequency",
    "schedutil": "quicker within milliseconds when there is work",
    "ondemand": "quicker within some tens of milliseconds when there is work",
    "interactive": "quicker at once when there is work",
    "conservative": "gets quicker in small steps, which the first packets after a pause feel",
    "powersave": "always at its lowest frequency",
    "userspace": "at a frequency that a program has set",
}
SLOW = ("conservative", "powersave", "userspace")
CHOOSES_ITSELF = ("intel_pstate", "amd-pstate-epp", "amd-pstate")  # with these drivers `powersave` is the quick kind
QUICKER = "echo schedutil | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


def processor(surroundings: Surroundings) -> Finding:
    """The kernel's frequency governor, and how busy the box is."""
    cores = [
        name for name in surroundings.names(PROCESSORS) if name.startswith("cpu") and whole_number(name[3:]) is not None
    ]
    governors = {surroundings.word(f"{PROCESSORS}/{name}/cpufreq/scaling_governor") for name in cores} - {""}
    drivers = {surroundings.word(f"{PROCESSORS}/{name}/cpufreq/scaling_driver") for name in cores}
    busy = _load(surroundings)
    count = len(cores) or 1
    if busy is not None and busy > 2 * count:
        return warn(
            f"{busy:.1f} programs want the {count} processors, on an average minute",
            "see what else runs (top), and end it",
        )
    if not governors:
        return ok(f"{count} processors of a fixed frequency")
    slow = governors.intersection(SLOW) if not drivers.intersection(CHOOSES_ITSELF) else set()
    text = "; ".join(f"{name}: {MEANINGS.get(name, 'as its name says')}" for name in sorted(governors))
    if slow:
        return warn(text, f"{QUICKER} (performance where there is no schedutil)")
    return ok(text if not drivers.intersection(CHOOSES_ITSELF) else f"{', '.join(sorted(governors))}, chosen by itself")


def _load(surroundings: Surroundings) -> float | None:
    """The load average of a minute, of /proc/loadavg (proc(5))."""
    text = surroundings.word("/proc/loadavg")
    whole, _, fraction = text.partition(".")
    if not (text.isascii() and whole.isdigit() and fraction.isdigit() and len(text) < 12):
        return None
    return float(text)

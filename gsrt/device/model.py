"""Which board this is, and which firmware profile suits it.

Sources: the device tree's root property `model` (Devicetree Specification 0.4, section 2.3.2) as Linux shows it under
/proc/device-tree; on a PC what the kernel's dmi-id driver shows of SMBIOS; proc(5), "/proc/meminfo"; the kernel's
Documentation/admin-guide/cgroup-v2.rst, "memory.max". The boards' names are those that the Raspberry Pi's firmware
writes there.
"""

from __future__ import annotations

import os

MODEL_PATHS = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
DMI_PATHS = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name")
READ_BYTES = 4096  # of any of these files
MODEL_CHARACTERS_MAX = 100  # a name on a line of the log
GROUPS_MAX = 32  # levels of control groups that are looked at

KIB = 1 << 10
MIB = 1 << 20

FAMILY = "Raspberry Pi "
# How the name goes on, the profile for it, and what it has in common with that profile's board. The first that fits
# counts, so a longer name stands before its beginning.
BOARDS = (
    ("Zero 2", "pi-zero-2-w", ""),
    ("Zero", "pi-zero-w", ""),
    ("Compute Module Zero", "pi-zero-2-w", "which has the processor of a Zero 2 W"),
    ("Compute Module 0", "pi-zero-2-w", "which has the processor of a Zero 2 W"),
    ("Compute Module 3", "pi-3b-plus", "which has the processor of a 3B+"),
    ("Compute Module 4", "pi-4", "which has the processor of a 4"),
    ("Compute Module 5", "pi-5", "which has the processor of a 5"),
    ("Compute Module", "pi-zero-w", "which has the processor of a Zero"),
    ("Model ", "pi-zero-w", "which has the processor of a Zero"),
    ("2 ", "pi-zero-2-w", "which is as fast as a Zero 2 W"),
    ("3 ", "pi-3b-plus", ""),
    ("400 ", "pi-4", "which has the processor of a 4"),
    ("4 ", "pi-4", ""),
    ("500 ", "pi-5", "which has the processor of a 5"),
    ("5 ", "pi-5", ""),
)
PC_MACHINES = ("x86_64", "amd64", "i386", "i486", "i586", "i686")

# What each profile promises to take at most (its memory_bytes_max), and the next smaller one: for a box with less than
# twice as much, for the rest of the system needs memory too, and the kernel more for what it sends and receives.
PROMISES = {
    "pc": (2880 * MIB, "generic"),
    "pi-5": (1856 * MIB, "pi-4"),
    "pi-4": (832 * MIB, "pi-3b-plus"),
    "pi-3b-plus": (256 * MIB, "pi-zero-2-w"),
    "generic": (256 * MIB, "pi-zero-2-w"),
    "pi-zero-2-w": (64 * MIB, None),
    "pi-zero-w": (64 * MIB, None),
}
MEMORY_SHARE = 2


def choose(model: str, memory_bytes: int | None, machine: str) -> tuple[str, str]:
    """The name of the profile for the board called MODEL ("" if it has no name), and why it is that one.

    MEMORY_BYTES is what all programs may have (None: not known), MACHINE what uname(2) calls the processor."""
    found = printable(model)
    name, why = _by_name(found, machine)
    smaller = name
    while memory_bytes is not None and (fallback := PROMISES[smaller][1]) and not _bears(smaller, memory_bytes):
        smaller = fallback
    if smaller != name and memory_bytes is not None:
        promised = PROMISES[name][0] // MIB
        why += f"; with {memory_bytes // MIB} MiB of memory {name} would promise too much ({promised} MiB)"
    return smaller, why


def choose_here(root: str = "/") -> tuple[str, str]:
    """The same for this box, whose /proc and /sys are below ROOT."""
    return choose(model_text(root), memory_bytes(root), os.uname().machine)


def model_text(root: str = "/") -> str:
    """What the board calls itself; "" where nothing says so. It comes from outside: at most 4096 bytes are read."""
    for path in MODEL_PATHS:
        if text := _text(os.path.join(root, path)):
            return text
    words = [_text(os.path.join(root, path)) for path in DMI_PATHS]
    return " ".join(word for word in words if word)


def memory_bytes(root: str = "/") -> int | None:
    """The memory of the box, or the part of it that this process's control groups may have; None where nobody says."""
    amounts = [amount for amount in (_total(root), *_allowances(root)) if amount is not None]
    return min(amounts, default=None)


def printable(model: str) -> str:
    """MODEL as it may stand on a line: single spaces, nothing that plays tricks on a terminal, not too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in model)
    return " ".join(text.split())[:MODEL_CHARACTERS_MAX].rstrip()


def _by_name(model: str, machine: str) -> tuple[str, str]:
    if model.startswith(FAMILY):
        rest = model[len(FAMILY) :] + " "
        for start, name, alike in BOARDS:
            if rest.startswith(start):
                return name, f"this is a {model}" + (f", {alike}" if alike else "")
        return "generic", f"there is no profile for this board ({model})"
    if machine in PC_MACHINES:
        return "pc", f"this is a PC ({model or machine})"
    if machine == "armv6l":
        return "pi-zero-w", f"the processor is an {machine}, as in a Pi Zero" + (f" ({model})" if model else "")
    if not model:
        return "generic", f"nothing tells what board this is ({machine})"
    return "generic", f"there is no profile for this board ({model})"


def _bears(name: str, memory: int) -> bool:
    return PROMISES[name][0] * MEMORY_SHARE <= memory


def _text(path: str) -> str:
    """The beginning of a file as far as its first NUL; "" where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return ""
    try:
        data = os.read(descriptor, READ_BYTES)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return data.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _number(text: str) -> int | None:
    """A whole number above 0 of at most 18 digits; None for anything else ("max", for example)."""
    return int(text) or None if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _total(root: str) -> int | None:
    for line in _text(os.path.join(root, "proc/meminfo")).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            amount = _number(rest.removesuffix("kB").strip())
            return None if amount is None else amount * KIB
    return None


def _allowances(root: str) -> list[int | None]:
    """What each control group of version 2 that this process is in allows, from the innermost out."""
    mounted = os.path.join(root, "sys/fs/cgroup")
    group = ""
    for line in _text(os.path.join(root, "proc/self/cgroup")).splitlines():
        if line.startswith("0::/"):
            group = line[len("0::/") :].strip("/")
    parts = [part for part in group.split("/") if part not in ("", "..")][:GROUPS_MAX]
    folders = [os.path.join(mounted, *parts[:length]) for length in range(len(parts), -1, -1)]
    return [_number(_text(os.path.join(folder, "memory.max"))) for folder in folders]

"""What is built for: the machines, and the Pythons of Debian on them."""

from __future__ import annotations

from typing import NamedTuple

# CPython's version -> the Debian release that has it, and so the headers of it for every machine
PYTHONS = {"3.11": "bookworm", "3.13": "trixie"}

# The oldest C library a wheel runs with: that of manylinux_2_17, PEP 600.
GLIBC = "2.17"


class Target(NamedTuple):
    """A kind of machine."""

    name: str
    """As `uname -m` there and Python's sysconfig say."""
    triple: str
    """As Debian names the folder of its libraries, which is also what the compiler is told."""
    cpu: str
    """The oldest processor it has to run on, as zig names it, less what only some of its kind can do."""
    platform: str
    """The platform in the wheel's name."""
    debian: str
    """Debian's name of the architecture."""
    emulator: tuple[str, ...]
    """The command that runs its programs here; for this machine's own kind there is none."""

    def extension_suffix(self, python: str) -> str:
        """How the compiled modules of that Python end."""
        return f".{self.extension_tag(python)}.so"

    def extension_tag(self, python: str) -> str:
        """Python's SOABI."""
        return f"cpython-{python_tag(python)}-{self.triple}"

    def wheel_name(self, version: str, python: str) -> str:
        tag = python_tag(python)
        return f"gsrt-{version}-cp{tag}-cp{tag}-{self.platform}.whl"


def python_tag(python: str) -> str:
    """ "3.11" -> "311"."""
    return python.replace(".", "")


# The Pis' Cortex-A53 and -A72 come without the cryptographic instructions that their names would stand for. There is no
# manylinux for ARMv6, so that wheel is for who takes it by its name: a Pi Zero W, or the first Pi.
TARGETS = (
    Target("x86_64", "x86_64-linux-gnu", "x86_64", "manylinux_2_17_x86_64", "amd64", ()),
    Target(
        "aarch64",
        "aarch64-linux-gnu",
        "cortex_a53-aes-sha2-crc",
        "manylinux_2_17_aarch64",
        "arm64",
        ("qemu-aarch64-static", "-cpu", "cortex-a53"),
    ),
    Target(
        "armv7l",
        "arm-linux-gnueabihf",
        "generic+v7a+vfp3d16-d32-neon",
        "manylinux_2_17_armv7l",
        "armhf",
        ("qemu-arm-static", "-cpu", "cortex-a7"),
    ),
    # Debian's own Python for armhf is for ARMv7, so what it is emulated on is that, too.
    Target(
        "armv6l",
        "arm-linux-gnueabihf",
        "arm1176jzf_s",
        "linux_armv6l",
        "armhf",
        ("qemu-arm-static", "-cpu", "cortex-a7"),
    ),
)


def named(names: str) -> list[Target]:
    """The targets of a list like "aarch64,armv6l"; all of them for "". Raises SystemExit for a name there is not."""
    if not names:
        return list(TARGETS)
    known = {target.name: target for target in TARGETS}
    wanted = names.split(",")
    for name in wanted:
        if name not in known:
            raise SystemExit(f"no such machine: {name}; there are {', '.join(known)}")
    return [known[name] for name in wanted]

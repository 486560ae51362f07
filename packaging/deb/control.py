"""What the package says of itself to dpkg. Format: Debian Policy, chapters 5 and 7."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from cross.targets import PYTHONS

MAINTAINER = "The gsrt maintainers <maintainers@gsrt.invalid>"

# What a server cannot be without (procps has the unit's /bin/kill); the rest of what it uses of others it does without,
# and gsrt doctor says so.
DEPENDS = ("libsodium23 (>= 1.0.18)", "openssl", "procps", "systemd | systemd-standalone-sysusers")
RECOMMENDS = ("python3-cffi-backend (>= 1.15)",)
SUGGESTS = ("avahi-daemon",)

SUMMARY = "lean, self-hosted real-time game server"
DESCRIPTION = (
    "One process serves real-time sessions, players, matchmaking and scripts to",
    "games in the LAN or on the Internet, from a board as small as a Raspberry Pi",
    "Zero. Clients of GameSparks Real-Time connect to it unmodified.",
    "",
    "The server is started with the machine, is bounded by a profile of the board,",
    "and keeps its players through an upgrade of this package.",
)


def debian_version(version: str) -> str:
    """A version as PEP 440 has it, so that dpkg puts what comes before a release there: 0.2.0rc1 -> 0.2.0~rc1."""
    return re.sub(r"\.?(dev|a|b|rc)(?=\d)", r"~\1", version)


def glibc_dependency(symbols: Iterable[str]) -> str:
    """Of version names like GLIBC_2.17 that modules want of the C library: the dependency on the newest of them."""
    wanted = [tuple(int(part) for part in name.removeprefix("GLIBC_").split(".")) for name in symbols]
    return "libc6 (>= " + ".".join(map(str, max(wanted))) + ")"


def python_dependency(pythons: Iterable[str] = tuple(PYTHONS)) -> list[str]:
    """Debian's python3 has to be one there are compiled modules for: ["3.11", "3.13"] shuts 3.12 out as well."""
    minors = sorted(int(python.partition(".")[2]) for python in pythons)
    clauses = [f"python3 (>= 3.{minors[0]})", f"python3 (<< 3.{minors[-1] + 1})"]
    for before, after in itertools.pairwise(minors):
        if after > before + 1:
            clauses.append(f"python3 (<< 3.{before + 1}) | python3 (>= 3.{after})")
    return clauses


def control_file(version: str, architecture: str, installed_kilobytes: int, libc: str) -> str:
    """DEBIAN/control."""
    fields: Mapping[str, str] = {
        "Package": "gsrt",
        "Version": debian_version(version),
        "Architecture": architecture,
        "Maintainer": MAINTAINER,
        "Installed-Size": str(installed_kilobytes),
        "Depends": ", ".join([*python_dependency(), libc, *DEPENDS]),
        "Recommends": ", ".join(RECOMMENDS),
        "Suggests": ", ".join(SUGGESTS),
        "Section": "net",
        "Priority": "optional",
        "Description": SUMMARY,
    }
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, *(f" {line or '.'}" for line in DESCRIPTION)]) + "\n"


def bundled_requirement(project: Path) -> str:
    """The one package of PyPI that gsrt depends on, as pyproject.toml has it. Raises SystemExit for more than that one:
    the package brings it along, for Debian's is older."""
    told = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    others = [each for each in told if not each.startswith(("RestrictedPython", "cffi"))]
    if others:
        raise SystemExit(f"pyproject.toml wants {', '.join(others)}, and nobody has said where Debian gets it from")
    (wanted,) = (each for each in told if each.startswith("RestrictedPython"))
    return str(wanted)

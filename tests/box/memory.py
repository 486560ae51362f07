"""How much memory a server has, as the kernel says."""

from __future__ import annotations

from pathlib import Path

from tests.support.server import ServerProcess

MEBIBYTE = 1 << 20


def held(server: ServerProcess) -> int:
    """Bytes of memory (RSS) that the server has now."""
    return _status(server, "VmRSS")


def peak(server: ServerProcess) -> int:
    """The most that it has had so far."""
    return _status(server, "VmHWM")


def _status(server: ServerProcess, name: str) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell")

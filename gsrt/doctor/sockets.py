"""Who has which port, of /proc/net (proc(5)): local address, state and inode; whose inode it is, of /proc/PID/fd."""

from __future__ import annotations

from gsrt.doctor.surroundings import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsrt.doctor.surroundings import Surroundings

LISTENING = "0A"  # TCP_LISTEN of include/net/tcp_states.h
LOOPBACK_4 = "7F"  # how 127.0.0.0/8 ends in a little-endian machine's hexadecimal form
LOOPBACK_6 = "00000000000000000000000001000000"
MAPPED = "0000000000000000FFFF0000"
LINES_MAX = 65536
PROCESSES_MAX = 32768
WORDS_MAX = 16  # of a command line in which `gsrt` is looked for: Python, perhaps an emulator, and their options first
DESCRIPTORS_MAX = 8192  # looked at of one process


class Socket:
    """A socket that takes what comes at a port. KIND is TCP or UDP; DROPS: datagrams that found its buffer full."""

    __slots__ = ("drops", "inode", "kind", "local_only", "user")

    def __init__(self, kind: str, user: int, inode: int, local_only: bool, drops: int) -> None:
        self.kind = kind
        self.user = user
        self.inode = inode
        self.local_only = local_only  # it is bound to a loopback address
        self.drops = drops


def sockets_at(surroundings: Surroundings, port: int) -> list[Socket]:
    """The sockets bound to PORT, TCP ones only where they listen."""
    return [
        found
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in (surroundings.read(f"/proc/net/{table}") or "").splitlines()[1:LINES_MAX]
        if (found := _socket(table, line, port)) is not None
    ]


def _socket(table: str, line: str, port: int) -> Socket | None:
    """A line's socket, if it is one of PORT's: `sl local remote state tx:rx timer resent uid timeout inode ...`."""
    parts = line.split()
    if len(parts) < 10:
        return None
    address, _, port_text = parts[1].partition(":")
    kind = table[:3].upper()
    try:
        if int(port_text, 16) != port or (kind == "TCP" and parts[3] != LISTENING):
            return None
    except ValueError:
        return None
    user, inode = whole_number(parts[7]), whole_number(parts[9])
    if user is None or inode is None:
        return None
    drops = whole_number(parts[12]) if kind == "UDP" and len(parts) > 12 else 0
    return Socket(kind, user, inode, _is_local(address.upper()), drops or 0)


def _is_local(address: str) -> bool:
    """Whether it is a loopback address; an IPv4 one has 8 digits, or stands in an IPv6 one behind MAPPED."""
    return address == LOOPBACK_6 or (address.endswith(LOOPBACK_4) and address[:-8] in ("", MAPPED))


def holder(surroundings: Surroundings, inode: int) -> int | None:
    """The id of a process that has the socket open; None where none is found, or it is another user's."""
    wanted = f"socket:[{inode}]"
    for process in _processes(surroundings):
        folder = f"/proc/{process}/fd"
        for name in surroundings.names(folder)[:DESCRIPTORS_MAX]:
            if surroundings.link(f"{folder}/{name}") == wanted:
                return process
    return None


def program(surroundings: Surroundings, process: int) -> str:
    """What a process is called."""
    words = (surroundings.read(f"/proc/{process}/cmdline") or "").split("\0")
    name = surroundings.word(f"/proc/{process}/comm") or "?"
    return "gsrt" if any(word.rpartition("/")[2] == "gsrt" for word in words[:WORDS_MAX]) else name


def _processes(surroundings: Surroundings) -> Iterator[int]:
    names = surroundings.names("/proc")
    for name in names[: PROCESSES_MAX * 2]:
        if name.isascii() and name.isdigit() and len(name) <= 10:
            yield int(name)

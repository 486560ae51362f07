"""Avahi, which announces the server by mDNS, if it is there."""

from __future__ import annotations

from gsrt.doctor.finding import Finding, ok, warn
from gsrt.doctor.surroundings import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

PID_FILES = ("/run/avahi-daemon/pid", "/var/run/avahi-daemon/pid")
SERVICE_FILE = "/etc/avahi/services/gsrt.service"


def avahi(surroundings: Surroundings) -> Finding:
    """Whether the daemon runs, and announces the port that the server has."""
    service = surroundings.read(SERVICE_FILE)
    if not any(surroundings.there(path) for path in PID_FILES):
        installed = surroundings.there("/usr/sbin/avahi-daemon")
        what = "is installed but does not run" if installed else "is not installed"
        return ok(
            f"{what}: the server is not announced by mDNS; its own beacon is enough for `gsrt discover`",
            "sudo systemctl enable --now avahi-daemon" if installed else "",
        )
    if service is None:
        return ok("runs, so this box has a .local name; the server itself is not announced by mDNS")
    ports = _ports(service)
    if surroundings.server_port() not in ports:
        return warn(
            f"announces port {', '.join(map(str, ports)) or '?'}, but the server's is {surroundings.server_port()}",
            f"put the port into {SERVICE_FILE}",
        )
    return ok(f"announces port {surroundings.server_port()} by mDNS")


def _ports(service: str) -> list[int]:
    """The ports of avahi.service(5): <port>8784</port>."""
    found = []
    for piece in service.split("<port>")[1:100]:
        number = whole_number(piece.partition("<")[0].strip())
        if number is not None:
            found.append(number)
    return sorted(set(found))

"""The server's port: who has it, and whether what is sent to this box arrives there."""

from __future__ import annotations

import os
import socket
import time

from gsrt.doctor.addresses import interfaces, lan_addresses
from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.sockets import holder, program, sockets_at
from gsrt.doctor.surroundings import whole_number
from gsrt.doctor.users import NAME, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

KINDS = ("TCP", "UDP")
ADDRESSES_MAX = 3  # that are tried
ANSWER_SECONDS = 1.2  # for one address to answer
TRIES_SECONDS = 2.5  # for all of them
ASK_EVERY_SECONDS = 0.2
ANSWER_BYTES = 2048
UNREACHABLE = (OSError, UnicodeError, TypeError)  # the latter two: of a host that is no name at all
PRIVILEGED_PORTS = 1024


def port(surroundings: Surroundings) -> Finding:
    """Whether the port is free, the server's own, or another program's."""
    number = surroundings.server_port()
    found = sockets_at(surroundings, number)
    status = surroundings.status()
    is_ours = status is not None and status.get("port") == number
    if not found and is_ours:
        return warn(
            f"the running server has port {number}, but in a network namespace of its own",
            f"a container? its port has to be published for both: -p {number}:{number}/tcp -p {number}:{number}/udp",
        )
    if not found:
        return _free(surroundings, number)
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in found)]
    if is_ours:
        if len(kinds) < len(KINDS):
            return fail(f"the server has port {number} for {kinds[0]} only", "restart it, and read what its log says")
        if all(one.local_only for one in found):
            return warn(
                f"the server listens at port {number} of the loopback address: nobody on another machine can reach it",
                "serve with host = 0.0.0.0",
            )
        return ok(f"{number} is the running server's, TCP and UDP")
    return _taken(surroundings, number, kinds)


def _free(surroundings: Surroundings, number: int) -> Finding:
    lowest = surroundings.number("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    lowest = PRIVILEGED_PORTS if lowest is None else lowest
    if number < lowest:
        return warn(
            f"{number} is free, but ports under {lowest} are not for everybody",
            f"choose one from {lowest} on, or give the unit AmbientCapabilities=CAP_NET_BIND_SERVICE",
        )
    words = (surroundings.read("/proc/sys/net/ipv4/ip_local_port_range") or "").split()
    if len(words) == 2:
        first, last = map(whole_number, words)
        if first is not None and last is not None and first <= number <= last:
            return warn(
                f"{number} is free now, but the kernel gives out ports from {first} to {last} for other programs",
                f"choose one under {first}, or add it to net.ipv4.ip_local_reserved_ports",
            )
    return ok(f"{number} is free for TCP and UDP")


def _taken(surroundings: Surroundings, number: int, kinds: list[str]) -> Finding:
    named = " and ".join(kinds)
    for one in sockets_at(surroundings, number):
        process = holder(surroundings, one.inode)
        if process is None:
            continue
        name = program(surroundings, process)
        if name == "gsrt":
            return warn(
                f"{number} is that of a gsrt server (process {process}) whose control socket is not the one asked",
                "name it with --control, or run this as the server's user",
            )
        if name == "systemd":
            return ok(f"{number} is held by systemd for the server, which starts with the first packet")
        return fail(
            f"{number} ({named}) is taken by {name}, process {process}", "end that program, or choose another port"
        )
    users = ", ".join(sorted({name_of(surroundings, one.user) for one in sockets_at(surroundings, number)}))
    if users == NAME or surroundings.status_error():
        return warn(
            f"{number} ({named}) is user {users}'s: the server's, which does not answer you", "sudo gsrt doctor"
        )
    return fail(
        f"{number} ({named}) is taken by a program of user {users}; only root may see which",
        f"sudo gsrt doctor tells, or sudo ss -lnptu 'sport = :{number}'",
    )


def reachable(surroundings: Surroundings) -> Finding:
    """Whether a TCP connection and a datagram from this box to its own addresses arrive at the running server."""
    status = surroundings.status()
    if status is None:
        return ok("not tried, for no server runs")
    found = interfaces(surroundings) or []
    addresses = [str(address) for _, address, _ in lan_addresses(found)]
    host = str(status.get("host", ""))
    if host not in ("", "0.0.0.0", "::"):
        addresses = [host]
    elif host == "0.0.0.0":
        addresses = [address for address in addresses if ":" not in address]
    number = surroundings.server_port()
    trouble = []
    end = time.monotonic() + TRIES_SECONDS
    for address in addresses[:ADDRESSES_MAX]:
        missing = [
            kind
            for kind, answers in (("TCP", tcp_answers), ("UDP", udp_answers))
            if not answers(address, number, min(ANSWER_SECONDS, max(end - time.monotonic(), ASK_EVERY_SECONDS)))
        ]
        if missing:
            trouble.append(f"{address} by {' and '.join(missing)}")
    if trouble:
        return fail(
            f"the running server does not answer at {', '.join(trouble)}, port {number}",
            "see the lines on firewall and addresses; if the server is busy, wait and look again",
        )
    if not addresses:
        return warn("nothing to try: the box has no address that others could use", "see the line on addresses")
    return ok(
        f"TCP and UDP arrive at {', '.join(addresses[:ADDRESSES_MAX])}, port {number}, as seen from this box itself",
        "whether the firewall lets others in, only another machine can tell: `gsrt discover` there",
    )


def tcp_answers(address: str, port_number: int, seconds: float) -> bool:
    """Whether somebody takes TCP connections there."""
    try:
        socket.create_connection((address, port_number), seconds).close()
    except UNREACHABLE:
        return False
    return True


def udp_answers(address: str, port_number: int, seconds: float) -> bool:
    """Whether a gsrt server answers a SEEK there (docs/LINK.md, 10)."""
    from gsrt.discovery import HERE, NONCE_BYTES, Notice, seek

    nonce = os.urandom(NONCE_BYTES)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = time.monotonic() + seconds
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((address, port_number))
            while (remaining := end - time.monotonic()) > 0:
                asking.send(seek(nonce))
                asking.settimeout(min(ASK_EVERY_SECONDS, remaining))
                try:
                    here = Notice.from_bytes(asking.recv(ANSWER_BYTES), HERE)
                    if here is not None and here.nonce == nonce:
                        return True
                except TimeoutError:
                    pass
        except UNREACHABLE:
            return False
    return False

"""The port: one number for TCP and UDP, and how its sockets are to behave."""

from __future__ import annotations

import errno
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.profile import Profile

BACKLOG = 1024  # connections the kernel keeps until they are accepted
PORT_ATTEMPTS = 16  # tries to find one number that is free for both TCP and UDP

# Not in the socket module; see socket(7). They need CAP_NET_ADMIN and are not bound by net.core.*mem_max.
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

# Nor are these; see ip(7) and ipv6(7).
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_PROBE = 3
IP_FREEBIND = 15


class PortError(Exception):
    """The port is not to be had; the message says what to do."""


class AddressError(PortError):
    """Nor is any other at this address, as long as this machine does not have that."""


def bind_port(host: str, port: int, *, waits: bool = False) -> tuple[socket.socket, socket.socket]:
    """A listening TCP socket and a UDP socket of one port number (0: any that is free). Where it WAITS, HOST may become
    an address of this machine later; else that is a mistake. PortError."""
    try:
        return _bound(host, port)
    except AddressError:
        if not waits:
            raise
    return _bound(host, port, at_any_address=True)


def has_address(host: str) -> bool:
    """Whether this machine has that IP address, as far as can be told."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as attempt:
        try:
            attempt.bind((host, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def _bound(host: str, port: int, *, at_any_address: bool = False) -> tuple[socket.socket, socket.socket]:
    """Raises PortError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    attempts = PORT_ATTEMPTS if port == 0 else 1
    for attempt in range(attempts):
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        datagrams = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        kind = "TCP"
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if at_any_address:
                for each in (listener, datagrams):
                    each.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)  # of IPv6, too
            listener.bind((host, port))
            kind = "UDP"
            datagrams.bind((host, listener.getsockname()[1]))
            kind = "TCP"
            listener.listen(BACKLOG)
            return listener, datagrams
        except OSError as error:
            listener.close()
            datagrams.close()
            if error.errno == errno.EADDRINUSE and attempt + 1 < attempts:
                continue
            kind_of_error = AddressError if error.errno == errno.EADDRNOTAVAIL else PortError
            raise kind_of_error(_why_not_bound(error, host, port, kind)) from None
    raise AssertionError("the loop above returns or raises")


def _why_not_bound(error: OSError, host: str, port: int, kind: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{kind} port {port} is in use by another program: end it (ss -lnptu shows it) or choose another --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs the right to bind ports under 1024: choose another --port"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine: use 0.0.0.0 for all of them, or see `ip address`"
    return f"cannot listen at {host} port {port} ({kind}): {error.strerror}"


def forbid_fragments(datagrams: socket.socket) -> None:
    """IP's don't-fragment bit for all datagrams, whatever the kernel believes of the path: links find out by themselves
    how long they may be, and datagrams for other clients are shorter than any path requires."""
    datagrams.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
    if datagrams.family == socket.AF_INET6:
        datagrams.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)


def size_buffers(datagrams: socket.socket, profile: Profile) -> None:
    """Asks for the profile's UDP buffers; the kernel gives what it may. What systemd has given is made smaller only
    where that is to be had exactly: rather too much than too little."""
    for forced, plain, size, bound in (
        (SO_RCVBUFFORCE, socket.SO_RCVBUF, profile.udp_receive_buffer_bytes, "rmem_max"),
        (SO_SNDBUFFORCE, socket.SO_SNDBUF, profile.udp_send_buffer_bytes, "wmem_max"),
    ):
        try:
            datagrams.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            given = datagrams.getsockopt(socket.SOL_SOCKET, plain)  # the kernel tells twice what was asked for
            if given < size or (given > 2 * size and size <= bytes_for_anybody(bound)):
                datagrams.setsockopt(socket.SOL_SOCKET, plain, size)


def bytes_for_anybody(bound: str) -> int:
    """That a program without rights gets at most; 0 where the kernel does not say."""
    try:
        with open(f"/proc/sys/net/core/{bound}", "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def bound_stream_buffers(listener: socket.socket, profile: Profile) -> None:
    """Has the kernel keep no more of a connection than the profile says, of all that will be accepted."""
    for option, size in (
        (socket.SO_RCVBUF, profile.tcp_receive_buffer_bytes),
        (socket.SO_SNDBUF, profile.tcp_send_buffer_bytes),
    ):
        if size:
            listener.setsockopt(socket.SOL_SOCKET, option, size)


def tune(connection: socket.socket, profile: Profile) -> None:
    """Has a connection send small packets at once, and notice within the profile's times that the other side is no
    more."""
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, profile.keepalive_idle_seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, profile.keepalive_interval_seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, profile.keepalive_probes)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(profile.user_timeout_seconds * 1000))
    except OSError:
        pass  # already reset by the other side, which the first read will tell

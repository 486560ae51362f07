"""The network interfaces by which others can be reached at once, and how a datagram is sent by one of them.

Sources: netdevice(7), ip(7), ipv6(7). Asked by ioctl(2) of an Internet socket: if_nameindex(3) needs a netlink socket,
which a contained server may not have.
"""

from __future__ import annotations

import errno
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

INTERFACES_MAX = 64  # of them the first are taken: a box with hundreds of virtual ones has no LAN behind each

BROADCAST = "255.255.255.255"
ALL_NODES = "ff02::1"

SIOCGIFCONF = 0x8912
SIOCGIFFLAGS = 0x8913
SIOCGIFINDEX = 0x8933
IFF_UP = 0x1
IFF_BROADCAST = 0x2
IFF_LOOPBACK = 0x8
IP_PKTINFO = 8
IPV6_PKTINFO = 50

NAME_BYTES = 16
_REQUEST_BYTES = NAME_BYTES + struct.calcsize("LLHBBB0L")  # struct ifreq, of which struct ifmap is the longest part
_MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address in an IPv6 one


def broadcasting(any_socket: socket.socket) -> list[int]:
    """The indices of the interfaces that are up, have an IPv4 address and reach others by broadcast. OSError where the
    kernel does not tell."""
    import fcntl

    found: dict[int, None] = {}
    descriptor = any_socket.fileno()
    for name in _names(descriptor):
        try:
            (flags,) = struct.unpack_from("=H", fcntl.ioctl(descriptor, SIOCGIFFLAGS, _request(name)), NAME_BYTES)
            (index,) = struct.unpack_from("=i", fcntl.ioctl(descriptor, SIOCGIFINDEX, _request(name)), NAME_BYTES)
        except OSError as error:
            if error.errno != errno.ENODEV:  # gone meanwhile
                raise
        else:
            if flags & (IFF_UP | IFF_BROADCAST | IFF_LOOPBACK) == IFF_UP | IFF_BROADCAST:
                found[index] = None
    return list(found)[:INTERFACES_MAX]


def send_broadcast(any_socket: socket.socket, datagram: bytes, port: int, index: int) -> None:
    """To `port` of all that the interface of that index reaches; 0: the one with the address the socket is bound to.
    The socket has SO_BROADCAST. OSError."""
    if any_socket.family == socket.AF_INET6:
        host, level, kind = f"::ffff:{BROADCAST}", socket.IPPROTO_IPV6, IPV6_PKTINFO
        info = _MAPPED + bytes(4) + struct.pack("=i", index)
    else:
        host, level, kind = BROADCAST, socket.IPPROTO_IP, IP_PKTINFO
        info = struct.pack("=i8x", index)
    by_which = [(level, kind, info)] if index else []
    any_socket.sendmsg([datagram], by_which, socket.MSG_DONTWAIT, (host, port))


def send_to_all_nodes(ipv6_socket: socket.socket, datagram: bytes, port: int, index: int) -> None:
    """The same for IPv6, which has a group of all nodes instead. OSError."""
    ipv6_socket.sendto(datagram, socket.MSG_DONTWAIT, (ALL_NODES, port, 0, index))


def _names(descriptor: int) -> Iterator[bytes]:
    """The names of all interfaces with an IPv4 address, once for each address."""
    import fcntl
    from array import array

    room = array("B", bytes(_REQUEST_BYTES * 4 * INTERFACES_MAX))
    place, size = room.buffer_info()
    (filled, _) = struct.unpack("iP", fcntl.ioctl(descriptor, SIOCGIFCONF, struct.pack("iP", size, place)))
    listed = room.tobytes()
    for at in range(0, filled, _REQUEST_BYTES):
        yield listed[at : at + NAME_BYTES].rstrip(b"\0")


def _request(name: bytes) -> bytes:
    return name.ljust(_REQUEST_BYTES, b"\0")

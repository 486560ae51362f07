"""A LAN of network namespaces: a TAP device in each, and a hub in this process that their Ethernet frames meet in.

    with Lan("10.78.0.1", "10.78.0.2") as (server, player):
        with player.entered():
            discover()

Nothing has a name outside, and all ends with this process, whatever happens. It takes root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import threading
from types import TracebackType

from tests.support.network import DEVICE, IFF_TAP, IFF_UP, SIOCGIFFLAGS, SIOCSIFFLAGS, Namespace

FRAME_BYTES = 2048


class Host(Namespace):
    """A machine in the LAN."""

    def __init__(self, address: str) -> None:
        super().__init__(address, IFF_TAP)

    def set_device(self, *, up: bool) -> None:
        """Turns its network interface on or off."""
        with self.socket(socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("16s24x", DEVICE)
            (flags,) = struct.unpack_from("=H", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)
            flags = flags | IFF_UP if up else flags & ~IFF_UP
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", DEVICE, flags))


class Lan:
    """Hosts of these addresses, and the hub. `unplugged`: those whose cable is out."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self.unplugged: set[Host] = set()

    def __enter__(self) -> list[Host]:
        with contextlib.ExitStack() as stack:
            self.hosts = [stack.enter_context(Host(address)) for address in self._addresses]
            end, self._end = os.pipe()
            stack.callback(os.close, end)
            self._thread = threading.Thread(target=self._forward, args=(end,), name="hub", daemon=True)
            self._thread.start()
            stack.callback(self._thread.join)
            stack.callback(os.close, self._end)
            self._open = stack.pop_all()
        return self.hosts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def put(self, frame: bytes, *, to: Host) -> None:
        """An Ethernet frame of anybody's making comes to a host."""
        with contextlib.suppress(OSError):  # its device is off
            os.write(to.device, frame)

    def _forward(self, end: int) -> None:
        by_device = {each.device: each for each in self.hosts}
        while True:
            ready, _, _ = select.select([end, *by_device], [], [])
            if end in ready:
                return
            for device in ready:
                try:
                    frame = os.read(device, FRAME_BYTES)
                except OSError:  # taken meanwhile, or the device is off
                    continue
                for each in self.hosts:
                    if each.device != device and not self.unplugged & {by_device[device], each}:
                        self.put(frame, to=each)


def udp_frame(source: str, port: int, target_port: int, payload: bytes) -> bytes:
    """A broadcast UDP datagram as an Ethernet frame, from an address that need not exist (RFC 768, 791)."""
    udp = struct.pack("!HHHH", port, target_port, 8 + len(payload), 0) + payload  # without a checksum
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(udp),
        0,
        0,
        64,
        17,
        0,
        socket.inet_aton(source),
        socket.inet_aton("255.255.255.255"),
    )
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return b"\xff" * 6 + b"\x02gsrt\x01" + b"\x08\x00" + head[:10] + struct.pack("!H", checksum) + head[12:] + udp

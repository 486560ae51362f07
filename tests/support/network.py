"""Two network namespaces with a bad network between them, for real time and any program.

    with Network("loss=5% delay=30ms", seed=1) as network:
        server = network.right.popen([...])  # listens at network.right.address
        network.left.run([...], timeout=30)
        network.counters()

The namespaces have no names, a TUN device each, and nothing else. What goes out of one are IP packets, which a process
reads, gives to the BadLink of their direction, and writes to the other when they are due. Namespaces end with the last
process that holds them, so nothing is left whatever happens. It takes root: CAP_SYS_ADMIN and CAP_NET_ADMIN.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from gsrt.netsim.model import BadLink, Conditions

PROJECT = Path(__file__).resolve().parents[2]

LEFT_ADDRESS = "10.77.0.1"
RIGHT_ADDRESS = "10.77.0.2"
NETMASK = "255.255.255.0"
DEVICE = b"bad0"
MTU = 1500
DEVICE_QUEUE = 10_000  # packets; so that only the BadLink drops, where they come quicker than they are read
IN_FLIGHT_MAX = 200_000  # packets; the test's traffic is bounded, and this is not to be what it meets
READ_BATCH = 64  # packets of one device before those that are due are written
DEADLINE = 10.0  # seconds that the forwarding process may take to answer or to end
LATE_SECONDS = 0.001

# From linux/sched.h, linux/if_tun.h and linux/sockios.h.
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_UP = 0x1
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCSIFADDR = 0x8916
SIOCSIFNETMASK = 0x891C
SIOCSIFMTU = 0x8922
SIOCSIFTXQLEN = 0x8943

_OWN_NAMESPACE = "/proc/thread-self/ns/net"


def why_not() -> str:
    """Why there can be no such network here, in words for a skipped test; "" if there can."""
    try:
        with Namespace(LEFT_ADDRESS):
            return ""
    except OSError as error:
        return f"network namespaces with TUN devices need root and /dev/net/tun: {error}"


class Namespace:
    """A network namespace with one TUN device of this address, or a TAP device (`kind`), which carries Ethernet frames.
    `device` is the descriptor of its packets."""

    def __init__(self, address: str, kind: int = IFF_TUN) -> None:
        self.address = address
        with contextlib.ExitStack() as stack:
            with _returning():
                _checked("unshare", CLONE_NEWNET)
                self._descriptor = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, self._descriptor)
                with contextlib.suppress(OSError):  # only so that it does not ask for routers
                    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
                self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                stack.callback(os.close, self.device)
                fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", DEVICE, kind | IFF_NO_PI))
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                    _set_up(any_socket, address)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self._open.close()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the namespace: the sockets it makes, and the processes it starts, stay there."""
        with _returning():
            _checked("setns", self._descriptor, CLONE_NEWNET)
            yield

    def socket(self, kind: socket.SocketKind) -> socket.socket:
        """A new IPv4 socket of the namespace, which may be used from anywhere."""
        with self.entered():
            return socket.socket(socket.AF_INET, kind)

    def popen(self, words: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Starts a command in the namespace, with the options of subprocess.Popen. It is the caller's to end."""
        with self.entered():
            return subprocess.Popen(words, **options)

    def run(self, words: Sequence[str | Path], timeout: float, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Runs a command there, with the options of subprocess.run."""
        with self.entered():
            return subprocess.run(words, timeout=timeout, **options)

    def dropped(self) -> int:
        """How many packets the device has dropped in either direction, because nobody read them in time."""
        with self.entered():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        fields = next(line for line in lines if line.strip().startswith(DEVICE.decode())).partition(":")[2].split()
        return int(fields[3]) + int(fields[11])


class Network:
    """Two namespaces, `left` and `right`. The conditions are texts of gsrt.netsim; `back` is those from right to left
    where they are others. They count whole IP packets: a datagram and its headers of 28 bytes. Those that are corrupted
    are lost, too: their checksum is wrong."""

    def __init__(self, conditions: str, back: str | None = None, *, seed: int = 0) -> None:
        self._conditions = (conditions, conditions if back is None else back)
        self._seed = seed

    def __enter__(self) -> Network:
        with contextlib.ExitStack() as stack:
            self.left = stack.enter_context(Namespace(LEFT_ADDRESS))
            self.right = stack.enter_context(Namespace(RIGHT_ADDRESS))
            devices = (self.left.device, self.right.device)
            self._forwarder = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, devices), *self._conditions, str(self._seed)],
                cwd=PROJECT,
                pass_fds=devices,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.callback(self._end_forwarder)
            self.counters()  # it runs
            self._open = stack.pop_all()
        return self

    def __exit__(self, *problem: object) -> None:
        self._open.close()

    def counters(self) -> dict[str, dict[str, float]]:
        """Of "right" and "left", named for where the packets go: what the BadLink counts; and of "forwarder": how
        many times it woke to write, how many of them more than LATE_SECONDS late, the latest (s), and how many packets
        the system refused."""
        return self._ask({})

    def change(self, conditions: str, back: str | None = None) -> None:
        """Other conditions from now on, for what is sent from now on."""
        self._ask({"right": conditions, "left": conditions if back is None else back})

    def _ask(self, request: dict[str, str]) -> dict[str, dict[str, float]]:
        assert self._forwarder.stdin is not None and self._forwarder.stdout is not None
        self._forwarder.stdin.write(json.dumps(request).encode() + b"\n")
        self._forwarder.stdin.flush()
        readable, _, _ = select.select([self._forwarder.stdout], [], [], DEADLINE)
        answer = self._forwarder.stdout.readline() if readable else b""
        if not answer:
            raise RuntimeError("the process that forwards packets does not answer")
        found: dict[str, dict[str, float]] = json.loads(answer)
        return found

    def _end_forwarder(self) -> None:
        assert self._forwarder.stdin is not None and self._forwarder.stdout is not None
        self._forwarder.stdin.close()  # that tells it to end
        try:
            self._forwarder.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._forwarder.kill()
            self._forwarder.wait()
        self._forwarder.stdout.close()


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    """At the end this thread is in the namespace that it was in."""
    before = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _checked("setns", before, CLONE_NEWNET)
        finally:
            os.close(before)


def _checked(function: str, *arguments: int) -> None:
    """A function of the C library that says -1 and sets errno. Raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _set_up(any_socket: socket.socket, address: str) -> None:
    """Gives the device its address and size, and turns it and the loopback device on."""

    def request(name: bytes, code: int, value: bytes) -> bytes:
        return fcntl.ioctl(any_socket, code, struct.pack("16s24s", name, value))

    def internet(host: str) -> bytes:
        return struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(host))

    request(DEVICE, SIOCSIFADDR, internet(address))
    request(DEVICE, SIOCSIFNETMASK, internet(NETMASK))
    request(DEVICE, SIOCSIFMTU, struct.pack("=i", MTU))
    request(DEVICE, SIOCSIFTXQLEN, struct.pack("=i", DEVICE_QUEUE))
    for name in (b"lo", DEVICE):
        flags = struct.unpack_from("=H", request(name, SIOCGIFFLAGS, b""), 16)[0]
        request(name, SIOCSIFFLAGS, struct.pack("=H", flags | IFF_UP))


class Direction:
    """Packets that come out of one device and go into the other."""

    def __init__(self, source: int, destination: int, link: BadLink) -> None:
        self.source = source
        self._destination = destination
        self.link = link
        self.wakes = 0
        self.late = 0
        self.latest = 0.0
        self.refused = 0

    def read(self) -> None:
        """Takes what is there, up to READ_BATCH."""
        try:
            for _ in range(READ_BATCH):
                packet = os.read(self.source, MTU)
                if packet[0] >> 4 == 4:  # IPv6 is only the kernel's own talk
                    self.link.put(packet, time.monotonic())
        except BlockingIOError:
            pass

    def write(self, now: float) -> None:
        """Writes what is due."""
        due = self.link.next_time()
        if due is None or due > now:
            return
        self.wakes += 1
        lateness = now - due
        self.latest = max(self.latest, lateness)
        self.late += lateness > LATE_SECONDS
        for packet in self.link.take(now):
            try:
                os.write(self._destination, packet)
            except OSError:  # a wrong bit has made it a packet of no version of IP
                self.refused += 1


def forward(to_right: Direction, to_left: Direction) -> None:
    """Forwards until standard input ends. Each line of it is a JSON object of conditions to change; it is answered."""
    directions = {to_right.source: to_right, to_left.source: to_left}
    links = {"right": to_right.link, "left": to_left.link}
    gc.disable()  # there are no cycles to be found, and the search takes more than a millisecond
    while True:
        timers = [when for link in links.values() if (when := link.next_time()) is not None]
        patience = max(0.0, min(timers) - time.monotonic()) if timers else None
        # select, for it waits microseconds where epoll counts in milliseconds.
        for descriptor in select.select([0, *directions], [], [], patience)[0]:
            if descriptor:
                directions[descriptor].read()
                continue
            line = sys.stdin.buffer.readline()
            if not line:
                return
            for name, text in json.loads(line).items():
                links[name].change(Conditions.parse(text))
            counters: dict[str, dict[str, float]] = {name: {**link.counters()} for name, link in links.items()}
            counters["forwarder"] = {
                "wakes": to_right.wakes + to_left.wakes,
                "late": to_right.late + to_left.late,
                "latest": max(to_right.latest, to_left.latest),
                "refused": to_right.refused + to_left.refused,
            }
            print(json.dumps(counters), flush=True)
        now = time.monotonic()
        for direction in directions.values():
            direction.write(now)


def main() -> None:
    """`python -m tests.support.network LEFT_DEVICE RIGHT_DEVICE TO_RIGHT TO_LEFT SEED`"""
    left, right = int(sys.argv[1]), int(sys.argv[2])
    seed = int(sys.argv[5])
    now = time.monotonic()
    links = [
        BadLink(Conditions.parse(text), 2 * seed + number, origin=now, in_flight_max=IN_FLIGHT_MAX)
        for number, text in enumerate(sys.argv[3:5])
    ]
    with contextlib.suppress(OSError):  # on a busy machine, it comes before what it is to be fair to
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    forward(Direction(left, right, links[0]), Direction(right, left, links[1]))


if __name__ == "__main__":
    main()

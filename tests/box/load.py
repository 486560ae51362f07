"""Load for a small box's server: players of the RT protocol by the hundred, whole sessions of those who do not read,
and strangers who mean ill. One thread, plain sockets; bounded by who calls."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable

from gsrt._core import FrameReader, Packet
from gsrt.protocol.rt import OP_LOGIN_RESULT, login_frame, player_ready_frame
from tests.support.server import Table

READ_BYTES = 1 << 18
FRAME_BYTES_MAX = 1 << 16
OP_BEAT = 11
OP_FLOOD = 12


class Peer:
    """One player by TCP. Until it is told not to, it reads all that comes."""

    def __init__(self, crowd: Crowd, table: Table, index: int) -> None:
        self.crowd = crowd
        self.table = table
        self.seat = table.seats[index]
        self.reads = True
        self.ready = False
        self.lost = False
        self.beats: dict[int, list[int]] = {}  # sender -> numbers, in the order they came
        self._frames = FrameReader(FRAME_BYTES_MAX)
        self._out = bytearray(login_frame(self.seat.token))
        self.socket = socket.create_connection((table.host, table.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        crowd.selector.register(self.socket, selectors.EVENT_READ, self)
        self.flush()

    def stop_reading(self) -> None:
        """From now on nothing is read."""
        self.reads = False
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.crowd.selector.unregister(self.socket)

    def send(self, op_code: int, payload: bytes) -> None:
        """A reliable packet to everyone; not while much is waiting."""
        if not self.lost and len(self._out) < FRAME_BYTES_MAX:
            self._out += Packet(op_code, payload=payload, reliable=True).frame()
            self.flush()

    def flush(self) -> None:
        """What the kernel takes."""
        with contextlib.suppress(BlockingIOError):
            try:
                while self._out:
                    del self._out[: self.socket.send(self._out)]
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    raise
                self._end()

    def readable(self) -> None:
        """Takes what has come."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        for body in self._frames.feed(data):
            packet = Packet.decode(body)
            if packet.op_code == OP_LOGIN_RESULT and not self.ready:
                self.ready = True
                self._out += player_ready_frame()
                self.flush()
            elif packet.op_code == OP_BEAT and packet.payload is not None:
                self.beats.setdefault(packet.sender, []).append(int.from_bytes(packet.payload[:4], "big"))

    def _end(self) -> None:
        if not self.lost:
            self.lost = True
            if self.reads:
                self.crowd.selector.unregister(self.socket)
            self.socket.close()


class Crowd:
    """Players and strangers in one loop."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.peers: list[Peer] = []
        self.strangers: list[socket.socket] = []
        self.beat = 0

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *problem: object) -> None:
        for each in (*(peer.socket for peer in self.peers), *self.strangers):
            each.close()
        self.selector.close()

    def join(self, table: Table, indices: range) -> list[Peer]:
        """These seats of a session are taken."""
        peers = [Peer(self, table, index) for index in indices]
        self.peers += peers
        return peers

    def step(self, longest: float) -> None:
        """What is ready is done."""
        for key, _ in self.selector.select(longest):
            peer: Peer = key.data
            peer.readable()
            peer.flush()

    def until(self, condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
        """Runs until that holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            self.step(0.02)

    def play(self, seconds: float, every: float, work: Callable[[], None] = lambda: None) -> None:
        """Everyone who reads sends a numbered packet at such intervals; `work()` is done in between."""
        end = time.monotonic() + seconds
        due = 0.0
        while (now := time.monotonic()) < end:
            if now >= due:
                due = now + every
                self.beat += 1
                for peer in self.peers:
                    if peer.ready and peer.reads:
                        peer.send(OP_BEAT, self.beat.to_bytes(4, "big") + bytes(96))
            work()
            self.step(0.01)

    # Strangers

    def knock(self, address: tuple[str, int], count: int, first: bytes) -> None:
        """So many connections that send this and then nothing."""
        for _ in range(count):
            stranger = socket.create_connection(address)
            stranger.setblocking(False)
            with contextlib.suppress(OSError):
                stranger.send(first)
            self.strangers.append(stranger)

    def shake_hands(self, address: tuple[str, int], count: int, then: bytes) -> int:
        """So many TLS connections, whose handshake is done, and which then send this: how many came so far."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        done = 0
        for _ in range(count):
            stranger = socket.create_connection(address, timeout=5.0)
            self.strangers.append(stranger)
            with contextlib.suppress(OSError):
                self.strangers[-1] = secured = context.wrap_socket(stranger)
                secured.send(then)
                secured.setblocking(False)
                done += 1
        return done


def junk(address: tuple[str, int], count: int) -> None:
    """Datagrams of strangers: of the link's handshake, of its data, of nothing at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            begin = (b"\x00\x01\x01\x01", b"\x00\x06", b"\x00\x03\x01\x01", b"\x08")[number % 4]
            with contextlib.suppress(OSError):
                sender.sendto(begin + os.urandom(1100), address)

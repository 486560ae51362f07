"""A small RT server for testing the load generator: it relays as it should, or as a fault function says."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterable

from gsrt._core import FrameReader, Packet, split_datagram
from gsrt.protocol import http, rt, websocket

ROOM_SIZE = 4
MAX_FRAME = 4096
WAKE_SECONDS = 0.1

# What becomes of one delivery: (its number from 0, the frame) -> the frames that are sent instead.
Fault = Callable[[int, bytes], Iterable[bytes]]


class Member:
    """One client: token `token-N` makes it client N, peer N % ROOM_SIZE + 1 of room N // ROOM_SIZE."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.number = -1
        self.address: tuple[str, int] | None = None
        self.frames = FrameReader(MAX_FRAME)
        self.web = False
        self.unread = b""

    @property
    def peer_id(self) -> int:
        return self.number % ROOM_SIZE + 1

    def send_reliable(self, frame: bytes) -> None:
        self.connection.sendall(websocket.encode_frame(2, frame) if self.web else frame)


class RelayDouble:
    """Serves on loopback from a thread of its own, between `with` and its end."""

    def __init__(self, fault: Fault = lambda number, frame: (frame,), by_stream: bool = False) -> None:
        self._fault = fault
        self._by_stream = by_stream
        self._members: dict[int, Member] = {}
        self._by_address: dict[tuple[str, int], Member] = {}
        self._deliveries = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._udp, selectors.EVENT_READ, self._read_datagram)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> RelayDouble:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            for key, _mask in self._selector.select(WAKE_SECONDS):
                key.data()

    def _accept(self) -> None:
        connection, _address = self._listener.accept()
        member = Member(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read_stream(member))

    def _read_stream(self, member: Member) -> None:
        try:
            received = member.connection.recv(65536)
        except ConnectionError:
            received = b""
        if not received:
            self._selector.unregister(member.connection)
            member.connection.close()
            return
        member.unread += received
        if member.unread.startswith(b"GET "):
            parsed = http.parse_head(member.unread)
            if parsed is None:
                return
            member.connection.sendall(websocket.accept(parsed[0]))
            member.unread = member.unread[parsed[1] :]
            member.web = True
        content, member.unread = _unmasked(member.unread) if member.web else (member.unread, b"")
        for body in member.frames.feed(content):
            self._take(member, Packet.decode(body))

    def _read_datagram(self) -> None:
        datagram, address = self._udp.recvfrom(2048)
        for body in split_datagram(datagram):
            packet = Packet.decode(body)
            if packet.op_code == rt.OP_LOGIN:
                member = self._members[int(rt.parse_login(packet).token.removeprefix("again-"))]
                member.address = address
                self._by_address[address] = member
                member.send_reliable(self._login_result(member, fast=True))
                self._udp.sendto(rt.udp_connect_frame(), address)
            else:
                self._take(self._by_address[address], packet)

    def _take(self, member: Member, packet: Packet) -> None:
        if packet.op_code == rt.OP_LOGIN:
            member.number = int(rt.parse_login(packet).token.removeprefix("token-"))
            self._members[member.number] = member
            member.send_reliable(self._login_result(member, fast=False))
        elif packet.op_code == rt.OP_PLAYER_READY:
            for other in self._others(member):
                other.send_reliable(rt.player_connect_frame(member.peer_id, range(1, ROOM_SIZE + 1)))
        elif packet.op_code > 0:
            relayed = Packet(packet.op_code, data=packet.data, payload=packet.payload, sender=member.peer_id).frame()
            for other in self._others(member):
                for frame in self._fault(self._deliveries, relayed):
                    self._deliver(other, frame)
                self._deliveries += 1

    def _deliver(self, member: Member, frame: bytes) -> None:
        if member.address and not self._by_stream:
            self._udp.sendto(frame, member.address)
        else:
            member.send_reliable(frame)

    def _others(self, member: Member) -> list[Member]:
        first = member.number // ROOM_SIZE * ROOM_SIZE
        numbers = (number for number in range(first, first + ROOM_SIZE) if number != member.number)
        return [self._members[number] for number in numbers if number in self._members]

    def _login_result(self, member: Member, fast: bool) -> bytes:
        return rt.login_result_frame(f"again-{member.number}", member.peer_id, range(1, ROOM_SIZE + 1), fast=fast)


def _unmasked(received: bytes) -> tuple[bytes, bytes]:
    """The content of all whole frames of under 126 bytes, and what is left."""
    content = b""
    while len(received) >= 6 and len(received) >= 6 + (received[1] & 127):
        length = received[1] & 127
        assert length < 126 and received[1] & 128 and received[0] == 0x82, "the generator sends short masked frames"
        content += websocket.apply_mask(received[6 : 6 + length], received[2:6])
        received = received[6 + length :]
    return content, received

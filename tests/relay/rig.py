"""A relay on a test's table: real sockets on one side, a handler that notes everything on the other, and no clock.

The login of this rig is `packet(0, payload=b"<peer id>")`, by stream and by datagram; opCode -7 opens a member, -5 says
that datagrams arrive. Streams are socket pairs, where what is sent is there at once; `tcp=True` makes loopback TCP.
"""

from __future__ import annotations

import select
import socket
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gsrt._relay import Member, Relay, Room, Stream
from gsrt.profile import Profile
from tests.support import wire

if TYPE_CHECKING:
    from gsrt._links import Leg
    from gsrt._relay import Handler, Layer

GENERIC = Path(__file__).resolve().parents[2] / "firmware_profiles" / "generic.toml"
DEADLINE = 10.0  # seconds that a condition may take on a busy machine; none is waited for unless something is broken

OP_LOGIN, OP_UDP_CONNECT, OP_READY = 0, -5, -7

LOGIN_RESULT = wire.frame(wire.encode_packet(wire.Packet(op_code=-1, payload=b"\x08\x01")))


def profile(**limits: float) -> Profile:
    """The generic profile with other limits."""
    return Profile(tomllib.loads(GENERIC.read_text()) | limits)


def packet(op_code: int, **fields: Any) -> bytes:
    """A frame, from the fields of `wire.Packet`."""
    return wire.frame(wire.encode_packet(wire.Packet(op_code=op_code, **fields)))


def masked(op_code: int, payload: bytes, *, last: bool = True, mask: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A client's WebSocket frame (RFC 6455 section 5.2)."""
    size = len(payload)
    head = bytes((op_code | (0x80 if last else 0),))
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 65536:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))


def message(*frames: bytes) -> bytes:
    """A binary WebSocket message of these frames."""
    return masked(2, b"".join(frames))


def websocket_frames(data: bytes) -> list[tuple[int, bytes]]:
    """(opcode, payload) of a server's frames; each must be whole, unmasked, unfragmented."""
    found = []
    at = 0
    while at < len(data):
        first, size = data[at], data[at + 1]
        assert first & 0xF0 == 0x80, f"frame begins {first:#x}"
        assert size < 0x80, "a server's frame is masked"
        at += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        assert at + size <= len(data), "frame cut short"
        found.append((first & 0x0F, data[at : at + size]))
        at += size
    return found


class Recorder:
    """The relay's handler: notes what happens, logs in whoever says a peer id."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.controls: list[tuple[Stream, int, bytes]] = []
        self.texts: list[tuple[Stream, str]] = []
        self.datagrams: list[tuple[bytes, bytes]] = []
        self.drains: list[Stream] = []
        self.closings: list[tuple[Stream, str, bool]] = []
        self.failures: list[tuple[Stream | None, Exception]] = []
        self.openings: list[bytes] = []
        self.layer: Callable[[], Layer] | None = None
        self.wait = False
        self.on_control: Callable[[Stream, int, bytes, float], None] | None = None
        self.on_text: Callable[[Stream, str, float], None] | None = None
        self.on_datagram: Callable[[bytes, bytes, float], None] | None = None
        self.on_drained: Callable[[Stream, float], None] | None = None
        self.on_closed: Callable[[Stream, str, bool, float], None] | None = None

    def opening(self, stream: Stream, data: bytes) -> str | None:
        self.openings.append(data)
        if self.wait:
            return "wait"
        if data[:1] == b"G":
            return "http" if len(data) >= 4 else None
        if data[:1] == b"\x16" and self.layer is not None and stream.layer is None:
            stream.start_tls(self.layer())
            return "tls"
        return "unknown" if data[:1] == b"?" else "rt"

    def http(self, stream: Stream, data: bytes, now: float) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if data.startswith(b"GET /ws"):
            stream.start_websocket()
        elif data.startswith(b"GET /text/"):
            stream.start_text(int(data.split()[1][6:]))
        elif data.startswith(b"GET /pieces"):
            stream.start_answer()
            stream.write(b"HTTP/1.1 200 OK\r\n\r\n")
            stream.await_drained()
        else:
            stream.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
            stream.finish()
        return end + 4

    def drained(self, stream: Stream, now: float) -> None:
        self.drains.append(stream)
        if self.on_drained is not None:
            self.on_drained(stream, now)

    def control(self, stream: Stream | Leg, op_code: int, packet: bytes, now: float) -> None:
        assert isinstance(stream, Stream)  # no link is opened here
        self.controls.append((stream, op_code, packet))
        if self.on_control is not None:
            self.on_control(stream, op_code, packet, now)
        else:
            self.take_control(stream, op_code, packet)

    def take_control(self, stream: Stream, op_code: int, packet: bytes) -> None:
        """Login, UDPConnect and PlayerReady as the rig has them."""
        if op_code == OP_LOGIN:
            body = wire.decode_packet(packet).payload
            if not body or not body.isdigit():
                stream.close()
                return
            member = self.rig.members[int(body)]
            older = member.stream
            if older is not None:
                member.detach()
                older.close()
            member.attach(stream)
            stream.owner = member
        elif stream.member is not None and op_code == OP_READY:
            stream.member.open()
        elif stream.member is not None and op_code == OP_UDP_CONNECT:
            stream.member.confirm_udp()
        else:
            stream.close()

    def text(self, stream: Stream, message: str, now: float) -> None:
        self.texts.append((stream, message))
        if self.on_text is not None:
            self.on_text(stream, message, now)

    def seek(self, datagram: bytes, now: float) -> bytes | None:
        return None

    def link_opening(self, address: bytes, datagram: bytes, now: float) -> bytes | None:
        return None  # nobody is let in by a link here

    def link_established(self, leg: Leg, now: float) -> None:
        raise AssertionError("no link was opened")

    def datagram(self, address: bytes, packet: bytes, now: float) -> None:
        self.datagrams.append((address, packet))
        if self.on_datagram is not None:
            self.on_datagram(address, packet, now)
            return
        body = wire.decode_packet(packet).payload
        if body and body.isdigit():
            self.rig.members[int(body)].bind(address)

    def closed(self, stream: Stream | Leg, reason: str, orderly: bool, now: float) -> None:
        assert isinstance(stream, Stream)  # no link is opened here
        self.closings.append((stream, reason, orderly))
        if self.on_closed is not None:
            self.on_closed(stream, reason, orderly, now)
        elif stream.owner is not None:
            stream.owner.detach()

    def failed(self, stream: Stream | None, error: Exception, now: float) -> None:
        self.failures.append((stream, error))
        if stream is not None and stream.owner is not None:
            stream.owner.detach()


class Line:
    """The client's end of one stream."""

    def __init__(self, rig: Rig, end: socket.socket, stream: Stream, websocket: bool = False) -> None:
        self.rig = rig
        self.socket = end
        self.stream = stream
        self.websocket = websocket
        self.received = b""
        self.ended = False
        end.setblocking(False)

    def send(self, data: bytes) -> None:
        """Bytes as they are; the peer has to take them all."""
        self.socket.sendall(data)

    def put(self, *frames: bytes) -> None:
        """Frames in the leg's manner, taken by the relay at once."""
        self.send(message(*frames) if self.websocket else b"".join(frames))
        self.rig.take_streams()

    def read(self) -> bytes:
        """What has come since the last reading."""
        pieces = []
        while True:
            try:
                piece = self.socket.recv(1 << 20)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionResetError:
                self.ended = True
                break
            if not piece:
                self.ended = True
                break
            pieces.append(piece)
        return b"".join(pieces)

    def packets(self) -> list[wire.Packet]:
        """The whole packets that have come, read by the strict second codec."""
        self.received += self.read()
        if self.websocket:
            frames = websocket_frames(self.received)
            self.received = b""
            bodies = []
            for op_code, payload in frames:
                if op_code == 2:
                    (body,) = wire.datagram_frames(payload)
                    bodies.append(body)
        else:
            bodies, self.received = wire.split_frames(self.received)
        return [wire.decode_packet(body) for body in bodies]

    def op_codes(self) -> list[int]:
        """The opCodes of the packets that have come."""
        return [each.op_code for each in self.packets()]

    def close(self) -> None:
        """FIN."""
        self.socket.close()


class Post:
    """A client's UDP socket."""

    def __init__(self, rig: Rig, end: socket.socket) -> None:
        self.rig = rig
        self.socket = end
        end.settimeout(DEADLINE)

    def send(self, *datagrams: bytes) -> None:
        """Datagrams, taken by the relay at once."""
        for datagram in datagrams:
            self.socket.send(datagram)
        self.rig.take_datagrams(len(datagrams))

    def datagrams(self, count: int) -> list[bytes]:
        """The next `count`; fails where they do not come, and where more lie there."""
        found = [self.socket.recv(2048) for _ in range(count)]
        assert self.quiet(), f"more than {count} datagrams"
        return found

    def packets(self, count: int) -> list[wire.Packet]:
        """The packets of the next `count` datagrams."""
        return [wire.decode_packet(body) for each in self.datagrams(count) for body in wire.datagram_frames(each)]

    def quiet(self) -> bool:
        """Whether nothing lies there."""
        return not select.select([self.socket], [], [], 0)[0]


class Rig:
    """A relay, one room of members 1..`size`, and sockets that are all closed at the end."""

    def __init__(
        self,
        size: int = 4,
        *,
        family: socket.AddressFamily = socket.AF_INET,
        handler: Handler | None = None,
        **limits: float,
    ) -> None:
        self.now = 1000.0
        self.udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if family == socket.AF_INET6:
            self.udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.udp.bind(("127.0.0.1" if family == socket.AF_INET else "::", 0))
        self.port: int = self.udp.getsockname()[1]
        self.profile = profile(**limits)
        self.handler = Recorder(self)
        self.relay = Relay(self.udp.fileno(), self.profile, handler or self.handler)
        self.room = Room(self.relay)
        self.members = {number: Member(self.room, number) for number in range(1, size + 1)}
        self.sockets: list[socket.socket] = [self.udp]
        self._listener: socket.socket | None = None

    # what a client can do

    def line(self, *, tcp: bool = False, send_buffer: int | None = None) -> Line:
        """A new connection. `send_buffer`: bytes that the kernel takes from the relay, about."""
        name = "test:1"
        if tcp:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", 0))
                self.sockets.append(self._listener)
            far = socket.create_connection(self._listener.getsockname(), timeout=DEADLINE)
            near = self._listener.accept()[0]
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = "{}:{}".format(*near.getpeername())
        else:
            near, far = socket.socketpair()
        near.setblocking(False)
        if send_buffer is not None:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.sockets.append(far)
        return Line(self, far, self.relay.add_stream(near.detach(), name))

    def websocket(self, **how: Any) -> Line:
        """A new connection after its upgrade."""
        line = self.line(**how)
        line.send(b"GET /ws HTTP/1.1\r\n\r\n")
        self.take_streams()
        line.websocket = True
        return line

    def join(self, number: int, *, websocket: bool = False, ready: bool = True, **how: Any) -> Line:
        """A connection that is logged in as that peer, and ready."""
        line = self.websocket(**how) if websocket else self.line(**how)
        line.put(packet(OP_LOGIN, payload=b"%d" % number))
        self.until(lambda: line.stream.member is self.members[number])
        if ready:
            line.put(packet(OP_READY))
            self.until(lambda: self.members[number].is_open)
        return line

    def post(self, number: int | None = None, *, confirmed: bool = True, host: str = "127.0.0.1") -> Post:
        """A UDP socket: of a peer, or of nobody yet."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        far = socket.socket(family, socket.SOCK_DGRAM)
        self.sockets.append(far)
        far.connect((host, self.port))
        post = Post(self, far)
        if number is not None:
            post.send(packet(OP_LOGIN, payload=b"%d" % number))
            if confirmed:
                self.members[number].confirm_udp()
        return post

    # what the loop does

    def take_streams(self) -> None:
        """All that lies ready on streams."""
        while self.relay.receive_streams(self.now):
            if not select.select([self.relay.fileno()], [], [], 0)[0]:
                break

    def take_datagrams(self, count: int) -> None:
        """So many datagrams, once they are there."""
        end = time.monotonic() + DEADLINE
        while count > 0:
            count -= self.relay.receive_datagrams(self.now)
            if count > 0:
                select.select([self.udp], [], [], 0.1)
                assert time.monotonic() < end, f"{count} datagrams have not come"
        assert count == 0, f"{-count} more datagrams than were sent"

    def until(self, condition: Callable[[], object]) -> None:
        """Turns the loop until the condition holds."""
        end = time.monotonic() + DEADLINE
        self.take_streams()
        while not condition():
            assert time.monotonic() < end, "it has not come about"
            select.select([self.relay.fileno(), self.udp.fileno()], [], [], 0.02)
            self.take_streams()

    def flush(self) -> None:
        self.relay.flush()

    def counts(self) -> dict[str, int]:
        """Counters that are not zero."""
        return {name: value for name, value in self.relay.counts().items() if value}

    def drops(self) -> dict[str, int]:
        """Counters of what was dropped, without the word."""
        return {name.removeprefix("dropped_"): n for name, n in self.counts().items() if name.startswith("dropped_")}

    def close(self) -> None:
        for stream in list(self.relay.streams.values()):
            stream.close()
        for member in self.members.values():
            member.leave()
        for each in self.sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            assert not self.handler.failures, f"the handler raised: {self.handler.failures}"

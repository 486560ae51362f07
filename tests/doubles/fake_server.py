"""A small RT server with flaws to order, living in the driver: what the doubles are tested against.

Without flaws it is as plain and correct as a page allows; it takes players "access-1" to "access-9" of one session,
whose reconnect tokens are "again-1" to "again-9".
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
from typing import Literal

from tests.doubles.driver import Driver
from tests.support import wire
from tests.support.wire import LoginResult, Packet, PeerChange

Flaw = Literal[
    "no acknowledgement",
    "acknowledgement over UDP",
    "packed peers",
    "lists lack the recipient",
    "no reconnect token",
    "refusal told",
    "UDP connect for all",
    "unknown field",
    "payload in a record of its own",
    "packet over two messages",
    "two packets in a message",
    "compression accepted",
]


class FakePeer:
    """One TCP connection of the fake server."""

    def __init__(self, server: FakeServer, connection: socket.socket) -> None:
        self.server = server
        self.socket = connection
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = server.context
        self.tls = None if context is None else context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = self.tls is None
        self.writes: list[bytes] = []  # what the client wrote, record by record, in clear
        self.received: list[Packet] = []
        self._buffer = b""
        self.is_websocket = False
        self._upgraded = False
        self.peer_id = 0
        self.ready = False
        self.address: tuple[str, int] | None = None
        self.ended: str | None = None
        server.driver.watch(self)

    def fileno(self) -> int:
        """The descriptor."""
        return self.socket.fileno()

    def on_writable(self, now: float) -> None:
        """Never asked for: the send buffer holds all a test sends."""

    def on_readable(self, now: float) -> None:
        """Read, decrypt, parse."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._end("reset")
            return
        if self.tls is None:
            self._clear(data)
        elif data:
            self._incoming.write(data)
            self._decrypt()
        if not data:
            self._end("fin")

    def _decrypt(self) -> None:
        assert self.tls is not None
        try:
            if not self.established:
                self.tls.do_handshake()
                self.established = True
            while True:
                record = self.tls.read(65536)
                if not record:
                    self._end("close_notify")
                    return
                self._clear(record)
        except ssl.SSLError as error:
            if not isinstance(error, ssl.SSLWantReadError):
                self.ended = self.ended or f"tls: {error.reason}"
        self._flush()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self.socket.fileno() >= 0:
            self.socket.sendall(data)

    def _end(self, how: str) -> None:
        self.ended = self.ended or how
        self.ready = False
        self.server.driver.forget(self)
        self.socket.close()

    def close(self) -> None:
        """End it without a word."""
        self._end("closed by the server")

    def _clear(self, record: bytes) -> None:
        if not record:
            return
        self.writes.append(record)
        self._buffer += record
        if self._buffer.startswith(b"GET ") and not self.is_websocket:
            self.is_websocket = True
        if self.is_websocket:
            self._websocket()
            return
        bodies, self._buffer = wire.split_frames(self._buffer)
        for body in bodies:
            self._packet(body)

    def _websocket(self) -> None:
        if not self._upgraded:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            digest = hashlib.sha1(key.split(b":", 1)[1].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            extension = (
                b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
                if "compression accepted" in self.server.flaws
                else b""
            )
            self.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + extension
                + b"Sec-WebSocket-Accept: "
                + base64.b64encode(digest)
                + b"\r\n\r\n"
            )
            self._upgraded = True
            self._buffer = rest
        while len(self._buffer) >= 6:
            size, start = self._buffer[1] & 0x7F, 2
            if size == 126:
                size, start = int.from_bytes(self._buffer[2:4], "big"), 4
            if len(self._buffer) < start + 4 + size:
                return
            mask = self._buffer[start : start + 4]
            masked = self._buffer[start + 4 : start + 4 + size]
            opcode = self._buffer[0] & 0x0F
            self._buffer = self._buffer[start + 4 + size :]
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))
            if opcode == 0x9:
                self.write(bytes([0x8A, len(payload)]) + payload)
            elif opcode == 0x2:
                for body in wire.datagram_frames(payload):
                    self._packet(body)

    def _packet(self, body: bytes) -> None:
        packet = wire.decode_packet(body)
        self.received.append(packet)
        self.server.on_packet(self, packet)

    def write(self, record: bytes) -> None:
        """One record: a TLS record or one send()."""
        if self.ended is not None:
            return
        if self.tls is None:
            self.socket.sendall(record)
        else:
            self.tls.write(record)
            self._flush()

    def message(self, payload: bytes, opcode: int = 0x82) -> None:
        """One WebSocket frame, unmasked."""
        if len(payload) < 126:
            head = bytes([opcode, len(payload)])
        else:
            head = bytes([opcode, 126]) + len(payload).to_bytes(2, "big")
        self.write(head + payload)

    def send(self, packet: Packet) -> None:
        """One packet in one write or message, unless a flaw says otherwise."""
        body = wire.encode_packet(packet)
        if "unknown field" in self.server.flaws:
            at = body.find(b"\x7a")
            body = body[:at] + wire.length_delimited(9, b"new") + body[at:]
        frame = wire.frame(body)
        if self.is_websocket and "packet over two messages" in self.server.flaws:
            self.message(frame[:-3])
            self.message(frame[-3:])
        elif self.is_websocket:
            self.message(frame)
        elif "payload in a record of its own" in self.server.flaws and packet.payload:
            self.write(frame[:-3])
            self.write(frame[-3:])
        else:
            self.write(frame)

    def datagram(self, data: bytes) -> None:
        """By UDP to where its login came from."""
        assert self.address is not None
        self.server.udp.sendto(data, self.address)


class FakeServer:
    """Listens on one loopback port, TCP and UDP. `context` makes its TCP side TLS."""

    def __init__(self, context: ssl.SSLContext | None = None, flaws: tuple[Flaw, ...] = ()) -> None:
        self.context = context
        self.flaws = flaws
        self.peers: list[FakePeer] = []
        self.datagrams: list[bytes] = []

    def start(self, driver: Driver) -> None:
        """Bind both sockets."""
        self.driver = driver
        for _ in range(50):
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.udp.bind(("127.0.0.1", self.port))
                break
            except OSError:
                self.listener.close()
                self.udp.close()
        self.listener.setblocking(False)
        self.udp.setblocking(False)
        driver.watch(_Accepts(self))
        driver.watch(_Datagrams(self))

    def latest(self) -> FakePeer:
        """The newest connection."""
        return self.peers[-1]

    def of(self, peer_id: int) -> FakePeer:
        """The newest connection of a peer."""
        return [peer for peer in self.peers if peer.peer_id == peer_id][-1]

    def on_packet(self, peer: FakePeer, packet: Packet) -> None:
        """What a server does with a packet from the reliable leg."""
        if packet.op_code == wire.OP_LOGIN and not peer.peer_id:
            assert packet.payload is not None
            token = wire.read_fields(packet.payload)[0][2].decode()
            if not token.startswith(("access-", "again-")):
                peer.close()
                return
            peer.peer_id = int(token.rsplit("-")[1])
            self._login_result(peer, None)
        elif packet.op_code == wire.OP_PLAYER_READY:
            peer.ready = True
            for other in self._logged_in():
                if other is not peer:
                    self._peer_change(other, wire.OP_PLAYER_CONNECT, peer.peer_id)
        elif packet.op_code > 0:
            for other in self._logged_in():
                if other is not peer and (not packet.targets or other.peer_id in packet.targets):
                    other.send(
                        Packet(
                            packet.op_code,
                            sender=peer.peer_id,
                            data=packet.data,
                            payload=packet.payload or None,
                        )
                    )

    def _logged_in(self) -> list[FakePeer]:
        return [peer for peer in self.peers if peer.peer_id and peer.ended is None]

    def _list_for(self, peer: FakePeer) -> tuple[int, ...]:
        ids = sorted({one.peer_id for one in self._logged_in()})
        if "lists lack the recipient" in self.flaws:
            ids.remove(peer.peer_id)
        return tuple(ids)

    def _pack(self, body: bytes) -> bytes:
        if "packed peers" not in self.flaws:
            return body
        plain = wire.decode_login_result(body)
        return wire.encode_login_result(
            LoginResult(plain.success, plain.reconnect_token, plain.peer_id, (), plain.fast_port)
        ) + wire.length_delimited(4, bytes(plain.active_peers))

    def login_result(self, peer: FakePeer, reliable: bool | None) -> Packet:
        """The LoginResult packet as the flaws want it."""
        token = None if "no reconnect token" in self.flaws else b"again-%d" % peer.peer_id
        result = LoginResult("refusal told" not in self.flaws, token, peer.peer_id, self._list_for(peer), None)
        return Packet(wire.OP_LOGIN_RESULT, reliable=reliable, payload=self._pack(wire.encode_login_result(result)))

    def _login_result(self, peer: FakePeer, reliable: bool | None) -> None:
        peer.send(self.login_result(peer, reliable))
        if "UDP connect for all" in self.flaws and peer.is_websocket:
            peer.send(Packet(wire.OP_UDP_CONNECT, payload=b""))
        if "two packets in a message" in self.flaws and peer.is_websocket:
            one = wire.frame(wire.encode_packet(Packet(70, sender=0, data=b"")))
            peer.message(one + one)

    def _peer_change(self, peer: FakePeer, op_code: int, peer_id: int) -> None:
        peer.send(Packet(op_code, payload=wire.encode_peer_change(PeerChange(peer_id, self._list_for(peer)))))

    def on_datagram(self, datagram: bytes, address: tuple[str, int]) -> None:
        """UDP logins are acknowledged; other packets are only kept."""
        self.datagrams.append(datagram)
        for body in wire.datagram_frames(datagram):
            packet = wire.decode_packet(body)
            if packet.op_code != wire.OP_LOGIN or packet.payload is None:
                continue
            token = wire.read_fields(packet.payload)[0][2].decode()
            peer = self.of(int(token.rsplit("-")[1]))
            peer.address = address
            if "no acknowledgement" in self.flaws:
                continue
            if "acknowledgement over UDP" in self.flaws:
                peer.datagram(wire.frame(wire.encode_packet(self.login_result(peer, False))))
            else:
                self._login_result(peer, False)
            peer.datagram(bytes.fromhex("0408097a00"))

    def next_timer(self) -> float | None:
        """It has no timers."""
        return None

    def handle_timer(self, now: float) -> None:
        """It has no timers."""

    def describe(self) -> str:
        """For a failing test."""
        return f"fake server: {[(peer.peer_id, peer.ended, len(peer.received)) for peer in self.peers]}"

    def dispose(self) -> None:
        """Close everything."""
        for peer in self.peers:
            peer.socket.close()
        self.listener.close()
        self.udp.close()


class _Accepts:
    """The fake server's listening socket."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def fileno(self) -> int:
        return self._server.listener.fileno()

    def on_writable(self, now: float) -> None:
        return None

    def on_readable(self, now: float) -> None:
        connection, _ = self._server.listener.accept()
        self._server.peers.append(FakePeer(self._server, connection))


class _Datagrams:
    """The fake server's UDP socket."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def fileno(self) -> int:
        return self._server.udp.fileno()

    def on_writable(self, now: float) -> None:
        return None

    def on_readable(self, now: float) -> None:
        datagram, address = self._server.udp.recvfrom(65535)
        self._server.on_datagram(datagram, address)

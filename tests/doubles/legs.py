"""Sockets of a test client: a byte stream with or without TLS, WebSocket over it, and datagrams.

A stream hands on *records*: what one recv() of the real client could return at most (one TLS record; without TLS what
the kernel held). Each write() is one record and one system call, as the clients' separate writes are.
"""

from __future__ import annotations

import base64
import errno
import os
import socket
import ssl
import struct
from collections.abc import Callable

from tests.doubles.driver import Driver
from tests.support.link import LossyLink

RECORD_LIMIT = 16384

CSHARP_CIPHERS = ":".join(
    (
        "ECDHE-RSA-DES-CBC3-SHA",
        "ECDHE-RSA-AES128-SHA256",
        "AES128-SHA256",
        "ECDHE-RSA-AES128-SHA",
        "AES128-SHA",
        "ECDHE-ECDSA-DES-CBC3-SHA",
    )
)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def cpp_context() -> ssl.SSLContext:
    """TLS 1.2 exactly, GCM or CBC, no certificate check (C++ on Linux)."""
    context = _unverified()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def csharp_context() -> ssl.SSLContext:
    """At most TLS 1.2 and CBC suites only: what OpenSSL still has of the list C# offers."""
    context = _unverified()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CSHARP_CIPHERS)
    return context


def browser_context() -> ssl.SSLContext:
    """Whatever is newest; browsers ask for HTTP/1.1 by ALPN when they want a WebSocket."""
    context = _unverified()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Stream:
    """A TCP connection. `on_record(record, now)` for each record read, `on_end(how, now)` once: how it ended.

    `how` is one of "refused", "reset", "fin", "close_notify", "tls: <reason>".
    """

    def __init__(
        self,
        driver: Driver,
        address: tuple[str, int],
        context: ssl.SSLContext | None,
        *,
        on_open: Callable[[float], None],
        on_record: Callable[[bytes, float], None],
        on_end: Callable[[str, float], None],
        receive_buffer: int | None = None,
        source_address: str | None = None,
    ) -> None:
        self._driver = driver
        self._on_open = on_open
        self._on_record = on_record
        self._on_end = on_end
        self._held: bytearray = bytearray()
        self._connected = False
        self.open = False
        self.ended: str | None = None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if source_address is not None:
            self.socket.bind((source_address, 0))
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = None if context is None else context.wrap_bio(self._incoming, self._outgoing)
        code = self.socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self.socket.close()
            raise OSError(code, os.strerror(code))
        driver.watch(self, write=True)

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self.socket.fileno()

    def on_writable(self, now: float) -> None:
        """Connected, or room in the kernel's buffer again."""
        if not self._connected:
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._end("refused" if code == errno.ECONNREFUSED else errno.errorcode[code], now)
                return
            self._connected = True
            if self.tls is None:
                self._opened(now)
            else:
                self._handshake(now)
        self._flush(now)

    def _opened(self, now: float) -> None:
        self.open = True
        self._on_open(now)

    def _handshake(self, now: float) -> None:
        assert self.tls is not None
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._take_outgoing(now)
            return
        except ssl.SSLError as error:
            self._take_outgoing(now)
            self._end(f"tls: {error.reason}", now)
            return
        self._take_outgoing(now)
        self._opened(now)

    def _take_outgoing(self, now: float) -> None:
        self._held += self._outgoing.read()
        self._flush(now)

    def write(self, record: bytes, now: float) -> None:
        """One write of the client: one TLS record, or one send()."""
        if self.ended is not None:
            return
        if self.tls is None:
            self._held += record
            self._flush(now)
            return
        try:
            self.tls.write(record)
        except ssl.SSLError as error:
            self._end(f"tls: {error.reason}", now)
            return
        self._take_outgoing(now)

    def write_raw(self, data: bytes, now: float) -> None:
        """Bytes on the TCP connection itself, whatever TLS thinks of them."""
        self._held += data
        self._flush(now)

    def _flush(self, now: float) -> None:
        if self.ended is not None or not self._connected:
            return
        while self._held:
            try:
                sent = self.socket.send(self._held)
            except BlockingIOError:
                break
            except OSError as error:
                self._end(_how(error), now)
                return
            del self._held[:sent]
        self._driver.watch(self, write=bool(self._held))

    def on_readable(self, now: float) -> None:
        """Read all there is, hand it on record by record."""
        if not self._connected:
            self.on_writable(now)
            return
        for _ in range(16):
            if self.ended is not None:
                return
            try:
                data = self.socket.recv(262144)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(_how(error), now)
                return
            if self.tls is not None:
                self._decrypt(data, now)
            elif data:
                self._on_record(data, now)
            if not data:
                self._end("fin", now)
                return

    def _decrypt(self, data: bytes, now: float) -> None:
        assert self.tls is not None
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        if not self.open:
            self._handshake(now)
        while self.open and self.ended is None:
            try:
                record = self.tls.read(RECORD_LIMIT + 1)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLEOFError:
                break
            except ssl.SSLError as error:
                self._end(f"tls: {error.reason}", now)
                break
            if not record:
                self._end("close_notify", now)
                break
            self._on_record(record, now)

    def _end(self, how: str, now: float) -> None:
        if self.ended is not None:
            return
        self.ended = how
        self.open = False
        self._driver.forget(self)
        self.socket.close()
        self._on_end(how, now)

    def pause_reading(self) -> None:
        """A slow reader: leave what comes in the kernel."""
        self._driver.forget(self)

    def resume_reading(self) -> None:
        """Read again."""
        if self.ended is None:
            self._driver.watch(self, write=bool(self._held))

    def shut_writing(self) -> None:
        """FIN without close: the other direction stays open."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Orderly: close_notify with TLS, then FIN."""
        if self.ended is not None:
            return
        self.ended = "closed here"
        self.open = False
        self._driver.forget(self)
        if self.tls is not None and self._connected:
            self._close_notify()
            try:
                self.socket.send(self._held)
            except OSError:
                pass
        try:
            # as mbedTLS and .NET do: the FIN goes out before the kernel may answer unread bytes with a reset
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def _close_notify(self) -> None:
        assert self.tls is not None
        try:
            self.tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass
        self._held += self._outgoing.read()

    def say_goodbye(self, now: float) -> None:
        """close_notify alone; TCP stays open."""
        self._close_notify()
        self._flush(now)

    def reset(self) -> None:
        """RST: the connection is lost, not closed."""
        if self.ended is not None:
            return
        self.ended = "reset here"
        self.open = False
        self._driver.forget(self)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def _how(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "refused"
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return "reset"
    return errno.errorcode.get(error.errno or 0, "error")


class Datagrams:
    """A UDP socket bound to one server address, its datagrams passing a lossy link where one is given."""

    def __init__(
        self,
        driver: Driver,
        address: tuple[str, int],
        on_datagram: Callable[[bytes, float], None],
        link: LossyLink | None = None,
    ) -> None:
        self._driver = driver
        self._address = address
        self._on_datagram = on_datagram
        self._link = link
        self._open_socket()

    def _open_socket(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.connect(self._address)
        self._driver.watch(self)

    def rebind(self) -> None:
        """What a NAT does: from now on another source port."""
        self.close()
        self._open_socket()

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self.socket.fileno()

    def on_writable(self, now: float) -> None:
        """Never asked for."""

    def on_readable(self, now: float) -> None:
        """Read what has come."""
        while self.socket.fileno() >= 0:
            try:
                datagram = self.socket.recv(65535)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            if self._link is None:
                self._on_datagram(datagram, now)
            else:
                self._link.carry(datagram, now, self._on_datagram)

    def send(self, datagram: bytes, now: float) -> None:
        """One datagram; what the kernel will not take is lost, as on any network."""
        if self._link is None:
            self._put(datagram, now)
        else:
            self._link.carry(datagram, now, self._put)

    def _put(self, datagram: bytes, _now: float) -> None:
        if self.socket.fileno() < 0:
            return
        try:
            self.socket.send(datagram)
        except (ConnectionRefusedError, BlockingIOError):
            pass

    def close(self) -> None:
        """Nothing is said on UDP."""
        self._driver.forget(self)
        self.socket.close()


class MessageError(Exception):
    """The server broke the WebSocket protocol."""


class WebSocketFrames:
    """Client side of RFC 6455 over a `Stream`'s bytes: upgrade, then messages. No extension is understood."""

    def __init__(self, host: str, extra_headers: tuple[str, ...] = (), *, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._key = base64.b64encode(entropy(16)).decode()
        self._extra_headers = extra_headers
        self._host = host
        self._buffer = b""
        self._parts: list[bytes] | None = None
        self.upgraded = False
        self.pongs: list[bytes] = []
        self.pings: list[bytes] = []
        self.close_code: int | None = None

    def request(self) -> bytes:
        """The upgrade request: path `/`, no subprotocol, no cookies."""
        lines = (
            "GET / HTTP/1.1",
            f"Host: {self._host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key}",
            "Sec-WebSocket-Version: 13",
            *self._extra_headers,
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def received(self, data: bytes) -> list[bytes]:
        """Binary messages that have become whole. Raises MessageError."""
        self._buffer += data
        if not self.upgraded and not self._read_response():
            return []
        messages: list[bytes] = []
        while (frame := self._next_frame()) is not None:
            message = self._frame(*frame)
            if message is not None:
                messages.append(message)
        return messages

    def _read_response(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head, self._buffer = self._buffer[:end].decode("latin-1"), self._buffer[end + 4 :]
        status, *lines = head.split("\r\n")
        if status.split(" ")[1] != "101":
            raise MessageError(f"upgrade refused: {status}")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("sec-websocket-accept") != accept_key(self._key):
            raise MessageError("wrong Sec-WebSocket-Accept")
        if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in headers.get("connection", "").lower():
            raise MessageError("no upgrade")
        for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
            if name in headers:
                raise MessageError(f"{name} was never asked for or must be declined")
        self.upgraded = True
        return True

    def _next_frame(self) -> tuple[int, bool, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        if buffer[0] & 0x70:
            raise MessageError("reserved bits set")
        if buffer[1] & 0x80:
            raise MessageError("frame from the server is masked")
        size, start = buffer[1], 2
        if size == 126:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start or len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        return buffer[0] & 0x0F, bool(buffer[0] & 0x80), buffer[start : start + size]

    def _frame(self, opcode: int, final: bool, payload: bytes) -> bytes | None:
        if opcode == 0x8:
            self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
        elif opcode == 0x9:
            self.pings.append(payload)
        elif opcode == 0xA:
            self.pongs.append(payload)
        elif opcode == (0x2 if self._parts is None else 0x0):
            self._parts = [*(self._parts or []), payload]
            if final:
                message, self._parts = b"".join(self._parts), None
                return message
        else:
            raise MessageError(f"frame of opcode {opcode}")
        return None

    def frame(self, opcode: int, payload: bytes, final: bool = True) -> bytes:
        """A masked frame."""
        mask = self._entropy(4)
        size = len(payload)
        head = bytes([opcode | (0x80 if final else 0)])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
        repeated = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
        return head + mask + masked


def accept_key(key: str) -> str:
    """The answer to a Sec-WebSocket-Key."""
    import hashlib

    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()

"""A server that does just what a test tells it to, over real loopback sockets: TCP (or TLS) and UDP on one port."""

from __future__ import annotations

import socket
import ssl
import struct
from collections import deque
from types import TracebackType

from gsrt._core import FrameReader, Packet, split_datagram
from gsrt.protocol import rt

DEADLINE = 10.0  # seconds that anything in these tests may take at most


class ServedStream:
    """The server's end of one stream."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = FrameReader(1 << 20)
        self._packets: deque[Packet] = deque()

    def read(self) -> Packet:
        """The next packet; EOFError where the client has closed the stream."""
        while not self._packets:
            received = self._socket.recv(65_536)
            if not received:
                self._socket.close()
                raise EOFError
            self._packets.extend(map(Packet.decode, self._reader.feed(received)))
        return self._packets.popleft()

    def read_login(self) -> str:
        """The token of the login that must come now."""
        return rt.parse_login(self.read()).token

    def write(self, *frames: bytes) -> None:
        self._socket.sendall(b"".join(frames))

    def reset(self) -> None:
        """End the stream in disorder."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        self._socket.close()


class ScriptedServer:
    """Listens from the start; every call that waits raises TimeoutError after DEADLINE."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._streams: list[ServedStream] = []
        self._listener, self._datagrams = self._bind()
        self.port: int = self._listener.getsockname()[1]

    @staticmethod
    def _bind() -> tuple[socket.socket, socket.socket]:
        for _ in range(50):
            listener = socket.create_server(("127.0.0.1", 0))
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                datagrams.bind(listener.getsockname())
            except OSError:  # the UDP port of that number is taken
                listener.close()
                datagrams.close()
                continue
            listener.settimeout(DEADLINE)
            datagrams.settimeout(DEADLINE)
            return listener, datagrams
        raise OSError("no port number is free for TCP and UDP")

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_streams()
        self._listener.close()
        self._datagrams.close()

    def close_streams(self) -> None:
        for stream in self._streams:
            stream.close()

    def accept(self) -> ServedStream:
        connection, _ = self._listener.accept()
        connection.settimeout(DEADLINE)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        stream = ServedStream(connection)
        self._streams.append(stream)
        return stream

    def read_datagram(self) -> tuple[list[Packet], tuple[str, int]]:
        """The packets of the next datagram, and where it came from."""
        datagram, address = self._datagrams.recvfrom(65_536)
        return [Packet.decode(body) for body in split_datagram(datagram)], address

    def read_raw_datagram(self) -> bytes:
        """The next datagram, whatever it is."""
        return self._datagrams.recv(65_536)

    def write_datagram(self, address: tuple[str, int], *frames: bytes) -> None:
        self._datagrams.sendto(b"".join(frames), address)

    def admit(self, peer_id: int = 1, peers: tuple[int, ...] = (), token: str = "reconnect") -> ServedStream:
        """Accept one player and go through the login without UDP logins being looked at, up to the player's ready."""
        stream = self.accept()
        stream.read_login()
        stream.write(*(rt.login_result_frame(token, peer_id, peers, fast=fast) for fast in (False, True)))
        assert stream.read().op_code == rt.OP_PLAYER_READY
        return stream

    def admit_with_udp(self, peer_id: int = 1, peers: tuple[int, ...] = ()) -> tuple[ServedStream, tuple[str, int]]:
        """Accept one player and go through the whole sequence; the stream, and the player's UDP address."""
        stream = self.accept()
        stream.read_login()
        stream.write(rt.login_result_frame("reconnect", peer_id, peers))
        [login], address = self.read_datagram()
        assert rt.parse_login(login).token == "reconnect"
        stream.write(rt.login_result_frame("reconnect", peer_id, peers, fast=True))
        assert stream.read().op_code == rt.OP_PLAYER_READY
        self.write_datagram(address, rt.udp_connect_frame())
        assert stream.read().op_code == rt.OP_UDP_CONNECT
        return stream, address

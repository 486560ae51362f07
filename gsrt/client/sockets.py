"""The client's sockets: a stream (TCP, or TLS over it) and datagrams beside it, or those of a link. None blocks."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    Address = tuple[int, tuple[object, ...]]  # family, and what connect() takes

READ_BYTES = 65_536
KEEP_ALIVE_IDLE = 10  # seconds of silence until the first probe: a server that vanished is noticed within 25 s
KEEP_ALIVE_INTERVAL = 5
KEEP_ALIVE_PROBES = 3
UNACKNOWLEDGED_MS = 20_000  # what was sent and not acknowledged for so long ends the connection
CLOSE_SECONDS = 1.0  # an orderly close waits at most so long for the server's end of it

LINK_ADDRESSES_MAX = 4  # of one host that a link's greeting goes to at once
LINK_RECEIVE_BUFFER_BYTES = 1_048_576  # between two updates; the system may give less
# Linux' numbers, which `socket` does not name: set the don't-fragment bit, and believe nobody about the path's size.
_MTU_DISCOVERY = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
_MTU_DISCOVERY_PROBE = 3

# Both kinds hold no file descriptor of their own, so that one can be made for each wait.
WaitSelector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host, in the order to be tried. A name may ask the network and so block.

    Raises ConnectionError where there is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectionError(f"cannot find the host {host!r}: {error}; check its spelling and the network") from error
    return [(family, address) for family, _, _, _, address in found]


def make_tls_context(verify: bool) -> ssl.SSLContext:
    """TLS for a client; `verify` False takes any certificate, such as a server's self-signed one."""
    import ssl

    if verify:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Stream:
    """A stream to the first of `addresses` that answers. Calls raise OSError when it has ended in disorder."""

    def __init__(self, addresses: list[Address], tls_context: ssl.SSLContext | None, host: str) -> None:
        self._addresses = addresses
        self._tls_context = tls_context
        self._host = host
        self._index = 0
        self._socket: socket.socket | None = None
        self._handshaking = False
        self._handshake_writes = False
        self._again: tuple[type[OSError], ...] = (BlockingIOError, InterruptedError)
        self._pending = bytearray()
        self.is_open = False

    @property
    def address(self) -> Address:
        """The address that is being dialled, or was reached."""
        return self._addresses[self._index]

    @property
    def pending(self) -> int:
        """Bytes taken by send() that the system has not taken yet."""
        return len(self._pending)

    @property
    def wants_write(self) -> bool:
        """Whether the next step waits for the socket to take bytes."""
        if self.is_open:
            return bool(self._pending)
        return not self._handshaking or self._handshake_writes

    def fileno(self) -> int:
        """The socket's file descriptor, -1 if there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def advance(self) -> bool:
        """Go on with dialling; True from the moment that bytes can be sent."""
        while not self.is_open:
            try:
                if not self._advance_once():
                    return False
            except OSError:
                self.close()
                if self._handshaking or self._index + 1 >= len(self._addresses):
                    raise
                self._index += 1
        return True

    def _advance_once(self) -> bool:
        """One step; False: to be continued when the socket is ready."""
        if self._socket is None:
            self._dial()
        assert self._socket is not None
        if not self._handshaking:
            if not _is_writable(self._socket):
                return False
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            _tune(self._socket)
            if self._tls_context is None:
                self.is_open = True
                return True
            self._start_handshake(self._tls_context)
        return self._shake_hands()

    def _dial(self) -> None:
        family, address = self.address
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        code = self._socket.connect_ex(address)
        if code and not _is_in_progress(code):
            raise OSError(code, os.strerror(code))

    def _start_handshake(self, context: ssl.SSLContext) -> None:
        import ssl

        assert self._socket is not None
        self._again = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._handshaking = True
        self._socket = context.wrap_socket(self._socket, server_hostname=self._host, do_handshake_on_connect=False)

    def _shake_hands(self) -> bool:
        import ssl

        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._handshake_writes = False
            return False
        except ssl.SSLWantWriteError:
            self._handshake_writes = True
            return False
        self._handshaking = False
        self.is_open = True
        return True

    def receive(self) -> bytes | None:
        """What has arrived; None: nothing now; b"": the server has closed the stream."""
        assert self._socket is not None
        try:
            return self._socket.recv(READ_BYTES)
        except self._again:
            return None

    def send(self, data: bytes) -> None:
        """Take `data`, and hand the system as much of what was taken as it accepts."""
        assert self._socket is not None
        self._pending += data
        while self._pending:
            try:
                del self._pending[: self._socket.send(self._pending)]
            except self._again:
                return

    def close(self) -> None:
        """End the stream at once."""
        self.is_open = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close_orderly(self) -> None:
        """Send what is taken, say goodbye and wait for the server's, all within CLOSE_SECONDS. Raises nothing."""
        if self._socket is None or not self.is_open:
            self.close()
            return
        deadline = time.monotonic() + CLOSE_SECONDS
        try:
            while self._pending and _wait_until(self._socket, selectors.EVENT_WRITE, deadline):
                self.send(b"")
            self._say_goodbye()
            # Closing with bytes unread would reset the connection, and a reset is a loss, not a farewell.
            while _wait_until(self._socket, selectors.EVENT_READ, deadline):
                if self.receive() == b"":
                    break
        except OSError:
            pass  # the server was quicker
        finally:
            self.close()

    def _say_goodbye(self) -> None:
        assert self._socket is not None
        if self._tls_context is not None:
            import ssl

            assert isinstance(self._socket, ssl.SSLSocket)
            try:
                self._socket.unwrap()
            except OSError:
                pass  # our close_notify is out; the server's comes later, if at all
            self._again = (BlockingIOError, InterruptedError)
            self._socket = socket.socket(fileno=self._socket.detach())
        self._socket.shutdown(socket.SHUT_WR)


class DatagramSocket:
    """Datagrams to and from one address. Nothing is raised: what cannot be sent is lost, as any datagram may be."""

    def __init__(self, stream_address: Address, port: int | None) -> None:
        """The host of `stream_address`, at `port` or at the stream's port. Raises OSError (no descriptors left)."""
        family, address = stream_address
        self.lost = 0
        self.refused = False  # the system there has said that the port is nobody's
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect((address[0], address[1] if port is None else port, *address[2:]))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._socket.fileno()

    def send(self, datagram: bytes) -> None:
        """Send, or count as lost."""
        try:
            self._socket.send(datagram)
        except ConnectionRefusedError:  # which is the answer to an earlier one
            self.refused = True
            self.lost += 1
        except OSError:
            self.lost += 1

    def receive(self) -> bytes | None:
        """The next datagram; None: nothing now."""
        try:
            return self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except ConnectionRefusedError:
            self.refused = True
            return b""
        except OSError:
            return b""  # word that one of ours was not wanted; the next read tells more

    def tune_for_link(self, family: int) -> None:
        """Larger datagrams, never cut by the network, and room for what comes between two updates."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LINK_RECEIVE_BUFFER_BYTES)
        option = _MTU_DISCOVERY.get(socket.AddressFamily(family))
        if sys.platform == "linux" and option is not None:
            self._socket.setsockopt(*option, _MTU_DISCOVERY_PROBE)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class LinkSockets:
    """A link's datagram sockets: to each address of the server until it has answered over one of them."""

    def __init__(self, addresses: list[Address]) -> None:
        """Raises OSError where not a single one can be had (no network, no descriptors left)."""
        self._sockets: list[tuple[Address, DatagramSocket]] = []
        error: OSError | None = None
        for address in list(dict.fromkeys(addresses))[:LINK_ADDRESSES_MAX]:
            try:
                self._sockets.append((address, DatagramSocket(address, None)))
            except OSError as raised:
                error = raised
        if error is not None and not self._sockets:
            raise error
        for (family, _), opened in self._sockets:
            opened.tune_for_link(family)

    def filenos(self) -> list[int]:
        """The sockets' file descriptors."""
        return [opened.fileno() for _, opened in self._sockets]

    @property
    def addresses(self) -> list[Address]:
        """Where datagrams go to."""
        return [address for address, _ in self._sockets]

    def send(self, datagram: bytes) -> None:
        """Send to each address that is left."""
        for _, opened in self._sockets:
            opened.send(datagram)

    def receive(self) -> tuple[bytes, Address] | None:
        """The next datagram and where it came from; None: nothing now."""
        for address, opened in self._sockets:
            datagram = opened.receive()
            if datagram is not None:
                return datagram, address
        return None

    def keep(self, address: Address) -> None:
        """Close all but the socket to that address."""
        for other, opened in self._sockets:
            if other != address:
                opened.close()
        self._sockets = [kept for kept in self._sockets if kept[0] == address]

    def take_refusal(self) -> bool:
        """Whether, since the last call, word has come that the port is nobody's, of every address that is left."""
        if not all(opened.refused for _, opened in self._sockets):
            return False
        for _, opened in self._sockets:
            opened.refused = False
        return True

    def close(self) -> None:
        """Close all."""
        for _, opened in self._sockets:
            opened.close()


def _is_in_progress(code: int) -> bool:
    return code in (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))


def _is_writable(stream: socket.socket) -> bool:
    with WaitSelector() as selector:
        selector.register(stream, selectors.EVENT_WRITE)
        return bool(selector.select(0))


def _wait_until(stream: socket.socket, event: int, deadline: float) -> bool:
    """Wait for `event`; False when `deadline` has passed."""
    with WaitSelector() as selector:
        selector.register(stream, event)
        return bool(selector.select(max(0.0, deadline - time.monotonic())))


def _tune(stream: socket.socket) -> None:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEP_ALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEP_ALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEP_ALIVE_PROBES),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ):
        option = getattr(socket, name, None)  # not every system has each of them
        if option is not None:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)

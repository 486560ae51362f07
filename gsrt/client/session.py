"""`Session`: one player's place in one session, over real sockets."""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
import time

from gsrt.client.sockets import DatagramSocket, Stream, WaitSelector, make_tls_context, resolve
from gsrt.protocol.rt import Intent
from gsrt.protocol.rt_client import (
    ClientConnection,
    ConnectionState,
    Failed,
    Lost,
    PacketReceived,
    PeerConnected,
    PeerDisconnected,
    Ready,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from gsrt._core import Data, Packet, _Writable
    from gsrt.client.sockets import Address
    from gsrt.protocol.rt_client import Event

READS_PER_UPDATE = 64  # of each socket: a flood must not keep update() from returning


class Session:
    """Joins the session that `access_token` is for, and returns to it by itself after a loss.

    Three ways to drive it, one at a time:

    * `start()`, then `update()` every frame: never blocks, callbacks run inside update();
    * `run()`: blocks until stop() is called in a callback or another thread, or until the seconds given are over;
    * `start_background()`: a thread of its own, in which the callbacks run.

    `send` and `stop` may be called from any thread and from callbacks. An exception in a callback comes out of
    update() or run(); in the background it is reported as an uncaught one and the session goes on.

    Callbacks: `on_ready(ready)` True when packets flow (again), False when the connection is lost; `on_data(packet)`;
    `on_player_connect(peer_id)`; `on_player_disconnect(peer_id)`.
    `tls` wraps the stream; `verify` then asks for a certificate that this system trusts and that names the host.
    Raises ValueError for a token that cannot be sent.

    Attributes for reading: `problem` (why there is no connection, in words; None while ready or before the first
    trouble), `failures` and `refusals` (attempts in a row that failed, and those where the server refused the token).
    """

    def __init__(
        self,
        host: str,
        port: int,
        access_token: str,
        *,
        on_ready: Callable[[bool], object] | None = None,
        on_data: Callable[[Packet], object] | None = None,
        on_player_connect: Callable[[int], object] | None = None,
        on_player_disconnect: Callable[[int], object] | None = None,
        tls: bool = False,
        verify: bool = False,
    ) -> None:
        self._host = host
        self._port = port
        self._on_ready = on_ready
        self._on_data = on_data
        self._on_player_connect = on_player_connect
        self._on_player_disconnect = on_player_disconnect
        self._tls = tls
        self._verify = verify
        self._tls_context: ssl.SSLContext | None = None
        self._connection = ClientConnection(access_token, entropy=os.urandom)
        self._lock = threading.Lock()  # guards all below and the connection; never held while a callback runs
        self._addresses: list[Address] = []
        self._stream: Stream | None = None
        self._stream_number = 0
        self._datagrams: DatagramSocket | None = None
        self._running = False
        self._more_to_read = False
        self._waker: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self.problem: str | None = None

    @property
    def ready(self) -> bool:
        """Whether packets flow."""
        return self._connection.ready

    @property
    def peer_id(self) -> int:
        """This player's id in the session; 0 before the first login."""
        return self._connection.peer_id

    @property
    def active_peers(self) -> tuple[int, ...]:
        """Who is in the session, this player included once ready."""
        return self._connection.active_peers

    @property
    def failures(self) -> int:
        """Attempts in a row that ended without a lasting connection."""
        return self._connection.failures

    @property
    def refusals(self) -> int:
        """Logins in a row that the server refused."""
        return self._connection.refusals

    def start(self) -> None:
        """Begin to connect; nothing if begun. A host name is looked up here, which may block for a moment.

        Raises ConnectionError where the host is unknown.
        """
        self._await_stopped_thread()
        with self._lock:
            if self._running:
                return
            if not self._addresses:
                self._addresses = resolve(self._host, self._port)
            if self._tls and self._tls_context is None:
                self._tls_context = make_tls_context(self._verify)
            self._running = True
            self._connection.start(time.monotonic())
            self._exchange(time.monotonic())

    def update(self) -> None:
        """Receive, call back, send: once a frame. Never waits; does nothing before start() and after stop()."""
        with self._lock:
            if not self._running:
                return
            self._exchange(time.monotonic())
        self._call_back()

    def run(self, seconds: float | None = None) -> None:
        """Start if need be, and drive the session until stop() is called or `seconds` have passed (it stays joined)."""
        self.start()
        if self._thread is not None:
            raise RuntimeError("the session runs in the background already; call either run() or start_background()")
        self._open_waker()
        try:
            self._drive(None if seconds is None else time.monotonic() + seconds)
        finally:
            self._close_waker()

    def start_background(self) -> None:
        """Start if need be and drive the session in a thread of its own until stop() is called."""
        self.start()
        if self._thread is None:
            self._open_waker()
            self._thread = threading.Thread(target=self._drive_in_background, name="gsrt session", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Leave the session: the others are told at once. Waits for the server's goodbye, at most about a second.

        start() afterwards comes back as the same player.
        """
        with self._lock:
            if self._running:
                self._flush()
                self._running = False
                self._connection.close()
            stream, self._stream = self._stream, None
            datagrams, self._datagrams = self._datagrams, None
            self._wake()
        if stream is not None:
            stream.close_orderly()
        if datagrams is not None:
            datagrams.close()
        self._await_stopped_thread()

    def send(
        self,
        op_code: int,
        intent: Intent = Intent.RELIABLE,
        data: Data | Mapping[int, _Writable] | None = None,
        payload: bytes | None = None,
        peers: Iterable[int] = (),
    ) -> int:
        """Send a packet to `peers` (none named: all others; 0: the server). Returns its bytes on the wire.

        0 means that it was not sent, since there is no connection now or the server takes nothing. Raises ValueError
        for an opCode below 1, a peer id below 0, and a packet over 16,000 bytes.
        """
        with self._lock:
            size = self._connection.send(op_code, intent, data, payload, peers)
            if size:
                self._flush()
                if self._stream is not None and self._stream.pending:
                    self._wake()  # so that a waiting thread waits for the socket to take the rest
            return size

    # Driving. Methods from here to _call_back are called with the lock held, unless they say otherwise.

    def _exchange(self, now: float) -> None:
        """One round: timers, stream, datagrams, output."""
        self._connection.handle_timer(now)
        self._follow_wanted_stream(now)
        try:
            self._exchange_stream(now)
        except OSError as error:
            self._connection.stream_lost(now, self._describe(error))
        self._receive_datagrams(now)
        self._flush()
        self._follow_wanted_stream(now)

    def _follow_wanted_stream(self, now: float) -> None:
        wanted = self._connection.wanted_stream
        if self._stream is not None and self._stream_number != wanted:
            self._stream.close()
            self._stream = None
            if self._datagrams is not None:
                self._datagrams.close()
                self._datagrams = None
        if wanted and self._stream is None:
            self._stream = Stream(self._addresses, self._tls_context, self._host)
            self._stream_number = wanted

    def _exchange_stream(self, now: float) -> None:
        stream = self._stream
        self._more_to_read = False
        if stream is None:
            return
        if not stream.is_open:
            if not stream.advance():
                return
            self._connection.stream_opened(now)
        for _ in range(READS_PER_UPDATE):
            chunk = stream.receive()
            if chunk is None:
                return
            if not chunk:
                self._connection.stream_lost(now)
                return
            self._connection.receive_stream(chunk, now)
            if self._connection.wanted_stream != self._stream_number:
                return
        self._more_to_read = True

    def _receive_datagrams(self, now: float) -> None:
        if self._datagrams is None:
            return
        for _ in range(READS_PER_UPDATE):
            datagram = self._datagrams.receive()
            if datagram is None:
                return
            if datagram:
                self._connection.receive_datagram(datagram, now)
        self._more_to_read = True

    def _flush(self) -> None:
        stream = self._stream
        if stream is None or not stream.is_open or self._connection.wanted_stream != self._stream_number:
            return
        for datagram in self._connection.datagrams_to_send():
            if self._datagrams is None:
                try:
                    self._datagrams = DatagramSocket(stream.address, self._connection.fast_port)
                except OSError:
                    break  # without UDP, then; a repeat of the login tries again
            self._datagrams.send(datagram)
        try:
            stream.send(b"")
            if not stream.pending:
                stream.send(self._connection.stream_to_send())
        except OSError:
            pass  # reading tells the same, after what the server still had to say

    def _describe(self, error: OSError) -> str:
        what = error.strerror or str(error)
        if self._connection.state == ConnectionState.CONNECTING:
            return f"cannot connect to {self._host} port {self._port}: {what}"
        return f"the connection broke: {what}"

    def _wake(self) -> None:
        if self._waker is not None:
            try:
                self._waker[1].send(b"\0")
            except BlockingIOError:
                pass  # enough wake-ups are waiting there

    # Called without the lock.

    def _call_back(self) -> None:
        while True:
            with self._lock:
                event = self._connection.next_event()
            if event is None:
                return
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, PacketReceived):
            if self._on_data is not None:
                self._on_data(event.packet)
        elif isinstance(event, PeerConnected):
            if self._on_player_connect is not None:
                self._on_player_connect(event.peer_id)
        elif isinstance(event, PeerDisconnected):
            if self._on_player_disconnect is not None:
                self._on_player_disconnect(event.peer_id)
        elif isinstance(event, Failed):
            self.problem = event.reason
        else:
            self.problem = event.reason if isinstance(event, Lost) else None
            if self._on_ready is not None:
                self._on_ready(isinstance(event, Ready))

    def _drive(self, deadline: float | None) -> None:
        while self._running:
            self.update()
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return
            self._wait(deadline, now)

    def _drive_in_background(self) -> None:
        while self._running:
            try:
                self._drive(None)
            except Exception:
                kind, value, trace = sys.exc_info()
                assert kind is not None
                threading.excepthook(threading.ExceptHookArgs((kind, value, trace, threading.current_thread())))
        self._close_waker()

    def _await_stopped_thread(self) -> None:
        """After stop(): wait for the background thread's end, unless this is that thread (a callback)."""
        thread = self._thread
        if thread is not None and not self._running and thread is not threading.current_thread():
            thread.join()
            self._thread = None

    def _open_waker(self) -> None:
        with self._lock:
            self._waker = socket.socketpair()
            for end in self._waker:
                end.setblocking(False)

    def _close_waker(self) -> None:
        with self._lock:
            if self._waker is not None:
                for end in self._waker:
                    end.close()
                self._waker = None

    def _wait(self, deadline: float | None, now: float) -> None:
        """Wait until a socket or a timer has something to do, someone wakes us, or `deadline`."""
        with self._lock:
            if not self._running or self._more_to_read or self._waker is None:
                return
            waker = self._waker[0]
            watched = {waker.fileno(): selectors.EVENT_READ}
            if self._stream is not None and self._stream.fileno() >= 0:
                write = selectors.EVENT_WRITE if self._stream.wants_write else 0
                watched[self._stream.fileno()] = selectors.EVENT_READ | write
            if self._datagrams is not None:
                watched[self._datagrams.fileno()] = selectors.EVENT_READ
            times = [at for at in (deadline, self._connection.next_timer()) if at is not None]
        timeout = max(0.0, min(times) - now) if times else None
        with WaitSelector() as selector:
            for descriptor, events in watched.items():
                selector.register(descriptor, events)
            selector.select(timeout)
        try:
            waker.recv(4096)
        except BlockingIOError:
            pass

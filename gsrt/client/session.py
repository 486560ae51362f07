"""`Session`: one player's place in one session, over real sockets."""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
import time

from gsrt.client.sockets import (
    CLOSE_SECONDS,
    DatagramSocket,
    LinkSockets,
    Stream,
    WaitSelector,
    make_tls_context,
    resolve,
)
from gsrt.protocol.client_connection import (
    ConnectionState,
    Failed,
    Lost,
    PacketReceived,
    PeerConnected,
    PeerDisconnected,
    Ready,
)
from gsrt.protocol.either_client import EitherConnection
from gsrt.protocol.link import SUITE_CHACHA20_POLY1305, SUITE_INSECURE
from gsrt.protocol.rt import Intent

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from gsrt._core import Data, Packet, _Writable
    from gsrt.client.sockets import Address
    from gsrt.protocol.client_connection import Event

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
    `link`: None tries the gsrt link (one encrypted UDP socket for everything) and takes TCP with UDP beside it where
    nothing answers to that; True insists on the link; False does without. `insecure` asks for a link that is not
    encrypted, which only a server with --insecure-link offers. `tls` wraps the stream, and so does without the link
    unless `link` is True; `verify` then asks for a certificate that this system trusts and that names the host.
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
        link: bool | None = None,
        insecure: bool = False,
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
        self._connection = EitherConnection(
            access_token,
            entropy=os.urandom,
            link=False if tls and link is None else link,
            suite=SUITE_INSECURE if insecure else SUITE_CHACHA20_POLY1305,
        )
        self._lock = threading.Lock()  # guards all below and the connection; never held while a callback runs
        self._addresses: list[Address] = []
        self._stream: Stream | None = None
        self._stream_number = 0
        self._datagrams: DatagramSocket | None = None
        self._link_sockets: LinkSockets | None = None
        self._link_number = 0
        self._link_addresses: list[Address] = []  # those over which the link that is open was answered
        self._running = False
        self._more_to_read = False
        self._waker: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._sleeps_until: float | None = (
            None  # the thread that waits in _wait, without being woken; None: nobody waits
        )
        self.problem: str | None = None

    @property
    def ready(self) -> bool:
        """Whether packets flow."""
        return self._connection.ready

    @property
    def leg(self) -> str:
        """What packets take now, or the attempt does: "link", "tcp", "tls", "tcp+udp" or "tls+udp"."""
        if self._connection.over_link:
            return "link"
        stream = "tls" if self._tls else "tcp"
        return f"{stream}+udp" if self._connection.state >= ConnectionState.RELIABLE_AND_FAST_SEND else stream

    @property
    def quality(self) -> dict[str, float] | None:
        """What the link knows of the path; None where it does not yet, and without a link.

        rtt, rtt_variation, min_rtt, jitter (seconds), loss (0 to 1, of what we send), bandwidth (bytes a second that
        have got through), congestion_window, datagram_bytes (bytes).
        """
        with self._lock:
            return self._connection.quality

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
        """Leave the session: the others are told. Waits until the server has all that was sent, at most about a second.

        start() afterwards comes back as the same player.
        """
        with self._lock:
            if self._running:
                self._flush()
                self._running = False
                self._wake()
                self._await_delivery()
                self._connection.close(time.monotonic())
                self._flush()
            stream, self._stream = self._stream, None
            datagrams, self._datagrams = self._datagrams, None
            link_sockets, self._link_sockets = self._link_sockets, None
        if stream is not None:
            stream.close_orderly()
        for sockets in (datagrams, link_sockets):
            if sockets is not None:
                sockets.close()
        self._await_stopped_thread()

    def send(
        self,
        op_code: int,
        intent: Intent = Intent.RELIABLE,
        data: Data | Mapping[int, _Writable] | None = None,
        payload: bytes | None = None,
        peers: Iterable[int] = (),
        channel: int = 0,
    ) -> int:
        """Send a packet to `peers` (none named: all others; 0: the server). Returns its bytes on the wire.

        Over a link, reliable packets of one `channel` (0 to 15) are in order and wait for each other, those of
        different ones do not; RELIABLE_UNORDERED ones wait for none. On other legs all reliable packets are in order.
        0 means that it was not sent, since there is no connection now or the server takes nothing. Raises ValueError
        for an opCode below 1, a peer id below 0, a channel that there is not, and a packet over 16,000 bytes (over a
        link: what the server takes, up to 262,144).
        """
        with self._lock:
            size = self._connection.send(op_code, intent, data, payload, peers, channel, now=time.monotonic())
            if size:
                self._flush()
                if self._waits_too_long():
                    self._wake()
            return size

    # Driving. Methods from here to _call_back are called with the lock held, unless they say otherwise.

    def _exchange(self, now: float) -> None:
        """One round: the link's datagrams, timers, stream, its datagrams, output."""
        self._more_to_read = False
        self._receive_over_link(now)  # before the timers: what waits here is not late
        self._connection.handle_timer(now)
        self._follow_wishes(now)
        try:
            self._exchange_stream(now)
        except OSError as error:
            self._connection.stream_lost(now, self._describe(error))
        self._receive_datagrams(now)
        self._flush()
        self._follow_wishes(now)

    def _follow_wishes(self, now: float) -> None:
        """Has the sockets that the connection wants, and no others."""
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
            self._more_to_read = True  # it is to be dialled
        wanted = self._connection.wanted_socket
        if self._link_sockets is not None and self._link_number != wanted:
            if not wanted:
                self._flush()  # a goodbye
            self._link_sockets.close()
            self._link_sockets = None
        if wanted and self._link_sockets is None:
            self._link_number = wanted
            try:
                self._link_sockets = LinkSockets(self._link_addresses if self._connection.answered else self._addresses)
            except OSError as error:
                self._connection.unreachable(now, self._describe(error))
                self._more_to_read = True  # there may be another wish now

    def _exchange_stream(self, now: float) -> None:
        stream = self._stream
        if stream is None:
            return
        self._more_to_read = False
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

    def _receive_over_link(self, now: float) -> None:
        sockets = self._link_sockets
        if sockets is None:
            return
        for _ in range(READS_PER_UPDATE):
            received = sockets.receive()
            if received is None:
                break
            datagram, address = received
            if datagram:
                self._connection.receive_datagram(datagram, now)
                if self._connection.answered and self._link_addresses != [address]:
                    self._link_addresses = [address]
                if self._connection.answered and sockets.addresses != [address]:
                    sockets.keep(address)
        else:
            self._more_to_read = True
        if sockets.take_refusal():
            self._connection.unreachable(now, f"cannot connect to {self._host} port {self._port}: nobody has that port")

    def _await_delivery(self) -> None:
        """Over a link: until the server has acknowledged what is reliable, at most CLOSE_SECONDS."""
        deadline = time.monotonic() + CLOSE_SECONDS
        while not self._connection.delivered and self._link_sockets is not None:
            now = time.monotonic()
            if now >= deadline:
                return
            due = self._connection.next_timer()
            with WaitSelector() as selector:
                for descriptor in self._link_sockets.filenos():
                    selector.register(descriptor, selectors.EVENT_READ)
                selector.select(max(0.0, min(deadline, deadline if due is None else due) - now))
            self._receive_over_link(time.monotonic())
            self._connection.handle_timer(time.monotonic())
            self._flush()

    def _flush(self) -> None:
        if self._connection.over_link:
            if self._link_sockets is not None:
                for datagram in self._connection.datagrams_to_send(time.monotonic()):
                    self._link_sockets.send(datagram)
            return
        stream = self._stream
        if stream is None or not stream.is_open or self._connection.wanted_stream != self._stream_number:
            return
        for datagram in self._connection.datagrams_to_send(time.monotonic()):
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

    def _waits_too_long(self) -> bool:
        """Whether a waiting thread has to learn of something new to wait for: that the stream takes more, a timer."""
        if self._stream is not None and self._stream.pending:
            return True
        due = self._connection.next_timer()
        return due is not None and self._sleeps_until is not None and due < self._sleeps_until

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
            if self._link_sockets is not None:
                watched.update(dict.fromkeys(self._link_sockets.filenos(), selectors.EVENT_READ))
            times = [at for at in (deadline, self._connection.next_timer()) if at is not None]
            until = min(times, default=None)
            self._sleeps_until = float("inf") if until is None else until
        timeout = None if until is None else max(0.0, until - now)
        with WaitSelector() as selector:
            for descriptor, events in watched.items():
                selector.register(descriptor, events)
            selector.select(timeout)
        self._sleeps_until = None
        try:
            waker.recv(4096)
        except BlockingIOError:
            pass

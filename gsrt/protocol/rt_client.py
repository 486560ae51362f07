"""The client's side of the RT connect sequence, reconnect and sending, without I/O (docs/PROTOCOL.md).

A driver owns the sockets and the clock. Times are seconds of a monotonic clock (float); every call that may depend on
the time is handed `now`. The driver's part:

* hold an open stream exactly while `wanted_stream` is not 0, and a *new* stream whenever its number has changed;
* tell `stream_opened` once bytes may be written (after a TLS handshake), `stream_lost` when dialling failed or the
  stream ended, and pass on what arrives;
* after each of these calls send `stream_to_send()` and `datagrams_to_send()` (to `fast_port`, or the stream's port
  where that is None), and take events until `next_event()` returns None;
* call `handle_timer(now)` when `next_timer()` is due.
"""

from __future__ import annotations

from collections import deque

from gsrt._core import FrameReader, Packet, ProtocolError, split_datagram
from gsrt.protocol.client_connection import LOGIN_SECONDS, ConnectionState, Place, PlayerConnection, check_numbers
from gsrt.protocol.rt import (
    MAX_DATAGRAM_BYTES,
    MAX_PACKET_BYTES,
    OP_LOGIN_RESULT,
    OP_PLAYER_CONNECT,
    OP_PLAYER_DISCONNECT,
    OP_UDP_CONNECT,
    Intent,
    login_frame,
    player_ready_frame,
    udp_connect_reply_frame,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gsrt._core import Data, _Writable

UDP_LOGIN_INTERVAL = 0.2  # seconds between repeats, as the C# client does
UDP_LOGIN_ATTEMPTS = 9  # 1.8 s in all; then the client goes on without UDP
CONNECT_SECONDS = 10.0  # from the wish for a stream until it is open, TLS included
MAX_FRAME_BYTES = 65_536  # of one packet from the server; ours sends at most MAX_PACKET_BYTES
MAX_STREAM_OUTPUT_BYTES = 1_048_576  # not yet taken by the driver: the server does not read
MAX_WAITING_DATAGRAMS = 256  # not yet taken by the driver


class ClientConnection(PlayerConnection):
    """One player's connection to one session, over any number of streams one after the other.

    `entropy(n)` returns n random bytes (os.urandom in a driver); it only spreads reconnects in time. `place`: one that
    another connection shares, instead of a new one. Raises ValueError for a token that is empty or over
    MAX_TOKEN_BYTES.

    Attributes for reading: those of PlayerConnection, and `fast_port` (None: the stream's port).
    """

    def __init__(self, access_token: str, *, entropy: Callable[[int], bytes], place: Place | None = None) -> None:
        super().__init__(Place(access_token, entropy) if place is None else place)
        self.fast_port: int | None = None
        self._stream_number = 0
        self._udp_logins = 0
        self._next_sequence = 0  # one counter for all; it survives reconnects, as with the official clients
        self._reader = FrameReader(MAX_FRAME_BYTES)
        self._stream_output = bytearray()
        self._datagrams: deque[bytes] = deque()

    # What the driver asks.

    @property
    def wanted_stream(self) -> int:
        """0: no stream is wanted now. Otherwise the number of the stream that is to be open or on its way."""
        return self._stream_number if self.state >= ConnectionState.CONNECTING else 0

    def next_timer(self) -> float | None:
        """When handle_timer is to be called next, if nothing happens before; None: no need."""
        return self._deadline

    def stream_to_send(self) -> bytes:
        """What is to be written to the stream; each byte is handed out once."""
        if not self._stream_output:
            return b""
        output = bytes(self._stream_output)
        self._stream_output.clear()
        return output

    def datagrams_to_send(self) -> list[bytes]:
        """Datagrams for the server's UDP port; each is handed out once."""
        datagrams = list(self._datagrams)
        self._datagrams.clear()
        return datagrams

    # What the driver tells.

    def start(self, now: float) -> None:
        """Want a stream. After close() this logs in again, with the reconnect token if there is one."""
        if self.state <= ConnectionState.CLOSED:
            self.state = ConnectionState.CONNECTING
            self._stream_number += 1
            self._deadline = now + CONNECT_SECONDS

    def close(self) -> None:
        """Want no stream any more. What stream_to_send() still holds may be written before the stream is closed."""
        super().rest()
        self._datagrams.clear()
        self.state = ConnectionState.CLOSED
        self._place.leave()

    def rest(self) -> None:
        """Want no stream any more, and forget what was to be sent: the place goes on over another leg."""
        super().rest()
        self._stream_output.clear()
        self._datagrams.clear()

    def stream_opened(self, now: float) -> None:
        """Bytes may be written to the stream: log in. Without effect where no stream was wanted, or one is open."""
        if self.state == ConnectionState.IDLE:
            self.start(now)
        if self.state != ConnectionState.CONNECTING:
            return
        self.state = ConnectionState.LOGGING_IN
        self._deadline = now + LOGIN_SECONDS
        self._reader = FrameReader(MAX_FRAME_BYTES)
        self._stream_output[:] = login_frame(self._place.token)

    def stream_lost(self, now: float, reason: str = "the server closed the connection") -> None:
        """Dialling failed or the stream ended, for the `reason` given."""
        if self.state >= ConnectionState.CONNECTING:
            self._end(now, reason, refused=self.state == ConnectionState.LOGGING_IN)

    def handle_timer(self, now: float) -> None:
        """Do what is due; nothing if nothing is."""
        if self._deadline is None or now < self._deadline:
            return
        if self.state == ConnectionState.WAITING:
            self.start(now)
        elif self.state == ConnectionState.CONNECTING:
            self._end(now, f"no connection within {CONNECT_SECONDS:g} s")
        elif self.state == ConnectionState.LOGGING_IN:
            self._end(now, f"no answer to the login within {LOGIN_SECONDS:g} s")
        elif self._udp_logins < UDP_LOGIN_ATTEMPTS:
            self._send_udp_login(now)
        else:
            self._become_ready(now)

    def receive_stream(self, data: bytes, now: float) -> None:
        """Bytes of the stream, cut anywhere."""
        if self.state < ConnectionState.LOGGING_IN:
            return
        try:
            frames = self._reader.feed(data)
        except ProtocolError as error:
            self._end(now, f"the server sent what is no RT stream: {error}")
            return
        for body in frames:
            packet = self._decode(body)
            if packet is not None:
                self._receive_stream_packet(packet, len(body), now)
            if self.state < ConnectionState.LOGGING_IN:
                return

    def receive_datagram(self, data: bytes, now: float) -> None:
        """One datagram from the server."""
        if self.state < ConnectionState.RELIABLE_ONLY:
            return
        try:
            frames = split_datagram(data)
        except ProtocolError:
            self.malformed += 1
            return
        for body in frames:
            packet = self._decode(body)
            if packet is None:
                continue
            if packet.op_code >= 0:
                self._receive_user_packet(packet, len(body))
            elif packet.op_code == OP_UDP_CONNECT and packet.payload is not None:
                self._udp_confirmed(now)
            else:
                self.ignored += 1

    # What the application does.

    def send(
        self,
        op_code: int,
        intent: Intent = Intent.RELIABLE,
        data: Data | Mapping[int, _Writable] | None = None,
        payload: bytes | None = None,
        peers: Iterable[int] = (),
        channel: int = 0,
    ) -> int:
        """Queue a packet for `peers` (none named: all others; 0: the server); its bytes on the wire, or 0.

        0 means that it was not sent: there is no login at the moment, or the server does not read what is sent.
        Unreliable packets go by UDP where it works and the packet fits a datagram (MAX_DATAGRAM_BYTES), otherwise by
        the stream. The stream has one order for all, so `channel` makes no difference here, and RELIABLE_UNORDERED is
        RELIABLE. An empty payload is left out. Raises ValueError for an opCode below 1, a peer id below 0, a channel
        that there is not, and a packet over MAX_PACKET_BYTES.
        """
        intent = Intent(intent)
        if intent == Intent.RELIABLE_UNORDERED:
            intent = Intent.RELIABLE
        targets = tuple(peers)
        check_numbers(op_code, targets, channel)
        packet = Packet(op_code, data=data, payload=payload or None, targets=targets)
        if intent == Intent.UNRELIABLE_SEQUENCED:
            packet.sequence = self._next_sequence
        fast = intent != Intent.RELIABLE and self.state >= ConnectionState.RELIABLE_AND_FAST_SEND
        frame = packet.frame()
        if intent != Intent.RELIABLE and not (fast and len(frame) <= MAX_DATAGRAM_BYTES):
            fast = False
            packet.reliable = False  # on a stream this field alone says that the packet may be lost
            frame = packet.frame()
        if len(frame) > MAX_PACKET_BYTES:
            raise ValueError(f"a packet of {len(frame)} bytes: {MAX_PACKET_BYTES} is the most, send several packets")
        if self.state < ConnectionState.RELIABLE_ONLY:
            return 0
        if fast:
            self._queue_datagram(frame)
        elif len(self._stream_output) + len(frame) <= MAX_STREAM_OUTPUT_BYTES:
            self._stream_output += frame
        else:
            self.sends_dropped += 1
            return 0
        if intent == Intent.UNRELIABLE_SEQUENCED:
            self._next_sequence = (self._next_sequence + 1) & 0x7FFF_FFFF
        return len(frame)

    # The connect sequence.

    def _receive_stream_packet(self, packet: Packet, size: int, now: float) -> None:
        logged_in = self.state >= ConnectionState.RELIABLE_ONLY
        if packet.op_code >= 0 and logged_in:
            self._receive_user_packet(packet, size)
        elif packet.payload is None:
            self.ignored += 1  # a system message without a body is none, for every client
        elif packet.op_code == OP_LOGIN_RESULT:
            self._receive_login_result(packet, now)
        elif packet.op_code in (OP_PLAYER_CONNECT, OP_PLAYER_DISCONNECT) and logged_in:
            self._receive_peer_change(packet)
        else:
            self.ignored += 1

    def _receive_login_result(self, packet: Packet, now: float) -> None:
        answers_udp = packet.reliable is False
        if answers_udp != (self.state >= ConnectionState.RELIABLE_ONLY):
            self.ignored += 1
            return
        result = self._read_login_result(packet, now)
        if result is None:
            return
        if answers_udp:
            if self.state == ConnectionState.RELIABLE_ONLY:
                self.state = ConnectionState.RELIABLE_AND_FAST_SEND
            self._place.reconnect_token = result.reconnect_token
            self._become_ready(now)
            return
        self._place.logged_in(result)
        self.fast_port = result.fast_port
        self.state = ConnectionState.RELIABLE_ONLY
        self._udp_logins = 0
        self._send_udp_login(now)

    def _send_udp_login(self, now: float) -> None:
        self._udp_logins += 1
        self._queue_datagram(login_frame(self._place.token))
        self._deadline = now + UDP_LOGIN_INTERVAL

    def _udp_confirmed(self, now: float) -> None:
        # It may overtake the answer on the stream: it proves both directions all the same. The server repeats it until
        # it has our reply, so that each is replied to.
        self.state = ConnectionState.RELIABLE_AND_FAST
        if len(self._stream_output) < MAX_STREAM_OUTPUT_BYTES:
            self._stream_output += udp_connect_reply_frame()
        self._become_ready(now)

    def _become_ready(self, now: float) -> None:
        if self.ready:
            return
        self._deadline = None
        self._stream_output += player_ready_frame()
        self._place.become_ready(now)
        self._release_held()

    # Small things.

    def _queue_datagram(self, frame: bytes) -> None:
        if len(self._datagrams) >= MAX_WAITING_DATAGRAMS:
            self._datagrams.popleft()  # the newest says the most
            self.sends_dropped += 1
        self._datagrams.append(frame)

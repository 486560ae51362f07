"""A client that follows no rules: sends any bytes on any leg and keeps everything that comes back."""

from __future__ import annotations

import random

from tests.doubles.dialect import assert_bearable
from tests.doubles.driver import Driver
from tests.doubles.legs import Datagrams, MessageError, Stream, WebSocketFrames, browser_context
from tests.support import wire
from tests.support.wire import Packet


class Probe:
    """`leg` is "tcp", "tls", "ws" or "wss"; or "raw", where bytes are kept as they come.

    What the server sends is decoded strictly and must be bearable for every SDK: if not, the driver's step raises.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        leg: str = "tcp",
        *,
        receive_buffer: int | None = None,
        source_address: str | None = None,
    ) -> None:
        self.name = name
        self.address = (host, port)
        self.leg = leg
        self.records: list[bytes] = []
        self.messages: list[bytes] = []
        self.datagrams_received: list[bytes] = []
        self.received: list[Packet] = []  # of the stream
        self._unfinished = b""
        self.ended: str | None = None
        self.opened = False
        self.datagrams: Datagrams | None = None
        self.frames = WebSocketFrames(f"{host}:{port}", entropy=random.Random(name).randbytes)
        self._receive_buffer = receive_buffer
        self._source_address = source_address
        self._driver: Driver | None = None

    @property
    def driver(self) -> Driver:
        """The loop it lives in."""
        assert self._driver is not None, "not started"
        return self._driver

    @property
    def is_websocket(self) -> bool:
        """Do packets travel in messages?"""
        return self.leg in ("ws", "wss")

    def start(self, driver: Driver) -> None:
        """Connect TCP."""
        self._driver = driver
        context = browser_context() if self.leg in ("tls", "wss") else None
        self.stream = Stream(
            driver,
            self.address,
            context,
            on_open=self._on_open,
            on_record=self._on_record,
            on_end=self._on_end,
            receive_buffer=self._receive_buffer,
            source_address=self._source_address,
        )

    def _on_open(self, now: float) -> None:
        if self.is_websocket:
            self.stream.write(self.frames.request(), now)
        else:
            self.opened = True

    def _on_record(self, record: bytes, now: float) -> None:
        if not self.is_websocket:
            self.records.append(record)
            if self.leg == "raw":
                return
            bodies, self._unfinished = wire.split_frames(self._unfinished + record)
            self._take(bodies)
            return
        try:
            messages = self.frames.received(record)
        except MessageError as error:
            self.ended = f"websocket: {error}"
            return
        self.messages += messages
        for message in messages:
            self._take(wire.datagram_frames(message))
        self.opened = self.opened or self.frames.upgraded

    def _take(self, bodies: list[bytes]) -> None:
        for body in bodies:
            self.received.append(wire.decode_packet(body))
            assert_bearable(wire.frame(body), "stream")

    def _on_datagram(self, datagram: bytes, now: float) -> None:
        self.datagrams_received.append(datagram)
        for body in wire.datagram_frames(datagram):
            assert_bearable(wire.frame(body), "datagram")

    def _on_end(self, how: str, now: float) -> None:
        self.ended = how

    # -- sending --------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bytes as one write, or as one binary message."""
        if self.is_websocket:
            data = self.frames.frame(0x2, data)
        self.stream.write(data, self.driver.now)

    def send_packet(self, packet: Packet) -> None:
        """One framed packet."""
        self.send(wire.frame(wire.encode_packet(packet)))

    def log_in(self, token: str | bytes) -> None:
        """The login packet, C# style."""
        secret = token.encode() if isinstance(token, str) else token
        self.send_packet(Packet(wire.OP_LOGIN, payload=wire.encode_login(secret)))

    def say_ready(self) -> None:
        """-7."""
        self.send_packet(Packet(wire.OP_PLAYER_READY))

    def open_datagrams(self) -> None:
        """A UDP socket towards the server."""
        self.datagrams = Datagrams(self.driver, self.address, self._on_datagram)

    def send_datagram(self, data: bytes) -> None:
        """Bytes as one datagram."""
        if self.datagrams is None:
            self.open_datagrams()
        assert self.datagrams is not None
        self.datagrams.send(data, self.driver.now)

    def send_fast(self, packet: Packet) -> None:
        """One packet as one datagram."""
        self.send_datagram(wire.frame(wire.encode_packet(packet)))

    def log_in_fast(self, token: str | bytes) -> None:
        """The UDP login."""
        secret = token.encode() if isinstance(token, str) else token
        self.send_fast(Packet(wire.OP_LOGIN, payload=wire.encode_login(secret)))

    # -- what came ------------------------------------------------------------------------------------------------

    @property
    def received_fast(self) -> list[Packet]:
        """Every packet that came by UDP."""
        return [
            wire.decode_packet(body) for datagram in self.datagrams_received for body in wire.datagram_frames(datagram)
        ]

    def of_op_code(self, op_code: int) -> list[Packet]:
        """Packets of the stream of one opCode."""
        return [packet for packet in self.received if packet.op_code == op_code]

    @property
    def user_packets(self) -> list[Packet]:
        """Packets of the stream of opCode > 0."""
        return [packet for packet in self.received if packet.op_code > 0]

    def login_results(self) -> list[wire.LoginResult]:
        """Bodies of the LoginResults on the stream."""
        return [wire.decode_login_result(packet.payload or b"") for packet in self.of_op_code(wire.OP_LOGIN_RESULT)]

    def changes(self, op_code: int) -> list[wire.PeerChange]:
        """Bodies of the -101 or -103 packets."""
        return [wire.decode_peer_change(packet.payload or b"") for packet in self.of_op_code(op_code)]

    # -- the driver's side ----------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """It has none."""
        return None

    def handle_timer(self, now: float) -> None:
        """It has none."""

    def describe(self) -> str:
        """One line for a failing test."""
        return (
            f"probe {self.name} ({self.leg}): opened={self.opened}, ended={self.ended}, "
            f"{sum(map(len, self.records))} bytes, {len(self.messages)} messages, "
            f"{len(self.datagrams_received)} datagrams"
        )

    def dispose(self) -> None:
        """Close the sockets."""
        self.stream.close()
        if self.datagrams is not None:
            self.datagrams.close()

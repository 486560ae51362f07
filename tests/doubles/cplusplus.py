"""The C++ SDK: TLS 1.2 and UDP (all platforms but one), and the WebSocket build of Xbox One."""

from __future__ import annotations

from tests.doubles import base
from tests.doubles import dialect as reading
from tests.doubles.legs import cpp_context
from tests.doubles.streaming import StreamingDouble
from tests.doubles.websockets import WebSocketDouble
from tests.doubles.writers import Outgoing, cpp_packet
from tests.support import wire

POLL = 0.1
FREEZE_SHOWS = 20.0  # the main thread is stuck from the start; after this many SDK seconds we call it frozen


def sdk_delay(chance: float, attempt: int) -> float:
    """rand(0, min(60, 2 * 2^n)) seconds: the SDK's wait for login answers, over TCP and over UDP. chance: 0 to 1."""
    return float(chance * min(60.0, 2.0 * 2.0**attempt))


class CppDouble(StreamingDouble):
    """Any kind of trouble on the stream ends it for good; without the TCP acknowledgement it never gets ready."""

    sdk = "C++"
    writer = staticmethod(cpp_packet)
    stream_dialect = reading.CPP_STREAM
    datagram_dialect = reading.CPP_DATAGRAM
    make_context = staticmethod(cpp_context)

    def login_body(self) -> bytes:
        """Field 6 is uninitialised memory, and so, at times, is a sequence number."""
        garbage = self.random.random()
        return wire.encode_packet(
            wire.Packet(
                op_code=0,
                sequence=self.random.randrange(1 << 31) if garbage < 0.25 else None,
                reliable=self.random.random() < 0.5,
                data=b"",
                payload=wire.encode_login(self.connect_token),
            )
        )

    @property
    def frozen(self) -> bool:
        """Is the game's main thread stuck waiting for the acknowledgement?"""
        return self.state == base.RELIABLE_ONLY and not self.acknowledged

    def bear_refusal(self) -> bool:
        """It stops for ever."""
        self.violate("killed: LoginResult(success=false) stops every retry")
        self.state = base.DEAD
        self._timers.clear()
        return False

    def udp_login(self) -> None:
        """Repeated for ever; meanwhile UDP stays unread and Update() is locked out."""
        assert self.datagrams is not None
        if self.udp_logins == 0:
            self.driver.forget(self.datagrams)
            self.set_timer("freeze", FREEZE_SHOWS)
        self.udp_logins += 1
        self._write_datagram(self.login_body())
        self.set_timer("udp login", sdk_delay(self.random.random(), self.udp_logins))

    def on_login_result(self, result: reading.LoginResult, reliable: bool | None, leg: str) -> None:
        """What comes by UDP is never seen in time: before the acknowledgement that socket is not read."""
        if leg == "stream":
            super().on_login_result(result, reliable, leg)

    def on_acknowledged(self) -> None:
        """The main thread wakes at its next poll."""
        if not self.ready and "ready" not in self._timers:
            self._timers.pop("freeze", None)
            self.set_timer("ready", POLL * self.random.random())

    def on_timer(self, name: str) -> None:
        """Poll, repeat, freeze."""
        super().on_timer(name)
        if name == "udp login":
            self.udp_login()
        elif name == "freeze":
            self.violate("frozen: no LoginResult with reliable=false over TCP")
        elif name == "ready" and self.datagrams is not None:
            self.become_ready()
            self.driver.watch(self.datagrams)

    def send(self, op_code: int, *args: object, **options: object) -> int:
        """opCode 0 is refused."""
        return 0 if op_code == 0 else super().send(op_code, *args, **options)  # type: ignore[arg-type]

    def connection_lost(self, how: str) -> None:
        """Before LoginResult it waits for its deadline; later it never connects again."""
        if self.state in (base.CONNECTING, base.LOGGING_IN):
            return
        self.state = base.DEAD
        self._timers.clear()
        self.lose_ready()

    def put(self, body: bytes, fast: bool) -> int:
        """Sends into a dead socket still return byte counts."""
        return len(wire.frame(body)) if self.state == base.DEAD else super().put(body, fast)


class CppXboxDouble(WebSocketDouble):
    """C++ on Xbox One: wss, of each message only the first packet is read."""

    sdk = "C++ Xbox"
    writer = staticmethod(cpp_packet)
    dialect = reading.CPP_MESSAGE
    make_context = staticmethod(cpp_context)
    packets_per_message = 1

    def login_body(self) -> bytes:
        """The plain packet, field 6 as luck has it."""
        body = cpp_packet(Outgoing(0, payload=wire.encode_login(self.connect_token)))
        return body if self.random.random() < 0.5 else body.replace(b"\x30\x01", b"\x30\x00", 1)

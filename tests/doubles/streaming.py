"""The C++ and C# clients over TCP or TLS with UDP beside it: what both have in common."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator

from tests.doubles import base
from tests.doubles import dialect as reading
from tests.doubles.base import Double
from tests.doubles.dialect import Dialect, Fate, Hung, Killed, PacketReader, Received, RestLost, Source
from tests.doubles.driver import Driver
from tests.doubles.legs import Datagrams, Stream
from tests.support import wire
from tests.support.link import LossyLink


def generous_patience(_attempt: int) -> float:
    """A connect deadline no test meets by accident (the SDK's own may be milliseconds)."""
    return 30.0


class StreamingDouble(Double):
    """Login over a stream, then login over UDP. `secure=False` is an SDK of before TLS.

    `connect_patience(attempt)` is the connect deadline in seconds, attempts counted from 1. `link` carries its UDP.
    """

    stream_dialect: Dialect
    datagram_dialect: Dialect
    make_context: Callable[[], ssl.SSLContext]

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        token: str,
        *,
        secure: bool = True,
        link: LossyLink | None = None,
        connect_patience: Callable[[int], float] = generous_patience,
        pace: float = 0.1,
        seed: int = 1,
    ) -> None:
        super().__init__(name, host, port, token, pace=pace, seed=seed)
        self.secure = secure
        self.link = link
        self.connect_patience = connect_patience
        self.stream: Stream | None = None
        self.datagrams: Datagrams | None = None
        self.stream_ended: str | None = None
        self.attempts = 0
        self.udp_logins = 0
        self.acknowledged = False
        self._timers: dict[str, float] = {}
        self._source = Source()
        self._parsing: Generator[None, None, Received] | None = None

    # -- connecting -----------------------------------------------------------------------------------------------

    def start(self, driver: Driver) -> None:
        """Dial."""
        self._driver = driver
        self.dial()

    def dial(self) -> None:
        """A new TCP connection, and a new deadline for its LoginResult."""
        self._drop_legs()
        self.attempts += 1
        self.state = base.CONNECTING
        self.stream_ended = None
        self.acknowledged = False
        self._source = Source()
        self._parsing = None
        self.fast_port = self.port
        # made before the socket: building a TLS context is slow
        context = type(self).make_context() if self.secure else None
        self.stream = Stream(
            self.driver,
            (self.host, self.port),
            context,
            on_open=self._on_open,
            on_record=self._on_record,
            on_end=self._on_end,
        )
        self._timers["connect"] = self.driver.now + self.connect_patience(self.attempts)

    def _on_open(self, now: float) -> None:
        self.state = base.LOGGING_IN
        self.logins += 1
        self._write_stream(self.login_body(), now)

    def _write_stream(self, body: bytes, now: float) -> None:
        assert self.stream is not None
        self.stream.write(wire.varint(len(body)), now)
        self.stream.write(body, now)

    def put(self, body: bytes, fast: bool) -> int:
        """Prefix and body are separate writes on the stream and one datagram on UDP."""
        if fast and self.datagrams is not None:
            self._write_datagram(body)
        elif self.stream is not None:
            self._write_stream(body, self.driver.now)
        return len(wire.frame(body))

    def _write_datagram(self, body: bytes) -> None:
        assert self.datagrams is not None
        self.datagrams.send(wire.frame(body), self.driver.now)

    # -- reading --------------------------------------------------------------------------------------------------

    def _on_record(self, record: bytes, now: float) -> None:
        if self.state == base.DEAD:
            return
        self._source.feed(record)
        reader = PacketReader(self.stream_dialect, self._source, self.is_stale)
        stream = self.stream
        while self.state != base.DEAD and self.stream is stream:
            if self._parsing is None:
                if not self._source:
                    return
                self._parsing = reader.packet()
            try:
                next(self._parsing)
                return
            except StopIteration as stop:
                self._parsing = None
                packet: Received = stop.value
            except Fate as fate:
                self.meet(fate)
                return
            try:
                self.handle(packet, self.stream_dialect)
            except Fate as fate:
                self.meet(fate)

    def on_datagram(self, datagram: bytes, now: float) -> None:
        """One UDP datagram arrived."""
        if self.state == base.DEAD:
            return
        if len(datagram) > self.datagram_dialect.largest_datagram:
            self.violate(f"lost: datagram of {len(datagram)} bytes over {self.datagram_dialect.largest_datagram}")
            return
        try:
            self.read_all(self.datagram_dialect, datagram)
        except Fate as fate:
            self.meet(fate)

    def meet(self, fate: Fate) -> None:
        """Killed: the connection is torn down. The other fates are recorded."""
        super().meet(fate)
        if isinstance(fate, Killed):
            stream, self.stream = self.stream, None
            if stream is not None:
                stream.close()
            self.connection_lost("killed")
        elif isinstance(fate, Hung):
            self.state = base.DEAD
        elif isinstance(fate, RestLost):
            self.note("rest of a datagram lost")

    def _on_end(self, how: str, now: float) -> None:
        self.stream_ended = how
        self.note(f"stream ended: {how}")
        if self.state not in (base.STOPPED, base.DEAD):
            self.connection_lost(how)

    def connection_lost(self, how: str) -> None:
        """What the SDK does about it."""
        raise NotImplementedError

    # -- the dance ------------------------------------------------------------------------------------------------

    def on_login_result(self, result: reading.LoginResult, reliable: bool | None, leg: str) -> None:
        """The first login is answered, or (reliable=false) the UDP login."""
        assert result.active_peers is not None
        if not result.success and not self.bear_refusal():
            return
        self.take_login(result)
        if reliable is False:
            if self.state == base.RELIABLE_ONLY:
                self.state = base.RELIABLE_AND_FAST_SEND
            self.acknowledged = True
            self._timers.pop("udp login", None)
            self.on_acknowledged()
            return
        self._timers.pop("connect", None)
        self.state = base.RELIABLE_ONLY
        self.active_peers = list(result.active_peers)
        if result.fast_port:
            self.fast_port = result.fast_port
        if self.datagrams is not None:
            self.datagrams.close()
        self.datagrams = Datagrams(self.driver, (self.host, self.fast_port), self.on_datagram, self.link)
        self.udp_logins = 0
        self.udp_login()

    def bear_refusal(self) -> bool:
        """LoginResult(success=false): False when the SDK ends there."""
        raise NotImplementedError

    def udp_login(self) -> None:
        """Send the UDP login and plan the next."""
        raise NotImplementedError

    def on_acknowledged(self) -> None:
        """The UDP login has been acknowledged."""

    def on_udp_connect(self, leg: str) -> None:
        """-5 by UDP: the path works both ways; say so by TCP."""
        if leg == "datagram":
            self.state = base.RELIABLE_AND_FAST
            self.command(wire.OP_UDP_CONNECT)

    def can_send_fast(self) -> bool:
        """From the acknowledgement on."""
        return self.state in (base.RELIABLE_AND_FAST_SEND, base.RELIABLE_AND_FAST)

    # -- ends -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """close_notify or FIN."""
        self.state = base.STOPPED
        self._timers.clear()
        if self.stream is not None:
            self.stream.close()
        self._drop_legs()
        self.ready = False

    def restart(self) -> None:
        """Start() again on the same session object: it logs in with the reconnect token it holds."""
        self.dial()

    def reset(self) -> None:
        """The connection breaks (RST), as the server sees it; the client notices too."""
        if self.stream is not None:
            self.stream.reset()
            self._on_end("reset here", self.driver.now)

    def next_timer(self) -> float | None:
        """Earliest of the running timers."""
        return min(self._timers.values(), default=None)

    def handle_timer(self, now: float) -> None:
        """Run what is due."""
        for name in [name for name, due in self._timers.items() if due <= now]:
            self._timers.pop(name, None)
            self.on_timer(name)

    def on_timer(self, name: str) -> None:
        """One timer. "connect": no LoginResult in time, so tear down and dial again."""
        if name == "connect":
            self.note("connect deadline: dialling again")
            self.dial()

    def _drop_legs(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        if self.datagrams is not None:
            self.datagrams.close()
            self.datagrams = None

    def dispose(self) -> None:
        """Close the sockets."""
        self.state = base.DEAD if self.state == base.DEAD else base.STOPPED
        self._timers.clear()
        self._drop_legs()

    def set_timer(self, name: str, delay: float) -> None:
        """`delay` in the SDK's own seconds."""
        self._timers[name] = self.driver.now + delay * self.pace

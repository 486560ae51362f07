"""Clients whose only leg is a WebSocket: JS, C# with UseOnlyWebSockets, C++ on Xbox One."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from tests.doubles import base
from tests.doubles import dialect as reading
from tests.doubles.base import Double
from tests.doubles.dialect import Dialect, Fate, Hung, Killed
from tests.doubles.driver import Driver
from tests.doubles.legs import MessageError, Stream, WebSocketFrames
from tests.support import wire


class WebSocketDouble(Double):
    """One packet per binary message out, `packets_per_message` (None: all) in. Ready at once after LoginResult.

    `secure=False` speaks ws:// instead of wss://.
    """

    dialect: Dialect
    make_context: Callable[[], ssl.SSLContext]
    packets_per_message: int | None = None

    def __init__(
        self, name: str, host: str, port: int, token: str, *, secure: bool = True, pace: float = 0.1, seed: int = 1
    ) -> None:
        super().__init__(name, host, port, token, pace=pace, seed=seed)
        self.secure = secure
        self.stream: Stream | None = None
        self.stream_ended: str | None = None
        self.pings_sent = 0
        self.frames = self._new_frames()

    def _new_frames(self) -> WebSocketFrames:
        return WebSocketFrames(f"{self.host}:{self.port}", self.upgrade_headers(), entropy=self.random.randbytes)

    def upgrade_headers(self) -> tuple[str, ...]:
        """Header lines beside the necessary ones."""
        return ()

    def start(self, driver: Driver) -> None:
        """Dial."""
        self._driver = driver
        self.dial()

    def dial(self) -> None:
        """A new connection and upgrade."""
        self.state = base.CONNECTING
        self.stream_ended = None
        self.frames = self._new_frames()
        self.stream = Stream(
            self.driver,
            (self.host, self.port),
            type(self).make_context() if self.secure else None,
            on_open=lambda now: self._write(self.frames.request(), now),
            on_record=self._on_record,
            on_end=self._on_end,
        )

    def _write(self, data: bytes, now: float) -> None:
        if self.stream is not None:
            self.stream.write(data, now)

    def _on_record(self, record: bytes, now: float) -> None:
        upgraded, pings = self.frames.upgraded, len(self.frames.pings)
        try:
            messages = self.frames.received(record)
        except MessageError as error:
            self.violate(f"killed: {error}")
            self.fail()
            return
        for ping in self.frames.pings[pings:]:
            self._write(self.frames.frame(0xA, ping), now)
        if self.frames.upgraded and not upgraded:
            self.state = base.LOGGING_IN
            self.logins += 1
            self.put(self.login_body(), False)
        for message in messages:
            self._on_message(message)
        if self.frames.close_code is not None and self.stream is not None and self.state != base.STOPPED:
            self._write(self.frames.frame(0x8, self.frames.close_code.to_bytes(2, "big")), now)
            self._on_end(f"close {self.frames.close_code}", now)
            self.stream.close()

    def _on_message(self, message: bytes) -> None:
        if self.state == base.DEAD:
            return
        try:
            self.read_all(self.dialect, message, self.packets_per_message)
        except Fate as fate:
            self.meet(fate)

    def meet(self, fate: Fate) -> None:
        """Killed and Hung end it; after a throw the session goes on."""
        super().meet(fate)
        if isinstance(fate, Killed):
            self.fail()
        elif isinstance(fate, Hung):
            self.state = base.DEAD

    def fail(self) -> None:
        """Tear the connection down."""
        self.state = base.DEAD
        if self.stream is not None:
            self.stream.close()

    def _on_end(self, how: str, now: float) -> None:
        # neither JS nor C# over WebSocket tell the app: only the next send returns -1
        if self.stream_ended is None:
            self.stream_ended = how
            self.note(f"stream ended: {how}")

    def put(self, body: bytes, fast: bool) -> int:
        """One packet, one message."""
        if self.stream is None or self.stream_ended is not None:
            return -1
        self._write(self.frames.frame(0x2, wire.frame(body)), self.driver.now)
        return len(wire.frame(body))

    def ping(self, payload: bytes) -> None:
        """A WebSocket ping."""
        self.pings_sent += 1
        self._write(self.frames.frame(0x9, payload), self.driver.now)

    def on_login_result(self, result: reading.LoginResult, reliable: bool | None, leg: str) -> None:
        """Ready at once. success is not looked at."""
        assert result.active_peers is not None
        self.take_login(result)
        if not result.success:
            self.violate("fooled: OnReady(true) after LoginResult(success=false)")
        if self.ready:
            return
        self.state = base.RELIABLE_ONLY
        self.active_peers = list(result.active_peers)
        self.become_ready()

    def stop(self) -> None:
        """A close frame; the server ends the connection."""
        self.state = base.STOPPED
        self._write(self.frames.frame(0x8, (1000).to_bytes(2, "big")), self.driver.now)
        self.ready = False

    def restart(self) -> None:
        """Start() again on the same session object, with the reconnect token it holds."""
        if self.stream is not None:
            self.stream.close()
        self.dial()

    def reset(self) -> None:
        """The connection breaks (RST)."""
        if self.stream is not None:
            self.stream.reset()
            self.stream_ended = "reset here"

    def dispose(self) -> None:
        """Close the socket."""
        if self.stream is not None:
            self.stream.close()

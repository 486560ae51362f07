"""The C# SDK (Unity): over TLS and UDP, and with UseOnlyWebSockets(true)."""

from __future__ import annotations

from tests.doubles import base
from tests.doubles import dialect as reading
from tests.doubles.driver import Driver
from tests.doubles.legs import csharp_context
from tests.doubles.streaming import StreamingDouble
from tests.doubles.websockets import WebSocketDouble
from tests.doubles.writers import csharp_packet

POLL = 0.2
UDP_LOGIN_TRIES = 9
RECONNECT = 0.2
HOT_LOOP_SHOWS = 5
PING_EVERY = 30.0


class CSharpDouble(StreamingDouble):
    """Gives UDP up after 1.8 s; dials again at once when an established connection is lost."""

    sdk = "C#"
    writer = staticmethod(csharp_packet)
    stream_dialect = reading.CSHARP_STREAM
    datagram_dialect = reading.CSHARP_DATAGRAM
    make_context = staticmethod(csharp_context)
    refusals = 0

    def bear_refusal(self) -> bool:
        """It dials again without a pause, for ever; we stop watching after a few turns."""
        self.refusals += 1
        if self.refusals >= HOT_LOOP_SHOWS:
            self.violate("hung: LoginResult(success=false) makes it log in again in a hot loop")
            self.state = base.DEAD
            self._timers.clear()
            self._drop_legs()
        else:
            self.dial()
        return False

    def udp_login(self) -> None:
        """Every 200 ms, at most 9 times."""
        self.udp_logins += 1
        self._write_datagram(self.login_body())
        self.set_timer("udp login", POLL)

    def on_login_result(self, result: reading.LoginResult, reliable: bool | None, leg: str) -> None:
        """A LoginResult by UDP acknowledges the UDP login as well."""
        super().on_login_result(result, False if leg == "datagram" else reliable, leg)

    def on_acknowledged(self) -> None:
        """Seen at the next poll."""
        if not self.ready:
            self._timers.setdefault("ready", self.driver.now + POLL * self.pace * self.random.random())

    def on_timer(self, name: str) -> None:
        """Poll, repeat, give up, dial again."""
        super().on_timer(name)
        if name == "udp login":
            if self.udp_logins < UDP_LOGIN_TRIES:
                self.udp_login()
            elif not self.ready:
                self.note("UDP given up")
                self.become_ready()
        elif name == "ready" and not self.ready:
            self.become_ready()
        elif name == "reconnect":
            self.dial()

    def connection_lost(self, how: str) -> None:
        """An established connection is dialled again within 0.2 s; a refused login waits for its deadline."""
        if self.state in (base.CONNECTING, base.LOGGING_IN):
            return
        self.state = base.CONNECTING
        self._timers.clear()
        self.lose_ready()
        self.set_timer("reconnect", RECONNECT * self.random.random())


class CSharpWebSocketDouble(WebSocketDouble):
    """The same reader over wss. Pings every 30 s and wants its pongs. Never dials again."""

    sdk = "C# WebSocket"
    writer = staticmethod(csharp_packet)
    dialect = reading.CSHARP_MESSAGE
    make_context = staticmethod(csharp_context)
    _ping_due: float | None = None

    def upgrade_headers(self) -> tuple[str, ...]:
        """No extensions."""
        return (f"Sec-WebSocket-Origin: https://{self.host}",)

    def start(self, driver: Driver) -> None:
        """Dial and plan the first ping."""
        super().start(driver)
        self._ping_due = driver.now + PING_EVERY * self.pace

    def next_timer(self) -> float | None:
        """The next ping."""
        return self._ping_due if self.frames.upgraded and self.stream_ended is None else None

    def handle_timer(self, now: float) -> None:
        """A ping the server must have answered before the next."""
        self._ping_due = now + PING_EVERY * self.pace
        if self.pings_sent > len(self.frames.pongs):
            self.violate("killed: ping without pong")
        self.ping(b"")

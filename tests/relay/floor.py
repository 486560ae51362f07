"""The session floor on top of a rig: the real reception, sessions, tokens and timers, still without a clock."""

from __future__ import annotations

import io
import random
import socket
from typing import Any

from gsrt.log import Log
from gsrt.reception import Reception
from gsrt.session import House, Player, Session
from gsrt.sessions import Sessions
from gsrt.timers import Timers
from gsrt.tokens import Tokens
from tests.relay.rig import Line, Post, Rig, packet, profile
from tests.support import wire

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def login(token: str | bytes) -> bytes:
    """A login frame as C# writes it."""
    raw = token.encode() if isinstance(token, str) else token
    return packet(0, payload=wire.encode_login(raw))


class Guest:
    """One player's client: a stream, perhaps datagrams."""

    def __init__(self, floor: Floor, player: Player, line: Line) -> None:
        self.floor = floor
        self.player = player
        self.line = line
        self.post: Post | None = None

    def put(self, *frames: bytes) -> None:
        self.line.put(*frames)
        self.floor.end_tick()

    def ready(self) -> None:
        self.put(packet(-7))

    def packets(self) -> list[wire.Packet]:
        """All that has come since the last call."""
        self.floor.end_tick()
        return self.line.packets()

    def news(self) -> list[tuple[int, Any]]:
        """What has come as (opCode, body): LoginResult and peer changes taken apart, anything else its payload."""
        found: list[tuple[int, Any]] = []
        for each in self.packets():
            body: Any = each.payload
            if each.op_code == -1:
                body = wire.decode_login_result(each.payload or b"")
            elif each.op_code in (-101, -103):
                change = wire.decode_peer_change(each.payload or b"")
                body = (change.peer_id, list(change.active_peers))
            found.append((each.op_code, body))
        return found

    def open_datagrams(self, token: str | None = None) -> Post:
        """Sends the login by UDP; the answer is not looked at."""
        if self.post is None:
            self.post = self.floor.post()
        self.post.send(login(token or self.player.reconnect_token))
        self.floor.end_tick()
        return self.post


class Floor(Rig):
    """A server without its loop. `advance` is the only thing that makes time pass."""

    def __init__(self, **limits: float) -> None:
        chance = random.Random(5)
        self.lines_logged = io.StringIO()
        self.reception = Reception(profile(**limits), Log(self.lines_logged, lambda: self.now))
        super().__init__(1, handler=self.reception, family=socket.AF_INET, **limits)
        self.timers = Timers()
        self.tokens = Tokens(chance.randbytes)
        self.house = House(self.relay, self.tokens, self.timers, self.profile, self.reception.log)
        self.sessions = Sessions(self.house, chance.randbytes)
        self.reception.sessions = self.sessions

    def dial(self, address: str = "192.0.2.1", *, websocket: bool = False, **how: Any) -> Line:
        """A new connection, admitted."""
        line = self.line(**how)
        self.reception.admit(line.stream, address, self.now)
        if websocket:
            line.put(UPGRADE)
            self.end_tick()
            assert line.read().startswith(b"HTTP/1.1 101 ")
            line.websocket = True
        return line

    def create(self, *players: str, **how: Any) -> Session:
        return self.sessions.create(players or ("red", "blue", "green"), self.now, **how)

    def seat(self, player: Player, *, token: str | None = None, ready: bool = True, **how: Any) -> Guest:
        """That player, logged in, its LoginResult read."""
        guest = Guest(self, player, self.dial(**how))
        guest.put(login(token or player.access_token))
        assert guest.packets()[0].op_code == -1
        if ready:
            guest.ready()
        return guest

    def end_tick(self) -> None:
        """What the loop does last."""
        while doomed := self.relay.take_doomed():
            for member, reason in doomed:
                self.reception.cut(member, reason, self.now)
        self.relay.flush()

    def advance(self, seconds: float) -> None:
        """So much later, with all that was due on the way, at its time."""
        end = self.now + seconds
        while True:
            times = [when for when in (self.timers.next(), self.reception.next_timer()) if when is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            self.timers.run(self.now)
            self.reception.expire(self.now)
            self.end_tick()
        self.now = end
        self.relay.resume(end)
        self.take_streams()
        self.end_tick()

    def log_text(self) -> str:
        return self.lines_logged.getvalue()

    def close(self) -> None:
        self.sessions.end_all("the test is over")
        super().close()

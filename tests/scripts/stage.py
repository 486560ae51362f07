"""What tests of scripts stand on: handlers in the way of a rig's relay, guests in surroundings that note everything."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Self

from gsrt import _core
from gsrt._guest import Data, Handlers, Packet, Turn
from gsrt._meter import Account, Meter
from gsrt.scripts.api import Player
from gsrt.scripts.errands import absent
from gsrt.timers import Timer, Timers
from tests.relay.rig import Rig, profile
from tests.support import wire

if TYPE_CHECKING:
    from gsrt.scripts.quality import Figures

CPU_MS = 10_000  # of a callback in a Play


class Owner:
    """Who is told what goes wrong in handlers."""

    def __init__(self) -> None:
        self.failures: list[tuple[Exception, object]] = []
        self.long: list[tuple[int, int, int, int]] = []
        self.looks = 0
        self.on_look: Callable[[], object] = lambda: None

    def failed(self, error: Exception, what: object) -> None:
        self.failures.append((error, what))

    def too_long(self, op_code: int, peer_id: int, size: int, most: int) -> None:
        self.long.append((op_code, peer_id, size, most))

    def look_after_memory(self) -> None:
        self.looks += 1
        self.on_look()


class Clock:
    """Seconds of a turn's clock: what a handler adds to it is the time that it took."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Post:
    """Handlers on guard in a rig's room. Its members are players "p1", "p2", ..."""

    def __init__(self, rig: Rig, *, each_ms: float = 10, all_ms: float = 30) -> None:
        self.rig = rig
        self.owner = Owner()
        self.clock = Clock()
        self.meter = Meter()
        self.turn = Turn(each_ms, all_ms, self.clock)
        self.handlers = self.more_handlers()
        rig.room.interceptor = self.handlers

    def more_handlers(self, deliver: Callable[..., object] | None = None) -> Handlers:
        rig = self.rig
        handlers = Handlers(
            self.meter,
            Account(b"test"),
            self.turn,
            rig.profile,
            self.owner,
            deliver or rig.room.deliver,
            Player,
            rig.now,
        )
        for number in rig.members:
            handlers.players[number] = Player(None, number, f"p{number}")  # type: ignore[arg-type]
        handlers.present = len(rig.members)
        return handlers

    def takes(self, milliseconds: float, verdict: object = None) -> Callable[[Packet], object]:
        """A handler that takes so long."""

        def handler(packet: Packet) -> object:
            self.clock.now += milliseconds / 1000
            return verdict

        return handler


def numbers(packets: list[wire.Packet]) -> list[int]:
    """The long at slot 1 of each."""
    found = []
    for each in packets:
        data = _core.Data.decode(each.data or b"")
        value = data.get_long(1)
        assert value is not None
        found.append(value)
    return found


def data(**values: Any) -> bytes:
    """Encoded data: `_1=5` is the value 5 at index 1."""
    return _core.Data({int(name[1:]): value for name, value in values.items()}).encode()


class Surroundings:
    """A session that is none: a clock that stands still until `advance`, everything the script does in `log`."""

    def __init__(self, now: float = 50.0) -> None:
        self.now = now
        self.timers = Timers()
        self.sent: list[tuple[_core.Packet, tuple[int, ...] | None, bool]] = []
        self.known: dict[int, Figures] = {}
        self.asked: list[tuple[int, int]] = []
        self.kicked: list[tuple[int, str]] = []
        self.lines: list[tuple[str, str]] = []
        self.off: list[str] = []

    def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> object:
        (body,) = _core.split_datagram(frame)
        self.sent.append((_core.Packet.decode(body), peers, reliable))
        return None

    def later(self, when: float, callback: Callable[[float], None]) -> Timer:
        return self.timers.set(when, callback)

    def cancel(self, timer: Timer | None) -> None:
        self.timers.cancel(timer)

    def quality(self, peer_id: int, at: int) -> Figures | None:
        self.asked.append((peer_id, at))
        return self.known.get(peer_id)

    def kick(self, peer_id: int, reason: str) -> None:
        self.kicked.append((peer_id, reason))

    def log(self, level: str, text: str, now: float) -> None:
        self.lines.append((level, text))

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
    ) -> None:
        done(absent())

    def switched_off(self, reason: str) -> None:
        self.off.append(reason)


class Play:
    """A script at work in surroundings of its own; players 1 to `players` are expected, nobody is there.

    Its CPU time is not what ends it (unless `limits` say so): how busy the machine is decides nothing."""

    def __init__(self, source: str, *, players: int = 3, seed: int = 7, load: bool = True, **limits: float) -> None:
        from gsrt.scripts.compiler import compile_script
        from gsrt.scripts.guest import Guest
        from gsrt.scripts.sandbox import Sandbox

        self.clock = Clock()
        self.surroundings = Surroundings()
        # The journal is the host's; here everything goes to the surroundings.
        self.sandbox = Sandbox(profile(**({"script_cpu_ms": CPU_MS} | limits)), None, self.clock)  # type: ignore[arg-type]
        self.guest = Guest(
            self.sandbox,
            compile_script(dedent(source), "test.py"),
            self.surroundings,
            session_id="abcd",
            players={number: f"p{number}" for number in range(1, players + 1)},
            seed=seed,
            began=self.surroundings.now,
        )
        if load:
            self.guest.load(self.surroundings.now)

    def __enter__(self) -> Self:
        self.sandbox.meter.start_timer()
        return self

    def __exit__(self, *_: object) -> None:
        self.sandbox.meter.stop_timer()
        self.guest.close()

    @property
    def globals(self) -> dict[str, Any]:
        return self.guest.globals

    def connect(self, *peers: int) -> Play:
        for each in peers:
            self.guest.connected(each, self.surroundings.now)
        return self

    def disconnect(self, peer: int) -> None:
        self.guest.disconnected(peer, self.surroundings.now)

    def feed(self, op_code: int = 1, *, sender: int = 1, reliable: bool = True, **fields: Any) -> bool | bytes | None:
        """A packet comes: see Handlers.feed."""
        body = _core.Packet(op_code, **fields).encode()
        return self.guest.handlers.feed(self.surroundings.now, sender, body, reliable)

    def advance(self, milliseconds: float) -> None:
        """So much later, with all turns on the way at which a timer was due."""
        end = self.surroundings.now + milliseconds / 1000
        while (due := self.surroundings.timers.next()) is not None and due <= end + 1e-9:
            self.surroundings.now = max(self.surroundings.now, due)
            self.turn()
        self.surroundings.now = end

    def turn(self) -> None:
        """One turn of the loop without a packet."""
        self.sandbox.turn.begin()
        self.surroundings.timers.run(self.surroundings.now)

    @property
    def sent(self) -> list[int]:
        """OpCodes of what was sent so far."""
        return [packet.op_code for packet, _, _ in self.surroundings.sent]

    @property
    def texts(self) -> list[str]:
        """What was logged so far."""
        return [text for _, text in self.surroundings.lines]

    @property
    def errors(self) -> list[str]:
        return [text for level, text in self.surroundings.lines if level == "error"]


__all__ = ["Clock", "Data", "Owner", "Play", "Post", "Surroundings", "data", "numbers"]

"""A session without a server: what happens in it happens to one script, and all that comes of it is written down."""

from __future__ import annotations

import heapq
import io
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from gsrt._core import Data, Float32, Packet
from gsrt._guard import ScriptType
from gsrt._guest import QuotaError
from gsrt._meter import Exceeded
from gsrt.log import Log
from gsrt.profile import Profile
from gsrt.scripts.compiler import Compiled
from gsrt.scripts.errands import absent
from gsrt.scripts.guest import Guest, ScriptError
from gsrt.scripts.journal import Journal
from gsrt.scripts.sandbox import Sandbox
from tests.scripts.corpus.case import HARMLESS, OUTCOMES, QUOTA, RAISE, STOP
from tests.scripts.corpus.probe import Probe

PLAYERS = {1: "anna", 2: "ben", 3: "chris"}
OP_CODE = 100
TURN_SECONDS = 0.02
TIMERS_MAX = 70
EVENTS_MAX = 3000


class _Nowhere(io.StringIO):
    """Keeps nothing: kept in memory, what was logged would at times be moved at a script's expense."""

    def write(self, text: str, /) -> int:
        return len(text)


def make_sandbox() -> Sandbox:
    """With the limits of the default profile, and a log that goes nowhere. In a turn no time passes, so that how busy
    the machine is does not put timers off."""
    profile = Profile.load("generic")
    log = Log(_Nowhere(), lambda: 0.0)
    journal = Journal(profile.script_log_ring_lines, log, lambda: 0.0, profile.script_log_characters_max)
    return Sandbox(profile, journal, lambda: 0.0)


def packets() -> list[tuple[int, bytes, bool]]:
    """What the players send: (sender, packet without its length, reliable)."""
    full = Data({1: 5, 2: "text", 3: 1.5, 4: Float32(0.5), 5: [1.0, 2.0, 3.0], 6: Data({1: "inner"})})
    sent = [
        (1, Packet(OP_CODE, data=full, reliable=True)),
        (2, Packet(OP_CODE, data=Data({1: 7}), targets=(1,))),
        (1, Packet(OP_CODE, payload=b"raw\x00bytes")),
        (2, Packet(OP_CODE, data=full, payload=b"both", reliable=True, targets=(1, 3))),
        (1, Packet(OP_CODE)),
        (2, Packet(OP_CODE, data=full)),
    ]
    return [(sender, packet.encode(), bool(packet.reliable)) for sender, packet in sent]


def resident_kb(what: str) -> int:
    """Resident size of this process: `what` is VmRSS (now) or VmHWM (the peak)."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(what.encode()):
                return int(line.split()[1])
    raise OSError(f"the system does not tell {what}")


def forget_peak() -> None:
    """The peak of the resident size is what it is now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


class Watched(Guest):
    """A guest whose failures can be told apart afterwards."""

    outcomes: list[str]
    said: list[str]

    def failed(self, error: Exception, what: object) -> None:
        self.note(error)
        super().failed(error, what)

    def _told(self, error: BaseException) -> str:
        if error.__traceback__ is not None or not isinstance(error, Exceeded):
            self.note(error)
        text = super()._told(error)
        self.said.append(text)
        return text

    def note(self, error: BaseException) -> None:
        self.outcomes.append(STOP if isinstance(error, Exceeded) else QUOTA if isinstance(error, QuotaError) else RAISE)


class Stage:
    """One script in one session: `play` lets everything happen once; `events` and `outcome` are what came of it."""

    def __init__(self, sandbox: Sandbox, compiled: Compiled, name: str = "one") -> None:
        self.events: list[tuple[object, ...]] = []
        self.outcomes: list[str] = []
        self.beyond: float = 0.0  # milliseconds of CPU beyond the deadline, of the longest call
        self.longest = ""
        self.grown_kb = 0  # of the resident size, in the turn that took most
        self.grew = ""
        self.peak_kb = 0
        self.said: list[str] = []
        self.switched: str | None = None
        self._sandbox = sandbox
        self._name = name
        self._now = 100.0
        self._order = count()
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._cancelled: set[int] = set()
        self._kicked: list[int] = []
        self._guest = self._make(compiled)
        self._guest.outcomes = self.outcomes
        self._guest.said = self.said
        self.probe = Probe(ScriptType, sandbox.builtins, self._guest.globals)
        self._guest.globals["leak"] = self.probe

    def _make(self, compiled: Compiled) -> Watched:
        return Watched(
            self._sandbox,
            compiled,
            self,
            session_id=self._name,
            players=PLAYERS,
            seed=7,
            began=self._now,
            tag=self._name.encode(),
        )

    @property
    def outcome(self) -> str:
        for outcome in OUTCOMES:
            if outcome in self.outcomes:
                return outcome
        return HARMLESS

    # What the session is to the script

    def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> None:
        self._note("deliver", frame, peers, reliable)

    def later(self, when: float, callback: Callable[[float], None]) -> int:
        number = next(self._order)
        heapq.heappush(self._due, (when, number, callback))
        return number

    def cancel(self, timer: Any) -> None:
        self._cancelled.add(timer)

    def quality(self, peer_id: int, at: int) -> None:
        self._note("quality", peer_id)

    def kick(self, peer_id: int, reason: str) -> None:
        self._kicked.append(peer_id)
        self._note("kick", peer_id, reason)

    def log(self, level: str, text: str, now: float) -> None:
        self._sandbox.journal.add(self._name, "corpus.py", level, text)
        self._note("log", level, text)

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
    ) -> None:
        self._note("request", name, player_id)
        done(absent())

    def switched_off(self, reason: str) -> None:
        self.switched = reason

    def _note(self, *event: object) -> None:
        if len(self.events) < EVENTS_MAX:
            self.events.append(event)

    # What happens

    def play(self) -> None:
        """The script is loaded; players come, send, wait for the timers, and go."""
        guest = self._guest
        try:
            self._turn("load", lambda: guest.load(self._now))
        except ScriptError:
            return
        for peer_id in (1, 2):
            self._turn(f"connect {peer_id}", partial(self._connect, peer_id))
        for number, packet in enumerate(packets()):
            self._turn(f"packet {number}", partial(self._packet, *packet))
        self._pass_time()
        self._turn("disconnect", lambda: guest.disconnected(2, self._now))

    def _pass_time(self) -> None:
        """What is due happens, each in a turn."""
        for number in range(TIMERS_MAX):
            if not self._due or self._guest.is_off:
                break
            due, order, callback = heapq.heappop(self._due)
            if order not in self._cancelled:
                self._now = max(self._now, due)
                self._turn(f"timer {number}", partial(callback, self._now + TURN_SECONDS))

    def close(self) -> None:
        self._guest.close()

    def _connect(self, peer_id: int) -> None:
        self._guest.connected(peer_id, self._now)

    def _packet(self, sender: int, body: bytes, reliable: bool) -> None:
        if not self._guest.is_off:
            self._note("packet", self._guest.handlers.feed(self._now, sender, body, reliable))

    def _turn(self, what: str, happens: Callable[[], None]) -> None:
        self._now += TURN_SECONDS
        self._sandbox.turn.begin()
        self._during(what, happens)
        for peer_id in self._kicked[:4]:
            self._guest.disconnected(peer_id, self._now)
        self._kicked.clear()

    def _during(self, what: str, happens: Callable[[], None]) -> None:
        """It happens, and what it takes is measured."""
        resident = resident_kb("VmRSS")
        if resident_kb("VmHWM") - resident > 1024:  # it takes a millisecond
            forget_peak()
        calls = self._guest.handlers.calls
        began = time.thread_time()
        try:
            happens()
        finally:
            used = (time.thread_time() - began) * 1000
            self._count()
            allowed = self._sandbox.profile.script_cpu_ms * max(1, self._guest.handlers.calls - calls)
            if used - allowed > self.beyond:
                self.beyond, self.longest = used - allowed, what
            peak = resident_kb("VmHWM")
            self.peak_kb = max(self.peak_kb, peak)
            if peak - resident > self.grown_kb:
                self.grown_kb, self.grew = peak - resident, what

    def _count(self) -> None:
        """What the script holds is counted, if it is time, in a turn of its own."""
        if self._guest._counting:
            self._guest._count_memory()


class Control(Stage):
    """The stage of a script that means well: what it takes is not measured, which would take most of the time."""

    def _during(self, what: str, happens: Callable[[], None]) -> None:
        try:
            happens()
        finally:
            self._count()

"""`gsrt script run`: feeds a script a recorded session, without a server, and prints what it does.

The script runs in the sandbox of the server, with the budgets of a profile; the time is that of the recording, so that
the same recording always gives the same output."""

from __future__ import annotations

import signal
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from gsrt._core import Data, Float32, Packet, split_datagram
from gsrt.cli import CommandError
from gsrt.cli.arguments import add_json, add_profile, load_profile
from gsrt.cli.script_check import Checked
from gsrt.cli.text import printable
from gsrt.scripts.errands import absent
from gsrt.scripts.guest import Guest, ScriptError
from gsrt.scripts.recording import (
    CONNECT,
    DISCONNECT,
    SEED_MAX,
    Event,
    Recording,
    RecordingError,
    packet_to_json,
    read_recording,
)
from gsrt.timers import Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from gsrt.profile import Profile
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.journal import Journal
    from gsrt.scripts.quality import Figures
    from gsrt.timers import Timer

# Seconds that any moment of the recording lies behind what its milliseconds say, so that no rounding makes it earlier.
NUDGE = 1e-6


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a script")
    parser.add_argument(
        "--record", required=True, metavar="REC", help="a recording, or a list of packets: JSON lines (docs/SCRIPTS.md)"
    )
    parser.add_argument("--seed", type=_seed, metavar="N", help="of session.random (default: the recording's)")
    add_profile(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    profile = load_profile(arguments.profile)
    try:
        recording = read_recording(arguments.record)
    except RecordingError as error:
        raise CommandError(f"this is no recording:\n{error}") from None
    if arguments.seed is not None:
        recording.seed = arguments.seed
    checked = Checked(arguments.file, profile.script_source_bytes)
    if checked.compiled is None:
        raise CommandError(f"the script is refused:\n{checked.as_text()}")
    replay = Replay(checked.compiled, recording, profile)
    # An exception of Ctrl-C would be one of the script's, if it came while the script runs.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        if arguments.json:
            from gsrt.cli.asking import print_json

            steps = [step.as_json() for step in replay.run()]
            print_json({"ok": replay.ok, "steps": steps})
        else:
            for step in replay.run():
                print(step.as_text())
    finally:
        signal.signal(signal.SIGINT, before)
    return 0 if replay.ok else 1


class Step:
    """Something that the script has done: `at` in milliseconds, `what` in a word (send, cancel, change, kick, skip, log
    levels, off), and what belongs to it."""

    __slots__ = ("at", "details", "text", "what")

    def __init__(self, at: int, what: str, text: str, details: dict[str, Any] | None = None) -> None:
        self.at = at
        self.what = what
        self.text = text
        self.details = details or {}

    def as_text(self) -> str:
        return f"{self.at} ms  {self.what} {printable(self.text)}"

    def as_json(self) -> dict[str, Any]:
        return {"at": self.at, "do": self.what, **(self.details or {"text": self.text})}


class Replay:
    """One run of a script over a recording. It is what its session's surroundings are to the script (see Guest)."""

    def __init__(self, compiled: Compiled, recording: Recording, profile: Profile) -> None:
        from gsrt.scripts.sandbox import Sandbox

        self._steps: list[Step] = []  # not given yet
        self._recording = recording
        self._timers = Timers()
        self._at: float = 0  # milliseconds
        self._here: set[int] = set()
        self._kicked: set[int] = set()
        self._loaded = False
        # How long callbacks take must not change what happens, so the clock of turns stands still.
        self._sandbox = Sandbox(profile, _no_journal(), clock=lambda: 0.0)
        self._guest = Guest(
            self._sandbox,
            compiled,
            self,
            session_id=recording.session_id,
            players=recording.players,
            seed=recording.seed,
            began=0.0,
        )

    @property
    def ok(self) -> bool:
        """Whether the script loaded, and nothing of it raised or was stopped."""
        return self._loaded and self._guest.failures == self._guest.strikes == 0

    def run(self) -> Iterator[Step]:
        """Everything, from the script's top level to the last event; what it does is given after each turn."""
        self._sandbox.meter.start_timer()
        try:
            self._load()
            yield from self._taken()
            events = self._recording.events
            for number, event in enumerate(events):
                if self._guest.is_off:
                    break
                if event.at > self._at or number == 0:
                    yield from self._pass_time(event.at)
                self._happens(event)
                if number + 1 == len(events) or events[number + 1].at > event.at:
                    self._end_turn()
                yield from self._taken()
        finally:
            self._sandbox.meter.stop_timer()
            self._guest.close()

    def _load(self) -> None:
        self._sandbox.turn.begin()
        try:
            self._guest.load(self._now)
            self._loaded = True
        except ScriptError as error:
            self._step("error", str(error))

    def _pass_time(self, until: float) -> Iterator[Step]:
        """Timers before UNTIL run, each at its own time; then it is UNTIL."""
        while (due := self._timers.next()) is not None and due < until / 1000 - NUDGE and not self._guest.is_off:
            self._at = round(due * 1000, 3)
            self._sandbox.turn.begin()
            self._end_turn()
            yield from self._taken()
        self._at = until
        self._sandbox.turn.begin()

    def _happens(self, event: Event) -> None:
        if event.peer in self._kicked:
            self._step(
                "skip", f"{event.kind} of {event.peer}, who was kicked", {"event": event.kind, "peer": event.peer}
            )
        elif event.kind == CONNECT:
            self._here.add(event.peer)
            self._guest.connected(event.peer, self._now)
        elif event.kind == DISCONNECT:
            self._leaves(event.peer)
        elif event.packet is not None:
            self._comes(event.packet)

    def _comes(self, packet: Packet) -> None:
        name = f"opCode {packet.op_code} from {packet.sender}"
        outcome = self._guest.handlers.feed(self._now, packet.sender, packet.encode(), bool(packet.reliable))
        if outcome is False:
            self._step("cancel", name, {"opCode": packet.op_code, "sender": packet.sender})
        elif isinstance(outcome, bytes):
            changed = Packet.decode(outcome)
            targets = f" to {_peers(changed.targets)}" if changed.targets else ""
            details = {"packet": packet_to_json(changed, packet.sender, bool(packet.reliable))}
            self._step("change", f"{name}: now{targets or ' to the others'}{_contents(changed)}", details)

    def _leaves(self, peer: int) -> None:
        if peer in self._here:
            self._here.discard(peer)
            self._guest.disconnected(peer, self._now)

    def _is_kicked(self, peer: int) -> None:
        self._kicked.add(peer)
        self._leaves(peer)

    def _end_turn(self) -> None:
        """What the server does after the packets of a turn: timers that are due, players who were kicked leave."""
        while (due := self._timers.next()) is not None and due <= self._now and not self._guest.is_off:
            self._timers.run(self._now)

    @property
    def _now(self) -> float:
        return self._at / 1000 + NUDGE

    def _step(self, what: str, text: str, details: dict[str, Any] | None = None) -> None:
        self._steps.append(Step(int(self._at), what, text, details))

    def _taken(self) -> list[Step]:
        steps, self._steps = self._steps, []
        return steps

    # What the script's session is to it

    def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> None:
        packet = Packet.decode(split_datagram(frame)[0])
        kind = "reliable" if reliable else "unreliable"
        receivers = "all" if peers is None else _peers(peers)
        sender = f" as {packet.sender}" if packet.sender else ""
        details = {
            "to": None if peers is None else list(peers),
            "packet": packet_to_json(packet, packet.sender, reliable),
        }
        self._step("send", f"opCode {packet.op_code} {kind} to {receivers}{sender}{_contents(packet)}", details)

    def later(self, when: float, callback: Callable[[float], None]) -> Timer:
        return self._timers.set(when, callback)

    def cancel(self, timer: Timer) -> None:
        self._timers.cancel(timer)

    def quality(self, peer_id: int, at: int) -> Figures | None:
        return self._recording.quality(peer_id, at)

    def kick(self, peer_id: int, reason: str) -> None:
        self._step("kick", f"{peer_id}: {reason}" if reason else str(peer_id), {"peer": peer_id, "reason": reason})
        self._timers.set(self._now, lambda now: self._is_kicked(peer_id))

    def log(self, level: str, text: str, now: float) -> None:
        self._step(level, text)

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
    ) -> None:
        done(absent())

    def switched_off(self, reason: str) -> None:
        self._step("off", f"after {self._guest.strikes} strikes: {reason}")


def _no_journal() -> Journal:
    """What the script logs are steps here."""
    from io import StringIO

    from gsrt.log import Log
    from gsrt.scripts.journal import Journal

    return Journal(1, Log(StringIO(), lambda: 0.0), lambda: 0.0)


def _peers(peers: tuple[int, ...]) -> str:
    return ",".join(map(str, peers))


def _contents(packet: Packet) -> str:
    """A packet's data and payload, as the rest of a line."""
    data = f" data {_described(packet.data)}" if packet.data is not None else ""
    payload = f" payload {packet.payload.hex()}" if packet.payload is not None else ""
    return data + payload


def _described(value: object) -> str:
    """A value of data as Python would write it."""
    if isinstance(value, Data):
        return "{" + ", ".join(f"{slot}: {_described(inner)}" for slot, inner in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_short, value)) + "]"
    return _short(value) if isinstance(value, Float32) else repr(value)


def _short(value: float) -> str:
    """A 32-bit float with no more digits than it takes to tell it from the next one."""
    from struct import pack

    for digits in range(6, 9):
        shorter = float(f"{value:.{digits}g}")
        if pack("<f", shorter) == pack("<f", value):
            return repr(shorter)
    return repr(float(f"{value:.9g}"))


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= SEED_MAX):
        raise ArgumentTypeError(f"{text!r} is no seed; expected a whole number from 0 to {SEED_MAX}")
    return int(text)

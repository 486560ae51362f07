"""One random script in one session: what happens to it, and what is checked afterwards.

A fault is one word and what about it:

    ESCAPE    a value that no script must have was within its reach
    ADDRESS   a text that came out shows where something is in memory
    STALL     one turn used more than 100 ms of CPU beyond its callbacks' deadlines
    HOSTEXC   something else than the script's own failure came out of the host's calls
    INTERNAL  Python or a guard found itself broken: SystemError, an exception that nobody could be told
    GROWTH    the resident size rose by more than a script may hold, may take in one call, and what is not counted
    POISON    a benign script was answered differently afterwards, or what scripts share had changed
"""

from __future__ import annotations

import gc
import os
import re
import sys
import warnings
from functools import partial
from typing import Any

from gsrt import _core, _guard, _meter
from gsrt._guard import ScriptType
from gsrt._guest import Data
from gsrt.log import Log
from gsrt.profile import Profile
from gsrt.scripts import guest
from gsrt.scripts.compiler import Compiled, Refused, compile_script
from gsrt.scripts.guest import ScriptError
from gsrt.scripts.journal import Journal
from gsrt.scripts.reload import state_of
from gsrt.scripts.sandbox import Sandbox
from tests.scripts.corpus.benign import SOURCE as BENIGN
from tests.scripts.corpus.offered import OFFERED
from tests.scripts.corpus.stage import Control, Stage, forget_peak, packets, resident_kb
from tests.scripts.fuzz.walking import HIDDEN, Walker

STALL_MS = 100
GROWTH_KB = 3 * 8 * 1024
PACKETS = 4
TIMERS_MAX = 10
FILE_NAME = "fuzz.py"
REFUSED = "refused"

_NUMBERS = re.compile(r"0[xX]([0-9a-fA-F]{9,16})|(?<![\d.])(\d{13,16})(?![\d.])")
_INTERNAL = re.compile(
    r"SystemError|SystemExit|KeyboardInterrupt|GeneratorExit|returned a result with an exception set"
    r"|returned NULL without setting|bad argument to internal|bad internal call|__pyx"
)


class Played(Stage):
    """A stage on which a random script may use `leak` itself, and which tells what it had in the end."""

    def __init__(self, sandbox: Sandbox, compiled: Compiled, old: Played | None = None) -> None:
        super().__init__(sandbox, compiled, "one")
        self._old = old
        self.probe = Walker(ScriptType, sandbox.builtins, self._guest.globals)
        self._guest.globals["leak"] = self.probe

    def play(self) -> None:
        """Two players come, some packets, timers for a while; all on top of what the script before it held."""
        try:
            self._turn("load", self._load)
        except ScriptError:
            return
        for peer_id in (1, 2):
            if self._old is None:
                self._turn(f"connect {peer_id}", partial(self._connect, peer_id))
        for number, packet in enumerate(packets()[:PACKETS]):
            self._turn(f"packet {number}", partial(self._packet, *packet))
        for number in range(TIMERS_MAX):
            if not self._due or self._guest.is_off:
                break
            self._due.sort()
            due, order, callback = self._due.pop(0)
            if order not in self._cancelled:
                self._now = max(self._now, due)
                self._turn(f"timer {number}", partial(callback, self._now + 0.02))

    def _load(self) -> None:
        if self._old is None:
            self._guest.load(self._now)
            return
        state, _ = state_of(self._old._guest, self._guest.handlers.players)
        self._guest.load(self._now, self._old._guest.here_now, state)

    def look(self) -> None:
        """Goes through all that the script holds; `probe.found` is what was wrong."""
        if type(self.probe) is Walker:
            mine = self._guest
            named = [value for name, value in mine.globals.items() if not HIDDEN.fullmatch(name)]
            called: list[Any] = [*mine.handlers.functions, *mine._connect, *mine._disconnect]
            called += [timer.function for timer in mine._timers.values()]
            self.probe.walk([*named, *called])

    def leave(self) -> None:
        """The last player goes."""
        self._turn("disconnect", lambda: self._guest.disconnected(2, self._now))

    def texts(self) -> list[str]:
        """All that came out of it, as text."""
        found: list[str] = []
        for event in self.events:
            if event[0] == "deliver" and isinstance(event[1], bytes):
                for body in _core.split_datagram(event[1]):
                    packet = _core.Packet.decode(body)
                    found.append(repr(packet.data) + repr(packet.payload))
            elif event[0] != "packet":
                found += [part for part in event if isinstance(part, str)]
        return found + self.said


class Theatre:
    """A sandbox in which one script after the other is played."""

    def __init__(self) -> None:
        profile = Profile.load("generic")
        # Kept in memory, all that was logged would soon be one block larger than a callback may make.
        log = Log(open(os.devnull, "w"), lambda: 0.0)  # noqa: SIM115 - as long as the process
        journal = Journal(profile.script_log_ring_lines, log, lambda: 0.0, profile.script_log_characters_max)
        # In a turn no time passes: how busy the machine is decides nothing.
        self.sandbox = Sandbox(profile, journal, lambda: 0.0)
        self._control = compile_script(BENIGN, "benign.py")
        self._answers = self._controlled()
        self.sandbox.meter.start_timer()
        self.settle()
        self._unheard: list[str] = []
        sys.unraisablehook = self._not_raised

    def settle(self) -> None:
        """What scripts share is to stay as it is now."""
        self._shared = shared(self.sandbox)

    def _not_raised(self, unraisable: Any) -> None:
        self._unheard.append(f"{type(unraisable.exc_value).__name__}: {unraisable.exc_value} in {unraisable.err_msg}")

    def _controlled(self) -> list[tuple[object, ...]]:
        """What the benign script is answered, within all budgets but that of time: as in the corpus."""
        stage = Control(self.sandbox, self._control, "control")
        stage.play()
        events = [*stage.events, ("outcome", stage.outcome)]
        stage.close()
        return events

    def play(self, source: str, controlled: bool = True) -> tuple[str, list[str]]:
        """What became of a script (REFUSED or an outcome of the corpus), and its faults. `controlled`: afterwards the
        benign script is played as well."""
        faults: list[str] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                compiled = compile_script(source, FILE_NAME)
        except Refused:
            return REFUSED, []
        except Exception as error:
            return REFUSED, [f"HOSTEXC compile_script: {type(error).__name__}: {str(error)[:200]}"]
        gc.collect()
        forget_peak()
        started = resident_kb("VmRSS")
        outcome = self._played(compiled, faults)
        grown = resident_kb("VmHWM") - started
        if grown > GROWTH_KB:
            faults.append(f"GROWTH {grown} KB")
        gc.collect()
        faults += [f"INTERNAL unraisable {text[:300]}" for text in self._unheard]
        self._unheard.clear()
        if controlled:
            self.sandbox.meter.stop_timer()
            try:
                if self._controlled() != self._answers:
                    faults.append("POISON a benign script was answered differently")
            except Exception as error:
                faults.append(f"POISON a benign script met {type(error).__name__}: {str(error)[:200]}{_place(error)}")
            self.sandbox.meter.start_timer()
        if shared(self.sandbox) != self._shared:
            faults.append("POISON what scripts share has changed")
        return outcome, faults

    def _played(self, compiled: Compiled, faults: list[str]) -> str:
        first = Played(self.sandbox, compiled)
        stages = [first]
        self._run(first, faults)
        if not first._guest.is_off:
            second = Played(self.sandbox, compiled, first)
            stages.append(second)
            self._run(second, faults)
        for stage in stages:
            if stage.beyond > STALL_MS:
                faults.append(f"STALL {stage.beyond:.0f} ms beyond the deadline in {stage.longest}")
            faults += [f"ESCAPE {found}" for found in stage.probe.found]
            faults += said_wrong(stage.texts())
            stage.close()
        return first.outcome

    def _run(self, stage: Played, faults: list[str]) -> None:
        try:
            stage.play()
        except BaseException as error:
            faults.append(f"HOSTEXC {type(error).__name__}: {str(error)[:200]}{_place(error)}")
        try:
            stage.look()
            stage.leave()
        except BaseException as error:
            faults.append(f"HOSTEXC at the end, {type(error).__name__}: {str(error)[:200]}{_place(error)}")


def _place(error: BaseException) -> str:
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        place = f" at {traceback.tb_frame.f_code.co_name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def said_wrong(texts: list[str]) -> list[str]:
    """Faults of texts that came out."""
    faults: list[str] = []
    regions: list[tuple[int, int]] = []
    for text in texts:
        internal = _INTERNAL.search(text)
        if internal is not None:
            faults.append(f"INTERNAL {text[max(0, internal.start() - 80) : internal.end() + 120]!r}")
        for found in _NUMBERS.finditer(text):
            number = int(found[1], 16) if found[1] else int(found[2])
            regions = regions or _mapped()
            if any(first <= number < after for first, after in regions):
                faults.append(f"ADDRESS {text[max(0, found.start() - 60) : found.end()]!r}")
    return faults[:5]


def _mapped() -> list[tuple[int, int]]:
    """The addresses that this process uses: (first, after the last) of each region."""
    with open("/proc/self/maps") as maps:
        spans = [line.split(" ", 1)[0].split("-") for line in maps]
    return [(int(first, 16), int(after, 16)) for first, after in spans]


def shared(sandbox: Sandbox) -> list[object]:
    """What all scripts use, as far as one could reach for it: names and identities."""
    spaces: list[object] = [{name: id(value) for name, value in sandbox.builtins.items()}]
    modules = (_guard, _meter, *OFFERED, guest)
    kinds: dict[int, type] = {id(kind): kind for kind in (ScriptType, Data, _core.Data)}
    for value in [*sandbox.builtins.values(), *(each for module in modules for each in vars(module).values())]:
        if isinstance(value, type):
            kinds[id(value)] = value
    for kind in kinds.values():
        spaces.append({name: id(value) for name, value in vars(kind).items()})
    spaces += [{name: id(value) for name, value in vars(module).items()} for module in modules]
    namespace = sandbox.builtins["math"]
    spaces.append({each: id(getattr(namespace, each)) for each in dir(namespace) if not each.startswith("_")})
    spaces += [sys.getrecursionlimit(), gc.isenabled(), gc.get_threshold(), os.getcwd(), sorted(os.environ)]
    return spaces

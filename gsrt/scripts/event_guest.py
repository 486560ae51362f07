"""The script of an event at work: its `on_event` is called for each event, within the budgets of a callback."""

from __future__ import annotations

from collections import deque

from gsrt._guest import QuotaError
from gsrt.scripts.errands import Errand, copy_of, weight_of
from gsrt.scripts.event_api import NAMES_MAX, Event
from gsrt.scripts.events import OFF, REQUESTS_MAX, Reported, refused
from gsrt.scripts.guest import LOAD_GAS, Guest, ScriptError
from gsrt.scripts.random_api import Random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType
    from typing import Any

    from gsrt.backend.desk import Desk
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.events import Run
    from gsrt.scripts.guest import Surroundings
    from gsrt.scripts.sandbox import Sandbox

ENTRY = "on_event"
EVENTS_PER_TURN = 16  # of one script: what they usually take keeps nobody waiting for a millisecond more


class EventGuest(Guest):
    """A guest without a session."""

    def __init__(
        self,
        sandbox: Sandbox,
        compiled: Compiled,
        surroundings: Surroundings,
        desk: Desk,
        *,
        seed: int,
        began: float,
        tag: bytes,
    ) -> None:
        super().__init__(sandbox, compiled, surroundings, session_id="", players={}, seed=seed, began=began, tag=tag)
        del self.globals["session"]
        self.desk = desk
        self._entry: Callable[[Event], object] = _nothing
        self._generator: Random | None = None
        self._runs: dict[Run, dict[Errand, None]] = {}  # each with its requests that are not over
        self._beginnings: deque[Run] = deque()
        self._scheduled = False
        self._retired = False

    def load_event(self, now: float) -> None:
        """Runs the file's top level, once. Raises ScriptError; the guest is then of no use."""
        self._now = now
        try:
            self.handlers.run(now, exec, self.compiled.code, self.globals, gas=self.profile.script_gas * LOAD_GAS)
        except Exception as error:
            told = self._told(error)
            self.close()
            raise ScriptError(told) from None
        if not self._defines(ENTRY):
            self.close()
            raise ScriptError(f"{self.compiled.filename}: it defines no function `{ENTRY}(event)`")
        self._entry = self.globals[ENTRY]

    def retire(self) -> None:
        """Another has taken over: what is under way here comes to its end."""
        self._retired = True
        if not self._runs:
            self.close()

    def begin(self, run: Run) -> None:
        """Has `on_event` called for it."""
        run.guest = self
        self._runs[run] = {}
        self._beginnings.append(run)
        self._work_later(self.moment)

    def ended(self, run: Run) -> None:
        """Nothing of it is called any more."""
        for errand in self._runs.pop(run, ()):
            self.errands.forget(errand)
        if self._retired and not self._runs and not self.is_off:
            self.close()

    def failed(self, error: Exception, what: object) -> None:
        super().failed(error, what)
        if self.is_off:
            for run in list(self._runs):
                run.end(refused(OFF))

    def held(self) -> list[object]:
        return [*super().held(), self._entry]

    def _work_later(self, when: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._surroundings.later(when, self._work)

    def _work(self, now: float) -> None:
        self._scheduled = False
        for _ in range(min(len(self._beginnings), EVENTS_PER_TURN)):
            if self.handlers.is_behind:  # others first; at the next turn
                break
            run = self._beginnings.popleft()
            if not run.ended:
                run.step_over(self._call(now, run.code, self._enter, run))
        if self._beginnings:
            self._work_later(now)

    def _enter(self, run: Run) -> None:
        """Within the budgets of the callback: the copy is the script's, it pays for it."""
        self.give(weight_of(run.attributes))
        event = Event(Reach(self, run), copy_of(run.attributes))
        self._entry(event)

    def ask(
        self,
        run: Run,
        name: str,
        player_id: str | None,
        fields: dict[str, object],
        callback: Callable[..., object] | None,
    ) -> None:
        """A request of that event's. Raises QuotaError."""
        errands = self._runs[run]
        if len(errands) >= self.profile.script_requests_max:
            raise QuotaError(f"{self.profile.script_requests_max} requests may be waiting for their answer")
        if run.tree.requests_left <= 0:
            raise QuotaError(f"an event may send {REQUESTS_MAX} requests, with the events that it brings about")

        def send(name: str, player_id: str | None, fields: dict[str, object], done: Callable[[Any], None]) -> None:
            # A line of its own: its player's waits for this event, and an event for another player may wait for that.
            self.desk.submit(name, Reported(fields, run), done, player_id=player_id, line=run)

        def after(well: bool) -> None:
            errands.pop(errand, None)
            run.step_over(well)

        errand = Errand(name, player_id, fields, callback, send, after)
        self.errands.ask(errand, self.moment)
        run.tree.requests_left -= 1
        run.pending += 1
        errands[errand] = None

    def generator(self) -> Random:
        """One for all events of the script."""
        if self._generator is None:
            self._generator = Random(self)
        return self._generator


class Reach:
    """What one event can bring about: the capabilities of gsrt.scripts.event_api."""

    __slots__ = ("_guest", "_run")

    def __init__(self, guest: EventGuest, run: Run) -> None:
        self._guest = guest
        self._run = run

    def _under_way(self) -> Run:
        if self._run.ended:
            raise RuntimeError("the event has ended: its answer is out")
        return self._run

    @property
    def code(self) -> str:
        return self._run.code

    @property
    def player_id(self) -> str:
        return self._run.player_id

    @property
    def seconds(self) -> int:
        return self._run.seconds

    @property
    def seed(self) -> int:
        return self._guest.seed

    def generator(self) -> Random:
        return self._guest.generator()

    def charge(self, ticks: int) -> None:
        self._guest.charge(ticks)

    def text(self, value: object) -> str:
        return self._guest.text(value)

    def is_own(self, function: FunctionType) -> bool:
        return self._guest.is_own(function)

    def log(self, level: str, text: str) -> None:
        self._guest.log(level, text)

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], callback: Callable[..., object] | None
    ) -> None:
        self._guest.ask(self._under_way(), name, player_id, fields, callback)

    def reply(self, name: str, value: object) -> None:
        _put(self._under_way().replies, name, value)

    def fail(self, field: str, code: str) -> None:
        _put(self._under_way().errors, field, code)


def _nothing(event: Event) -> None:
    """Before the script is loaded."""


def _put(values: dict[str, object], name: str, value: object) -> None:
    if name not in values and len(values) >= NAMES_MAX:
        raise QuotaError(f"an event has {NAMES_MAX} names in its answer")
    values[name] = value

"""Requests that one script has sent to the backend, from `send` until the callback has run.

They leave after the callback that has sent them, so that nothing of the server's runs within a script's budgets. Their
answers come to callbacks in a later turn, in the order in which they were answered, each within budgets of its own.
"""

from __future__ import annotations

from collections import deque
from math import isfinite
from sys import getsizeof

from gsrt._guest import QuotaError
from gsrt.scripts.request_api import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gsrt.scripts.guest import Guest

    Answer = dict[str, object]
    Done = Callable[[Answer], None]
    Send = Callable[[str, str | None, dict[str, object], Done], None]

REQUEST_GAS = 200  # what sending one costs a script, besides its size
BYTES_PER_TICK = 1024  # what one tick of gas pays for in a request or an answer
WAITING_PART = 2  # of a script's memory: requests that wait for their answer may have so much
ANSWER_PART = 8  # an answer may have this part of a script's memory: a script can then look at several
DEPTH_MAX = 48  # of lists and dicts in an answer; those of scripts have 32
INT_MAX = 2**63 - 1  # beyond it a number of JSON is handed over as a float

BACKEND_ABSENT = "NOT_AVAILABLE: there are accounts, matches and leaderboards only where a game is served"


def absent() -> Answer:
    """The answer to every request where there is no backend."""
    return {"error": {"backend": BACKEND_ABSENT}}


class Unfit(Exception):
    """A value that a script cannot be given; the message is a code and why."""


class Errand:
    """One request. `send(name, player_id, fields, done)` takes it to the backend; `after(well)` is called when
    everything that is to come of it has come: its callback has run, WELL or not, or there is none."""

    __slots__ = ("after", "answer", "callback", "fields", "name", "player_id", "send", "weight")

    def __init__(
        self,
        name: str,
        player_id: str | None,
        fields: dict[str, object],
        callback: Callable[..., object] | None,
        send: Send,
        after: Callable[[bool], None] | None = None,
    ) -> None:
        self.name = name
        self.player_id = player_id
        self.fields = fields
        self.callback = callback
        self.send = send
        self.after = after
        self.answer: Answer | None = None
        self.weight = 0  # of the fields, in bytes


class Errands:
    """Those of one guest."""

    def __init__(self, guest: Guest, later: Callable[[float, Callable[[float], None]], object]) -> None:
        self._guest = guest
        self._later = later
        self._waiting: dict[Errand, None] = {}
        self._bytes = 0  # of the fields of those that wait
        self._outbox: list[Errand] = []
        self._answered: deque[Errand] = deque()
        self._scheduled = False
        self._working = False
        self._sending: float | None = None  # since when requests are being handed over

    def __len__(self) -> int:
        """How many wait for their answer, or for their callback to run."""
        return len(self._waiting)

    def callbacks(self) -> list[Callable[..., object]]:
        """All that are still to be called."""
        return [each.callback for each in self._waiting if each.callback is not None]

    def ask(self, errand: Errand, moment: float) -> None:
        """Takes a request of the callback that runs. Raises QuotaError; takes gas."""
        errand.weight = weight_of(errand.fields)
        self._guest.charge(REQUEST_GAS + errand.weight // BYTES_PER_TICK)
        most = self._guest.profile.script_memory_bytes // WAITING_PART
        if self._bytes + errand.weight > most:
            raise QuotaError(f"requests that wait for their answer may have {most} bytes in all")
        self._waiting[errand] = None
        self._bytes += errand.weight
        self._outbox.append(errand)
        if not self._working:
            self._work_later(moment)

    def forget(self, errand: Errand) -> None:
        """Its callback is not to run any more."""
        if errand in self._waiting:
            del self._waiting[errand]
            if errand.answer is None:
                self._bytes -= errand.weight

    def close(self) -> None:
        """No callback runs any more. What was sent before still leaves."""
        self._waiting.clear()
        self._answered.clear()
        self._send_all(0.0)

    def drop(self) -> None:
        """What was not sent yet does not leave either."""
        self._outbox.clear()
        self.close()

    def _work_later(self, when: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._later(when, self._work)

    def _work(self, now: float) -> None:
        """Callbacks whose answers are there; then requests leave: so none is answered in the turn of its sending."""
        self._scheduled, self._working = False, True
        for _ in range(len(self._answered)):
            if not self._answered or self._guest.handlers.is_behind:  # others first; at the next turn
                break
            self._finish(self._answered.popleft(), now)
        self._working = False
        behind = len(self._answered)
        self._send_all(now)
        if behind:
            self._work_later(now)

    def _finish(self, errand: Errand, now: float) -> None:
        if errand not in self._waiting:
            return
        del self._waiting[errand]
        well = errand.callback is None or self._guest.answered(errand.name, now, self._receive, errand)
        if errand.after is not None:
            errand.after(well)

    def _receive(self, errand: Errand) -> None:
        """Within the budgets of the callback: the copy is the script's, it pays for it, and for the weighing."""
        assert errand.answer is not None and errand.callback is not None
        answer = errand.answer
        try:
            weight = weight_of(answer, self._guest.profile.script_memory_bytes // ANSWER_PART)
        except Unfit as unfit:
            answer, weight = {"error": {"response": str(unfit)}}, 0
        self._guest.give(weight)
        errand.callback(Response(copy_of(answer)))

    def _send_all(self, now: float) -> None:
        outbox, self._outbox = self._outbox, []
        self._sending = now
        for errand in outbox:
            errand.send(errand.name, errand.player_id, errand.fields, self._done(errand))
        self._sending = None

    def _done(self, errand: Errand) -> Done:
        def done(answer: Answer) -> None:
            if errand not in self._waiting or errand.answer is not None:
                return
            self._bytes -= errand.weight
            errand.fields = {}
            errand.answer = {} if errand.callback is None else answer
            self._answered.append(errand)
            if self._sending is None:
                self._work_later(self._guest.moment)
            else:  # answered at once, as many errors are: a script that asks again and again is not to turn the loop
                self._work_later(self._sending + self._guest.profile.script_timer_ms_min / 1000)

        return done


def weight_of(value: object, most: float = float("inf")) -> int:
    """Bytes that VALUE takes in a script. Raises Unfit for more than MOST, for what is nested too deep, and
    for what is no plain value."""
    weight = 0
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        kind = type(each)
        weight += getsizeof(each)
        if kind is dict or kind is list or kind is tuple:
            if depth >= DEPTH_MAX:
                raise Unfit(f"TOO_DEEP: it has more than {DEPTH_MAX} lists and objects inside one another")
            if kind is dict:
                weight += sum(map(getsizeof, each))
                waiting += [(one, depth + 1) for one in each.values()]
            else:
                waiting += [(one, depth + 1) for one in each]
        elif kind not in (str, int, float, bool, type(None)):
            raise Unfit("FAILED: it holds what no script can be given")
        if weight > most:
            raise Unfit(f"TOO_LARGE: it has more than {most:.0f} bytes")
    return weight


def copy_of(value: Any) -> Any:
    """A copy of a plain value that a script may change. The depth is weight_of's to bound."""
    kind = type(value)
    if kind is dict:
        return {str(key): copy_of(each) for key, each in value.items()}
    if kind is list or kind is tuple:
        return [copy_of(each) for each in value]
    if kind is int and not -INT_MAX <= value <= INT_MAX:
        try:
            return float(value)
        except OverflowError:
            return None
    if kind is float and not isfinite(value):
        return None
    return value

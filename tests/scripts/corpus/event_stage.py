"""A backend without a server: events are reported to one script, and what it asks for is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gsrt.scripts.compiler import Compiled
from gsrt.scripts.event_guest import EventGuest
from gsrt.scripts.events import DEPTH_MAX, TIMEOUT, TOO_DEEP, Reported, Run, Tree, refused
from gsrt.scripts.guest import ScriptError
from tests.scripts.corpus.case import RAISE
from tests.scripts.corpus.stage import Stage, Watched

ATTRIBUTES: dict[str, object] = {"score": 7, "name": "text", "place": {"x": 1.5, "list": [1, [2], {"a": None}]}}
EVENTS_REPORTED = 5
LARGE: dict[str, object] = {"list": [{"number": number, "text": "x" * 100} for number in range(1500)]}


class _WatchedEvent(Watched, EventGuest):
    """The same for the script of an event."""


class _Desk:
    """Answers every request: LogEventRequest by the same script, ListMessageRequest with much, others with little."""

    def __init__(self, stage: EventStage) -> None:
        self._stage = stage

    def submit(
        self,
        name: str,
        given: Mapping[str, object],
        done: Callable[[dict[str, object]], None],
        *,
        player_id: str | None = None,
        line: object = None,
    ) -> None:
        if name == "LogEventRequest":
            assert type(given) is Reported
            self._stage.report(player_id or "nobody", dict(given), done, given.run)
        elif name == "ListMessageRequest":
            done(LARGE)
        else:
            done({"name": name, "given": dict(given), "player": player_id})


class EventStage(Stage):
    """One script of an event. `play` lets events be reported, one of them while another is under way."""

    def _make(self, compiled: Compiled) -> Watched:
        desk: Any = _Desk(self)
        return _WatchedEvent(self._sandbox, compiled, self, desk, seed=7, began=self._now, tag=b"event")

    def play(self) -> None:
        guest = self._guest
        assert isinstance(guest, _WatchedEvent)
        try:
            self._turn("load", lambda: guest.load_event(self._now))
        except ScriptError:
            self.outcomes.append(RAISE)
            return
        for number in range(EVENTS_REPORTED):
            if guest.is_off:
                return
            self._turn(f"event {number}", partial(self.report, "anna", dict(ATTRIBUTES), self._answered, None))
            if number % 2:
                self._pass_time()
        self._pass_time()

    def report(
        self, player: str, attributes: dict[str, object], done: Callable[[dict[str, object]], None], parent: Run | None
    ) -> None:
        """An event, of itself or brought about by another."""
        guest = self._guest
        assert isinstance(guest, _WatchedEvent)
        tree = Tree() if parent is None else parent.tree
        depth = 1 if parent is None else parent.depth + 1
        if depth > DEPTH_MAX or tree.is_over or guest.is_off:
            done(refused(TOO_DEEP if depth > DEPTH_MAX else TIMEOUT))
            return
        run = Run("EVENT", player, attributes, int(self._now), tree, depth, done, guest.ended)
        guest.begin(run)

    def _answered(self, answer: dict[str, object]) -> None:
        self._note("answer", answer)

"""Events: what players and scripts report, and the scripts that answer it.

Each event's file defines `on_event(event)` and is at work in one guest for the whole server, loaded with the first
event and exchanged when the file changes. Everything here is on the loop; files are compiled on the worker.

An event that a script of an event reports is part of the one that it runs for: together they have a deadline, a number
of requests, and a depth.
"""

from __future__ import annotations

import os
from collections import deque

from gsrt.scripts.compiling import HostError
from gsrt.scripts.errands import ANSWER_PART, Unfit, weight_of
from gsrt.scripts.journal import BURST_SECONDS, LineBudget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gsrt.backend.desk import Desk
    from gsrt.game.model import EventConfig
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.event_guest import EventGuest
    from gsrt.scripts.host import Scripts
    from gsrt.timers import Timer

    Answer = dict[str, object]

SECONDS_MAX = 10.0  # that an event may take with all that it brings about; some clients wait no longer
REQUESTS_MAX = 256  # that an event may send, with all that it brings about
DEPTH_MAX = 8  # of events that bring about events
OFF_SECONDS = 60.0  # for which a script that has failed too often is off; each time twice as long as before,
OFF_SECONDS_MAX = 3600.0  # up to this: a player who finds what is too much for it shall not turn it off for everybody
JOURNAL_SESSION = "event"  # in place of a session's id, in the journal

TOO_DEEP = f"TOO_DEEP: events may bring about events, {DEPTH_MAX} at most inside one another"
TIMEOUT = f"TIMEOUT: it was not done within {SECONDS_MAX:g} seconds"
FAILED = "FAILED: the log of scripts says why"
OFF = "OFF: its script has failed too often; it is tried again later, and when its file has changed"
NOT_LOADED = "NOT_LOADED: its script cannot run; the server's log says why"


def refused(code: str) -> Answer:
    """An answer for whoever reported the event: it has failed, and not for what was in it."""
    return {"error": {"event": code}}


class Reported(dict[str, object]):
    """The fields of a request that a script of an event has sent."""

    __slots__ = ("run",)

    def __init__(self, fields: Mapping[str, object], run: Run) -> None:
        super().__init__(fields)
        self.run = run


class Tree:
    """An event and all the events that it brings about."""

    __slots__ = ("is_over", "requests_left", "runs", "timer")

    def __init__(self) -> None:
        self.requests_left = REQUESTS_MAX
        self.runs: dict[Run, None] = {}
        self.timer: Timer | None = None  # at which it has to be over
        self.is_over = False

    def stop(self) -> None:
        """Time is up."""
        self.is_over = True
        for run in list(self.runs):
            run.end(refused(TIMEOUT))


class Run:
    """One event, from its report to its answer."""

    __slots__ = (
        "attributes",
        "code",
        "depth",
        "done",
        "ended",
        "errors",
        "guest",
        "on_end",
        "pending",
        "player_id",
        "replies",
        "seconds",
        "tree",
        "well",
    )

    def __init__(
        self,
        code: str,
        player_id: str,
        attributes: dict[str, object],
        seconds: int,
        tree: Tree,
        depth: int,
        done: Callable[[Answer], None],
        on_end: Callable[[Run], None],
    ) -> None:
        self.code = code
        self.player_id = player_id
        self.attributes = attributes
        self.seconds = seconds
        self.tree = tree
        self.depth = depth
        self.done: Callable[[Answer], None] | None = done
        self.on_end = on_end
        self.guest: EventGuest | None = None
        self.pending = 1  # requests that are not over, and on_event
        self.well = True
        self.ended = False
        self.replies: Answer = {}
        self.errors: Answer = {}

    def step_over(self, well: bool) -> None:
        """`on_event` has returned, or a request is over."""
        self.pending -= 1
        self.well = self.well and well
        if self.pending == 0:
            answer: Answer = {"scriptData": self.replies} if self.replies else {}
            if self.errors:
                answer["error"] = self.errors
            self.end(answer if self.well else refused(FAILED))

    def end(self, answer: Answer) -> None:
        """The answer goes out; nothing of it runs any more."""
        if self.ended:
            return
        self.ended = True
        done, self.done = self.done, None
        self.attributes = {}
        self.on_end(self)
        assert done is not None
        done(answer)


class EventScript:
    """The script of one event: loaded when it is first needed; its guest and its runs."""

    def __init__(self, events: Events, config: EventConfig) -> None:
        self.code = config.code
        self.path = config.path
        self.state = "new"  # "loading", "running", "off", "broken", "gone"
        self.digest: str | None = None  # of the version that is or was at work
        self.guest: EventGuest | None = None
        self.reloads = 0
        self.runs = 0
        self._events = events
        self._scripts = events.scripts
        self._waiting: deque[Run] = deque()  # until it is loaded
        self._off_seconds = OFF_SECONDS  # for the next time
        self._on_again: Timer | None = None
        profile = self._scripts.profile
        self._lines = LineBudget(
            profile.script_log_lines_per_second,
            profile.script_log_lines_per_second * BURST_SECONDS,
            self._scripts.clock(),
        )

    # Life

    def begin(self, run: Run) -> None:
        """Has the event answered."""
        self.runs += 1
        if self.guest is not None:
            self.guest.begin(run)
        elif self.state == "off":
            run.end(refused(OFF))
        elif self.state == "broken":
            run.end(refused(NOT_LOADED))
        else:
            self._waiting.append(run)
            if self.state == "new":
                self._load()

    def _load(self) -> None:
        self.state = "loading"
        try:
            self._scripts.prepare(self.path, self._prepared)
        except HostError as error:
            # It was not for the file: the next event tries again.
            self._scripts.log.limited("error", "events", "event not answered", event=self.code, reason=str(error))
            self._give_up("new")

    def _prepared(self, compiled: Compiled | None, error: HostError | None) -> None:
        if self.state != "loading":
            return
        if compiled is None:
            self._refuse(str(error))
        else:
            self._exchange(compiled)
        self._scripts.files.watch(self)

    def _refuse(self, reason: str) -> None:
        self.not_taken(reason)
        self._give_up("broken")

    def _give_up(self, state: str) -> None:
        self.state = state
        while self._waiting:
            self._waiting.popleft().end(refused(NOT_LOADED))

    def _exchange(self, compiled: Compiled) -> None:
        """Puts that version to work, if it loads."""
        from gsrt.resume import script_tag
        from gsrt.scripts.event_guest import EventGuest
        from gsrt.scripts.guest import ScriptError

        for warning in compiled.warnings:
            self._scripts.log.warn("script", event=self.code, text=str(warning))
        now = self._scripts.clock()
        guest = EventGuest(
            self._scripts.needed_sandbox(),
            compiled,
            self,
            self._events.desk,
            seed=self._scripts.new_seed(),
            began=now,
            tag=script_tag(f"event:{self.code}", compiled.digest, self.path),
        )
        try:
            guest.load_event(now)
        except ScriptError as error:
            if self.guest is None:
                self.digest = compiled.digest
                self._refuse(str(error))
            else:
                self.not_taken(str(error))
            return
        if self.guest is not None:
            self.guest.retire()
        if self.digest != compiled.digest:
            self._off_seconds = OFF_SECONDS
        self._forget_off()
        if self.digest is not None:
            self.reloads += 1
            self._scripts.log.info("script taken up again", event=self.code, script=self.path)
        self.guest = guest
        self.digest = compiled.digest
        self.state = "running"
        while self._waiting:
            guest.begin(self._waiting.popleft())

    def close(self) -> None:
        """There is no such event any more; those under way go on."""
        self._scripts.files.unwatch(self)
        self._forget_off()
        if self.guest is not None:
            self.guest.retire()
            self.guest = None
        self._give_up("gone")

    # What scripts.files tells

    def try_out(self, compiled: Compiled) -> None:
        """The file has changed. One that does not load changes nothing."""
        if self.state not in ("loading", "gone"):
            self._exchange(compiled)

    def not_taken(self, reason: str) -> None:
        """The file is no good."""
        for line in reason.splitlines():
            self._scripts.log.error("script of an event not taken", event=self.code, script=self.path, reason=line)

    def figures(self) -> dict[str, Any]:
        """For the status."""
        found: dict[str, Any] = {
            "path": self.path,
            "state": self.state,
            "reloads": self.reloads,
            "events": self.runs,
        }
        guest = self.guest
        if guest is not None:
            found |= {
                "strikes": guest.strikes,
                "failures": guest.failures,
                "calls": guest.handlers.calls,
                "milliseconds": guest.handlers.seconds * 1000,
                "longestMs": guest.handlers.longest * 1000,
                "gasMost": guest.handlers.account.gas_most,
                "heldBytes": guest.handlers.account.held_bytes,
            }
        return found

    # The surroundings of its guest: there is no session

    def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> None:
        """Nobody is there."""

    def later(self, when: float, callback: Callable[[float], None]) -> Timer:
        return self._scripts.timers.set(when, callback)

    def cancel(self, timer: Timer | None) -> None:
        self._scripts.timers.cancel(timer)

    def quality(self, peer_id: int, at: int) -> None:
        """Nobody is there."""

    def kick(self, peer_id: int, reason: str) -> None:
        """Nobody is there."""

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
    ) -> None:
        """Requests are sent by events, not by their script."""

    def log(self, level: str, text: str, now: float) -> None:
        suppressed = self._lines.take(now)
        if suppressed is not None:
            name = os.path.basename(self.path)
            self._scripts.journal.add(JOURNAL_SESSION, name, level, text, suppressed=suppressed)

    def switched_off(self, reason: str) -> None:
        """Strikes have ended it, for a while."""
        self.state = "off"
        self.guest = None
        self._scripts.tidy_up()
        seconds, self._off_seconds = self._off_seconds, min(2 * self._off_seconds, OFF_SECONDS_MAX)
        self._on_again = self.later(self._scripts.clock() + seconds, self._try_again)
        self._scripts.log.error(
            "script switched off",
            event=self.code,
            script=self.path,
            reason=reason,
            seconds=seconds,
            todo="mend it: the changed file is taken up by itself; for so long the event is answered with an error",
        )

    def _try_again(self, now: float) -> None:
        """It was off for long enough: the next event loads it."""
        self._on_again = None
        self.state = "new"

    def _forget_off(self) -> None:
        self.cancel(self._on_again)
        self._on_again = None


class Events:
    """The events of the game that is served."""

    def __init__(self, desk: Desk, scripts: Scripts) -> None:
        self.desk = desk
        self.scripts = scripts
        self._scripts: dict[str, EventScript] = {}  # code -> its script

    def run(
        self,
        config: EventConfig,
        player_id: str,
        attributes: dict[str, object],
        given: Mapping[str, object],
        done: Callable[[Answer], None],
    ) -> None:
        """Has the event's script answer: `done(answer)` is called once, later; the answer has "scriptData" where there
        is any, and "error" where it has failed. GIVEN: the fields of the request as they came; ATTRIBUTES: those of the
        event, checked."""
        try:
            weight_of(attributes, self.scripts.profile.script_memory_bytes // ANSWER_PART)
        except Unfit as unfit:
            done(refused(str(unfit)))
            return
        parent = given.run if type(given) is Reported else None
        if parent is None:
            tree, depth = Tree(), 1
            tree.timer = self.scripts.timers.set(self.scripts.clock() + SECONDS_MAX, lambda now: tree.stop())
        else:
            tree, depth = parent.tree, parent.depth + 1
        if depth > DEPTH_MAX or tree.is_over:
            done(refused(TIMEOUT if tree.is_over else TOO_DEEP))
            return
        run = Run(config.code, player_id, attributes, int(self.desk.wall()), tree, depth, done, self._ended)
        tree.runs[run] = None
        self._script(config).begin(run)

    def game_changed(self) -> None:
        """The desk has another game: scripts of events that are no more are given up."""
        for code, script in list(self._scripts.items()):
            config = self.desk.game.events.get(code)
            if config is None or config.path != script.path:
                del self._scripts[code]
                script.close()

    def close(self) -> None:
        """Nothing runs any more."""
        for script in self._scripts.values():
            script.close()
        self._scripts.clear()

    def figures(self) -> dict[str, dict[str, Any]]:
        """For the status: code -> what its script has used."""
        return {code: script.figures() for code, script in self._scripts.items()}

    def _script(self, config: EventConfig) -> EventScript:
        script = self._scripts.get(config.code)
        if script is not None and script.path != config.path:
            script.close()
            script = None
        if script is None:
            script = self._scripts[config.code] = EventScript(self, config)
        return script

    def _ended(self, run: Run) -> None:
        if run.guest is not None:
            run.guest.ended(run)
        tree = run.tree
        tree.runs.pop(run, None)
        if not tree.runs:
            tree.is_over = True
            self.scripts.timers.cancel(tree.timer)

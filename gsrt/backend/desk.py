"""Where requests are done: those of players' connections, of scripts and of events.

A request runs as a generator on the loop; what it yields is done on the store's or the worker's thread, or later on the
loop. Requests of one line (a player, or a connection that nobody has signed in by) are done one after the other in the
order in which they came; different lines do not wait for each other.
"""

from __future__ import annotations

from collections import deque

from gsrt.backend.call import Awaited, Call, Failure, Stored, Worked, check_fields
from gsrt.backend.registry import Registry
from gsrt.store.store import StoreError
from gsrt.worker import WorkerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gsrt.backend.call import Asker, RequestModule, Steps
    from gsrt.connections import Presence
    from gsrt.game.model import Game
    from gsrt.log import Log
    from gsrt.matches import Matches
    from gsrt.profile import Profile
    from gsrt.scripts.events import Events
    from gsrt.store.store import Store
    from gsrt.worker import Worker

    Answer = dict[str, object]
    Done = Callable[[Answer], None]

UNKNOWN: Answer = {"error": {"request": "UNKNOWN: this server knows no such request"}}
NOT_AUTHORIZED: Answer = {"error": {"authentication": "NOTAUTHORIZED"}}
TOO_MANY: Answer = {"error": {"request": "TOO_MANY: wait for the answers to the ones before"}}
FAILED: Answer = {"error": {"request": "FAILED: the server's log says why"}}
NOT_AVAILABLE: Answer = {"error": {"backend": "NOT_AVAILABLE: nothing was changed; try again later"}}


class Waiting:
    """A request that waits for those before it, or is being done."""

    __slots__ = ("connection", "done", "given", "line", "player_id", "request", "steps")

    def __init__(
        self,
        request: RequestModule,
        given: Mapping[str, object],
        player_id: str | None,
        connection: Asker | None,
        done: Done,
        line: Line,
    ) -> None:
        self.request = request
        self.given = given
        self.player_id = player_id
        self.connection = connection
        self.done = done
        self.line = line
        self.steps: Steps | None = None


class Line:
    """Requests that are done one after the other. `key`: whose they are."""

    __slots__ = ("busy", "key", "pumping", "waiting")

    def __init__(self, key: object) -> None:
        self.key = key
        self.waiting: deque[Waiting] = deque()
        self.busy = False
        self.pumping = False


class Desk:
    """Takes requests. What they work with is set by the server before the first of them: `presence`, `matches`,
    `events`; `game` whenever the game's folder has changed."""

    presence: Presence
    matches: Matches
    events: Events

    def __init__(
        self, game: Game, store: Store, worker: Worker, profile: Profile, wall: Callable[[], float], log: Log
    ) -> None:
        """`wall()`: seconds since 1970."""
        self.game = game
        self.store = store
        self.worker = worker
        self.profile = profile
        self.wall = wall
        self.log = log
        self.registry = Registry()
        self.counters = {"requests": 0, "requests_refused": 0, "requests_failed": 0}
        self._lines: dict[object, Line] = {}

    def submit(
        self,
        name: str,
        given: Mapping[str, object],
        done: Done,
        *,
        player_id: str | None = None,
        connection: Asker | None = None,
        line: object = None,
    ) -> None:
        """Does the request NAME; `done(answer)` is called once, now or in a later turn. The answer has "error" where it
        failed.

        It comes by a `connection` (whoever has signed in there when it is its turn asks), or from a script, on behalf of
        `player_id` or of nobody. `line`: whose order it keeps; by default the player's or the connection's."""
        self.counters["requests"] += 1
        request = self.registry.find(name)
        if request is None or (connection is not None and getattr(request, "SCRIPTS_ONLY", False)):
            self.counters["requests_refused"] += 1
            done(UNKNOWN)
            return
        if line is None:
            line = player_id or (connection and (connection.player_id or connection))
        place = self._lines.get(line)
        if place is None:
            place = self._lines[line] = Line(line)
        if len(place.waiting) >= self.profile.requests_waiting_max:
            self.counters["requests_refused"] += 1
            done(TOO_MANY)
            return
        place.waiting.append(Waiting(request, given, player_id, connection, done, place))
        self._pump(place)

    @property
    def under_way(self) -> int:
        """Requests that were not answered yet."""
        return sum(len(line.waiting) + line.busy for line in self._lines.values())

    def _pump(self, line: Line) -> None:
        """Begins the next of the line, unless one is being done. A loop, for many may be over at once."""
        if line.pumping:
            return
        line.pumping = True
        while line.waiting and not line.busy:
            line.busy = True
            self._begin(line.waiting.popleft())
        line.pumping = False
        if not line.busy:
            del self._lines[line.key]

    def _begin(self, waiting: Waiting) -> None:
        player_id = waiting.player_id if waiting.connection is None else waiting.connection.player_id
        request = waiting.request
        if player_id is None and getattr(request, "NEEDS_PLAYER", True):
            self._finish(waiting, NOT_AUTHORIZED)
            return
        try:
            fields = check_fields(request.FIELDS, waiting.given)
        except Failure as failure:
            self._finish(waiting, {"error": failure.errors})
            return
        call = Call(self, request.NAME, fields, waiting.given, player_id, waiting.connection, self.wall())
        waiting.steps = request.run(call)
        self._step(waiting, None, None)

    def _step(self, waiting: Waiting, value: Any, error: BaseException | None) -> None:
        """Goes on with what the step before has brought, until the next one."""
        assert waiting.steps is not None
        try:
            step = waiting.steps.send(value) if error is None else waiting.steps.throw(error)
            if type(step) is Stored:
                self.store.submit(step.operation, step.arguments, lambda *came: self._step(waiting, *came))
            elif type(step) is Worked:
                function, arguments = step.function, step.arguments
                self.worker.submit(lambda: function(*arguments), lambda *came: self._step(waiting, *came))
            else:
                assert type(step) is Awaited
                step.start(lambda came: self._step(waiting, came, None))
        except StopIteration as end:
            self._finish(waiting, end.value)
        except Failure as failure:
            self._finish(waiting, {"error": failure.errors})
        except (StoreError, WorkerError) as unavailable:
            self.counters["requests_failed"] += 1
            self.log.limited(
                "error", "backend", "request not done", request=waiting.request.NAME, reason=str(unavailable)
            )
            self._finish(waiting, NOT_AVAILABLE)
        except Exception as raised:
            self.counters["requests_failed"] += 1
            self.log.limited(
                "error",
                f"request {waiting.request.NAME}",
                "request failed",
                request=waiting.request.NAME,
                reason=f"{type(raised).__name__}: {raised}",
            )
            self._finish(waiting, FAILED)

    def _finish(self, waiting: Waiting, answer: Answer) -> None:
        line = waiting.line
        try:
            waiting.done(answer)
        except Exception as raised:
            self.log.limited(
                "error",
                f"answer {waiting.request.NAME}",
                "an answer could not be given",
                request=waiting.request.NAME,
                reason=f"{type(raised).__name__}: {raised}",
            )
        line.busy = False
        self._pump(line)

"""Where requests are done: those of players' connections, of scripts and of events.

A request runs as a generator on the loop; what it yields is done on the store's or the worker's thread, or later on the
loop. Requests of one line (a player, or a connection that nobody has signed in by) are done one after the other in the
order in which they came; different lines do not wait for each other.
"""

from __future__ import annotations

from collections import deque

from gsrt.backend.call import Awaited, Call, Failure, Stored, Worked, check_fields
from gsrt.backend.newcomers import Newcomers
from gsrt.backend.registry import Registry
from gsrt.log import error_text
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
    Came = Callable[[Any, BaseException | None], None]

# What is wrong with a request, whichever it is: field and code of the error.
UNKNOWN = ("request", "UNKNOWN: this server knows no such request")
NOT_AUTHORIZED = ("authentication", "NOTAUTHORIZED")
TOO_MANY = ("request", "TOO_MANY: wait for the answers to the ones before")
FAILED = ("request", "FAILED: the server's log says why")
NOT_AVAILABLE = ("backend", "NOT_AVAILABLE: nothing was changed; try again later")

WORK_AT_ONCE = 2  # steps at the worker: a flood of passwords to check must not keep scripts from being compiled
WORK_WAITING_MAX = 256  # steps that wait for those; a client would not wait for the answer any longer
TOO_MUCH_WORK = f"{WORK_WAITING_MAX} requests wait for the worker already"


def refusal(reason: tuple[str, str]) -> Answer:
    """An answer that says so. A new one each time, for whoever gets it adds to it."""
    field, code = reason
    return {"error": {field: code}}


class Waiting:
    """A request that waits for those before it, or is being done."""

    __slots__ = ("connection", "done", "given", "line", "player_id", "request")

    def __init__(
        self,
        request: RequestModule,
        given: Mapping[str, object],
        player_id: str | None,
        connection: Asker | None,
        done: Done,
        line: object,
    ) -> None:
        self.request = request
        self.given = given
        self.player_id = player_id
        self.connection = connection
        self.done = done
        self.line = line  # whose order it was said to keep; None: that of whoever asks

    @property
    def asker(self) -> str | None:
        """On whose behalf it is, as things stand: who has signed in by the connection, if it came by one."""
        return self.player_id if self.connection is None else self.connection.player_id

    @property
    def key(self) -> object:
        """The line it belongs to, as things stand."""
        return self.asker or self.connection if self.line is None else self.line


class Line:
    """Requests that are done one after the other. `key`: whose they are."""

    __slots__ = ("busy", "key", "pumping", "waiting")

    def __init__(self, key: object) -> None:
        self.key = key
        self.waiting: deque[Waiting] = deque()
        self.busy = False
        self.pumping = False


class Doing:
    """Steps under way."""

    __slots__ = ("address", "came", "done", "name", "running", "steps", "taken")

    def __init__(self, name: str, steps: Steps, done: Done, address: str = "") -> None:
        self.name = name
        self.address = address  # from where it was asked for; "": from here
        self.steps = steps
        self.done = done
        self.taken = 0  # steps; what a step brings when it was over already counts for nothing
        self.came: tuple[Any, BaseException | None] | None = (None, None)  # what the last step has brought
        self.running = False


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
        self.newcomers = Newcomers(profile.new_players_per_address, profile.new_players_per_address_per_hour, wall, log)
        self.counters = {"requests": 0, "requests_refused": 0, "requests_failed": 0}
        self._lines: dict[object, Line] = {}
        self._working = 0
        self._work_waiting: dict[str, deque[tuple[Worked, Came]]] = {}  # by address, whose turn is next first

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

        It comes by a `connection` (whoever has signed in there when it is its turn asks), or from a script, on behalf
        of `player_id` or of nobody. `line`: whose order it keeps; by default the player's or the connection's."""
        self.counters["requests"] += 1
        try:
            request = self.registry.find(name)
        except Exception as raised:  # its file cannot be loaded
            self._fail(name, raised)
            self._hand_over(name, done, refusal(FAILED))
            return
        if request is None or (connection is not None and getattr(request, "SCRIPTS_ONLY", False)):
            self.counters["requests_refused"] += 1
            is_nobodys = connection is not None and connection.player_id is None
            self._hand_over(name, done, refusal(NOT_AUTHORIZED if is_nobodys else UNKNOWN))
            return
        waiting = Waiting(request, given, player_id, connection, done, line)
        place = self._lines.get(waiting.key)
        if place is not None and len(place.waiting) >= self.profile.requests_waiting_max:
            self.counters["requests_refused"] += 1
            self._hand_over(name, done, refusal(TOO_MANY))
            return
        self._join(waiting)

    def perform(self, name: str, steps: Steps, done: Done) -> None:
        """Takes STEPS, a generator like a request's `run(call)`, in nobody's line; `done(answer)` is called as with
        `submit`. NAME is for the log."""
        self._take(Doing(name, steps, done))

    @property
    def under_way(self) -> int:
        """Requests that were not answered yet."""
        return sum(len(line.waiting) + line.busy for line in self._lines.values())

    # --- Lines ---

    def _join(self, waiting: Waiting) -> None:
        """Puts it at the end of the line it belongs to."""
        key = waiting.key
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(key)
        line.waiting.append(waiting)
        self._pump(line)

    def _pump(self, line: Line) -> None:
        """Begins the next of the line, unless one is being done. A loop, for many may be over at once."""
        if line.pumping:
            return
        line.pumping = True
        while line.waiting and not line.busy:
            waiting = line.waiting.popleft()
            if waiting.key == line.key:
                line.busy = True
                self._begin(line, waiting)
            else:  # somebody has signed in by its connection since: what follows keeps the order of that player
                self._join(waiting)
        line.pumping = False
        if not line.busy:
            del self._lines[line.key]

    def _begin(self, line: Line, waiting: Waiting) -> None:
        request = waiting.request
        player_id = waiting.asker

        def done(answer: Answer) -> None:
            self._hand_over(request.NAME, waiting.done, answer)
            line.busy = False
            self._pump(line)

        if waiting.connection is not None and not waiting.connection.is_open:
            self.counters["requests_refused"] += 1  # nobody waits for it; a flood is to end with its connections
            done(refusal(NOT_AUTHORIZED))
            return
        if player_id is None and getattr(request, "NEEDS_PLAYER", True):
            self.counters["requests_refused"] += 1
            done(refusal(NOT_AUTHORIZED))
            return
        try:
            fields = check_fields(request.FIELDS, waiting.given)
            call = Call(self, request.NAME, fields, waiting.given, player_id, waiting.connection, self.wall())
            steps = request.run(call)
        except Exception as raised:
            done(self._answer_to(request.NAME, raised))
        else:
            self._take(
                Doing(request.NAME, steps, done, "" if waiting.connection is None else waiting.connection.address)
            )

    # --- Steps ---

    def _take(self, doing: Doing) -> None:
        """Goes on with what the last step has brought, and with every further one that brings something at once."""
        doing.running = True
        while doing.came is not None:
            value, error = doing.came
            doing.came = None
            doing.taken += 1
            try:
                step = doing.steps.send(value) if error is None else doing.steps.throw(error)
            except StopIteration as end:
                answer = end.value
                if type(answer) is not dict:
                    answer = self._answer_to(doing.name, TypeError(f"{answer!r} is no answer"))
                self._hand_over(doing.name, doing.done, answer)
                return
            except Exception as raised:
                self._hand_over(doing.name, doing.done, self._answer_to(doing.name, raised))
                return
            came = self._continuation(doing, doing.taken)
            try:
                self._start(step, came, doing.address)
            except Exception as raised:
                came(None, raised)
        doing.running = False

    def _continuation(self, doing: Doing, number: int) -> Came:
        """What is called with what step NUMBER brings. Only the first time counts."""

        def came(value: Any, error: BaseException | None) -> None:
            if number != doing.taken or doing.came is not None:
                return
            doing.came = value, error
            if not doing.running:
                self._take(doing)

        return came

    def _start(self, step: Stored | Worked | Awaited, came: Came, address: str) -> None:
        if type(step) is Stored:
            self.store.submit(step.operation, step.arguments, came)
        elif type(step) is Worked:
            if self._working < WORK_AT_ONCE:
                self._work(step, came)
            else:
                self._work_later(step, came, address)
        elif type(step) is Awaited:
            step.start(lambda value: came(value, None))
        else:
            raise TypeError(f"{step!r} is no step")

    def _work(self, step: Worked, came: Came) -> None:
        function, arguments = step.function, step.arguments

        def done(result: object, error: BaseException | None) -> None:
            self._working -= 1
            self._work_on()
            came(result, error)

        self.worker.submit(lambda: function(*arguments), done)
        self._working += 1

    def _work_later(self, step: Worked, came: Came, address: str) -> None:
        """Addresses take turns, and where too many steps wait it is the address with the most that gives way: a flood
        of passwords to check from one shall not keep others from signing in."""
        waiting = self._work_waiting
        full = sum(map(len, waiting.values())) >= WORK_WAITING_MAX
        longest = max(waiting.values(), key=len) if full else None
        if longest is not None and len(waiting.get(address, ())) + 1 >= len(longest):
            raise WorkerError(TOO_MUCH_WORK)
        waiting.setdefault(address, deque()).append((step, came))
        if longest is not None:
            _, gives_way = longest.pop()
            gives_way(None, WorkerError(TOO_MUCH_WORK))

    def _work_on(self) -> None:
        while self._work_waiting and self._working < WORK_AT_ONCE:
            address, steps = next(iter(self._work_waiting.items()))
            del self._work_waiting[address]
            step, came = steps.popleft()
            if steps:
                self._work_waiting[address] = steps
            try:
                self._work(step, came)
            except WorkerError as error:
                came(None, error)

    # --- Answers ---

    def _answer_to(self, name: str, raised: Exception) -> Answer:
        """What is answered when request NAME has RAISED that."""
        if isinstance(raised, Failure):
            return {"error": dict(raised.errors)}
        self._fail(name, raised)
        return refusal(NOT_AVAILABLE if isinstance(raised, StoreError | WorkerError) else FAILED)

    def _fail(self, name: str, raised: Exception) -> None:
        self.counters["requests_failed"] += 1
        if isinstance(raised, StoreError | WorkerError):
            self.log.limited("error", "backend", "request not done", request=name, reason=str(raised))
        else:
            reason = error_text(raised)
            self.log.limited("error", f"request {name}", "request failed", request=name, reason=reason)

    def _hand_over(self, name: str, done: Done, answer: Answer) -> None:
        try:
            done(answer)
        except Exception as raised:
            reason = error_text(raised)
            self.log.limited("error", f"answer {name}", "an answer could not be given", request=name, reason=reason)

"""One script at work in one session: its life, its failures, and what it can bring about.

A guest knows its session only through the `Surroundings` it is given, so that the same script can run in a server, on
trial beside the one that is at work, or from a recording without any server.
"""

from __future__ import annotations

from types import FunctionType

from gsrt._guard import safe_text
from gsrt._guest import Data, Handlers, QuotaError
from gsrt._meter import Account, Exceeded
from gsrt.scripts.api import Player, Session
from gsrt.scripts.errands import BYTES_PER_TICK, Errand, Errands
from gsrt.scripts.log_api import make_print
from gsrt.scripts.quality import Quality

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Protocol

    from gsrt.profile import Profile
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.quality import Figures
    from gsrt.scripts.sandbox import Sandbox

    class Surroundings(Protocol):
        """What a script's session is to it. Times are seconds on the caller's clock."""

        def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> object:
            """Sends a whole packet (with its length) to those peers, or to all."""

        def later(self, when: float, callback: Callable[[float], None]) -> Any:
            """Has `callback(now)` called at `when`; what it gives is for cancel()."""

        def cancel(self, timer: Any) -> None: ...
        def quality(self, peer_id: int, at: int) -> Figures | None:
            """What is known of the way to a peer who is here. `at`: milliseconds since the session began."""

        def kick(self, peer_id: int, reason: str) -> None: ...
        def log(self, level: str, text: str, now: float) -> None:
            """A line of the script's log; debug, info, warn or error."""

        def request(
            self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
        ) -> None:
            """Has the backend do a request; `done(answer)` is called once, at once or later."""

        def switched_off(self, reason: str) -> None:
            """The script does not run any more; from now on the session is a plain relay."""


TRACEBACK_MAX = 1000  # entries looked at: one that is raised again and again has any number
LOAD_GAS = 5  # times the gas of a callback are for a script's top level, which builds its tables
GIVEN_PART = 8  # of a script's memory: so much may be handed to it until what it holds is counted
KICK_GAS = 100  # what putting a player out costs a script
QUALITY_GAS = 16  # what asking for the way to a player does
QUALITY_BYTES = 256  # what the answer takes, roughly
FUNCTIONS_MAX = 64  # that one script can have called when players come, and when they go
TOP_LEVEL = ("on_packet", "on_player_connect", "on_player_disconnect")


class ScriptError(Exception):
    """A script that cannot go to work; the message says where and why."""


class Timer:
    """One of a script's timers."""

    __slots__ = ("due", "function", "handle", "seconds", "timer_id")

    def __init__(self, timer_id: int, function: Callable[[], object], due: float, seconds: float | None) -> None:
        self.timer_id = timer_id
        self.function = function
        self.due = due
        self.seconds = seconds  # between two runs; None: it runs once
        self.handle: Any = None


class Guest:
    """A script of one session. After `load` it is told what happens by `connected`, `disconnected` and through
    `handlers`, until `close`, or until it has struck too often: then `is_off`."""

    def __init__(
        self,
        sandbox: Sandbox,
        compiled: Compiled,
        surroundings: Surroundings,
        *,
        session_id: str,
        players: dict[int, str],
        seed: int,
        began: float,
        tag: bytes = b"",
    ) -> None:
        """`players`: who is expected, peer id to player id. `began`: when the session began. `tag` names the script to
        whoever finds out later that it hung."""
        self.compiled = compiled
        self.session_id = session_id
        self.seed = seed
        self.strikes = 0
        self.failures = 0
        self.is_off = False
        self.profile: Profile = sandbox.profile
        self._sandbox = sandbox
        self._surroundings = surroundings
        self._began = began
        self._now = began
        self.handlers = Handlers(
            sandbox.meter,
            Account(tag),
            sandbox.turn,
            sandbox.profile,
            self,
            surroundings.deliver,
            Player,
            began,
        )
        for peer_id, player_id in players.items():
            self.handlers.players[peer_id] = Player(self, peer_id, player_id)
        self._here: dict[int, Player] = {}
        # Peer id -> when the way to it was last asked for, in milliseconds, and the answer.
        self._told_of: dict[int, tuple[int, Quality | None]] = {}
        self._connect: list[Callable[..., object]] = []
        self._disconnect: list[Callable[..., object]] = []
        self._too_long: set[int] = set()  # peer ids of those who have sent what is dropped for its length
        self._timers: dict[int, Timer] = {}
        self._timer_count = 0
        self.errands = Errands(self, surroundings.later)
        self._counting = False  # what it holds is about to be counted
        self._given = 0  # bytes that the host has made for the script since, which no allocator counts as the script's
        self.session = Session(self)
        self.globals: dict[str, Any] = {
            "__builtins__": sandbox.builtins,
            "__name__": "script",
            "session": self.session,
            "print": make_print(self),
        }

    # Life

    def load(
        self,
        now: float,
        here: list[int] | None = None,
        old_state: dict[str, Any] | None = None,
        *,
        restored: bool = False,
    ) -> None:
        """Runs the script's top level, once; peers `here` are connected already.

        What takes over from an older version (`old_state`) then has its `on_reload(old_state)` called; without that
        function, on_player_connect is called for everyone here, as if the session had just begun. What begins anew
        after a restart of the server (`restored`) has its `on_restore()` called before that. Raises ScriptError; the
        guest is then of no use."""
        self._now = now
        for peer_id in here or ():
            self._here[peer_id] = self.handlers.players[peer_id]
        self.handlers.present = len(self._here)
        try:
            self.handlers.run(now, exec, self.compiled.code, self.globals, gas=self.profile.script_gas * LOAD_GAS)
            for name in TOP_LEVEL:
                if self._defines(name):
                    self._register(name, self.globals[name])
            if restored and self._defines("on_restore"):
                self.handlers.run(now, self.globals["on_restore"])
            if old_state is not None and self._defines("on_reload"):
                self.handlers.run(now, self.globals["on_reload"], old_state)
            elif self._connect:
                for player in self.players():
                    self.handlers.run(now, _each, self._connect, player)
        except Exception as error:
            told = self._told(error)
            self.errands.drop()
            self.close()
            raise ScriptError(told) from None

    def _register(self, name: str, function: Callable[..., object]) -> None:
        if name == "on_packet":
            self.handlers.on_every_packet(function)
        elif name == "on_player_connect":
            self._connect.append(function)
        else:
            self._disconnect.append(function)

    def _defines(self, name: str) -> bool:
        found = self.globals.get(name)
        return isinstance(found, FunctionType) and self.is_own(found)

    def close(self) -> None:
        """Nothing of the script runs any more; what it held is given back."""
        self.is_off = True
        for timer in self._timers.values():
            self._surroundings.cancel(timer.handle)
        self._timers.clear()
        self.errands.close()
        self._connect.clear()
        self._disconnect.clear()
        self.globals.clear()

    # What happens in the session

    @property
    def here_now(self) -> list[int]:
        """Peer ids of those that are connected."""
        return list(self._here)

    def added(self, peer_id: int, player_id: str) -> None:
        """One more player is expected."""
        before = self.handlers.players.get(peer_id)
        if before is not None and before.player_id == player_id:  # it had been in before
            before._is_out = False
        else:
            self.handlers.players[peer_id] = Player(self, peer_id, player_id)

    def removed(self, peer_id: int) -> None:
        """A player who has left is not expected any more."""
        self.handlers.players[peer_id]._is_out = True

    def connected(self, peer_id: int, now: float) -> None:
        """A player is ready, and the others have been told."""
        player = self.handlers.players[peer_id]
        self._here[peer_id] = player
        self.handlers.present = len(self._here)
        if self._connect:
            self._call(now, "on_player_connect", _each, self._connect, player)

    def disconnected(self, peer_id: int, now: float) -> None:
        """A player has left, and the others have been told."""
        player = self._here.pop(peer_id, None)
        self._told_of.pop(peer_id, None)
        self.handlers.present = len(self._here)
        if player is None:
            return
        if self._disconnect:
            self._call(now, "on_player_disconnect", _each, self._disconnect, player)

    def _call(self, now: float, what: str, function: Callable[..., object], *arguments: object) -> bool:
        """False: it has failed, or there is nothing to call any more."""
        if self.is_off:
            return False
        self._now = now
        try:
            self.handlers.run(now, function, *arguments)
        except Exception as error:
            self.failed(error, what)
            return False
        return True

    # What goes wrong in it

    def failed(self, error: Exception, what: object) -> None:
        """A callback has raised, or was stopped. `what` it was: an opCode, or a name."""
        name = f"opCode {what}" if type(what) is int else str(what)
        if not isinstance(error, Exceeded):
            self.failures += 1
            self.log("error", f"{name}: {self._told(error)}")
            error.__traceback__ = None  # or one that the script has kept would grow with each time
            return
        self.strikes += 1
        self.log("error", f"{name}: stopped: {error} (strike {self.strikes} of {self.profile.script_strikes})")
        if self.strikes >= self.profile.script_strikes and not self.is_off:
            self.close()
            self._surroundings.switched_off(str(error))

    def too_long(self, op_code: int, peer_id: int, size: int, most: int) -> None:
        """A packet was dropped, of `size` bytes where handlers are called for `most`: told once of each player."""
        if peer_id not in self._too_long:
            self._too_long.add(peer_id)
            self._surroundings.log(
                "warn",
                f"opCode {op_code}: {size} bytes from player {peer_id} are dropped: handlers are called for at most"
                f" {most} bytes (script_packet_bytes_max)",
                self.moment,
            )

    def look_after_memory(self) -> None:
        """So much has happened that what the script holds is to be counted: in the next turn, for it takes a while and
        so did the callback that has brought it about."""
        if not self._counting:
            self._counting = True
            self._surroundings.later(self.moment, lambda now: self._count_memory())

    def give(self, weight: int) -> None:
        """Takes note, and gas, of a value of so many bytes that the script is handed."""
        self.charge(weight // BYTES_PER_TICK)
        self._given += weight
        if self._given_much:
            self.look_after_memory()

    @property
    def _given_much(self) -> bool:
        return self._given > self.profile.script_memory_bytes // GIVEN_PART

    def _count_memory(self) -> None:
        """A script that holds too much is switched off."""
        self._counting = False
        account = self.handlers.account
        if not (account.recount_due or self._given_much) or self.is_off:
            return
        self._given = 0
        held = account.recount(self.held())
        if held > self.profile.script_memory_bytes:
            # It cannot get better by itself, and every further callback might add as much again.
            self.strikes = self.profile.script_strikes - 1
            self.failed(Exceeded("held", self.profile.script_memory_bytes, held, None), "memory")

    def held(self) -> list[object]:
        """What the script holds, and what is held for it."""
        timers = [each.function for each in self._timers.values()]
        callbacks = self.errands.callbacks()
        return [self.globals, timers, self._connect, self._disconnect, self.handlers.functions, callbacks]

    def _told(self, error: BaseException) -> str:
        """An error as its author has to see it: where, what. Never runs the script's own code."""
        if isinstance(error, Exceeded):
            return f"stopped: {error}"
        where = self._place(error.__traceback__)
        return f"{where}{type(error).__name__}: {self.text(error)}"

    def _place(self, traceback: TracebackType | None) -> str:
        """The innermost place in the script's own file, of the outermost thousand."""
        found = ""
        for _ in range(TRACEBACK_MAX):
            if traceback is None:
                break
            code = traceback.tb_frame.f_code
            if code.co_filename == self.compiled.filename:
                found = f"{code.co_filename} line {traceback.tb_lineno} in {code.co_name}: "
            traceback = traceback.tb_next
        return found

    # What it can bring about: the capabilities of gsrt.scripts.api

    def now_ms(self) -> int:
        return self.handlers.now_ms

    def charge(self, ticks: int) -> None:
        self._sandbox.meter.charge(ticks)

    def text(self, value: object) -> str:
        return safe_text(value, self._sandbox.meter, self.profile.script_log_characters_max)

    def is_own(self, function: FunctionType) -> bool:
        return function.__globals__ is self.globals

    def new_data(self) -> Data:
        return Data()

    def send(
        self,
        op_code: int,
        data: Data | dict[int, object] | None,
        payload: bytes | None,
        peers: tuple[int, ...] | None,
        reliable: bool,
        sender: int,
    ) -> None:
        self.handlers.send(op_code, data, payload, peers, reliable, sender)

    def on_packet(self, op_code: int, function: Callable[..., object]) -> None:
        self.handlers.on_packet(op_code, function)

    def on_player_connect(self, function: Callable[..., object]) -> None:
        _add(self._connect, function)

    def on_player_disconnect(self, function: Callable[..., object]) -> None:
        _add(self._disconnect, function)

    def set_timer(self, function: Callable[..., object], milliseconds: float, repeat: bool) -> int:
        if len(self._timers) >= self.profile.script_timers_max:
            raise QuotaError(f"a script may have {self.profile.script_timers_max} timers at a time")
        seconds = max(milliseconds, self.profile.script_timer_ms_min) / 1000
        self._timer_count += 1
        timer = Timer(self._timer_count, function, self.moment + seconds, seconds if repeat else None)
        self._timers[timer.timer_id] = timer
        timer.handle = self._surroundings.later(timer.due, lambda now: self._timer_due(timer, now))
        return timer.timer_id

    @property
    def moment(self) -> float:
        """The time of the callback that runs, in the loop's seconds."""
        return self._began + self.handlers.now_ms / 1000 if self.handlers.calls else self._now

    def _timer_due(self, timer: Timer, now: float) -> None:
        if self.is_off or timer.timer_id not in self._timers:
            return
        if self.handlers.is_behind:  # others first; at the next turn
            timer.handle = self._surroundings.later(now, lambda later: self._timer_due(timer, later))
            return
        if timer.seconds is None:
            del self._timers[timer.timer_id]
        else:
            timer.due = max(timer.due + timer.seconds, now)  # runs that were missed are not made up for
            timer.handle = self._surroundings.later(timer.due, lambda later: self._timer_due(timer, later))
        self._call(now, "timer", timer.function)

    def clear_timer(self, timer_id: int) -> None:
        timer = self._timers.pop(timer_id, None)
        if timer is not None:
            self._surroundings.cancel(timer.handle)

    def player(self, peer_id: int) -> Player | None:
        return self._here.get(peer_id)

    def players(self) -> list[Player]:
        return list(self._here.values())

    def quality(self, peer_id: int) -> Quality | None:
        """The same for all that is asked within a millisecond, so that a recording can say what it was."""
        self.charge(QUALITY_GAS)
        if peer_id not in self._here:
            return None
        at = self.now_ms()
        before = self._told_of.get(peer_id)
        if before is not None and before[0] == at:
            return before[1]
        # What the host does for it, writing a recording too, is not to fail for the script's want of memory.
        figures = self._sandbox.meter.uncounted(self._surroundings.quality, peer_id, at)
        quality = None
        if figures is not None:
            quality = Quality(figures)
            self.give(QUALITY_BYTES)
        self._told_of[peer_id] = (at, quality)
        return quality

    def kick(self, peer_id: int, reason: str) -> None:
        self._sandbox.meter.charge(KICK_GAS)
        self._surroundings.kick(peer_id, reason)

    def log(self, level: str, text: str) -> None:
        self._surroundings.log(level, text, self.moment)

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], callback: Callable[..., object] | None
    ) -> None:
        if len(self.errands) >= self.profile.script_requests_max:
            raise QuotaError(f"{self.profile.script_requests_max} requests may be waiting for their answer")
        self.errands.ask(Errand(name, player_id, fields, callback, self._surroundings.request), self.moment)

    def answered(self, name: str, now: float, receive: Callable[[Errand], None], errand: Errand) -> bool:
        """The backend has answered: `receive(errand)` calls the script's callback. False: it has failed."""
        return self._call(now, name, receive, errand)


def _each(functions: list[Callable[..., object]], player: Player) -> None:
    """Calls all of them, within one budget."""
    for function in list(functions):
        function(player)


def _add(functions: list[Callable[..., object]], function: Callable[..., object]) -> None:
    if len(functions) >= FUNCTIONS_MAX:
        raise QuotaError(f"a script may have {FUNCTIONS_MAX} functions called when players come or go")
    functions.append(function)

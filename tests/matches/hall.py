"""A game's server without its connections: real store, sessions, relay, scripts and matchmaker, on the test's clock.

A restart is a new hall on the same folder."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from types import TracebackType
from typing import Any, Self

from gsrt.backend import players as stored_players
from gsrt.backend.desk import Desk
from gsrt.game.model import Game, MatchConfig, Threshold
from gsrt.match.matchmaker import Matchmaker
from gsrt.matches import Matches
from gsrt.running import Running
from gsrt.scripts.compiling import Compiler
from gsrt.scripts.host import Scripts
from gsrt.session import Session
from gsrt.worker import Worker
from tests.relay.floor import Floor, Guest
from tests.support import stores

DEADLINE_SECONDS = 20.0
WALL = 1_700_000_000.0
PUBLIC_HOST, PORT = "192.0.2.7", 5000

Message = dict[str, Any]


def config(short_code: str = "duel", **other: Any) -> MatchConfig:
    """A kind of match where everybody fits everybody for 10 seconds, unless OTHER says something else."""
    return MatchConfig(short_code, **{"thresholds": (Threshold(10.0, "ABSOLUTE", 0.0, 100.0),), **other})


class Presence:
    """Who is online: whom the test says."""

    def __init__(self) -> None:
        self.players: set[str] = set()
        self.expected: list[str] = []

    def online(self, player_id: str) -> bool:
        return player_id in self.players

    def expect(self, player_id: str) -> None:
        self.expected.append(player_id)


class Hall(Floor):
    """`told`: messages by player, in order."""

    def __init__(self, folder: Path, *configs: MatchConfig, wall: float = WALL, seed: int = 5, **limits: float) -> None:
        super().__init__(**{"script_cpu_ms": 10_000, "store_batch_ms": 0.0, **limits})
        self._is_closed = False
        self._seed = seed
        self.folder = folder
        self.configs = configs
        self.began = self.now
        self.wall_began = wall
        self.told: dict[str, list[Message]] = {}
        chance = random.Random(seed)
        log = self.reception.log
        self.tokens._entropy = chance.randbytes  # of a restarted hall they are others
        self.worker = Worker(self._raise)
        self.store = stores.open_store(str(folder / "game.sqlite"), self.wall, chance.randbytes, log)
        self.presence = Presence()
        game = Game(str(folder), matches={each.short_code: each for each in configs})
        self.desk = Desk(game, self.store, self.worker, self.profile, self.wall, log)
        self.scripts = Scripts(
            self.profile, log, self.timers, self.worker, Compiler(), lambda: self.now, chance.randbytes
        )
        self.matches = Matches(
            self.desk,
            self.sessions,
            self.scripts,
            Matchmaker(game.matches),
            self.timers,
            clock=lambda: self.now,
            wall=self.wall,
            entropy=chance.randbytes,
            log=log,
            public_host=lambda: PUBLIC_HOST,
            port=PORT,
        )
        self.desk.presence = self.presence  # type: ignore[assignment]
        self.desk.matches = self.matches
        self.store.on_announce = self._tell

    def _raise(self, error: BaseException) -> None:
        raise error

    def _tell(self, player_id: str, message: Message) -> None:
        self.told.setdefault(player_id, []).append(message)

    def wall(self) -> float:
        return self.wall_began + self.now - self.began

    # -- the loop

    def turn(self) -> None:
        """What has been done elsewhere, and what is due."""
        stores.deliver(self.store, self.worker, 0.005)
        self.timers.run(self.now)
        self.take_streams()
        self.end_tick()

    def wait(self, done: Callable[[], object]) -> None:
        """Turns the loop until `done()` is true, while time stands still."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not done():
            assert time.monotonic() < deadline, f"it never came; log:\n{self.log_text()}"
            self.turn()

    def settle(self) -> None:
        """Everything that was begun is done."""
        for _ in range(2):  # what is done may be what the next thing waits for
            self.turn()
            self.wait(lambda: not self.store.waiting and not self.worker.waiting)

    def later(self, seconds: float) -> None:
        """So much later, with all that comes of it."""
        self.advance(seconds)
        self.settle()

    # -- players

    def players(self, *names: str) -> list[str]:
        """Ids of new players of these names, all online."""
        made = [self.stored(stored_players.create, name, {}) for name in names]
        self.presence.players.update(made)
        return made

    def stored(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """What an operation gives, or raises."""
        return stores.stored(self.store, self.wait, operation, *arguments)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.stored(lambda tx: tx.all(sql, parameters))
        return found

    def ask(self, player_id: str, name: str, **fields: Any) -> dict[str, Any]:
        """The answer to a request on the player's behalf, when everything that it has begun is done."""
        answers: list[dict[str, Any]] = []
        self.desk.submit(name, fields, answers.append, player_id=player_id)
        self.wait(lambda: answers)
        self.settle()
        return answers[0]

    def seek(self, player_id: str, short_code: str = "duel", skill: float = 1, **fields: Any) -> None:
        """A ticket."""
        answer = self.ask(player_id, "MatchmakingRequest", matchShortCode=short_code, skill=skill, **fields)
        assert answer == {}

    def cancel(self, player_id: str, short_code: str = "duel") -> dict[str, Any]:
        return self.ask(player_id, "MatchmakingRequest", matchShortCode=short_code, action="cancel")

    def news(self, player_id: str, class_name: str) -> list[Message]:
        """Messages of that class, which are taken out of `told`."""
        told = self.told.get(player_id, [])
        found = [each for each in told if each["@class"] == f".{class_name}"]
        self.told[player_id] = [each for each in told if each not in found]
        return found

    def found(self, player_id: str) -> Message:
        """The one MatchFoundMessage of that player."""
        (message,) = self.news(player_id, "MatchFoundMessage")
        return message

    def match(self, *player_ids: str, short_code: str = "duel") -> list[Message]:
        """They seek, and find one another."""
        for player_id in player_ids:
            self.seek(player_id, short_code)
        return [self.found(each) for each in player_ids]

    # -- sessions

    def session(self, match_id: str) -> Session:
        return self.sessions.get(match_id)

    def running(self, match_id: str) -> Running:
        match = self.matches.get(match_id)
        assert match is not None
        return match

    def enter(self, message: Message, **how: Any) -> Guest:
        """The player to whom that MatchFoundMessage went, in the session and ready."""
        player = self.sessions.holder(message["accessToken"])
        assert player is not None, "its token lets nobody in"
        return self.seat(player, token=message["accessToken"], **how)

    def script(self, name: str, source: str) -> str:
        """The path of a script."""
        path = self.folder / f"{name}.py"
        path.write_text(dedent(source))
        return str(path)

    def texts(self) -> list[str]:
        """What scripts have printed or logged."""
        entries, _ = self.scripts.journal.after(0, None)
        return [str(each["text"]) for each in entries]

    # -- ends

    def restarted(
        self,
        *configs: MatchConfig,
        after: float = 0.0,
        killed: bool = False,
        before: Callable[[Hall], object] = lambda hall: None,
        **limits: float,
    ) -> Hall:
        """Another hall on the same folder, AFTER so many seconds. KILLED: this one is not told to end. BEFORE: what is
        done in the new one before the matches are brought back."""
        wall = self.wall() + after
        if killed:
            self.store.close()  # what comes of its end is not written
        self.close()
        hall = Hall(self.folder, *(configs or self.configs), wall=wall, seed=self._seed + 1000, **limits)
        before(hall)
        hall.matches.restore()
        hall.wait(lambda: hall.matches.restored)
        hall.settle()
        return hall

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self.matches.close()
        self.store.close()
        super().close()
        self.worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"log:\n{self.log_text()}")
        self.close()


def ids(participants: Sequence[Message]) -> list[str]:
    return [each["id"] for each in participants]


def expected(session: Session) -> list[tuple[str, int]]:
    """Player and peer ids."""
    return [(each.player_id, each.peer_id) for each in session.players]

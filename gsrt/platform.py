"""What a game needs beyond packets, put together: its store, requests, players' connections, matches and events.

Loaded only where a game is served."""

from __future__ import annotations

import os
import time

from gsrt.backend.desk import Desk
from gsrt.connections import Connections, Presence
from gsrt.game.watching import Watcher
from gsrt.match.matchmaker import Matchmaker
from gsrt.matches import Matches
from gsrt.scripts.events import Events
from gsrt.store.database import path_in
from gsrt.store.errors import StoreError
from gsrt.store.store import Store
from gsrt.worker import deliver_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.game.model import Game
    from gsrt.server import Server

WORK_SECONDS = 0.001  # of one turn of the loop: packets of games that are played go first
PENDING_ID_BYTES = 12  # random: after a restart no pending match is called as one before it
RESTORE_SECONDS = 30.0  # for the matches of before; a disk that takes longer is broken


class Platform:
    """All that belongs to the game which a server serves. `store` is for the server's selector."""

    def __init__(self, server: Server, game: Game) -> None:
        """Opens the store, and brings the matches back that were there. Raises StoreError."""
        profile, log = server.profile, server.log
        self.log = log
        self._clock = server.clock
        self.game = game
        self.store = Store(
            path_in(game.folder),
            wall=time.time,
            entropy=os.urandom,
            log=log,
            batch_seconds=profile.store_batch_ms / 1000,
            batch_writes=profile.store_batch_writes,
            waiting_max=profile.store_waiting_max,
        )
        self.desk = Desk(game, self.store, server.worker, profile, time.time, log)
        self.presence = Presence(self.store, server.timers, server.clock, profile, log)
        self.connections = Connections(
            self.desk, self.presence, clock=server.clock, timers=server.timers, entropy=os.urandom, log=log
        )
        self.matches = Matches(
            self.desk,
            server.sessions,
            server.scripts,
            Matchmaker(game.matches, lambda: os.urandom(PENDING_ID_BYTES).hex()),
            server.timers,
            clock=server.clock,
            wall=time.time,
            entropy=os.urandom,
            log=log,
            public_host=server.public_host,
            port=server.port,
        )
        self.events = Events(self.desk, server.scripts)
        self.desk.presence = self.presence
        self.desk.matches = self.matches
        self.desk.events = self.events
        self.store.on_announce = self.presence.announce
        self.presence.went_offline.append(self.matches.offline)
        self.presence.went_away.append(self.matches.away)
        self.presence.was_deleted.append(self.matches.deleted)
        self.connections.settled = server.reception.settled
        server.scripts.desk = self.desk
        self._journal = server.scripts.journal
        self._journal.keep_in(self.store, server.timers, server.clock, profile.log_rows_max)
        self.desk.registry.load_all()  # now, for nobody should wait for the disk when a request is first asked for
        try:
            self._bring_back()
        except StoreError:
            self.store.close()
            raise
        server.reception.platform = self.connections
        self._watcher = Watcher(
            game, profile, server.worker, server.compiler, server.timers, server.clock, self._game_changed, log
        )

    def look_now(self) -> None:
        """Takes up what has changed in the game's folder."""
        self._watcher.look_now()

    def stop(self) -> None:
        """The server is about to end its sessions: their matches stay as they are, for the next server."""
        self._watcher.close()
        self.matches.close()

    def close(self) -> None:
        """After the sessions, whose scripts may have had something to keep. What was acknowledged is written."""
        self.connections.close()
        self.events.close()
        self._journal.close()
        self.store.close()

    @property
    def has_more(self) -> bool:
        """Whether `work` has left something."""
        return self.store.has_more or self.connections.has_more

    def work(self) -> None:
        """Does what has come, for a part of a turn: results of the store first, for they let others begin."""
        clock = self._clock
        until = clock() + WORK_SECONDS

        def enough() -> bool:
            return clock() >= until

        self.store.deliver(enough)
        if not enough():
            self.connections.work(enough)

    def figures(self) -> dict[str, Any]:
        """For the status."""
        return {
            "game": self.game.name,
            "playersOnline": self.presence.players,
            "connections": len(self.connections),
            "counters": {**self.desk.counters, **self.connections.counts()},
            "matches": self.matches.figures(),
            "store": self.store.figures(),
            "events": self.events.figures(),
        }

    def _bring_back(self) -> None:
        """The matches of before, and who was looking for one. Nobody is let in meanwhile."""
        self.matches.restore()
        if not deliver_until(lambda: self.matches.restored, self.store, RESTORE_SECONDS, self._clock):
            raise StoreError(f"{self.store.path} was not read within {RESTORE_SECONDS:.0f} s: look at the disk")

    def _game_changed(self, game: Game) -> None:
        """Files of the game have changed: new matches and requests see what they say now."""
        self.game = self.desk.game = game
        self.matches.game_changed(game)
        self.events.game_changed()

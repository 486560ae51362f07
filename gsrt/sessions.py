"""All sessions of a server: made, found, ended."""

from __future__ import annotations

from gsrt.session import JOINING, READY, House, Player, Session, SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gsrt.resume import SavedPlayer, SavedSession

_ID_BYTES = 8

# What one more takes of the memory: a session with its script as scripts usually are, a player with a TLS connection.
# Those who take more are looked after when the memory nears its end (gsrt.reclaim).
SESSION_BYTES = 262_144
PLAYER_BYTES = 65_536


class Sessions:
    """The sessions by id. `entropy(n)` gives n random bytes."""

    def __init__(self, house: House, entropy: Callable[[int], bytes]) -> None:
        self.house = house
        self._entropy = entropy
        self._by_id: dict[str, Session] = {}
        self._players = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    @property
    def connected(self) -> int:
        """Players with a connection."""
        return sum(player.state in (JOINING, READY) for session in self._by_id.values() for player in session.players)

    def check_room(self, players: int, sessions: int = 1) -> None:
        """Raises SessionError where a limit forbids so many more."""
        profile = self.house.profile
        if len(self._by_id) + sessions > profile.sessions_max:
            raise SessionError(
                f"{profile.sessions_max} sessions are open, as many as the profile allows: end one with "
                "gsrt session end ID"
            )
        if self._players + players > profile.players_max:
            raise SessionError(
                f"{self._players} players are expected and {players} more would pass the profile's "
                f"{profile.players_max}: end a session first (gsrt session end ID)"
            )
        governor = self.house.governor
        if governor is not None:
            expected = self._players - self.connected + players
            why_not = governor.refusal(expected * PLAYER_BYTES + sessions * SESSION_BYTES)
            if why_not is not None:
                raise SessionError(why_not)

    def create(self, players: Sequence[str], now: float, *, lasting: bool = False) -> Session:
        """A new session of these player ids; SessionError where a limit forbids it or an id is no id."""
        self.check_room(len(players))
        session_id = self._entropy(_ID_BYTES).hex()
        session = Session.create(
            players, house=self.house, session_id=session_id, now=now, on_end=self._ended, lasting=lasting
        )
        self._add(session)
        self.house.log.info("session created", session=session_id, players=len(session.players))
        return session

    def restore(self, saved: SavedSession, now: float) -> Session:
        """A session of before a restart, or one whose id and tokens were stored first; no limit is asked."""
        session = Session.restore(saved, house=self.house, now=now, on_end=self._ended)
        self._add(session)
        return session

    def add_player(self, session: Session, saved: SavedPlayer) -> Player:
        """One more in a running session; SessionError where it has no place."""
        self.check_room(1, sessions=0)
        player = session.add_player(saved)
        self._players += 1
        return player

    def remove_player(self, session: Session, player: Player, now: float) -> None:
        """One that a running session does not expect any more."""
        session.remove_player(player, now)
        self._players -= 1

    def find(self, session_id: str) -> Session | None:
        """The session of that id, or None."""
        return self._by_id.get(session_id)

    def get(self, session_id: str) -> Session:
        """The session of that id; SessionError where there is none."""
        found = self._by_id.get(session_id)
        if found is None:
            raise SessionError(f"there is no session {session_id!r}: see gsrt session list")
        return found

    def holder(self, token: str) -> Player | None:
        """The player that a token lets in."""
        return self.house.tokens.find(token)

    def end_all(self, reason: str) -> None:
        for session in self:
            session.end(reason)

    def rest_scripts(self) -> None:
        """No script runs any more; the sessions are as they are."""
        for session in self:
            if session.guest is not None:
                session.guest.ended()
                session.guest = None

    def _add(self, session: Session) -> None:
        self._by_id[session.session_id] = session
        self._players += len(session.players)
        self.house.changed(session)

    def _ended(self, session: Session) -> None:
        del self._by_id[session.session_id]
        self._players -= len(session.players)
        self.house.changed(session)

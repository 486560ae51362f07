"""All sessions of a server: made, found, ended."""

from __future__ import annotations

from gsrt.session import JOINING, READY, House, Player, Session, SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gsrt.resume import SavedSession

_ID_BYTES = 8


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

    def create(self, players: Sequence[str], now: float, *, lasting: bool = False) -> Session:
        """A new session of these player ids; SessionError where a limit forbids it or an id is no id."""
        profile = self.house.profile
        if len(self._by_id) >= profile.sessions_max:
            raise SessionError(
                f"{profile.sessions_max} sessions are open, as many as the profile allows: end one with "
                "gsrt session end ID"
            )
        if self._players + len(players) > profile.players_max:
            raise SessionError(
                f"{self._players} players are expected and {len(players)} more would pass the profile's "
                f"{profile.players_max}: end a session first (gsrt session end ID)"
            )
        session_id = self._entropy(_ID_BYTES).hex()
        session = Session.create(
            players, house=self.house, session_id=session_id, now=now, on_end=self._ended, lasting=lasting
        )
        self._add(session)
        self.house.log.info("session created", session=session_id, players=len(session.players))
        return session

    def restore(self, saved: SavedSession, now: float) -> Session:
        """A session of before a restart; no limit is asked, for it was within them."""
        session = Session.restore(saved, house=self.house, now=now, on_end=self._ended)
        self._add(session)
        return session

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

    def _add(self, session: Session) -> None:
        self._by_id[session.session_id] = session
        self._players += len(session.players)
        self.house.changed(session)

    def _ended(self, session: Session) -> None:
        del self._by_id[session.session_id]
        self._players -= len(session.players)
        self.house.changed(session)

"""A match under way: who is in it, its session, and who comes and goes if players may drop in."""

from __future__ import annotations

from gsrt.backend import matches as stored
from gsrt.match.waiting import Ticket
from gsrt.resume import SavedPlayer, SavedSession
from gsrt.session import EXPECTED, GONE, KICKED
from gsrt.timers import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from gsrt.game.model import MatchConfig
    from gsrt.match.matchmaker import Outcome
    from gsrt.matches import Matches
    from gsrt.session import Player, Session
    from gsrt.timers import Timer


class Seat:
    """A player's place in a match. Without tokens where the match is played in no session."""

    __slots__ = ("access_token", "elsewhere", "leaving", "peer_id", "reconnect_token", "ticket", "timer")

    def __init__(self, ticket: Ticket, peer_id: int, access_token: str | None, reconnect_token: str | None) -> None:
        self.ticket = ticket
        self.peer_id = peer_id
        self.access_token = access_token
        self.reconnect_token = reconnect_token
        self.timer: Timer | None = None  # until whoever is gone has dropped out
        self.leaving = False
        self.elsewhere = False  # its player has been found for another match since

    @classmethod
    def from_row(cls, row: dict[str, Any], short_code: str, group: str | None) -> Seat:
        """What row() has made a row of."""
        ticket = Ticket(row["player"], short_code, row["skill"], group, participant_data=row["participantData"])
        ticket.threshold = row["threshold"]
        return cls(ticket, row["peerId"], row["accessToken"], row["reconnectToken"])

    def row(self) -> dict[str, Any]:
        """As gsrt.backend.matches has it."""
        return {
            "player": self.ticket.player_id,
            "peerId": self.peer_id,
            "accessToken": self.access_token,
            "reconnectToken": self.reconnect_token,
            "skill": self.ticket.skill,
            "threshold": self.ticket.threshold,
            "participantData": self.ticket.participant_data,
        }

    def fields(self) -> list[object]:
        """As gsrt.resume has it."""
        return [self.ticket.player_id, self.peer_id, self.access_token, self.reconnect_token, False]

    def saved(self) -> SavedPlayer:
        return SavedPlayer(self.fields())


class Running:
    """One match, which its session tells what happens (gsrt.session.Watcher)."""

    def __init__(
        self,
        matches: Matches,
        match_id: str,
        config: MatchConfig,
        group: str | None,
        data: dict[str, Any],
        skill: float,
        open_until: float | None,
    ) -> None:
        """`open_until`: wall-clock seconds; None: without end. It matters only where players may drop in."""
        self.match_id = match_id
        self.config = config
        self.group = group
        self.data = data
        self.skill = skill
        self.open_until = open_until
        self.script = config.realtime_script if config.realtime else None
        self.seats: dict[str, Seat] = {}
        self.session: Session | None = None
        self.is_over = False
        self.opened = 0.0  # when it got its session, here; seconds of the loop's clock
        self._matches = matches
        self._reserved: dict[str, int] = {}  # player -> peer id, of those who are about to join
        self._last: str | None = None  # goes when the newcomer is in, for a session is never empty
        self._expiry: Timer | None = None

    def row(self) -> dict[str, Any]:
        """As gsrt.backend.matches has it."""
        return {
            "id": self.match_id,
            "shortCode": self.config.short_code,
            "group": self.group,
            "skill": self.skill,
            "data": self.data,
            "script": self.script,
            "config": self.config.to_dict(),
            "openUntil": self.open_until,
            "ended": self._matches.wall() if self.is_over_at_once else None,
        }

    @property
    def is_over_at_once(self) -> bool:
        """Nothing more happens to it here: its players have been told of one another."""
        return not self.config.realtime and not self.config.drop_in_drop_out

    @property
    def is_open(self) -> bool:
        """Whether players may come and go."""
        if not self.config.drop_in_drop_out or self.is_over:
            return False
        return self.open_until is None or self.open_until > self._matches.wall()

    # Life

    def sit(self, seats: Sequence[Seat]) -> None:
        """Who is in it, before it begins."""
        for seat in seats:
            self.seats[seat.ticket.player_id] = seat

    def open_session(self, now: float) -> Session:
        """Its session: made, or the one that has outlived a restart, which is told who has come and gone since."""
        sessions = self._matches.sessions
        session = sessions.find(self.match_id)
        if session is None:
            saved = SavedSession(
                {
                    "id": self.match_id,
                    "began": float(now),
                    "lasting": False,
                    "script": self.script,
                    "players": [each.fields() for each in self.seats.values()],
                }
            )
            session = sessions.restore(saved, now)
        else:
            for player in list(session.players):
                seat = self.seats.get(player.player_id)
                if seat is None or seat.access_token != player.access_token:
                    sessions.remove_player(session, player, now)
            there = {each.player_id for each in session.players}
            for player_id, seat in self.seats.items():
                if player_id not in there:
                    sessions.add_player(session, seat.saved())
        self.session = session
        self.opened = now
        session.watcher = self
        return session

    @property
    def is_unused(self) -> bool:
        """It has a session, which nobody has come to."""
        session = self.session
        return session is not None and all(each.state == EXPECTED for each in session.players)

    def lose(self, player_ids: Iterable[str]) -> None:
        """These players have been found for another match: if nobody has come to this one, and nobody is left who
        would, it is over."""
        for player_id in player_ids:
            seat = self.seats.get(player_id)
            if seat is not None:
                seat.elsewhere = True
        if self.is_unused and all(each.elsewhere for each in self.seats.values()):
            self.give_up("its players have been found for other matches")

    def give_up(self, reason: str) -> None:
        """Ends a match that nobody plays."""
        if self.session is not None:
            self.session.end(reason)

    def begin(self, now: float) -> list[Outcome]:
        """Opens it to players who may drop in: who does at once."""
        if not self.is_open:
            return []
        matches = self._matches
        until = INFINITY if self.open_until is None else now + self.open_until - matches.wall()
        if until < INFINITY:
            self._expiry = matches.timers.set(until, self._expired)
        for seat in self.seats.values():
            self._await(seat, now)
        players = [each.ticket for each in self.seats.values()]
        return matches.matchmaker.open(self.match_id, self.config, self.group, players, until)

    def _expired(self, now: float) -> None:
        """Nobody may come or go any more."""
        self._expiry = None
        self._matches.matchmaker.close(self.match_id)
        self._stop_timers()
        if self.session is None:
            self._end()

    def _end(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._stop_timers()
        self._matches.timers.cancel(self._expiry)
        self._matches.over(self)

    def _stop_timers(self) -> None:
        for seat in self.seats.values():
            self._matches.timers.cancel(seat.timer)
            seat.timer = None

    # Who comes

    def reserve(self, ticket: Ticket) -> int:
        """The peer id of somebody who is about to join: the lowest that is free."""
        taken = {each.peer_id for each in self.seats.values()} | set(self._reserved.values())
        peer_id = next(number for number in range(1, len(taken) + 2) if number not in taken)
        self._reserved[ticket.player_id] = peer_id
        return peer_id

    def release(self, ticket: Ticket) -> list[Outcome]:
        """That one does not join after all."""
        self._reserved.pop(ticket.player_id, None)
        outcomes = self._matches.matchmaker.left(self.match_id, ticket.player_id)
        self._let_last_go()
        return outcomes

    def join(self, seat: Seat, now: float) -> None:
        """Somebody has joined, as is stored by now. Raises SessionError."""
        player_id = seat.ticket.player_id
        self._reserved.pop(player_id, None)
        self.seats[player_id] = seat
        if self.session is not None and not self.session.ended:
            self._matches.sessions.add_player(self.session, seat.saved())
        if self.is_open:
            self._await(seat, now)
        self._let_last_go()

    def _let_last_go(self) -> None:
        player_id, self._last = self._last, None
        if player_id is not None:
            self._removed(player_id)

    def _await(self, seat: Seat, now: float) -> None:
        """Whoever never comes to the session has dropped out, too."""
        if self.session is not None:
            profile = self._matches.profile
            self._remove_after(seat, max(self.config.player_disconnect_delay, profile.session_linger_seconds), now)

    # Who goes

    def player_ready(self, player: Player, now: float) -> None:
        """The session: that player is in it."""
        seat = self.seats.get(player.player_id)
        if seat is not None:
            self._matches.timers.cancel(seat.timer)
            seat.timer = None

    def player_gone(self, player: Player, now: float) -> None:
        """The session: that player has left it, or was put out."""
        seat = self.seats.get(player.player_id)
        if seat is None or self.is_over or self._matches.closed:
            return
        if self.is_open:
            delay = 0.0 if player.state == KICKED else self.config.player_disconnect_delay
            self._remove_after(seat, delay, now)
        elif player.state == KICKED:
            self._matches.surely(stored.put_out, self.match_id, player.player_id)

    def session_ended(self, session: Session) -> None:
        """The session is over, and the match with it."""
        self._end()

    def offline(self, player_id: str, now: float) -> None:
        """A player has no connection any more. Where there is no session, that is to be gone."""
        seat = self.seats.get(player_id)
        if seat is not None and self.session is None and self.is_open:
            self._remove_after(seat, self.config.player_disconnect_delay, now)

    def away(self, player_id: str, now: float) -> None:
        """A player has had none for long. Who has not come back since a restart was not heard of as offline."""
        seat = self.seats.get(player_id)
        if seat is not None and seat.timer is None:
            self.offline(player_id, now)

    def _remove_after(self, seat: Seat, delay: float, now: float) -> None:
        self._matches.timers.cancel(seat.timer)
        seat.timer = self._matches.timers.set(now + delay, lambda later: self._still_gone(seat))

    def _still_gone(self, seat: Seat) -> None:
        seat.timer = None
        player_id = seat.ticket.player_id
        if self.session is not None:
            player = self._player(player_id)
            if player is not None and player.state not in (EXPECTED, GONE, KICKED):
                return  # back, if not ready yet; if it goes again, that is told
        elif self._matches.desk.presence.online(player_id):
            return
        self.remove(player_id)

    def _player(self, player_id: str) -> Player | None:
        """That one of its session."""
        players = () if self.session is None else self.session.players
        return next((each for each in players if each.player_id == player_id), None)

    def kick(self, player_id: str) -> None:
        """The player is put out of its session, if it is in it."""
        player = self._player(player_id)
        if player is not None:
            player.kick(self._matches.clock())

    def remove(self, player_id: str) -> None:
        """The player drops out: when that is stored, the session and the matchmaker are told."""
        seat = self.seats.get(player_id)
        if seat is None or seat.leaving or self.is_over:
            return
        seat.leaving = True
        matches = self._matches
        online = matches.online(self.seats)
        matches.surely(
            stored.remove_player,
            self.row(),
            player_id,
            online,
            matches.profile.messages_per_player_max,
            then=lambda: self._removed(player_id),
        )

    def _removed(self, player_id: str) -> None:
        matches = self._matches
        if self._reserved and list(self.seats) == [player_id]:
            self._last = player_id
            return
        seat = self.seats.pop(player_id, None)
        if self.is_over or seat is None:
            return
        matches.timers.cancel(seat.timer)
        session = self.session
        if not self.seats:
            if session is not None:
                session.end("all its players have left")
            else:
                self._end()
            return
        if session is not None and not session.ended:
            for player in list(session.players):
                if player.player_id == player_id:
                    matches.sessions.remove_player(session, player, matches.clock())
        matches.left(self, matches.matchmaker.left(self.match_id, player_id))

"""Matches, from the ticket to the session, and all of it again after a restart.

A ticket is stored before it waits. What the matchmaker finds is stored as a match, in one operation with its players'
tokens, their messages and the removal of their tickets; only then its session is opened, under the match's id. What
cannot be stored, or has no room, is tried again a second later.
"""

from __future__ import annotations

from gsrt.backend import matches as stored
from gsrt.backend.matches import MatchOver, PlayersGone
from gsrt.game.model import MatchConfig
from gsrt.log import error_text
from gsrt.match.matchmaker import Found, Joined, UnknownMatch
from gsrt.match.query import QueryError, parse_query
from gsrt.match.waiting import Ticket, pending_match
from gsrt.running import Running, Seat
from gsrt.scripts.compiling import HostError
from gsrt.session import SessionError
from gsrt.store.errors import StoreError
from gsrt.timers import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from gsrt.backend.desk import Desk
    from gsrt.game.model import Game
    from gsrt.log import Log
    from gsrt.match.matchmaker import Matchmaker, Outcome
    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.host import Scripts
    from gsrt.sessions import Sessions
    from gsrt.timers import Timer, Timers

UNUSED_SECONDS = 60.0  # after which a match that nobody has come to gives way, where there is no room for another
AGAIN_SECONDS = 1.0  # until what could not be done is tried again
MATCH_ID_BYTES = 12
TICKET_BYTES = 1 << 20  # of memory, at most: what a player says for the others, as objects


class Forming:
    """Players who belong together, until that is stored: in a new match, or one of them in a `match` under way."""

    __slots__ = ("config", "counted", "group", "held", "match", "peer_id", "tickets")

    def __init__(
        self, config: MatchConfig, group: str | None, tickets: list[Ticket], match: Running | None = None
    ) -> None:
        self.config = config
        self.group = group
        self.tickets = tickets
        self.match = match
        self.peer_id = 0  # of the one who joins
        self.held: Timer | None = None  # it is to be tried again
        self.counted = False  # among those that take up room soon


class Waiting:
    """A ticket, and `since` when it waits, as it is stored."""

    __slots__ = ("since", "ticket")

    def __init__(self, ticket: Ticket, since: float) -> None:
        self.ticket = ticket
        self.since = since


class Matches:
    """All tickets and matches of a game. `restore` comes first, `close` last."""

    def __init__(
        self,
        desk: Desk,
        sessions: Sessions,
        scripts: Scripts,
        matchmaker: Matchmaker,
        timers: Timers,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
        log: Log,
        public_host: Callable[[], str],
        port: int,
    ) -> None:
        """`clock()`: seconds of the loop's; `wall()`: since 1970. `public_host()`: the address for players of whom it
        is not known by which they reached us."""
        self.desk = desk
        self.sessions = sessions
        self.scripts = scripts
        self.matchmaker = matchmaker
        self.timers = timers
        self.clock = clock
        self.wall = wall
        self.log = log
        self.public_host = public_host
        self.port = port
        self.profile = desk.profile
        self.restored = False  # all that was there before is back
        self.counters = {"matches_found": 0, "matches_not_found": 0, "matches_joined": 0, "matches_ended": 0}
        self._entropy = entropy
        self._running: dict[str, Running] = {}
        self._forming: dict[str, Forming] = {}  # by player
        self._waiting: dict[str, dict[str, Waiting]] = {}  # player -> short code -> a ticket; as they are stored
        self._sessionless: dict[str, Running] = {}  # of those that run
        self._coming_players = 0  # that are about to take up room
        self._coming_sessions = 0
        self._timer: Timer | None = None
        self._closed = False

    def __len__(self) -> int:
        """Matches that are being played, or that players may still join."""
        return len(self._running)

    def figures(self) -> dict[str, int]:
        """For the status."""
        return {"running": len(self._running), "tickets": len(self.matchmaker) + len(self._forming), **self.counters}

    def get(self, match_id: str) -> Running | None:
        return self._running.get(match_id)

    # --- Tickets ---

    @property
    def is_full(self) -> bool:
        """As many wait as the profile allows, or the memory."""
        governor = self.sessions.house.governor
        return len(self.matchmaker) + len(self._forming) >= self.profile.tickets_max or (
            governor is not None and not governor.has_room(TICKET_BYTES)
        )

    def ticket(self, player_id: str, short_code: str, group: str | None) -> Ticket | None:
        """The ticket with which the player waits; GROUP None: whatever its group."""
        waiting = self._waiting.get(player_id, {}).get(short_code)
        forming = self._forming.get(player_id)
        if waiting is None or (forming is not None and forming.held is None):
            return None
        return waiting.ticket if group in (None, waiting.ticket.group) else None

    def enter(self, ticket: Ticket, since: float) -> None:
        """A ticket that is stored, with that time of its beginning, looks for a match."""
        if not self._closed:
            self._waiting.setdefault(ticket.player_id, {})[ticket.short_code] = Waiting(ticket, since)
            self._add([ticket])

    def withdraw(self, ticket: Ticket) -> float:
        """The player does not look for it any more; since when, as it is stored. Its row in the store is the caller's
        to remove."""
        player_id, short_code = ticket.player_id, ticket.short_code
        since = self._forget_ticket(player_id, short_code)
        forming = self._forming.get(player_id)
        if forming is None:
            self.matchmaker.cancel(player_id, short_code)
            self._arm()
        elif any((each.player_id, each.short_code) == (player_id, short_code) for each in forming.tickets):
            self._dissolve(forming)
        return since

    def _withdraw_all(self, player_id: str) -> list[tuple[Ticket, float]]:
        """The player looks for nothing any more: the tickets, and since when each has waited."""
        withdrawn = []
        for short_code in list(self._waiting.get(player_id, ())):
            ticket = self.ticket(player_id, short_code, None)  # each in its turn: without one, others may be in a match
            if ticket is not None:
                withdrawn.append((ticket, self.withdraw(ticket)))
        return withdrawn

    def away(self, player_id: str) -> None:
        """The player has had no connection for a while, and hears with the next sign-in that nothing was found."""
        if self._closed:
            return
        for ticket, since in self._withdraw_all(player_id):
            self._tell_not_found(ticket, since)
        for match in list(self._sessionless.values()):
            match.away(player_id, self.clock())

    def offline(self, player_id: str) -> None:
        """The player has lost the last connection."""
        if not self._closed:
            for match in list(self._sessionless.values()):
                match.offline(player_id, self.clock())

    def deleted(self, player_id: str) -> None:
        """There is no such player any more, nor what was stored of it: it plays on nowhere."""
        self._withdraw_all(player_id)
        for match in list(self._running.values()):
            match.kick(player_id)

    def join(self, player_id: str, short_code: str, pending_id: str) -> dict[str, object]:
        """The player joins a pending match; what it is then, a PendingMatch. Raises NotInProgress, NotAvailable."""
        outcomes = self.matchmaker.join(player_id, pending_id, self.clock())
        joined = self.matchmaker.pending_of(player_id, short_code)
        for outcome in outcomes:
            if type(outcome) is Found and any(each.player_id == player_id for each in outcome.tickets):
                joined = pending_match(outcome.pending_id, outcome.group, outcome.tickets)
            elif type(outcome) is Joined and outcome.ticket.player_id == player_id:
                joined = pending_match(outcome.match_id, outcome.ticket.group, [outcome.ticket])
        self._take(outcomes)
        return joined or {}

    def game_changed(self, game: Game) -> None:
        """Who waits, waits by the new rules."""
        self._take(self.matchmaker.configure(game.matches, self.clock()))

    def _add(self, tickets: Iterable[Ticket]) -> None:
        """They look for a match, but for those of players who are about to be in one."""
        for ticket in tickets:
            if ticket.player_id in self._forming:
                continue
            try:
                outcomes = self.matchmaker.add(ticket, self.clock())
            except UnknownMatch:  # the game has changed since
                self._not_found(ticket)
            else:
                self._take(outcomes)
        self._arm()

    def _look_on(self, player_id: str) -> None:
        """The player is not about to be in a match after all: its tickets wait again, all of them."""
        self._add([each.ticket for each in self._waiting.get(player_id, {}).values()])

    def _arm(self) -> None:
        when = self.matchmaker.next_timer()
        if self._timer is not None and self._timer.callback is not None and self._timer.when == when:
            return
        self.timers.cancel(self._timer)
        self._timer = None if when == INFINITY else self.timers.set(when, self._due)

    def _due(self, now: float) -> None:
        self._timer = None
        self._take(self.matchmaker.advance(now))

    # --- What has become of them ---

    def _take(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if type(outcome) is Found:
                self._begin(Forming(outcome.config, outcome.group, outcome.tickets))
            elif type(outcome) is Joined:
                self._begin_joining(outcome.match_id, outcome.ticket)
            else:
                self._not_found(outcome.ticket)  # type: ignore[union-attr]  # a NotFound, which is left
        self._arm()

    def _not_found(self, ticket: Ticket) -> None:
        self._tell_not_found(ticket, self._forget_ticket(ticket.player_id, ticket.short_code))

    def _tell_not_found(self, ticket: Ticket, since: float) -> None:
        """The ticket, which has waited SINCE then, is over; the player is told."""
        self.counters["matches_not_found"] += 1
        body: dict[str, object] = {
            "matchShortCode": ticket.short_code,
            "matchGroup": ticket.group,
            "matchData": ticket.match_data,
            "participantData": ticket.participant_data,
            "participants": [],
            "scriptData": {},
            "title": "No match found",
        }
        most = self.profile.messages_per_player_max
        self.surely(stored.not_found, ticket.player_id, ticket.short_code, since, body, most)

    def _forget_ticket(self, player_id: str, short_code: str) -> float:
        """Since when it has waited, as it is stored."""
        by_code = self._waiting.get(player_id, {})
        waiting = by_code.pop(short_code, None)
        if not by_code:
            self._waiting.pop(player_id, None)
        return 0.0 if waiting is None else waiting.since

    def _begin(self, forming: Forming) -> None:
        for ticket in forming.tickets:
            self._forming[ticket.player_id] = forming
        self._go_on(forming)

    def _begin_joining(self, match_id: str, ticket: Ticket) -> None:
        match = self._running.get(match_id)
        if match is None:  # over by now
            self.matchmaker.close(match_id)
            self._look_on(ticket.player_id)
            return
        forming = Forming(match.config, match.group, [ticket], match)
        forming.peer_id = match.reserve(ticket)
        self._begin(forming)

    def _go_on(self, forming: Forming) -> None:
        """Makes a match of them, if there is room for it and its script is at hand."""
        forming.held = None
        if forming.config.realtime:
            self._count(forming, True)
            try:
                self.sessions.check_room(self._coming_players, self._coming_sessions)
            except SessionError as full:
                self._make_room()
                self._hold(forming, str(full))
                return
        script = forming.config.realtime_script
        if script is None or not forming.config.realtime or forming.match is not None:
            self._store(forming, None, None)
            return

        def prepared(compiled: Compiled | None, error: HostError | None) -> None:
            self._store(forming, compiled, error)

        try:
            self.scripts.prepare(script, prepared)
        except HostError as error:
            prepared(None, error)

    def _make_room(self) -> None:
        """Ends the oldest match that nobody has come to for long enough: whoever asks for matches and never plays them
        shall not take the place of all others."""
        too_old = self.clock() - UNUSED_SECONDS
        for match in self._running.values():
            if match.opened <= too_old and match.is_unused:
                match.give_up("nobody has come, and others need the room")
                return

    def _count(self, forming: Forming, coming: bool) -> None:
        """Whether it is about to take up room for sessions and players."""
        if forming.counted == coming:
            return
        forming.counted = coming
        sign = 1 if coming else -1
        self._coming_players += sign * len(forming.tickets)
        self._coming_sessions += sign * (forming.match is None)

    def _hold(self, forming: Forming, reason: str) -> None:
        """It cannot be now; later."""
        self._count(forming, False)
        self.log.limited(
            "error", "match waits", "match found, and not begun yet", match=forming.config.short_code, reason=reason
        )
        forming.held = self.timers.set(self.clock() + AGAIN_SECONDS, lambda now: self._go_on(forming))

    def _dissolve(self, forming: Forming) -> None:
        """It does not come about; its players look on."""
        self.timers.cancel(forming.held)
        self._forget(forming)
        if forming.match is not None:
            self._take(forming.match.release(forming.tickets[0]))
        for ticket in forming.tickets:
            self._look_on(ticket.player_id)

    def _forget(self, forming: Forming) -> None:
        self._count(forming, False)
        for ticket in forming.tickets:
            self._forming.pop(ticket.player_id, None)

    def _store(self, forming: Forming, compiled: Compiled | None, error: HostError | None) -> None:
        if self._closed:
            return
        tokens = self.sessions.house.tokens
        seats = [
            Seat(
                ticket,
                forming.peer_id or number,
                *((tokens.make(), tokens.make()) if forming.config.realtime else (None, None)),
            )
            for number, ticket in enumerate(forming.tickets, 1)
        ]
        match = forming.match or self._new_match(forming)
        players = [each.row() for each in seats]
        online = self.online([*match.seats, *(each.player_id for each in forming.tickets)])
        most = self.profile.messages_per_player_max
        operation: Callable[..., object] = stored.create if forming.match is None else stored.add_player
        what = players if forming.match is None else players[0]

        def done(result: object, failed: BaseException | None) -> None:
            if self._closed:
                return  # a restart finds what has become of it
            if failed is None:
                self._forget(forming)
                for ticket in forming.tickets:
                    self._waiting.pop(ticket.player_id, None)
                if forming.match is None:
                    self._made(match, seats, compiled, error)
                else:
                    self._joined(match, seats[0])
            elif isinstance(failed, PlayersGone):
                for player_id in failed.player_ids:
                    self._waiting.pop(player_id, None)
                self._dissolve(forming)
            elif isinstance(failed, MatchOver):
                self._dissolve(forming)
            else:
                self._hold(forming, str(failed))

        try:
            self.desk.store.submit(operation, (match.row(), what, online, self._place(match), most), done)
        except StoreError as refused:
            self._hold(forming, str(refused))

    def _new_match(self, forming: Forming) -> Running:
        config = forming.config
        tickets = forming.tickets
        until = self.wall() + config.expire_in if config.drop_in_drop_out and config.expire_in else None
        return Running(
            self,
            self._entropy(MATCH_ID_BYTES).hex(),
            config,
            forming.group,
            next((each.match_data for each in tickets if each.match_data), {}),
            sum(each.skill / len(tickets) for each in tickets),
            until,
        )

    def _place(self, match: Running) -> dict[str, Any] | None:
        """Where the match is played, as it is stored; each connection puts the address in that it was reached at."""
        return {"host": self.public_host(), "port": self.port} if match.config.realtime else None

    def online(self, player_ids: Iterable[str]) -> list[str]:
        """Those who have a connection."""
        return [each for each in player_ids if self.desk.presence.online(each)]

    # --- Matches ---

    def _made(self, match: Running, seats: list[Seat], compiled: Compiled | None, error: HostError | None) -> None:
        """A match is on the disk: it begins."""
        self.counters["matches_found"] += 1
        now = self.clock()
        match.sit(seats)
        if match.config.realtime:
            for other in list(self._running.values()):
                other.lose(match.seats)
            session = match.open_session(now)
            if match.script is not None:
                self.scripts.put_to_work(session, match.script, compiled, error, now)
        self.log.info("match found", match=match.match_id, short_code=match.config.short_code, players=len(seats))
        self._let_run(match, now)

    def _let_run(self, match: Running, now: float) -> None:
        """From now on it is known, as long as it has a session or players may join."""
        if match.is_over_at_once or match.is_over:
            return
        self._running[match.match_id] = match
        if match.session is None:
            self._sessionless[match.match_id] = match
        self._take(match.begin(now))

    def _joined(self, match: Running, seat: Seat) -> None:
        self.counters["matches_joined"] += 1
        try:
            match.join(seat, self.clock())
        except SessionError as error:  # there was room when it was looked for; the match is stored without it again
            self.log.error("player cannot join", match=match.match_id, player=seat.ticket.player_id, reason=str(error))
            match.remove(seat.ticket.player_id)

    def left(self, match: Running, outcomes: Iterable[Outcome]) -> None:
        """Somebody has left a match that others may join; what that has brought about."""
        self._take(outcomes)

    def over(self, match: Running) -> None:
        """A match is no more."""
        self._running.pop(match.match_id, None)
        self._sessionless.pop(match.match_id, None)
        self.matchmaker.close(match.match_id)
        if not self._closed:
            self.counters["matches_ended"] += 1
            self.surely(stored.end, match.match_id)

    @property
    def closed(self) -> bool:
        """Sessions that end from now on come back with the next start."""
        return self._closed

    def surely(
        self, operation: Callable[..., object], *arguments: object, then: Callable[[], object] | None = None
    ) -> None:
        """Has an operation done, as soon as it can be; `then()` is called when it is."""

        def again(now: float = 0.0) -> None:
            if not self._closed:
                self.surely(operation, *arguments, then=then)

        def done(result: object, error: BaseException | None) -> None:
            if error is None:
                if then is not None and not self._closed:
                    then()
            elif isinstance(error, StoreError):
                self.timers.set(self.clock() + AGAIN_SECONDS, again)
            else:
                self.log.limited(
                    "error",
                    f"match {operation.__name__}",
                    "not stored",
                    operation=operation.__name__,
                    reason=error_text(error),
                )

        try:
            self.desk.store.submit(operation, arguments, done)
        except StoreError:
            self.timers.set(self.clock() + AGAIN_SECONDS, again)

    # --- Restart ---

    def restore(self) -> None:
        """Brings back what was there when the server ended; `restored` when that is done."""

        def done(found: Any, error: BaseException | None) -> None:
            if self._closed:
                return
            if error is not None:
                self.log.limited("error", "matches restore", "matches are not back yet", reason=str(error))
                self.timers.set(self.clock() + AGAIN_SECONDS, lambda now: self.restore())
                return
            for row in found["matches"]:
                self._restore_match(row)
            for row in found["tickets"]:
                self._restore_ticket(row)
            self.restored = True
            if found["matches"] or found["tickets"]:
                self.log.info("matches are back", matches=len(found["matches"]), tickets=len(found["tickets"]))

        try:
            self.desk.store.submit(stored.not_ended, (), done)
        except StoreError as error:
            done(None, error)

    def _restore_match(self, row: dict[str, Any]) -> None:
        try:
            config = MatchConfig.from_dict(row["config"], self.desk.game.scripts)
            match = Running(self, row["id"], config, row["group"], row["data"], row["skill"], row["openUntil"])
            seats = [Seat.from_row(each, config.short_code, row["group"]) for each in row["players"]]
        except (TypeError, ValueError, KeyError, AttributeError) as error:  # of another version
            self.log.error("match cannot be brought back", match=row["id"], reason=error_text(error))
            self.surely(stored.end, row["id"])
            return
        if not seats:
            self.surely(stored.end, row["id"])
            return
        now = self.clock()
        match.sit(seats)
        if config.realtime:
            known = self.sessions.find(match.match_id)
            session = match.open_session(now)
            if known is None and match.script is not None:
                self.scripts.begin_again(session, match.script)
        else:
            for player_id in match.seats:
                self.desk.presence.expect(player_id)
        self._let_run(match, now)

    def _restore_ticket(self, row: dict[str, Any]) -> None:
        """It goes on waiting; the time that the server was away counts."""
        body, since = row["body"], row["since"]
        waited = max(self.wall() - since, 0.0)
        try:
            query = parse_query(body["customQuery"]) if body.get("customQuery") is not None else None
        except QueryError:
            query = None
        ticket = Ticket(
            row["player"],
            row["shortCode"],
            body["skill"],
            row["group"],
            query,
            body["participantData"],
            body["matchData"],
            self.clock() - waited,
        )
        self.desk.presence.expect(ticket.player_id)
        self.enter(ticket, since)

    def close(self) -> None:
        """The server ends: what waits and what is played is for the next start."""
        self._closed = True
        self.timers.cancel(self._timer)

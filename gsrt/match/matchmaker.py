"""Who waits for which match, and who is matched with whom: without I/O. The caller says what time it is.

A ticket waits in the pool of its short code and group. It is matched as soon as max_players fit one another; of several
sets, the one with the players who have waited longest. Two fit if each one's skill suits the other's current threshold
and each one's query accepts the other.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf

from gsrt.match.gatherings import Open, Pending
from gsrt.match.pool import Pool
from gsrt.match.waiting import Ticket as Ticket
from gsrt.match.waiting import Waiting
from gsrt.match.waiting import pending_match as pending_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gsrt.game.model import MatchConfig

    PoolKey = tuple[str, str | None]

STALE_TIMERS = 64  # that may lie about besides one per ticket


class Found:
    """These players are a match. `tickets`: as they came; `pending_id`: of the manual match that it was."""

    __slots__ = ("config", "group", "pending_id", "tickets")

    def __init__(
        self, config: MatchConfig, group: str | None, tickets: list[Ticket], pending_id: str | None = None
    ) -> None:
        self.config = config
        self.group = group
        self.tickets = tickets
        self.pending_id = pending_id

    def __repr__(self) -> str:
        return f"Found({self.config.short_code!r}, {self.group!r}, {[each.player_id for each in self.tickets]})"


class NotFound:
    """All periods of this ticket are over, and it was in no match."""

    __slots__ = ("ticket",)

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket

    def __repr__(self) -> str:
        return f"NotFound({self.ticket!r})"


class Joined:
    """The ticket's player enters a match that is under way."""

    __slots__ = ("match_id", "ticket")

    def __init__(self, match_id: str, ticket: Ticket) -> None:
        self.match_id = match_id
        self.ticket = ticket

    def __repr__(self) -> str:
        return f"Joined({self.match_id!r}, {self.ticket!r})"


if TYPE_CHECKING:
    Outcome = Found | NotFound | Joined


class UnknownMatch(LookupError):
    """No match configuration of that short code, or one without thresholds."""


class NotInProgress(LookupError):
    """The player is not looking for such a match (match: NOT_IN_PROGRESS)."""


class NotAvailable(LookupError):
    """There is no such pending match for that player, or no longer (pendingMatchId: NOT_AVAILABLE)."""


class Matchmaker:
    """All who look for matches."""

    def __init__(self, configs: Mapping[str, MatchConfig], new_id: Callable[[], str] | None = None) -> None:
        """`configs`: by short code. `new_id`: makes ids of pending matches; without it they are counted."""
        self._configs = dict(configs)
        self._new_id = new_id or self._counted_id
        self._count = 0
        self._pools: dict[PoolKey, Pool] = {}
        self._players: dict[str, dict[str, Waiting]] = {}  # player -> short code -> what waits
        self._pending: dict[str, Pending] = {}
        self._open: dict[str, Open] = {}
        self._places: dict[PoolKey, dict[str, Open]] = {}  # open matches with free places, in the order of these
        self._timers: list[tuple[float, int, Waiting | Open]] = []  # the numbers are unique
        self._waiting = 0

    # --- What the caller asks for ---

    def add(self, ticket: Ticket, now: float) -> list[Outcome]:
        """It looks for a match from now on, in place of what the same player has waiting for the same short code. A
        ticket of earlier (`since`) waits only for as long as is left.

        Raises UnknownMatch."""
        config = self._configs.get(ticket.short_code)
        if config is None or not config.thresholds:
            raise UnknownMatch(ticket.short_code)
        outcomes = self.advance(now)
        self.cancel(ticket.player_id, ticket.short_code)
        waiting = Waiting(ticket, config, self._number())
        for index in range(len(config.thresholds)):
            waiting.enter(index)
            if waiting.ends > now:
                break
        else:
            return [*outcomes, NotFound(ticket)]
        self._players.setdefault(ticket.player_id, {})[ticket.short_code] = waiting
        self._waiting += 1
        self._pool(waiting).add(waiting)
        self._set_timer(waiting)
        if config.manually_match_players:
            self._begin_pending([waiting])
        return outcomes + self._place(waiting)

    def cancel(self, player_id: str, short_code: str, group: str | None = None) -> bool:
        """The player no longer looks for it. False: nothing was waiting. `group` None: whatever the group."""
        waiting = self._players.get(player_id, {}).get(short_code)
        if waiting is None or (group is not None and group != waiting.ticket.group):
            return False
        self._remove(waiting)
        return True

    def advance(self, now: float) -> list[Outcome]:
        """What has become of those whose periods are over by now, in the order in which they ended."""
        outcomes: list[Outcome] = []
        timers = self._timers
        while timers and timers[0][0] <= now:
            when, _, whose = heappop(timers)
            if isinstance(whose, Open):
                if self._open.get(whose.match_id) is whose:
                    self.close(whose.match_id)
            elif self._is_current(when, whose):
                outcomes += self._period_over(whose)
        return outcomes

    def next_timer(self) -> float:
        """When to call advance(); infinity: never, as it is."""
        timers = self._timers
        while timers and not self._is_current(timers[0][0], timers[0][2]):
            heappop(timers)
        return timers[0][0] if timers else inf

    def ticket_of(self, player_id: str, short_code: str | None = None) -> Ticket | None:
        """What the player has waiting for that match; None: for any, the oldest."""
        for each in self._players.get(player_id, {}).values():
            if short_code is None or each.ticket.short_code == short_code:
                return each.ticket
        return None

    def tickets(self) -> Iterator[Ticket]:
        """All that wait."""
        return (each.ticket for by_code in self._players.values() for each in by_code.values())

    def __len__(self) -> int:
        """How many tickets wait."""
        return self._waiting

    def configure(self, configs: Mapping[str, MatchConfig], now: float) -> list[Outcome]:
        """The configurations have changed: all who wait, wait by the new ones, as if they had from the beginning; those
        whose match is gone are not found. Matches under way keep what they began with."""
        outcomes = self.advance(now)
        everybody = [each for by_code in self._players.values() for each in by_code.values()]
        everybody.sort(key=lambda waiting: waiting.number)
        for waiting in everybody:
            self._remove(waiting)
        self._configs = dict(configs)
        gone: set[str] = set()  # players who have found a match meanwhile
        for waiting in everybody:
            if waiting.ticket.player_id in gone:
                continue
            try:
                became = self.add(waiting.ticket, now)
            except UnknownMatch:
                became = [NotFound(waiting.ticket)]
            for outcome in became:
                if isinstance(outcome, Found):
                    gone.update(each.player_id for each in outcome.tickets)
                elif isinstance(outcome, Joined):
                    gone.add(outcome.ticket.player_id)
            outcomes += became
        return outcomes

    # --- Manual matches ---

    def pending(self, short_code: str, group: str | None, player_id: str, most: int) -> list[dict[str, object]]:
        """Pending matches that the player could join, at most `most`: those that wait for others, oldest first, then
        those under way. Raises NotInProgress."""
        asking = self._asking(player_id, short_code, group)
        found: list[dict[str, object]] = []
        others: list[Pending | Open] = [
            each.pending
            for each in self._pool(asking).suiting(asking)
            if each.pending is not None and each.pending.members[0] is each
        ]
        others += self._places.get((short_code, group), {}).values()
        for each in others:
            if len(found) >= most:
                break
            if self._may_join(asking, each):
                found.append(self._described(each))
        return found

    def join(self, player_id: str, pending_id: str, now: float) -> list[Outcome]:
        """The player leaves the pending match that they are in, and joins another.

        Raises NotInProgress if they have no ticket for such a match, and NotAvailable."""
        outcomes = self.advance(now)
        other: Pending | Open | None = self._pending.get(pending_id) or self._open.get(pending_id)
        if other is None:
            raise NotAvailable(pending_id)
        ticket = other.members[0].ticket
        asking = self._asking(player_id, ticket.short_code, ticket.group)
        if not self._may_join(asking, other):
            raise NotAvailable(pending_id)
        if isinstance(other, Open):
            return [*outcomes, self._join_open(asking, other)]
        self._leave_pending(asking)
        asking.pending = other
        other.members.append(asking)
        if len(other.members) >= asking.config.max_players:
            outcomes.append(self._found(other.members, other.pending_id))
        return outcomes

    def pending_of(self, player_id: str, short_code: str) -> dict[str, object] | None:
        """The pending match that the player is in."""
        waiting = self._players.get(player_id, {}).get(short_code)
        return None if waiting is None or waiting.pending is None else self._described(waiting.pending)

    # --- Matches under way ---

    def open(
        self, match_id: str, config: MatchConfig, group: str | None, players: list[Ticket], until: float = inf
    ) -> list[Outcome]:
        """Players may drop into that match until then, as far as there is place. Its players' tickets are those it was
        found with, their `threshold` included. Those who wait and fit enter at once."""
        members = []
        for ticket in players:
            member = Waiting(ticket, config, self._number())
            member.enter(min(ticket.threshold, len(config.thresholds) - 1))
            members.append(member)
        match = Open(match_id, config, group, members, until)
        self.close(match_id)
        if not members:
            return []
        self._open[match_id] = match
        if until < inf:
            heappush(self._timers, (until, self._number(), match))
        return self._fill(match)

    def left(self, match_id: str, player_id: str) -> list[Outcome]:
        """The player is no longer in that match: who waits and fits may take the place. When all have left, it is
        gone."""
        match = self._open.get(match_id)
        if match is None:
            return []
        match.members = [each for each in match.members if each.ticket.player_id != player_id]
        if match.members:
            return self._fill(match)
        self.close(match_id)
        return []

    def close(self, match_id: str) -> None:
        """Nobody can drop into that match any longer."""
        match = self._open.pop(match_id, None)
        if match is not None:
            self._offer(match, False)

    def _offer(self, match: Open, free: bool) -> None:
        """The match has free places, or has none."""
        key = (match.config.short_code, match.group)
        if free:
            self._places.setdefault(key, {}).setdefault(match.match_id, match)
            return
        places = self._places.get(key, {})
        if places.pop(match.match_id, None) is not None and not places:
            del self._places[key]

    def _fill(self, match: Open) -> list[Outcome]:
        outcomes: list[Outcome] = []
        if match.is_full:
            return outcomes
        self._offer(match, True)
        pool = self._pools.get((match.config.short_code, match.group))
        if pool is None or match.config.manually_match_players:
            return outcomes
        for waiting in pool.fitting(match.members[0]):
            if match.takes(waiting):
                outcomes.append(self._join_open(waiting, match))
        return outcomes

    def _join_open(self, waiting: Waiting, match: Open) -> Joined:
        self._remove_player(waiting.ticket.player_id)
        match.members.append(waiting)
        if match.is_full:
            self._offer(match, False)
        return Joined(match.match_id, waiting.ticket)

    # --- Placing ---

    def _place(self, waiting: Waiting) -> list[Outcome]:
        """A match for somebody who is new, or whom others fit than before."""
        config = waiting.config
        if config.manually_match_players:
            if config.max_players == 1 and waiting.pending is not None:
                return [self._found(waiting.pending.members, waiting.pending.pending_id)]
            return []
        for match in self._places.get((config.short_code, waiting.ticket.group), {}).values():
            if match.takes(waiting):
                return [self._join_open(waiting, match)]
        together = self._pool(waiting).together(waiting, config.max_players, config.max_players)
        return [self._found(together)] if together else []

    def _period_over(self, waiting: Waiting) -> list[Outcome]:
        config, index = waiting.config, waiting.ticket.threshold
        if config.thresholds[index].accept_min_players:
            if waiting.pending is not None:
                if len(waiting.pending.members) >= config.min_players:
                    return [self._found(waiting.pending.members, waiting.pending.pending_id)]
            else:
                together = self._pool(waiting).together(waiting, config.min_players, config.max_players)
                if together:
                    return [self._found(together)]
        if index + 1 == len(config.thresholds):
            self._remove(waiting)
            return [NotFound(waiting.ticket)]
        self._pool(waiting).advance(waiting, index + 1)
        self._set_timer(waiting)
        return self._place(waiting)

    def _found(self, together: list[Waiting], pending_id: str | None = None) -> Found:
        tickets = [each.ticket for each in together]
        found = Found(together[0].config, tickets[0].group, tickets, pending_id)
        for ticket in tickets:
            self._remove_player(ticket.player_id)
        return found

    # --- Pending matches ---

    def _asking(self, player_id: str, short_code: str, group: str | None) -> Waiting:
        waiting = self._players.get(player_id, {}).get(short_code)
        if waiting is None or waiting.ticket.group != group or waiting.pending is None:
            raise NotInProgress(short_code)
        return waiting

    def _may_join(self, asking: Waiting, other: Pending | Open) -> bool:
        if other is asking.pending or len(other.members) >= asking.config.max_players:
            return False
        if isinstance(other, Open):
            return other.config.manually_match_players and other.takes(asking)
        if not all(each.suits(asking) and asking.suits(each) for each in other.members):
            return False
        query = asking.query
        if query is not None and not query.accepts(self._described(other)):
            return False
        return all(each.query is None or each.query.accepts(asking.shown) for each in other.members)

    def _described(self, pending: Pending | Open) -> dict[str, object]:
        tickets = [each.ticket for each in pending.members]
        pending_id = pending.match_id if isinstance(pending, Open) else pending.pending_id
        return pending_match(pending_id, tickets[0].group, tickets)

    def _begin_pending(self, members: list[Waiting]) -> None:
        pending = Pending(self._new_id(), members)
        self._pending[pending.pending_id] = pending
        for each in members:
            each.pending = pending

    def _leave_pending(self, waiting: Waiting) -> None:
        pending, waiting.pending = waiting.pending, None
        if pending is not None:
            pending.members = [each for each in pending.members if each is not waiting]
            if not pending.members:
                del self._pending[pending.pending_id]

    # --- Coming and going ---

    def _remove_player(self, player_id: str) -> None:
        for waiting in list(self._players.get(player_id, {}).values()):
            self._remove(waiting)

    def _remove(self, waiting: Waiting) -> None:
        ticket = waiting.ticket
        by_code = self._players[ticket.player_id]
        del by_code[ticket.short_code]
        if not by_code:
            del self._players[ticket.player_id]
        self._waiting -= 1
        pool = self._pool(waiting)
        pool.remove(waiting)
        if not pool:
            del self._pools[ticket.short_code, ticket.group]
        self._leave_pending(waiting)
        waiting.ends = inf

    def _pool(self, waiting: Waiting) -> Pool:
        key = (waiting.ticket.short_code, waiting.ticket.group)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(waiting.config.thresholds)
        return pool

    def _set_timer(self, waiting: Waiting) -> None:
        timers = self._timers
        if len(timers) > 2 * (self._waiting + len(self._open)) + STALE_TIMERS:
            timers[:] = [each for each in timers if self._is_current(each[0], each[2])]
            heapify(timers)
        heappush(timers, (waiting.ends, waiting.number, waiting))

    def _is_current(self, when: float, whose: Waiting | Open) -> bool:
        if isinstance(whose, Open):
            return self._open.get(whose.match_id) is whose
        return whose.ends == when

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _counted_id(self) -> str:
        return format(self._number(), "024x")

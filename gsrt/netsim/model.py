"""One direction of a bad network, seeded and sans-I/O: datagrams go in, fewer and later ones come out.

    link = BadLink(Conditions.parse("loss=5% delay=30ms"), seed=1)
    link.put(datagram, now)
    link.next_time()  # when there is something to take, or None
    link.take(now)  # what has come through

The same seed, conditions and calls give the same result. Times are seconds on the caller's clock.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import log, log1p

from gsrt.netsim.conditions import Conditions, ConditionsError

__all__ = ["BadLink", "Conditions", "ConditionsError", "SplitMix64"]

# The jitter of datagrams that stay in order is held for so long on average: none come after each rise, and some in one
# go after that, as in a busy radio cell. Drawn for each datagram it would vanish: each waits for the slowest before it.
JITTER_HOLD_SECONDS = 0.05

# Without a rate there is no queue that is bounded; so many are under way at most: 180,000 a second at 90 ms.
IN_FLIGHT_MAX = 16_384

# Shares below are taken for this, which is never; logarithms of smaller ones have no room in a float.
SHARE_MIN = 2.0**-60

INFINITY = float("inf")

# What can happen to a datagram, in the order in which it is drawn.
LOSE = 1
HOLD_BACK = 2
DOUBLE = 4
CORRUPT = 8


class SplitMix64:
    """Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014, figure 17. The module `random`
    costs a server memory, and does not promise the same numbers for all versions."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & 0xFFFFFFFFFFFFFFFF

    def bits(self) -> int:
        """64 random bits."""
        self._state = mixed = (self._state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        return mixed ^ mixed >> 31

    def fraction(self) -> float:
        """Over 0, up to 1."""
        return ((self.bits() >> 11) + 1) * 2.0**-53


class _Chance:
    """Which datagrams of a row something happens to. How many it spares is drawn when it has happened, so that
    the others cost nothing."""

    __slots__ = ("_log_go_on", "_log_spare", "_random", "_spared_min", "first", "happens", "last")

    def __init__(self, random: SplitMix64, happens: int, share: float, burst: float, number: int) -> None:
        self._random = random
        self.happens = happens
        if burst and share < 1.0:
            # Gilbert, "Capacity of a Burst-Noise Channel", 1960, with a bad state in which all is lost: a row ends with
            # a chance of 1 / burst, and begins with one that makes the share.
            begins = min(1.0, share / (burst * (1.0 - share)))
            self._log_go_on = log1p(-1.0 / burst) if burst > 1.0 else -INFINITY
            self._spared_min = 1
        else:
            begins = share
            self._log_go_on = -INFINITY
            self._spared_min = 0
        self._log_spare = log1p(-max(begins, SHARE_MIN)) if begins < 1.0 else -INFINITY
        self.first = self.last = number + int(log(random.fraction()) / self._log_spare)

    def draw(self) -> None:
        """The next ones that it happens to: numbers `first` to `last`."""
        fraction = self._random.fraction
        self.first = self.last + 1 + self._spared_min + int(log(fraction()) / self._log_spare)
        self.last = self.first
        if self._log_go_on > -INFINITY:
            self.last += int(log(fraction()) / self._log_go_on)


class BadLink:
    """Carries datagrams in one direction, under conditions that can change. Blackouts are counted from `origin`, or
    from the first datagram.

    sent + duplicated = delivered + lost + blacked_out + over_rate + overfull + in_flight

    sent: put in; delivered: taken out, copies too
    lost: by chance; blacked_out: put in during a blackout
    over_rate: there was no room in the queue before the rate; overfull: `in_flight_max` were under way
    duplicated: copies made; corrupted: those in which a bit was turned over, copies not counted
    reordered: of those delivered, how many came after one that was put in later
    """

    __slots__ = (
        "_chances",
        "_change_at",
        "_dark",
        "_delay",
        "_event_at",
        "_free_at",
        "_hold_until",
        "_in_flight_max",
        "_latest",
        "_newest",
        "_number",
        "_origin",
        "_queue_seconds",
        "_random",
        "_scatter",
        "_seconds_per_byte",
        "_under_way",
        "blacked_out",
        "conditions",
        "corrupted",
        "delivered",
        "duplicated",
        "lost",
        "over_rate",
        "overfull",
        "reordered",
    )

    def __init__(
        self, conditions: Conditions, seed: int, *, origin: float | None = None, in_flight_max: int = IN_FLIGHT_MAX
    ) -> None:
        self._random = SplitMix64(seed)
        self._in_flight_max = in_flight_max
        self._under_way: list[tuple[float, int, bytes]] = []  # a heap: arrives at, number, datagram
        self._origin = origin
        self._number = 0  # of the last datagram but for those of blackouts
        self._newest = 0  # number of those delivered
        self._latest = -INFINITY  # when the last of those that stay in order arrives
        self._free_at = -INFINITY  # when all that waits for the rate has gone
        self.lost = self.blacked_out = self.over_rate = self.overfull = 0
        self.duplicated = self.corrupted = self.reordered = self.delivered = 0
        self.change(conditions)

    def change(self, conditions: Conditions) -> None:
        """Other conditions, for what is put in from now on. What is under way arrives as it would have."""
        self.conditions = conditions
        self._scatter = conditions.jitter if conditions.jitter_reorders else 0.0
        self._delay = conditions.delay  # and jitter, where it does not reorder
        self._seconds_per_byte = 0.0 if conditions.rate is None else 1.0 / conditions.rate
        self._queue_seconds = (conditions.queue_bytes + 0.5) * self._seconds_per_byte  # half a byte for rounding
        self._change_at = self._hold_until = -INFINITY
        self._dark = False
        shares = (
            (LOSE, conditions.loss, conditions.loss_burst),
            (HOLD_BACK, conditions.reorder, 0.0),
            (DOUBLE, conditions.duplicate, 0.0),
            (CORRUPT, conditions.corrupt, 0.0),
        )
        self._chances = [
            _Chance(self._random, happens, share, burst, self._number + 1) for happens, share, burst in shares if share
        ]
        self._event_at = min((chance.first for chance in self._chances), default=INFINITY)

    @property
    def sent(self) -> int:
        return self._number + self.blacked_out

    @property
    def in_flight(self) -> int:
        return len(self._under_way)

    def counters(self) -> dict[str, int]:
        """All that is counted, by name."""
        return {name: getattr(self, name) for name in COUNTERS}

    def put(self, datagram: bytes, now: float) -> None:
        """A datagram is sent."""
        if now >= self._change_at:
            self._pass_time(now)
        if self._dark:
            self.blacked_out += 1
            return
        self._number = number = self._number + 1
        happens = self._happenings(number) if number >= self._event_at else 0
        if happens & LOSE:
            self.lost += 1
            return
        if len(self._under_way) >= self._in_flight_max:
            self.overfull += 1
            return
        due = now
        if self._seconds_per_byte:
            due = self._free_at
            took = len(datagram) * self._seconds_per_byte
            if due <= now:
                due = now
            elif due - now + took > self._queue_seconds:
                self.over_rate += 1
                return
            due += took
            self._free_at = due
        due += self._delay
        if self._scatter:
            due += self._scatter * self._random.fraction()
        elif due < self._latest:
            due = self._latest
        else:
            self._latest = due
        if happens:
            self._put_changed(happens, due, number, datagram)
        else:
            heappush(self._under_way, (due, number, datagram))

    def next_time(self) -> float | None:
        """When the next datagram arrives, or None."""
        return self._under_way[0][0] if self._under_way else None

    def take(self, now: float) -> list[bytes]:
        """The datagrams that have arrived by now, in the order in which they did."""
        under_way = self._under_way
        arrived: list[bytes] = []
        while under_way and under_way[0][0] <= now:
            _, number, datagram = heappop(under_way)
            if number >= self._newest:
                self._newest = number
            else:
                self.reordered += 1
            arrived.append(datagram)
        self.delivered += len(arrived)
        return arrived

    def _happenings(self, number: int) -> int:
        """What happens to this datagram; finds out which is the next that something happens to."""
        happens = 0
        event_at = INFINITY
        for chance in self._chances:
            if number >= chance.first:
                happens |= chance.happens
                if number >= chance.last:
                    chance.draw()
            if chance.first < event_at:
                event_at = chance.first
        self._event_at = event_at
        return happens

    def _put_changed(self, happens: int, due: float, number: int, datagram: bytes) -> None:
        if happens & CORRUPT and datagram:
            self.corrupted += 1
            bit = self._random.bits() % (8 * len(datagram))
            changed = bytearray(datagram)
            changed[bit // 8] ^= 1 << bit % 8
            datagram = bytes(changed)
        if happens & HOLD_BACK:
            due += self.conditions.reorder_delay
        heappush(self._under_way, (due, number, datagram))
        if happens & DOUBLE and len(self._under_way) < self._in_flight_max:
            self.duplicated += 1
            if self._scatter:
                due += self._scatter * self._random.fraction()
            heappush(self._under_way, (due, number, datagram))

    def _pass_time(self, now: float) -> None:
        """What depends on time and not on datagrams: where the jitter stands, and whether this is a blackout."""
        conditions = self.conditions
        if self._origin is None:
            self._origin = now
        if now >= self._hold_until:
            if conditions.jitter and not conditions.jitter_reorders:
                self._delay = conditions.delay + conditions.jitter * self._random.fraction()
                self._hold_until = now + 2.0 * JITTER_HOLD_SECONDS * self._random.fraction()
            else:
                self._hold_until = INFINITY
        self._dark = False
        self._change_at = self._hold_until
        for begins, ends in self._blackouts_near(now - self._origin):
            begins += self._origin
            ends += self._origin
            if begins <= now < ends:
                self._dark = True
            if now < ends:
                self._change_at = min(self._change_at, ends if begins <= now else begins)

    def _blackouts_near(self, elapsed: float) -> list[tuple[float, float]]:
        """Begin and end of blackouts, those that are or come next among them, in seconds since the origin."""
        near = [(start, start + length) for start, length in self.conditions.blackouts]
        every = self.conditions.blackout_every
        if every:
            end = (elapsed // every + 1.0) * every
            near.append((end - self.conditions.blackout_length, end))
            near.append((end + every - self.conditions.blackout_length, end + every))  # where rounding hides this one
        return near


# What counters() has, in the order in which a statistics line has it.
COUNTERS = (
    "sent",
    "delivered",
    "lost",
    "blacked_out",
    "over_rate",
    "overfull",
    "duplicated",
    "corrupted",
    "reordered",
    "in_flight",
)

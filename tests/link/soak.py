"""Two ends of a link that send all they can over a bad network, in virtual time; both are drawn from a seed."""

from __future__ import annotations

import random
from collections import deque

from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE, LINK_LIMITS
from gsrt.netsim.model import Conditions
from tests.link.pair import Pair

REST_SECONDS = 300.0  # in which all that was sent by then has to be through
AWAY_SECONDS = 0.05  # after which a game looks again whether its server is back
MESSAGE_BYTES_MAX = int(LINK_LIMITS["MESSAGE_BYTES_MAX"])
RECEIVE_BYTES = int(LINK_LIMITS["RECEIVE_BYTES"])
UNITS_MAX = 16_384  # reliable frames that a link keeps
# The worst of what there is comes in some network for certain.
WORST = {
    0: "",
    1: "loss=30% delay=20ms jitter=300ms jitter_reorders=yes reorder=10% duplicate=10% corrupt=1%",
    2: "loss=30% loss_burst=5 delay=100ms",
    3: "delay=40ms blackout=5s/40s",
    4: "rate=256kbit queue=16kB delay=30ms loss=2%",
    5: "delay=150ms jitter=300ms jitter_reorders=yes blackout=5s/60s loss=5% duplicate=20%",
}


def network(chance: random.Random) -> Conditions:
    """Any bad network."""
    loss = chance.choice((0.0, 0.01, 0.05, 0.1, 0.2, 0.3))
    blackouts = chance.random() < 0.4
    return Conditions(
        loss=loss,
        loss_burst=chance.choice((0.0, 3.0)) if loss else 0.0,
        delay=chance.choice((0.001, 0.01, 0.03, 0.08, 0.15)),
        jitter=chance.choice((0.0, 0.005, 0.05, 0.3)),
        jitter_reorders=chance.random() < 0.5,
        reorder=chance.choice((0.0, 0.0, 0.02, 0.2)),
        duplicate=chance.choice((0.0, 0.0, 0.02, 0.2)),
        corrupt=chance.choice((0.0, 0.0, 0.01, 0.05)),
        rate=chance.choice((None, None, 32_000.0, 125_000.0, 1_000_000.0)),
        queue_bytes=chance.choice((8_000, 32_000, 64_000)),
        blackout_length=5.0 if blackouts else 0.0,
        blackout_every=chance.choice((30.0, 90.0)) if blackouts else 0.0,
    )


class Traffic:
    """What one end sends, and what of it has come."""

    def __init__(self, seed: str, which: int, hardship: float, seconds: float) -> None:
        """For so many seconds. `hardship`: those that the network takes for a window, about; what is sent fits into
        it."""
        chance = self.chance = random.Random(seed)
        self.which = which
        self.seconds = chance.choice((0.02, 0.05, 0.15)) * (1.0 + hardship)  # between two messages
        self.budget = 3000.0 / (1.0 + 4.0 * hardship)  # bytes a second for messages of several frames
        self.longest_at = chance.uniform(0.0, seconds / 2)  # when one of the longest is sent
        self.channels = chance.sample(range(16), chance.choice((1, 3, 8)))
        self.saved = 0.0
        self.number = 0
        self.next_at = self.seconds
        self.ordered: dict[int, deque[bytes]] = {channel: deque() for channel in self.channels}
        self.unordered: set[bytes] = set()
        self.loose: dict[bytes, int] = {}
        self.sequenced = dict.fromkeys(self.channels, -1)

    def packet(self, size: int) -> bytes:
        """No two are alike."""
        self.number += 1
        return (self.number.to_bytes(4, "little") * (size // 4 + 1))[: max(size, 4)]

    def send(self, pair: Pair) -> None:
        chance = self.chance
        self.next_at += chance.expovariate(1.0 / self.seconds)
        self.saved += self.seconds * self.budget
        kind = chance.choice((KIND_ORDERED, KIND_ORDERED, KIND_UNORDERED, KIND_SEQUENCED, KIND_UNRELIABLE))
        size = chance.randint(4, 250)
        if kind in (KIND_ORDERED, KIND_UNORDERED):
            if pair.now >= self.longest_at:
                self.longest_at = float("inf")
                size = MESSAGE_BYTES_MAX
            elif self.saved > 1200 and chance.random() < 0.02:
                size = int(min(self.saved, chance.choice((1_101.0, 5_000.0, 40_000.0, float(MESSAGE_BYTES_MAX)))))
                self.saved -= size
            elif chance.random() < 0.02:
                size = chance.randint(250, 1_100)
        packet = self.packet(size)
        stream = 0
        if kind == KIND_ORDERED:
            stream = chance.choice(self.channels)
            self.ordered[stream].append(packet)
        elif kind == KIND_SEQUENCED:
            stream = chance.choice(self.channels)
        elif kind == KIND_UNORDERED:
            self.unordered.add(packet)
        else:
            self.loose[packet] = 2  # a network that doubles may bring it twice only if it was not acknowledged
        assert pair.send(self.which, packet, kind, stream)

    def check(self, messages: list[tuple[int, int, bytes]]) -> None:
        """Messages of this traffic have come at the other end."""
        for kind, stream, packet in messages:
            if kind == KIND_ORDERED:
                assert packet == self.ordered[stream].popleft(), f"channel {stream}"
            elif kind == KIND_UNORDERED:
                self.unordered.remove(packet)
            elif kind == KIND_SEQUENCED:
                number = int.from_bytes(packet[:4], "little")
                assert number > self.sequenced[stream], f"channel {stream}"
                self.sequenced[stream] = number
            else:
                self.loose[packet] -= 1
                assert self.loose[packet] >= 0
        messages.clear()

    @property
    def is_through(self) -> bool:
        return not self.unordered and not any(self.ordered.values())


class Interruptions:
    """What happens to the ends meanwhile: nothing."""

    next_at = float("inf")  # when it is this object's turn

    def take_turn(self, pair: Pair) -> None:
        """Sets `next_at`, too."""


class Soak:
    """Both ends send messages of all kinds for so many seconds. Every reliable one arrives exactly once, in order per
    channel; what is kept stays within its limits, and nothing is kept in the end."""

    def __init__(self, seed: int, seconds: float, *, hardship: float = 0.0, keep: bool = False) -> None:
        """`hardship`: seconds of which the network knows nothing (see Traffic); `keep`: see Pair."""
        chance = random.Random(f"network {seed}")
        self.there, self.back = network(chance), network(chance)
        if seed in WORST:
            self.there = self.back = Conditions.parse(WORST[seed])
        ways = (self.there, self.back)
        hardship += sum(way.delay + way.jitter / 2 + 2 * way.loss for way in ways)
        hardship += 0.5 * any(way.blackout_length for way in ways)
        encrypted = seed % 2 == 1 or any(way.corrupt for way in ways)
        self.pair = Pair(*ways, seed=seed, encrypted=encrypted, keep=keep)
        self.traffic = tuple(Traffic(f"traffic {seed} {which}", which, hardship, seconds) for which in (0, 1))
        self._seconds = seconds

    def run(self, interruptions: Interruptions) -> None:
        """All of it, until everything has come."""
        pair, traffic, seconds = self.pair, self.traffic, self._seconds
        while pair.now < seconds:
            while pair.step(min(traffic[0].next_at, traffic[1].next_at, seconds, interruptions.next_at)):
                self._check()
            for which, one in enumerate(traffic):
                if one.next_at <= pair.now < seconds:
                    if pair.is_away(which):
                        one.next_at = pair.now + AWAY_SECONDS
                    else:
                        one.send(pair)
            if interruptions.next_at <= pair.now < seconds:
                interruptions.take_turn(pair)
        while pair.step(seconds + REST_SECONDS) and not (pair.is_quiet and all(one.is_through for one in traffic)):
            self._check()
        self._check()
        assert all(one.is_through for one in traffic)
        assert pair.is_quiet
        assert [end.pending_bytes for end in pair.ends] == [0, 0]
        assert [end.flown_bytes for end in pair.ends] == [0, 0]

    def _check(self) -> None:
        """At any time."""
        pair = self.pair
        for which, end in enumerate(pair.ends):
            if pair.heard[which]:
                self.traffic[1 - which].check(pair.heard[which])
            assert end.pending_bytes <= 2 * RECEIVE_BYTES
            assert end.unit_count <= UNITS_MAX
            assert end.flown_bytes <= RECEIVE_BYTES
            assert (end.ended is None) != pair.is_away(which)

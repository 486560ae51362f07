"""A bad network in user space: loses, doubles, delays and so reorders datagrams, the same way for the same seed."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.doubles.driver import Driver

Deliver = Callable[[bytes, float], None]


class LossyLink:
    """Carries datagrams of any number of sockets, both ways. Times in seconds; probabilities 0 to 1.

    `now` comes with each call, so a link can be driven by a test's own clock. `counts` says what became of them.
    """

    def __init__(
        self,
        seed: int,
        *,
        loss: float = 0.0,
        duplicate: float = 0.0,
        shortest_delay: float = 0.0,
        longest_delay: float = 0.0,
    ) -> None:
        self._random = random.Random(seed)
        self.loss = loss
        self.duplicate = duplicate
        self.shortest_delay = shortest_delay
        self.longest_delay = longest_delay
        self.counts: Counter[str] = Counter()
        self._under_way: list[tuple[float, int, bytes, Deliver]] = []
        self._order = 0
        self._latest = 0.0

    def start(self, driver: Driver) -> None:
        """Nothing to open."""

    def carry(self, datagram: bytes, now: float, deliver: Deliver) -> None:
        """Take a datagram; `deliver(datagram, now)` is called from handle_timer, never, once or twice."""
        self.counts["carried"] += 1
        if self._random.random() < self.loss:
            self.counts["lost"] += 1
            return
        copies = 1
        if self._random.random() < self.duplicate:
            self.counts["doubled"] += 1
            copies = 2
        for _ in range(copies):
            due = now + self._random.uniform(self.shortest_delay, self.longest_delay)
            if due < self._latest:
                self.counts["overtook"] += 1
            self._latest = max(self._latest, due)
            self._order += 1
            heapq.heappush(self._under_way, (due, self._order, datagram, deliver))

    def next_timer(self) -> float | None:
        """When the next datagram arrives."""
        return self._under_way[0][0] if self._under_way else None

    def handle_timer(self, now: float) -> None:
        """Deliver what has arrived by `now`."""
        while self._under_way and self._under_way[0][0] <= now:
            _, _, datagram, deliver = heapq.heappop(self._under_way)
            deliver(datagram, now)

    def idle(self) -> bool:
        """Is nothing under way?"""
        return not self._under_way

    def describe(self) -> str:
        """Counts for a failing test."""
        return f"link: {dict(self.counts)}, {len(self._under_way)} under way"

    def dispose(self) -> None:
        """Forget what is under way."""
        self._under_way.clear()

"""What is to happen later, on the loop's clock (seconds, monotonic, given by the caller)."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Cancelled timers stay in the heap until their time; over this many the heap is rebuilt without them.
CANCELLED_MAX = 1024

INFINITY = float("inf")


class Timer:
    """One thing to do once. `when` in seconds."""

    __slots__ = ("callback", "number", "waiting", "when")

    def __init__(self, when: float, number: int, callback: Callable[[float], None]) -> None:
        self.when = when
        self.number = number
        self.callback: Callable[[float], None] | None = callback
        self.waiting = True  # it is in the heap

    def __lt__(self, other: Timer) -> bool:
        return (self.when, self.number) < (other.when, other.number)


class Timers:
    """Timers by due time; those due at the same time run in the order in which they were set."""

    def __init__(self) -> None:
        self.earliest = INFINITY  # nothing is due before; may be too early where timers were cancelled
        self._heap: list[Timer] = []
        self._count = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def set(self, when: float, callback: Callable[[float], None]) -> Timer:
        """Has `callback(now)` called at the first run() at or after `when`."""
        self._count += 1
        timer = Timer(when, self._count, callback)
        heappush(self._heap, timer)
        self.earliest = min(self.earliest, when)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Takes a timer back; one that has run, was cancelled or is None is no matter."""
        if timer is None or timer.callback is None:
            return
        timer.callback = None
        if timer.waiting:
            self._cancelled += 1
        if self._cancelled > CANCELLED_MAX:
            self._heap = [each for each in self._heap if each.callback is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float | None:
        """When the first timer is due, or None."""
        while self._heap and self._heap[0].callback is None:
            heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0].when if self._heap else None

    def run(self, now: float) -> None:
        """Calls what is due. What is set meanwhile runs at the next call at the earliest."""
        due: list[Timer] = []
        while (when := self.next()) is not None and when <= now:
            due.append(heappop(self._heap))
            due[-1].waiting = False
        due.reverse()
        try:
            while due:
                timer = due.pop()
                callback, timer.callback = timer.callback, None
                if callback is not None:
                    callback(now)
        finally:
            for timer in due:  # a callback has failed; the others are for the next time
                if timer.callback is not None:
                    timer.waiting = True
                    heappush(self._heap, timer)
            self.earliest = self._heap[0].when if self._heap else INFINITY

"""How much of something there may be: so much each second, and some more at once after a silence. No I/O."""

from __future__ import annotations


class Bucket:
    """Full at first."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        """BURST is what it holds. NOW: seconds, on any clock; where that goes back, nothing is added for that time."""
        self._per_second = per_second
        self._burst = burst
        self._left = burst  # as of the time in _at
        self._at = now

    def take(self, now: float, keep: float = 0) -> bool:
        """Takes one, if so many are left then that KEEP stay for others."""
        self._left = min(self._burst, self._left + max(now - self._at, 0.0) * self._per_second)
        self._at = now
        if self._left < 1 + keep:
            return False
        self._left -= 1
        return True

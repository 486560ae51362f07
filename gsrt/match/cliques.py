"""The largest set of which everybody fits everybody: an exact search that gives up after a bounded number of steps."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS_MAX = 4000  # about a millisecond on a desktop computer


def largest_set(rows: Sequence[int], least: int, most: int, steps_max: int = STEPS_MAX) -> list[int] | None:
    """Indices, ascending; the largest set of `least` to `most` members, of equally large ones the first in the order of
    indices. `rows[i]` has bit j set if i and j fit each other. None: there is none, or none was found in time.

    Beyond `steps_max` the best that was found until then."""
    if most <= 0 or least <= 0 >= len(rows):
        return [] if least <= 0 else None
    everybody = _busy(rows, (1 << len(rows)) - 1, least - 1)
    best: list[int] | None = [] if least <= 0 else None
    best_size = max(least - 1, 0)
    chosen: list[int] = []
    left = [everybody]  # for each chosen, and before any of them: who may still be chosen next
    steps = 0
    while left:
        possible = left[-1]
        size = len(left)
        if size - 1 + possible.bit_count() <= best_size or steps > steps_max:
            left.pop()
            if chosen:
                chosen.pop()
            continue
        lowest = possible & -possible
        index = lowest.bit_length() - 1
        possible ^= lowest
        left[-1] = possible
        possible &= rows[index]
        steps += 1
        if size > best_size:
            best, best_size = [*chosen, index], size
            if size == most:
                return best
        if size + possible.bit_count() > best_size:
            enough = best_size - size + 1
            colours, coloured = _colours(rows, possible, enough)
            steps += coloured
            if colours >= enough:
                chosen.append(index)
                left.append(possible)
    return best


def _busy(rows: Sequence[int], everybody: int, neighbours: int) -> int:
    """Those of `everybody` who have as many neighbours as needed among those of whom the same is true."""
    if neighbours <= 0:
        return everybody
    while True:
        kept = everybody
        possible = everybody
        while possible:
            lowest = possible & -possible
            possible ^= lowest
            if (rows[lowest.bit_length() - 1] & kept).bit_count() < neighbours:
                kept ^= lowest
        if kept == everybody:
            return kept
        everybody = kept


def _colours(rows: Sequence[int], possible: int, enough: int) -> tuple[int, int]:
    """How many sets of strangers `possible` can be divided into, which no set of friends can outnumber; no more than
    `enough`. And the steps taken."""
    colours = steps = 0
    while possible and colours < enough:
        colours += 1
        strangers = possible
        while strangers:
            lowest = strangers & -strangers
            possible ^= lowest
            strangers = (strangers ^ lowest) & ~rows[lowest.bit_length() - 1]
            steps += 1
    return colours, steps

"""Which skills suit a player: the thresholds of a match configuration.

ABSOLUTE: both skills lie in [min, max]. RELATIVE: the other's lies in [mine + min, mine + max]. PERCENT: the same, with
min and max in percent of the size of mine, so that max = 10 reaches from -100 up to -90.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.game.model import Threshold

INFINITE = float("inf")
NOBODY = (INFINITE, -INFINITE)  # an interval that nothing lies in


def interval(threshold: Threshold, skill: float) -> tuple[float, float]:
    """The least and the greatest skill of others that suit somebody of `skill`."""
    if threshold.type == "ABSOLUTE":
        return (threshold.min, threshold.max) if threshold.min <= skill <= threshold.max else NOBODY
    if threshold.type == "RELATIVE":
        return skill + threshold.min, skill + threshold.max
    return share(skill, threshold.min), share(skill, threshold.max)


def share(skill: float, percent: float) -> float:
    """`skill` and `percent` of its size on top. Written as one product, so that it never falls where it should rise."""
    factor = 100 + percent if skill >= 0 else 100 - percent
    product = skill * factor
    return product / 100 if -INFINITE < product < INFINITE else skill / 100 * factor

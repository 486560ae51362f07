"""The soak: two ends of a link for 10 minutes of virtual time over each of 40 bad networks, drawn from a seed.

Both send messages of all kinds on several channels, some of 256 KB. Every reliable one arrives exactly once, in order
per channel; what is kept stays within its limits, and nothing is kept in the end.
"""

from __future__ import annotations

import pytest

from tests.link.soak import Interruptions, Soak

NETWORKS = 40
SECONDS = 600.0


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_bad_network_loses_nothing(seed: int) -> None:
    soak = Soak(seed, SECONDS)
    soak.run(Interruptions())
    assert soak.pair.events < 400_000  # no timer that is due without end

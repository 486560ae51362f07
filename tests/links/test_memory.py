"""What an idle link costs the server."""

from __future__ import annotations

import os

import pytest

from tests.links.house import BOTH_SUITES
from tests.links.remote import RemoteHouse

SESSIONS, SIZE = 140, 4
BEFORE = 60  # links that are there before it is measured: what the first of them bring along is nobody's
PEER_BYTES_MAX = 4096


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer takes memory of its own")
@pytest.mark.parametrize("suite", BOTH_SUITES)
def test_an_idle_link_peer_costs_at_most_4_kb(suite: int) -> None:
    with RemoteHouse(SESSIONS, SIZE) as house:
        for token in house.tokens[:BEFORE]:
            house.enter(token, suite=suite)
        house.advance(10)
        before = house.memory()
        for token in house.tokens[BEFORE:]:
            house.enter(token, suite=suite)
        house.advance(10)
        after = house.memory()
        assert house.links_count == len(house.tokens)
        count = len(house.tokens) - BEFORE
        allocated = (after.allocated - before.allocated) / count
        resident = (after.resident - before.resident) / count
        assert max(resident, allocated) <= PEER_BYTES_MAX, f"{resident:.0f} bytes resident, {allocated:.0f} of malloc"


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer takes memory of its own")
def test_a_link_that_is_idle_again_costs_as_little() -> None:
    with RemoteHouse(SESSIONS, SIZE) as house:
        for token in house.tokens[:BEFORE]:
            house.enter(token)
        house.advance(10)
        before = house.memory()
        for token in house.tokens[BEFORE:]:
            house.enter(token)
        for client in house.clients:
            for channel in range(4):
                client.send(5, bytes(50), channel=channel)
        house.turn(*house.clients)
        house.advance(10)
        after = house.memory()
        allocated = (after.allocated - before.allocated) / (len(house.tokens) - BEFORE)
        assert allocated <= PEER_BYTES_MAX

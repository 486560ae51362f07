"""The C client, which was written from docs/LINK.md alone, and a server whose end is dumped and restored in between."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gsrt._link import LinkEndpoint
from tests.link import c_client
from tests.link.c_client import OPEN
from tests.link.c_world import BAD, PERFECT, join
from tests.link.test_c_client import Traffic


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return c_client.build(tmp_path_factory.getbasetemp() / "c_client")


@pytest.mark.parametrize("suite", [0, 1])
@pytest.mark.parametrize("conditions", [PERFECT, BAD, "loss=30% delay=50ms jitter=40ms reorder=20% duplicate=10%"])
def test_it_notices_nothing(module: Any, conditions: str, suite: int) -> None:
    world = join(module, conditions, 3, suite=suite)
    traffic = Traffic(world, 3)
    chance = random.Random(f"{conditions} {suite}")
    for _ in range(200):
        for _ in range(chance.randrange(4)):
            traffic.send_one()
        world.run(seconds=0.05)
        assert world.client.state == OPEN
        if chance.random() < 0.2:
            end = world.server.endpoint
            assert end is not None
            world.server.endpoint = LinkEndpoint.restore(end.dump(), world.now)
    assert world.run(traffic.all_reliable_there, 60)
    world.run(seconds=3)
    traffic.check()
    quality = world.client.quality()
    assert quality["waiting_bytes"] == 0
    assert quality["packets_malformed"] == 0

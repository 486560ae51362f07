"""A clock that jumps. The server reads a monotonic one, so this takes a broken machine, or one that was asleep."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gsrt.timers import Timers
from tests.relay.rig import Rig, packet


@pytest.mark.parametrize("jump", [-1e9, -1.0, 1e9])
def test_a_jump_neither_loses_packets_nor_lifts_the_limit(rigs: Callable[..., Rig], jump: float) -> None:
    rig = rigs(packets_per_second=10, packets_burst=5)
    sender, witness = rig.join(1), rig.join(2)
    rig.now += 10.0
    sender.put(packet(5))
    rig.now += jump
    sender.put(*(packet(6) for _ in range(20)))
    rig.flush()
    assert len(witness.op_codes()) <= 6, "no more than the burst at once"
    received = 0
    for _ in range(20):
        rig.now += 0.5
        rig.relay.resume(rig.now)
        rig.flush()
        received += len(witness.op_codes())
    assert received >= 15, "the rest comes as the rate allows it again"


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_timers_survive_a_jump(jump: float) -> None:
    timers = Timers()
    seen: list[str] = []

    def note(name: str) -> Callable[[float], None]:
        return lambda now: seen.append(name)

    timers.set(1010.0, note("first"))
    timers.set(1020.0, note("second"))
    timers.run(1000.0 + jump)
    assert seen == (["first", "second"] if jump > 0 else [])
    timers.run(1030.0)
    assert seen == ["first", "second"]
    assert timers.next() is None

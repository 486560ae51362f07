"""What counts as lag: the loop of a real server, in a time of its own, with packets that come all the time."""

from __future__ import annotations

import io
import selectors
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gsrt.cli.serve import Options
from gsrt.device.readings import Readings
from gsrt.governor import LEVELS, NORMAL, SLOWED
from gsrt.log import Log
from gsrt.server import UDP, Server
from gsrt.timers import INFINITY
from tests.support.server import GENERIC_PROFILE

SLOW_MS = 50.0  # the mark
LIMITS = {
    "governor_seconds": 1.0,
    "loop_lag_slow_ms": SLOW_MS,
    "loop_lag_refuse_ms": 500.0,
    "temperature_slow_celsius": 80.0,
}
PACKET_SECONDS = 0.005  # between two packets
INSTANT = 1e-6  # that a look at the sockets takes
PACKET = selectors.SelectorKey(0, 0, selectors.EVENT_READ, UDP)


class Traffic:
    """Takes the place of a server's sockets, its sensors and its clock. A packet comes every few milliseconds, and
    each makes some output; or none does."""

    paused_count = 0
    links_due = INFINITY
    has_output = True

    def __init__(self, now: float, *, steady: bool) -> None:
        self.now = now
        self.celsius = 50.0
        self.turn_seconds = 0.0  # that the work of each turn takes
        self.held_up = 0.0  # so much longer each wait is than it should be
        self._steady = steady
        self._packet_at = now

    def clock(self) -> float:
        return self.now

    # The waiting

    def sleep_until(self, when: float) -> None:
        self.now = max(self.now, when + self.held_up)

    def select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        packet_at = self._packet_at if self._steady else INFINITY
        due = INFINITY if timeout is None else self.now + timeout
        if due < packet_at:
            self.now = due + INSTANT + self.held_up
            return []
        self.now = max(self.now, packet_at) + INSTANT
        self._packet_at = self.now + PACKET_SECONDS
        return [(PACKET, selectors.EVENT_READ)]

    # The relay

    def receive_datagrams(self, now: float) -> None:
        self.now += self.turn_seconds

    def flush(self) -> None:
        pass

    def take_doomed(self) -> list[object]:
        return []

    # The sensors

    def memory(self) -> None:
        return None

    def read(self, now: float, *, loop_lag_ms: float, disk_written_bytes: int | None) -> Readings:
        return Readings(loop_lag_ms=loop_lag_ms, temperature_celsius=self.celsius)


class Loop:
    """A server, and the traffic that it has."""

    def __init__(self, server: Server, *, steady: bool) -> None:
        assert server.box is not None
        self.server = server
        self.governor = server.box.governor
        self.traffic = Traffic(server.clock(), steady=steady)
        self.seen: list[int] = []  # the level after each look
        server.box.begin(self.traffic.now)

    def run(self, seconds: float) -> None:
        end = self.traffic.now + seconds
        looks = self.governor.counters["looks"]
        while self.traffic.now < end:
            self.server._turn()
            if self.governor.counters["looks"] > looks:
                looks = self.governor.counters["looks"]
                self.seen.append(self.governor.level)


Loops = Callable[..., Loop]


@pytest.fixture
def loops(tmp_path: Path) -> Iterator[Loops]:
    with ExitStack() as stack:

        def make(*, steady: bool, **limits: float) -> Loop:
            profile = tmp_path / "test.toml"
            values = tomllib.loads(GENERIC_PROFILE.read_text()) | LIMITS | limits
            profile.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
            options = Options(
                control=str(tmp_path / "control.sock"),
                state_dir=str(tmp_path / "state"),
                host="127.0.0.1",
                port=0,
                profile=str(profile),
            )
            server = Server(options, Log(io.StringIO(), time.monotonic))
            stack.callback(server.close)
            assert server.box is not None
            server.box.sensors.close()
            loop = Loop(server, steady=steady)
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(server, "clock", loop.traffic.clock)
            patch.setattr(server, "_sleep_until", loop.traffic.sleep_until)
            patch.setattr(server, "_selector", loop.traffic)
            patch.setattr(server, "relay", loop.traffic)
            patch.setattr(server.box, "sensors", loop.traffic)
            return loop

        yield make


@pytest.mark.parametrize("tick_ms", [0, 10, 70, 90])
def test_a_tick_is_no_lag(loops: Loops, tick_ms: float) -> None:
    """What is due waits for the tick where packets come all the time, at every look as long."""
    loop = loops(steady=True, tick_ms=tick_ms)
    loop.run(60.0)
    assert len(loop.seen) > 50
    assert set(loop.seen) == {NORMAL}


def test_the_longer_tick_of_a_server_that_is_slowed_is_no_lag(loops: Loops) -> None:
    loop = loops(steady=True, tick_ms=0, slow_tick_ms=90)
    loop.traffic.celsius = 85.0
    loop.run(10.0)
    assert loop.server.tick == 0.09
    assert list(loop.governor.causes) == ["temperature"]
    loop.traffic.celsius = 50.0
    loop.run(15.0)
    assert loop.governor.causes == {}
    assert loop.server.tick == 0
    assert loop.seen[-1] == NORMAL


@pytest.mark.parametrize("tick_ms", [0, 70])
@pytest.mark.parametrize(("late_ms", "level"), [(SLOW_MS - 1, NORMAL), (SLOW_MS + 1, SLOWED)])
def test_what_is_later_than_the_tick_explains(loops: Loops, tick_ms: float, late_ms: float, level: int) -> None:
    loop = loops(steady=False, tick_ms=tick_ms, slow_tick_ms=tick_ms)
    loop.traffic.held_up = (tick_ms + late_ms) / 1000
    loop.run(10.0)
    assert LEVELS[loop.seen[-1]] == LEVELS[level]


@pytest.mark.parametrize("tick_ms", [0, 70])
@pytest.mark.parametrize(("turn_ms", "level"), [(SLOW_MS - 1, NORMAL), (SLOW_MS + 1, SLOWED)])
def test_a_turn_that_takes_long_is_lag_whatever_the_tick(
    loops: Loops, tick_ms: float, turn_ms: float, level: int
) -> None:
    loop = loops(steady=True, tick_ms=tick_ms, slow_tick_ms=tick_ms)
    loop.traffic.turn_seconds = turn_ms / 1000
    loop.run(10.0)
    assert LEVELS[loop.seen[-1]] == LEVELS[level]

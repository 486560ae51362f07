"""What becomes of a server, and of those who play on it, when its box is strained: docs/GOVERNOR.md, "What happens
when"."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gsrt.client import Intent
from tests.box.strained import THROTTLED, ZONE, StrainedServer
from tests.sessions.player import DEADLINE, Player
from tests.support.server import Table


class Pair:
    """Two players, who have to notice nothing."""

    def __init__(self, server: StrainedServer) -> None:
        self.table: Table = server.create(2)
        self._round = 0
        self.players = [Player(self.table.seats[0], server.port), Player(self.table.seats[1], server.port)]
        for player in self.players:
            player.expect_ready()

    def undisturbed(self) -> None:
        """Each hears what the other says, at once, and was told of nothing."""
        self._round += 1
        for one, other in (self.players, self.players[::-1]):
            one.send(7, self._round, Intent.RELIABLE)
            assert other.next_of(7) == {1: self._round}
        assert all(player.told.empty() for player in self.players)

    def close(self) -> None:
        for player in self.players:
            player.session.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StrainedServer]:
    with StrainedServer(tmp_path, {"slow_tick_ms": 25}) as server:
        yield server


@pytest.fixture
def pair(server: StrainedServer) -> Iterator[Pair]:
    pair = Pair(server)
    yield pair
    pair.close()


def tick_ms(server: StrainedServer) -> float:
    tick: float = server.control({"do": "status"})["loop"]["tickMs"]
    return tick


def test_heat(server: StrainedServer, pair: Pair) -> None:
    server.until(lambda: server.governor()["temperatureCelsius"] is not None, "the first look")
    assert server.governor()["temperatureCelsius"] == pytest.approx(48.0)
    assert tick_ms(server) == 0
    server.write(f"{ZONE}/temp", "81500")
    server.until_level("slowed")
    assert tick_ms(server) == 25
    assert server.refusal() == ""
    pair.undisturbed()
    server.write(f"{ZONE}/temp", "91000")
    server.until_level("refusing")
    why = server.refusal()
    for words in ("nobody new", "91 degrees", "give it air", "try again"):
        assert words in why
    pair.undisturbed()
    assert server.governor()["counters"]["refused"] == 1
    server.write(f"{ZONE}/temp", "60000")
    server.until_level("normal")
    assert tick_ms(server) == 0
    assert server.refusal() == ""
    pair.undisturbed()
    assert [line.split(" text=")[0] for line in server.told("cause=temperature")] == [
        "warn box strained cause=temperature level=slowed",
        "warn box strained cause=temperature level=refusing",
        "info box recovered cause=temperature",
    ]


def test_players_who_have_a_place_come_in_however_hot_it_is(server: StrainedServer) -> None:
    table = server.create(1)
    server.write(f"{ZONE}/temp", "99000")
    server.until_level("refusing")
    player = Player(table.seats[0], server.port)
    player.expect_ready()
    player.session.stop()


def test_a_weak_power_supply(server: StrainedServer, pair: Pair) -> None:
    server.write(THROTTLED, "50005")
    server.until_level("slowed")
    assert "power supply is too weak" in server.governor()["reasons"][0]
    assert server.refusal() == ""
    pair.undisturbed()
    server.write(THROTTLED, "50000")  # not any more
    server.until_level("normal")


def test_a_loop_that_is_held_up_says_so(tmp_path: Path) -> None:
    with StrainedServer(tmp_path, {"loop_lag_slow_ms": 150, "loop_lag_refuse_ms": 300}) as server:
        pair = Pair(server)
        pair.undisturbed()
        # Once: it is told, and counted, and nothing else.
        hold_up(server, 0.5)
        server.until(lambda: server.governor()["counters"]["holdUps"], "the hold-up is not counted")
        assert server.told("the loop was held up")
        assert server.governor()["level"] == "normal"
        # Again and again: nobody new is let in.
        end = time.monotonic() + DEADLINE
        while server.governor()["level"] != "refusing":
            assert time.monotonic() < end
            for _ in range(3):
                hold_up(server, 0.4)
        assert "players wait" in server.refusal()
        server.until_level("normal")
        pair.undisturbed()
        pair.close()


def hold_up(server: StrainedServer, seconds: float) -> None:
    """Stops the process for so long: what is tested is what it makes of that."""
    os.kill(server.process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(server.process.pid, signal.SIGCONT)


HOARDER = """
kept = []


@session.on_packet(20)
def keep(packet):
    for number in range(20):
        kept.append("x" * 100000 + str(len(kept)))
    return False


@session.on_packet(21)
def let_go(packet):
    kept.clear()
    return False
"""


def test_ninety_percent_of_the_memory(tmp_path: Path) -> None:
    """A script takes what the promise leaves: no new sessions, no new players, and nothing else changes. When it lets
    go of it, all is as before."""
    script = tmp_path / "hoarder.py"
    script.write_text(HOARDER)
    (tmp_path / "box").mkdir()
    promise = 128 << 20
    overrides = {"memory_bytes_max": promise, "script_memory_bytes": 48 << 20, "script_cpu_ms": 1000}
    with StrainedServer(tmp_path / "box", overrides | {"script_gas": 10_000_000}) as server:
        pair = Pair(server)
        table = server.create(1, script=str(script))
        late = server.create(1)
        teller = Player(table.seats[0], server.port)
        teller.expect_ready()
        server.until_level("normal")
        while server.governor()["level"] != "refusing":
            expected = script_calls(server, table) + 1
            teller.send(20)
            server.until(partial(has_called, server, table, expected), "the script does not answer")
            server.until(partial(has_looked, server, looks(server) + 1), "the governor does not look")
        assert "of memory" in server.refusal()
        refused = Player(late.seats[0], server.port)
        server.until(lambda: server.told("no new player now"), "no login was refused")
        pair.undisturbed()
        assert server.governor()["memoryBytes"] <= promise
        teller.send(21)
        server.until_level("normal")
        refused.expect_ready()  # it has gone on trying
        assert server.refusal() == ""
        pair.undisturbed()
        for player in (teller, refused):
            player.session.stop()
        pair.close()


def script_calls(server: StrainedServer, table: Table) -> int:
    """How often the session's script was called."""
    figures = server.control({"do": "status"})["perSession"]
    calls: int = next(one["script"]["calls"] for one in figures if one["sessionId"] == table.session_id)
    return calls


def has_called(server: StrainedServer, table: Table, count: int) -> bool:
    return script_calls(server, table) >= count


def looks(server: StrainedServer) -> int:
    """How often the governor has looked."""
    count: int = server.governor()["counters"]["looks"]
    return count


def has_looked(server: StrainedServer, count: int) -> bool:
    return looks(server) >= count

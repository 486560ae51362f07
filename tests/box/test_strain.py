"""What becomes of a server, and of those who play on it, when its box is strained: docs/GOVERNOR.md, "What happens
when"."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from gsrt.client import Intent
from gsrt.governor import MemoryMarks
from gsrt.profile import Profile
from gsrt.sessions import PLAYER_BYTES, SESSION_BYTES
from tests.box.load import OP_BEAT, Crowd, Peer
from tests.box.memory import MEBIBYTE, held, peak
from tests.box.strained import THROTTLED, ZONE, StrainedServer
from tests.sessions.player import DEADLINE, Player
from tests.support.server import ControlRefused, Table


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


HOARDER = f"""
kept = []


@session.on_packet({OP_BEAT})
def keep(packet):
    for number in range(5):
        kept.append("x" * 100000 + str(len(kept)))
"""
HOARD_BYTES = 500_000  # that a script keeps more with each packet
PROMISE = 96 * MEBIBYTE
SCRIPT_BYTES = 2 * MEBIBYTE
MEMORY = {
    "memory_bytes_max": PROMISE,
    "memory_slow_percent": 80,
    "memory_refuse_percent": 90,
    "players_per_session_max": 4,
    "stream_out_soft_bytes": 24_576,
    "stream_out_hard_bytes": 65_536,
    "script_memory_bytes": SCRIPT_BYTES,
    "script_cpu_ms": 1000,
}
# Which of the two decides: the profile's percentage, as on a Pi 4, or what is kept free for what may come at once,
# which is a larger part of a small promise, as on a Pi Zero.
MARKS = {"percentage": MEMORY, "margin": MEMORY | {"script_memory_bytes": 16 * MEBIBYTE}}


class Hoard:
    """Sessions of two, in each of which a script keeps what it can."""

    def __init__(self, server: StrainedServer, crowd: Crowd, script: Path) -> None:
        self.tables: list[Table] = []
        self._server = server
        self._crowd = crowd
        self._script = script
        self._pairs: list[tuple[Peer, Peer]] = []
        self._told = 0

    def one_more(self) -> None:
        """Another session, whose script takes half of what it may. Raises ControlRefused."""
        table = self._server.create(2, script=str(self._script))
        self.tables.append(table)
        one, other = self._crowd.join(table, range(2))
        self._crowd.until(lambda: one.ready and other.ready, "they are not in")
        self._pairs.append((one, other))
        for _ in range(SCRIPT_BYTES // HOARD_BYTES // 2):
            self.keep_more(one, other)

    def keep_more(self, one: Peer, other: Peer) -> None:
        """The script has kept more by the time the other player has the packet."""
        self._told += 1
        one.send(OP_BEAT, self._told.to_bytes(4, "big"))
        self._crowd.until(lambda: self._told in other.beats.get(one.seat.peer_id, []), "the script does not answer")

    def all_keep_more(self) -> Iterator[None]:
        for pair in self._pairs:
            self.keep_more(*pair)
            yield

    def end(self) -> None:
        for table in self.tables:
            self._server.end(table)

    @property
    def lost(self) -> list[Peer]:
        return [peer for pair in self._pairs for peer in pair if peer.lost]


@pytest.mark.parametrize("decides", MARKS)
def test_the_memory_is_nearly_used_up(decides: str, tmp_path: Path) -> None:
    """Sessions are let in until the mark; then no new sessions, and when those who are in take more, no new players.
    Nothing else changes, and all is as before when the load has gone."""
    script, box = tmp_path / "hoarder.py", tmp_path / "box"
    script.write_text(HOARDER)
    box.mkdir()
    with StrainedServer(box, MARKS[decides]) as server, Crowd() as crowd, closing(Pair(server)) as pair:
        marks = MemoryMarks(Profile.load(str(server.directory / "test.toml")), hashes=False)
        ninety = PROMISE * 9 // 10
        assert marks.refuse == (ninety if decides == "percentage" else marks.early)
        assert marks.refuse <= ninety
        late = server.create(1)
        hoard = Hoard(server, crowd, script)
        why = ""
        while not why:
            try:
                hoard.one_more()
            except ControlRefused as refused:
                why = str(refused)
        holds = held(server)
        print(f"{decides}: {len(hoard.tables)} sessions, {holds / MEBIBYTE:.1f} MiB, {why}")
        # The session before was let in, for what there was and all that is promised were below the mark; since then its
        # script has taken what it may at most. This one was not, and may need so much for itself and its players, with
        # the one who has a place and is late. A look meanwhile may have given back what the allocator kept of all that.
        promised = 3 * PLAYER_BYTES + SESSION_BYTES
        assert marks.slow < marks.refuse - promised - MEBIBYTE <= holds <= marks.refuse + SCRIPT_BYTES
        assert f"the profile allows {marks.refuse / MEBIBYTE:.0f} MiB" in why or "gsrt has" in why
        assert "of memory" in why and "end a session" in why
        pair.undisturbed()
        more = hoard.all_keep_more()
        while server.governor()["level"] != "refusing":
            next(more)
            server.until(partial(has_looked, server, looks(server) + 1), "the governor does not look")
        assert f"{(PROMISE - marks.refuse) / MEBIBYTE:.0f} MiB are kept free" in server.refusal()
        refused_player = Player(late.seats[0], server.port)
        server.until(lambda: server.told("no new player now"), "no login was refused")
        pair.undisturbed()
        assert not hoard.lost
        assert peak(server) <= PROMISE
        hoard.end()
        server.until_level("normal")
        refused_player.expect_ready()  # it has gone on trying
        assert server.refusal() == ""
        pair.undisturbed()
        refused_player.session.stop()


def looks(server: StrainedServer) -> int:
    """How often the governor has looked."""
    count: int = server.governor()["counters"]["looks"]
    return count


def has_looked(server: StrainedServer, count: int) -> bool:
    return looks(server) >= count

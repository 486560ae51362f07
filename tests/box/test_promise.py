"""The promise of each profile: however much is asked of a server, it never takes more memory than that.

A real server is loaded as far as it lets itself be: all sessions with all players, scripts that keep what they can,
players who never read while the others of their sessions send as much as they may, links whose other end has fallen
silent, strangers of every kind, new sessions until they are refused. Those who just play must not notice.
"""

from __future__ import annotations

import time
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from gsrt.client import Session
from tests.box.load import OP_FLOOD, Crowd, Peer, junk
from tests.box.memory import MEBIBYTE, peak
from tests.sessions.player import Player
from tests.support.server import PROJECT, ControlRefused, ServerProcess, Table

SESSIONS = 16
PLAYERS = 8
GOOD = 8  # sessions, the first of them, in which all behave; in the others nobody reads
BY_LINK = 3  # of the first session's players
HOARD = 20
HOARDERS = 40  # sessions whose scripts together would take far more than there is
# What this machine happens to do meanwhile is not what is looked at here.
UNWATCHED = {
    "free_memory_bytes_min": 0,
    "disk_free_bytes_min": 0,
    "loop_lag_refuse_ms": 60_000,
    "loop_lag_slow_ms": 60_000,
    "cpu_slow_percent": 1000,
}
CUT = 24  # players who do not read, after which the flood has done what it can
FLOOD_SECONDS = 10.0


def hoarder(folder: Path, *, texts: int, characters: int, passes_on: bool) -> Path:
    """A script that keeps so many texts more, of so many characters each, with every packet that tells it to; whether
    the other players get that, too."""
    path = folder / "hoarder.py"
    path.write_text(f"""
kept = []


@session.on_packet({HOARD})
def hoard(packet):
    for number in range({texts}):
        kept.append("x" * {characters} + str(len(kept)))
    return {passes_on}
""")
    return path


def limits(profile: str, **changed: float) -> dict[str, float]:
    text = (PROJECT / "firmware_profiles" / f"{profile}.toml").read_text()
    return tomllib.loads(text) | UNWATCHED | changed


# A profile in which the largest that all may take fits into the promise, and one in which it is far beyond: there the
# server has to take back what it gave to those who do not read.
CASES = {
    "pi-zero-w": limits("pi-zero-w"),
    "overcommitted": limits("generic", memory_bytes_max=64 * MEBIBYTE),
}


class Siege:
    """A server with all its sessions, and who is in them."""

    def __init__(self, server: ServerProcess, crowd: Crowd, script: Path, packet_bytes: int) -> None:
        self.server = server
        self.crowd = crowd
        self.address = (server.host, server.port)
        self.tables = [server.create(PLAYERS, script=str(script)) for _ in range(SESSIONS)]
        self.linked = [Player(seat, server.port) for seat in self.tables[0].seats[:BY_LINK]]
        for player in self.linked:
            player.expect_ready()
            assert player.session.leg == "link"
        self.silent = self._silent_link(self.tables[GOOD])
        self._flood = bytes(packet_bytes - 200)
        for number, table in enumerate(self.tables):
            first = BY_LINK if number == 0 else 1 if number == GOOD else 0
            crowd.join(table, range(first, PLAYERS))
            crowd.until(lambda: all(peer.ready for peer in crowd.peers), "everyone is in")
        self.good = [peer for peer in crowd.peers if peer.table in self.tables[:GOOD]]
        self.bad = [peer for peer in crowd.peers if peer.table in self.tables[GOOD:]]

    def _silent_link(self, table: Table) -> Session:
        """A player by link who comes in, and is never heard of again."""
        session = Session(self.server.host, self.server.port, table.seats[0].token, link=True)
        session.start()
        end = time.monotonic() + 20
        while not session.ready:
            session.update()
            time.sleep(0.001)  # between two looks at the socket
            assert time.monotonic() < end
        return session

    def hoard(self) -> None:
        """Every script is told, again and again, to keep more."""
        for table in self.tables:
            teller = next(peer for peer in self.crowd.peers if peer.table is table)
            for _ in range(12):
                teller.send(HOARD, b"more")

    def besiege(self) -> None:
        """Strangers of every kind."""
        crowd, address = self.crowd, self.address
        crowd.knock(address, 150, b"\x05\x08")
        crowd.knock(address, 60, b"\xff\xff\x7f\x08" + bytes(2000))
        crowd.knock(address, 60, b"GET /ws/x HTTP/1.1\r\nX-Long: " + b"a" * 1900)
        crowd.knock(address, 40, b"\x16\x03\x01\x3f\xff\x01" + bytes(12_000))
        assert crowd.shake_hands(address, 40, b"\x05\x08")
        junk(address, 2000)

    def flood(self) -> None:
        for peer in self.bad:
            peer.send(OP_FLOOD, self._flood)

    def flood_until_cut(self) -> None:
        """They go on with it until so many of them are out."""
        end = time.monotonic() + FLOOD_SECONDS
        while self.server.counters()["peers_cut"] < CUT:
            assert time.monotonic() < end, "nobody is cut"
            self.crowd.play(0.2, 0.1, self.flood)

    def stop_reading(self) -> None:
        for peer in self.bad:
            peer.stop_reading()

    def fill_with_sessions(self) -> str:
        """New sessions until there are no more: why."""
        for _ in range(500):
            try:
                self.server.create(PLAYERS)
            except ControlRefused as refused:
                return str(refused)
        raise AssertionError("never refused")

    def missing(self) -> list[str]:
        """Whose packets did not come to somebody who reads, all of them and in order."""
        found = []
        for reader in self.good:
            mates = [peer for peer in self.good if peer.table is reader.table and peer is not reader]
            for sender in mates:
                came = reader.beats.get(sender.seat.peer_id, [])
                if came != list(range(1, self.crowd.beat + 1)):
                    found.append(f"{sender.seat.player_id} to {reader.seat.player_id}: {len(came)}")
        return found

    def close(self) -> None:
        for player in self.linked:
            player.session.stop()
        self.silent.stop()


def told_of(player: Player) -> list[bool]:
    """What a player by link was told since it came in: False for each loss."""
    return [player.told.get_nowait() for _ in range(player.told.qsize())]


@pytest.mark.parametrize("case", CASES)
def test_the_promise_is_kept(case: str, tmp_path: Path, certificate: tuple[str, str]) -> None:
    profile = CASES[case]
    script = hoarder(tmp_path, texts=40, characters=1000, passes_on=True)
    server = ServerProcess(overrides=profile, certificate=certificate)
    with server, Crowd() as crowd, closing(Siege(server, crowd, script, int(profile["packet_bytes_max"]))) as siege:
        good: list[Peer] = siege.good
        crowd.play(0.3, 0.1)
        siege.hoard()
        siege.besiege()
        crowd.play(0.3, 0.1)
        siege.stop_reading()
        siege.flood_until_cut()
        why = siege.fill_with_sessions()
        crowd.play(0.3, 0.1)
        crowd.until(lambda: not siege.missing(), "all packets among those who read")
        status = server.status()
        most = peak(server)
        print(f"{case}: at most {most / MEBIBYTE:.1f} MiB, taken back: {status['governor']['takenBack']}")
        assert most <= profile["memory_bytes_max"]
        assert not any(peer.lost for peer in good)
        assert [told_of(player) for player in siege.linked] == [[]] * BY_LINK
        assert status["scripts"]["off"] == 0
        if case == "overcommitted":
            assert "of memory" in why and "end a session" in why
            assert status["governor"]["takenBack"]["readers_cut"] > 0
        else:
            assert f"{SESSIONS} sessions are open" in why


def test_the_promise_is_kept_when_all_scripts_take_what_they_can_at_once(tmp_path: Path) -> None:
    """Scripts are switched off, the largest first; their sessions go on as plain relays."""
    script = hoarder(tmp_path, texts=6, characters=900_000, passes_on=False)
    promise = 96 * MEBIBYTE
    server = ServerProcess(overrides=limits("generic", memory_bytes_max=promise))
    server.allowed_errors = ("script",)
    with server, Crowd() as crowd:
        for _ in range(HOARDERS):
            crowd.join(server.create(2, script=str(script)), range(2))
            crowd.until(lambda: all(peer.ready for peer in crowd.peers), "everyone is in")
        for peer in crowd.peers[::2]:
            peer.send(HOARD, b"more")
        crowd.play(0.5, 0.1)
        crowd.until(
            lambda: all(list(peer.beats.values()) == [list(range(1, crowd.beat + 1))] for peer in crowd.peers),
            "everyone hears the other one",
        )
        status = server.status()
        print(f"scripts: at most {peak(server) / MEBIBYTE:.1f} MiB, {status['scripts']}")
        assert peak(server) <= promise
        assert 0 < status["governor"]["takenBack"]["scripts_off"] < HOARDERS
        assert not any(peer.lost for peer in crowd.peers)

"""A server with all the sessions that a small board's profile lets in, in half of which nobody reads, and around it
strangers who mean ill."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

from gsrt.client import Session
from tests.box.load import OP_FLOOD, Crowd, junk
from tests.sessions.player import Player
from tests.support.server import PROJECT, ControlRefused, ServerProcess, Table

SESSIONS = 16
PLAYERS = 8
GOOD = 8  # sessions, the first of them, in which all behave; in the others nobody reads
BY_LINK = 3  # of the first session's players
HOARD = 20
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

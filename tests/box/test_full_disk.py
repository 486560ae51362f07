"""A disk that is full: what was acknowledged stays, nothing new is acknowledged, games go on, what scripts say is only
in the log; with space all is as before."""

from __future__ import annotations

import os
import queue
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gsrt._core import Packet
from gsrt.client import Intent, Session
from tests.box.strained import DEADLINE, StrainedServer
from tests.platform.client import PlatformClient
from tests.support.server import Table

MEBIBYTE = 1 << 20
DISK_BYTES = 12 * MEBIBYTE
KEPT_FREE = 2 * MEBIBYTE
API_KEY, SECRET = "k3y", "s3cret"
GAME = f'name = "full"\napi_key = "{API_KEY}"\nsecret = "{SECRET}"\n'
OP_COUNT = 7
OP_SAY = 30
SCRIPT = f"""
@session.on_packet({OP_SAY})
def say(packet):
    print(packet.data.get_string(1))
"""
EVERY_SECONDS = 0.02


def on_a_disk_of_its_own(folder: Path) -> tuple[str, ...]:
    """The words of a command that becomes another one, for which there is a small disk at that folder; skips the test
    where there can be none."""
    inside = f'mount -t tmpfs -o size={DISK_BYTES} none "$0" && exec "$@"'
    words = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, str(folder))
    try:
        possible = subprocess.run([*words, "true"], capture_output=True, timeout=20)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    if possible.returncode:
        pytest.skip(f"no disk of its own to be had: {possible.stderr.decode()}")
    return words


class Filler:
    """A file that takes what is free of the server's disk."""

    def __init__(self, server: StrainedServer, folder: Path) -> None:
        self._path = Path(f"/proc/{server.process.pid}/root{folder}/filler")

    def leave(self, free: int) -> None:
        """All but so many bytes."""
        with self._path.open("ab") as file:
            while free_on(self._path.parent) > free:
                try:
                    file.write(bytes(min(free_on(self._path.parent) - free, 65536)))
                    file.flush()
                except OSError:
                    break

    def remove(self) -> None:
        self._path.unlink()


class Playing:
    """The two players of a session, one by link and one by TCP. All the time each sends numbers to the other."""

    def __init__(self, server: StrainedServer, table: Table) -> None:
        self._server = server
        self._numbers = 0
        self._heard: tuple[list[int], list[int]] = ([], [])
        self.told: queue.Queue[bool] = queue.Queue()
        self._sessions = [
            Session(
                server.host,
                server.port,
                seat.token,
                link=link,
                on_ready=self.told.put,
                on_data=self._hears(heard),
                on_player_disconnect=lambda peer_id: self.told.put(False),
            )
            for seat, heard, link in zip(table.seats, self._heard, (True, False), strict=True)
        ]
        for session in self._sessions:
            session.start_background()
        for _ in self._sessions:
            assert self.told.get(timeout=DEADLINE)
        assert [session.leg.partition("+")[0] for session in self._sessions] == ["link", "tcp"]
        server.until(lambda: all(len(session.active_peers) == 2 for session in self._sessions), "they do not meet")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    @staticmethod
    def _hears(heard: list[int]) -> Callable[[Packet], None]:
        def take(packet: Packet) -> None:
            if packet.op_code == OP_COUNT and packet.data is not None:
                heard.append(int(str(packet.data.to_dict()[1])))

        return take

    def _play(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            number = self._numbers + 1
            for session in self._sessions:
                assert session.send(OP_COUNT, Intent.RELIABLE, {1: number})
            self._numbers = number

    def say(self, text: str) -> None:
        """The session's script says that, and it is in the server's log."""
        assert self._sessions[0].send(OP_SAY, Intent.RELIABLE, {1: text})
        self._server.until(lambda: self._server.told(f'text="{text}"'), "the script does not say it")

    def go_on(self) -> None:
        """What is sent from now on comes, and all that came before it, once and in order; nobody was told of a loss."""
        now = self._numbers
        self._server.until(lambda: all(len(heard) > now for heard in self._heard), "they hear nothing more")
        for heard in self._heard:
            seen = list(heard)
            assert seen == list(range(1, len(seen) + 1))
        assert self.told.empty()

    def close(self) -> None:
        self._over.set()
        self._thread.join(DEADLINE)
        for session in self._sessions:
            session.stop()


def free_on(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def outcome(work: Callable[[str], object], name: str) -> str:
    """What it is refused with; "" where it is done."""
    try:
        work(name)
    except AssertionError as refused:
        return str(refused)
    return ""


def kept_lines(server: StrainedServer) -> list[tuple[str, int]]:
    """What the game's database has of what scripts have said: text, and how many lines were left out before it."""
    lines = server.control({"do": "logs.older"})["entries"]
    return [(line["text"], line["suppressed"]) for line in lines]


def test_a_full_disk(tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    script.write_text(SCRIPT)
    box, game = tmp_path / "box", tmp_path / "game"
    data = game / "data"
    box.mkdir()
    data.mkdir(parents=True)
    (game / "game.toml").write_text(GAME)
    server = StrainedServer(
        box,
        {"disk_free_bytes_min": KEPT_FREE, "password_memory_kb": 1024, "password_passes": 1},
        arguments=(str(game),),
        before=on_a_disk_of_its_own(data),
    )
    server.allowed_errors = ("nothing can be written", "full")
    acknowledged: list[str] = []
    with server:
        filler = Filler(server, data)
        table = server.create(2, script=str(script))
        with (
            PlatformClient(server.host, server.port, API_KEY, SECRET).connect() as client,
            closing(Playing(server, table)) as playing,
        ):

            def register(name: str) -> None:
                client.register(name)
                acknowledged.append(name)

            register("first")
            playing.say("there is space")
            server.until(lambda: kept_lines(server) == [("there is space", 0)], "it is not kept")
            playing.go_on()
            # Nearly full: the host is told, nobody new is let in to play. What is asked for is still written.
            filler.leave(KEPT_FREE - 100_000)
            server.until_level("refusing")
            assert "free some space" in server.refusal()
            assert server.told("cause=disk level=refusing")
            register("second")
            playing.say("nearly full")
            playing.go_on()
            # Full: nothing is acknowledged any more, and whoever asks hears why.
            filler.leave(0)
            refused = ""
            while not refused:
                refused = outcome(register, f"p{len(acknowledged)}")
                assert len(acknowledged) < 500, "the disk has no end"
            assert server.told("the disk is full: free some space")
            playing.say("quite full")
            playing.go_on()
            # Space again: all is as before.
            filler.remove()
            server.until_level("normal")
            server.until(lambda: not outcome(register, "last"), "nothing is written again")
            assert server.refusal() == ""
            playing.say("space again")
            # The two lines between were not written late either: they are counted as left out.
            kept = [("there is space", 0), ("space again", 2)]
            server.until(lambda: kept_lines(server) == kept, "it is not kept again")
            playing.go_on()
        copy = tmp_path / "copy.sqlite"
        server.control({"do": "backup", "file": str(copy)})
    database = sqlite3.connect(copy)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    names = {row[0] for row in database.execute("SELECT user_name FROM players")}
    database.close()
    assert names == set(acknowledged)

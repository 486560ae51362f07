"""A disk that is full: what was acknowledged stays, nothing new is acknowledged, games go on; with space all is as
before."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.box.strained import StrainedServer
from tests.platform.client import PlatformClient
from tests.sessions.player import Player

MEBIBYTE = 1 << 20
DISK_BYTES = 12 * MEBIBYTE
KEPT_FREE = 2 * MEBIBYTE
API_KEY, SECRET = "k3y", "s3cret"
GAME = f'name = "full"\napi_key = "{API_KEY}"\nsecret = "{SECRET}"\n'


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


def test_a_full_disk(tmp_path: Path) -> None:
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
    server.allowed_errors = ("nothing can be written", "not kept", "full")
    acknowledged: list[str] = []
    with server:
        filler = Filler(server, data)
        table = server.create(1)
        with PlatformClient(server.host, server.port, API_KEY, SECRET).connect() as client:

            def register(name: str) -> None:
                client.register(name)
                acknowledged.append(name)

            register("first")
            # Nearly full: the host is told, nobody new is let in to play. What is asked for is still written.
            filler.leave(KEPT_FREE - 100_000)
            server.until_level("refusing")
            assert "free some space" in server.refusal()
            assert server.told("cause=disk level=refusing")
            register("second")
            # Full: nothing is acknowledged any more, and whoever asks hears why.
            filler.leave(0)
            refused = ""
            while not refused:
                refused = outcome(register, f"p{len(acknowledged)}")
                assert len(acknowledged) < 500, "the disk has no end"
            assert server.told("the disk is full: free some space")
            # Whoever plays goes on.
            player = Player(table.seats[0], server.port)
            player.expect_ready()
            # Space again: all is as before.
            filler.remove()
            server.until_level("normal")
            server.until(lambda: not outcome(register, "last"), "nothing is written again")
            assert server.refusal() == ""
            player.session.stop()
        copy = tmp_path / "copy.sqlite"
        server.control({"do": "backup", "file": str(copy)})
    database = sqlite3.connect(copy)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = {row[0] for row in database.execute("SELECT user_name FROM players")}
    database.close()
    assert kept == set(acknowledged)

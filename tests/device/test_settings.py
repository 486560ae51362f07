"""Real servers, and what their profile and options ask of the kernel and the C library."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run, gsrt  # noqa: F401 - a fixture
from tests.platform.client import PlatformClient
from tests.platform.test_from_nothing_to_playing import API_KEY, SECRET, write_game
from tests.support.server import ServerProcess, until

KERNEL_NS = 50_000
# They begin at multiples of 64 MiB; on 32 bits, at those of 1 MiB, as much else does.
POOLS_ARE_SEEN = sys.maxsize > 1 << 32 and "libc.so.6" in Path("/proc/self/maps").read_text()
SETTINGS = {"malloc_arenas": 1, "timer_slack_us": 4000}


def slacks(server: ServerProcess) -> list[int]:
    """Nanoseconds of each thread."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    try:
        return [int(Path(f"/proc/{task.name}/timerslack_ns").read_text()) for task in tasks]
    except PermissionError:
        pytest.skip("only root may see the timer slack of another process")


def pools(server: ServerProcess) -> int:
    """Of the C library's allocator, besides the first."""
    lines = Path(f"/proc/{server.process.pid}/maps").read_text().splitlines()
    places = [line.split(None, 5) for line in lines]
    return sum(int(place[0].partition("-")[0], 16) % (64 << 20) == 0 and len(place) == 5 for place in places)


def has_library(server: ServerProcess) -> bool:
    return "_cffi_backend" in Path(f"/proc/{server.process.pid}/maps").read_text()


def players_come(server: ServerProcess) -> None:
    """By password and without: each thread of the server has something to do."""
    with PlatformClient("127.0.0.1", server.port, API_KEY, SECRET) as client:
        client.register("Ann")


@pytest.fixture
def game(tmp_path: Path) -> Path:
    return write_game(tmp_path / "arena")


def test_a_server_has_what_its_profile_asks_for_and_says_so(
    game: Path,
    gsrt: Run,  # noqa: F811 - the fixture
) -> None:
    with ServerProcess(arguments=(str(game),), overrides=SETTINGS) as server:
        players_come(server)
        assert server.control({"do": "status"})["process"] == {
            "malloc_arenas": {"done": True, "why": "at most 1"},
            "timer_slack_us": {"done": True, "why": "up to 4000 us late"},
        }
        assert 'info process settings malloc_arenas="at most 1" timer_slack_us="up to 4000 us late"' in server.log()
        assert "  timer_slack_us  up to 4000 us late\n" in gsrt("status", "--control", server.control_path).out
        if POOLS_ARE_SEEN:
            assert pools(server) == 0
        found = slacks(server)
        assert len(found) > 2  # the store's thread, and the one that hashed the password
        assert set(found) == {4_000_000}


def test_without_a_word_of_the_profile_nothing_is_loaded_for_it(game: Path) -> None:
    with ServerProcess(arguments=(str(game),), overrides=dict.fromkeys(SETTINGS, 0)) as server:
        players_come(server)
        assert server.control({"do": "status"})["process"] == {}
        assert "process settings" not in server.log()
        assert not has_library(server)
        if POOLS_ARE_SEEN:
            assert pools(server) > 0
        assert set(slacks(server)) == {KERNEL_NS}


def test_pools_are_left_alone_where_there_is_no_game(tmp_path: Path) -> None:
    with ServerProcess(overrides={"malloc_arenas": 1}) as server:
        assert server.control({"do": "status"})["process"] == {}
        assert not has_library(server)


def test_a_server_goes_on_without_the_library_and_says_what_it_lacks(
    game: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gsrt: Run,  # noqa: F811 - the fixture
) -> None:
    start = tmp_path / "start.py"
    start.write_text(
        "import runpy, sys\nsys.modules['_cffi_backend'] = None\nsys.argv[0] = 'gsrt'\n"
        "runpy.run_module('gsrt', run_name='__main__', alter_sys=True)\n"
    )
    server = ServerProcess(arguments=(str(game), "--contain", "--lock-memory"), overrides=SETTINGS)
    server.command[1:3] = [str(start)]
    with server:
        players_come(server)
        until(lambda: "seccomp" in server.control({"do": "status"})["process"], server)  # it has its certificate
        process = server.control({"do": "status"})["process"]
        assert set(process) == {*SETTINGS, "lock_memory", "no_new_privileges", "code", "landlock", "seccomp"}
        assert {found["done"] for found in process.values()} == {False}
        assert {found["why"] for found in process.values()} == {process["lock_memory"]["why"]}
        assert process["lock_memory"]["why"].startswith("cffi is not installed")
        assert 'warn process settings malloc_arenas="no: cffi is not installed' in server.log()
        assert "  seccomp            no: cffi is not installed" in gsrt(
            "status", "--control", server.control_path
        ).out
        assert json.loads(gsrt("status", "--json", "--control", server.control_path).out)["process"] == process

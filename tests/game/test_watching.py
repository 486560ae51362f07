"""Changed files of a game are taken up; what is wrong is logged and changes nothing."""

from __future__ import annotations

import io
import selectors
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.game import watching
from gsrt.game.model import Game
from gsrt.game.reading import read_game
from gsrt.game.watching import Watcher
from gsrt.log import Log
from gsrt.profile import Profile
from gsrt.scripts.compiling import Compiler
from gsrt.timers import Timers
from gsrt.worker import Worker
from tests.game.conftest import GAME, MATCH, Write

DEADLINE_SECONDS = 20.0


class House:
    """What is around a watcher; the time is the test's."""

    def __init__(self, folder: Path, seconds: float = 1.0) -> None:
        self.now = 0.0
        self.errors: list[BaseException] = []
        self.written = io.StringIO()
        self.games: list[Game] = []
        self.timers = Timers()
        self.worker = Worker(self.errors.append)
        profile = Profile.load("generic")
        profile.game_reload_seconds = seconds
        log = Log(self.written, lambda: self.now)
        self.watcher = Watcher(
            read_game(str(folder)),
            profile,
            self.worker,
            Compiler(),
            self.timers,
            lambda: self.now,
            self.games.append,
            log,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.worker, selectors.EVENT_READ)

    def close(self) -> None:
        self._selector.close()
        self.worker.close()

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().splitlines()

    def look(self) -> None:
        """Lets a second pass, and the look that begins then come to its end."""
        self.now += 1.0
        self.timers.run(self.now)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.worker.waiting:
            assert time.monotonic() < deadline, "the worker has no end"
            if self._selector.select(0.1):
                self.worker.deliver()
        assert self.errors == []


@pytest.fixture
def house(folder: Path) -> Iterator[House]:
    house = House(folder)
    yield house
    house.close()


def test_a_change_is_taken_up_once(house: House, write: Write) -> None:
    house.look()
    assert (house.games, house.lines) == ([], [])
    write("matches/duel.toml", MATCH)
    house.look()
    house.look()
    (game,) = house.games
    assert list(game.matches) == ["duel"]
    assert house.watcher.game is game
    assert [line.split(" folder")[0] for line in house.lines] == ["info game taken up"]
    write("matches/duel.toml", "max_players = 3\n" + MATCH)
    house.look()
    assert house.games[1].matches["duel"].max_players == 3
    assert game.matches["duel"].max_players == 2


def test_mistakes_are_logged_once_and_the_old_game_stays(house: House, write: Write) -> None:
    write("matches/duel.toml", MATCH)
    house.look()
    write("matches/duel.toml", MATCH + "what = 1\n")
    house.look()
    house.look()
    assert len(house.games) == 1
    assert house.watcher.game is house.games[0]
    told = house.lines[1:]
    assert len(told) == 2
    assert told[0].startswith("error game not taken up folder=") and told[0].endswith("mistakes=1")
    assert "duel.toml:5: threshold.what: is no key here" in told[1]
    write("matches/duel.toml", MATCH + "accept_min_players = true\n")
    house.look()
    assert len(house.games) == 2


def test_a_script_that_is_no_good_is_a_mistake(house: House, write: Write) -> None:
    write("events/won.py", "def on_event(event):\n    pass\n")
    house.look()
    write("events/won.py", "import os\n")
    house.look()
    assert len(house.games) == 1
    assert "events/won.py:1: import is not available" in house.lines[-1]


def test_what_needs_a_restart_stays_and_is_told_once(house: House, write: Write) -> None:
    write("game.toml", GAME.replace("hush", "hash").replace("Duel", "Duet") + "port = 9\n")
    house.look()
    (game,) = house.games
    assert (game.name, game.secret, game.port) == ("Duet", "hush", None)
    warnings = [line for line in house.lines if line.startswith("warn restart needed")]
    assert [line.rsplit(" ", 1)[1] for line in warnings] == ["changed=secret", "changed=port"]
    write("matches/duel.toml", MATCH)
    house.look()
    assert house.games[1].secret == "hush"
    assert len([line for line in house.lines if line.startswith("warn")]) == 2


def test_the_end_is_the_end(house: House, write: Write) -> None:
    write("matches/duel.toml", MATCH)
    house.now += 1
    house.timers.run(house.now)
    house.watcher.close()
    house.look()
    assert (house.games, len(house.timers)) == ([], 0)


def test_nobody_looks_where_the_profile_says_so(folder: Path) -> None:
    house = House(folder, seconds=0.0)
    assert len(house.timers) == 0
    house.close()


def test_what_was_not_foreseen_is_logged_and_looking_goes_on(
    house: House, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: str) -> object:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(watching, "stamps_of", broken)
        house.look()
    assert house.lines == ['error the game cannot be looked at reason="OSError: the disk is gone"']
    write("matches/duel.toml", MATCH)
    house.look()
    assert len(house.games) == 1


def test_a_worker_that_takes_no_more_is_asked_again(house: House, write: Write) -> None:
    write("matches/duel.toml", MATCH)
    jobs_max, house.worker._jobs_max = house.worker._jobs_max, 0
    house.look()
    assert house.games == []
    house.worker._jobs_max = jobs_max
    house.look()
    assert len(house.games) == 1

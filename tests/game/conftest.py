"""A folder with a small game, to be spoilt by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gsrt.game.model import GameError
from gsrt.game.reading import read_game

GAME = 'name = "Duel"\napi_key = "key_1"\nsecret = "hush"\n'
MATCH = "[[threshold]]\nperiod = 5\nmin = 0\nmax = 10\n"
SCRIPT = "@session.on_packet(1)\ndef handler(packet):\n    return False\n"
EVENT = 'ATTRIBUTES = {"points": "number", "car": "text", "extra": "object"}\n\n\ndef on_event(event):\n    pass\n'

Write = Callable[[str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A game with nothing but what every game has."""
    made = tmp_path / "duel"
    made.mkdir()
    (made / "game.toml").write_text(GAME)
    return made


@pytest.fixture
def write(folder: Path) -> Write:
    """`write(name, text)` makes a file of the game."""

    def write(name: str, text: str) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write


def mistakes_of(folder: Path) -> list[str]:
    """What is wrong with the game, as lines without the folder."""
    try:
        read_game(str(folder))
    except GameError as error:
        return [str(each).removeprefix(f"{folder}/") for each in error.mistakes]
    return []

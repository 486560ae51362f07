"""A new game: a folder that is right as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gsrt.game.model import Game
from gsrt.game.reading import read_game
from gsrt.game.skeleton import FILES, SkeletonError, make_game
from gsrt.scripts.compiling import Compiler


def entropy(count: int) -> bytes:
    return bytes(range(256 - count, 256))


@pytest.mark.parametrize("name", ["duel", 'tom & "jerry" \\ <b>', "ünï kød", "日本"])
def test_it_can_be_served(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "games" / name
    assert make_game(str(folder), entropy) == list(FILES)
    game = read_game(str(folder))
    assert game.name == name
    assert (game.api_key, len(game.secret)) == ("f8f9fafbfcfdfeff", 32)
    assert ":" not in game.secret
    assert game.matches["duel"].thresholds
    assert game.leaderboards["high_scores"].event == "score"
    assert game.www == str(folder / "www")
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not any("{name}" in text or "{title}" in text or "{secret}" in text for text in texts)
    assert "<b>" not in (folder / "www" / "index.html").read_text()


def test_its_scripts_know_every_name_they_use(tmp_path: Path) -> None:
    make_game(str(tmp_path), entropy)
    for path in tmp_path.rglob("*.py"):
        assert Compiler().compile_file(str(path), 65536)[0].warnings == []


def test_keys_are_of_each_game_alone(tmp_path: Path) -> None:
    one, other = (make(tmp_path / name) for name in ("one", "other"))
    assert len({one.api_key, other.api_key, one.secret, other.secret}) == 4


def make(folder: Path) -> Game:
    make_game(str(folder), os.urandom)
    return read_game(str(folder))


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SkeletonError, match="there is something in this folder already"):
        make_game(str(tmp_path), entropy)
    assert os.listdir(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize("name", ["/", "a\nb", "x" * 65])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(SkeletonError, match="expected 1 to 64 printable characters"):
        make_game(name if name == "/" else str(tmp_path / name), entropy)


def test_what_the_system_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "game", "Not a directory")):
        with pytest.raises(SkeletonError, match=reason):
            make_game(str(folder), entropy)

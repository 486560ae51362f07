"""`gsrt new`: a folder, and what to do with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsrt.game.skeleton import FILES
from tests.cli.conftest import Run


def test_it_says_what_it_has_made_and_how_to_go_on(gsrt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = gsrt("new", "my game")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1].endswith("gsrt serve 'my game'")
    for name in FILES:
        assert f"my game/{name}" in outcome.out.splitlines()
        assert (tmp_path / "my game" / name).is_file()


def test_what_is_there_is_left_alone(gsrt: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    outcome = gsrt("new", str(tmp_path))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"gsrt: {tmp_path}: there is something in this folder already; choose another name\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_game_needs_a_name(gsrt: Run) -> None:
    outcome = gsrt("new", "")
    assert outcome.status == 1
    assert outcome.err == "gsrt: NAME: a game is called as its folder; expected 1 to 64 printable characters\n"

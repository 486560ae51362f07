"""`gsrt check`: every mistake in a game's folder, a line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def game(gsrt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new game, `duel` in the current directory."""
    monkeypatch.chdir(tmp_path)
    assert gsrt("new", "duel").status == 0
    return tmp_path / "duel"


def test_a_new_game_is_ok(gsrt: Run, game: Path) -> None:
    outcome = gsrt("check", "duel")
    summary = "1 match, 1 event, 1 leaderboard, 1 achievement, 1 currency, 1 good"
    assert (outcome.status, outcome.out, outcome.err) == (0, f"duel: ok: {summary}\n", "")


def test_every_mistake_is_shown_with_its_place(gsrt: Run, game: Path) -> None:
    (game / "achievements.toml").write_text((game / "achievements.toml").read_text().replace("gold ", "golds "))
    (game / "goods.toml").write_text("[[good]]\nshort_code = 'hat'\nprice = 5\n")
    (game / "scripts" / "duel.py").write_text("import random\n")
    (game / "scripts" / "unused.py").write_text("def nothing(:\n")
    outcome = gsrt("check", "duel")
    assert outcome.status == 1
    assert outcome.out.splitlines() == [
        'duel/achievements.toml:5: achievement.currencies.golds: there is no currency "golds" in game.toml; '
        "do you mean gold?",
        "duel/goods.toml:3: good.price: is no key here; do you mean prices?",
        "duel/scripts/duel.py:1: import is not available. Write `session.random`.",
        "duel/scripts/unused.py:1: this is not Python: invalid syntax. See the line, and the one above it.",
    ]


def test_mistakes_for_programs(gsrt: Run, game: Path) -> None:
    assert json.loads(gsrt("check", "duel", "--json").out) == {"ok": True, "mistakes": []}
    (game / "game.toml").write_text("name = 5\n")
    outcome = gsrt("check", "duel", "--json")
    told = json.loads(outcome.out)
    assert (outcome.status, told["ok"]) == (1, False)
    assert told["mistakes"][1] == {
        "path": "duel/game.toml",
        "line": 1,
        "key": "name",
        "text": "expected text of 1 to 64 characters, not 5",
    }


def test_what_is_no_game(gsrt: Run, tmp_path: Path) -> None:
    outcome = gsrt("check", str(tmp_path / "none"))
    assert outcome.status == 1
    assert outcome.out == f"{tmp_path}/none: this is no game: there is no such folder; `gsrt new NAME` makes one\n"


def test_what_a_terminal_would_obey_is_not_passed_on(gsrt: Run, game: Path) -> None:
    (game / "goods.toml").write_text("'\\u001b[2J' = 1\n\"\\u001b[2J\" = 1\n")
    assert "\x1b" not in gsrt("check", "duel").out


def test_the_profile_has_a_say(gsrt: Run, game: Path) -> None:
    outcome = gsrt("check", "duel", "--profile", "nowhere.toml")
    assert outcome.status == 1
    assert "nowhere.toml" in outcome.err


def test_a_file_of_a_game_is_no_game(gsrt: Run, tmp_path: Path) -> None:
    file = tmp_path / "game.toml"
    file.write_text("")
    outcome = gsrt("check", str(file))
    assert outcome.status == 1
    assert outcome.out == f"{file}: this is no game: it is a file; name the folder that game.toml is in\n"

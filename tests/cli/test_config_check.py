"""`gsrt config check`: by what a configuration would keep a server from starting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gsrt.toml"


def test_a_file_in_order(gsrt: Run, file: Path, certificate: tuple[str, str]) -> None:
    assert gsrt("new", str(file.parent / "duel")).status == 0
    file.write_text(f'game = "duel"\nprofile = "auto"\ncert = "{certificate[0]}"\nkey = "{certificate[1]}"\n')
    outcome = gsrt("config", "check", str(file))
    assert (outcome.status, outcome.out, outcome.err) == (0, f"{file}: ok\n", "")


def test_it_says_what_the_start_would_say(gsrt: Run, file: Path) -> None:
    file.write_text('prot = 8784\nname = ""\n')
    outcome, started = gsrt("config", "check", str(file)), gsrt("serve", "--config", str(file))
    assert outcome.status == started.status == 2
    assert outcome.out == started.err
    assert len(outcome.out.splitlines()) == 2


def test_what_the_file_names_is_looked_at(gsrt: Run, file: Path) -> None:
    (file.parent / "key.pem").write_text("")
    file.write_text('game = "duel"\ncert = "key.pem"\nkey = "key.pem"\n')
    outcome = gsrt("config", "check", str(file))
    assert outcome.status == 2
    game, certificate = outcome.out.splitlines()
    assert game.startswith(f"{file.parent}/duel: this is no game")
    assert certificate.startswith(f"{file.parent}/key.pem holds no PEM certificate")
    file.write_text('profile = "pi-6"\n')
    assert "pi-6" in gsrt("config", "check", str(file)).out


def test_mistakes_for_programs(gsrt: Run, file: Path) -> None:
    outcome = gsrt("config", "check", str(file), "--json")
    told = {"ok": False, "mistakes": [f"{file}: cannot be read: No such file or directory"]}
    assert (outcome.status, json.loads(outcome.out)) == (2, told)
    file.write_text("")
    assert json.loads(gsrt("config", "check", str(file), "--json").out) == {"ok": True, "mistakes": []}

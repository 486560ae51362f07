"""The server is killed under load; what was acknowledged is there. The long form: `make kill-test`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.platform.killing import Acknowledged, run_once, write_game

RUNS = 5
RUNS_MAX = 50  # on a slow machine a server may not come to much before it is killed


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    folder = write_game(tmp_path / "game")
    players: dict[str, Acknowledged] = {}
    total: Counter[str] = Counter()
    for seed in range(RUNS_MAX):
        total += run_once(folder, seed, players)
        if seed + 1 >= RUNS and total["points"]:
            break
    assert total["registrations"] > 0
    assert total["points"] > 0

"""The profiles for boards at work: the same games run with each, and a server starts with each."""

from __future__ import annotations

import pytest

from gsrt.cli.script_run import Replay
from gsrt.profile import Profile, available
from gsrt.scripts.compiler import compile_script
from gsrt.scripts.recording import parse_recording
from tests.cli.conftest import Run, gsrt  # noqa: F401 - a fixture
from tests.support.server import PROJECT, ControlRefused, ServerProcess

EXAMPLES = PROJECT / "examples" / "scripts"
RECORDINGS = {path.stem: path for path in sorted(EXAMPLES.glob("*.jsonl"))}


def played(script: str, recording: str, profile: str) -> list[tuple[int, str]]:
    """What an example does with a recording under the budgets of a profile."""
    compiled = compile_script((EXAMPLES / f"{script}.py").read_bytes(), f"{script}.py")
    replay = Replay(compiled, parse_recording(RECORDINGS[recording].read_bytes()), Profile.load(profile))
    steps = [(step.at, f"{step.what} {step.text}") for step in replay.run()]
    assert replay.ok
    return steps


@pytest.mark.parametrize("script", [path.stem for path in sorted(EXAMPLES.glob("*.py"))])
def test_the_example_scripts_do_the_same_with_the_budgets_of_every_board(script: str) -> None:
    recordings = [name for name in RECORDINGS if name.startswith(script)]
    assert recordings
    for recording in recordings:
        usual = played(script, recording, "generic")
        for name in available():
            assert played(script, recording, name) == usual, name


def test_a_new_game_is_taken_with_the_limits_of_every_board(
    gsrt: Run,  # noqa: F811 - the fixture
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    game = tmp_path_factory.mktemp("games") / "duel"
    assert gsrt("new", str(game)).status == 0
    for name in available():
        outcome = gsrt("check", str(game), "--profile", name)
        assert outcome.status == 0, f"{name}: {outcome.out}{outcome.err}"


@pytest.mark.parametrize("name", ["pi-zero-w", "pi-zero-2-w"])
def test_a_server_for_512_mb_takes_16_sessions_of_8_and_no_more(name: str, certificate: tuple[str, str]) -> None:
    with ServerProcess(certificate=certificate, arguments=("--profile", name)) as server:
        assert server.control({"do": "status"})["profile"] == name
        tables = [server.create(8) for _ in range(16)]
        assert sum(len(table.seats) for table in tables) == 128
        with pytest.raises(ControlRefused, match=r"the profile"):
            server.create(8)


def test_a_server_with_the_profile_that_suits_the_box_says_which_and_why(certificate: tuple[str, str]) -> None:
    chosen = Profile.load("auto")
    with ServerProcess(certificate=certificate, arguments=("--profile", "auto")) as server:
        assert server.control({"do": "status"})["profile"] == chosen.name
        assert f'info profile chosen profile={chosen.name} why="' in server.log()
        assert f" profile={chosen.name} " in server.log().partition("listening")[2]


def test_the_servers_log_has_the_bounds_of_the_profile(certificate: tuple[str, str]) -> None:
    limits = {"log_lines_per_second": 0.1, "log_lines_burst": 12}
    with ServerProcess(certificate=certificate, overrides=limits) as server:
        for _ in range(12):
            server.end(server.create(1))
        said = server.log().splitlines()
        assert len([line for line in said if line.startswith(("info", "warn"))]) <= 12
        assert any("session created" in line for line in said)

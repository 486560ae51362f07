"""docs/NETSIM.md: its commands do what it says, and its tables are the code's."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.netsim.conditions import CONDITIONS, PRESETS, QUEUE_BYTES, REORDER_SECONDS, Conditions, read_condition
from gsrt.netsim.model import COUNTERS, IN_FLIGHT_MAX
from gsrt.netsim.proxy import CLIENTS_MAX, CONNECTIONS_MAX, IDLE_SECONDS
from tests.docs.markdown import PROJECT, plain, read_blocks, read_tables
from tests.docs.workshop import Workshop
from tests.support.program import Program
from tests.support.server import free_port

PAGE = (PROJECT / "docs" / "NETSIM.md").read_text()
BLOCKS = {each.name: each.text for each in read_blocks(PAGE)}
TABLES = read_tables(PAGE)


class Trial:
    """A server of the document, and commands of it, which find it and each other at free ports."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.port = 0  # that stands for 9784
        serve, self.netsim_command, self.join_command = BLOCKS["three commands"].splitlines()
        server = workshop.start(serve.split())
        server.until(lambda line: line.endswith("# blue"))
        self.tokens = [line.split()[-3] for line in server.said if " join " in line]
        port = re.findall(r"info listening .*port=(\d+)", "\n".join(server.said))[0]
        workshop.port = int(port)

    def netsim(self, command: str) -> Program:
        self.port = free_port()
        words = self.workshop.here(command.partition("  #")[0]).replace('"', "").split()
        return self.workshop.start([*words, "--listen", f"127.0.0.1:{self.port}"])

    def here(self, text: str) -> str:
        return self.workshop.here(text).replace("9784", str(self.port))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[Trial]:
    workshop = Workshop(tmp_path_factory.mktemp("workshop"), certificate)
    try:
        yield Trial(workshop)
    finally:
        workshop.dispose()


def test_every_example_is_looked_at() -> None:
    assert len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) == len(BLOCKS)
    assert set(BLOCKS) == {"three commands", "what it prints", "what to try", "in a test"}
    assert set(TABLES) == {"presets", "conditions", "counters"}


def test_the_three_commands_bring_a_player_in(trial: Trial) -> None:
    netsim = trial.netsim(trial.netsim_command)
    for line in BLOCKS["what it prints"].splitlines():
        assert netsim.next_line() == trial.here(line)
    red, blue = (
        trial.workshop.start([*trial.here(command).split()[:-1], token])
        for command, token in zip((trial.join_command, trial.join_command), trial.tokens, strict=True)
    )
    for player in (red, blue):
        player.until(lambda line: line.endswith(("here: 1, 2", "here: 2, 1")))
    red.type("hello")
    blue.until(lambda line: line == '< opCode 1 from peer 1, data {"1": "hello"}')
    blue.type("/quit")
    red.type("/quit")
    assert (red.status(), blue.status()) == (0, 0)
    netsim.interrupt()
    assert netsim.status() == 0
    last = netsim.until(lambda line: line.startswith("up: "))
    assert re.match(r"up: sent [1-9]\d*, delivered [1-9].*; down: sent [1-9]\d*, delivered [1-9]", last), last


@pytest.mark.parametrize("command", BLOCKS["what to try"].splitlines())
def test_what_to_try_can_be_typed(trial: Trial, command: str) -> None:
    program = trial.netsim(command)
    program.expect("forwarding from ")
    assert program.terminate() == 0


def test_the_presets_are_those_of_the_code() -> None:
    assert {plain(row["name"]): plain(row["conditions"]) for row in TABLES["presets"]} == {
        name: each.text for name, each in PRESETS.items()
    }


def test_the_conditions_are_those_of_the_code() -> None:
    assert {plain(row["condition"]): plain(row["such as"]) for row in TABLES["conditions"]} == {
        key: condition.example for key, condition in CONDITIONS.items()
    }
    for row in TABLES["conditions"]:
        read_condition(plain(row["condition"]), plain(row["such as"]))


def test_numbers_in_the_text_are_those_of_the_code() -> None:
    assert QUEUE_BYTES == 64 * 1024
    assert REORDER_SECONDS == 0.02
    assert Conditions(rate=125_000).queue_bytes / 125_000 == pytest.approx(0.5, abs=0.03)
    assert f"{IN_FLIGHT_MAX:,} were under way" in PAGE
    assert f"{CLIENTS_MAX} UDP players and {CONNECTIONS_MAX} TCP connections" in PAGE
    assert IDLE_SECONDS == 60


def test_the_counters_are_those_of_the_code() -> None:
    assert tuple(plain(row["counter"]) for row in TABLES["counters"]) == COUNTERS


def test_the_example_for_tests_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS["in a test"]],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "'sent': 36000," in done.stdout

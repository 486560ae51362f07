"""docs/GAMES.md: what it shows is what comes, its tables are the code's, and what it lets one type leads to a match."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.client import Intent
from gsrt.game import model, reading
from gsrt.game.attributes import declared_attributes
from gsrt.game.skeleton import FILES as SKELETON
from gsrt.scripts.compiler import compile_script
from gsrt.store.database import path_in
from tests.docs.game_reference import DOCUMENT, SUBJECTS, with_tables
from tests.docs.markdown import plain, read_blocks, read_tables
from tests.docs.workshop import Workshop
from tests.support.program import Program

GUIDE = DOCUMENT.read_text()
BLOCKS = read_blocks(GUIDE)
TABLES = read_tables(GUIDE)


def test_every_example_is_looked_at() -> None:
    assert len(re.findall(r"^```\w+$", GUIDE, re.MULTILINE)) == len(BLOCKS)
    assert {each.kind for each in BLOCKS} == {"shown", "server", "file", "run", "event"}


def test_every_table_is_checked() -> None:
    keys = {f"keys of {name}" for name in SUBJECTS}
    assert set(TABLES) == keys | {"files", "kinds of attributes", "ways"}


def test_the_tables_of_keys_are_those_of_the_code() -> None:
    assert with_tables(GUIDE) == GUIDE, "write them anew: python -m tests.docs.game_reference"


def test_every_file_of_a_game_is_told() -> None:
    told = [plain(row["file"]) for row in TABLES["files"]]
    read = [f"{reading.MATCHES_FOLDER}/*.toml", f"{reading.SCRIPTS_FOLDER}/*.py", f"{reading.EVENTS_FOLDER}/*.py"]
    data = f"{Path(path_in('')).parent}/"
    assert sorted(told) == sorted([*reading.FILES, *read, f"{reading.WWW_FOLDER}/", data])
    for name in told:
        assert name == data or any(Path(made).match(name) or made.startswith(name) for made in SKELETON), name


def test_the_kinds_of_attributes_are_all() -> None:
    assert [plain(row["kind"]) for row in TABLES["kinds of attributes"]] == list(model.ATTRIBUTE_KINDS)


def test_the_ways_of_packets_are_all() -> None:
    told = {name for row in TABLES["ways"] for name in re.findall(r"`Intent\.(\w+)`", row["as"])}
    assert told == {intent.name for intent in Intent}


def test_the_script_of_an_event_is_one() -> None:
    (block,) = [each for each in BLOCKS if each.kind == "event"]
    assert set(declared_attributes(block.text).values()) == set(model.ATTRIBUTE_KINDS)
    assert compile_script(block.text, block.name).warnings == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[Workshop]:
    """A folder with the guide's game in it, and the `gsrt` command."""
    workshop = Workshop(tmp_path_factory.mktemp("games"), certificate)
    yield workshop
    workshop.dispose()


def shown(name: str) -> list[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that it prints."""
    (block,) = [each for each in BLOCKS if each.kind == "shown" and each.name == name]
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def printed(folder: Workshop, command: str) -> list[str]:
    return folder.run(command).replace(f"{folder.directory}/.venv/bin/", "").replace(".venv/bin/", "").splitlines()


def serve(folder: Workshop) -> Program:
    (block,) = [each for each in BLOCKS if each.kind == "server"]
    server = folder.start(block.text.splitlines()[0].removeprefix("$ ").split())
    (port,) = re.findall(r"port=(\d+)", server.until(lambda line: line.startswith("info listening")))
    folder.port = int(port)
    return server


def assert_listed(lines: list[str]) -> None:
    for name in ("anna", "ben"):
        assert any(name in line for line in lines), name


def test_the_whole_guide_as_it_stands(folder: Workshop) -> None:
    for command, output in shown("new"):
        assert printed(folder, command) == output
    server = serve(folder)
    for block in BLOCKS:
        if block.kind == "file":
            (folder.directory / block.name).write_text(folder.here(block.text))
    commands = {each.name: each.text for each in BLOCKS if each.kind == "run"}
    # Two programs print to one pipe here: each all at once.
    told = printed(folder, "unset PYTHONUNBUFFERED\n" + commands["play"])
    assert {"anna plays with ben", "ben plays with anna"} <= set(told)
    (winner,) = {line.split()[3] for line in told if line.endswith(" has won")}
    assert winner in ("anna", "ben")
    assert {f"{name} sees that {winner} has won" for name in ("anna", "ben")} <= set(told)
    assert printed(folder, commands["ways"]) == ["ben has heard all that is reliable"]
    assert_listed(printed(folder, commands["keep"]))
    for command, output in shown("check, status 1"):
        assert printed(folder, f"{command} || test $? = 1") == output
    server.until(lambda line: line.startswith("error game not taken up"))
    server.until(lambda line: "max_player: is no key here; do you mean max_players?" in line)
    assert server.terminate() == 0
    assert_listed(printed(folder, commands["restore"]))
    assert commands.keys() == {"play", "ways", "keep", "restore"}

"""docs/SCRIPTS.md: its scripts are taken, what it shows is what comes, its tables and its reference are the code's."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.profile import LIMITS
from gsrt.scripts.compiler import Compiled, Refused, compile_script
from gsrt.scripts.names import BUILTINS, EXCEPTIONS
from gsrt.scripts.recording import parse_recording
from tests.docs import script_reference
from tests.docs.markdown import PROJECT, Row, plain, read_blocks, read_tables
from tests.docs.workshop import Workshop

GUIDE = script_reference.DOCUMENT.read_text()
BLOCKS = read_blocks(GUIDE)
TABLES = read_tables(GUIDE)
FILES = {each.name: each.text for each in BLOCKS if each.kind == "file"}
GENERIC = tomllib.loads((PROJECT / "firmware_profiles" / "generic.toml").read_text())
NOT_RUN = {"js"}
QUOTA_ERROR = {"QuotaError"}  # comes with the sandbox


def cells(name: str) -> list[Row]:
    return TABLES[name]


def compiled(source: str, name: str = "script.py") -> Compiled:
    return compile_script(source, name)


# Nothing stands there unlooked at


def test_every_example_has_a_mark_or_cannot_be_run() -> None:
    fences = re.findall(r"^```(\w+)$", GUIDE, re.MULTILINE)
    marked = [each.language for each in BLOCKS]
    assert sorted(marked) == sorted(language for language in fences if language not in NOT_RUN)
    assert {each.kind for each in BLOCKS} == {"file", "script", "shown", "run"}


def test_every_table_is_checked() -> None:
    checked = re.findall(r"cells\(\"([\w ]+)\"\)", Path(__file__).read_text())
    assert set(TABLES) == set(checked)


# Scripts and recordings


@pytest.mark.parametrize(
    "name", [each.name for each in BLOCKS if each.language == "python" and each.name != "refused.py"]
)
def test_scripts_are_taken_without_a_warning(name: str) -> None:
    (block,) = [each for each in BLOCKS if each.name == name and each.language == "python"]
    assert compiled(block.text).warnings == []


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".jsonl")])
def test_recordings_are_some(name: str) -> None:
    assert parse_recording(FILES[name].encode()).events


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[Workshop]:
    """A folder with the guide's files in it, and the `gsrt` command."""
    workshop = Workshop(tmp_path_factory.mktemp("scripts"), certificate)
    (workshop.directory / "examples").symlink_to(PROJECT / "examples")
    for name, text in FILES.items():
        (workshop.directory / name).write_text(text)
    yield workshop
    workshop.dispose()


@pytest.mark.parametrize("name", [each.name for each in BLOCKS if each.kind == "shown"])
def test_commands_print_what_is_shown(name: str, folder: Workshop) -> None:
    (block,) = [each for each in BLOCKS if each.name == name and each.kind == "shown"]
    command, *output = block.text.splitlines()
    end = " || test $? = 1" if name.endswith(", status 1") else ""
    assert folder.run(command.removeprefix("$ ") + end).splitlines() == output


def test_commands_for_a_server_run_as_they_stand(folder: Workshop) -> None:
    server = folder.start([".venv/bin/gsrt", "serve"])
    line = server.until(lambda line: line.startswith("info listening"))
    (port,) = re.findall(r"port=(\d+)", line)
    folder.port = int(port)
    for block in BLOCKS:
        if block.kind == "run":
            folder.run(block.text)
    assert server.terminate() == 0


# Names


@pytest.mark.parametrize("row", cells("names"), ids=lambda row: plain(row["original"]))
def test_every_name_of_the_original_is_there(row: Row) -> None:
    """By its line in the reference, or, where any name will do, by the object that makes them."""
    there = {entry.name for _, entries in script_reference.subjects().values() for entry in entries}
    here = plain(row["here"]).partition("(")[0]
    if here in ("request.set_event_key",):
        assert "Every field has its setter" in script_reference.subjects()["request"][0]
    else:
        assert here in there
    subject, _, original = plain(row["original"]).partition("(")[0].rpartition(".")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", original).lower()
    assert words == here.rpartition(".")[2], "the same word in Python's spelling"
    assert subject


def test_no_name_of_ours_is_missing_from_the_guide() -> None:
    """What is in neither the table nor the sentence about what is ours besides is not told at all."""
    told = {plain(row["here"]).partition("(")[0] for row in cells("names")}
    _, _, besides = GUIDE.partition("Ours are, besides:")
    told |= {name.partition("(")[0] for name in re.findall(r"`([\w.]+)`", besides.partition("\n\n")[0])}
    told |= {"packet.op_code", "packet.data", "player.peer_id", "player.player_id"}
    for subject, (_, entries) in script_reference.subjects().items():
        if subject in ("quality", "session.random", "requests", "request", "response", "event"):
            continue
        assert {entry.name for entry in entries} <= told, subject


def test_what_is_known_of_the_way_to_a_player() -> None:
    quality = [entry.name for entry in script_reference.subjects()["quality"][1]]
    assert [plain(row[""]) for row in cells("quality")] == quality


def test_kinds_of_data_are_all_and_have_their_calls() -> None:
    there = {entry.name.rpartition(".")[2] for entry in script_reference.subjects()["data"][1]}
    getters = {name for name in there if name.startswith("get_")}
    assert {plain(row["read"]) for row in cells("kinds")} == getters
    for row in cells("kinds"):
        assert plain(row["write"]) == plain(row["read"]).replace("get_", "set_")


# Limits


@pytest.mark.parametrize("row", cells("budgets") + cells("quotas"), ids=lambda row: row["key of the profile"])
def test_limits_are_those_of_the_generic_profile(row: Row) -> None:
    assert float(row["generic"]) == GENERIC[row["key of the profile"]]


def test_every_limit_of_scripts_is_told() -> None:
    told = [row["key of the profile"] for row in cells("budgets") + cells("quotas")]
    for row in cells("operator"):
        assert float(row["generic"]) == GENERIC[row["key"]], row["key"]
        told.append(row["key"])
    assert sorted(told) == sorted(key for key in LIMITS if key.startswith("script_"))


# Python


def test_built_in_names_are_these() -> None:
    told = {kind["names"]: set(re.findall(r"`(\w+)`", kind["names"])) for kind in cells("built in")}
    functions, exceptions, rest = told.values()
    assert exceptions == EXCEPTIONS | QUOTA_ERROR
    assert functions | exceptions | rest == BUILTINS | QUOTA_ERROR


def source(cell: str) -> str:
    """A cell's code; `<br>` is a new line, `...` after a colon stands for something to do."""
    return cell.replace("`", "").replace("<br>", "\n").replace("match x: ...", "match x:\n case 1: pass")


@pytest.mark.parametrize("row", cells("refused"), ids=lambda row: plain(row["instead of"]))
def test_what_is_refused_is_refused_and_what_is_to_be_written_is_taken(row: Row) -> None:
    with pytest.raises(Refused):
        compiled(source(row["instead of"]))
    compiled(source(row["write"]))


@pytest.mark.parametrize("row", cells("values"), ids=lambda row: plain(row["JSON"]))
def test_values_of_recordings_are_as_told(row: Row) -> None:
    kinds = {
        "a whole number": {"long"},
        "a 64-bit float": {"double"},
        "a 32-bit float": {"float"},
        "a text": {"string"},
        "a vector": {"vector"},
        "data": {"data"},
        "floats that are no numbers": {"double", "float", "vector"},
    }
    found = set()
    for value in re.findall(r"`([^`]+)`", row["JSON"]):
        line = {"packet": {"opCode": 1, "sender": 1, "data": {"1": json.loads(value)}}}
        packet = parse_recording(json.dumps(line).encode()).events[-1].packet
        assert packet is not None and packet.data is not None
        found.add(packet.data.kind(1))
    assert found == kinds[row["is"]]


# Reference


def test_the_reference_is_that_of_the_code() -> None:
    assert script_reference.with_reference(GUIDE) == GUIDE, "run: python -m tests.docs.script_reference"

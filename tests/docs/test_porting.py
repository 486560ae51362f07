"""docs/PORTING.md: what it says is there is there, what it says is missing is missing, and its event works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import gsrt
from gsrt.backend.registry import Registry
from gsrt.game.attributes import declared_attributes
from gsrt.scripts.compiler import compile_script
from gsrt.scripts.event_api import Event
from gsrt.scripts.log_api import Logger
from gsrt.scripts.random_api import Random
from gsrt.scripts.request_api import Requests
from tests.docs.game_reference import SUBJECTS
from tests.docs.markdown import PROJECT, Row, plain, read_blocks, read_tables
from tests.docs.request_reference import modules
from tests.docs.workshop import Workshop
from tests.platform.client import PlatformClient

GUIDE = (PROJECT / "docs" / "PORTING.md").read_text()
BLOCKS = read_blocks(GUIDE)
TABLES = read_tables(GUIDE)
NOT_RUN = {"js"}
REQUEST = re.compile(r"`([A-Z]\w+Request)`")


def cells(name: str) -> list[Row]:
    return TABLES[name]


def request_of(create: str) -> str:
    """create_log_event_request(): LogEventRequest."""
    return "".join(word.capitalize() for word in create.removeprefix("create_").removesuffix("()").split("_"))


def setter_of(field: str) -> str:
    """displayName: set_display_name."""
    return "set_" + re.sub(r"([A-Z])", lambda capital: "_" + capital[1].lower(), field)


def test_every_example_and_table_is_looked_at() -> None:
    fences = re.findall(r"^```(\w+)$", GUIDE, re.MULTILINE)
    assert sorted(each.language for each in BLOCKS) == sorted(each for each in fences if each not in NOT_RUN)
    assert {(each.kind, each.name) for each in BLOCKS} == {("event", "open_chest.py")}
    assert set(TABLES) == set(re.findall(r"cells\(\"([\w ]+)\"\)", Path(__file__).read_text()))


def test_keys_of_the_configuration_exist() -> None:
    for row in cells("configuration"):
        for name in re.findall(r"`(.+?)`", row["key"]):
            table, _, key = name.rpartition(".")
            assert key in {each.name for each in SUBJECTS[table or "game.toml"]}, name


def test_the_requests_of_clients_are_all() -> None:
    told = [name for row in cells("requests") for name in REQUEST.findall(row["requests"])]
    assert sorted(told) == [each.NAME for each in modules() if not getattr(each, "SCRIPTS_ONLY", False)]


def test_requests_are_named_nowhere_but_where_they_exist_or_are_said_to_be_missing() -> None:
    missing = {name for row in cells("missing") for name in REQUEST.findall(row["requests, for example"])}
    known = set(Registry().names())
    assert missing and not missing & known
    assert set(REQUEST.findall(GUIDE)) <= missing | known


def test_the_messages_are_all() -> None:
    """Names of messages stand in the code as texts."""
    sources = "".join(path.read_text() for path in Path(gsrt.__file__).parent.rglob("*.py"))
    assert {plain(row["message"]) for row in cells("messages")} == set(re.findall(r'"([A-Z]\w+Message)"', sources))


def test_what_an_event_may_call_exists() -> None:
    for row in cells("spark"):
        for call in re.findall(r"`(.+?)`", row["here"]):
            owner: type = Event
            for name in re.findall(r"\.(\w+)", call):
                if owner is Requests and name.startswith("set_"):
                    assert setter_of("playerId") == name
                    break
                assert hasattr(owner, name), call
                owner = {"get_logger": Logger, "random": Random, "new_request": Requests}.get(name, owner)


def test_requests_of_scripts_and_their_setters_exist() -> None:
    fields = {each.NAME: {setter_of(field.name) for field in each.FIELDS} for each in modules()}
    told = set()
    for row in cells("calls"):
        create = plain(row["request"])
        told.add(request_of(create))
        assert hasattr(Requests, create.removesuffix("()")), create
        assert set(re.findall(r"`(set_\w+)\(", row["fields"])) <= fields[request_of(create)], create
    assert told >= {each.NAME for each in modules() if getattr(each, "SCRIPTS_ONLY", False)}


def test_what_anybody_may_ask_is_said_of_the_right_calls() -> None:
    """ "all but the first, the third and the last two" """
    asked = {each.NAME for each in modules() if not getattr(each, "SCRIPTS_ONLY", False)}
    rows = cells("calls")
    for_all = [number for number, row in enumerate(rows) if request_of(plain(row["request"])) in asked]
    assert for_all == [0, 2, len(rows) - 2, len(rows) - 1]


@pytest.fixture
def workshop(tmp_path: Path, certificate: tuple[str, str]) -> Workshop:
    return Workshop(tmp_path, certificate)


def test_the_event_does_what_it_says(workshop: Workshop) -> None:
    (event,) = BLOCKS
    assert compile_script(event.text, event.name).warnings == []
    assert declared_attributes(event.text) == {"CHEST": "text"}
    workshop.run(".venv/bin/gsrt new game")
    folder = workshop.directory / "game"
    (folder / "events" / event.name).write_text(event.text)
    assert "game: ok" in workshop.run(".venv/bin/gsrt check game")
    game = tomllib.loads((folder / "game.toml").read_text())
    try:
        server = workshop.start([".venv/bin/gsrt", "serve", "game"])
        (port,) = re.findall(r"port=(\d+)", server.until(lambda line: line.startswith("info listening")))
        with PlatformClient("127.0.0.1", int(port), game["api_key"], game["secret"]) as client:
            client.sign_in_device()
            signup = game["currency"][0]["signup"]
            for chest, gold in (("oak", signup + 5), ("iron", signup + 10)):
                answer = client.ask("LogEventRequest", eventKey="open_chest", CHEST=chest)
                assert answer["scriptData"] == {"gold": gold}
            answer = client.request("LogEventRequest", eventKey="open_chest", CHEST="oak")
            assert answer["error"] == {"CHEST": "OPENED"}
            for name in REQUEST.findall(" ".join(row["requests, for example"] for row in cells("missing"))):
                assert client.request(name)["error"]["request"].startswith("UNKNOWN: "), name
        assert server.terminate() == 0
    finally:
        workshop.dispose()

"""README.md and docs/SDKS.md: every example that can be run is run, against a real server, and does what is shown."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.cli import COMMANDS
from gsrt.profile import LIMITS, available
from tests.docs.markdown import PROJECT, Block, octets, plain, read_blocks, read_tables
from tests.docs.workshop import Workshop
from tests.support.program import Program

README = (PROJECT / "README.md").read_text()
SDKS = (PROJECT / "docs" / "SDKS.md").read_text()
BLOCKS = read_blocks(README)
TABLES = read_tables(README)
DOCUMENTS = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]
NOT_RUN = {"csharp", "cpp", "js", "lua"}  # languages of SDKs that are not here


def block(kind: str, name: str) -> Block:
    (found,) = [each for each in BLOCKS if (each.kind, each.name) == (kind, name)]
    return found


@pytest.fixture(scope="module")
def bare_workshop(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path_factory.mktemp("workshop"), certificate)
    yield workshop
    workshop.dispose()


@pytest.fixture(scope="module")
def demo(bare_workshop: Workshop) -> Iterator[tuple[Program, list[str]]]:
    """The server of `make run`, and what it printed at its start."""
    server = bare_workshop.start([".venv/bin/gsrt", "serve", "--demo", "red,blue"])
    server.until(lambda line: line.endswith("# blue"))
    printed = list(server.said)
    (port,) = re.findall(r"port=(\d+)", printed[0])
    bare_workshop.port = int(port)
    yield server, printed
    assert server.terminate() == 0


@pytest.fixture
def workshop(bare_workshop: Workshop, demo: tuple[Program, list[str]]) -> Workshop:
    """The folder with that server running."""
    return bare_workshop


# Nothing stands there unlooked at


@pytest.mark.parametrize("text", [README, SDKS], ids=["README", "SDKS"])
def test_every_example_has_a_mark_or_cannot_be_run(text: str) -> None:
    fences = re.findall(r"^```(\w+)$", text, re.MULTILINE)
    marked = [each.language for each in read_blocks(text)]
    assert sorted(marked) == sorted(language for language in fences if language not in NOT_RUN)


def test_every_kind_of_mark_is_dealt_with() -> None:
    assert {each.kind for each in BLOCKS} == {"show", "server", "terminal", "python", "run", "serve"}
    assert {each.kind for each in read_blocks(SDKS)} == {"show", "run"}
    assert set(TABLES) == {"limits", "layout", "commands"}


# The two commands


def recipe(target: str) -> list[str]:
    """The commands of a target in the Makefile."""
    makefile = (PROJECT / "Makefile").read_text().replace("$(VENV)", ".venv")
    (body,) = re.findall(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", makefile, re.MULTILINE)
    return [line.strip().lstrip("@") for line in body.splitlines()]


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^\t@echo 'make (\w+)", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    shown = block("show", "the two commands").text + block("show", "make targets").text
    named = set(re.findall(r"^make (\w+)", shown, re.MULTILINE)) | set(re.findall(r"`make (\w+)", README)) - {"help"}
    assert named == targets


def test_system_packages_are_those_that_make_looks_for() -> None:
    packages = set(block("show", "system packages").text.split()) - {"sudo", "apt-get", "install"}
    assert packages == set(re.findall(r"echo ([a-z0-9-]+)$", (PROJECT / ".ci" / "system-packages").read_text(), re.M))


def same_everywhere(line: str) -> str:
    """A line without what differs from start to start: addresses, ports, ids, tokens, paths."""
    for pattern, name in (
        (r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS"),
        (r"(port=| )\d{4,5}\b", r"\1PORT"),
        (r"session=[0-9a-f]{16}\b", "session=ID"),
        (r"[\w-]{40}(?= )", "TOKEN"),
        (r"control=\S+", "control=PATH"),
    ):
        line = re.sub(pattern, name, line)
    return line


def test_make_run_prints_what_is_shown(demo: tuple[Program, list[str]]) -> None:
    command, start, *output = block("server", "make run").text.splitlines()
    assert command == "$ make run"
    assert [start] == recipe("run")
    assert list(map(same_everywhere, demo[1])) == list(map(same_everywhere, output))


# The first session


class Terminal:
    """A terminal of the README: what is shown there is typed, or must appear, line by line."""

    def __init__(self, workshop: Workshop, shown: str, token: str) -> None:
        command, *self.lines = shown.splitlines()
        words = workshop.here(command.removeprefix("$ ")).split()
        assert words[:2] == [".venv/bin/gsrt", "join"]
        self.workshop = workshop
        self.program = workshop.start([*words[:-1], token])
        self.at = 0

    @property
    def done(self) -> bool:
        return self.at == len(self.lines)

    def go_on(self, stop: str = "") -> None:
        """Types and reads, as far as a line that holds `stop`, or to the end."""
        while not self.done:
            line = self.lines[self.at]
            self.at += 1
            if line.startswith(("*", "<")):
                assert self.program.next_line() == self.workshop.here(line)
            else:
                self.program.type(line)
            if stop and stop in line:
                return


def test_the_first_session_goes_as_shown(workshop: Workshop, demo: tuple[Program, list[str]]) -> None:
    tokens = dict(re.findall(r"([\w-]{40}) +# (\w+)", "\n".join(demo[1])))
    tokens = {name: token for token, name in tokens.items()}
    red = Terminal(workshop, block("terminal", "red").text, tokens["red"])
    red.go_on("ready over")
    blue = Terminal(workshop, block("terminal", "blue").text, tokens["blue"])
    blue.go_on("ready over")
    red.go_on("hello")
    blue.go_on("/unreliable")
    red.go_on("< opCode")
    blue.go_on()
    red.go_on()
    assert blue.program.status() == 0
    assert red.done and blue.done


def test_tokens_shown_are_those_of_the_start() -> None:
    start = block("server", "make run").text
    for name in ("red", "blue"):
        command = block("terminal", name).text.splitlines()[0].removeprefix("$ ")
        assert f"  {command}    # {name}\n" in start


# The Python client, operating, limits


def test_the_python_client_does_what_it_says(workshop: Workshop) -> None:
    shown = block("python", "client").text
    assert len(shown.splitlines()) <= 20
    script = workshop.directory / "client.py"
    script.write_text(shown.replace("seconds=60", "seconds=3"))
    assert script.read_text() != shown
    made = json.loads(workshop.run(".venv/bin/gsrt session create --players one,two --json"))
    words = [".venv/bin/python", "client.py", made["host"], str(made["port"])]
    first = workshop.start([*words, made["players"][0]["accessToken"]])
    assert first.next_line() == "ready"
    second = workshop.start([*words, made["players"][1]["accessToken"]])
    assert second.next_line() == "ready"
    assert second.next_line() == "1 7 {1: 'hello', 2: (1.0, 2.0)}"
    assert (first.status(), second.status()) == (0, 0)
    assert f"`.venv/bin/python {script.name} HOST PORT TOKEN`" in README


@pytest.mark.parametrize(
    "example",
    [each for each in BLOCKS + read_blocks(SDKS) if each.kind == "run"],
    ids=lambda example: example.name,
)
def test_commands_run_as_they_stand(example: Block, workshop: Workshop) -> None:
    assert workshop.run(example.text)


def test_the_servers_pages_are_there(workshop: Workshop) -> None:
    from urllib.request import urlopen

    with urlopen(workshop.here("http://127.0.0.1:8784/healthz"), timeout=10) as answer:
        assert answer.read() == b"ok\n"
    with urlopen(workshop.here("http://127.0.0.1:8784/"), timeout=10) as answer:
        assert len(answer.read().splitlines()) == 1


def test_a_server_starts_with_a_profile_of_ones_own(tmp_path: Path, certificate: tuple[str, str]) -> None:
    workshop = Workshop(tmp_path, certificate)
    try:
        *preparation, serve = block("serve", "own profile").text.splitlines()
        workshop.run("\n".join(preparation))
        server = workshop.start(serve.split())
        assert "profile=mine" in server.until(lambda line: line.startswith("info listening"))
        status = json.loads(workshop.run(".venv/bin/gsrt status --json"))
        assert (status["profile"], status["loop"]["tickMs"]) == ("mine", 5)
        assert server.terminate() == 0
    finally:
        workshop.dispose()
    changed = tomllib.loads((tmp_path / "mine.toml").read_text())
    generic = tomllib.loads((PROJECT / "firmware_profiles" / "generic.toml").read_text())
    assert {key: changed[key] for key in generic if changed[key] != generic[key]} == {"grace_seconds": 10}


def test_a_game_is_made_and_served(tmp_path: Path, certificate: tuple[str, str]) -> None:
    workshop = Workshop(tmp_path, certificate)
    try:
        *preparation, serve = block("serve", "a game").text.splitlines()
        assert "duel: ok" in workshop.run("\n".join(preparation))
        server = workshop.start(serve.partition("#")[0].split())
        server.until(lambda line: line.startswith("info listening"))
        assert json.loads(workshop.run(".venv/bin/gsrt player list --json"))["players"] == []
        assert server.terminate() == 0
    finally:
        workshop.dispose()


def test_every_command_is_in_the_table() -> None:
    named = [plain(cell) for row in TABLES["commands"] for cell in row["command"].split(",")]
    assert sorted(named) == sorted(f"gsrt {name}" for name in COMMANDS)


def test_limits_are_those_of_the_generic_profile() -> None:
    generic = tomllib.loads((PROJECT / "firmware_profiles" / "generic.toml").read_text())
    shown = {row["key"]: float(row["generic"]) for row in TABLES["limits"]}
    assert shown == {key: generic[key] for key in shown}
    assert set(generic) == set(LIMITS)
    assert "generic" in available()


def test_times_in_the_text_are_those_of_the_generic_profile() -> None:
    generic = tomllib.loads((PROJECT / "firmware_profiles" / "generic.toml").read_text())
    assert (generic["session_linger_seconds"], generic["session_unused_seconds"]) == (5 * 60, 60 * 60)
    assert "five minutes after its last player has left, and after an hour if nobody came" in README


# Places


def test_paths_in_the_layout_exist() -> None:
    for row in TABLES["layout"]:
        for path in plain(row["path"]).split(", "):
            assert (PROJECT / path).exists(), path


def anchors(text: str) -> set[str]:
    """The places in a document that a link can name, as GitHub makes them of the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        file, _, anchor = link.partition("#")
        if "://" in file:
            continue
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_the_default_port_is_the_documents() -> None:
    from gsrt import DEFAULT_PORT

    for text in (README, SDKS):
        assert set(re.findall(r"\b8\d{3}\b", text)) == {str(DEFAULT_PORT)}


def test_octets_reads_repetitions() -> None:
    assert octets("`08 00*3 ff`") == bytes.fromhex("08000000ff")

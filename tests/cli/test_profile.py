"""`gsrt profile list|show|diff|check`: what each says, and what mistakes are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gsrt.device import model
from gsrt.profile import LIMITS, Profile, available
from gsrt.profile_schema import GROUPS, KEYS
from tests.cli.conftest import Run

FOLDER = Path(__file__).parents[2] / "firmware_profiles"
GENERIC = FOLDER / "generic.toml"
WHY = "this is a Raspberry Pi 4 Model B Rev 1.4"


@pytest.fixture
def pi_4(monkeypatch: pytest.MonkeyPatch) -> None:
    """The box is one."""
    monkeypatch.setattr(model, "choose_here", lambda: ("pi-4", WHY))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile of one's own in the current directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.toml"
    path.write_text(GENERIC.read_text())
    return path


def set_line(path: Path, key: str, line: str) -> int:
    """Puts LINE in the place of that of KEY: its number."""
    lines = path.read_text().splitlines()
    (at,) = [number for number, each in enumerate(lines) if each.startswith(f"{key} = ")]
    lines[at] = line
    path.write_text("\n".join(lines) + "\n")
    return at + 1


# list


def test_list_shows_every_profile_and_marks_the_one_that_auto_takes(gsrt: Run, pi_4: None) -> None:
    outcome = gsrt("profile", "list")
    assert (outcome.status, outcome.err) == (0, "")
    table, _, below = outcome.out.partition("\n\n")
    rows = [re.split(r"  +", line[3:]) for line in table.splitlines()]
    assert rows[0] == ["name", "MiB", "sessions", "players", "for"]
    assert sorted(row[0] for row in rows[1:]) == available()
    for name, promise, sessions, players, purpose in rows[1:]:
        profile = Profile.load(name)
        assert int(promise) == profile.memory_bytes_max >> 20
        assert (int(sessions), int(players)) == (profile.sessions_max, profile.players_max)
        assert purpose
    (marked,) = [line for line in table.splitlines() if line.startswith("*")]
    assert marked.split()[1] == "pi-4"
    assert f"* auto takes pi-4, for {WHY}." in below
    assert [row[0] for row in rows[1:3]] == ["pi-zero-w", "pi-zero-2-w"]  # the smallest first


def test_list_for_programs(gsrt: Run, pi_4: None) -> None:
    told = json.loads(gsrt("profile", "list", "--json").out)
    assert (told["auto"], told["why"]) == ("pi-4", WHY)
    (small,) = [each for each in told["profiles"] if each["name"] == "pi-zero-w"]
    assert small["for"].startswith("Raspberry Pi Zero W")
    assert (small["memoryBytesMax"], small["sessionsMax"], small["playersMax"]) == (64 << 20, 16, 128)


# show


@pytest.mark.parametrize("name", available())
def test_show_tells_of_every_key(gsrt: Run, name: str) -> None:
    outcome = gsrt("profile", "show", name)
    assert (outcome.status, outcome.err) == (0, "")
    words = " ".join(outcome.out.split())
    profile = Profile.load(name)
    for key, about in KEYS.items():
        value = getattr(profile, key)
        number = int(value) if value == int(value) else value
        assert f"  {key} = {number}{' ' if about.unit else ''}{about.unit}" in outcome.out, key
        assert " ".join(about.text.split()) in words
    for group, text in GROUPS.items():
        assert f"\n{group}\n" in outcome.out
        assert text in words
    assert all(len(line) <= 120 for line in outcome.out.splitlines()[1:])


def test_show_compares_with_generic_and_gives_the_range_and_large_sizes(gsrt: Run) -> None:
    out = gsrt("profile", "show", "pi-zero-w").out
    assert "  sessions_max = 16 sessions   (generic: 256)\n" in out
    assert "  memory_bytes_max = 67108864 bytes (64 MiB)   (generic: 268435456)\n" in out
    assert "  grace_seconds = 3 seconds\n" in out
    assert "  udp_hello_interval_seconds = 0.25 seconds\n" in out
    assert " From 0.01 to 60.\n" in out
    assert "(memory_bytes_max: 64.0 MiB)" in out
    assert re.search(r"\n +6\d\.\d MiB  in all\n$", out)


def test_show_shows_generic_where_nothing_is_said(gsrt: Run) -> None:
    assert gsrt("profile", "show").out == gsrt("profile", "show", "generic").out


def test_show_auto_says_which_and_why(gsrt: Run, pi_4: None) -> None:
    outcome = gsrt("profile", "show", "auto")
    assert outcome.out.splitlines()[:2] == [f"pi-4: {FOLDER}/pi-4.toml", f"auto takes it, for {WHY}."]


def test_show_takes_a_file(gsrt: Run, mine: Path) -> None:
    set_line(mine, "grace_seconds", "grace_seconds = 7.5")
    outcome = gsrt("profile", "show", "mine.toml")
    assert outcome.out.startswith("mine: mine.toml\n")
    assert "  grace_seconds = 7.5 seconds   (generic: 3)\n" in outcome.out


def test_show_for_programs(gsrt: Run, pi_4: None) -> None:
    told = json.loads(gsrt("profile", "show", "auto", "--json").out)
    assert (told["name"], told["file"], told["chosen"]) == ("pi-4", str(FOLDER / "pi-4.toml"), WHY)
    assert told["keys"].keys() == LIMITS.keys()
    assert told["keys"]["tick_ms"] == {
        "value": 0,
        "unit": "milliseconds",
        "group": KEYS["tick_ms"].group,
        "text": KEYS["tick_ms"].text,
        "from": 0,
        "to": 100,
    }
    assert sum(part["bytes"] for part in told["memory"]) <= told["keys"]["memory_bytes_max"]["value"]


# diff


def test_diff_shows_both_values_and_the_unit(gsrt: Run) -> None:
    outcome = gsrt("profile", "diff", "generic", "pi-zero-w")
    assert (outcome.status, outcome.err) == (0, "")
    heading, *rows = outcome.out.splitlines()
    assert heading.split() == ["key", "generic", "pi-zero-w", "unit"]
    one, other = Profile.load("generic"), Profile.load("pi-zero-w")
    assert [row.split()[0] for row in rows] == [key for key in KEYS if getattr(one, key) != getattr(other, key)]
    assert ["sessions_max", "256", "16", "sessions"] in [row.split() for row in rows]
    assert ["packets_per_second", "50000", "2000", "packets", "a", "second"] in [row.split() for row in rows]


def test_diff_of_what_is_the_same(gsrt: Run, mine: Path) -> None:
    assert gsrt("profile", "diff", "generic", "mine.toml").out == "generic and mine do not differ\n"


def test_diff_for_programs(gsrt: Run, mine: Path) -> None:
    set_line(mine, "tick_ms", "tick_ms = 2.5")
    assert json.loads(gsrt("profile", "diff", "generic", "mine.toml", "--json").out) == {
        "first": "generic",
        "second": "mine",
        "keys": {"tick_ms": {"first": 0, "second": 2.5, "unit": "milliseconds"}},
    }


# check


@pytest.mark.parametrize("name", [name for name in available() if name != "generic"])
def test_profiles_for_boards_are_without_fault(gsrt: Run, name: str) -> None:
    outcome = gsrt("profile", "check", name)
    assert (outcome.status, outcome.out, outcome.err) == (0, f"{FOLDER}/{name}.toml: ok\n", "")


def test_a_sum_over_the_promise_is_a_warning(gsrt: Run) -> None:
    outcome = gsrt("profile", "check", "generic")
    assert outcome.status == 0
    warning, ok = outcome.out.splitlines()
    assert re.match(rf"{GENERIC}:\d+: warning: memory_bytes_max is 256\.0 MiB; all limits at once would take ", warning)
    assert ok == f"{GENERIC}: ok"


def test_every_mistake_is_told_at_once_with_its_line(gsrt: Run, mine: Path) -> None:
    out_of_range = set_line(mine, "sessions_max", "sessions_max = 0")
    no_number = set_line(mine, "players_max", "players_max = many")
    no_float = set_line(mine, "packets_burst", "packets_burst = 2.5")
    text = set_line(mine, "tick_ms", 'tick_ms = "5"')
    misspelt = set_line(mine, "grace_seconds", "grace_second = 3")
    smaller = set_line(mine, "memory_slow_percent", "memory_slow_percent = 95")
    set_line(mine, "beacon_seconds", "")
    mine.write_text(mine.read_text() + "[limits]\ngovernor_seconds = 1\n")
    lines = mine.read_text().splitlines()
    larger = lines.index("memory_refuse_percent = 90") + 1
    outcome = gsrt("profile", "check", "mine.toml")
    assert (outcome.status, outcome.err) == (1, "")
    assert outcome.out.splitlines() == [
        f"mine.toml:{out_of_range}: sessions_max is 0; expected a whole number from 1 to 65535",
        f"mine.toml:{no_number}: 'players_max = many' is no line `key = number`; players_max is a whole number from 1 "
        "to 1000000",
        f"mine.toml:{no_float}: packets_burst is 2.5; expected a whole number from 1 to 10000000",
        f"mine.toml:{misspelt}: there is no key 'grace_second'; do you mean grace_seconds?",
        f"mine.toml:{text}: 'tick_ms = \"5\"' is no line `key = number`; tick_ms is a number from 0.0 to 100.0",
        f"mine.toml:{smaller}: memory_slow_percent is 95; expected at most memory_refuse_percent, which is 90 "
        f"(line {larger})",
        f"mine.toml:{len(lines) - 1}: '[limits]' is no line `key = number`",
        f"mine.toml:{len(lines)}: governor_seconds is set a second time, after line {len(lines) - 2}",
        "mine.toml: grace_seconds is missing; expected a number from 0.0 to 3600.0",
        "mine.toml: beacon_seconds is missing; expected a number from 0.0 to 3600.0",
    ]


def test_what_check_takes_the_server_takes_and_nothing_else(mine: Path, gsrt: Run) -> None:
    set_line(mine, "www_downloads_max", "www_downloads_max = 8")
    assert gsrt("profile", "check", "mine.toml").status == 1
    assert gsrt("profile", "show", "mine.toml").err.startswith("gsrt: mine.toml: www_downloads_per_address_max is 32; ")
    set_line(mine, "www_downloads_per_address_max", "www_downloads_per_address_max = 8")
    assert gsrt("profile", "check", "mine.toml").status == 0
    assert gsrt("profile", "show", "mine.toml").status == 0


@pytest.mark.parametrize(
    ("key", "value", "warning"),
    [
        ("sessions_max", "4000", "sessions_max is 4000, players_max is 2048: a session has at least one player"),
        ("players_max", "5000", "players_max is 5000, connections_max is 4096: not all of them can be connected"),
        ("tick_ms", "30", "tick_ms is 30, slow_tick_ms is 20: the tick is no longer when the server is slowed"),
        (
            "script_turn_all_ms",
            "200",
            "script_turn_all_ms is 200, loop_lag_slow_ms is 100: scripts alone make the loop",
        ),
        ("script_cpu_ms", "2500", "script_watchdog_seconds is 2, script_cpu_ms is 2500: the server starts anew before"),
        (
            "datagram_bytes_max",
            "1200",
            "datagram_bytes_max is 1200: C++ clients lose datagrams of more than 1024 bytes",
        ),
        ("governor_seconds", "0", "governor_seconds is 0: nobody looks at memory, heat and disk; no promise is kept"),
    ],
)
def test_what_is_allowed_and_hardly_meant_is_a_warning(
    gsrt: Run, mine: Path, key: str, value: str, warning: str
) -> None:
    set_line(mine, key, f"{key} = {value}")
    outcome = gsrt("profile", "check", "mine.toml")
    assert outcome.status == 0
    assert re.search(rf"(?m)^mine\.toml:\d+: warning: {re.escape(warning)}", outcome.out)
    assert outcome.out.endswith("\nmine.toml: ok\n")


def test_several_files_are_all_looked_through(gsrt: Run, mine: Path) -> None:
    outcome = gsrt("profile", "check", "nowhere.toml", "pi-4", ".toml/", "mine.toml")
    assert outcome.status == 1
    assert outcome.out.splitlines()[:3] == [
        "nowhere.toml: cannot be read: No such file or directory",
        f"{FOLDER}/pi-4.toml: ok",
        ".toml/: cannot be read: No such file or directory",
    ]
    assert outcome.out.endswith("mine.toml: ok\n")


def test_what_is_no_profile_at_all(gsrt: Run, mine: Path) -> None:
    mine.write_bytes(b"\xff\xfe\x00")
    assert gsrt("profile", "check", "mine.toml").out == (
        "mine.toml: this is no text file; a profile has lines `key = number`\n"
    )
    mine.write_bytes(b"# " + b"x" * (1 << 20))
    assert (
        gsrt("profile", "check", "mine.toml").out == "mine.toml: this is no profile: it has more than 1048576 bytes\n"
    )
    mine.write_bytes(b"")
    outcome = gsrt("profile", "check", "mine.toml")
    assert (outcome.status, len(outcome.out.splitlines())) == (1, len(LIMITS))


def test_a_line_from_a_stranger_plays_no_tricks_on_a_terminal(gsrt: Run, mine: Path) -> None:
    mine.write_text(mine.read_text() + "\x1b]0;owned\x07 = 1\n")
    outcome = gsrt("profile", "check", "mine.toml")
    assert outcome.status == 1
    assert outcome.out.replace("\n", "").isprintable()


def test_check_for_programs(gsrt: Run, mine: Path) -> None:
    line = set_line(mine, "sessions_max", "sessions_max = 0")
    outcome = gsrt("profile", "check", "mine.toml", "generic", "--json")
    told = json.loads(outcome.out)
    assert (outcome.status, told["ok"]) == (1, False)
    assert told["files"][0] == {
        "file": "mine.toml",
        "ok": False,
        "mistakes": [
            {"line": line, "key": "sessions_max", "text": "sessions_max is 0; expected a whole number from 1 to 65535"}
        ],
        "warnings": [],
    }
    assert told["files"][1]["ok"]
    assert [each["key"] for each in told["files"][1]["warnings"]] == ["memory_bytes_max"]


# mistakes in what is typed


@pytest.mark.parametrize("words", [("show", "pi4"), ("check", "pi4"), ("diff", "pi-4", "pi4")])
def test_a_profile_that_there_is_not(gsrt: Run, words: tuple[str, ...]) -> None:
    outcome = gsrt("profile", *words)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "gsrt: there is no profile 'pi4'; there are generic, pc, pi-3b-plus, pi-4, pi-5, pi-zero-2-w, pi-zero-w, auto "
        "for the one that suits this box, or give the path of a .toml file\n"
    )


def test_the_group_alone_lists_its_commands(gsrt: Run) -> None:
    outcome = gsrt("profile")
    assert outcome.status == 2
    for name in ("list", "show", "diff", "check"):
        assert f"gsrt profile {name} " in outcome.err

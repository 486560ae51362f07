"""A game's folder to a Game; or everything that is wrong with it, at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gsrt.game.model import (
    Achievement,
    Currency,
    EventConfig,
    GameError,
    Good,
    Leaderboard,
    MatchConfig,
    Threshold,
)
from gsrt.game.reading import FILE_BYTES_MAX, MISTAKES_MAX, read_game, read_sound_parts, stamps_of
from gsrt.profile import Profile
from gsrt.scripts.compiler import Compiled
from gsrt.scripts.compiling import Compiler
from tests.game.conftest import EVENT, GAME, MATCH, SCRIPT, Write, mistakes_of

if TYPE_CHECKING:
    from gsrt.scripts.compiling import Stamp


def test_a_folder_with_everything(folder: Path, write: Write) -> None:
    write("game.toml", GAME + 'port = 9000\n[[currency]]\nshort_code = "gold"\nsignup = 5\n')
    write(
        "matches/duel.toml",
        'name = "A duel"\ndescription = "of two"\nmax_players = 3\nrealtime_script = "rules.py"\n'
        "drop_in_drop_out = true\nplayer_disconnect_delay = 2\nexpire_in = 60.5\n" + MATCH + 'type = "PERCENT"\n',
    )
    write("matches/free.toml", 'short_code = "FREE"\nrealtime = false\nmanually_match_players = true\n' + MATCH)
    write("scripts/rules.py", SCRIPT)
    write("events/won.py", EVENT)
    write(
        "leaderboards.toml",
        '[[leaderboard]]\nshort_code = "best"\nevent = "won"\nattribute = "points"\naggregate = "sum"\norder = "low"\n'
        'part = "car"\nties = "shared"\nattributes = ["extra"]\n[[leaderboard]]\nshort_code = "by_script"\n',
    )
    write("goods.toml", '[[good]]\nshort_code="hat"\nprices.gold = 3')
    write("achievements.toml", '[[achievement]]\nshort_code = "win"\ncurrencies.gold = 1\ngoods = {hat = 2}\n')
    write("www/index.html", "")
    game = read_game(str(folder))
    assert (game.name, game.api_key, game.secret, game.port) == ("Duel", "key_1", "hush", 9000)
    assert (game.folder, game.www, game.scripts) == (str(folder), str(folder / "www"), str(folder / "scripts"))
    assert game.matches == {
        "duel": MatchConfig(
            "duel",
            name="A duel",
            description="of two",
            max_players=3,
            realtime_script=str(folder / "scripts" / "rules.py"),
            drop_in_drop_out=True,
            player_disconnect_delay=2.0,
            expire_in=60.5,
            thresholds=[Threshold(5.0, "PERCENT", 0.0, 10.0)],
        ),
        "FREE": MatchConfig(
            "FREE", realtime=False, manually_match_players=True, thresholds=[Threshold(5.0, "ABSOLUTE", 0.0, 10.0)]
        ),
    }
    kinds = {"points": "number", "car": "text", "extra": "object"}
    assert game.events == {"won": EventConfig("won", path=str(folder / "events" / "won.py"), attributes=kinds)}
    assert game.leaderboards == {
        "best": Leaderboard(
            "best",
            event="won",
            attribute="points",
            aggregate="sum",
            order="low",
            part="car",
            ties="shared",
            attributes=["extra"],
        ),
        "by_script": Leaderboard("by_script"),
    }
    assert game.currencies == {"gold": Currency("gold", signup=5)}
    assert game.goods == {"hat": Good("hat", prices={"gold": 3})}
    assert game.achievements == {"win": Achievement("win", currencies={"gold": 1}, goods={"hat": 2})}
    assert set(game.stamps) == {*map(str, (each for each in folder.rglob("*.*") if each.suffix != ".html")), game.www}


def test_the_least_there_can_be(folder: Path) -> None:
    game = read_game(str(folder))
    assert game.port is game.www is game.scripts is None
    assert game.matches == game.events == game.leaderboards == game.goods == {}


def test_what_is_no_game(tmp_path: Path) -> None:
    assert mistakes_of(tmp_path) == [
        f"{tmp_path}: this is no game: there is no game.toml in it; `gsrt new NAME` makes one"
    ]
    with pytest.raises(GameError, match="there is no such folder"):
        read_game(str(tmp_path / "none"))


SPOILT = [
    (
        "",
        ["game.toml:1: name: is missing", "game.toml:1: api_key: is missing", "game.toml:1: secret: is missing"],
    ),
    ("name = 'a'\nname = 'b'\n", ["game.toml:2: this is not TOML: Cannot overwrite a value"]),
    ("name = \n", ["game.toml:1: this is not TOML: Invalid value"]),
    ('name = "a', ["game.toml:1: this is not TOML: Unterminated string"]),
    ("a = " + "[" * 5000, ["game.toml:1: this is not TOML: "]),
    ("a = " + "9" * 5000, ["game.toml:1: this is not TOML: "]),
    (GAME.replace('"key_1"', '"a/b"'), ["game.toml:2: api_key: expected letters, digits, _ and - only"]),
    (GAME.replace("hush", "hu:sh"), ["game.toml:3: secret: a secret with `:` makes the clients speak an obfuscated"]),
    (GAME + "\nport = 65536", ["game.toml:5: port: expected a whole number from 1 to 65,535, not 65,536"]),
    (GAME + 'port = "9"', ['game.toml:4: port: expected a whole number from 1 to 65,535, not "9"']),
    (GAME + "port = true", ["game.toml:4: port: expected a whole number from 1 to 65,535, not true"]),
    (GAME + "prot = 5", ["game.toml:4: prot: is no key here; do you mean port?"]),
    (GAME + "zzzzzz = 5", ["game.toml:4: zzzzzz: is no key here; expected name, api_key, secret, port, currency"]),
    (GAME.replace('"Duel"', '""'), ['game.toml:1: name: expected text of 1 to 64 characters, not ""']),
    (GAME + "[name]\n", ["game.toml:4: this is not TOML: Cannot overwrite"]),
]


@pytest.mark.parametrize(("text", "expected"), SPOILT)
def test_mistakes_in_game_toml(folder: Path, write: Write, text: str, expected: list[str]) -> None:
    write("game.toml", text)
    found = mistakes_of(folder)
    assert len(found) == len(expected)
    for told, beginning in zip(found, expected, strict=True):
        assert told.startswith(beginning)


SPOILT_MATCHES = [
    ("", ["1: threshold: is missing; expected at least one [[threshold]]"]),
    ("minPlayers = 2\n" + MATCH, ["1: minPlayers: is no key here; do you mean min_players?"]),
    ("min_players = 3\n" + MATCH, ["1: min_players: expected at most max_players, which is 2, not 3"]),
    ("min_players = 0\n" + MATCH, ["1: min_players: expected a whole number from 1 to 255, not 0"]),
    ("max_players = 200\n" + MATCH, ["1: max_players: expected at most 64, the players_per_session_max"]),
    ("threshold = 5\n", ["1: threshold: expected tables, each", "1: threshold: is missing; "]),
    (MATCH.replace("5", "0"), ["2: threshold.period: expected a number from 0.1 to 604,800, not 0"]),
    (MATCH.replace("5", "nan"), ["2: threshold.period: expected a number from 0.1 to 604,800, not nan"]),
    (MATCH.replace("10", "-1"), ["3: threshold.min: expected at most max, which is -1, not 0"]),
    (MATCH.replace("max", "# max"), ["1: threshold.max: is missing; expected a number from"]),
    (MATCH + MATCH + 'type = "x"\n', ['9: threshold.type: expected "ABSOLUTE" or "RELATIVE" or "PERCENT", not "x"']),
    (
        MATCH.replace("min = 0", "min = 1") + 'type = "RELATIVE"\n',
        ["3: threshold.min: expected at most 0, or of two players each is out of the other's bounds"],
    ),
    (
        MATCH.replace("= 0", "= -9").replace("10", "-1") + 'type = "PERCENT"\n',
        ["4: threshold.max: expected at least 0, or of two"],
    ),
    ("expire_in = 5\n" + MATCH, ["1: expire_in: means nothing here; expected only where drop_in_drop_out = true"]),
    ('realtime_script = "none.py"\n' + MATCH, ["1: realtime_script: there is no file scripts/none.py"]),
    (
        'realtime_script = "rule.py"\n' + MATCH,
        ["1: realtime_script: there is no file scripts/rule.py; do you"],
    ),
    ('realtime_script = "../game.py"\n' + MATCH, ["1: realtime_script: expected the name of a .py file in scripts/"]),
    ('realtime_script = "rules.py"\nrealtime = false\n' + MATCH, ["1: realtime_script: means nothing here"]),
    ('realtime = "yes"\n' + MATCH, ['1: realtime: expected true or false, not "yes"']),
    ('short_code = "a b"\n' + MATCH, ["1: short_code: expected letters, digits"]),
    ("\n\ufeffx", ["2: this is not TOML: "]),
]


@pytest.mark.parametrize(("text", "expected"), SPOILT_MATCHES)
def test_mistakes_in_a_match(folder: Path, write: Write, text: str, expected: list[str]) -> None:
    write("matches/duel.toml", text)
    write("scripts/rules.py", SCRIPT)
    found = mistakes_of(folder)
    assert len(found) == len(expected), found
    for told, beginning in zip(found, expected, strict=True):
        assert told.startswith(f"matches/duel.toml:{beginning}")


def test_a_manual_match_needs_a_threshold_too(folder: Path, write: Write) -> None:
    """Without one, a MatchmakingRequest for it is refused, and nobody can be found or joined."""
    write("matches/duel.toml", "manually_match_players = true\n")
    (told,) = mistakes_of(folder)
    assert told.startswith("matches/duel.toml:1: threshold: is missing")


def test_the_profile_bounds_players_and_scripts(folder: Path, write: Write) -> None:
    write("matches/duel.toml", 'max_players = 9\nrealtime_script = "rules.py"\n' + MATCH)
    write("scripts/rules.py", SCRIPT + "#" * 2000)
    profile = Profile.load("generic")
    assert read_game(str(folder), profile).matches["duel"].max_players == 9
    profile.players_per_session_max = 8
    profile.script_source_bytes = 1024
    with pytest.raises(GameError) as told:
        read_game(str(folder), profile)
    assert [each.key for each in told.value.mistakes] == ["max_players", ""]


def test_short_codes_are_there_once(folder: Path, write: Write) -> None:
    write("matches/duel.toml", MATCH)
    write("matches/other.toml", 'short_code = "duel"\n' + MATCH)
    write("leaderboards.toml", "[[leaderboard]]\nshort_code='a'\n[[leaderboard]]\nshort_code='a'\n")
    assert mistakes_of(folder) == [
        'leaderboards.toml:4: leaderboard.short_code: "a" is in line 2 already; expected one of its own',
        'matches/other.toml:1: short_code: "duel" is that of matches/duel.toml already; expected one of its own',
    ]


def test_a_files_name_has_to_be_one(folder: Path, write: Write) -> None:
    write("matches/a b.toml", MATCH)
    write("events/a b.py", EVENT)
    write("matches/.hidden.toml", "nonsense")
    assert mistakes_of(folder) == [
        "events/a b.py: the file's name is the event's key: expected letters, digits, _ and - in it",
        "matches/a b.toml:1: short_code: is missing, and the file's name cannot be one; expected a short code",
    ]


SPOILT_BOARDS = [
    ("event = 'lost'", '3: leaderboard.event: there is no event "lost" in events/; there are won'),
    ("attribute = 'points'", "3: leaderboard.attribute: means nothing without an event"),
    ("event = 'won'", "1: leaderboard.attribute: is missing; expected a number among the attributes of won"),
    (
        "event = 'won'\nattribute = 'point'",
        '4: leaderboard.attribute: there is no attribute "point" in the event won; do',
    ),
    ("event = 'won'\nattribute = 'car'", "4: leaderboard.attribute: expected a number, not text as won declares it"),
    ("event = 'won'\nattribute = 'points'\npart = 'x'", '5: leaderboard.part: there is no attribute "x" in'),
    ("event = 'won'\nattribute = 'points'\npart = 'extra'", "5: leaderboard.part: expected a text or a number"),
    (
        "event = 'won'\nattribute = 'points'\nattributes = ['car',\n'cat']",
        '6: leaderboard.attributes: there is no attribute "cat" in the event won; do you mean car?',
    ),
    ("attributes = 'car'", "3: leaderboard.attributes: expected a list of at most 32 names"),
    ("order = 'up'", '3: leaderboard.order: expected "high" or "low", not "up"'),
]


@pytest.mark.parametrize(("text", "expected"), SPOILT_BOARDS)
def test_mistakes_in_a_leaderboard(folder: Path, write: Write, text: str, expected: str) -> None:
    write("events/won.py", EVENT)
    write("leaderboards.toml", "[[leaderboard]]\nshort_code = 'best'\n" + text)
    (told,) = mistakes_of(folder)
    assert told.startswith(f"leaderboards.toml:{expected}")


def test_goods_and_achievements_refer_to_what_there_is(folder: Path, write: Write) -> None:
    write("game.toml", GAME + "[[currency]]\nshort_code = 'gold'\n")
    write("goods.toml", "[[good]]\nshort_code = 'hat'\n[good.prices]\ngold = 0\ngolf = 1\nx = 'y'\n")
    write("achievements.toml", "[[achievement]]\nshort_code = 'win'\ngoods = { hats = 1 }\ncurrencies = 5\n")
    assert mistakes_of(folder) == [
        'achievements.toml:3: achievement.goods.hats: there is no good "hats" in goods.toml; do you mean hat?',
        "achievements.toml:4: achievement.currencies: expected a table of short codes and whole numbers each "
        "from 1 to 9,007,199,254,740,991, not 5",
        "goods.toml:4: good.prices.gold: expected a whole number from 1 to 9,007,199,254,740,991, not 0",
        'goods.toml:5: good.prices.golf: there is no currency "golf" in game.toml; do you mean gold?',
        'goods.toml:6: good.prices.x: expected a whole number from 1 to 9,007,199,254,740,991, not "y"',
    ]


def test_what_cannot_be_read_is_not_said_to_be_missing(folder: Path, write: Write) -> None:
    write("goods.toml", "[[good]\n")
    write("achievements.toml", "[[achievement]]\nshort_code = 'win'\ngoods = { hat = 1 }\n")
    (told,) = mistakes_of(folder)
    assert told.startswith("goods.toml:1: this is not TOML")


def test_scripts_are_compiled(folder: Path, write: Write) -> None:
    write("matches/duel.toml", 'realtime_script = "rules.py"\n' + MATCH)
    write("matches/other.toml", 'realtime_script = "rules.py"\n' + MATCH)
    write("scripts/rules.py", "x = 1\nimport os\n\n\ny = x._z\n")
    write("events/won.py", "ATTRIBUTES = {\n'a': 5}\n\n\ndef on_events(event):\n    pass\n")
    write("events/odd.py", "def on_event(event:\n")
    assert [each.partition(". ")[0].partition(", with")[0] for each in mistakes_of(folder)] == [
        "events/odd.py:1: this is not Python: '(' was never closed",
        "events/won.py:1: on_event: is missing; expected def on_event(event)",
        'events/won.py:2: ATTRIBUTES: expected ATTRIBUTES = {"name": "kind"}',
        "scripts/rules.py:2: import is not available",
        "scripts/rules.py:5: the attribute `_z` begins with an underscore",
    ]


def test_an_event_is_to_be_taken(folder: Path, write: Write) -> None:
    write("events/none.py", "x = 1\n\n\ndef on_event():\n    pass\n")
    write("events/some.py", "def on_event(*events):\n    pass\n")
    write("events/other.py", "def answer(event):\n    pass\n\n\non_event = answer\n")
    assert mistakes_of(folder) == ["events/none.py:4: on_event: takes no event; expected def on_event(event)"]


def test_what_a_request_or_an_entry_has_already_is_no_attribute(folder: Path, write: Write) -> None:
    write("events/won.py", 'ATTRIBUTES = {\n    "requestId": "text"}\ndef on_event(event):\n    pass\n')
    write("events/lap.py", 'ATTRIBUTES = {"rank": "number", "when": "text"}\ndef on_event(event):\n    pass\n')
    board = '[[leaderboard]]\nshort_code = "best"\nevent = "lap"\nattribute = "rank"\nattributes = ["when"]\n'
    write("leaderboards.toml", board)
    assert mistakes_of(folder) == [
        "events/won.py:2: ATTRIBUTES: requestId is a field of the request itself; expected another name",
        'leaderboards.toml:4: leaderboard.attribute: "rank" is in every entry already; expected an attribute of another'
        " name",
        'leaderboards.toml:5: leaderboard.attributes: "when" is in every entry already; expected an attribute of'
        " another name",
    ]


def test_scripts_that_are_known_are_not_compiled_again(folder: Path, write: Write) -> None:
    write("matches/duel.toml", 'realtime_script = "rules.py"\n' + MATCH)
    write("scripts/rules.py", SCRIPT)
    write("scripts/other.py", "import os\n")
    write("events/won.py", EVENT)
    first = read_game(str(folder))
    compiled: list[str] = []

    class Counting(Compiler):
        def compile_file(self, path: str, source_bytes_max: int) -> tuple[Compiled, Stamp]:
            compiled.append(os.path.basename(path))
            return super().compile_file(path, source_bytes_max)

    compiler = Counting()
    assert read_game(str(folder), known=first, compiler=compiler) == first
    assert compiled == []
    write("scripts/rules.py", SCRIPT + "# changed\n")
    second = read_game(str(folder), known=first, compiler=compiler)
    assert compiled == ["rules.py"]
    assert second.stamps != first.stamps
    # One that was there before, but was not compiled, is no known one.
    write("matches/duel.toml", 'realtime_script = "other.py"\n' + MATCH)
    with pytest.raises(GameError, match=r"scripts/other\.py:1: import"):
        read_game(str(folder), known=second)


def test_files_that_cannot_be_read(folder: Path, write: Write) -> None:
    write("matches/none.toml", "")
    (folder / "matches" / "none.toml").unlink()
    (folder / "matches" / "none.toml").symlink_to("nowhere")
    (folder / "leaderboards.toml").mkdir()
    os.mkfifo(folder / "goods.toml")
    (folder / "achievements.toml").write_bytes(b"\n\n# \xff")
    (folder / "matches" / "long.toml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    assert mistakes_of(folder) == [
        "achievements.toml:3: is not UTF-8; expected a text file in UTF-8",
        "goods.toml: is no file",
        "leaderboards.toml: is no file",
        "matches/long.toml: is too long; expected at most 262,144 bytes",
        "matches/none.toml: cannot be read: No such file or directory",
    ]


def test_a_byte_order_mark_and_other_line_ends_are_no_mistake(folder: Path) -> None:
    (folder / "game.toml").write_bytes(b"\xef\xbb\xbf" + GAME.replace("\n", "\r\n").encode() + b"prot = 1\r\n")
    (told,) = mistakes_of(folder)
    assert told.startswith("game.toml:4: prot")


def test_a_file_that_nobody_would_read_is_told(folder: Path, write: Write) -> None:
    write("leaderboard.toml", "")
    write("unrelated.toml", "")
    assert mistakes_of(folder) == ["leaderboard.toml: is not read; expected the name leaderboards.toml"]


def test_a_folder_that_nobody_would_read_is_told(folder: Path, write: Write) -> None:
    write("match/duel.toml", MATCH)
    write("art/duel.png", "")
    write("Events/won.py", EVENT)
    assert mistakes_of(folder) == [
        "Events: is not read; expected the name events",
        "match: is not read; expected the name matches",
    ]


def test_scripts_that_no_match_names_are_compiled_where_it_is_asked_for(folder: Path, write: Write) -> None:
    write("scripts/other.py", "import os\n")
    assert mistakes_of(folder) == []
    with pytest.raises(GameError, match=r"scripts/other\.py:1: import"):
        read_game(str(folder), every_script=True)


def test_there_is_an_end_to_the_mistakes(folder: Path, write: Write) -> None:
    write("game.toml", GAME + "".join(f"key{number} = 1\n" for number in range(1000)))
    found = mistakes_of(folder)
    assert len(found) == MISTAKES_MAX + 1
    assert found[-1] == f"{folder}: there are more mistakes; these come first"


def test_stamps_tell_of_every_change(folder: Path, write: Write) -> None:
    seen = [stamps_of(str(folder))]
    for name in ("matches/a.toml", "scripts/a.py", "events/a.py", "goods.toml", "leaderboards.toml", "www/a.html"):
        write(name, "")
        seen.append(stamps_of(str(folder)))
    write("matches/a.toml", "#")
    seen.append(stamps_of(str(folder)))
    (folder / "scripts" / "a.py").unlink()
    seen.append(stamps_of(str(folder)))
    assert all(one != other for number, one in enumerate(seen) for other in seen[:number])
    write("README.md", "")
    assert stamps_of(str(folder)) == seen[-1]


def test_what_is_sound_can_be_had_alone(folder: Path, write: Write) -> None:
    write("game.toml", GAME + "port = 0\n[[currency]]\nshort_code='gold'\n[[currency]]\nshort_code='x'\nsignup=-1\n")
    write("matches/good.toml", 'realtime_script = "rules.py"\n' + MATCH)
    write("matches/bad.toml", "max_players = 1\n" + MATCH)
    write("matches/worse.toml", "[[[")
    write("scripts/rules.py", "import os\n")
    write("events/won.py", EVENT)
    write("events/bad.py", "ATTRIBUTES = 5\n")
    write("leaderboards.toml", "[[leaderboard]]\nshort_code='a'\n[[leaderboard]]\nshort_code='b'\nevent='x'\n")
    write("goods.toml", "[[good]]\nshort_code='a'\nprices = {x = 1, gold = 1}\n[[good]]\nshort_code='b'\nmost = 0\n")
    write("achievements.toml", "[[achievement\n")
    game, mistakes = read_sound_parts(str(folder), Profile.load("generic"))
    assert len(mistakes) == 8
    assert (game.api_key, game.port) == ("key_1", None)
    assert [list(each) for each in (game.matches, game.events, game.leaderboards, game.goods, game.currencies)] == [
        ["good"],
        ["won"],
        ["a"],
        ["a"],
        ["gold"],
    ]
    assert game.achievements == {}


@pytest.mark.parametrize("text", ["", "[[[", GAME.replace("secret", "secrets"), GAME.replace('"key_1"', "5")])
def test_there_is_no_part_of_a_game_without_a_key(folder: Path, write: Write, text: str) -> None:
    write("game.toml", text)
    with pytest.raises(GameError):
        read_sound_parts(str(folder), Profile.load("generic"))

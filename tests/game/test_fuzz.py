"""Whatever stands in a game's files: it is read, or refused with a GameError. FUZZ_SEED, FUZZ_SCALE: as elsewhere."""

from __future__ import annotations

import os
import random
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsrt.game.model import GameError
from gsrt.game.reading import FILES, read_game
from gsrt.game.schema import MATCH, Key
from gsrt.game.skeleton import FILES as SKELETON
from tests.game.conftest import GAME
from tests.support import reproducible as reproducible

SEED = int(os.environ.get("FUZZ_SEED", "20221122"))
SCALE = float(os.environ.get("FUZZ_SCALE", "1"))
TURNS = 300

TEXTS = {name: text for name, text in SKELETON.items() if name.endswith(".toml") and name != "game.toml"}
TEXTS["game.toml"] = GAME + '[[currency]]\nshort_code = "gold"\n'
PIECES = (
    *("[", "]", "{", "}", "=", '"', "'", "'''", '"""', ".", ",", "#", "\n", "\\", "\\u0000", "\0", "\ufeff", "é", "\r"),
    *("-1", "nan", "inf", "1e400", "9" * 30, "9" * 5000, "true", '"x"', "[]", "{}", "[[", "]]", "1979-05-27", "0x7f"),
    *("[[threshold]]\n", "[threshold]\n", "short_code = 1\n", "prices = 5\n", "[" * 400, "a = {" * 200),
)


def check(folder: Path) -> bool:
    """Reads the game; whether it is one."""
    try:
        read_game(str(folder))
    except GameError as error:
        assert error.mistakes
        for each in error.mistakes:
            assert each.text and each.line >= 0 and each.path.startswith(str(folder))
            assert str(each).isprintable() or not (each.path + each.key + each.text).isprintable()
        return False
    return True


def test_spoilt_files(folder: Path) -> None:
    source = random.Random(SEED)
    (folder / "matches").mkdir()
    for name, text in TEXTS.items():
        for line in ('realtime_script = "duel.py"\n', 'event = "score"\n', 'attribute = "points"\n'):
            text = text.replace(line, "")
        (folder / name).write_text(text)
    assert check(folder)
    good = bad = 0
    for _ in range(int(TURNS * SCALE)):
        name = source.choice(sorted(TEXTS))
        path = folder / name
        whole = path.read_bytes()
        text = whole.decode()
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(text) + 1)
            end = min(len(text), at + source.choice((0, 0, 1, 1, 5, 40)))
            text = text[:at] + source.choice((*PIECES, "", "", chr(source.randrange(1, 0xD800)))) + text[end:]
        path.write_bytes(text.encode())
        if check(folder):
            good += 1
        else:
            bad += 1
        path.write_bytes(whole)
    assert good > 10 and bad > good


VALUES = st.recursive(
    st.sampled_from(
        ["1", "0", "-5", "2.5", "nan", "inf", "true", "false", '"x"', '""', "'a:b'", "1979-05-27", "07:32:00", "1e300"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=5,
)


def tables(keys: tuple[Key, ...]) -> st.SearchStrategy[str]:
    """TOML with the known keys and others, and values of any kind."""
    names = st.sampled_from([key.name for key in keys if not key.keys] + ["other", "Name"])
    head = st.dictionaries(names, VALUES, max_size=6).map(
        lambda pairs: "".join(f"{key} = {value}\n" for key, value in pairs.items())
    )
    arrays = [
        st.lists(tables(key.keys).map(lambda text, name=key.name: f"[[{name}]]\n{text}"), max_size=3).map("".join)  # type: ignore[misc]
        for key in keys
        if key.keys
    ]
    return st.tuples(head, *arrays).map("".join)


@given(game=tables(FILES["game.toml"]), match=tables(MATCH), rest=st.tuples(*map(tables, list(FILES.values())[1:])))
@settings(suppress_health_check=[*HealthCheck])
def test_any_value_at_any_key(folder: Path, game: str, match: str, rest: tuple[str, ...]) -> None:
    (folder / "matches").mkdir(exist_ok=True)
    (folder / "matches" / "m.toml").write_text(match)
    for name, text in zip(list(FILES), (game, *rest), strict=True):
        (folder / name).write_text(text)
    check(folder)


@given(st.dictionaries(st.sampled_from(sorted(FILES)), st.binary(max_size=40) | st.text(max_size=40).map(str.encode)))
@settings(suppress_health_check=[*HealthCheck])
def test_any_bytes(folder: Path, contents: dict[str, bytes]) -> None:
    (folder / "game.toml").write_text(GAME)
    for name in FILES:
        if name in contents:
            (folder / name).write_bytes(contents[name])
    check(folder)

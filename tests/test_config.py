"""The configuration file: what it may say, that every mistake is told with its line, and that the packaged one says all
there is to say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.config import KEYS, METRICS, ConfigError, read_config
from tests.support.server import PROJECT

PACKAGED = PROJECT / "packaging" / "etc" / "gsrt.toml"

EVERYTHING = """\
host = "::"
port = 8785
name = "Anna's box"
game = "/var/lib/gsrt/duel"
script = 'tag.py'  # beside this file
profile = "auto"
tick_ms = 2.5
cert = "tls/certificate.pem"
key = "../key.pem"
state = "/var/lib/gsrt"
control = "/run/gsrt/control.sock"
control_group = true
insecure_link = false
metrics = "all"
contain = true
lock_memory = true
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gsrt.toml"


def mistakes(path: Path, content: str | bytes) -> list[str]:
    """What is said of a file, without its name."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as refused:
        read_config(str(path))
    assert str(refused.value) == "\n".join(refused.value.mistakes)
    assert all("\n" not in each for each in refused.value.mistakes)
    assert all(each.startswith(f"{path}:") for each in refused.value.mistakes)
    return [each.removeprefix(f"{path}:") for each in refused.value.mistakes]


def test_every_key_is_taken_and_paths_are_relative_to_the_file(path: Path) -> None:
    path.write_text(EVERYTHING)
    values = read_config(str(path))
    assert values.keys() == KEYS.keys()
    assert values == tomllib.loads(EVERYTHING) | {
        "script": f"{path.parent}/tag.py",
        "cert": f"{path.parent}/tls/certificate.pem",
        "key": f"{path.parent}/../key.pem",
    }


@pytest.mark.parametrize(
    ("written", "meant"), [("pi-4", "pi-4"), ("mine.toml", "{}/mine.toml"), ("my/own", "{}/my/own"), ("/a/b", "/a/b")]
)
def test_a_profile_is_a_name_or_a_path(path: Path, written: str, meant: str) -> None:
    path.write_text(f'profile = "{written}"\n')
    assert read_config(str(path)) == {"profile": meant.format(path.parent)}


def test_nothing_has_to_be_said(path: Path) -> None:
    path.write_text("# nothing\n")
    assert read_config(str(path)) == {}


def test_everything_that_is_wrong_is_told_at_once_in_order(path: Path) -> None:
    content = """\
prot = 8784
port = "8784"
contain = yes
[server]
tick_ms = 101
metrics = "everybody"
port = 1
weather = "fine"
key = "key.pem"
"""
    assert mistakes(path, content) == [
        "1: there is no key 'prot': is 'port' meant?",
        "2: 'port = \"8784\"': port is a port, 0 to 65535",
        "3: 'contain = yes' is not understood; expected `contain = ` and true or false",
        "4: '[server]' is not understood; expected `key = value`",
        "5: 'tick_ms = 101': tick_ms is milliseconds, 0 to 100",
        '6: \'metrics = "everybody"\': metrics is "off", "local" or "all"',
        "7: port is set a second time, after line 2",
        f"8: there is no key 'weather': there are {', '.join(KEYS)}",
        "9: key needs cert: give both or none",
    ]


@pytest.mark.parametrize(
    "line",
    [
        'host = ""',
        'host = "0.0.0.0 "',
        "host = 1",
        "port = true",
        "port = 65536",
        "port = 8784.0",
        'name = " "',
        f"name = '{'x' * 65}'",
        r'name = "a\u0000"',
        r'name = "two\nlines"',
        "game = true",
        'game = ""',
        r'state = "/var\u0000"',
        "tick_ms = true",
        'tick_ms = "2"',
        "tick_ms = 100.5",
        "contain = 1",
        'contain = "true"',
        "metrics = false",
        'metrics = "Local"',
    ],
)
def test_a_value_of_another_kind_is_refused(path: Path, line: str) -> None:
    (said,) = mistakes(path, line)
    key = line.partition(" ")[0]
    assert said == f"1: {line!r}: {key} is {KEYS[key][1]}"


def test_a_file_that_cannot_be_read_is_named(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gsrt\.toml: cannot be read: No such file"):
        read_config(str(path))
    assert mistakes(path, b"name = '\xff'\n") == [" not a text file (UTF-8)"]


VALUES = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers(0, 70_000).map(str),
    st.floats(0, 200).map("{:.3f}".format),
    st.sampled_from([*map('"{}"'.format, METRICS), "'::'", '"/a/b"', '"x.toml"']),
    st.text(st.characters(codec="utf-8"), max_size=8).map('"{}"'.format),
)


@given(st.lists(st.tuples(st.sampled_from([*KEYS, "prot"]), VALUES).map(" = ".join), max_size=6).map("\n".join))
def test_what_is_taken_is_what_toml_reads(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    path = tmp_path_factory.getbasetemp() / "gsrt.toml"
    path.write_bytes(content.encode())
    try:
        values = read_config(str(path))
    except ConfigError as refused:
        assert refused.mistakes
        return
    wanted = tomllib.loads(content)
    assert values.keys() == wanted.keys()
    for key, value in values.items():
        assert type(value) is type(wanted[key])
        assert value == wanted[key] or str(value).endswith(str(wanted[key]))


def test_the_packaged_file_is_right_and_shows_every_key_with_a_comment() -> None:
    lines = PACKAGED.read_text().splitlines()
    shown = [line.removeprefix("# ") for line in lines if line.removeprefix("# ").partition(" = ")[0] in KEYS]
    assert read_config(str(PACKAGED)).keys() == {"profile", "contain", "control_group"}
    assert sorted(line.partition(" = ")[0] for line in shown) == sorted(KEYS)
    assert all(len(line) <= 120 for line in lines)
    for place, line in enumerate(lines):
        if line.removeprefix("# ") in shown:
            before = lines[place - 1]
            assert before.startswith("# "), line


def test_what_the_packaged_file_shows_is_right_when_it_is_taken_in(path: Path) -> None:
    lines = PACKAGED.read_text().splitlines()
    path.write_text(
        "\n".join(line.removeprefix("# ") for line in lines if line.removeprefix("# ").partition(" = ")[0] in KEYS)
    )
    assert read_config(str(path)).keys() == KEYS.keys()

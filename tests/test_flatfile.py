"""Files of `key = value`: what is read is what TOML means by it, and everything else is told with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.flatfile import TEXT_CHARACTERS_MAX, Line, read_lines

PLACE = pytest.TempPathFactory


def lines(path: Path, content: str | bytes) -> list[Line]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_lines(str(path)))


def read(path: Path, content: str | bytes) -> dict[str, object] | None:
    """What a file sets; None where a line is something else, or a key is there twice."""
    found = lines(path, content)
    values: dict[str, object] = {each.key: each.value for each in found}
    return None if len(values) < len(found) or None in values.values() else values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("65_536", 65536),
        ("0.25", 0.25),
        ("1_0.5_0", 10.5),
        ("true", True),
        ("false", False),
        ('""', ""),
        ("''", ""),
        ('"a # b = c"', "a # b = c"),
        (r"'C:\new'", r"C:\new"),
        (r'"\b\t\n\f\r\"\\"', '\b\t\n\f\r"\\'),
        (r'"\u00e9\U0001F600"', "é😀"),
        ("'ü\t\"'", 'ü\t"'),
        ("'it' # and why: '", "it"),
        ('"it"#"', "it"),
    ],
)
def test_values_are_written_as_in_toml(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "flat.toml"
    assert read(path, f"  key={text}  # and why\n") == {"key": value} == tomllib.loads(path.read_text())
    assert read(path, f"key\t=\t{text}") == {"key": value} == tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "key",
        "key =",
        "= 1",
        "[table]",
        "[[table]]",
        "a.b = 1",
        "a b = 1",
        '"key" = 1',
        "ü = 1",
        "\ufeffkey = 1",
        "key = 1 2",
        "key = 1, 2",
        "key = [1]",
        "key = {}",
        "key = -1",
        "key = +1",
        "key = 1e3",
        "key = 5.",
        "key = .5",
        "key = 01",
        "key = 1__0",
        "key = _1",
        "key = 0x10",
        "key = ²",
        "key = inf",
        "key = 1979-05-27",
        "key = True",
        "key = truely",
        "key = bare",
        'key = "open',
        "key = 'open",
        'key = "a" "b"',
        "key = 'a' b",
        r'key = "\x41"',
        r'key = "\u12"',
        r'key = "\u12"45"',
        r'key = "\ud800"',
        r'key = "\U00110000"',
        'key = "\\',
        'key = """a"""',
        "key = '''a'''",
        'key = "\x01"',
        "key = 'a\x7f'",
        "key = 1 # \x00",
        "# \x1b",
        "key = 1\r",
        "key = " + "9" * 10_000,
    ],
)
def test_what_is_something_else_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    (found,) = lines(tmp_path / "flat.toml", f"# a comment\n\n \t\n{line}")
    assert found.value is None
    assert found.number == 4
    assert found.text.removesuffix("...") == line[:TEXT_CHARACTERS_MAX]


def test_the_same_ends_of_lines_as_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "flat.toml"
    assert read(path, b"# one\r\na = 1\r\n\r\nb = 'x'\r\n") == {"a": 1, "b": "x"}
    for end in ("\r", "\x0b", "\x0c", "\x85", "\u2028"):
        assert read(path, f"a = 1{end}b = 2\n") is None
    with pytest.raises(UnicodeDecodeError):
        lines(path, b"a = '\xff'\n")


def test_no_line_is_missed(tmp_path: Path) -> None:
    found = lines(tmp_path / "flat.toml", "a = 1 \n b = 'two'\n# none\nthree\n[four]\n")
    assert [(each.number, each.key, each.value, each.text) for each in found] == [
        (1, "a", 1, "a = 1"),
        (2, "b", "two", "b = 'two'"),
        (4, "three", None, "three"),
        (5, "[four]", None, "[four]"),
    ]


# Near to what can be read, so that much of it is.
PIECES = st.sampled_from(
    [
        *(
            "a",
            "b-1",
            "a.b",
            "_",
            " = ",
            "=",
            "\n",
            "\r\n",
            "\r",
            " ",
            "\t",
            "#",
            "[a]",
            "\\u00e9",
            "\\n",
            "\\",
            "\\U0001F600",
        ),
        *(
            '"',
            "'",
            '"text"',
            "'text'",
            '""',
            "1",
            "0",
            "12_3",
            ".5",
            "1.5",
            "true",
            "false",
            "-",
            "e3",
            "é",
            "\x00",
            "\x7f",
        ),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=30).map("a = {}".format))
def test_whatever_is_read_toml_reads_the_same(tmp_path_factory: PLACE, text: str) -> None:
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return
    values = read(tmp_path_factory.getbasetemp() / "flat.toml", content)
    if values is not None:
        assert repr(values) == repr(tomllib.loads(text))


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    st.sampled_from(["# and why", "", "#", "\t# 'x' \"y\""]),
)
def test_every_text_can_be_written(tmp_path_factory: PLACE, text: str, comment: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    assert read(tmp_path_factory.getbasetemp() / "flat.toml", f'key = "{escaped}"{comment}\n') == {"key": text}


@given(st.binary(max_size=60))
def test_no_file_is_too_strange(tmp_path_factory: PLACE, content: bytes) -> None:
    try:
        read(tmp_path_factory.getbasetemp() / "flat.toml", content)
    except UnicodeDecodeError:
        pass

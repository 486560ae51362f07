"""What an event's script declares: read without running it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.game.attributes import AttributesError, declared_attributes
from gsrt.game.model import ATTRIBUTE_KINDS
from tests.support import reproducible as reproducible


@pytest.mark.parametrize(
    "source",
    [
        'ATTRIBUTES = {"a": "number", "b-c": "text"}',
        "# first\n\"\"\"what it is\"\"\"\nATTRIBUTES={'a':'number','b-c':'text',}\nx = 1\n",
        'ATTRIBUTES = {\n    "a": "number",  # so many }\n\n    "b-c":\r\n        "text",\n}\n',
    ],
)
def test_they_may_be_written_as_python_allows(source: str) -> None:
    assert declared_attributes(source) == {"a": "number", "b-c": "text"}


@pytest.mark.parametrize("source", ["", "ATTRIBUTES = {}", "x = 1\n", "  ATTRIBUTES = 5", "ATTRIBUTES_MAX = 5\n"])
def test_there_may_be_none(source: str) -> None:
    assert declared_attributes(source) == {}


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("\nATTRIBUTES = 5", 2, "expected ATTRIBUTES = {"),
        ('ATTRIBUTES = {"a": number}', 1, "expected ATTRIBUTES = {"),
        ('ATTRIBUTES = {\n"a": "number"\n"b": "text"}', 3, "expected ATTRIBUTES = {"),
        ('ATTRIBUTES = {\n"a": "numbr"}', 2, "a is 'numbr'; expected"),
        ('ATTRIBUTES = {"a": "text",\n"a": "text"}', 2, "a is declared twice"),
        ('ATTRIBUTES = {"a b": "text"}', 1, "'a b' is no name"),
        ('ATTRIBUTES = {"a', 1, "expected ATTRIBUTES = {"),
        ("ATTRIBUTES = {", 1, "expected ATTRIBUTES = {"),
        ("ATTRIBUTES = {" + "".join(f'"a{n}": "text",' for n in range(65)) + "}", 1, "at most 64"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(source: str, line: int, words: str) -> None:
    with pytest.raises(AttributesError) as told:
        declared_attributes(source)
    assert told.value.line == line
    assert words in str(told.value)


@given(st.text(st.sampled_from("ab{}:,\"'# \n=")), st.text(max_size=20))
def test_any_text_is_understood_or_refused(inner: str, anything: str) -> None:
    for source in (f"ATTRIBUTES = {inner}", f"ATTRIBUTES = {{{inner}", f'ATTRIBUTES = {{"a": {anything}'):
        try:
            found = declared_attributes(source)
        except AttributesError as error:
            assert 1 <= error.line <= source.count("\n") + source.count("\r") + 1
        else:
            assert set(found.values()) <= set(ATTRIBUTE_KINDS)

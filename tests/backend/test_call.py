"""What a field takes, and what is said of what it does not take."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.backend.call import (
    ANY,
    FLAG,
    INTEGER,
    INTEGER_MAX,
    LIST,
    NUMBER,
    OBJECT,
    TEXT,
    TEXT_CHARACTERS_MAX,
    Failure,
    Field,
    check_fields,
)

KINDS = (TEXT, NUMBER, INTEGER, FLAG, OBJECT, LIST, ANY)

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (TEXT, "x"),
        (TEXT, ""),
        (TEXT, "äöü 🎲"),
        (TEXT, "x" * TEXT_CHARACTERS_MAX),
        (NUMBER, 1),
        (NUMBER, -1.5),
        (NUMBER, 1e300),
        (NUMBER, INTEGER_MAX),
        (INTEGER, 0),
        (INTEGER, -INTEGER_MAX),
        (FLAG, False),
        (OBJECT, {"a": None}),
        (LIST, [1, "x"]),
        (ANY, [{}]),
        (ANY, False),
    ],
)
def test_what_fits_comes_as_it_is(kind: str, value: object) -> None:
    assert Field("f", kind).check(value) == (value, None)


@pytest.mark.parametrize(
    ("kind", "value", "wrong"),
    [
        (TEXT, 1, "must be a text"),
        (TEXT, "x" * (TEXT_CHARACTERS_MAX + 1), "must be at most 4,096 characters"),
        (TEXT, "half \ud83c", "must be a text of whole characters"),
        (TEXT, "a\0b", "must be a text of whole characters"),
        (NUMBER, "1", "must be a number"),
        (NUMBER, True, "must be a number"),
        (NUMBER, math.nan, "must be a number"),
        (NUMBER, math.inf, "must be a number"),
        (NUMBER, 10**400, "must be at most 9,007,199,254,740,992"),
        (INTEGER, 1.5, "must be a whole number"),
        (INTEGER, True, "must be a whole number"),
        (INTEGER, math.inf, "must be a whole number"),
        (INTEGER, -(10**400), "must be at least -9,007,199,254,740,992"),
        (INTEGER, 1e300, "must be at most 9,007,199,254,740,992"),
        (FLAG, 1, "must be true or false"),
        (OBJECT, [], "must be an object"),
        (LIST, {}, "must be a list"),
    ],
)
def test_what_does_not_fit_is_named(kind: str, value: object, wrong: str) -> None:
    assert Field("f", kind).check(value) == (None, wrong)


def test_a_float_that_is_whole_is_a_whole_number() -> None:
    value, wrong = Field("f", INTEGER).check(3.0)
    assert (value, type(value), wrong) == (3, int, None)


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        (Field("f", TEXT, most=3), "abcd", "must be at most 3 characters"),
        (Field("f", TEXT, least=2), "a", "must be at least 2 characters"),
        (Field("f", LIST, most=1), [1, 2], "must be at most 1 elements"),
        (Field("f", LIST, least=1), [], "must be at least 1 elements"),
        (Field("f", INTEGER, least=1, most=1000), 0, "must be at least 1"),
        (Field("f", INTEGER, least=1, most=1000), 1001, "must be at most 1,000"),
        (Field("f", NUMBER, most=0.5), 0.75, "must be at most 0.5"),
    ],
)
def test_bounds(field: Field, value: object, wrong: str) -> None:
    assert field.check(value) == (None, wrong)


@pytest.mark.parametrize("value", [None, ""])
def test_what_is_mandatory_may_not_be_missing(value: object) -> None:
    assert Field("f", TEXT, required=True).check(value) == (None, "may not be null")


def test_what_is_not_given_has_its_default() -> None:
    fields = (Field("a", INTEGER, default=7), Field("b", TEXT))
    assert check_fields(fields, {"a": None}) == {"a": 7, "b": None}


def test_all_that_is_wrong_is_told_at_once_and_the_rest_is_left_out() -> None:
    fields = (Field("a", INTEGER), Field("b", TEXT, required=True), Field("c", TEXT))
    with pytest.raises(Failure) as caught:
        check_fields(fields, {"a": "x", "c": "fine", "d": 1})
    assert caught.value.errors == {"a": "must be a whole number", "b": "may not be null"}
    assert check_fields(fields, {"a": 1, "b": "x", "d": 1}) == {"a": 1, "b": "x", "c": None}


def test_a_failure_has_its_codes_by_name() -> None:
    assert Failure(USERNAME="TAKEN").errors == {"USERNAME": "TAKEN"}
    assert Failure({"a b": "C"}, D="E").errors == {"a b": "C", "D": "E"}


@given(st.sampled_from(KINDS), JSON_VALUES, st.booleans())
def test_any_value_is_taken_or_refused_in_words(kind: str, value: object, required: bool) -> None:
    checked, wrong = Field("f", kind, required=required).check(value)
    if wrong is not None:
        assert checked is None
        assert wrong.isascii()
    elif kind is not ANY:
        json.dumps(checked, allow_nan=True)
        if type(checked) is str:
            checked.encode()

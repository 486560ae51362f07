"""docs/REQUESTS.md: the reference is that of the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gsrt.backend.registry import response_of
from tests.docs.request_reference import DOCUMENT, modules, with_reference

if TYPE_CHECKING:
    from gsrt.backend.call import RequestModule


def test_the_reference_is_that_of_the_code() -> None:
    text = DOCUMENT.read_text()
    assert text == with_reference(text), "write it anew: python -m tests.docs.request_reference"


@pytest.mark.parametrize("request_module", modules(), ids=lambda module: module.NAME)
def test_every_request_says_what_it_is(request_module: RequestModule) -> None:
    assert request_module.SUMMARY.endswith(".")
    assert response_of(request_module).endswith("Response")
    for field in (*request_module.FIELDS, *request_module.ANSWER):
        assert field.doc, f"{request_module.NAME}: what is {field.name}?"
    for name, code, when in request_module.ERRORS:
        assert name and code and when

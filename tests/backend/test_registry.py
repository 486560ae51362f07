"""Which requests there are, and that each says what it has to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gsrt.backend import requests
from gsrt.backend.call import ANY, FLAG, INTEGER, LIST, NUMBER, OBJECT, TEXT, Field
from gsrt.backend.registry import Registry, name_of, response_of

ALL = Registry().names()


def test_a_request_is_found_by_its_name() -> None:
    registry = Registry()
    found = registry.find("AccountDetailsRequest")
    assert found is not None
    assert found.NAME == "AccountDetailsRequest"
    assert registry.find("AccountDetailsRequest") is found


@pytest.mark.parametrize(
    "name", ["", "Request", "account_details", "SigningInRequest", "_SigningInRequest", "x" * 5000]
)
def test_what_is_no_request(name: str) -> None:
    assert Registry().find(name) is None


def test_files_that_are_no_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("good_one.py", "only_compiled.pyc", "notes.txt", ".good_two.py.swp", "not-a-name.py", "_shared.py"):
        (tmp_path / file).write_text("")
    monkeypatch.setattr(requests, "__path__", [str(tmp_path)])
    assert Registry().names() == ["GoodOneRequest", "OnlyCompiledRequest"]


def test_a_module_is_loaded_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{requests.__name__}.made_for_this_test"
    (tmp_path / "made_for_this_test.py").write_text("NAME = 'MadeForThisTestRequest'\nRESPONSE = 'AnyResponse'\n")
    monkeypatch.setattr(requests, "__path__", [str(tmp_path)])
    registry = Registry()
    assert registry.names() == ["MadeForThisTestRequest"]
    assert name not in sys.modules
    found = registry.find("MadeForThisTestRequest")
    assert found is not None
    assert response_of(found) == ".AnyResponse"
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(requests, "made_for_this_test")


@pytest.mark.parametrize(
    ("module", "name"), [("account_details", "AccountDetailsRequest"), ("log_event", "LogEventRequest")]
)
def test_names(module: str, name: str) -> None:
    assert name_of(module) == name


@pytest.mark.parametrize("name", ALL)
def test_every_request_declares_what_it_takes_and_answers(name: str) -> None:
    request = Registry().find(name)
    assert request is not None
    assert name == request.NAME
    assert response_of(request).endswith("Response")
    assert request.SUMMARY.endswith(".")
    for fields in (request.FIELDS, request.ANSWER):
        names = [field.name for field in fields]
        assert len(names) == len(set(names))
        for field in fields:
            assert isinstance(field, Field)
            assert field.kind in (TEXT, NUMBER, INTEGER, FLAG, OBJECT, LIST, ANY)
            assert field.doc
    for field_name, code, when in request.ERRORS:
        assert field_name
        assert code
        assert when

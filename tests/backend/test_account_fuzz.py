"""Any fields whatever: a request is answered or refused in words, never by a mistake of ours, and the books balance."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsrt.backend.registry import Registry
from tests.backend.office import Device, Office

OURS = (
    "RegistrationRequest",
    "AuthenticationRequest",
    "DeviceAuthenticationRequest",
    "AccountDetailsRequest",
    "ChangeUserDetailsRequest",
    "EndSessionRequest",
)
NAMES = sorted({field.name for name in OURS for field in Registry().find(name).FIELDS})  # type: ignore[union-attr]

FEW_TEXTS = st.sampled_from(["a", "A", "b", "", "x" * 300, "\ud800", "\0", "ß", "a' OR 1=1 --"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | FEW_TEXTS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), FEW_TEXTS | VALUES, max_size=len(NAMES))
STEPS = st.lists(st.tuples(st.sampled_from(OURS), st.integers(0, 2), FIELDS), min_size=1, max_size=6)

UNBALANCED = (
    "SELECT player FROM (SELECT player, code, delta FROM ledger"
    " UNION ALL SELECT player, currency, -amount FROM balances) GROUP BY player, code HAVING sum(delta) <> 0"
)


@pytest.fixture(scope="module")
def lasting() -> Iterator[Office]:
    with tempfile.TemporaryDirectory() as folder:
        made = Office(Path(folder), login_lock_seconds=1.0)
        yield made
        made.close()


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_requests_in_any_order(lasting: Office, steps: list[tuple[str, int, dict[str, Any]]]) -> None:
    devices: list[Device | None] = [lasting.device(), lasting.device(), None]  # None: a script
    for name, who, fields in steps:
        lasting.now += 1
        device = devices[who]
        answer = lasting.ask(name, fields, connection=device)
        json.dumps(answer, allow_nan=False)
        for code in answer.get("error", {}).values():
            assert not code.startswith(("FAILED", "NOT_AVAILABLE")), lasting.log_text.getvalue()
        if device is not None and answer.get("userId") is not None:
            assert device.player_id == answer["userId"]
    assert lasting.rows(UNBALANCED) == []
    assert lasting.desk.under_way == 0
    assert lasting.log_text.getvalue() == ""

"""A plugin of pytest for emulated machines: what cannot be there is skipped, with its reason, and nothing is timed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# reason -> beginnings of test ids
SKIPPED: dict[str, tuple[str, ...]] = {}

EXAMPLES_MAX = 25
HYPOTHESIS_SETTINGS = "_hypothesis_internal_use_settings"

settings.register_profile(
    "emulated", deadline=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES_MAX, database=None
)
settings.load_profile("emulated")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for reason, beginnings in SKIPPED.items():
            if item.nodeid.startswith(beginnings):
                item.add_marker(pytest.mark.skip(reason=reason))
        fewer_examples(getattr(item, "obj", None))


def fewer_examples(test: object) -> None:
    """Hypothesis keeps what @settings says in that attribute of the function. The examples are for this machine's own
    Python to find; here is seen that the same comes out elsewhere."""
    function = getattr(test, "__func__", test)
    said = getattr(function, HYPOTHESIS_SETTINGS, None)
    if isinstance(said, settings) and said.max_examples > EXAMPLES_MAX:
        setattr(function, HYPOTHESIS_SETTINGS, settings(said, max_examples=EXAMPLES_MAX))

"""A plugin of pytest for emulated machines: what cannot be there is skipped, with its reason, and nothing is timed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# reason -> beginnings of test ids
SKIPPED: dict[str, tuple[str, ...]] = {}

settings.register_profile("emulated", deadline=None, suppress_health_check=list(HealthCheck), max_examples=25)
settings.load_profile("emulated")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for reason, beginnings in SKIPPED.items():
            if item.nodeid.startswith(beginnings):
                item.add_marker(pytest.mark.skip(reason=reason))

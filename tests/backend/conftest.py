"""An office, or a scene, for each test that wants one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backend.office import Office
from tests.backend.scene import Scene


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    """With one player, ann."""
    made = Scene()
    made.player("ann")
    yield made
    made.close()

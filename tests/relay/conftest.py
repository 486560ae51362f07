"""A rig for every test, and reproducible examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import tests.support.reproducible  # noqa: F401 - importing it is what sets it
from tests.relay.rig import Rig


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    """Makes rigs with other limits; they are closed at the end, and no handler may have raised."""
    with ExitStack() as stack:
        yield lambda *size, **limits: stack.enter_context(Rig(*size, **limits))


@pytest.fixture
def rig(rigs: Callable[..., Rig]) -> Rig:
    """A rig with the generic limits."""
    return rigs()

"""Houses for links; each is closed with the test, and must have logged no error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import tests.support.reproducible  # noqa: F401 - importing it is what sets it
from tests.links.house import House

Houses = Callable[..., House]


@pytest.fixture
def houses() -> Iterator[Houses]:
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(House(**limits))


@pytest.fixture
def house(houses: Houses) -> House:
    return houses()

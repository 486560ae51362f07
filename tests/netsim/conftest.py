"""A server to be reached over a bad network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.netsim.echo import Echo


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()

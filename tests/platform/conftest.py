"""Fixtures of the platform's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.platform.server import PlatformServer

Servers = Callable[..., PlatformServer]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Makes servers, which all end with the test."""
    with ExitStack() as stack:

        def make(**how: Any) -> PlatformServer:
            directory = tmp_path / f"server-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            return stack.enter_context(PlatformServer(directory, **how))

        yield make


@pytest.fixture
def server(servers: Servers) -> PlatformServer:
    """A server with the generic profile's limits."""
    return servers()

"""One server for what the documents say about servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.driver import Driver
from tests.sessions.match import MakeMatch, Match
from tests.support.server import ServerProcess


@pytest.fixture(scope="package")
def documented_server(certificate: tuple[str, str]) -> Iterator[ServerProcess]:
    """A server with the generic profile, as the documents describe it."""
    with ServerProcess(certificate=certificate) as server:
        yield server


@pytest.fixture
def new_match(documented_server: ServerProcess, driver: Driver) -> Iterator[MakeMatch]:
    """Makes sessions, which end with the test."""
    matches: list[Match] = []

    def make(count: int) -> Match:
        matches.append(Match(documented_server, driver, count))
        return matches[-1]

    yield make
    for match in matches:
        documented_server.end(match.table)

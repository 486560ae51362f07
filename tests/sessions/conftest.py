"""One server for all session tests, and a session of it for each."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.doubles.driver import Driver
from tests.sessions.match import MakeMatch, Match
from tests.support.server import ServerProcess

# Short enough for tests that wait for them, long enough that a busy machine does not meet them by accident.
SHORT_TIMES = {
    "grace_seconds": 0.5,
    "session_linger_seconds": 300,
    "udp_hello_interval_seconds": 0.05,
    "udp_hello_attempts": 100,
}


@pytest.fixture(scope="session")
def shared_server(certificate: tuple[str, str]) -> Iterator[ServerProcess]:
    """Started once; ends with SIGTERM and must say exit 0."""
    with ServerProcess(certificate=certificate, overrides=SHORT_TIMES) as server:
        yield server


@pytest.fixture
def server(shared_server: ServerProcess) -> ServerProcess:
    """The shared server, which must have survived the test before."""
    assert shared_server.process.poll() is None, f"the server is gone:\n{shared_server.log()}"
    return shared_server


@pytest.fixture
def new_match(server: ServerProcess, driver: Driver) -> Iterator[MakeMatch]:
    """Makes sessions; they are ended with the test, and the server must have logged no error."""
    matches: list[Match] = []
    errors = len(server.errors())

    def make(count: int) -> Match:
        matches.append(Match(server, driver, count))
        return matches[-1]

    yield make
    for match in matches:
        if match.table.session_id in server.session_ids():
            server.end(match.table)
    assert server.errors()[errors:] == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the server's log beside a failure."""
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, ServerProcess):
        report.sections.append(("log of the server", server.log()))
    return report

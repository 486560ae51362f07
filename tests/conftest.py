"""Fixtures every test may use: a loop for clients, and a certificate. And the works that are done beside the tests."""

from __future__ import annotations

import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.driver import Driver
from tests.support import beside

BESIDE = "beside"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so it is behind a shell's `&`, and programs inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{BESIDE}(work): the test waits for work that is done beside other tests")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that wait for such work are the last."""
    items.sort(key=lambda item: item.get_closest_marker(BESIDE) is not None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The works that are needed begin."""
    if not session.config.option.collectonly:
        marks = [mark for item in session.items for mark in item.iter_markers(BESIDE)]
        beside.begin(dict.fromkeys(mark.args[0] for mark in marks))


def pytest_unconfigure() -> None:
    beside.end()


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A loop whose participants are disposed of at the end."""
    with Driver() as driver:
        yield driver


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of a self-signed RSA certificate and its key."""
    directory: Path = tmp_path_factory.mktemp("certificate")
    paths = str(directory / "cert.pem"), str(directory / "key.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=gsrt-test"
    subprocess.run([*command.split(), "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@pytest.fixture(scope="session")
def server_context(certificate: tuple[str, str]) -> ssl.SSLContext:
    """A server-side TLS context for the fake server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context

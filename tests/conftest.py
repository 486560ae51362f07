"""Fixtures every test may use: a loop for clients, and a certificate."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.driver import Driver


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

"""Certificates of several kinds, made once per run by the openssl program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import tests.support.reproducible  # noqa: F401 - importing it is what sets it


def make_pair(directory: Path, name: str, *new_key: str, subject: str = "/CN=test") -> tuple[str, str]:
    """A self-signed certificate and key; `new_key` are the options of openssl req that say of which kind."""
    cert, key = str(directory / f"{name}.cert"), str(directory / f"{name}.key")
    command = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-days",
        "30",
        "-subj",
        subject,
        "-keyout",
        key,
        "-out",
        cert,
        *new_key,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.fixture(scope="session")
def rsa_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of an RSA-2048 certificate and its key."""
    return make_pair(tmp_path_factory.mktemp("rsa"), "rsa", "-newkey", "rsa:2048")


@pytest.fixture(scope="session")
def ec_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of an elliptic-curve certificate and its key."""
    return make_pair(tmp_path_factory.mktemp("ec"), "ec", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")

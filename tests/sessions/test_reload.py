"""SIGHUP: what the server has read from files is read again, at once, whatever the profile says of how often."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.driver import Driver
from tests.sessions.match import Match
from tests.support.server import ServerProcess, until

READ_AGAIN = "info reading the files again"


@pytest.fixture
def own_certificate(certificate: tuple[str, str], tmp_path: Path) -> tuple[str, str]:
    """A copy that may be exchanged."""
    cert, key = (shutil.copy(path, tmp_path) for path in certificate)
    return str(cert), str(key)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "says.py"
    path.write_text(saying(1))
    return path


@pytest.fixture
def server(own_certificate: tuple[str, str], script: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        certificate=own_certificate, overrides={"script_reload_seconds": 0}, arguments=("--script", str(script))
    ) as server:
        yield server


def saying(number: int) -> str:
    return f"@session.on_packet(8)\ndef say(packet):\n    session.send(9, {{1: {number}}}, reliable=True)\n"


def reload(server: ServerProcess) -> None:
    before = server.log_path.read_text().count(READ_AGAIN)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: server.log_path.read_text().count(READ_AGAIN) > before, server)


def shown(server: ServerProcess) -> str:
    """The certificate that a client sees now, as PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((server.host, server.port), timeout=20) as plain,
        context.wrap_socket(plain) as connection,
    ):
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der)


def test_a_changed_script_takes_over(server: ServerProcess, driver: Driver, script: Path) -> None:
    match = Match(server, driver, 1)
    double = match.ready("cs-plain", 1)
    script.write_text(saying(2))

    reload(server)
    answers: list[bytes | None] = []

    def has_changed() -> bool:
        answers[:] = [event.data for event in double.of_op_code(9)]
        double.send(8)
        return len(set(answers)) == 2

    driver.run_until(has_changed, "the new script's answer", longest_wait=0.01)


def test_a_new_certificate_is_shown_and_a_bad_one_is_not(
    server: ServerProcess, own_certificate: tuple[str, str]
) -> None:
    cert, key = own_certificate
    first = shown(server)
    Path(cert).write_text("no certificate")
    server.allowed_errors = ("error the certificate stays as it was ",)
    reload(server)
    assert shown(server) == first
    assert any(line.startswith(server.allowed_errors) for line in server.log_path.read_text().splitlines())

    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout {key} -out {cert}"
    subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
    reload(server)

    new = Path(cert).read_text()
    assert new != first
    until(lambda: shown(server) == new, server)  # the first to come still sees the old one, while the new one loads


def test_a_game_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    with ServerProcess(overrides={"game_reload_seconds": 0}, arguments=(str(make_game(folder)),)) as server:
        (folder / "game.toml").write_text('name = "Renamed"\napi_key = "k"\nsecret = "s"\n')
        reload(server)
        until(lambda: "info game taken up" in server.log(), server)


def make_game(folder: Path) -> Path:
    folder.mkdir()
    (folder / "game.toml").write_text('name = "First"\napi_key = "k"\nsecret = "s"\n')
    return folder

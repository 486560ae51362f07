"""The certificate made on first start serves the official clients; a pair that cannot is named for what it is."""

from __future__ import annotations

import os
import select
import shutil
import signal
import ssl
import stat
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from gsrt.transports import certificate
from gsrt.transports.certificate import CertificateError, CertificateMaker, check_pair
from tests.transports.conftest import make_pair

DEADLINE = 60  # seconds an RSA key may take on the slowest machine


def wait(descriptor: int) -> None:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(DEADLINE * 1000), "openssl did not end"


def make(directory: Path, *address: str) -> tuple[str, str]:
    maker = CertificateMaker(str(directory), *address)
    wait(maker.start())
    return maker.finish()


def fake_openssl(directory: Path, script: str) -> str:
    """A directory for PATH whose openssl is a shell script."""
    directory.mkdir()
    program = directory / "openssl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def describe(cert: str) -> dict[str, Any]:
    """The fields of a certificate file as the ssl module reads them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cert)
    (described,) = context.get_ca_certs() or [ssl._ssl._test_decode_cert(cert)]  # type: ignore[attr-defined]
    return described


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make(tmp_path_factory.mktemp("made") / "deep" / "directory")


def test_makes_a_pair_that_passes_its_own_check(made: tuple[str, str]) -> None:
    check_pair(*made)
    assert CertificateMaker(str(Path(made[0]).parent)).existing() == made


def test_only_the_owner_reads_the_key(made: tuple[str, str]) -> None:
    assert stat.S_IMODE(os.stat(made[1]).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(Path(made[1]).parent).st_mode) == 0o700


def test_nothing_else_is_left_behind(made: tuple[str, str]) -> None:
    assert sorted(os.listdir(Path(made[0]).parent)) == ["certificate.pem", "key.pem"]


def test_the_certificate_says_rsa_ten_years_and_its_names(made: tuple[str, str]) -> None:
    text = subprocess.run(
        ["openssl", "x509", "-in", made[0], "-noout", "-text"], check=True, capture_output=True, timeout=60
    )
    described = text.stdout.decode()
    assert "rsaEncryption" in described and "(2048 bit)" in described and "sha256WithRSAEncryption" in described
    assert "DNS:localhost" in described and "IP Address:127.0.0.1" in described
    assert f"DNS:{os.uname().nodename}" in described
    fields = describe(made[0])
    years = (
        (ssl.cert_time_to_seconds(fields["notAfter"]) - ssl.cert_time_to_seconds(fields["notBefore"])) / 86400 / 365.25
    )
    assert years > 10


def test_a_verifying_client_that_trusts_it_is_content(made: tuple[str, str]) -> None:
    from gsrt.transports import tls

    settings = ssl.create_default_context(cafile=made[0])
    for name in ("localhost", "127.0.0.1"):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = settings.wrap_bio(incoming, outgoing, server_hostname=name)
        server = tls.TlsLayer(tls.make_context(*made))
        for _ in range(4):
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            server.received(outgoing.read())
            incoming.write(server.to_send())
        assert server.established


def test_existing_is_none_until_both_files_are_whole(made: tuple[str, str], tmp_path: Path) -> None:
    maker = CertificateMaker(str(tmp_path))
    assert maker.existing() is None
    for path in made:
        shutil.copy(path, tmp_path)
    assert maker.existing() is not None
    key = tmp_path / "key.pem"
    whole = key.read_bytes()
    for broken in (b"", whole[:-40], b"\0" * len(whole), whole[40:]):
        key.write_bytes(broken)
        assert maker.existing() is None
    key.unlink()
    assert maker.existing() is None


def test_an_incomplete_pair_and_old_temporary_files_are_replaced(tmp_path: Path) -> None:
    for name in ("key.pem", ".key.pem.new", ".certificate.pem.new", ".configuration.new"):
        (tmp_path / name).write_text("left over")
    check_pair(*make(tmp_path))
    assert len(os.listdir(tmp_path)) == 2


def test_start_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_openssl(tmp_path / "bin", "exec sleep 60"))
    maker = CertificateMaker(str(tmp_path / "pair"))
    descriptor = maker.start()
    assert not select.select([descriptor], [], [], 0)[0]
    with pytest.raises(CertificateError, match="still at work"):
        maker.finish()
    with pytest.raises(CertificateError, match="already"):
        maker.start()
    maker.cancel()
    assert os.listdir(tmp_path / "pair") == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(CertificateError, match="no certificate"):
        maker.finish()
    maker.cancel()


def test_descriptors_are_not_leaked(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    make(tmp_path / "good")
    maker = CertificateMaker(str(tmp_path / "cancelled"))
    maker.start()
    maker.cancel()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_maker_can_be_used_again_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = CertificateMaker(str(tmp_path / "pair"))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", fake_openssl(tmp_path / "bin", "exit 1"))
        wait(maker.start())
        with pytest.raises(CertificateError, match="said nothing"):
            maker.finish()
    wait(maker.start())
    check_pair(*maker.finish())


def test_missing_openssl_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    maker = CertificateMaker(str(tmp_path / "pair"))
    with pytest.raises(CertificateError, match=r"apt-get install openssl.*--cert and --key"):
        maker.start()
    assert os.listdir(tmp_path / "pair") == []
    assert maker.existing() is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo '....+++' >&2; echo 'Error making certificate request: no entropy' >&2; exit 1", "no entropy"),
        ("kill -9 $$", "said nothing"),
        ("echo fine; exit 0", "fine"),
    ],
)
def test_a_failing_openssl_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str) -> None:
    monkeypatch.setenv("PATH", fake_openssl(tmp_path / "bin", script))
    maker = CertificateMaker(str(tmp_path / "pair"))
    wait(maker.start())
    with pytest.raises(CertificateError, match=f"{reason}.*--cert and --key"):
        maker.finish()
    assert os.listdir(tmp_path / "pair") == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CertificateError, match=r"cannot write .*file.*--cert and --key"):
        CertificateMaker(str(tmp_path / "file" / "pair")).start()


def test_a_place_that_is_taken_by_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem" / "x").mkdir(parents=True)
    maker = CertificateMaker(str(tmp_path))
    wait(maker.start())
    with pytest.raises(CertificateError, match=r"cannot write .*key\.pem"):
        maker.finish()
    assert os.listdir(tmp_path) == ["key.pem"]


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ((), ["127.0.0.1"]),
        (("192.0.2.7",), ["127.0.0.1", "192.0.2.7"]),
        (("127.0.0.1",), ["127.0.0.1"]),
        (("2001:db8::7",), ["127.0.0.1", "2001:DB8:0:0:0:0:0:7"]),
    ],
    ids=str,
)
def test_the_address_that_clients_are_told_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: tuple[str, ...], named: list[str]
) -> None:
    monkeypatch.setattr(certificate, "KEY_BITS", 1024)  # quicker
    cert, _ = make(tmp_path, *address)
    assert [name.strip() for kind, name in describe(cert)["subjectAltName"] if kind == "IP Address"] == named


@pytest.mark.parametrize(
    "host", ["", "pi", "pi.example.org", "under_score", "a,DNS:evil", "x" * 300, "h" * 63, "new\nline", "höst"]
)
def test_odd_host_names_never_break_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(certificate, "KEY_BITS", 1024)  # quicker
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", host, "", "", "")))
    cert, _ = make(tmp_path)
    names = [name for kind, name in describe(cert)["subjectAltName"] if kind == "DNS"]
    expected = {
        "pi": ["pi", "pi.local"],
        "pi.example.org": ["pi.example.org"],
        "h" * 63: ["h" * 63, "h" * 63 + ".local"],
    }
    assert names == [*expected.get(host, []), "localhost"]


def test_a_good_pair_and_a_chain_pass(rsa_pair: tuple[str, str], made: tuple[str, str], tmp_path: Path) -> None:
    check_pair(*rsa_pair)
    chain = tmp_path / "chain.pem"
    chain.write_text(Path(rsa_pair[0]).read_text() + Path(made[0]).read_text())
    check_pair(str(chain), rsa_pair[1])


def test_one_file_may_hold_both(rsa_pair: tuple[str, str], tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(Path(rsa_pair[1]).read_text() + Path(rsa_pair[0]).read_text())
    check_pair(str(both), str(both))


def test_elliptic_curve_certificates_are_refused(ec_pair: tuple[str, str]) -> None:
    with pytest.raises(CertificateError, match="not an RSA certificate"):
        check_pair(*ec_pair)


def test_the_key_of_another_certificate_is_refused(
    rsa_pair: tuple[str, str], made: tuple[str, str], ec_pair: tuple[str, str]
) -> None:
    with pytest.raises(CertificateError, match="is not the key of"):
        check_pair(rsa_pair[0], made[1])
    with pytest.raises(CertificateError, match="is not the key of"):
        check_pair(rsa_pair[0], ec_pair[1])


def test_swapped_files_are_noticed(rsa_pair: tuple[str, str]) -> None:
    with pytest.raises(CertificateError, match="wrong way round"):
        check_pair(rsa_pair[1], rsa_pair[0])
    with pytest.raises(CertificateError, match="no PEM private key"):
        check_pair(rsa_pair[0], rsa_pair[0])


def test_missing_files_and_directories_are_named(rsa_pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"cannot read the certificate .*missing"):
        check_pair(str(tmp_path / "missing"), rsa_pair[1])
    with pytest.raises(CertificateError, match=r"cannot read the key .*missing"):
        check_pair(rsa_pair[0], str(tmp_path / "missing"))
    with pytest.raises(CertificateError, match="Is a directory"):
        check_pair(str(tmp_path), rsa_pair[1])


def test_a_locked_key_is_refused_without_asking_for_its_password(rsa_pair: tuple[str, str], tmp_path: Path) -> None:
    for kind, command in (("pkcs8", ["pkcs8", "-topk8"]), ("traditional", ["rsa", "-aes128", "-traditional"])):
        locked = str(tmp_path / kind)
        subprocess.run(
            ["openssl", *command, "-in", rsa_pair[1], "-out", locked, "-passout", "pass:secret"],
            check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        with pytest.raises(CertificateError, match="locked with a password"):
            check_pair(rsa_pair[0], locked)


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="under 2048 bits"):
        check_pair(*make_pair(tmp_path, "short", "-newkey", "rsa:1024"))


@pytest.mark.parametrize("damage", ["cut", "garbage", "binary", "empty"])
@pytest.mark.parametrize("which", [0, 1])
def test_damaged_files_are_errors_with_advice(
    rsa_pair: tuple[str, str], tmp_path: Path, damage: str, which: int
) -> None:
    paths = [shutil.copy(path, str(tmp_path)) for path in rsa_pair]
    text = Path(paths[which]).read_text()
    middle = len(text) // 2
    damaged = {
        "cut": text[:middle],
        "garbage": text[:middle] + "????" + text[middle:],
        "binary": "\0\1\2",
        "empty": "",
    }[damage]
    Path(paths[which]).write_text(damaged)
    with pytest.raises(CertificateError, match=os.path.basename(paths[which])):
        check_pair(*paths)


def test_the_child_is_reaped(tmp_path: Path) -> None:
    before = set(psutil.Process().children())  # servers of other tests
    make(tmp_path)
    assert set(psutil.Process().children()) <= before
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL

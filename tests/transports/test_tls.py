"""The server's TLS against real clients over memory: the suites of each official client, records, ends, nonsense."""

from __future__ import annotations

import random
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.transports import tls
from gsrt.transports.tls import MAX_RECORD, ServerContext, TlsError, TlsLayer

CS_SUITES = ["ECDHE-RSA-AES128-SHA256", "AES128-SHA256", "ECDHE-RSA-AES128-SHA", "AES128-SHA"]
CPP_SUITES = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", *CS_SUITES]

ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23


@pytest.fixture(scope="module")
def context(rsa_pair: tuple[str, str]) -> ServerContext:
    return tls.make_context(*rsa_pair)


class Client:
    """A client of the `ssl` module over memory, and the server's layer it talks to."""

    def __init__(self, context: ServerContext, suite: str | None = None, *, tickets: bool = True) -> None:
        settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
        if suite is not None:
            settings.set_ciphers(f"{suite}:@SECLEVEL=0")
            settings.maximum_version = ssl.TLSVersion.TLSv1_2
        if not tickets:
            settings.options |= ssl.OP_NO_TICKET
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.connection = settings.wrap_bio(self.incoming, self.outgoing)
        self.server = TlsLayer(context)
        self.plaintext = b""  # what the server has read
        self.piece = 1 << 20  # bytes handed to the server at a time

    def shake_hands(self) -> Client:
        for _ in range(6):
            try:
                self.connection.do_handshake()
            except ssl.SSLWantReadError:
                pass
            self.to_server()
            self.to_client()
        assert self.server.established
        return self

    def to_server(self) -> None:
        data = self.outgoing.read()
        for start in range(0, len(data), self.piece):
            self.plaintext += self.server.received(data[start : start + self.piece])

    def to_client(self) -> bytes:
        data = self.server.to_send()
        self.incoming.write(data)
        return data

    def read(self) -> bytes:
        result = b""
        while True:
            try:
                piece = self.connection.read(1 << 16)
            except ssl.SSLWantReadError:
                return result
            if not piece:
                return result
            result += piece

    def close(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self.connection.unwrap()


def records(ciphertext: bytes) -> list[tuple[int, int]]:
    """(content type, length) of each TLS record of a stretch of ciphertext, which must end with a whole one."""
    found = []
    position = 0
    while position < len(ciphertext):
        assert ciphertext[position + 1] == 3
        length = int.from_bytes(ciphertext[position + 3 : position + 5], "big")
        found.append((ciphertext[position], length))
        position += 5 + length
    assert position == len(ciphertext)
    return found


def client_hello(server_name: str) -> bytes:
    """A TLS 1.2 ClientHello as C# sends it: its five RSA suites, and a server name without regard to what it is."""
    suites = bytes.fromhex("c012c027003cc013002f")
    name = server_name.encode()
    sni = b"\0" + len(name).to_bytes(2, "big") + name
    sni = len(sni).to_bytes(2, "big") + sni
    extensions = b"\0\0" + len(sni).to_bytes(2, "big") + sni
    extensions += bytes.fromhex("000a000800060017 00180019")  # supported groups
    extensions += bytes.fromhex("000b00020100")  # uncompressed points
    extensions += bytes.fromhex("000d000a0008 0601 0501 0401 0201")  # RSA signatures
    body = b"\x03\x03" + bytes(range(32)) + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\x01\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello


@pytest.mark.parametrize("suite", CPP_SUITES)
def test_every_suite_of_the_official_clients(context: ServerContext, suite: str) -> None:
    client = Client(context, suite).shake_hands()
    chosen = client.connection.cipher()
    assert chosen is not None and chosen[0] == suite
    assert client.connection.version() == "TLSv1.2"
    client.connection.write(b"\x24")
    client.connection.write(b"hello" * 100)
    client.to_server()
    assert client.plaintext == b"\x24" + b"hello" * 100
    client.server.encrypt(b"answer")
    client.to_client()
    assert client.read() == b"answer"


def test_a_client_with_all_suites_of_csharp_gets_the_best(context: ServerContext) -> None:
    chosen = Client(context, ":".join(reversed(CS_SUITES))).shake_hands().connection.cipher()
    assert chosen is not None and chosen[0] == "ECDHE-RSA-AES128-SHA256"


def test_browsers_get_tls_1_3_without_tickets(context: ServerContext) -> None:
    client = Client(context).shake_hands()
    assert client.connection.version() == "TLSv1.3"
    client.server.encrypt(b"x")
    assert [kind for kind, _ in records(client.to_client())] == [APPLICATION_DATA]
    client.connection.write(b"frame")
    client.to_server()
    assert client.plaintext == b"frame" and client.read() == b"x"


def test_a_modern_client_that_stops_at_tls_1_2_gets_gcm(context: ServerContext) -> None:
    chosen = Client(context, "DEFAULT").shake_hands().connection.cipher()
    assert chosen is not None and chosen[0] == "ECDHE-RSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("name", ["192.168.1.20", "127.0.0.1", "fe80::1", "game.local", "a" * 200])
def test_any_server_name_is_taken(context: ServerContext, name: str) -> None:
    server = TlsLayer(context)
    assert server.received(client_hello(name)) == b""
    answer = server.to_send()
    assert records(answer)[0][0] == HANDSHAKE and answer[5] == 2, "a ServerHello"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_older_versions_are_refused(context: ServerContext, version: ssl.TLSVersion) -> None:
    hello = bytearray(client_hello("host"))
    hello[9:11] = {ssl.TLSVersion.TLSv1: b"\x03\x01", ssl.TLSVersion.TLSv1_1: b"\x03\x02"}[version]
    server = TlsLayer(context)
    with pytest.raises(TlsError, match=r"PROTOCOL|VERSION"):
        server.received(bytes(hello))
    assert [kind for kind, _ in records(server.to_send())] == [ALERT]


@pytest.mark.parametrize("suite", [None, "ECDHE-RSA-AES128-SHA256", "AES128-SHA"])
@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_bytes_may_come_in_any_pieces(context: ServerContext, suite: str | None, piece: int) -> None:
    client = Client(context, suite)
    client.piece = piece
    client.shake_hands()
    message = random.Random(3).randbytes(3000)
    client.connection.write(message[:1])
    client.connection.write(message[1:])
    client.to_server()
    assert client.plaintext == message
    client.close()
    client.to_server()
    assert client.server.peer_closed


@pytest.mark.parametrize("suite", [None, *CPP_SUITES])
def test_one_call_is_one_record(context: ServerContext, suite: str | None) -> None:
    client = Client(context, suite).shake_hands()
    for size in (1, 2, 15, 16, 17, 500, 1024, 1400, 4096, MAX_RECORD - 1, MAX_RECORD):
        record = random.Random(size).randbytes(size)
        client.server.encrypt(record)
        sent = records(client.to_client())
        assert [kind for kind, _ in sent] == [APPLICATION_DATA], f"{size} bytes"
        assert client.connection.read(1 << 16) == record, "one read is one record"


def test_queued_records_stay_apart_and_in_order(context: ServerContext) -> None:
    client = Client(context, "ECDHE-RSA-AES128-SHA").shake_hands()
    for number in range(5):
        client.server.encrypt(b"%d" % number * (number + 1))
    assert [kind for kind, _ in records(client.to_client())] == [APPLICATION_DATA] * 5
    assert [client.connection.read(100) for _ in range(5)] == [b"0", b"11", b"222", b"3333", b"44444"]


@pytest.mark.parametrize("size", [0, MAX_RECORD + 1, 100_000])
def test_records_of_other_sizes_are_refused(context: ServerContext, size: int) -> None:
    client = Client(context).shake_hands()
    with pytest.raises(ValueError, match="1 to 16384 bytes"):
        client.server.encrypt(bytes(size))
    assert client.server.to_send() == b""


def test_nothing_is_encrypted_before_the_handshake_or_after_close(context: ServerContext) -> None:
    client = Client(context)
    with pytest.raises(TlsError, match="not done"):
        client.server.encrypt(b"early")
    client.shake_hands()
    client.server.close()
    with pytest.raises(TlsError, match="closed"):
        client.server.encrypt(b"late")


@pytest.mark.parametrize("suite", [None, "ECDHE-RSA-AES128-SHA256"])
def test_close_notify_from_the_client(context: ServerContext, suite: str | None) -> None:
    client = Client(context, suite).shake_hands()
    client.connection.write(b"last words")
    client.close()
    client.to_server()
    assert client.plaintext == b"last words"
    assert client.server.peer_closed
    assert client.server.received(b"anything after it") == b""
    client.server.close()
    client.to_client()
    client.connection.unwrap()


@pytest.mark.parametrize("suite", [None, "ECDHE-RSA-AES128-SHA256"])
def test_close_notify_from_the_server(context: ServerContext, suite: str | None) -> None:
    client = Client(context, suite).shake_hands()
    client.server.encrypt(b"last words")
    client.server.close()
    client.server.close()
    assert len(records(client.to_client())) == 2
    assert client.read() == b"last words"
    assert not client.server.peer_closed
    client.connection.unwrap()
    client.to_server()
    assert client.server.peer_closed


def test_a_plain_end_is_no_close_notify(context: ServerContext) -> None:
    client = Client(context).shake_hands()
    client.connection.write(b"data")
    client.to_server()
    client.server.received_eof()
    assert client.plaintext == b"data" and not client.server.peer_closed
    with pytest.raises(TlsError, match="ended"):
        client.server.received(b"x")
    client.server.encrypt(b"the other direction is still open")
    client.to_client()
    assert client.read().startswith(b"the other")


def test_an_end_within_the_handshake(context: ServerContext) -> None:
    hello = client_hello("host")
    for length in range(0, len(hello), 9):
        server = TlsLayer(context)
        assert server.received(hello[:length]) == b""
        server.received_eof()
        server.close()
        assert not server.established and not server.peer_closed
        assert server.to_send() == b""


def test_renegotiation_is_refused(context: ServerContext) -> None:
    client = Client(context, "AES128-SHA").shake_hands()
    assert context.current().options & ssl.OP_NO_RENEGOTIATION
    assert context.current().options & ssl.OP_NO_COMPRESSION
    assert client.connection.compression() is None


def test_an_alert_is_left_to_send_after_a_failure(context: ServerContext) -> None:
    client = Client(context, "AES128-SHA").shake_hands()
    client.connection.write(b"hello")
    data = bytearray(client.outgoing.read())
    data[-1] ^= 1
    with pytest.raises(TlsError, match=r"BAD_RECORD_MAC|DECRYPTION"):
        client.server.received(bytes(data))
    assert [kind for kind, _ in records(client.server.to_send())] == [ALERT]
    with pytest.raises(TlsError, match="ended"):
        client.server.received(b"more")
    client.server.close()


def test_a_fatal_alert_of_the_client_is_an_error(context: ServerContext) -> None:
    server = TlsLayer(context)
    server.received(client_hello("host"))
    with pytest.raises(TlsError, match="ALERT"):
        server.received(bytes.fromhex("15030300020230"))  # unknown_ca


@settings(max_examples=200)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x40\x01"]))
def test_garbage_is_waited_for_or_an_error(context: ServerContext, garbage: bytes, start: bytes) -> None:
    server = TlsLayer(context)
    try:
        assert server.received(start + garbage) == b""
    except TlsError:
        pass
    server.close()
    server.to_send()
    assert not server.established


def test_mutated_handshakes_and_records_only_raise_tls_errors(context: ServerContext) -> None:
    generator = random.Random(8)
    hello = client_hello("192.168.1.20")
    failures = 0
    for _ in range(1_500):
        data = bytearray(hello)
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        server = TlsLayer(context)
        try:
            server.received(bytes(data) + generator.randbytes(generator.randrange(40)))
        except TlsError:
            failures += 1
    for _ in range(60):
        client = Client(context, generator.choice(CPP_SUITES)).shake_hands()
        client.connection.write(generator.randbytes(generator.randint(1, 200)))
        sent = bytearray(client.outgoing.read())
        sent[generator.randrange(len(sent))] ^= 1 << generator.randrange(8)
        try:
            client.server.received(bytes(sent))
        except TlsError:
            failures += 1
    assert failures > 100


def test_remembered_sessions_are_bounded(rsa_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "MAX_REMEMBERED_SESSIONS", 5)
    server = tls.make_context(*rsa_pair)
    contexts = set()
    for _ in range(12):
        client = Client(server, "AES128-SHA", tickets=False).shake_hands()  # as C#: the server remembers the session
        client.server.close()
        contexts.add(server.current())
        assert server.current().session_stats()["number"] <= 5
    assert len(contexts) == 3


def test_clients_with_tickets_are_not_remembered(rsa_pair: tuple[str, str]) -> None:
    server = tls.make_context(*rsa_pair)
    for suite in ("AES128-SHA", None):
        client = Client(server, suite).shake_hands()
        client.server.close()
        assert server.current().session_stats()["number"] == 0


def test_a_pair_that_has_gone_still_serves(
    rsa_pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = (shutil.copy(path, str(tmp_path)) for path in rsa_pair)
    server = tls.make_context(cert, key)
    Path(cert).unlink()
    monkeypatch.setattr(tls, "MAX_REMEMBERED_SESSIONS", 0)
    Client(server).shake_hands()


def test_ssl_is_imported_only_with_the_first_context() -> None:
    program = (
        "import sys, gsrt.transports.tls, gsrt.transports.certificate\n"
        "sys.exit('ssl' in sys.modules or 'hashlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES128-SHA256", "AES128-SHA"])
def test_the_openssl_program_connects_with_an_ip_as_server_name(context: ServerContext, suite: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = listener.getsockname()[1]
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{port}",
            "-servername",
            "127.0.0.1",
            "-tls1_2",
            "-quiet",
        ]
        with subprocess.Popen(
            [*command, "-cipher", f"{suite}:@SECLEVEL=0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                server = TlsLayer(context)
                while not server.established:
                    server.received(connection.recv(65536))
                    connection.sendall(server.to_send())
                server.encrypt(b"from the server\n")
                server.close()
                connection.sendall(server.to_send())
                output, _ = process.communicate(timeout=20)
    assert output == b"from the server\n"

"""TLS under the relay: with a layer of the test's own, and with the real one."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from gsrt._relay import Stream
from gsrt.transports.tls import ServerContext, TlsError, TlsLayer
from tests.relay.rig import Line, Rig, masked, message, packet, websocket_frames
from tests.support import wire

Rigs = Callable[..., Rig]

GOODBYE = b"!goodbye!"


class XorLayer:
    """Stands in for TLS: each byte xor 0x5a behind a hello of one byte; a record is framed by two bytes of length."""

    def __init__(self) -> None:
        self.peer_closed = False
        self.records: list[bytes] = []
        self.closed = 0
        self.fail_received: Exception | None = None
        self.fail_encrypt: Exception | None = None
        self._hello = True
        self._out = b""

    def received(self, data: bytes) -> bytes:
        if self.fail_received is not None:
            raise self.fail_received
        if self._hello:
            self._hello = False
            data = data[1:]
            self._out += b"\x16"
        data = bytes(byte ^ 0x5A for byte in data)
        if GOODBYE in data:
            data = data[: data.index(GOODBYE)]
            self.peer_closed = True
        return data

    def encrypt(self, record: bytes) -> None:
        if self.fail_encrypt is not None:
            raise self.fail_encrypt
        assert isinstance(record, bytes)
        assert 0 < len(record) <= 16384
        self.records.append(record)
        self._out += len(record).to_bytes(2, "big") + bytes(byte ^ 0x5A for byte in record)

    def to_send(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def close(self) -> None:
        self.closed += 1
        self._out += b"\0\0"


def hidden(data: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in data)


def records(data: bytes) -> list[bytes]:
    """The records that a client of the XorLayer sees; empty is the goodbye."""
    found = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        found.append(hidden(data[at + 2 : at + 2 + size]))
        assert len(found[-1]) == size, "record cut short"
        at += 2 + size
    return found


class Veiled:
    """A peer behind the XorLayer."""

    def __init__(
        self, rig: Rig, number: int | None, *, websocket: bool = False, send_buffer: int | None = None
    ) -> None:
        self.rig = rig
        self.layers: list[XorLayer] = []

        def make() -> XorLayer:
            self.layers.append(XorLayer())
            return self.layers[-1]

        rig.handler.layer = make
        self.line: Line = rig.line(send_buffer=send_buffer)
        self.line.put(b"\x16")
        rig.flush()
        assert self.line.read() == b"\x16"
        self.websocket = websocket
        if websocket:
            self.put(b"GET /ws HTTP/1.1\r\n\r\n")
        if number is not None:
            self.send(packet(0, payload=b"%d" % number), packet(-7))
            assert rig.members[number].is_open

    @property
    def layer(self) -> XorLayer:
        return self.layers[0]

    def put(self, data: bytes) -> None:
        self.line.put(hidden(data))

    def send(self, *frames: bytes) -> None:
        self.put(message(*frames) if self.websocket else b"".join(frames))

    def records(self) -> list[bytes]:
        self.rig.flush()
        return records(self.line.read())


@pytest.mark.parametrize("websocket", [False, True], ids=["tls", "wss"])
def test_packets_through_a_layer(rig: Rig, websocket: bool) -> None:
    plain = rig.join(1)
    veiled = Veiled(rig, 2, websocket=websocket)
    assert veiled.line.stream.kind == ("wss" if websocket else "tls")
    veiled.send(packet(5, payload=b"up"))
    rig.flush()
    assert plain.op_codes() == [5]
    plain.put(packet(6, payload=b"down"), packet(7))
    got = veiled.records()
    if websocket:
        assert [[op_code for op_code, _ in websocket_frames(record)] for record in got] == [[2, 2]]
    else:
        op_codes = [[wire.decode_packet(body).op_code for body in wire.datagram_frames(record)] for record in got]
        assert op_codes == [[6], [7]], "a record each"


def test_a_record_holds_whole_packets_and_no_more_than_it_may(rig: Rig) -> None:
    plain = rig.join(1)
    veiled = Veiled(rig, 2, websocket=True)
    sizes = [15_900, 400, 60, 20, 16_000 - 12, 1, 8_000, 8_000, 8_000, 300, 15_000, 1_375, 1_000]
    for number, size in enumerate(sizes, 1):
        plain.put(packet(number, payload=bytes(size)))
    got = veiled.records()
    assert all(len(record) <= 16_384 for record in got)
    messages = [message for record in got for _, message in websocket_frames(record)]
    op_codes = [wire.decode_packet(body).op_code for message in messages for body in wire.datagram_frames(message)]
    relayed = [len(packet(number, sender=1, payload=bytes(size))) for number, size in enumerate(sizes, 1)]
    oversize = {number for number, size in enumerate(relayed, 1) if size > 16_000}
    assert op_codes == [number for number in range(1, len(sizes) + 1) if number not in oversize]
    assert rig.drops().get("oversize", 0) == len(oversize)


def test_a_full_socket_keeps_records_in_plain_until_it_takes_more(rigs: Rigs) -> None:
    rig = rigs(stream_out_soft_bytes=1 << 20)
    plain = rig.join(1)
    veiled = Veiled(rig, 2, send_buffer=4096)
    total = 400
    for number in range(1, total + 1):
        plain.put(packet(number, payload=bytes(500)))
        rig.flush()
    assert len(veiled.layer.records) < total
    assert veiled.line.stream.backlog > 100_000
    data = b""
    while veiled.line.stream.backlog:
        data += veiled.line.read()
        rig.take_streams()
        rig.flush()
    data += veiled.line.read()
    got = [wire.decode_packet(body).op_code for record in records(data) for body in wire.datagram_frames(record)]
    assert got == list(range(1, total + 1))


def test_the_limits_count_what_lies_in_plain(rigs: Rigs) -> None:
    rig = rigs(
        stream_out_soft_bytes=4096,
        stream_out_hard_bytes=8192,
        held_bytes_max=1024,
        packet_bytes_max=2000,
        login_bytes_max=2000,
    )
    plain = rig.join(1)
    veiled = Veiled(rig, 2, send_buffer=4096)
    while veiled.line.stream.backlog == 0:
        rig.members[2].send(packet(99, payload=bytes(900)))
        rig.flush()
    while not rig.drops():
        plain.put(packet(1, reliable=False, payload=bytes(200)))
        assert veiled.line.stream.backlog <= 4096
        rig.flush()
    assert rig.drops() == {"slow": 1}
    while not (doomed := rig.relay.take_doomed()):
        plain.put(packet(1, payload=bytes(200)))
        assert veiled.line.stream.backlog <= 8192
    assert [member.peer_id for member, _ in doomed] == [2]


def test_goodbye_of_the_other_side_is_orderly(rig: Rig) -> None:
    witness = rig.join(1)
    veiled = Veiled(rig, 2)
    veiled.put(packet(5) + GOODBYE)
    rig.flush()
    assert witness.op_codes() == [5]
    assert [(stream, orderly) for stream, _, orderly in rig.handler.closings] == [(veiled.line.stream, True)]
    assert veiled.line.stream.fd < 0


def test_goodbye_does_not_lose_what_the_rate_holds_back(rigs: Rigs) -> None:
    rig = rigs(packets_per_second=10, packets_burst=5)
    witness = rig.join(1)
    veiled = Veiled(rig, 2)
    rig.now += 100.0
    veiled.put(b"".join(packet(n) for n in range(1, 13)) + GOODBYE)
    rig.flush()
    assert witness.op_codes() == [1, 2, 3, 4, 5]
    assert rig.handler.closings == []
    for _ in range(3):
        rig.now += 0.5
        rig.relay.resume(rig.now)
        rig.take_streams()
    rig.flush()
    assert witness.op_codes() == list(range(6, 13))
    assert [orderly for _, _, orderly in rig.handler.closings] == [True]
    assert rig.relay.paused_count == 0


def test_our_goodbye_comes_last(rig: Rig) -> None:
    veiled = Veiled(rig, 2)
    rig.members[2].send(packet(-103, payload=b"\x08\x01"))
    veiled.line.stream.close()
    got = records(veiled.line.read())
    assert got[-1] == b""
    assert [wire.decode_packet(body).op_code for body in wire.datagram_frames(got[0])] == [-103]
    assert veiled.layer.closed == 1


def test_http_inside_tls(rig: Rig) -> None:
    veiled = Veiled(rig, None)
    veiled.put(b"GET / HTTP/1.1\r\n\r\n")
    assert veiled.records() == [b"HTTP/1.1 200 OK\r\n\r\nhello", b""]
    assert veiled.line.ended
    assert veiled.layer.closed == 1


def test_tls_inside_tls_is_refused(rig: Rig) -> None:
    veiled = Veiled(rig, None)
    rig.handler.opening = lambda stream, data: "unknown"  # type: ignore[method-assign]
    veiled.put(b"\x16\x03\x01")
    assert veiled.line.stream.fd < 0
    assert len(veiled.layers) == 1


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 7, 12])
def test_plaintext_in_pieces(rig: Rig, cut: int) -> None:
    """C++ and C# write the length of their login apart from its body: the first record holds a single byte."""
    veiled = Veiled(rig, None)
    data = packet(0, payload=b"2") + packet(-7)
    for at in range(0, len(data), cut):
        veiled.put(data[at : at + cut])
    assert rig.members[2].is_open


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_plaintext_in_pieces_after_waiting_for_tls(rig: Rig, cut: int) -> None:
    rig.handler.layer = XorLayer
    rig.handler.wait = True
    line = rig.line()
    line.put(b"\x16")
    assert rig.relay.paused_count == 1
    rig.handler.wait = False
    rig.relay.resume(rig.now)
    rig.flush()
    assert line.read() == b"\x16"
    data = packet(0, payload=b"2") + packet(-7)
    for at in range(0, len(data), cut):
        line.put(hidden(data[at : at + cut]))
    assert rig.members[2].is_open


@pytest.mark.parametrize("kept", [False, True])
def test_plaintext_that_comes_with_the_first_bytes(rig: Rig, kept: bool) -> None:
    """No TLS has it so, but nothing of it may be lost either."""
    rig.handler.layer = XorLayer
    rig.handler.wait = kept
    line = rig.line()
    data = packet(0, payload=b"2") + packet(-7)
    line.put(b"\x16" + hidden(data[:3]))
    rig.handler.wait = False
    rig.relay.resume(rig.now)
    rig.take_streams()
    line.put(hidden(data[3:]))
    assert rig.members[2].is_open


@pytest.mark.parametrize("error", [TlsError("bad record"), ValueError("no TLS")])
def test_ciphertext_that_is_none_ends_the_connection(rig: Rig, error: Exception) -> None:
    veiled = Veiled(rig, 2)
    veiled.layer.fail_received = error
    veiled.line.put(b"x")
    assert [(stream, orderly) for stream, _, orderly in rig.handler.closings] == [(veiled.line.stream, False)]
    assert not rig.members[2].is_open


def test_a_layer_that_fails_otherwise_costs_its_own_connection_only(rig: Rig) -> None:
    witness = rig.join(1)
    veiled = Veiled(rig, 2)
    veiled.layer.fail_received = RuntimeError("a fault of ours")
    veiled.line.put(b"x")
    assert [(stream, type(error)) for stream, error in rig.handler.failures] == [(veiled.line.stream, RuntimeError)]
    assert veiled.line.stream.fd < 0
    rig.handler.failures.clear()
    other = rig.join(3)
    other.put(packet(4))
    rig.flush()
    assert witness.op_codes() == [4]


def test_a_layer_that_will_not_encrypt_throws_its_output_away(rig: Rig) -> None:
    plain = rig.join(1)
    veiled = Veiled(rig, 2)
    veiled.layer.fail_encrypt = TlsError("closed already")
    plain.put(packet(5), packet(6))
    rig.flush()
    rig.flush()
    assert veiled.line.stream.backlog == 0
    veiled.layer.fail_encrypt = None
    plain.put(packet(7))
    (record,) = veiled.records()
    assert [wire.decode_packet(body).op_code for body in wire.datagram_frames(record)] == [7]


def test_a_layer_that_fails_in_a_flush_costs_its_own_connection_only(rig: Rig) -> None:
    """The others' output of that tick leaves all the same, and nothing is left that the next flush trips over."""
    sender, before = rig.join(1), rig.join(2)
    veiled = Veiled(rig, 3)
    after = rig.join(4)
    veiled.layer.fail_encrypt = RuntimeError("a fault of ours")
    sender.put(packet(5))
    rig.flush()
    assert before.op_codes() == [5]
    assert after.op_codes() == [5]
    assert [type(error) for _, error in rig.handler.failures] == [RuntimeError]
    assert veiled.line.stream.fd < 0
    rig.handler.failures.clear()
    sender.put(packet(6))
    rig.flush()
    assert after.op_codes() == [6]


# the real one


@pytest.fixture
def real(rig: Rig, certificate: tuple[str, str]) -> Rig:
    context = ServerContext(*certificate)
    rig.handler.layer = lambda: TlsLayer(context)
    return rig


class Secure:
    """A client of the real layer, without a thread: memory on both sides."""

    def __init__(self, rig: Rig, version: ssl.TLSVersion, send_buffer: int | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        self.rig = rig
        self.line = rig.line(send_buffer=send_buffer)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        self.plain = b""
        for _ in range(10):
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.exchange()
        self.exchange()

    def exchange(self) -> None:
        out = self._out.read()
        if out:
            self.line.send(out)
        self.rig.take_streams()
        self.rig.flush()
        self._in.write(self.line.read())

    def send(self, *writes: bytes) -> None:
        for each in writes:
            self.tls.write(each)
            self.exchange()

    def read(self) -> bytes:
        self.exchange()
        data = b""
        while True:
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return data
            if not piece:
                return data
            data += piece


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_real_layer(real: Rig, version: ssl.TLSVersion) -> None:
    witness = real.join(1)
    secure = Secure(real, version)
    login = packet(0, payload=b"2")
    secure.send(login[:1], login[1:], packet(-7), packet(5, payload=b"up"))
    assert witness.op_codes() == [5]
    witness.put(packet(6, payload=bytes(15_000)), packet(7))
    assert [wire.decode_packet(body).op_code for body in wire.datagram_frames(secure.read())] == [6, 7]
    with pytest.raises(ssl.SSLWantReadError):
        secure.tls.unwrap()
    secure.exchange()
    assert [orderly for _, _, orderly in real.handler.closings] == [True]


def test_the_real_layer_with_websocket_inside(real: Rig) -> None:
    secure = Secure(real, ssl.TLSVersion.TLSv1_2)
    secure.send(b"GET /ws HTTP/1.1\r\n\r\n", message(packet(0, payload=b"2"), packet(-7)), masked(9, b"p"))
    assert real.members[2].is_open
    assert websocket_frames(secure.read()) == [(10, b"p")]
    secure.line.stream.close()
    assert websocket_frames(secure.read()) == [(8, b"\x03\xe9")]


def test_the_real_layer_byte_by_byte(real: Rig) -> None:
    secure = Secure(real, ssl.TLSVersion.TLSv1_2)
    secure.tls.write(packet(0, payload=b"2") + packet(-7))
    for byte in secure._out.read():
        secure.line.put(bytes((byte,)))
    assert real.members[2].is_open


def test_a_record_that_has_been_tampered_with(real: Rig) -> None:
    secure = Secure(real, ssl.TLSVersion.TLSv1_2)
    secure.send(packet(0, payload=b"2") + packet(-7))
    secure.tls.write(packet(5))
    sealed = bytearray(secure._out.read())
    sealed[-1] ^= 1
    secure.line.put(bytes(sealed))
    assert [orderly for _, _, orderly in real.handler.closings] == [False]


@pytest.mark.parametrize(
    "first",
    [
        b"\x16\x03\x01\x00\x05hello" + bytes(40),
        b"\x16\x03\x01\xff\xff" + bytes(100),
        b"\x16\x03\x00" + bytes(30),
        b"\x16\x03\x01\x00\x00" * 60,
    ],
    ids=["no hello", "record too large", "old version", "empty records"],
)
def test_a_hello_that_is_none(real: Rig, first: bytes) -> None:
    line = real.line()
    line.put(first)
    assert line.stream.fd < 0
    assert [orderly for _, _, orderly in real.handler.closings] == [False]


def test_output_before_the_handshake_is_done_is_no_fault(real: Rig) -> None:
    line = real.line()
    line.put(b"\x16\x03")
    stream: Stream = line.stream
    assert stream.kind == "tls"
    stream.write(b"too early")
    real.flush()
    stream.close()
    assert real.handler.failures == []


def test_answers_that_nobody_reads_are_bounded_inside_tls_too(rigs: Rigs, certificate: tuple[str, str]) -> None:
    rig = rigs(stream_out_hard_bytes=131072)
    context = ServerContext(*certificate)
    rig.handler.layer = lambda: TlsLayer(context)
    secure = Secure(rig, ssl.TLSVersion.TLSv1_2, send_buffer=4096)
    secure.send(b"GET /ws HTTP/1.1\r\n\r\n")
    for _ in range(300):
        if secure.line.stream.fd < 0:
            break
        secure.tls.write(masked(9, bytes(125)) * 20)
        secure.line.send(secure._out.read())
        rig.take_streams()
        rig.flush()
        assert secure.line.stream.backlog <= 140_000
    assert secure.line.stream.fd < 0


def test_a_flood_to_a_tls_peer_shares_records_and_writes(rig: Rig) -> None:
    """A record and a write for each of thousands of packets would hold the loop up for seconds."""
    plain = rig.join(1)
    veiled = Veiled(rig, 2)
    before = rig.counts().get("writes_out", 0)
    plain.put(packet(1) * 3000)
    got = veiled.records()
    assert sum(len(list(wire.datagram_frames(record))) for record in got) == 3000
    assert len(got) <= 40
    assert rig.counts()["writes_out"] - before <= 5

"""Whole doubles against a fake server: a plain correct one satisfies all of them, each flaw ruins whom it must."""

from __future__ import annotations

import ssl

import pytest

from tests.doubles import base
from tests.doubles.base import Double
from tests.doubles.catalogue import KINDS, make
from tests.doubles.cplusplus import CppDouble, CppXboxDouble, sdk_delay
from tests.doubles.csharp import CSharpDouble, CSharpWebSocketDouble
from tests.doubles.driver import Driver
from tests.doubles.fake_server import FakePeer, FakeServer, Flaw
from tests.doubles.javascript import JavaScriptDouble
from tests.doubles.streaming import StreamingDouble
from tests.doubles.websockets import WebSocketDouble
from tests.doubles.writers import Intent
from tests.support import wire
from tests.support.wire import LoginResult, Packet

HOST = "127.0.0.1"


@pytest.fixture
def table(driver: Driver, server_context: ssl.SSLContext) -> Table:
    """A fake server and a way to seat clients at it."""
    return Table(driver, server_context)


class Table:
    """Starts a fake server with flaws and clients of it."""

    def __init__(self, driver: Driver, context: ssl.SSLContext) -> None:
        self.driver = driver
        self.context = context
        self.server = FakeServer()

    def lay(self, kind: str, *flaws: Flaw) -> FakeServer:
        """Start the server, with TLS if the kind of client wants it."""
        plain = "plain" in kind or kind.endswith("-ws")
        self.server = FakeServer(None if plain else self.context, flaws)
        self.driver.add(self.server)
        return self.server

    def seat(self, kind: str, peer_id: int = 1, token: str | None = None) -> Double:
        """Start a client."""
        double = make(kind, f"{kind}-{peer_id}", HOST, self.server.port, token or f"access-{peer_id}", pace=0.05)
        self.driver.add(double)
        return double

    def ready(self, kind: str, peer_id: int = 1) -> Double:
        """Start a client and wait until the server knows it is ready."""
        double = self.seat(kind, peer_id)
        self.driver.run_until(lambda: double.ready and self.server.of(peer_id).ready, f"{kind} ready")
        return double

    def streaming(self, kind: str) -> StreamingDouble:
        """A ready client with TCP and UDP legs."""
        double = self.ready(kind)
        assert isinstance(double, StreamingDouble)
        return double

    def barrier(self, double: Double) -> None:
        """Wait until the client has read all that was sent before."""
        before = len(double.of_op_code(99))
        self.server.of(double.peer_id).send(Packet(99, sender=9, data=b""))
        self.driver.run_until(lambda: len(double.of_op_code(99)) > before or double.state == base.DEAD, "the barrier")


def after(table: Table, double: Double, *packets: Packet) -> list[str]:
    """Violations once the client has read the packets."""
    for packet in packets:
        table.server.of(double.peer_id).send(packet)
    table.driver.run_until(lambda: bool(double.violations), f"{double.sdk} to object")
    return double.violations


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_client_of_a_correct_server_gets_ready_with_itself_alone(table: Table, kind: str) -> None:
    table.lay(kind)
    double = table.ready(kind)
    assert (double.peers_at_ready, double.active_peers, double.violations) == ([1], [1], [])
    assert double.logins == 1


@pytest.mark.parametrize("kind", KINDS)
def test_two_clients_see_each_other_and_exchange_packets(table: Table, kind: str) -> None:
    table.lay(kind)
    first, second = table.ready(kind, 1), table.ready(kind, 2)
    table.driver.run_until(lambda: first.told("player connect") == [2], "told of the second")
    assert first.active_peers == [1, 2]
    assert sorted(second.active_peers) == [1, 2]
    second.send(120, data={1: ("long", 5)}, payload=b"pay")
    table.driver.run_until(lambda: bool(first.packets), "the packet")
    (event,) = first.packets
    assert (event.sender, event.op_code, event.payload, event.while_ready) == (2, 120, b"pay", True)
    assert event.data == wire.encode_data({1: ("long", 5)})
    assert not first.violations + second.violations


@pytest.mark.parametrize("kind", ["cpp", "cs", "cpp-plain", "cs-plain"])
def test_prefix_and_body_are_written_separately(table: Table, kind: str) -> None:
    server = table.lay(kind)
    double = table.ready(kind)
    sizes = [len(record) for record in server.latest().writes]
    if kind in ("cpp", "cs"):
        assert sizes[0] == 1
        assert sizes[1] == server.latest().writes[0][0]
    assert isinstance(double, StreamingDouble)
    assert double.udp_logins >= 1


@pytest.mark.parametrize("kind", ["cpp", "cs"])
def test_unreliable_packets_go_by_udp_once_acknowledged(table: Table, kind: str) -> None:
    server = table.lay(kind)
    double = table.ready(kind)
    before = len(server.datagrams)
    assert double.send(120, Intent.SEQUENCED, payload=b"a") > 0
    assert double.send(120, Intent.SEQUENCED, payload=b"b") > 0
    assert double.send(120, Intent.UNRELIABLE, payload=b"c") > 0
    table.driver.run_until(lambda: len(server.datagrams) == before + 3, "three datagrams")
    packets = [wire.decode_packet(wire.datagram_frames(one)[0]) for one in server.datagrams[before:]]
    assert [(packet.sequence, packet.payload) for packet in packets] == [(0, b"a"), (1, b"b"), (None, b"c")]
    assert {packet.reliable for packet in packets} == ({False} if kind == "cpp" else {None})


@pytest.mark.parametrize("kind", ["cs-without-udp", "js-wss", "cs-wss", "xbox-wss"])
def test_without_udp_unreliable_packets_go_by_the_stream_and_say_so(table: Table, kind: str) -> None:
    server = table.lay(kind)
    double = table.ready(kind)
    double.send(120, Intent.UNRELIABLE, payload=b"a")
    table.driver.run_until(lambda: server.latest().received[-1].op_code == 120, "the packet")
    assert server.latest().received[-1].reliable is False


def test_cpp_freezes_without_the_acknowledgement(table: Table) -> None:
    table.lay("cpp", "no acknowledgement")
    double = table.seat("cpp")
    table.driver.run_until(lambda: bool(double.violations), "frozen")
    assert isinstance(double, CppDouble)
    assert double.violations == ["frozen: no LoginResult with reliable=false over TCP"]
    assert double.frozen
    assert not double.ready
    assert double.udp_logins > 1


def test_cpp_freezes_when_it_is_acknowledged_by_udp_and_csharp_does_not(table: Table) -> None:
    table.lay("cpp", "acknowledgement over UDP")
    frozen, fine = table.seat("cpp", 1), table.seat("cs", 2)
    table.driver.run_until(lambda: bool(frozen.violations) and fine.ready, "one frozen, one ready")
    assert not frozen.ready
    assert fine.state == base.RELIABLE_AND_FAST
    assert not fine.violations


def test_csharp_gives_udp_up_after_nine_logins(table: Table) -> None:
    table.lay("cs", "no acknowledgement")
    double = table.ready("cs")
    assert isinstance(double, CSharpDouble)
    assert (double.udp_logins, double.acknowledged, double.violations) == (9, False, [])


@pytest.mark.parametrize("kind", ["cpp", "cs", "cs-wss", "js-wss", "xbox-wss"])
def test_packed_peers(table: Table, kind: str) -> None:
    table.lay(kind, "packed peers")
    double = table.seat(kind)
    if kind in ("cpp", "xbox-wss"):
        table.driver.run_until(lambda: bool(double.violations), "killed")
        assert double.violations[0].startswith("killed: packed activePeers")
        assert not double.ready
    else:
        table.driver.run_until(lambda: double.ready, "ready")
        packed = b"\x08\x02" + wire.length_delimited(4, b"\x01\x02")
        table.server.of(1).send(Packet(wire.OP_PLAYER_CONNECT, payload=packed))
        table.barrier(double)
        assert double.active_peers == []


@pytest.mark.parametrize("kind", ["cpp", "cs", "cs-wss", "js-wss", "xbox-wss"])
def test_a_list_without_its_recipient_wipes_it(table: Table, kind: str) -> None:
    table.lay(kind, "lists lack the recipient")
    first = table.ready(kind, 1)
    assert first.peers_at_ready == [1]
    table.ready(kind, 2)
    table.driver.run_until(lambda: bool(first.violations), "the list")
    assert first.active_peers == [2]
    assert first.violations == ["peer list [2] lacks its recipient 1"]


@pytest.mark.parametrize("kind", ["cpp", "cs", "cs-wss", "js-wss"])
def test_a_missing_reconnect_token_leaves_no_token(table: Table, kind: str) -> None:
    table.lay(kind, "no reconnect token")
    double = table.seat(kind)
    table.driver.run_until(lambda: bool(double.violations), "noticed")
    assert double.connect_token == b""


def test_login_result_success_false_is_the_worst_way_to_refuse(table: Table) -> None:
    table.lay("cpp", "refusal told")
    cpp, csharp = table.seat("cpp", 1), table.seat("cs", 2)
    socket, javascript = table.seat("cs-wss", 3), table.seat("js-wss", 4)
    table.driver.run_until(lambda: all(one.violations for one in (cpp, csharp, socket, javascript)), "all four fail")
    assert (cpp.state, cpp.ready) == (base.DEAD, False)
    assert csharp.logins >= 5
    assert "hot loop" in csharp.violations[0]
    assert socket.ready and javascript.ready
    assert socket.violations[0].startswith("fooled")


@pytest.mark.parametrize(("kind", "fate"), [("js-wss", "threw"), ("cs-wss", "threw"), ("xbox-wss", "threw")])
def test_udp_connect_on_a_websocket_throws(table: Table, kind: str, fate: str) -> None:
    table.lay(kind, "UDP connect for all")
    double = table.ready(kind)
    table.barrier(double)
    assert double.violations == [f"{fate}: UDPConnect on a WebSocket"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("cpp", "killed"), ("cpp-plain", "killed"), ("js-wss", "hung"), ("xbox-wss", "killed")]
)
def test_an_unknown_field_in_every_packet(table: Table, kind: str, expected: str) -> None:
    table.lay(kind, "unknown field")
    double = table.seat(kind)
    table.driver.run_until(lambda: bool(double.violations), "poisoned")
    assert double.violations[0].startswith(expected)
    assert not double.ready


@pytest.mark.parametrize("kind", ["cs", "cs-wss"])
def test_csharp_skips_unknown_fields(table: Table, kind: str) -> None:
    table.lay(kind, "unknown field")
    assert table.ready(kind).violations == []


def test_a_payload_in_a_record_of_its_own_kills_cpp_and_nobody_else(table: Table) -> None:
    table.lay("cpp", "payload in a record of its own")
    cpp, csharp = table.seat("cpp", 1), table.seat("cs", 2)
    table.driver.run_until(lambda: bool(cpp.violations) and csharp.ready, "one dead, one fine")
    assert cpp.violations[0].startswith("killed: payload cut")
    assert csharp.violations == []


def test_a_payload_over_the_largest_record_kills_cpp(table: Table) -> None:
    table.lay("cpp")
    cpp, csharp = table.ready("cpp", 1), table.ready("cs", 2)
    big = Packet(120, sender=9, payload=bytes(20000))
    assert after(table, cpp, big)[0].startswith("killed: payload cut: 163")
    table.server.of(2).send(big)
    table.driver.run_until(lambda: bool(csharp.packets), "the big packet")
    assert cpp.events[-1].kind == "not ready"


def test_cpp_never_connects_again_and_its_sends_still_return_counts(table: Table) -> None:
    table.lay("cpp")
    double = table.ready("cpp")
    table.server.of(1).close()
    table.driver.run_until(lambda: double.events[-1].kind == "not ready", "OnReady(false)")
    assert double.send(120, payload=b"x") > 0
    assert double.next_timer() is None
    assert len(table.server.peers) == 1


def test_csharp_comes_back_with_the_reconnect_token(table: Table) -> None:
    table.lay("cs")
    double = table.ready("cs")
    double.send(120, Intent.SEQUENCED, payload=b"x")
    table.server.of(1).close()
    table.driver.run_until(lambda: double.logins == 2 and double.ready, "ready again")
    assert [event.kind for event in double.events] == ["ready", "not ready", "ready"]
    login = table.server.latest().received[0]
    assert wire.read_fields(login.payload or b"")[0][2] == b"again-1"
    before = len(table.server.datagrams)
    double.send(120, Intent.SEQUENCED, payload=b"x")
    table.driver.run_until(lambda: len(table.server.datagrams) > before, "the second packet")
    # the counter survives the reconnection
    assert wire.decode_packet(wire.datagram_frames(table.server.datagrams[-1])[0]).sequence == 1


@pytest.mark.parametrize("kind", ["js-wss", "cs-wss"])
def test_websocket_clients_notice_nothing_of_a_loss(table: Table, kind: str) -> None:
    table.lay(kind)
    double = table.ready(kind)
    assert isinstance(double, WebSocketDouble)
    table.server.of(1).close()
    table.driver.run_until(lambda: double.stream_ended is not None, "the end")
    assert [event.kind for event in double.events] == ["ready"]
    assert double.send(120, payload=b"x") == -1


@pytest.mark.parametrize(("kind", "fate"), [("js-wss", "threw"), ("cs-wss", "killed"), ("xbox-wss", "killed")])
def test_a_packet_over_two_messages(table: Table, kind: str, fate: str) -> None:
    table.lay(kind, "packet over two messages")
    double = table.seat(kind)
    table.driver.run_until(lambda: bool(double.violations), "the broken message")
    assert double.violations[0].startswith(fate)
    assert not double.ready


@pytest.mark.parametrize(("kind", "count"), [("js-wss", 2), ("cs-wss", 2), ("xbox-wss", 1)])
def test_packets_of_one_message(table: Table, kind: str, count: int) -> None:
    table.lay(kind, "two packets in a message")
    double = table.ready(kind)
    table.barrier(double)
    assert len(double.of_op_code(70)) == count


def test_accepted_compression_is_a_broken_handshake(table: Table) -> None:
    table.lay("js-wss", "compression accepted")
    double = table.seat("js-wss")
    table.driver.run_until(lambda: bool(double.violations), "the handshake")
    assert "sec-websocket-extensions" in double.violations[0]


def test_an_empty_payload_kills_cpp(table: Table) -> None:
    table.lay("cpp")
    double = table.ready("cpp")
    assert after(table, double, Packet(120, sender=2, payload=b"")) == [
        "killed: empty payload read as the end of the stream"
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("cpp", "killed: stale"), ("xbox-wss", "killed: stale"), ("cs", "muted: stale"), ("js-wss", "muted: stale")],
)
def test_a_stale_sequence_number_on_the_stream(table: Table, kind: str, expected: str) -> None:
    table.lay(kind)
    double = table.ready(kind)
    numbered = [Packet(120, sequence=number, sender=2, payload=b"x") for number in (5, 4)]
    assert after(table, double, *numbered)[0].startswith(expected)
    assert len(double.of_op_code(120)) == 1


def test_a_stale_sequence_number_costs_cpp_the_rest_of_the_datagram(table: Table) -> None:
    table.lay("cpp")
    double = table.streaming("cpp")
    table.driver.run_until(lambda: double.state == base.RELIABLE_AND_FAST, "UDP both ways")
    frames = [
        wire.frame(wire.encode_packet(Packet(120, sequence=number, sender=2, payload=b"x"))) for number in (5, 4, 6)
    ]
    table.server.of(1).datagram(b"".join(frames))
    table.driver.run_until(lambda: bool(double.violations), "the stale packet")
    assert double.violations[0].startswith("lost: stale")
    assert len(double.of_op_code(120)) == 1


def test_the_return_of_a_sender_of_sequenced_payloads_throws_in_csharp_and_mutes_it(table: Table) -> None:
    connect = Packet(wire.OP_PLAYER_CONNECT, payload=bytes.fromhex("080220012002"))
    for kind in ("cs", "cpp", "js-wss"):
        table.lay(kind)
        double = table.ready(kind)
        peer = table.server.of(1)
        peer.send(Packet(120, sequence=5, sender=2, payload=b"x"))
        peer.send(connect)
        peer.send(Packet(121, sequence=0, sender=2, payload=b"x"))
        table.barrier(double)
        if kind == "cs":
            assert double.violations[0].startswith("threw: PlayerConnect of 2")
            assert double.violations[1].startswith("muted: stale")
            assert double.told("player connect") == []
        else:
            assert (double.violations, double.told("player connect")) == ([], [2])
            assert len(double.of_op_code(121)) == 1


@pytest.mark.parametrize(("kind", "limit"), [("cpp", 1024), ("cs", 1400)])
def test_datagrams_over_the_receive_buffer_are_lost(table: Table, kind: str, limit: int) -> None:
    table.lay(kind)
    double = table.streaming(kind)
    table.driver.run_until(lambda: double.state == base.RELIABLE_AND_FAST, "UDP both ways")
    for size in (limit, limit + 1):
        body = wire.encode_packet(Packet(120, sender=2, payload=bytes(size - 10)))
        datagram = wire.frame(body)
        assert len(datagram) == size
        table.server.of(1).datagram(datagram)
    table.driver.run_until(lambda: bool(double.violations), "the large datagram")
    assert double.violations == [f"lost: datagram of {limit + 1} bytes over {limit}"]
    assert len(double.of_op_code(120)) == 1


@pytest.mark.parametrize("kind", ["cpp", "cs", "js-wss"])
def test_packets_before_ready_reach_the_app_and_peer_changes_do_not(table: Table, kind: str) -> None:
    server = table.lay(kind)
    double = table.seat(kind)
    table.driver.run_until(lambda: bool(server.peers) and bool(server.latest().peer_id), "login")
    server.latest().send(Packet(wire.OP_PLAYER_CONNECT, payload=bytes.fromhex("080220012002")))
    server.latest().send(Packet(120, sender=2, payload=b"x"))
    table.driver.run_until(lambda: bool(double.packets), "the packet")
    assert sorted(double.active_peers) == [1, 2]
    if kind != "js-wss":  # JS was ready within LoginResult
        assert not double.packets[0].while_ready
        assert double.told("player connect") == []


def test_cpp_does_not_read_udp_before_the_acknowledgement(table: Table) -> None:
    server = table.lay("cpp", "no acknowledgement")
    double = table.seat("cpp")
    table.driver.run_until(lambda: bool(server.datagrams), "a UDP login")
    peer = server.latest()
    table.driver.run_until(lambda: peer.address is not None, "the address")
    peer.datagram(bytes.fromhex("0408097a00"))
    table.barrier(double)
    assert double.state == base.RELIABLE_ONLY
    peer.send(server.login_result(peer, False))
    table.driver.run_until(lambda: double.ready and double.state == base.RELIABLE_AND_FAST, "thawed")
    table.driver.run_until(lambda: Packet(-5, reliable=True, data=b"", order=(1, 6, 14)) in peer.received, "-5")


def test_system_packets_without_payload_field_reach_the_app(table: Table) -> None:
    table.lay("cs")
    double = table.ready("cs")
    assert after(table, double, Packet(wire.OP_PLAYER_DISCONNECT)) == ["app got opCode -103"]


def test_cpp_refuses_op_code_zero_and_nobody_sends_before_the_login_result(table: Table) -> None:
    table.lay("cpp")
    early = make("cs", "early", HOST, table.server.port, "access-2")
    assert early.send(120, payload=b"x") == 0
    double = table.ready("cpp")
    assert double.send(0, payload=b"x") == 0


def test_cpp_dials_again_when_its_deadline_passes_without_a_login_result(table: Table) -> None:
    server = table.lay("cpp")
    impatient = CppDouble("impatient", HOST, server.port, "nonsense", connect_patience=lambda attempt: 0.01 * attempt)
    table.driver.add(impatient)
    table.driver.run_until(lambda: impatient.attempts >= 3, "three attempts")
    assert [sdk_delay(1.0, attempt) for attempt in (1, 2, 5, 9)] == [4.0, 8.0, 60.0, 60.0]


@pytest.mark.parametrize("kind", ["cpp", "cs", "js-wss", "cs-plain", "js-ws"])
def test_stop_is_an_orderly_close(table: Table, kind: str) -> None:
    server = table.lay(kind)
    double = table.ready(kind)
    double.stop()
    if kind.startswith("js"):
        table.driver.run_until(lambda: server.latest().writes[-1][0] == 0x88, "the close frame")
    else:
        expected = "fin" if kind == "cs-plain" else "close_notify"
        table.driver.run_until(lambda: server.latest().ended == expected, expected)


def test_a_reset_is_seen_as_one(table: Table) -> None:
    server = table.lay("cs-plain")
    double = table.streaming("cs-plain")
    peer: FakePeer = server.latest()
    double.reset()
    table.driver.run_until(lambda: peer.ended is not None, "the reset")
    assert peer.ended == "reset"


def test_csharp_offers_tls_1_2_with_cbc_suites_only(table: Table) -> None:
    server = table.lay("cs")
    table.ready("cs")
    tls = server.latest().tls
    assert tls is not None
    assert tls.version() == "TLSv1.2"
    name, _, _ = tls.cipher() or ("", "", 0)
    assert name in ("ECDHE-RSA-AES128-SHA256", "AES128-SHA256", "ECDHE-RSA-AES128-SHA", "AES128-SHA")


def test_csharp_over_websocket_wants_its_pongs(table: Table) -> None:
    server = table.lay("cs-ws")
    double = CSharpWebSocketDouble("pinging", HOST, server.port, "access-1", secure=False, pace=0.001)
    table.driver.add(double)
    table.driver.run_until(lambda: len(double.frames.pongs) >= 2, "two pongs")
    assert double.violations == []


def test_kinds_are_what_they_say(table: Table) -> None:
    table.lay("cpp")
    classes = {kind: type(make(kind, "x", HOST, 1, "t")) for kind in KINDS}
    assert classes["cpp"] is classes["cpp-plain"] is CppDouble
    assert classes["xbox-ws"] is CppXboxDouble
    assert classes["js-wss"] is JavaScriptDouble
    with pytest.raises(ValueError, match="no such kind"):
        make("pascal", "x", HOST, 1, "t")


def test_a_fast_port_is_where_udp_goes(table: Table) -> None:
    server = table.lay("cs-plain", "no acknowledgement")
    elsewhere = FakeServer()
    table.driver.add(elsewhere)
    double = table.seat("cs-plain")
    table.driver.run_until(lambda: bool(server.peers) and bool(server.latest().peer_id), "login")
    result = LoginResult(True, b"again-1", 1, (1,), elsewhere.port)
    server.latest().send(Packet(wire.OP_LOGIN_RESULT, payload=wire.encode_login_result(result)))
    table.driver.run_until(lambda: double.state == base.RELIABLE_ONLY and double.fast_port == elsewhere.port, "moved")

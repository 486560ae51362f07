"""The client connection as a machine of its own: bytes, datagrams and a made-up clock in, bytes and events out."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt._core import Data, FrameReader, Packet, split_datagram
from gsrt.protocol import rt
from gsrt.protocol.client_connection import (
    FIRST_RETRY_SECONDS,
    LOGIN_SECONDS,
    MAX_HELD_BYTES,
    MAX_HELD_PACKETS,
    MAX_REFUSED_RETRY_SECONDS,
    MAX_RETRY_SECONDS,
    STABLE_SECONDS,
)
from gsrt.protocol.rt import ClientConnection, ConnectionState, Failed, Intent, Lost, PacketReceived, Ready
from gsrt.protocol.rt_client import (
    CONNECT_SECONDS,
    MAX_FRAME_BYTES,
    MAX_STREAM_OUTPUT_BYTES,
    MAX_WAITING_DATAGRAMS,
    UDP_LOGIN_ATTEMPTS,
    UDP_LOGIN_INTERVAL,
)


class Wire:
    """A connection with both ends of its wire in the test's hands."""

    def __init__(self, token: str = "access", jitter: int = 0xFF) -> None:
        self.now = 1000.0
        self.connection = ClientConnection(token, entropy=lambda count: bytes([jitter]) * count)

    def stream(self, *frames: bytes) -> None:
        self.connection.receive_stream(b"".join(frames), self.now)

    def datagram(self, *frames: bytes) -> None:
        self.connection.receive_datagram(b"".join(frames), self.now)

    def stream_packets(self) -> list[Packet]:
        return [Packet.decode(body) for body in FrameReader(1 << 20).feed(self.connection.stream_to_send())]

    def datagram_packets(self) -> list[Packet]:
        return [
            Packet.decode(body) for datagram in self.connection.datagrams_to_send() for body in split_datagram(datagram)
        ]

    def events(self) -> list[object]:
        events: list[object] = []
        while (event := self.connection.next_event()) is not None:
            events.append(event)
        return events

    def wait(self) -> float:
        """Go on to the next timer; the seconds until then."""
        due = self.connection.next_timer()
        assert due is not None
        waited = due - self.now
        self.now = due
        self.connection.handle_timer(due)
        return waited

    def open_stream(self) -> str:
        """Open the wanted stream; the token of the login."""
        assert self.connection.wanted_stream
        self.connection.stream_opened(self.now)
        [login] = self.stream_packets()
        return rt.parse_login(login).token

    def log_in(self, peer_id: int = 1, peers: tuple[int, ...] = (), fast_port: int | None = None) -> None:
        self.connection.start(self.now)
        self.open_stream()
        self.stream(rt.login_result_frame("reconnect", peer_id, peers, fast_port=fast_port))

    def become_ready(self, peer_id: int = 1, peers: tuple[int, ...] = (), fast: bool = True) -> None:
        self.log_in(peer_id, peers)
        if fast:
            self.stream(rt.login_result_frame("reconnect", peer_id, peers, fast=True))
            self.datagram(rt.udp_connect_frame())
        else:
            while not self.connection.ready:
                self.wait()
        self.stream_packets()
        self.datagram_packets()
        assert [type(event) for event in self.events()] == [Ready]


def user_frame(op_code: int, sender: int = 2, **fields: object) -> bytes:
    return Packet(op_code, sender=sender, **fields).frame()  # type: ignore[arg-type]


def test_the_whole_sequence_byte_for_byte() -> None:
    wire = Wire("a")
    connection = wire.connection
    assert (connection.wanted_stream, connection.state) == (0, ConnectionState.IDLE)
    connection.start(wire.now)
    assert connection.wanted_stream == 1
    assert connection.stream_to_send() == b""
    connection.stream_opened(wire.now)
    assert connection.stream_to_send() == bytes.fromhex("0908007a050a01611002")
    wire.stream(rt.login_result_frame("b", 2, (1,)))
    assert connection.state == ConnectionState.RELIABLE_ONLY
    assert connection.datagrams_to_send() == [bytes.fromhex("0908007a050a01621002")]
    assert wire.events() == []
    wire.stream(rt.login_result_frame("b", 2, (1,), fast=True))
    assert connection.state == ConnectionState.RELIABLE_AND_FAST_SEND
    assert connection.stream_to_send() == bytes.fromhex("02080d")
    assert [type(event) for event in wire.events()] == [Ready]
    assert (connection.peer_id, connection.active_peers, connection.ready) == (2, (1, 2), True)
    wire.datagram(rt.udp_connect_frame())
    assert connection.state == ConnectionState.RELIABLE_AND_FAST
    assert connection.stream_to_send() == bytes.fromhex("020809")
    assert (connection.next_timer(), wire.events()) == (None, [])


def test_the_recorded_server_of_the_csharp_client_gets_the_csharp_clients_bytes() -> None:
    vectors = Path(__file__).parent.parent / "vectors" / "captures.jsonl"
    lines = [json.loads(line) for line in vectors.read_text().splitlines()]
    lines = [line for line in lines if line["client"] == "cs"]
    wire = Wire("ref:mx101319708:2:p2")
    wire.connection.start(wire.now)
    wire.connection.stream_opened(wire.now)
    sent: dict[str, list[bytes]] = {"tls": [wire.connection.stream_to_send()], "udp": []}
    received = []
    for line in lines:
        if line["dir"] == "s2c":
            wire.now = 1000.0 + line["t"]
            (wire.stream if line["leg"] == "tls" else wire.datagram)(bytes.fromhex(line["hex"]))
            sent["udp"] += wire.connection.datagrams_to_send()
            sent["tls"].append(wire.connection.stream_to_send())
            received += wire.events()
    for leg, frames in sent.items():
        expected = [bytes.fromhex(line["hex"]) for line in lines if (line["leg"], line["dir"]) == (leg, "c2s")]
        assert sorted(filter(None, frames)) == sorted(expected)  # it replies to -5 before its ready, we after
    assert isinstance(received.pop(0), Ready)
    changes = [event for event in received if not isinstance(event, PacketReceived)]
    packets = [event.packet for event in received if isinstance(event, PacketReceived)]
    assert [change.peer_id for change in changes] == [3, 4]  # type: ignore[attr-defined]
    assert wire.connection.active_peers == (1, 2, 3, 4)
    assert len(packets) > 10
    assert {packet.sender for packet in packets} == {1}


def test_opening_without_start_and_bytes_one_by_one() -> None:
    wire = Wire()
    wire.connection.stream_opened(wire.now)
    for byte in rt.login_result_frame("r", 1, ()) + rt.login_result_frame("r", 1, (), fast=True):
        wire.stream(bytes([byte]))
    assert wire.connection.ready
    assert wire.connection.active_peers == (1,)


def test_a_token_that_cannot_be_sent_is_refused_at_once() -> None:
    for token in ("", "t" * (rt.MAX_TOKEN_BYTES + 1)):
        with pytest.raises(ValueError, match="1 to 1024 bytes"):
            ClientConnection(token, entropy=bytes)


class TestWithoutUdp:
    def test_the_udp_login_is_repeated_nine_times_and_then_given_up(self) -> None:
        wire = Wire()
        wire.log_in()
        begin = wire.now
        logins = wire.datagram_packets()
        while not wire.connection.ready:
            wire.wait()
            logins += wire.datagram_packets()
        assert [rt.parse_login(login).token for login in logins] == ["reconnect"] * UDP_LOGIN_ATTEMPTS
        assert wire.now - begin == pytest.approx(UDP_LOGIN_ATTEMPTS * UDP_LOGIN_INTERVAL)
        assert [packet.op_code for packet in wire.stream_packets()] == [rt.OP_PLAYER_READY]
        assert [type(event) for event in wire.events()] == [Ready]
        assert wire.connection.state == ConnectionState.RELIABLE_ONLY
        assert wire.connection.next_timer() is None

    def test_unreliable_packets_go_by_stream_and_say_so(self) -> None:
        wire = Wire()
        wire.become_ready(fast=False)
        wire.connection.send(5, Intent.RELIABLE)
        wire.connection.send(6, Intent.UNRELIABLE)
        wire.connection.send(7, Intent.UNRELIABLE_SEQUENCED)
        sent = [(packet.op_code, packet.reliable, packet.sequence) for packet in wire.stream_packets()]
        assert sent == [(5, None, None), (6, False, None), (7, False, 0)]
        assert wire.datagram_packets() == []

    def test_a_late_answer_still_opens_the_fast_way(self) -> None:
        wire = Wire()
        wire.become_ready(fast=False)
        wire.stream(rt.login_result_frame("reconnect", 1, (), fast=True))
        assert wire.connection.state == ConnectionState.RELIABLE_AND_FAST_SEND
        assert (wire.events(), wire.stream_packets()) == ([], [])
        wire.connection.send(6, Intent.UNRELIABLE)
        assert [packet.op_code for packet in wire.datagram_packets()] == [6]


class TestUdp:
    def test_the_servers_word_may_overtake_the_answer_on_the_stream(self) -> None:
        wire = Wire()
        wire.log_in()
        wire.datagram(rt.udp_connect_frame())
        assert [packet.op_code for packet in wire.stream_packets()] == [rt.OP_UDP_CONNECT, rt.OP_PLAYER_READY]
        assert [type(event) for event in wire.events()] == [Ready]
        wire.stream(rt.login_result_frame("reconnect", 1, (), fast=True))
        assert wire.connection.state == ConnectionState.RELIABLE_AND_FAST
        assert (wire.events(), wire.stream_packets()) == ([], [])

    def test_each_repeat_of_it_is_answered(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.datagram(rt.udp_connect_frame())
        wire.datagram(rt.udp_connect_frame())
        assert [packet.op_code for packet in wire.stream_packets()] == [rt.OP_UDP_CONNECT] * 2

    def test_intents_and_sizes(self) -> None:
        wire = Wire()
        wire.become_ready()
        assert wire.connection.send(1, Intent.UNRELIABLE, payload=b"x" * 1017) == rt.MAX_DATAGRAM_BYTES
        assert [len(datagram) for datagram in wire.connection.datagrams_to_send()] == [1024]
        assert wire.connection.send(1, Intent.UNRELIABLE, payload=b"x" * 1018) == 1027  # with field 6
        assert wire.connection.datagrams_to_send() == []
        [packet] = wire.stream_packets()
        assert (packet.reliable, packet.payload) == (False, b"x" * 1018)

    def test_several_packets_in_one_datagram(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.datagram(user_frame(5), user_frame(6))
        assert [event.packet.op_code for event in wire.events()] == [5, 6]  # type: ignore[attr-defined]

    def test_what_is_no_packet_is_counted_and_nothing_else(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.datagram(b"\x05\x08")
        wire.datagram(b"\x01\xff", user_frame(7))
        wire.datagram(rt.login_result_frame("evil", 9, ()), rt.player_connect_frame(9, (9,)))
        assert wire.connection.malformed == 2
        assert wire.connection.ignored == 2
        assert wire.connection.peer_id == 1
        assert [event.packet.op_code for event in wire.events()] == [7]  # type: ignore[attr-defined]

    def test_the_queue_is_bounded_and_the_newest_stay(self) -> None:
        wire = Wire()
        wire.become_ready()
        for number in range(MAX_WAITING_DATAGRAMS + 3):
            assert wire.connection.send(1 + number, Intent.UNRELIABLE)
        waiting = [packet.op_code for packet in wire.datagram_packets()]
        assert waiting == list(range(4, MAX_WAITING_DATAGRAMS + 4))
        assert wire.connection.sends_dropped == 3

    def test_the_port_of_the_login_result_is_told(self) -> None:
        wire = Wire()
        wire.log_in(fast_port=9000)
        assert wire.connection.fast_port == 9000


class TestPeers:
    def test_lists_replace_and_the_player_adds_itself_once(self) -> None:
        wire = Wire()
        wire.become_ready(2, (1,))
        wire.stream(rt.player_connect_frame(3, (1, 2, 3)))
        assert wire.connection.active_peers == (1, 2, 3)
        wire.stream(rt.player_disconnect_frame(1, (2, 3)))
        assert wire.connection.active_peers == (2, 3)
        told = [(type(event).__name__, getattr(event, "peer_id", None)) for event in wire.events()]
        assert told == [("PeerConnected", 3), ("PeerDisconnected", 1)]
        wire.stream(rt.player_connect_frame(4, (3, 4)))
        assert wire.connection.active_peers == (3, 4)

    def test_a_list_that_holds_the_player_is_left_alone(self) -> None:
        wire = Wire()
        wire.become_ready(2, (1, 2))
        assert wire.connection.active_peers == (1, 2)

    def test_changes_before_ready_are_applied_but_not_told(self) -> None:
        wire = Wire()
        wire.log_in(2, (1,))
        wire.stream(rt.player_connect_frame(3, (1, 3)), rt.login_result_frame("reconnect", 2, (), fast=True))
        assert wire.connection.active_peers == (1, 3, 2)
        assert [type(event) for event in wire.events()] == [Ready]

    def test_a_broken_change_is_dropped_and_counted(self) -> None:
        wire = Wire()
        wire.become_ready(2, (1,))
        wire.stream(Packet(rt.OP_PLAYER_CONNECT, payload=b"\x08\x03\x22\x02\x01\x03").frame())
        assert (wire.connection.malformed, wire.connection.active_peers) == (1, (1, 2))


class TestPacketsBeforeReady:
    def test_they_follow_the_ready_event_in_order(self) -> None:
        wire = Wire()
        wire.log_in()
        wire.stream(user_frame(5), user_frame(6))
        wire.datagram(user_frame(7))
        assert wire.events() == []
        wire.stream(user_frame(8), rt.login_result_frame("reconnect", 1, (), fast=True), user_frame(9))
        ready, *packets = wire.events()
        assert type(ready) is Ready
        assert [event.packet.op_code for event in packets] == [5, 6, 7, 8, 9]  # type: ignore[attr-defined]

    def test_their_number_is_bounded(self) -> None:
        wire = Wire()
        wire.log_in()
        for number in range(MAX_HELD_PACKETS + 5):
            wire.stream(user_frame(1 + number))
        wire.stream(rt.login_result_frame("reconnect", 1, (), fast=True))
        assert len(wire.events()) == 1 + MAX_HELD_PACKETS
        assert wire.connection.held_dropped == 5

    def test_their_size_is_bounded(self) -> None:
        wire = Wire()
        wire.log_in()
        frame = user_frame(1, payload=b"x" * 15_000)
        for _ in range(MAX_HELD_BYTES // 15_000 + 3):
            wire.stream(frame)
        wire.stream(rt.login_result_frame("reconnect", 1, (), fast=True))
        packets = [event.packet for event in wire.events() if isinstance(event, PacketReceived)]
        assert sum(len(packet.payload or b"") for packet in packets) <= MAX_HELD_BYTES
        assert wire.connection.held_dropped >= 2

    def test_those_of_a_lost_stream_are_forgotten(self) -> None:
        wire = Wire()
        wire.log_in()
        wire.stream(user_frame(5))
        wire.connection.stream_lost(wire.now)
        wire.wait()
        wire.open_stream()
        wire.stream(rt.login_result_frame("reconnect", 1, ()), rt.login_result_frame("reconnect", 1, (), fast=True))
        assert [type(event) for event in wire.events()] == [Failed, Ready]

    def test_before_the_login_result_they_are_not_taken(self) -> None:
        wire = Wire()
        wire.connection.start(wire.now)
        wire.open_stream()
        wire.stream(user_frame(5))
        wire.datagram(user_frame(5))
        assert wire.connection.ignored == 1
        wire.stream(rt.login_result_frame("r", 1, ()), rt.login_result_frame("r", 1, (), fast=True))
        assert [type(event) for event in wire.events()] == [Ready]


class TestIncoming:
    def test_packets_of_the_server_itself(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.stream(Packet(0, payload=b"script").frame(), Packet(4, data=Data({1: 2})).frame())
        packets = [event.packet for event in wire.events()]  # type: ignore[attr-defined]
        assert [(packet.op_code, packet.sender) for packet in packets] == [(0, 0), (4, 0)]

    def test_system_messages_that_mean_nothing_here(self) -> None:
        wire = Wire()
        wire.become_ready()
        for op_code in (rt.OP_PING, rt.OP_PING_RESULT, rt.OP_UDP_CONNECT, rt.OP_PLAYER_READY, -55):
            wire.stream(Packet(op_code, payload=b"").frame())
        wire.stream(Packet(rt.OP_PLAYER_CONNECT).frame())
        wire.stream(rt.login_result_frame("other", 5, ()))
        assert wire.events() == []
        assert wire.connection.ignored == 7
        assert wire.connection.peer_id == 1

    def test_a_malformed_packet_in_a_sound_frame(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.stream(b"\x01\xff", b"\x00", user_frame(5))
        assert wire.connection.malformed == 2
        assert [type(event) for event in wire.events()] == [PacketReceived]

    def test_unsound_framing_ends_the_stream(self) -> None:
        wire = Wire()
        wire.become_ready()
        number = wire.connection.wanted_stream
        wire.stream(b"\xff\xff\xff\xff\xff\xff")
        [lost] = wire.events()
        assert isinstance(lost, Lost)
        assert "no RT stream" in lost.reason
        assert wire.connection.wanted_stream == 0
        wire.stream(user_frame(5))
        assert wire.events() == []
        wire.wait()
        assert wire.connection.wanted_stream == number + 1

    def test_a_frame_over_the_limit(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.stream(Packet(5, payload=b"x" * MAX_FRAME_BYTES).frame())
        assert [type(event) for event in wire.events()] == [Lost]


class TestSending:
    def test_nothing_is_sent_before_the_login(self) -> None:
        wire = Wire()
        assert wire.connection.send(5) == 0
        wire.connection.start(wire.now)
        wire.open_stream()
        assert wire.connection.send(5) == 0
        assert wire.connection.stream_to_send() == b""

    def test_from_the_login_on_it_is(self) -> None:
        wire = Wire()
        wire.log_in()
        size = wire.connection.send(5, data={1: 2}, payload=b"p", peers=[2, 0])
        frame = wire.connection.stream_to_send()
        assert (len(frame), frame) == (size, Packet(5, data=Data({1: 2}), payload=b"p", targets=(2, 0)).frame())

    def test_an_empty_payload_is_left_out(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.connection.send(5, payload=b"")
        assert wire.connection.stream_to_send() == bytes.fromhex("02080a")

    @pytest.mark.parametrize(
        ("op_code", "words"),
        [(0, "opCode 0 is the login's; use opCodes from 1 on"), (-7, "protocol's own; use 1 to"), (2**31, "use 1 to")],
    )
    def test_opcodes_that_cannot_be(self, op_code: int, words: str) -> None:
        wire = Wire()
        with pytest.raises(ValueError, match=words):
            wire.connection.send(op_code)

    @pytest.mark.parametrize("peer_id", [-1, 2**31])
    def test_peers_that_cannot_be(self, peer_id: int) -> None:
        with pytest.raises(ValueError, match="name peers by the ids in active_peers"):
            Wire().connection.send(1, peers=[peer_id])

    def test_an_unknown_intent(self) -> None:
        with pytest.raises(ValueError, match="not a valid Intent"):
            Wire().connection.send(1, 4)  # type: ignore[arg-type]

    @pytest.mark.parametrize("intent", list(Intent))
    def test_the_largest_packet(self, intent: Intent) -> None:
        wire = Wire()
        wire.become_ready()
        overhead = wire.connection.send(1, intent, payload=b"x" * 15_000) - 15_000
        assert wire.connection.send(1, intent, payload=b"x" * (16_000 - overhead)) == 16_000
        with pytest.raises(ValueError, match="16001 bytes: 16000 is the most"):
            wire.connection.send(1, intent, payload=b"x" * (16_001 - overhead))

    def test_output_that_nobody_takes_is_bounded(self) -> None:
        wire = Wire()
        wire.become_ready()
        taken = 0
        while size := wire.connection.send(1, payload=b"x" * 15_000):
            taken += size
        assert taken <= MAX_STREAM_OUTPUT_BYTES < taken + 15_100
        assert wire.connection.sends_dropped == 1
        assert len(wire.connection.stream_to_send()) == taken
        assert wire.connection.send(1)

    def test_one_sequence_for_all_from_0_on_through_a_reconnect(self) -> None:
        wire = Wire()
        wire.become_ready()
        for op_code in (1, 2):
            wire.connection.send(op_code, Intent.UNRELIABLE_SEQUENCED, peers=(op_code,))
        wire.connection.send(3, Intent.UNRELIABLE)
        assert [packet.sequence for packet in wire.datagram_packets()] == [0, 1, None]
        wire.connection.stream_lost(wire.now)
        assert wire.connection.send(1, Intent.UNRELIABLE_SEQUENCED) == 0  # not sent: uses no number up
        wire.wait()
        wire.open_stream()
        wire.stream(rt.login_result_frame("reconnect", 1, ()))
        wire.datagram_packets()
        wire.datagram(rt.udp_connect_frame())
        wire.connection.send(1, Intent.UNRELIABLE_SEQUENCED)
        wire.connection.send(1, Intent.UNRELIABLE_SEQUENCED, payload=b"x" * 2000)
        assert [packet.sequence for packet in wire.datagram_packets()] == [2]
        assert wire.stream_packets()[-1].sequence == 3


class TestReconnect:
    def test_with_the_reconnect_token_after_a_moment(self) -> None:
        wire = Wire("access")
        wire.become_ready(2, (1,))
        wire.connection.send(1)
        wire.connection.send(1, Intent.UNRELIABLE)
        wire.connection.stream_lost(wire.now, "pulled out")
        [lost] = wire.events()
        assert isinstance(lost, Lost)
        assert lost.reason == "pulled out"
        assert (wire.connection.ready, wire.connection.wanted_stream) == (False, 0)
        assert (wire.connection.stream_to_send(), wire.connection.datagrams_to_send()) == (b"", [])
        assert 0 < wire.wait() <= FIRST_RETRY_SECONDS
        assert wire.connection.wanted_stream == 2
        assert wire.open_stream() == "reconnect"
        wire.stream(rt.login_result_frame("newer", 2, (1,)))
        assert rt.parse_login(wire.datagram_packets()[0]).token == "newer"
        wire.stream(rt.login_result_frame("newest", 2, (1,), fast=True))
        assert [type(event) for event in wire.events()] == [Ready]
        wire.connection.stream_lost(wire.now)
        wire.wait()
        assert wire.open_stream() == "newest"

    def test_a_token_that_is_missing_in_the_result_does_not_matter(self) -> None:
        wire = Wire("access")
        wire.connection.start(wire.now)
        wire.open_stream()
        wire.stream(Packet(rt.OP_LOGIN_RESULT, payload=b"\x08\x01\x18\x01").frame())
        wire.connection.stream_lost(wire.now)
        wire.wait()
        assert wire.open_stream() == "access"

    def test_failed_dials_back_off_to_a_limit(self) -> None:
        wire = Wire()
        wire.connection.start(wire.now)
        delays = []
        for _ in range(12):
            wire.connection.stream_lost(wire.now, "connection refused")
            delays.append(wire.wait())
        assert delays[:3] == pytest.approx([0.2, 0.4, 0.8], rel=0.01)
        assert delays[5:] == pytest.approx([MAX_RETRY_SECONDS] * 7, rel=0.01)
        assert wire.connection.failures == 12
        assert wire.connection.refusals == 0
        assert {(type(event), event.refused) for event in wire.events()} == {(Failed, False)}  # type: ignore[attr-defined]

    def test_the_jitter_takes_up_to_half(self) -> None:
        for jitter, expected in ((0, 0.1), (0x80, 0.15), (0xFF, 0.2)):
            wire = Wire(jitter=jitter)
            wire.connection.start(wire.now)
            wire.connection.stream_lost(wire.now)
            assert wire.wait() == pytest.approx(expected, rel=0.01)

    def test_a_refused_login_backs_off_further(self) -> None:
        wire = Wire()
        wire.connection.start(wire.now)
        delays = []
        for _ in range(8):
            wire.open_stream()
            wire.connection.stream_lost(wire.now)
            delays.append(wire.wait())
        assert delays[:3] == pytest.approx([1, 2, 4], rel=0.01)
        assert delays[-1] == pytest.approx(MAX_REFUSED_RETRY_SECONDS, rel=0.01)
        assert wire.connection.refusals == 8
        assert all(isinstance(event, Failed) and event.refused for event in wire.events())
        wire.open_stream()
        wire.stream(rt.login_result_frame("r", 1, ()))
        assert wire.connection.refusals == 0

    def test_a_result_without_success_is_a_refusal(self) -> None:
        wire = Wire()
        wire.connection.start(wire.now)
        wire.open_stream()
        wire.stream(Packet(rt.OP_LOGIN_RESULT, payload=b"\x08\x00").frame(), user_frame(5))
        [failed] = wire.events()
        assert isinstance(failed, Failed)
        assert failed.refused
        assert wire.connection.wanted_stream == 0

    def test_a_result_that_cannot_be_read(self) -> None:
        wire = Wire()
        wire.connection.start(wire.now)
        wire.open_stream()
        wire.stream(Packet(rt.OP_LOGIN_RESULT, payload=b"\x08\x01\x22\x01\x01").frame())
        [failed] = wire.events()
        assert isinstance(failed, Failed)
        assert not failed.refused
        assert "peer is not a number" in failed.reason

    def test_only_a_lasting_connection_calms_the_back_off(self) -> None:
        wire = Wire()
        wire.become_ready()
        delays = []
        for lasted in (0.0, 0.0, 0.0, STABLE_SECONDS):
            wire.now += lasted
            wire.connection.stream_lost(wire.now)
            delays.append(wire.wait())
            wire.open_stream()
            wire.stream(rt.login_result_frame("r", 1, ()), rt.login_result_frame("r", 1, (), fast=True))
        assert delays == pytest.approx([0.2, 0.4, 0.8, 0.2], rel=0.01)

    def test_deadlines_of_dialling_and_login(self) -> None:
        wire = Wire()
        wire.connection.start(wire.now)
        assert wire.wait() == CONNECT_SECONDS
        assert wire.connection.wanted_stream == 0
        wire.wait()
        wire.open_stream()
        assert wire.wait() == LOGIN_SECONDS
        assert [(type(event), event.refused) for event in wire.events()] == [(Failed, False)] * 2  # type: ignore[attr-defined]
        assert wire.connection.wanted_stream == 0

    def test_a_timer_that_is_called_too_early_does_nothing(self) -> None:
        wire = Wire()
        wire.log_in()
        wire.datagram_packets()
        wire.connection.handle_timer(wire.now + UDP_LOGIN_INTERVAL / 2)
        assert wire.datagram_packets() == []

    def test_a_clock_that_jumps_ahead_does_one_step(self) -> None:
        wire = Wire()
        wire.log_in()
        wire.datagram_packets()
        wire.connection.handle_timer(wire.now + 3600)
        assert len(wire.datagram_packets()) == 1


class TestClosing:
    def test_closed_is_silent_and_what_was_sent_still_goes_out(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.connection.send(5)
        wire.stream(user_frame(6))
        wire.connection.close()
        assert [packet.op_code for packet in wire.stream_packets()] == [5]
        wire.stream(user_frame(5))
        wire.datagram(user_frame(5))
        wire.connection.stream_lost(wire.now)
        wire.connection.stream_opened(wire.now)
        wire.connection.handle_timer(wire.now + 100)
        assert wire.events() == []
        assert (wire.connection.wanted_stream, wire.connection.next_timer()) == (0, None)
        assert wire.connection.send(5) == 0

    def test_start_comes_back_with_the_reconnect_token_and_the_sequence(self) -> None:
        wire = Wire()
        wire.become_ready()
        wire.connection.send(5, Intent.UNRELIABLE_SEQUENCED)
        wire.connection.close()
        wire.connection.start(wire.now)
        assert wire.open_stream() == "reconnect"
        wire.stream(rt.login_result_frame("r", 1, ()))
        wire.connection.send(5, Intent.UNRELIABLE_SEQUENCED)
        assert wire.stream_packets()[0].sequence == 1


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_any_server_at_all_leaves_the_machine_sound(seed: int) -> None:
    """Random calls in random order with random and half-random bytes: no exception, and what it says holds together."""
    chance = random.Random(seed)
    wire = Wire()
    connection = wire.connection
    sound = [
        rt.login_result_frame("r", 1, (2,)),
        rt.login_result_frame("r", 1, (2,), fast=True),
        rt.udp_connect_frame(),
        rt.player_connect_frame(2, (1, 2)),
        rt.player_disconnect_frame(2, (1,)),
        user_frame(5, payload=b"x"),
    ]

    def some_bytes() -> bytes:
        frame = bytearray(chance.choice(sound))
        if chance.random() < 0.2:
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        return bytes(frame)

    was_ready = False
    for _ in range(60):
        wire.now += chance.random()
        step = chance.randrange(8)
        if step == 0:
            connection.start(wire.now)
        elif step == 1:
            connection.stream_opened(wire.now)
        elif step == 2:
            connection.handle_timer(wire.now)
        elif step in (3, 4):
            wire.stream(some_bytes())
        elif step == 5:
            wire.datagram(some_bytes())
        elif step == 6:
            connection.send(1 + chance.randrange(5), chance.choice(list(Intent)), payload=b"p")
        elif chance.random() < 0.3:
            if chance.random() < 0.5:
                connection.stream_lost(wire.now)
            else:
                connection.close()
                was_ready = False
        for event in wire.events():
            if isinstance(event, Ready):
                assert not was_ready
                was_ready = True
            elif isinstance(event, Lost):
                assert was_ready
                was_ready = False
            else:
                assert was_ready or isinstance(event, Failed)
        assert connection.ready == was_ready
        if connection.state in (ConnectionState.WAITING, ConnectionState.CONNECTING, ConnectionState.LOGGING_IN):
            assert connection.next_timer() is not None
        wire.stream_packets()
        wire.datagram_packets()

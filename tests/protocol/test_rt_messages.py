"""System messages of the RT dialect: against recorded bytes, round trips, and anything else that may arrive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gsrt._core import FrameReader, Packet, ProtocolError
from gsrt.protocol import rt

RECORDINGS = [
    json.loads(line) for line in (Path(__file__).parent.parent / "vectors" / "captures.jsonl").read_text().splitlines()
]
RECORDED_TOKENS = {client: f"ref:mx101319708:{peer}:p{peer}" for peer, client in enumerate(("cpp", "cs"), start=1)}
RECONNECT_TOKENS = {peer: f"rc:mx101319708:{peer}:{peer}" for peer in (1, 2, 3, 4)}

tokens = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
peer_ids = st.integers(1, rt.MAX_PEER_ID)
peer_lists = st.lists(peer_ids, max_size=20).map(tuple)
seeded = settings(max_examples=3000, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def recorded(client: str, leg: str, direction: str) -> list[bytes]:
    return [
        bytes.fromhex(line["hex"])
        for line in RECORDINGS
        if (line["client"], line["leg"], line["dir"]) == (client, leg, direction)
    ]


def packet_of(frame: bytes) -> Packet:
    """The packet of one frame, whose length prefix must be right."""
    bodies = FrameReader(1 << 20).feed(frame)
    assert len(bodies) == 1
    return Packet.decode(bodies[0])


def with_payload(op_code: int, payload: bytes) -> Packet:
    return Packet(op_code, payload=payload)


class TestRecordedBytes:
    def test_the_logins_of_the_csharp_client(self) -> None:
        assert rt.login_frame(RECORDED_TOKENS["cs"]) == recorded("cs", "tls", "c2s")[0]
        assert rt.login_frame(RECONNECT_TOKENS[2]) == recorded("cs", "udp", "c2s")[0]

    def test_login_results(self) -> None:
        assert rt.login_result_frame(RECONNECT_TOKENS[1], 1, ()) == recorded("cpp", "tls", "s2c")[0]
        assert rt.login_result_frame(RECONNECT_TOKENS[2], 2, (1,)) == recorded("cs", "tls", "s2c")[0]
        assert rt.login_result_frame(RECONNECT_TOKENS[3], 3, (1, 2)) == recorded("cs-websocket", "wss", "s2c")[0]
        assert rt.login_result_frame(RECONNECT_TOKENS[4], 4, (1, 2, 3)) == recorded("js", "wss", "s2c")[0]

    def test_answers_to_udp_logins_carry_field_6(self) -> None:
        assert rt.login_result_frame(RECONNECT_TOKENS[1], 1, (), fast=True) == recorded("cpp", "tls", "s2c")[1]
        assert rt.login_result_frame(RECONNECT_TOKENS[2], 2, (1,), fast=True) == recorded("cs", "tls", "s2c")[1]

    def test_udp_connect_both_ways_and_player_ready(self) -> None:
        assert rt.udp_connect_frame() == recorded("cs", "udp", "s2c")[0] == bytes.fromhex("0408097a00")
        assert recorded("cs", "tls", "c2s")[1:] == [rt.udp_connect_reply_frame(), rt.player_ready_frame()]

    def test_player_connects(self) -> None:
        told = recorded("cpp", "tls", "s2c")[2:5]
        assert told == [rt.player_connect_frame(new, tuple(range(1, new + 1))) for new in (2, 3, 4)]

    @pytest.mark.parametrize("client", ["cpp", "cs"])
    def test_recorded_logins_are_read(self, client: str) -> None:
        login = rt.parse_login(packet_of(recorded(client, "tls", "c2s")[0]))
        assert (login.token, login.client_version) == (RECORDED_TOKENS[client], rt.CLIENT_VERSION)

    def test_recorded_results_are_read(self) -> None:
        result = rt.parse_login_result(packet_of(recorded("js", "wss", "s2c")[0]))
        assert (result.success, result.reconnect_token, result.peer_id) == (True, RECONNECT_TOKENS[4], 4)
        assert (result.active_peers, result.fast_port) == ((1, 2, 3), None)


class TestRoundTrips:
    @given(tokens)
    def test_login(self, token: str) -> None:
        login = rt.parse_login(packet_of(rt.login_frame(token)))
        assert (login.token, login.client_version) == (token, 2)

    @given(tokens, peer_ids, peer_lists, st.booleans(), st.none() | st.integers(0, 0xFFFF))
    def test_login_result(
        self, token: str, peer_id: int, peers: tuple[int, ...], fast: bool, fast_port: int | None
    ) -> None:
        packet = packet_of(rt.login_result_frame(token, peer_id, peers, fast=fast, fast_port=fast_port))
        result = rt.parse_login_result(packet)
        assert packet.reliable is (False if fast else None)
        assert (result.success, result.reconnect_token, result.peer_id) == (True, token, peer_id)
        assert (result.active_peers, result.fast_port) == (peers, fast_port)

    @given(peer_ids, peer_lists)
    def test_peer_changes(self, peer_id: int, peers: tuple[int, ...]) -> None:
        for frame, kind in (
            (rt.player_connect_frame(peer_id, peers), rt.PlayerConnect),
            (rt.player_disconnect_frame(peer_id, peers), rt.PlayerDisconnect),
        ):
            change = rt.parse_peer_change(packet_of(frame))
            assert type(change) is kind
            assert (change.peer_id, change.active_peers) == (peer_id, peers)


class TestFreedomOfTheWriter:
    """Fields in any order, unknown numbers, and numbers longer than they need be are all within the contract."""

    def test_login_fields_in_another_order(self) -> None:
        login = rt.parse_login(with_payload(0, b"\x10\x07\x0a\x03abc"))
        assert (login.token, login.client_version) == ("abc", 7)

    def test_a_login_without_a_version(self) -> None:
        assert rt.parse_login(with_payload(0, b"\x0a\x03abc")).client_version == 0

    def test_unknown_numbers_are_skipped(self) -> None:
        payload = b"\x48\x96\x01" + b"\x0a\x03abc" + b"\x80\x08\x01" + b"\x10\x02"
        assert rt.parse_login(with_payload(0, payload)).token == "abc"

    def test_long_forms_of_numbers(self) -> None:
        assert rt.parse_login(with_payload(0, b"\x0a\x83\x00abc\x10\x82\x80\x00")).client_version == 2

    def test_peers_and_ids_in_any_order(self) -> None:
        result = rt.parse_login_result(with_payload(-1, b"\x20\x05\x18\x02\x20\x02\x12\x01t\x28\x50\x08\x01"))
        assert (result.peer_id, result.active_peers, result.fast_port) == (2, (5, 2), 80)

    def test_a_refusal_needs_no_peer_id(self) -> None:
        assert rt.parse_login_result(with_payload(-1, b"\x08\x00")).success is False


class TestRefusals:
    @pytest.mark.parametrize(
        ("payload", "reason", "offset"),
        [
            (b"", "without a token", 0),
            (b"\x10\x02", "without a token", 0),
            (b"\x0a\x00\x10\x02", "without a token", 0),
            (b"\x08\x05", "token is not a byte run", 1),
            (b"\x0a\x05abc", "cut short", 1),
            (b"\x0a\x03abc\x10", "cut short", 6),
            (b"\x0a\x03abc\x12\x01x", "clientVersion is not a number", 6),
            (b"\x0a\x03abc\x1a\x01x", "unexpected byte run in field 3", 6),
            (b"\x0a\x03abc\x1d\x00\x00\x00\x00", "field 3 has wire type 5", 5),
            (b"\x0a\x03abc\x00\x01", "field number 0", 5),
            (b"\x0a\x02\xff\xfe", "not UTF-8", 1),
            (b"\x10" + b"\xff" * 9 + b"\x02", "longer than 64 bits", 1),
            (b"\x10" + b"\x80" * 10 + b"\x00", "longer than 64 bits", 1),
            (b"\x0a\xff\xff\xff\xff\x0fabc", "cut short", 1),
            (b"\x0a\x03abc\x10\xff\xff\xff\xff\x0f", "over 2147483647", 6),
        ],
    )
    def test_a_login_names_what_is_wrong_and_where(self, payload: bytes, reason: str, offset: int) -> None:
        with pytest.raises(ProtocolError, match=reason) as refusal:
            rt.parse_login(with_payload(0, payload))
        assert refusal.value.offset == offset

    def test_a_token_over_the_limit(self) -> None:
        limit = rt.MAX_TOKEN_BYTES
        assert rt.parse_login(packet_of(rt.login_frame("t" * limit))).token == "t" * limit
        with pytest.raises(ProtocolError, match="1025 bytes"):
            rt.parse_login(with_payload(0, b"\x0a\x81\x08" + b"t" * (limit + 1)))
        with pytest.raises(ValueError, match="1 to 1024 bytes"):
            rt.login_frame("t" * (limit + 1))
        with pytest.raises(ValueError, match="1 to 1024 bytes"):
            rt.login_frame("")

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (b"\x08\x02", "success 2 is over 1"),
            (b"\x08\x01", "without a peerId"),
            (b"\x08\x01\x18\x01\x22\x02\x01\x02", "peer is not a number"),  # a packed list
            (b"\x08\x01\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "over 2147483647"),
            (b"\x08\x01\x18\x01\x28\x80\x80\x04", "fastPort 65536 is over 65535"),
            (b"\x08\x01\x10\x01", "token is not a byte run"),
        ],
    )
    def test_login_results(self, payload: bytes, reason: str) -> None:
        with pytest.raises(ProtocolError, match=reason):
            rt.parse_login_result(with_payload(-1, payload))

    @pytest.mark.parametrize("op_code", [rt.OP_PLAYER_CONNECT, rt.OP_PLAYER_DISCONNECT])
    @pytest.mark.parametrize(
        ("payload", "reason"),
        [(b"\x20\x01", "without a peerId"), (b"\x08\x01\x22\x01\x01", "peer is not a number"), (b"\x0a\x00", "peerId")],
    )
    def test_peer_changes(self, op_code: int, payload: bytes, reason: str) -> None:
        with pytest.raises(ProtocolError, match=reason):
            rt.parse_peer_change(with_payload(op_code, payload))

    @pytest.mark.parametrize("parse", [rt.parse_login, rt.parse_login_result, rt.parse_peer_change])
    def test_other_packets(self, parse) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ProtocolError, match="opCode 5"):
            parse(with_payload(5, b"\x08\x01"))

    def test_a_system_message_without_a_body(self) -> None:
        with pytest.raises(ProtocolError, match="without a body"):
            rt.parse_login(Packet(0))


PARSERS = (
    (rt.OP_LOGIN, rt.parse_login),
    (rt.OP_LOGIN_RESULT, rt.parse_login_result),
    (rt.OP_PLAYER_CONNECT, rt.parse_peer_change),
    (rt.OP_PLAYER_DISCONNECT, rt.parse_peer_change),
)
SOUND_PAYLOADS = [
    packet_of(frame).payload or b""
    for frame in (
        rt.login_frame("a token of the usual kind"),
        rt.login_result_frame("reconnect", 3, (1, 2, 300), fast_port=8784),
        rt.player_connect_frame(70_000, (1, 2, 70_000)),
    )
]


class TestAnythingAtAll:
    @seeded
    @given(st.binary(max_size=80))
    @example(b"\x0a")
    def test_random_bytes_are_read_or_refused(self, payload: bytes) -> None:
        self.read_or_refuse(payload)

    @seeded
    @given(st.sampled_from(SOUND_PAYLOADS), st.data())
    def test_mutated_messages_are_read_or_refused(self, payload: bytes, data: st.DataObject) -> None:
        mutated = bytearray(payload)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(mutated)))
            kind = data.draw(st.sampled_from(("replace", "insert", "cut", "repeat")))
            if kind == "replace" and at < len(mutated):
                mutated[at] = data.draw(st.integers(0, 255))
            elif kind == "insert":
                mutated[at:at] = data.draw(st.binary(min_size=1, max_size=11))
            elif kind == "cut":
                del mutated[at:]
            else:
                mutated += mutated[at : at + 20]
        self.read_or_refuse(bytes(mutated))

    @staticmethod
    def read_or_refuse(payload: bytes) -> None:
        for op_code, parse in PARSERS:
            try:
                message = parse(with_payload(op_code, payload))
            except ProtocolError as refusal:
                assert refusal.reason
                assert 0 <= refusal.offset <= len(payload)
                continue
            if isinstance(message, rt.Login):
                assert 0 < len(message.token.encode()) <= rt.MAX_TOKEN_BYTES
            else:
                assert 0 <= message.peer_id <= rt.MAX_PEER_ID
                assert len(message.active_peers) <= len(payload)


def test_the_client_loads_only_when_asked_for() -> None:
    assert rt.ClientConnection.__name__ == "ClientConnection"
    with pytest.raises(AttributeError):
        rt.no_such_name  # noqa: B018

"""The connect sequence: logins by TCP and UDP, acknowledgements, lists, what is held until a client is ready."""

from __future__ import annotations

import random

import pytest

from tests.doubles import base
from tests.doubles.catalogue import KINDS, make
from tests.doubles.cplusplus import CppDouble, sdk_delay
from tests.doubles.driver import Driver
from tests.doubles.streaming import StreamingDouble
from tests.doubles.writers import Intent
from tests.sessions.match import MakeMatch, Match
from tests.support import wire
from tests.support.link import LossyLink
from tests.support.server import ServerProcess
from tests.support.wire import Packet

GREETING = bytes.fromhex("0408097a00")


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_client_ends_with_exactly_itself(new_match: MakeMatch, kind: str) -> None:
    match = new_match(1)
    double = match.client(kind, 1)
    match.driver.run_until(lambda: double.ready, "ready")
    match.until_state(1, "ready")
    assert (double.peers_at_ready, double.active_peers, double.peer_id) == ([1], [1], 1)
    match.no_violations()


def test_the_udp_login_is_acknowledged_over_tcp(new_match: MakeMatch) -> None:
    match = new_match(1)
    probe = match.logged_in(1)
    token = probe.login_results()[0].reconnect_token or b""
    probe.log_in_fast(token)
    match.driver.run_until(
        lambda: len(probe.login_results()) == 2 and GREETING in probe.datagrams_received, "acknowledged"
    )
    first, second = probe.of_op_code(wire.OP_LOGIN_RESULT)
    assert (first.reliable, second.reliable) == (None, False)
    for result in probe.login_results():
        assert (result.success, result.peer_id, result.reconnect_token) == (True, 1, token)
    assert not [packet for packet in probe.received_fast if packet.op_code == wire.OP_LOGIN_RESULT]


def test_login_results_carry_their_fields_before_the_payload_and_nothing_else(new_match: MakeMatch) -> None:
    match = new_match(1)
    probe = match.fast_probe(1)
    assert [packet.order for packet in probe.of_op_code(wire.OP_LOGIN_RESULT)] == [(1, 15), (1, 6, 15)]


def test_a_client_that_hears_nothing_by_udp_is_greeted_again_until_it_answers(new_match: MakeMatch) -> None:
    match = new_match(1)
    probe = match.logged_in(1)
    probe.log_in_fast(match.token(1))
    match.driver.run_until(lambda: probe.datagrams_received.count(GREETING) >= 4, "greeted again and again")
    probe.send_packet(Packet(wire.OP_UDP_CONNECT))
    probe.say_ready()
    match.until_state(1, "ready")
    before = len(probe.datagrams_received)
    match.driver.run_for(0.2)  # four intervals of the profile
    assert len(probe.datagrams_received) - before <= 1  # one may have been under way


def test_the_server_gives_up_greeting_after_its_attempts(certificate: tuple[str, str], driver: Driver) -> None:
    overrides = {"udp_hello_interval_seconds": 0.02, "udp_hello_attempts": 3}
    with ServerProcess(certificate=certificate, overrides=overrides) as server:
        match = Match(server, driver, 2)
        probe, other = match.logged_in(1), match.ready_probe(2)
        probe.log_in_fast(match.token(1))
        driver.run_until(lambda: probe.datagrams_received.count(GREETING) == 3, "three greetings")
        driver.run_for(0.1)  # five intervals more
        assert probe.datagrams_received.count(GREETING) == 3
        # the player stays with TCP
        probe.say_ready()
        match.until_state(1, "ready")
        other.send_packet(Packet(60, reliable=False, payload=b"x"))
        driver.run_until(lambda: bool(probe.of_op_code(60)), "by TCP")


def test_each_repeat_of_the_udp_login_is_answered_again(new_match: MakeMatch) -> None:
    match = new_match(1)
    probe = match.fast_probe(1)
    token = probe.login_results()[0].reconnect_token or b""
    for repeat in range(3):
        probe.log_in_fast(token)
        match.driver.run_until(lambda: len(probe.login_results()) == 3 + repeat, "acknowledged again")  # noqa: B023
    assert match.server.player_state(match.table, 1) == "ready"
    assert probe.changes(wire.OP_PLAYER_CONNECT) == []


def test_repeated_udp_logins_tell_the_others_nothing(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher = match.ready_probe(1)
    probe = match.fast_probe(2)
    for _ in range(3):
        probe.log_in_fast(match.token(2))
    match.driver.run_until(lambda: len(probe.login_results()) >= 5, "acknowledged")
    match.mark_from(probe, [watcher])
    assert [change.peer_id for change in watcher.changes(wire.OP_PLAYER_CONNECT)] == [2]


def test_a_new_source_port_binds_again_and_the_old_one_gets_nothing(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.fast_probe(2)
    old = receiver.datagrams
    assert old is not None
    receiver.open_datagrams()
    receiver.datagrams_received.clear()
    old_received: list[bytes] = []
    old._on_datagram = lambda datagram, now: old_received.append(datagram)
    receiver.log_in_fast(match.token(2))
    match.driver.run_until(lambda: GREETING in receiver.datagrams_received, "greeted at the new port")
    receiver.send_packet(Packet(wire.OP_UDP_CONNECT))
    match.mark_from(receiver, [sender])
    sender.send_fast(Packet(77, payload=b"x"))
    match.driver.run_until(lambda: any(packet.op_code == 77 for packet in receiver.received_fast), "the packet")
    assert not [one for one in old_received if one != GREETING]
    # and what comes from the old port is nobody's
    before = match.server.counters()["dropped_unknown_address"]
    old.send(wire.frame(wire.encode_packet(Packet(78, payload=b"x"))), match.driver.now)
    match.driver.run_until(lambda: match.server.counters()["dropped_unknown_address"] > before, "the drop")
    assert not sender.of_op_code(78)
    old.close()


@pytest.mark.parametrize("kind", ["cpp", "cs"])
def test_a_double_behind_a_changing_nat_goes_on(new_match: MakeMatch, kind: str) -> None:
    match = new_match(2)
    double, other = match.all_ready([kind, "cpp"])
    assert isinstance(double, StreamingDouble)
    assert double.datagrams is not None
    double.datagrams.rebind()
    double.udp_login()
    match.driver.run_until(
        lambda: match.server.counters(match.table)["packets_in"] > 0 and double.acknowledged, "acknowledged"
    )

    def heard_by_udp() -> bool:
        other.send(70, Intent.UNRELIABLE, payload=b"x")
        return any(event.leg == "datagram" for event in double.of_op_code(70))

    match.driver.run_until(heard_by_udp, "packets at the new port")
    match.no_violations()


def test_before_minus_five_unreliable_packets_come_by_tcp(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender = match.ready_probe(1)
    probe = match.logged_in(2)
    probe.log_in_fast(match.token(2))
    probe.say_ready()
    match.driver.run_until(lambda: GREETING in probe.datagrams_received, "the greeting")
    match.until_state(2, "ready")
    sender.send_packet(Packet(70, reliable=False, payload=b"x"))
    match.driver.run_until(lambda: bool(probe.of_op_code(70)), "the packet")
    assert {packet.op_code for packet in probe.received_fast} == {wire.OP_UDP_CONNECT}


def test_minus_five_without_a_udp_login_changes_nothing(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, probe = match.ready_probe(1), match.ready_probe(2)
    probe.send_packet(Packet(wire.OP_UDP_CONNECT))
    match.mark_from(probe, [sender])
    sender.send_packet(Packet(70, reliable=False, payload=b"x"))
    match.driver.run_until(lambda: bool(probe.of_op_code(70)), "the packet by TCP")


def test_the_udp_login_takes_the_access_token_too(new_match: MakeMatch) -> None:
    match = new_match(1)
    probe = match.logged_in(1)
    probe.log_in_fast(match.token(1))
    match.driver.run_until(lambda: len(probe.login_results()) == 2, "acknowledged")


def test_a_udp_login_without_a_tcp_connection_is_refused_in_silence(new_match: MakeMatch) -> None:
    match = new_match(1)
    stranger = match.probe("tcp")
    refused = match.server.counters()["udp_logins_refused"]
    stranger.log_in_fast(match.token(1))
    match.driver.run_until(lambda: match.server.counters()["udp_logins_refused"] > refused, "the refusal")
    assert stranger.datagrams_received == []


def test_a_udp_login_of_a_websocket_client_is_refused_in_silence(new_match: MakeMatch) -> None:
    match = new_match(1)
    probe = match.ready_probe(1, "ws")
    refused = match.server.counters()["udp_logins_refused"]
    probe.log_in_fast(match.token(1))
    match.driver.run_until(lambda: match.server.counters()["udp_logins_refused"] > refused, "the refusal")
    probe.send_packet(Packet(71, targets=(1,), payload=b"echo"))
    match.driver.run_until(lambda: bool(probe.of_op_code(71)), "the echo")
    assert not probe.of_op_code(wire.OP_UDP_CONNECT)
    assert len(probe.login_results()) == 1
    assert probe.datagrams_received == []


def test_lists_are_unpacked_and_hold_their_recipient(new_match: MakeMatch) -> None:
    match = new_match(4)
    probes = [match.ready_probe(peer_id, leg) for peer_id, leg in enumerate(("tcp", "tls", "ws", "wss"), 1)]
    for index, probe in enumerate(probes):
        match.driver.run_until(
            lambda: len(probe.changes(wire.OP_PLAYER_CONNECT)) == 3 - index,  # noqa: B023
            "told of all who came later",
        )
        for change in probe.changes(wire.OP_PLAYER_CONNECT):
            assert index + 1 in change.active_peers
            assert change.peer_id in change.active_peers
    # the strict decoder of the probes has refused packed lists
    assert [change.active_peers for change in probes[0].changes(wire.OP_PLAYER_CONNECT)] == [
        (1, 2),
        (1, 2, 3),
        (1, 2, 3, 4),
    ]


def test_a_client_on_its_way_in_is_told_with_itself_in_the_list(new_match: MakeMatch) -> None:
    match = new_match(2)
    waiting = match.logged_in(1)
    match.ready_probe(2)
    match.driver.run_until(lambda: bool(waiting.changes(wire.OP_PLAYER_CONNECT)), "told before it is ready")
    (change,) = waiting.changes(wire.OP_PLAYER_CONNECT)
    assert (change.peer_id, set(change.active_peers)) == (2, {1, 2})


def test_a_login_that_is_never_ready_is_not_announced(new_match: MakeMatch) -> None:
    match = new_match(3)
    watcher, other = match.ready_probe(1), match.ready_probe(2)
    match.logged_in(3)
    match.mark_from(other, [watcher])
    assert [change.peer_id for change in watcher.changes(wire.OP_PLAYER_CONNECT)] == [2]


@pytest.mark.parametrize("leg", ["tcp", "tls", "ws", "wss"])
def test_what_is_for_a_peer_is_held_until_it_is_ready_and_comes_in_order(new_match: MakeMatch, leg: str) -> None:
    match = new_match(2)
    sender, waiting = match.ready_probe(1), match.logged_in(2, leg)
    for number in range(20):
        sender.send_packet(Packet(60 + number, payload=b"held"))
    match.until_counted("packets_held", 20)
    assert waiting.user_packets == []
    waiting.say_ready()
    match.driver.run_until(lambda: len(waiting.user_packets) == 20, "what was held")
    assert [packet.op_code for packet in waiting.user_packets] == list(range(60, 80))
    sender.send_packet(Packet(80, payload=b"live"))
    match.driver.run_until(lambda: len(waiting.user_packets) == 21, "the next")


def test_unreliable_packets_held_before_udp_is_confirmed_come_by_tcp(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, waiting = match.fast_probe(1), match.logged_in(2)
    sender.send_fast(Packet(60, payload=b"held"))
    match.until_counted("packets_held", 1)
    waiting.say_ready()
    match.driver.run_until(lambda: len(waiting.user_packets) == 1, "what was held")


def test_a_client_may_send_from_its_login_result_on(new_match: MakeMatch) -> None:
    match = new_match(2)
    receiver, early = match.ready_probe(1), match.logged_in(2)
    early.send_packet(Packet(60, payload=b"early"))
    match.driver.run_until(lambda: bool(receiver.of_op_code(60)), "the early packet")
    assert receiver.of_op_code(60)[0].sender == 2


@pytest.mark.parametrize("leg", ["tcp", "tls", "ws", "wss"])
def test_a_login_may_come_in_single_bytes(new_match: MakeMatch, leg: str) -> None:
    match = new_match(1)
    probe = match.probe(leg)
    login = wire.frame(wire.encode_packet(Packet(0, payload=wire.encode_login(match.token(1).encode()))))
    data = probe.frames.frame(0x2, login) if probe.is_websocket else login
    for at in range(len(data)):
        probe.stream.write(data[at : at + 1], match.driver.now)
        match.driver.step(0.0005)
    match.driver.run_until(lambda: bool(probe.login_results()), "LoginResult")


def test_everything_at_once_in_one_write(new_match: MakeMatch) -> None:
    match = new_match(2)
    receiver = match.ready_probe(1)
    probe = match.probe("tcp")
    login = Packet(0, payload=wire.encode_login(match.token(2).encode()))
    packets = [login, Packet(wire.OP_PLAYER_READY), Packet(60, payload=b"a"), Packet(61, payload=b"b")]
    probe.send(b"".join(wire.frame(wire.encode_packet(packet)) for packet in packets))
    match.driver.run_until(lambda: len(receiver.user_packets) == 2, "both packets")
    assert [packet.op_code for packet in receiver.user_packets] == [60, 61]


def test_fields_two_and_six_of_a_login_are_ignored(new_match: MakeMatch) -> None:
    for reliable in (True, False, None):
        for sequence in (None, 0, 123456, -5):
            match = new_match(1)
            probe = match.probe("tcp")
            login = wire.encode_login(match.token(1).encode())
            probe.send_packet(Packet(0, sequence=sequence, reliable=reliable, data=b"", payload=login))
            match.driver.run_until(lambda: bool(probe.login_results()), "LoginResult")  # noqa: B023
            assert probe.of_op_code(wire.OP_LOGIN_RESULT)[0].reliable is None


def test_a_second_ready_message_is_ignored(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher, probe = match.ready_probe(1), match.ready_probe(2)
    probe.say_ready()
    match.mark_from(probe, [watcher])
    assert len(watcher.changes(wire.OP_PLAYER_CONNECT)) == 1


def test_ready_before_minus_five_and_after_it_are_both_fine(new_match: MakeMatch) -> None:
    match = new_match(2)
    first = match.fast_probe(1)  # -5, then -7
    second = match.logged_in(2)
    second.log_in_fast(match.token(2))
    match.driver.run_until(lambda: GREETING in second.datagrams_received, "the greeting")
    second.say_ready()
    second.send_packet(Packet(wire.OP_UDP_CONNECT))
    match.mark_from(second, [first])
    for sender, receiver in ((first, second), (second, first)):
        sender.send_fast(Packet(60, payload=b"fast"))
        match.driver.run_until(lambda: any(one.op_code == 60 for one in receiver.received_fast), "by UDP")  # noqa: B023


def test_a_cpp_client_that_dials_again_in_the_middle_of_its_login_gets_in(new_match: MakeMatch) -> None:
    """Its connect deadline is random and may be milliseconds."""
    match = new_match(1)
    double = CppDouble(
        "impatient",
        match.server.host,
        match.server.port,
        match.token(1),
        connect_patience=lambda attempt: 0.0005 * 2**attempt,
    )
    match.driver.add(double)
    match.driver.run_until(lambda: double.ready, "ready in the end")
    assert double.attempts > 1
    assert double.violations == []


def test_a_crowd_of_impatient_cpp_clients_gets_in(new_match: MakeMatch) -> None:
    """Each with the SDK's own random deadlines, fifty times faster."""
    match = new_match(12)
    for index in range(12):
        generator = random.Random(index)
        double = CppDouble(
            f"impatient-{index}",
            match.server.host,
            match.server.port,
            match.token(index + 1),
            connect_patience=lambda attempt, generator=generator: sdk_delay(generator.random(), attempt) / 50,  # type: ignore[misc]
        )
        match.doubles.append(double)
        match.driver.add(double)
    match.until_ready(match.doubles)
    for one in match.doubles:
        assert sorted(one.active_peers) == list(range(1, 13))
        assert len(one.told("player connect")) == len(set(one.told("player connect")))
    match.no_violations()


def test_a_cpp_client_whose_udp_is_blocked_keeps_trying_and_the_server_lives(
    new_match: MakeMatch, driver: Driver
) -> None:
    match = new_match(2)
    blocked = make(
        "cpp", "blocked", match.server.host, match.server.port, match.token(1), pace=0.01, link=LossyLink(1, loss=1.0)
    )
    driver.add(blocked)
    driver.run_until(lambda: blocked.state == base.RELIABLE_ONLY, "logged in")
    other = match.ready("cpp", 2)
    assert isinstance(blocked, CppDouble)
    assert blocked.frozen
    assert other.peers_at_ready == [2]


def test_nothing_is_ever_sent_that_has_a_sequence_number(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.fast_probe(2)
    for number in range(5):
        sender.send_fast(Packet(60, sequence=2 * number, payload=b"x"))
        sender.send_packet(Packet(61, sequence=2 * number + 1, reliable=False, payload=b"x"))
        match.driver.run_until(
            lambda: len([one for one in receiver.received_fast if one.op_code > 0]) >= 2 * number + 2,  # noqa: B023
            "both packets",
        )
    assert {packet.sequence for packet in receiver.received + receiver.received_fast} == {None}

"""Ends and returns: orderly closes, losses and the grace after them, replacement, tokens, kicks, the session's end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles import base
from tests.doubles.base import Double
from tests.doubles.catalogue import make
from tests.doubles.csharp import CSharpDouble
from tests.doubles.driver import Driver
from tests.doubles.probe import Probe
from tests.doubles.streaming import StreamingDouble
from tests.doubles.websockets import WebSocketDouble
from tests.doubles.writers import Intent
from tests.sessions.match import MakeMatch, Match
from tests.support import wire
from tests.support.server import ServerProcess
from tests.support.wire import Packet

LEGS = ("tcp", "tls", "ws", "wss")
EVERY_KIND = ("cpp", "cs", "cpp-plain", "cs-plain-without-udp", "cs-wss", "js-wss", "js-ws", "xbox-wss")
LONG_GRACE = {"grace_seconds": 30, "udp_hello_interval_seconds": 0.05}


@pytest.fixture(scope="module")
def patient_server(certificate: tuple[str, str]) -> Iterator[ServerProcess]:
    """A server whose grace no test outlives: what is told there was not told because of it."""
    with ServerProcess(certificate=certificate, overrides=LONG_GRACE) as server:
        yield server


@pytest.fixture
def server(patient_server: ServerProcess) -> ServerProcess:
    """These tests use it in place of the shared server."""
    return patient_server


@pytest.fixture
def quick_match(shared_server: ServerProcess, driver: Driver) -> MakeMatch:
    """Sessions of the shared server, whose grace is short."""
    return lambda count: Match(shared_server, driver, count)


def departures(probe: Probe) -> list[int]:
    """Peers whose departure it was told."""
    return [change.peer_id or 0 for change in probe.changes(wire.OP_PLAYER_DISCONNECT)]


# -- orderly closes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_stop_is_told_to_the_others_at_once(new_match: MakeMatch, kind: str) -> None:
    """FIN, close_notify, WebSocket close: the grace of this server is half a minute, the tests' patience is not."""
    match = new_match(3)
    watchers = match.all_ready(["cpp", "js-wss"])
    leaver = match.ready(kind, 3)
    leaver.stop()
    match.driver.run_until(lambda: all(one.told("player disconnect") == [3] for one in watchers), "told")
    for watcher in watchers:
        assert sorted(watcher.active_peers) == [1, 2]
    assert match.server.player_state(match.table, 3) == "gone"
    match.no_violations()


@pytest.mark.parametrize("leg", ["tcp", "tls"])
def test_a_bare_fin_is_an_orderly_close(new_match: MakeMatch, leg: str) -> None:
    match = new_match(2)
    watcher, leaver = match.ready_probe(1), match.ready_probe(2, leg)
    leaver.stream.shut_writing()
    match.driver.run_until(lambda: departures(watcher) == [2], "told")


@pytest.mark.parametrize("leg", ["ws", "wss"])
def test_a_websocket_close_is_answered_and_told(new_match: MakeMatch, leg: str) -> None:
    match = new_match(2)
    watcher, leaver = match.ready_probe(1), match.ready_probe(2, leg)
    leaver.stream.write(leaver.frames.frame(0x8, (1000).to_bytes(2, "big") + b"bye"), match.driver.now)
    match.driver.run_until(lambda: departures(watcher) == [2], "told")
    match.driver.run_until(lambda: leaver.ended is not None, "closed")
    assert leaver.frames.close_code == 1000
    assert leaver.ended in ("fin", "close_notify")


@pytest.mark.parametrize("body", [b"", b"\x03\xe9", b"\x03\xe8" + b"r" * 123], ids=["empty", "1001", "with a reason"])
def test_close_frames_as_browsers_send_them_are_orderly(new_match: MakeMatch, body: bytes) -> None:
    match = new_match(2)
    watcher, leaver = match.ready_probe(1), match.ready_probe(2, "wss")
    leaver.stream.write(leaver.frames.frame(0x8, body), match.driver.now)
    match.driver.run_until(lambda: departures(watcher) == [2], "told")
    match.driver.run_until(lambda: leaver.ended is not None, "closed")
    assert leaver.frames.close_code in (int.from_bytes(body[:2], "big") or 1005, 1000)


@pytest.mark.parametrize("leg", LEGS)
def test_a_reset_right_after_an_orderly_goodbye_is_still_orderly(new_match: MakeMatch, leg: str) -> None:
    """What a client does that closes with bytes unread: its kernel says goodbye, then breaks off."""
    match = new_match(2)
    watcher, leaver = match.ready_probe(1), match.ready_probe(2, leg)
    now = match.driver.now
    if leaver.is_websocket:
        leaver.stream.write(leaver.frames.frame(0x8, b""), now)
    elif leg == "tls":
        leaver.stream.say_goodbye(now)
    else:
        leaver.stream.shut_writing()
    match.driver.run_until(lambda: match.server.player_state(match.table, 2) == "gone", "gone")
    leaver.stream.reset()
    match.driver.run_until(lambda: departures(watcher) == [2], "told")


def test_what_a_client_sent_before_it_left_still_arrives(new_match: MakeMatch) -> None:
    for leg in LEGS:
        match = new_match(2)
        watcher, leaver = match.ready_probe(1), match.ready_probe(2, leg)
        for number in range(50):
            leaver.send_packet(Packet(60, payload=bytes([number])))
        leaver.stream.close()
        match.driver.run_until(lambda: departures(watcher) == [2], "told")  # noqa: B023
        assert [(packet.payload or b"")[0] for packet in watcher.of_op_code(60)] == list(range(50))
        assert [packet.op_code for packet in watcher.received][-1] == wire.OP_PLAYER_DISCONNECT


def test_a_client_that_leaves_before_it_is_ready_is_not_mentioned(new_match: MakeMatch) -> None:
    match = new_match(3)
    watcher, other, leaver = match.ready_probe(1), match.ready_probe(2), match.logged_in(3)
    leaver.stream.close()
    match.until_state(3, "gone")
    match.mark_from(other, [watcher])
    assert departures(watcher) == []


def test_stop_and_start_with_the_reconnect_token_after_a_clean_close(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher = match.ready("cpp", 1)
    for kind in ("js-wss", "cs-plain", "cs-wss"):
        double = match.ready(kind, 2)
        assert isinstance(double, StreamingDouble | WebSocketDouble)
        first = double.connect_token
        watcher.events.clear()
        double.stop()
        match.driver.run_until(lambda: watcher.told("player disconnect") == [2], "gone")
        double.restart()
        match.driver.run_until(lambda: watcher.told("player connect") == [2], "back")
        match.driver.run_until(lambda: double.ready and double.state != base.CONNECTING, "ready again")  # noqa: B023
        assert first != match.token(2).encode()
        assert double.logins == 2
        double.stop()
        match.driver.run_until(lambda: watcher.told("player disconnect") == [2, 2], "gone again")
    match.no_violations()


def test_the_original_token_works_again_and_again(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher = match.ready_probe(1)
    for round_number in range(12):
        probe = match.ready_probe(2, LEGS[round_number % 4])
        probe.stream.close()
        match.driver.run_until(
            lambda: len(departures(watcher)) == round_number + 1,  # noqa: B023
            "gone",
        )
    assert [change.peer_id for change in watcher.changes(wire.OP_PLAYER_CONNECT)] == [2] * 12


# -- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", LEGS)
def test_a_reset_is_told_only_after_the_grace(quick_match: MakeMatch, leg: str) -> None:
    match = quick_match(3)
    watcher, other, lost = match.ready_probe(1), match.ready_probe(2), match.ready_probe(3, leg)
    lost.stream.reset()
    match.until_state(3, "absent")
    match.mark_from(other, [watcher])
    assert departures(watcher) == []
    match.driver.run_until(lambda: departures(watcher) == [3], "told in the end")
    assert match.server.player_state(match.table, 3) == "gone"


@pytest.mark.parametrize("leg", ["tcp", "tls"])
def test_a_reset_that_the_server_meets_while_sending_is_a_loss_as_well(new_match: MakeMatch, leg: str) -> None:
    match = new_match(2)
    sender = match.ready_probe(1)
    for _ in range(15):
        lost = match.ready_probe(2, leg)
        for _ in range(10):
            sender.send_packet(Packet(60, payload=bytes(2000)))
        lost.stream.reset()
        sender.send_packet(Packet(60, payload=bytes(2000)))
        match.until_state(2, "absent", "gone")
        assert match.server.player_state(match.table, 2) == "absent"
    match.mark_from(sender, [match.ready_probe(2)])
    assert departures(sender) == []


@pytest.mark.parametrize("leg", LEGS)
def test_a_return_within_the_grace_is_told_to_nobody(new_match: MakeMatch, leg: str) -> None:
    match = new_match(3)
    watcher, other, lost = match.ready_probe(1), match.ready_probe(2), match.ready_probe(3, leg)
    match.mark_from(lost, [watcher])
    told_before = len(watcher.changes(wire.OP_PLAYER_CONNECT))
    lost.stream.reset()
    match.until_state(3, "absent")
    again = match.ready_probe(3, leg)
    match.mark_from(other, [watcher, again])
    assert departures(watcher) == []
    assert len(watcher.changes(wire.OP_PLAYER_CONNECT)) == told_before
    assert sorted(again.login_results()[0].active_peers) in ([1, 2], [1, 2, 3])


def test_csharp_comes_back_by_itself_and_nobody_notices(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher, double = match.ready("cpp", 1), match.ready("cs", 2)
    assert isinstance(double, CSharpDouble)
    match.until_ready([watcher, double])
    double.send(60, Intent.SEQUENCED, payload=b"0")
    double.reset()
    match.driver.run_until(lambda: double.logins == 2, "a second login")
    match.until_ready([watcher, double])
    double.send(60, Intent.SEQUENCED, payload=b"1")
    match.driver.run_until(lambda: len(watcher.of_op_code(60)) == 2, "both packets")
    assert watcher.told("player disconnect") == []
    assert watcher.told("player connect") == [2]
    assert [event.kind for event in double.events if "ready" in event.kind] == ["ready", "not ready", "ready"]
    match.no_violations()


def test_reliable_packets_sent_meanwhile_are_held_and_delivered_unreliable_ones_are_not(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, lost = match.fast_probe(1), match.fast_probe(2)
    lost.stream.reset()
    match.until_state(2, "absent")
    for number in range(10):
        sender.send_packet(Packet(60, payload=bytes([number])))
        sender.send_packet(Packet(61, reliable=False, payload=bytes([number])))
        sender.send_fast(Packet(62, payload=bytes([number])))
    match.until_counted("packets_held", 10)
    match.until_counted("dropped_absent", 20)
    again = match.ready_probe(2)
    match.driver.run_until(lambda: len(again.user_packets) >= 10, "what was held")
    match.mark_from(sender, [again])
    assert [(packet.payload or b"")[0] for packet in again.of_op_code(60)] == list(range(10))
    assert not again.of_op_code(61) + again.of_op_code(62)


def test_the_udp_address_of_a_lost_connection_is_nobodys(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher, lost = match.ready_probe(1), match.fast_probe(2)
    lost.stream.reset()
    match.until_state(2, "absent")
    before = match.server.counters()["dropped_unknown_address"]
    lost.send_fast(Packet(60, payload=b"x"))
    match.driver.run_until(lambda: match.server.counters()["dropped_unknown_address"] > before, "the drop")
    assert not watcher.of_op_code(60)


def test_nothing_is_kept_for_a_player_that_has_left(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, leaver = match.ready_probe(1), match.ready_probe(2)
    leaver.stream.close()
    match.driver.run_until(lambda: departures(sender) == [2], "gone")
    sender.send_packet(Packet(60, payload=b"too late"))
    again = match.ready_probe(2)
    match.mark_from(sender, [again])
    assert not again.of_op_code(60)


# -- replacement ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new_leg", LEGS)
@pytest.mark.parametrize("old_leg", LEGS)
def test_a_newer_login_replaces_the_older_connection(new_match: MakeMatch, old_leg: str, new_leg: str) -> None:
    match = new_match(2)
    other, old = match.ready_probe(1), match.ready_probe(2, old_leg)
    new = match.ready_probe(2, new_leg)
    match.driver.run_until(lambda: old.ended is not None, "the older one closed")
    before = len(old.received)
    other.send_packet(Packet(60, payload=b"x"))
    match.driver.run_until(lambda: bool(new.of_op_code(60)), "the packet at the newer one")
    assert len(old.received) == before
    assert not old.of_op_code(60)
    assert departures(other) == []
    assert len(other.changes(wire.OP_PLAYER_CONNECT)) == 1
    expected = {"tcp": "fin", "tls": "close_notify", "ws": "fin", "wss": "close_notify"}[old_leg]
    assert old.ended == expected


def test_the_replaced_connection_gets_no_packet_by_udp_either(new_match: MakeMatch) -> None:
    match = new_match(2)
    other, old = match.fast_probe(1), match.fast_probe(2)
    new = match.ready_probe(2)
    match.driver.run_until(lambda: old.ended is not None, "the older one closed")
    old.datagrams_received.clear()
    for _ in range(10):
        other.send_fast(Packet(60, payload=b"x"))
    match.driver.run_until(lambda: len(new.of_op_code(60)) == 10, "ten packets by TCP")
    assert old.datagrams_received == []
    # and what the replaced one still sends is not taken for the player's
    old.send_fast(Packet(61, payload=b"ghost"))
    match.mark_from(new, [other])
    assert not other.of_op_code(61)


def test_packets_on_their_way_to_a_replaced_connection_do_not_leak_to_its_address(new_match: MakeMatch) -> None:
    match = new_match(2)
    other, old = match.fast_probe(1), match.fast_probe(2)
    takeover = match.probe("tcp")
    frames = b"".join(wire.frame(wire.encode_packet(Packet(60, payload=b"x"))) for _ in range(20))
    old.datagrams_received.clear()
    takeover.log_in(match.token(2))
    other.send_datagram(frames)
    match.driver.run_until(lambda: bool(takeover.login_results()), "the newer login")
    taken_over = len(old.received_fast)
    other.send_datagram(frames)
    match.until_counted("packets_in", 40)
    match.mark_from(takeover, [other])
    assert len(old.received_fast) == taken_over


def test_a_player_that_is_replaced_a_hundred_times_leaves_one_connection(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher = match.ready_probe(1)
    connections = match.server.control({"do": "status"})["connections"]
    probes = [match.logged_in(2) for _ in range(100)]
    probes[-1].say_ready()
    match.until_state(2, "ready")
    match.driver.run_until(lambda: all(probe.ended for probe in probes[:-1]), "99 closed")
    assert probes[-1].ended is None
    assert match.server.control({"do": "status"})["connections"] == connections + 1
    match.mark_from(probes[-1], [watcher])
    assert [change.peer_id for change in watcher.changes(wire.OP_PLAYER_CONNECT)] == [2]


@pytest.mark.parametrize("kind", ["cpp", "js-wss", "cs-wss", "xbox-wss"])
def test_a_double_that_is_replaced_by_a_new_session_object(new_match: MakeMatch, kind: str) -> None:
    match = new_match(2)
    other, old = match.all_ready(["cs", kind])
    new = match.client(kind, 2)
    assert isinstance(old, StreamingDouble | WebSocketDouble)
    match.driver.run_until(lambda: old.stream_ended is not None and new.ready, "replaced")
    match.until_ready([other, new])
    assert other.told("player disconnect") == []
    match.no_violations()


# -- kicks, ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", LEGS)
def test_a_kicked_player_is_closed_told_of_and_never_let_in_again(new_match: MakeMatch, leg: str) -> None:
    match = new_match(2)
    watcher, kicked = match.ready_probe(1), match.ready_probe(2, leg)
    reconnect = kicked.login_results()[0].reconnect_token or b""
    match.server.kick(match.table, match.table.seats[1])
    match.driver.run_until(lambda: kicked.ended is not None and departures(watcher) == [2], "out, and told")
    for token in (match.token(2).encode(), reconnect):
        again = match.probe(leg, f"again-{token[:4].decode()}")
        again.log_in(token)
        match.driver.run_until(lambda: again.ended is not None, "refused")  # noqa: B023
        assert again.received == []
    assert match.server.player_state(match.table, 2) == "kicked"


def test_a_player_that_never_came_can_be_kicked(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher = match.ready_probe(1)
    match.server.kick(match.table, match.table.seats[1])
    again = match.probe()
    again.log_in(match.token(2))
    match.driver.run_until(lambda: again.ended is not None, "refused")
    watcher.send_packet(Packet(60, targets=(1,)))
    match.driver.run_until(lambda: bool(watcher.of_op_code(60)), "the echo")
    assert departures(watcher) == []


def test_a_player_can_be_kicked_while_it_is_absent(new_match: MakeMatch) -> None:
    match = new_match(2)
    watcher, lost = match.ready_probe(1), match.ready_probe(2)
    lost.stream.reset()
    match.until_state(2, "absent")
    match.server.kick(match.table, match.table.seats[1])
    match.driver.run_until(lambda: departures(watcher) == [2], "told at once")


@pytest.mark.parametrize("leg", LEGS)
def test_the_end_of_a_session_closes_everyone_and_revokes_every_token(new_match: MakeMatch, leg: str) -> None:
    match = new_match(3)
    probes = [match.ready_probe(1, leg), match.ready_probe(2), match.logged_in(3, leg)]
    reconnect = probes[0].login_results()[0].reconnect_token or b""
    match.server.end(match.table)
    match.driver.run_until(lambda: all(probe.ended for probe in probes), "all closed")
    assert match.table.session_id not in match.server.session_ids()
    for token in (match.token(1).encode(), reconnect):
        late = match.probe(name=f"late-{token[:4].decode()}")
        late.log_in(token)
        match.driver.run_until(lambda: late.ended is not None, "refused")  # noqa: B023
        assert late.received == []


def test_the_end_of_a_session_leaves_others_alone(new_match: MakeMatch) -> None:
    first, second = new_match(2), new_match(2)
    doubles = second.all_ready(["cpp", "js-wss"])
    first.all_ready(["cs", "cs-wss"])
    first.server.end(first.table)
    first.driver.run_until(
        lambda: all(one.stream_ended for one in first.doubles if isinstance(one, WebSocketDouble)), "the first ended"
    )
    doubles[0].send(60, payload=b"x")
    second.driver.run_until(lambda: bool(doubles[1].of_op_code(60)), "the second goes on")
    for double in first.doubles:
        if isinstance(double, StreamingDouble):
            double.stop()


def test_a_session_ends_its_time_after_its_last_player(certificate: tuple[str, str], driver: Driver) -> None:
    with ServerProcess(certificate=certificate, overrides={"session_linger_seconds": 0.2}) as server:
        match = Match(server, driver, 2)
        first, second = match.ready_probe(1), match.ready_probe(2)
        first.stream.close()
        driver.run_until(lambda: departures(second) == [1], "one left")
        driver.run_for(0.4)  # twice the time after which an empty session ends
        assert second.ended is None
        assert server.session_ids() == [match.table.session_id]
        second.stream.close()
        driver.run_until(lambda: server.session_ids() == [], "the session to end")


def test_a_return_stops_the_end_of_the_session(certificate: tuple[str, str], driver: Driver) -> None:
    with ServerProcess(certificate=certificate, overrides={"session_linger_seconds": 1.0}) as server:
        match = Match(server, driver, 1)
        match.ready_probe(1).stream.close()
        match.until_state(1, "gone")
        again = match.ready_probe(1)
        driver.run_for(1.2)  # past the time at which it would have ended
        assert server.session_ids() == [match.table.session_id]
        assert again.ended is None


def test_a_session_that_nobody_enters_ends(certificate: tuple[str, str], driver: Driver) -> None:
    with ServerProcess(certificate=certificate, overrides={"session_unused_seconds": 0.2}) as server:
        server.create(3)
        driver.run_until(lambda: server.session_ids() == [], "the session to end")


# -- logins that open nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("alter", ["cut", "longer", "other end", "other start", "empty", "not ascii", "very long"])
def test_a_wrong_token_is_refused_in_silence(new_match: MakeMatch, leg: str, alter: str) -> None:
    match = new_match(1)
    token = match.token(1).encode()
    altered = {
        "cut": token[:-1],
        "longer": token + b"A",
        "other end": token[:-1] + (b"A" if token[-1:] != b"A" else b"B"),
        "other start": (b"A" if token[:1] != b"A" else b"B") + token[1:],
        "empty": b"",
        "not ascii": b"\xff\xfe" + token[2:],
        "very long": token * 40,
    }[alter]
    refused = match.server.counters()["logins_refused"]
    probe = match.probe(leg)
    probe.log_in(altered)
    match.driver.run_until(lambda: probe.ended is not None, "closed")
    assert probe.received == []
    assert match.server.counters()["logins_refused"] == refused + 1
    assert match.server.player_state(match.table, 1) == "expected"


def test_doubles_with_a_wrong_token_are_neither_ready_nor_in_a_hot_loop(new_match: MakeMatch) -> None:
    match = new_match(1)
    server, driver = match.server, match.driver
    doubles: list[Double] = []
    for kind in ("cpp", "cs", "cs-wss", "js-wss", "xbox-wss"):
        doubles.append(make(kind, f"wrong-{kind}", server.host, server.port, "wrong"))
        driver.add(doubles[-1])
    driver.run_until(lambda: all(getattr(one, "stream_ended", None) for one in doubles), "all refused")
    assert [(one.ready, one.logins, one.violations) for one in doubles] == [(False, 1, [])] * 5


def test_a_token_of_one_session_opens_no_other_seat(new_match: MakeMatch) -> None:
    match, other = new_match(2), new_match(2)
    probe = match.logged_in(2)
    assert probe.login_results()[0].peer_id == 2
    tokens = {match.token(1), match.token(2), other.token(1), other.token(2)}
    assert len(tokens) == 4
    assert match.server.player_state(match.table, 1) == "expected"
    assert match.server.player_state(other.table, 2) == "expected"


def test_the_reconnect_token_is_not_the_access_token_and_stays_the_same(new_match: MakeMatch) -> None:
    match = new_match(1)
    tokens = {match.ready_probe(1).login_results()[0].reconnect_token for _ in range(3)}
    assert len(tokens) == 1
    assert match.token(1).encode() not in tokens

"""What is relayed to whom, how it is written, and what never is."""

from __future__ import annotations

import random

import pytest

from tests.doubles.probe import Probe
from tests.doubles.writers import Intent
from tests.sessions.match import MakeMatch, Match
from tests.support import wire
from tests.support.wire import Packet

LEGS = ("tcp", "tls", "ws", "wss")


def three(match: Match) -> tuple[Probe, Probe, Probe]:
    """A sender with UDP and two watchers."""
    return match.fast_probe(1), match.ready_probe(2, "tls"), match.ready_probe(3, "ws")


def test_sender_is_always_ours_and_targets_request_id_and_reliable_are_left_out(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    data = wire.encode_data({5: ("string", b"\xff\x00\xe9")})
    sender.send_packet(
        Packet(60, sequence=3, request_id=9, targets=(2,), sender=2, reliable=True, data=data, payload=b"\x00\xff")
    )
    match.driver.run_until(lambda: bool(receiver.user_packets), "the packet")
    assert receiver.user_packets == [Packet(60, sender=1, data=data, payload=b"\x00\xff", order=(1, 5, 14, 15))]


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("payload", [None, b"p"])
@pytest.mark.parametrize("data", [None, b"", b"\x08\x02"])
def test_data_and_payload_go_through_as_they_came(
    new_match: MakeMatch, leg: str, payload: bytes | None, data: bytes | None
) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2, leg)
    sender.send_packet(Packet(60, data=data, payload=payload))
    match.driver.run_until(lambda: bool(receiver.user_packets), "the packet")
    (packet,) = receiver.user_packets
    assert (packet.sender, packet.data, packet.payload) == (1, data, payload)


def test_an_empty_target_list_is_everyone_but_the_sender(new_match: MakeMatch) -> None:
    match = new_match(3)
    sender, second, third = three(match)
    sender.send_packet(Packet(60))
    match.mark_from(sender, [second, third])
    match.mark_from(second, [sender])
    assert [len(one.of_op_code(60)) for one in (sender, second, third)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ((2,), [0, 1, 0]),
        ((3, 2), [0, 1, 1]),
        ((2, 2, 2), [0, 1, 0]),  # named thrice, told once
        ((1,), [1, 0, 0]),  # naming itself: an echo
        ((1, 3), [1, 0, 1]),
        ((0,), [0, 0, 0]),  # the server alone
        ((0, 2), [0, 1, 0]),
        ((77,), [0, 0, 0]),  # nobody of this session
        ((77, 3), [0, 0, 1]),
        ((-1,), [0, 0, 0]),
        ((255, 256, 300, 2**31 - 1), [0, 0, 0]),
        ((258,), [0, 0, 0]),  # not 2 by its low byte
    ],
    ids=str,
)
@pytest.mark.parametrize("fast", [False, True], ids=["reliable", "unreliable"])
def test_targets(new_match: MakeMatch, targets: tuple[int, ...], expected: list[int], fast: bool) -> None:
    match = new_match(3)
    clients = three(match)
    packet = Packet(60, targets=targets, payload=b"x")
    if fast:
        clients[0].send_fast(packet)
        match.until_counted("packets_in", 1)
    else:
        clients[0].send_packet(packet)
    match.mark_from(clients[0], clients[1:])
    match.mark_from(clients[1], [clients[0]])
    match.driver.run_until(
        lambda: [everything(one, 60) for one in clients] == expected, f"{targets} to be delivered to {expected}"
    )


def everything(probe: Probe, op_code: int) -> int:
    """Packets of an opCode by stream and by UDP."""
    return len(probe.of_op_code(op_code)) + sum(packet.op_code == op_code for packet in probe.received_fast)


def test_packed_targets_are_not_misread_as_everyone(new_match: MakeMatch) -> None:
    """No client writes them; whatever the server makes of it, it must not tell those who were not named."""
    match = new_match(3)
    sender, second, third = match.ready_probe(1), match.ready_probe(2), match.ready_probe(3)
    body = wire.encode_packet(Packet(60)) + wire.length_delimited(4, b"\x02") + wire.length_delimited(15, b"x")
    sender.send(wire.frame(body))
    match.mark_from(sender, [second, third])
    assert not third.of_op_code(60)


@pytest.mark.parametrize("op_code", [0, -1, -2, -3, -4, -6, -100, -101, -102, -103, -(2**31)])
@pytest.mark.parametrize("leg", ["tcp", "ws"])
def test_op_codes_up_to_zero_are_never_relayed(new_match: MakeMatch, op_code: int, leg: str) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1, leg), match.ready_probe(2)
    payload = bytes.fromhex("080220012002")
    sender.send_packet(Packet(op_code, payload=payload))
    sender.send_packet(Packet(op_code))
    match.mark_from(sender, [receiver])
    assert len(receiver.received) == 2  # its LoginResult, the mark
    assert sender.ended is None
    assert match.server.counters(match.table)["dropped_op_code"] == 2


@pytest.mark.parametrize("op_code", [-1, -5, -7, -101, -103])
def test_op_codes_below_zero_are_never_relayed_from_udp(new_match: MakeMatch, op_code: int) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.fast_probe(2)
    sender.send_fast(Packet(op_code, payload=bytes.fromhex("080220012002")))
    match.until_counted("dropped_op_code", 1)
    match.mark_from(sender, [receiver])
    assert {packet.op_code for packet in receiver.received_fast} == {wire.OP_UDP_CONNECT}
    assert len(receiver.of_op_code(op_code)) == (2 if op_code == wire.OP_LOGIN_RESULT else 0)  # its own two


def test_a_second_op_code_zero_is_no_login(new_match: MakeMatch) -> None:
    match = new_match(3)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    sender.log_in(match.token(3))
    sender.log_in(match.token(1))
    match.mark_from(sender, [receiver])
    assert len(sender.login_results()) == 1
    assert match.server.player_state(match.table, 3) == "expected"
    assert receiver.of_op_code(9001)[0].sender == 1


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("fast", [False, True], ids=["from TCP", "from UDP"])
def test_an_empty_payload_is_never_relayed(new_match: MakeMatch, leg: str, fast: bool) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.ready_probe(2, leg)
    packet = Packet(60, data=b"\x08\x02", payload=b"")
    if fast:
        sender.send_fast(packet)
    else:
        sender.send_packet(packet)
    match.driver.run_until(lambda: bool(receiver.of_op_code(60)), "the packet without its payload")
    (got,) = receiver.of_op_code(60)
    assert (got.data, got.payload, got.order) == (b"\x08\x02", None, (1, 5, 14))


def test_fields_in_an_unusual_order_are_put_right(new_match: MakeMatch) -> None:
    """Clients see only what stands before the payload."""
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    head = wire.encode_packet(Packet(60))
    sender.send(wire.frame(head + wire.length_delimited(15, b"pay") + wire.length_delimited(14, b"\x08\x02")))
    match.driver.run_until(lambda: bool(receiver.of_op_code(60)), "the packet")
    assert receiver.of_op_code(60) == [Packet(60, sender=1, data=b"\x08\x02", payload=b"pay", order=(1, 5, 14, 15))]


def test_a_packet_that_does_not_begin_with_its_op_code_is_dropped_and_counted(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    sender.send(wire.frame(wire.length_delimited(15, b"pay") + wire.encode_packet(Packet(60))))
    match.mark_from(sender, [receiver])
    assert not receiver.of_op_code(60)
    assert match.server.counters(match.table)["dropped_malformed"] == 1


def test_unknown_fields_are_never_relayed(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    for extra in (wire.length_delimited(9, b"new"), wire.key(9, 0) + b"\x05", wire.key(9, 5) + bytes(4)):
        sender.send(wire.frame(wire.encode_packet(Packet(60)) + extra + wire.length_delimited(15, b"x")))
    match.mark_from(sender, [receiver])
    # the strict decoder would have objected; each packet came without the field, or not at all
    for packet in receiver.of_op_code(60):
        assert packet == Packet(60, sender=1, payload=b"x", order=(1, 5, 15))


@pytest.mark.parametrize(
    "tail",
    [
        b"\x7a\x81\x80\x80\x80\x80\x00A",  # a payload length of six bytes
        b"\x7a\x81\x80\x80\x80\x00A",  # of five
        b"\xfa\x00\x01A",  # the payload's key in two bytes
        b"\xf2\x00\x02\x08\x02",  # the data's key in two bytes
        b"\x72\x82\x80\x80\x80\x80\x80\x00\x08\x02",
        b"\x72\x0a\x0a\x82\x80\x80\x80\x80\x00\x0a\x00",  # a value's length of six bytes
        b"\x72\x09\x0a\x07\x0a\x80\x80\x80\x80\x80\x00",  # a string's
        b"\x72\x05\x0a\x03\x8a\x00\x00",  # a value's key in two bytes
        b"\x72\x04\x88\x00\x02\x00",  # a slot's key in two bytes
        b"\x72\x08\x8a\x80\x80\x80\x80\x00\x02\x0a\x00",  # in six
        b"\x72\x02\x08\x02\x72\x02\x10\x02\x7a\x01a\x7a\x01b",  # data and payload twice
    ],
    ids=lambda tail: tail.hex(),
)
@pytest.mark.parametrize("fast", [False, True], ids=["from TCP", "from UDP"])
def test_unusual_spellings_reach_others_only_as_clients_can_read_them(
    new_match: MakeMatch, tail: bytes, fast: bool
) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.ready_probe(2)
    frame = wire.frame(wire.encode_packet(Packet(60)) + tail)
    if fast:
        sender.send_datagram(frame)
        match.driver.run_until(
            lambda: sum(match.server.counters(match.table)[name] for name in ("packets_in", "dropped_malformed")) > 0,
            "the packet to be judged",
        )
    else:
        sender.send(frame)
    # the probes read everything they get as each SDK does
    match.mark_from(sender, [receiver])
    match.mark_from(receiver, [sender])
    assert everything(receiver, 60) + match.server.counters(match.table)["dropped_malformed"] == 1


BAD_DATA = {
    "slot 0": b"\x00\x02",
    "slot 128": b"\x80\x08\x02",
    "a long of 65 bits": b"\x08" + b"\xff" * 9 + b"\x02",
    "a long of 11 bytes": b"\x08" + b"\xff" * 10 + b"\x01",
    "a string longer than its value": b"\x0a\x03\x0a\x05a",
    "a cut double": b"\x09\x00\x00",
    "a cut float": b"\x0d\x00",
    "a vector of three bytes": b"\x0a\x05\x12\x03\x00\x00\x00",
    "bad nested data": b"\x0a\x04\x72\x02\x00\x02",
    "an unknown field in a value": b"\x0a\x05\x4a\x03new",
    "a cut key": b"\x80",
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize("fast", [False, True], ids=["from TCP", "from UDP"])
def test_data_that_would_kill_a_client_is_dropped_and_counted(new_match: MakeMatch, name: str, fast: bool) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.ready_probe(2)
    packet = Packet(60, data=BAD_DATA[name], payload=b"x")
    if fast:
        sender.send_fast(packet)
    else:
        sender.send_packet(packet)
    match.until_counted("dropped_malformed", 1)
    match.mark_from(sender, [receiver])
    assert not receiver.of_op_code(60)
    assert sender.ended is None


def test_what_js_writes_for_two_to_the_63_is_dropped(new_match: MakeMatch) -> None:
    match = new_match(2)
    javascript, cpp = match.all_ready(["js-wss", "cpp"])
    javascript.send(60, data={1: ("long", 2**63)})
    match.barrier()
    assert not cpp.of_op_code(60)
    assert match.server.counters(match.table)["dropped_malformed"] == 1
    match.no_violations()


def test_strings_are_bytes_and_survive(new_match: MakeMatch) -> None:
    match = new_match(3)
    javascript, csharp, cpp = match.all_ready(["js-wss", "cs", "cpp"])
    javascript.send(60, data={1: ("string", "café".encode())})
    cpp.send(61, data={1: ("string", bytes(range(256)))})
    match.barrier()
    assert wire.decode_data(cpp.of_op_code(60)[0].data or b"") == {1: ("string", b"caf\xe9")}
    for one in (javascript, csharp):
        assert wire.decode_data(one.of_op_code(61)[0].data or b"") == {1: ("string", bytes(range(256)))}


def test_nesting_up_to_the_limit_is_relayed_and_over_it_dropped(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    for op_code, depth in ((60, 31), (61, 64), (62, 1500)):
        data = b"\x08\x02"
        for _ in range(depth):
            data = wire.length_delimited(1, wire.length_delimited(14, data))
        assert len(data) < 15000
        sender.send_packet(Packet(op_code, data=data))
    match.mark_from(sender, [receiver])
    assert [packet.op_code for packet in receiver.user_packets if packet.op_code < 100] == [60]
    assert match.server.counters(match.table)["dropped_malformed"] == 2
    assert sender.ended is None


# -- sequence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [False, True], ids=["TCP", "UDP"])
def test_stale_sequence_numbers_are_dropped_by_the_server(new_match: MakeMatch, fast: bool) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.ready_probe(2)
    numbers = [0, 1, 5, 3, 4, 5, 6, 2, 9, 8, 10]
    for number in numbers:
        packet = Packet(60, sequence=number, reliable=None if fast else False, payload=bytes([number]))
        if fast:
            sender.send_fast(packet)
        else:
            sender.send_packet(packet)
    match.until_counted("packets_in", len(numbers))
    match.mark_from(sender, [receiver])
    match.driver.run_until(lambda: len(receiver.of_op_code(60)) >= 6, "the fresh packets")
    assert [(packet.payload or b"")[0] for packet in receiver.of_op_code(60)] == [0, 1, 5, 6, 9, 10]
    assert match.server.counters(match.table)["dropped_stale"] == 5


def test_packets_without_payload_are_sequenced_as_well(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.ready_probe(2)
    for number in (4, 3, 5):
        sender.send_fast(Packet(60, sequence=number, data=wire.encode_data({1: ("long", number)})))
    match.until_counted("dropped_stale", 1)
    match.driver.run_until(lambda: len(receiver.of_op_code(60)) == 2, "two packets")
    assert [wire.decode_data(packet.data or b"")[1] for packet in receiver.of_op_code(60)] == [("long", 4), ("long", 5)]


def test_order_is_judged_per_sender_across_op_codes_and_targets(new_match: MakeMatch) -> None:
    match = new_match(3)
    first, second, receiver = match.fast_probe(1), match.fast_probe(2), match.ready_probe(3)
    first.send_fast(Packet(60, sequence=9, payload=b"x"))
    match.driver.run_until(lambda: bool(receiver.of_op_code(60)), "the first")
    second.send_fast(Packet(61, sequence=2, payload=b"x"))
    match.driver.run_until(lambda: bool(receiver.of_op_code(61)), "another sender's numbers are its own")
    first.send_fast(Packet(62, sequence=8, targets=(3,), payload=b"x"))
    match.until_counted("dropped_stale", 1)


def test_a_sender_that_comes_back_starts_at_zero_and_is_heard(new_match: MakeMatch) -> None:
    match = new_match(4)
    doubles = match.all_ready(["cpp", "cs", "js-wss"])
    sender = match.ready("cpp", 4)
    for _ in range(5):
        sender.send(60, Intent.SEQUENCED, payload=b"x")
    match.driver.run_until(lambda: all(len(one.of_op_code(60)) == 5 for one in doubles), "five packets each")
    sender.stop()
    match.driver.run_until(lambda: all(one.told("player disconnect") == [4] for one in doubles), "gone")
    again = match.ready("cpp", 4)
    again.send(61, Intent.SEQUENCED, payload=b"x")
    match.driver.run_until(lambda: all(one.of_op_code(61) for one in doubles), "heard again")
    match.no_violations()


def test_an_unreliable_double_and_a_stale_one_harm_no_client(new_match: MakeMatch) -> None:
    match = new_match(5)
    doubles = match.all_ready(["cpp", "cs", "js-wss", "xbox-wss"])
    sender = match.fast_probe(5)
    match.driver.run_until(lambda: all(5 in one.active_peers for one in doubles), "the sender")
    for number in (7, 6, 8, 1, 9):
        sender.send_fast(Packet(60, sequence=number, payload=bytes(300)))
    match.driver.run_until(lambda: all(len(one.of_op_code(60)) == 3 for one in doubles), "three packets each")
    match.until_counted("dropped_stale", 2)
    match.barrier()
    match.no_violations()


# -- sizes and writes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", LEGS)
def test_a_packet_is_never_cut_over_records_or_messages(new_match: MakeMatch, leg: str) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2, leg)
    generator = random.Random(5)
    sizes = [generator.choice((1, 100, 4000, 9000, 15900)) for _ in range(60)]
    sender.send(b"".join(wire.frame(wire.encode_packet(Packet(60, payload=bytes(size)))) for size in sizes))
    match.driver.run_until(lambda: len(receiver.of_op_code(60)) == len(sizes), "all packets")
    assert [len(packet.payload or b"") for packet in receiver.of_op_code(60)] == sizes
    if leg == "tls":
        for record in receiver.records:
            assert len(record) <= 16384
            assert wire.split_frames(record)[1] == b"", "a packet is cut by the end of a TLS record"
    if receiver.is_websocket:
        for message in receiver.messages:
            assert len(wire.datagram_frames(message)) == 1


@pytest.mark.parametrize("kind", ["cpp", "cs", "js-wss", "cs-wss", "xbox-wss"])
def test_large_packets_reach_every_kind_of_client(new_match: MakeMatch, kind: str) -> None:
    match = new_match(2)
    double, sender = match.all_ready([kind, "cs"])
    for size in (1000, 1400, 5000, 15900) * 5:
        sender.send(60, payload=bytes(size))
        sender.send(61, Intent.UNRELIABLE, payload=bytes(min(size, 1400)))
    match.driver.run_until(lambda: len(double.of_op_code(60)) == 20 and len(double.of_op_code(61)) == 20, "all of them")
    match.barrier()
    match.no_violations()


def test_packets_over_the_limit_are_dropped_and_the_connection_lives(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.ready_probe(2)
    sender.send_packet(Packet(60, payload=bytes(16100)))
    sender.send_packet(Packet(61, payload=bytes(300_000)))
    sender.send_packet(Packet(62, payload=b"x"))
    match.mark_from(sender, [receiver])
    assert [packet.op_code for packet in receiver.user_packets if packet.op_code < 100] == [62]
    assert match.server.counters(match.table)["dropped_oversize"] == 2


def test_datagrams_stay_within_1024_bytes_and_larger_packets_take_tcp(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.fast_probe(2)
    # opCode 60 and the sender take 4 bytes, the payload's head 3, the prefix 2
    for size in (1015, 1016):
        sender.send_fast(Packet(60, payload=bytes(size)))
    match.driver.run_until(lambda: everything(receiver, 60) == 2, "both")
    assert [len(one) for one in receiver.datagrams_received if len(one) > 100] == [1024]
    assert [len(one.payload or b"") for one in receiver.of_op_code(60)] == [1016]


def test_what_one_tick_makes_for_one_peer_shares_datagrams(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.fast_probe(2)
    frames = [wire.frame(wire.encode_packet(Packet(60, payload=bytes([number]) * 90))) for number in range(12)]
    receiver.datagrams_received.clear()
    sender.send_datagram(b"".join(frames))
    match.driver.run_until(lambda: everything(receiver, 60) == 12, "all")
    assert len(receiver.datagrams_received) == 2
    assert max(map(len, receiver.datagrams_received)) <= 1024
    assert [(packet.payload or b"")[0] for packet in receiver.received_fast] == list(range(12))


def test_a_malformed_end_costs_only_the_rest_of_its_datagram(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.fast_probe(1), match.ready_probe(2)
    good = wire.frame(wire.encode_packet(Packet(60, payload=b"x")))
    sender.send_datagram(good + b"\x7f\x08")
    sender.send_datagram(good)
    match.driver.run_until(lambda: len(receiver.of_op_code(60)) == 2, "both good packets")
    match.until_counted("dropped_malformed", 1)


def test_a_reliable_packet_never_takes_udp_and_reliable_false_does(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1), match.fast_probe(2)
    sender.send_packet(Packet(60, reliable=True, payload=b"x"))
    sender.send_packet(Packet(61, payload=b"x"))
    sender.send_packet(Packet(62, reliable=False, payload=b"x"))
    match.driver.run_until(lambda: everything(receiver, 62) == 1, "all")
    match.mark_from(sender, [receiver])
    assert [packet.op_code for packet in receiver.user_packets if packet.op_code < 100] == [60, 61]
    assert [packet.op_code for packet in receiver.received_fast if packet.op_code > 0] == [62]


def test_several_packets_in_one_websocket_message_are_all_read(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1, "ws"), match.ready_probe(2)
    sender.send(b"".join(wire.frame(wire.encode_packet(Packet(60 + number))) for number in range(5)))
    match.driver.run_until(lambda: len(receiver.user_packets) == 5, "five packets")
    assert [packet.op_code for packet in receiver.user_packets] == [60, 61, 62, 63, 64]


def test_a_websocket_message_in_fragments_with_a_ping_between_is_put_together(new_match: MakeMatch) -> None:
    match = new_match(2)
    sender, receiver = match.ready_probe(1, "wss"), match.ready_probe(2)
    frame = wire.frame(wire.encode_packet(Packet(60, payload=b"fragments")))
    now = match.driver.now
    sender.stream.write(sender.frames.frame(0x2, frame[:3], final=False), now)
    sender.stream.write(sender.frames.frame(0x9, b"are you there"), now)
    sender.stream.write(sender.frames.frame(0x0, frame[3:5], final=False), now)
    sender.stream.write(sender.frames.frame(0x0, frame[5:]), now)
    match.driver.run_until(lambda: bool(receiver.of_op_code(60)), "the message")
    match.driver.run_until(lambda: sender.frames.pongs == [b"are you there"], "the pong")
    assert receiver.of_op_code(60)[0].payload == b"fragments"


def test_no_websocket_client_ever_gets_minus_five(new_match: MakeMatch) -> None:
    match = new_match(5)
    doubles = match.all_ready(["js-wss", "cs-wss", "xbox-wss", "cpp", "cs"])
    for double in doubles[:3]:
        double.send(-5, data={1: ("long", 1)})
    match.barrier()
    match.no_violations()

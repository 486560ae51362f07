"""Players over links and over legacy legs in one session: all see the same."""

from __future__ import annotations

import pytest

from gsrt._core import Packet
from gsrt._guest import Packet as ScriptPacket
from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE
from gsrt.session import Session
from tests.links.house import BOTH_SUITES, Client, House
from tests.relay.floor import Guest
from tests.relay.rig import packet
from tests.scripts.stage import Post
from tests.support import wire

LEGACY_BYTES_MAX = 16_000


def changes(client: Client) -> list[tuple[int, int, list[int]]]:
    """(opCode, peer id, those who are there) of the changes that a client has heard of since this was last asked."""
    heard, client.heard = client.heard, []
    found = []
    for _, _, each in heard:
        if each.op_code in (-101, -103):
            change = wire.decode_peer_change(each.payload or b"")
            found.append((each.op_code, change.peer_id or 0, list(change.active_peers)))
    return found


def guest_changes(guest: Guest) -> list[tuple[int, int, list[int]]]:
    return [(code, *body) for code, body in guest.news() if code in (-101, -103)]


@pytest.mark.parametrize("suite", BOTH_SUITES)
def test_what_each_leg_hears_of_who_comes_and_goes(house: House, suite: int) -> None:
    one, two, three, four = house.create("1", "2", "3", "4").players
    link = house.enter(one, suite=suite)
    tcp = house.seat(two)
    websocket = house.seat(three, websocket=True)
    late = house.enter(four, suite=suite)
    coming = [(-101, 2, [1, 2]), (-101, 3, [1, 2, 3]), (-101, 4, [1, 2, 3, 4])]
    assert changes(link) == coming
    assert guest_changes(tcp) == coming[1:]
    assert guest_changes(websocket) == coming[2:]
    tcp.line.close()
    house.until(lambda: not two.announced)
    late.close()
    house.turn()
    going = [(-103, 2, [1, 3, 4]), (-103, 4, [1, 3])]
    assert changes(link) == going
    assert guest_changes(websocket) == going


def test_a_link_is_told_who_is_there(house: House) -> None:
    one, two, three = house.create("1", "2", "3").players
    house.seat(one)
    house.enter(two)
    client = house.client(three)
    house.turn()
    result = wire.decode_login_result(client.heard[0][2].payload or b"")
    assert (result.success, result.reconnect_token, result.peer_id) == (True, three.reconnect_token.encode(), 3)
    assert list(result.active_peers) == [1, 2]


@pytest.mark.parametrize("kind", [KIND_UNRELIABLE, KIND_SEQUENCED, KIND_ORDERED, KIND_UNORDERED])
def test_a_links_packets_reach_every_leg(house: House, kind: int) -> None:
    one, two, three, four = house.create("1", "2", "3", "4").players
    sender, other = house.enter(one), house.enter(two)
    tcp, websocket = house.seat(three), house.seat(four, websocket=True)
    house.turn()
    for each in (tcp, websocket):
        each.packets()
    other.op_codes()
    channel = 3 if kind in (KIND_SEQUENCED, KIND_ORDERED) else 0
    sender.send(7, b"to all", kind=kind, channel=channel)
    sender.send(8, b"to 2 and 3", kind=kind, channel=channel, targets=(2, 3))
    house.turn()
    stream = 16 * 1 + channel if channel else 0
    assert [(k, s, each.op_code, each.payload) for k, s, each in other.heard] == [
        (kind, stream, 7, b"to all"),
        (kind, stream, 8, b"to 2 and 3"),
    ]
    assert house.stream_players(tcp, websocket) == [[(7, 1, b"to all"), (8, 1, b"to 2 and 3")], [(7, 1, b"to all")]]


def test_what_comes_by_tcp_and_udp_reaches_a_link(house: House) -> None:
    one, two = house.create("1", "2").players
    link, tcp = house.enter(one), house.seat(two)
    post = tcp.open_datagrams()
    tcp.put(packet(-5))
    house.turn()
    link.op_codes()
    tcp.put(packet(5, payload=b"by stream"))
    post.send(packet(6, payload=b"by datagram"))
    post.send(packet(7, payload=b"second", sequence=2))
    post.send(packet(7, payload=b"first", sequence=1))
    house.turn()
    assert [(k, s, each.op_code, each.payload) for k, s, each in link.heard] == [
        (KIND_ORDERED, 0, 5, b"by stream"),
        (KIND_UNRELIABLE, 0, 6, b"by datagram"),
        (KIND_SEQUENCED, 32, 7, b"second"),
    ]
    post.datagrams(1)  # the greeting
    link.send(9, b"old", kind=KIND_UNRELIABLE)
    link.send(10, b"new", kind=KIND_ORDERED)
    house.turn()
    assert [(each.op_code, each.payload) for each in post.packets(1)] == [(9, b"old")]
    assert house.stream_players(tcp) == [[(10, 1, b"new")]]


def test_an_answer_in_channel_0_is_heard_after_what_it_answers(house: House) -> None:
    one, two, three = house.create("1", "2", "3").players
    asks, answers, watches = house.enter(one), house.enter(two), house.enter(three)
    house.turn()
    for number in range(1, 6):
        asks.send(number, b"question")
        house.turn()
        answers.send(100 + number, b"answer")
        house.turn()
    assert [code for code in watches.op_codes() if code > 0] == [1, 101, 2, 102, 3, 103, 4, 104, 5, 105]


def test_channels_do_not_wait_for_each_other(house: House) -> None:
    one, two = house.create("1", "2").players
    sender, receiver = house.enter(one), house.enter(two)
    house.until_quiet()
    receiver.heard.clear()
    dropped: list[bytes] = []

    def drop_first(datagram: bytes) -> tuple[bytes, ...]:
        if dropped:
            return (datagram,)
        dropped.append(datagram)
        return ()

    receiver.on_receive = drop_first
    sender.send(1, b"lost at first", channel=1)
    house.turn()
    for channel in (1, 2, 0):
        sender.send(2 + channel, channel=channel)
        house.turn()
    sender.send(9, kind=KIND_UNORDERED)
    house.turn()
    assert receiver.op_codes() == [4, 2, 9]
    house.until_quiet()
    assert receiver.op_codes() == [1, 3]


def test_each_channel_keeps_its_order_over_a_bad_network(house: House) -> None:
    players = house.create("1", "2", "3").players
    clients = [house.enter(each) for each in players]
    house.until_quiet()
    for client in clients:
        client.heard.clear()
        client.on_send = client.on_receive = lambda datagram: () if house.chance.random() < 0.2 else (datagram,)
    for number in range(60):
        for client in clients:
            for channel in (0, 1, 15):
                client.send(1 + channel, number.to_bytes(2, "little"), channel=channel)
            client.send(99, number.to_bytes(2, "little"), kind=KIND_UNORDERED)
        house.advance(0.01)
    house.until_quiet(60)
    everything = [number.to_bytes(2, "little") for number in range(60)]
    for place, client in enumerate(clients, 1):
        news = client.news()
        for sender in {1, 2, 3} - {place}:
            for channel in (0, 1, 15):
                assert [body for code, who, body in news if (code, who) == (1 + channel, sender)] == everything
            unordered = [body for code, who, body in news if (code, who) == (99, sender)]
            assert sorted(filter(None, unordered)) == everything


@pytest.mark.parametrize("size", [LEGACY_BYTES_MAX + 1, 60_000, 262_000])
def test_long_packets_go_between_links_only(house: House, size: int) -> None:
    one, two, three = house.create("1", "2", "3").players
    sender, link, tcp = house.enter(one), house.enter(two), house.seat(three)
    house.turn()
    tcp.packets()
    link.op_codes()
    body = house.chance.randbytes(size)
    sender.send(5, body, channel=2)
    sender.send(6, b"after", channel=2)
    house.until_quiet()
    assert link.news() == [(5, 1, body), (6, 1, b"after")]
    assert house.stream_players(tcp) == [[(6, 1, b"after")]]
    assert house.drops() == {"oversize": 1}


def test_the_longest_legacy_packet_reaches_all(house: House) -> None:
    one, two, three = house.create("1", "2", "3").players
    sender, link, tcp = house.enter(one), house.enter(two), house.seat(three)
    tcp.packets()
    link.op_codes()
    overhead = len(Packet(5, sender=1, payload=b"x" * 15_000).encode()) - 15_000 + 2
    body = b"x" * (LEGACY_BYTES_MAX - overhead)
    sender.send(5, body)
    house.until_quiet()
    assert link.news()[-1] == (5, 1, body)
    assert house.stream_players(tcp) == [[(5, 1, body)]]
    sender.send(5, body + b"x")
    house.until_quiet()
    assert house.stream_players(tcp) == [[]]
    assert house.drops() == {"oversize": 1}


def test_a_link_gets_what_was_held_for_it_in_order_and_channel(house: House) -> None:
    one, two = house.create("1", "2").players
    sender = house.enter(one)
    late = house.client(two, ready=False)
    house.turn()
    sender.send(1, b"zero")
    sender.send(2, b"five", channel=5)
    sender.send(3, b"none", kind=KIND_UNORDERED)
    sender.send(4, b"fast", kind=KIND_UNRELIABLE)
    house.turn()
    assert late.op_codes() == [-1]
    late.ready()
    house.turn()
    held = [(kind, stream, each.op_code) for kind, stream, each in late.heard if each.op_code > 0]
    assert sorted(held) == [
        (KIND_ORDERED, 0, 1),
        (KIND_ORDERED, 21, 2),
        (KIND_UNORDERED, 0, 3),
        (KIND_UNORDERED, 0, 4),
    ]


def test_a_tcp_login_before_ready_gets_nothing_too_long_for_it(house: House) -> None:
    one, two = house.create("1", "2").players
    sender = house.enter(one)
    house.client(two, ready=False)
    house.turn()
    sender.send(5, b"x" * 40_000)
    sender.send(6, b"short")
    house.until_quiet()
    tcp = house.seat(two)
    house.turn()
    assert house.stream_players(tcp) == [[(6, 1, b"short")]]
    assert house.drops()["oversize"] == 1


# Scripts


def guarded(house: House, session: Session) -> Post:
    """Handlers in the way of that session's packets."""
    house.room = session.room
    house.members = {each.peer_id: each.member for each in session.players}
    return Post(house)


def test_a_script_sees_packets_of_links_as_of_others(house: House) -> None:
    session = house.create("1", "2")
    post = guarded(house, session)
    seen: list[tuple[int, int]] = []
    post.handlers.on_every_packet(lambda each: seen.append((each.get_sender().get_peer_id(), each.op_code)))
    link, tcp = house.enter(session.players[0]), house.seat(session.players[1])
    link.send(5, b"a")
    link.send(6, b"b", kind=KIND_UNRELIABLE)
    house.turn()
    tcp.put(packet(7))
    assert sorted(seen) == [(1, 5), (1, 6), (2, 7)]


def test_a_script_cancels_and_changes_what_a_link_sends(house: House) -> None:
    session = house.create("1", "2", "3")
    post = guarded(house, session)

    def judge(each: ScriptPacket) -> object:
        if each.op_code == 5:
            return False
        return each.set_payload(b"c")

    post.handlers.on_packet(5, judge)
    link, other, tcp = house.enter(session.players[0]), house.enter(session.players[1]), house.seat(session.players[2])
    other.op_codes()
    tcp.packets()
    link.send(5, b"a")
    link.send(6, b"b")
    house.turn()
    assert other.news() == [(6, 1, b"b")]
    assert house.stream_players(tcp) == [[(6, 1, b"b")]]
    assert house.drops() == {"by_script": 1}

"""What a player over a link may do, on both sides of each limit; nothing is lost by what is refused for now."""

from __future__ import annotations

import pytest

from gsrt._core import Packet
from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE
from gsrt.protocol.link import Terms
from gsrt.session import CLOSE_SLOW, Session
from tests.links.conftest import Houses
from tests.links.house import Client, House
from tests.scripts.stage import Post

CLOSE_PROTOCOL = 1
FRAGMENT_BYTES = 1100
ONCE = Packet(77, payload=b"once").encode()


def pair(house: House, **how: object) -> tuple[Client, Client]:
    """Two players that are in, with nothing under way."""
    one, two = house.create("1", "2").players
    clients = house.enter(one, **how), house.enter(two)
    house.until_quiet()
    for each in clients:
        each.heard.clear()
    return clients


def session(house: House) -> Session:
    return next(iter(house.sessions))


# What waits for a peer


def test_who_does_not_acknowledge_is_cut_at_the_limit(houses: Houses) -> None:
    house = houses(link_out_bytes=20_000, link_message_bytes_max=16_000, stream_out_soft_bytes=16_000)
    sender, slow = pair(house)
    sender.send(1, b"x" * 100)
    house.turn()
    slow.heard.clear()
    house.until_quiet()
    slow.is_silent = True
    waiting = 0
    while waiting + 1004 <= 20_000:
        sender.send(2, b"y" * 1000)
        house.advance(0.005)
        waiting = house.leg(session(house).players[1]).waiting_bytes
    assert 18_000 < waiting <= 20_000
    assert session(house).players[1].state == "ready"
    sender.op_codes()
    sender.send(3, b"z" * 1000)
    house.advance(0.005)
    assert session(house).players[1].state == "gone"
    assert sender.op_codes() == [-103]
    assert house.reception.counters["peers_cut"] == 1
    assert house.drops()["slow"] == 1
    assert "it does not acknowledge what is sent to it" in house.log_text()
    slow.is_silent = False
    house.turn()
    assert slow.ended is not None
    assert slow.ended[0] == CLOSE_SLOW
    assert "acknowledge" in slow.ended[1]


def test_many_short_packets_cut_nobody_before_the_limit(house: House) -> None:
    sender, slow = pair(house)
    slow.is_silent = True
    for _ in range(100):
        for _ in range(100):
            sender.send(2, b"12345678")
        house.advance(0.05)
    assert session(house).players[1].state == "ready", house.log_text().splitlines()[-2]
    slow.is_silent = False
    house.until_quiet()
    assert slow.op_codes() == [2] * 10_000


def test_unreliable_packets_cut_nobody(houses: Houses) -> None:
    house = houses(link_out_bytes=20_000, link_message_bytes_max=16_000, stream_out_soft_bytes=16_000)
    sender, slow = pair(house)
    slow.is_silent = True
    for kind in (KIND_UNRELIABLE, KIND_SEQUENCED):
        for _ in range(100):
            sender.send(2, b"y" * 900, kind=kind)
            house.turn()
            house.now += 0.001
    assert session(house).players[1].state == "ready"


def test_a_peer_that_acknowledges_is_not_cut_however_much_it_gets(houses: Houses) -> None:
    house = houses(link_out_bytes=20_000, link_message_bytes_max=16_000, stream_out_soft_bytes=16_000)
    sender, receiver = pair(house)
    for number in range(200):
        sender.send(1 + number, b"x" * 1000)
        house.turn()
        house.advance(0.02)
    house.until_quiet()
    assert receiver.op_codes() == list(range(1, 201))
    assert house.reception.counters["peers_cut"] == 0


def test_a_message_that_the_peer_does_not_take_cuts_it(house: House) -> None:
    """Its terms say so: it would miss a reliable packet, and stay."""
    one, two = house.create("1", "2").players
    sender = house.enter(one)
    small = house.enter(two, terms=Terms(65_536, 2_000))
    house.until_quiet()
    small.heard.clear()
    overhead = len(Packet(5, sender=1, payload=b"x" * 1900).encode()) - 1900
    sender.send(5, b"x" * (2_000 - overhead))
    house.until_quiet()
    assert small.op_codes() == [5]
    sender.send(5, b"x" * (2_001 - overhead))
    house.turn()
    assert small.ended is not None
    assert small.ended[0] == CLOSE_SLOW
    assert "longer than it takes" in small.ended[1]


# What a player sends


def test_a_message_of_the_most_that_the_server_takes(houses: Houses) -> None:
    house = houses(link_message_bytes_max=20_000)
    sender, receiver = pair(house)
    head = len(Packet(5, payload=b"x" * 19_000).encode()) - 19_000
    sender.send(5, b"x" * (20_000 - head - 5))  # the length and the sender's id are counted, too
    house.until_quiet()
    assert receiver.op_codes() == [5]
    assert not sender.link.send(b"x" * 20_001, KIND_ORDERED, 0, house.now)


def test_who_sends_a_longer_message_breaks_the_contract(houses: Houses) -> None:
    house = houses(link_message_bytes_max=20_000)
    one, two = house.create("1", "2").players
    sender = house.enter(one, believed=Terms())
    house.enter(two)
    sender.send(5, b"x" * 20_001)
    house.turn()
    assert sender.ended == (CLOSE_PROTOCOL, "a message that is longer than is taken")
    assert house.relay.links_count == 1
    assert "a message that is longer than is taken" in house.log_text()


def test_packets_over_the_rate_come_again_and_none_is_lost(houses: Houses) -> None:
    house = houses(packets_per_second=50, packets_burst=10)
    sender, receiver = pair(house)
    for number in range(60):
        sender.send(1 + number, b"r")
        house.turn()
    before = [code for code in receiver.op_codes() if code > 0]
    assert before == list(range(1, len(before) + 1))
    assert 5 <= len(before) <= 12
    assert house.drops()["rate"] > 0
    assert house.all_counts()["link_not_taken"] == house.drops()["rate"]
    house.until_quiet(30)
    assert [*before, *receiver.op_codes()] == list(range(1, 61))
    assert house.relay.links_count == 2


def test_bytes_over_the_rate_come_again_and_none_is_lost(houses: Houses) -> None:
    house = houses(bytes_per_second=20_000, bytes_burst=16_000)
    sender, receiver = pair(house)
    bodies = [house.chance.randbytes(8_000) for _ in range(10)]
    for number, body in enumerate(bodies):
        sender.send(1 + number, body, channel=number)
    house.until_quiet(60)
    assert sorted(receiver.news()) == [(1 + number, 1, body) for number, body in enumerate(bodies)]
    assert house.drops()["rate"] > 0


def test_a_script_that_is_behind_loses_nothing(house: House) -> None:
    one, two = pair(house)
    house.room = session(house).room
    house.members = {each.peer_id: each.member for each in session(house).players}
    post = Post(house)
    post.handlers.on_packet(1, post.takes(25))
    one.send(1, b"takes long")
    house.turn()
    one.send(2, b"waits")
    one.send(3, b"waits, too", channel=4)
    house.turn()
    assert [code for code in two.op_codes() if code > 1] == []
    assert house.drops()["script_busy"] > 0
    post.turn.begin()
    house.until_quiet()
    assert sorted(two.op_codes()) == [2, 3]


# What is kept for a player before its turn


def late_begin(house: House, sender: Client, count: int, seconds: float, kind: int = KIND_ORDERED) -> bytes:
    """A message of so many pieces is sent, of which the first arrives so many seconds later than the others. For
    suite 0, where it can be seen which datagram that is."""
    body = house.chance.randbytes(FRAGMENT_BYTES * count - 20)
    begins = house.now
    sender.on_send = lambda datagram: () if house.now < begins + seconds and body[:50] in datagram else (datagram,)
    sender.send(9, body, kind=kind)
    return body


@pytest.mark.parametrize("kind", [KIND_ORDERED, KIND_UNORDERED])
def test_what_one_link_may_keep_is_bounded(houses: Houses, kind: int) -> None:
    house = houses(link_receive_bytes=65_536, link_message_bytes_max=65_536)
    sender, receiver = pair(house, suite=0)
    body = late_begin(house, sender, 50, 0.5, kind=kind)
    leg = house.leg(session(house).players[0])
    most = 0
    for _ in range(200):
        house.advance(0.005)
        most = max(most, leg.pending_bytes)
    house.until_quiet()
    assert receiver.news() == [(9, 1, body)]
    assert 0 < most <= 2 * 65_536
    assert leg.pending_bytes == 0


@pytest.mark.parametrize("kind", [KIND_ORDERED, KIND_UNORDERED])
def test_a_first_piece_that_comes_late_is_taken_though_all_room_is_used(houses: Houses, kind: int) -> None:
    house = houses(link_receive_bytes=65_536, link_receive_bytes_all=65_536, link_message_bytes_max=65_536)
    sender, receiver = pair(house, suite=0)
    body = late_begin(house, sender, 59, 2, kind=kind)
    house.advance(1.9)
    assert house.leg(session(house).players[0]).pending_bytes > 64_000
    house.until_quiet(20)
    assert receiver.news() == [(9, 1, body)]


def test_half_messages_of_several_players_do_not_lock_each_other_out(houses: Houses) -> None:
    house = houses(link_receive_bytes=65_536, link_receive_bytes_all=100_000, link_message_bytes_max=65_536)
    players = house.create("1", "2", "3", "4").players
    clients = [house.enter(each) for each in players]
    house.until_quiet()
    for client in clients:
        client.heard.clear()
        client.on_send = lambda datagram: () if house.chance.random() < 0.3 else (datagram,)
    bodies = [house.chance.randbytes(60_000) for _ in clients]
    for client, body in zip(clients, bodies, strict=True):
        client.send(9, body)
    house.until_quiet(60)
    for place, client in enumerate(clients):
        others = [(9, 1 + index, body) for index, body in enumerate(bodies) if index != place]
        assert sorted(client.news()) == others


def test_copies_of_a_datagram_that_is_refused_hand_nothing_on_twice(houses: Houses) -> None:
    house = houses(link_receive_bytes=65_536, link_receive_bytes_all=65_536, link_message_bytes_max=65_536)
    sender, receiver = pair(house, suite=0)
    late_begin(house, sender, 59, 9)
    house.advance(1)
    unreliable = b"\x80" + bytes((len(ONCE),)) + ONCE
    piece = b"\x8a\0" + (300).to_bytes(2, "little") + b"\xcc\x08" + bytes(FRAGMENT_BYTES)
    number = (int.from_bytes(sender.data[-1][10:14], "little") + 9).to_bytes(4, "little")
    datagram = sender.data[-1][:10] + number + b"\0" + unreliable + piece
    for _ in range(3):
        house.knock(house.new_socket(), datagram)
    house.turn()
    assert [code for code in receiver.op_codes() if code == 77] in ([], [77])


def test_who_uses_all_room_keeps_nobody_elses_short_messages_out(houses: Houses) -> None:
    house = houses(link_receive_bytes=65_536, link_receive_bytes_all=65_536, link_message_bytes_max=65_536)
    players = house.create("1", "2", "3").players
    greedy, one, two = (house.enter(each) for each in players)
    house.until_quiet()
    one.heard.clear()
    two.heard.clear()
    # Messages that are begun in many channels and never ended: a broken client, or one that means it.
    for channel in range(16):
        greedy.send(9, b"x" * 60_000, channel=channel)
    sent = 0

    def pieces(datagram: bytes) -> tuple[bytes, ...]:
        nonlocal sent
        sent += 1
        return (datagram,) if sent < 58 else ()

    greedy.on_send = pieces
    house.turn()
    greedy.is_silent = True
    for number in range(1, 6):
        one.send(number, b"short")
        house.turn()
    assert [code for code in two.op_codes() if code > 0] == [1, 2, 3, 4, 5]


def test_what_a_link_kept_is_given_back_when_it_ends(houses: Houses) -> None:
    house = houses(link_receive_bytes=65_536, link_receive_bytes_all=65_536, link_message_bytes_max=65_536)
    for _ in range(5):
        greedy, receiver = pair(house, suite=0)
        late_begin(house, greedy, 50, 9)
        house.advance(1)
        assert house.leg(session(house).players[0]).pending_bytes > 20_000
        greedy.close()
        house.turn()
        session(house).end("enough")
        house.turn()
    sender, receiver = pair(house, suite=0)
    body = late_begin(house, sender, 50, 1)
    house.until_quiet()
    assert receiver.news() == [(9, 1, body)]


# What is counted


def test_a_link_that_sends_what_it_must_not(house: House) -> None:
    sender, receiver = pair(house)
    for packet in (b"\xff\xff\xff", b"\x08", Packet(-101).encode(), Packet(0).encode(), Packet(-5).encode()):
        assert sender.link.send(packet, KIND_ORDERED, 0, house.now)
    sender.send(5, b"x", targets=(99,))
    sender.send(6, b"y")
    house.until_quiet()
    assert receiver.op_codes() == [6]
    drops = house.drops()
    assert (drops["op_code"], drops["no_target"]) == (3, 1)
    assert drops["malformed"] == 2
    assert sender.ended is None

"""How a link ends, and what the others see of it."""

from __future__ import annotations

import pytest

from gsrt.protocol.link import REFUSED_TOKEN
from gsrt.session import CLOSE_ENDED, CLOSE_KICKED, CLOSE_REPLACED, Player
from tests.links.conftest import Houses
from tests.links.house import IDLE_SECONDS, PENDING_SECONDS, Client, House, read_all
from tests.relay.floor import Guest

CLOSE_LEFT, CLOSE_PROTOCOL, SILENCE = 0, 1, -1
PLAYER_CONNECT, PLAYER_DISCONNECT = -101, -103


def silence(client: Client) -> None:
    """The machine of that client is off."""
    client.is_silent = True


def players(house: House, count: int = 2) -> list[Player]:
    return house.create(*(str(number + 1) for number in range(count))).players


# Leaving


def test_who_leaves_in_order_is_gone_at_once(house: House) -> None:
    one, two = players(house)
    watcher, leaver = house.enter(one), house.enter(two)
    house.turn()
    watcher.op_codes()
    leaver.close(CLOSE_LEFT, "bye")
    house.turn()
    assert watcher.op_codes() == [PLAYER_DISCONNECT]
    assert (two.state, house.relay.links_count) == ("gone", 1)
    assert house.reception.counters["closed_orderly"] == 1
    assert "left session=" in house.log_text()


@pytest.mark.parametrize("reason", [CLOSE_PROTOCOL, CLOSE_ENDED, 200])
def test_who_closes_for_another_reason_may_come_back(houses: Houses, reason: int) -> None:
    house = houses(grace_seconds=3)
    one, two = players(house)
    watcher, other = house.enter(one), house.enter(two)
    house.turn()
    watcher.op_codes()
    other.close(reason, "we do not understand you")
    house.turn()
    assert (watcher.op_codes(), two.state) == ([], "absent")
    assert "we do not understand you" in house.log_text()
    house.advance(2.9)
    assert watcher.op_codes() == []
    house.advance(0.2)
    assert watcher.op_codes() == [PLAYER_DISCONNECT]


def test_silence_ends_a_link_and_the_others_are_told_after_the_grace(houses: Houses) -> None:
    house = houses(grace_seconds=3)
    one, two = players(house)
    watcher, other = house.enter(one), house.enter(two)
    house.until_quiet()
    watcher.op_codes()
    heard_at = house.leg(two).heard_at
    silence(other)
    house.advance(heard_at + IDLE_SECONDS - 0.01 - house.now)
    assert two.state == "ready"
    house.advance(0.02)
    assert (two.state, watcher.op_codes(), house.relay.links_count) == ("absent", [], 1)
    house.advance(3.1)
    assert (two.state, watcher.op_codes()) == ("gone", [PLAYER_DISCONNECT])
    assert "nothing was heard of it" in house.log_text()


def test_who_comes_back_in_time_was_never_away(houses: Houses) -> None:
    house = houses(grace_seconds=3)
    one, two = players(house)
    watcher, other = house.enter(one), house.enter(two)
    house.until_quiet()
    watcher.op_codes()
    silence(other)
    while two.state != "absent":
        house.advance(0.5)
    house.advance(1)
    house.enter(two.reconnect_token)
    house.advance(5)
    assert watcher.op_codes() == []
    assert two.state == "ready"


def test_what_was_sent_to_an_absent_player_is_held_for_it(houses: Houses) -> None:
    house = houses(grace_seconds=3)
    one, two = players(house)
    watcher, other = house.enter(one), house.enter(two)
    house.until_quiet()
    silence(other)
    while two.state != "absent":
        house.advance(0.5)
    watcher.send(5, b"meanwhile")
    watcher.send(6, b"in channel 4", channel=4)
    house.turn()
    again = house.client(two.reconnect_token)
    house.turn()
    assert sorted(again.news()) == [(5, 1, b"meanwhile"), (6, 1, b"in channel 4")]


def test_idle_links_live_for_ever(house: House) -> None:
    one, two = players(house)
    clients = [house.enter(one), house.enter(two)]
    house.advance(300)
    assert [client.ended for client in clients] == [None, None]
    clients[0].send(5, b"still here")
    house.turn()
    assert clients[1].news() == [(5, 1, b"still here")]


# Replaced


@pytest.mark.parametrize("token", ["access_token", "reconnect_token"])
def test_link_replaces_link(house: House, token: str) -> None:
    one, two = players(house)
    watcher, old = house.enter(one), house.enter(two)
    house.turn()
    watcher.op_codes()
    new = house.enter(getattr(two, token))
    assert old.ended is not None
    assert old.ended[0] == CLOSE_REPLACED
    assert house.relay.links_count == 2
    watcher.send(5, b"to the new one")
    house.turn()
    assert (new.news(), watcher.op_codes()) == ([(5, 1, b"to the new one")], [])
    assert "replaced session=" in house.log_text()


def test_tcp_replaces_link_and_link_replaces_tcp(house: House) -> None:
    one, two = players(house)
    watcher, link = house.enter(one), house.enter(two)
    house.turn()
    watcher.op_codes()
    tcp = house.seat(two)
    house.turn()
    assert link.ended is not None
    assert link.ended[0] == CLOSE_REPLACED
    assert (two.member.link, house.relay.links_count) == (None, 1)
    watcher.send(5, b"to tcp")
    house.turn()
    assert house.stream_players(tcp) == [[(5, 1, b"to tcp")]]
    again = house.enter(two)
    tcp.line.read()
    assert tcp.line.ended
    watcher.send(6, b"to the link")
    house.turn()
    assert (again.news(), watcher.op_codes()) == ([(6, 1, b"to the link")], [])


def test_the_older_connection_gives_way_to_the_first_data_only(house: House) -> None:
    one, two = players(house)
    house.enter(one)
    old = house.enter(two)
    new = house.client(two)
    new.on_send = lambda datagram: () if datagram[1] == 6 else (datagram,)
    house.turn()
    assert new.end is not None
    assert (old.ended, house.leg(two).connection) == (None, old.link.connection)
    house.advance(PENDING_SECONDS + 0.1)
    assert (old.ended, house.relay.links_count) == (None, 2)
    old.send(5, b"still here")
    house.turn()
    assert house.clients[0].news() == [(5, 2, b"still here")]


# Put out


def test_a_kicked_player_hears_it_and_stays_out(house: House) -> None:
    one, two = players(house)
    watcher, kicked = house.enter(one), house.enter(two)
    tokens = two.access_token, two.reconnect_token
    house.turn()
    watcher.op_codes()
    two.kick(house.now)
    house.turn()
    assert kicked.ended == (CLOSE_KICKED, "kicked")
    assert watcher.op_codes() == [PLAYER_DISCONNECT]
    for token in tokens:
        again = house.client(token)
        house.turn()
        assert again.refusal == REFUSED_TOKEN
    assert house.all_counts()["link_refused_token"] == 2
    assert house.relay.links_count == 1


@pytest.mark.parametrize("how", ["kicked", "ended"])
def test_who_is_put_out_while_pending_does_not_come_in(house: House, how: str) -> None:
    one, two = players(house)
    watcher = house.enter(one)
    late = house.client(two)
    late.on_send = lambda datagram: () if datagram[1] == 6 else (datagram,)
    house.turn()
    late.on_send = lambda datagram: (datagram,)
    if how == "kicked":
        two.kick(house.now)
    else:
        one.session.end("enough")
    house.turn()
    watcher.op_codes()
    house.advance(1)
    assert late.ended is not None
    assert late.ended[0] == CLOSE_ENDED
    assert house.relay.links_count == (1 if how == "kicked" else 0)
    assert watcher.op_codes() == []
    assert "link_logins" not in house.all_counts() or house.all_counts()["link_logins"] == 1


def test_the_goodbye_survives_two_losses(house: House) -> None:
    one, two = players(house)
    house.enter(one)
    kicked = house.enter(two)
    lost: list[bytes] = []

    def lose_two(datagram: bytes) -> tuple[bytes, ...]:
        if len(lost) == 2:
            return (datagram,)
        lost.append(datagram)
        return ()

    kicked.on_receive = lose_two
    two.kick(house.now)
    house.turn()
    assert len(lost) == 2
    assert kicked.ended == (CLOSE_KICKED, "kicked")


def test_the_end_of_a_session_is_told_to_all(house: House) -> None:
    session = house.create("1", "2", "3")
    links = [house.enter(each) for each in session.players[:2]]
    guest: Guest = house.seat(session.players[2])
    session.end("enough")
    house.turn()
    assert [client.ended for client in links] == [(CLOSE_ENDED, "the session is over")] * 2
    guest.line.read()
    assert guest.line.ended
    assert house.relay.links_count == 0
    again = house.client(session.players[0])
    house.turn()
    assert again.refusal == REFUSED_TOKEN


def test_a_closed_link_is_dead(house: House) -> None:
    one, two = players(house)
    watcher, old = house.enter(one), house.enter(two)
    house.turn()
    watcher.op_codes()
    old.send(5, b"never sent in time")
    late = old.link.datagrams_to_send(house.now)
    two.kick(house.now)
    house.turn()
    watcher.op_codes()
    before = house.all_counts().get("link_unknown", 0)
    assert house.knock(old.socket, *late) == []
    assert watcher.op_codes() == []
    assert house.all_counts()["link_unknown"] == before + len(late)


# Pending


def test_a_pending_link_is_forgotten_after_its_time(house: House) -> None:
    one, _ = players(house)
    client = house.client(one)
    client.on_send = lambda datagram: () if datagram[1] == 6 else (datagram,)
    house.turn()
    assert (house.relay.links_count, one.state) == (1, "expected")
    began = house.now
    silence(client)
    house.advance(began + PENDING_SECONDS - 0.01 - house.now)
    assert house.relay.links_count == 1
    house.advance(0.02)
    assert house.relay.links_count == 0
    house.knock(client.socket, *client.data)
    assert read_all(client.socket) == []
    assert one.state == "expected"
    assert client.socket is not None
    again = house.client(one)
    house.turn()
    assert (again.end is not None, one.state) == (True, "ready")

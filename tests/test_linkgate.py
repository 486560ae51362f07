"""The gate for links: who is refused and why, in which words, how much work strangers and players can make for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gsrt import linkgate
from gsrt.protocol import rt
from gsrt.protocol.link import (
    REFUSED,
    REFUSED_COOKIE,
    REFUSED_FULL,
    REFUSED_SUITE,
    REFUSED_TOKEN,
    REFUSED_VERSION,
    SUITE_CHACHA20_POLY1305,
    SUITE_INSECURE,
    Terms,
)
from tests.links.house import Client, House, read_all

UNKNOWN_TOKEN = "x" * 40

Houses = Callable[..., House]


@pytest.fixture
def houses() -> Iterator[Houses]:
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(House(**limits))


@pytest.fixture
def house(houses: Houses) -> House:
    return houses()


def warnings(house: House) -> list[str]:
    return [line for line in house.log_text().splitlines() if line.startswith("warn")]


def until_login(house: House, client: Client) -> bytes:
    """The LOGIN that this client would send next; it is not sent."""
    client.on_send = lambda datagram: () if datagram[1] == 3 else (datagram,)
    house.turn()
    return client.login


# Refusals


def test_an_unknown_token(house: House) -> None:
    client = house.client(UNKNOWN_TOKEN)
    house.turn()
    assert client.refusal == REFUSED_TOKEN
    assert house.all_counts()["link_refused_token"] == 1
    (line,) = warnings(house)
    assert line.startswith("warn link refused ")
    assert "127.0.0.1:" in line
    assert "token" in line


def test_a_known_token_id_that_is_not_proved(house: House) -> None:
    one = house.create().players[0]
    client = house.client(one)
    login = until_login(house, client)
    answers = house.knock(client.socket, login[:-1] + bytes((login[-1] ^ 1,)))
    assert [answer[:3] for answer in answers] == [bytes((0, REFUSED, REFUSED_TOKEN))]
    assert house.all_counts()["link_refused_token"] == 1
    assert house.relay.links_count == 0
    house.now += 0.001
    house.knock(client.socket, login)
    assert house.relay.links_count == 1


def test_the_insecure_suite_is_off_by_default(houses: Houses) -> None:
    house = houses(insecure=False)
    one, two, _ = house.create().players
    client = house.client(one, suite=SUITE_INSECURE)
    house.turn()
    assert client.refusal == REFUSED_SUITE
    assert "it takes 1" in (client.why_not or "")
    assert house.all_counts()["link_refused_suite"] == 1
    assert "suite" in warnings(house)[0]
    assert "--insecure-link" in warnings(house)[0]
    house.enter(two, suite=SUITE_CHACHA20_POLY1305)


def test_both_suites_where_it_is_on(houses: Houses) -> None:
    house = houses(insecure=True)
    one, two, _ = house.create().players
    clients = [house.enter(one, suite=SUITE_INSECURE), house.enter(two, suite=SUITE_CHACHA20_POLY1305)]
    assert [house.leg(each).cipher.tag_bytes for each in (one, two)] == [0, 16]
    clients[0].send(5, b"x")
    house.turn()
    assert clients[1].news() == [(5, 1, b"x")]


def test_another_version(house: House) -> None:
    client = house.client(UNKNOWN_TOKEN)
    client.on_send = lambda datagram: (datagram[:2] + b"\x02" + datagram[3:],)
    house.turn()
    assert client.refusal == REFUSED_VERSION
    assert house.all_counts()["link_refused_version"] == 1
    assert "version" in warnings(house)[0]


def test_a_cookie_that_is_too_old(house: House) -> None:
    one = house.create().players[0]
    client = house.client(one)
    login = until_login(house, client)
    client.is_silent = True
    house.advance(10.1)
    (answer,) = house.knock(client.socket, login)
    assert answer[:3] == bytes((0, REFUSED, REFUSED_COOKIE))
    assert house.all_counts()["link_refused_cookie"] == 1
    assert "cookie" in warnings(house)[-1]


def test_a_cookie_is_good_until_its_last_moment(house: House) -> None:
    one = house.create().players[0]
    client = house.client(one)
    login = until_login(house, client)
    client.is_silent = True
    house.now += 10.0
    (answer,) = house.knock(client.socket, login)
    assert answer[1] == 4


def test_a_full_house(houses: Houses) -> None:
    house = houses(connections_max=2, pending_connections_max=1, pending_per_address_max=1)
    one, two, three = house.create().players
    house.enter(one)
    house.enter(two)
    client = house.client(three)
    house.turn()
    assert client.refusal == REFUSED_FULL
    assert house.all_counts()["connections_refused_full"] == 1
    assert "as many connections are open as the profile allows" in warnings(house)[0]
    assert "connections_max=2" in warnings(house)[0]
    house.clients[0].close()
    house.turn()
    house.enter(three)


def test_connections_without_a_login_give_way_to_a_player(houses: Houses) -> None:
    house = houses(connections_max=2, pending_connections_max=2, pending_per_address_max=2)
    one = house.create().players[0]
    strangers = [house.dial(), house.dial()]
    house.enter(one)
    assert [line.stream.fd >= 0 for line in strangers] == [False, True]
    assert house.reception.counters["pending_gave_way"] == 1


def test_who_comes_in_anew_needs_no_second_place(houses: Houses) -> None:
    house = houses(connections_max=2, pending_connections_max=1, pending_per_address_max=1)
    one, two, three = house.create().players
    old = house.enter(one)
    house.enter(two)
    house.enter(one)
    assert old.ended is not None
    assert house.relay.links_count == 2
    stuck = house.client(one)
    stuck.on_send = lambda datagram: () if datagram[1] == 6 else (datagram,)
    house.turn()
    assert stuck.end is not None
    stuck.is_silent = True
    house.enter(one)
    late = house.client(three)
    house.turn()
    assert late.refusal == REFUSED_FULL


def test_one_log_line_for_a_flood(house: House) -> None:
    for _ in range(20):
        house.client(UNKNOWN_TOKEN)
        house.turn()
    assert house.all_counts()["link_refused_token"] == 20
    assert len(warnings(house)) == 1


def test_terms_that_break_the_contract_are_dropped(house: House) -> None:
    one = house.create().players[0]
    terms = Terms()
    terms.receive_bytes = 1
    client = house.client(one, terms=terms)
    house.turn()
    assert (client.end, client.refusal, house.relay.links_count) == (None, None, 0)
    assert house.all_counts()["link_handshakes_malformed"] >= 1


def test_no_two_counters_have_one_name(house: House) -> None:
    house.enter(house.create().players[0])
    assert house.relay.counts().keys() & house.reception.counts().keys() == set()


# How much work


def count_agreements(house: House, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The private keys that the server makes from now on: one for each key agreement."""
    from gsrt.protocol import noise

    made: list[bytes] = []
    agree = noise.Responder.agree

    def counted(self: noise.Responder, private: bytes) -> tuple[bytes, bytes, bytes] | None:
        made.append(private)
        return agree(self, private)

    monkeypatch.setattr(noise.Responder, "agree", counted)
    return made


def logins(house: House, token: str, count: int) -> list[Client]:
    """Clients with good cookies, whose LOGINs are yet to be sent."""
    clients = [house.client(token) for _ in range(count)]
    for client in clients:
        client.on_send = lambda datagram: () if datagram[1] == 3 else (datagram,)
    house.turn()
    return clients


def test_key_agreements_in_a_turn_are_bounded_and_the_others_wait_for_the_next(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = houses(link_logins_per_turn=3)
    players = house.create(*"1234567").players
    waiting = [logins(house, player.access_token, 1)[0] for player in players]
    made = count_agreements(house, monkeypatch)
    for client in waiting:
        client.socket.send(client.login)
    house.tick(7)
    for count in (3, 6, 7):
        assert (len(made), house.relay.links_count) == (count, count)
        house.now += 0.001
        house.timers.run(house.now)
        house.end_tick()
    assert house.reception.counters["link_logins_put_off"] == 0
    for client in waiting:
        client.on_send = lambda datagram: (datagram,)
    house.turn()
    assert all(client.op_codes()[:1] == [rt.OP_LOGIN_RESULT] for client in waiting)


def test_so_many_logins_wait_and_no_more(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linkgate, "LOGINS_WAITING_MAX", 2)
    house = houses(link_logins_per_turn=1)
    players = house.create(*"1234").players
    waiting = [logins(house, player.access_token, 1)[0] for player in players]
    for client in waiting:
        client.socket.send(client.login)
    house.tick(4)
    assert house.reception.counters["link_logins_put_off"] == 1
    for _ in range(3):
        house.now += 0.001
        house.timers.run(house.now)
    assert house.relay.links_count == 3
    for client in waiting:
        client.on_send = lambda datagram: (datagram,)
    house.advance(1)
    assert all(client.op_codes()[:1] == [rt.OP_LOGIN_RESULT] for client in waiting)


def test_logins_with_unknown_tokens_keep_no_player_out(houses: Houses) -> None:
    house = houses(link_logins_per_turn=2)
    one = house.create().players[0]
    strangers = logins(house, UNKNOWN_TOKEN, 20)
    (player,) = logins(house, one.access_token, 1)
    for stranger in strangers:
        stranger.socket.send(stranger.login)
    player.socket.send(player.login)
    house.tick(21)
    assert house.relay.links_count == 1
    assert house.all_counts()["link_refused_token"] == 20


def test_a_player_who_floods_with_logins_keeps_no_other_out(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    house = houses(link_logins_per_turn=4)
    one, two, _ = house.create().players
    flood = logins(house, one.access_token, 40)
    (player,) = logins(house, two.access_token, 1)
    made = count_agreements(house, monkeypatch)
    for client in flood:
        client.socket.send(client.login)
    player.socket.send(player.login)
    house.tick(41)
    assert two.entrance is not None
    assert len(made) <= 4
    assert house.relay.links_count == 2


def test_a_flood_of_good_logins_leaves_one_pending_link(house: House) -> None:
    one = house.create().players[0]
    for _ in range(50):
        for client in logins(house, one.access_token, 1):
            house.knock(client.socket, client.login)
        house.now += 0.01
    assert house.relay.links_count == 1
    assert house.all_counts()["link_entries"] == 50


def test_a_repeated_login_costs_no_second_connection(house: House) -> None:
    one = house.create().players[0]
    (client,) = logins(house, one.access_token, 1)
    answers = []
    for _ in range(5):
        house.now += 0.01
        answers += house.knock(client.socket, client.login)
    assert len(set(answers)) == 1
    assert len(answers) == 5
    assert house.relay.links_count == 1


def test_a_login_repeated_after_its_link_has_ended_is_a_replay(house: House) -> None:
    one = house.create().players[0]
    client = house.enter(one)
    client.close()
    house.turn()
    assert house.relay.links_count == 0
    client.is_silent = True
    assert house.knock(client.socket, client.login) == []
    assert house.reception.counters["link_replays"] == 1
    assert "repeated login dropped" in warnings(house)[0]


def test_nothing_is_kept_of_hellos(house: House) -> None:
    end = house.new_socket()
    hello = b"\0\1\1\1" + bytes(60)
    for number in range(300):
        house.now += 0.001
        (answer,) = house.knock(end, hello[:4] + number.to_bytes(16, "little") + hello[20:])
        assert len(answer) == 44
    assert (house.relay.links_count, house.all_counts()["link_cookies"]) == (0, 300)
    assert read_all(end) == []

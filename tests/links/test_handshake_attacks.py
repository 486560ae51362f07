"""What somebody without the keys can make of a handshake's datagrams: replayed, reflected, mixed, cut, extended.

An open connection beside it goes on, and nobody is let in.
"""

from __future__ import annotations

import random

import pytest

from gsrt.protocol.link import (
    COOKIE,
    LOGIN,
    LOGIN_BYTES,
    REFUSED,
    REFUSED_COOKIE,
    REFUSED_TOKEN,
    SUITE_CHACHA20_POLY1305,
    WELCOME,
)
from gsrt.session import Player
from tests.links.conftest import Houses
from tests.links.house import BOTH_SUITES, PENDING_SECONDS, Client, House, read_all

COOKIE_SECONDS = 10.0


def hold(client: Client, kind: int) -> None:
    """Datagrams of that type do not leave the client."""
    client.on_send = lambda datagram: () if datagram[1] == kind else (datagram,)


def talk(house: House, one: Client, two: Client, number: int) -> None:
    """Both are there, and hear each other."""
    one.send(number, b"there")
    two.send(number, b"back")
    house.turn()
    assert one.news() == [(number, 2, b"back")]
    assert two.news() == [(number, 1, b"there")]


def both(house: House, suite: int = SUITE_CHACHA20_POLY1305) -> tuple[Client, Client]:
    session = house.create("1", "2", "3")
    clients = house.enter(session.players[0], suite=suite), house.enter(session.players[1], suite=suite)
    house.turn()
    for each in clients:
        each.heard.clear()
    return clients


def third(house: House) -> Player:
    """The player who has not come yet."""
    return next(iter(house.sessions)).players[2]


# Replayed


def test_a_login_replayed_while_pending_gets_the_same_welcome(house: House) -> None:
    one = house.create().players[0]
    client = house.client(one)
    hold(client, 6)
    house.turn()
    answers = house.knock(client.socket, client.login, client.login)
    assert answers == [client.welcome] * 2
    assert house.relay.links_count == 1


def test_a_login_replayed_while_open_changes_nothing(house: House) -> None:
    one, two = both(house)
    stranger = house.new_socket()
    assert house.knock(one.socket, one.login, one.login) == []
    answers = house.knock(stranger, one.login)
    assert [answer[:3] for answer in answers] == [bytes((0, REFUSED, REFUSED_COOKIE))]
    assert house.relay.links_count == 2
    talk(house, one, two, 5)
    assert house.reception.counters["link_replays"] == 2


def test_a_login_replayed_from_the_clients_own_address_later_changes_nothing(house: House) -> None:
    one, two = both(house)
    for seconds in (1, 4, 4, 4, 10):
        house.advance(seconds)
        answers = house.knock(one.socket, one.login)
        assert all(answer[1] == REFUSED for answer in answers)
        assert house.relay.links_count == 2
        talk(house, one, two, 5)


def test_an_older_login_does_not_replace_a_newer_one(house: House) -> None:
    one = house.create("1", "2").players[0]
    old = house.client(one)
    hold(old, LOGIN)
    house.turn()
    new = house.enter(one)
    house.turn()
    new.heard.clear()
    house.now += 0.001
    assert house.knock(old.socket, old.login) == []
    house.advance(0.01)
    assert (new.ended, house.relay.links_count) == (None, 1)
    assert house.leg(one).connection == new.link.connection
    assert house.reception.counters["link_replays"] == 1


def test_a_login_replayed_after_the_goodbye_opens_nothing(house: House) -> None:
    one = both(house)[0]
    one.close()
    house.turn()
    assert house.knock(one.socket, one.login) == []
    house.advance(COOKIE_SECONDS + 1)
    (answer,) = house.knock(one.socket, one.login)
    assert answer[:3] == bytes((0, REFUSED, REFUSED_COOKIE))
    assert house.relay.links_count == 1


@pytest.mark.parametrize("suite", BOTH_SUITES)
def test_a_whole_conversation_replayed_opens_nothing(house: House, suite: int) -> None:
    one, two = both(house, suite)
    one.send(5, b"once")
    house.turn()
    two.op_codes()
    recorded = list(one.sent)
    one.close()
    house.turn()
    two.op_codes()
    one.is_silent = True
    for end in (one.socket, house.new_socket()):
        house.now += 0.001
        house.knock(end, *recorded)
    assert (two.op_codes(), house.relay.links_count) == ([], 1)
    house.advance(COOKIE_SECONDS + 1)
    house.knock(one.socket, *recorded)
    house.turn()
    assert (two.op_codes(), house.relay.links_count) == ([], 1)


def test_data_of_a_pending_link_that_was_forgotten_opens_nothing(house: House) -> None:
    one = house.create().players[0]
    client = house.client(one)
    hold(client, 6)
    house.turn()
    recorded = list(client.data)
    client.is_silent = True
    house.advance(PENDING_SECONDS + 0.1)
    assert read_all(client.socket) == []  # nobody is sent anything who has not shown that it has the keys
    assert house.knock(client.socket, client.login, *recorded) == []
    assert (house.relay.links_count, one.state) == (0, "expected")


def test_after_a_restart_of_the_server_nothing_recorded_is_worth_anything(houses: Houses) -> None:
    before = houses()
    one = before.create().players[0]
    client = before.enter(one)
    recorded = list(client.sent)
    after = houses()
    after.tokens.restore(one.access_token, after.create().players[0])
    after.chance.seed(99)  # another run's secrets
    answers = after.knock(after.new_socket(), *recorded)
    assert all(answer[1] in (COOKIE, REFUSED) for answer in answers)
    assert after.relay.links_count == 0


# Reflected and mixed


def test_what_the_server_says_is_not_taken_from_a_client(house: House) -> None:
    one, two = both(house)
    said = [one.of_type(kind, received=True)[0] for kind in (COOKIE, WELCOME)]
    refusal = house.knock(house.new_socket(), one.login)[0]
    for end in (one.socket, house.new_socket()):
        assert house.knock(end, *said, refusal) == []
    assert house.relay.links_count == 2
    talk(house, one, two, 5)


def test_data_that_the_server_has_sent_is_not_taken_back(house: House) -> None:
    one, two = both(house)
    talk(house, one, two, 5)
    reflected = one.of_type(6, received=True)
    for end in (one.socket, house.new_socket()):
        assert house.knock(end, *reflected) == []
    talk(house, one, two, 6)
    counts = house.all_counts()
    assert counts.get("link_forged", 0) + counts.get("link_replayed", 0) == 2 * len(reflected)


def test_a_login_with_the_cookie_of_another_address(house: House) -> None:
    one, two, _ = house.create().players
    mine, theirs = house.client(one), house.client(two)
    for each in (mine, theirs):
        hold(each, LOGIN)
    house.turn()
    (answer,) = house.knock(mine.socket, theirs.login)
    assert answer[:3] == bytes((0, REFUSED, REFUSED_COOKIE))
    mixed = mine.login[:20] + theirs.login[20:44] + mine.login[44:]
    (answer,) = house.knock(mine.socket, mixed)
    assert answer[:3] == bytes((0, REFUSED, REFUSED_COOKIE))
    assert house.relay.links_count == 0


def test_a_login_with_the_token_id_of_another_player(house: House) -> None:
    one, two, _ = house.create().players
    mine, theirs = house.client(one), house.client(two)
    for each in (mine, theirs):
        hold(each, LOGIN)
    house.turn()
    for mixed in (
        mine.login[:44] + theirs.login[44:52] + mine.login[52:],  # my proof, the other's id
        mine.login[:44] + theirs.login[44:],  # the other's proof, for another cookie and nonce
        mine.login[:52] + theirs.login[52:84] + mine.login[84:],  # the other's ephemeral key
    ):
        house.now += 0.001
        (answer,) = house.knock(mine.socket, mixed)
        assert answer[:3] == bytes((0, REFUSED, REFUSED_TOKEN))
    assert house.relay.links_count == 0


def test_every_byte_of_a_login_counts(house: House) -> None:
    one, two = both(house)
    client = house.client(third(house))
    hold(client, LOGIN)
    house.turn()
    for at in range(LOGIN_BYTES):
        house.now += 0.0001
        changed = bytearray(client.login)
        changed[at] ^= 1 << (at & 7)
        answers = house.knock(client.socket, bytes(changed))
        assert all(answer[1] == REFUSED for answer in answers), at
    assert house.relay.links_count == 2
    house.now += 0.0001
    house.knock(client.socket, client.login)
    assert house.relay.links_count == 3
    talk(house, one, two, 5)


@pytest.mark.parametrize("kind", [1, LOGIN])
def test_cut_and_extended_beginnings_are_dropped(house: House, kind: int) -> None:
    one, two = both(house)
    client = house.client(third(house))
    hold(client, LOGIN)
    house.turn()
    whole = client.of_type(kind)[-1]
    end = house.new_socket() if kind == 1 else client.socket
    for size in [*range(2, len(whole)), len(whole) + 1, len(whole) + 16, 1400]:
        datagram = whole[:size].ljust(size, b"\0")
        assert house.knock(end, datagram) == [], size
    assert house.relay.links_count == 2
    talk(house, one, two, 5)


def test_all_types_of_all_lengths_are_survived(house: House) -> None:
    one, two = both(house)
    end = house.new_socket()
    chance = random.Random(1)
    answered = 0
    for kind in range(256):
        for size in (0, 1, 13, 14, 15, 23, 24, 44, 63, 64, 65, 84, 107, 108, 109, 1472, 1473):
            datagram = bytes((0, kind)) + chance.randbytes(size)
            for answer in house.knock(end, datagram[: max(size, 1)]):
                answered += 1
                assert len(answer) <= size
                assert answer[1] in (COOKIE, REFUSED)
    assert answered <= 4
    talk(house, one, two, 5)


# A flood


def test_an_open_connection_survives_a_flood_of_logins_for_its_player(house: House) -> None:
    one, two = both(house)
    player = next(iter(house.sessions)).players[0]
    chance = random.Random(2)
    for number in range(30):
        client = house.client(player)  # who has the token, and never goes on
        hold(client, 6)
        house.turn()
        client.is_silent = True
        junk = bytearray(client.login)
        junk[52 + chance.randrange(56)] ^= 0x40
        house.knock(client.socket, client.login, bytes(junk), client.login)
        if number % 5 == 0:
            talk(house, one, two, 5)
    assert house.relay.links_count == 3
    house.advance(PENDING_SECONDS + 0.1)
    assert house.relay.links_count == 2
    talk(house, one, two, 6)


def test_a_client_takes_no_welcome_but_its_own(house: House) -> None:
    one, two, _ = house.create().players
    first = house.client(one)
    house.turn()
    second = house.client(two)
    forged = bytearray(first.welcome)
    second.on_receive = lambda datagram: (
        (bytes(forged), forged_for(second, first.welcome), datagram) if datagram[1] == WELCOME else (datagram,)
    )
    house.turn()
    assert second.handshake.dropped == 2
    assert second.link.connection != first.link.connection
    assert second.suite == SUITE_CHACHA20_POLY1305


def forged_for(client: Client, welcome: bytes) -> bytes:
    """Another's WELCOME with this client's nonce."""
    return welcome[:4] + client.login[4:20] + welcome[20:]

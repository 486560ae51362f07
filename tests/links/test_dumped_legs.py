"""Legs of a server that are dumped and restored while their clients talk: these notice nothing."""

from __future__ import annotations

import random

import pytest

from gsrt._link import KIND_ORDERED, KIND_UNORDERED, LINK_LIMITS
from gsrt._links import LINKS_LIMITS, Leg
from tests.links.house import BOTH_SUITES, Client, House
from tests.links.test_roaming import address, both, player, talk, where

CHALLENGE_SECONDS = LINKS_LIMITS["CHALLENGE_SECONDS"]
IDLE_SECONDS = LINK_LIMITS["IDLE_SECONDS"]


def succeed(house: House, number: int, seconds: float = 0.0) -> Leg:
    """The server's end of that player's link is another from here on; nobody reads the server's socket for so long."""
    leg = house.leg(player(house, number))
    dump = leg.links.dump_leg(leg)
    sent = sum(client.send_out() for client in house.clients)
    house.now += seconds
    fresh = leg.links.restore_leg(dump, house.now)
    member = player(house, number).member
    member.attach_link(fresh)
    member.open()
    fresh.owner = player(house, number)
    assert fresh is not leg
    assert leg.closed
    assert fresh.connection == leg.connection
    assert fresh.peer_name == leg.peer_name
    house.tick(sent)
    return fresh


@pytest.mark.parametrize("suite", BOTH_SUITES)
def test_clients_notice_nothing(house: House, suite: int) -> None:
    one, two = both(house, suite)
    for number in range(1, 8):
        one.send(100 + number, b"before")
        two.send(100 + number, b"before")
        succeed(house, number % 2 + 1, 0.3 * (number % 3))
        house.until_quiet()
        assert [each[0] for each in one.news()] == [each[0] for each in two.news()] == [100 + number]
        talk(house, one, two, number)
        house.advance(0.7)
    assert one.ended is two.ended is None
    house.advance(3 * IDLE_SECONDS)
    talk(house, one, two, 50)
    assert house.relay.links is not None
    assert house.relay.links.count == 2


def test_a_client_is_heard_over_its_new_address(house: House) -> None:
    one, two = both(house)
    succeed(house, 1)
    one.move()
    house.advance(CHALLENGE_SECONDS)
    talk(house, one, two, 1)
    assert where(house) == address(one.socket)
    one.move()
    one.send(2, b"from there", targets=(2,))
    house.turn()  # it is challenged there
    succeed(house, 1)  # and the answer is to nobody's question
    house.advance(2 * CHALLENGE_SECONDS)
    assert two.news() == [(2, 1, b"from there")]
    talk(house, one, two, 3)
    house.advance(2 * CHALLENGE_SECONDS)
    assert where(house) == address(one.socket)


def test_a_silent_client_is_given_up_as_ever(house: House) -> None:
    one, _ = both(house)
    one.is_silent = True
    house.advance(IDLE_SECONDS - 2)
    leg = succeed(house, 1)
    house.advance(IDLE_SECONDS - 1)
    assert not leg.closed
    house.advance(2)
    assert leg.closed


def test_a_leg_that_is_dumped_is_unknown_to_the_server(house: House) -> None:
    one, two = both(house)
    leg = house.leg(player(house))
    links = leg.links
    before = links.counts()["link_unknown"]
    links.dump_leg(leg)
    one.send(1, b"is anybody there?")
    house.turn()
    assert links.counts()["link_unknown"] > before
    house.advance(2)
    assert one.ended is None
    assert two.op_codes() == []  # nobody is told that it has gone
    assert one.op_codes() == []


@pytest.mark.parametrize("suite", BOTH_SUITES)
def test_long_messages_both_ways_over_a_bad_way(house: House, suite: int) -> None:
    one, two = both(house, suite)
    chance = random.Random(5)
    for client in (one, two):
        client.on_send = client.on_receive = lambda datagram: () if chance.random() < 0.1 else (datagram,)
    said: list[list[tuple[int, int, bytes | None]]] = [[], []]
    for number in range(1, 25):
        for which, client in enumerate((one, two)):
            payload = chance.randbytes(chance.choice((10, 900, 20_000)))
            channel, kind = (0, KIND_UNORDERED) if number % 5 == 0 else (number % 3, KIND_ORDERED)
            client.send(number, payload, kind=kind, channel=channel, targets=(2 - which,))
            said[1 - which].append((number, which + 1, payload))
        house.advance(0.06)
        succeed(house, number % 2 + 1, 0.02 * (number % 4))
    house.until_quiet()
    for client, expected in zip((one, two), said, strict=True):
        heard = client.news()
        assert sorted(heard) == expected
        for channel in range(3):
            in_channel = [each[0] for each in heard if each[0] % 3 == channel and each[0] % 5]
            assert in_channel == sorted(in_channel)


def test_memory_of_what_is_kept_is_accounted_for(house: House) -> None:
    """All legs together keep no more than the profile says, whoever of them was dumped."""
    one, two = both(house)
    lost: list[bytes] = []

    def first_is_late(datagram: bytes) -> tuple[bytes, ...]:
        if not lost:
            lost.append(datagram)
            return ()
        return (datagram,)

    one.on_send = first_is_late
    for number in range(40):
        one.send(1, number.to_bytes(1, "little") * 1000, targets=(2,))
    house.turn()
    for _ in range(3):
        kept = house.leg(player(house)).pending_bytes
        assert kept > 3_000
        assert succeed(house, 1).pending_bytes == kept
    house.until_quiet()
    assert house.leg(player(house)).pending_bytes == 0
    assert len(two.news()) == 40


def test_who_comes_in_meanwhile_is_not_in_the_way(house: House) -> None:
    one, two = house.create("1", "2").players
    house.enter(one)
    client: Client = house.client(two)
    succeed(house, 1)
    house.turn()
    assert client.end is not None
    assert client.ended is None

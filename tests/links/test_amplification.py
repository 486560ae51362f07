"""The server is no weapon: no address gets more than has come from there, unless somebody there has proved a token."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from gsrt.protocol.link import HELLO, LOGIN
from tests.links.house import BOTH_SUITES, Client, House, read_all

ROUNDS = 6000
STRANGERS = 6


def genuine(house: House, suite: int) -> tuple[Client, Client, list[bytes]]:
    """Two players that talk, and all that has passed between them and the server."""
    session = house.create("1", "2", "3")
    one, two = (house.enter(each, suite=suite) for each in session.players[:2])
    late = house.client(session.players[2], suite=suite)
    late.on_send = lambda datagram: () if datagram[1] == LOGIN else (datagram,)
    for number in range(1, 20):
        house.now += 0.03
        one.send(number, bytes(number * 60))
        two.send(number, bytes(number))
        house.turn()
    late.is_silent = True
    return one, two, [*one.sent, *two.sent, *late.sent, *one.received[-20:], *two.received[-20:]]


def mutated(chance: random.Random, datagram: bytes) -> bytes:
    """As it is, cut, extended or changed in places."""
    changed = bytearray(datagram)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 8))):
        how = chance.randrange(4)
        if how == 0 and changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        elif how == 1 and len(changed) > 2:
            del changed[chance.randrange(2, len(changed)) :]
        elif how == 2:
            changed += chance.randbytes(chance.choice((1, 16, 36, 44, 400)))
        elif changed:
            changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(changed[:1600]) or b"\0"


@pytest.mark.parametrize("suite", BOTH_SUITES)
@pytest.mark.parametrize("seed", range(3))
def test_strangers_get_no_more_than_they_send(house: House, suite: int, seed: int) -> None:
    chance = random.Random(seed)
    one, two, corpus = genuine(house, suite)
    corpus += [b"\0" + bytes((kind,)) + chance.randbytes(size - 2) for kind in range(9) for size in (24, 64, 108, 300)]
    ends = [house.new_socket() for _ in range(STRANGERS)]
    came: Counter[int] = Counter()
    went: Counter[int] = Counter()
    for number in range(ROUNDS):
        if number % 50 == 0:
            house.advance(0.01)  # the players are alive
        house.now += chance.choice((0.0, 0.001, 0.05))
        which = chance.randrange(STRANGERS)
        datagram = mutated(chance, chance.choice(corpus))
        came[which] += len(datagram)
        ends[which].send(datagram)
        house.tick(1)
        for index, end in enumerate(ends):
            answers = read_all(end)
            went[index] += sum(map(len, answers))
            corpus += answers
            assert went[index] <= came[index]
            assert len(answers) <= (index == which)
    house.advance(6)
    assert all(read_all(end) == [] for end in ends)
    assert sum(went.values()) > 0
    if suite:
        assert house.relay.links_count == 2
        one.heard.clear()
        two.heard.clear()
        one.send(50, b"still")
        two.send(51, b"here")
        house.until_quiet()
        assert (one.news(), two.news()) == ([(51, 2, b"here")], [(50, 1, b"still")])


def test_each_step_of_a_handshake_is_not_longer_than_what_it_answers(house: House) -> None:
    client = house.client(house.create().players[0])
    house.turn()
    for asked, answered in ((HELLO, 2), (LOGIN, 4)):
        assert len(client.of_type(answered, received=True)[0]) <= len(client.of_type(asked)[0])


def test_a_login_that_goes_no_further_is_answered_once(house: House) -> None:
    client = house.client(house.create().players[0])
    client.on_send = lambda datagram: () if datagram[1] == 6 else (datagram,)
    house.turn()
    client.is_silent = True
    house.advance(20)
    assert read_all(client.socket) == []

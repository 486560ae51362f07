"""A client's address changes, and attackers would like it to: genuine moves go on unseen, forged ones do nothing."""

from __future__ import annotations

import socket

import pytest

from gsrt._link import KIND_UNRELIABLE, LINK_LIMITS
from gsrt._links import LINKS_LIMITS
from gsrt.session import Player
from tests.links.house import BOTH_SUITES, Client, House, read_all

CHALLENGE_BYTES = {0: 24, 1: 40}
CHALLENGE_SECONDS = LINKS_LIMITS["CHALLENGE_SECONDS"]


def both(house: House, suite: int = 1) -> tuple[Client, Client]:
    one, two = house.create("1", "2").players
    clients = house.enter(one, suite=suite), house.enter(two, suite=suite)
    house.until_quiet()
    for each in clients:
        each.heard.clear()
    return clients


def player(house: House, number: int = 1) -> Player:
    return next(iter(house.sessions)).players[number - 1]


def where(house: House, number: int = 1) -> str:
    """The address at which the server believes a player's link to be."""
    return house.leg(player(house, number)).peer_name


def address(end: socket.socket) -> str:
    host, port = end.getsockname()
    return f"{host}:{port}"


def talk(house: House, one: Client, two: Client, number: int) -> None:
    one.send(number, b"there")
    two.send(number, b"back")
    house.until_quiet()
    assert one.news() == [(number, 2, b"back")]
    assert two.news() == [(number, 1, b"there")]


# Genuine moves


@pytest.mark.parametrize("suite", BOTH_SUITES)
def test_a_move_is_not_noticed_by_anyone(house: House, suite: int) -> None:
    one, two = both(house, suite)
    for number in range(1, 6):
        one.move()
        house.advance(CHALLENGE_SECONDS)
        talk(house, one, two, number)
        assert where(house) == address(one.socket)
    assert house.relay.links is not None
    assert house.relay.links.moved == 5
    assert (one.ended, two.ended) == (None, None)
    assert [player(house, number).state for number in (1, 2)] == ["ready", "ready"]
    assert house.reception.counters["link_logins"] == 2


def test_moves_in_the_middle_of_long_messages(house: House) -> None:
    one, two = both(house)
    for client in (one, two):
        client.on_send = lambda datagram: () if house.chance.random() < 0.3 else (datagram,)
    bodies = [house.chance.randbytes(60_000) for _ in range(5)]
    for number, body in enumerate(bodies, 1):
        two.send(number, body)
        one.send(number, body, channel=3)
        house.advance(0.01)
        one.move()
        house.advance(0.6)
    house.until_quiet()
    assert one.news() == [(number, 2, body) for number, body in enumerate(bodies, 1)]
    assert two.news() == [(number, 1, body) for number, body in enumerate(bodies, 1)]
    house.advance(5)
    assert where(house) == address(one.socket)
    assert house.relay.links is not None
    assert house.relay.links.moved >= 3


def test_what_waited_for_a_silent_client_finds_it_at_its_new_address(house: House) -> None:
    one, two = both(house)
    one.move()
    two.send(5, b"to the old address")
    house.turn()
    assert one.news() == []
    one.send(6, b"here I am", kind=KIND_UNRELIABLE)
    house.until_quiet()
    assert one.news() == [(5, 2, b"to the old address")]
    assert two.news() == [(6, 1, b"here I am")]


def test_a_keepalive_is_enough_to_be_found(house: House) -> None:
    one, two = both(house)
    house.advance(5)
    one.move()
    house.advance(LINK_LIMITS["KEEPALIVE_SECONDS"] + 0.5)
    assert where(house) == address(one.socket)
    talk(house, one, two, 5)


def test_nothing_but_a_challenge_goes_to_an_address_that_is_not_proved(house: House) -> None:
    one, two = both(house)
    two.send(5, b"secret" * 500)
    one.send(6)
    (copied,) = one.link.datagrams_to_send(house.now)
    stranger = house.new_socket()
    (answer,) = house.knock(stranger, copied)
    assert len(answer) == CHALLENGE_BYTES[1] <= len(copied)
    house.until_quiet()
    house.advance(5)
    assert read_all(stranger) == []
    assert one.news() == [(5, 2, b"secret" * 500)]
    assert where(house) == address(one.socket)


def test_what_came_before_the_challenge_is_acknowledged_at_the_new_address(house: House) -> None:
    one, _ = both(house)
    for number in range(3):
        one.send(5 + number, b"x" * 900)
        waiting = one.link.datagrams_to_send(house.now)
        house.knock(one.socket, *waiting)
    one.move()  # what acknowledged them went to the old address
    house.now += 0.001
    one.send(9)
    house.turn()
    house.advance(0.05)
    assert where(house) == address(one.socket)
    assert (one.link.waiting_bytes, one.link.counts()["link_resent"]) == (0, 0)


# Forged ones


@pytest.mark.parametrize("suite", BOTH_SUITES)
@pytest.mark.parametrize("order", ["before", "after", "instead"])
def test_a_copy_from_elsewhere_moves_nothing(house: House, suite: int, order: str) -> None:
    one, two = both(house, suite)
    stranger = house.new_socket()
    answers: list[bytes] = []
    copied = 0

    for number in range(1, 8):
        house.now += 0.1
        one.send(number, b"y" * 50)
        waiting = one.link.datagrams_to_send(house.now)
        for datagram in waiting:
            copied += len(datagram)
            turns = {"before": (stranger, one.socket), "after": (one.socket, stranger), "instead": (stranger,)}[order]
            for end in turns:
                end.send(datagram)
                house.tick(1)
            answers += read_all(stranger)
        house.turn()
        assert two.news() == [(number, 1, b"y" * 50)]
        assert where(house) == address(one.socket)
    two.send(20, b"back")
    house.until_quiet()
    assert one.news() == [(20, 2, b"back")]
    assert sum(map(len, answers)) <= copied
    assert all(len(answer) == CHALLENGE_BYTES[suite] for answer in answers)
    if order == "after":
        assert answers == []
    else:
        assert 1 <= len(answers) <= 2
    assert house.relay.links is not None
    assert house.relay.links.moved == 0
    assert one.link.lost_count == 0


def test_a_copy_that_is_too_short_gets_no_challenge(house: House) -> None:
    one, _ = both(house)
    house.advance(1)
    stranger = house.new_socket()
    leg = house.leg(player(house))
    one.send(5)
    for datagram in one.link.datagrams_to_send(house.now):
        if len(datagram) < CHALLENGE_BYTES[1]:
            assert house.knock(stranger, datagram) == []
    assert leg.peer_name == address(one.socket)


def test_the_answer_to_a_challenge_from_elsewhere_moves_nothing(house: House) -> None:
    one, two = both(house)
    stranger = house.new_socket()
    one.send(5)
    (copied,) = one.link.datagrams_to_send(house.now)
    (challenge,) = house.knock(stranger, copied)
    house.turn()
    one.link.receive_datagram(
        challenge, house.now
    )  # the attacker passes it on to the client, who answers from where it is
    house.turn()
    assert where(house) == address(one.socket)
    two.op_codes()
    talk(house, one, two, 6)


def test_an_attacker_who_relays_the_answer_gets_nothing_for_long(house: House) -> None:
    """Who can read, forge and outrun all that a client sends is able to put itself into the way; the client's next
    words bring the connection back, and nothing was lost, read or changed."""
    one, two = both(house)
    stranger = house.new_socket()
    one.send(5)
    (copied,) = one.link.datagrams_to_send(house.now)
    (challenge,) = house.knock(stranger, copied)
    one.link.receive_datagram(challenge, house.now)
    for datagram in one.link.datagrams_to_send(house.now):
        house.knock(stranger, datagram)
    assert where(house) == address(stranger)
    house.advance(CHALLENGE_SECONDS)
    two.op_codes()
    talk(house, one, two, 6)
    assert where(house) == address(one.socket)


def test_an_attacker_who_sees_everything_cannot_inject_replay_or_close(house: House) -> None:
    one, two = both(house)
    chance = house.chance
    strangers = [house.new_socket(), one.socket]
    for number in range(1, 30):
        house.now += 0.02
        talk(house, one, two, number)
        seen = one.data
        for _ in range(20):
            forged = bytearray(chance.choice(seen + one.of_type(6, received=True)[-20:]))
            how = chance.randrange(5)
            if how == 0:
                forged[chance.randrange(14, len(forged))] ^= 1 << chance.randrange(8)
            elif how == 1:
                forged[10:14] = (int.from_bytes(seen[-1][10:14], "little") + 1 + chance.randrange(99)).to_bytes(
                    4, "little"
                )
            elif how == 2:
                del forged[chance.randrange(14, len(forged)) :]
            elif how == 3:
                forged += chance.randbytes(chance.randrange(1, 40))
            assert house.knock(strangers[0], bytes(forged)) == []
            strangers[1].send(forged)
            house.tick(1)
        house.turn()
    assert (one.ended, two.ended) == (None, None)
    assert where(house) == address(one.socket)
    counts = house.all_counts()
    assert counts["link_forged"] + counts["link_replayed"] + counts.get("link_malformed", 0) == 29 * 40
    assert one.link.counts()["link_forged"] == 0


def test_in_suite_0_an_off_path_attacker_has_to_guess_the_connection(house: House) -> None:
    one, two = both(house, 0)
    one.send(5)
    (genuine,) = one.link.datagrams_to_send(house.now)
    stranger = house.new_socket()
    for at in range(2, 10):
        forged = bytearray(genuine)
        forged[at] ^= 0x10
        assert house.knock(stranger, bytes(forged)) == []
    assert house.all_counts()["link_unknown"] == 8
    house.knock(one.socket, genuine)
    house.turn()
    assert two.news() == [(5, 1, None)]

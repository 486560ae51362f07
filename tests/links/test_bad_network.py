"""A bad network before one player of a running server: what it does to that player, and to nobody else."""

from __future__ import annotations

import pytest

from gsrt._link import KIND_UNRELIABLE
from gsrt.netsim.model import BadLink, Conditions
from gsrt.session import Player
from tests.links.house import Client, House
from tests.relay.rig import packet

DELAY = 0.1


def pair(house: House) -> tuple[tuple[Player, Client], tuple[Player, Client]]:
    one, two = house.create("1", "2").players
    clients = house.enter(one), house.enter(two)
    house.until_quiet()
    for each in clients:
        each.heard.clear()
    return (one, clients[0]), (two, clients[1])


def impair(player: Player, conditions: str, seed: int = 1) -> tuple[BadLink, BadLink]:
    up, down = (BadLink(Conditions.parse(conditions), seed + way) for way in (0, 1))
    player.member.impair(up, down)
    return up, down


def test_each_direction_takes_its_time(house: House) -> None:
    (one, first), (_, second) = pair(house)
    impair(one, "delay=100ms")
    began = house.now
    first.send(1, b"up")
    house.turn()
    assert second.news() == []
    house.advance(DELAY + 0.001)
    assert second.news() == [(1, 1, b"up")]
    second.send(2, b"down")
    house.turn()
    assert first.news() == []
    house.advance(DELAY + 0.001)
    assert first.news() == [(2, 2, b"down")]
    house.until_quiet()
    assert house.now - began < 1.0


def test_the_server_measures_it_and_only_with_that_player(house: House) -> None:
    (one, first), (two, second) = pair(house)
    impair(one, "delay=100ms")
    for number in range(1, 60):
        first.send(number, b"x")
        second.send(number, b"y")
        house.advance(0.3)
    assert house.leg(one).quality()["rtt"] == pytest.approx(2 * DELAY, rel=0.15)
    assert house.leg(two).quality()["rtt"] < 0.02


@pytest.mark.parametrize("seed", range(4))
def test_what_is_reliable_arrives_all_the_same(house: House, seed: int) -> None:
    (one, first), (_, second) = pair(house)
    up, down = impair(one, "loss=25% delay=30ms jitter=40ms duplicate=5% reorder=5%", seed)
    for number in range(1, 101):
        first.send(number, b"up")
        second.send(number, b"down")
        house.advance(0.02)
    house.until_quiet(60)
    assert first.news() == [(number, 2, b"down") for number in range(1, 101)]
    assert second.news() == [(number, 1, b"up") for number in range(1, 101)]
    assert up.lost and down.lost


def test_it_can_be_taken_away(house: House) -> None:
    (one, first), (_, second) = pair(house)
    impair(one, "delay=100ms")
    first.send(1, b"late")
    house.advance(0.3)
    one.member.impair(None, None)
    first.send(2, b"at once")
    house.turn()
    assert [code for code, _, _ in second.news()] == [1, 2]


def test_it_stays_over_a_second_login_and_goes_with_the_player(house: House) -> None:
    (one, first), (_, second) = pair(house)
    up, _ = impair(one, "delay=100ms")
    again = house.client(one)
    house.advance(1.0)
    assert first.ended is not None
    put_in = up.sent
    again.send(1, b"still late")
    house.turn()
    assert up.sent > put_in
    assert 1 not in second.op_codes()
    house.advance(0.2)
    assert 1 in second.op_codes()
    again.close()
    house.advance(1.0)
    back = house.client(one)
    house.turn()
    back.send(2, b"at once")
    house.turn()
    assert 2 in second.op_codes()


def test_the_udp_leg_of_a_legacy_player_too(house: House) -> None:
    one, two = house.create("1", "2").players
    guest, second = house.seat(one), house.enter(two)
    post = guest.open_datagrams()
    guest.put(packet(-5))
    house.turn()
    assert post.datagrams(1)  # the server's hello
    house.until_quiet()
    second.heard.clear()
    up, down = impair(one, "delay=100ms")
    post.send(packet(7, payload=b"up"))
    house.end_tick()
    house.turn()
    assert second.news() == [] and up.sent == 1
    house.advance(DELAY + 0.001)
    assert second.news() == [(7, 1, b"up")]
    second.send(8, b"down", kind=KIND_UNRELIABLE)
    house.turn()
    assert down.sent == 1
    house.advance(DELAY + 0.001)
    assert [each.op_code for each in post.packets(1)] == [8]

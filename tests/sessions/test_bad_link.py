"""Clients behind a UDP path that loses, doubles and reorders, the same way for the same seed."""

from __future__ import annotations

import pytest

from tests.doubles.base import Double
from tests.doubles.catalogue import make
from tests.doubles.driver import Driver
from tests.doubles.writers import Intent
from tests.sessions.match import MakeMatch, Match
from tests.support import wire
from tests.support.link import LossyLink

SEEDS = (1, 2, 3)


def bad_link(driver: Driver, seed: int) -> LossyLink:
    """A fifth lost, a tenth doubled, up to 10 ms of delay."""
    link = LossyLink(seed, loss=0.2, duplicate=0.1, shortest_delay=0.0, longest_delay=0.01)
    driver.add(link)
    return link


def number_of(data: bytes | None) -> int:
    """The counter that each packet of these tests carries in slot 1."""
    kind, value = wire.decode_data(data or b"")[1]
    assert kind == "long"
    return int(value)


def numbers(receiver: Double, op_code: int, sender: int) -> list[int]:
    """Counters of what arrived, in the order of arrival."""
    return [number_of(event.data) for event in receiver.of_op_code(op_code) if event.sender == sender]


def settle(match: Match, links: list[LossyLink]) -> None:
    """Wait until no datagram is under way and the server has nothing left to send."""
    match.driver.run_until(lambda: all(link.idle() for link in links), "the links to be empty")
    match.barrier()
    match.driver.run_until(lambda: all(link.idle() for link in links), "the links to be empty")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_connect_dance_gets_through(new_match: MakeMatch, seed: int) -> None:
    match = new_match(6)
    links = [bad_link(match.driver, seed * 100 + index) for index in range(4)]
    kinds = ["cpp", "cs", "cpp-plain", "cs-plain"]
    # slow enough for the greetings, fast enough for a test
    doubles = [match.client(kind, index + 1, pace=0.05, link=links[index]) for index, kind in enumerate(kinds)]
    doubles += [match.client("js-wss", 5), match.client("xbox-wss", 6)]
    match.driver.run_until(lambda: all(double.ready for double in doubles), "all ready")
    match.driver.run_until(
        lambda: all(sorted(double.active_peers) == [1, 2, 3, 4, 5, 6] for double in doubles), "complete lists"
    )
    for double in doubles:
        others = set(range(1, 7)) - {double.peer_id}
        told = double.told("player connect")
        assert len(told) == len(set(told))
        assert set(told) <= others
    match.no_violations()


@pytest.mark.parametrize("seed", SEEDS)
def test_reliable_packets_are_exact_and_unreliable_ones_are_whole_or_lost(new_match: MakeMatch, seed: int) -> None:
    match = new_match(4)
    links = [bad_link(match.driver, seed * 10 + index) for index in range(4)]
    for index, kind in enumerate(["cpp", "cs", "cpp-plain", "cs-plain"]):
        match.client(kind, index + 1, pace=0.05, link=links[index])
    match.until_ready(match.doubles)
    count = 60
    for number in range(count):
        for double in match.doubles:
            double.send(100, data={1: ("long", number)}, payload=bytes([number]))
            double.send(101, Intent.UNRELIABLE, data={1: ("long", number)}, payload=bytes([number]))
            double.send(102, Intent.SEQUENCED, data={1: ("long", number)}, payload=bytes([number]))
        match.driver.step(0.001)
    settle(match, links)
    for receiver in match.doubles:
        for sender in {1, 2, 3, 4} - {receiver.peer_id}:
            assert numbers(receiver, 100, sender) == list(range(count))
            for op_code in (101, 102):
                arrived = numbers(receiver, op_code, sender)
                assert set(arrived) <= set(range(count))
                # two lossy ways of 20 % each leave two thirds, of which sequencing drops what was overtaken
                assert len(set(arrived)) > (count / 5 if op_code == 101 else 0)
                # doubled on both ways at most
                assert max(arrived.count(number) for number in arrived) <= 4
        for event in receiver.packets:
            if event.op_code in (100, 101, 102):
                assert event.payload == bytes([number_of(event.data)])
    assert all(link.counts["lost"] and link.counts["doubled"] and link.counts["overtook"] for link in links)
    match.no_violations()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_uplink_reorders_or_doubles_the_server_puts_right(new_match: MakeMatch, seed: int) -> None:
    """Only the sender's way is bad, so what receivers see of a sequenced stream is the server's doing alone."""
    match = new_match(3)
    link = bad_link(match.driver, seed)
    sender = match.client("cpp", 1, pace=0.05, link=link)
    receivers = [match.client("cs", 2), match.client("js-wss", 3)]
    match.until_ready([sender, *receivers])
    for number in range(150):
        sender.send(102, Intent.SEQUENCED, data={1: ("long", number)}, payload=b"x")
        if number % 5 == 0:
            match.driver.step(0.001)
    settle(match, [link])
    for receiver in receivers:
        arrived = numbers(receiver, 102, 1)
        assert arrived == sorted(set(arrived)), "a stale or doubled packet was relayed"
        assert len(arrived) > 10
    assert match.server.counters(match.table)["dropped_stale"] > 0
    match.no_violations()


def test_a_link_without_faults_delivers_all_in_order() -> None:
    link = LossyLink(1)
    got: list[bytes] = []
    for number in range(50):
        link.carry(bytes([number]), 0.0, lambda datagram, now: got.append(datagram))
    assert got == []
    link.handle_timer(0.0)
    assert got == [bytes([number]) for number in range(50)]
    assert link.next_timer() is None


def test_the_same_seed_makes_the_same_link() -> None:
    def run(seed: int) -> list[tuple[float, bytes]]:
        link = LossyLink(seed, loss=0.3, duplicate=0.3, shortest_delay=0.001, longest_delay=0.02)
        got: list[tuple[float, bytes]] = []
        for number in range(100):
            link.carry(bytes([number]), number * 0.001, lambda datagram, now: got.append((now, datagram)))
        while (timer := link.next_timer()) is not None:
            link.handle_timer(timer)
        return got

    assert run(7) == run(7)
    assert run(7) != run(8)
    assert [datagram for _, datagram in run(7)] != sorted(datagram for _, datagram in run(7))


def test_a_client_whose_udp_dies_for_a_while_goes_on(new_match: MakeMatch) -> None:
    match = new_match(2)
    link = LossyLink(4)
    match.driver.add(link)
    double = make("cs", "flaky", match.server.host, match.server.port, match.token(1), link=link)
    match.driver.add(double)
    match.doubles.append(double)
    other = match.client("cpp", 2)
    match.until_ready([double, other])
    link.loss = 1.0
    for _ in range(10):
        other.send(100, Intent.UNRELIABLE, data={1: ("long", 1)})
        other.send(101, data={1: ("long", 1)})
    match.barrier()
    settle(match, [link])
    assert len(double.of_op_code(101)) == 10
    assert double.of_op_code(100) == []
    link.loss = 0.0
    other.send(102, Intent.UNRELIABLE, data={1: ("long", 1)})
    match.driver.run_until(lambda: bool(double.of_op_code(102)), "UDP again")
    match.no_violations()

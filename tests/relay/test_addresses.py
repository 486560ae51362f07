"""Who has which address: found among thousands, moved, given up; IPv4, IPv6, and both at one socket."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

import pytest

from gsrt._relay import Member, Room, format_address
from tests.relay.rig import Rig, packet

Rigs = Callable[..., Rig]


def four(host: str, port: int) -> bytes:
    """struct sockaddr_in."""
    return socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)


def six(host: str, port: int, scope: int = 0) -> bytes:
    """struct sockaddr_in6."""
    return (
        socket.AF_INET6.to_bytes(2, "little")
        + port.to_bytes(2, "big")
        + bytes(4)
        + socket.inet_pton(socket.AF_INET6, host)
        + scope.to_bytes(4, "little")
    )


def test_addresses_as_text() -> None:
    assert format_address(four("192.0.2.7", 8784)) == "192.0.2.7:8784"
    assert format_address(six("2001:db8::1", 1)) == "[2001:db8::1]:1"
    assert format_address(six("::ffff:192.0.2.7", 65535)) == "[::ffff:192.0.2.7]:65535"


def test_the_address_that_the_handler_is_given_is_the_sender_s(rig: Rig) -> None:
    post = rig.post()
    post.send(packet(0))
    ((address, body),) = rig.handler.datagrams
    host, port = post.socket.getsockname()
    assert address == four(host, port)
    assert format_address(address) == f"{host}:{port}"
    assert body == packet(0)[1:]


def test_thousands_of_addresses_come_and_go(rig: Rig) -> None:
    """Against a dict: after each step a sample is looked up by sending from it."""
    rooms = [Room(rig.relay) for _ in range(20)]
    members = [Member(room, number) for room in rooms for number in range(1, 256)]
    posts = [rig.post() for _ in range(24)]
    own = [four("127.0.0.1", post.socket.getsockname()[1]) for post in posts]
    chance = random.Random(11)
    pool = [four(f"10.{n >> 8 & 255}.{n & 255}.{n % 7}", 1024 + n * 13 % 60_000) for n in range(3000)] + own
    holders: dict[bytes, Member] = {}
    at: dict[int, bytes] = {}

    def release(member: Member) -> None:
        address = at.pop(id(member), None)
        if address is not None:
            del holders[address]

    for step in range(60_000):
        member = chance.choice(members)
        if chance.random() < 0.55:
            address = chance.choice(pool if step % 3 else own)
            if holders.get(address) is not member:
                release(member)
                if address in holders:
                    release(holders[address])
                holders[address] = member
                at[id(member)] = address
            member.bind(address)
        else:
            release(member)
            member.unbind()
        if step % 5000 == 0:
            assert sum(each.udp_bound for each in members) == len(holders)
            for address, post in zip(own, posts, strict=True):
                holder = holders.get(address)
                before = {} if holder is None else holder.room.counts()
                unknown = rig.drops().get("unknown_address", 0)
                post.send(packet(5))
                if holder is None:
                    assert rig.drops().get("unknown_address", 0) == unknown + 1
                else:
                    assert holder.room.counts()["packets_in"] == before.get("packets_in", 0) + 1
    assert {id(member) for member in members if member.udp_bound} == set(at)
    for member in members:
        member.unbind()
    for post in posts:
        unknown = rig.drops()["unknown_address"]
        post.send(packet(5))
        assert rig.drops()["unknown_address"] == unknown + 1


def test_an_address_that_another_peer_takes_over(rig: Rig) -> None:
    rig.join(1)
    rig.join(2)
    witness = rig.join(3)
    post = rig.post(1)
    post.send(packet(0, payload=b"2"), packet(5))
    rig.flush()
    assert [each.sender for each in witness.packets()] == [2]
    assert not rig.members[1].udp_bound
    assert not rig.members[1].udp_confirmed
    assert rig.members[2].udp_bound


def test_packets_behind_a_login_in_one_datagram_are_the_new_peer_s(rig: Rig) -> None:
    rig.join(1)
    rig.join(2)
    witness = rig.join(3)
    post = rig.post(1)
    post.send(packet(0, payload=b"2") + packet(5))
    rig.flush()
    assert [each.sender for each in witness.packets()] in ([2], [])


def test_a_peer_that_logs_in_again_from_its_address_stays_confirmed(rig: Rig) -> None:
    rig.join(1)
    post = rig.post(1)
    post.send(packet(0, payload=b"1"))
    assert rig.members[1].udp_confirmed


def test_what_waits_for_the_old_address_is_not_sent_to_the_new_one(rig: Rig) -> None:
    sender = rig.join(1)
    rig.join(2)
    old = rig.post(2)
    sender.put(packet(5, reliable=False))
    new = rig.post(2)
    sender.put(packet(6, reliable=False))
    rig.flush()
    assert [each.op_code for each in new.packets(1)] == [6]
    assert old.quiet()


def test_ports_and_hosts_are_told_apart(rig: Rig) -> None:
    """Addresses that differ in one bit."""
    base = ("10.1.2.3", 4000)
    addresses = [four(*base)]
    addresses += [four(base[0], base[1] ^ 1 << bit) for bit in range(16)]
    addresses += [four(f"{10 ^ 1 << bit}.1.2.3", base[1]) for bit in range(8)]
    addresses += [four(f"10.1.2.{3 ^ 1 << bit}", base[1]) for bit in range(8)]
    addresses += [
        six("::ffff:10.1.2.3", 4000),
        six("fe80::1", 4000, 1),
        six("fe80::1", 4000, 2),
        six("fe80::1", 4001, 1),
    ]
    members = [Member(rig.room, number) for number in range(100, 100 + len(addresses))]
    for member, address in zip(members, addresses, strict=True):
        member.bind(address)
    assert all(member.udp_bound for member in members)
    for member in members:
        member.unbind()


def dual_stack() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not dual_stack(), reason="this machine has no IPv6")
def test_both_families_at_one_socket(rigs: Rigs) -> None:
    rig = rigs(family=socket.AF_INET6)
    for number in (1, 2, 3):
        rig.join(number)
    by_four, by_six = rig.post(1, host="127.0.0.1"), rig.post(2, host="::1")
    third = rig.post(3, host="::1")
    names = [format_address(address) for address, _ in rig.handler.datagrams]
    assert names[0].startswith("[::ffff:127.0.0.1]:")
    assert names[1].startswith("[::1]:")
    by_four.send(packet(4))
    by_six.send(packet(6))
    rig.flush()
    assert [each.op_code for each in by_four.packets(1)] == [6]
    assert [each.op_code for each in by_six.packets(1)] == [4]
    assert [each.op_code for each in third.packets(1)] == [4, 6]


@pytest.mark.parametrize("address", [b"", b"\x02\x00", bytes(15), bytes(29), b"\x02\x00" + bytes(500)], ids=len)
def test_what_is_no_address_is_refused(rig: Rig, address: bytes) -> None:
    with pytest.raises(ValueError, match="address"):
        rig.members[1].bind(address)
    with pytest.raises(ValueError, match="address"):
        format_address(address)

"""Several datagrams for one player in one turn: one message to the kernel where it takes that, else one by one."""

from __future__ import annotations

import socket

import pytest

from tests.links.house import House

SO_NO_CHECK = 11  # socket(7) of Linux; with it the kernel refuses to cut messages into datagrams
LONG = bytes(range(256)) * 100


@pytest.mark.parametrize("refused", [False, True])
def test_all_of_them_arrive(house: House, refused: bool) -> None:
    if refused:
        house.udp.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    one, two = house.create("1", "2").players
    first, second = house.enter(one), house.enter(two)
    house.until_quiet()
    second.heard.clear()
    second.received.clear()
    first.send(1, LONG)
    for number in range(2, 60):
        first.send(number, b"x" * number)
    house.until_quiet()
    assert second.op_codes() == list(range(1, 60))
    assert house.relay.links is not None
    assert house.relay.links.segments is not refused
    assert house.relay.links.unsent == 0
    sizes = [len(datagram) for datagram in second.received]
    assert max(sizes) <= house.leg(two).datagram_bytes
    assert len(sizes) < 60

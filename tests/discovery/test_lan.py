"""Servers and those who look for them in a LAN of network namespaces, over the kernel's own sockets."""

from __future__ import annotations

import fcntl
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gsrt.client import Found, discover
from gsrt.client.discovery import ASKED_MAX, Road, Seeker, _seek
from gsrt.discovery import BEACON, BEACON_PORT, HERE, SEEK, Notice
from tests.discovery.lan import Host, Lan, udp_frame
from tests.support.network import SIOCSIFADDR, why_not
from tests.support.server import PROJECT, ServerProcess

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

PORT = 8784
OTHER_PORT = 9000
BEACON_SECONDS = 0.2
DEADLINE = 20.0

ADDRESSES = ("10.78.0.1", "10.78.0.2", "10.78.0.3", "10.78.0.4")


class LanServer(ServerProcess):
    """A server of a host."""

    def __init__(
        self,
        on: Host,
        name: str,
        port: int,
        *,
        certificate: tuple[str, str],
        host: str = "0.0.0.0",
        beacon_seconds: float = BEACON_SECONDS,
    ) -> None:
        self.host = host
        super().__init__(
            port=port,
            certificate=certificate,
            overrides={"beacon_seconds": beacon_seconds},
            arguments=("--name", name),
        )
        self.on = on

    def start(self) -> ServerProcess:
        with self.on.entered():
            return super().start()


@pytest.fixture
def lan() -> Iterator[Lan]:
    lan = Lan(*ADDRESSES)
    with lan:
        yield lan


Serve = Callable[..., ServerProcess]


@pytest.fixture
def serve(certificate: tuple[str, str]) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *how, **more: stack.enter_context(LanServer(*how, certificate=certificate, **more))


def look(on: Host, seconds: float = 0.5) -> list[Found]:
    with on.entered():
        return discover(seconds)


def look_for(on: Host, names: list[str]) -> list[Found]:
    """Looks until exactly those are there."""
    end = time.monotonic() + DEADLINE
    while True:
        found = look(on)
        if [each.name for each in found] == names:
            return found
        assert time.monotonic() < end, found


def test_two_servers_and_several_who_look_at_once(lan: Lan, serve: Serve) -> None:
    """One is at the usual port, one is known by its beacon only; those who look share the beacon's port."""
    first, second, *players = lan.hosts
    serve(first, "attic", PORT).create(3)
    serve(second, "barn", OTHER_PORT)
    command = [sys.executable, "-m", "gsrt", "discover", "--seconds", "2"]
    programs = [
        each.popen([*command, *more], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        for each, more in ((players[0], ("--json",)), (players[0], ()), (players[1], ("--json",)), (first, ("--json",)))
    ]
    outputs = [each.communicate(timeout=DEADLINE)[0] for each in programs]
    assert [each.returncode for each in programs] == [0] * 4
    for output in (outputs[0], outputs[2], outputs[3]):
        attic, barn = json.loads(output)["servers"]
        assert (attic["name"], attic["host"], attic["port"], attic["sessions"]) == ("attic", ADDRESSES[0], PORT, 1)
        assert (barn["name"], barn["host"], barn["port"], barn["game"]) == ("barn", ADDRESSES[1], OTHER_PORT, None)
    assert outputs[1].splitlines()[0].split() == ["server", "host", "port", "game", "players", "sessions", "version"]
    assert [line.split()[:3] for line in outputs[1].splitlines()[1:]] == [
        ["attic", ADDRESSES[0], str(PORT)],
        ["barn", ADDRESSES[1], str(OTHER_PORT)],
    ]


def test_an_interface_goes_and_comes_back(lan: Lan, serve: Serve) -> None:
    first, second, player, _ = lan.hosts
    serve(first, "attic", OTHER_PORT)
    server = serve(second, "barn", OTHER_PORT)
    look_for(player, ["attic", "barn"])
    second.set_device(up=False)
    look_for(player, ["attic"])
    second.set_device(up=True)
    look_for(player, ["attic", "barn"])
    assert server.log().count("beacon") == 0  # failures are counted at most


def test_a_cable_is_pulled_and_put_back(lan: Lan, serve: Serve) -> None:
    first, _, player, _ = lan.hosts
    serve(first, "attic", PORT)
    lan.unplugged.add(first)
    look_for(player, [])
    lan.unplugged.clear()
    look_for(player, ["attic"])


def test_who_looks_without_a_network(lan: Lan) -> None:
    *_, player = lan.hosts
    player.set_device(up=False)
    assert look(player, 0.3) == []


def test_a_server_of_one_address_is_known_by_its_beacon(lan: Lan, serve: Serve) -> None:
    first, _, player, _ = lan.hosts
    serve(first, "attic", PORT, host=ADDRESSES[0])
    (found,) = look_for(player, ["attic"])
    assert (found.host, found.port) == (ADDRESSES[0], PORT)


def test_a_server_of_this_machine_only(lan: Lan, serve: Serve) -> None:
    first, _, player, _ = lan.hosts
    server = serve(first, "attic", PORT, host="127.0.0.1")
    (found,) = look_for(first, ["attic"])
    assert found.host == "127.0.0.1"
    assert look(player) == []
    assert server.counters()["beacons"] == 0


def test_without_a_beacon_questions_are_answered(lan: Lan, serve: Serve) -> None:
    first, _, player, _ = lan.hosts
    server = serve(first, "attic", PORT, beacon_seconds=0)
    look_for(player, ["attic"])
    assert server.counters()["seeks"] > 0
    assert server.counters()["beacons"] == 0


def test_by_ipv6(lan: Lan, serve: Serve) -> None:
    """A server of all addresses of both kinds tells its beacon by both; of the two that it is found by, IPv4 is shown.
    One of an IPv6 address is found by that."""
    first, second, player, _ = lan.hosts
    for number, each in enumerate((first, second, player), 1):
        with each.entered():
            settings = Path("/proc/sys/net/ipv6/conf/bad0")
            (settings / "accept_dad").write_text("0")
            (settings / "disable_ipv6").write_text("0")
            add_address(f"fd00::{number}")
    serve(first, "attic", OTHER_PORT, host="::")
    serve(second, "barn", OTHER_PORT, host="fd00::2")
    attic, barn = look_for(player, ["attic", "barn"])
    assert (attic.host, barn.host) == (ADDRESSES[0], "fd00::2")
    end = time.monotonic() + DEADLINE
    while len(by_ipv6 := seek_by(player, socket.AF_INET6, PORT, 0.5).found()) < 2:
        assert time.monotonic() < end
    assert [(each.name, each.host.partition("%")[2]) for each in by_ipv6] == [("attic", "bad0"), ("barn", "")]


def add_address(address: str) -> None:
    """To this thread's network interface: ipv6(7), netdevice(7)."""
    request = struct.pack("=16sIi", socket.inet_pton(socket.AF_INET6, address), 64, socket.if_nametoindex("bad0"))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFADDR, request)


def seek_by(on: Host, family: socket.AddressFamily, port: int, seconds: float) -> Seeker:
    """What one who looks by addresses of one family only, and asks at this port, has found out."""
    with on.entered():
        seeker, road = Seeker(bytes(8)), Road(family, port)
        try:
            _seek(seeker, [road], seconds)
        finally:
            road.close()
    return seeker


def test_a_flood_of_strange_beacons_lists_nothing_and_hides_nobody(lan: Lan, serve: Serve) -> None:
    first, _, player, _ = lan.hosts
    serve(first, "attic", OTHER_PORT)
    chance = random.Random(7)
    over = threading.Event()

    def flood() -> None:
        number = 0
        while not over.is_set() and number < 200_000:
            number += 1
            source = f"10.78.{chance.choice((0, 0, 99))}.{chance.randrange(5, 255)}"
            if number % 3:
                strange = Notice(
                    nonce=bytes(8),
                    server=chance.randbytes(8),
                    port=chance.randrange(1, 65536),
                    sessions=1,
                    players=1,
                    version="9",
                    name=f"trap {number}",
                    game=None,
                ).to_bytes(chance.choice((SEEK, HERE, BEACON)))
            else:
                strange = chance.randbytes(chance.randrange(1, 1400))
            lan.put(udp_frame(source, 4000, BEACON_PORT, strange), to=player)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        end = time.monotonic() + DEADLINE
        while True:
            seeker = seek_by(player, socket.AF_INET, OTHER_PORT, 1.0)
            names = [each.name for each in seeker.found()]
            assert names in ([], ["attic"])
            if names and len(seeker._asked) == ASKED_MAX:  # strange ones have come, and more than that
                break
            assert time.monotonic() < end
    finally:
        over.set()
        thread.join()

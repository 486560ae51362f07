"""The C example looks for servers, in a LAN of network namespaces."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gsrt import DEFAULT_PORT
from gsrt.discovery import BEACON, BEACON_PORT, HERE, Notice, is_seek
from tests.discovery.lan import Host, Lan
from tests.link import c_client
from tests.support.network import why_not
from tests.support.program import Program
from tests.support.server import PROJECT, ServerProcess

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

OTHER_PORT = 9000
ADDRESSES = ("10.79.0.1", "10.79.0.2", "10.79.0.3")
ASKED_MAX = 64  # addresses that the example asks because of their beacons
ASKED_TIMES = 2
DEADLINE = 20.0


class LanServer(ServerProcess):
    """A server that others can reach, with a beacon each 0.2 s."""

    host = "0.0.0.0"

    def __init__(self, certificate: tuple[str, str], port: int, *arguments: str) -> None:
        super().__init__(port=port, certificate=certificate, overrides={"beacon_seconds": 0.2}, arguments=arguments)


class LocalServer(LanServer):
    """A server of its machine only."""

    host = "127.0.0.1"


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    with Lan(*ADDRESSES) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("example")
    subprocess.run(["make", "-s", "-C", str(c_client.SOURCES), f"BUILD={directory}"], check=True)
    return str(directory / "gsrt_example")


def start(stack: ExitStack, server: ServerProcess, on: Host) -> ServerProcess:
    with on.entered():
        return stack.enter_context(server)


def looking(example: str, on: Host) -> subprocess.Popen[str]:
    process: subprocess.Popen[str] = on.popen(
        [example], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    return process


def told(process: subprocess.Popen[str]) -> tuple[list[str], int]:
    """The lines it has printed, sorted, and its exit status."""
    lines, _ = process.communicate(timeout=DEADLINE)
    return sorted(lines.splitlines()), process.returncode


def test_servers_are_found_and_joined(
    example: str, hosts: list[Host], certificate: tuple[str, str], tmp_path: Path
) -> None:
    """One is at the usual port, one is known by its beacon only; those who look on one machine share the beacon's
    port; a server's own machine shows the address that others reach it by."""
    first, second, player = hosts
    game = tmp_path / "duel"
    subprocess.run([sys.executable, "-m", "gsrt", "new", str(game)], cwd=PROJECT, check=True, capture_output=True)
    with ExitStack() as stack:
        attic = start(stack, LanServer(certificate, DEFAULT_PORT, str(game), "--name", "Dachboden ☂"), first)
        start(stack, LanServer(certificate, OTHER_PORT, "--name", "barn"), second)
        words = [example, ADDRESSES[0], str(DEFAULT_PORT), attic.create(2).seats[0].token]
        with player.entered():
            joined = Program(words, tmp_path, dict(os.environ))
        stack.callback(joined.end)
        joined.expect("in, as peer 1")
        for process in [looking(example, each) for each in (player, player, first)]:
            lines, status = told(process)
            assert lines == [
                f"{ADDRESSES[0]} {DEFAULT_PORT}  Dachboden ☂ (duel)  1 players",
                f"{ADDRESSES[1]} {OTHER_PORT}  barn  0 players",
            ]
            assert status == 0
        joined.end_input()
        assert joined.status() == 0


def test_without_the_beacons_port_and_without_a_network(
    example: str, hosts: list[Host], certificate: tuple[str, str]
) -> None:
    """Another program keeps it for itself. What is on the machine is found all the same."""
    first, *_ = hosts
    with ExitStack() as stack:
        kept = stack.enter_context(first.socket(socket.SOCK_DGRAM))
        kept.bind(("", BEACON_PORT))
        first.set_device(up=False)
        start(stack, LocalServer(certificate, DEFAULT_PORT, "--name", "attic"), first)
        assert told(looking(example, first)) == ([f"127.0.0.1 {DEFAULT_PORT}  attic  0 players"], 0)


def notice(kind: int, nonce: bytes, port: int, number: int) -> bytes:
    server, name = number.to_bytes(8, "big"), f"trap {number}"
    said = Notice(nonce=nonce, server=server, port=port, sessions=0, players=0, version="1", name=name, game=None)
    return said.to_bytes(kind)


@pytest.mark.parametrize("honest", [False, True])
def test_a_crowd_of_beacons(example: str, hosts: list[Host], honest: bool) -> None:
    """However often they come, so many addresses are asked so many times. Who answers without the nonce is not listed;
    a server that answers by two ports is listed once."""
    crowd, _, player = hosts
    with ExitStack() as stack:
        mouths = [stack.enter_context(crowd.socket(socket.SOCK_DGRAM)) for _ in range(ASKED_MAX + 36)]
        asked = dict.fromkeys(mouths, 0)
        for number, each in enumerate(mouths):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            each.bind((ADDRESSES[0], OTHER_PORT + number))
        process = looking(example, player)
        stack.callback(process.kill)
        end = time.monotonic() + DEADLINE
        while process.poll() is None:
            assert time.monotonic() < end
            for number, each in enumerate(mouths):
                each.sendto(notice(BEACON, bytes(8), OTHER_PORT + number, number), ("10.79.0.255", BEACON_PORT))
            for each in select.select(mouths, [], [], 0.02)[0]:
                question, asker = each.recvfrom(2048)
                assert is_seek(question) and asker[0] == ADDRESSES[2]
                asked[each] += 1
                nonce = question[4:12] if honest else bytes(8)
                port = each.getsockname()[1]
                each.sendto(notice(HERE, nonce, 1, port // 2), asker)  # at port 1 it says; where it is from counts
        lines, status = told(process)
        assert sum(count > 0 for count in asked.values()) == ASKED_MAX
        assert max(asked.values()) <= ASKED_TIMES
        if not honest:
            assert (lines, status) == ([], 1)
            return
        found = [line.split() for line in lines]  # host, port, "trap", number, "0", "players"
        assert found and len({number for _, _, _, number, *_ in found}) == len(found)
        assert all(host == ADDRESSES[0] and int(port) // 2 == int(number) for host, port, _, number, *_ in found)
        assert status == 0

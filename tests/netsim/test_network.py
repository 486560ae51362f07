"""The network namespaces that real-time tests and benchmarks stand on: delays are kept, nothing is dropped unasked."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import network
from tests.support.network import DEADLINE, Namespace, Network

PORT = 7000


@pytest.fixture(scope="module", autouse=True)
def _possible_here() -> None:
    if reason := network.why_not():
        pytest.skip(reason)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A bound UDP socket on either side of `Network("delay=30ms")`."""
    with Network("delay=30ms") as bad, datagrams(bad.left) as left, datagrams(bad.right) as right:
        yield left, right


def datagrams(namespace: Namespace) -> socket.socket:
    found = namespace.socket(socket.SOCK_DGRAM)
    found.bind((namespace.address, PORT))
    found.settimeout(DEADLINE)
    return found


def test_a_round_trip_takes_the_delay_of_both_ways(ends: tuple[socket.socket, socket.socket]) -> None:
    left, right = ends
    for _ in range(10):
        started = time.monotonic()
        left.sendto(b"ping", right.getsockname())
        _, sender = right.recvfrom(10)
        right.sendto(b"pong", sender)
        assert left.recv(10) == b"pong"
        assert time.monotonic() - started >= 0.06


def test_only_the_conditions_drop_and_they_can_change() -> None:
    with Network("", "loss=100%", seed=3) as bad, datagrams(bad.left) as left, datagrams(bad.right) as right:
        for number in range(2_000):
            left.sendto(number.to_bytes(2, "big"), right.getsockname())
            if number % 50 == 49:  # so many fit the buffer of the receiving socket
                got = [int.from_bytes(right.recv(10), "big") for _ in range(50)]
                assert got == list(range(number - 49, number + 1))
        right.sendto(b"lost", left.getsockname())
        bad.change("loss=100%", "")
        right.sendto(b"not lost", left.getsockname())
        assert left.recv(10) == b"not lost"
        left.sendto(b"lost", right.getsockname())
        end = time.monotonic() + DEADLINE
        while not (counters := bad.counters())["right"]["lost"]:
            assert time.monotonic() < end
        assert (counters["right"]["delivered"], counters["right"]["lost"]) == (2_000, 1)
        assert counters["left"]["lost"] <= 1  # the first may have met the new conditions
        assert (bad.left.dropped(), bad.right.dropped()) == (0, 0)


def test_commands_run_on_their_side_and_tcp_gets_through_losses(tmp_path: Path) -> None:
    program = (
        "import socket\n"
        f"with socket.create_server(({network.RIGHT_ADDRESS!r}, {PORT})) as server:\n"
        "    print('listening', flush=True)\n"
        f"    server.settimeout({DEADLINE})\n"
        "    connection, _ = server.accept()\n"
        "    with connection:\n"
        "        while chunk := connection.recv(65536): connection.sendall(chunk)\n"
    )
    with Network("loss=2% delay=2ms", seed=5) as bad:
        server = bad.right.popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path)
        try:
            assert server.stdout is not None and server.stdout.readline() == b"listening\n"
            client = (
                "import socket, sys\n"
                f"stream = socket.create_connection(({network.RIGHT_ADDRESS!r}, {PORT}), {DEADLINE})\n"
                "stream.sendall(bytes(20000)); stream.shutdown(socket.SHUT_WR)\n"
                "got = 0\n"
                "while chunk := stream.recv(65536): got += len(chunk)\n"
                "print(got)\n"
            )
            done = bad.left.run([sys.executable, "-c", client], DEADLINE, capture_output=True, check=True)
            assert done.stdout == b"20000\n"
            assert server.wait(DEADLINE) == 0
        finally:
            server.kill()
            server.wait()
            assert server.stdout is not None
            server.stdout.close()


def test_what_is_corrupted_does_not_arrive_and_harms_nobody() -> None:
    with Network("corrupt=100%", seed=2) as bad, datagrams(bad.left) as left, datagrams(bad.right) as right:
        for number in range(300):
            left.sendto(number.to_bytes(2, "big"), right.getsockname())
        end = time.monotonic() + DEADLINE
        while (counters := bad.counters())["right"]["delivered"] < 300:
            assert time.monotonic() < end
        assert (counters["right"]["corrupted"], counters["forwarder"]["refused"] > 0) == (300, True)
        bad.change("")
        left.sendto(b"whole", right.getsockname())
        assert right.recv(10) == b"whole"


def test_a_thread_comes_back_to_where_it_was_whatever_happens() -> None:
    before = own_namespace()
    with Namespace("10.77.0.9") as namespace:
        with pytest.raises(KeyError), namespace.entered():
            assert own_namespace() != before
            raise KeyError
        assert own_namespace() == before


def own_namespace() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def test_nothing_is_left(tmp_path: Path) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with Network("") as bad:
        forwarder = bad._forwarder
    assert forwarder.returncode == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors

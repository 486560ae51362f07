"""The proxy between real sockets on the loopback address."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from gsrt.netsim.model import Conditions
from gsrt.netsim.proxy import STREAM_BYTES_MAX, Proxy, describe_statistics
from tests.netsim.echo import DEADLINE, HOST, Echo
from tests.support.server import free_port

MakeProxy = Callable[..., Proxy]


@pytest.fixture
def new_proxy(echo: Echo) -> Iterator[MakeProxy]:
    """Makes proxies before the echo server, which close with the test."""
    proxies: list[Proxy] = []

    def make(up: str = "", down: str | None = None, seed: int = 1, port: int | None = None, **limits: float) -> Proxy:
        conditions = Conditions.parse(up), Conditions.parse(up if down is None else down)
        proxies.append(Proxy((HOST, 0), (HOST, port or echo.port), *conditions, seed, **limits))  # type: ignore[arg-type]
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


Connect = Callable[..., socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes sockets that are connected to a proxy and do not block."""
    sockets: list[socket.socket] = []

    def make(proxy: Proxy, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
        client = socket.socket(socket.AF_INET, kind)
        client.settimeout(DEADLINE)
        client.connect(proxy.address)
        client.setblocking(False)
        sockets.append(client)
        return client

    yield make
    for each in sockets:
        each.close()


def run_until(proxy: Proxy, condition: Callable[[], object]) -> None:
    """Lets the proxy work until the condition is true."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"it never came true; {describe_statistics(proxy.statistics())}"
        proxy.run(0.002)


def received(client: socket.socket, into: list[bytes]) -> list[bytes]:
    """What has come for a client is added to the list."""
    try:
        while (datagram := client.recv(65_536)) or client.type == socket.SOCK_DGRAM:
            into.append(datagram)
        into.append(b"")  # the end of a stream
    except BlockingIOError:
        pass
    return into


def test_datagrams_come_and_go(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy()
    client = connect(proxy)
    sent = [b"", b"one", bytes(65_000)]
    for datagram in sent:
        client.send(datagram)
    got: list[bytes] = []
    run_until(proxy, lambda: len(received(client, got)) == 3)
    assert got == sent
    up = proxy.statistics()["up"]
    assert (up["sent"], up["delivered"], proxy.statistics()["proxy"]["clients"]) == (3, 3, 1)


def test_every_client_has_an_address_of_its_own_at_the_server(
    new_proxy: MakeProxy, connect: Connect, echo: Echo
) -> None:
    proxy = new_proxy()
    clients = [connect(proxy) for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(bytes([number]))
    for number, client in enumerate(clients):
        got: list[bytes] = []
        run_until(proxy, lambda client=client, got=got: received(client, got))  # type: ignore[misc]
        assert got == [bytes([number])]
    assert len(echo.peers) == 5
    assert {peer[1] for peer in echo.peers}.isdisjoint(client.getsockname()[1] for client in clients)


def test_directions_are_independent(new_proxy: MakeProxy, connect: Connect, echo: Echo) -> None:
    proxy = new_proxy("", "loss=100%")
    client = connect(proxy)
    client.send(b"to nobody")
    run_until(proxy, lambda: proxy.statistics()["down"]["lost"])
    statistics = proxy.statistics()
    assert (statistics["up"]["delivered"], statistics["down"]["delivered"]) == (1, 0)


def test_delay_is_the_least_that_a_round_trip_takes(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy("delay=40ms", "delay=20ms")
    client = connect(proxy)
    started = time.monotonic()
    client.send(b"there and back")
    got: list[bytes] = []
    run_until(proxy, lambda: received(client, got))
    assert time.monotonic() - started >= 0.06


def test_the_seed_decides_what_is_lost(new_proxy: MakeProxy, connect: Connect) -> None:
    """The same for the first client of each proxy, whatever the time; and another for another seed."""

    def arrived(seed: int) -> list[bytes]:
        proxy = new_proxy("loss=50%", "", seed)
        client = connect(proxy)
        for number in range(100):
            client.send(bytes([number]))
        run_until(proxy, lambda: proxy.statistics()["up"]["sent"] == 100)
        got: list[bytes] = []
        run_until(proxy, lambda: len(received(client, got)) == proxy.statistics()["up"]["delivered"])
        return got

    first = arrived(7)
    assert 20 < len(first) < 80
    assert arrived(7) == first
    assert arrived(8) != first


def test_clients_are_bounded_and_idle_ones_forgotten(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy(clients_max=2, idle_seconds=0.1)
    first, second, third = (connect(proxy) for _ in range(3))
    for client in (first, second, third):
        client.send(b"hello")
    run_until(proxy, lambda: proxy.refused == 1)
    run_until(proxy, lambda: proxy.statistics()["proxy"]["clients"] == 0)
    third.send(b"again")
    got: list[bytes] = []
    run_until(proxy, lambda: received(third, got))
    assert proxy.statistics()["up"]["sent"] == 3  # of those forgotten, too


def test_a_client_is_not_forgotten_while_something_is_under_way_for_it(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy("", "delay=300ms", idle_seconds=0.02)
    client = connect(proxy)
    client.send(b"patience")
    got: list[bytes] = []
    run_until(proxy, lambda: received(client, got))
    assert got == [b"patience"]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_where_no_server_is_it_goes_on(new_proxy: MakeProxy, connect: Connect, kind: socket.SocketKind) -> None:
    proxy = new_proxy(port=free_port())
    client = connect(proxy, kind)
    client.send(b"anybody?")
    run_until(proxy, lambda: proxy.unreachable)
    run_until(proxy, lambda: proxy.statistics()["proxy"]["connections"] == 0)


def test_streams_pass_through_whole_and_in_order(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy("loss=50% duplicate=50% corrupt=50% jitter=3ms reorder=50% jitter_reorders=yes blackout=1s/1s")
    client = connect(proxy, socket.SOCK_STREAM)
    sent = b"".join(number.to_bytes(4, "big") for number in range(50_000))
    waiting = bytearray(sent)
    got: list[bytes] = []

    def exchange() -> bool:
        try:
            while waiting:
                del waiting[: client.send(waiting[:65_536])]
        except BlockingIOError:
            pass
        return len(b"".join(received(client, got))) == len(sent)

    run_until(proxy, exchange)
    assert b"".join(got) == sent
    client.shutdown(socket.SHUT_WR)
    run_until(proxy, lambda: received(client, got)[-1] == b"")
    run_until(proxy, lambda: proxy.statistics()["proxy"]["connections"] == 0)
    assert proxy.statistics()["tcp"] == {"up": len(sent), "down": len(sent)}


def test_a_stream_has_the_delay_of_its_direction(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy("delay=40ms", "delay=20ms")
    client = connect(proxy, socket.SOCK_STREAM)
    started = time.monotonic()
    client.send(b"there and back")
    got: list[bytes] = []
    run_until(proxy, lambda: received(client, got))
    assert time.monotonic() - started >= 0.06


def test_a_stream_has_the_rate_of_its_direction(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy("rate=400kbit", "")
    client = connect(proxy, socket.SOCK_STREAM)
    started = time.monotonic()
    client.send(bytes(10_000))
    got: list[bytes] = []
    run_until(proxy, lambda: len(b"".join(received(client, got))) == 10_000)
    assert time.monotonic() - started >= 0.19


def test_a_stream_is_not_read_faster_than_it_is_passed_on(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy("rate=1mbit", "")
    client = connect(proxy, socket.SOCK_STREAM)
    sent = 0

    def blocked() -> bool:
        nonlocal sent
        try:
            while True:
                sent += client.send(bytes(65_536))
        except BlockingIOError:
            return True

    run_until(proxy, lambda: blocked() and proxy.statistics()["tcp"]["up"] > 20_000)
    (connection,) = proxy._connections
    assert connection.up._under_way <= STREAM_BYTES_MAX + 1_400


def test_a_connection_that_breaks_breaks_on_the_other_side(new_proxy: MakeProxy, connect: Connect) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind((HOST, 0))
        server.listen()
        proxy = new_proxy(port=server.getsockname()[1])
        client = connect(proxy, socket.SOCK_STREAM)
        run_until(proxy, lambda: proxy.statistics()["proxy"]["connections"])
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        run_until(proxy, lambda: proxy.statistics()["proxy"]["connections"] == 0)
        client.settimeout(DEADLINE)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_each_side_may_end_its_direction_first(new_proxy: MakeProxy, connect: Connect) -> None:
    """The server says all it has to say before the client does; the end of it arrives, and the client goes on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind((HOST, 0))
        server.listen()
        proxy = new_proxy("delay=5ms", port=server.getsockname()[1])
        client = connect(proxy, socket.SOCK_STREAM)
        run_until(proxy, lambda: proxy.statistics()["proxy"]["connections"])
        accepted, _ = server.accept()
        with accepted:
            accepted.setblocking(False)
            accepted.send(b"goodbye")
            accepted.shutdown(socket.SHUT_WR)
            heard: list[bytes] = []
            run_until(proxy, lambda: received(client, heard)[-1:] == [b""])
            assert heard == [b"goodbye", b""]
            client.send(b"wait")
            client.shutdown(socket.SHUT_WR)
            said: list[bytes] = []
            run_until(proxy, lambda: received(accepted, said)[-1:] == [b""])
            assert said == [b"wait", b""]
        run_until(proxy, lambda: proxy.statistics()["proxy"]["connections"] == 0)


def test_what_is_under_way_when_a_connection_breaks_is_nobodys(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy("delay=50ms", "")
    client = connect(proxy, socket.SOCK_STREAM)
    client.send(bytes(20_000))
    run_until(proxy, lambda: any(each.up._under_way for each in proxy._connections))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    run_until(proxy, lambda: proxy.statistics()["proxy"]["connections"] == 0)
    assert proxy.timers.next() is None


def test_names_are_found(echo: Echo, connect: Connect) -> None:
    proxy = Proxy(("localhost", 0), ("localhost", echo.port), Conditions(), Conditions(), 0)
    try:
        client = connect(proxy)
        client.send(b"localhost")
        got: list[bytes] = []
        run_until(proxy, lambda: received(client, got))
        assert got == [b"localhost"]
    finally:
        proxy.close()


def test_connections_are_bounded(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy(connections_max=1)
    first = connect(proxy, socket.SOCK_STREAM)
    run_until(proxy, lambda: proxy.statistics()["proxy"]["connections"] == 1)
    second = connect(proxy, socket.SOCK_STREAM)
    got: list[bytes] = []
    run_until(proxy, lambda: received(second, got))
    assert (got, proxy.refused) == ([b""], 1)
    first.send(b"still here")
    run_until(proxy, lambda: received(first, got)[-1] == b"still here")


@pytest.mark.parametrize(("kind", "stands_for"), [(socket.SOCK_DGRAM, "Client"), (socket.SOCK_STREAM, "Connection")])
def test_where_the_system_has_no_more_sockets_it_goes_on(
    new_proxy: MakeProxy,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    kind: socket.SocketKind,
    stands_for: str,
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    proxy = new_proxy()
    with monkeypatch.context() as patched:
        patched.setattr(f"gsrt.netsim.proxy.{stands_for}", none_left)
        connect(proxy, kind).send(b"one too many")
        run_until(proxy, lambda: proxy.refused)
    client = connect(proxy, kind)
    client.send(b"room again")
    got: list[bytes] = []
    run_until(proxy, lambda: received(client, got))
    assert got == [b"room again"]


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(echo: Echo) -> None:
    with pytest.raises(OSError, match="in use"):
        Proxy((HOST, echo.port), (HOST, 1), Conditions(), Conditions(), 0)


def test_statistics_leave_out_what_never_happened(new_proxy: MakeProxy, connect: Connect) -> None:
    proxy = new_proxy("", "loss=100%")
    assert describe_statistics(proxy.statistics()) == "nothing has come yet"
    connect(proxy).send(b"x")
    run_until(proxy, lambda: proxy.statistics()["down"]["lost"])
    assert describe_statistics(proxy.statistics()) == "up: sent 1, delivered 1; down: sent 1, lost 1; proxy: clients 1"


def test_listener_and_server_may_speak_different_versions_of_ip(echo: Echo, connect: Connect) -> None:
    try:
        proxy = Proxy(("::1", 0), (HOST, echo.port), Conditions(), Conditions(), 0)
    except OSError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.connect(proxy.address)
            client.setblocking(False)
            client.send(b"six and four")
            got: list[bytes] = []
            run_until(proxy, lambda: received(client, got))
            assert got == [b"six and four"]
    finally:
        proxy.close()

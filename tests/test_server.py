"""The loop on its real sockets, turned by hand: one port, accepting, limits on connections and descriptors, its end."""

from __future__ import annotations

import gc
import io
import os
import resource
import select
import socket
import struct
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

import pytest

from gsrt.accepting import raise_descriptor_limit
from gsrt.cli.serve import Options
from gsrt.log import Log
from gsrt.server import Server
from gsrt.session import READY, Player
from gsrt.transports.control import ControlError
from gsrt.transports.port import (
    IP_MTU_DISCOVER,
    IPV6_MTU_DISCOVER,
    PMTUDISC_PROBE,
    PortError,
    bind_port,
    forbid_fragments,
)
from gsrt.worker import WorkerError
from tests.relay.floor import login
from tests.relay.rig import DEADLINE, GENERIC, packet
from tests.support import wire


class House:
    """A server in this process and clients beside it."""

    def __init__(self, directory: Path, *, host: str = "127.0.0.1", **limits: float) -> None:
        profile = directory / "test.toml"
        # No governor: the memory of this process is that of all tests.
        values = tomllib.loads(GENERIC.read_text()) | {"grace_seconds": 0.05, "governor_seconds": 0} | limits
        profile.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
        self.log = io.StringIO()
        self.control_path = str(directory / "control.sock")
        self.server = Server(
            Options(
                control=self.control_path,
                state_dir=str(directory / "state"),
                host=host,
                port=0,
                profile=str(profile),
            ),
            Log(self.log, time.monotonic),
        )
        self.host = host
        self.sockets: list[socket.socket] = []
        self.closed = False

    def dial(self, host: str | None = None) -> socket.socket:
        connection = socket.create_connection((host or self.host, self.server.port), timeout=DEADLINE)
        connection.setblocking(False)
        self.sockets.append(connection)
        return connection

    def post(self, host: str | None = None) -> socket.socket:
        host = host or self.host
        datagrams = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.connect((host, self.server.port))
        datagrams.setblocking(False)
        self.sockets.append(datagrams)
        return datagrams

    def turn(self) -> None:
        """One turn of the loop, which does not wait long."""
        self.server.timers.set(self.server.clock() + 0.002, lambda now: None)
        self.server._turn()

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"it has not come about:\n{self.log.getvalue()}"
            self.turn()

    def read(self, connection: socket.socket, size: int = 1) -> bytes:
        """At least that many bytes; b"" where the other side has closed first."""
        got = b""

        def enough() -> bool:
            nonlocal got
            try:
                piece = connection.recv(65536)
            except BlockingIOError:
                return False
            got += piece
            return not piece or len(got) >= size

        self.until(enough)
        return got

    def ended(self, connection: socket.socket) -> bool:
        """Whether the server has closed it."""
        try:
            return connection.recv(65536) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def counters(self) -> dict[str, int]:
        return self.server.reception.counters

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.server.close()
        for each in self.sockets:
            each.close()

    def __enter__(self) -> House:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[Callable[..., House]]:
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(House(tmp_path, **how))


@pytest.fixture
def house(houses: Callable[..., House]) -> House:
    return houses()


def is_ready(player: Player) -> bool:
    return player.state == READY


# the port


def test_one_number_for_both() -> None:
    listener, datagrams = bind_port("127.0.0.1", 0)
    with listener, datagrams:
        assert listener.getsockname() == datagrams.getsockname()
        assert not listener.getblocking()
        assert not datagrams.getblocking()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def test_a_port_in_use_says_which_and_what_to_do(kind: socket.SocketKind) -> None:
    address = "127.9.8.7"  # where nobody else takes the number that is given back
    listener, datagrams = bind_port(address, 0)  # a number that is free for both; then one of them gives way
    taken, other = (listener, datagrams) if kind == socket.SOCK_STREAM else (datagrams, listener)
    other.close()
    with taken:
        port = taken.getsockname()[1]
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(PortError, match=f"{'TCP' if kind == socket.SOCK_STREAM else 'UDP'} port {port} is in use"):
            bind_port(address, port)
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(PortError, match=r"no address of this machine|cannot listen"):
        bind_port(host, 0)


def test_the_descriptor_limit_is_raised_as_far_as_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        wanted = min(300, hard if hard != resource.RLIM_INFINITY else 300)
        assert raise_descriptor_limit(wanted) == wanted
        assert raise_descriptor_limit(10) == wanted
        if hard != resource.RLIM_INFINITY:
            assert raise_descriptor_limit(hard + 1000) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# what comes in


def test_a_whole_session_through_one_port(house: House) -> None:
    players = house.server.sessions.create(["red", "blue"], house.server.clock()).players
    lines = [house.dial() for _ in players]
    for player, line in zip(players, lines, strict=True):
        line.sendall(login(player.access_token) + packet(-7))
    house.until(lambda: all(player.state == READY for player in players))
    post = house.post()
    post.send(login(players[1].reconnect_token))
    assert house.read(post) == b"\x04\x08\x09\x7a\x00"
    lines[1].sendall(packet(-5))
    house.until(lambda: players[1].member.udp_confirmed)
    lines[0].sendall(packet(5, reliable=False, payload=b"hi"))
    (body,) = wire.datagram_frames(house.read(post))
    assert (wire.decode_packet(body).op_code, wire.decode_packet(body).sender) == (5, 1)
    lines[1].close()
    house.until(lambda: players[1].state == "gone")


def test_a_page(house: House) -> None:
    line = house.dial()
    line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert house.read(line, 60).endswith(b"ok\n")


def test_connections_keep_the_profile_s_times(houses: Callable[..., House]) -> None:
    house = houses(
        keepalive_idle_seconds=11, keepalive_interval_seconds=6, keepalive_probes=4, user_timeout_seconds=26.5
    )
    house.dial()
    house.until(lambda: house.server.relay.streams)
    (descriptor,) = house.server.relay.streams
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        options = (
            socket.TCP_NODELAY,
            socket.TCP_KEEPIDLE,
            socket.TCP_KEEPINTVL,
            socket.TCP_KEEPCNT,
            socket.TCP_USER_TIMEOUT,
        )
        values = [copy.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert values[0] != 0
        assert values[1:] == [11, 6, 4, 26500]
        assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0


def test_a_connection_that_is_reset_before_it_is_accepted(house: House) -> None:
    line = house.dial()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()
    other = house.dial()
    other.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert house.read(other, 60).endswith(b"ok\n")
    house.until(lambda: len(house.server.relay.streams) <= 1)


def has_both_families() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_both_families(), reason="this machine has no IPv6")
def test_both_families_at_one_port(houses: Callable[..., House]) -> None:
    house = houses(host="::")
    players = house.server.sessions.create(["red", "blue"], house.server.clock()).players
    for host, player in (("::1", players[0]), ("127.0.0.1", players[1])):
        line, post = house.dial(host), house.post(host)
        line.sendall(login(player.access_token))
        house.until(partial(getattr, player, "stream"))
        post.send(login(player.reconnect_token))
        assert house.read(post) == b"\x04\x08\x09\x7a\x00"


# limits


def test_connections_max_one_that_waits_gives_way(houses: Callable[..., House]) -> None:
    house = houses(connections_max=4, pending_connections_max=4, pending_per_address_max=4)
    lines = [house.dial() for _ in range(6)]
    house.until(lambda: house.counters()["connections_accepted"] == 6)
    assert len(house.server.relay.streams) == 4
    assert [house.ended(line) for line in lines] == [True, True, False, False, False, False]


def test_connections_max_when_all_are_players(houses: Callable[..., House]) -> None:
    house = houses(connections_max=2, pending_connections_max=2, pending_per_address_max=2)
    players = house.server.sessions.create(["red", "blue", "green"], house.server.clock()).players
    lines = []
    for player in players[:2]:
        lines.append(house.dial())
        lines[-1].sendall(login(player.access_token) + packet(-7))
        house.until(partial(is_ready, player))
    late = house.dial()
    house.until(lambda: house.ended(late))
    assert house.counters()["connections_refused_full"] == 1
    assert [player.state for player in players[:2]] == [READY, READY]
    lines[0].close()
    house.until(lambda: players[0].state == "gone")
    again = house.dial()
    again.sendall(login(players[2].access_token) + packet(-7))
    house.until(lambda: players[2].state == READY)


def test_out_of_descriptors(house: House) -> None:
    """A new connection is refused or takes the place of one that waits; players go on; later all is well again."""
    players = house.server.sessions.create(["red", "blue"], house.server.clock()).players
    seats = [house.dial() for _ in players]
    for player, line in zip(players, seats, strict=True):
        line.sendall(login(player.access_token) + packet(-7))
    house.until(lambda: all(player.state == READY for player in players))
    crowd = [socket.socket() for _ in range(3)]
    house.sockets += crowd
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    fillers = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, hard))
        while True:
            try:
                fillers.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for each in crowd:
            each.settimeout(DEADLINE)
            each.connect((house.host, house.server.port))
            each.setblocking(False)
        house.until(lambda: house.counters()["connections_refused_descriptors"])
        seats[0].sendall(packet(5))
        assert house.read(seats[1])
        assert house.log.getvalue().count("no new connection can be taken") == 1
    finally:
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    late = house.dial()
    late.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert house.read(late, 60).endswith(b"ok\n")
    assert [player.state for player in players] == [READY, READY]


@contextmanager
def accepted(house: House) -> Iterator[socket.socket]:
    """The server's side of the only connection there is."""
    line = house.dial()
    house.until(lambda: house.server.relay.streams)
    (descriptor,) = house.server.relay.streams
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        yield connection
    line.close()
    house.until(lambda: not house.server.relay.streams)


def held_for_who_does_not_read(house: House) -> int:
    """Bytes that the kernels of both sides have of one connection when it takes no more."""
    sent = 0
    with accepted(house) as connection:
        try:
            while True:
                sent += connection.send(bytes(65536), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return sent


def test_the_kernel_keeps_no_more_of_a_connection_than_the_profile_says(houses: Callable[..., House]) -> None:
    """The side that does not read has its own buffer, which is not the server's to bound."""
    bounded = houses(tcp_receive_buffer_bytes=8192, tcp_send_buffer_bytes=16384)
    with accepted(bounded) as connection:
        found = [connection.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
    assert found == [2 * 8192, 2 * 16384]
    theirs = 2 * int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text().split()[1])
    assert held_for_who_does_not_read(bounded) <= 2 * 16384 + theirs
    bounded.close()
    assert held_for_who_does_not_read(houses()) > 2 * 16384 + theirs


def test_a_connection_without_a_login_is_closed_in_time(houses: Callable[..., House]) -> None:
    house = houses(login_seconds=0.1)
    line = house.dial()
    house.until(lambda: house.ended(line))
    assert house.counters()["pending_deadline"] == 1


def test_a_stream_over_its_rate_goes_on_by_itself(houses: Callable[..., House]) -> None:
    house = houses(packets_per_second=500, packets_burst=50)
    players = house.server.sessions.create(["red", "blue"], house.server.clock()).players
    lines = [house.dial() for _ in players]
    for player, line in zip(players, lines, strict=True):
        line.sendall(login(player.access_token) + packet(-7))
    house.until(lambda: all(player.state == READY for player in players))
    lines[0].sendall(b"".join(packet(1000 + n) for n in range(200)))
    got = b""

    def all_there() -> bool:
        nonlocal got
        try:
            got += lines[1].recv(65536)
        except BlockingIOError:
            pass
        bodies, _ = wire.split_frames(got)
        return [code for body in bodies if (code := wire.decode_packet(body).op_code) > 0] == list(range(1000, 1200))

    house.until(all_there)
    assert house.server.relay.counts()["streams_paused_rate"] > 0


def test_a_tick_gathers_what_comes_meanwhile(houses: Callable[..., House]) -> None:
    """With a long tick, packets sent in several turns leave in one datagram."""
    house = houses(tick_ms=100)
    players = house.server.sessions.create(["red", "blue"], house.server.clock()).players
    lines = [house.dial() for _ in players]
    for player, line in zip(players, lines, strict=True):
        line.sendall(login(player.access_token) + packet(-7))
    house.until(lambda: all(player.state == READY for player in players))
    post = house.post()
    post.send(login(players[1].reconnect_token))
    house.read(post)
    lines[1].sendall(packet(-5))
    house.until(lambda: players[1].member.udp_confirmed)
    sender = house.post()
    sender.send(login(players[0].reconnect_token))
    house.read(sender)
    before = house.server.relay.counts()["datagrams_out"]
    for number in range(1, 6):
        sender.send(packet(number))
    got: list[int] = []

    def all_there() -> bool:
        while select.select([post], [], [], 0)[0]:
            got.extend(wire.decode_packet(body).op_code for body in wire.datagram_frames(post.recv(2048)))
        return len(got) >= 5

    house.until(all_there)
    assert got == [1, 2, 3, 4, 5]
    assert house.server.relay.counts()["datagrams_out"] - before <= 5


def test_what_is_due_does_not_wait_for_a_tick(houses: Callable[..., House]) -> None:
    """Between two ticks the loop sleeps if packets came in the one before, but not through what is due."""
    house = houses()
    server = house.server
    server.tick = 5.0
    player = server.sessions.create(["red"], server.clock()).players[0]
    line = house.dial()
    line.sendall(login(player.access_token) + packet(-7))
    house.until(lambda: player.state == READY)  # the answers go out: from here on it is five seconds to the next tick
    called: list[float] = []
    begun = server.clock()
    server.timers.set(begun, called.append)
    house.turn()
    assert len(called) == 1
    assert called[0] < begun + 4


# its end


def test_its_end_is_told(houses: Callable[..., House]) -> None:
    house = houses()
    session = house.server.sessions.create(["red", "blue"], house.server.clock())
    line, waiting = house.dial(), house.dial()
    line.sendall(login(session.players[0].access_token) + packet(-7))
    house.until(lambda: session.players[0].state == READY)
    house.read(line)
    house.server.close()
    house.closed = True
    assert session.ended
    for each in (line, waiting):
        each.settimeout(DEADLINE)
        while each.recv(4096):
            pass
    assert not os.path.exists(house.control_path)
    with pytest.raises(OSError, match=r"refused|Errno 111"):
        socket.create_connection((house.host, house.server.port), timeout=1)


def test_nothing_is_left_open(tmp_path: Path) -> None:
    for _ in range(2):
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        with House(tmp_path) as house:
            house.dial()
            house.turn()
        del house
        gc.collect()  # the relay's own descriptor goes with it
        assert len(os.listdir("/proc/self/fd")) <= before


def test_a_start_that_fails_leaves_no_descriptor(house: House) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ControlError):  # the control socket is another server's
            Server(
                Options(control=house.control_path, state_dir="/nowhere", host="127.0.0.1", port=0),
                Log(io.StringIO(), time.monotonic),
            )
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_datagrams_are_never_cut_on_the_way(family: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        forbid_fragments(datagrams)
        assert datagrams.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER) == PMTUDISC_PROBE
        if family == socket.AF_INET6:
            assert datagrams.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) == PMTUDISC_PROBE


def test_the_worker_takes_as_many_jobs_as_the_profile_says(houses: Callable[..., House]) -> None:
    house = houses(worker_waiting_max=2)
    results: list[object] = []
    for number in range(2):
        house.server.worker.submit(partial(abs, number), lambda result, error: results.append(result))
    with pytest.raises(WorkerError, match="2 jobs are waiting already"):
        house.server.worker.submit(lambda: None, lambda result, error: None)
    house.until(lambda: results == [0, 1])

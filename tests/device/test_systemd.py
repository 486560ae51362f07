"""What is said to systemd and taken from it: a UNIX datagram socket stands in for the manager, and the real
`systemd-socket-activate` opens sockets where it is installed."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.device.systemd import (
    NAME_CHARACTERS_MAX,
    STATUS_SECONDS,
    TEXT_CHARACTERS_MAX,
    Notifier,
    SocketsError,
    bundle,
    close_left_port,
    take_left_port,
    take_listen_descriptors,
    take_port,
    unbundle,
)
from tests.support.server import PROJECT

DEADLINE = 20.0


class Clock:
    """A monotonic clock that stands still unless it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Manager:
    """Reads what a service tells, from a socket at a path or at an abstract name ("@...")."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000"}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = "\0" + address[1:] if address.startswith("@") else address
        self._socket.bind(self.address)
        self._socket.settimeout(DEADLINE)

    def read(self) -> dict[str, str]:
        """The lines of the next message, by name."""
        message, descriptors = self.read_all()
        assert not descriptors
        return message

    def read_all(self) -> tuple[dict[str, str], list[int]]:
        """The same, with the descriptors that came along."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 8192, 4)
        lines = [line.partition("=") for line in data.decode().splitlines()]
        message = {name: value for name, _, value in lines}
        assert len(message) == len(lines), "a name is there twice"
        return message, list(descriptors)

    def has_nothing(self) -> bool:
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="gsrt-notify-") as directory:
        yield Path(directory)


@pytest.fixture
def manager(short_path: Path) -> Iterator[Manager]:
    with contextlib.closing(Manager(str(short_path / "notify"))) as manager:
        yield manager


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notifier(manager: Manager, clock: Clock) -> Iterator[Notifier]:
    with contextlib.closing(Notifier(manager.environment, clock)) as notifier:
        yield notifier


# -- what is said -------------------------------------------------------------------------------------------------


def test_a_service_is_ready_and_ends(notifier: Notifier, manager: Manager) -> None:
    assert notifier.enabled
    assert notifier.ready("2 sessions")
    assert manager.read() == {"READY": "1", "STATUS": "2 sessions"}
    assert notifier.stopping("saying goodbye")
    assert manager.read() == {"STOPPING": "1", "STATUS": "saying goodbye"}


def test_an_abstract_name_is_reached(clock: Clock) -> None:
    manager = Manager(f"@gsrt-test-{os.getpid()}-{os.urandom(4).hex()}")
    with contextlib.closing(manager), contextlib.closing(Notifier(manager.environment, clock)) as notifier:
        notifier.feed_watchdog()
        assert manager.read() == {"WATCHDOG": "1"}


@pytest.mark.parametrize(
    ("said", "keeps"), [({"FDSTORE": "64"}, True), ({"FDSTORE": "0"}, False), ({"FDSTORE": "some"}, False), ({}, False)]
)
def test_whether_descriptors_are_kept(said: dict[str, str], keeps: bool, manager: Manager, clock: Clock) -> None:
    with contextlib.closing(Notifier({**manager.environment, **said}, clock)) as notifier:
        assert notifier.keeps == keeps
    assert not Notifier(said, clock).keeps  # there is nobody to leave them with


def test_a_reload_is_told_with_its_time(notifier: Notifier, manager: Manager, clock: Clock) -> None:
    clock.now = 12.25
    assert notifier.reloading()
    assert manager.read() == {"RELOADING": "1", "MONOTONIC_USEC": "12250000"}
    assert notifier.ready("as before")
    assert manager.read() == {"READY": "1", "STATUS": "as before"}


def test_the_status_is_told_when_it_has_changed_and_not_too_often(
    notifier: Notifier, manager: Manager, clock: Clock
) -> None:
    notifier.status("one")
    assert manager.read() == {"STATUS": "one"}
    notifier.status("two")
    assert manager.has_nothing()
    clock.now += STATUS_SECONDS
    notifier.status("one")
    assert manager.has_nothing()
    notifier.status("two")
    assert manager.read() == {"STATUS": "two"}
    clock.now += STATUS_SECONDS - 0.1
    notifier.status("three")
    assert manager.has_nothing()


def test_the_status_told_with_readiness_is_not_told_again(notifier: Notifier, manager: Manager, clock: Clock) -> None:
    notifier.ready("one")
    manager.read()
    clock.now += STATUS_SECONDS
    notifier.status("one")
    assert manager.has_nothing()


def test_a_status_stays_one_line_of_bounded_length(notifier: Notifier, manager: Manager) -> None:
    notifier.ready("two\nlines\r\n\tREADY=0" + "x" * TEXT_CHARACTERS_MAX)
    told = manager.read()
    assert told["STATUS"].startswith("two lines READY=0x")
    assert len(told["STATUS"]) <= TEXT_CHARACTERS_MAX


def test_descriptors_are_left_and_forgotten(notifier: Notifier, manager: Manager, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with kept.open("wb") as file:
        assert notifier.store(file.fileno(), "gsrt-image")
    message, descriptors = manager.read_all()
    assert message == {"FDSTORE": "1", "FDPOLL": "0", "FDNAME": "gsrt-image"}
    (descriptor,) = descriptors
    os.write(descriptor, b"the same file")
    os.close(descriptor)
    assert kept.read_bytes() == b"the same file"
    assert notifier.forget("gsrt-image")
    assert manager.read() == {"FDSTOREREMOVE": "1", "FDNAME": "gsrt-image"}


@pytest.mark.parametrize("name", ["", "a:b", "a\nREADY=1", "ä", "x" * (NAME_CHARACTERS_MAX + 1)])
def test_a_name_that_systemd_would_not_take_is_not_sent(notifier: Notifier, manager: Manager, name: str) -> None:
    assert not notifier.store(0, name)
    assert not notifier.forget(name)
    assert manager.has_nothing()


@pytest.mark.parametrize("descriptor", [-1, 1 << 31, 999_999])
def test_what_is_no_descriptor_is_not_left(notifier: Notifier, manager: Manager, descriptor: int) -> None:
    assert not notifier.store(descriptor, "gsrt-image")
    assert manager.has_nothing()


def test_waiting_until_everything_is_read(notifier: Notifier, manager: Manager) -> None:
    assert not notifier.wait_until_read(0.01), "nobody has read it"
    message, descriptors = manager.read_all()
    assert message == {"BARRIER": "1"}
    for descriptor in descriptors:
        os.close(descriptor)

    def read() -> None:
        for descriptor in manager.read_all()[1]:
            os.close(descriptor)

    reader = threading.Thread(target=read)
    reader.start()
    assert notifier.wait_until_read(DEADLINE)
    reader.join()


def test_a_manager_that_does_not_read_keeps_nobody_waiting(notifier: Notifier, manager: Manager, clock: Clock) -> None:
    for _ in range(10_000):  # more than any queue holds
        notifier.feed_watchdog()
    for number in range(100):
        clock.now += STATUS_SECONDS
        notifier.status(f"{number} sessions")
    assert not manager.has_nothing()


def test_a_manager_that_has_gone_is_no_matter(notifier: Notifier, manager: Manager) -> None:
    manager.close()
    assert not notifier.ready("2 sessions")
    assert not notifier.stopping("")
    assert not notifier.store(0, "gsrt-image")
    assert not notifier.wait_until_read(1.0)
    notifier.feed_watchdog()


def test_without_a_manager_nothing_happens(clock: Clock) -> None:
    notifier = Notifier({}, clock)
    assert not notifier.enabled
    assert notifier.watchdog_seconds is None
    assert not notifier.ready("")
    assert not notifier.reloading()
    notifier.status("")
    notifier.feed_watchdog()
    notifier.close()


# -- the watchdog -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "me"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "18446744073709551615"}, None),
    ],
)
def test_signs_of_life_are_wanted_twice_as_often_as_waited_for(
    manager: Manager, clock: Clock, variables: dict[str, str], seconds: float | None
) -> None:
    address = manager.environment["NOTIFY_SOCKET"]
    with contextlib.closing(Notifier({"NOTIFY_SOCKET": address, **variables}, clock)) as notifier:
        assert notifier.watchdog_seconds == seconds
        notifier.feed_watchdog()
        assert manager.has_nothing() == (seconds is None)


def test_without_a_manager_nobody_waits_for_signs_of_life(clock: Clock) -> None:
    assert Notifier({"WATCHDOG_USEC": "10000000"}, clock).watchdog_seconds is None


# -- whatever the environment holds -------------------------------------------------------------------------------

NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
VALUES = st.one_of(
    st.text(max_size=200),
    st.integers(-10, 1 << 70).map(str),
    st.sampled_from(["@", "/", "vsock:2:1", "@gsrt-nobody-there", "/nonexistent/notify", str(os.getpid()), "\udc80"]),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_no_environment_raises(environment: dict[str, str]) -> None:
    before = dict(environment)
    with contextlib.closing(Notifier(environment, Clock())) as notifier:
        notifier.ready("")
        notifier.status("x")
        notifier.feed_watchdog()
        notifier.forget("gsrt-image")
        assert notifier.watchdog_seconds is None or notifier.watchdog_seconds > 0
    assert environment == before
    taken = take_listen_descriptors(environment, -1)
    assert taken == {}
    assert not environment.keys() & {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_said_is_one_message(text: str, name: str) -> None:
    with (
        contextlib.closing(Manager(f"@gsrt-test-{os.urandom(8).hex()}")) as manager,
        contextlib.closing(Notifier(manager.environment, Clock())) as notifier,
    ):
        notifier.ready(text)
        assert manager.read().keys() == {"READY", "STATUS"}
        if notifier.forget(name):
            assert manager.read() == {"FDSTOREREMOVE": "1", "FDNAME": name}


# -- descriptors that were handed in ------------------------------------------------------------------------------

# The process hands descriptors to itself, as systemd does: from 3 on, in order, inheritable. It prints what it took.
TAKES = """
import os, sys
from gsrt.device.systemd import take_listen_descriptors
given = {name: os.environ[name] for name in os.environ}
environment = {**given, "LISTEN_PID": sys.argv[1] if sys.argv[1] != "own" else str(os.getpid())}
taken = take_listen_descriptors(environment, os.getpid())
print(taken, [os.get_inheritable(each) for all in taken.values() for each in all])
print(sorted(name for name in environment if name.startswith("LISTEN_")))
"""


def takes(descriptors: int, environment: dict[str, str], meant_for: str = "own") -> list[str]:
    """What a process prints that has this many files open from descriptor 3 on."""
    opened = "".join(f" {number}</dev/null" for number in range(3, 3 + descriptors))
    shell = f'exec "$0" -c "$1" {meant_for}{opened}'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable, TAKES],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    return done.stdout.splitlines()


def test_descriptors_are_taken_by_name_in_their_order() -> None:
    assert takes(3, {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "gsrt.socket:gsrt-image:gsrt.socket"}) == [
        "{'gsrt.socket': [3, 5], 'gsrt-image': [4]} [False, False, False]",
        "[]",
    ]


@pytest.mark.parametrize("names", [{}, {"LISTEN_FDNAMES": "one"}, {"LISTEN_FDNAMES": "a:b:c"}])
def test_without_a_name_for_each_they_have_none(names: dict[str, str]) -> None:
    assert takes(2, {"LISTEN_FDS": "2", **names})[0] == "{'unknown': [3, 4]} [False, False]"


def test_what_is_not_open_is_left_out() -> None:
    assert takes(1, {"LISTEN_FDS": "4"})[0] == "{'unknown': [3]} [False]"


@pytest.mark.parametrize("count", ["", "0", "-1", "two"])
def test_a_count_that_is_none_takes_nothing(count: str) -> None:
    assert takes(2, {"LISTEN_FDS": count}) == ["{} []", "[]"]


def test_what_was_meant_for_another_process_is_not_taken_and_not_passed_on() -> None:
    assert takes(2, {"LISTEN_FDS": "2"}, meant_for="1") == ["{} []", "[]"]


@pytest.mark.parametrize("count", [0, 1, 250, 251, 600])
def test_a_bundle_is_one_descriptor_that_holds_many(count: int) -> None:
    pairs = [os.pipe() for _ in range(count)]
    bundled = bundle([reader for reader, _ in pairs])
    for reader, _ in pairs:
        os.close(reader)
    for index, (_, writer) in enumerate(pairs):
        os.write(writer, index.to_bytes(4, "big"))
        os.close(writer)
    found = unbundle(bundled)
    assert not is_open(bundled)
    assert [int.from_bytes(os.read(each, 8), "big") for each in found] == list(range(count))
    for each in found:
        assert not os.get_inheritable(each)
        os.close(each)


def test_what_cannot_be_bundled_is_an_error() -> None:
    with pytest.raises(OSError):
        bundle([999_999])


def test_what_is_no_bundle_holds_nothing_and_is_closed() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    connection = socket.create_connection(listener.getsockname())
    listener.close()
    one, other = socket.socketpair()
    other.sendall(b"text")
    given = [os.open("/dev/null", os.O_RDONLY), connection.detach(), one.detach()]
    for each in given:
        assert unbundle(each) == []
        assert not is_open(each)
    other.close()


# -- the port among them ------------------------------------------------------------------------------------------


class Handed:
    """Sockets as systemd would hand them in."""

    def __init__(self) -> None:
        self.port = 0
        self._spare: list[int] = []

    def tcp(self, port: int | None = None, *, listening: bool = True) -> int:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.bind(("127.0.0.1", self.port if port is None else port))
        self.port = self.port or found.getsockname()[1]
        if listening:
            found.listen()
        return self._given(found)

    def udp(self, port: int | None = None) -> int:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found.bind(("127.0.0.1", self.port if port is None else port))
        self.port = self.port or found.getsockname()[1]
        return self._given(found)

    def unix(self) -> int:
        return self._given(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))

    def unbound(self) -> int:
        return self._given(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def raw(self) -> int:
        return self._given(socket.socket(socket.AF_INET, socket.SOCK_STREAM))

    def file(self) -> int:
        return os.open("/dev/null", os.O_RDONLY)

    def _given(self, found: socket.socket) -> int:
        return found.detach()


@pytest.fixture
def handed() -> Handed:
    return Handed()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def serves(sockets: tuple[socket.socket, socket.socket] | None) -> int:
    """The port of two sockets that are as a server wants them."""
    assert sockets is not None
    listener, datagrams = sockets
    with listener, datagrams:
        assert not listener.getblocking()
        assert not datagrams.getblocking()
        with socket.create_connection(listener.getsockname()), socket.socket(type=socket.SOCK_DGRAM) as sender:
            assert select.select([listener], [], [], DEADLINE)[0]
            listener.accept()[0].close()
            sender.sendto(b"hello", datagrams.getsockname())
            assert select.select([datagrams], [], [], DEADLINE)[0]
            assert datagrams.recv(16) == b"hello"
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_port_is_told_by_the_kinds_of_its_sockets(handed: Handed, order: tuple[int, int]) -> None:
    pair = (handed.tcp(), handed.udp())
    descriptors = {"gsrt.socket": [pair[each] for each in order], "gsrt-image": [99]}
    assert serves(take_port(descriptors)) == handed.port
    assert descriptors == {"gsrt-image": [99]}


def test_each_socket_may_come_from_a_unit_of_its_own(handed: Handed) -> None:
    assert serves(take_port({"gsrt-tcp.socket": [handed.tcp()], "gsrt-udp.socket": [handed.udp()]})) == handed.port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("any_port", [False, True])
def test_what_the_server_before_has_left_is_taken_where_it_is_what_is_wanted(
    handed: Handed, host: str, any_port: bool
) -> None:
    descriptors = {"gsrt-listener": [handed.tcp()], "gsrt-datagrams": [handed.udp()], "gsrt-stream-7": [99]}
    assert take_port(descriptors) is None
    assert serves(take_left_port(descriptors, host, 0 if any_port else handed.port)) == handed.port
    assert descriptors == {"gsrt-stream-7": [99]}
    assert take_left_port(descriptors, host, handed.port) is None


@pytest.mark.parametrize(("host", "step"), [("127.0.0.1", 1), ("0.0.0.0", 0), ("::1", 0), ("127.0.0.2", 0)])
def test_what_was_left_elsewhere_is_closed(handed: Handed, host: str, step: int) -> None:
    left = handed.tcp(), handed.udp()
    assert take_left_port({"gsrt-listener": [left[0]], "gsrt-datagrams": [left[1]]}, host, handed.port + step) is None
    assert not any(map(is_open, left))


def test_what_was_left_and_is_not_asked_for_is_closed(handed: Handed) -> None:
    left = handed.tcp(), handed.udp()
    descriptors = {"gsrt-listener": [left[0]], "gsrt-datagrams": [left[1]], "gsrt-image": [99]}
    close_left_port(descriptors)
    assert descriptors == {"gsrt-image": [99]}
    assert not any(map(is_open, left))


@pytest.mark.parametrize("kinds", [["tcp"], ["udp"], ["tcp", "tcp_too", "udp"], ["file", "udp"], ["unix", "udp"]])
def test_what_was_left_and_is_no_port_is_closed(handed: Handed, kinds: list[str]) -> None:
    left = [Handed().tcp() if each == "tcp_too" else getattr(handed, each)() for each in kinds]
    assert take_left_port({"gsrt-listener": left}, "127.0.0.1", handed.port) is None
    assert not any(map(is_open, left))


def test_without_sockets_there_is_no_port() -> None:
    assert take_port({}) is None
    assert take_port({"gsrt-image": [99], "gsrt-stream-1": [98]}) is None


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        (["tcp"], "1 TCP and 0 UDP sockets"),
        (["udp"], "0 TCP and 1 UDP sockets"),
        (["tcp", "udp", "second_udp"], "1 TCP and 2 UDP sockets"),
        (["tcp", "udp", "second_tcp"], "2 TCP and 1 UDP sockets"),
        (["tcp", "second_udp"], "players expect one number"),
        (["file", "udp"], "no socket was handed in"),
        (["unix", "udp"], "AF_UNIX"),
        (["unbound", "tcp"], "a UDP socket without a port"),
        (["raw", "udp"], "a TCP connection"),
    ],
)
def test_other_sockets_are_refused_with_what_to_do_and_closed(handed: Handed, kinds: list[str], says: str) -> None:
    second = Handed()
    made = [getattr(second, each[7:])() if each.startswith("second_") else getattr(handed, each)() for each in kinds]
    with pytest.raises(SocketsError, match=says) as refused:
        take_port({"gsrt.socket": made})
    assert "one ListenStream= and one ListenDatagram=" in str(refused.value) or "the same one in" in str(refused.value)
    assert not any(map(is_open, made))


# -- with systemd's own program -----------------------------------------------------------------------------------

SHOWS_PORT = """
import os
from gsrt.device.systemd import take_listen_descriptors, take_port
taken = take_listen_descriptors(os.environ, os.getpid())
print(sorted(taken), len(sum(taken.values(), [])), flush=True)
"""


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed")
def test_sockets_of_systemd_socket_activate_are_taken() -> None:
    handed = Handed()
    os.close(handed.udp())
    process = subprocess.Popen(
        [
            *("systemd-socket-activate", "--datagram", f"--listen=127.0.0.1:{handed.port}", "--fdname=gsrt.socket"),
            *("-E", f"PYTHONPATH={PROJECT}", sys.executable, "-c", SHOWS_PORT),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with process, socket.socket(type=socket.SOCK_DGRAM) as knocking:
            knocking.connect(("127.0.0.1", handed.port))
            assert process.stdout is not None
            end = time.monotonic() + DEADLINE
            while not select.select([process.stdout], [], [], 0.05)[0]:
                assert time.monotonic() < end
                with contextlib.suppress(ConnectionRefusedError):
                    knocking.send(b"knock")
            assert process.stdout.readline() == "['gsrt.socket'] 1\n"
    finally:
        process.kill()

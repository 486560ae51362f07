"""Who has the port, of fake tables and of this machine's own; whether a server answers at an address."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.cli import CommandError
from gsrt.discovery import HERE, Notice
from gsrt.doctor.port import port, reachable, tcp_answers, udp_answers
from gsrt.doctor.sockets import holder, program, sockets_at
from gsrt.doctor.surroundings import Settings, Surroundings
from tests.doctor.box import Box
from tests.support.server import free_port

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ANY, LOOPBACK = "00000000", "0100007F"


def line(
    number: int, *, address: str = ANY, state: str = "0A", user: int = 1000, inode: int = 77, more: str = ""
) -> str:
    zeros = "00000000:00000000 00:00000000 00000000"
    return f"   0: {address}:{number:04X} 00000000:0000 {state} {zeros} {user:5} 0 {inode}{more}\n"


def listen(box: Box, *, address: str = ANY, user: int = 1000, kinds: str = "tu") -> None:
    if "t" in kinds:
        box.write("/proc/net/tcp", HEAD + line(8784, address=address, user=user))
    if "u" in kinds:
        box.write("/proc/net/udp", HEAD + line(8784, address=address, state="07", user=user, inode=78, more=" 2 0 5"))


def own(box: Box, process: int, command: str, name: str) -> None:
    box.link(f"/proc/{process}/fd/5", "socket:[77]")
    box.write(f"/proc/{process}/cmdline", command)
    box.write(f"/proc/{process}/comm", name + "\n")


def test_it_is_free(box: Box) -> None:
    box.write("/proc/net/tcp", HEAD + line(22) + line(8784, state="01"))  # a connection of a player who has gone
    finding = port(box.surroundings())
    assert (finding.state, finding.found) == ("ok", "8784 is free for TCP and UDP")


def test_it_is_free_but_for_root_only(box: Box) -> None:
    box.settings |= {"port": 80, "port_given": True}
    assert port(box.surroundings()).state == "warn"
    box.write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0\n")
    assert port(box.surroundings()).state == "ok"


def test_it_is_free_but_given_out_to_others(box: Box) -> None:
    box.settings |= {"port": 40000}
    box.write("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    finding = port(box.surroundings())
    assert finding.state == "warn"
    assert "32768 to 60999" in finding.found


def test_it_is_the_running_servers(box: Box) -> None:
    listen(box)
    box.status = {"port": 8784, "pid": 12}
    assert port(box.surroundings()).state == "ok"


def test_the_running_server_listens_for_itself_only(box: Box) -> None:
    listen(box, address=LOOPBACK)
    box.status = {"port": 8784, "pid": 12}
    finding = port(box.surroundings())
    assert finding.state == "warn"
    assert "nobody on another machine" in finding.found


def test_the_running_server_is_in_a_container(box: Box) -> None:
    box.status = {"port": 8784, "pid": 12}
    finding = port(box.surroundings())
    assert finding.state == "warn"
    assert "namespace" in finding.found


def test_the_running_server_has_half_of_it(box: Box) -> None:
    listen(box, kinds="t")
    box.status = {"port": 8784, "pid": 12}
    assert port(box.surroundings()).state == "fail"


def test_another_program_has_it(box: Box) -> None:
    listen(box, kinds="u")
    own(box, 321, "/usr/bin/other\0--flag\0", "other")
    box.link("/proc/321/fd/6", "socket:[78]")
    finding = port(box.surroundings())
    assert finding.state == "fail"
    assert finding.found == "8784 (UDP) is taken by other, process 321"


def test_another_users_program_has_it(box: Box) -> None:
    listen(box, user=33)
    finding = port(box.surroundings())
    assert finding.state == "fail"
    assert "user 33" in finding.found
    assert "sudo" in finding.todo


def test_the_service_has_it_and_does_not_answer(box: Box) -> None:
    listen(box, user=990)
    box.user = 1000
    box.write("/etc/passwd", "gsrt:x:990:990::/:/usr/sbin/nologin\n")
    assert port(box.surroundings()).state == "warn"
    box.write("/etc/passwd", "")
    assert port(box.surroundings()).state == "fail"
    box.status = CommandError("belongs to another user")
    assert port(box.surroundings()).state == "warn"


@pytest.mark.parametrize(
    ("command", "name", "state"),
    [
        ("/usr/bin/python3\0/usr/bin/gsrt\0serve\0", "python3", "warn"),
        ("/lib/systemd/systemd\0", "systemd", "ok"),
    ],
)
def test_who_may_have_it(box: Box, command: str, name: str, state: str) -> None:
    listen(box)
    own(box, 1, command, name)
    assert port(box.surroundings()).state == state


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_no_table_is_believed(text: str) -> None:
    class Garbage(Surroundings):
        def read(self, path: str) -> str:
            return text

    assert isinstance(sockets_at(Garbage(Settings()), 8784), list)
    assert isinstance(program(Garbage(Settings()), 1), str)


def test_this_machine_tells_who_has_a_port() -> None:
    number = free_port()
    seen = Surroundings(Settings())
    assert sockets_at(seen, number) == []
    with socket.create_server(("127.0.0.1", number)), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("::ffff:127.0.0.1", number))
        found = {one.kind: one for one in sockets_at(seen, number)}
        assert set(found) == {"TCP", "UDP"}
        for one in found.values():
            assert one.local_only
            assert one.user == os.geteuid()
            assert holder(seen, one.inode) == os.getpid()


# What is sent to it


@contextmanager
def answering(answers: bool) -> Iterator[int]:
    """A server that answers a SEEK, or something that says other things; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", free_port()))

        def serve() -> None:
            while True:
                question, sender = datagrams.recvfrom(2048)
                if not question:
                    return
                nonce = question[4:12] if answers else bytes(8)
                notice = Notice(
                    nonce=nonce, server=bytes(8), port=1, sessions=0, players=0, version="1", name="a", game=None
                )
                datagrams.sendto(notice.to_bytes(HERE), sender)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield datagrams.getsockname()[1]
        finally:
            datagrams.sendto(b"", datagrams.getsockname())
            thread.join()


def test_a_server_answers_by_udp() -> None:
    with answering(True) as number:
        assert udp_answers("127.0.0.1", number, 20.0)


def test_an_answer_to_somebody_else_does_not_count() -> None:
    with answering(False) as number:
        assert not udp_answers("127.0.0.1", number, 0.3)


def test_nobody_is_there() -> None:
    number = free_port()
    assert not udp_answers("127.0.0.1", number, 0.3)
    assert not tcp_answers("127.0.0.1", number, 0.3)


@pytest.mark.parametrize("host", ["no\0name", ".", "a" * 300])
def test_hosts_that_are_none(host: str) -> None:
    assert not udp_answers(host, 8784, 0.1)
    assert not tcp_answers(host, 8784, 0.1)


def test_somebody_takes_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert tcp_answers("127.0.0.1", listener.getsockname()[1], 20.0)


def test_without_a_server_nothing_is_sent(box: Box) -> None:
    assert reachable(box.surroundings()).state == "ok"


def test_a_server_that_does_not_answer(box: Box) -> None:
    box.status = {"port": free_port(), "host": "127.0.0.1"}
    finding = reachable(box.surroundings())
    assert finding.state == "fail"
    assert "127.0.0.1 by TCP and UDP" in finding.found


def test_a_server_that_answers(box: Box) -> None:
    with answering(True) as number, socket.create_server(("127.0.0.1", number)):
        box.status = {"port": number, "host": "127.0.0.1"}
        assert reachable(box.surroundings()).state == "ok"


def test_a_server_that_nobody_could_reach(box: Box) -> None:
    box.status = {"port": free_port(), "host": "0.0.0.0"}
    box.interface("lo", "127.0.0.1/8", flags=("LOOPBACK", "UP"))
    assert reachable(box.surroundings()).state == "warn"

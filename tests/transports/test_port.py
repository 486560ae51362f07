"""The port's sockets: their buffers, and an address that this machine gets later. See tests/test_server.py too."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from gsrt.profile import Profile
from gsrt.transports.port import (
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    PortError,
    bind_port,
    bytes_for_anybody,
    has_address,
    size_buffers,
)

FOREIGN = "192.0.2.7"  # for documentation: no machine has it
FOREIGN_V6 = "2001:db8::7"
WANTED = 64 << 10  # bytes; every kernel gives that to any program
NOBODY = 65534


@pytest.fixture
def profile() -> Profile:
    profile = Profile.load("pi-zero-w")
    profile.udp_receive_buffer_bytes = profile.udp_send_buffer_bytes = WANTED
    return profile


@pytest.fixture
def handed_in() -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        yield made


def give(handed_in: socket.socket, size: int) -> list[int]:
    """As systemd does, which has the right: what the kernel tells then."""
    for forced, plain in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            handed_in.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            handed_in.setsockopt(socket.SOL_SOCKET, plain, size)
    return buffers(handed_in)


def buffers(of: socket.socket) -> list[int]:
    """Twice what was asked for: see socket(7)."""
    return [of.getsockopt(socket.SOL_SOCKET, each) for each in (socket.SO_RCVBUF, socket.SO_SNDBUF)]


def without_rights(work: Callable[[], object]) -> None:
    """Done by a process of a user who has none; its sockets are this one's."""
    child = os.fork()
    if child == 0:
        failed = True
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            work()
            failed = False
        finally:
            os._exit(failed)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("given", [4096, WANTED // 2 - 4096, WANTED * 2, 4 << 20])
def test_buffers_that_were_handed_in_become_what_the_profile_says(
    given: int, profile: Profile, handed_in: socket.socket
) -> None:
    before = give(handed_in, given)
    assert before != [2 * WANTED, 2 * WANTED]

    without_rights(lambda: size_buffers(handed_in, profile))
    assert buffers(handed_in) == [2 * WANTED, 2 * WANTED]

    give(handed_in, given)
    size_buffers(handed_in, profile)  # as root too, if this is
    assert buffers(handed_in) == [2 * WANTED, 2 * WANTED]


def test_what_suits_is_left_for_it_may_be_more_than_one_gets(profile: Profile, handed_in: socket.socket) -> None:
    profile.udp_receive_buffer_bytes = profile.udp_send_buffer_bytes = 16 << 20
    given = give(handed_in, 16 << 20)
    if given != [32 << 20, 32 << 20]:
        pytest.skip("this user may not have larger buffers than others")
    without_rights(lambda: size_buffers(handed_in, profile))
    assert buffers(handed_in) == given


def test_larger_ones_stay_where_a_program_without_rights_gets_less(handed_in: socket.socket) -> None:
    profile = Profile.load("pi-zero-w")
    profile.udp_receive_buffer_bytes = 2 * bytes_for_anybody("rmem_max")
    profile.udp_send_buffer_bytes = 2 * bytes_for_anybody("wmem_max")
    wanted = [2 * profile.udp_receive_buffer_bytes, 2 * profile.udp_send_buffer_bytes]
    given = give(handed_in, 8 * max(bytes_for_anybody("rmem_max"), bytes_for_anybody("wmem_max")))
    if min(given) <= max(wanted):
        pytest.skip("this user may not have larger buffers than others")
    without_rights(lambda: size_buffers(handed_in, profile))
    assert buffers(handed_in) == given


def test_what_anybody_gets_is_what_the_kernel_says(handed_in: socket.socket) -> None:
    most = bytes_for_anybody("rmem_max")
    assert 0 < most < 1 << 31
    assert bytes_for_anybody("no_such_bound") == 0
    without_rights(lambda: handed_in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30))
    assert handed_in.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * most


@pytest.mark.parametrize("host", [FOREIGN, FOREIGN_V6])
def test_an_address_that_may_come_later_is_listened_at(host: str) -> None:
    try:
        listener, datagrams = bind_port(host, 0, waits=True)
    except PortError as error:
        if ":" in host and "Address family not supported" in str(error):
            pytest.skip("no IPv6 here")
        raise
    with listener, datagrams:
        assert listener.getsockname() == datagrams.getsockname()
        assert listener.getsockname()[0] == host
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert not has_address(host)
    with pytest.raises(PortError, match="no address of this machine"):
        bind_port(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_addresses_that_are_there(host: str) -> None:
    assert has_address(host)


@pytest.mark.parametrize("host", ["no.such.name.invalid", "256.1.1.1"])
def test_what_is_no_address_at_all_is_not_waited_for(host: str) -> None:
    with pytest.raises(PortError, match="no address of this machine"):
        bind_port(host, 0, waits=True)

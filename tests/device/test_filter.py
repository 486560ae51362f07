"""The filter of system calls, run without a kernel: what a contained server on this kind of processor may do. An
emulated machine, whose kernel has no seccomp, is told by it as well."""

from __future__ import annotations

import errno
import os
import socket
import struct
from functools import cache
from itertools import product

import pytest

from gsrt.device._linux_build import DECIDED_NAMES, FORBIDDEN_NAMES, NEEDED_NAMES
from gsrt.device.linux import calls
from tests.device.bpf import CALL, EQUAL, GIVE, LINE, LOAD_WORD, Invalid, Line, answer, read, unreached

lib = calls()
pytestmark = pytest.mark.skipif(
    lib is None or lib.gsrt_machine()[0] == b"\0", reason="there is no filter for this kind of processor"
)

X86_64, AARCH64, ARM, I386 = 0xC000003E, 0xC00000B7, 0x40000028, 0x40000003  # AUDIT_ARCH_
ARCHITECTURES = {"x86-64": X86_64, "aarch64": AARCH64, "arm": ARM}

ALLOWED = 0x7FFF0000
REFUSED = 0x00050000 | errno.EPERM
NOT_THERE = 0x00050000 | errno.ENOSYS
IN_FORCE = 0x00050000 | errno.EALREADY

THREAD = 0x3D0F00  # the flags of clone that the C library starts a thread with
NEW_PROCESS = 0x01200011  # and a process, by fork(3)
CLONE_THREAD = 0x10000
NAMESPACES = {
    "NEWNS": 0x20000,
    "NEWCGROUP": 0x2000000,
    "NEWUTS": 0x4000000,
    "NEWIPC": 0x8000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}
SEALED = 8  # MFD_NOEXEC_SEAL
TIOCSTI, TIOCLINUX, FIONREAD = 0x5412, 0x541C, 0x541B
FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
FAMILIES = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}
KINDS = {socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET}
FAMILIES_THERE_ARE, KINDS_THERE_ARE = 46, 16

X32_CALLS = 0x40000000
PRIVATE = {"breakpoint": 0x0F0001, "cacheflush": 0x0F0002, "set_tls": 0x0F0005, "get_tls": 0x0F0006}  # of ARM
NEWEST = 451

# What only some kinds of processors have; the rest of NEEDED_NAMES has to be known on all of them.
TIME_OF_64_BITS = {
    "clock_gettime64",
    "clock_getres_time64",
    "clock_nanosleep_time64",
    "futex_time64",
    "ppoll_time64",
    "pselect6_time64",
    "recvmmsg_time64",
    "rt_sigtimedwait_time64",
    "timer_settime64",
}
EVERYWHERE = {
    "openat",
    "close",
    "read",
    "write",
    "lseek",
    "statx",
    "getdents64",
    "unlinkat",
    "mkdirat",
    "fdatasync",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "futex",
    "nanosleep",
    "clock_gettime",
    "timer_create",
    "bind",
    "accept4",
    "sendmmsg",
    "recvmmsg",
    "brk",
    "mremap",
    "mprotect",
    "madvise",
    "set_robust_list",
    "rt_sigaction",
    "rt_sigreturn",
    "tgkill",
    "exit_group",
    "getrandom",
    "prctl",
    "prlimit64",
    "rseq",
}


def program(allow: int, seal: bool) -> bytes:
    """As it would be installed."""
    from gsrt.device._linux import ffi

    assert lib is not None
    bytes_ = ffi.new("unsigned char[]", 65536)
    returned = lib.gsrt_filter_program(allow, seal, bytes_, 65536)
    assert returned > 0, os.strerror(-returned)
    return bytes(ffi.buffer(bytes_, returned))


@cache
def lines(allow: int, seal: bool) -> list[Line]:
    return read(program(allow, seal))


def number(name: str) -> int | None:
    """The call's number on this kind of processor, if it has one."""
    assert lib is not None
    found = lib.gsrt_call_number(name.encode())
    return None if found == -errno.ENOSYS else found


def machine() -> str:
    from gsrt.device._linux import ffi

    assert lib is not None
    name: bytes = ffi.string(lib.gsrt_machine())
    return name.decode()


def architecture() -> int:
    return ARCHITECTURES[machine()]


def said(call: str | int, *arguments: int, execute: bool = False, children: bool = False, seal: bool = True) -> int:
    """The filter's answer; of a call that this processor has."""
    assert lib is not None
    allow = (lib.GSRT_ALLOW_EXECUTE if execute else 0) | (lib.GSRT_ALLOW_CHILDREN if children else 0)
    found = number(call) if isinstance(call, str) else call
    assert found is not None, call
    return answer(lines(allow, seal), architecture(), found, arguments)


def there(*names: str) -> list[str]:
    return [name for name in names if number(name) is not None]


def test_the_filter_is_for_the_processor_it_runs_on() -> None:
    kinds = {"x86_64": "x86-64", "aarch64": "aarch64", "armv6l": "arm", "armv7l": "arm", "armv8l": "arm"}
    expected = kinds.get(os.uname().machine)
    if expected == "aarch64" and struct.calcsize("P") == 4:
        expected = "arm"  # a 32-bit system on a 64-bit kernel
    assert machine() == expected


@pytest.mark.parametrize(("allow", "seal"), list(product(range(4), (False, True))))
def test_a_kernel_takes_every_variant_of_it(allow: int, seal: bool) -> None:
    assert unreached(lines(allow, seal)) == []


def test_a_buffer_that_is_too_small_stays_as_it_is() -> None:
    from gsrt.device._linux import ffi

    assert lib is not None
    size = len(program(0, True))
    bytes_ = ffi.new("unsigned char[]", size)
    assert lib.gsrt_filter_program(0, True, bytes_, size - 1) == -errno.ENOBUFS
    assert not any(bytes(ffi.buffer(bytes_)))
    assert lib.gsrt_filter_program(0, True, bytes_, size) == size


def test_calls_of_another_kind_of_processor_are_refused() -> None:
    others = {0, I386, X86_64, AARCH64, ARM, architecture() ^ 1} - {architecture()}
    for name, other in product(("read", "futex", "exit_group", "execve"), others):
        found = number(name)
        assert found is not None
        assert answer(lines(3, True), other, found, ()) == REFUSED


def test_every_call_that_a_server_makes_is_let_through() -> None:
    names = there(*NEEDED_NAMES)
    assert set(names) >= EVERYWHERE
    for variant in ({}, {"execute": True}, {"children": True}, {"seal": False}):
        assert {name: said(name, **variant) for name in names if said(name, **variant) != ALLOWED} == {}


def test_a_system_of_32_bits_has_times_of_64() -> None:
    assert set(there(*TIME_OF_64_BITS)) == (TIME_OF_64_BITS if machine() == "arm" else set())


def test_every_call_of_the_list_is_refused_whatever_else_is_allowed() -> None:
    names = there(*FORBIDDEN_NAMES)
    assert len(names) > 80
    for name in names:
        answers = {said(name, execute=execute, children=execute, seal=not execute) for execute in (False, True)}
        assert answers == {REFUSED}, name


def test_what_docs_hardening_promises_is_in_the_list() -> None:
    promised = "ptrace process_vm_writev mount unshare setns init_module finit_module fchmod fchmodat fchown fchownat"
    others = "setuid setgid capset bpf perf_event_open userfaultfd io_uring_setup kexec_load reboot clock_settime"
    assert {name: said(name) for name in (*promised.split(), *others.split()) if said(name) != REFUSED} == {}


def test_the_lists_contradict_each_other_nowhere() -> None:
    names = [*FORBIDDEN_NAMES, *DECIDED_NAMES, *NEEDED_NAMES]
    assert len(set(names)) == len(names)
    numbers = [number(name) for name in there(*names)]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("execute", [False, True])
def test_programs(execute: bool) -> None:
    assert said("execve", execute=execute) == (ALLOWED if execute else REFUSED)
    assert said("execveat", execute=execute) == REFUSED


@pytest.mark.parametrize("children", [False, True])
def test_processes(children: bool) -> None:
    wanted = ALLOWED if children else REFUSED
    assert said("clone", NEW_PROCESS, children=children) == wanted
    assert {said(name, children=children) for name in there("fork", "vfork")} <= {wanted}
    assert said("clone", THREAD, children=children) == ALLOWED
    # then libraries take clone
    assert {said(name, children=children) for name in there("clone3")} <= {NOT_THERE}
    for bits in NAMESPACES.values():
        assert said("clone", NEW_PROCESS | bits, children=children) == REFUSED
        assert said("clone", THREAD | bits, children=children) == REFUSED
    assert said("clone", CLONE_THREAD, children=children) == ALLOWED


@pytest.mark.parametrize("call", ["socket", "socketpair"])
def test_sockets_are_of_the_internet_or_unix(call: str) -> None:
    for family, kind in product(range(FAMILIES_THERE_ARE), range(KINDS_THERE_ARE)):
        wanted = ALLOWED if family in FAMILIES and kind in KINDS else REFUSED
        assert said(call, family, kind) == said(call, family, kind | FLAGS) == wanted, (family, kind)
    assert said(call, -1 & 0xFFFFFFFF, socket.SOCK_STREAM) == REFUSED
    # a kernel takes the lower half alone
    assert said(call, 1 << 32 | socket.AF_PACKET, socket.SOCK_STREAM) == REFUSED


def test_a_terminal_is_not_written_into() -> None:
    assert said("ioctl", 0, TIOCSTI) == said("ioctl", 0, TIOCLINUX) == REFUSED
    assert said("ioctl", 0, 1 << 32 | TIOCSTI) == REFUSED
    assert said("ioctl", 0, FIONREAD) == said("ioctl", TIOCSTI, 0) == ALLOWED


def test_files_in_memory_are_never_run_where_the_kernel_can_see_to_that() -> None:
    assert said("memfd_create", 0, 1) == said("memfd_create", SEALED, 0) == REFUSED
    assert said("memfd_create", 0, SEALED | 1) == ALLOWED
    assert said("memfd_create", 0, 1, seal=False) == ALLOWED


def test_a_filter_says_that_it_is_there() -> None:
    assert said("seccomp", 2) == IN_FORCE


def test_calls_that_came_later_are_not_there() -> None:
    assert said(NEWEST) == ALLOWED
    for later in (NEWEST + 1, 463, 999, 0xF0000, 0x0F0007, 0x3FFFFFFF, *([] if machine() == "x86-64" else [X32_CALLS])):
        assert said(later) == NOT_THERE, later
    assert said(-1) == (REFUSED if machine() == "x86-64" else NOT_THERE)


def test_calls_that_only_one_kind_of_processor_has() -> None:
    assert {said(each) for each in PRIVATE.values()} == {ALLOWED if machine() == "arm" else NOT_THERE}
    if machine() == "x86-64":
        assert said(X32_CALLS) == said(X32_CALLS + 39) == said(X32_CALLS + 520) == REFUSED


# The interpreter itself


def line(code: int, value: int = 0, when: int = 0, otherwise: int = 0) -> bytes:
    return LINE.pack(code, when, otherwise, value)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        line(GIVE)[:-1],
        line(LOAD_WORD),
        line(LOAD_WORD, 2) + line(GIVE),
        line(LOAD_WORD, CALL.size) + line(GIVE),
        line(EQUAL, 1, 0, 1) + line(GIVE),
        line(EQUAL, 1, 1, 0) + line(GIVE),
        line(0x16) + line(GIVE),
        line(GIVE) * 4097,
    ],
)
def test_what_no_kernel_takes(wrong: bytes) -> None:
    with pytest.raises(Invalid):
        read(wrong)


def test_lines_that_nothing_leads_to_are_found() -> None:
    assert unreached(read(line(EQUAL, 1, 1, 1) + line(GIVE) + line(GIVE))) == [1]

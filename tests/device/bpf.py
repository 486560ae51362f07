"""Runs a seccomp filter without a kernel: the part of classic BPF that the filter is written in, as the kernel's
seccomp_check_filter and interpreter have it. Anything else is an Invalid program."""

from __future__ import annotations

import struct
from collections.abc import Callable

Line = tuple[int, int, int, int]

LINE = struct.Struct("<HBBI")  # struct sock_filter: code, lines to skip when true, when not, value
CALL = struct.Struct("<iIQ6Q")  # struct seccomp_data: nr, arch, instruction_pointer, args

LOAD_WORD, AND = 0x20, 0x54  # BPF_LD | BPF_W | BPF_ABS, BPF_ALU | BPF_AND | BPF_K
EQUAL, GREATER, AT_LEAST, ANY_BIT = 0x15, 0x25, 0x35, 0x45  # BPF_JMP with BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET
GIVE = 0x06  # BPF_RET | BPF_K
JUMPS: dict[int, Callable[[int, int], bool]] = {
    EQUAL: lambda loaded, value: loaded == value,
    GREATER: lambda loaded, value: loaded > value,
    AT_LEAST: lambda loaded, value: loaded >= value,
    ANY_BIT: lambda loaded, value: loaded & value != 0,
}
LINES_MAX = 4096  # BPF_MAXINSNS


class Invalid(Exception):
    """No kernel takes this program."""


def read(program: bytes) -> list[Line]:
    """Its lines. Raises Invalid: an unknown line, a jump out of the program, a load from no word of a call's data, or
    an end that gives no answer."""
    if len(program) % LINE.size or not 0 < len(program) // LINE.size <= LINES_MAX:
        raise Invalid(f"{len(program)} bytes")
    lines = list(LINE.iter_unpack(program))
    for place, (code, when, otherwise, value) in enumerate(lines):
        if code in JUMPS:
            if place + 1 + max(when, otherwise) >= len(lines):
                raise Invalid(f"line {place} jumps out of the program")
        elif code == LOAD_WORD:
            if value % 4 or value + 4 > CALL.size:
                raise Invalid(f"line {place} loads from {value}")
        elif code not in (AND, GIVE):
            raise Invalid(f"line {place} has code {code:#x}")
    if lines[-1][0] != GIVE:
        raise Invalid("it ends without an answer")
    return lines


def unreached(lines: list[Line]) -> list[int]:
    """Lines that nothing leads to."""
    reached = {0}
    for place, (code, when, otherwise, _) in enumerate(lines):  # jumps go forward only
        if place in reached and code != GIVE:
            reached |= {place + 1 + when, place + 1 + otherwise} if code in JUMPS else {place + 1}
    return sorted(set(range(len(lines))) - reached)


def answer(lines: list[Line], architecture: int, number: int, arguments: tuple[int, ...]) -> int:
    """What the program says of a call."""
    data = CALL.pack(number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    loaded, place = 0, 0
    while True:
        code, when, otherwise, value = lines[place]
        place += 1
        if code == GIVE:
            return value
        if code == LOAD_WORD:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif code == AND:
            loaded &= value
        else:
            place += when if JUMPS[code](loaded, value) else otherwise

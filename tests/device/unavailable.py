"""`python -m tests.device.unavailable CALLS PROGRAM ...`: executes the program where the kernel has, or allows, none of
those system calls: `landlock` (none), `seccomp` (forbidden, as in a container), `prctl` (what Linux 6.3 brought).

By a filter of its own, the least there is: seccomp(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
PR_SET_MDWE = 65
MODE_FILTER = 2
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16
LANDLOCK = 444
SECCOMP = {"x86_64": 317, "aarch64": 277, "armv7l": 383}
PRCTL = {"x86_64": 157, "aarch64": 167, "armv7l": 172}


def program(calls: list[str]) -> bytes:
    """The filter's instructions: code, jump if true, jump if false, value."""
    machine = os.uname().machine
    lines = [(LOAD, 0, 0, NUMBER_AT)]
    if "landlock" in calls:
        lines += [(JUMP_IF_EQUAL, 0, 1, LANDLOCK), (RETURN, 0, 0, REFUSE | errno.ENOSYS)]
    if "seccomp" in calls:
        lines += [(JUMP_IF_EQUAL, 0, 1, SECCOMP[machine]), (RETURN, 0, 0, REFUSE | errno.EPERM)]
    if "prctl" in calls:
        lines += [(JUMP_IF_EQUAL, 0, 3, PRCTL[machine]), (LOAD, 0, 0, FIRST_ARGUMENT_AT)]
        lines += [(JUMP_IF_EQUAL, 0, 1, PR_SET_MDWE), (RETURN, 0, 0, REFUSE | errno.EINVAL)]
    lines.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def main() -> None:
    c = ctypes.CDLL(None, use_errno=True)
    lines = program(sys.argv[1].split(","))
    text = ctypes.create_string_buffer(lines, len(lines))
    filter_ = ctypes.create_string_buffer(struct.pack("HP", len(lines) // 8, ctypes.addressof(text)))
    assert c.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert c.prctl(PR_SET_SECCOMP, MODE_FILTER, filter_, 0, 0) == 0, os.strerror(ctypes.get_errno())
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()

"""The process that compiles scripts for a contained server: see gsrt.scripts.helper.

    python -c "...serve(DESCRIPTOR, [FOLDER, ...])"

It is contained too: it reads what the server reads, writes nothing, executes nothing. For each script it makes a copy
of itself, one at a time, which ends with it. It waits as long as the server lives, so it imports next to nothing:
`_socket` is the module behind `socket`, without the megabyte of enumerations that are made on top of it.
"""

from __future__ import annotations

import os
import sys
from _socket import CMSG_SPACE, socket

from gsrt.device.containment import contain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

REQUEST_BYTES_MAX = 8192  # a path has 4 KB
DESCRIPTOR_BYTES = 4  # a C int


def serve(descriptor: int, readable: Sequence[str]) -> None:
    """Answers until nobody is left who could ask, then ends the process."""
    contain([*readable, "/proc"], (), allow_children=True)  # for the figures of the copies, too
    asked = socket(fileno=descriptor)
    while True:
        message, ancillary, _, _ = asked.recvmsg(REQUEST_BYTES_MAX, CMSG_SPACE(DESCRIPTOR_BYTES))
        if not message:
            os._exit(0)
        answers = [int.from_bytes(data[:DESCRIPTOR_BYTES], sys.byteorder) for _, _, data in ancillary]
        for answer in answers:
            copy = os.fork()
            if copy == 0:
                asked.close()
                _answer(message, answer)
            os.close(answer)
            os.waitpid(copy, 0)


def _answer(message: bytes, descriptor: int) -> None:
    """The copy."""
    from gsrt.scripts.compile_child import main

    os.dup2(descriptor, 1)
    limit, _, path = message.decode("utf-8", "surrogateescape").partition(" ")
    try:
        main(path, int(limit))
    finally:
        os._exit(1)

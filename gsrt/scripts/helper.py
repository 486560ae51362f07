"""A process that compiles scripts for a server which may start none itself any more (gsrt.device.containment).

It is started beforehand, and is contained too: it reads what the server reads, writes nothing, executes nothing. For
each script it makes a copy of itself, which ends with it. What is asked is one message of a sequenced-packet socket,
`LIMIT PATH`, with the descriptor that takes the answer (as of gsrt.scripts.compile_child); the helper ends with the
server's end of that socket, which a server restarted by execve(2) inherits.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys

from gsrt.children import inheritable_descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

REQUEST_BYTES_MAX = 8192  # a path has 4 KB
DESCRIPTOR_BYTES = 4  # a C int


class Helper:
    """The server's end. Any thread may ask."""

    __slots__ = ("_socket",)

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        connection.set_inheritable(True)

    @classmethod
    def start(cls, readable: Sequence[str]) -> Helper:
        """A new process, which will read below READABLE and where Python is. Raises OSError."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            program = (
                f"import sys; sys.path[:] = {sys.path!r}; from gsrt.scripts.helper import serve; "
                f"serve({its.fileno()}, {list(readable)!r})"
            )
            others = inheritable_descriptors()
            its.set_inheritable(True)
            try:
                os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-I", "-S", "-c", program],
                    os.environ,
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                        (os.POSIX_SPAWN_DUP2, 0, 1),
                        (os.POSIX_SPAWN_DUP2, 0, 2),
                        *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in others),
                    ],
                    setsigmask=[],
                    setsigdef=[signal.SIGPIPE, signal.SIGTERM],
                )
            except OSError:
                ours.close()
                raise
        return cls(ours)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def begin(self, path: str, source_bytes_max: int) -> int:
        """Has the script at PATH compiled: the descriptor to read the result from, up to its end. Raises OSError."""
        reader, writer = os.pipe()
        try:
            self._socket.sendmsg(
                [f"{source_bytes_max} {path}".encode("utf-8", "surrogateescape")],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, writer.to_bytes(DESCRIPTOR_BYTES, sys.byteorder))],
            )
        except OSError as error:
            os.close(reader)
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                raise OSError(
                    error.errno, "the process that compiles scripts has ended: start the server anew"
                ) from None
            raise
        finally:
            os.close(writer)
        return reader

    def close(self) -> None:
        """The process ends."""
        self._socket.close()


def serve(descriptor: int, readable: Sequence[str]) -> None:
    """The process: answers until nobody is left who could ask, then ends it."""
    from gsrt.device.containment import contain

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the server, which ends this process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    contain([*readable, "/proc"], (), allow_children=True)  # for the figures of the copies, too
    asked = socket.socket(fileno=descriptor)
    while True:
        message, ancillary, _, _ = asked.recvmsg(REQUEST_BYTES_MAX, socket.CMSG_SPACE(DESCRIPTOR_BYTES))
        if not message:
            os._exit(0)
        answers = [int.from_bytes(data[:DESCRIPTOR_BYTES], sys.byteorder) for _, _, data in ancillary]
        if answers and os.fork() == 0:
            asked.close()
            _answer(message, answers[0])
        for each in answers:
            os.close(each)


def _answer(message: bytes, descriptor: int) -> None:
    """The copy."""
    from gsrt.scripts.compile_child import main

    os.dup2(descriptor, 1)
    limit, _, path = message.decode("utf-8", "surrogateescape").partition(" ")
    try:
        main(path, int(limit))
    finally:
        os._exit(1)

"""The process that compiles scripts for a server which may start none itself any more (gsrt.device.containment), as the
server sees it. It is started beforehand; gsrt.scripts.compile_service is what runs in it.

What is asked is one message of a sequenced-packet socket, `LIMIT PATH`, with the descriptor that takes the answer (as
of gsrt.scripts.compile_child). The process ends with the server's end of that socket, which a server restarted by
execve(2) inherits.
"""

from __future__ import annotations

import errno
import os
import socket
import sys

from gsrt.children import spawn_python
from gsrt.scripts.compile_service import DESCRIPTOR_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Helper:
    """The server's end. Any thread may ask."""

    __slots__ = ("_socket", "process")

    def __init__(self, connection: socket.socket, process: int = 0) -> None:
        self._socket = connection
        self.process = process  # its number, where this process has started it; else 0
        connection.set_inheritable(True)

    @classmethod
    def start(cls, readable: Sequence[str]) -> Helper:
        """A new process, which will read below READABLE and where Python is. Raises OSError."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            program = f"from gsrt.scripts.compile_service import serve; serve({its.fileno()}, {list(readable)!r})"
            try:
                # A terminal's Ctrl-C is for the server, which ends this process.
                process = spawn_python(program, kept=its.fileno(), own_group=True)
            except OSError:
                ours.close()
                raise
        return cls(ours, process)

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

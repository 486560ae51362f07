"""What the kernel and a name tell of a relay's stream."""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def address_of(peer_name: str) -> str:
    """Where the other side is, without the port: "ip" of "ip:port"."""
    return peer_name.rpartition(":")[0]


class Borrowed:
    """In a `with`: a descriptor as a socket of Python's, which does not close it. Raises OSError where it is none."""

    __slots__ = ("_descriptor", "_socket")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> socket.socket:
        self._socket = socket.socket(fileno=self._descriptor)
        return self._socket

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.detach()

"""Signals that wake whoever waits for sockets, also those that come just before the waiting begins."""

from __future__ import annotations

import signal
import socket


def woken_by_signals() -> tuple[socket.socket, socket.socket]:
    """(reader, writer): from now on every signal writes its number to `writer`, so that `reader` can be waited for.
    Both are to be kept as long as that shall hold, and neither blocks."""
    reader, writer = socket.socketpair()
    for each in (reader, writer):
        each.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    return reader, writer

"""A house of links in a process of its own, so that what a server needs can be told from what its clients do.

The test's time is passed on with each turn.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import random
import socket
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from tests.links.house import Client, House

STEP_SECONDS = 0.1
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


class _MallocInformation(ctypes.Structure):
    """struct mallinfo2 of glibc's malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks"),
            "keepcost",
        )
    ]


@dataclass
class Memory:
    """What a process has: resident bytes; bytes that malloc has given out; blocks that Python's own allocator has."""

    resident: int
    allocated: int
    blocks: int


def memory() -> Memory:
    """Of this process."""
    gc.collect()
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = _MallocInformation
    information = library.mallinfo2()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return Memory(pages * PAGE_BYTES, information.uordblks + information.hblkhd, sys.getallocatedblocks())


def _serve(pipe: Connection, sessions: int, size: int) -> None:
    with House() as house:
        made = [house.create(*(str(number) for number in range(size))) for _ in range(sessions)]
        pipe.send((house.port, [player.access_token for session in made for player in session.players]))
        while (now := pipe.recv()) is not None:
            if now < 0:
                pipe.send(memory())
                continue
            house.now = now
            came = house.relay.receive_datagrams(now)
            house.timers.run(now)
            house.relay.run_links(now)
            house.end_tick()
            pipe.send((came, house.relay.links_count))


class RemoteHouse:
    """So many sessions of so many players each; `tokens` are theirs, in order."""

    def __init__(self, sessions: int, size: int) -> None:
        self.now = 1000.0
        self.chance = random.Random(7)
        self.links_count = 0
        self.clients: list[Client] = []
        self._sockets: list[socket.socket] = []
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs, sessions, size), daemon=True
        )
        self._process.start()
        theirs.close()
        self._port, self.tokens = self._pipe.recv()

    def new_socket(self) -> socket.socket:
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        end.connect(("127.0.0.1", self._port))
        self._sockets.append(end)
        return end

    def memory(self) -> Memory:
        """The server's."""
        self._pipe.send(-1.0)
        found: Memory = self._pipe.recv()
        return found

    def enter(self, token: str, **how: Any) -> Client:
        self.now += 0.001
        client = Client(self, token, **how)
        self.clients.append(client)
        self.turn(client)
        assert client.op_codes()[:1] == [-1], client.why_not
        return client

    def turn(self, *clients: Client) -> None:
        """Passes on all that those clients and the server have to say now."""
        while True:
            sent = sum(client.send_out() for client in clients)
            self._pipe.send(self.now)
            came, self.links_count = self._pipe.recv()
            got = sum(client.take_in() for client in clients)
            if sent == came == got == 0:
                return

    def advance(self, seconds: float) -> None:
        """So much later, by STEP_SECONDS each."""
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_SECONDS
            due = [client for client in self.clients if client.next_timer() <= self.now]
            for client in due:
                client.handle_timer()
            self.turn(*due)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._pipe.send(None)
        except OSError:
            pass
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
        for each in self._sockets:
            each.close()

"""The way of datagrams between clients and a server, as a home router makes it: each client's socket has an address of
its own towards the server. It can lose some, and close for good for who is there."""

from __future__ import annotations

import random
import selectors
import socket
import threading

Address = tuple[str, int]


class Way:
    """Forwards UDP from `port` to the server's port on the loopback address while it is entered."""

    def __init__(self, server_port: int, *, loss: float = 0.0, seed: int = 1) -> None:
        self._server = ("127.0.0.1", server_port)
        self._random = random.Random(seed)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._front.setblocking(False)
        self.port: int = self._front.getsockname()[1]
        self.loss = loss
        self.lost = 0
        self.clients: dict[Address, socket.socket] = {}
        self._closed: set[Address] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Way:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._front.close()
        for upstream in self.clients.values():
            upstream.close()

    def close_for_who_is_there(self) -> None:
        """Nothing comes through any more from or to the sockets that have used this way so far."""
        self._closed = set(self.clients)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._front, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(0.05):
                    while self._carry(key.fileobj, key.data, selector):  # type: ignore[arg-type]
                        pass

    def _carry(self, source: socket.socket, client: Address | None, selector: selectors.BaseSelector) -> bool:
        """One datagram; False: there is none."""
        try:
            datagram, address = source.recvfrom(65_536)
        except BlockingIOError:
            return False
        except OSError:
            return True  # word that the other end is nobody's
        target = client or address
        if target not in self.clients:
            upstream = self.clients[target] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            upstream.setblocking(False)
            upstream.connect(self._server)
            selector.register(upstream, selectors.EVENT_READ, target)
        if target in self._closed or self._random.random() < self.loss:
            self.lost += 1
        elif client is None:
            self.clients[target].send(datagram)
        else:
            self._front.sendto(datagram, client)
        return True

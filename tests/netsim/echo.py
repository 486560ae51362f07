"""A server that sends back what comes."""

from __future__ import annotations

import socket
import threading

from tests.support.server import free_port

HOST = "127.0.0.1"
DEADLINE = 10.0  # seconds


class Echo:
    """A server that sends back what comes, UDP and TCP, until it is closed. `peers`: UDP addresses it has seen."""

    def __init__(self) -> None:
        self.port = free_port()
        self.peers: list[tuple[str, int]] = []
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._threads = [threading.Thread(target=work) for work in (self._echo_datagrams, self._echo_streams)]
        for each in (self._datagrams, self._listener):
            each.bind((HOST, self.port))
            each.settimeout(0.05)
        self._listener.listen()
        self._closing = threading.Event()
        for thread in self._threads:
            thread.start()

    def _echo_datagrams(self) -> None:
        while not self._closing.is_set():
            try:
                datagram, address = self._datagrams.recvfrom(65_535)
            except TimeoutError:
                continue
            if address not in self.peers:
                self.peers.append(address)
            self._datagrams.sendto(datagram, address)

    def _echo_streams(self) -> None:
        """One connection after the other."""
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(DEADLINE)
                try:
                    while chunk := connection.recv(65_536):
                        connection.sendall(chunk)
                except OSError:
                    pass

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._datagrams.close()
        self._listener.close()

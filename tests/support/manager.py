"""A stand-in for the service manager: it takes what a service leaves with it, and starts the next process with that.

Only what systemd does with descriptors is here (sd_notify(3), sd_listen_fds(3)); the real one is met by `make
systemd-test`."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

FIRST = 3  # descriptor of the first that is handed in
HIGH = 200  # above all that is open in a process just begun


class Manager:
    """Listens in a thread until closed. `kept` is what it has, in the order of its coming: (name, descriptor); with
    `keeps` 0, which is FileDescriptorStoreMax= of the unit, nothing."""

    def __init__(self, folder: Path, *, keeps: int = 64) -> None:
        self._keeps = keeps
        self.address = str(folder / "notify")
        self.kept: list[tuple[str, int]] = []
        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name="manager", daemon=True)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()
        for _, descriptor in self.kept:
            os.close(descriptor)

    def environment(self) -> dict[str, str]:
        """Of the service."""
        with self._lock:
            names = ":".join(name for name, _ in self.kept)
            return {
                "NOTIFY_SOCKET": self.address,
                "FDSTORE": str(self._keeps),  # said of 0 too, for the tests' own manager may keep something
                **({"LISTEN_FDS": str(len(self.kept)), "LISTEN_FDNAMES": names} if self.kept else {}),
            }

    def hand_in(self) -> None:
        """In the child, before the service is executed: what is kept becomes descriptors 3, 4, ..."""
        for at, (_, descriptor) in enumerate(self.kept):
            os.dup2(descriptor, HIGH + at, inheritable=False)
        for at in range(len(self.kept)):
            os.dup2(HIGH + at, FIRST + at, inheritable=True)

    def names(self) -> list[str]:
        with self._lock:
            return [name for name, _ in self.kept]

    def _listen(self) -> None:
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 4)
            if not message:
                return
            with self._lock:
                self._take(dict(line.split("=", 1) for line in message.decode().splitlines()), descriptors)

    def _take(self, told: dict[str, str], descriptors: list[int]) -> None:
        self.told.append(" ".join(sorted(told)))
        name = told.get("FDNAME", "")
        if "FDSTORE" in told:
            for descriptor in descriptors:
                if not self._keeps or any(os.path.sameopenfile(descriptor, kept) for _, kept in self.kept):
                    os.close(descriptor)  # as systemd does of what it has no room for, or has already
                else:
                    os.set_inheritable(descriptor, False)  # it gets there by hand_in() only
                    self.kept.append((name, descriptor))
            return
        for descriptor in descriptors:  # of a BARRIER
            os.close(descriptor)
        if "FDSTOREREMOVE" in told:
            for gone in [each for each in self.kept if each[0] == name]:
                self.kept.remove(gone)
                os.close(gone[1])

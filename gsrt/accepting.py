"""New TCP connections: taken as fast as they come, as many as the profile and the descriptors allow."""

from __future__ import annotations

import os
import selectors
import socket

from gsrt.transports.port import tune

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt._relay import Relay
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.reception import Reception

ACCEPTS_PER_TICK = 64  # so that a crowd at the door does not keep the players waiting
ACCEPT_PAUSE_SECONDS = 0.5  # how long new connections wait after there was no descriptor for one
RAISE_DESCRIPTORS = "raise the limit on open files (ulimit -n, or LimitNOFILE= in the unit)"
DESCRIPTORS_SPARE = 64  # descriptors for what is no player's connection, and no file of www/
LISTENER = "listener"  # what a selector key stands for


def raise_descriptor_limit(wanted: int) -> int:
    """Raises the limit on file descriptors as far as needed and allowed: what it is now."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def descriptors_needed(profile: Profile) -> int:
    """Of a server with that profile."""
    return profile.connections_max + profile.www_downloads_max + DESCRIPTORS_SPARE


def provide_descriptors(profile: Profile, log: Log) -> None:
    """Has the process have as many descriptors as the profile needs, if it may."""
    wanted = descriptors_needed(profile)
    limit = raise_descriptor_limit(wanted)
    if limit < wanted:
        log.warn("few file descriptors", allowed=limit, todo=RAISE_DESCRIPTORS)


class Acceptor:
    """Gives what connects to `listener` to the relay and the reception."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        relay: Relay,
        reception: Reception,
        profile: Profile,
        log: Log,
    ) -> None:
        self.again_at: float | None = None  # after a pause; None: there is none
        self._listener = listener
        self._selector = selector
        self._relay = relay
        self._reception = reception
        self._profile = profile
        self._log = log
        self._take_spare()
        selector.register(listener, selectors.EVENT_READ, LISTENER)

    def close(self) -> None:
        """What is kept back is given up; the listener stays as it is."""
        self._give_spare()

    def accept(self, now: float) -> None:
        """Takes those who are there, ACCEPTS_PER_TICK at most."""
        for _ in range(ACCEPTS_PER_TICK):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._out_of_descriptors(error, now)
                return
            if len(self._relay.streams) >= self._profile.connections_max and not self._reception.make_room():
                connection.close()
                self._reception.counters["connections_refused_full"] += 1
                self._log.limited(
                    "warn",
                    "full",
                    "connection refused: as many are open as the profile allows",
                    address=address[0],
                    connections_max=self._profile.connections_max,
                )
                continue
            tune(connection, self._profile)
            stream = self._relay.add_stream(connection.detach(), f"{address[0]}:{address[1]}")
            self._reception.admit(stream, address[0], now)

    def go_on(self, now: float) -> None:
        """After a pause, if it is over."""
        if self.again_at is not None and now >= self.again_at:
            self.again_at = None
            if self._spare < 0:
                self._take_spare()
            self._selector.register(self._listener, selectors.EVENT_READ, LISTENER)

    def _out_of_descriptors(self, error: OSError, now: float) -> None:
        """No descriptor for a new connection: the oldest that has not logged in gives one; else this one is refused."""
        self._log.limited(
            "error",
            "descriptors",
            "no new connection can be taken",
            reason=error.strerror,
            todo=RAISE_DESCRIPTORS,
        )
        self._reception.counters["connections_refused_descriptors"] += 1
        if self._reception.make_room():
            return
        self._give_spare()
        try:
            self._listener.accept()[0].close()
        except OSError:
            pass
        self._take_spare()
        self._selector.unregister(self._listener)
        self.again_at = now + ACCEPT_PAUSE_SECONDS

    def _take_spare(self) -> None:
        """Keeps a descriptor back, with which a connection can be refused when there is no other; -1: not even that."""
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._spare = -1

    def _give_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

"""How many new players an address may make: accounts cost nothing, and every client has the game's secret.

Each address has a bucket (of IPv6, the network that one household has, RFC 6177): so many at once, and so many an hour
after that. The machine itself may make any number: there are its bots, and whatever stands in front of the server.
"""

from __future__ import annotations

import socket

from gsrt.backend.call import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from gsrt.log import Log

ADDRESSES_MAX = 4096  # remembered; of more, the one that has asked for nothing for longest is forgotten
HOUR = 3600.0

TOO_MANY = {"player": "TOO_MANY: this address has made many new players lately; try again later"}


class Newcomers:
    """The buckets. `clock()` gives seconds; where it goes back, nothing is added for that time."""

    __slots__ = ("_buckets", "_clock", "_log", "_most", "_per_hour")

    def __init__(self, most: int, per_hour: float, clock: Callable[[], float], log: Log) -> None:
        self._most = most
        self._per_hour = per_hour
        self._clock = clock
        self._log = log
        self._buckets: dict[bytes, tuple[float, float]] = {}  # what is left, and as of when; last asked for last

    def one(self, address: str) -> Newcomer:
        """Somebody from ADDRESS ("": from here) who may be new."""
        return Newcomer(self, address)

    def take(self, network: bytes) -> bool:
        """Whether one more may be made from there."""
        now = self._clock()
        left, then = self._buckets.pop(network, (float(self._most), now))
        left = min(left + max(now - then, 0.0) * self._per_hour / HOUR, self._most)
        allowed = left >= 1.0
        self._buckets[network] = left - allowed, now
        if len(self._buckets) > ADDRESSES_MAX:
            del self._buckets[next(iter(self._buckets))]
        return allowed

    def give_back(self, network: bytes) -> None:
        """None was made."""
        left, then = self._buckets.get(network, (float(self._most), 0.0))
        self._buckets[network] = min(left + 1.0, self._most), then

    def refused(self, address: str) -> None:
        """Somebody was."""
        self._log.limited(
            "warn",
            "newcomers",
            "no new player was made: its address has made too many",
            address=address,
            new_players_per_address=self._most,
            new_players_per_address_per_hour=self._per_hour,
        )


class Newcomer:
    """In a `with`: `allowed` says whether a player may be made (if not, and one had to be, Failure TOO_MANY is what
    ends it), and `made` is to be set if one was."""

    __slots__ = ("_address", "_network", "_newcomers", "allowed", "made")

    def __init__(self, newcomers: Newcomers, address: str) -> None:
        self._newcomers = newcomers
        self._address = address
        self._network = network_of(address)
        self.allowed = self._network is None
        self.made = False

    def __enter__(self) -> Newcomer:
        if self._network is not None:
            self.allowed = self._newcomers.take(self._network)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Failure) and error.errors == TOO_MANY:
            self._newcomers.refused(self._address)
        elif self._network is not None and self.allowed and not self.made:
            self._newcomers.give_back(self._network)


def network_of(address: str) -> bytes | None:
    """What an address is counted by: an IPv4 address, or the first 56 bits of an IPv6 one; None: this machine's."""
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.strip("[]").partition("%")[0])
    except OSError:
        try:
            packed = bytes(10) + b"\xff\xff" + socket.inet_aton(address)
        except OSError:
            return None
    if packed[:12] == bytes(10) + b"\xff\xff":
        return None if packed[12] == 127 else packed[12:]
    return None if packed == bytes(15) + b"\x01" else packed[:7]

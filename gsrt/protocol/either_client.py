"""A client's connection over whichever leg works, without I/O: the link first, or a stream with UDP beside it.

A driver does for it what `rt_client` and `link_client` say, according to which of `wanted_stream` and `wanted_socket`
is not 0.
"""

from __future__ import annotations

from gsrt.protocol.client_connection import AtPlace, ConnectionState, Place
from gsrt.protocol.link import SUITE_CHACHA20_POLY1305
from gsrt.protocol.rt import Intent
from gsrt.protocol.rt_client import ClientConnection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gsrt._core import Data, _Writable
    from gsrt.protocol.link_client import LinkConnection

ANSWER_SECONDS = 0.6  # for the server's first answer over UDP, where there is another way
KNOWN_ANSWER_SECONDS = 2.0  # where it has answered before: it restarts rather than that UDP is blocked now
EXTRA_HELLO_SECONDS = 0.4  # after the first: the handshake's own third would come too late to be of use


class EitherConnection(AtPlace):
    """One player's connection to one session. `link` True: the link and nothing else; False: never; None: the link,
    and a stream where nothing answers to it.

    Which of them worked is where the next attempt begins; an attempt that failed, for another reason than the token, is
    followed by one over the other. Raises ValueError for a token that is empty or over MAX_TOKEN_BYTES.
    """

    def __init__(
        self,
        access_token: str,
        *,
        entropy: Callable[[int], bytes],
        link: bool | None = None,
        suite: int = SUITE_CHACHA20_POLY1305,
    ) -> None:
        super().__init__(Place(access_token, entropy))
        self._has_choice = link is None
        self._link: LinkConnection | None = None
        if link is not False:
            from gsrt.protocol.link_client import LinkConnection

            self._link = LinkConnection(access_token, entropy=entropy, suite=suite, place=self._place)
        self._legacy = ClientConnection(access_token, entropy=entropy, place=self._place)
        self.over_link = self._link is not None
        self._link_has_worked = False
        self._hello_at: float | None = None
        self._fall_back_at: float | None = None
        self._change_at: float | None = None  # the other leg is to be started

    @property
    def _leg(self) -> LinkConnection | ClientConnection:
        if self.over_link:
            assert self._link is not None
            return self._link
        return self._legacy

    # What the application asks.

    @property
    def state(self) -> ConnectionState:
        return self._leg.state if self._change_at is None else ConnectionState.WAITING

    @property
    def quality(self) -> dict[str, float] | None:
        """The link's estimates; None: there are none, or there is no link."""
        return self._link.quality if self._link is not None and self.over_link else None

    # What the driver asks.

    @property
    def wanted_stream(self) -> int:
        return 0 if self.over_link else self._legacy.wanted_stream

    @property
    def wanted_socket(self) -> int:
        return self._link.wanted_socket if self._link is not None and self.over_link else 0

    @property
    def answered(self) -> bool:
        """The server has answered over the link, since its socket was first wanted."""
        return self._link is not None and self.over_link and self._link.answered

    @property
    def delivered(self) -> bool:
        """Whether nothing is left to be done for the packets that were sent, as far as this object knows."""
        return self._link is None or not self.over_link or self._link.delivered

    @property
    def fast_port(self) -> int | None:
        return self._legacy.fast_port

    def next_timer(self) -> float | None:
        if self._change_at is not None:
            return self._change_at
        times = (self._leg.next_timer(), self._hello_at, self._fall_back_at)
        return min((time for time in times if time is not None), default=None)

    def stream_to_send(self) -> bytes:
        return self._legacy.stream_to_send()

    def datagrams_to_send(self, now: float) -> list[bytes]:
        if self._link is not None and self.over_link:
            return self._link.datagrams_to_send(now)
        return self._legacy.datagrams_to_send()

    # What the driver tells.

    def start(self, now: float) -> None:
        if self.state <= ConnectionState.CLOSED and self._change_at is None:
            self._leg.start(now)
            self._follow(now)

    def close(self, now: float) -> None:
        self._change_at = None
        if self._link is not None and self.over_link:
            self._link.close(now)
        else:
            self._legacy.close()
        self._follow(now)

    def stream_opened(self, now: float) -> None:
        self._legacy.stream_opened(now)

    def stream_lost(self, now: float, reason: str = "the server closed the connection") -> None:
        self._legacy.stream_lost(now, reason)
        self._follow(now)

    def receive_stream(self, data: bytes, now: float) -> None:
        self._legacy.receive_stream(data, now)
        self._follow(now)

    def receive_datagram(self, datagram: bytes, now: float) -> None:
        self._leg.receive_datagram(datagram, now)
        self._follow(now)

    def unreachable(self, now: float, reason: str) -> None:
        """The system says that the link's port is nobody's."""
        if self._link is not None and self.over_link:
            if self._fall_back_at is not None:
                self._fall_back(now)
            else:
                self._link.unreachable(now, reason)
            self._follow(now)

    def handle_timer(self, now: float) -> None:
        if self._change_at is not None:
            if now < self._change_at:
                return
            self._change_at = None
            self._leg.start(now)
        elif self._fall_back_at is not None and now >= self._fall_back_at:
            self._fall_back(now)
        else:
            if self._hello_at is not None and now >= self._hello_at:
                self._hello_at = None
                assert self._link is not None
                self._link.greet_again()
            self._leg.handle_timer(now)
        self._follow(now)

    def send(
        self,
        op_code: int,
        intent: Intent = Intent.RELIABLE,
        data: Data | Mapping[int, _Writable] | None = None,
        payload: bytes | None = None,
        peers: Iterable[int] = (),
        channel: int = 0,
        *,
        now: float,
    ) -> int:
        """As LinkConnection.send or ClientConnection.send."""
        if self._link is not None and self.over_link:
            return self._link.send(op_code, intent, data, payload, peers, channel, now=now)
        return self._legacy.send(op_code, intent, data, payload, peers, channel)

    # The choice.

    def _follow(self, now: float) -> None:
        """Something has happened: what that means for the choice."""
        link = self._link
        if link is None or not self._has_choice:
            return
        if self.over_link and link.state == ConnectionState.CONNECTING and not link.answered:
            if self._fall_back_at is None:
                self._hello_at = now + EXTRA_HELLO_SECONDS
                self._fall_back_at = now + (KNOWN_ANSWER_SECONDS if self._link_has_worked else ANSWER_SECONDS)
        else:
            self._hello_at = self._fall_back_at = None
        self._link_has_worked = self._link_has_worked or (self.over_link and self.ready)
        if self._leg.state == ConnectionState.WAITING and not self._place.fell and not self.refusals:
            self._change_at = now if self.over_link and link.not_offered else self._leg.next_timer()
            self._leg.rest()
            self.over_link = not self.over_link

    def _fall_back(self, now: float) -> None:
        """To the stream, without a word: that nothing answers to the link is not a failure."""
        assert self._link is not None
        self._link.rest()
        self.over_link = False
        self._hello_at = self._fall_back_at = None
        self._legacy.start(now)

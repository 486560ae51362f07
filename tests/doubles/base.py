"""What all SDK doubles share: what they record, the peer list, the sequence numbers, what commands mean.

A double does what the SDK does when it is fed, and never raises into the test: what the SDK does not survive is a line
in `violations` ("killed: ...", "frozen: ...", "threw: ...", "hung: ...", "lost: ...").
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.doubles import dialect as reading
from tests.doubles.dialect import Dialect, Fate, Head, Received
from tests.doubles.driver import Driver
from tests.doubles.writers import Intent, Outgoing, Writer
from tests.support import wire

STOPPED = "stopped"
CONNECTING = "connecting"
LOGGING_IN = "logging in"
RELIABLE_ONLY = "reliable only"
RELIABLE_AND_FAST_SEND = "reliable and fast send"
RELIABLE_AND_FAST = "reliable and fast"
DEAD = "dead"


@dataclass(frozen=True)
class Event:
    """Something the app was told. `kind`: "ready", "not ready", "data", "player connect", "player disconnect".

    `leg` is "stream", "datagram" or "message"; `while_ready` is False for what came before OnReady(true).
    """

    kind: str
    sender: int = 0
    op_code: int = 0
    data: bytes | None = None
    payload: bytes | None = None
    peer_id: int = 0
    active_peers: tuple[int, ...] = ()
    leg: str = ""
    while_ready: bool = True


class Double:
    """Base of the SDK doubles. Subclasses move bytes; this class knows what packets mean.

    `pace` scales the SDK's own waits (a C# client polls every 200 ms; at 0.1 every 20 ms). `host` and `port` are where
    it dials, `token` what MatchFoundMessage gave it.
    """

    sdk = ""
    writer: Writer

    def __init__(self, name: str, host: str, port: int, token: str, *, pace: float = 0.1, seed: int = 1) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.connect_token = token.encode()
        self.pace = pace
        self.random = random.Random(f"{name}/{seed}")
        self.events: list[Event] = []
        self.violations: list[str] = []
        self.log: list[str] = []
        self.state = STOPPED
        self.peer_id = 0
        self.active_peers: list[int] = []
        self.fast_port = port
        self.ready = False
        self.peers_at_ready: list[int] | None = None
        self.logins = 0
        self._next_sequence = 0
        self._newest_sequence: dict[int, int] = {}
        self._driver: Driver | None = None

    # -- what tests ask -------------------------------------------------------------------------------------------

    @property
    def driver(self) -> Driver:
        """The loop it lives in."""
        assert self._driver is not None, "not started"
        return self._driver

    @property
    def packets(self) -> list[Event]:
        """User packets handed to the app."""
        return [event for event in self.events if event.kind == "data"]

    def of_op_code(self, op_code: int) -> list[Event]:
        """User packets of one opCode."""
        return [event for event in self.packets if event.op_code == op_code]

    def told(self, kind: str) -> list[int]:
        """Peer ids of the "player connect" or "player disconnect" events."""
        return [event.peer_id for event in self.events if event.kind == kind]

    def describe(self) -> str:
        """One line for a failing test."""
        return (
            f"{self.sdk} {self.name}: {self.state}, ready={self.ready}, peer {self.peer_id}, peers {self.active_peers},"
            f" {len(self.packets)} packets, violations {self.violations}, log {self.log[-4:]}"
        )

    # -- the app's side -------------------------------------------------------------------------------------------

    def start(self, driver: Driver) -> None:
        """Session.Start()."""
        raise NotImplementedError

    def stop(self) -> None:
        """Session.Stop(): an orderly close of TCP; nothing is said on UDP."""
        raise NotImplementedError

    def send(
        self,
        op_code: int,
        intent: Intent = Intent.RELIABLE,
        *,
        data: wire.DataDict | bytes | None = None,
        payload: bytes | None = None,
        targets: tuple[int, ...] = (),
    ) -> int:
        """RTSession.Send: bytes of the packet; 0 before LoginResult; -1 into a connection known to be closed."""
        if self.state in (STOPPED, CONNECTING, LOGGING_IN):
            return 0
        sequence = None
        if intent is Intent.SEQUENCED:
            sequence = self._next_sequence
            self._next_sequence += 1
        fast = intent is not Intent.RELIABLE and self.can_send_fast()
        body = type(self).writer(Outgoing(op_code, intent, fast, sequence, targets, data, payload))
        return self.put(body, fast)

    def can_send_fast(self) -> bool:
        """Do unreliable packets go by UDP now?"""
        return False

    def put(self, body: bytes, fast: bool) -> int:
        """Write a packet to a leg."""
        raise NotImplementedError

    def command(self, op_code: int) -> None:
        """A system message without body, on the reliable leg."""
        self.put(type(self).writer(Outgoing(op_code)), False)

    def login_body(self) -> bytes:
        """The login packet: the SDK's plain packet of opCode 0."""
        return type(self).writer(Outgoing(0, payload=wire.encode_login(self.connect_token)))

    # -- what subclasses tell -------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """For describe()."""
        self.log.append(text)

    def violate(self, text: str) -> None:
        """The server did what this SDK does not bear."""
        self.violations.append(text)

    def meet(self, fate: Fate) -> None:
        """Something the SDK cannot bear; subclasses say what follows."""
        self.violate(f"{fate.word}: {fate}")

    def is_stale(self, head: Head) -> bool:
        """The receiver's sequence check, made only where there is a payload field."""
        assert head.sequence is not None
        newest = self._newest_sequence.get(head.sender)
        if newest is not None and newest > head.sequence:
            return True
        self._newest_sequence[head.sender] = head.sequence
        return False

    def read_all(self, dialect: Dialect, data: bytes, limit: int | None = None) -> list[Received]:
        """Packets of one datagram or message (at most `limit`); raises the Fate of the first bad one.

        What was read before the bad one is handled, as the SDKs do.
        """
        source = reading.Source(complete=True)
        source.feed(data)
        reader = reading.PacketReader(dialect, source, self.is_stale)
        received: list[Received] = []
        while source and (limit is None or len(received) < limit):
            parsing = reader.packet()
            try:
                next(parsing)
            except StopIteration as stop:
                received.append(stop.value)
                self.handle(stop.value, dialect)
        return received

    def handle(self, packet: Received, dialect: Dialect) -> None:
        """Dispatch one packet as the SDK does. Raises a Fate."""
        leg = dialect.name.split(" ")[1]
        if packet.stale:
            self.violate(f"muted: stale sequence number {packet.sequence} from sender {packet.sender}")
            return
        if not packet.with_payload_field or packet.op_code not in reading.COMMANDS:
            if packet.op_code < 0:
                self.violate(f"app got opCode {packet.op_code}")
            self.tell(
                Event(
                    "data",
                    sender=packet.sender,
                    op_code=packet.op_code,
                    data=packet.data,
                    payload=packet.payload,
                    leg=leg,
                    while_ready=self.ready,
                )
            )
            return
        body = packet.payload or b""
        if packet.op_code == wire.OP_LOGIN_RESULT:
            self.on_login_result(reading.read_login_result(body, dialect), packet.reliable, leg)
        elif packet.op_code in (wire.OP_PLAYER_CONNECT, wire.OP_PLAYER_DISCONNECT):
            self.on_peer_change(packet.op_code, reading.read_peer_change(body, dialect), dialect, leg)
        elif packet.op_code == wire.OP_UDP_CONNECT:
            if dialect.udp_connect_throws:
                raise reading.Threw("UDPConnect on a WebSocket")
            self.on_udp_connect(leg)

    def tell(self, event: Event) -> None:
        """The app's callback."""
        self.events.append(event)

    def on_login_result(self, result: reading.LoginResult, reliable: bool | None, leg: str) -> None:
        """opCode -1."""
        raise NotImplementedError

    def on_udp_connect(self, leg: str) -> None:
        """opCode -5."""

    def take_login(self, result: reading.LoginResult) -> None:
        """What every LoginResult sets, the one that acknowledges the UDP login included."""
        self.connect_token = result.reconnect_token
        self.peer_id = result.peer_id
        if not result.reconnect_token:
            self.violate("login result without reconnectToken: the next login has no token")
        if not result.peer_id:
            self.violate("login result without peerId")

    def on_peer_change(self, op_code: int, change: reading.PeerChange, dialect: Dialect, leg: str) -> None:
        """opCodes -101 and -103: the list replaces ours; the callback needs OnReady."""
        assert change.active_peers is not None
        self.active_peers = list(change.active_peers)
        if self.peer_id not in self.active_peers:
            self.violate(f"peer list {self.active_peers} lacks its recipient {self.peer_id}")
        connected = op_code == wire.OP_PLAYER_CONNECT
        if connected and change.peer_id in self._newest_sequence:
            if dialect.rejoin_throws:
                raise reading.Threw(f"PlayerConnect of {change.peer_id}, whose sequenced payloads it had seen")
            del self._newest_sequence[change.peer_id]
        if not self.ready:
            return
        self.tell(
            Event(
                "player connect" if connected else "player disconnect",
                peer_id=change.peer_id,
                active_peers=tuple(self.active_peers),
                leg=leg,
            )
        )

    def become_ready(self) -> None:
        """OnReady(true): -7 goes out, then the client adds itself, then the callback."""
        self.command(wire.OP_PLAYER_READY)
        if self.peer_id not in self.active_peers:
            self.active_peers.append(self.peer_id)
        self.ready = True
        self.peers_at_ready = sorted(self.active_peers)
        self.tell(Event("ready"))

    def lose_ready(self) -> None:
        """OnReady(false)."""
        self.ready = False
        self.tell(Event("not ready"))

    # -- the driver's side ----------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """Earliest of the running timers."""
        return None

    def handle_timer(self, now: float) -> None:
        """A timer is due."""

    def dispose(self) -> None:
        """Close every socket without ceremony."""

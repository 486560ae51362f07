"""The GameSparks Real-Time dialect: its numbers, system messages and frames (docs/PROTOCOL.md).

A system message is a packet with opCode <= 0 whose body stands in the packet's payload field. A *frame* is a packet
with its length prefix, as it goes on a stream or into a datagram.
`ClientConnection` (of `rt_client`) and its events (of `client_connection`) are reachable from here; they load when
first asked for, so that a server does not carry the client's code.
"""

from __future__ import annotations

from enum import IntEnum

from gsrt._core import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsrt._core import Packet
    from gsrt.protocol.client_connection import ConnectionState as ConnectionState
    from gsrt.protocol.client_connection import Failed as Failed
    from gsrt.protocol.client_connection import Lost as Lost
    from gsrt.protocol.client_connection import PacketReceived as PacketReceived
    from gsrt.protocol.client_connection import PeerConnected as PeerConnected
    from gsrt.protocol.client_connection import PeerDisconnected as PeerDisconnected
    from gsrt.protocol.client_connection import Ready as Ready
    from gsrt.protocol.rt_client import ClientConnection as ClientConnection

OP_LOGIN = 0
OP_LOGIN_RESULT = -1
OP_PING = -2
OP_PING_RESULT = -3
OP_UDP_CONNECT = -5
OP_PLAYER_READY = -7
OP_PLAYER_CONNECT = -101
OP_PLAYER_DISCONNECT = -103

CLIENT_VERSION = 2  # what every official client sends in its login

MAX_TOKEN_BYTES = 1024  # the closed service's tokens were about 500 bytes; ours have 40
MAX_DATAGRAM_BYTES = 1024  # the C++ client's receive buffer, length prefix included
MAX_PACKET_BYTES = 16_000  # a larger packet would not fit one TLS record, and a cut one kills the C++ client
MAX_PEER_ID = 0x7FFF_FFFF  # clients keep peer ids as signed 32-bit numbers
MAX_OP_CODE = 0x7FFF_FFFF

_CONNECTION_NAMES = frozenset(
    ("ConnectionState", "Failed", "Lost", "PacketReceived", "PeerConnected", "PeerDisconnected", "Ready")
)


def __getattr__(name: str) -> object:
    if name == "ClientConnection":
        from gsrt.protocol.rt_client import ClientConnection

        return ClientConnection
    if name in _CONNECTION_NAMES:
        from gsrt.protocol import client_connection

        return getattr(client_connection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Intent(IntEnum):
    """How a packet wants to travel."""

    RELIABLE = 0
    UNRELIABLE = 1
    UNRELIABLE_SEQUENCED = 2
    RELIABLE_UNORDERED = 3  # waits for no other packet; on a leg that is not a link it is RELIABLE


class Login:
    """opCode 0, client to server, first packet of a stream and of the datagram leg."""

    __slots__ = ("client_version", "token")

    def __init__(self, token: str, client_version: int = CLIENT_VERSION) -> None:
        self.token = token
        self.client_version = client_version


class LoginResult:
    """opCode -1, server to client. `fast_port` None: the datagram leg uses the stream's port."""

    __slots__ = ("active_peers", "fast_port", "peer_id", "reconnect_token", "success")

    def __init__(
        self,
        success: bool,
        reconnect_token: str,
        peer_id: int,
        active_peers: tuple[int, ...],
        fast_port: int | None = None,
    ) -> None:
        self.success = success
        self.reconnect_token = reconnect_token
        self.peer_id = peer_id
        self.active_peers = active_peers
        self.fast_port = fast_port


class _PeerChange:
    __slots__ = ("active_peers", "peer_id")

    def __init__(self, peer_id: int, active_peers: tuple[int, ...]) -> None:
        self.peer_id = peer_id
        self.active_peers = active_peers


class PlayerConnect(_PeerChange):
    """opCode -101, server to client: `peer_id` is now ready; `active_peers` replaces the client's list."""

    __slots__ = ()


class PlayerDisconnect(_PeerChange):
    """opCode -103, server to client: `peer_id` has gone; `active_peers` replaces the client's list."""

    __slots__ = ()


# Reading. A body is a run of fields, each a key varint (number * 8 + wire type) and a value.

_WIRE_VARINT = 0
_WIRE_BYTES = 2


def _read_varint(body: bytes, offset: int) -> tuple[int, int]:
    """One varint of at most 64 bits at `offset`: (value, offset behind it)."""
    value = 0
    start = offset
    for shift in range(0, 70, 7):
        if offset >= len(body):
            raise ProtocolError("number is cut short", start)
        byte = body[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, offset
    raise ProtocolError("number is longer than 64 bits", start)


def _read_fields(body: bytes) -> Iterable[tuple[int, int | bytes, int]]:
    """Each field as (number, int for a varint or bytes for a byte run, offset of its value)."""
    offset = 0
    while offset < len(body):
        start = offset
        key, offset = _read_varint(body, offset)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ProtocolError("field number 0", start)
        value_offset = offset
        if wire_type == _WIRE_VARINT:
            value, offset = _read_varint(body, offset)
            yield number, value, value_offset
        elif wire_type == _WIRE_BYTES:
            length, offset = _read_varint(body, offset)
            if length > len(body) - offset:
                raise ProtocolError("byte run is cut short", value_offset)
            yield number, body[offset : offset + length], value_offset
            offset += length
        else:
            raise ProtocolError(f"field {number} has wire type {wire_type}, which no system message uses", start)


def _refuse_bytes(number: int, value: int | bytes, offset: int) -> None:
    """Unknown numbers may be skipped; unknown byte runs are refused, as official clients cannot skip them either."""
    if not isinstance(value, int):
        raise ProtocolError(f"unexpected byte run in field {number}", offset)


def _token(value: int | bytes, offset: int) -> str:
    if not isinstance(value, bytes):
        raise ProtocolError("token is not a byte run", offset)
    if len(value) > MAX_TOKEN_BYTES:
        raise ProtocolError(f"token of {len(value)} bytes, at most {MAX_TOKEN_BYTES} are allowed", offset)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ProtocolError("token is not UTF-8", offset) from None


def _number(name: str, value: int | bytes, offset: int, highest: int) -> int:
    if not isinstance(value, int):
        raise ProtocolError(f"{name} is not a number", offset)
    if value > highest:
        raise ProtocolError(f"{name} {value} is over {highest}", offset)
    return value


def _payload(packet: Packet, op_codes: tuple[int, ...]) -> bytes:
    if packet.op_code not in op_codes:
        raise ProtocolError(f"opCode {packet.op_code} where {' or '.join(map(str, op_codes))} was expected", 0)
    if packet.payload is None:
        raise ProtocolError("system message without a body", 0)
    return packet.payload


def parse_login(packet: Packet) -> Login:
    """A login packet's message. Raises ProtocolError; offsets count from the start of the packet's payload."""
    token: str | None = None
    client_version = 0
    for number, value, offset in _read_fields(_payload(packet, (OP_LOGIN,))):
        if number == 1:
            token = _token(value, offset)
        elif number == 2:
            client_version = _number("clientVersion", value, offset, 0x7FFF_FFFF)
        else:
            _refuse_bytes(number, value, offset)
    if not token:
        raise ProtocolError("login without a token", 0)
    return Login(token, client_version)


def parse_login_result(packet: Packet) -> LoginResult:
    """A login result's message. Raises ProtocolError; offsets count from the start of the packet's payload."""
    success = False
    reconnect_token = ""
    peer_id = 0
    active_peers: list[int] = []
    fast_port: int | None = None
    for number, value, offset in _read_fields(_payload(packet, (OP_LOGIN_RESULT,))):
        if number == 1:
            success = _number("success", value, offset, 1) == 1
        elif number == 2:
            reconnect_token = _token(value, offset)
        elif number == 3:
            peer_id = _number("peerId", value, offset, MAX_PEER_ID)
        elif number == 4:
            active_peers.append(_number("peer", value, offset, MAX_PEER_ID))
        elif number == 5:
            fast_port = _number("fastPort", value, offset, 0xFFFF)
        else:
            _refuse_bytes(number, value, offset)
    if success and peer_id == 0:
        raise ProtocolError("login result without a peerId", 0)
    return LoginResult(success, reconnect_token, peer_id, tuple(active_peers), fast_port)


def parse_peer_change(packet: Packet) -> PlayerConnect | PlayerDisconnect:
    """The message of opCode -101 or -103. Raises ProtocolError; offsets count from the start of the payload."""
    peer_id = 0
    active_peers: list[int] = []
    for number, value, offset in _read_fields(_payload(packet, (OP_PLAYER_CONNECT, OP_PLAYER_DISCONNECT))):
        if number == 1:
            peer_id = _number("peerId", value, offset, MAX_PEER_ID)
        elif number == 4:
            active_peers.append(_number("peer", value, offset, MAX_PEER_ID))
        else:
            _refuse_bytes(number, value, offset)
    if peer_id == 0:
        raise ProtocolError("peer change without a peerId", 0)
    if packet.op_code == OP_PLAYER_CONNECT:
        return PlayerConnect(peer_id, tuple(active_peers))
    return PlayerDisconnect(peer_id, tuple(active_peers))


# Writing. Packet fields: opCode (0x08, zig-zag), reliable (0x30), payload (0x7a).


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number_field(number: int, value: int) -> bytes:
    return _varint(number << 3 | _WIRE_VARINT) + _varint(value)


def _token_field(number: int, token: str) -> bytes:
    encoded = token.encode()
    if not 0 < len(encoded) <= MAX_TOKEN_BYTES:
        raise ValueError(f"a token has 1 to {MAX_TOKEN_BYTES} bytes, this one has {len(encoded)}")
    return _varint(number << 3 | _WIRE_BYTES) + _varint(len(encoded)) + encoded


def _peers_field(active_peers: Iterable[int]) -> bytes:
    # One field per peer: a packed list throws in the C++ client and loses the list in the others.
    return b"".join(_number_field(4, peer_id) for peer_id in active_peers)


def _system_frame(op_code: int, payload: bytes | None, flags: bytes = b"") -> bytes:
    body = b"\x08" + _varint(op_code << 1 if op_code >= 0 else (-op_code << 1) - 1) + flags
    if payload is not None:
        body += b"\x7a" + _varint(len(payload)) + payload
    return _varint(len(body)) + body


def login_frame(token: str) -> bytes:
    """Client's login, for the stream (access or reconnect token) and for a datagram (reconnect token).

    Raises ValueError for a token that is empty or over MAX_TOKEN_BYTES.
    """
    return _system_frame(OP_LOGIN, _token_field(1, token) + _number_field(2, CLIENT_VERSION))


def login_result_frame(
    reconnect_token: str,
    peer_id: int,
    active_peers: Iterable[int],
    *,
    fast: bool = False,
    fast_port: int | None = None,
) -> bytes:
    """Server's answer to a login. `fast`: answers a UDP login (over the stream all the same: C++ looks only there)."""
    payload = _number_field(1, 1) + _token_field(2, reconnect_token) + _number_field(3, peer_id)
    payload += _peers_field(active_peers)
    if fast_port is not None:
        payload += _number_field(5, fast_port)
    return _system_frame(OP_LOGIN_RESULT, payload, b"\x30\x00" if fast else b"")


def player_connect_frame(peer_id: int, active_peers: Iterable[int]) -> bytes:
    """`active_peers` must hold the recipient too: it replaces the client's list."""
    return _system_frame(OP_PLAYER_CONNECT, _number_field(1, peer_id) + _peers_field(active_peers))


def player_disconnect_frame(peer_id: int, active_peers: Iterable[int]) -> bytes:
    """`active_peers` must hold the recipient too: it replaces the client's list."""
    return _system_frame(OP_PLAYER_DISCONNECT, _number_field(1, peer_id) + _peers_field(active_peers))


def udp_connect_frame() -> bytes:
    """Server's word over UDP that datagrams reach the client. Never for a WebSocket: the JS client throws on it."""
    return _system_frame(OP_UDP_CONNECT, b"")


def udp_connect_reply_frame() -> bytes:
    """Client's answer to it, over the stream: from now on the server may use UDP."""
    return _system_frame(OP_UDP_CONNECT, None)


def player_ready_frame() -> bytes:
    """Client's last word of the connect sequence, over the stream."""
    return _system_frame(OP_PLAYER_READY, None)

"""A plain blocking client of the platform: WebSocket and JSON, no third-party library, ws and wss.

with PlatformClient("127.0.0.1", port, api_key, secret) as client:          # connect() and close()
    client.request("DeviceAuthenticationRequest", deviceId="d1", deviceOS="LINUX")
    answer = client.request("AccountDetailsRequest")                        # the whole response, a dict
    found = client.wait_message("MatchFoundMessage")
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import socket
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

DEADLINE = 10.0  # seconds that an answer may take on a busy machine; none is waited for unless something is broken

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

Message = dict[str, Any]


class Refused(AssertionError):
    """The server does not take the connection; `status` is the HTTP answer's, 0 for an error in the handshake."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class Closed(AssertionError):
    """The connection has ended; `code` is the close frame's, None where there was none."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"connection closed, code {code}")
        self.code = code


class TextSocket:
    """A WebSocket client that sends and receives texts."""

    def __init__(self, host: str, port: int, path: str, *, tls: bool = False, timeout: float = DEADLINE) -> None:
        """Connects and upgrades. Raises Refused."""
        self.timeout = timeout
        self.close_code: int | None = None
        self.pongs: list[bytes] = []
        self._buffer = b""
        self.socket = socket.create_connection((host, port), timeout)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                self.socket = context.wrap_socket(self.socket)
            self._upgrade(host, port, path)
        except BaseException:
            self.socket.close()
            raise

    def _upgrade(self, host: str, port: int, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        end = time.monotonic() + self.timeout
        while b"\r\n\r\n" not in self._buffer:
            self._read(end)
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status != 101:
            try:
                while True:
                    self._read(end)
            except Closed:
                pass
            raise Refused(status, self._buffer.decode())

    def send_text(self, text: str) -> None:
        """One whole text message."""
        self.send_frame(TEXT, text.encode())

    def send_frame(self, op_code: int, payload: bytes, *, last: bool = True) -> None:
        """One frame, masked."""
        self.socket.sendall(frame(op_code, payload, last=last))

    def receive_text(self, timeout: float | None = None) -> str:
        """The next text; pings are answered meanwhile. Raises Closed, or TimeoutError."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            op_code, payload = self._frame(end)
            if op_code == TEXT:
                return payload.decode()
            if op_code == PING:
                self.send_frame(PONG, payload)
            elif op_code == PONG:
                self.pongs.append(payload)
            elif op_code == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
                raise Closed(self.close_code)
            else:
                raise AssertionError(f"frame with opcode {op_code}")

    def wait_closed(self) -> int | None:
        """Reads until the server has closed: its code."""
        try:
            while True:
                self.receive_text()
        except Closed as closed:
            return closed.code

    def close(self) -> None:
        """A close frame, if it still goes out, and the end."""
        try:
            self.send_frame(CLOSE, (1000).to_bytes(2, "big"))
        except OSError:
            pass
        self.socket.close()

    def _frame(self, end: float) -> tuple[int, bytes]:
        """The next whole message or control frame of the server's, which are never masked or in pieces."""
        while True:
            found = split_frame(self._buffer)
            if found is not None:
                first, payload, self._buffer = found
                assert first & 0xF0 == 0x80, f"frame begins {first:#x}"
                return first & 0x0F, payload
            self._read(end)

    def _read(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing has come in time")
        self.socket.settimeout(left)
        try:
            piece = self.socket.recv(1 << 16)
        except (ConnectionError, ssl.SSLEOFError):
            raise Closed(None) from None
        finally:
            self.socket.settimeout(self.timeout)
        if not piece:
            raise Closed(None)
        self._buffer += piece


def frame(op_code: int, payload: bytes, *, last: bool = True) -> bytes:
    """A client's WebSocket frame (RFC 6455 section 5.2)."""
    mask = os.urandom(4)
    size = len(payload)
    head = bytes((op_code | (0x80 if last else 0),))
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 65536:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    pattern = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")
    return head + mask + masked.to_bytes(size, "little")


def split_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """First byte and payload of the server's frame at the beginning, and what follows; None: it is not whole."""
    if len(data) < 2:
        return None
    size, at = data[1], 2
    assert size < 0x80, "a server's frame is masked"
    if size >= 126:
        at += 2 if size == 126 else 8
        if len(data) < at:
            return None
        size = int.from_bytes(data[2:at], "big")
    if len(data) < at + size:
        return None
    return data[0], data[at : at + size], data[at + size :]


class PlatformClient:
    """One device of a player."""

    def __init__(
        self,
        host: str,
        port: int,
        api_key: str,
        secret: str,
        *,
        tls: bool = False,
        path: str | None = None,
        auth_token: str | None = None,
        device_id: str = "device-1",
        timeout: float = DEADLINE,
    ) -> None:
        """AUTH_TOKEN: what it presents at the handshake, as an SDK does that has signed in before."""
        self.host = host
        self.port = port
        self.secret = secret
        self.tls = tls
        self.path = path or f"/ws/device/{api_key}?deviceOS=TEST&deviceID={device_id}&SDK=test"
        self.auth_token = auth_token
        self.device_id = device_id
        self.timeout = timeout
        self.user_id: str | None = None
        self.session_id: str | None = None
        self.handshake: Message = {}  # the response that ended it
        self.messages: list[Message] = []  # those that have come and nobody has waited for
        self._numbers = itertools.count(1)
        self._answers: dict[str, Message] = {}
        self._socket: TextSocket | None = None

    # -- life

    def dial(self) -> str:
        """Connects; the server's nonce. Raises Refused."""
        self._socket = TextSocket(self.host, self.port, self.path, tls=self.tls, timeout=self.timeout)
        hello = json.loads(self._socket.receive_text())
        assert hello["@class"] == ".AuthenticatedConnectResponse", hello
        nonce: str = hello["nonce"]
        return nonce

    def connect(self) -> Self:
        """Connects and does the handshake. Raises Refused."""
        try:
            self._shake_hands(self.dial())
        except BaseException:
            self.close()
            raise
        return self

    def _shake_hands(self, nonce: str) -> None:
        message: Message = {
            "@class": ".AuthenticatedConnectRequest",
            "hmac": proof(self.secret, nonce),
            "os": "linux",
            "platform": "test",
            "deviceId": self.device_id,
        }
        if self.auth_token is not None:
            message["authToken"] = self.auth_token
        if self.session_id is not None:
            message["sessionId"] = self.session_id
        self.send(message)
        self.handshake = answer = self._receive(self.timeout)
        assert answer["@class"] == ".AuthenticatedConnectResponse", answer
        if "error" in answer:
            raise Refused(0, json.dumps(answer["error"]))
        self.session_id = answer["sessionId"]

    def close(self) -> None:
        """Ends the connection as an SDK does."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def vanish(self) -> None:
        """Ends the connection without a word."""
        self.socket.socket.close()
        self._socket = None

    def __enter__(self) -> Self:
        return self if self._socket is not None else self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def socket(self) -> TextSocket:
        """The connection there is."""
        assert self._socket is not None, "not connected"
        return self._socket

    # -- talking

    def send(self, message: Message) -> None:
        """A message as it is."""
        self.socket.send_text(json.dumps(message))

    def begin(self, name: str, /, **fields: Any) -> str:
        """Sends a request (NAME without the dot) and does not wait: its requestId, for `answer`."""
        request_id = f"{id(self)}_{next(self._numbers)}"
        self.send({"@class": f".{name}", "requestId": request_id, **fields})
        return request_id

    def answer(self, request_id: str, timeout: float | None = None) -> Message:
        """The response to that request. Messages that come meanwhile are kept."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while request_id not in self._answers:
            self._take(end)
        return self._answers.pop(request_id)

    def request(self, name: str, /, **fields: Any) -> Message:
        """Asks and waits for the response, an error or not; keeps what signs in again."""
        answer = self.answer(self.begin(name, **fields))
        answered = answer["@class"]
        assert answered.endswith("Response"), answer
        if "authToken" in answer:
            self.auth_token = answer["authToken"]
        if answered == ".AuthenticationResponse" and "userId" in answer:
            self.user_id = answer["userId"]
        return answer

    def ask(self, name: str, /, **fields: Any) -> Message:
        """The same, where nothing may go wrong."""
        answer = self.request(name, **fields)
        assert "error" not in answer, answer
        return answer

    def wait_message(
        self, class_name: str, accept: Callable[[Message], bool] = lambda message: True, timeout: float | None = None
    ) -> Message:
        """The next message of that class (without the dot) that is accepted; it is taken out of `messages`."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            for message in self.messages:
                if message["@class"] == f".{class_name}" and accept(message):
                    self.messages.remove(message)
                    return message
            self._take(end)

    def collect(self) -> list[Message]:
        """All messages that the server sent before it answers to this."""
        self.request("NoSuchRequest")
        messages, self.messages = self.messages, []
        return messages

    def sign_in_device(self, device_id: str | None = None, **fields: Any) -> str:
        """Signs in by device; the player's id."""
        answer = self.ask(
            "DeviceAuthenticationRequest", deviceId=device_id or self.device_id, deviceOS="TEST", **fields
        )
        user_id: str = answer["userId"]
        return user_id

    def register(self, user_name: str, password: str = "password-1", **fields: Any) -> str:
        """A new player, signed in; the player's id."""
        registered = {"displayName": user_name, "userName": user_name, "password": password, **fields}
        user_id: str = self.ask("RegistrationRequest", **registered)["userId"]
        self.user_id = user_id
        return user_id

    def _take(self, end: float) -> None:
        message = self._receive(end - time.monotonic())
        if str(message["@class"]).endswith("Response") and "requestId" in message:
            self._answers[message["requestId"]] = message
        else:
            self.messages.append(message)

    def _receive(self, timeout: float) -> Message:
        message: Message = json.loads(self.socket.receive_text(timeout))
        assert str(message["@class"]).startswith("."), message
        return message


def proof(secret: str, nonce: str) -> str:
    """What a client answers to the nonce."""
    return base64.b64encode(hmac.new(secret.encode(), nonce.encode(), hashlib.sha256).digest()).decode()

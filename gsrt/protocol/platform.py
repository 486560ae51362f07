"""The platform's dialect: JSON texts over a WebSocket, as the official SDKs speak it. Sans-I/O: texts in, events out.

A message is one JSON object; its "@class" begins with a dot. The server begins with a nonce; the client proves with an
HMAC of it that it has the game's secret; then it asks, `.XRequest` with a requestId, and gets `.XResponse` with the
same. Nothing here knows what a request means, or who has signed in.
"""

from __future__ import annotations

import json  # this module is there only where a game is served, and there the store needs it anyway

# What hmac.compare_digest is in CPython; hmac itself loads OpenSSL (3.7 MB).
from _operator import _compare_digest as same_digest
from binascii import b2a_base64

from gsrt.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEPTH_MAX = 32  # of objects and lists in one another; the parser would go down as deep as it is told to
VALUES_MAX = 4096  # of one message: 65,536 bytes can hold 20,000 empty objects, which are 1.5 MB and 80 ms on a Pi
INTEGER_DIGITS_MAX = 20  # a sign and what a number of 64 bits has; the time for more grows with their square
REQUEST_ID_CHARACTERS_MAX = 128  # the SDKs' have some 20
NAME_CHARACTERS_MAX = 64  # of a request
AUTH_TOKEN_CHARACTERS_MAX = 128

CONNECT_REQUEST = ".AuthenticatedConnectRequest"
CONNECT_RESPONSE = ".AuthenticatedConnectResponse"
ERROR_RESPONSE = ".ErrorResponse"  # to what is no request at all
REQUEST = "Request"

NO_TOKEN = "0"  # what SDKs write that have none

SECURE_MODE = (
    "NOT_SUPPORTED: the client's secret has a ':' in it, which switches its SDK to signed envelopes; give it the secret"
    " of game.toml as it is"
)

_SHA256_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")

_encode_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class MessageError(ValueError):
    """A text that is no message; str() says what is wrong with it."""


class Greeting:
    """The client has proved that it knows the secret. `auth_token`: what it would sign in with, or None; `device_id`,
    `platform`: what it says of itself, or None."""

    __slots__ = ("auth_token", "device_id", "platform")

    def __init__(self, auth_token: str | None, device_id: str | None, platform: str | None) -> None:
        self.auth_token = auth_token
        self.device_id = device_id
        self.platform = platform


class Request:
    """Something asked for. `name`: "AccountDetailsRequest"; `request_id`: None where the client gives none."""

    __slots__ = ("fields", "name", "request_id")

    def __init__(self, name: str, request_id: str | None, fields: Mapping[str, object]) -> None:
        self.name = name
        self.request_id = request_id
        self.fields = fields


class Reply:
    """What is to be answered without anybody being asked. `reason`: in words, for the log; `final`: the connection ends
    with it."""

    __slots__ = ("final", "reason", "text")

    def __init__(self, text: bytes, reason: str, *, final: bool) -> None:
        self.text = text
        self.reason = reason
        self.final = final


class PlatformProtocol:
    """The server's side of one connection."""

    __slots__ = ("_nonce", "_secret", "greeted")

    def __init__(self, secret: str, nonce: str) -> None:
        """SECRET is the game's; NONCE is random, and new for each connection."""
        self._secret = secret
        self._nonce = nonce
        self.greeted = False  # the client has proved that it knows the secret

    def challenge(self) -> bytes:
        """What the server says first."""
        return encode({"@class": CONNECT_RESPONSE, "nonce": self._nonce})

    def receive(self, text: str) -> Greeting | Request | Reply | None:
        """What a text of the client's means; None: nothing, it only says that it is there."""
        if not text or text.isspace():
            return None
        try:
            message = decode(text)
        except MessageError as error:
            return self._refuse({"json": f"INVALID: {error}"}, str(error), _request_id_in(text))
        class_name = message.pop("@class", None)
        if class_name is None and "json" in message and "sig" in message:
            return Reply(_error(CONNECT_RESPONSE, None, {"secure": SECURE_MODE}), "signed envelope", final=True)
        if class_name == CONNECT_REQUEST:
            return self._greet(message)
        request_id = message.pop("requestId", None)
        if request_id is not None and (type(request_id) is not str or len(request_id) > REQUEST_ID_CHARACTERS_MAX):
            return self._refuse(
                {"requestId": f"must be a text of at most {REQUEST_ID_CHARACTERS_MAX} characters"}, "requestId"
            )
        name = _request_name(class_name)
        if name is None:
            return self._refuse(
                {"@class": 'INVALID: must be a text such as ".AccountDetailsRequest"'}, "@class", request_id
            )
        if not self.greeted:
            refused = _error(response_class(name), request_id, {"authentication": "NOTAUTHORIZED"})
            return Reply(refused, "a request before the handshake", final=False)
        return Request(name, request_id, message)

    def _greet(self, message: Mapping[str, object]) -> Greeting | Reply:
        if self.greeted:
            wrong = {"handshake": "DONE_ALREADY: open another connection"}
            return Reply(_error(CONNECT_RESPONSE, None, wrong), "a second handshake", final=True)
        proof = message.get("hmac")
        if type(proof) is not str or not same_digest(
            proof.encode("utf-8", "surrogatepass"), proof_of(self._secret, self._nonce)
        ):
            wrong = {"hmac": "WRONG: the client's secret is not that of game.toml"}
            return Reply(_error(CONNECT_RESPONSE, None, wrong), "the client's secret is not the game's", final=True)
        self.greeted = True
        auth_token = _short_text(message.get("authToken"))
        return Greeting(
            None if auth_token == NO_TOKEN else auth_token,
            _short_text(message.get("deviceId")),
            _short_text(message.get("platform")),
        )

    def _refuse(self, errors: Mapping[str, object], reason: str, request_id: str | None = None) -> Reply:
        """To what is no request. Before the handshake there is no reason to hear more of it."""
        return Reply(_error(ERROR_RESPONSE, request_id, errors), reason, final=not self.greeted)


# --- What the server says -------------------------------------------------------------------------------------------


def welcome(session_id: str, auth_token: str | None = None, user_id: str | None = None) -> bytes:
    """The answer to a greeting; with token and id where it has signed a player in."""
    message: dict[str, object] = {"@class": CONNECT_RESPONSE, "sessionId": session_id}
    if auth_token is not None and user_id is not None:
        message["authToken"] = auth_token
        message["userId"] = user_id
    return encode(message)


def response(class_name: str, request_id: str | None, answer: Mapping[str, object]) -> bytes:
    """ANSWER as the response to a request. Raises ValueError, TypeError or RecursionError if JSON cannot say it."""
    message: dict[str, object] = {"@class": class_name, **answer}
    if request_id is not None:
        message["requestId"] = request_id
    return encode(message)


def response_class(name: str) -> str:
    """The "@class" of the answer to request NAME, where nothing else is said."""
    return f".{name.removesuffix(REQUEST)}Response"


def encode(message: Mapping[str, object]) -> bytes:
    """A message as it goes out. All of it is ASCII, so that no text can be one that UTF-8 has no bytes for."""
    return _encode_json(message).encode("ascii")


def proof_of(secret: str, nonce: str) -> bytes:
    """base64(HMAC-SHA256(key=SECRET, message=NONCE)), RFC 2104: what a client answers to the nonce."""
    key = secret.encode("utf-8", "surrogatepass")
    if len(key) > _SHA256_BLOCK_BYTES:
        key = sha256(key).digest()
    key = key.ljust(_SHA256_BLOCK_BYTES, b"\0")
    inner = sha256(key.translate(_INNER) + nonce.encode("utf-8")).digest()
    return b2a_base64(sha256(key.translate(_OUTER) + inner).digest(), newline=False)


# --- What a client says ---------------------------------------------------------------------------------------------


def decode(text: str) -> dict[str, object]:
    """The JSON object of a text. Raises MessageError: no JSON, no object, too deep, too many values, a number no one
    else could read, half of a surrogate pair."""
    if _has_too_many(text):
        raise MessageError(f"more than {VALUES_MAX:,} values")
    if _is_too_deep(text):
        raise MessageError(f"more than {DEPTH_MAX} objects and lists in one another")
    try:
        value = _decode_json(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(str(error)) from None
    if type(value) is not dict:
        raise MessageError("not an object")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise MessageError("half of a surrogate pair") from None
    return value


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:  # it is infinite
        raise ValueError(f"a number too large: {text[:32]}")
    return number


def _whole(text: str) -> float:
    """Longer ones are what a client makes of a large floating-point number (1e20 has 21 digits in JavaScript)."""
    return int(text) if len(text) <= INTEGER_DIGITS_MAX else _finite(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


_decode_json = json.JSONDecoder(parse_float=_finite, parse_int=_whole, parse_constant=_no_number).decode


def _outside_of_strings(text: str) -> str:
    """A text of JSON without what stands in its strings."""
    return "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])


def _has_too_many(text: str) -> bool:
    """Whether there are too many values. Each but the first in its object or list stands behind a comma; an object or a
    list, which takes more memory, counts twice."""
    if text.count(",") + text.count("[") + text.count("{") <= VALUES_MAX:
        return False
    outside = _outside_of_strings(text)
    return outside.count(",") + outside.count("[") + outside.count("{") > VALUES_MAX


def _is_too_deep(text: str) -> bool:
    """Whether objects and lists lie too deep in one another. Looked at before the parser goes down into them."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return False
    brackets = _outside_of_strings(text).encode("utf-8").translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        inner = brackets.replace(b"[]", b"")  # takes the innermost level away
        if len(inner) == len(brackets):
            break
        brackets = inner
    return brackets.count(b"[") > 0  # or one is not closed: no JSON either way


def _request_name(class_name: object) -> str | None:
    """ "AccountDetailsRequest" of ".AccountDetailsRequest"; None of what cannot be one."""
    if type(class_name) is not str or len(class_name) > NAME_CHARACTERS_MAX or class_name[:1] != ".":
        return None
    name = class_name[1:]
    return name if name.isalnum() and name.isascii() and name.endswith(REQUEST) else None


def _request_id_in(text: str) -> str | None:
    """The requestId that a text which cannot be read seems to have: whoever sent it waits for an answer to that."""
    _, found, rest = text.partition('"requestId"')
    rest = rest[: 2 * REQUEST_ID_CHARACTERS_MAX].lstrip()
    if not found or rest[:1] != ":":
        return None
    before, *parts = rest[1:].split('"', 2)
    request_id = parts[0] if len(parts) == 2 and not before.strip() else ""
    simple = request_id.isascii() and request_id.isprintable() and "\\" not in request_id
    return request_id if request_id and simple and len(request_id) <= REQUEST_ID_CHARACTERS_MAX else None


def _short_text(value: object) -> str | None:
    return value if type(value) is str and 0 < len(value) <= AUTH_TOKEN_CHARACTERS_MAX else None


def _error(class_name: str, request_id: str | None, errors: Mapping[str, object]) -> bytes:
    return response(class_name, request_id, {"error": errors})

"""The platform's dialect: what a text means, and what is answered without asking anybody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.protocol import platform
from gsrt.protocol.platform import DEPTH_MAX, VALUES_MAX, Greeting, MessageError, PlatformProtocol, Reply, Request

SECRET, NONCE = "s3cret", "n0nce"


def proof(secret: str = SECRET, nonce: str = NONCE) -> str:
    return base64.b64encode(hmac.new(secret.encode(), nonce.encode(), hashlib.sha256).digest()).decode()


def greeting(**fields: Any) -> str:
    return json.dumps({"@class": ".AuthenticatedConnectRequest", "hmac": proof(), **fields})


def greeted() -> PlatformProtocol:
    protocol = PlatformProtocol(SECRET, NONCE)
    assert type(protocol.receive(greeting())) is Greeting
    return protocol


def reply(protocol: PlatformProtocol, text: str) -> tuple[dict[str, Any], bool]:
    """The answer, and whether the connection ends with it."""
    event = protocol.receive(text)
    assert type(event) is Reply, event
    assert event.reason
    message: dict[str, Any] = json.loads(event.text)
    return message, event.final


# the handshake


@pytest.mark.parametrize("secret", ["", "a", "s3cret", "x" * 63, "x" * 64, "x" * 65, "Grüße" * 40])
@pytest.mark.parametrize("nonce", ["", "n", "0123456789abcdef" * 8])
def test_hmac_as_everybody_makes_it(secret: str, nonce: str) -> None:
    assert platform.proof_of(secret, nonce).decode() == proof(secret, nonce)


def test_hmac_of_rfc_4231() -> None:
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"  # test case 2
    assert base64.b64decode(platform.proof_of("Jefe", "what do ya want for nothing?")).hex() == expected


def test_openssl_is_not_loaded() -> None:
    code = (
        "import sys; from gsrt.protocol import platform; platform.proof_of('a', 'b');"
        " print([name for name in ('_hashlib', 'hashlib', 'hmac', 'ssl', '_ssl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_challenge_and_welcome() -> None:
    challenge = json.loads(PlatformProtocol(SECRET, NONCE).challenge())
    assert challenge == {"@class": ".AuthenticatedConnectResponse", "nonce": NONCE}
    assert json.loads(platform.welcome("s1")) == {"@class": ".AuthenticatedConnectResponse", "sessionId": "s1"}
    assert json.loads(platform.welcome("s1", "token", "player")) == {
        "@class": ".AuthenticatedConnectResponse",
        "sessionId": "s1",
        "authToken": "token",
        "userId": "player",
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (None, None, None)),
        ({"authToken": "0"}, (None, None, None)),
        ({"authToken": "", "deviceId": 5, "platform": ["x"]}, (None, None, None)),
        ({"authToken": "t" * 200}, (None, None, None)),
        ({"authToken": "t" * 40, "deviceId": "d", "platform": "p"}, ("t" * 40, "d", "p")),
        ({"os": "X", "sessionId": "old", "deviceStats": {"memory": "8 GB"}}, (None, None, None)),
    ],
)
def test_greeting(fields: dict[str, Any], expected: tuple[str | None, ...]) -> None:
    protocol = PlatformProtocol(SECRET, NONCE)
    event = protocol.receive(greeting(**fields))
    assert type(event) is Greeting
    assert (event.auth_token, event.device_id, event.platform) == expected
    assert protocol.greeted


@pytest.mark.parametrize("wrong", [None, 5, "", "AAAA", proof("other"), proof(nonce="other"), proof() + " ", "é", {}])
def test_a_wrong_hmac_ends_it(wrong: Any) -> None:
    protocol = PlatformProtocol(SECRET, NONCE)
    answer, final = reply(protocol, greeting(hmac=wrong))
    assert answer["@class"] == ".AuthenticatedConnectResponse"
    assert "secret" in answer["error"]["hmac"]
    assert final
    assert not protocol.greeted


def test_a_second_handshake_ends_it() -> None:
    answer, final = reply(greeted(), greeting())
    assert answer["@class"] == ".AuthenticatedConnectResponse"
    assert answer["error"]["handshake"].startswith("DONE_ALREADY")
    assert final


def test_before_the_handshake_nothing_is_done() -> None:
    protocol = PlatformProtocol(SECRET, NONCE)
    asked = {"@class": ".AuthenticationRequest", "requestId": "7", "userName": "u", "password": "p"}
    answer, final = reply(protocol, json.dumps(asked))
    assert answer == {
        "@class": ".AuthenticationResponse",
        "requestId": "7",
        "error": {"authentication": "NOTAUTHORIZED"},
    }
    assert not final
    assert type(protocol.receive(greeting())) is Greeting


@pytest.mark.parametrize("text", ["hello", "[]", '{"@class": "x"}', '{"a": 1}', "GET / HTTP/1.1"])
def test_nonsense_before_the_handshake_ends_it(text: str) -> None:
    answer, final = reply(PlatformProtocol(SECRET, NONCE), text)
    assert answer["@class"] == ".ErrorResponse"
    assert answer["error"]
    assert final


@pytest.mark.parametrize("done", [False, True])
def test_a_signed_envelope_is_told_what_to_do(done: bool) -> None:
    protocol = greeted() if done else PlatformProtocol(SECRET, NONCE)
    answer, final = reply(protocol, json.dumps({"json": "{}", "sig": "abc"}))
    assert "':'" in answer["error"]["secure"]
    assert final


# requests


def test_a_request() -> None:
    event = greeted().receive('{"@class":".LogEventRequest","requestId":"1_2","eventKey":"E","x":{"y":[1,2.5,null]}}')
    assert type(event) is Request
    assert (event.name, event.request_id) == ("LogEventRequest", "1_2")
    assert event.fields == {"eventKey": "E", "x": {"y": [1, 2.5, None]}}


def test_a_request_without_id() -> None:
    event = greeted().receive('{"@class":".EndSessionRequest"}')
    assert type(event) is Request
    assert event.request_id is None
    assert json.loads(platform.response(".EndSessionResponse", None, {})) == {"@class": ".EndSessionResponse"}


@pytest.mark.parametrize("text", ["", " ", "   ", "\t\r\n"])
@pytest.mark.parametrize("done", [False, True])
def test_keep_alive(text: str, done: bool) -> None:
    protocol = greeted() if done else PlatformProtocol(SECRET, NONCE)
    assert protocol.receive(text) is None


WRONG = {
    "no JSON": ("hello", "json"),
    "cut short": ('{"@class":', "json"),
    "two objects": ("{}{}", "json"),
    "a list": ("[]", "json"),
    "a number": ("5", "json"),
    "a byte order mark": ("\ufeff{}", "json"),
    "not a number": ('{"@class":".XRequest","x":NaN}', "json"),
    "infinite": ('{"@class":".XRequest","x":-Infinity}', "json"),
    "infinite in disguise": ('{"@class":".XRequest","x":1e999}', "json"),
    "a number of 5,000 digits": ('{"@class":".XRequest","x":' + "9" * 5000 + "}", "json"),
    "half a surrogate pair": ('{"@class":".XRequest","x":"\\ud83d"}', "json"),
    "half a surrogate pair as a key": ('{"@class":".XRequest","\\uDE00":1}', "json"),
    "a control character": ('{"@class":".XRequest","x":"\n"}', "json"),
    "no class": ('{"requestId":"1"}', "@class"),
    "class without dot": ('{"@class":"XRequest"}', "@class"),
    "class that is no request": ('{"@class":".XResponse"}', "@class"),
    "class that is a number": ('{"@class":5}', "@class"),
    "class with a path": ('{"@class":"./../XRequest"}', "@class"),
    "class in other letters": ('{"@class":".ÄRequest"}', "@class"),
    "class too long": (json.dumps({"@class": "." + "X" * 100 + "Request"}), "@class"),
    "id that is an object": ('{"@class":".XRequest","requestId":{}}', "requestId"),
    "id too long": (json.dumps({"@class": ".XRequest", "requestId": "1" * 200}), "requestId"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_request_is_told_so(what: str) -> None:
    text, field = WRONG[what]
    protocol = greeted()
    answer, final = reply(protocol, text)
    assert answer["@class"] == ".ErrorResponse"
    assert list(answer["error"]) == [field]
    assert not final
    assert type(protocol.receive('{"@class":".XRequest"}')) is Request


def test_the_id_is_told_where_there_is_one() -> None:
    answer, _ = reply(greeted(), '{"@class":"X","requestId":"9"}')
    assert answer["requestId"] == "9"


@pytest.mark.parametrize("text", [text for text, field in WRONG.values() if field == "json" and text[:1] == "{"])
def test_what_cannot_be_read_is_answered_by_the_id_that_it_seems_to_have(text: str) -> None:
    for before in ('{"requestId":"7",', '{ "requestId" :  "7" ,'):
        answer, _ = reply(greeted(), before + text[1:])
        assert (answer["requestId"], list(answer["error"])) == ("7", ["json"])


@pytest.mark.parametrize(
    "given", ["", ":", ":7", ':"', ':"7', ":[" + '"7"]', ':"a\\"', ':"\u00e4"', f':"{"1" * 200}"', ':""']
)
def test_what_seems_to_be_no_id_is_not_told(given: str) -> None:
    answer, _ = reply(greeted(), '{"x":,"requestId"' + given)
    assert "requestId" not in answer


@given(st.text(max_size=40), st.text(max_size=40))
def test_an_answer_to_whatever_cannot_be_read_is_one(before: str, after: str) -> None:
    answer, _ = reply(greeted(), '{"x":,' + before + '"requestId"' + after)
    assert answer["@class"] == ".ErrorResponse"


def test_a_whole_surrogate_pair_is_a_letter() -> None:
    event = greeted().receive('{"@class":".XRequest","x":"\\ud83d\\ude00"}')
    assert type(event) is Request
    assert event.fields["x"] == "\U0001f600"


# depth


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return '{"@class":".XRequest","x":' + opening * (depth - 1) + closing * (depth - 1) + "}"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    middle = "" if opening == "[" else "1"
    deep = '{"x":' + opening * (DEPTH_MAX - 1) + middle + closing * (DEPTH_MAX - 1) + "}"
    assert platform.decode(deep)
    with pytest.raises(MessageError, match="in one another"):
        platform.decode('{"x":' + opening * DEPTH_MAX + middle + closing * DEPTH_MAX + "}")


@pytest.mark.parametrize(
    "text", ["[" * 65_000, '{"a":' * 13_000, nested(30_000), '["\\\\",' * 10_000, '{"x":"' + "[" * 60_000]
)
def test_depth_bombs(text: str) -> None:
    with pytest.raises(MessageError):
        platform.decode(text)


@pytest.mark.parametrize("value", ["[]", "{}", '""', "0", '"\\\\\\""'])
def test_values(value: str) -> None:
    """All that one message can make of its bytes is bounded; commas in texts do not count."""
    most = ",".join(['{"x":[' + value] + [value] * (VALUES_MAX // 2 - 4)) + '],"y":"' + "," * 60_000 + '"}'
    assert platform.decode(most)
    with pytest.raises(MessageError, match="values"):
        platform.decode('{"x":[' + ",".join([value] * (VALUES_MAX + 2)) + "]}")


def test_numbers_without_end() -> None:
    assert platform.decode('{"x":-9223372036854775808,"y":9223372036854775807}') == {"x": -(2**63), "y": 2**63 - 1}
    beyond = platform.decode('{"x":100000000000000000000}')["x"]
    assert type(beyond) is float
    assert beyond == 1e20
    with pytest.raises(MessageError, match="too large"):
        platform.decode('{"x":' + "9" * 4000 + "}")


def test_wide_is_not_deep() -> None:
    value = {"x": [[], {}, [[]], "[[[[{{{{", '"[[[[[', "\\", '\\"[[[[[[[['] * 200}
    assert platform.decode(json.dumps(value)) == value


jsons = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\ab', max_size=6), inner, max_size=4),
    max_leaves=40,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@settings(max_examples=300, deadline=None)
@given(jsons, st.integers(0, 40), st.booleans())
def test_any_json_is_read_unless_it_is_too_deep(value: Any, more: int, ascii_only: bool) -> None:
    for _ in range(more):
        value = [value, "]"]
    whole = {"x": value}
    text = json.dumps(whole, ensure_ascii=ascii_only)
    if depth_of(whole) > DEPTH_MAX:
        with pytest.raises(MessageError, match="in one another"):
            platform.decode(text)
    else:
        assert platform.decode(text) == whole


@settings(max_examples=400, deadline=None)
@given(st.text() | st.text('{}[]":,\\u0d8eE+-.x ', max_size=80))
def test_any_text_means_something(text: str) -> None:
    for protocol in (PlatformProtocol(SECRET, NONCE), greeted()):
        event = protocol.receive(text)
        assert event is None or type(event) in (Request, Reply)
        if type(event) is Reply:
            assert json.loads(event.text)["error"]


@pytest.mark.parametrize("text", ["[]," * 20_000, '"\\"[' * 16_000, "{" * 60_000, '[{"a":"\\\\"},' * 5_000])
def test_many_brackets(text: str) -> None:
    with pytest.raises(MessageError):
        platform.decode('{"x":[' + text)


# answers


def test_response() -> None:
    answer = platform.response(".XResponse", "5", {"a": "é\n\u2028", "scriptData": {"x": [1]}})
    assert answer.isascii()
    assert json.loads(answer) == {
        "@class": ".XResponse",
        "requestId": "5",
        "a": "é\n\u2028",
        "scriptData": {"x": [1]},
    }


@pytest.mark.parametrize("answer", [{"x": float("nan")}, {"x": float("inf")}, {"x": {1, 2}}, {"x": b"bytes"}])
def test_an_answer_that_json_cannot_say(answer: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        platform.response(".XResponse", "5", answer)


@pytest.mark.parametrize(("name", "expected"), [("XRequest", ".XResponse"), ("Request", ".Response")])
def test_response_class(name: str, expected: str) -> None:
    assert platform.response_class(name) == expected

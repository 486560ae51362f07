"""DeviceAuthenticationRequest: a sign-in by nothing but the device."""

from __future__ import annotations

from gsrt.backend import players
from gsrt.backend.call import OBJECT, TEXT, Field, Stored
from gsrt.backend.requests import _signing_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "DeviceAuthenticationRequest"
RESPONSE = "AuthenticationResponse"
SUMMARY = "Signs in by the device: the same device is the same player. The first time makes one."
NEEDS_PLAYER = False
FIELDS = (
    Field(
        "deviceId", TEXT, required=True, most=256, doc="what tells the device from others; who knows it is that player"
    ),
    Field("deviceOS", TEXT, required=True, most=64, doc="its system: ANDROID, IOS, WP8, W8 and the like"),
    Field("deviceModel", TEXT, doc="not kept"),
    Field("deviceName", TEXT, doc="not kept"),
    Field("deviceType", TEXT, doc="not kept"),
    Field(
        "displayName",
        TEXT,
        most=players.DISPLAY_NAME_CHARACTERS_MAX,
        doc="a new player's name as others see it; without one it is Player- and four characters",
    ),
    Field("operatingSystem", TEXT, doc="not kept"),
    Field("segments", OBJECT, doc="segment: value, each a group the player belongs to"),
)
ANSWER = _signing_in.ANSWER
ERRORS = (
    ("segments", "must be at most ...", "the player's segments are more than the server keeps"),
    _signing_in.TOO_MANY_ERROR,
)


def run(call: Call) -> Steps:
    fields = call.fields
    with _signing_in.newcomer(call) as newcomer:
        found = yield Stored(
            players.device_sign_in,
            call.player_id,
            fields["deviceId"],
            fields["deviceOS"],
            fields["displayName"],
            fields["segments"],
            _signing_in.signup(call),
            _signing_in.tokens_max(call),
            newcomer.allowed,
        )
        newcomer.made = found["newPlayer"]
    return _signing_in.finish(call, found)

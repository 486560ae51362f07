"""RegistrationRequest: a player with a user name and a password."""

from __future__ import annotations

from gsrt.backend import newcomers, passwords, players
from gsrt.backend.call import OBJECT, TEXT, Failure, Field, Stored, Worked
from gsrt.backend.requests import _signing_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "RegistrationRequest"
SUMMARY = (
    "Makes a player with a user name and a password, and signs in. Whoever has signed in by device and has no user "
    "name yet gets them and stays the same player."
)
NEEDS_PLAYER = False
FIELDS = (
    Field("displayName", TEXT, required=True, most=players.DISPLAY_NAME_CHARACTERS_MAX, doc="the name that others see"),
    Field(
        "userName",
        TEXT,
        required=True,
        most=players.USER_NAME_CHARACTERS_MAX,
        doc="the name to sign in with; capitals (A to Z) make no difference",
    ),
    Field("password", TEXT, required=True, most=passwords.PASSWORD_CHARACTERS_MAX, doc="the password to sign in with"),
    Field("segments", OBJECT, doc="segment: value, each a group the player belongs to"),
)
ANSWER = _signing_in.ANSWER
ERRORS = (
    ("USERNAME", "TAKEN", "somebody else has that user name"),
    ("segments", "must be at most ...", "the player's segments are more than the server keeps"),
    _signing_in.TOO_MANY_ERROR,
)


def run(call: Call) -> Steps:
    fields, profile = call.fields, call.desk.profile
    with _signing_in.newcomer(call) as newcomer:
        if call.player_id is None and not newcomer.allowed:
            raise Failure(newcomers.TOO_MANY)
        if not (yield Stored(players.name_is_free, fields["userName"])):
            raise Failure(players.TAKEN)
        password = yield Worked(
            passwords.hashed, fields["password"], profile.password_memory_kb, profile.password_passes
        )
        found = yield Stored(
            players.register,
            call.player_id,
            fields["displayName"],
            fields["userName"],
            password,
            fields["segments"],
            _signing_in.signup(call),
            _signing_in.tokens_max(call),
            newcomer.allowed,
        )
        newcomer.made = found["newPlayer"]
    return _signing_in.finish(call, found)

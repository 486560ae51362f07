"""AuthenticationRequest: a sign-in by user name and password."""

from __future__ import annotations

from gsrt.backend import passwords, players
from gsrt.backend.call import TEXT, Failure, Field, Stored, Worked
from gsrt.backend.requests import _signing_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "AuthenticationRequest"
SUMMARY = "Signs in by user name and password."
NEEDS_PLAYER = False
FIELDS = (
    Field("userName", TEXT, required=True, most=players.USER_NAME_CHARACTERS_MAX, doc="as it was registered"),
    Field("password", TEXT, required=True, most=passwords.PASSWORD_CHARACTERS_MAX, doc="as it was registered"),
)
ANSWER = _signing_in.ANSWER
ERRORS = (
    ("DETAILS", "UNRECOGNISED", "there is no such user name, or it has another password"),
    ("DETAILS", "LOCKED", "there were too many wrong passwords in a row: the account is locked for a while"),
)


def run(call: Call) -> Steps:
    fields, profile = call.fields, call.desk.profile
    account = yield Stored(players.credentials, fields["userName"], profile.login_lock_seconds)
    player_id, stored = account or (None, None)
    right, rehashed = yield Worked(
        passwords.verified, stored, fields["password"], profile.password_memory_kb, profile.password_passes
    )
    if player_id is None:
        raise Failure(players.UNRECOGNISED)
    found = yield Stored(
        players.password_sign_in,
        player_id,
        stored,
        right,
        rehashed,
        profile.login_failures_max,
        profile.login_lock_seconds,
        call.player_id,
        _signing_in.tokens_max(call),
    )
    if "error" in found:  # returned, not raised: that it was wrong has to be noted
        raise Failure(found["error"])
    return _signing_in.finish(call, found)

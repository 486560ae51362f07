"""ChangeUserDetailsRequest: another name, language or password."""

from __future__ import annotations

from gsrt.backend import passwords, players
from gsrt.backend.call import TEXT, Failure, Field, Stored, Worked
from gsrt.backend.requests import _signing_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "ChangeUserDetailsRequest"
SUMMARY = "Changes the player's names, language or password. What is not given stays. A script needs no old password."
FIELDS = (
    Field("displayName", TEXT, most=players.DISPLAY_NAME_CHARACTERS_MAX, doc="the name that others see"),
    Field("userName", TEXT, most=players.USER_NAME_CHARACTERS_MAX, doc="the name to sign in with"),
    Field(
        "newPassword",
        TEXT,
        most=passwords.PASSWORD_CHARACTERS_MAX,
        doc="the password from now on; the player's other devices have to sign in with it",
    ),
    Field("oldPassword", TEXT, most=passwords.PASSWORD_CHARACTERS_MAX, doc="needed for a new one, if there is one"),
    Field("language", TEXT, most=players.LANGUAGE_CHARACTERS_MAX, doc="the player's language, such as en"),
)
ANSWER = (Field("authToken", TEXT, doc="with a new password: what signs this device in with its next handshake"),)
ERRORS = (
    ("USERNAME", "TAKEN", "somebody else has that user name"),
    ("DETAILS", "UNRECOGNISED", "oldPassword is not the player's password"),
    ("DETAILS", "LOCKED", "there were too many wrong passwords in a row: the account is locked for a while"),
)

COLUMNS = {"displayName": "display_name", "userName": "user_name", "language": "language"}  # field -> column


def run(call: Call) -> Steps:
    fields, profile = call.fields, call.desk.profile
    changes = {column: fields[field] for field, column in COLUMNS.items() if fields[field]}
    stored = None
    if fields["newPassword"]:
        stored = yield Stored(players.own_password, call.player, profile.login_lock_seconds)
        if stored is not None and call.connection is not None:
            right, rehashed = yield Worked(
                passwords.verified,
                stored,
                fields["oldPassword"] or "",
                profile.password_memory_kb,
                profile.password_passes,
            )
            limits = profile.login_failures_max, profile.login_lock_seconds
            errors = yield Stored(players.judge, call.player, stored, right, rehashed, *limits)
            if errors:
                raise Failure(errors)
            stored = rehashed or stored
        changes["password"] = yield Worked(
            passwords.hashed, fields["newPassword"], profile.password_memory_kb, profile.password_passes
        )
    found: dict[str, object] = yield Stored(players.change, call.player, changes, stored, _signing_in.tokens_max(call))
    if "password" in changes:  # whoever has signed in with the old one has to sign in anew
        for connection in call.desk.presence.connections(call.player):
            if connection is not call.connection:
                connection.close()
    return found

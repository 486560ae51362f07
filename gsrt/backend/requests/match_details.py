"""MatchDetailsRequest: a match that the player is in, and how to come back to it."""

from __future__ import annotations

from gsrt.backend import matches as stored
from gsrt.backend.call import FLAG, INTEGER, LIST, OBJECT, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "MatchDetailsRequest"
SUMMARY = "Tells about a match that the player is in, with what it takes to enter its session."
FIELDS = (
    Field("matchId", TEXT, required=True, most=64, doc="the match's id"),
    Field("realtimeEnabled", FLAG, doc="accepted; matches have a session where their configuration says so"),
)
ANSWER = (
    Field("matchId", TEXT, doc="the match's id"),
    Field("playerId", TEXT, doc="the player's id"),
    Field("peerId", INTEGER, doc="the player's number in the match"),
    Field("matchData", OBJECT, doc="data of the match"),
    Field("opponents", LIST, doc="the other players, as participants in messages"),
    Field("accessToken", TEXT, doc="what lets the player into the session, as long as it is played"),
    Field("host", TEXT, doc="the session's address"),
    Field("port", INTEGER, doc="the session's port"),
)
ERRORS = (("matchId", "NOT_FOUND", "there is no such match, or the player is not in it"),)


def run(call: Call) -> Steps:
    matches = call.desk.matches
    match = matches.get(call.fields["matchId"])
    online = matches.online(match.seats if match is not None else ())
    found: dict[str, object] = yield Stored(stored.details, call.fields["matchId"], call.player, online)
    if "accessToken" in found:
        reached: str = getattr(call.connection, "local_host", "")
        found["host"] = reached or matches.public_host()
        found["port"] = matches.port
    return found

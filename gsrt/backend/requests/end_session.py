"""EndSessionRequest: a player signs out."""

from __future__ import annotations

from gsrt.backend import players
from gsrt.backend.call import NUMBER, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "EndSessionRequest"
SUMMARY = (
    "Signs the connection's player out; the connection stays. The client's token stays good for its next handshake."
)
FIELDS = ()
ANSWER = (Field("sessionDuration", NUMBER, doc="milliseconds since the player had signed in by this connection"),)
ERRORS: tuple[tuple[str, str, str], ...] = ()


def run(call: Call) -> Steps:
    yield Stored(players.note_seen, call.player)
    connection = call.connection
    if connection is None:  # scripts have no session
        return {"sessionDuration": 0}
    return {"sessionDuration": int(connection.sign_out() * 1000)}

"""SendMessageRequest: a script tells a player something."""

from __future__ import annotations

from gsrt.backend import messages
from gsrt.backend.call import FLAG, OBJECT, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "SendMessageRequest"
SUMMARY = "Sends the player a ScriptMessage: at once to whoever is online, to anybody else at the next sign-in."
SCRIPTS_ONLY = True
FIELDS = (
    Field("extCode", TEXT, default="", most=64, doc="what kind of message it is, for the client to tell them apart"),
    Field("data", OBJECT, doc="what the message says; the client gets it as it is"),
    Field("title", TEXT, default="", doc="a title to show"),
    Field("subTitle", TEXT, default="", doc="a second one"),
    Field("summary", TEXT, default="", doc="a text to show"),
    Field("keep", FLAG, default=True, doc="false: it is gone once delivered; true: it is listed until it is dismissed"),
)
ANSWER = (Field("messageId", TEXT, doc="of the message that was sent"),)
ERRORS = (
    ("message", "TOO_LARGE", f"it has more than {messages.BYTES_MAX:,} bytes as JSON"),
    ("message", "INVALID", "its data is nothing that JSON can say"),
    ("playerId", "NOT_FOUND", "there is no such player"),
)


def run(call: Call) -> Steps:
    body = {**call.fields, "data": call.fields["data"] or {}}
    keep = body.pop("keep")
    most = call.desk.profile.messages_per_player_max
    message = yield Stored(messages.put, call.player, "ScriptMessage", body, keep, most)
    return {"messageId": message["messageId"]}

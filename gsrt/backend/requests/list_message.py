"""ListMessageRequest: messages that wait to be dismissed."""

from __future__ import annotations

from gsrt.backend import messages
from gsrt.backend.call import INTEGER, LIST, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "ListMessageRequest"
SUMMARY = "Lists the player's messages that were not dismissed, the newest first."
ENTRIES = 50  # what the original service gives where nothing is said
FIELDS = (
    Field(
        "entryCount",
        INTEGER,
        default=ENTRIES,
        least=1,
        doc=f"how many messages a page has ({ENTRIES} by default); one with more than"
        f" {messages.PAGE_BYTES_MAX // 1024} KiB in it ends early: ask for smaller ones",
    ),
    Field("offset", INTEGER, default=0, least=0, doc="which page, from 0"),
    Field("include", TEXT, doc="only messages of this type, such as ScriptMessage"),
)
ANSWER = (Field("messageList", LIST, doc="messages as they were sent, each with its @class and messageId"),)
ERRORS: tuple[tuple[str, str, str], ...] = ()


def run(call: Call) -> Steps:
    fields = call.fields
    count = min(fields["entryCount"], call.desk.profile.messages_per_player_max)
    class_name = (fields["include"] or "").removeprefix(".") or None
    found = yield Stored(messages.list_page, call.player, count, fields["offset"], class_name)
    return {"messageList": found}

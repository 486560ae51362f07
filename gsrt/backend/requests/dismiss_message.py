"""DismissMessageRequest: the player has done with a message."""

from __future__ import annotations

from gsrt.backend import messages
from gsrt.backend.call import TEXT, Failure, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "DismissMessageRequest"
SUMMARY = "Removes one of the player's messages."
FIELDS = (Field("messageId", TEXT, required=True, doc="the message, as its messageId has it"),)
ANSWER = ()
ERRORS = (("messageId", "NOT_FOUND", "the player has no such message: it may have been dismissed already"),)


def run(call: Call) -> Steps:
    dismissed = yield Stored(messages.dismiss, call.player, call.fields["messageId"])
    if not dismissed:
        raise Failure(messageId="NOT_FOUND")
    return {}

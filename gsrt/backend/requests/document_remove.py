"""DocumentRemoveRequest: a document that a script needs no more."""

from __future__ import annotations

from gsrt.backend import documents
from gsrt.backend.call import FLAG, INTEGER, Field, Stored
from gsrt.backend.requests import _documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "DocumentRemoveRequest"
SUMMARY = "Removes a document of the player's or of the game's."
NEEDS_PLAYER = False
SCRIPTS_ONLY = True
FIELDS = (
    _documents.COLLECTION,
    _documents.ID,
    Field("version", INTEGER, least=documents.NONE, doc="remove it only if it has this version"),
    _documents.GAME,
)
ANSWER = (Field("removed", FLAG, doc="false: there was none"),)
ERRORS = (_documents.CHANGED,)


def run(call: Call) -> Steps:
    fields, owner = call.fields, _documents.owner(call)
    removed = yield Stored(documents.remove, owner, fields["collection"], fields["id"], fields["version"])
    return {"removed": removed}

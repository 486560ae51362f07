"""DocumentGetRequest: a document that a script reads."""

from __future__ import annotations

from gsrt.backend import documents
from gsrt.backend.call import INTEGER, OBJECT, TEXT, Field, Stored
from gsrt.backend.requests import _documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "DocumentGetRequest"
SUMMARY = "Reads a document of the player's or of the game's."
NEEDS_PLAYER = False
SCRIPTS_ONLY = True
FIELDS = (
    _documents.COLLECTION,
    _documents.ID,
    _documents.GAME,
)
ANSWER = (
    Field("id", TEXT, doc="as it was asked for"),
    Field("document", OBJECT, doc="the document; null where there is none"),
    Field("version", INTEGER, doc="grows by 1 with each change, from 1; 0 where there is none"),
)
ERRORS: tuple[tuple[str, str, str], ...] = ()


def run(call: Call) -> Steps:
    fields, owner = call.fields, _documents.owner(call)
    found = yield Stored(documents.get, owner, fields["collection"], fields["id"])
    return found or {"id": fields["id"], "document": None, "version": documents.NONE}

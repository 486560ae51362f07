"""DocumentGetRequest: a document that a script reads."""

from __future__ import annotations

from gsrt.backend import documents
from gsrt.backend.call import FLAG, INTEGER, OBJECT, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "DocumentGetRequest"
SUMMARY = "Reads a document of the player's or of the game's."
NEEDS_PLAYER = False
SCRIPTS_ONLY = True
FIELDS = (
    Field("collection", TEXT, required=True, most=documents.NAME_CHARACTERS_MAX, doc="where it is kept"),
    Field("id", TEXT, required=True, most=documents.NAME_CHARACTERS_MAX, doc="what it is called there"),
    Field(
        "game", FLAG, default=False, doc="true: a document of the game; false: of the player (the game, if for nobody)"
    ),
)
ANSWER = (
    Field("id", TEXT, doc="as it was asked for"),
    Field("document", OBJECT, doc="the document; null where there is none"),
    Field("version", INTEGER, doc="grows by 1 with each change, from 1; 0 where there is none"),
)
ERRORS: tuple[tuple[str, str, str], ...] = ()


def run(call: Call) -> Steps:
    fields = call.fields
    owner = documents.owner_of(call.player_id, fields["game"])
    found = yield Stored(documents.get, owner, fields["collection"], fields["id"])
    return found or {"id": fields["id"], "document": None, "version": documents.NONE}

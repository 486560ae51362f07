"""DocumentRemoveRequest: a document that a script needs no more."""

from __future__ import annotations

from gsrt.backend import documents
from gsrt.backend.call import FLAG, INTEGER, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "DocumentRemoveRequest"
SUMMARY = "Removes a document of the player's or of the game's."
NEEDS_PLAYER = False
SCRIPTS_ONLY = True
FIELDS = (
    Field("collection", TEXT, required=True, most=documents.NAME_CHARACTERS_MAX, doc="where it is kept"),
    Field("id", TEXT, required=True, most=documents.NAME_CHARACTERS_MAX, doc="what it is called there"),
    Field("version", INTEGER, least=documents.NONE, doc="remove it only if it has this version"),
    Field(
        "game", FLAG, default=False, doc="true: a document of the game; false: of the player (the game, if for nobody)"
    ),
)
ANSWER = (Field("removed", FLAG, doc="false: there was none"),)
ERRORS = (("document", documents.CHANGED, "it has another version: read it again"),)


def run(call: Call) -> Steps:
    fields = call.fields
    owner = documents.owner_of(call.player_id, fields["game"])
    removed = yield Stored(documents.remove, owner, fields["collection"], fields["id"], fields["version"])
    return {"removed": removed}

"""What the requests about documents have in common."""

from __future__ import annotations

from gsrt.backend import documents
from gsrt.backend.call import FLAG, TEXT, Field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call

COLLECTION = Field("collection", TEXT, required=True, most=documents.NAME_CHARACTERS_MAX, doc="where it is kept")
ID = Field("id", TEXT, required=True, most=documents.NAME_CHARACTERS_MAX, doc="what it is called there")
GAME = Field(
    "game", FLAG, default=False, doc="true: a document of the game; false: of the player (the game, if for nobody)"
)
CHANGED = ("document", documents.CHANGED, "it has another version: read it again")


def owner(call: Call) -> str:
    """Whose document is meant."""
    return documents.owner_of(call.player_id, call.fields["game"])

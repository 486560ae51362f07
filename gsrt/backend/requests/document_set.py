"""DocumentSetRequest: a document that a script writes."""

from __future__ import annotations

from gsrt.backend import documents
from gsrt.backend.call import INTEGER, OBJECT, TEXT, Field, Stored
from gsrt.backend.requests import _documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "DocumentSetRequest"
SUMMARY = "Writes a document of the player's or of the game's, in whole."
NEEDS_PLAYER = False
SCRIPTS_ONLY = True
FIELDS = (
    _documents.COLLECTION,
    Field("id", TEXT, most=documents.NAME_CHARACTERS_MAX, doc="what it is called there; without it, it gets a new id"),
    Field("document", OBJECT, required=True, doc="the document"),
    Field(
        "version",
        INTEGER,
        least=documents.NONE,
        doc="write only if the document has this version (0: if there is none); without it, whatever it has",
    ),
    _documents.GAME,
)
ANSWER = (
    Field("id", TEXT, doc="what it is called"),
    Field("version", INTEGER, doc="its version by now"),
)
ERRORS = (
    _documents.CHANGED,
    ("document", "TOO_LARGE", "as JSON it has more bytes than one may (document_bytes_max)"),
    ("document", documents.TOO_MANY, "the player, or the game, has as many as one may (documents_per_owner_max)"),
    ("document", "INVALID", "it is nothing that JSON can say, or nested too deep"),
    ("playerId", "NOT_FOUND", "there is no such player"),
)


def run(call: Call) -> Steps:
    fields, profile = call.fields, call.desk.profile
    answer: dict[str, object] = yield Stored(
        documents.put,
        _documents.owner(call),
        fields["collection"],
        fields["id"] or None,
        fields["document"],
        fields["version"],
        profile.document_bytes_max,
        profile.documents_per_owner_max,
    )
    return answer

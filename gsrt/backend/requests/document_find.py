"""DocumentFindRequest: documents that a script looks for."""

from __future__ import annotations

from gsrt.backend import documents
from gsrt.backend.call import INTEGER, LIST, OBJECT, TEXT, Field, Stored
from gsrt.backend.requests import _documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "DocumentFindRequest"
SUMMARY = "Finds documents of a collection by what stands in them, in the order of their ids."
NEEDS_PLAYER = False
SCRIPTS_ONLY = True
FIELDS = (
    Field("collection", TEXT, required=True, most=documents.NAME_CHARACTERS_MAX, doc="where they are kept"),
    Field(
        "conditions",
        OBJECT,
        doc="field: the text, number, true, false or null that it must be; `outer.inner` for a field of an object in a"
        f" field; at most {documents.CONDITIONS_MAX}, all of which must be met; without any, all documents",
    ),
    Field("limit", INTEGER, default=10, least=1, most=documents.FIND_MAX, doc="how many at most"),
    Field("after", TEXT, default="", doc="only those behind this id: `next` of the answer before"),
    _documents.GAME,
)
ANSWER = (
    Field("documents", LIST, doc="id, document and version of each"),
    Field("next", TEXT, doc="the id to go on after; null where these are all. A page ends early where it gets large"),
)
ERRORS = (("conditions", "INVALID", "too many, a value that is an object or a list, or a name with quotes in it"),)


def run(call: Call) -> Steps:
    fields = call.fields
    answer: dict[str, object] = yield Stored(
        documents.find,
        _documents.owner(call),
        fields["collection"],
        fields["conditions"] or {},
        fields["limit"],
        call.desk.profile.document_bytes_max,
        fields["after"],
    )
    return answer

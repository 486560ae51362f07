"""Documents that scripts keep: objects of JSON in collections, of a player or of the game (owner "").

Their number and size are bounded by who calls. Each has a version, 1 at first, that grows by one with each change: to
change only what one has read, name the version (compare and set).
"""

from __future__ import annotations

from gsrt.backend.bodies import INVALID, encode
from gsrt.backend.call import INTEGER_MAX, Failure
from gsrt.backend.owners import must_exist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gsrt.store.store import Transaction

    Document = dict[str, Any]  # {"id": str, "document": dict, "version": int}

GAME = ""  # the owner of the game's own documents
NONE = 0  # the version of a document that does not exist
NAME_CHARACTERS_MAX = 64  # of a collection's name, of an id
CONDITIONS_MAX = 8  # of one search
FIND_MAX = 100  # documents that one search brings
CHANGED = "CHANGED"
TOO_MANY = "TOO_MANY"


def owner_of(player_id: str | None, game: bool) -> str:
    """Whose documents a request is about: the game's if it says so, or is for no player."""
    return GAME if game or player_id is None else player_id


def get(tx: Transaction, owner: str, collection: str, document_id: str) -> Document | None:
    """One document, or None."""
    import json

    found = tx.one(
        "SELECT body, version FROM documents WHERE owner = ? AND collection = ? AND id = ?",
        (owner, collection, document_id),
    )
    return None if found is None else {"id": document_id, "document": json.loads(found[0]), "version": found[1]}


def put(
    tx: Transaction,
    owner: str,
    collection: str,
    document_id: str | None,
    body: Mapping[str, Any],
    version: int | None,
    bytes_max: int,
    documents_max: int,
) -> Document:
    """Writes a document in whole and returns {"id", "version"} of it. Without DOCUMENT_ID it is a new one. VERSION: the
    document must have it (NONE: there must be none yet).

    Raises Failure: document: CHANGED, TOO_LARGE, TOO_MANY, INVALID; playerId: NOT_FOUND."""
    if owner != GAME:
        must_exist(tx, owner)
    text = encode(body, "document", bytes_max)
    # What is nested deeper than SQLite reads would make every search of the collection fail.
    if tx.one("SELECT json_valid(?)", (text,)) != (1,):
        raise Failure(document=INVALID)
    if document_id is None:
        document_id = tx.new_id()
    before = _version(tx, owner, collection, document_id)
    if version is not None and version != before:
        raise Failure(document=CHANGED)
    if before == NONE:
        number = tx.one("SELECT COUNT(*) FROM documents WHERE owner = ?", (owner,))
        if number is not None and number[0] >= documents_max:
            raise Failure(document=f"{TOO_MANY}: there are {number[0]:,} already")
    tx.execute(
        "INSERT INTO documents (owner, collection, id, body, version, changed) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (owner, collection, id)"
        " DO UPDATE SET body = excluded.body, version = excluded.version, changed = excluded.changed",
        (owner, collection, document_id, text, before + 1, tx.now),
    )
    return {"id": document_id, "version": before + 1}


def remove(tx: Transaction, owner: str, collection: str, document_id: str, version: int | None = None) -> bool:
    """Removes a document; False: there was none. VERSION: it must have it. Raises Failure: document: CHANGED."""
    before = _version(tx, owner, collection, document_id)
    if version is not None and version != before:
        raise Failure(document=CHANGED)
    of = (owner, collection, document_id)
    return tx.execute("DELETE FROM documents WHERE owner = ? AND collection = ? AND id = ?", of).rowcount > 0


def find(
    tx: Transaction,
    owner: str,
    collection: str,
    conditions: Mapping[str, Any],
    limit: int,
    bytes_max: int,
    after: str = "",
) -> dict[str, Any]:
    """Documents of a collection that meet all CONDITIONS, by id, those behind the id AFTER. At most LIMIT, and no more
    once they have BYTES_MAX characters: {"documents": [...], "next": id to go on after, or None}.

    A condition is a field, or "outer.inner", and the text, number, true, false or null that it must be; null is met by
    a field that is missing, too.

    Raises Failure: conditions: INVALID."""
    import json

    clauses: list[str] = []
    values: list[object] = [owner, collection, after]
    if len(conditions) > CONDITIONS_MAX:
        raise Failure(conditions=f"{INVALID}: at most {CONDITIONS_MAX}")
    for field, value in conditions.items():
        clause, needed = _condition(field, value)
        clauses.append(f" AND {clause}")
        values += needed
    rows = tx.execute(
        "SELECT id, body, version FROM documents WHERE owner = ? AND collection = ? AND id > ?"
        f"{''.join(clauses)} ORDER BY id LIMIT ?",
        (*values, limit + 1),  # one more tells whether there is more
    )
    documents: list[Document] = []
    size = 0
    for document_id, body, version in rows:
        size += len(body)
        if len(documents) == limit or (documents and size > bytes_max):
            return {"documents": documents, "next": documents[-1]["id"]}
        documents.append({"id": document_id, "document": json.loads(body), "version": version})
    return {"documents": documents, "next": None}


def _version(tx: Transaction, owner: str, collection: str, document_id: str) -> int:
    of = (owner, collection, document_id)
    found = tx.one("SELECT version FROM documents WHERE owner = ? AND collection = ? AND id = ?", of)
    return NONE if found is None else int(found[0])


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: JSON may bring half a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _condition(field: str, value: object) -> tuple[str, list[object]]:
    """The clause for one condition, and its values."""
    names = field.split(".")
    if not all(names) or any(letter in '"\\' or letter < " " for letter in field) or not _is_text(field):
        raise Failure(conditions=f"{INVALID}: no such field can be asked for: {field[:64]!r}")
    path = "$." + ".".join(f'"{name}"' for name in names)
    if value is None:
        return "COALESCE(json_type(body, ?), 'null') = 'null'", [path]
    if type(value) is bool:
        return "json_type(body, ?) = ?", [path, "true" if value else "false"]
    if type(value) is str and _is_text(value):
        return "json_type(body, ?) = 'text' AND json_extract(body, ?) = ?", [path, path, value]
    if (type(value) is int or type(value) is float) and abs(value) <= INTEGER_MAX:  # no NaN either
        return "json_type(body, ?) IN ('integer', 'real') AND json_extract(body, ?) = ?", [path, path, value]
    raise Failure(conditions=f"{INVALID}: {field[:64]!r} is compared with neither text, number, true, false nor null")

"""Players by a score: their entries, ranks and pages of them.

A leaderboard has one table of entries; one that is parted by an attribute has a table for each value of that attribute.
A part is written CODE.ATTRIBUTE.VALUE where clients name a leaderboard. A player has one entry in a table: the best
score, the sum of all scores, or the last one.

Ranks begin at 1. Of equal scores the one that was there first is in front, or they share a rank and the next one's is
as if they had not (1, 1, 3). A rank is counted by blocks (see the table score_blocks), so that it costs as little among
100,000 entries as among 1,000.
"""

from __future__ import annotations

from gsrt.backend import messages
from gsrt.backend.bodies import encode
from gsrt.backend.call import INTEGER_MAX, MISSING, Failure
from gsrt.backend.owners import must_exist
from gsrt.game.model import BEST, HIGH, SHARED, SUM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from gsrt.game.model import Leaderboard
    from gsrt.store.store import Transaction

    Entry = dict[str, Any]  # as clients get it
    Place = tuple[float, int]  # (score, number): what entries are in the order of

SCORE_MAX = INTEGER_MAX  # either side of zero: exact as a float, also in a client
ATTRIBUTES_BYTES_MAX = 1024  # that one entry keeps beside its score, as JSON
PART_CHARACTERS_MAX = 64  # of an attribute's value that names a part
PARTS_MAX = 100  # of one leaderboard that one player has entries in: the value may come from a client
BLOCK_PLAYERS_MAX = 1024  # a block with more is cut in two
NUMBER_MAX = 2**62  # above the number of any entry

INVALID = "INVALID"
TOO_MANY = "TOO_MANY"
HIGH_SCORE_MESSAGE = "NewHighScoreMessage"

_OF = "leaderboard = ? AND part = ?"
_ROWS = (
    "SELECT s.player, p.display_name, s.score, s.number, s.attributes, s.at"
    " FROM scores AS s CROSS JOIN players AS p ON p.id = s.player WHERE s.leaderboard = ? AND s.part = ?"
)


def named(leaderboards: Mapping[str, Leaderboard], short_code: str) -> tuple[Leaderboard, str]:
    """The leaderboard that a client's SHORT_CODE means, and the part of it ("": it has no parts).

    Raises Failure: leaderboardShortCode: INVALID."""
    board = leaderboards.get(short_code)
    if board is not None and board.part is None:
        return board, ""
    code, _, rest = short_code.partition(".")  # there is none in the code itself
    board = leaderboards.get(code)
    if board is not None and board.part is not None and rest.startswith(f"{board.part}."):
        part = rest.removeprefix(f"{board.part}.")
        if part:
            return board, part
    raise Failure(leaderboardShortCode=INVALID)


def short_code_of(board: Leaderboard, part: str) -> str:
    """What clients call that part of the leaderboard."""
    return board.code if board.part is None else f"{board.code}.{board.part}.{part}"


def submit(
    tx: Transaction, board: Leaderboard, player_id: str, value: float, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """Enters a score. ATTRIBUTES: the event's, of which the leaderboard's own are kept and one may name the part.

    Returns {"leaderboardShortCode", "leaderboardName", "score": of the entry by now, "previousScore": None where there
    was no entry, "rank", "previousRank", "entries": how many there are, "newHighScore": whether the entry is the
    player's first or became better}.

    Raises Failure, by the name of the attribute: a part that cannot be, a score out of range; attributes: TOO_LARGE;
    playerId: NOT_FOUND."""
    must_exist(tx, player_id)
    part, score, text = _entry_of(board, value, attributes)
    found = tx.one(f"SELECT score, number FROM scores WHERE {_OF} AND player = ?", (board.code, part, player_id))
    before: Place | None = None if found is None else (found[0], found[1])
    if before is not None and board.aggregate == SUM:
        score = float(_in_range(board, before[0] + score))
    better = before is None or (score > before[0] if board.order == HIGH else score < before[0])
    rank_before = None if before is None else _rank(tx, board, part, before)
    place = before
    if before is None or better or board.aggregate != BEST:
        place = before if before is not None and before[0] == score else (score, _behind(tx, board, part, score))
        _enter(tx, board, part, player_id, place, text, new=before is None)
    assert place is not None
    return {
        "leaderboardShortCode": short_code_of(board, part),
        "leaderboardName": board.name,
        "score": _number(place[0]),
        "previousScore": None if before is None else _number(before[0]),
        "rank": rank_before if place == before else _rank(tx, board, part, place),
        "previousRank": rank_before,
        "entries": _entries(tx, board, part),
        "newHighScore": better,
    }


def _entry_of(board: Leaderboard, value: float, attributes: Mapping[str, Any]) -> tuple[str, float, str]:
    """What an event makes of an entry: the part it belongs to, its score, its attributes as they are stored. Raises
    Failure."""
    part = _part(board, attributes)
    kept = {name: attributes[name] for name in (*board.attributes, *_parting(board)) if name in attributes}
    return part, float(_in_range(board, value)), encode(kept, "attributes", ATTRIBUTES_BYTES_MAX)


def submit_and_tell(
    tx: Transaction,
    board: Leaderboard,
    player_id: str,
    value: float,
    attributes: Mapping[str, Any],
    messages_max: int = messages.MESSAGES_MAX,
) -> dict[str, Any]:
    """What `submit` does; a new high score is told to the player by a NewHighScoreMessage where the best score counts.
    (A sum grows with nearly every score: that is no news, and would be a message to store each time.)"""
    result = submit(tx, board, player_id, value, attributes)
    if result["newHighScore"] and board.aggregate == BEST:
        entry = own_entry(tx, board, _part(board, attributes), player_id)
        rank_details = {"globalCount": result["entries"], "globalTo": result["rank"]}
        if result["previousRank"] is not None:
            rank_details["globalFrom"] = result["previousRank"]
        body = {
            "leaderboardData": entry,
            "leaderboardName": board.name,
            "leaderboardShortCode": result["leaderboardShortCode"],
            "rankDetails": rank_details,
            "title": board.name,
            "summary": f"New high score: {result['score']}, rank {result['rank']}",
        }
        messages.put(tx, player_id, HIGH_SCORE_MESSAGE, body, keep=False, most=messages_max)
    return result


def check_event(boards: Iterable[Leaderboard], attributes: Mapping[str, Any]) -> None:
    """Raises what `submit_event` would, as far as that can be known without the entries there are."""
    for board in boards:
        if board.attribute in attributes:
            _entry_of(board, attributes[board.attribute], attributes)


def submit_event(
    tx: Transaction,
    boards: Iterable[Leaderboard],
    player_id: str,
    attributes: Mapping[str, Any],
    messages_max: int = messages.MESSAGES_MAX,
) -> list[dict[str, Any]]:
    """Enters the scores of one event into all of its leaderboards; one whose attribute did not come is left alone."""
    return [
        submit_and_tell(tx, board, player_id, attributes[board.attribute], attributes, messages_max)
        for board in boards
        if board.attribute in attributes
    ]


def page(
    tx: Transaction,
    board: Leaderboard,
    part: str,
    entry_count: int,
    offset: int = 0,
    include_first: int = 0,
    include_last: int = 0,
) -> dict[str, list[Entry]]:
    """ENTRY_COUNT entries behind the OFFSET best ones: {"data": [...], "first": the INCLUDE_FIRST best, "last": the
    INCLUDE_LAST worst}, all of them best first."""
    return {"data": _slice(tx, board, part, offset, entry_count), **_ends(tx, board, part, include_first, include_last)}


def around(
    tx: Transaction,
    board: Leaderboard,
    part: str,
    player_id: str,
    entry_count: int,
    include_first: int = 0,
    include_last: int = 0,
) -> dict[str, list[Entry]]:
    """The player's entry with up to ENTRY_COUNT before it and as many behind it, as `page` answers them. "data" is
    empty where the player has no entry."""
    ends = _ends(tx, board, part, include_first, include_last)
    own = tx.one(f"{_ROWS} AND s.player = ?", (board.code, part, player_id))
    if own is None:
        return {"data": [], **ends}
    place = (own[2], own[3])
    above = list(reversed(_next_rows(tx, board, part, place, entry_count, towards_best=True)))
    below = _next_rows(tx, board, part, place, entry_count, towards_best=False)
    position = _in_front(tx, board, part, place) - len(above)
    return {"data": _ranked(tx, board, part, [*above, own, *below], position), **ends}


def own_entry(tx: Transaction, board: Leaderboard, part: str, player_id: str) -> Entry | None:
    """The player's entry, or None."""
    found: list[Entry] = around(tx, board, part, player_id, 0)["data"]
    return found[0] if found else None


# --- Writing ----------------------------------------------------------------------------------------------------------


def _parting(board: Leaderboard) -> tuple[str, ...]:
    return () if board.part is None else (board.part,)


def _part(board: Leaderboard, attributes: Mapping[str, Any]) -> str:
    """The part that a submission belongs to."""
    if board.part is None:
        return ""
    value = attributes.get(board.part)
    if value is None or value == "":
        raise Failure({board.part: MISSING})
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        value = str(value) if abs(value) <= INTEGER_MAX else ""
    if type(value) is not str or not 0 < len(value) <= PART_CHARACTERS_MAX:
        raise Failure({board.part: f"must be a text of at most {PART_CHARACTERS_MAX} characters or a whole number"})
    return value


def _in_range(board: Leaderboard, value: object) -> float:
    if (type(value) is int or type(value) is float) and abs(value) <= SCORE_MAX:  # no NaN either
        return value
    raise Failure({board.attribute or "score": f"must be a number from {-SCORE_MAX:,} to {SCORE_MAX:,}"})


def _behind(tx: Transaction, board: Leaderboard, part: str, score: float) -> int:
    """The number of an entry that comes behind all that have this score."""
    direction, step = ("ASC", -1) if board.order == HIGH else ("DESC", 1)
    last = f"SELECT number FROM scores WHERE {_OF} AND score = ? ORDER BY number {direction} LIMIT 1"
    found = tx.one(last, (board.code, part, score))
    return 0 if found is None else int(found[0]) + step


def _enter(
    tx: Transaction, board: Leaderboard, part: str, player_id: str, place: Place, attributes: str, *, new: bool
) -> None:
    if new:
        if board.part is not None:
            parts = "SELECT COUNT(*) FROM scores WHERE player = ? AND leaderboard = ?"
            if (tx.one(parts, (player_id, board.code)) or (0,))[0] >= PARTS_MAX:
                raise Failure({board.part: f"{TOO_MANY}: at most {PARTS_MAX} of one player"})
        tx.execute(
            "INSERT INTO scores (leaderboard, part, player, score, attributes, at, number)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (board.code, part, player_id, place[0], attributes, tx.now, place[1]),
        )
    else:
        tx.execute(
            f"UPDATE scores SET score = ?, number = ?, attributes = ?, at = ? WHERE {_OF} AND player = ?",
            (*place, attributes, tx.now, board.code, part, player_id),
        )
    _split(tx, board, part, place)


def _split(tx: Transaction, board: Leaderboard, part: str, place: Place) -> None:
    """Cuts the block that PLACE lies in where it has become too large."""
    start, players = _block_at(tx, board, part, place)
    if players <= BLOCK_PLAYERS_MAX:
        return
    half = players // 2
    of = (board.code, part)
    middle = tx.one(
        f"SELECT score, number FROM scores WHERE {_OF} AND (score, number) >= (?, ?)"
        " ORDER BY score, number LIMIT 1 OFFSET ?",
        (*of, *start, half),
    )
    assert middle is not None
    tx.execute("INSERT INTO score_blocks VALUES (?, ?, ?, ?, ?)", (*of, *middle, players - half))
    of_block = f"{_OF} AND score = ? AND number = ?"
    tx.execute(f"UPDATE score_blocks SET players = ? WHERE {of_block}", (half, *of, *start))


# --- Counting ---------------------------------------------------------------------------------------------------------


def _block_at(tx: Transaction, board: Leaderboard, part: str, place: Place) -> tuple[Place, int]:
    """Where the block of PLACE begins, and how many players are in it."""
    found = tx.one(
        f"SELECT score, number, players FROM score_blocks WHERE {_OF} AND (score, number) <= (?, ?)"
        " ORDER BY score DESC, number DESC LIMIT 1",
        (board.code, part, *place),
    )
    assert found is not None
    return (found[0], found[1]), found[2]


def _count(tx: Transaction, sql: str, parameters: tuple[object, ...]) -> int:
    return int((tx.one(sql, parameters) or (0,))[0] or 0)


def _entries(tx: Transaction, board: Leaderboard, part: str) -> int:
    return _count(tx, f"SELECT SUM(players) FROM score_blocks WHERE {_OF}", (board.code, part))


def _in_front(tx: Transaction, board: Leaderboard, part: str, place: Place) -> int:
    """How many entries are in front of PLACE."""
    start, _ = _block_at(tx, board, part, place)
    of = (board.code, part)
    blocks = f"SELECT SUM(players) FROM score_blocks WHERE {_OF} AND (score, number)"
    within = f"SELECT COUNT(*) FROM scores WHERE {_OF} AND (score, number) >= (?, ?) AND (score, number)"
    if board.order == HIGH:
        return _count(tx, f"{blocks} >= (?, ?)", (*of, *start)) - _count(
            tx, f"{within} <= (?, ?)", (*of, *start, *place)
        )
    return _count(tx, f"{blocks} < (?, ?)", (*of, *start)) + _count(tx, f"{within} < (?, ?)", (*of, *start, *place))


def _rank(tx: Transaction, board: Leaderboard, part: str, place: Place) -> int:
    if board.ties == SHARED:  # as of the first that has this score
        place = (place[0], NUMBER_MAX if board.order == HIGH else -NUMBER_MAX)
    return _in_front(tx, board, part, place) + 1


# --- Reading ----------------------------------------------------------------------------------------------------------


def _slice(tx: Transaction, board: Leaderboard, part: str, offset: int, count: int) -> list[Entry]:
    """COUNT entries behind the OFFSET best ones."""
    if count <= 0:
        return []
    high = board.order == HIGH
    direction = "DESC" if high else "ASC"
    of = (board.code, part)
    bound, left = "", offset
    at: tuple[float, ...] = ()
    above: Place | None = None  # where the block before, with better scores, begins
    blocks = (
        f"SELECT score, number, players FROM score_blocks WHERE {_OF} ORDER BY score {direction}, number {direction}"
    )
    for score, number, players in tx.all(blocks, of):
        if left < players:
            if not high:
                bound, at = "AND (s.score, s.number) >= (?, ?)", (score, number)
            elif above is not None:
                bound, at = "AND (s.score, s.number) < (?, ?)", above
            break
        left -= players
        above = (score, number)
    else:
        return []
    order = f"ORDER BY s.score {direction}, s.number {direction}"
    rows = tx.all(f"{_ROWS} {bound} {order} LIMIT ? OFFSET ?", (*of, *at, count, left))
    return _ranked(tx, board, part, rows, offset)


def _ends(tx: Transaction, board: Leaderboard, part: str, first: int, last: int) -> dict[str, list[Entry]]:
    begin = max(_entries(tx, board, part) - last, 0) if last > 0 else 0
    return {"first": _slice(tx, board, part, 0, first), "last": _slice(tx, board, part, begin, last)}


def _next_rows(
    tx: Transaction, board: Leaderboard, part: str, place: Place, count: int, *, towards_best: bool
) -> list[tuple[Any, ...]]:
    """COUNT rows from PLACE on, the nearest first."""
    upwards = towards_best == (board.order == HIGH)
    sign, direction = (">", "ASC") if upwards else ("<", "DESC")
    order = f"ORDER BY s.score {direction}, s.number {direction}"
    sql = f"{_ROWS} AND (s.score, s.number) {sign} (?, ?) {order} LIMIT ?"
    return tx.all(sql, (board.code, part, *place, count))


def _ranked(tx: Transaction, board: Leaderboard, part: str, rows: list[tuple[Any, ...]], position: int) -> list[Entry]:
    """Entries of rows that stand one behind the other, the first of them behind POSITION others."""
    entries: list[Entry] = []
    rank, score_before = 0, None
    for index, row in enumerate(rows):
        if board.ties != SHARED or (entries and row[2] != score_before):
            rank = position + index + 1
        elif not entries:
            rank = _rank(tx, board, part, (row[2], row[3]))
        score_before = row[2]
        entries.append(_entry(board, row, rank))
    return entries


def _entry(board: Leaderboard, row: tuple[Any, ...], rank: int) -> Entry:
    import json

    player_id, name, score, _, attributes, at = row
    return {
        **json.loads(attributes),
        board.attribute or "score": _number(score),
        "rank": rank,
        "userId": player_id,
        "userName": name,
        "when": _minute(at),
    }


def _number(score: float) -> float:
    """Whole numbers as such, for so they came."""
    return int(score) if score.is_integer() else score


def _minute(at: float) -> str:
    """As the original service writes it: 2026-11-22T22:06Z."""
    from time import gmtime, strftime

    return strftime("%Y-%m-%dT%H:%MZ", gmtime(at))

"""MatchmakingRequest: looking for a match."""

from __future__ import annotations

from gsrt.backend import matches as stored
from gsrt.backend.bodies import encode
from gsrt.backend.call import ANY, MISSING, NUMBER, OBJECT, TEXT, Failure, Field, Stored
from gsrt.match.query import QueryError, parse_query
from gsrt.match.waiting import Ticket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "MatchmakingRequest"
SUMMARY = "Has the player look for a match, or not any more. What comes of it is told by messages."
FIELDS = (
    Field("matchShortCode", TEXT, required=True, most=64, doc="the kind of match"),
    Field("skill", NUMBER, doc="what the match's thresholds compare; not needed to cancel"),
    Field("matchGroup", TEXT, most=256, doc="players find only others of the same group"),
    Field("matchData", OBJECT, default={}, doc="data of the match; that of its first player who has any counts"),
    Field("participantData", OBJECT, default={}, doc="data that the others see of this player"),
    Field(
        "customQuery",
        ANY,
        doc="conditions on pending matches, as for MongoDB: paths with values, or with $eq $ne $gt $gte $lt $lte $in"
        " $nin $exists $not; $and $or",
    ),
    Field("action", TEXT, most=64, doc='"cancel": the player does not look for it any more'),
)
ANSWER: tuple[Field, ...] = ()
ERRORS = (
    ("skill", MISSING, "it is not there"),
    ("matchShortCode", "NOT_FOUND", "there is no such match, or it has no threshold"),
    ("customQuery", "INVALID_QUERY", "it is not understood; the server's log says what of it"),
    ("match", "NOT_FOUND", "to cancel: the player does not look for it"),
    ("match", "TOO_MANY", "as many players look for matches as the server can bear"),
    ("action", "INVALID", "it is something else than cancel"),
    ("matchData", "TOO_LARGE", "it is too long to be told to others"),
    ("participantData", "TOO_LARGE", "it is too long to be told to as many as can be in the match"),
    ("playerId", "NOT_FOUND", "there is no such player"),
)

CANCEL = "cancel"
MATCH_DATA_BYTES_MAX = 16_384
PARTICIPANT_DATA_BYTES_MAX = 32_768  # of all participants together


def run(call: Call) -> Steps:
    short_code, group = call.fields["matchShortCode"], call.fields["matchGroup"] or None
    matches = call.desk.matches
    config = call.desk.game.matches.get(short_code)
    if config is None or not config.thresholds:
        raise Failure(matchShortCode="NOT_FOUND")
    action = call.fields["action"]
    if action:
        if action != CANCEL:
            raise Failure(action="INVALID: it is cancel, or not there")
        ticket = matches.ticket(call.player, short_code, group)
        if ticket is None:
            raise Failure(match="NOT_FOUND")
        since = matches.withdraw(ticket)
        try:
            yield Stored(stored.remove_ticket, call.player, short_code, since)
        except Exception:
            matches.enter(ticket, since)
            raise
        return {}
    body = {name: call.fields[name] for name in ("skill", "matchData", "participantData", "customQuery")}
    if body["skill"] is None:
        raise Failure(skill=MISSING)
    encode(body["matchData"], "matchData", MATCH_DATA_BYTES_MAX)
    encode(body["participantData"], "participantData", PARTICIPANT_DATA_BYTES_MAX // config.max_players)
    try:
        query = None if body["customQuery"] is None else parse_query(body["customQuery"])
    except QueryError as error:  # clients compare the code; what is wrong with the query is for their developer
        call.desk.log.limited("warn", "query", "customQuery refused", player=call.player, reason=str(error))
        raise Failure(customQuery="INVALID_QUERY") from None
    if matches.is_full:
        raise Failure(match="TOO_MANY: try again later")
    yield Stored(stored.put_ticket, call.player, short_code, group, body, call.now)
    ticket = Ticket(
        call.player,
        short_code,
        body["skill"],
        group,
        query,
        body["participantData"],
        body["matchData"],
        matches.clock(),
    )
    matches.enter(ticket, call.now)
    return {}

"""FindPendingMatchesRequest: whom a player who looks for a manual match could play with."""

from __future__ import annotations

from gsrt.backend.call import INTEGER, LIST, TEXT, Failure, Field
from gsrt.match.matchmaker import NotInProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "FindPendingMatchesRequest"
SUMMARY = "Lists pending matches that the player, who looks for such a match, could join."
FIELDS = (
    Field("matchShortCode", TEXT, required=True, most=64, doc="the kind of match"),
    Field("matchGroup", TEXT, most=256, doc="the group; by default the one that the player looks in"),
    Field("maxMatchesToFind", INTEGER, default=10, least=1, most=100, doc="how many at most"),
)
ANSWER = (
    Field(
        "pendingMatches",
        LIST,
        doc="each {id, matchData, matchGroup, matchShortCode, matchedPlayers, skill}; skill is the average,"
        " matchedPlayers are {playerId, skill, location, participantData}, with a location that is always empty",
    ),
)
ERRORS = (("match", "NOT_IN_PROGRESS", "the player does not look for such a match, or its players are not asked"),)


def run(call: Call) -> Steps:
    matches = call.desk.matches
    short_code = call.fields["matchShortCode"]
    ticket = matches.matchmaker.ticket_of(call.player, short_code)
    if ticket is None:
        raise Failure(match="NOT_IN_PROGRESS")
    group = call.fields["matchGroup"] or ticket.group
    try:
        found = matches.matchmaker.pending(short_code, group, call.player, call.fields["maxMatchesToFind"])
    except NotInProgress:
        raise Failure(match="NOT_IN_PROGRESS") from None
    yield from ()
    return {"pendingMatches": found}

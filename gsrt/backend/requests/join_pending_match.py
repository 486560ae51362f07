"""JoinPendingMatchRequest: a player chooses whom to play with."""

from __future__ import annotations

from gsrt.backend.call import OBJECT, TEXT, Failure, Field
from gsrt.match.matchmaker import NotAvailable, NotInProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "JoinPendingMatchRequest"
SUMMARY = "Has the player, who looks for such a match, join a pending match that others wait in."
FIELDS = (
    Field("matchShortCode", TEXT, required=True, most=64, doc="the kind of match"),
    Field("pendingMatchId", TEXT, required=True, most=64, doc="the id of one of the pending matches"),
    Field("matchGroup", TEXT, most=256, doc="the group; by default the one that the player looks in"),
)
ANSWER = (Field("pendingMatch", OBJECT, doc="the match that was joined, as it is then"),)
ERRORS = (
    ("match", "NOT_IN_PROGRESS", "the player does not look for such a match, or its players are not asked"),
    ("pendingMatchId", "NOT_AVAILABLE", "it is not there any more, full, or not for this player"),
)


def run(call: Call) -> Steps:
    matches = call.desk.matches
    short_code, pending_id = call.fields["matchShortCode"], call.fields["pendingMatchId"]
    ticket = matches.matchmaker.ticket_of(call.player, short_code)
    if ticket is None or (call.fields["matchGroup"] or ticket.group) != ticket.group:
        raise Failure(match="NOT_IN_PROGRESS")
    try:
        joined = matches.join(call.player, short_code, pending_id)
    except NotInProgress:
        raise Failure(match="NOT_IN_PROGRESS") from None
    except NotAvailable:
        raise Failure(pendingMatchId="NOT_AVAILABLE") from None
    yield from ()
    return {"pendingMatch": joined}

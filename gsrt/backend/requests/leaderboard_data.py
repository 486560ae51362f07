"""LeaderboardDataRequest: a page of a leaderboard."""

from __future__ import annotations

from gsrt.backend import leaderboards
from gsrt.backend.call import INTEGER, LIST, Field, Stored
from gsrt.backend.requests import _leaderboards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "LeaderboardDataRequest"
SUMMARY = "Lists entries of a leaderboard, the best first."
FIELDS = (
    _leaderboards.SHORT_CODE,
    Field(
        "entryCount",
        INTEGER,
        required=True,
        least=1,
        doc="how many entries; more than leaderboard_page_max are not given",
    ),
    Field("offset", INTEGER, default=0, least=0, doc="how many of the best are passed over"),
    *_leaderboards.FURTHER_FIELDS,
)
ANSWER = (
    Field(
        "data",
        LIST,
        doc="entries: rank, userId, userName, when (such as 2026-11-22T22:06Z) and the attributes of the leaderboard",
    ),
    *_leaderboards.FURTHER_ANSWER,
)
ERRORS = _leaderboards.ERRORS


def run(call: Call) -> Steps:
    board, part, count, first, last = _leaderboards.asked(call)
    answer = yield Stored(leaderboards.page, board, part, count, call.fields["offset"], first, last)
    return {**answer, "leaderboardShortCode": call.fields["leaderboardShortCode"]}

"""AroundMeLeaderboardRequest: the part of a leaderboard that the player's entry is in."""

from __future__ import annotations

from gsrt.backend import leaderboards
from gsrt.backend.call import INTEGER, LIST, Field, Stored
from gsrt.backend.requests import _leaderboards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "AroundMeLeaderboardRequest"
SUMMARY = "Lists the player's entry in a leaderboard and those before and behind it, the best first."
FIELDS = (
    _leaderboards.SHORT_CODE,
    Field(
        "entryCount",
        INTEGER,
        required=True,
        least=0,
        doc="how many entries before the player's and how many behind it; more than leaderboard_page_max are not given",
    ),
    *_leaderboards.FURTHER_FIELDS,
)
ANSWER = (
    Field("data", LIST, doc="entries as in LeaderboardDataResponse; empty where the player has none"),
    *_leaderboards.FURTHER_ANSWER,
)
ERRORS = _leaderboards.ERRORS


def run(call: Call) -> Steps:
    board, part, count, first, last = _leaderboards.asked(call)
    answer = yield Stored(leaderboards.around, board, part, call.player, count, first, last)
    return {**answer, "leaderboardShortCode": call.fields["leaderboardShortCode"]}

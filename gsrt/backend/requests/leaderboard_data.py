"""LeaderboardDataRequest: a page of a leaderboard."""

from __future__ import annotations

from gsrt.backend import leaderboards
from gsrt.backend.call import FLAG, INTEGER, LIST, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "LeaderboardDataRequest"
SUMMARY = "Lists entries of a leaderboard, the best first."
FIELDS = (
    Field(
        "leaderboardShortCode",
        TEXT,
        required=True,
        doc="the leaderboard; one with parts as CODE.ATTRIBUTE.VALUE, such as BEST_TIMES.level.3",
    ),
    Field(
        "entryCount",
        INTEGER,
        required=True,
        least=1,
        doc="how many entries; more than leaderboard_page_max are not given",
    ),
    Field("offset", INTEGER, default=0, least=0, doc="how many of the best are passed over"),
    Field("includeFirst", INTEGER, default=0, least=0, doc="how many of the best go into `first`"),
    Field("includeLast", INTEGER, default=0, least=0, doc="how many of the worst go into `last`"),
    Field(
        "social", FLAG, default=False, doc="taken, and ignored: there are no social networks here, all players count"
    ),
)
ANSWER = (
    Field(
        "data",
        LIST,
        doc="entries: rank, userId, userName, when (such as 2026-11-22T22:06Z) and the attributes of the leaderboard",
    ),
    Field("first", LIST, doc="the best entries, as many as includeFirst says"),
    Field("last", LIST, doc="the worst entries, as many as includeLast says, the worst of all last"),
    Field("leaderboardShortCode", TEXT, doc="as it was asked for"),
)
ERRORS = (("leaderboardShortCode", "INVALID", "there is no such leaderboard, or it has parts and none was named"),)


def run(call: Call) -> Steps:
    fields, most = call.fields, call.desk.profile.leaderboard_page_max
    board, part = leaderboards.named(call.desk.game.leaderboards, fields["leaderboardShortCode"])
    count, first, last = (min(fields[name], most) for name in ("entryCount", "includeFirst", "includeLast"))
    answer = yield Stored(leaderboards.page, board, part, count, fields["offset"], first, last)
    return {**answer, "leaderboardShortCode": fields["leaderboardShortCode"]}

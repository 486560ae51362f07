"""AroundMeLeaderboardRequest: the part of a leaderboard that the player's entry is in."""

from __future__ import annotations

from gsrt.backend import leaderboards
from gsrt.backend.call import FLAG, INTEGER, LIST, TEXT, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "AroundMeLeaderboardRequest"
SUMMARY = "Lists the player's entry in a leaderboard and those before and behind it, the best first."
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
        least=0,
        doc="how many entries before the player's and how many behind it; more than leaderboard_page_max are not given",
    ),
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
        doc="entries as in LeaderboardDataResponse; empty where the player has none",
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
    answer = yield Stored(leaderboards.around, board, part, call.player, count, first, last)
    return {**answer, "leaderboardShortCode": fields["leaderboardShortCode"]}

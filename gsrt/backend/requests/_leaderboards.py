"""What the requests that list entries of a leaderboard have in common."""

from __future__ import annotations

from gsrt.backend import leaderboards
from gsrt.backend.call import FLAG, INTEGER, LIST, TEXT, Field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call
    from gsrt.game.model import Leaderboard

# Fields: each request puts its entryCount, and what else it takes, behind the first.
SHORT_CODE = Field(
    "leaderboardShortCode",
    TEXT,
    required=True,
    doc="the leaderboard; one with parts as CODE.ATTRIBUTE.VALUE, such as BEST_TIMES.level.3",
)
FURTHER_FIELDS = (
    Field("includeFirst", INTEGER, default=0, least=0, doc="how many of the best go into `first`"),
    Field("includeLast", INTEGER, default=0, least=0, doc="how many of the worst go into `last`"),
    Field(
        "social", FLAG, default=False, doc="taken, and ignored: there are no social networks here, all players count"
    ),
)
# The answer, behind its `data`.
FURTHER_ANSWER = (
    Field("first", LIST, doc="the best entries, as many as includeFirst says"),
    Field("last", LIST, doc="the worst entries, as many as includeLast says, the worst of all last"),
    Field("leaderboardShortCode", TEXT, doc="as it was asked for"),
)
ERRORS = (("leaderboardShortCode", "INVALID", "there is no such leaderboard, or it has parts and none was named"),)


def asked(call: Call) -> tuple[Leaderboard, str, int, int, int]:
    """The leaderboard, which part of it, and how many entries, how many of the best and the worst. Raises Failure."""
    fields, most = call.fields, call.desk.profile.leaderboard_page_max
    board, part = leaderboards.named(call.desk.game.leaderboards, fields["leaderboardShortCode"])
    count, first, last = (min(fields[name], most) for name in ("entryCount", "includeFirst", "includeLast"))
    return board, part, count, first, last

"""SubmitScoreRequest: a score that a script enters for a player."""

from __future__ import annotations

from gsrt.backend import leaderboards
from gsrt.backend.call import FLAG, INTEGER, NUMBER, OBJECT, TEXT, Failure, Field, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import Call, Steps

NAME = "SubmitScoreRequest"
SUMMARY = "Enters a score of the player's into a leaderboard; a new best one is told by a NewHighScoreMessage."
SCRIPTS_ONLY = True
FIELDS = (
    Field("leaderboardShortCode", TEXT, required=True, doc="the leaderboard; without a part, `attributes` names it"),
    Field(
        "score",
        NUMBER,
        required=True,
        least=-leaderboards.SCORE_MAX,
        most=leaderboards.SCORE_MAX,
        doc="the score, or what is added to the sum of all scores",
    ),
    Field(
        "attributes",
        OBJECT,
        doc="attribute: value, of which the leaderboard keeps its own beside the score, and its part is one",
    ),
)
ANSWER = (
    Field("leaderboardShortCode", TEXT, doc="the leaderboard, with its part if it has parts"),
    Field("leaderboardName", TEXT, doc="its name"),
    Field("score", NUMBER, doc="the player's entry by now"),
    Field("previousScore", NUMBER, doc="before; null where there was no entry"),
    Field("rank", INTEGER, doc="the player's rank by now, from 1"),
    Field("previousRank", INTEGER, doc="before; null where there was no entry"),
    Field("entries", INTEGER, doc="how many players have an entry"),
    Field("newHighScore", FLAG, doc="true: it is the player's first score, or the entry became better"),
)
ERRORS = (
    ("leaderboardShortCode", "INVALID", "there is no such leaderboard"),
    (
        "score",
        "must be a number ...",
        "the sum of scores would be beyond what is exact; named as the event's attribute",
    ),
    ("(the part's attribute)", "may not be null", "the leaderboard has parts, and `attributes` does not say which"),
    ("(the part's attribute)", "TOO_MANY", f"the player has entries in {leaderboards.PARTS_MAX} parts already"),
    ("attributes", "TOO_LARGE", f"what is kept has more than {leaderboards.ATTRIBUTES_BYTES_MAX:,} bytes as JSON"),
    ("playerId", "NOT_FOUND", "there is no such player"),
)


def run(call: Call) -> Steps:
    fields = call.fields
    board = call.desk.game.leaderboards.get(fields["leaderboardShortCode"])
    if board is None:
        raise Failure(leaderboardShortCode=leaderboards.INVALID)
    answer: dict[str, object] = yield Stored(
        leaderboards.submit_and_tell,
        board,
        call.player,
        fields["score"],
        fields["attributes"] or {},
        call.desk.profile.messages_per_player_max,
    )
    return answer

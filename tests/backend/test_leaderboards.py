"""Leaderboards against one that counts by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gsrt.backend import leaderboards
from gsrt.backend.call import Failure
from gsrt.game.model import AGGREGATES, BEST, FIRST, HIGH, LAST, LOW, ORDERS, SHARED, SUM, TIES, Leaderboard
from tests.backend.scene import Scene

BOARD = Leaderboard("SCORES", name="High scores", attribute="score", attributes=("hat",))


@pytest.fixture
def scene(scene: Scene) -> Scene:
    for name in ("bob", "cid", "dot"):
        scene.player(name)
    return scene


def submit(scene: Scene, board: Leaderboard, player_id: str, value: Any, **attributes: Any) -> dict[str, Any]:
    result: dict[str, Any] = scene.do(leaderboards.submit, board, player_id, value, attributes)
    return result


def standing(scene: Scene, board: Leaderboard, part: str = "") -> list[tuple[int, str, float]]:
    entries = scene.do(leaderboards.page, board, part, 100)["data"]
    return [(each["rank"], each["userId"], each[board.attribute]) for each in entries]


def error_of(scene: Scene, board: Leaderboard, value: Any, **attributes: Any) -> dict[str, object]:
    with pytest.raises(Failure) as raised:
        submit(scene, board, "ann", value, **attributes)
    return raised.value.errors


def test_an_entry_says_what_the_original_service_says(scene: Scene) -> None:
    submit(scene, BOARD, "ann", 7, hat="red", shoes="blue")
    assert scene.do(leaderboards.page, BOARD, "", 10) == {
        "data": [
            {"rank": 1, "userId": "ann", "userName": "Ann", "when": "2023-11-14T22:13Z", "score": 7, "hat": "red"}
        ],
        "first": [],
        "last": [],
    }


def test_an_attribute_does_not_take_the_place_of_what_an_entry_says(scene: Scene) -> None:
    board = Leaderboard("SCORES", attribute="score", attributes=("rank", "userId", "score"))
    submit(scene, board, "ann", 7, rank=99, userId="bob", score="none")
    (entry,) = scene.do(leaderboards.page, board, "", 10)["data"]
    assert (entry["rank"], entry["userId"], entry["score"]) == (1, "ann", 7)


def test_the_best_score_counts_with_its_attributes(scene: Scene) -> None:
    first = submit(scene, BOARD, "ann", 7, hat="red")
    scene.now += 60
    worse = submit(scene, BOARD, "ann", 5, hat="blue")
    same = submit(scene, BOARD, "ann", 7, hat="green")
    assert first == {
        "leaderboardShortCode": "SCORES",
        "leaderboardName": "High scores",
        "score": 7,
        "previousScore": None,
        "rank": 1,
        "previousRank": None,
        "entries": 1,
        "newHighScore": True,
    }
    assert worse == same == {**first, "previousScore": 7, "previousRank": 1, "newHighScore": False}
    (entry,) = scene.do(leaderboards.page, BOARD, "", 10)["data"]
    assert (entry["hat"], entry["when"]) == ("red", "2023-11-14T22:13Z")
    assert submit(scene, BOARD, "ann", 7.5, hat="blue")["newHighScore"]
    (entry,) = scene.do(leaderboards.page, BOARD, "", 10)["data"]
    assert (entry["score"], entry["hat"], entry["when"]) == (7.5, "blue", "2023-11-14T22:14Z")


def test_a_lower_score_may_be_the_better_one(scene: Scene) -> None:
    board = Leaderboard("TIMES", attribute="time", order=LOW)
    for player_id, value in (("ann", 12.5), ("bob", 11), ("ann", 13), ("cid", 12)):
        submit(scene, board, player_id, value)
    assert standing(scene, board) == [(1, "bob", 11), (2, "cid", 12), (3, "ann", 12.5)]
    assert submit(scene, board, "ann", 10) == {
        "leaderboardShortCode": "TIMES",
        "leaderboardName": "TIMES",
        "score": 10,
        "previousScore": 12.5,
        "rank": 1,
        "previousRank": 3,
        "entries": 3,
        "newHighScore": True,
    }


def test_sums_and_last_scores(scene: Scene) -> None:
    total = Leaderboard("TOTAL", attribute="score", aggregate=SUM)
    last = Leaderboard("LAST", attribute="score", aggregate=LAST)
    better = []
    for value in (5, -2, 4):
        better.append(submit(scene, total, "ann", value)["newHighScore"])
        submit(scene, last, "ann", value)
    assert better == [True, False, True]
    assert standing(scene, total) == [(1, "ann", 7)]
    assert standing(scene, last) == [(1, "ann", 4)]


@pytest.mark.parametrize("order", ORDERS)
def test_of_equal_scores_the_first_is_in_front(scene: Scene, order: str) -> None:
    board = Leaderboard("B", attribute="score", order=order)
    for name in ("cid", "ann", "bob"):
        submit(scene, board, name, 5)
    assert standing(scene, board) == [(1, "cid", 5), (2, "ann", 5), (3, "bob", 5)]


@pytest.mark.parametrize("order", ORDERS)
def test_equal_scores_may_share_their_rank(scene: Scene, order: str) -> None:
    board = Leaderboard("B", attribute="score", order=order, ties=SHARED)
    submit(scene, board, "dot", 4)
    for name in ("cid", "ann"):
        submit(scene, board, name, 5)
    submit(scene, board, "bob", 6)
    ranks = {name: rank for rank, name, _ in standing(scene, board)}
    first, last = ("bob", "dot") if order == HIGH else ("dot", "bob")
    assert ranks == {first: 1, "cid": 2, "ann": 2, last: 4}
    around = scene.do(leaderboards.around, board, "", "ann", 0)["data"]
    assert [(each["rank"], each["userId"]) for each in around] == [(2, "ann")]


def test_a_player_who_comes_back_to_a_score_is_behind_those_who_have_it(scene: Scene) -> None:
    board = Leaderboard("B", attribute="score", aggregate=LAST)
    for name, value in (("ann", 5), ("bob", 5), ("ann", 6), ("ann", 5)):
        submit(scene, board, name, value)
    assert standing(scene, board) == [(1, "bob", 5), (2, "ann", 5)]
    submit(scene, board, "bob", 5)  # stays where it is
    assert standing(scene, board) == [(1, "bob", 5), (2, "ann", 5)]


def test_each_value_of_the_parting_attribute_has_its_own_table(scene: Scene) -> None:
    board = Leaderboard("TIMES", attribute="time", order=LOW, part="level")
    for name, value, level in (("ann", 9, 1), ("ann", 5, "1"), ("bob", 7, 1.0), ("bob", 3, "two.b")):
        result = submit(scene, board, name, value, level=level)
    assert result["leaderboardShortCode"] == "TIMES.level.two.b"
    boards = {"TIMES": board, "SCORES": BOARD}
    assert leaderboards.named(boards, "SCORES") == (BOARD, "")
    assert leaderboards.named(boards, "TIMES.level.two.b") == (board, "two.b")
    assert standing(scene, board, "1") == [(1, "ann", 5), (2, "bob", 7)]
    assert standing(scene, board, "two.b") == [(1, "bob", 3)]
    assert standing(scene, board, "3") == []
    (entry,) = scene.do(leaderboards.page, board, "two.b", 1)["data"]
    assert entry["level"] == "two.b"
    for unknown in ("TIMES", "TIMES.", "TIMES.level", "TIMES.level.", "TIMES.other.1", "SCORES.level.1", "NONE", ""):
        with pytest.raises(Failure) as raised:
            leaderboards.named(boards, unknown)
        assert raised.value.errors == {"leaderboardShortCode": "INVALID"}


def test_a_part_has_to_be_named_by_something_short(scene: Scene) -> None:
    board = Leaderboard("TIMES", attribute="time", part="level")
    assert error_of(scene, board, 1) == error_of(scene, board, 1, level="") == {"level": "may not be null"}
    unfit: tuple[object, ...] = (1.5, True, ["1"], {}, "x" * 65, 2**60)
    for level in unfit:
        assert list(error_of(scene, board, 1, level=level)) == ["level"]
    submit(scene, board, "ann", 1, level="x" * 64)


def test_one_player_has_a_bounded_number_of_parts(scene: Scene) -> None:
    board = Leaderboard("TIMES", attribute="time", part="level")
    for level in range(leaderboards.PARTS_MAX):
        submit(scene, board, "ann", 1, level=level)
    assert error_of(scene, board, 1, level="more") == {"level": "TOO_MANY: at most 100 of one player"}
    assert submit(scene, board, "ann", 2, level=0)["newHighScore"]
    submit(scene, board, "bob", 1, level="more")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2**53 + 1, 1e300, True, "7", None])
def test_a_score_is_a_number_that_is_exact(scene: Scene, value: Any) -> None:
    assert list(error_of(scene, BOARD, value)) == ["score"]
    assert standing(scene, BOARD) == []


def test_a_sum_stays_exact(scene: Scene) -> None:
    board = Leaderboard("TOTAL", attribute="coins", aggregate=SUM)
    submit(scene, board, "ann", 2**53)
    assert list(error_of(scene, board, 2**53)) == ["coins"]
    assert standing(scene, board) == [(1, "ann", 2**53)]


def test_what_an_entry_keeps_is_bounded(scene: Scene) -> None:
    assert "attributes" in error_of(scene, BOARD, 1, hat="x" * 2000)
    submit(scene, BOARD, "ann", 1, shoes="x" * 2000)  # not kept


def test_nobody_has_no_score(scene: Scene) -> None:
    with pytest.raises(Failure) as raised:
        submit(scene, BOARD, "eve", 1)
    assert raised.value.errors == {"playerId": "NOT_FOUND"}


def test_the_ends_of_a_leaderboard(scene: Scene) -> None:
    for value, name in enumerate(("ann", "bob", "cid", "dot")):
        submit(scene, BOARD, name, value)
    found = scene.do(leaderboards.page, BOARD, "", 1, 1, 2, 3)
    shown = {name: [(each["rank"], each["userId"]) for each in entries] for name, entries in found.items()}
    assert shown == {
        "data": [(2, "cid")],
        "first": [(1, "dot"), (2, "cid")],
        "last": [(2, "cid"), (3, "bob"), (4, "ann")],
    }
    found = scene.do(leaderboards.around, BOARD, "", "ann", 1, 1, 9)
    assert [each["userId"] for each in found["data"]] == ["bob", "ann"]
    assert [len(found["first"]), len(found["last"])] == [1, 4]


def test_around_a_player_without_an_entry_is_nobody(scene: Scene) -> None:
    submit(scene, BOARD, "ann", 1)
    found = scene.do(leaderboards.around, BOARD, "", "bob", 3, 1)
    assert (found["data"], len(found["first"])) == ([], 1)


def test_a_new_high_score_is_told(scene: Scene) -> None:
    submit(scene, BOARD, "bob", 5)
    submit(scene, BOARD, "ann", 3)
    scene.do(leaderboards.submit_and_tell, BOARD, "ann", 2, {})
    assert scene.told == []
    scene.do(leaderboards.submit_and_tell, BOARD, "ann", 7, {"hat": "red"})
    ((player_id, message),) = scene.told
    assert player_id == "ann"
    assert message["@class"] == ".NewHighScoreMessage"
    assert message["leaderboardShortCode"] == "SCORES"
    assert message["leaderboardName"] == "High scores"
    assert message["rankDetails"] == {"globalCount": 2, "globalFrom": 2, "globalTo": 1}
    assert message["leaderboardData"]["score"] == 7
    assert message["leaderboardData"]["hat"] == "red"


def test_a_sum_that_grows_is_no_news(scene: Scene) -> None:
    board = Leaderboard("TOTAL", attribute="score", aggregate=SUM)
    assert scene.do(leaderboards.submit_and_tell, board, "ann", 2, {})["newHighScore"]
    assert scene.told == []


def test_an_event_goes_to_all_its_leaderboards(scene: Scene) -> None:
    total = Leaderboard("TOTAL", attribute="score", aggregate=SUM)
    other = Leaderboard("OTHER", attribute="coins")
    results = scene.do(leaderboards.submit_event, [BOARD, total, other], "ann", {"score": 3})
    assert [each["leaderboardShortCode"] for each in results] == ["SCORES", "TOTAL"]
    with pytest.raises(Failure):
        scene.do(leaderboards.submit_event, [BOARD, other], "ann", {"score": 9, "coins": "many"})
    assert standing(scene, BOARD) == [(1, "ann", 3)]  # all of it, or nothing


# --- The same by hand -------------------------------------------------------------------------------------------------


class Oracle:
    """A leaderboard that sorts all its entries whenever it is asked."""

    def __init__(self, board: Leaderboard) -> None:
        self.board = board
        self.entries: dict[str, tuple[float, int]] = {}  # player -> (score, when it came to have it)
        self.moment = 0

    def submit(self, player_id: str, value: float) -> None:
        self.moment += 1
        before = self.entries.get(player_id)
        if before is not None:
            if self.board.aggregate == SUM:
                value += before[0]
            better = value > before[0] if self.board.order == HIGH else value < before[0]
            if value == before[0] or (self.board.aggregate == BEST and not better):
                return
        self.entries[player_id] = (value, self.moment)

    def standing(self) -> list[tuple[int, str, float]]:
        sign = -1 if self.board.order == HIGH else 1
        entries = sorted(self.entries.items(), key=lambda entry: (sign * entry[1][0], entry[1][1]))
        shown: list[tuple[int, str, float]] = []
        for position, (player_id, (score, _)) in enumerate(entries, 1):
            shared = self.board.ties == SHARED and shown and shown[-1][2] == score
            shown.append((shown[-1][0] if shared else position, player_id, score))
        return shown


class Boards(RuleBasedStateMachine):
    """All kinds of leaderboards at once, cut into blocks of four so that there are many."""

    players = st.sampled_from([f"p{number:02}" for number in range(30)])
    values = st.one_of(st.integers(-3, 3), st.integers(-1000, 1000))

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(leaderboards, "BLOCK_PLAYERS_MAX", 4)
        self.scene = Scene()
        self.oracles = [
            Oracle(
                Leaderboard(f"{aggregate}-{order}-{ties}", attribute="n", aggregate=aggregate, order=order, ties=ties)
            )
            for aggregate in AGGREGATES
            for order in ORDERS
            for ties in TIES
        ]

    def teardown(self) -> None:
        self.patch.undo()
        self.scene.close()

    def ensure(self, player_id: str) -> None:
        if not self.scene.rows("SELECT 1 FROM players WHERE id = ?", player_id):
            self.scene.player(player_id)

    @rule(scores=st.lists(st.tuples(players, values), min_size=1, max_size=12))
    def submit(self, scores: list[tuple[str, int]]) -> None:
        for player_id, value in scores:
            self.ensure(player_id)
            for oracle in self.oracles:
                before = {name: rank for rank, name, _ in oracle.standing()}.get(player_id)
                oracle.submit(player_id, value)
                result = submit(self.scene, oracle.board, player_id, value)
                rank, score = next((rank, score) for rank, name, score in oracle.standing() if name == player_id)
                assert (result["previousRank"], result["rank"], result["score"]) == (before, rank, score)
                assert result["entries"] == len(oracle.entries)

    @rule(player_id=players)
    def delete(self, player_id: str) -> None:
        self.scene.delete_player(player_id)
        for oracle in self.oracles:
            oracle.entries.pop(player_id, None)

    @rule(offset=st.integers(0, 32), count=st.integers(1, 8), last=st.integers(0, 8))
    def page(self, offset: int, count: int, last: int) -> None:
        for oracle in self.oracles:
            found = self.scene.do(leaderboards.page, oracle.board, "", count, offset, 2, last)
            wanted = oracle.standing()
            assert [_shown(each) for each in found["data"]] == wanted[offset : offset + count]
            assert [_shown(each) for each in found["first"]] == wanted[:2]
            assert [_shown(each) for each in found["last"]] == wanted[max(len(wanted) - last, 0) :]

    @rule(player_id=players, count=st.integers(0, 6))
    def around(self, player_id: str, count: int) -> None:
        for oracle in self.oracles:
            wanted = oracle.standing()
            position = [name for _, name, _ in wanted].index(player_id) if player_id in oracle.entries else None
            found = self.scene.do(leaderboards.around, oracle.board, "", player_id, count)["data"]
            around = [] if position is None else wanted[max(position - count, 0) : position + count + 1]
            assert [_shown(each) for each in found] == around

    @invariant()
    def blocks_are_sound(self) -> None:
        """They count what is in them, none but the first is empty, and none is too large."""
        for oracle in self.oracles:
            blocks = self.scene.rows(
                "SELECT score, number, players FROM score_blocks WHERE leaderboard = ? ORDER BY score, number",
                oracle.board.code,
            )
            assert sum(players for _, _, players in blocks) == len(oracle.entries)
            assert all(0 < players <= 4 for _, _, players in blocks[1:])


def _shown(entry: Mapping[str, Any]) -> tuple[int, str, float]:
    return entry["rank"], entry["userId"], entry["n"]


TestBoards = Boards.TestCase
TestBoards.settings = settings(max_examples=40, stateful_step_count=15, deadline=None, derandomize=True)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from([HIGH, LOW]),
    st.sampled_from([FIRST, SHARED]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=40),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=40),
)
def test_a_leaderboard_whose_order_was_changed_stays_sound(
    order: str, ties: str, before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    scene = Scene()
    for number in range(10):
        scene.player(f"p{number}")
    other = LOW if order == HIGH else HIGH
    for number, value in before:
        submit(scene, Leaderboard("B", attribute="n", order=other, ties=ties, aggregate=LAST), f"p{number}", value)
    board = Leaderboard("B", attribute="n", order=order, ties=ties, aggregate=LAST)
    for number, value in after:
        submit(scene, board, f"p{number}", value)
    entries = standing(scene, board)
    scores = [score for _, _, score in entries]
    assert scores == sorted(scores, reverse=order == HIGH)
    for position, (rank, player_id, score) in enumerate(entries):
        assert rank == (scores.index(score) if ties == SHARED else position) + 1
        (own,) = scene.do(leaderboards.around, board, "", player_id, 0)["data"]
        assert own["rank"] == rank
    scene.close()

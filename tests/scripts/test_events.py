"""Events: their scripts answer, within budgets, with everything they bring about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gsrt.backend.call import Awaited, Call
from gsrt.scripts.events import DEPTH_MAX, REQUESTS_MAX, SECONDS_MAX
from tests.scripts.game_floor import GameFloor, Steps


@pytest.fixture
def floor() -> Iterator[GameFloor]:
    with GameFloor() as floor:
        yield floor


def code_of(answer: dict[str, Any], field: str = "event") -> str:
    """The first word of the error."""
    return str(answer["error"][field]).partition(":")[0]


# What comes and what goes


def test_an_event_is_answered_by_its_script(floor: GameFloor) -> None:
    floor.event(
        "HIT",
        """
        ATTRIBUTES = {"damage": "number", "weapon": "text", "place": "object"}

        def on_event(event):
            event.reply("who", event.player_id)
            event.reply("twice", event.get("damage") * 2)
            event.reply("what", [event["weapon"], event["place"]["x"], "damage" in event, "none" in event])
            event.reply("missing", event.get("none", 7))
            event.reply("all", sorted(event.attributes.keys()))
            event.reply("key", event.event_key)
            event.reply("time", event.time)
        """,
        damage="number",
        weapon="text",
        place="object",
    )
    assert floor.answer("HIT", damage=21, weapon="axe", place={"x": 1.5}, other=1) == {
        "scriptData": {
            "who": "anna",
            "twice": 42,
            "what": ["axe", 1.5, True, False],
            "missing": 7,
            "all": ["damage", "place", "weapon"],
            "key": "HIT",
            "time": int(floor.wall()),
        }
    }


def test_a_script_that_replies_nothing_answers_nothing(floor: GameFloor) -> None:
    floor.event("QUIET", "def on_event(event): return {'not': 'an answer'}")
    assert floor.answer("QUIET") == {}


def test_attributes_are_checked_by_name(floor: GameFloor) -> None:
    floor.event("HIT", "def on_event(event): print('never')", damage="number", weapon="text", place="object")
    assert floor.answer("HIT", weapon=5, place=[1])["error"] == {
        "damage": "may not be null",
        "weapon": "must be a text",
        "place": "must be an object",
    }
    wrong: object
    for wrong in ("5", True, float("nan"), None, {}):
        assert set(floor.answer("HIT", damage=wrong, weapon="", place={})["error"]) == {"damage"}
    assert floor.answer("NONE") == {"error": {"eventKey": "INVALID"}}
    assert not floor.texts()


def test_a_failure_is_told_as_the_script_says_it(floor: GameFloor) -> None:
    floor.event(
        "BUY",
        """
        def on_event(event):
            event.fail("price", "TOO_HIGH")
            event.fail("shop", "CLOSED")
            event.reply("seen", 1)
        """,
    )
    assert floor.answer("BUY") == {"error": {"price": "TOO_HIGH", "shop": "CLOSED"}, "scriptData": {"seen": 1}}


def test_the_log_has_what_the_script_writes(floor: GameFloor) -> None:
    floor.event("TALK", "def on_event(event): print('hello', event); event.get_logger().warn('careful')")
    floor.answer("TALK")
    assert [(each["session"], each["script"], each["level"], each["text"]) for each in floor.entries()] == [
        ("event", "TALK.py", "info", "hello <Event>"),
        ("event", "TALK.py", "warn", "careful"),
    ]


def test_globals_stay_between_events_and_random_numbers_come(floor: GameFloor) -> None:
    floor.event(
        "COUNT",
        """
        count = [0]

        def on_event(event):
            count[0] += 1
            event.reply("count", count[0])
            event.reply("chance", event.random.random())
        """,
    )
    found = [floor.answer("COUNT")["scriptData"] for _ in range(3)]
    assert [each["count"] for each in found] == [1, 2, 3]
    assert len({each["chance"] for each in found}) == 3


def test_there_is_no_session_in_an_event(floor: GameFloor) -> None:
    floor.event("ASK", "def on_event(event): session.send(5)")
    assert code_of(floor.answer("ASK")) == "FAILED"
    assert "NameError" in floor.errors()[0]


# Requests


SHARE = """
    def on_event(event):
        def named(response):
            event.reply("name", response["displayName"])
            names.append(response["displayName"])

        names = []
        for player_id in ("ben", event.player_id):
            event.new_request().create_account_details_request().set_player_id(player_id).send(named)
        event.reply("before", len(names))
"""


def test_the_answer_waits_for_the_requests_and_their_callbacks(floor: GameFloor) -> None:
    """Also for those on behalf of the player whose event it is, whose other requests wait for this one."""
    floor.event("SHARE", SHARE)
    answers, order = floor.log_event("SHARE"), []
    floor.desk.submit("AccountDetailsRequest", {}, lambda answer: order.append(len(answers)), player_id="anna")
    floor.until(lambda: bool(order))
    assert answers == [{"scriptData": {"name": "Anna", "before": 0}}]
    assert order == [1]


def test_callbacks_may_ask_again(floor: GameFloor) -> None:
    floor.event(
        "CHAIN",
        """
        def on_event(event):
            def again(left):
                def answered(response):
                    event.reply("left", left)
                    if left:
                        again(left - 1)
                event.new_request().create_account_details_request().set_player_id("ben").send(answered)
            again(5)
        """,
    )
    assert floor.answer("CHAIN") == {"scriptData": {"left": 0}}


def test_a_callback_that_raises_fails_the_event(floor: GameFloor) -> None:
    floor.event(
        "BAD",
        """
        def on_event(event):
            event.reply("lost", 1)
            event.new_request().create_account_details_request().set_player_id("ben").send(lambda r: r["none"])
        """,
    )
    assert code_of(floor.answer("BAD")) == "FAILED"
    assert floor.errors() == ["AccountDetailsRequest: BAD.py line 4 in <lambda>: KeyError: 'none'"]


def test_requests_without_a_callback_are_waited_for(floor: GameFloor) -> None:
    waiting: list[Any] = []

    def slow(call: Call) -> Steps:
        yield Awaited(waiting.append)
        return {}

    floor.stand_in("AccountDetailsRequest", slow)
    floor.event(
        "SLOW",
        """
        def on_event(event):
            event.new_request().create_account_details_request().set_player_id("ben").send()
        """,
    )
    answers = floor.log_event("SLOW")
    floor.until(lambda: waiting)
    floor.settle()
    assert not answers
    waiting[0](None)
    floor.until(lambda: answers)
    assert answers == [{}]


def test_an_event_that_takes_too_long_is_answered_with_an_error(floor: GameFloor) -> None:
    waiting: list[Any] = []

    def never(call: Call) -> Steps:
        yield Awaited(waiting.append)
        return {}

    floor.stand_in("AccountDetailsRequest", never)
    floor.event(
        "SLOW",
        """
        def on_event(event):
            def answered(response): print("too late")
            event.new_request().create_account_details_request().set_player_id("ben").send(answered)
        """,
    )
    answers = floor.log_event("SLOW")
    floor.until(lambda: waiting)
    floor.advance(SECONDS_MAX)
    assert [code_of(each) for each in answers] == ["TIMEOUT"]
    waiting[0](None)
    floor.settle()
    assert not floor.texts()
    assert len(answers) == 1


RING = """
    def on_event(event):
        def answered(response):
            event.reply("depth", response.get("scriptData", {"depth": 0})["depth"] + 1)
            if response.has_errors():
                event.reply("errors", response.get_errors())
                print(response.get_errors()["event"])
        event.new_request().create_log_event_request().set_event_key("OTHER").set_player_id(PLAYER).send(answered)
"""


@pytest.mark.parametrize("player", ["event.player_id", '"ben" if event.player_id == "anna" else "anna"'])
def test_events_in_a_ring_end_at_a_depth(floor: GameFloor, player: str) -> None:
    floor.event("ONE", RING.replace("OTHER", "TWO").replace("PLAYER", player))
    floor.event("TWO", RING.replace("OTHER", "ONE").replace("PLAYER", player))
    answer = floor.answer("ONE")
    assert answer["scriptData"]["depth"] == DEPTH_MAX
    assert [text.partition(":")[0] for text in floor.texts()] == ["TOO_DEEP"]


def test_an_event_and_all_it_brings_about_has_so_many_requests(floor: GameFloor) -> None:
    """Each of a ring asks for two: without a bound there would be no end of it before the deadline."""
    floor.event(
        "TREE",
        """
        def on_event(event):
            for n in range(60):
                event.new_request().create_log_event_request().set_event_key("TREE").set_player_id("ben").send()
        """,
    )
    answers = floor.log_event("TREE")
    floor.until(lambda: answers)
    floor.settle()
    assert floor.desk.under_way == 0
    (script,) = floor.events._scripts.values()
    assert 60 < script.runs <= REQUESTS_MAX + 1
    assert any("requests" in text for text in floor.errors())


def test_a_session_s_script_reports_events(floor: GameFloor) -> None:
    floor.event("PAID", "def on_event(event): event.reply('to', event.player_id)")
    session = floor.scripted(
        """
        def answered(response):
            print(response["scriptData"]["to"], response.has_errors())

        session.new_request().create_log_event_request().set_event_key("PAID").set_player_id("ben").send(answered)
        session.new_request().create_log_event_request().set_event_key("PAID").set_player_id("nobody").send(
            lambda response: print(response.get_errors()))
        """
    )
    floor.until(lambda: len(floor.texts()) == 2)
    assert sorted(floor.texts()) == ["ben False", "{'playerId': 'NOT_FOUND'}"]
    assert floor.entries()[0]["session"] == session.session_id


# Budgets


def test_three_strikes_switch_the_event_off_until_its_file_changes(floor: GameFloor) -> None:
    floor.event("LOOP", "def on_event(event):\n    while True: pass")
    assert [code_of(floor.answer("LOOP")) for _ in range(4)] == ["FAILED", "FAILED", "OFF", "OFF"]
    assert floor.events.figures()["LOOP"]["state"] == "off"
    floor.event("LOOP", "def on_event(event): event.reply('well', 1)")
    floor.looks_at_files()
    assert floor.answer("LOOP") == {"scriptData": {"well": 1}}


def test_an_event_that_is_off_is_tried_again_after_a_while_that_doubles(floor: GameFloor) -> None:
    floor.event("LOOP", "def on_event(event):\n    while event['loop']: pass", loop="number")
    for seconds in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        assert [code_of(floor.answer("LOOP", loop=1)) for _ in range(4)] == ["FAILED", "FAILED", "OFF", "OFF"]
        assert f"seconds={seconds} " in floor.log_text().splitlines()[-1]
        floor.advance(seconds - 1)
        assert code_of(floor.answer("LOOP", loop=0)) == "OFF"
        floor.advance(2)
        assert floor.answer("LOOP", "ben", loop=0) == {}
    floor.event("LOOP", "def on_event(event):\n    while event['loop']: True", loop="number")
    floor.looks_at_files()
    assert [code_of(floor.answer("LOOP", loop=1)) for _ in range(3)] == ["FAILED", "FAILED", "OFF"]
    floor.advance(61)
    assert floor.answer("LOOP", loop=0) == {}


def test_an_event_that_was_mended_is_not_loaded_anew_when_its_time_is_up(floor: GameFloor) -> None:
    floor.event("LOOP", "def on_event(event):\n    while True: pass")
    assert [code_of(floor.answer("LOOP")) for _ in range(3)] == ["FAILED", "FAILED", "OFF"]
    floor.event("LOOP", "runs = []\ndef on_event(event):\n    runs.append(1)\n    event.reply('runs', len(runs))")
    floor.looks_at_files()
    assert floor.answer("LOOP") == {"scriptData": {"runs": 1}}
    floor.advance(61)
    assert floor.answer("LOOP") == {"scriptData": {"runs": 2}}


def test_when_it_goes_off_all_under_way_are_answered(floor: GameFloor) -> None:
    waiting: list[Any] = []

    def slow(call: Call) -> Steps:
        yield Awaited(waiting.append)
        return {}

    floor.stand_in("AccountDetailsRequest", slow)
    floor.event(
        "BOTH",
        """
        def on_event(event):
            if event["loop"]:
                while True: pass
            event.new_request().create_account_details_request().set_player_id("cleo").send(lambda r: print("late"))
        """,
        loop="number",
    )
    answers = floor.log_event("BOTH", loop=0)
    floor.until(lambda: waiting)
    for _ in range(3):
        floor.answer("BOTH", "ben", loop=1)
    assert [code_of(each) for each in answers] == ["OFF"]
    waiting[0](None)
    floor.settle()
    assert "late" not in floor.texts()


def test_exceptions_are_no_strikes(floor: GameFloor) -> None:
    floor.event("DIVIDE", "def on_event(event): event.reply('ratio', 1 / event['by'])", by="number")
    for _ in range(10):
        assert code_of(floor.answer("DIVIDE", by=0)) == "FAILED"
    assert floor.answer("DIVIDE", by=4) == {"scriptData": {"ratio": 0.25}}


def test_an_event_holds_no_more_than_a_script_may() -> None:
    with GameFloor(script_memory_bytes=1 << 20) as floor:
        floor.event("KEEP", "kept = []\ndef on_event(event): kept.append(event)", note="text")
        answers = []
        for number in range(400):
            answers.append(floor.answer("KEEP", note=str(number) * 1300))
            floor.advance(0)
            if "error" in answers[-1]:
                break
        assert code_of(answers[-1]) == "OFF"
        assert any("MB" in text or "holds" in text or "memory" in text for text in floor.errors())


def test_attributes_that_are_too_much_for_a_script_are_refused() -> None:
    with GameFloor(script_memory_bytes=1 << 20) as floor:
        floor.event("BIG", "def on_event(event): event.reply('length', len(event['what']))", what="object")
        assert code_of(floor.answer("BIG", what={str(n): n for n in range(5000)})) == "TOO_LARGE"
        deep: Any = {}
        for _ in range(100):
            deep = {"a": deep}
        assert code_of(floor.answer("BIG", what=deep)) == "TOO_DEEP"
        assert floor.answer("BIG", what={"a": 1 << 100, "b": float("inf")}) == {"scriptData": {"length": 2}}


def test_a_script_that_has_used_up_its_time_lets_others_go_first() -> None:
    with GameFloor(script_turn_ms=1, script_turn_all_ms=1) as floor:
        floor.event("SLOW", "def on_event(event):\n    for n in range(20000): pass\n    print(event.player_id)")
        floor.answer("SLOW")
        answers = [floor.log_event("SLOW", player) for player in ("anna", "ben", "cleo")]
        floor.turn()
        floor.turn()
        done = [len(each) for each in answers]
        assert sum(done) < 3
        floor.until(lambda: all(answers))
        assert floor.texts() == ["anna", "anna", "ben", "cleo"]


# Files


def test_a_changed_file_is_taken_up_and_a_bad_one_is_not(floor: GameFloor) -> None:
    floor.event("VERSION", "def on_event(event): event.reply('version', 1)")
    assert floor.answer("VERSION") == {"scriptData": {"version": 1}}
    for bad in ("def on_event(event: pass", "1 / 0", "def other(event): pass", "import os"):
        floor.event("VERSION", bad)
        floor.looks_at_files()
        assert floor.answer("VERSION") == {"scriptData": {"version": 1}}
    floor.event("VERSION", "def on_event(event): event.reply('version', 2)")
    floor.looks_at_files()
    assert floor.answer("VERSION") == {"scriptData": {"version": 2}}


def test_what_is_under_way_ends_with_the_script_it_began_with(floor: GameFloor) -> None:
    waiting: list[Any] = []

    def slow(call: Call) -> Steps:
        yield Awaited(waiting.append)
        return {}

    floor.stand_in("AccountDetailsRequest", slow)
    source = """
        def on_event(event):
            def answered(response): event.reply("version", 1)
            event.new_request().create_account_details_request().set_player_id("ben").send(answered)
    """
    floor.event("SLOW", source)
    answers = floor.log_event("SLOW")
    floor.until(lambda: waiting)
    old = floor.events._scripts["SLOW"].guest
    assert old is not None
    floor.event("SLOW", source.replace("1)", "2)"))
    floor.looks_at_files()
    assert not old.is_off
    waiting[0](None)
    floor.until(lambda: answers)
    assert answers == [{"scriptData": {"version": 1}}]
    assert old.is_off


def test_a_file_that_does_not_load_is_told_and_mended(floor: GameFloor) -> None:
    path = floor.event("BAD", "import os")
    assert code_of(floor.answer("BAD")) == "NOT_LOADED"
    assert code_of(floor.answer("BAD")) == "NOT_LOADED"
    Path(path).unlink()
    floor.looks_at_files()
    floor.event("BAD", "def on_event(event): event.reply('well', 1)")
    floor.looks_at_files()
    assert floor.answer("BAD") == {"scriptData": {"well": 1}}


def test_no_file_at_all(floor: GameFloor) -> None:
    path = floor.event("GONE", "def on_event(event): pass")
    Path(path).unlink()
    assert code_of(floor.answer("GONE")) == "NOT_LOADED"


def test_another_game_has_other_events(floor: GameFloor) -> None:
    floor.event("OLD", "def on_event(event): event.reply('old', 1)")
    assert floor.answer("OLD") == {"scriptData": {"old": 1}}
    del floor.game.events["OLD"]
    floor.events.game_changed()
    assert floor.answer("OLD") == {"error": {"eventKey": "INVALID"}}
    assert floor.events.figures() == {}


def test_scripts_that_are_off_answer_nothing(floor: GameFloor) -> None:
    floor.scripts.allowed = False
    floor.event("OFF", "def on_event(event): pass")
    assert code_of(floor.answer("OFF")) == "NOT_LOADED"
    floor.scripts.allowed = True
    assert floor.answer("OFF") == {}


# What a script must not do


def test_an_event_that_has_ended_is_of_no_use(floor: GameFloor) -> None:
    floor.event(
        "KEEP",
        """
        kept = []

        def on_event(event):
            for old in kept:
                for attempt in (
                    lambda: old.reply("a", 1),
                    lambda: old.fail("a", "b"),
                    lambda: old.new_request().create_account_details_request().set_player_id("ben").send(),
                ):
                    try:
                        attempt()
                    except RuntimeError as error:
                        print(error)
                print(old.player_id, old.get("note"))
            kept.append(event)
        """,
        note="text",
    )
    floor.answer("KEEP", note="first")
    assert floor.answer("KEEP", "ben", note="second") == {}
    assert floor.texts() == ["the event has ended: its answer is out"] * 3 + ["anna first"]


def test_what_is_replied_is_a_copy_and_bounded(floor: GameFloor) -> None:
    floor.event(
        "REPLY",
        """
        def attempt(what):
            try:
                what()
            except (TypeError, ValueError, QuotaError) as error:
                print(error)

        def on_event(event):
            values = [1]
            event.reply("values", values)
            values.append(2)
            ring = []
            ring.append(ring)
            deep = 1
            for n in range(100):
                deep = [deep]
            for bad in (ring, deep, [0] * 1000, "x" * 100000, event, print, {1: 2}, math.nan, 1 << 64, "\\ud800", b"x"):
                attempt(lambda: event.reply("bad", bad))
            for bad in (None, 5, "x" * 65, event):
                attempt(lambda: event.reply(bad, 1))
                attempt(lambda: event.fail(bad, "x"))
                attempt(lambda: event.get(bad) if bad is event else event.fail("x", bad * 99))
            for n in range(100):
                attempt(lambda: event.reply("n" + str(n), 1))
        """,
    )
    answer = floor.answer("REPLY")
    assert "error" not in answer
    replies = answer["scriptData"]
    assert replies["values"] == [1]
    assert "bad" not in replies
    assert len(replies) == 64


def test_the_server_s_own_is_out_of_reach(floor: GameFloor) -> None:
    floor.event("REACH", "def on_event(event): event._capabilities")
    assert code_of(floor.answer("REACH")) == "NOT_LOADED"
    floor.event("WRITE", "def on_event(event): event.player_id = 'ben'")
    assert code_of(floor.answer("WRITE")) == "FAILED"
    for name in ("desk", "guest", "run", "tree", "done", "globals"):
        floor.event("TRY", f"def on_event(event): event.{name}")
        if name != "desk":
            floor.looks_at_files()
        assert "error" in floor.answer("TRY")

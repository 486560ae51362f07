"""Requests of sessions' scripts: what reaches the desk, what comes back, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gsrt.backend.call import Awaited, Call
from gsrt.backend.registry import Registry
from gsrt.scripts.errands import ANSWER_PART, DEPTH_MAX, Unfit, copy_of, weight_of
from gsrt.scripts.request_api import Requests, field_of
from gsrt.session import Session
from tests.scripts.game_floor import GameFloor, Steps


@pytest.fixture
def floor() -> Iterator[GameFloor]:
    with GameFloor() as floor:
        yield floor


class Answers:
    """A request that is answered when the test says so; what was asked, in its order."""

    def __init__(self, floor: GameFloor, name: str = "AccountDetailsRequest") -> None:
        self.asked: list[tuple[str | None, dict[str, object]]] = []
        self._dones: list[Any] = []
        floor.stand_in(name, self._run, NEEDS_PLAYER=False)

    def _run(self, call: Call) -> Steps:
        self.asked.append((call.player_id, dict(call.given)))
        answer: dict[str, object] = yield Awaited(self._dones.append)
        return answer

    def answer(self, number: int = 0, **fields: object) -> None:
        self._dones[number](fields)


def answering(floor: GameFloor, answer: dict[str, object]) -> None:
    """Every AccountDetailsRequest is answered so, at once."""

    def run(call: Call) -> Steps:
        return answer
        yield

    floor.stand_in("AccountDetailsRequest", run, NEEDS_PLAYER=False)


ASK = """
    def answered(response):
        print(response.get("displayName"), response.get_errors())

    @session.on_packet(5)
    def ask(packet=None):
        request = session.new_request().create_account_details_request()
        request.set_player_id("anna").set_note([1, {"a": 2}]).send(answered)
        print("sent")
"""


def packet_comes(floor: GameFloor, session: Session, op_code: int = 5) -> None:
    guest = floor.attached(session).guest
    assert guest is not None
    guest.handlers.feed(floor.now, 1, _body(op_code), True)


def _body(op_code: int) -> bytes:
    from gsrt._core import Packet

    return Packet(op_code).encode()


# What is asked and answered


def test_a_request_is_done_and_its_answer_comes_to_the_callback(floor: GameFloor) -> None:
    session = floor.scripted(ASK)
    packet_comes(floor, session)
    assert floor.texts() == ["sent"]
    floor.until(lambda: len(floor.texts()) == 2)
    assert floor.texts()[1] == "Anna {}"


def test_it_leaves_after_the_callback_and_is_answered_in_a_later_turn(floor: GameFloor) -> None:
    answers = Answers(floor)
    session = floor.scripted(ASK)
    packet_comes(floor, session)
    assert not answers.asked
    floor.turn()
    assert answers.asked == [("anna", {"note": [1, {"a": 2}]})]
    answers.answer(displayName="x")
    assert floor.texts() == ["sent"]
    floor.turn()
    assert floor.texts() == ["sent", "x {}"]


def test_errors_that_are_known_at_once_do_not_turn_the_loop(floor: GameFloor) -> None:
    """A script that asks again and again is answered as often as its timers may run."""
    session = floor.scripted(
        """
        def ask(response=None):
            print(len(response.get_errors()) if response else "begin")
            session.new_request().create_send_message_request().send(ask)
        ask()
        """
    )
    assert session.script is not None
    for _ in range(50):
        floor.turn()
    assert len(floor.texts()) == 1
    floor.advance(0.1)
    assert 2 < len(floor.texts()) <= 1 + 0.1 * 1000 / floor.profile.script_timer_ms_min + 1


def test_requests_of_a_player_are_done_in_order(floor: GameFloor) -> None:
    answers = Answers(floor)
    floor.scripted(
        """
        for number in range(3):
            for player_id in ("anna", "ben", None):
                request = session.new_request().create_account_details_request().set_player_id(player_id)
                request.set_number(number).send(lambda response: print(response["told"]))
        """
    )
    floor.turn()
    assert answers.asked == [(player, {"number": 0}) for player in ("anna", "ben", None)]
    answers.answer(1, told="ben 0")
    floor.turn()
    assert answers.asked[3:] == [("ben", {"number": 1})]
    answers.answer(0, told="anna 0")
    answers.answer(3, told="ben 1")
    floor.turn()
    assert floor.texts() == ["ben 0", "anna 0", "ben 1"]


def test_nobody_s_requests_keep_an_order_of_each_session_s_own(floor: GameFloor) -> None:
    answers = Answers(floor)
    source = """
        for number in range(2):
            session.new_request().create_account_details_request().set_number(number).send()
    """
    floor.scripted(source)
    floor.scripted(source)
    floor.turn()
    assert answers.asked == [(None, {"number": 0})] * 2
    answers.answer(0)
    assert answers.asked[2:] == [(None, {"number": 1})]


def test_a_request_of_a_player_needs_one(floor: GameFloor) -> None:
    floor.scripted(
        "session.new_request().create_account_details_request().send(lambda response: print(response.get_errors()))"
    )
    floor.settle()
    assert floor.texts() == ["{'authentication': 'NOTAUTHORIZED'}"]


# Ends


def test_no_callback_after_the_session_has_ended_but_what_was_sent_is_done(floor: GameFloor) -> None:
    answers = Answers(floor)
    session = floor.scripted(ASK)
    packet_comes(floor, session)
    floor.turn()
    packet_comes(floor, session)  # not sent yet when the session ends
    session.end("over")
    answers.answer(0)
    floor.settle()
    assert [player for player, _ in answers.asked] == ["anna", "anna"]
    answers.answer(1)
    floor.settle()
    assert floor.texts() == ["sent", "sent"]


def test_no_callback_after_the_script_is_off(floor: GameFloor) -> None:
    answers = Answers(floor)
    session = floor.scripted(ASK + "\n    @session.on_packet(6)\n    def loop(packet):\n        while True: pass\n")
    packet_comes(floor, session)
    floor.turn()
    for _ in range(3):
        packet_comes(floor, session, 6) if floor.attached(session).guest else None
    assert floor.attached(session).guest is None
    answers.answer(0)
    floor.settle()
    assert not [text for text in floor.texts() if "{}" in text]


def test_a_script_that_does_not_load_has_asked_nothing(floor: GameFloor) -> None:
    from gsrt.scripts.compiling import HostError

    answers = Answers(floor)
    with pytest.raises(HostError):
        floor.scripted("session.new_request().create_account_details_request().set_player_id('anna').send()\n1 / 0")
    floor.settle()
    assert not answers.asked


def test_a_changed_script_hears_nothing_of_the_old_one_s_requests(floor: GameFloor) -> None:
    answers = Answers(floor)
    session = floor.scripted(ASK)
    packet_comes(floor, session)
    floor.turn()
    floor.write(ASK + "\n    print('new')\n")
    floor.looks_at_files()
    assert floor.texts() == ["sent", "new"]
    answers.answer(0)
    floor.settle()
    assert floor.texts() == ["sent", "new"]


# Budgets


def test_so_many_may_wait() -> None:
    with GameFloor(script_requests_max=3) as floor:
        answers = Answers(floor)
        session = floor.scripted(ASK)
        for _ in range(4):
            packet_comes(floor, session)
        assert floor.texts()[:3] == ["sent"] * 3
        assert "QuotaError: 3 requests may be waiting" in floor.errors()[0]
        floor.turn()
        answers.answer(0)
        floor.turn()
        packet_comes(floor, session)
        assert floor.texts()[-1] == "sent"


def test_so_much_may_wait() -> None:
    with GameFloor(script_memory_bytes=1 << 20) as floor:
        Answers(floor)
        floor.scripted(
            """
            @session.every(10)
            def ask():
                session.new_request().create_account_details_request().set_note("x" * 50000).send()
                print("sent")
            """
        )
        floor.advance(0.4)
        assert 7 < floor.texts().count("sent") < 12
        assert "524288 bytes in all" in floor.errors()[0]


def test_an_answer_that_is_too_large_is_an_error_and_no_strike(floor: GameFloor) -> None:
    most = int(floor.profile.script_memory_bytes) // ANSWER_PART
    answering(floor, {"large": ["x" * 1000 for _ in range(most // 1000)]})
    session = floor.scripted(ASK)
    packet_comes(floor, session)
    floor.settle()
    assert floor.texts()[1].startswith("None {'response': 'TOO_LARGE: ")
    guest = floor.attached(session).guest
    assert guest is not None
    assert (guest.strikes, guest.failures) == (0, 0)


def test_a_large_answer_is_paid_for_and_counts_as_held() -> None:
    with GameFloor(script_memory_bytes=4 << 20) as floor:

        def run(call: Call) -> Steps:
            return {"large": "x" * 400_000}
            yield

        floor.stand_in("AccountDetailsRequest", run, NEEDS_PLAYER=False)
        session = floor.scripted(
            """
            kept = []

            def ask(response=None):
                kept.append(response)
                session.new_request().create_account_details_request().send(ask)

            ask()
            """
        )
        for _ in range(40):
            floor.advance(0.01)
        assert floor.attached(session).guest is None
        assert "held" in floor.errors()[0] or "holds" in floor.errors()[0]


def test_a_callback_has_budgets_of_its_own(floor: GameFloor) -> None:
    answering(floor, {})
    session = floor.scripted(
        """
        def loop(response):
            while True: pass

        for n in range(4):
            session.new_request().create_account_details_request().send(loop)
        """
    )
    floor.settle()
    assert floor.attached(session).state == "off"
    assert [text.partition(":")[0] for text in floor.errors()] == ["AccountDetailsRequest"] * 3


def test_callbacks_of_a_script_that_is_behind_wait_for_the_next_turn() -> None:
    with GameFloor(script_turn_ms=1, script_turn_all_ms=1) as floor:
        answering(floor, {})
        floor.scripted(
            """
            def busy(response):
                for n in range(90000): pass
                print("done")

            for n in range(3):
                session.new_request().create_account_details_request().send(busy)
            """
        )
        counts = [0]
        while counts[-1] < 3:
            floor.turn()
            counts.append(len(floor.texts()))
            floor.now += 0.01
        assert {0, 1, 2, 3} == set(counts)


# What is handed over


def test_the_answer_is_the_script_s_own_copy(floor: GameFloor) -> None:
    answer: dict[str, object] = {"list": [1, (2, 3)], "big": 1 << 70, "huge": 1 << 2000, "odd": float("nan")}
    answering(floor, answer)
    floor.scripted(
        """
        def answered(response):
            print(response["list"], response["big"] == 2.0 ** 70, response["huge"], response["odd"])
            response["list"].append(1)
            response["list"][1].append(1)

        for n in range(2):
            session.new_request().create_account_details_request().send(answered)
        """
    )
    floor.settle()
    assert floor.texts() == ["[1, [2, 3]] True None None"] * 2
    assert answer["list"] == [1, (2, 3)]


def test_answers_that_no_script_can_hold(floor: GameFloor) -> None:
    deep: object = 1
    for _ in range(DEPTH_MAX + 1):
        deep = [deep]
    for value, code in ((deep, "TOO_DEEP"), (b"bytes", "FAILED"), (object(), "FAILED"), ({1, 2}, "FAILED")):
        answering(floor, {"value": value})
        floor.scripted(
            ASK.replace("@session.on_packet(5)", "").replace("def ask(packet)", "def ask()") + "\n    ask()\n"
        )
        floor.settle()
        assert code in floor.texts()[-1]


def test_rings_are_too_deep() -> None:
    ring: list[object] = []
    ring.append(ring)
    with pytest.raises(Unfit, match="TOO_DEEP"):
        weight_of(ring, 1 << 30)


def test_what_is_weighed_can_be_copied() -> None:
    value = {"a": [1, "text", None, True, 1.5, {"b": ("c",)}]}
    assert weight_of(value) > 300
    assert copy_of(value) == {"a": [1, "text", None, True, 1.5, {"b": ["c"]}]}


def test_half_of_a_surrogate_pair_is_refused(floor: GameFloor) -> None:
    answers = Answers(floor)
    floor.scripted(
        r"""
        for value in ("\ud800", {"\udfff": 1}, ["ü\udc00"]):
            try:
                session.new_request().create_account_details_request().set_note(value).send()
            except ValueError as error:
                print("refused")
        session.new_request().create_account_details_request().set_note("ü€😀").send()
        """
    )
    floor.settle()
    assert floor.texts() == ["refused"] * 3
    assert answers.asked == [(None, {"note": "ü€😀"})]


# Which there are


def test_every_request_there_is_can_be_made_and_its_fields_set() -> None:
    registry = Registry()
    for name in registry.names():
        snake = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
        method = getattr(Requests, f"create_{snake}")
        request = registry.find(name)
        assert request is not None
        told = set(re.findall(r"\w+", method.__doc__))
        for field in request.FIELDS:
            setter = "device_os" if field.name == "deviceOS" else re.sub(r"([A-Z])", r"_\1", field.name).lower()
            assert field_of(f"set_{setter}") == field.name
            assert setter in told, name
    assert len(registry.names()) == sum(name.startswith("create_") for name in dir(Requests))

"""The desk: steps, errors, order, bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gsrt.backend import desk as desk_module
from gsrt.backend.call import TEXT, Awaited, Call, Failure, Field, Stored, Worked
from gsrt.store.store import StoreError, Transaction
from gsrt.worker import WorkerError
from tests.backend.office import Office

if TYPE_CHECKING:
    from gsrt.backend.call import Steps

Done = Callable[[Any], None]


class Request:
    """A request whose run is the test's."""

    NAME = "TestRequest"
    SUMMARY = "For a test."
    FIELDS: tuple[Field, ...] = (Field("text", TEXT, default="-"),)
    ANSWER: tuple[Field, ...] = ()
    ERRORS: tuple[tuple[str, str, str], ...] = ()
    NEEDS_PLAYER = False

    run: Any

    def __init__(self, run: Any, **declared: Any) -> None:
        self.run = run
        for name, value in declared.items():
            setattr(self, name, value)


def teach(office: Office, run: Any, name: str = "TestRequest", **declared: Any) -> None:
    office.desk.registry._loaded[name] = Request(run, NAME=name, **declared)


def at_once(value: object, done: Done) -> None:
    done(value)


class Gate:
    """Awaited steps that the test lets through, by the text of their request."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._done: dict[str, Done] = {}

    def run(self, call: Call) -> Steps:
        text = call.fields["text"]

        def start(done: Done) -> None:
            self.begun.append(text)
            self._done[text] = done

        value = yield Awaited(start)
        return {"text": text, "value": value, "player": call.player_id}

    def let(self, text: str, value: object = None) -> None:
        self._done.pop(text)(value)


@pytest.fixture
def gate(office: Office) -> Gate:
    gate = Gate()
    teach(office, gate.run)
    return gate


def ask(office: Office, text: str = "-", **who: Any) -> list[dict[str, Any]]:
    return office.begin("TestRequest", {"text": text}, **who)


class TestSteps:
    def test_each_is_done_where_it_belongs(self, office: Office) -> None:
        here = threading.get_ident()

        def stored(tx: Transaction, text: str) -> tuple[str, int]:
            return text + "s", threading.get_ident()

        def worked(text: str) -> tuple[str, int]:
            return text + "w", threading.get_ident()

        def run(call: Call) -> Steps:
            first, store = yield Stored(stored, call.fields["text"])
            second, worker = yield Worked(worked, first)
            third = yield Awaited(lambda done: done(second + "a"))
            assert len({here, store, worker}) == 3
            assert threading.get_ident() == here
            return {"text": third}

        teach(office, run)
        assert office.ask("TestRequest", {"text": "x"}) == {"text": "xswa"}
        assert office.desk.under_way == 0

    def test_what_a_call_knows(self, office: Office) -> None:
        device = office.device()
        device.player_id = "anna"
        calls: list[Call] = []

        def run(call: Call) -> Steps:
            calls.append(call)
            yield Awaited(lambda done: done(None))
            return {}

        teach(office, run)
        assert device.ask("TestRequest", other=1) == {}
        (call,) = calls
        assert (call.name, call.fields, call.given) == ("TestRequest", {"text": "-"}, {"other": 1})
        assert (call.player, call.connection, call.now) == ("anna", device, office.now)
        assert call.desk is office.desk

    def test_many_steps_at_once_do_not_pile_up(self, office: Office) -> None:
        def run(call: Call) -> Steps:
            total = 0
            for number in range(20_000):
                total += yield Awaited(partial(at_once, number))
            return {"total": total}

        teach(office, run)
        assert office.ask("TestRequest", {}) == {"total": sum(range(20_000))}

    def test_many_requests_at_once_do_not_pile_up(self, office: Office, gate: Gate) -> None:
        office.profile.requests_waiting_max = 5000
        first = ask(office, "first")

        def run(call: Call) -> Steps:
            yield Awaited(lambda done: done(None))
            return {}

        teach(office, run, "QuickRequest")
        answers = [office.begin("QuickRequest", {}) for _ in range(5000)]
        gate.let("first")
        assert all(answers)
        assert first

    def test_what_comes_twice_counts_once(self, office: Office) -> None:
        later: list[Done] = []

        def twice(done: Done) -> None:
            later.append(done)
            done(1)
            done(2)

        def run(call: Call) -> Steps:
            first = yield Awaited(twice)
            second = yield Awaited(later.append)
            return {"came": [first, second]}

        teach(office, run)
        answers = ask(office)
        later[0](3)
        assert answers == []
        later[1](4)
        assert answers == [{"came": [1, 4]}]
        later[1](5)
        assert len(answers) == 1

    def test_one_that_brings_something_and_then_fails(self, office: Office) -> None:
        def start(done: Done) -> None:
            done("came")
            raise RuntimeError("too late")

        def run(call: Call) -> Steps:
            return {"came": (yield Awaited(start))}

        teach(office, run)
        assert ask(office) == [{"came": "came"}]

    def test_steps_in_nobodys_line(self, office: Office) -> None:
        def steps() -> Steps:
            value = yield Worked(lambda: 7)
            return {"value": value}

        answers: list[dict[str, Any]] = []
        office.desk.perform("a command", steps(), answers.append)
        office.until(lambda: answers)
        assert answers == [{"value": 7}]


class TestErrors:
    def test_a_failure_is_the_answer(self, office: Office) -> None:
        def run(call: Call) -> Steps:
            yield Awaited(lambda done: done(None))
            raise Failure(USERNAME="TAKEN")

        teach(office, run)
        assert ask(office) == [{"error": {"USERNAME": "TAKEN"}}]
        assert office.log_text.getvalue() == ""

    @pytest.mark.parametrize("kind", [Stored, Worked])
    def test_a_failure_of_a_step(self, office: Office, kind: Any) -> None:
        def fail(*_: object) -> None:
            raise Failure(A="B")

        def run(call: Call) -> Steps:
            yield kind(fail)
            return {}

        teach(office, run)
        assert office.ask("TestRequest", {}) == {"error": {"A": "B"}}

    def test_a_failed_operation_leaves_nothing(self, office: Office) -> None:
        def fail(tx: Transaction) -> None:
            tx.execute("INSERT INTO players(id) VALUES('x')")
            raise Failure(A="B")

        def run(call: Call) -> Steps:
            yield Stored(fail)
            return {}

        teach(office, run)
        office.ask("TestRequest", {})
        assert office.rows("SELECT * FROM players") == []

    def test_a_request_may_go_on_after_an_error(self, office: Office) -> None:
        def fail() -> None:
            raise KeyError("x")

        def run(call: Call) -> Steps:
            try:
                yield Worked(fail)
            except KeyError:
                pass
            return {"fine": True}

        teach(office, run)
        assert office.ask("TestRequest", {}) == {"fine": True}

    def test_a_mistake_is_logged_and_not_told(self, office: Office) -> None:
        def run(call: Call) -> Steps:
            yield Awaited(lambda done: done(None))
            raise ValueError("secret reason")

        teach(office, run)
        (answer,) = ask(office)
        assert list(answer["error"]) == ["request"]
        assert answer["error"]["request"].startswith("FAILED")
        assert "secret reason" in office.log_text.getvalue()
        assert office.desk.counters["requests_failed"] == 1

    @pytest.mark.parametrize(
        "run",
        [
            lambda call: call.fields["x"],
            lambda call: {"no": "generator"},
            lambda call: (yield "no step"),
            lambda call: (yield Awaited(lambda done: 1 / 0)),
            lambda call: (yield Awaited(lambda done: done(None))),  # and then no answer
        ],
    )
    def test_mistakes_of_every_kind_end_the_request_only(self, office: Office, run: Any) -> None:
        teach(office, run)
        assert ask(office)[0]["error"]["request"].startswith("FAILED")
        teach(office, lambda call: (yield Awaited(lambda done: done(None))), "OtherRequest")
        assert office.begin("OtherRequest", {})[0]
        assert office.desk.under_way == 0

    @pytest.mark.parametrize("error", [StoreError("disk full"), WorkerError("busy")])
    def test_what_is_not_available(self, office: Office, error: Exception) -> None:
        def fail(*_: object) -> None:
            raise error

        def run(call: Call) -> Steps:
            yield Stored(fail)
            return {}

        teach(office, run)
        answer = office.ask("TestRequest", {})
        assert answer["error"]["backend"].startswith("NOT_AVAILABLE")
        assert str(error) in office.log_text.getvalue()

    def test_a_store_that_is_closed(self, office: Office) -> None:
        told: list[str] = []

        def run(call: Call) -> Steps:
            try:
                yield Stored(lambda tx: None)
            except StoreError as error:
                told.append(str(error))
                raise
            return {}

        teach(office, run)
        office.store.close()
        (answer,) = ask(office)
        assert list(answer["error"]) == ["backend"]
        assert told, "the request could tidy up"

    def test_one_whose_answer_nobody_takes(self, office: Office, gate: Gate) -> None:
        def refuse(answer: object) -> None:
            raise OSError("gone")

        office.desk.submit("TestRequest", {"text": "a"}, refuse)
        answers = ask(office, "b")
        gate.let("a")
        gate.let("b")
        assert answers
        assert "gone" in office.log_text.getvalue()

    def test_a_request_that_cannot_be_loaded(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        def find(name: str) -> None:
            raise SyntaxError("line 7")

        monkeypatch.setattr(office.desk.registry, "find", find)
        assert ask(office)[0]["error"]["request"].startswith("FAILED")
        assert "line 7" in office.log_text.getvalue()

    def test_each_refusal_is_ones_own(self, office: Office) -> None:
        """Whoever gets an answer adds to it."""
        first = office.begin("NoSuchRequest", {})[0]
        first["requestId"] = 1
        first["error"]["more"] = 2
        (second,) = office.begin("NoSuchRequest", {})
        assert list(second) == ["error"]
        assert list(second["error"]) == ["request"]
        assert second["error"]["request"].startswith("UNKNOWN")


class TestWhoMayAsk:
    def test_fields_are_checked_first(self, office: Office, gate: Gate) -> None:
        assert office.begin("TestRequest", {"text": 7}) == [{"error": {"text": "must be a text"}}]
        assert gate.begun == []

    def test_not_before_sign_in(self, office: Office, gate: Gate) -> None:
        teach(office, gate.run, NEEDS_PLAYER=True)
        assert ask(office, connection=office.device()) == [{"error": {"authentication": "NOTAUTHORIZED"}}]
        assert ask(office) == [{"error": {"authentication": "NOTAUTHORIZED"}}]
        assert ask(office, player_id="anna") == []
        assert gate.begun == ["-"]

    def test_what_is_unknown_is_told_after_sign_in(self, office: Office) -> None:
        device = office.device()
        assert office.begin("NoSuchRequest", {}, connection=device) == [{"error": {"authentication": "NOTAUTHORIZED"}}]
        device.player_id = "anna"
        (answer,) = office.begin("NoSuchRequest", {}, connection=device)
        assert answer["error"]["request"].startswith("UNKNOWN")

    def test_scripts_only(self, office: Office, gate: Gate) -> None:
        teach(office, gate.run, SCRIPTS_ONLY=True)
        device = office.device()
        device.player_id = "anna"
        (answer,) = ask(office, connection=device)
        assert answer["error"]["request"].startswith("UNKNOWN")
        assert ask(office, player_id="anna") == []
        assert gate.begun == ["-"]


class TestOrder:
    def test_one_player_one_after_the_other(self, office: Office, gate: Gate) -> None:
        first, second, third = (ask(office, text, player_id="anna") for text in "abc")
        assert gate.begun == ["a"]
        assert office.desk.under_way == 3
        gate.let("a")
        assert gate.begun == ["a", "b"]
        assert first
        assert not second
        gate.let("b")
        gate.let("c")
        assert third
        assert office.desk.under_way == 0

    def test_different_players_side_by_side(self, office: Office, gate: Gate) -> None:
        ask(office, "a", player_id="anna")
        ask(office, "b", player_id="bo")
        assert gate.begun == ["a", "b"]

    def test_all_devices_of_a_player_and_scripts_keep_one_order(self, office: Office, gate: Gate) -> None:
        devices = office.device(), office.device()
        for device in devices:
            device.player_id = "anna"
        ask(office, "a", connection=devices[0])
        ask(office, "b", connection=devices[1])
        ask(office, "c", player_id="anna")
        assert gate.begun == ["a"]
        gate.let("a")
        gate.let("b")
        gate.let("c")
        assert gate.begun == ["a", "b", "c"]

    def test_connections_without_a_player_side_by_side(self, office: Office, gate: Gate) -> None:
        ask(office, "a", connection=office.device())
        ask(office, "b", connection=office.device())
        assert gate.begun == ["a", "b"]

    def test_a_line_of_ones_own(self, office: Office, gate: Gate) -> None:
        ask(office, "a", player_id="anna", line="session")
        ask(office, "b", player_id="bo", line="session")
        ask(office, "c", player_id="bo")
        assert gate.begun == ["a", "c"]

    def test_an_answer_may_ask_again(self, office: Office, gate: Gate) -> None:
        answers: list[object] = []

        def again(answer: object) -> None:
            answers.append(answer)
            office.desk.submit("TestRequest", {"text": "b"}, answers.append, player_id="anna")

        office.desk.submit("TestRequest", {"text": "a"}, again, player_id="anna")
        gate.let("a")
        gate.let("b")
        assert len(answers) == 2

    def test_who_signs_in_meanwhile_is_who_asks(self, office: Office, gate: Gate) -> None:
        """What was asked right behind the sign-in joins the player's line, in its order."""
        device = office.device()

        def sign_in(call: Call) -> Steps:
            yield from gate.run(call)
            device.player_id = "anna"
            return {}

        teach(office, sign_in, "SignInRequest")
        elsewhere = ask(office, "elsewhere", player_id="anna")
        device.begin("SignInRequest", text="sign in")
        behind = [ask(office, text, connection=device) for text in "abc"]
        gate.let("sign in")
        after = ask(office, "d", connection=device)
        assert gate.begun == ["elsewhere", "sign in"], "the player is busy elsewhere"
        gate.let("elsewhere")
        for text in "abcd":
            gate.let(text)
        assert gate.begun[2:] == ["a", "b", "c", "d"]
        for answers in (*behind, after):
            assert answers[0]["player"] == "anna"
        assert elsewhere
        assert office.desk.under_way == 0

    def test_who_signs_out_meanwhile_may_not_ask(self, office: Office, gate: Gate) -> None:
        teach(office, gate.run, NEEDS_PLAYER=True)
        device = office.device()
        device.player_id = "anna"
        ask(office, "a", connection=device)
        behind = [ask(office, text, connection=device) for text in "bc"]
        device.player_id = None
        gate.let("a")
        for answers in behind:
            assert answers == [{"error": {"authentication": "NOTAUTHORIZED"}}]
        assert office.desk.under_way == 0
        assert office.desk._lines == {}

    def test_what_a_closed_connection_has_left_is_not_begun(self, office: Office, gate: Gate) -> None:
        device = office.device()
        first = ask(office, "a", connection=device)
        for text in "bc":
            ask(office, text, connection=device)
        device.close()
        gate.let("a")
        assert first
        assert gate.begun == ["a"]
        assert office.desk._lines == {}


class TestBounds:
    def test_too_many_of_one_player(self, office: Office, gate: Gate) -> None:
        office.profile.requests_waiting_max = 3
        taken = [ask(office, f"{number}", player_id="anna") for number in range(4)]  # one is being done
        (refused,) = ask(office, "4", player_id="anna")
        assert refused["error"]["request"].startswith("TOO_MANY")
        assert taken == [[], [], [], []]
        assert ask(office, "other", player_id="bo") == []
        for number in range(4):
            gate.let(f"{number}")
        assert all(taken)
        assert ask(office, "5", player_id="anna") == []

    def test_nothing_is_kept_of_lines_that_are_done(self, office: Office, gate: Gate) -> None:
        for number in range(100):
            ask(office, f"{number}", player_id=f"player {number}")
            gate.let(f"{number}")
        assert office.desk._lines == {}


class TestWork:
    """Steps at the worker: a few at once, the others wait here."""

    @pytest.fixture
    def held(self, office: Office) -> Iterator[threading.Event]:
        """Work waits until the event is set."""
        event = threading.Event()

        def run(call: Call) -> Steps:
            yield Worked(event.wait, 20.0)
            return {"text": call.fields["text"]}

        teach(office, run)
        yield event
        event.set()

    def test_a_flood_leaves_room_at_the_worker(self, office: Office, held: threading.Event) -> None:
        answers = [ask(office, str(number), connection=office.device()) for number in range(100)]
        assert office.worker.waiting == desk_module.WORK_AT_ONCE
        held.set()
        office.until(lambda: all(answers))
        assert [answer["text"] for (answer,) in answers] == [str(number) for number in range(100)]
        assert office.worker.waiting == 0

    def test_a_larger_flood_is_refused(self, office: Office, held: threading.Event) -> None:
        most = desk_module.WORK_AT_ONCE + desk_module.WORK_WAITING_MAX
        answers = [ask(office, connection=office.device()) for _ in range(most + 1)]
        assert answers[-1][0]["error"]["backend"].startswith("NOT_AVAILABLE")
        assert not any(answers[:-1])
        held.set()
        office.until(lambda: all(answers))
        assert all("error" not in answer for (answer,) in answers[:-1])

    def test_a_flood_from_one_address_keeps_nobody_else_from_the_worker(
        self, office: Office, held: threading.Event
    ) -> None:
        most = desk_module.WORK_AT_ONCE + desk_module.WORK_WAITING_MAX
        came: list[str] = []

        def begin(text: str, address: str) -> None:
            device = office.device()
            device.address = address
            office.desk.submit(
                "TestRequest",
                {"text": text},
                lambda answer: came.append("refused" if "error" in answer else text),
                connection=device,
            )

        for _ in range(most):
            begin("flood", "10.0.0.1")
        begin("alice", "10.0.0.2")
        begin("bob", "10.0.0.3")
        begin("flood", "10.0.0.1")
        assert came == ["refused"] * 3  # all of them the flood's
        held.set()
        office.until(lambda: len(came) == most + 3)
        assert came.count("flood") == most - 2
        assert {"alice", "bob"} < set(came[: 3 + desk_module.WORK_AT_ONCE + 4])  # each after one of the flood's

    def test_a_worker_that_closes_answers_those_who_wait(self, office: Office, held: threading.Event) -> None:
        answers = [ask(office, connection=office.device()) for _ in range(5)]

        def refuse(*_: object) -> None:
            raise WorkerError("shutting down")

        office.worker = office.desk.worker = _Refusing(office.worker, refuse)  # type: ignore[assignment]
        held.set()
        office.until(lambda: all(answers))
        assert [list(answer) for (answer,) in answers] == [["text"]] * 2 + [["error"]] * 3


class _Refusing:
    """A worker that goes on handing over, and takes nothing more."""

    def __init__(self, worker: Any, submit: Any) -> None:
        self.submit = submit
        self.fileno = worker.fileno
        self.deliver = worker.deliver
        self.close = worker.close

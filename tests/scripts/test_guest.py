"""One script at work: its top level, its strikes, its errors as its author sees them, timers, requests, memory."""

from __future__ import annotations

import pytest

from gsrt._core import Data
from gsrt.scripts.guest import ScriptError
from tests.scripts.floor import ScriptFloor
from tests.scripts.stage import Play

# The top level


def test_top_level_functions_are_found() -> None:
    with Play(
        """
        def on_packet(packet):
            print("packet", packet.op_code)

        def on_player_connect(player):
            print("connect", player.player_id)

        def on_player_disconnect(player):
            print("disconnect", player.player_id)

        def on_something_else():
            print("never")
        """
    ) as play:
        play.connect(1, 2)
        play.feed(7)
        play.disconnect(1)
        play.disconnect(3)  # was never there
        assert play.texts == ["connect p1", "connect p2", "packet 7", "disconnect p1"]


@pytest.mark.parametrize(
    "source",
    [
        "on_packet = 5",
        "on_packet = print",
        "class on_packet:\n    pass",
        "on_packet = session.send",
        "on_player_connect = len",
    ],
)
def test_what_is_no_function_of_the_script_is_not_called(source: str) -> None:
    with Play(source) as play:
        play.connect(1)
        assert play.feed(7) is None
        assert not play.texts


def test_registered_and_found_functions_are_both_called() -> None:
    with Play(
        """
        @session.on_player_connect
        def one(player):
            print("one", player.peer_id)

        def on_player_connect(player):
            print("two", player.peer_id, session.get_player(player.peer_id) is player)
        """
    ) as play:
        play.connect(2)
        assert play.texts == ["one 2", "two 2 True"]


def test_methods_and_lambdas_may_be_handlers() -> None:
    with Play(
        """
        class Game:
            def __init__(self):
                self.count = 0

            def packet(self, packet):
                self.count += packet.data[1]
                print(self.count)

        game = Game()
        session.on_packet(5, game.packet)
        session.on_packet(5, lambda packet: print("lambda"))
        """
    ) as play:
        play.feed(5, data={1: 3})
        play.feed(5, data={1: 4})
        assert play.texts == ["3", "lambda", "7", "lambda"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("x = 1 / 0", "test.py line 1 in <module>: ZeroDivisionError: division by zero"),
        ("def f():\n    raise ValueError('oh')\n\n\nf()", "test.py line 2 in f: ValueError: oh"),
        ("session.send(0)", "test.py line 1 in <module>: ValueError: op_code: a whole number from 1 to"),
        ("print(nothing)", "test.py line 1 in <module>: NameError: "),
        ("while True:\n    pass", "at test.py line 1 in <module>"),
        ("x = []\nwhile True:\n    x.append('y' * 100000)", "stopped: "),
        ("raise ValueError('x' * 100000)", "ValueError: xxxx"),
        ("class E(Exception):\n    def __str__(self):\n        return 1\nraise E()", "test.py line 4 in <module>: E"),
    ],
)
def test_a_top_level_that_fails_says_where_and_why(source: str, error: str) -> None:
    with Play(source, load=False) as play:
        with pytest.raises(ScriptError) as refusal:
            play.guest.load(play.surroundings.now)
        assert error in str(refusal.value)
        assert len(str(refusal.value)) < 1300
        assert play.guest.is_off


def test_a_top_level_has_five_times_the_gas() -> None:
    loop = "for i in range(40):\n    for j in range(100):\n        pass"
    with Play(loop, script_gas=1000):
        pass
    with Play(f"def on_packet(packet):\n    {loop.replace(chr(10), chr(10) + '    ')}", script_gas=1000) as play:
        play.feed(5)
        assert len(play.errors) == 1


def test_timers_of_a_top_level_that_failed_never_run() -> None:
    with Play("session.set_interval(lambda: print('alive'), 10)\n1 / 0", load=False) as play:
        with pytest.raises(ScriptError):
            play.guest.load(play.surroundings.now)
        play.advance(100)
        assert not play.texts


# Errors


def test_an_error_says_file_line_and_function() -> None:
    with Play(
        """
        def helper(values):
            return values[5]

        @session.on_packet(5)
        def five(packet):
            helper([])

        def on_player_connect(player):
            missing(player)

        session.set_timeout(lambda: {}["key"], 10)
        """
    ) as play:
        play.connect(1)
        play.feed(5)
        play.advance(20)
        connect, packet, timer = play.errors
        assert connect.startswith("on_player_connect: test.py line 10 in on_player_connect: NameError: ")
        assert packet == "opCode 5: test.py line 3 in helper: IndexError: list index out of range"
        assert timer == "timer: test.py line 12 in <lambda>: KeyError: 'key'"
        assert (play.guest.failures, play.guest.strikes, play.guest.is_off) == (3, 0, False)


def test_errors_are_no_strikes() -> None:
    with Play("def on_packet(packet):\n    packet.nothing") as play:
        for _ in range(50):
            assert play.feed(5) is True
        assert (play.guest.failures, play.guest.is_off) == (50, False)


def test_an_error_s_text_never_runs_the_script_again() -> None:
    with Play(
        """
        class Bad(Exception):
            def __str__(self):
                print("str ran")
                while True:
                    pass
            def __repr__(self):
                print("repr ran")
                return "x"

        def on_packet(packet):
            raise Bad("a", 1)
        """
    ) as play:
        play.feed(5)
        assert len(play.texts) == 1
        assert "Bad" in play.errors[0]
        assert play.guest.strikes == 0


def test_an_error_raised_again_and_again_is_told_as_soon() -> None:
    """Its traceback has an entry for each time."""
    with Play(
        """
        class Odd(Exception):
            pass

        kept = Odd("again")

        def on_packet(packet):
            for i in range(3000):
                try:
                    raise kept
                except Odd:
                    pass
            raise kept
        """
    ) as play:
        for _ in range(5):
            play.feed(5)
        assert play.errors == ["opCode 5: test.py line 10 in on_packet: Odd: again"] * 5
        kept = play.globals["kept"]
        assert kept.__traceback__ is None


# Strikes


LOOP = """
def on_packet(packet):
    session.send(9)
    while True:
        pass

def on_player_disconnect(player):
    print("still here")

session.set_interval(lambda: print("tick"), 10)
"""


@pytest.mark.parametrize("work", ["set(range(100000))", "b'x' * 2_000_000"])
def test_a_refused_object_is_told_with_the_line_of_the_script(work: str) -> None:
    """It may be a guard of ours that asked for it, and nothing of the script runs afterwards."""
    with Play(f"def on_packet(packet):\n    {work}\n") as play:
        play.feed(5)
        assert "made an object of" in play.errors[0]
        assert " at test.py line 2 in on_packet" in play.errors[0]


@pytest.mark.parametrize("strikes", [1, 3])
def test_strikes_end_it(strikes: int) -> None:
    with Play(LOOP, script_strikes=strikes) as play:
        play.connect(1)
        for number in range(strikes):
            assert not play.guest.is_off
            assert play.feed(5) is True
            assert f"(strike {number + 1} of {strikes})" in play.errors[-1]
            assert "test.py line " in play.errors[-1]
        assert play.guest.is_off
        assert play.surroundings.off == [play.surroundings.off[0]]
        assert play.surroundings.off[0].endswith(" at test.py line 4 in on_packet")
        assert play.sent == [9] * strikes
        play.surroundings.lines.clear()
        play.advance(100)
        play.disconnect(1)
        assert not play.texts


def test_any_callback_can_strike() -> None:
    with Play(
        """
        def forever():
            while True:
                pass

        def on_player_connect(player):
            forever()

        def on_player_disconnect(player):
            forever()

        session.set_timeout(forever, 10)
        """
    ) as play:
        play.connect(1)
        play.advance(20)
        play.disconnect(1)
        assert [error.split(":")[0] for error in play.errors] == ["on_player_connect", "timer", "on_player_disconnect"]
        assert play.guest.is_off


def test_swallowing_the_end_does_not_help() -> None:
    with Play(
        """
        def on_packet(packet):
            while True:
                try:
                    while True:
                        pass
                except Exception:
                    continue
                finally:
                    print("finally")
        """
    ) as play:
        play.feed(5)
        assert play.guest.strikes == 1


def test_memory_in_a_callback_is_a_strike() -> None:
    with Play(
        """
        def on_packet(packet):
            held = []
            while True:
                held.append(b"x" * 50000)
        """,
        script_memory_bytes=1 << 20,
    ) as play:
        play.feed(5)
        assert play.guest.strikes == 1
        assert "memory" in play.errors[0] or "bytes" in play.errors[0]


def test_memory_held_between_callbacks_is_a_strike() -> None:
    with Play(
        """
        held = []

        def on_packet(packet):
            for i in range(20):
                held.append("x" * 20000 + str(len(held)))
        """,
        script_memory_bytes=1 << 20,
    ) as play:
        for _ in range(10):
            play.feed(5)
        assert play.guest.is_off
        assert len(play.surroundings.off) == 1


def test_what_is_let_go_again_is_not_held() -> None:
    with Play(
        """
        held = []

        def on_packet(packet):
            held.clear()
            for i in range(20):
                held.append("x" * 20000 + str(i))
        """,
        script_memory_bytes=1 << 20,
    ) as play:
        for _ in range(50):
            play.feed(5)
        assert (play.guest.strikes, play.guest.failures) == (0, 0)


@pytest.mark.parametrize(
    "hoard",
    [
        "session.set_timeout(lambda held='x' * 60000 + str(i): None, 86400000)",
        "session.on_packet(7, lambda packet, held='x' * 60000 + str(i): None)",
        "session.on_player_connect(lambda player, held='x' * 60000 + str(i): None)",
        "session.new_request().create_list_message_request().send(lambda response, held='x' * 60000 + str(i): None)",
    ],
)
def test_what_is_registered_counts_as_held(hoard: str) -> None:
    with Play(
        f"def on_packet(packet):\n    for i in range(20):\n        {hoard}",
        script_memory_bytes=1 << 20,
    ) as play:
        for _ in range(3):
            play.feed(5)
            play.advance(1)
        assert play.guest.handlers.account.held_bytes > 900_000
        assert play.guest.strikes >= 1


# Timers


def test_a_timeout_runs_once_and_an_interval_until_it_is_cleared() -> None:
    with Play(
        """
        session.set_timeout(lambda: print("once"), 30)
        ticks = session.set_interval(lambda: print("tick"), 10)

        @session.every(25)
        def second():
            print("every")

        @session.on_packet(5)
        def stop(packet):
            session.clear_interval(ticks)
            session.clear_interval(ticks)
            session.clear_timeout(None)
        """
    ) as play:
        play.advance(29)
        assert play.texts == ["tick", "tick", "every"]
        play.advance(1.5)
        assert sorted(play.texts[3:]) == ["once", "tick"]
        play.feed(5)
        play.advance(100)
        assert play.texts[5:] == ["every"] * 4


def test_the_shortest_interval() -> None:
    with Play(
        """
        count = 0
        def tick():
            global count
            count += 1
        session.set_interval(tick, 0)
        session.set_timeout(lambda: print("zero"), 0)
        """,
        script_timer_ms_min=20,
    ) as play:
        play.advance(19)
        assert (play.globals["count"], play.texts) == (0, [])
        play.advance(382)
        assert play.globals["count"] == 20


def test_an_interval_can_clear_itself() -> None:
    with Play(
        """
        count = 0
        def tick():
            global count
            count += 1
            if count == 3:
                session.clear_interval(timer)
        timer = session.set_interval(tick, 10)
        """
    ) as play:
        play.advance(200)
        assert play.globals["count"] == 3
        assert len(play.surroundings.timers) == 0


def test_a_timer_can_clear_one_that_is_due_with_it() -> None:
    with Play(
        """
        timers = []
        def first():
            print("first")
            session.clear_timeout(timers[1])
        timers.append(session.set_timeout(first, 10))
        timers.append(session.set_timeout(lambda: print("second"), 10))
        """
    ) as play:
        play.advance(50)
        assert play.texts == ["first"]


def test_a_timer_that_raises_goes_on() -> None:
    with Play("session.set_interval(lambda: 1 / 0, 10)") as play:
        play.advance(55)
        assert len(play.errors) == 5


def test_runs_that_were_missed_are_not_made_up_for() -> None:
    with Play("session.set_interval(lambda: print(session.now_ms), 10)") as play:
        play.surroundings.now += 0.5  # the loop was away
        for _ in range(20):
            play.turn()
        late = len(play.texts)
        assert late <= 2
        play.advance(101)
        assert 10 <= len(play.texts) - late <= 11


def test_an_interval_keeps_its_pace() -> None:
    with Play("session.set_interval(lambda: print(session.now_ms), 10)") as play:
        for _ in range(50):  # always a little late
            play.surroundings.now += 0.0137
            play.turn()
        assert 48 <= len(play.texts) <= 51


def test_timers_wait_when_the_script_has_had_its_time() -> None:
    with Play(
        """
        session.set_timeout(lambda: print("a"), 10)
        session.set_timeout(lambda: print("b"), 10)
        session.set_timeout(lambda: print("c"), 10)
        """
    ) as play:
        play.surroundings.now += 0.01001
        add = play.guest.log

        def slow(level: str, text: str) -> None:
            play.clock.now += 0.011
            add(level, text)

        play.guest.log = slow  # type: ignore[method-assign]
        play.turn()
        assert play.texts == ["a"]
        play.turn()
        assert play.texts == ["a", "b"]
        play.turn()
        assert play.texts == ["a", "b", "c"]


# Requests


def test_a_request_is_answered_later_with_a_clear_error() -> None:
    with Play(
        """
        def answered(response):
            print("answer", response.has_errors(), response.get_errors()["backend"], response.get("displayName"))

        @session.on_packet(5)
        def ask(packet):
            request = session.new_request().create_account_details_request()
            request.set_player_id(packet.get_sender().player_id).send(answered)
            print("sent")
        """
    ) as play:
        play.feed(5)
        assert play.texts == ["sent"]
        play.turn()
        assert play.texts == ["sent"]
        play.advance(100)
        assert len(play.texts) == 2
        assert play.texts[1].startswith("answer True NOT_AVAILABLE: ")
        assert play.texts[1].endswith(" None")


def test_requests_without_a_callback_and_callbacks_that_raise() -> None:
    with Play(
        """
        session.new_request().create_log_event_request().set_event_key("x").send()
        session.new_request().create_log_event_request().send(lambda response: response["none"])
        """
    ) as play:
        play.advance(100)
        assert play.errors == ["LogEventRequest: test.py line 3 in <lambda>: KeyError: 'none'"]


def test_one_answer_s_changes_are_not_another_s() -> None:
    with Play(
        """
        def answered(response):
            errors = response.get_errors()
            print(len(errors))
            errors["more"] = 1
            errors.clear()

        for i in range(2):
            session.new_request().create_list_message_request().send(answered)
        """
    ) as play:
        play.advance(100)
        assert play.texts == ["1", "1"]


# Who is there


def test_players() -> None:
    with Play(
        """
        def on_packet(packet):
            players = session.get_players()
            print([player.peer_id for player in players], session.get_player(3) in players, session.get_player(2))
            players.clear()
        """
    ) as play:
        play.connect(3, 1)
        play.feed(5)
        play.disconnect(3)
        play.feed(5)
        assert play.texts == ["[3, 1] True None", "[1] False None"]


def test_the_session_is_known() -> None:
    with Play("print(session.get_session_id(), session.now_ms)") as play:
        assert play.texts == ["abcd 0"]


@pytest.mark.parametrize("seed", [1, 2])
def test_chance_is_the_seed_s(seed: int) -> None:
    source = "print([session.random.randint(1, 1000) for i in range(5)])"
    texts = []
    for each in (seed, seed, seed + 5):
        with Play(source, seed=each) as play:
            texts.append(play.texts)
    assert texts[0] == texts[1] != texts[2]


def test_log_levels() -> None:
    with Play(
        """
        log = session.get_logger()
        log.debug(1)
        log.info({"a": [1.5, None]})
        log.warn("w")
        log.error(session)
        print("a", 1, sep="-")
        """
    ) as play:
        assert play.surroundings.lines == [
            ("debug", "1"),
            ("info", "{'a': [1.5, None]}"),
            ("warn", "w"),
            ("error", play.texts[3]),
            ("info", "a-1"),
        ]
        assert "0x" not in play.texts[3]


# Off, in a session


@pytest.mark.parametrize("op_code", [0, 77])
def test_a_script_that_is_off_leaves_a_plain_relay(op_code: int) -> None:
    with ScriptFloor(script_off_op_code=op_code) as floor:
        session = floor.scripted(LOOP)
        red = floor.seat(session.players[0])
        blue = floor.seat(session.players[1])
        for number in range(3):
            floor.begin_turn()
            red.put(floor.packet(5, payload=b"%d" % number))
        assert floor.attached(session).state == "off"
        floor.begin_turn()
        red.put(floor.packet(5, payload=b"3"), floor.packet(6))
        news = blue.news()
        assert [payload for code, payload in news if code == 5] == [b"0", b"1", b"2", b"3"]
        told = [code for code, _ in news if code == 77]
        assert told == ([77] if op_code else [])
        assert [code for code, _ in news if code not in (9, 77)] == [5, 5, 5, 5, 6]
        assert "script switched off" in floor.log_text()
        figures = floor.attached(session).figures()
        assert figures["state"] == "off"
        floor.advance(1)
        assert floor.texts().count("tick") == 0 or floor.texts()[-1] != "tick"


def test_what_players_are_told_when_it_is_off() -> None:
    with ScriptFloor(script_off_op_code=77, script_strikes=1) as floor:
        session = floor.scripted(LOOP)
        red = floor.seat(session.players[0])
        red.put(floor.packet(5))
        (told,) = [each for each in red.packets() if each.op_code == 77]
        assert told.data is not None
        text = Data.decode(told.data).get_string(1)
        assert text is not None
        assert text.startswith("script switched off: ")
        assert text.endswith(" at script.py line 4 in on_packet")
        assert (told.sender or 0) == 0


@pytest.mark.parametrize(
    "source",
    [
        "def f(a=1):\n    f()\n",
        "def f(a=1, *b):\n    f(())\n",
        "def f(a, *, k=1):\n    f(2)\n\ndef g():\n    f(1)\n",
        "class C:\n    def m(self, a=1):\n        self.m()\n\ndef f():\n    C().m()\n",
        "class C:\n    def __init__(self, a=1):\n        C()\n\ndef f():\n    C()\n",
        "f = lambda a=1: f()\n",
        "def f(a=1):\n    try:\n        f()\n    finally:\n        a\n",
    ],
)
def test_recursion_without_end_is_an_error_whatever_the_call(source: str) -> None:
    """Calls that fill in a default are not counted by some versions of CPython."""
    call = "g()" if "def g" in source else "f()"
    with Play(f"{source}\ndef on_packet(packet):\n    {call}\n") as play:
        play.feed(5)
        play.feed(5)
        assert play.guest.strikes or "RecursionError" in play.errors[0]
        assert len(play.errors) == 2

"""What one callback and one script may use of everything: just enough, and one too much."""

from __future__ import annotations

import pytest

from tests.scripts.floor import ScriptFloor
from tests.scripts.stage import Play

# `use` is called until it is refused; how often it was not, and what was said, are printed.
UNTIL_REFUSED = """
def until_refused(use, most):
    count = 0
    try:
        while count < most:
            use()
            count += 1
    except RuntimeError as error:
        print(count, error)
    else:
        print(count, "and more")
"""


def script(*lines: str) -> str:
    return UNTIL_REFUSED + "\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("sends", [1, 7, 256])
def test_sends_of_a_callback(sends: int) -> None:
    with Play(
        script(
            "def on_packet(packet):",
            "    until_refused(lambda: session.send(9), 1000)",
            "    try:",
            "        session.new_packet().set_op_code(9).send()",
            "    except QuotaError as error:",
            "        print('QuotaError', error)",
        ),
        script_sends_max=sends,
    ) as play:
        play.connect(1)
        for _ in range(2):  # each callback has its own
            play.feed(5)
        said = f"one callback may send {sends} packets"
        assert play.texts == [f"{sends} {said}", f"QuotaError {said}"] * 2
        assert len(play.sent) == 2 * sends
        assert not play.errors


def test_a_send_to_nobody_is_none() -> None:
    with Play(
        script("def on_packet(packet):", "    until_refused(lambda: session.send(9, peers=[]), 20)"),
        script_sends_max=3,
    ) as play:
        play.feed(5)
        assert play.texts == ["20 and more"]


@pytest.mark.parametrize(
    ("players", "peers", "receivers"),
    [
        (0, None, 1),
        (1, None, 1),
        (3, None, 3),
        (3, "[1, 2]", 2),
        (3, "2", 1),
        (3, "[2, 2, 2]", 1),
        (3, "[200, 201]", 2),
    ],
)
def test_bytes_of_a_callback_are_counted_for_each_receiver(players: int, peers: str | None, receivers: int) -> None:
    send = f"lambda: session.new_packet().set_op_code(9).set_payload(b'x' * 993).set_target_peers({peers}).send()"
    with Play(
        script("def on_packet(packet):", f"    until_refused({send}, 1000)"),
        script_send_bytes_max=20_000,
    ) as play:
        play.connect(*range(1, players + 1))
        play.feed(5)
        # 993 bytes, 3 before them, 2 of the opCode, 2 of the length: 20 packets in all
        assert play.texts == [f"{20 // receivers} one callback may send 20000 bytes, counted for each receiver"]


def test_a_smaller_packet_may_still_fit() -> None:
    with Play(
        """
        def on_packet(packet):
            session.send(9, {1: "x" * 9000})
            try:
                session.send(9, {1: "x" * 9000})
            except QuotaError:
                print("too much")
            session.send(10)
        """,
        script_send_bytes_max=16_000,
    ) as play:
        play.connect(1)
        play.feed(5)
        assert (play.texts, play.sent) == (["too much"], [9, 10])


@pytest.mark.parametrize("timers", [1, 5, 64])
@pytest.mark.parametrize("kind", ["set_timeout", "set_interval"])
def test_timers(kind: str, timers: int) -> None:
    with Play(
        script(
            "ids = []",
            "def nothing():",
            "    pass",
            "def on_packet(packet):",
            f"    until_refused(lambda: ids.append(session.{kind}(nothing, 1000)), 1000)",
            "    session.clear_timeout(ids[0])",
            f"    until_refused(lambda: session.{kind}(nothing, 1000), 1000)",
        ),
        script_timers_max=timers,
    ) as play:
        play.feed(5)
        said = f"a script may have {timers} timers at a time"
        assert play.texts == [f"{timers} {said}", f"1 {said}"]


def test_timers_that_have_run_are_none() -> None:
    with Play(
        """
        count = 0
        def again():
            global count
            count += 1
            session.set_timeout(lambda: None, 5)
            session.set_timeout(again, 5)
        again()
        """,
        script_timers_max=2,
    ) as play:
        play.advance(100)
        assert play.globals["count"] > 10
        assert not play.errors


def test_every_raises_too() -> None:
    with Play(
        script("def nothing():", "    pass", "until_refused(lambda: session.every(10)(nothing), 1000)"),
        script_timers_max=3,
    ) as play:
        assert play.texts == ["3 a script may have 3 timers at a time"]


@pytest.mark.parametrize("requests", [1, 4])
def test_requests(requests: int) -> None:
    with Play(
        script(
            "answered = []",
            "def on_packet(packet):",
            "    ask = session.new_request().create_list_message_request",
            "    until_refused(lambda: ask().send(lambda got: answered.append(got)), 100)",
        ),
        script_requests_max=requests,
    ) as play:
        for _ in range(2):
            play.feed(5)
            play.advance(100)
        said = f"{requests} requests may be waiting for their answer"
        assert play.texts == [f"{requests} {said}"] * 2
        assert len(play.globals["answered"]) == 2 * requests


def test_functions_for_packets() -> None:
    with Play(
        script(
            "def nothing(packet):",
            "    pass",
            "until_refused(lambda: session.on_packet(5, nothing), 1000)",
            "until_refused(lambda: session.on_packet(6, nothing), 1000)",
        )
    ) as play:
        said = "a script may have 256 functions called for packets"
        assert play.texts == [f"256 {said}", f"0 {said}"]


@pytest.mark.parametrize("event", ["on_player_connect", "on_player_disconnect"])
def test_functions_for_players(event: str) -> None:
    with Play(
        script("def nothing(player):", "    pass", f"until_refused(lambda: session.{event}(nothing), 1000)")
    ) as play:
        assert play.texts == ["64 a script may have 64 functions called when players come or go"]


def test_a_quota_error_that_nobody_catches_is_an_error_and_no_strike() -> None:
    with Play(
        """
        def on_packet(packet):
            while True:
                session.send(9)
        """,
        script_sends_max=3,
    ) as play:
        for _ in range(5):
            play.feed(5)
        assert (
            play.errors
            == [
                "opCode 5: test.py line 4 in on_packet: QuotaError: one callback may send 3 packets",
            ]
            * 5
        )
        assert (play.guest.strikes, play.guest.failures, len(play.sent)) == (0, 5, 15)


@pytest.mark.parametrize("how", ["QuotaError", "RuntimeError", "Exception", "(ValueError, QuotaError)"])
def test_a_quota_error_can_be_caught(how: str) -> None:
    with Play(
        f"""
        def on_packet(packet):
            session.send(9)
            try:
                session.send(9)
            except {how} as error:
                print(error)
        """,
        script_sends_max=1,
    ) as play:
        play.feed(5)
        assert play.texts == ["one callback may send 1 packets"]


def test_log_lines_come_at_a_rate() -> None:
    """The host thins them out; the script is not told."""
    with ScriptFloor(script_log_lines_per_second=2, script_log_ring_lines=1000) as floor:
        session = floor.scripted("session.on_packet(5, lambda packet: [print(i) for i in range(100)] and None)")
        red = floor.seat(session.players[0])
        red.put(floor.packet(5))
        assert floor.texts() == [str(number) for number in range(20)]
        floor.advance(1)
        red.put(floor.packet(5))
        assert floor.texts()[20:] == ["0", "1"]
        assert [each["suppressed"] for each in floor.entries()][19:] == [0, 80, 0]
        floor.advance(100)
        red.put(floor.packet(5))
        assert len(floor.texts()) == 42


def test_log_lines_are_cut() -> None:
    with ScriptFloor(script_log_characters_max=50) as floor:
        floor.scripted("print('x' * 50)\nprint('y' * 51)\nsession.get_logger().warn('z' * 100000)")
        assert floor.texts() == ["x" * 50, "y" * 50 + "...", "z" * 50 + "..."]


def test_one_script_s_lines_cost_another_nothing() -> None:
    with ScriptFloor(script_log_lines_per_second=1) as floor:
        floor.scripted("for i in range(50):\n    print('loud')", name="loud.py")
        floor.scripted("print('quiet')", name="quiet.py")
        assert floor.texts() == ["loud"] * 10 + ["quiet"]


def test_gas_of_sends_is_charged() -> None:
    with Play(
        """
        def on_packet(packet):
            for i in range(200):
                session.send(9)
        """,
        script_gas=2000,
    ) as play:
        play.feed(5)
        assert "gas" in play.errors[0]
        assert 50 < len(play.sent) < 140

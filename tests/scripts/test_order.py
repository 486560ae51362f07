"""What comes first: handlers among each other, what they send, players who come and go, timers, the end of a turn."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.scripts.floor import ScriptFloor
from tests.scripts.stage import Play

THREE = """
    @session.on_packet(5)
    def first(packet):
        print("first")
        return answers[0]

    session.on_packet(5, lambda packet: print("second") or answers[1])

    @session.on_packet(6)
    def other(packet):
        print("other")

    @session.on_packet(5)
    def third(packet):
        print("third")
        return answers[2]

    def on_packet(packet):
        print("every")
        return answers[3]
"""


@pytest.mark.parametrize(
    ("answers", "called", "passes"),
    [
        ("None, None, None, None", ["first", "second", "third", "every"], True),
        ("True, 0, '', []", ["first", "second", "third", "every"], True),
        ("False, None, None, None", ["first"], False),
        ("None, False, None, None", ["first", "second"], False),
        ("None, None, False, None", ["first", "second", "third"], False),
        ("None, None, None, False", ["first", "second", "third", "every"], False),
    ],
)
def test_handlers_in_the_order_of_their_registration_then_on_packet(
    answers: str, called: list[str], passes: bool
) -> None:
    with Play(f"answers = [{answers}]\n" + dedent(THREE)) as play:
        play.connect(1)
        assert play.feed(5) is passes
        assert play.texts == called
        play.surroundings.lines.clear()
        play.feed(6)
        play.feed(7)
        assert play.texts == ["other", "every", "every"]


def test_on_packet_is_last_wherever_it_stands() -> None:
    with Play(
        """
        def on_packet(packet):
            print("every")

        session.on_packet(5, lambda packet: print("five"))
        """
    ) as play:
        play.feed(5)
        assert play.texts == ["five", "every"]


def test_each_handler_sees_what_those_before_have_changed() -> None:
    with Play(
        """
        @session.on_packet(5)
        def first(packet):
            packet.data[1] += 1
            packet.set_target_peers([2])

        @session.on_packet(5)
        def second(packet):
            print(packet.data[1], packet.get_target_players())
            packet.data[1] *= 10
        """
    ) as play:
        got = play.feed(5, data={1: 4})
        assert play.texts == ["5 [2]"]
        assert type(got) is bytes


def test_one_that_raises_ends_them_and_what_was_changed_is_not_kept() -> None:
    with Play(
        """
        @session.on_packet(5)
        def first(packet):
            packet.data[1] = 9

        @session.on_packet(5)
        def second(packet):
            session.send(8)
            raise ValueError("oh")

        @session.on_packet(5)
        def third(packet):
            print("third")
            return False
        """
    ) as play:
        assert play.feed(5, data={1: 4}) is True
        assert play.sent == [8]
        assert play.texts == ["opCode 5: test.py line 9 in second: ValueError: oh"]


def test_one_that_is_stopped_ends_them_and_its_sends_go_out() -> None:
    with Play(
        """
        @session.on_packet(5)
        def first(packet):
            session.send(8)
            packet.set_payload(b"changed")
            while True:
                pass

        @session.on_packet(5)
        def second(packet):
            return False
        """
    ) as play:
        assert play.feed(5, data={1: 4}) is True
        assert play.sent == [8]
        assert len(play.errors) == 1
        assert "strike 1 of 3" in play.errors[0]


def test_handlers_of_one_packet_share_one_budget() -> None:
    """Many of them are no way to more time."""
    with Play(
        """
        def work(packet):
            for i in range(900):
                for j in range(100):
                    pass

        for i in range(10):
            session.on_packet(5, work)
        """
    ) as play:
        assert play.feed(5) is True
        assert "used up" in play.errors[0]


def test_timers_run_by_their_time_then_by_their_setting() -> None:
    with Play(
        """
        session.set_timeout(lambda: print("b 20"), 20)
        session.set_timeout(lambda: print("a 10"), 10)
        session.set_timeout(lambda: print("c 20"), 20)
        session.set_interval(lambda: print("i 15"), 15)
        """
    ) as play:
        play.advance(25)
        assert play.texts == ["a 10", "i 15", "b 20", "c 20"]


# On the session floor: with the relay and the other players


RECEIVER = """
    def on_player_connect(player):
        session.send(50, {1: player.peer_id})

    def on_player_disconnect(player):
        session.send(51, {1: player.peer_id})
"""


def test_connect_comes_after_the_others_were_told() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(RECEIVER)
        red = floor.seat(session.players[0])
        assert [code for code, _ in red.news()] == [50]
        blue = floor.seat(session.players[1])
        assert [code for code, _ in red.news()] == [-101, 50]
        assert [code for code, _ in blue.news()] == [50]


def test_what_is_sent_at_connect_comes_after_what_was_held() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(RECEIVER + "\n    session.on_packet(5, lambda packet: None)\n")
        red = floor.seat(session.players[0])
        blue = floor.seat(session.players[1], ready=False)
        red.put(floor.packet(5), floor.packet(6))
        blue.ready()
        assert [code for code, _ in blue.news()] == [5, 6, 50]


def test_disconnect_comes_after_the_others_were_told() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(RECEIVER)
        red = floor.seat(session.players[0])
        blue = floor.seat(session.players[1])
        red.news()
        blue.line.close()
        floor.gone(session.players[1])
        assert [code for code, _ in red.news()] == [-103, 51]


def test_a_loss_that_nobody_noticed_is_none_for_the_script() -> None:
    with ScriptFloor(grace_seconds=5) as floor:
        session = floor.scripted(RECEIVER)
        red = floor.seat(session.players[0])
        blue = floor.seat(session.players[1])
        red.news()
        floor.lose(blue)
        again = floor.seat(session.players[1], token=session.players[1].reconnect_token)
        floor.advance(10)
        assert [code for code, _ in red.news()] == []
        assert [code for code, _ in again.news()] == []


def test_kicked_players_are_still_there_until_the_callback_ends() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(
            """
            @session.on_packet(5)
            def all_out(packet):
                for player in session.get_players():
                    player.kick("enough")
                    player.kick()
                print(len(session.get_players()))

            def on_player_disconnect(player):
                print("gone", player.peer_id, len(session.get_players()))
            """
        )
        red = floor.seat(session.players[0])
        blue = floor.seat(session.players[1])
        red.put(floor.packet(5))
        assert blue.news()[-1][0] == 5
        floor.advance(0)
        assert [player.state for player in session.players] == ["kicked", "kicked", "expected"]
        assert floor.texts() == ["2", "gone 1 1", "gone 2 0"]
        assert "reason=enough" in floor.log_text()


def test_a_player_kicked_from_a_timer_and_from_on_player_connect() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(
            """
            def on_player_connect(player):
                if player.player_id == "blue":
                    player.kick("not you")

            session.set_timeout(lambda: session.get_player(1).kick(), 50)
            """
        )
        floor.seat(session.players[0])
        floor.seat(session.players[1])
        assert session.players[1].state == "ready"
        floor.advance(0)
        assert session.players[1].state == "kicked"
        floor.advance(0.06)
        assert session.players[0].state == "kicked"


def test_kicking_someone_who_has_left_is_no_matter() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(
            """
            gone = []
            def on_player_disconnect(player):
                gone.append(player)
                player.kick("late")
            """
        )
        red = floor.seat(session.players[0])
        red.line.close()
        floor.gone(session.players[0])
        floor.advance(5)
        assert not floor.errors()


def test_timers_run_after_the_packets_of_a_turn() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(
            """
            session.set_timeout(lambda: session.send(60), 10)
            session.on_packet(5, lambda packet: session.send(61))
            """
        )
        red = floor.seat(session.players[0])
        blue = floor.seat(session.players[1])
        red.news()
        red.line.send(floor.packet(5) + floor.packet(5))
        floor.now += 0.02
        floor.turn()
        assert [code for code, _ in blue.news()] == [61, 5, 61, 5, 60]


def test_now_is_the_same_throughout_a_callback_and_goes_on_between() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted("session.on_packet(5, lambda packet: print(session.now_ms, session.now_ms))")
        red = floor.seat(session.players[0])
        began = floor.now
        for _ in range(3):
            red.put(floor.packet(5))
            floor.advance(0.25)
        assert [text.split()[0] == text.split()[1] for text in floor.texts()] == [True] * 3
        moments = [int(text.split()[0]) for text in floor.texts()]
        assert [moment - moments[0] for moment in moments] == [0, 250, 500]
        assert moments[0] == int((began - session.began) * 1000)

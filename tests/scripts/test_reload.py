"""A changed file: tried beside the one at work, taken up between two packets, or not; what is handed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from gsrt._core import Data
from gsrt.scripts.reload import NODES_MAX, state_of
from gsrt.session import Session
from tests.relay.floor import Guest
from tests.scripts.floor import ScriptFloor
from tests.scripts.stage import Play

ONE = """
count = 0

@session.on_packet(5)
def five(packet):
    global count
    count += 1
    session.send(9, {1: 1, 2: count})

session.set_interval(lambda: session.send(60), 400)
"""
TWO = """
count = 0

def on_reload(old_state):
    global count
    count = old_state["count"]

@session.on_packet(5)
def five(packet):
    global count
    count += 1
    session.send(9, {1: 2, 2: count})
"""


class Game:
    """A session of a script, two of its players there."""

    def __init__(self, floor: ScriptFloor, source: str) -> None:
        self.floor = floor
        self.session: Session = floor.scripted(source)
        self.red: Guest = floor.seat(self.session.players[0])
        self.blue: Guest = floor.seat(self.session.players[1])
        self.blue.packets()

    def play(self, op_code: int = 5, **fields: Any) -> list[tuple[int, dict[int, Any]]]:
        """Red sends a packet: what blue hears."""
        self.floor.begin_turn()
        self.red.put(self.floor.packet(op_code, **fields))
        return [(each.op_code, Data.decode(each.data or b"").to_dict()) for each in self.blue.packets()]

    def change(self, source: str) -> None:
        """The file changes, and all that follows from it has come about."""
        self.floor.write(source)
        self.floor.looks_at_files()

    @property
    def reloads(self) -> int:
        return self.floor.attached(self.session).reloads

    def log(self, what: str) -> list[str]:
        return [line for line in self.floor.log_text().splitlines() if what in line]


@pytest.fixture
def floor() -> Iterator[ScriptFloor]:
    with ScriptFloor() as floor:
        yield floor


# Taken up


def test_a_changed_script_takes_over_with_the_state(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    assert game.play() == [(9, {1: 1, 2: 1}), (5, {})]
    game.play()
    game.change(TWO)
    assert game.reloads == 1
    assert game.play()[-2:] == [(9, {1: 2, 2: 3}), (5, {})]
    assert "script taken up again" in floor.log_text()
    figures = floor.attached(game.session).figures()
    assert (figures["state"], figures["reloads"]) == ("running", 1)


def test_timers_of_the_old_version_are_gone(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    game.change(TWO)
    game.play()
    floor.advance(5)
    assert game.blue.packets() == []


def test_without_on_reload_it_begins_as_if_the_session_had(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    game.play()
    game.change(
        """
        count = 0
        @session.on_packet(5)
        def five(packet):
            global count
            count += 1
            session.send(9, {1: 3, 2: count})

        def on_player_connect(player):
            session.send(50, {1: player.peer_id})
        """
    )
    heard = game.play()
    assert [each for each in heard if each[0] == 50] == [(50, {1: 1}), (50, {1: 2})]
    assert heard[-2:] == [(9, {1: 3, 2: 1}), (5, {})]


def test_with_on_reload_nobody_connects_again(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    game.change(
        """
        def on_player_connect(player):
            session.send(50, {1: player.peer_id})

        def on_reload(old_state):
            session.send(52, {1: len(session.get_players()), 2: session.get_players()[1].peer_id})
        """
    )
    assert [each for each in game.play() if each[0] != 60] == [(52, {1: 2, 2: 2}), (5, {})]
    green = floor.seat(game.session.players[2])
    assert [each.op_code for each in green.packets()] == [50]


def test_the_trial_reaches_nobody(floor: ScriptFloor) -> None:
    """It runs the top level and the last packets once more; none of its packets, kicks, lines or timers may show."""
    game = Game(floor, ONE)
    for _ in range(4):
        game.play()
    game.change(
        """
        print("top")
        session.send(70)
        session.set_interval(lambda: session.send(71), 10)

        @session.on_packet(5)
        def five(packet):
            print("five")
            session.send(72)
            packet.get_sender().kick("out")
            session.new_request().create_list_message_request().send(lambda response: session.send(73))
        """
    )
    assert game.reloads == 1
    assert floor.texts() == ["top"]
    codes = [each.op_code for each in game.blue.packets() if each.op_code != 60]
    assert codes.count(70) == 1
    assert 72 not in codes
    assert 73 not in codes
    assert game.session.players[0].state == "ready"


def test_packets_between_the_steps_of_the_trial_go_to_the_old_one(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    for _ in range(6):
        game.play()
    floor.write(TWO)
    floor.advance(float(floor.profile.script_reload_seconds))
    floor.work_done()
    versions = []
    for _ in range(12):
        floor.turn()
        versions += [values[1] for code, values in game.play() if code == 9]
    assert versions == sorted(versions)
    assert versions[0] == 1
    assert versions[-1] == 2
    assert game.play()[-2][1][2] == 6 + 12 + 1  # nothing was counted twice, nothing was lost


def test_the_newest_of_several_changes_is_taken(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    for _ in range(20):
        game.play()
    floor.write(TWO.replace("{1: 2", "{1: 22"))
    floor.advance(1.0)
    floor.work_done()
    floor.turn()
    floor.turn()  # in the middle of its trial
    game.change(TWO.replace("{1: 2", "{1: 33"))
    assert game.play()[-2][1] == {1: 33, 2: 21}


def test_the_same_text_is_no_change(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    game.change(ONE)
    os.utime(floor.path(), ns=(1, 1))
    floor.looks_at_files()
    assert game.reloads == 0


def test_a_file_that_is_gone_changes_nothing(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    os.unlink(floor.path())
    floor.looks_at_files()
    assert game.play()[-2:] == [(9, {1: 1, 2: 1}), (5, {})]
    game.change(TWO)
    assert game.reloads == 1


def test_every_session_of_the_file_takes_it_up(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    other = floor.attach(floor.compiled(floor.path()), floor.path())
    game.change(TWO)
    assert game.reloads == floor.attached(other).reloads == 1


def test_a_new_session_does_not_hide_the_change_from_the_old_one(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    game.play()
    floor.write(TWO)
    other = floor.attach(floor.compiled(floor.path()), floor.path())  # before anyone has looked at the file
    floor.looks_at_files()
    assert (game.reloads, floor.attached(other).reloads) == (1, 0)
    assert game.play()[-2][1] == {1: 2, 2: 2}


def test_it_is_not_looked_at_where_the_profile_says_so() -> None:
    with ScriptFloor(script_reload_seconds=0) as floor:
        game = Game(floor, ONE)
        floor.write(TWO)
        floor.advance(10)
        floor.work_done()
        floor.advance(1)
        assert game.reloads == 0


# Not taken


BAD = {
    "syntax": ("def five(:\n", "script.py:1:10: "),
    "policy": ("import os\n", "script.py:1:1: "),
    "top level raises": ("x = {}['x']\n", "script.py line 1 in <module>: KeyError: 'x'"),
    "top level never ends": ("while True:\n    pass\n", "stopped: "),
    "on_reload raises": ("def on_reload(old_state):\n    old_state['none']\n", "line 2 in on_reload: KeyError: 'none'"),
    "fails on the last packets": (
        "def on_packet(packet):\n    return packet.data[99]\n",
        "on the session's last packets",
    ),
    "never ends on the last packets": (
        "def on_packet(packet):\n    while True:\n        pass\n",
        "on the session's last packets",
    ),
    "too long": ("#" * 100_000, "65,536"),
    "not text": ("x = '\udcff'", "UTF-8"),
}


@pytest.mark.parametrize("kind", BAD)
def test_the_old_one_stays_with_its_state(floor: ScriptFloor, kind: str) -> None:
    source, reason = BAD[kind]
    game = Game(floor, ONE)
    for _ in range(3):
        game.play()
    with open(floor.path(), "wb") as file:
        file.write(source.encode(errors="surrogateescape"))
    floor.looks_at_files()
    assert game.reloads == 0
    told = game.log("changed script not taken")
    assert told
    assert reason in told[0]
    heard = [each for each in game.play() if each[0] != 60]
    assert heard == [(9, {1: 1, 2: 4}), (5, {})]
    floor.advance(1)
    assert {each.op_code for each in game.blue.packets()} == {60}  # its timer runs on
    figures = floor.attached(game.session).figures()
    assert (figures["failures"], figures["strikes"], figures["state"]) == (0, 0, "running")
    game.change(TWO)
    assert game.reloads == 1
    assert game.play()[-2][1] == {1: 2, 2: 5}


def test_every_problem_is_told(floor: ScriptFloor) -> None:
    game = Game(floor, ONE)
    game.change("import os\n\nx.__class__\nexec('')\n")
    assert [line.count("script.py:") for line in game.log("changed script not taken")] >= [1, 1]


def test_one_that_hung_the_server_is_not_taken(floor: ScriptFloor) -> None:
    digest = floor.compiled(floor.write(TWO)).digest
    floor.scripts.files.quarantined[digest] = floor.path()
    game = Game(floor, ONE)
    game.change(TWO)
    assert game.reloads == 0
    assert "hung the server before" in game.log("changed script not taken")[0]


# Off, and back


LOOP = "def on_packet(packet):\n    while True:\n        pass\n"


def test_a_script_that_is_off_comes_back_when_its_file_changes(floor: ScriptFloor) -> None:
    game = Game(floor, LOOP)
    for _ in range(3):
        game.play()
    assert floor.attached(game.session).state == "off"
    floor.looks_at_files()
    assert floor.attached(game.session).state == "off"
    game.change(LOOP)  # the file is another, what it holds is not
    assert floor.attached(game.session).state == "off"
    game.change(ONE)
    assert floor.attached(game.session).state == "running"
    assert game.play()[-2:] == [(9, {1: 1, 2: 1}), (5, {})]


def test_one_switched_off_in_the_middle_of_a_trial_is_followed_by_the_new_one() -> None:
    with ScriptFloor(script_strikes=1) as floor:
        bad = "bad = False\n\ndef on_packet(packet):\n    while packet.op_code == 6:\n        pass\n"
        game = Game(floor, bad)
        for _ in range(10):
            game.play(5)
        floor.write(ONE)
        floor.advance(1.0)
        floor.work_done()
        floor.turn()
        floor.turn()
        game.play(6)
        assert floor.attached(game.session).state == "off"
        floor.turn()
        assert floor.attached(game.session).state == "running"
        assert game.play()[-2:] == [(9, {1: 1, 2: 1}), (5, {})]


def test_one_refused_at_first_begins_when_it_is_mended(floor: ScriptFloor) -> None:
    """As after a restart that the script had brought about."""
    session = floor.create()
    path = floor.write(LOOP)
    floor.scripts.leave_off(session, path, floor.now)
    red = floor.seat(session.players[0])
    blue = floor.seat(session.players[1])
    floor.write(ONE)
    floor.looks_at_files()
    red.put(floor.packet(5))
    assert [each.op_code for each in blue.packets() if each.op_code != 60] == [9, 5]


# What is handed over


def handed_over(source: str, *, players: tuple[int, ...] = ()) -> tuple[dict[str, Any], list[str], Play]:
    with Play(source) as play:
        play.connect(*players)
        state, left_out = state_of(play.guest, play.guest.handlers.players)
        return state, left_out, play


def test_plain_values_are_copied() -> None:
    state, left_out, _ = handed_over(
        """
        nothing, yes, number, real, text, raw = None, True, 5, 2.5, "x", b"y"
        nested = {"list": [1, (2, 3)], 4: {5, 6}, (7, 8): {}}
        _ = 5

        def function():
            pass

        class Kind:
            pass

        other = function
        """
    )
    assert state == {
        "nothing": None,
        "yes": True,
        "number": 5,
        "real": 2.5,
        "text": "x",
        "raw": b"y",
        "nested": {"list": [1, (2, 3)], 4: {5, 6}, (7, 8): {}},
    }
    assert left_out == []


def test_what_is_handed_over_is_no_longer_the_old_one_s() -> None:
    with Play("held = [[1]]\n\ndef on_packet(packet):\n    held[0].append(2)\n") as play:
        state, _ = state_of(play.guest, play.guest.handlers.players)
        play.feed(5)
        assert state["held"] == [[1]]


def test_players_become_those_of_the_new_one() -> None:
    with Play("players = {}\n\ndef on_player_connect(player):\n    players[player.peer_id] = [player]\n") as play:
        play.connect(1, 3)
        theirs = Play("").guest.handlers.players
        state, _ = state_of(play.guest, theirs)
        assert state == {"players": {1: [theirs[1]], 3: [theirs[3]]}}
        assert state["players"][1][0] is theirs[1]


def test_data_is_copied_and_can_be_changed() -> None:
    state, _, _ = handed_over(
        "data = session.new_data().set_number(1, 5)\ninside = session.new_data().set_data(2, data)[2]"
    )
    assert state["data"][1] == state["inside"][1] == 5
    state["inside"].set_number(1, 6)
    assert state["data"][1] == 5


@pytest.mark.parametrize(
    "value",
    [
        "Kind()",
        "[1, [Kind()]]",
        "{'x': Kind()}",
        "[f]",
        "session.get_logger()",
        "session.random",
        "session.new_request()",
        "[Kind]",
        "[i for i in range(30000)]",
    ],
)
def test_what_is_not_plain_is_left_out_and_named(value: str) -> None:
    state, left_out, _ = handed_over(
        f"class Kind:\n    pass\n\ndef f():\n    pass\n\nkept = 1\nodd = {value}\nlast = 2\n"
    )
    assert state == {"kept": 1, "last": 2}
    assert left_out == ["odd"]


def test_shapes_without_an_end_are_left_out() -> None:
    state, left_out, _ = handed_over(
        """
        first = 1
        cyclic = []
        cyclic.append(cyclic)
        deep = []
        for i in range(70):
            deep = [deep]
        i = 0
        shared = [1]
        for i in range(30):
            shared = [shared, shared]
        """
    )
    assert state["first"] == 1
    assert set(left_out) >= {"cyclic", "deep", "shared"}


def test_the_largest_state() -> None:
    fits = NODES_MAX // 2
    state, left_out, _ = handed_over(f"many = [i for i in range({fits})]\nmore = [i for i in range({fits})]\n")
    assert len(state["many"]) == fits
    assert left_out == ["more"]

"""Scripts and players on links, with the real server and the Python client.

What handlers see, what they send, how long a packet may be, and what is known of the way to a player."""

from __future__ import annotations

import queue
import time
from ast import literal_eval
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gsrt._core import Packet
from gsrt.cli.script_run import Replay
from gsrt.client import Data, Intent, Session
from gsrt.profile import Profile
from gsrt.scripts.compiler import compile_script
from gsrt.scripts.recording import read_recording
from tests.support.server import ServerProcess

DEADLINE = 15
SEEN = 16_000  # bytes of a packet that handlers are called for, in the generic profile


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server


class Game:
    """A session with a script, and its players: LEGS says who comes in by what."""

    def __init__(self, server: ServerProcess, folder: Path, source: str, *legs: bool, record: bool = False) -> None:
        self.server = server
        self.source = dedent(source)
        self.record = folder / "match.jsonl"
        script = folder / "script.py"
        script.write_text(self.source)
        self.table = server.create(len(legs), script=str(script), **({"record": str(self.record)} if record else {}))
        self.heard: list[queue.Queue[Packet]] = []
        self.players: list[Session] = []
        for seat, link in zip(self.table.seats, legs, strict=True):
            heard: queue.Queue[Packet] = queue.Queue()
            ready: queue.Queue[bool] = queue.Queue()
            player = Session("127.0.0.1", server.port, seat.token, on_data=heard.put, on_ready=ready.put, link=link)
            self.heard.append(heard)
            self.players.append(player)
            player.start_background()
            assert ready.get(timeout=DEADLINE)
            assert (player.leg == "link") is link

    def next(self, place: int) -> tuple[int, dict[int, Any]]:
        """OpCode and data of what that player hears next."""
        packet = self.heard[place].get(timeout=DEADLINE)
        return packet.op_code, {} if packet.data is None else packet.data.to_dict()

    def log(self) -> list[str]:
        """What the script has written."""
        entries = self.server.control({"do": "logs", "session": self.table.session_id})["entries"]
        return [each["text"] for each in entries]

    def logged(self, count: int) -> list[str]:
        """The same, when it is so many lines."""
        end = time.monotonic() + DEADLINE
        while len(lines := self.log()) < count:
            assert time.monotonic() < end, lines
            time.sleep(0.01)  # between two looks
        return lines

    def counter(self, name: str) -> int:
        return self.server.counters(self.table)[name]

    def end(self) -> None:
        for player in self.players:
            player.stop()
        if self.table.session_id in self.server.session_ids():
            self.server.end(self.table)

    def replayed(self) -> list[str]:
        """What the script writes when its recording is replayed."""
        self.end()
        recording = read_recording(str(self.record))
        replay = Replay(compile_script(self.source, "script.py"), recording, Profile.load("generic"))
        steps = list(replay.run())
        assert replay.ok
        return [step.text for step in steps if step.what == "info"]


Play = Callable[..., Game]


@pytest.fixture
def play(server: ServerProcess, tmp_path: Path) -> Iterator[Play]:
    games: list[Game] = []

    def play(source: str, *legs: bool, **options: bool) -> Game:
        games.append(Game(server, tmp_path, source, *legs, **options))
        return games[-1]

    yield play
    for each in games:
        each.end()


# What handlers see, and send


JUDGE = """
@session.on_packet(5)
def judge(packet):
    sender = packet.get_sender().peer_id
    session.send(6, {1: sender, 2: 1 if packet.is_reliable() else 0, 3: packet.data[1]}, reliable=packet.is_reliable())
    packet.data[2] = "seen"
    return packet.data[1] != 13
"""


@pytest.mark.parametrize("legs", [(True, True), (False, False), (True, False), (False, True)])
def test_packets_of_every_intent_are_seen_changed_and_stopped_whatever_the_leg(
    play: Play, legs: tuple[bool, bool]
) -> None:
    game = play(JUDGE, *legs)
    red, _ = game.players
    for number, intent in enumerate(Intent):
        red.send(5, intent, {1: number})
        told = (6, {1: 1, 2: int(intent in (Intent.RELIABLE, Intent.RELIABLE_UNORDERED)), 3: number})
        assert game.next(0) == told  # all: who has triggered it, too
        both = sorted([game.next(1), game.next(1)], key=lambda each: each[0])
        assert both == [(5, {1: number, 2: "seen"}), told]
        red.send(5, intent, {1: 13})
        assert game.next(0) == game.next(1) == (6, {1: 1, 2: told[1][2], 3: 13})
    red.send(7)
    assert game.next(1) == (7, {})  # and nothing between
    assert game.log() == []


def test_what_is_said_reliably_in_one_channel_comes_to_the_script_in_order(play: Play) -> None:
    game = play("@session.on_packet(5)\ndef five(packet):\n    print(packet.data[1])\n    return False\n", True)
    for number in range(15):
        game.players[0].send(5, Intent.RELIABLE, {1: number}, channel=3)
    assert game.logged(15) == [str(number) for number in range(15)]


def test_the_largest_packet_of_a_script_reaches_both_kinds_of_players(play: Play) -> None:
    game = play(
        """
        @session.on_packet(5)
        def five(packet):
            session.new_packet().set_op_code(6).set_reliable(True).set_payload(b"x" * 15990).send()
            try:
                session.new_packet().set_op_code(6).set_reliable(True).set_payload(b"x" * 16000).send()
            except ValueError as error:
                session.send(7, {1: error}, reliable=True)
        """,
        True,
        False,
    )
    game.players[0].send(5, peers=[0])
    for heard in game.heard:
        assert heard.get(timeout=DEADLINE).payload == b"x" * 15_990
    assert [game.next(place)[1][1] for place in (0, 1)] == ["a packet has at most 16000 bytes, not 16007"] * 2


# Longer packets, as only links carry them


LONG = bytes(range(256)) * 1000  # 256,000 bytes


def test_a_long_packet_goes_from_link_to_link_past_the_handlers_of_other_op_codes(play: Play) -> None:
    game = play("@session.on_packet(5)\ndef five(packet):\n    pass\n", True, True, False)
    red, _, _ = game.players
    assert red.send(8, payload=LONG) > len(LONG)
    assert game.heard[1].get(timeout=DEADLINE).payload == LONG
    red.send(9)
    assert game.next(2) == (9, {})
    assert game.counter("dropped_oversize") == 1  # the one who is not on a link has missed it


@pytest.mark.parametrize(
    "source", ["def on_packet(packet):\n    pass\n", "session.on_packet(5, lambda packet: None)\n"]
)
def test_a_handler_is_called_for_no_packet_longer_than_others_can_send(play: Play, source: str) -> None:
    """What scripts may use is meant for these: their gas, and their memory if they keep what players say."""
    game = play(source, True, True)
    red, _ = game.players
    red.send(5, payload=b"x" * (SEEN - 9))
    assert len(game.heard[1].get(timeout=DEADLINE).payload or b"") == SEEN - 9
    for _ in range(3):
        red.send(5, payload=LONG)
    red.send(5, payload=b"last")
    assert game.heard[1].get(timeout=DEADLINE).payload == b"last"
    assert game.counter("dropped_by_script") == 3
    (line,) = game.log()
    assert "bytes from player 1 are dropped: handlers are called for at most 16000 bytes" in line


def test_no_player_on_a_link_can_have_a_script_switched_off_by_long_packets(play: Play) -> None:
    """This one keeps the last lines, and looks at each letter: at 16,000 bytes that is within its budgets."""
    game = play(
        """
        lines = []

        def on_packet(packet):
            line = packet.data.get_string(1) or ""
            lines.append(line.upper())
            if len(lines) > 20:
                lines.pop(0)
            shouted = 0
            for letter in line:
                if letter == "!":
                    shouted += 1
        """,
        True,
        True,
    )
    red, _ = game.players
    for letter in "x!\U0001f600":
        for _ in range(10):
            red.send(5, data={1: "\U0001f600" + letter * (250_000 // len(letter.encode()))})
            red.send(5, data={1: "\U0001f600" + letter * (15_000 // len(letter.encode()))})
            red.send(6)
            while game.next(1)[0] != 6:
                pass
    assert game.counter("dropped_by_script") == 30
    (script,) = [one["script"] for one in game.server.control({"do": "status"})["perSession"] if "script" in one]
    assert (script["state"], script["strikes"], script["failures"]) == ("running", 0, 0)


def test_where_the_profile_says_so_handlers_see_long_packets_change_and_record_them(tmp_path: Path) -> None:
    with ServerProcess(overrides={"script_packet_bytes_max": 262_144}) as server:
        game = Game(
            server,
            tmp_path,
            """
            def on_packet(packet):
                packet.data[1] = len(packet.get_payload())
                print(packet.data[1])
            """,
            *(True, True, False),
            record=True,
        )
        red, _, _ = game.players
        red.send(8, payload=LONG)
        packet = game.heard[1].get(timeout=DEADLINE)
        assert (packet.payload, packet.data) == (LONG, Data({1: len(LONG)}))
        red.send(8, payload=b"short")
        assert game.next(2) == (8, {1: 5})  # the long one is not for TCP
        assert game.log() == ["256000", "5"]
        game.end()
        back = read_recording(str(game.record))
        assert [each.packet.payload for each in back.events if each.packet] == [LONG, b"short"]


# What is known of the way to a player


WAYS = """
def told(peer_id):
    quality = session.quality(peer_id)
    if quality is None:
        return None
    return quality.rtt_ms, quality.jitter_ms, quality.min_rtt_ms, quality.loss, quality.bandwidth

@session.on_packet(5)
def ask(packet):
    print([told(1), told(2), told(3)])
    session.send(6, {1: 0 if packet.get_sender().quality is None else 1}, peers=packet.get_sender(), reliable=True)

@session.every(50)
def look():
    for player in session.get_players():
        player.get_quality()
"""


def test_the_way_to_players_on_links_is_known_and_said_again_when_replayed(play: Play) -> None:
    game = play(WAYS, True, False, True, record=True)
    red, blue, _ = game.players
    end = time.monotonic() + DEADLINE
    known = 0
    while known < 20 or literal_eval(game.log()[-1])[2] is None:  # the third says nothing, and is known a little later
        assert time.monotonic() < end
        red.send(5, peers=[0])
        known += game.next(0)[1][1]
        blue.send(5, peers=[0])
        assert game.next(1) == (6, {1: 0})  # by TCP: nothing is
    lines = game.log()
    assert len(set(lines)) > 1  # it goes on being measured
    first, second, third = literal_eval(lines[-1])
    assert second is None
    for rtt, jitter, least, loss, bandwidth in (first, third):
        assert 0 <= least <= rtt < 10_000
        assert jitter >= 0
        assert 0 <= loss <= 1
        assert bandwidth > 0
    assert game.replayed() == lines


def test_a_player_who_comes_again_by_another_leg(play: Play) -> None:
    """What was known of the link is not said of the stream, though the script never saw the player go."""
    game = play(WAYS, True, record=True)
    (red,) = game.players
    end = time.monotonic() + DEADLINE
    known = 0
    while not known:
        assert time.monotonic() < end
        red.send(5, peers=[0])
        known = game.next(0)[1][1]
    ready: queue.Queue[bool] = queue.Queue()
    again = Session(
        "127.0.0.1",
        game.server.port,
        game.table.seats[0].token,
        on_data=game.heard[0].put,
        on_ready=ready.put,
        link=False,
    )
    game.players.append(again)
    again.start_background()
    assert ready.get(timeout=DEADLINE)
    red.stop()
    again.send(5, peers=[0])
    assert game.next(0) == (6, {1: 0})
    lines = game.log()
    assert lines[-1] == "[None, None, None]"
    assert game.replayed() == lines


def test_a_changed_script_is_tried_with_what_is_known(play: Play, tmp_path: Path) -> None:
    """It takes for granted that the way to its players is known, as it is; on trial it is, too."""
    game = play("def on_packet(packet):\n    print(packet.get_sender().quality is None)\n", True)
    (red,) = game.players
    end = time.monotonic() + DEADLINE
    while "False" not in game.log():
        assert time.monotonic() < end
        red.send(5, peers=[0])
        time.sleep(0.01)  # the link has something to measure
    source = """
    def on_packet(packet):
        session.send(6, {1: packet.get_sender().quality.rtt_ms}, reliable=True)
    """
    (tmp_path / "new.py").write_text(dedent(source))
    (tmp_path / "new.py").replace(tmp_path / "script.py")
    while game.heard[0].empty():
        assert time.monotonic() < end, game.server.log()
        red.send(5, peers=[0])
        time.sleep(0.01)  # between two tries
    assert game.next(0)[1][1] >= 0

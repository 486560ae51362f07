"""What scripts are told of the way to a player: when, for what gas and memory, and how a recording gives it back."""

from __future__ import annotations

import json
from io import StringIO
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.cli.script_run import Replay
from gsrt.scripts.compiler import compile_script
from gsrt.scripts.guest import QUALITY_GAS
from gsrt.scripts.quality import Quality, figures_of
from gsrt.scripts.recording import LATE_MS, Recorder, Recording, RecordingError, parse_recording
from gsrt.scripts.reload import Nowhere, Trial, state_of
from tests.relay.rig import profile
from tests.scripts.stage import Play

if TYPE_CHECKING:
    from gsrt.scripts.quality import Figures

GOOD: Figures = (41.25, 2.5, 38.0, 0.0125, 52_000)
BAD: Figures = (250.0, 90.0, 180.0, 0.3, 4_000)
LINK = {
    "rtt": 0.04125,
    "jitter": 0.0025,
    "min_rtt": 0.038,
    "loss": 0.0125,
    "bandwidth": 52_000.9,
    "rtt_variation": 0.01,
}
ASK = """
answers = []

def on_packet(packet):
    answers.append(packet.get_sender().quality)
"""


def described(quality: Quality | None) -> Figures | None:
    if quality is None:
        return None
    return (quality.rtt_ms, quality.jitter_ms, quality.min_rtt_ms, quality.loss, quality.bandwidth)


# From a link's estimates


def test_seconds_become_milliseconds() -> None:
    assert figures_of(LINK) == GOOD


def test_before_the_first_round_trip_nothing_is_known() -> None:
    assert figures_of(dict.fromkeys(LINK, 0.0)) is None


def test_the_shortest_round_trip_is_never_longer_than_the_mean() -> None:
    """The mean is without the time for which the other side has waited before it acknowledged."""
    figures = figures_of(LINK | {"rtt": 0.0004, "min_rtt": 0.0109})
    assert figures is not None
    assert (figures[0], figures[2]) == (0.4, 0.4)


# In a script


def test_what_is_asked_for_within_one_millisecond_is_the_same() -> None:
    with Play(ASK) as play:
        play.connect(1, 2)
        play.surroundings.known = {1: GOOD}
        play.feed(5)
        play.surroundings.known = {1: BAD}
        play.feed(5)
        play.advance(1)
        play.feed(5)
        play.feed(5, sender=2)
        answers = play.globals["answers"]
        assert [described(each) for each in answers] == [GOOD, GOOD, BAD, None]
        assert answers[0] is answers[1]
        assert play.surroundings.asked == [(1, 0), (1, 1), (2, 1)]


def test_of_who_is_not_here_nothing_is_known_and_nobody_is_asked() -> None:
    source = """
    def on_player_connect(player):
        print("came", player.quality is None, session.quality(2) is None)

    def on_player_disconnect(player):
        print("left", player.quality is None)

    print("top", session.quality(1), session.quality(77))
    """
    with Play(source, load=False) as play:
        play.surroundings.known = {1: GOOD, 2: GOOD}
        play.guest.load(play.surroundings.now)
        play.connect(1)
        play.disconnect(1)
        assert play.texts == ["top None None", "came False True", "left True"]
        assert play.surroundings.asked == [(1, 0)]


def test_a_player_who_comes_again_within_the_millisecond_is_asked_for_anew() -> None:
    with Play(ASK) as play:
        play.connect(1)
        play.surroundings.known = {1: GOOD}
        play.feed(5)
        play.disconnect(1)
        play.surroundings.known = {}
        play.connect(1)
        play.feed(5)
        assert [described(each) for each in play.globals["answers"]] == [GOOD, None]


def test_it_is_read_and_printed_but_not_written() -> None:
    source = """
    def on_packet(packet):
        quality = packet.get_sender().get_quality()
        print(quality, quality.loss * 100)
        quality.loss = 0
    """
    with Play(source) as play:
        play.connect(1)
        play.surroundings.known = {1: GOOD}
        play.feed(5)
        text, error = play.texts
        assert "0x" not in text
        assert text.endswith(" 1.25")
        assert error.startswith("opCode 5: test.py line 5 in on_packet: ")
        assert play.surroundings.known[1] == GOOD


def test_asking_takes_gas() -> None:
    with Play("def on_packet(packet):\n    while True:\n        session.quality(1)\n", script_gas=10_000) as play:
        play.connect(1)
        play.feed(5)
        assert play.guest.strikes == 1
        assert len(play.surroundings.asked) == 1
    with Play(
        f"def on_packet(packet):\n    for _ in range({10_000 // QUALITY_GAS}):\n        session.quality(1)\n",
        script_gas=10_000,
    ) as play:
        play.connect(1)
        play.feed(5)
        assert play.guest.strikes == 1


def test_answers_that_are_kept_count_as_held() -> None:
    with Play(ASK, script_memory_bytes=1 << 20) as play:
        play.connect(1)
        for number in range(20_000):
            play.surroundings.known = {1: (number + 0.5, number + 0.25, 1.5, 0.5, number * 1000)}
            play.advance(1)
            play.feed(5)
            if play.guest.is_off:
                break
        assert play.guest.is_off
        assert number > 500


def test_what_the_host_does_for_an_answer_is_not_the_scripts() -> None:
    """A recording's line, for instance: it must not fail because the script has used up its memory."""
    made: list[bytes] = []

    def known(peer_id: int, at: int) -> Figures | None:
        made.append(b"x" * 3_000_000)
        return GOOD

    with Play(ASK, script_memory_bytes=1 << 20) as play:
        play.connect(1)
        play.surroundings.quality = known  # type: ignore[method-assign]
        play.feed(5)
        assert [described(each) for each in play.globals["answers"]] == [GOOD]
        assert (play.guest.strikes, play.guest.failures) == (0, 0)


def test_it_is_handed_over_to_a_changed_script() -> None:
    with Play(ASK) as play:
        play.connect(1)
        play.surroundings.known = {1: GOOD}
        play.feed(5)
        state, left_out = state_of(play.guest, play.guest.handlers.players)
        assert (described(state["answers"][0]), left_out) == (GOOD, [])


def test_a_trial_knows_what_the_session_knows() -> None:
    asked: list[int] = []

    def known(peer_id: int) -> Figures | None:
        asked.append(peer_id)
        return GOOD

    with Play("def on_packet(packet):\n    pass\n") as play:
        play.connect(1)
        play.feed(5)

        def make(_: object, nowhere: Nowhere) -> Any:
            new = Play("def on_packet(packet):\n    packet.get_sender().quality.rtt_ms\n", load=False).guest
            new._surroundings = nowhere
            return new

        trial = Trial(make, play.guest.compiled, play.guest, known)
        steps = 0
        while not trial.step(play.surroundings.now):
            steps += 1
        assert (steps, asked) == (1, [1])


# In a recording


def recording(*lines: dict[str, Any]) -> Recording:
    return parse_recording("\n".join(map(json.dumps, lines)).encode())


def quality(at: float, peer: int, rtt: float | None = None) -> dict[str, Any]:
    return {"at": at, "quality": {"peer": peer} if rtt is None else {"peer": peer, "rttMs": rtt}}


FIGURES = st.tuples(*[st.floats(0, 10**6)] * 3, st.floats(0, 1), st.integers(0, 2**63 - 1))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([1, 2]), st.none() | FIGURES), max_size=8))
def test_what_is_written_is_read_again(answers: list[tuple[int, int, Figures | None]]) -> None:
    answers.sort(key=lambda each: each[0])
    text = StringIO()
    recorder = Recorder(text, session_id="s", seed=1, players={1: "anna", 2: "ben"})
    for at, peer, figures in answers:
        recorder.quality(at, peer, figures)
    recorder.close(10**7)
    back = parse_recording(text.getvalue().encode())
    assert [event.kind for event in back.events] == ["pass"]
    for peer in (1, 2):
        assert back.qualities.get(peer, []) == [(at, figures) for at, which, figures in answers if which == peer]


def test_a_line_as_it_is_written() -> None:
    text = StringIO()
    recorder = Recorder(text, session_id="s", seed=1, players={1: "anna"})
    recorder.quality(40, 1, GOOD)
    recorder.quality(40, 1, None)
    assert text.getvalue().splitlines()[1:] == [
        '{"at": 40, "quality": {"peer": 1, "rttMs": 41.25, "jitterMs": 2.5, "minRttMs": 38.0, "loss": 0.0125, '
        '"bandwidth": 52000}}',
        '{"at": 40, "quality": {"peer": 1}}',
    ]


def test_what_is_left_out_of_a_line_written_by_hand() -> None:
    back = recording({"quality": {"peer": 1, "rttMs": 80}}, {"at": 5, "packet": {"opCode": 1, "sender": 2}})
    assert back.quality(1, 0) == (80, 0, 80, 0, 0)
    assert back.players == {1: "player1", 2: "player2"}
    assert [(event.kind, event.peer) for event in back.events] == [("connect", 2), ("packet", 2)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, 'quality: expected an object such as {"peer": 1, "rttMs": 41.5}'),
        (
            {"peer": 1, "rtt": 5},
            "'rtt' is nothing that a quality has; expected peer, rttMs, jitterMs, minRttMs, loss, ",
        ),
        ({}, "peer: expected a whole number from 1 to 255, not None"),
        ({"peer": True}, "peer: expected a whole number from 1 to 255, not True"),
        ({"peer": 1, "loss": 0}, "rttMs: expected a number from 0 to 1000000, not None"),
        ({"peer": 1, "rttMs": -1}, "rttMs: expected a number from 0 to 1000000, not -1"),
        ({"peer": 1, "rttMs": 10**400}, "rttMs: expected a number from 0 to 1000000, not 1000"),
        ({"peer": 1, "rttMs": 5, "jitterMs": "5"}, "jitterMs: expected a number from 0 to 1000000, not '5'"),
        ({"peer": 1, "rttMs": 5, "loss": 1.5}, "loss: expected a number from 0 to 1, not 1.5"),
        ({"peer": 1, "rttMs": 5, "loss": False}, "loss: expected a number from 0 to 1, not False"),
        ({"peer": 1, "rttMs": 5, "bandwidth": 1.5}, "bandwidth: expected a whole number from 0 to "),
        ({"peer": 9, "rttMs": 5}, "quality: there is no player 9; expected one of 1"),
    ],
)
def test_a_wrong_one_says_what_was_expected(value: object, text: str) -> None:
    with pytest.raises(RecordingError) as caught:
        recording({"players": {"1": "anna"}}, {"quality": value})
    ((line, told),) = caught.value.problems
    assert line == 2
    assert told.startswith(text)


def test_the_answer_is_that_of_the_time_or_of_a_timer_that_was_late_or_the_last() -> None:
    back = recording(
        quality(1000, 1, 10), quality(1003, 1, 20), quality(1003, 2, 99), quality(2000, 1), quality(3000, 1, 30)
    )
    assert back.quality(1, 1000) == back.quality(1, 1000 - LATE_MS) == (10, 0, 10, 0, 0)
    assert back.quality(1, 999 - LATE_MS) is None
    for at in (1001, 1003, 1004, 1999 - LATE_MS):
        assert back.quality(1, at) == (20, 0, 20, 0, 0)
    assert back.quality(1, 2000) is back.quality(1, 2000 - LATE_MS) is back.quality(1, 2500) is None
    assert back.quality(1, 10**9) == (30, 0, 30, 0, 0)
    assert back.quality(3, 1000) is None


def test_a_replay_gives_it_back() -> None:
    source = """
    def on_packet(packet):
        print("packet", session.quality(1).rtt_ms, session.quality(2))

    @session.every(500)
    def tick():
        quality = session.quality(1)
        print("tick", None if quality is None else quality.rtt_ms)
    """
    back = recording(
        {"players": {"1": "anna", "2": "ben"}},
        {"at": 0, "connect": 1},
        {"at": 0, "connect": 2},
        quality(502, 1, 10),  # a timer that has run late
        {"at": 600, "packet": {"opCode": 1, "sender": 2}},
        quality(600, 1, 20.5),
        {"at": 800, "disconnect": 1},
        {"at": 1000},
    )
    replay = Replay(compile_script(dedent(source), "test.py"), back, profile())
    assert [step.as_text() for step in replay.run()] == [
        "500 ms  info tick 10.0",
        "600 ms  info packet 20.5 None",
        "1000 ms  info tick None",
    ]

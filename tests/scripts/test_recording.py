"""Recordings: what is written can be read again, exactly; what is wrong is named by its line."""

from __future__ import annotations

import json
import math
import queue
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt._core import Data, Float32, Packet
from gsrt.cli.script_run import Replay
from gsrt.client import Intent, Session
from gsrt.profile import Profile
from gsrt.scripts import recording
from gsrt.scripts.compiler import compile_script
from gsrt.scripts.recording import Recorder, Recording, RecordingError, parse_recording, read_recording
from tests.core.strategies import INT32, MODELS, bits, build, read
from tests.scripts.stage import Play
from tests.support.server import ServerProcess

PLAYERS = {1: "anna", 2: "ben", 7: "Zoë 木"}
PEERS = st.sampled_from(list(PLAYERS))
PACKETS = st.builds(
    Packet,
    st.integers(1, 2**31 - 1),
    sender=PEERS,
    reliable=st.booleans(),
    targets=st.lists(PEERS | INT32, max_size=4),
    data=st.none() | MODELS.map(build),
    payload=st.none() | st.binary(max_size=100),
)
SEEDS = st.integers(0, 2**64 - 1)
TIMES = st.integers(0, 10**6) | st.floats(0, 10**6)


def written(packets: list[tuple[float, Packet]], seed: int = 1) -> str:
    """A recording in which all players connect at once and then PACKETS come."""
    text = StringIO()
    recorder = Recorder(text, session_id="7f3a", seed=seed, players=PLAYERS)
    for peer in PLAYERS:
        recorder.connect(0, peer)
    for at, packet in packets:
        recorder.packet(at, packet.sender, packet.encode(), bool(packet.reliable))
    recorder.close(10**7)
    return text.getvalue()


def lines(*values: object) -> bytes:
    return "\n".join(value if isinstance(value, str) else json.dumps(value) for value in values).encode()


def packets_of(read_back: Recording) -> list[Packet]:
    return [event.packet for event in read_back.events if event.packet is not None]


def problems(content: bytes) -> list[tuple[int, str]]:
    with pytest.raises(RecordingError) as caught:
        parse_recording(content, "file")
    return caught.value.problems


def problem(*values: object) -> str:
    """The one thing that is wrong with the last of these lines."""
    ((line, text),) = problems(lines(*values))
    assert line == len(values)
    return text


# There and back


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TIMES, PACKETS), max_size=6), SEEDS)
def test_what_is_written_is_read_again_to_the_bit(packets: list[tuple[float, Packet]], seed: int) -> None:
    packets.sort(key=lambda each: each[0])
    back = parse_recording(written(packets, seed).encode())
    assert (back.session_id, back.seed, back.players) == ("7f3a", seed, PLAYERS)
    assert [event.kind for event in back.events] == ["connect"] * 3 + ["packet"] * len(packets) + ["pass"]
    assert [event.at for event in back.events if event.packet] == [int(at) for at, _ in packets]
    for came, (_, sent) in zip(packets_of(back), packets, strict=True):
        for name in ("op_code", "sender", "reliable", "targets", "payload"):
            assert getattr(came, name) == getattr(sent, name)
        assert (came.data is None) == (sent.data is None)
        if came.data is not None and sent.data is not None:
            assert bits(read(came.data)) == bits(read(sent.data))


def test_numbers_that_json_has_no_word_for_survive() -> None:
    data = Data({1: math.inf, 2: Float32(-math.inf), 3: (math.nan, 0.5), 4: -0.0, 5: math.nan})
    (packet,) = packets_of(parse_recording(written([(1, Packet(5, sender=1, data=data))]).encode()))
    assert packet.data is not None
    assert repr(packet.data.to_dict()) == repr(data.to_dict())


def test_text_that_is_no_utf8_survives() -> None:
    data = Data().set_string(1, b"\xff\xc3\xa4\xed\xa0\x80")
    (packet,) = packets_of(parse_recording(written([(1, Packet(5, sender=1, data=data))]).encode()))
    assert packet.data is not None
    assert packet.data.get_bytes(1) == b"\xff\xc3\xa4\xed\xa0\x80"


def test_a_file_is_written_and_read(tmp_path: Path) -> None:
    path = str(tmp_path / "match.jsonl")
    recorder = Recorder(path, session_id="s", seed=3, players={1: "anna"})
    recorder.connect(0.0, 1)
    packet = Packet(5, sequence=9, targets=(1,), data={1: 5, 2: Float32(1.5)}, payload=b"\0")
    recorder.packet(20.5, 1, packet.encode(), True)
    recorder.disconnect(60.0, 1)
    recorder.connect(59.9, 1)  # a clock that differs by a rounding
    recorder.close(900.0)
    assert Path(path).read_text() == (
        '{"session": "s", "seed": 3, "players": {"1": "anna"}}\n'
        '{"at": 0, "connect": 1}\n'
        '{"at": 20, "packet": {"opCode": 5, "sender": 1, "reliable": true, "targets": [1], '
        '"data": {"1": 5, "2": {"float": 1.5}}, "payload": "AA=="}}\n'
        '{"at": 60, "disconnect": 1}\n'
        '{"at": 60, "connect": 1}\n'
        '{"at": 900}\n'
    )
    back = read_recording(path)
    assert [(event.at, event.kind, event.peer) for event in back.events] == [
        *((0, "connect", 1), (20, "packet", 1), (60, "disconnect", 1), (60, "connect", 1), (900, "pass", 0))
    ]


def test_times_are_those_that_the_script_saw() -> None:
    """To the millisecond, however near the next one a packet comes."""
    noted: list[int] = []
    with Play("def on_packet(packet):\n    print(session.now_ms)") as play:
        play.guest.handlers.recorder = lambda at, *_: noted.append(at)
        began = play.surroundings.now
        for part in range(999_980, 1_000_020):  # ten thousandths of a millisecond
            play.surroundings.now = began + part / 1e7
            play.feed(1)
        seen = [int(text) for text in play.texts]
    assert noted == seen
    assert {99, 100} == set(seen)


def test_a_recorder_stops_at_its_largest_size_with_whole_lines() -> None:
    text = StringIO()
    recorder = Recorder(text, session_id="s", seed=1, players={1: "anna"}, bytes_max=100)
    for at in range(10):
        recorder.packet(at, 1, Packet(5).encode(), False)
    assert recorder.stopped == "the recording has reached its largest size"
    assert len(text.getvalue()) <= 100
    assert text.getvalue().endswith("}\n")


def test_a_full_disk_stops_the_recorder_and_nothing_else() -> None:
    recorder = Recorder("/dev/full", session_id="s", seed=1, players={1: "anna"})
    for at in range(1000):
        recorder.packet(at, 1, Packet(5).encode(), False)
    recorder.close(1000)
    assert recorder.stopped == "the recording cannot be written: No space left on device"


def test_a_file_that_cannot_be_made_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Recorder(str(tmp_path / "no" / "file"), session_id="s", seed=1, players={1: "anna"})


# Written by hand


def test_a_list_of_packets_is_a_recording() -> None:
    back = parse_recording(
        lines({"packet": {"opCode": 1, "sender": 2}}, "", {"packet": {"opCode": 3, "sender": 5, "targets": [9, 0]}})
    )
    assert back.players == {2: "player2", 5: "player5", 9: "player9"}
    first, second = packets_of(back)
    assert (first.op_code, first.sender, first.reliable, first.targets, first.data) == (1, 2, False, (), None)
    assert [(event.at, event.kind, event.peer) for event in back.events] == [
        *((0, "connect", 2), (0, "connect", 5), (0, "packet", 2), (0, "packet", 5))
    ]
    assert second.targets == (9, 0)


def test_who_is_connected_by_an_event_comes_then() -> None:
    back = parse_recording(
        lines(
            {"at": 10, "packet": {"opCode": 1, "sender": 1}},
            {"at": 20, "connect": 2},
            {"packet": {"opCode": 1, "sender": 2}},
            {"at": 30, "disconnect": 1},
            {"at": 40, "connect": 1},
            {"packet": {"opCode": 1, "sender": 1}},
        )
    )
    assert [(event.at, event.kind, event.peer) for event in back.events] == [
        *((0, "connect", 1), (10, "packet", 1), (20, "connect", 2), (20, "packet", 2)),
        *((30, "disconnect", 1), (40, "connect", 1), (40, "packet", 1)),
    ]


@pytest.mark.parametrize(
    ("value", "kind", "content"),
    [
        (5, "long", 5),
        (-(2**63), "long", -(2**63)),
        (2.0, "double", 2.0),
        ({"double": 2}, "double", 2.0),
        ({"double": "nan"}, "double", math.nan),
        ({"float": 1.5}, "float", 1.5),
        ({"float": "-inf"}, "float", -math.inf),
        ("text", "string", "text"),
        ([], "vector", ()),
        ([1, 2.5, 3, 4], "vector", (1.0, 2.5, 3.0, 4.0)),
        ({"data": {"7": [1]}}, "data", {7: (1.0,)}),
    ],
)
def test_values_have_the_type_that_is_written(value: object, kind: str, content: object) -> None:
    (packet,) = packets_of(parse_recording(lines({"packet": {"opCode": 1, "sender": 1, "data": {"127": value}}})))
    assert packet.data is not None
    assert packet.data.kind(127) == kind
    assert repr(packet.data.to_dict()[127]) == repr(content)


# What is wrong


def test_every_wrong_line_is_named_at_once() -> None:
    content = lines({"session": "s"}, {"connect": 0}, {"connect": 1}, "{", {"at": 3, "disconect": 1})
    assert [line for line, _ in problems(content)] == [2, 4, 5]
    with pytest.raises(RecordingError) as caught:
        parse_recording(content, "match.jsonl")
    assert str(caught.value).splitlines()[0] == ("match.jsonl:2: connect: expected a whole number from 1 to 255, not 0")


def test_at_most_so_many_wrong_lines_are_named() -> None:
    found = problems(b"x\n" * 100)
    assert [line for line, _ in found] == [*range(1, recording.PROBLEMS_MAX + 1), 0]


def packet(**changes: object) -> dict[str, object]:
    return {"packet": {"opCode": 1, "sender": 1, **changes}}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("[]", 'expected a JSON object such as {"at": 20, "connect": 1}'),
        ("{'at': 1}", "expected a JSON object: "),
        ('{"at": 1, "at": 2}', "'at' is there twice; expected it once"),
        ('{"at": NaN}', 'NaN: expected a number; "inf", "-inf" and "nan" are written as texts'),
        ("[" * 100_000, "nested too deep"),
        ("1" * 10_000, "expected a JSON object: "),
        (b'{"session": "\xff"}'.decode(errors="surrogateescape"), "expected UTF-8"),
        ({}, 'expected one of connect, disconnect, packet, quality, or {"at": ...} alone'),
        ({"at": -1}, "at: expected milliseconds from 0 to 10000000000, not -1"),
        ({"at": True}, "at: expected milliseconds"),
        ({"at": "1"}, "at: expected milliseconds from 0 to 10000000000, not '1'"),
        ({"at": 1, "connect": 1, "disconnect": 1}, "connect, disconnect in one line; expected one of them"),
        ({"conect": 1}, "'conect' is nothing that an event has; expected at, connect, disconnect, packet"),
        ({"connect": 256}, "connect: expected a whole number from 1 to 255, not 256"),
        ({"connect": "anna"}, "connect: expected a whole number from 1 to 255, not 'anna'"),
        ({"session": "s", "at": 1}, "'at' is nothing that the first line has; expected session, seed, players"),
        ({"session": ""}, "session: expected a text of 1 to 128 characters"),
        ({"seed": -1}, "seed: expected a whole number from 0 to "),
        ({"players": []}, 'players: expected an object such as {"1": "anna", "2": "ben"}'),
        ({"players": {"0": "anna"}}, "players: '0' is not a peer id; expected a number from 1 to 255 as text"),
        ({"players": {"01": "anna"}}, "players: '01' is not a peer id"),
        ({"players": {"1": 5}}, "players: expected a name of 1 to 128 characters for 1"),
        ({"packet": []}, 'packet: expected an object such as {"opCode": 1, "sender": 1}'),
        ({"packet": {"opCode": 1}}, "packet: sender is missing"),
        ({"packet": {"sender": 1}}, "packet: opCode is missing"),
        (packet(opCode=0), "opCode: expected a whole number from 1 to 2147483647, not 0"),
        (packet(opCode=1.0), "opCode: expected a whole number from 1 to 2147483647, not 1.0"),
        (packet(sender=0), "sender: expected a whole number from 1 to 255, not 0"),
        (packet(reliable=1), "reliable: expected true or false"),
        (packet(targets=1), "targets: expected a list of at most "),
        (packet(targets=[1] * 1000), "targets: expected a list of at most "),
        (packet(targets=["1"]), "targets: expected a whole number from -2147483648 to 2147483647, not '1'"),
        (packet(payload=5), "payload: expected a text in base64"),
        (packet(payload="a"), "payload: expected base64: "),
        (packet(payload="ä==="), "payload: expected base64: "),
        (packet(text="x"), "'text' is nothing that a packet has; expected opCode, sender, reliable, targets, data, "),
        (packet(data=[1]), "data: expected an object of slots"),
        (packet(data={"0": 1}), "data: '0' is not a slot; expected a number from 1 to 127 as text"),
        (packet(data={"128": 1}), "data: '128' is not a slot"),
        (packet(data={"x": 1}), "data: 'x' is not a slot"),
        (packet(data={"1": None}), "data 1: expected a number, a text, a list of up to 4 numbers, "),
        (packet(data={"1": True}), "data 1: expected a number, a text"),
        (packet(data={"1": {"int": 1}}), "data 1: expected a number, a text"),
        (packet(data={"1": 2**63}), "data 1: expected a whole number of 64 bits"),
        (packet(data={"1": {"float": 1e39}}), "data 1: "),
        (packet(data={"1": {"float": "1"}}), "data 1: expected a number, not '1'"),
        (packet(data={"1": {"double": 10**400}}), "data 1: "),
        (packet(data={"1": [1, 2, 3, 4, 5]}), "data 1: a vector has"),
        (packet(data={"1": ["x"]}), "data 1: expected a number, not 'x'"),
        (packet(data={"1": "\ud800"}), "data 1: "),
        (packet(data={"1": {"data": {"2": None}}}), "data 1 2: expected a number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_line_says_what_was_expected(line: object, text: str) -> None:
    content = line.encode(errors="surrogateescape") if isinstance(line, str) else lines(line)
    ((number, told),) = problems(content)
    assert number == 1
    assert told.startswith(text)


def test_data_is_nested_as_deep_as_on_the_wire() -> None:
    def nested(depth: int) -> dict[str, object]:
        value: dict[str, object] = {"1": 1}
        for _ in range(depth - 1):
            value = {"1": {"data": value}}
        return packet(data=value)

    parse_recording(lines(nested(32)))
    assert "nested" in problem(nested(33))


HEAD = {"players": {"1": "anna", "2": "ben"}}


def test_who_takes_part_is_who_the_first_line_names() -> None:
    assert problem(HEAD, {"connect": 3}) == "connect: there is no player 3; expected one of 1, 2"
    assert problem(HEAD, {"connect": 1}, packet(sender=3)) == "sender: there is no player 3; expected one of 1, 2"


def test_who_is_not_connected_sends_nothing() -> None:
    expected = 'peer 1 is not connected; expected {"connect": 1} before'
    assert problem(HEAD, packet()) == expected
    assert problem(HEAD, {"disconnect": 1}) == expected
    assert problem({"connect": 1}, {"disconnect": 1}, packet()) == expected
    assert problem({"connect": 1}, {"connect": 1}) == "connect: peer 1 is connected already"


def test_time_does_not_go_back() -> None:
    assert (
        problem({"at": 20, "connect": 1}, {"at": 19.5}) == "at: 19.5 ms is before the line above; expected 20 or more"
    )


def test_the_first_line_is_the_first() -> None:
    assert problem({"at": 1}, HEAD) == "session, seed, players stand in the first line only"


def test_files_that_are_no_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecordingError, match="nowhere: cannot be read: No such file or directory"):
        read_recording(str(tmp_path / "nowhere"))
    assert problems(b"\n \n") == [(0, 'is empty; expected a line such as {"packet": {"opCode": 1, "sender": 1}}')]
    monkeypatch.setattr(recording, "FILE_BYTES_MAX", 10)
    assert problems(b" " * 11) == [(0, "is larger than 10 bytes; expected a shorter session")]
    with pytest.raises(RecordingError, match="is larger than 10 bytes"):
        read_recording("/dev/zero")
    monkeypatch.undo()
    monkeypatch.setattr(recording, "LINE_BYTES_MAX", 10)
    assert problems(b'{"connect": 1}') == [(1, "14 bytes in a line; expected at most 10")]


# Of a real session


ECHO = """
def on_player_connect(player):
    session.send(1, {1: player.player_id, 2: session.now_ms, 3: session.random.randint(1, 10**9)}, reliable=True)

def on_player_disconnect(player):
    print("bye", player.player_id, session.now_ms)

@session.on_packet(5)
def echo(packet):
    packet.data[9] = session.random.random()
    session.send(6, packet.data, reliable=True)
    return packet.is_reliable()
"""


def test_a_real_session_can_be_replayed_to_the_last_value(tmp_path: Path) -> None:
    script, record = tmp_path / "echo.py", tmp_path / "match.jsonl"
    script.write_text(ECHO)
    sent: dict[int, Any] = {1: 5, 2: Float32(0.1), 3: 0.1, 4: "text", 5: (1.5, 0.1), 6: {7: "inner"}}
    packets: queue.Queue[Packet] = queue.Queue()
    came: list[Packet] = []
    with ServerProcess() as server:
        words = {"do": "session.create", "players": ["anna", "ben"], "script": str(script), "record": str(record)}
        made = server.control(words)
        client = Session("127.0.0.1", server.port, made["players"][0]["accessToken"], on_data=packets.put)
        client.start_background()
        came.append(packets.get(timeout=10))
        for intent in (Intent.RELIABLE, Intent.UNRELIABLE, Intent.RELIABLE):
            client.send(5, intent, sent, b"\0\xff")
            came.append(packets.get(timeout=10))
        client.stop()
        server.control({"do": "session.end", "sessionId": made["sessionId"]})
    back = read_recording(str(record))
    assert (back.session_id, back.players) == (made["sessionId"], {1: "anna", 2: "ben"})
    assert [event.kind for event in back.events][:4] == ["connect", "packet", "packet", "packet"]
    replay = Replay(compile_script(ECHO, "echo.py"), back, Profile.load("generic"))
    steps = list(replay.run())
    assert replay.ok
    sends = [step.details["packet"] for step in steps if step.what == "send"]
    assert [each["opCode"] for each in sends] == [1, 6, 6, 6]
    assert [each["data"] for each in sends] == [recording.data_to_json(each.data) for each in came if each.data]
    assert [step.what for step in steps if step.what in ("cancel", "change")] == ["change", "cancel", "change"]

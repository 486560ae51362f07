"""The image that outlives the program: what is written is read back, and nothing else is ever taken for it."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import socket
import sys
from binascii import crc32
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsrt import resume
from gsrt.log import Log
from gsrt.resume import (
    QUARANTINED_MAX,
    RESTARTS_MAX,
    RESTARTS_SECONDS,
    VARIABLE,
    Damaged,
    Hung,
    Image,
    Resumed,
    SavedSession,
    read_image,
    script_tag,
    write_image,
)
from gsrt.session import EXPECTED, KICKED, PLAYER_ID_CHARACTERS_MAX, Session
from tests.relay.floor import Floor

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Logged:
    """A log to look into."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.log = Log(self.text, lambda: 0.0)

    def lines(self, start: str) -> int:
        return sum(line.startswith(start) for line in self.text.getvalue().splitlines())


@pytest.fixture(autouse=True)
def children_are_left_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of other tests are children of this process."""
    monkeypatch.setattr(resume, "_bury_children", lambda **_: None)


@pytest.fixture
def logged() -> Logged:
    return Logged()


@pytest.fixture
def memory() -> Iterator[Callable[[str], int]]:
    """Makes memory files."""
    made = []

    def make(name: str = "gsrt-image") -> int:
        made.append(os.memfd_create(name))
        return made[-1]

    yield make
    for descriptor in made:
        os.close(descriptor)


@pytest.fixture
def floors() -> Iterator[Callable[[], Floor]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Floor())


def image_of(logged: Logged, descriptor: int) -> Image:
    resumed = Resumed()
    resumed.image = descriptor
    return Image(logged.log, resumed)


def told(session: Session) -> tuple[object, ...]:
    """What the image is to tell of a session."""
    return (
        session.session_id,
        session.began,
        session.lasting,
        session.script,
        [
            (each.player_id, each.peer_id, each.access_token, each.reconnect_token, each.state == KICKED)
            for each in session.players
        ],
    )


def read_back(saved: SavedSession) -> tuple[object, ...]:
    return (
        saved.session_id,
        saved.began,
        saved.lasting,
        saved.script,
        [
            (each.player_id, each.peer_id, each.access_token, each.reconnect_token, each.kicked)
            for each in saved.players
        ],
    )


# what is kept

player_ids = st.lists(st.text(min_size=1, max_size=PLAYER_ID_CHARACTERS_MAX), min_size=1, max_size=8, unique=True)


@QUICK
@given(
    wanted=st.lists(
        st.tuples(player_ids, st.booleans(), st.none() | st.text(max_size=40), st.booleans(), st.booleans()), max_size=6
    ),
    began=st.floats(min_value=0, max_value=1e9),
)
def test_what_is_written_is_read_back_and_restored(
    wanted: list[tuple[list[str], bool, str | None, bool, bool]], began: float
) -> None:
    logged = Logged()
    with ExitStack() as stack:
        floor, later = stack.enter_context(Floor()), stack.enter_context(Floor())
        image = Image(logged.log, Resumed())
        stack.callback(image.close)
        image.quarantined["d" * 64] = "/games/ä\udcff.py"
        floor.house.changed = image.changed
        for players, lasting, script, kicked, ended in wanted:
            session = floor.sessions.create(players, began, lasting=lasting)
            session.script = script
            if kicked:
                session.players[-1].kick(began)
            if ended:
                session.end("over")
        image.keep_current()
        assert not image.stale
        saved, quarantined = read_image(image.descriptor)
        assert quarantined == image.quarantined
        assert list(map(read_back, saved)) == list(map(told, floor.sessions))
        for each in saved:
            later.sessions.restore(each, began)
        assert list(map(told, later.sessions)) == list(map(told, floor.sessions))
        assert len(later.tokens) == len(floor.tokens)
        for session in later.sessions:
            for player in session.players:
                assert player.state in (EXPECTED, KICKED)
                for token in (player.access_token, player.reconnect_token):
                    assert later.tokens.find(token) is (None if player.state == KICKED else player)


def test_it_is_written_only_when_something_has_changed(logged: Logged, floors: Callable[[], Floor]) -> None:
    floor = floors()
    image = Image(logged.log, Resumed())
    try:
        image.keep_current()
        floor.house.changed = image.changed
        assert not image.stale
        first, second = floor.sessions.create(["red", "blue"], 0.0), floor.sessions.create(["green"], 0.0)
        assert image.stale
        image.keep_current()
        assert len(read_image(image.descriptor)[0]) == 2
        first.players[1].kick(0.0)
        assert image.stale
        image.keep_current()
        assert [each.kicked for each in read_image(image.descriptor)[0][0].players] == [False, True]
        second.end("over")
        assert image.stale
        image.keep_current()
        assert [each.session_id for each in read_image(image.descriptor)[0]] == [first.session_id]
    finally:
        image.close()


def test_a_restored_session_ends_when_nobody_comes(logged: Logged, floors: Callable[[], Floor]) -> None:
    floor = floors()
    image = Image(logged.log, Resumed())
    floor.house.changed = image.changed
    floor.sessions.create(["red"], 0.0)
    floor.sessions.create(["green"], 0.0, lasting=True)
    image.keep_current()
    saved, _ = read_image(image.descriptor)
    image.close()
    later = floors()
    for each in saved:
        later.sessions.restore(each, 100.0)
    later.timers.run(100.0 + later.profile.session_unused_seconds)
    assert [session.lasting for session in later.sessions] == [True]
    assert len(later.tokens) == 2


def test_an_image_that_cannot_be_written_costs_no_turn(logged: Logged) -> None:
    image = image_of(logged, os.open(os.devnull, os.O_RDONLY))
    image.keep_current()
    assert not image.stale
    assert logged.lines("error image") + logged.lines('error "a restart') + logged.lines("error a restart") == 1
    image.close()


def test_without_memory_files_a_server_still_restarts(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(os, "memfd_create", refuse)
    image = Image(logged.log, Resumed())
    image.keep_current()
    _, _, environment = image.restart_command({"listener": -1, "datagrams": -1})
    variable = environment[-1].decode().partition("=")[2]
    resumed = Resumed.from_environment({VARIABLE: variable}, 1.0, logged.log)
    assert (resumed.sessions, resumed.sockets, resumed.hung) == (None, None, None)
    image.close()


# what is damaged


def a_sound_image(floor: Floor, logged: Logged, descriptor: int) -> bytes:
    """Of two sessions; as bytes."""
    image = image_of(logged, descriptor)
    os.close(image.note)
    floor.house.changed = image.changed
    floor.sessions.create(["red", "blue"], 1.5)
    floor.sessions.create(["green"], 2.5, lasting=True)
    image.keep_current()
    return os.pread(descriptor, 1 << 20, 0)


def put(descriptor: int, data: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)


def test_every_truncation_is_noticed(logged: Logged, floors: Callable[[], Floor], memory: Callable[[], int]) -> None:
    descriptor = memory()
    whole = a_sound_image(floors(), logged, descriptor)
    assert len(read_image(descriptor)[0]) == 2
    for size in range(len(whole)):
        put(descriptor, whole[:size])
        with pytest.raises(Damaged):
            read_image(descriptor)
        put(descriptor, whole[:size] + bytes(len(whole) - size))
        with pytest.raises(Damaged):
            read_image(descriptor)


def test_every_changed_byte_is_noticed(logged: Logged, floors: Callable[[], Floor], memory: Callable[[], int]) -> None:
    descriptor = memory()
    whole = a_sound_image(floors(), logged, descriptor)
    for position in range(len(whole)):
        put(descriptor, whole[:position] + bytes((whole[position] ^ 0x20,)) + whole[position + 1 :])
        with pytest.raises(Damaged):
            read_image(descriptor)


@QUICK
@given(data=st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: b"gsrtimg1" + data))
def test_garbage_is_no_image(memory: Callable[[], int], data: bytes) -> None:
    descriptor = memory()
    put(descriptor, data)
    with pytest.raises(Damaged):
        read_image(descriptor)


values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([math.inf, math.nan, 1.5, 2, "", "red", "A" * 40, "B" * 40, "-" * 40, "ä" * 40]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["id", "began", "lasting", "script", "players", "sessions"]), inner)
    ),
    max_leaves=12,
)
tokens = st.sampled_from(["A" * 40, "B" * 40, "C" * 40, "D" * 40, "A" * 8 + "B" * 32, "", "A" * 39, "!" * 40])
players = st.tuples(st.sampled_from(["", "red", "blue"]), st.integers(-1, 256), tokens, tokens, st.booleans())
near_sessions = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["", "s1", "s2"]) | values,
        "began": st.floats() | values,
        "lasting": st.booleans() | values,
        "script": st.none() | st.text() | values,
        "players": st.lists(players.map(list) | values, max_size=3) | values,
    }
)
near_images = values | st.fixed_dictionaries(
    {
        "sessions": st.lists(near_sessions | values, max_size=3) | values,
        "quarantined": st.dictionaries(st.text(), st.text() | values, max_size=2) | values,
    }
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=near_images)
def test_a_whole_image_of_nonsense_never_stops_the_start(memory: Callable[[str], int], image: object) -> None:
    """It is refused as a whole, or its sessions can be restored."""
    logged = Logged()
    descriptor, note = memory("gsrt-image"), memory("gsrt-note")
    write_image(descriptor, json.dumps(image).encode())
    text = f"pid={os.getpid()},image={descriptor},note={note}"
    resumed = Resumed.from_environment({VARIABLE: text}, 1.0, logged.log)
    if resumed.sessions is None:
        assert logged.lines("error sessions lost in the restart") == 1
        return
    with Floor() as floor:
        for saved in resumed.sessions:
            floor.sessions.restore(saved, 1.0)
        assert len(list(floor.sessions)) == len(resumed.sessions)


def test_json_that_is_too_deep(memory: Callable[[], int]) -> None:
    descriptor = memory()
    write_image(descriptor, b"[" * 200_000)
    with pytest.raises(Damaged):
        read_image(descriptor)


def test_an_image_of_another_version(memory: Callable[[], int]) -> None:
    descriptor = memory()
    body = b'{"quarantined":{},"sessions":[]}'
    write_image(descriptor, body)
    assert read_image(descriptor) == ([], {})
    head = b"gsrtimg2" + len(body).to_bytes(4, "little") + crc32(body).to_bytes(4, "little")
    put(descriptor, head + body)
    with pytest.raises(Damaged, match="another version"):
        read_image(descriptor)


# what a program finds


def test_an_ordinary_start_finds_nothing(logged: Logged) -> None:
    resumed = Resumed.from_environment({}, 1.0, logged.log)
    assert (resumed.sessions, resumed.sockets, resumed.hung, resumed.restarts) == (None, None, None, ())
    assert resumed.scripts_allowed
    assert logged.text.getvalue() == ""


@QUICK
@given(
    text=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=80)
    | st.lists(
        st.tuples(
            st.sampled_from(["image", "note", "listener", "datagrams", "wake", "compiler", "restarts", "pid"]),
            st.sampled_from(["-1", "99999", "99999999999999999999", "x", "", "1/2/nan/inf/-inf", "5" * 5000, "٣"]),
        ).map("=".join),
        max_size=8,
    ).map(",".join)
)
def test_whatever_the_variable_says(text: str) -> None:
    logged = Logged()
    environment = {VARIABLE: f"pid={os.getpid()},{text}"}
    resumed = Resumed.from_environment(environment, 1.0, logged.log)
    assert environment == {}
    assert resumed.sessions is None
    assert resumed.sockets is None


def test_descriptors_of_others_are_left_alone(logged: Logged, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("precious")
    ours = os.memfd_create("gsrt-image-of-another")
    with path.open("r+") as file, socket.socket(socket.AF_UNIX) as other:
        for number in (file.fileno(), ours, other.fileno()):
            text = f"pid={os.getpid()},image={number},note={number},listener={number},datagrams={number}"
            text += f",compiler={number}/{sys.implementation.cache_tag}"
            text += f",wake={number}" if number != other.fileno() else ""
            resumed = Resumed.from_environment({VARIABLE: text}, 1.0, logged.log)
            assert (resumed.image, resumed.note, resumed.sockets, resumed.compiler) == (-1, -1, None, None)
            os.fstat(number)
    os.close(ours)
    assert path.read_text() == "precious"


def test_the_two_sockets_cannot_change_places(logged: Logged) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        text = f"pid={os.getpid()},listener={datagrams.fileno()},datagrams={listener.fileno()}"
        assert Resumed.from_environment({VARIABLE: text}, 1.0, logged.log).sockets is None
        text = f"pid={os.getpid()},listener={os.dup(listener.fileno())},datagrams={os.dup(datagrams.fileno())}"
        taken = Resumed.from_environment({VARIABLE: text}, 1.0, logged.log).sockets
        assert taken is not None
        assert [each.getsockname() for each in taken] == [listener.getsockname(), datagrams.getsockname()]
        assert not any(each.getblocking() for each in taken)
        for each in taken:
            each.close()


def test_what_compiles_scripts_is_inherited(logged: Logged) -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        text = f"pid={os.getpid()},compiler={os.dup(ours.fileno())}/"
        for other in ("cpython-27", ""):  # its code would be none to this Python
            assert Resumed.from_environment({VARIABLE: text + other}, 1.0, logged.log).compiler is None
        text += str(sys.implementation.cache_tag)
        found = Resumed.from_environment({VARIABLE: text}, 1.0, logged.log).compiler
        assert found is not None
        with found:
            found.send(b"asked")
        assert its.recv(9) == b"asked"


@pytest.mark.parametrize("sent", ["", "U", "T", "I", "UUTU"])
def test_a_signal_that_came_too_late(logged: Logged, sent: str) -> None:
    reader, writer = socket.socketpair()
    writer.send(bytes({"U": signal.SIGUSR2, "T": signal.SIGTERM, "I": signal.SIGINT}[each] for each in sent))
    text = f"pid={os.getpid()},wake={reader.detach()}"
    resumed = Resumed.from_environment({VARIABLE: text}, 1.0, logged.log)
    assert resumed.told_to_stop == ("T" in sent or "I" in sent)
    with pytest.raises(BrokenPipeError):
        writer.send(b"x")
    writer.close()


def restarted(logged: Logged, restarts: str, now: float) -> Resumed:
    return Resumed.from_environment({VARIABLE: f"pid={os.getpid()},restarts={restarts}"}, now, logged.log)


def test_restarts_are_counted_for_a_minute(logged: Logged) -> None:
    restarts = ""
    for number in range(RESTARTS_MAX):
        resumed = restarted(logged, restarts, 1000.0 + number)
        assert resumed.scripts_allowed
        restarts = "/".join(map(repr, resumed.restarts))
    assert not restarted(logged, restarts, 1000.0 + RESTARTS_MAX).scripts_allowed
    assert logged.lines("error scripts are off") == 1
    late = restarted(logged, restarts, 1000.0 + RESTARTS_SECONDS)
    assert late.scripts_allowed
    assert len(late.restarts) == RESTARTS_MAX
    assert restarted(logged, restarts, 2000.0).restarts == (2000.0,)


# the script that hung


@pytest.mark.parametrize("path", ["/games/ships.py", "ä b\nc.py", "\udcff.py", ""])
def test_the_tag_of_a_script(path: str) -> None:
    hung = Hung(script_tag("s1", "d1", path))
    assert (hung.session_id, hung.digest, hung.path) == ("s1", "d1", path)


@QUICK
@given(note=st.binary(max_size=60))
def test_any_note(memory: Callable[[str], int], note: bytes) -> None:
    logged = Logged()
    descriptor = memory("gsrt-note")
    os.write(descriptor, note)
    resumed = Resumed.from_environment({VARIABLE: f"pid={os.getpid()},note={descriptor}"}, 1.0, logged.log)
    assert (resumed.hung is None) == (resumed.quarantined == {})
    assert os.fstat(descriptor).st_size == 0
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0


def test_quarantine_outlives_the_next_restart(logged: Logged, memory: Callable[[str], int]) -> None:
    descriptor, note = memory("gsrt-image"), memory("gsrt-note")
    variable = f"pid={os.getpid()},image={descriptor},note={note}"
    found = {}
    for number in range(QUARANTINED_MAX + 5):
        os.write(note, script_tag("s", f"digest-{number}", f"/{number}.py"))
        resumed = Resumed.from_environment({VARIABLE: variable}, 100.0 * number, logged.log)
        resumed.note = os.dup(resumed.note)
        resumed.image = os.dup(resumed.image)
        image = Image(logged.log, resumed)
        image.keep_current()
        image.close()
        found = resumed.quarantined
    assert list(found) == [f"digest-{number}" for number in range(5, QUARANTINED_MAX + 5)]

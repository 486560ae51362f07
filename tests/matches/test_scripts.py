"""Scripts of sessions that players come to and leave, and that begin anew after a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gsrt.resume import SavedPlayer
from gsrt.session import Session
from gsrt.worker import JOBS_MAX
from tests.relay.rig import packet
from tests.scripts.floor import ScriptFloor


@pytest.fixture
def floor() -> Iterator[ScriptFloor]:
    with ScriptFloor(script_cpu_ms=10_000) as made:
        yield made


def texts(floor: ScriptFloor) -> list[str]:
    entries, _ = floor.scripts.journal.after(0, None)
    return [str(each["text"]) for each in entries]


def join(floor: ScriptFloor, session: Session, player_id: str, peer_id: int) -> None:
    given = SavedPlayer([player_id, peer_id, floor.tokens.make(), floor.tokens.make(), False])
    floor.seat(floor.sessions.add_player(session, given))


def leave(floor: ScriptFloor, session: Session, player_id: str) -> None:
    floor.sessions.remove_player(session, session.player(player_id), floor.now)


MEMORY = """
    met = []
    by_peer = {}

    def on_player_connect(player):
        met.append(player)
        by_peer[player.peer_id] = player

    def on_reload(old):
        met.extend(old["met"])
        by_peer.update(old["by_peer"])

    @session.on_packet(7)
    def seven(packet):
        print([(each.peer_id, each.player_id) for each in met], VERSION)
        print([by_peer[each.peer_id] is each for each in met])
        met[1].kick()
"""


def test_who_has_left_is_remembered_through_a_reload(floor: ScriptFloor) -> None:
    session = floor.scripted("VERSION = 1\n" + MEMORY.replace("\n    ", "\n"))
    red, blue, _ = session.players
    one = floor.seat(red)
    floor.seat(blue)
    leave(floor, session, "blue")
    join(floor, session, "white", 2)
    leave(floor, session, "white")
    join(floor, session, "black", 2)
    floor.write("VERSION = 2\n" + MEMORY.replace("\n    ", "\n"))
    floor.advance(floor.profile.script_reload_seconds + 0.1)
    floor.work_done()
    floor.advance(0.1)
    one.put(packet(7, payload=b"x"))
    floor.advance(0.1)
    assert texts(floor)[-2:] == [
        "[(1, 'red'), (2, 'blue'), (2, 'white'), (2, 'black')] 2",
        "[True, False, False, True]",
    ]
    assert session.player("black").state == "ready", "blue, whose number it has, was to be kicked"


def test_the_same_player_with_the_same_number_is_the_same_object(floor: ScriptFloor) -> None:
    session = floor.scripted(
        """
        seen = []

        def on_player_connect(player):
            seen.append(player)
            print(len(seen), player is seen[0])
        """
    )
    floor.seat(session.player("blue"))
    leave(floor, session, "blue")
    join(floor, session, "blue", 2)
    assert texts(floor) == ["1 True", "2 True"]


RESTORE = """
    print("begins")

    def on_restore():
        print("restored")

    def on_player_connect(player):
        print("connect", player.peer_id)
"""


def again(floor: ScriptFloor, session: Session) -> None:
    floor.scripts.begin_again(session, floor.path())
    floor.work_done()


def test_a_script_that_begins_again(floor: ScriptFloor) -> None:
    floor.write(RESTORE.replace("\n    ", "\n"))
    session = floor.create()
    floor.seat(session.players[0])
    again(floor, session)
    assert texts(floor) == ["begins", "restored", "connect 1"]


def test_as_many_scripts_begin_again_as_there_were(floor: ScriptFloor) -> None:
    """More sessions than the worker takes jobs."""
    floor.write("def on_restore():\n    print('restored')\n")
    sessions = [floor.create() for _ in range(JOBS_MAX + 10)]
    for session in sessions:
        floor.scripts.begin_again(session, floor.path())
    floor.work_done()
    assert "without its script" not in floor.log_text()
    assert all(session.guest is not None for session in sessions)


def test_a_script_that_begins_for_the_first_time_is_not_restored(floor: ScriptFloor) -> None:
    floor.scripted(RESTORE.replace("\n    ", "\n"))
    assert texts(floor) == ["begins"]


def test_a_script_that_can_begin_again_only_when_it_is_mended(floor: ScriptFloor) -> None:
    floor.write("no script")
    session = floor.create()
    again(floor, session)
    assert "session goes on without its script" in floor.log_text()
    floor.write(RESTORE.replace("\n    ", "\n"))
    floor.advance(floor.profile.script_reload_seconds + 0.1)
    floor.work_done()
    floor.advance(0.1)
    assert texts(floor) == ["begins", "restored"]
    floor.write(RESTORE.replace("\n    ", "\n").replace("begins", "begins again"))
    floor.advance(floor.profile.script_reload_seconds + 0.1)
    floor.work_done()
    floor.advance(0.1)
    assert "restored" not in texts(floor)[2:], "a changed script is not a restart"


def test_an_on_restore_that_fails(floor: ScriptFloor) -> None:
    floor.write("def on_restore():\n    1 / 0\n")
    session = floor.create()
    again(floor, session)
    assert "ZeroDivisionError" in floor.log_text()
    assert not session.ended

"""Memory that is taken back: what comes first, what comes last, no further than needed, each counted."""

from __future__ import annotations

import copy
import io
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from gsrt.governor import MemoryMarks
from gsrt.log import Log
from gsrt.profile import Profile
from gsrt.reclaim import AGAIN_BYTES, AGAIN_SECONDS, REASON, Reclaimer

KIB = 1 << 10
MIB = 1 << 20


class Taken:
    """A server whose memory is a list of what holds it: (kind, bytes). What is let go is in `went`, in its order."""

    def __init__(self, **holds: list[int]) -> None:
        self.holds = {kind: list(sizes) for kind, sizes in holds.items()}
        self.went: list[tuple[str, int]] = []
        self.lines = io.StringIO()
        profile = copy.copy(Profile.load("generic"))
        profile.memory_bytes_max = 64 * MIB
        profile.players_per_session_max = 8
        profile.stream_out_soft_bytes = 24 * KIB
        profile.stream_out_hard_bytes = 32 * KIB
        profile.script_memory_bytes = 0
        self.marks = MemoryMarks(profile, hashes=False)
        server: Any = SimpleNamespace(
            log=Log(self.lines, lambda: 0.0),
            reception=SimpleNamespace(downloads=self._downloads, drop=self._drop, make_room=self._make_room),
            relay=SimpleNamespace(streams={}),
            sessions=(),
            scripts=SimpleNamespace(switch_off_largest=self._switch_off),
        )
        self.server = server
        self._name_readers()
        self.reclaimer = Reclaimer(server, self.held)

    def held(self) -> int:
        return sum(sum(sizes) for sizes in self.holds.values())

    def take_back(self, now: float = 100.0) -> None:
        self.reclaimer.take_back(self.held(), self.marks, now)

    def _name_readers(self) -> None:
        sizes = [*self.holds.get("readers", []), *(0 for _ in self.holds.get("pending", []))]
        streams = [SimpleNamespace(weight=size, member=None) for size in sizes]
        self.server.relay.streams = dict(enumerate(streams))

    def _let_go(self, kind: str, size: int) -> None:
        self.holds[kind].remove(size)
        self.went.append((kind, size))

    def _downloads(self) -> list[Any]:
        return [
            SimpleNamespace(stream=SimpleNamespace(backlog=size), abort=partial(self._let_go, "downloads", size))
            for size in self.holds.get("downloads", [])
        ]

    def _drop(self, stream: Any) -> None:
        self._let_go("readers", stream.weight)
        self._name_readers()

    def _make_room(self) -> bool:
        if not self.holds.get("pending"):
            return False
        self._let_go("pending", self.holds["pending"][0])
        return True

    def _switch_off(self, least: int, reason: str) -> int | None:
        assert reason == REASON
        sizes = [size for size in self.holds.get("scripts", []) if size >= least]
        if not sizes:
            return None
        self._let_go("scripts", max(sizes))
        return max(sizes)


@pytest.fixture(autouse=True)
def _no_trimming(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process itself holds is no matter."""
    monkeypatch.setattr("gsrt.reclaim.trim_memory", lambda: None)


def test_files_first_then_the_slowest_readers() -> None:
    taken = Taken(base=[59 * MIB], downloads=[MIB // 2] * 2, readers=[100 * KIB, 2 * MIB, 500 * KIB, 15 * KIB, MIB])
    taken.take_back()
    assert taken.went == [("downloads", MIB // 2), ("downloads", MIB // 2), ("readers", 2 * MIB), ("readers", MIB)]
    assert taken.held() < taken.marks.early
    assert taken.reclaimer.counters == {
        "times": 1,
        "bytes": 4 * MIB,
        "downloads_ended": 2,
        "readers_cut": 2,
        "pending_closed": 0,
        "scripts_off": 0,
        "failed": 0,
    }
    assert "memory was taken back" in taken.lines.getvalue()


def test_no_further_than_needed() -> None:
    taken = Taken(base=[55 * MIB], downloads=[MIB] * 8, readers=[2 * MIB])
    taken.take_back()
    assert {kind for kind, _ in taken.went} == {"downloads"}
    assert len(taken.went) == 6  # and a little more than that, or it would have to be done again at once


def test_whoever_reads_is_left_alone_and_so_are_newcomers_and_scripts_below_the_second_mark() -> None:
    taken = Taken(base=[61 * MIB], readers=[15 * KIB] * 10, pending=[50 * KIB] * 3, scripts=[MIB // 4])
    assert taken.marks.early < taken.held() < taken.marks.most
    taken.take_back()
    assert taken.went == []
    assert taken.reclaimer.counters["failed"] == 1


def test_newcomers_and_the_largest_scripts_where_the_promise_is_at_stake() -> None:
    taken = Taken(base=[61 * MIB], pending=[50 * KIB] * 3, scripts=[MIB, 100 * KIB, 3 * MIB, MIB])
    taken.take_back()
    assert taken.went[:3] == [("pending", 50 * KIB)] * 3
    assert taken.went[3:] == [("scripts", 3 * MIB), ("scripts", MIB)]
    assert taken.held() < taken.marks.most


def test_what_was_in_vain_is_not_tried_at_once_again() -> None:
    taken = Taken(base=[61 * MIB])
    for now in (100.0, 100.01, 100.9):
        taken.take_back(now)
    assert taken.reclaimer.counters["times"] == 1
    taken.take_back(100.0 + AGAIN_SECONDS)
    assert taken.reclaimer.counters["times"] == 2
    taken.holds["base"] = [61 * MIB + AGAIN_BYTES]  # unless it gets worse
    taken.take_back(101.01)
    assert taken.reclaimer.counters["times"] == taken.reclaimer.counters["failed"] == 3

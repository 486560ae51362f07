"""Takes memory back when the promise is near: first what nobody misses, last what somebody does.

In this order, and no further than needed: what is garbage, and what the allocator keeps; files that browsers fetch;
players and clients who do not read what is sent to them, those with the most waiting first. Where that is not enough,
and the promise is at stake: connections that have not logged in; the scripts that hold most. Each is counted. Loaded
when it is needed for the first time.
"""

from __future__ import annotations

import gc
from operator import itemgetter

from gsrt._relay import Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from gsrt._relay import Stream
    from gsrt.governor import MemoryMarks
    from gsrt.server import Server

COUNTERS = (
    "times",  # that memory was to be taken back
    "bytes",  # taken back, as the kernel sees it
    "downloads_ended",
    "readers_cut",
    "pending_closed",
    "scripts_off",
    "failed",  # times that all of it was not enough
)

BACKLOG_BYTES_MIN = 16_384  # whoever has less waiting is no slow reader
SCRIPT_BYTES_MIN = 262_144  # whoever holds less does not bring the box down
PENDING_BYTES = 4096  # that a connection without a login takes at least; some 60 KB with TLS
SPARE_PART = 64  # of the promise: so much more is taken back, or it would have to be done again at once
COLLECT_SECONDS = 10.0  # between two collections of garbage: it takes a while, and buffers are none
AGAIN_SECONDS = 10.0  # after all was not enough, and no more has been taken since
AGAIN_BYTES = 262_144  # or after so much more has been

REASON = "the server is short of memory"


class Reclaimer:
    """Takes memory back from one server. `held()` gives the bytes that the process has."""

    __slots__ = ("_again_at", "_again_from", "_collect_at", "_held", "_server", "counters")

    def __init__(self, server: Server, held: Callable[[], int | None]) -> None:
        self._server = server
        self._held = held
        self._again_at = 0.0
        self._again_from = 0
        self._collect_at = 0.0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def take_back(self, held: int, marks: MemoryMarks, now: float) -> None:
        """HELD bytes are held, which is past the first of the MARKS."""
        if now < self._again_at and held < self._again_from:
            return
        self.counters["times"] += 1
        before = held
        steps = (
            (marks.early, iter((0,))),
            (marks.early, self._end_downloads()),
            (marks.early, self._cut_readers(now)),
            (marks.most, self._close_pending()),
            (marks.most, self._switch_off_scripts()),
        )
        for mark, step in steps:
            if held < mark:
                continue
            left = held - mark + (marks.promise // SPARE_PART if mark == marks.early else 0)
            for freed in step:
                left -= max(freed, 1)
                if left < 0:
                    break
            held = self._settled(held, now)
        self._again_at = 0.0
        if held >= marks.early:
            self.counters["failed"] += 1
            self._again_at, self._again_from = now + AGAIN_SECONDS, held + AGAIN_BYTES
        self.counters["bytes"] += max(before - held, 0)
        self._server.log.limited(
            "warn", "memory taken back", "memory was taken back", bytes_before=before, bytes_now=held, **self._told()
        )

    def _told(self) -> dict[str, Any]:
        return {name: count for name, count in self.counters.items() if count and name not in ("times", "bytes")}

    def _settled(self, held: int, now: float) -> int:
        """What is held when all that is not needed any more has gone back to the system."""
        if now >= self._collect_at:
            self._collect_at = now + COLLECT_SECONDS
            gc.collect()
        trim_memory()
        left = self._held()
        return held if left is None else left

    def _end_downloads(self) -> Iterator[int]:
        for download in self._server.reception.downloads():
            size = download.stream.backlog
            download.abort()
            self.counters["downloads_ended"] += 1
            yield size

    def _cut_readers(self, now: float) -> Iterator[int]:
        """Whoever has most waiting: to be read by them, to be whole, or until they are back."""
        server = self._server
        found: list[tuple[int, Member | Stream]] = [
            (stream.weight, stream) for stream in server.relay.streams.values() if stream.member is None
        ]
        for session in server.sessions:
            for member in (player.member for player in session.players):
                stream, link = member.stream, member.link
                weight = 0 if stream is None else stream.weight
                found.append((member.held_bytes + weight + (0 if link is None else link.backlog), member))
        for size, whose in sorted(found, key=itemgetter(0), reverse=True):
            if size < BACKLOG_BYTES_MIN:
                return
            if isinstance(whose, Member):
                server.reception.cut(whose, REASON, now)
            else:
                server.reception.drop(whose)
            self.counters["readers_cut"] += 1
            yield size

    def _close_pending(self) -> Iterator[int]:
        for _ in range(len(self._server.relay.streams)):
            if not self._server.reception.make_room():
                return
            self.counters["pending_closed"] += 1
            yield PENDING_BYTES

    def _switch_off_scripts(self) -> Iterator[int]:
        while (size := self._server.scripts.switch_off_largest(SCRIPT_BYTES_MIN, REASON)) is not None:
            self.counters["scripts_off"] += 1
            yield size


def trim_memory() -> None:
    """What the allocator keeps without use goes back to the system."""
    from gsrt._meter import give_back_memory

    give_back_memory()

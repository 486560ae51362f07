"""The server's side of the governor: looks at the box now and then, has the server do what comes of it, and keeps the
promise of how much memory it takes.

A look is a timer's. The memory is looked at besides in turns of the loop that take place anyway, for it can be gone
within a second: one system call, at most every few milliseconds. A server with nothing to do does neither more often
than the profile says.
"""

from __future__ import annotations

import os

from gsrt.device.readings import Sensors
from gsrt.governor import LEVELS, NORMAL, Governor
from gsrt.log import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.reclaim import Reclaimer
    from gsrt.scripts.sandbox import Sandbox
    from gsrt.server import Server

ROOT = "/"  # where /proc and /sys are
MEMORY_LOOK_SECONDS = 0.005
TRIM_SECONDS = 5.0  # it takes milliseconds, on a small board tens of them
NEVER = float("inf")


class Box:
    """What one server looks at. `governor` judges it, `sensors` bring it in."""

    __slots__ = (
        "_look_for",
        "_memory_look_at",
        "_reclaimer",
        "_server",
        "_slowed",
        "_slowed_sandbox",
        "_tick",
        "_trim_at",
        "_worst_turn",
        "governor",
        "sensors",
    )

    def __init__(self, server: Server, state_folder: str) -> None:
        """Watches the disk of that folder too, and that of the game's database; a folder that is not there yet counts
        as the one around it."""
        profile = server.profile
        self._server = server
        self._tick = server.tick
        self._slowed = NORMAL
        self._slowed_sandbox: Sandbox | None = None
        self._reclaimer: Reclaimer | None = None
        self._look_for = 0.0  # when the next look should be
        self._worst_turn = 0.0  # since the look before
        self._trim_at = 0.0  # not before
        folders = (
            [state_folder] if server.platform is None else [state_folder, os.path.dirname(server.platform.store.path)]
        )
        self.sensors = Sensors(ROOT, (_existing(folder) for folder in folders))
        self.governor = Governor(profile, server.log, hashes=server.platform is not None)
        self.governor.memory = self.sensors.memory
        self._memory_look_at = 0.0
        server.relay.made_much = self._much_made
        server.scripts.took_much = self._look_at_memory

    def begin(self, now: float) -> None:
        """The first look; the others follow."""
        if self.sensors.absent:
            self._server.log.info("not to be had on this box", sensors=",".join(self.sensors.absent))
        self.sensors.read(now)  # from which the share of processor time is counted
        self._look_later(now)

    def close(self) -> None:
        """Nothing is looked at any more."""
        self._memory_look_at = NEVER
        self.sensors.close()

    def figures(self) -> dict[str, Any]:
        """For the status."""
        taken = {} if self._reclaimer is None else self._reclaimer.counters
        return {**self.governor.figures(), "absent": list(self.sensors.absent), "takenBack": dict(taken)}

    def turn_ended(self, now: float, taken: float) -> None:
        """A turn of the loop, begun at NOW, has TAKEN so many seconds."""
        if taken > self._worst_turn:
            self._worst_turn = taken
        if now >= self._memory_look_at:
            self._look_at_memory(now)

    def _look_at_memory(self, now: float) -> None:
        """Takes memory back where the promise is near."""
        self._memory_look_at = now + MEMORY_LOOK_SECONDS
        held = self.sensors.memory()
        if held is None or held < self.governor.marks.early:
            return
        if self._reclaimer is None:
            from gsrt.reclaim import Reclaimer

            self._reclaimer = Reclaimer(self._server, self.sensors.memory)
        try:
            self._reclaimer.take_back(held, self.governor.marks, now)
        except Exception as error:  # the players go on playing, whatever is wrong with it
            self._server.log.limited("error", "take back", "memory is not taken back", reason=error_text(error))

    def _much_made(self, now: float) -> None:
        """Within a turn, much was put out, and flushed: what is left waits for those who do not read."""
        server = self._server
        for member, reason in server.relay.take_doomed():
            server.reception.cut(member, reason, now)
        self._look_at_memory(now)

    def _look_later(self, now: float) -> None:
        self._look_for = now + self._server.profile.governor_seconds
        self._server.timers.set(self._look_for, self._look)

    def _look(self, now: float) -> None:
        # Where packets come all the time, what is due waits for the tick, as all does: this is not to be late.
        late = max(now - self._look_for - self._server.tick, self._worst_turn)
        self._worst_turn = 0.0
        try:
            self._judge(late, now)
        except Exception as error:  # the players go on playing, and there is a next look
            self._server.log.limited("error", "look", "the box was not looked at", reason=error_text(error))
        self._look_later(now)

    def _judge(self, late: float, now: float) -> None:
        """LATE: seconds that the loop was held up, at worst."""
        platform = self._server.platform
        written = None if platform is None else platform.store.written_bytes
        if self.governor.memory_is_short and now >= self._trim_at:
            self._trim_at = now + TRIM_SECONDS
            # What the allocator keeps of what has gone would count for ever: nothing else gives it back below the
            # mark from which memory is taken back.
            from gsrt.reclaim import trim_memory

            trim_memory()
        readings = self.sensors.read(now, loop_lag_ms=late * 1000, disk_written_bytes=written)
        self._apply(self.governor.decide(readings, now))
        self._look_at_memory(now)

    def _apply(self, level: int) -> None:
        """Has the server work as the level says."""
        server, profile = self._server, self._server.profile
        share = profile.slow_script_percent / 100 if level > NORMAL else 1.0
        sandbox = server.scripts.sandbox
        if sandbox is not None and (level != self._slowed or sandbox is not self._slowed_sandbox):
            sandbox.turn.limit(profile.script_turn_ms * share, profile.script_turn_all_ms * share)
            self._slowed_sandbox = sandbox
        if level != self._slowed:
            server.tick = max(self._tick, profile.slow_tick_ms / 1000) if level > NORMAL else self._tick
            server.log.info("the governor", level=LEVELS[level], tick_ms=server.tick * 1000)
            self._slowed = level
        if server.platform is not None:
            factor = profile.slow_store_factor if self.governor.store_is_slow else 1
            server.platform.store.gather(profile.store_batch_ms / 1000 * factor)
            server.scripts.journal.rest(self.governor.disk_is_full)


def _existing(folder: str) -> str:
    """The folder, or the nearest one around it that is there."""
    folder = os.path.abspath(folder)
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    return folder

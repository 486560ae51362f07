"""The session floor with scripts: the real host and worker thread, still without a loop, time as the test has it."""

from __future__ import annotations

import os
import select
import tempfile
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

from gsrt.scripts.attached import Attached
from gsrt.scripts.compiler import Compiled
from gsrt.scripts.compiling import Compiler, HostError
from gsrt.scripts.host import Scripts
from gsrt.session import Player, Session
from gsrt.worker import Worker
from tests.relay.floor import Floor, Guest
from tests.relay.rig import DEADLINE, packet


class ScriptFloor(Floor):
    """A server without its loop, in a directory of its own for script files."""

    packet = staticmethod(packet)

    def __init__(self, **limits: float) -> None:
        super().__init__(**limits)
        self.failed_work: list[BaseException] = []
        self.worker = Worker(self.failed_work.append)
        self._directory = tempfile.TemporaryDirectory(prefix="gsrt-test-")
        self.directory = Path(self._directory.name)
        self.entropy = 0
        self.scripts = Scripts(
            self.profile, self.reception.log, self.timers, self.worker, Compiler(), lambda: self.now, self._next_entropy
        )
        self.scripts.armed = lambda sandbox: sandbox.meter.start_timer()

    def _next_entropy(self, count: int) -> bytes:
        self.entropy += 1
        return self.entropy.to_bytes(count, "little")

    # files

    def path(self, name: str = "script.py") -> str:
        return str(self.directory / name)

    def write(self, source: str, name: str = "script.py") -> str:
        """The script in its file, which is another file than before."""
        path = self.path(name)
        new = path + ".new"
        Path(new).write_text(dedent(source))
        os.replace(new, path)
        return path

    # what the host does

    def work_done(self) -> None:
        """Waits for the worker, and hands over what it has found."""
        waiting = 0
        while self.worker.waiting:
            if self.worker.waiting != waiting:  # every piece of work has its own time
                waiting, end = self.worker.waiting, time.monotonic() + DEADLINE
            assert time.monotonic() < end, "the worker does not answer"
            select.select([self.worker], [], [], 0.1)
            self.worker.deliver()

    def compiled(self, path: str) -> Compiled:
        """What prepare() finds; raises HostError."""
        found: list[Compiled | HostError | None] = []
        self.scripts.prepare(path, lambda compiled, error: found.append(compiled or error))
        self.work_done()
        (result,) = found
        if not isinstance(result, Compiled):
            raise result or AssertionError("neither a script nor an error")
        return result

    def scripted(self, source: str, *, name: str = "script.py", record: str | None = None) -> Session:
        """A session of three with that script at work; raises HostError."""
        path = self.write(source, name)
        return self.attach(self.compiled(path), path, record)

    def attach(self, compiled: Compiled, path: str, record: str | None = None) -> Session:
        session = self.create()
        self.scripts.attach(session, path, compiled, self.now, record)
        return session

    def attached(self, session: Session) -> Attached:
        found = self.scripts.get(session.session_id)
        assert found is not None
        return found

    def looks_at_files(self) -> None:
        """So much later that the host has looked whether files have changed, and has tried and exchanged them."""
        self.work_done()  # a look that is under way may have missed what is meant
        self.advance(float(self.profile.script_reload_seconds))
        self.work_done()
        for _ in range(40):
            self.advance(0)

    # the loop

    def begin_turn(self) -> None:
        """Every script has time again."""
        self.scripts.begin_turn()
        self.scripts.let_on()

    def turn(self) -> None:
        """One turn: what has come, then what is due."""
        late = self.scripts.begin_turn()
        self.take_streams()
        if late:
            self.relay.flush()
            self.scripts.let_on()
            self.relay.take_later(self.now)
        self.relay.resume(self.now)
        self.timers.run(self.now)
        self.reception.expire(self.now)
        self.end_tick()

    def advance(self, seconds: float) -> None:
        self.begin_turn()
        super().advance(seconds)

    def lose(self, guest: Guest) -> None:
        """The player's connection breaks."""
        guest.line.stream.close(False)
        guest.player.lost("broken", False, self.now)

    def gone(self, player: Player) -> None:
        """Waits until the player's end has been noticed and the others have been told."""
        self.until(lambda: player.state not in ("ready", "joining"))
        self.advance(float(self.profile.grace_seconds))
        assert player.state in ("gone", "kicked")

    # what scripts have said

    def entries(self) -> list[dict[str, Any]]:
        return self.scripts.journal.after(0, limit=10_000)[0]

    def texts(self) -> list[str]:
        return [str(each["text"]) for each in self.entries()]

    def errors(self) -> list[str]:
        return [str(each["text"]) for each in self.entries() if each["level"] == "error"]

    def close(self) -> None:
        super().close()
        self.worker.close()
        if self.scripts.sandbox is not None:
            self.scripts.sandbox.meter.stop_timer()
        self._directory.cleanup()

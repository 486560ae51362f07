"""`python -m tests.support.restarting serve ...`: a server that hangs at SIGUSR2, as a script can make it hang, so that
its watchdog restarts it.

The file `tag` beside the control socket names the script. Where there is a file `terminate`, SIGTERM comes just before
the hang. Real scripts find a function that the sandbox never gives them: `hang()`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import gsrt.scripts.sandbox
import gsrt.server
import gsrt.service
from gsrt._meter import Account, Meter
from gsrt.cli import main

WATCHDOG_SECONDS = 0.03


class HangingServer(gsrt.server.Server):
    """A server that can be told to hang."""

    def wake_on_signals(self) -> None:
        super().wake_on_signals()
        signal.signal(signal.SIGUSR2, lambda *_: self.timers.set(self.clock(), lambda now: self.hang()))

    def hang(self) -> None:
        """As a script would."""
        beside = Path(self.control.path)
        if beside.with_name("terminate").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        meter = Meter()
        meter.start_timer()
        meter.arm_watchdog(WATCHDOG_SECONDS, *self.succession.restart_command(), self.image.note)
        meter.call(Account(beside.with_name("tag").read_bytes()), hang)


class LeakySandbox(gsrt.scripts.sandbox.Sandbox):
    """A sandbox with a hole in it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.builtins["hang"] = hang


def hang() -> None:
    """Counts to a trillion in one call that nothing can interrupt."""
    sum(range(10**12))


if __name__ == "__main__":
    gsrt.service.Server = HangingServer  # type: ignore[attr-defined]
    gsrt.scripts.sandbox.Sandbox = LeakySandbox  # type: ignore[misc,assignment]
    sys.exit(main())

"""`python -m tests.support.restarting serve ...`: the server, and SIGUSR2 has it restart itself as its watchdog would.

What the file `note` beside the control socket holds is what the watchdog would write about the script that
hung. Where there is a file `terminate`, SIGTERM comes while it hangs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import gsrt.server
from gsrt.cli import main

WATCHDOG_SIGNAL = signal.SIGRTMIN + 4  # any real-time signal: the watchdog's handler starts the new program


class RestartingServer(gsrt.server.Server):
    """A server that can be told to restart itself."""

    def wake_on_signals(self) -> None:
        super().wake_on_signals()
        signal.signal(signal.SIGUSR2, lambda *_: self.restart())

    def restart(self) -> None:
        """What the handler does, with the state of the process as it finds it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {WATCHDOG_SIGNAL})
        os.kill(os.getpid(), WATCHDOG_SIGNAL)  # a second one on its way
        note = Path(self.control.path).with_name("note")
        if note.exists():
            os.write(self.image.note, note.read_bytes())
        if Path(self.control.path).with_name("terminate").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        path, arguments, environment = self.restart_command()
        variables = dict(pair.split(b"=", 1) for pair in environment)
        os.execve(path, arguments, variables)


if __name__ == "__main__":
    gsrt.server.Server = RestartingServer  # type: ignore[misc]
    sys.exit(main())

"""Child processes, of which this server has few and short-lived ones."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def inheritable_descriptors() -> list[int]:
    """Descriptors that a child would inherit, but for the first three: what the server keeps for its own restart."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            if descriptor > 2 and os.get_inheritable(descriptor):
                found.append(descriptor)
        except OSError:  # the listing's own descriptor, which is closed by now
            pass
    return found


def spawn_python(program: str, *, output: int | None = None, kept: int | None = None, own_group: bool = False) -> int:
    """A new process, its number: a Python that runs PROGRAM, with the modules of this one.

    It has no input. What it prints goes to the descriptor OUTPUT, or nowhere; what it complains of goes nowhere. The
    descriptor KEPT is the same one there, and inheritable here from now on; of what else is inheritable, it gets
    nothing. In its OWN_GROUP it hears nothing of a terminal's Ctrl-C. Raises OSError."""
    others = [each for each in inheritable_descriptors() if each != kept]
    if kept is not None:
        os.set_inheritable(kept, True)
    group: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    nowhere = os.devnull, os.O_WRONLY, 0
    # Its modules are to be those of this process, wherever they come from: so no search for them, and no site module.
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {program}"]
    return os.posix_spawn(
        sys.executable,
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, *nowhere) if output is None else (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_OPEN, 2, *nowhere),
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in others),
        ],
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
        **group,
    )

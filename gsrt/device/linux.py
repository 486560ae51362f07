"""Linux calls that Python has no function for, and a small box gains by. None of them is needed: where one cannot be
had, its Outcome says why, and the server goes on without.

The compiled module behind them loads with the first call, at some 0.5 MB for the library that it is built with.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsrt.device import _linux

CAP_IPC_LOCK = 14  # the bit in capabilities(7)

NO_MODULE = "cffi is not installed for this Python (pip install cffi), or gsrt was built without it"


class Outcome:
    """What came of one call: whether it is done, and what there is to say of it in a few words."""

    __slots__ = ("done", "part", "why")

    def __init__(self, part: str, done: bool, why: str) -> None:
        self.part = part  # what it was about, in one word
        self.done = done
        self.why = why

    def __repr__(self) -> str:
        return f"Outcome({self.part!r}, {self.done}, {self.why!r})"


def calls() -> type[_linux.lib] | None:
    """The compiled functions; None where they cannot be loaded."""
    try:
        from gsrt.device import _linux
    except ImportError:  # without cffi's run-time library, too
        return None
    return _linux.lib


def lock_memory() -> Outcome:
    """What is in memory stays there (no page of the server is ever written to swap or read again from the card), and
    what comes into it later too. It takes up no more memory by that."""
    part = "lock_memory"
    lib = calls()
    if lib is None:
        return Outcome(part, False, NO_MODULE)
    limit = _limit_on_locked_memory()
    if limit is not None:
        # A lower limit would hold for all that is mapped later as well, and the server could no longer grow.
        return Outcome(
            part,
            False,
            f"only {limit:,} bytes may be locked: LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited",
        )
    return _told(part, lib.gsrt_lock_memory(), "pages that are in memory stay there")


def limit_arenas(arenas: int) -> Outcome:
    """The C library's allocator keeps so many pools, whatever the number of threads: one that the first thread has, and
    others beside it. Those that threads have already stay theirs."""
    part = "malloc_arenas"
    lib = calls()
    if lib is None:
        return Outcome(part, False, NO_MODULE)
    return _told(part, lib.gsrt_limit_arenas(arenas), f"at most {arenas}")


def set_timer_slack(microseconds: int) -> Outcome:
    """How much later than asked for the kernel may wake this thread, and those it starts from now on, in order to wake
    the processor less often."""
    part = "timer_slack_us"
    lib = calls()
    if lib is None:
        return Outcome(part, False, NO_MODULE)
    return _told(part, lib.gsrt_set_timer_slack(microseconds * 1000), f"up to {microseconds} us late")


def apply_settings(arenas: int, timer_slack_us: int) -> list[Outcome]:
    """What a profile asks of the C library and the kernel; 0: nothing."""
    found = [limit_arenas(arenas)] if arenas else []
    return [*found, set_timer_slack(timer_slack_us)] if timer_slack_us else found


def describe(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """For the log: part -> what is in force of it, or why nothing is."""
    return {outcome.part: outcome.why if outcome.done else f"no: {outcome.why}" for outcome in outcomes}


def reason(returned: int) -> str:
    """What a negative result of a compiled function says."""
    if returned == -errno.ENOSYS:
        return "this kernel or C library has no such call"
    return os.strerror(-returned)


def _told(part: str, returned: int, why: str) -> Outcome:
    if returned >= 0:
        return Outcome(part, True, why)
    return Outcome(part, False, reason(returned))


def _limit_on_locked_memory() -> int | None:
    """Bytes; None: there is none, or this process may pass it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return None
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
        return None
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"CapEff:") and int(line.split()[1], 16) >> CAP_IPC_LOCK & 1:
                    return None
    except OSError:
        pass  # then the limit is taken to hold
    return soft

"""Linux calls that Python has no function for, and a small box gains by. None of them is needed: where one cannot be
had, its Outcome says why, and the server goes on without.

The compiled module behind them loads with the first call, at some 0.5 MB for the library that it is built with.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.device import _linux

CAP_IPC_LOCK = 14  # the bit in capabilities(7)
TIMER_SLACK_NS_MAX = 1_000_000_000  # a second: beyond it no timer of the server would mean anything

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


def limit_arenas(arenas: int = 1) -> Outcome:
    """The C library's allocator keeps so many pools, whatever the number of threads. Only before threads start does it
    take effect on all of them."""
    lib = calls()
    if lib is None:
        return Outcome("limit_arenas", False, NO_MODULE)
    return _told("limit_arenas", lib.gsrt_limit_arenas(arenas), f"at most {arenas}")


def trim_memory() -> Outcome:
    """Gives what the C library's allocator keeps in reserve back to the kernel, once."""
    lib = calls()
    if lib is None:
        return Outcome("trim_memory", False, NO_MODULE)
    returned = lib.gsrt_trim_memory()
    return _told("trim_memory", returned, "memory was given back" if returned else "there was nothing to give back")


def set_trimming(keep_bytes: int, map_from_bytes: int) -> Outcome:
    """From now on the allocator gives free memory back when it is more than KEEP_BYTES at its end, and takes blocks of
    MAP_FROM_BYTES or more from the kernel one by one, which it gives back each."""
    lib = calls()
    if lib is None:
        return Outcome("set_trimming", False, NO_MODULE)
    returned = lib.gsrt_keep_free_at_most(keep_bytes)
    if returned >= 0:
        returned = lib.gsrt_map_from(map_from_bytes)
    return _told("set_trimming", returned, f"keeps {keep_bytes:,} bytes, maps blocks from {map_from_bytes:,}")


def set_timer_slack(nanoseconds: int) -> Outcome:
    """How much later than asked for the kernel may wake this thread, and those it starts from now on, in order to wake
    the processor less often (50,000 ns unless it is set)."""
    part = "set_timer_slack"
    if not 1 <= nanoseconds <= TIMER_SLACK_NS_MAX:
        return Outcome(part, False, f"from 1 to {TIMER_SLACK_NS_MAX:,} ns can be set")
    lib = calls()
    if lib is None:
        return Outcome(part, False, NO_MODULE)
    return _told(part, lib.gsrt_set_timer_slack(nanoseconds), f"{nanoseconds:,} ns")


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

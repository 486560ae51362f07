"""Calls for small boxes: each in a process of its own, for what they change stays."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
MEGABYTE = 1 << 20


def run(program: str, *, locked: int | None = None) -> Any:
    """What PROGRAM puts into `said`; it may lock so many bytes of memory."""

    def lower_limit() -> None:
        assert locked is not None
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (locked, locked))

    before = (
        "import json, os, sys\nfrom gsrt.device import linux\n"
        "def status(key):\n"
        "    return int(next(line for line in open('/proc/self/status') if line.startswith(key)).split()[1]) << 10\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{before}{program}\nprint(json.dumps(said))"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=None if locked is None else lower_limit,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


needs_glibc = pytest.mark.skipif(
    not any("libc.so.6" in line for line in Path("/proc/self/maps").read_text().splitlines()),
    reason="the C library here is another one",
)


POOLS = """
import threading
def pools():
    places = [line.split(None, 5) for line in open("/proc/self/maps")]  # all but the first are at multiples of 64 MiB
    return sum(int(place[0].split("-")[0], 16) % (64 << 20) == 0 and len(place) == 5 for place in places)
def threads():
    import ctypes
    c = ctypes.CDLL(None)
    c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    together = threading.Barrier(5)
    def work():
        c.malloc(4096)
        together.wait()
        together.wait()
    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    together.wait()
    found = pools()
    together.wait()
    return found
"""


@needs_glibc
@pytest.mark.skipif(sys.maxsize < 1 << 32, reason="on 32 bits too much begins at a multiple of a pool's size")
@pytest.mark.parametrize(("arenas", "beside"), [(0, 4), (1, 0), (3, 2)])
def test_threads_share_so_many_pools_of_memory(arenas: int, beside: int) -> None:
    outcomes, before, after = run(
        f"""{POOLS}
said = [[repr(each) for each in linux.apply_settings({arenas}, 0)], pools(), threads()]
"""
    )
    assert outcomes == ([f"Outcome('malloc_arenas', True, 'at most {arenas}')"] if arenas else [])
    assert (before, after) == (0, beside)


def test_timer_slack_is_what_was_asked_for_and_threads_have_it_too() -> None:
    said = run(
        """
import threading
outcome, = linux.apply_settings(0, 4000)
def slack():
    return int(open(f"/proc/{threading.get_native_id()}/timerslack_ns").read())
said = [outcome.part, outcome.done, outcome.why, slack()]
thread = threading.Thread(target=lambda: said.append(slack()))
thread.start()
thread.join()
"""
    )
    assert said == ["timer_slack_us", True, "up to 4000 us late", 4_000_000, 4_000_000]


def may_lock() -> bool:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    status = Path("/proc/self/status").read_text().splitlines()
    capabilities = int(next(line for line in status if line.startswith("CapEff:")).split()[1], 16)
    return resource.RLIM_INFINITY in (soft, hard) or bool(capabilities >> 14 & 1)


@pytest.mark.skipif(not may_lock(), reason="nobody here may lock memory")
def test_memory_is_locked_and_no_more_of_it_is_taken_for_that() -> None:
    outcome, locked, grown, later = run(
        """
outcome = linux.lock_memory  # the library is loaded before it is measured
linux.calls()
import mmap
reserved = mmap.mmap(-1, 256 << 20)
before = status("VmRSS:")
outcome = linux.lock_memory()
grown = status("VmRSS:") - before
reserved_too = mmap.mmap(-1, 256 << 20)
said = [repr(outcome), status("VmLck:"), grown, status("VmRSS:") - before]
"""
    )
    assert outcome == "Outcome('lock_memory', True, 'pages that are in memory stay there')"
    assert locked > 256 * MEGABYTE  # addresses, whether there is memory behind them or not
    assert max(grown, later) < 4 * MEGABYTE


def test_memory_is_not_locked_where_a_limit_would_stop_the_server_later() -> None:
    said = run(
        """
import resource
linux.calls()
if os.getuid() == 0:
    os.setresuid(65534, 65534, 65534)
outcome = linux.lock_memory()
said = [outcome.done, outcome.why, status("VmLck:")]
""",
        locked=65536,
    )
    assert said == [
        False,
        "only 65,536 bytes may be locked: LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited",
        0,
    ]


@pytest.mark.parametrize("missing", ["_cffi_backend", "gsrt.device._linux"])
def test_without_the_library_every_call_says_so(missing: str) -> None:
    said = run(
        f"""
sys.modules[{missing!r}] = None
said = [(outcome.done, outcome.why) for outcome in (linux.lock_memory(), *linux.apply_settings(1, 1))]
"""
    )
    assert len(said) == 3
    assert all(each == [False, said[0][1]] for each in said)
    assert said[0][1].startswith("cffi is not installed")


def test_nothing_of_it_is_loaded_before_it_is_asked_for() -> None:
    said = run(
        """
import gsrt.device.containment, gsrt.contained, gsrt.server
said = sorted({"_cffi_backend", "gsrt.device._linux"} & set(sys.modules))
"""
    )
    assert said == []

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


@needs_glibc
def test_the_allocator_s_settings() -> None:
    said = run(
        """
outcomes = [linux.limit_arenas(), linux.set_trimming(131072, 131072), linux.trim_memory()]
said = [(outcome.part, outcome.done, outcome.why) for outcome in outcomes]
"""
    )
    assert said[:2] == [
        ["limit_arenas", True, "at most 1"],
        ["set_trimming", True, "keeps 131,072 bytes, maps blocks from 131,072"],
    ]
    assert said[2][:2] == ["trim_memory", True]


@needs_glibc
def test_what_is_trimmed_has_gone_back_to_the_kernel() -> None:
    """Blocks in between that are still used keep the allocator from giving free ones back by itself."""
    before, after = run(
        """
import ctypes
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.malloc.argtypes, c.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
linux.trim_memory()
blocks = [c.malloc(65536) for _ in range(512)]
for block in blocks:
    ctypes.memset(block, 1, 65536)
for block in blocks[::2]:
    c.free(block)
said = [status("VmRSS:")]
linux.trim_memory()
said.append(status("VmRSS:"))
"""
    )
    assert before - after > 8 * MEGABYTE  # of 16


def test_timer_slack_is_what_was_asked_for_and_threads_have_it_too() -> None:
    said = run(
        """
import threading
from gsrt.device import _linux
outcome = linux.set_timer_slack(4_000_000)
said = [outcome.done, outcome.why, _linux.lib.gsrt_timer_slack()]
thread = threading.Thread(target=lambda: said.append(_linux.lib.gsrt_timer_slack()))
thread.start()
thread.join()
"""
    )
    assert said == [True, "4,000,000 ns", 4_000_000, 4_000_000]


@pytest.mark.parametrize("nanoseconds", [0, -1, 10**9 + 1])
def test_no_timer_slack(nanoseconds: int) -> None:
    said = run(f"outcome = linux.set_timer_slack({nanoseconds})\nsaid = [outcome.done, outcome.why]")
    assert said == [False, "from 1 to 1,000,000,000 ns can be set"]


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
outcomes = [
    linux.lock_memory(), linux.limit_arenas(), linux.trim_memory(), linux.set_trimming(1, 1), linux.set_timer_slack(1)
]
said = [(outcome.done, outcome.why) for outcome in outcomes]
"""
    )
    assert len(said) == 5
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

"""The watchdog: a call that never comes back to a tick has the server executed anew, as the same process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gsrt._meter import Meter

ENDLESS = """
import os, sys
from gsrt._meter import Account, Meter
meter = Meter(cpu_ms=20)
meter.start_timer()
note = os.open({note!r}, os.O_WRONLY | os.O_CREAT)
inherited = [name + b"=" + value for name, value in os.environb.items()]
arguments = [b"python", b"-c", {following!r}, b"an argument"]
prepare = {prepare!r}
exec(prepare)
meter.arm_watchdog(0.1, {program!r}, arguments, [b"PLACE=here", *inherited], note)
print(os.getpid(), flush=True)
meter.call(Account(b"session 7 ships.py"), lambda: {work})
"""

FOLLOWING = b"""
import os, signal, sys
from gsrt._meter import Exceeded, Meter
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
print(os.getpid(), sys.argv[1], os.environ["PLACE"], sorted(blocked))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("SigPnd", "ShdPnd"))])
meter = Meter(gas=1_000_000_000, cpu_ms=20)
meter.start_timer()
tick = meter.tick_object
def forever():
    while True:
        bool(tick)
try:
    meter.call(None, forever)
except Exceeded as exceeded:
    print(exceeded.budget)
"""

SUM = "sum(range(10**11))"


def run(
    note: Path, *, program: str | None = sys.executable, prepare: str = "", work: str = SUM
) -> subprocess.CompletedProcess[str]:
    source = ENDLESS.format(
        note=str(note),
        prepare=prepare,
        program=None if program is None else os.fsencode(program),
        following=FOLLOWING,
        work=work,
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_a_call_that_does_not_come_back(tmp_path: Path) -> None:
    done = run(tmp_path / "note")
    first, second, pending, end = done.stdout.splitlines()
    assert second == f"{first} an argument here []"  # the same process, and no signal blocked
    assert set(pending) <= set("[]', 0")
    assert end == "time"  # the timer of the new program works as that of the old one did
    assert (tmp_path / "note").read_bytes() == b"session 7 ships.py"
    assert done.stderr == (
        "error script.watchdog a callback did not come back, the server starts anew script=session 7 ships.py\n"
    )
    assert done.returncode == 0


def test_a_log_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    prepare = """
reading, writing = os.pipe()
os.dup2(writing, 2)
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 512)
except BlockingIOError:
    os.set_blocking(2, True)
"""
    done = run(tmp_path / "note", prepare=prepare)
    assert done.stdout.splitlines()[-1] == "time"


def test_a_program_that_cannot_be_executed(tmp_path: Path) -> None:
    done = run(tmp_path / "note", program=str(tmp_path / "missing"))
    assert done.returncode == 70
    assert done.stderr.splitlines()[1] == "error script.watchdog the server cannot be started anew"


def test_a_process_that_may_execute_nothing_ends(tmp_path: Path) -> None:
    done = run(tmp_path / "note", program=None)
    assert done.returncode == 70
    assert done.stderr == (
        "error script.watchdog a callback did not come back, the server ends script=session 7 ships.py\n"
    )
    assert done.stdout.count("\n") == 1
    assert (tmp_path / "note").read_bytes() == b"session 7 ships.py"


def test_it_does_not_bite_what_comes_back(tmp_path: Path) -> None:
    work = "[bool(meter.tick_object) for _ in range(10**9)]"
    done = run(tmp_path / "note", work=work)
    assert "Exceeded" in done.stderr
    assert (tmp_path / "note").read_bytes() == b""


def test_it_does_not_bite_the_server_itself(tmp_path: Path) -> None:
    prepare = """
import time
until = time.thread_time() + 0.3
def busy():
    while time.thread_time() < until:
        pass
meter.arm_watchdog(0.1, b"/nonexistent", [], [])
busy()
meter.arm_watchdog(0.1, b"/nonexistent", [], [])
meter.disarm_watchdog()
meter.disarm_watchdog()
try:
    until += 0.3
    meter.call(None, busy)
except Exception as exceeded:
    print(type(exceeded).__name__, flush=True)
os._exit(0)
"""
    done = run(tmp_path / "note", prepare=prepare)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Exceeded\n", "")


def test_what_it_is_armed_with_is_checked() -> None:
    meter = Meter()
    with pytest.raises(ValueError, match="more than no time"):
        meter.arm_watchdog(0, b"/bin/true", [], [])
    with pytest.raises(TypeError):
        meter.arm_watchdog(1, b"/bin/true", ["text"], [])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        meter.arm_watchdog(1, b"/bin/true", [], [None])  # type: ignore[list-item]

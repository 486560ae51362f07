"""Runs cases of the corpus: `python -m tests.scripts.corpus.runner KEY...`; a key is group/name; none: all cases.

A JSON object per line goes out: {"key", "outcome", "faults": [..], "said": [..], "beyond_ms", "grown_kb", "seconds"}.
Each case has a process of its own, forked from one that has loaded everything: nothing a case does reaches another. A
fault is one word and what about it:

    ESCAPE   the script handed something to the probe that no script must have
    STALL    a call used more than 100 ms of CPU beyond its deadline, or the process had to be killed
    CRASH    the process died
    HOSTEXC  something else than the script's own failure came out of the host's calls
    GROWTH   the resident size went, in one turn, more than 24 MB over what it was before that turn (the memory budget
             of 8 MB; 8 MB for a moment while what is held is counted; 8 MB slack), or in all more than 32 MB over what
             it was before the script (the budget in each of three strikes, 8 MB slack)
    POISON   a benign script was answered differently afterwards, or what scripts share had changed
    OUTCOME  none of the outcomes that are expected
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any, NamedTuple

from gsrt.scripts.compiler import Compiled, Refused, compile_script
from gsrt.scripts.sandbox import Sandbox
from tests.scripts.corpus.benign import SOURCE as BENIGN
from tests.scripts.corpus.case import REJECT, Case
from tests.scripts.corpus.event_stage import EventStage
from tests.scripts.corpus.events import EVENTS
from tests.scripts.corpus.every import CASES
from tests.scripts.corpus.offered import OFFERED
from tests.scripts.corpus.stage import Control, Stage, make_sandbox, resident_kb

STALL_MS = 100  # beyond the deadline
TURN_GROWTH_KB = 24 * 1024  # 8 MB the budget, 8 MB for what the walk over held objects needs, 8 MB slack
GROWTH_KB = 32 * 1024  # three strikes of 8 MB each, 8 MB slack
PROCESSOR_SECONDS = 20  # many times what the slowest case takes
KILLED_AFTER = 120.0  # seconds of wall time: cases run beside whatever else the machine does
FILE_NAME = "corpus.py"


class Benign(NamedTuple):
    """A script that means well, and what it is answered where nothing bad has ever happened."""

    compiled: Compiled
    answers: list[tuple[object, ...]]


def run_case(case: Case, benign: Benign) -> dict[str, Any]:
    """All of one case, in this process."""
    sandbox = make_sandbox()  # not before the fork: its meter looks at the size of the process that made it
    shared = _shared(sandbox)
    sandbox.meter.start_timer()
    outcomes: list[str] = []
    faults: list[str] = []
    said: list[str] = []
    beyond, longest, grown = 0.0, "", 0
    for _ in range(case.sessions):
        try:
            compiled = compile_script(case.source, FILE_NAME)
        except Refused as refused:
            outcomes.append(REJECT)
            said += [str(problem) for problem in refused.problems]
            if not refused.problems or any(problem.line < 1 or problem.column < 1 for problem in refused.problems):
                faults.append("HOSTEXC refused without saying where")
            continue
        gc.collect()
        started = resident_kb("VmRSS")
        stage = (EventStage if case.group == EVENTS else Stage)(sandbox, compiled)
        try:
            stage.play()
        except BaseException as error:
            faults.append(f"HOSTEXC {type(error).__name__}: {str(error)[:200]}")
        outcomes.append(stage.outcome)
        said += stage.said
        faults += [f"ESCAPE {found}" for found in stage.probe.found]
        if stage.beyond > beyond:
            beyond, longest = stage.beyond, stage.longest
        if stage.grown_kb > TURN_GROWTH_KB:
            faults.append(f"GROWTH {stage.grown_kb} KB in {stage.grew}")
        if stage.peak_kb - started > GROWTH_KB:
            faults.append(f"GROWTH {stage.peak_kb - started} KB in all")
        grown = max(grown, stage.peak_kb - started)
        stage.close()
        del stage
    if beyond > STALL_MS:
        faults.append(f"STALL {beyond:.0f} ms beyond the deadline in {longest}")
    gc.collect()
    sandbox.meter.stop_timer()
    if answers(sandbox, benign.compiled) != benign.answers:
        faults.append("POISON a benign script was answered differently")
    if _shared(sandbox) != shared:
        faults.append("POISON what scripts share has changed")
    if not set(outcomes) <= set(case.expected.split("|")):
        faults.append(f"OUTCOME {', '.join(dict.fromkeys(outcomes))} instead of {case.expected}")
    return {
        "outcome": outcomes[-1],
        "faults": faults,
        "said": [text[:200] for text in dict.fromkeys(said)][:5],
        "beyond_ms": round(beyond, 1),
        "grown_kb": grown,
    }


def answers(sandbox: Sandbox, benign: Compiled) -> list[tuple[object, ...]]:
    """What a benign script is answered in a session of its own: within all budgets but that of time, whose timer is
    stopped. How long it takes depends on the machine, and is no part of what an attack could have poisoned."""
    stage = Control(sandbox, benign, "benign")
    stage.play()
    events = [*stage.events, ("outcome", stage.outcome, *stage.probe.found)]
    stage.close()
    return events


def _shared(sandbox: Sandbox) -> list[object]:
    """What all scripts use, as far as a script could reach for it: names and identities."""
    from gsrt import _guard, _meter
    from gsrt.scripts import event_guest, guest

    spaces: list[object] = [{name: id(value) for name, value in sandbox.builtins.items()}]
    for value in sandbox.builtins.values():
        if isinstance(value, type):
            spaces.append(sorted(vars(value)))
    for name in ("math",):
        namespace = sandbox.builtins[name]
        spaces.append({each: id(getattr(namespace, each)) for each in dir(namespace) if not each.startswith("_")})
    for module in (_guard, _meter, *OFFERED, event_guest, guest):
        spaces.append({name: id(value) for name, value in vars(module).items()})
        spaces += [sorted(vars(value)) for value in vars(module).values() if isinstance(value, type)]
    spaces += [sys.getrecursionlimit(), gc.isenabled(), gc.get_threshold(), os.getcwd(), sorted(os.environ)]
    return spaces


def _in_child(case: Case, benign: Benign, writer: int) -> None:
    """Runs the case and never returns."""
    status = 1
    try:
        signal.alarm(int(KILLED_AFTER) + 5)
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))  # the end of them is a SIGKILL
        try:
            found = run_case(case, benign)
        except BaseException as error:
            found = {"outcome": "none", "faults": [f"HOSTEXC {type(error).__name__}: {str(error)[:300]}"]}
        with os.fdopen(writer, "w") as pipe:
            json.dump(found, pipe)
        status = 0
    finally:
        os._exit(status)


def run_forked(case: Case, benign: Benign) -> dict[str, Any]:
    """The same in a process of its own."""
    began = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_child(case, benign, writer)
    os.close(writer)
    answer = b""
    killed = False
    while True:
        left = began + KILLED_AFTER - time.monotonic()
        ready, _, _ = select.select([reader], [], [], max(0.0, left))
        if not ready:
            killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            break
        part = os.read(reader, 65536)
        if not part:
            break
        answer += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    found: dict[str, Any] = {"outcome": "none", "faults": []}
    if killed:
        found["faults"] = [f"STALL killed after {KILLED_AFTER:.0f} s"]
    elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        found["faults"] = [f"STALL killed, as after {PROCESSOR_SECONDS} s of CPU"]
    elif os.WIFSIGNALED(status):
        found["faults"] = [f"CRASH by signal {os.WTERMSIG(status)}"]
    elif status:
        found["faults"] = [f"CRASH with exit status {os.WEXITSTATUS(status)}"]
    else:
        found = json.loads(answer)
    return {"key": case.key, **found, "seconds": round(time.monotonic() - began, 3)}


def main() -> int:
    compiled = compile_script(BENIGN, "benign.py")
    benign = Benign(compiled, answers(make_sandbox(), compiled))
    gc.collect()
    gc.freeze()
    for key in sys.argv[1:] or CASES:
        print(json.dumps(run_forked(CASES[key], benign)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The short-lived process in which a script is compiled: see gsrt.scripts.compiling.

    python -c "...main(PATH, SOURCE_BYTES_MAX)"

Writes to standard output, as marshal has it: ("code", code, filename, digest, warnings), ("refused", problems) or
("error", text); a problem is (filename, line, column, what, instead).
"""

from __future__ import annotations

import marshal
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.scripts.compiler import Problem

DATA_BYTES_MORE = 256 << 20  # addresses too, the stack among them; some sources make the compiler take a lot
SECONDS_MAX = 60  # then it ends, should nobody end it or read what it writes
NICENESS = 5  # the players first


def main(path: str, source_bytes_max: int) -> None:
    """Compiles the file and writes what came of it."""
    import resource
    import threading

    from gsrt.scripts.compiler import STACK_BYTES

    signal.alarm(SECONDS_MAX)
    try:
        os.nice(NICENESS)
    except OSError:
        pass  # a hardened service may not, and compiles all the same
    most = _data_bytes() + DATA_BYTES_MORE
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    answer: list[tuple[Any, ...]] = [("error", "it takes too much memory to compile; shorten it")]

    def work() -> None:
        try:
            answer[0] = compiled(path, source_bytes_max)
        except MemoryError:
            pass  # the answer is there already

    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    sys.stdout.buffer.write(marshal.dumps(answer[0]))
    sys.stdout.buffer.flush()
    os._exit(0)  # nothing is left to be taken down in order


def compiled(path: str, source_bytes_max: int) -> tuple[Any, ...]:
    """What is to be written."""
    from gsrt.scripts.compiler import Refused, compile_script

    try:
        with open(path, "rb") as file:
            source = file.read(source_bytes_max + 1)
    except OSError as error:
        return "error", error.strerror
    try:
        made = compile_script(source, os.path.basename(path), source_bytes_max=source_bytes_max)
    except Refused as refused:
        return "refused", [_plain(each) for each in refused.problems]
    return "code", made.code, made.filename, made.digest, [_plain(each) for each in made.warnings]


def _data_bytes() -> int:
    """What this process has already: a debugging tool below it may have reserved a lot."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 0


def _plain(problem: Problem) -> tuple[str, int, int, str, str]:
    return problem.filename, problem.line, problem.column, problem.what, problem.instead

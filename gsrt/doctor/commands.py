"""Running another program for what it says: bounded in time and in what is read of it."""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from subprocess import Popen

OUTPUT_BYTES_MAX = 1024 * 1024  # a firewall of some thousand rules, as JSON
READ_BYTES = 65536
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"  # of which a user's PATH lacks some


class Output:
    """What a program printed on standard output (TEXT) and standard error (ERROR), and how it ended: STATUS is its exit
    status, a signal's number with a minus, or None where it was ended here, for it took too long or said too much."""

    __slots__ = ("error", "status", "text")

    def __init__(self, status: int | None, text: str = "", error: str = "") -> None:
        self.status = status
        self.text = text
        self.error = error


def run_command(words: Sequence[str], seconds: float) -> Output | None:
    """Runs WORDS for at most so many SECONDS, in English and without input. None: there is no such program."""
    import subprocess

    environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}"}
    try:
        process = subprocess.Popen(
            _found(words, environment["PATH"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # so that what it starts itself ends with it
        )
    except OSError:
        return None
    with process:
        try:
            texts = _read(process, time.monotonic() + seconds)
            status = None if texts is None else process.wait(seconds)
        except subprocess.TimeoutExpired:
            texts = status = None
        finally:
            _end(process)
    if texts is None or status is None:
        return Output(None)
    return Output(status, *(text.decode("utf-8", "replace") for text in texts))


def _found(words: Sequence[str], path: str) -> list[str]:
    """WORDS with the program's path; Popen itself would look for it along the caller's PATH."""
    from shutil import which

    program = which(words[0], path=path)
    if program is None:
        raise FileNotFoundError(words[0])
    return [program, *words[1:]]


def _read(process: Popen[bytes], end: float) -> tuple[bytes, bytes] | None:
    """Everything the process prints until it closes both; None when it takes too long or is too much."""
    assert process.stdout is not None and process.stderr is not None
    texts = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    open_ones = set(texts)
    while open_ones:
        ready, _, _ = select.select(open_ones, (), (), max(0.0, end - time.monotonic()))
        if not ready:
            return None
        for descriptor in ready:
            data = os.read(descriptor, READ_BYTES)
            texts[descriptor] += data
            if not data:
                open_ones.discard(descriptor)
            elif len(texts[descriptor]) > OUTPUT_BYTES_MAX:
                return None
    return bytes(texts[process.stdout.fileno()]), bytes(texts[process.stderr.fileno()])


def _end(process: Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, 9)
        except (ProcessLookupError, PermissionError):  # the latter: it has become another user's, as sudo does
            process.kill()

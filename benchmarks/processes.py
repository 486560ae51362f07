"""Processes under measurement: each on a processor of its own, started fresh, ended for certain."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.figures import Problem

Result = dict[str, Any]  # what a load generator prints: see print at the end of c/traffic.c

START_SECONDS = 20.0
STOP_SECONDS = 5.0
ANSWER_SECONDS = 5.0
PORTS = range(20000, 30000)  # below the ports that Linux gives to clients by itself

_ALLOWED = sorted(os.sched_getaffinity(0))
PINNED = len(_ALLOWED) > 1
SERVER_CPU, GENERATOR_CPU = (_ALLOWED[0], _ALLOWED[1]) if PINNED else (_ALLOWED[0], _ALLOWED[0])
_next_port = PORTS.start + os.getpid() * 31 % len(PORTS)


@contextlib.contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """What starts inside inherits the processor. With a single processor nothing is pinned."""
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, _ALLOWED)


def free_port() -> int:
    """A port that is free for TCP and UDP on loopback."""
    global _next_port
    for _ in PORTS:
        _next_port = _next_port + 1 if _next_port + 1 in PORTS else PORTS.start
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("127.0.0.1", _next_port))
        except OSError:
            continue
        return _next_port
    raise Problem("no free port on loopback")


@contextlib.contextmanager
def server(
    command: Sequence[str], log_path: str, cwd: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the command on the server's processor, its output in a log file, and ends it at the end."""
    with open(log_path, "wb") as log, on_cpu(SERVER_CPU):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_output(process: subprocess.Popen[bytes], log_path: str, text: bytes) -> None:
    """Waits until the server has printed the text. Raises Problem if it ends, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with open(log_path, "rb") as log:
            if text in log.read():
                return
        check_running(process, log_path)
        if time.monotonic() > deadline:
            raise Problem(f"{process.args!r} did not start within {START_SECONDS} s")
        time.sleep(0.005)


def wait_for_connect(process: subprocess.Popen[bytes], log_path: str, port: int) -> None:
    """Waits, without ever sleeping, until a TCP connect works."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        check_running(process, log_path)
        if time.monotonic() > deadline:
            raise Problem(f"{process.args!r} did not listen within {START_SECONDS} s")


def check_running(process: subprocess.Popen[bytes], log_path: str) -> None:
    if process.poll() is not None:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            last = " | ".join(log.read().splitlines()[-3:])
        raise Problem(f"the server ended with status {process.returncode}: {last}")


def wait_until_childless(pid: int) -> None:
    """Waits for helpers that the server has started, such as one that makes a certificate."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            if not children.read().strip():
                return
        time.sleep(0.05)


def rss_mib(pid: int) -> float:
    """Resident memory (VmRSS) in MiB, 1,048,576 bytes each."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    raise Problem(f"process {pid} has no memory")


def cpu_ms(pid: int) -> float:
    """Processor time that the main thread has had since it was forked (/proc/PID/schedstat, nanoseconds), in ms."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as statistics:
        return int(statistics.read().split()[0]) / 1e6


def generate(command: Sequence[str], seconds: float) -> Result:
    """Runs a load generator on its processor and returns the object it prints. Raises Problem with its words."""
    with on_cpu(GENERATOR_CPU):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Problem(f"{os.path.basename(command[0])} took over {seconds:.0f} s") from None
    try:
        answer: Result = json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Problem(f"{os.path.basename(command[0])}: {errors.strip() or 'no result'}") from None
    if "error" in answer:
        raise Problem(f"{os.path.basename(command[0])}: {answer['error']}")
    return answer


def _connect(control: socket.socket, path: str) -> None:
    """A server may listen on its port a moment before it does so on its control socket."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            control.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            if time.monotonic() > deadline:
                raise Problem(f"nobody answers at the control socket {path}") from None
            time.sleep(0.005)
        else:
            return


def ask(path: str, requests: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Sends requests over a server's control socket, one JSON object a line, and returns the answers."""
    answers = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(ANSWER_SECONDS)
        _connect(control, path)
        with control.makefile("rwb") as stream:
            for request in requests:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline() or b"{}")
                if not answer.get("ok"):
                    raise Problem(f"{request['do']}: {answer.get('error', 'no answer')}")
                answers.append(answer)
    return answers

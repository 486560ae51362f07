"""Child processes: what a Python of our own gets from us, and what it does not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gsrt.children import inheritable_descriptors, spawn_python

DEADLINE = 20  # seconds, after which a child ends by itself
# What it finds: it writes a line of JSON.
TELL = f"""
import json, os, signal, sys
signal.alarm({DEADLINE})
def find(descriptor):
    try:
        return os.readlink("/proc/self/fd/%d" % descriptor)
    except OSError:
        return None
def tell(descriptor, looked_at):
    found = dict(
        path=sys.path, isolated=sys.flags.isolated, site=sys.flags.no_site,
        files=[find(each) for each in looked_at], blocked=[int(each) for each in signal.pthread_sigmask(0, [])],
        ignored=[int(each) for each in signal.valid_signals() if signal.getsignal(each) == signal.SIG_IGN],
        group=os.getpgrp(),
    )
    os.write(descriptor, json.dumps(found).encode())
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(end to read from, end to write to), neither of which is inherited."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def told(pipe: tuple[int, int], child: int) -> dict[str, Any]:
    """What the child has written to the pipe, once it has ended well."""
    reader, writer = pipe
    os.close(writer)
    with open(reader, "rb", closefd=False) as answer:
        text = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found: dict[str, Any] = json.loads(text)
    return found


def test_it_prints_to_the_output_and_has_our_modules(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, '/nowhere/it\'s "here"'])
    found = told(pipe, spawn_python(f"exec({TELL!r}); tell(1, [0, 1, 2])", output=pipe[1]))
    assert found["path"] == sys.path
    assert (found["isolated"], found["site"]) == (1, 1)
    assert found["files"][::2] == [os.devnull] * 2
    assert found["files"][1].startswith("pipe:")
    assert found["group"] == os.getpgrp()


def test_the_descriptor_it_keeps_is_the_only_one_it_gets(pipe: tuple[int, int]) -> None:
    with open("/dev/zero", "rb") as restart, open("/dev/full", "rb") as private:
        os.set_inheritable(restart.fileno(), True)
        assert restart.fileno() in inheritable_descriptors()
        looked_at = [0, 1, 2, pipe[1], restart.fileno(), private.fileno()]
        child = spawn_python(f"exec({TELL!r}); tell({pipe[1]}, {looked_at})", kept=pipe[1], own_group=True)
        found = told(pipe, child)
        assert os.get_inheritable(restart.fileno())
    assert found["files"][:3] == [os.devnull] * 3
    assert found["files"][3].startswith("pipe:")
    assert found["files"][4:] == [None, None]
    assert found["group"] == child


def test_what_it_keeps_may_have_been_inheritable_before(pipe: tuple[int, int]) -> None:
    os.set_inheritable(pipe[1], True)
    found = told(pipe, spawn_python(f"exec({TELL!r}); tell({pipe[1]}, [{pipe[1]}])", kept=pipe[1]))
    assert found["files"][0].startswith("pipe:")


def test_signals_that_end_it_do_so(pipe: tuple[int, int]) -> None:
    """A server blocks and ignores some, which a child would take over."""
    ends = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, signal.SIG_IGN) for each in ends]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, *ends])
    try:
        child = spawn_python(f"exec({TELL!r}); tell(1, [])", output=pipe[1])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for each, handler in zip(ends, before, strict=True):
            signal.signal(each, handler)
    found = told(pipe, child)
    assert found["blocked"] == []
    assert not set(ends) & set(found["ignored"])


def test_without_a_python_there_is_an_error(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        spawn_python("pass", output=pipe[1])

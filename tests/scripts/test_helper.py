"""The process that compiles scripts for a server which may start none itself."""

from __future__ import annotations

import marshal
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.device.linux import calls
from gsrt.scripts.compiling import Compiler, HostError
from gsrt.scripts.helper import Helper

LIMIT = 65536
DEADLINE = 20.0


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Helper]:
    """It reads below tmp_path/scripts."""
    (tmp_path / "scripts").mkdir()
    helper = Helper.start([str(tmp_path / "scripts")])
    yield helper
    helper.close()
    buried(helper.process)


def buried(child: int) -> int:
    end = time.monotonic() + DEADLINE
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        assert time.monotonic() < end, "it does not end"
        time.sleep(0.005)  # between two looks


def written(path: Path, source: str) -> str:
    path.write_text(source)
    return str(path)


def test_it_compiles_one_script_after_the_other(helper: Helper, tmp_path: Path) -> None:
    for number in range(3):
        path = written(tmp_path / "scripts" / f"s{number}.py", f"x = {number}\n")
        made, _ = Compiler(helper).compile_file(path, LIMIT)
        assert (made.filename, made.code.co_consts[0]) == (f"s{number}.py", number)


def test_what_is_wrong_with_a_script_is_said_as_ever(helper: Helper, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"bad\.py:1:1: import is not available"):
        Compiler(helper).compile_file(written(tmp_path / "scripts/bad.py", "import os\n"), LIMIT)
    with pytest.raises(HostError, match="No such file"):
        Compiler(helper).compile_file(str(tmp_path / "scripts/missing.py"), LIMIT)
    with pytest.raises(HostError, match="the script has 65,537 bytes"):
        Compiler(helper).compile_file(written(tmp_path / "scripts/long.py", "#" * (LIMIT + 1)), LIMIT)


def test_names_that_are_no_utf_8(helper: Helper, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path / "scripts") + b"/gr\xfcn \n.py")
    Compiler(helper).compile_file(written(Path(path), "x = 1\n"), LIMIT)


def test_it_reads_no_other_files(helper: Helper, tmp_path: Path) -> None:
    lib = calls()
    if lib is None or lib.gsrt_landlock_version() < 1:
        pytest.skip("there is no landlock here")
    with pytest.raises(HostError, match="Permission denied"):
        Compiler(helper).compile_file(written(tmp_path / "outside.py", "x = 1\n"), LIMIT)


def test_it_outlives_a_script_that_takes_too_much(helper: Helper, tmp_path: Path) -> None:
    source = "x = " + "(" * 150 + "1" + ",)" * 150 + "\n"
    with pytest.raises(HostError):
        Compiler(helper).compile_file(written(tmp_path / "scripts/deep.py", source), LIMIT)
    Compiler(helper).compile_file(written(tmp_path / "scripts/plain.py", "x = 1\n"), LIMIT)


def test_once_it_has_ended_that_is_said(helper: Helper, tmp_path: Path) -> None:
    path = written(tmp_path / "scripts/s.py", "x = 1\n")
    process = helper.process
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    with pytest.raises(HostError, match="the process that compiles scripts has ended: start the server anew"):
        Compiler(helper).compile_file(path, LIMIT)


def test_it_ends_with_the_last_who_could_ask(tmp_path: Path) -> None:
    helper = Helper.start([str(tmp_path)])
    process = helper.process
    helper.close()
    assert buried(process) == 0


def test_a_request_without_a_place_for_the_answer_is_passed_over(tmp_path: Path) -> None:
    helper = Helper.start([str(tmp_path)])
    process = helper.process
    path = written(tmp_path / "s.py", "x = 1\n")
    own = socket.socket(fileno=os.dup(helper.fileno()))
    with own:
        own.send(b"65536 " + os.fsencode(path))
        own.send(b"nonsense")
        reader = helper.begin(path, LIMIT)
        with open(reader, "rb") as answer:
            assert marshal.loads(answer.read())[0] == "code"
        for nonsense in (b"", b"65536", b"\xff\xfe x"):
            reader, writer = os.pipe()
            if nonsense:
                socket.send_fds(own, [nonsense], [writer])
            os.close(writer)
            with open(reader, "rb") as answer:
                said = answer.read()
                assert not said or marshal.loads(said)[0] == "error"
    helper.close()
    assert buried(process) == 0

"""Programs that are run for what they say: real ones, bounded in every way."""

from __future__ import annotations

import sys
import time

import pytest

from gsrt.doctor.commands import OUTPUT_BYTES_MAX, Output, run_command

PATIENCE = 20.0  # seconds that a program may take which is meant to end by itself


def python(source: str, seconds: float = PATIENCE) -> Output:
    output = run_command([sys.executable, "-c", source], seconds)
    assert output is not None
    return output


def test_what_it_prints_and_how_it_ends() -> None:
    output = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (output.status, output.text, output.error) == (3, "out\n", "err\n")


def test_a_program_that_is_not_there() -> None:
    assert run_command(["gsrt-no-such-program"], PATIENCE) is None
    assert run_command(["/nonexistent/program"], PATIENCE) is None


def test_one_that_dies() -> None:
    assert python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").status == -9


@pytest.mark.parametrize(
    "source",
    [
        "import time; time.sleep(600)",
        "import os, time; os.close(1); os.close(2); time.sleep(600)",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
    ],
)
def test_one_that_does_not_end_is_ended(source: str) -> None:
    began = time.monotonic()
    assert python(source, 0.2).status is None
    assert time.monotonic() - began < PATIENCE


def test_one_that_prints_without_end_is_ended() -> None:
    output = python("while True: print('x' * 10000)")
    assert output.status is None
    assert len(output.text) <= OUTPUT_BYTES_MAX


def test_it_has_no_input_and_speaks_english() -> None:
    output = python("import os, sys; print(repr(sys.stdin.read()), os.environ['LC_ALL'])")
    assert output.text == "'' C\n"


def test_system_programs_are_found_whatever_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    output = run_command(["sh", "-c", "echo here"], PATIENCE)
    assert output is not None
    assert output.text == "here\n"


def test_bytes_that_are_no_text_are_shown_somehow() -> None:
    assert python("import sys; sys.stdout.buffer.write(bytes([255, 65]))").text.endswith("A")

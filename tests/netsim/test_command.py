"""`gsrt netsim`: what its arguments mean, and a real process of it."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.cli import CommandError, main
from gsrt.cli.netsim import add_arguments, conditions_of
from gsrt.netsim.conditions import CONDITIONS, Conditions, preset
from tests.netsim.echo import DEADLINE, HOST, Echo
from tests.support.program import Program
from tests.support.server import PROJECT


def conditions_in(*words: str) -> tuple[Conditions, Conditions]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return conditions_of(parser.parse_args(["localhost", "8784", *words]))


def test_options_hold_for_both_directions() -> None:
    expected = Conditions.parse("loss=5% delay=30ms jitter=20ms rate=1mbit")
    assert conditions_in("--loss", "5%", "--delay", "30ms", "--jitter", "20ms", "--rate", "1mbit") == (
        expected,
        expected,
    )


def test_every_condition_has_an_option() -> None:
    for key, condition in CONDITIONS.items():
        up, down = conditions_in(f"--{key.replace('_', '-')}", condition.example)
        assert up == down == Conditions.parse(f"{key}={condition.example}") != Conditions()


def test_options_go_before_the_preset_and_directions_before_options() -> None:
    up, down = conditions_in("--preset", "train", "--loss", "9%", "--up", "loss=8%", "--down", "satellite delay=1ms")
    assert up == Conditions.parse("train loss=8%")
    assert down == Conditions.parse("train loss=9% satellite delay=1ms")
    assert down.rate == preset("satellite").rate


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--loss", "5"), "argument --loss: loss=5 is not allowed; loss takes a share, 0% to 100%, such as loss=5%"),
        (("--preset", "moon"), "argument --preset: 'moon' is neither"),
        (("--listen", "9784"), "argument --listen: '9784' is not HOST:PORT, such as 127.0.0.1:9784"),
        (("--listen", "x:99999"), "argument --listen: '99999' is no port"),
        (("--every", "0"), "argument --every: '0' is no number of seconds from 0.1 to 86400"),
        (("--every", "often"), "argument --every: 'often' is no number of seconds"),
        (("--seed", "x"), "argument --seed: invalid int value: 'x'"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["netsim", "localhost", "8784", *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_port_0_is_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["netsim", "localhost", "0"])
    assert "port 0 is no server's" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--up", "--down"])
def test_wrong_conditions_of_a_direction_say_what_is_allowed(option: str) -> None:
    with pytest.raises(CommandError, match="there is no condition 'los'") as caught:
        conditions_in(option, "los=5%")
    assert caught.value.status == 2


def test_conditions_that_do_not_suit_each_other_are_refused() -> None:
    with pytest.raises(CommandError, match="with a loss of over half"):
        conditions_in("--loss", "90%", "--loss-burst", "2")


def test_a_place_that_is_taken_or_does_not_exist_is_named(capsys: pytest.CaptureFixture[str], echo: Echo) -> None:
    assert main(["netsim", "--listen", f"{HOST}:{echo.port}", HOST, "1"]) == 1
    assert f"cannot forward from {HOST}:{echo.port} to {HOST}:1: " in capsys.readouterr().err
    assert main(["netsim", "--listen", "192.0.2.1:9784", HOST, "1"]) == 1  # an address for documents; nobody's
    assert "SERVER_HOST and PORT say where the server is" in capsys.readouterr().err


@pytest.fixture
def running(echo: Echo, tmp_path: Path) -> Iterator[tuple[Program, int]]:
    """The command before the echo server, and the port that it listens on."""
    command = [sys.executable, "-m", "gsrt", "netsim", "--listen", f"{HOST}:0", "--every", "0.1", "--delay", "1ms"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    program = Program([*command, "--down", "duplicate=100%", HOST, str(echo.port)], tmp_path, environment)
    try:
        match = re.fullmatch(rf"forwarding from {HOST}:(\d+) to {HOST}:{echo.port}; seed 0; .*", program.next_line())
        assert match is not None
        yield program, int(match[1])
    finally:
        program.end()


def test_it_forwards_tells_how_it_goes_and_ends_with_ctrl_c(running: tuple[Program, int]) -> None:
    program, port = running
    program.expect("up: delay=1ms")
    program.expect("down: delay=1ms duplicate=100%")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(DEADLINE)
        client.connect((HOST, port))
        client.send(b"twice")
        assert [client.recv(10) for _ in range(2)] == [b"twice", b"twice"]
    with socket.create_connection((HOST, port), DEADLINE) as stream:
        stream.sendall(b"once")
        assert stream.recv(10) == b"once"
    expected = "up: sent 1, delivered 1; down: sent 1, delivered 2, duplicated 1; tcp: up 4 bytes, down 4 bytes; "
    program.until(lambda line: line.startswith(expected))
    program.interrupt()
    assert program.status() == 0
    while program.said[-1] != expected + "proxy: clients 1":  # the last line, with the connection gone
        program.next_line()


ANOTHER_THREAD_IS_INTERRUPTED = """
import signal, sys, threading
from gsrt.cli import main
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sys.exit(main(sys.argv[1:]))
"""


def test_a_signal_that_does_not_interrupt_its_waiting_ends_it_all_the_same(echo: Echo, tmp_path: Path) -> None:
    """One that comes just before it waits does not; nor does one that another thread gets."""
    command = [sys.executable, "-c", ANOTHER_THREAD_IS_INTERRUPTED, "netsim", "--listen", f"{HOST}:0", HOST]
    program = Program([*command, str(echo.port)], tmp_path, {**os.environ, "PYTHONPATH": str(PROJECT)})
    try:
        program.expect("forwarding from ")
        program.expect("up: ")
        program.expect("down: ")
        assert program.terminate() == 0
    finally:
        program.end()


def test_it_ends_with_sigterm_too(running: tuple[Program, int]) -> None:
    assert running[0].terminate() == 0

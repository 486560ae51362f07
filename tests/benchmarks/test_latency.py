"""The generators that measure latency must see each kind of damage, or how long a packet took would say little."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from benchmarks import hol, processes
from benchmarks.figures import Problem
from benchmarks.processes import Result
from benchmarks.relay import Load, generate
from benchmarks.workshop import folder, program
from tests.benchmarks.relay_double import Fault, Member, RelayDouble

FAULTY = 50  # the delivery that goes wrong
PAYLOAD_BYTES = 54
SHORT = Load(clients=8, seconds=0.3, rate=50)
WORDS = ("--warm-up", "0.1", "127.0.0.1", "4")


class Double(RelayDouble):
    """Does not mind that the generator goes at the first damage that it sees."""

    def _deliver(self, member: Member, frame: bytes) -> None:
        with contextlib.suppress(OSError):
            super()._deliver(member, frame)


def load_tcp(tmp_path: Path, double: Double) -> Result:
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"token-{number}\n" for number in range(SHORT.clients)))
    with double:
        return generate("latency_tcp", SHORT, double.port, os.getpid(), "--file", str(tokens), *WORDS)


def _with_numbers(change: Callable[[int, int], tuple[int, int]]) -> Fault:
    """Changes author and counter, with which the payload begins."""

    def fault(_number: int, frame: bytes) -> Iterable[bytes]:
        head, payload = frame[:-PAYLOAD_BYTES], frame[-PAYLOAD_BYTES:]
        return (head + struct.pack("<II", *change(*struct.unpack_from("<II", payload))) + payload[8:],)

    return fault


FAULTS: dict[str, tuple[Fault, str]] = {
    "lost": (lambda _number, _frame: (), "had to come"),
    "twice": (lambda _number, frame: (frame, frame), "had to come"),
    "of a stranger": (_with_numbers(lambda _author, counter: (1000, counter)), "of client 1000"),
    "never sent": (_with_numbers(lambda author, _counter: (author, 1 << 20)), "packet 1048576 of"),
    "out of order": (_with_numbers(lambda author, counter: (author, counter - 1)), "had to come"),
    "other content": (lambda _number, frame: (frame[:-1] + b"!",), "other content"),
    "other length": (
        lambda _number, frame: (
            bytes([frame[0] - 1])
            + frame[1 : -PAYLOAD_BYTES - 1]
            + bytes([PAYLOAD_BYTES - 1])
            + frame[-PAYLOAD_BYTES:-1],
        ),
        "other content",
    ),
    "another sender": (
        lambda _number, frame: (frame.replace(frame[4:6], bytes([0x28, frame[5] % 4 + 1]), 1),),
        "another sender",
    ),
    "cut": (lambda _number, frame: (bytes([frame[0] - 9]) + frame[1:-9],), "cannot be parsed|other content"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_damage_ends_the_run(tmp_path: Path, name: str) -> None:
    fault, words = FAULTS[name]

    def once(number: int, frame: bytes) -> Iterable[bytes]:
        return fault(number, frame) if number == FAULTY else (frame,)

    with pytest.raises(Problem, match=words):
        load_tcp(tmp_path, Double(once))


def test_a_sound_relay_passes_over_tcp(tmp_path: Path) -> None:
    check(load_tcp(tmp_path, Double()))


@pytest.mark.skipif(not Path("/usr/include/enet/enet.h").exists(), reason="libenet-dev is not installed")
def test_the_enet_relay_is_sound() -> None:
    port, log = processes.free_port(), folder() + "/latency_enet_relay.log"
    with processes.server([program("latency_enet_relay"), str(port), "4"], log, folder()) as process:
        processes.wait_for_output(process, log, b"listening")
        check(generate("latency_enet", SHORT, port, process.pid, *WORDS))


def check(result: Result) -> None:
    """All that was sent after the warm-up was measured, and the percentiles ascend."""
    assert result["packets"] >= result["deliveries"] / (SHORT.room_size - 1) > 0
    percentiles = [result[name] for name in hol.TAIL]
    assert percentiles[0] > 0 and percentiles == sorted(percentiles)

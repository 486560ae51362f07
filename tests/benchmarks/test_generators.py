"""The load generators must see each kind of damage, or the figures would count runs that were not sound."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.figures import Problem
from benchmarks.processes import Result
from benchmarks.relay import Load, damage, generate, peer
from tests.benchmarks.relay_double import Fault, RelayDouble

FAULTY = 50  # the delivery that goes wrong
SHORT = Load(clients=8, seconds=0.3)


def load_rt(tmp_path: Path, mode: str, double: RelayDouble, load: Load = SHORT) -> Result:
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"token-{number}\n" for number in range(load.clients)))
    with double:
        return generate("rt_load", load, double.port, os.getpid(), "--mode", mode, "--file", str(tokens))


@pytest.mark.parametrize("mode", ["udp", "ws"])
@pytest.mark.parametrize("load", [SHORT, Load(clients=8, seconds=0.3, rate=50), Load(clients=4, window=3, seconds=0.3)])
def test_a_sound_relay_passes(tmp_path: Path, mode: str, load: Load) -> None:
    result = load_rt(tmp_path, mode, RelayDouble(), load)
    assert damage(result) == ""
    assert result["packets"] > 0
    assert result["cpu_us_per_packet"] > 0
    assert result["rss_kb"] > 0


def once(change: Fault) -> Fault:
    def fault(number: int, frame: bytes) -> Iterable[bytes]:
        return change(number, frame) if number == FAULTY else (frame,)

    return fault


FAULTS: dict[str, tuple[Fault, str]] = {
    "lost": (once(lambda _number, _frame: ()), "lost"),
    "twice": (once(lambda _number, frame: (frame, frame)), "disordered"),
    "one of a stranger": (once(lambda _number, frame: (_with_author(frame, 1000),)), "misdelivered"),
    "an older one again": (once(lambda _number, frame: (frame, _with_counter(frame, 0))), "disordered"),
    "one that was never sent": (once(lambda _number, frame: (_with_counter(frame, 1 << 20),)), "misdelivered"),
    "other content": (once(lambda _number, frame: (frame[:-1] + b"!",)), "corrupt"),
    "other length": (once(lambda _number, frame: (bytes([frame[0] - 1]) + frame[1:-1],)), "corrupt"),
    "wrong sender": (once(lambda _number, frame: (_with_sender(frame),)), "misdelivered"),
    "a field too much": (
        once(lambda _number, frame: (bytes([frame[0] + 2]) + frame[1:4] + b"\x20\x01" + frame[4:],)),
        "corrupt",
    ),
    "a cut frame": (once(lambda _number, frame: (frame, frame[:20])), "corrupt"),
}


def _with_counter(frame: bytes, counter: int) -> bytes:
    """Slot 1 of the data, in the fixed width that the generator uses."""
    return _with_number(frame, 3, 5, (1 << 27) + counter)


def _with_author(frame: bytes, author: int) -> bytes:
    """Slot 2 of the data, the number of the client that made it."""
    return _with_number(frame, 9, 3, 8192 + author)


def _with_number(frame: bytes, offset: int, width: int, number: int) -> bytes:
    at = frame.index(b"\x72\x28") + offset
    digits = bytes((number * 2 >> 7 * place & 127) | (128 if place < width - 1 else 0) for place in range(width))
    return frame[:at] + digits + frame[at + width :]


def _with_sender(frame: bytes) -> bytes:
    at = frame.index(b"\x28") + 1
    return frame[:at] + bytes([frame[at] % 4 + 1]) + frame[at + 1 :]


@pytest.mark.parametrize("name", FAULTS)
def test_damage_is_seen(tmp_path: Path, name: str) -> None:
    fault, kind = FAULTS[name]
    result = load_rt(tmp_path, "udp", RelayDouble(fault))
    assert result[kind] >= 1, result
    assert kind in damage(result)


def test_a_single_lost_delivery_is_counted_exactly(tmp_path: Path) -> None:
    assert load_rt(tmp_path, "udp", RelayDouble(FAULTS["lost"][0]))["lost"] == 1


def test_packets_over_the_wrong_transport_are_seen(tmp_path: Path) -> None:
    assert load_rt(tmp_path, "udp", RelayDouble(by_stream=True))["misdelivered"] > 0


@pytest.mark.parametrize("kind", ["single", "coalesced"])
def test_the_plain_relays_are_sound(kind: str) -> None:
    result = peer("plain_relay", "plain_load", kind, "{port}")(SHORT)
    assert damage(result) == ""
    assert result["packets"] > 0


def test_a_generator_without_a_server_says_so(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("token\n" * SHORT.clients)
    with pytest.raises(Problem, match="refused"):
        generate("rt_load", SHORT, processes.free_port(), os.getpid(), "--mode", "udp", "--file", str(tokens))

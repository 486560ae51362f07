"""Which board this is: real names of boards, boxes without one, and files that hold anything."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.support.reproducible  # noqa: F401 - importing it is what sets it
from gsrt.device.model import (
    MODEL_CHARACTERS_MAX,
    PROMISES,
    READ_BYTES,
    choose,
    choose_here,
    memory_bytes,
    model_text,
    printable,
)

MIB = 1 << 20
# What boards have, as MemTotal tells: less than is printed on the box, for firmware and graphics have some.
QUARTER, HALF, ONE, TWO, FOUR, EIGHT, SIXTEEN = (mib * MIB for mib in (230, 427, 906, 1848, 3791, 7811, 15900))


class Box:
    """A folder that holds what /proc and /sys of a box hold."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, content: bytes) -> Box:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return self

    def memory(self, size: int) -> Box:
        return self.write("proc/meminfo", f"MemTotal:       {size >> 10} kB\nMemFree: 5 kB\n".encode())

    def __str__(self) -> str:
        return str(self.root)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.mark.parametrize(
    ("model", "machine", "memory", "name"),
    [
        ("Raspberry Pi Zero W Rev 1.1", "armv6l", HALF, "pi-zero-w"),
        ("Raspberry Pi Zero Rev 1.3", "armv6l", HALF, "pi-zero-w"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", HALF, "pi-zero-2-w"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "armv7l", HALF, "pi-zero-2-w"),
        ("Raspberry Pi Model B Rev 2", "armv6l", HALF, "pi-zero-w"),
        ("Raspberry Pi Model B Rev 1", "armv6l", QUARTER, "pi-zero-w"),
        ("Raspberry Pi Model A Plus Rev 1.1", "armv6l", QUARTER, "pi-zero-w"),
        ("Raspberry Pi Model B Plus Rev 1.2", "armv6l", HALF, "pi-zero-w"),
        ("Raspberry Pi 2 Model B Rev 1.1", "armv7l", ONE, "pi-zero-2-w"),
        ("Raspberry Pi 2 Model B Rev 1.2", "aarch64", ONE, "pi-zero-2-w"),
        ("Raspberry Pi 3 Model B Rev 1.2", "aarch64", ONE, "pi-3b-plus"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "aarch64", ONE, "pi-3b-plus"),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", "aarch64", HALF, "pi-zero-2-w"),
        ("Raspberry Pi 4 Model B Rev 1.1", "aarch64", ONE, "pi-3b-plus"),
        ("Raspberry Pi 4 Model B Rev 1.4", "aarch64", TWO, "pi-4"),
        ("Raspberry Pi 4 Model B Rev 1.4", "armv7l", EIGHT, "pi-4"),
        ("Raspberry Pi 400 Rev 1.0", "aarch64", FOUR, "pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", FOUR, "pi-5"),
        ("Raspberry Pi 5 Model B Rev 1.1", "aarch64", SIXTEEN, "pi-5"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", TWO, "pi-4"),
        ("Raspberry Pi 500 Rev 1.0", "aarch64", EIGHT, "pi-5"),
        ("Raspberry Pi Compute Module Rev 1.0", "armv6l", HALF, "pi-zero-w"),
        ("Raspberry Pi Compute Module 3 Rev 1.0", "aarch64", ONE, "pi-3b-plus"),
        ("Raspberry Pi Compute Module 3 Plus Rev 1.0", "aarch64", ONE, "pi-3b-plus"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "aarch64", FOUR, "pi-4"),
        ("Raspberry Pi Compute Module 4S Rev 1.0", "aarch64", ONE, "pi-3b-plus"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "aarch64", EIGHT, "pi-5"),
        ("Raspberry Pi Compute Module 5 Lite Rev 1.0", "aarch64", EIGHT, "pi-5"),
        ("Raspberry Pi 6 Model B Rev 1.0", "aarch64", EIGHT, "generic"),
        ("Xunlong Orange Pi Zero", "armv7l", HALF, "pi-zero-2-w"),
        ("Orange Pi 5 Plus", "aarch64", EIGHT, "generic"),
        ("Hardkernel ODROID-N2Plus", "aarch64", FOUR, "generic"),
        ("Radxa ROCK 5B", "aarch64", SIXTEEN, "generic"),
        ("LENOVO 20W0", "x86_64", EIGHT, "pc"),
        ("QEMU Standard PC (Q35 + ICH9, 2009)", "x86_64", TWO, "generic"),
        ("QEMU Standard PC (i440FX + PIIX, 1996)", "i686", HALF, "pi-zero-2-w"),
        ("", "x86_64", SIXTEEN, "pc"),
        ("", "aarch64", FOUR, "generic"),
        ("", "armv6l", HALF, "pi-zero-w"),
        ("", "riscv64", FOUR, "generic"),
        ("StarFive VisionFive 2 v1.3B", "riscv64", EIGHT, "generic"),
    ],
)
def test_each_board_gets_its_profile(model: str, machine: str, memory: int, name: str) -> None:
    chosen, why = choose(model, memory, machine)
    assert chosen == name
    assert model in why
    assert PROMISES[chosen][0] * 2 <= memory or chosen.startswith("pi-zero")


def test_it_says_why() -> None:
    assert choose("Raspberry Pi 4 Model B Rev 1.4", FOUR, "aarch64")[1] == "this is a Raspberry Pi 4 Model B Rev 1.4"
    assert choose("Raspberry Pi 400 Rev 1.0", FOUR, "aarch64")[1] == (
        "this is a Raspberry Pi 400 Rev 1.0, which has the processor of a 4"
    )
    assert choose("Raspberry Pi 4 Model B Rev 1.1", ONE, "aarch64")[1] == (
        "this is a Raspberry Pi 4 Model B Rev 1.1; with 906 MiB of memory pi-4 would promise too much (832 MiB)"
    )
    assert choose("Orange Pi 5", FOUR, "aarch64")[1] == "there is no profile for this board (Orange Pi 5)"
    assert choose("", FOUR, "aarch64")[1] == "nothing tells what board this is (aarch64)"
    assert choose("", SIXTEEN, "x86_64")[1] == "this is a PC (x86_64)"


def test_where_nobody_tells_the_memory_the_name_decides() -> None:
    assert choose("Raspberry Pi 5 Model B Rev 1.0", None, "aarch64")[0] == "pi-5"


@pytest.mark.parametrize("path", ["proc/device-tree/model", "sys/firmware/devicetree/base/model"])
def test_the_device_tree_ends_its_texts_with_a_nul(box: Box, path: str) -> None:
    box.write(path, b"Raspberry Pi Zero 2 W Rev 1.0\0").memory(HALF)
    assert model_text(str(box)) == "Raspberry Pi Zero 2 W Rev 1.0"
    assert choose_here(str(box))[0] == ("pi-zero-2-w")


def test_a_pc_is_named_by_its_bios(box: Box) -> None:
    box.write("sys/class/dmi/id/sys_vendor", b"LENOVO\n").write("sys/class/dmi/id/product_name", b"20W0004MGE\n")
    assert model_text(str(box)) == "LENOVO 20W0004MGE"


def test_a_box_without_any_name_has_none(box: Box) -> None:
    assert model_text(str(box)) == ""
    assert memory_bytes(str(box)) is None
    assert choose_here(str(box))[0] in PROMISES


def test_an_empty_device_tree_gives_way_to_the_bios(box: Box) -> None:
    box.write("proc/device-tree/model", b"\0").write("sys/class/dmi/id/product_name", b"NUC\n")
    assert model_text(str(box)) == "NUC"


def test_a_huge_file_is_read_no_further_than_its_beginning(box: Box) -> None:
    box.write("proc/device-tree/model", b"Raspberry Pi 4 " + b"x" * 10_000_000)
    assert len(model_text(str(box))) <= READ_BYTES
    name, why = choose_here(str(box))
    assert name == "pi-4"
    assert len(why) < 2 * MODEL_CHARACTERS_MAX


def test_what_is_no_file_is_no_name_and_holds_nobody_up(box: Box) -> None:
    (box.root / "proc" / "device-tree" / "model").mkdir(parents=True)
    os.makedirs(box.root / "sys/firmware/devicetree/base")
    os.mkfifo(box.root / "sys/firmware/devicetree/base/model")
    assert model_text(str(box)) == ""


def test_a_name_plays_no_tricks_on_a_terminal() -> None:
    assert printable("Pi\x1b[31m\n 4 \t\u202e") == "Pi [31m 4"
    assert printable("x" * 1000) == "x" * MODEL_CHARACTERS_MAX


@given(st.binary(max_size=5000), st.sampled_from(["armv6l", "armv7l", "aarch64", "x86_64", "riscv64", ""]))
def test_whatever_the_file_holds_there_is_a_profile_and_a_plain_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, machine: str
) -> None:
    box = Box(tmp_path_factory.getbasetemp() / "garbage").write("proc/device-tree/model", content)
    name, why = choose(model_text(str(box)), None, machine)
    assert name in PROMISES
    assert why.isprintable()
    assert len(why) < 2 * MODEL_CHARACTERS_MAX + 60


@given(st.text(max_size=200), st.none() | st.integers(0, 1 << 50), st.text(max_size=10))
def test_any_name_and_memory_lead_to_a_profile(model: str, memory: int | None, machine: str) -> None:
    assert choose("Raspberry Pi " + model, memory, machine)[0] in PROMISES
    assert choose(model, memory, machine)[0] in PROMISES


# Memory


def test_memory_is_that_of_the_box_or_what_a_control_group_leaves(box: Box) -> None:
    box.memory(EIGHT)
    assert memory_bytes(str(box)) == EIGHT
    box.write("sys/fs/cgroup/memory.max", b"max\n")  # a container sees its own group as the root
    assert memory_bytes(str(box)) == EIGHT
    box.write("sys/fs/cgroup/memory.max", b"536870912\n")
    assert memory_bytes(str(box)) == 512 * MIB


def test_the_smallest_of_the_groups_around_counts(box: Box) -> None:
    box.memory(EIGHT).write("proc/self/cgroup", b"1:name=systemd:/x\n0::/system.slice/gsrt.service\n")
    box.write("sys/fs/cgroup/system.slice/gsrt.service/memory.max", b"max\n")
    box.write("sys/fs/cgroup/system.slice/memory.max", b"268435456\n")
    assert memory_bytes(str(box)) == 256 * MIB
    box.write("sys/fs/cgroup/system.slice/gsrt.service/memory.max", b"134217728\n")
    assert memory_bytes(str(box)) == 128 * MIB


@pytest.mark.parametrize("content", [b"", b"MemTotal:\n", b"MemTotal: many kB\n", b"MemTotal: -5 kB\n", b"\xff\xfe\0"])
def test_a_meminfo_that_tells_nothing_is_no_memory(box: Box, content: bytes) -> None:
    assert memory_bytes(str(box.write("proc/meminfo", content))) is None


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=40))
def test_whatever_the_files_hold_memory_is_a_number_or_unknown(
    tmp_path_factory: pytest.TempPathFactory, meminfo: bytes, groups: bytes, most: bytes
) -> None:
    box = Box(tmp_path_factory.getbasetemp() / "amounts")
    box.write("proc/meminfo", meminfo).write("proc/self/cgroup", b"0::/" + groups).write(
        "sys/fs/cgroup/memory.max", most
    )
    amount = memory_bytes(str(box))
    assert amount is None or amount > 0


def test_a_file_that_cannot_be_read_is_as_if_it_were_not_there(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.write("proc/device-tree/model", b"Raspberry Pi 4 Model B\0")

    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    assert model_text(str(box)) == ""

"""What the box tells: against psutil on this one, and from made-up trees of /proc and /sys where this one has no such
sensors."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.device.readings import (
    FREQUENCY_CAPPED,
    TEMPERATURE_LIMITED,
    THROTTLED,
    UNDER_VOLTAGE,
    Readings,
    Sensors,
)

MEBIBYTE = 1 << 20


class Box:
    """A made-up tree, whose /proc is this machine's own unless it is written to."""

    def __init__(self, root: Path, *, own_proc: bool = True) -> None:
        self.root = root
        if own_proc:
            (root / "proc").symlink_to("/proc")

    def write(self, path: str, text: str) -> None:
        """A file of it; it stays the same file when it is written again, as those of /sys do."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def zone(self, number: int, kind: str, temperature: str) -> None:
        """A thermal zone."""
        self.write(f"sys/class/thermal/thermal_zone{number}/type", f"{kind}\n")
        self.write(f"sys/class/thermal/thermal_zone{number}/temp", f"{temperature}\n")

    def driver(self, number: int, name: str, file: str, text: str) -> None:
        """A driver of hwmon with one file."""
        self.write(f"sys/class/hwmon/hwmon{number}/name", f"{name}\n")
        self.write(f"sys/class/hwmon/hwmon{number}/{file}", f"{text}\n")

    def look(self) -> Readings:
        """One look with sensors of its own."""
        return look(Sensors(str(self.root)))


def look(sensors: Sensors, **known: float) -> Readings:
    """One look, the last with these sensors."""
    try:
        return sensors.read(0.0, **known)  # type: ignore[arg-type]
    finally:
        sensors.close()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


# --- This box, as psutil sees it ---


def test_memory_is_what_psutil_says() -> None:
    sensors = Sensors()
    held = bytearray(random.Random(1).randbytes(1 << 20)) * 24
    found = sensors.read(0.0)
    process, box = psutil.Process().memory_info().rss, psutil.virtual_memory().available
    sensors.close()
    assert len(held) == 24 * MEBIBYTE
    assert found.memory_bytes is not None and found.memory_available_bytes is not None
    assert abs(found.memory_bytes - process) < 2 * MEBIBYTE
    assert abs(found.memory_available_bytes - box) < max(box * 0.1, 256 * MEBIBYTE)


def test_free_disk_is_what_psutil_says(tmp_path: Path) -> None:
    sensors = Sensors(folders=[str(tmp_path)])
    found = sensors.read(0.0).disk_free_bytes
    sensors.close()
    assert found is not None
    assert abs(found - psutil.disk_usage(str(tmp_path)).free) < 256 * MEBIBYTE


def test_the_fullest_disk_counts_and_one_that_has_gone_does_not(tmp_path: Path) -> None:
    each = [look(Sensors(folders=[folder])).disk_free_bytes for folder in (str(tmp_path), "/dev/shm")]
    both = look(Sensors(folders=[str(tmp_path), "/dev/shm", str(tmp_path / "gone")])).disk_free_bytes
    known = [free for free in each if free is not None]
    assert both is not None
    assert abs(both - min(known)) < 256 * MEBIBYTE


def test_processor_time_is_what_psutil_says() -> None:
    sensors = Sensors()
    began, used = time.monotonic(), sum(psutil.Process().cpu_times()[:2])
    assert sensors.read(began).cpu_percent is None  # since when?
    busy_until = time.process_time() + 0.3
    while time.process_time() < busy_until:
        pass
    now = time.monotonic()
    found = sensors.read(now).cpu_percent
    expected = (sum(psutil.Process().cpu_times()[:2]) - used) / (now - began) * 100
    sensors.close()
    assert found is not None
    assert found == pytest.approx(expected, abs=20)


def test_share_of_a_processor_that_is_more_than_one_core() -> None:
    times = iter([1.0, 3.0, 3.0])
    sensors = Sensors(processor_time=lambda: next(times))
    assert [sensors.read(now).cpu_percent for now in (10.0, 11.0, 11.0)] == [None, 200.0, None]
    sensors.close()


# --- Heat ---


def test_hottest_of_the_processors_zones(box: Box) -> None:
    box.zone(0, "gpu-thermal", "99000")
    box.zone(1, "cpu-thermal", "61200")
    box.zone(2, "soc_thermal", "63900")
    assert box.look().temperature_celsius == pytest.approx(63.9)


@pytest.mark.parametrize("nonsense", ["-273200", "255000", "", "hot", "4294967295000", "-2147483648"])
def test_a_zone_that_tells_nonsense_does_not_count(box: Box, nonsense: str) -> None:
    box.zone(0, "cpu0-thermal", nonsense)
    box.zone(1, "cpu1-thermal", "48000")
    assert box.look().temperature_celsius == pytest.approx(48.0)
    box.zone(1, "cpu1-thermal", nonsense)
    assert box.look().temperature_celsius is None


def test_zones_of_unknown_kind_where_there_are_no_others(box: Box) -> None:
    box.zone(0, "acpitz", "41000")
    box.zone(1, "acpitz", "43000")
    assert box.look().temperature_celsius == pytest.approx(43.0)


def test_drivers_where_zones_are_none_of_the_processors(box: Box) -> None:
    box.zone(0, "iwlwifi_1", "77000")
    box.driver(0, "nvme", "temp1_input", "88000")
    box.driver(1, "k10temp", "temp1_input", "52125")
    assert box.look().temperature_celsius == pytest.approx(52.125)


def test_what_changes_is_read_again_and_what_breaks_is_not_known(box: Box) -> None:
    box.zone(0, "cpu-thermal", "50000")
    sensors = Sensors(str(box.root))
    assert sensors.read(0.0).temperature_celsius == pytest.approx(50.0)
    box.zone(0, "cpu-thermal", "84500")
    assert sensors.read(1.0).temperature_celsius == pytest.approx(84.5)
    box.zone(0, "cpu-thermal", "")
    assert sensors.read(2.0).temperature_celsius is None
    sensors.close()
    assert sensors.read(3.0).memory_bytes is None


# --- Power ---


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("0", 0),
        ("0x0", 0),
        ("50005", UNDER_VOLTAGE | THROTTLED),
        ("0x50005", UNDER_VOLTAGE | THROTTLED),
        ("50000", 0),  # it was so once
        ("e0008", TEMPERATURE_LIMITED),
        ("f000f", UNDER_VOLTAGE | FREQUENCY_CAPPED | THROTTLED | TEMPERATURE_LIMITED),
        ("what?", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("where", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_flags_of_a_raspberry_pi(box: Box, where: str, text: str, flags: int | None) -> None:
    box.write(f"sys/devices/platform/{where}/get_throttled", f"{text}\n")
    assert box.look().power == flags


@pytest.mark.parametrize(("text", "flags"), [("0", 0), ("1", UNDER_VOLTAGE), ("", None)])
def test_voltage_where_the_kernel_is_unchanged(box: Box, text: str, flags: int | None) -> None:
    box.driver(0, "cpu_thermal", "temp1_input", "50000")
    box.driver(1, "rpi_volt", "in0_lcrit_alarm", text)
    assert box.look().power == flags


# --- What is not there ---


def test_what_a_box_does_not_have_is_none_and_named(tmp_path: Path) -> None:
    sensors = Sensors(str(tmp_path))
    assert sensors.absent == ("memory", "memory_available", "temperature", "power")
    found = sensors.read(1.0)
    known = {name for name in Readings.__slots__ if getattr(found, name) is not None}
    assert known == set()
    assert sensors.memory() is None


def test_what_is_there_is_not_named(box: Box) -> None:
    box.zone(0, "cpu-thermal", "50000")
    box.write("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
    sensors = Sensors(str(box.root))
    sensors.close()
    assert sensors.absent == ()


def test_what_the_server_knows_is_handed_through() -> None:
    found = look(Sensors(), loop_lag_ms=7.5, disk_written_bytes=12)
    assert (found.loop_lag_ms, found.disk_written_bytes) == (7.5, 12)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_content_of_the_files_is_a_failure(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    box = Box(tmp_path_factory.mktemp("box"), own_proc=False)
    for path in (
        "proc/self/statm",
        "proc/meminfo",
        "sys/class/thermal/thermal_zone0/type",
        "sys/class/thermal/thermal_zone0/temp",
        "sys/devices/platform/soc/get_throttled",
    ):
        text = data.draw(
            st.binary(max_size=64) | st.sampled_from([b"MemAvailable: 12 kB\n", b"1 2 3", b"cpu", b"9" * 60])
        )
        file = box.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    found = box.look()
    assert found.temperature_celsius is None or -40 <= found.temperature_celsius <= 150
    assert found.power is None or 0 <= found.power <= 15


def test_every_file_is_opened_once_and_closed(box: Box) -> None:
    box.zone(0, "cpu-thermal", "50000")
    before = len(os.listdir("/proc/self/fd"))
    sensors = Sensors(str(box.root), ["/"])
    opened = len(os.listdir("/proc/self/fd"))
    for now in range(10):
        sensors.read(float(now))
    assert len(os.listdir("/proc/self/fd")) == opened == before + 3
    sensors.close()
    assert len(os.listdir("/proc/self/fd")) == before

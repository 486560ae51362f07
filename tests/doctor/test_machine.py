"""Checks of the machine: clock, disk, power, heat, processor, kernel, memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsrt.doctor import clock, disk, kernel, memory, pace, power
from gsrt.doctor.commands import Output
from gsrt.doctor.finding import Finding
from gsrt.doctor.surroundings import Settings, Surroundings
from tests.doctor.box import NOON, Box, device_link

# The clock


def test_a_clock_that_follows_another(box: Box) -> None:
    box.write("/run/systemd/timesync/synchronized", "")
    finding = clock.clock(box.surroundings())
    assert (finding.state, finding.found) == ("ok", "2026-05-28 20:26 UTC, synchronized")


@pytest.mark.parametrize(
    ("commands", "state"),
    [
        ({"timedatectl show": "yes\n"}, "ok"),
        ({"timedatectl show": "no\n"}, "warn"),
        ({"timedatectl show": Output(1), "chronyc -c tracking": "A9FE,169.254,3,0.1,Normal\n"}, "ok"),
        ({"chronyc -c tracking": "7F7F0101,,0,0.0,Not synchronised\n"}, "warn"),
        ({"timedatectl show": "garbage"}, "warn"),
        ({}, "warn"),
    ],
)
def test_who_says_so(box: Box, commands: dict[str, str | Output], state: str) -> None:
    box.commands = commands
    assert clock.clock(box.surroundings()).state == state


def test_a_box_without_a_battery_is_told_of(box: Box) -> None:
    box.commands = {"timedatectl show": "no\n"}
    assert "no battery-backed clock" in clock.clock(box.surroundings()).found
    box.write("/sys/class/rtc/rtc0/name", "pcf8523\n")
    assert "no battery-backed clock" not in clock.clock(box.surroundings()).found


def test_a_time_that_is_over(box: Box) -> None:
    box.now = 0.0
    assert clock.clock(box.surroundings()).state == "fail"
    box.now = NOON
    saved = box.root / "etc" / "fake-hwclock.data"
    box.write("/etc/fake-hwclock.data", "")
    os.utime(saved, (NOON + 86400 * 30, NOON + 86400 * 30))
    assert clock.clock(box.surroundings()).state == "fail"


# The disk


def mounted(box: Box, options: str = "rw,relatime", kind: str = "ext4") -> None:
    box.write(
        "/proc/self/mounts",
        f"proc /proc proc rw 0 0\n/dev/root / ext4 rw 0 0\n/dev/mmcblk0p2 {box.state} {kind} {options} 0 0\n",
    )


def on_card(box: Box, kind: str = "SD") -> None:
    mounted(box)
    box.link(device_link(box.state), "../../devices/platform/soc/mmc0/mmc0:1/block/mmcblk0/mmcblk0p2")
    box.write("/sys/block/mmcblk0/device/type", f"{kind}\n")


def test_an_sd_card_is_told_of(box: Box) -> None:
    on_card(box)
    finding = disk.medium(box.surroundings())
    assert finding.state == "ok"
    assert "SD card" in finding.found


def test_what_is_soldered_on_is_no_card(box: Box) -> None:
    on_card(box, "MMC")
    assert "SD card" not in disk.medium(box.surroundings()).found


def test_a_file_system_with_errors(box: Box) -> None:
    on_card(box)
    box.write("/sys/fs/ext4/mmcblk0p2/errors_count", "3\n")
    finding = disk.medium(box.surroundings())
    assert finding.state == "warn"
    assert "3 errors" in finding.found


def test_a_disk_that_is_read_only(box: Box) -> None:
    mounted(box, "ro,relatime")
    assert disk.medium(box.surroundings()).state == "fail"


def test_a_folder_in_memory(box: Box) -> None:
    mounted(box, kind="tmpfs")
    assert disk.medium(box.surroundings()).state == "warn"


def test_room(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = box.surroundings().profile()
    assert profile is not None
    wanted = profile.disk_free_bytes_min
    real = os.statvfs(box.state)

    def room(free: int, files: int = 1_000_000) -> Finding:
        fields = list(real)
        fields[0] = fields[1] = 1
        fields[4], fields[5], fields[7] = free, 2_000_000, files
        monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
        return disk.space(box.surroundings())

    assert room(wanted * 10).state == "ok"
    assert room(wanted * 2).state == "warn"
    assert room(wanted - 1).state == "fail"
    assert "more files" in room(wanted * 10, files=3).found


def test_it_is_the_games_disk_that_counts(box: Box, tmp_path: Path) -> None:
    assert disk.folder(box.surroundings()) == str(box.state)
    box.settings |= {"game": str(tmp_path / "duel" / "not" / "there")}
    assert disk.folder(box.surroundings()) == str(tmp_path)


def test_a_write_is_measured_and_leaves_nothing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is safe after" in disk.speed(box.surroundings()).found
    monkeypatch.setattr(disk, "SLOW_MS", -1.0)
    assert disk.speed(box.surroundings()).state == "warn"
    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY, raising=False)  # a file system that has no such files
    assert "is safe after" in disk.speed(box.surroundings()).found
    assert list(box.state.iterdir()) == []


@pytest.mark.parametrize(("error", "state"), [(PermissionError(13, "no"), "warn"), (OSError(28, "full"), "fail")])
def test_a_write_that_fails(box: Box, monkeypatch: pytest.MonkeyPatch, error: OSError, state: str) -> None:
    def fail(where: str) -> list[float]:
        raise error

    monkeypatch.setattr(disk, "_writes", fail)
    assert disk.speed(box.surroundings()).state == state


def test_this_machines_disk_has_a_name_or_none() -> None:
    for name in disk.device_of(Surroundings(Settings()), "/"):
        assert "/" not in name


# Power and heat

SOC = "/sys/devices/platform/soc"


@pytest.mark.parametrize(
    ("flags", "state", "told"),
    [
        ("0", "ok", "no low voltage"),
        ("0x50000", "warn", "since the start of the box: too low a voltage, throttled"),
        ("50005", "fail", "now: too low a voltage, throttled"),
        ("80008", "warn", "now: slowed down for heat"),
        ("20002", "warn", "now: a lower frequency"),
    ],
)
def test_what_the_firmware_says(box: Box, flags: str, state: str, told: str) -> None:
    box.write(f"{SOC}/soc:firmware/get_throttled", f"{flags}\n")
    finding = power.power(box.surroundings())
    assert finding.state == state
    assert told in finding.found


def test_the_firmwares_own_program_is_asked(box: Box) -> None:
    box.commands = {"vcgencmd get_throttled": "throttled=0x50000\n"}
    assert power.power(box.surroundings()).state == "warn"


def test_an_unchanged_kernel_tells_less(box: Box) -> None:
    box.write("/sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    box.write("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert power.power(box.surroundings()).state == "fail"


def test_a_board_that_tells_nothing(box: Box) -> None:
    assert power.power(box.surroundings()).state == "ok"
    assert power.temperature(box.surroundings()).state == "ok"


def test_heat(box: Box) -> None:
    profile = box.surroundings().profile()
    assert profile is not None
    box.write("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    for celsius, state in (
        (20.0, "ok"),
        (profile.temperature_slow_celsius, "warn"),
        (profile.temperature_refuse_celsius, "fail"),
    ):
        box.write("/sys/class/thermal/thermal_zone0/temp", f"{celsius * 1000:.0f}\n")
        assert power.temperature(box.surroundings()).state == state
    box.settings |= {"profile": "none-such"}
    assert power.temperature(box.surroundings()).state == "ok"


# The processor


@pytest.mark.parametrize(
    ("governor", "driver", "state"),
    [
        ("schedutil", "cpufreq-dt", "ok"),
        ("ondemand", "cpufreq-dt", "ok"),
        ("performance", "cpufreq-dt", "ok"),
        ("powersave", "cpufreq-dt", "warn"),
        ("powersave", "intel_pstate", "ok"),
        ("conservative", "cpufreq-dt", "warn"),
        ("unheard-of", "cpufreq-dt", "ok"),
    ],
)
def test_governors(box: Box, governor: str, driver: str, state: str) -> None:
    for core in range(4):
        box.write(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", f"{governor}\n")
        box.write(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_driver", f"{driver}\n")
    box.write("/proc/loadavg", "0.50 0.40 0.30 1/99 1234\n")
    assert pace.processor(box.surroundings()).state == state


def test_a_busy_box(box: Box) -> None:
    box.write("/sys/devices/system/cpu/cpu0/online", "1\n")
    box.write("/proc/loadavg", "7.25 0.40 0.30 1/99 1234\n")
    finding = pace.processor(box.surroundings())
    assert finding.state == "warn"
    assert "7.2 programs" in finding.found


# The kernel


@pytest.mark.parametrize(
    ("release", "state"),
    [("6.1.21-v8+", "ok"), ("5.3", "ok"), ("5.2.99", "fail"), ("4.19.0", "fail"), ("garbage", "warn"), ("6.²", "warn")],
)
def test_kernels(box: Box, release: str, state: str) -> None:
    box.write("/proc/sys/kernel/osrelease", f"{release}\n")
    assert kernel.kernel(box.surroundings()).state == state


def test_big_endian_boxes_are_refused(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    assert kernel.kernel(box.surroundings()).state == "fail"


def test_small_udp_buffers(box: Box) -> None:
    assert kernel.udp_buffers(box.surroundings()).state == "ok"  # nobody says that they are small
    box.write("/proc/sys/net/core/rmem_max", "212992\n")
    box.write("/proc/sys/net/core/wmem_max", "1000000000\n")
    finding = kernel.udp_buffers(box.surroundings())
    assert finding.state == "warn"
    assert "receive 208 KiB of 4 MiB" in finding.found
    assert "net.core.rmem_max = 4194304" in finding.todo
    assert "wmem_max" not in finding.todo


def test_udp_batches(box: Box) -> None:
    assert kernel.udp_batches(box.surroundings()).state == "ok"
    box.segments = False
    assert kernel.udp_batches(box.surroundings()).state == "warn"


LIMITS = "Limit                     Soft Limit     Hard Limit    Units\nMax open files            {}  {}  files\n"


@pytest.mark.parametrize(
    ("process", "soft", "hard", "state"),
    [
        (None, "1024", "1048576", "ok"),
        (None, "1024", "2048", "warn"),
        (None, "unlimited", "unlimited", "ok"),
        (12, "1024", "1048576", "warn"),
        (12, "524288", "524288", "ok"),
    ],
)
def test_open_files(box: Box, process: int | None, soft: str, hard: str, state: str) -> None:
    box.write(f"/proc/{process or 'self'}/limits", LIMITS.format(soft, hard))
    if process is not None:
        box.status = {"pid": process, "port": 8784}
    assert kernel.connections(box.surroundings()).state == state


def test_a_short_queue_of_new_connections(box: Box) -> None:
    box.write("/proc/sys/net/core/somaxconn", "128\n")
    assert kernel.connections(box.surroundings()).state == "warn"


@pytest.mark.parametrize(
    ("landlock", "seccomp", "state"),
    [(4, True, "ok"), (0, True, "warn"), (-95, True, "warn"), (4, False, "warn"), (None, True, "warn")],
)
def test_containment(box: Box, landlock: int | None, seccomp: bool, state: str) -> None:
    box.landlock = landlock
    box.write("/proc/sys/kernel/osrelease", "6.1.21-v8+\n")
    if seccomp:
        box.write("/proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread trap errno trace log allow\n")
    finding = kernel.containment(box.surroundings())
    assert finding.state == state
    assert ("lsm=landlock" in finding.todo) == (landlock is not None and landlock <= 0)


# Memory


@pytest.mark.parametrize(
    ("path", "text", "there"),
    [
        ("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n", True),
        ("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n", False),
        ("/proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\n", False),
        ("/proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t5\t60\t1\n", True),
    ],
)
def test_limits_of_memory(box: Box, path: str, text: str, there: bool) -> None:
    """A Pi has none by default. Nothing of the server's depends on it."""
    box.write(path, text)
    finding = memory.limits(box.surroundings())
    assert finding.state == "ok"
    assert ("cgroup_enable=memory" in finding.todo) != there


def test_memory_that_is_there(box: Box) -> None:
    box.write("/proc/meminfo", "MemTotal:  443208 kB\nMemFree: 1 kB\nMemAvailable:   300000 kB\n")
    finding = memory.memory(box.surroundings())
    assert (finding.state, finding.found) == ("ok", "292 of 432 MiB are available")


def test_strict_overcommit(box: Box) -> None:
    box.write("/proc/sys/vm/overcommit_memory", "2\n")
    assert memory.memory(box.surroundings()).state == "warn"


@pytest.mark.parametrize(
    ("path", "kind", "used", "state"),
    [
        ("/dev/mmcblk0p3", "partition", "102396", "warn"),
        ("/dev/zram0", "partition", "102396", "ok"),
        ("/dev/mmcblk0p3", "partition", "garbage", "ok"),
    ],
)
def test_swap_on_a_card(box: Box, path: str, kind: str, used: str, state: str) -> None:
    box.write("/proc/meminfo", "MemTotal:  443208 kB\nMemAvailable:   300000 kB\n")
    box.write("/proc/swaps", f"Filename\tType\tSize\tUsed\tPriority\n{path} {kind} {used} 0 -2\n")
    assert memory.memory(box.surroundings()).state == state


def test_a_swap_file_on_a_card(box: Box) -> None:
    on_card(box)
    file = box.state / "swap"
    file.touch()
    box.write("/proc/swaps", f"Filename\tType\tSize\tUsed\tPriority\n{file} file 102396 0 -2\n")
    assert memory.memory(box.surroundings()).state == "warn"


# Whatever the files say

CHECKS = (
    clock.clock,
    disk.medium,
    power.power,
    power.temperature,
    pace.processor,
    kernel.kernel,
    kernel.udp_buffers,
    kernel.connections,
    kernel.containment,
    memory.limits,
    memory.memory,
)
garbage = st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.integers().map(lambda n: b"%d\n" % n)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None, derandomize=True)
@given(st.lists(garbage, min_size=1, max_size=8))
def test_no_file_and_no_program_is_believed(box: Box, pieces: list[bytes]) -> None:
    paths = (
        "/proc/self/mounts",
        "/proc/self/limits",
        "/proc/sys/kernel/osrelease",
        "/proc/sys/net/core/rmem_max",
        "/proc/sys/net/core/somaxconn",
        "/proc/sys/vm/overcommit_memory",
        "/proc/meminfo",
        "/proc/swaps",
        "/proc/cgroups",
        "/proc/loadavg",
        f"{SOC}/soc:firmware/get_throttled",
        "/sys/class/thermal/thermal_zone0/temp",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    )
    for number, path in enumerate(paths):
        box.write(path, pieces[number % len(pieces)])
    text = b"".join(pieces).decode("utf-8", "replace")
    box.commands = dict.fromkeys(("timedatectl", "chronyc", "vcgencmd"), text)
    for check in CHECKS:
        assert check(box.surroundings()).found


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_swaps_are_not_believed(text: str) -> None:
    class Garbage(Surroundings):
        def read(self, path: str) -> str:
            return text

    assert isinstance(disk.is_swap_on_card(Garbage(Settings())), bool)

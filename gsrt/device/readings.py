"""What this box tells of itself: memory, processor time, heat, power, disk. Read from /proc and /sys.

Files are opened once and read with one call each, for the server looks every second. What this box does not have is
None, and its name is in `absent`.

Sources: proc(5) ("/proc/pid/statm", "/proc/meminfo"), the kernel's Documentation/driver-api/thermal/sysfs-api.rst and
Documentation/hwmon/sysfs-interface.rst, and for the flags of a Raspberry Pi's power supply the documentation of
`vcgencmd get_throttled`.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Bits of get_throttled. Sixteen higher each says that it has been so at some time since the box was started.
UNDER_VOLTAGE = 1
FREQUENCY_CAPPED = 2
THROTTLED = 4
TEMPERATURE_LIMITED = 8
POWER_BITS = UNDER_VOLTAGE | FREQUENCY_CAPPED | THROTTLED | TEMPERATURE_LIMITED

READ_BYTES = 4096
ZONES_MAX = 4  # looked at each time; a board has one or two, a PC a dozen, of batteries and radios too
# Sensors may say what no box that runs can have: 0 K when off, 255 °C when not connected.
COLDEST, HOTTEST = -40.0, 150.0
# Thermal zones that tell of the processor are called by such words ("cpu-thermal", "x86_pkg_temp", "soc_thermal");
# where one is, others do not count: reading a battery's or a radio's may take long.
PROCESSOR_WORDS = ("cpu", "soc", "pkg", "package", "core")
# Drivers of hwmon that tell the processor's temperature where there is no thermal zone for it.
PROCESSOR_DRIVERS = ("cpu_thermal", "coretemp", "k10temp", "zenpower", "scmi_sensors")
VOLTAGE_DRIVER = "rpi_volt"


class Readings:
    """One look at the box. Each is None where it is not known."""

    __slots__ = (
        "cpu_percent",
        "disk_free_bytes",
        "disk_written_bytes",
        "loop_lag_ms",
        "memory_available_bytes",
        "memory_bytes",
        "power",
        "temperature_celsius",
    )

    def __init__(
        self,
        *,
        memory_bytes: int | None = None,
        memory_available_bytes: int | None = None,
        cpu_percent: float | None = None,
        temperature_celsius: float | None = None,
        power: int | None = None,
        disk_free_bytes: int | None = None,
        disk_written_bytes: int | None = None,
        loop_lag_ms: float | None = None,
    ) -> None:
        self.memory_bytes = memory_bytes  # of this process (RSS)
        self.memory_available_bytes = memory_available_bytes  # what the kernel believes all programs may still take
        self.cpu_percent = cpu_percent  # of one core, by this process since the look before
        self.temperature_celsius = temperature_celsius  # of the processor
        self.power = power  # the flags above, of now
        self.disk_free_bytes = disk_free_bytes  # of the fullest of the folders that are written to
        self.disk_written_bytes = disk_written_bytes  # by the store so far
        self.loop_lag_ms = loop_lag_ms  # how late the loop was at worst since the look before


class Sensors:
    """The files that `read` looks at. ROOT is where /proc and /sys are; FOLDERS are those whose disk the server writes
    to; `processor_time()` gives the seconds of processor time that this process has used."""

    __slots__ = (
        "_memory",
        "_memory_info",
        "_page_bytes",
        "_power",
        "_processor_time",
        "_used",
        "_used_at",
        "_voltage",
        "_zones",
        "absent",
        "folders",
    )

    def __init__(
        self,
        root: str = "/",
        folders: Iterable[str] = (),
        processor_time: Callable[[], float] = time.process_time,
    ) -> None:
        self.folders = list(folders)
        self._processor_time = processor_time
        self._used = 0.0
        self._used_at: float | None = None
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._memory = _open(root, "proc/self/statm")
        self._memory_info = _open(root, "proc/meminfo")
        self._zones = list(_zones(root))
        self._power = _open_first(root, power_paths(root))
        self._voltage = -1 if self._power >= 0 else _open_first(root, _voltage_paths(root))
        found = {
            "memory": self._memory >= 0,
            "memory_available": self._memory_info >= 0,
            "temperature": bool(self._zones),
            "power": self._power >= 0 or self._voltage >= 0,
        }
        self.absent = tuple(name for name, there in found.items() if not there)

    def close(self) -> None:
        """Nothing is read any more."""
        for descriptor in (self._memory, self._memory_info, self._power, self._voltage, *self._zones):
            if descriptor >= 0:
                os.close(descriptor)
        self._memory = self._memory_info = self._power = self._voltage = -1
        self._zones.clear()

    def read(self, now: float, *, loop_lag_ms: float | None = None, disk_written_bytes: int | None = None) -> Readings:
        """One look. NOW: seconds, monotonic. What the loop and the store know is handed through."""
        return Readings(
            memory_bytes=self.memory(),
            memory_available_bytes=self._available(),
            cpu_percent=self._share(now),
            temperature_celsius=self._temperature(),
            power=self._power_flags(),
            disk_free_bytes=self._disk_free(),
            disk_written_bytes=disk_written_bytes,
            loop_lag_ms=loop_lag_ms,
        )

    def memory(self) -> int | None:
        """Bytes of memory that this process has (RSS); one system call, for a look in every turn."""
        try:
            return int(os.pread(self._memory, READ_BYTES, 0).split(None, 2)[1]) * self._page_bytes
        except (OSError, ValueError, IndexError):
            return None

    def _available(self) -> int | None:
        for line in _read(self._memory_info).split(b"\n", 5)[:5]:
            if line.startswith(b"MemAvailable:"):
                kilobytes = _number(line[13:].strip().removesuffix(b"kB"))
                return None if kilobytes is None else kilobytes * 1024
        return None

    def _share(self, now: float) -> float | None:
        used, before, since = self._processor_time(), self._used, self._used_at
        self._used, self._used_at = used, now
        if since is None or now <= since:
            return None
        return max(used - before, 0.0) / (now - since) * 100

    def _temperature(self) -> float | None:
        """The hottest zone's that says something sensible."""
        found: float | None = None
        for zone in self._zones:
            number = _number(_read(zone))
            if number is not None and COLDEST <= number / 1000 <= HOTTEST:
                found = number / 1000 if found is None else max(found, number / 1000)
        return found

    def _power_flags(self) -> int | None:
        if self._power >= 0:
            try:
                return int(_read(self._power), 16) & POWER_BITS
            except ValueError:
                return None
        number = _number(_read(self._voltage))
        return None if number is None else UNDER_VOLTAGE if number else 0

    def _disk_free(self) -> int | None:
        """What this user may still write, in the folder that has least."""
        found: int | None = None
        for folder in self.folders:
            try:
                status = os.statvfs(folder)
            except OSError:
                continue
            free = status.f_bavail * status.f_frsize
            found = free if found is None else min(found, free)
        return found


def _open(root: str, path: str) -> int:
    """A descriptor of that file; -1: there is none, or it is not to be read by us."""
    try:
        return os.open(os.path.join(root, path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _open_first(root: str, paths: Iterable[str]) -> int:
    """A descriptor of the first of them that is there; -1: none is."""
    for path in paths:
        descriptor = _open(root, path)
        if descriptor >= 0:
            return descriptor
    return -1


def _read(descriptor: int) -> bytes:
    """What the file says now; nothing where it cannot be told: a sensor may be busy, or unplugged."""
    if descriptor < 0:
        return b""
    try:
        return os.pread(descriptor, READ_BYTES, 0)
    except OSError:
        return b""


def _number(text: bytes) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _names(root: str, path: str, begin: str) -> list[str]:
    """Paths, from the root, of what lies in that folder under names that begin so."""
    try:
        names = sorted(os.listdir(os.path.join(root, path)))
    except OSError:
        return []
    return [f"{path}/{name}" for name in names if name.startswith(begin)]


def _text(root: str, path: str) -> str:
    """The first line of a small file, in lower case; empty where it cannot be read."""
    try:
        with open(os.path.join(root, path), "rb") as file:
            return file.read(256).split(b"\n", 1)[0].decode("ascii", "replace").strip().lower()
    except OSError:
        return ""


def _zones(root: str) -> Iterator[int]:
    """Descriptors of the temperatures to be read."""
    zones = _names(root, "sys/class/thermal", "thermal_zone")
    named = [zone for zone in zones if any(word in _text(root, f"{zone}/type") for word in PROCESSOR_WORDS)]
    paths = [f"{zone}/temp" for zone in named]
    if not paths:
        drivers = [each for each in _names(root, "sys/class/hwmon", "hwmon") if _driver(root, each)]
        paths = [f"{driver}/temp1_input" for driver in drivers] or [f"{zone}/temp" for zone in zones]
    for path in paths[:ZONES_MAX]:
        descriptor = _open(root, path)
        if descriptor >= 0:
            yield descriptor


def _driver(root: str, path: str) -> bool:
    return _text(root, f"{path}/name") in PROCESSOR_DRIVERS


def power_paths(root: str) -> Iterator[str]:
    """Paths, from ROOT, at which Raspberry Pi OS's kernel may tell the flags: below soc on most boards, soc@ADDRESS on
    others."""
    for soc in _names(root, "sys/devices/platform", "soc"):
        yield f"{soc}/get_throttled"
        for firmware in _names(root, soc, "soc"):
            yield f"{firmware}/get_throttled"


def _voltage_paths(root: str) -> Iterator[str]:
    """Where an unchanged kernel tells whether the voltage was too low within the last seconds."""
    for driver in _names(root, "sys/class/hwmon", "hwmon"):
        if _text(root, f"{driver}/name") == VOLTAGE_DRIVER:
            yield f"{driver}/in0_lcrit_alarm"

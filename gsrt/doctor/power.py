"""Power supply and heat: the two things for which a board gets slow without saying so."""

from __future__ import annotations

import time

from gsrt.device.readings import (
    FREQUENCY_CAPPED,
    TEMPERATURE_LIMITED,
    THROTTLED,
    UNDER_VOLTAGE,
    Sensors,
    power_paths,
)
from gsrt.doctor.finding import Finding, fail, ok, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

SINCE_START_SHIFT = 16  # the same bits, so much higher: it has been so since the box was started
NAMES = (
    (UNDER_VOLTAGE, "too low a voltage"),
    (TEMPERATURE_LIMITED, "slowed down for heat"),
    (THROTTLED, "throttled"),
    (FREQUENCY_CAPPED, "a lower frequency"),
)
SUPPLY = "use the supply made for this board and a short, thick cable; take power-hungry USB devices off"
COOLING = "give it air or a heat sink"


def power(surroundings: Surroundings) -> Finding:
    """What the board's firmware says of its supply, now and since the start."""
    flags = throttled(surroundings)
    if flags is None:
        return ok("this board does not tell about its power supply")
    now = _named(flags)
    before = _named(flags >> SINCE_START_SHIFT)
    todo = SUPPLY if (flags | flags >> SINCE_START_SHIFT) & UNDER_VOLTAGE else COOLING
    if flags & UNDER_VOLTAGE:
        return fail(f"now: {now}", todo)
    if now:
        return warn(f"now: {now}", todo)
    if before:
        return warn(f"since the start of the box: {before}; not now", todo)
    return ok("no low voltage and no throttling since the start of the box")


def throttled(surroundings: Surroundings) -> int | None:
    """The flags of `vcgencmd get_throttled`; None where nobody tells."""
    for path in power_paths(surroundings.root):
        flags = _hexadecimal(surroundings.word(f"/{path}"))
        if flags is not None:
            return flags
    output = surroundings.run("vcgencmd", "get_throttled")
    if output is not None and output.status == 0 and output.text.startswith("throttled="):
        return _hexadecimal(output.text.strip().removeprefix("throttled="))
    sensors = Sensors(surroundings.root)
    try:
        return sensors.read(time.monotonic()).power
    finally:
        sensors.close()


def _hexadecimal(text: str) -> int | None:
    digits = text.lower().removeprefix("0x")
    if not digits or len(digits) > 8 or any(digit not in "0123456789abcdef" for digit in digits):
        return None
    return int(digits, 16)


def _named(flags: int) -> str:
    return ", ".join(name for bit, name in NAMES if flags & bit)


def temperature(surroundings: Surroundings) -> Finding:
    """The processor's temperature against the profile's marks."""
    sensors = Sensors(surroundings.root)
    try:
        celsius = sensors.read(time.monotonic()).temperature_celsius
    finally:
        sensors.close()
    if celsius is None:
        return ok("this box does not tell its temperature")
    profile = surroundings.profile()
    if profile is None:
        return ok(f"{celsius:.0f} °C")
    slow, refuse = profile.temperature_slow_celsius, profile.temperature_refuse_celsius
    if celsius >= refuse:
        return fail(f"{celsius:.0f} °C: from {refuse:g} on no sessions are taken", COOLING)
    if celsius >= slow:
        return warn(f"{celsius:.0f} °C: from {slow:g} on the server slows down", COOLING)
    return ok(f"{celsius:.0f} °C; the server slows down at {slow:g}")

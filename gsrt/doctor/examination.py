"""All checks, one after the other, each in its time."""

from __future__ import annotations

import threading
import time

from gsrt.doctor import (
    addresses,
    avahi,
    certificate,
    clock,
    configuration,
    discovery,
    disk,
    firewall,
    folders,
    kernel,
    memory,
    pace,
    port,
    power,
    profile,
    python,
    running,
    unit,
)
from gsrt.doctor.finding import Finding, fail, warn
from gsrt.log import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gsrt.doctor.surroundings import Surroundings

    Check = Callable[[Surroundings], Finding]

CHECK_SECONDS = 3.0  # for one check; a disk or program that takes longer is a finding
ALL_SECONDS = 9.0  # for all of them

CHECKS: tuple[tuple[str, Check], ...] = (
    ("configuration", configuration.configuration),
    ("profile", profile.choice),
    ("memory promise", profile.promise),
    ("server", running.server),
    ("load", running.load),
    ("trouble", running.trouble),
    ("process", running.process),
    ("unit", unit.unit),
    ("restarts", unit.restarts),
    ("port", port.port),
    ("reachable", port.reachable),
    ("firewall", firewall.firewall),
    ("addresses", addresses.addresses),
    ("wi-fi", addresses.wifi),
    ("discovery", discovery.discovery),
    ("avahi", avahi.avahi),
    ("clock", clock.clock),
    ("certificate", certificate.certificate),
    ("power", power.power),
    ("temperature", power.temperature),
    ("processor", pace.processor),
    ("disk space", disk.space),
    ("disk", disk.medium),
    ("disk speed", disk.speed),
    ("state folder", folders.state),
    ("game", folders.game),
    ("script", folders.script),
    ("kernel", kernel.kernel),
    ("udp buffers", kernel.udp_buffers),
    ("udp batches", kernel.udp_batches),
    ("connections", kernel.connections),
    ("containment", kernel.containment),
    ("memory limits", memory.limits),
    ("memory", memory.memory),
    ("python", python.python),
    ("modules", python.modules),
    ("libraries", python.libraries),
)


def examine(
    surroundings: Surroundings,
    checks: Sequence[tuple[str, Check]] = CHECKS,
    *,
    check_seconds: float = CHECK_SECONDS,
    all_seconds: float = ALL_SECONDS,
) -> Iterator[tuple[str, Finding]]:
    """Each check's name and what it found, as soon as it is known. A check that does not end in time is left behind,
    on a thread that does not keep the process from ending."""
    end = time.monotonic() + all_seconds
    for name, check in checks:
        remaining = end - time.monotonic()
        if remaining <= 0:
            yield name, warn("not looked at: what came before took too long", "put that right, then run this again")
            continue
        patience = min(check_seconds, remaining)
        answers: list[Finding] = []
        thread = threading.Thread(target=_run, args=(check, surroundings, answers), daemon=True)
        thread.start()
        thread.join(patience)
        yield (
            name,
            answers[0]
            if answers
            else fail(
                f"no answer within {patience:.1f} s", "something on this box hangs; `dmesg | tail` may tell what"
            ),
        )


def _run(check: Check, surroundings: Surroundings, answers: list[Finding]) -> None:
    try:
        answers.append(check(surroundings))
    except Exception as error:  # what the box says is beyond what the check knows; the others go on
        answers.append(warn(f"cannot tell: {error_text(error)}", "report this as a bug of gsrt doctor"))

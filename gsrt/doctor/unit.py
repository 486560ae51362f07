"""The systemd unit: whether the server starts with the box, and why it was started again."""

from __future__ import annotations

from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.surroundings import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

UNIT = "gsrt.service"
PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState,WatchdogUSec,NRestarts,Result,NeedDaemonReload"
JOURNAL_LINES = 400
JOURNAL_LINE_CHARACTERS = 200
# What systemd writes, once each time, of a service that has not ended as it should (systemd's catalogue of messages).
BAD_END = "Failed with result"


def unit(surroundings: Surroundings) -> Finding:
    """Whether it is there, runs, and starts with the box."""
    if not surroundings.there("/run/systemd/system"):
        return ok("this box was not started by systemd: whoever started the server has to start it again")
    properties = shown(surroundings)
    if properties is None:
        return warn("cannot tell: systemctl does not answer", f"systemctl status {UNIT}")
    if properties.get("LoadState") == "not-found":
        return ok("not installed: the server runs while you run it", "the .deb brings it: docs/INSTALL.md")
    if properties.get("LoadState") != "loaded":
        return fail(f"{UNIT} is {properties.get('LoadState') or '?'}", f"systemctl status {UNIT}")
    active, enabled = properties.get("ActiveState", "?"), properties.get("UnitFileState", "?")
    if active == "failed":
        return fail(
            f"{UNIT} has failed: {properties.get('Result') or '?'}", f"journalctl -u {UNIT} -n 50; gsrt check GAME"
        )
    if properties.get("SubState") == "auto-restart":
        return fail(f"{UNIT} ends as soon as it is started, again and again", f"journalctl -u {UNIT} -n 50 tells why")
    socket_waits = surroundings.run("systemctl", "is-active", "gsrt.socket")
    waiting = socket_waits is not None and socket_waits.text.strip() == "active"
    if active not in ("active", "reloading", "activating") and not waiting:
        return warn(f"{UNIT} is {active}, {enabled or 'not enabled'}", f"sudo systemctl enable --now {UNIT}")
    if enabled not in ("enabled", "enabled-runtime", "static") and not waiting:
        return warn(f"{UNIT} is {active}, but does not start with the box ({enabled})", f"sudo systemctl enable {UNIT}")
    if properties.get("NeedDaemonReload") == "yes":
        return warn(f"{UNIT} has changed on the disk", f"sudo systemctl daemon-reload && sudo systemctl restart {UNIT}")
    watched = properties.get("WatchdogUSec", "") not in ("", "0", "infinity")
    return ok(f"{UNIT} is {active}, {enabled}, {'watched' if watched else 'without a watchdog'}")


def shown(surroundings: Surroundings) -> dict[str, str] | None:
    """The unit's properties, as systemctl(1) shows them; None where it does not."""
    output = surroundings.run("systemctl", "show", UNIT, f"--property={PROPERTIES}")
    if output is None or output.status != 0:
        return None
    pairs = (line.partition("=") for line in output.text.splitlines()[:100])
    return {name: value.strip()[:100] for name, equals, value in pairs if equals}


def restarts(surroundings: Surroundings) -> Finding:
    """How often systemd has started it again, and what it gave as the reason."""
    properties = shown(surroundings) if surroundings.there("/run/systemd/system") else None
    if properties is None or properties.get("LoadState") != "loaded":
        return ok("none, for there is no unit")
    count = whole_number(properties.get("NRestarts", "")) or 0
    reasons = _reasons(surroundings)
    if reasons is None and count:
        return warn(f"{count} since the unit was started; the journal cannot be read", "sudo gsrt doctor")
    is_meant_to_run = properties.get("ActiveState") != "inactive"
    if count and is_meant_to_run and surroundings.status() is None and not surroundings.status_error():
        last = f", last: {reasons[-1]}" if reasons else ""
        return fail(f"{count}, and no server answers{last}", f"journalctl -b -u {UNIT} -e")
    if reasons:
        return warn(
            f"{count} since the unit was started; since the start of the box, bad ends: {len(reasons)}, last: "
            f"{reasons[-1]}",
            f"journalctl -b -u {UNIT} -e",
        )
    return ok(f"{count} since the unit was started")


def _reasons(surroundings: Surroundings) -> list[str] | None:
    """Lines of the journal since the box was started that tell of a bad end, one each; None where it cannot be
    read."""
    output = surroundings.run(
        "journalctl", "--unit", UNIT, "--boot", "--lines", str(JOURNAL_LINES), "--output", "short-iso", "--no-pager"
    )
    if output is None or output.status != 0:
        return None
    if "not seeing messages from other users" in output.error or "No journal files" in output.error:
        return None
    # "2026-01-31T20:00:00+0100 host systemd[1]: gsrt.service: Failed with result 'watchdog'."
    return [
        line[:JOURNAL_LINE_CHARACTERS]
        for line in output.text.splitlines()[-JOURNAL_LINES:]
        if " systemd[" in line and BAD_END in line
    ]

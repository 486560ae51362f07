"""The systemd unit, the box's or that of the user who asks: whether the server starts with the box, and why it was
started again."""

from __future__ import annotations

from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.surroundings import whole_number
from gsrt.doctor.users import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

UNIT = "gsrt.service"
PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState,WatchdogUSec,NRestarts,Result,NeedDaemonReload"
JOURNAL_LINES = 400
JOURNAL_LINE_CHARACTERS = 200
# What systemd writes, once each time, of a service that has not ended as it should (systemd's catalogue of messages).
BAD_END = "Failed with result"
LINGERING = "/var/lib/systemd/linger"  # a file for each user whose systemd runs with the box: loginctl(1)


class Managed:
    """The unit as a systemd has it. OWNER is the user whose systemd that is, "" for the box's; PROPERTIES are as
    systemctl(1) shows them; JOURNAL is what journalctl(1) is to be told to show what systemd says of it."""

    __slots__ = ("journal", "owner", "properties")

    def __init__(self, properties: dict[str, str], owner: str, *journal: str) -> None:
        self.properties = properties
        self.owner = owner
        self.journal = journal

    @property
    def name(self) -> str:
        return f"{UNIT} of {self.owner}" if self.owner else UNIT

    @property
    def is_loaded(self) -> bool:
        return self.properties.get("LoadState") == "loaded"

    def asked(self, words: str) -> str:
        """The command by which its owner asks systemd about it."""
        return f"systemctl --user {words} {UNIT}" if self.owner else f"systemctl {words} {UNIT}"

    def told(self, words: str) -> str:
        """The command by which its owner tells systemd what to do with it."""
        return self.asked(words) if self.owner else f"sudo {self.asked(words)}"

    def logged(self, *options: str) -> str:
        """The command by which its owner reads what it has said."""
        return " ".join(("journalctl", *options[:-1], "--user-unit" if self.owner else "-u", UNIT, options[-1]))


def unit(surroundings: Surroundings) -> Finding:
    """Whether it is there, runs, and starts with the box."""
    if not surroundings.there("/run/systemd/system"):
        return ok("this box was not started by systemd: whoever started the server has to start it again")
    managed = shown(surroundings)
    if managed is None:
        return warn("cannot tell: systemctl does not answer", f"systemctl status {UNIT}")
    properties, name = managed.properties, managed.name
    if properties.get("LoadState") == "not-found":
        return ok("not installed: the server runs while you run it", "the .deb brings it: docs/INSTALL.md")
    if not managed.is_loaded:
        return fail(f"{name} is {properties.get('LoadState') or '?'}", managed.asked("status"))
    active, enabled = properties.get("ActiveState", "?"), properties.get("UnitFileState", "?")
    if active == "failed":
        why = properties.get("Result") or "?"
        check = "gsrt check GAME" if managed.owner else "sudo -u gsrt gsrt config check"
        # After too many starts in a row systemd refuses more, by hand as well.
        again = f"; then {managed.told('reset-failed')} and start it" if why == "start-limit-hit" else ""
        return fail(f"{name} has failed: {why}", f"{managed.logged('-n 50')}; {check}{again}")
    if properties.get("SubState") == "auto-restart":
        return fail(f"{name} ends as soon as it is started, again and again", f"{managed.logged('-n 50')} tells why")
    waiting = not managed.owner and _is_waited_for(surroundings)
    if active not in ("active", "reloading", "activating") and not waiting:
        return warn(f"{name} is {active}, {enabled or 'not enabled'}", managed.told("enable --now"))
    if enabled not in ("enabled", "enabled-runtime", "static") and not waiting:
        return warn(f"{name} is {active}, but does not start with the box ({enabled})", managed.told("enable"))
    if managed.owner and not surroundings.there(f"{LINGERING}/{managed.owner}"):
        return warn(
            f"{name} is {active}, but starts when {managed.owner} logs in, and ends when {managed.owner} logs out",
            f"sudo loginctl enable-linger {managed.owner}",
        )
    if properties.get("NeedDaemonReload") == "yes":
        reload = managed.told("daemon-reload").removesuffix(f" {UNIT}")
        return warn(f"{name} has changed on the disk", f"{reload} && {managed.told('restart')}")
    watched = properties.get("WatchdogUSec", "") not in ("", "0", "infinity")
    return ok(f"{name} is {active}, {enabled}, {'watched' if watched else 'without a watchdog'}")


def shown(surroundings: Surroundings) -> Managed | None:
    """The box's unit, or else that of the user who asks; None where systemd does not answer."""
    properties = _properties(surroundings)
    if properties is None:
        return None
    managed = Managed(properties, "", "--unit", UNIT)
    if managed.is_loaded:
        return managed
    number = surroundings.caller
    owner = name_of(surroundings, number)
    # root is not let in to the systemd of somebody else without saying whose it is.
    whose = () if number == surroundings.user else (f"--machine={owner}@.host",)
    properties = _properties(surroundings, "--user", *whose)
    # journalctl's --user-unit means the user who runs it, which may be root.
    users = Managed(properties or {}, owner, f"USER_UNIT={UNIT}", f"_UID={number}")
    return users if users.is_loaded else managed


def _properties(surroundings: Surroundings, *manager: str) -> dict[str, str] | None:
    output = surroundings.run("systemctl", *manager, "show", UNIT, f"--property={PROPERTIES}")
    if output is None or output.status != 0:
        return None
    pairs = (line.partition("=") for line in output.text.splitlines()[:100])
    return {name: value.strip()[:100] for name, equals, value in pairs if equals}


def _is_waited_for(surroundings: Surroundings) -> bool:
    """Whether systemd has opened the port, and starts the server for the first player."""
    said = surroundings.run("systemctl", "is-active", "gsrt.socket")
    return said is not None and said.text.strip() == "active"


def restarts(surroundings: Surroundings) -> Finding:
    """How often systemd has started it again, and what it gave as the reason."""
    managed = shown(surroundings) if surroundings.there("/run/systemd/system") else None
    if managed is None or not managed.is_loaded:
        return ok("none, for there is no unit")
    count = whole_number(managed.properties.get("NRestarts", "")) or 0
    reasons = _reasons(surroundings, managed)
    if reasons is None and count:
        return warn(f"{count} since the unit was started; the journal cannot be read", "sudo gsrt doctor")
    is_meant_to_run = managed.properties.get("ActiveState") != "inactive"
    # The server of somebody else's unit is not the one that root finds.
    would_answer = not managed.owner or surroundings.caller == surroundings.user
    unanswered = would_answer and surroundings.status() is None and not surroundings.status_error()
    if count and is_meant_to_run and unanswered:
        last = f", last: {reasons[-1]}" if reasons else ""
        return fail(f"{count}, and no server answers{last}", managed.logged("-b", "-e"))
    if reasons:
        return warn(
            f"{count} since the unit was started; since the start of the box, bad ends: {len(reasons)}, last: "
            f"{reasons[-1]}",
            managed.logged("-b", "-e"),
        )
    return ok(f"{count} since the unit was started")


def _reasons(surroundings: Surroundings, managed: Managed) -> list[str] | None:
    """Lines of the journal since the box was started that tell of a bad end, one each; None where it cannot be
    read."""
    output = surroundings.run(
        *("journalctl", *managed.journal, "--boot", "--lines", str(JOURNAL_LINES)),
        *("--output", "short-iso", "--no-pager"),
    )
    if output is None or output.status != 0 or "No journal files" in output.error:
        return None
    # Somebody whose own unit it is may read of it without reading of others.
    if "not seeing messages from other users" in output.error and f": {UNIT}: " not in output.text:
        return None
    # "2026-01-31T20:00:00+0100 host systemd[1]: gsrt.service: Failed with result 'watchdog'."
    return [
        line[:JOURNAL_LINE_CHARACTERS]
        for line in output.text.splitlines()[-JOURNAL_LINES:]
        if " systemd[" in line and BAD_END in line
    ]

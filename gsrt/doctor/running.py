"""What the running server says of itself."""

from __future__ import annotations

from gsrt.cli.text import count, duration
from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.sockets import sockets_at
from gsrt.doctor.surroundings import megabytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.doctor.surroundings import Surroundings

SLOW_TICK_MS = 50.0  # a hold-up of the loop that a player feels
SHOWN_MAX = 4
NO_ANSWER = "did not answer"  # what gsrt.transports.control says of a server that takes a request, and no more

NEW_TO_KERNELS = {"code"}  # 6.3; nothing that a host could mend
GOVERNOR_REFUSED = "sessions_refused_by_governor"  # `refused` among the governor's own counters

# Counters (docs/PROTOCOL.md, 14) that tell of the box and its settings, not of what a client does wrong: what to do.
TROUBLE = {
    "connections_refused_descriptors": "raise LimitNOFILE= in the unit, or `ulimit -n`",
    "connections_refused_full": "raise connections_max in the profile, or look who holds them: gsrt session list",
    "dropped_udp_send": "the network does not take what is sent: look at the cable, the Wi-Fi, `ip -s link`",
    "dropped_slow": "players who do not read as fast as others send: look at their Wi-Fi",
    "dropped_script_busy": "the script is too slow for this box: gsrt logs, docs/SCRIPTS.md",
    "tls_unavailable": "see the line on the certificate",
    "closed_error": "faults of the server: read its log, and report it",
    "control_requests_failed": "faults of the server: read its log, and report it",
    "store_failures": "see the lines on the disk",
    "store_refused": "more is to be stored than the disk takes: see the line on disk speed",
    "beacons_failed": "some interface took no broadcast: see the line on discovery, or type the address by hand",
    GOVERNOR_REFUSED: "the log says what was short: memory, disk, heat, time (journalctl -u gsrt)",
}


def server(surroundings: Surroundings) -> Finding:
    """Whether one runs and answers."""
    status = surroundings.status()
    if status is None:
        error = surroundings.status_error()
        if NO_ANSWER in error:
            return fail(
                f"{error}: it hangs, or has more to do than it can",
                "the unit's watchdog starts it again within seconds; without one, end it (kill) and start it",
            )
        if error:
            return warn(f"cannot be asked: {error}", "run this as the server's user, or with sudo")
        return ok("none runs (or it is another user's: sudo gsrt doctor)")
    return ok(
        f"gsrt {_text(status, 'version')}, process {_text(status, 'pid')}, profile {_text(status, 'profile')}, up for "
        f"{duration(_number(status.get('uptimeSeconds')))}: "
        f"{count(int(_number(status.get('peersConnected'))), 'player')} in "
        f"{count(int(_number(status.get('sessions'))), 'session')}"
    )


def load(surroundings: Surroundings) -> Finding:
    """What its governor says, and its longest turn."""
    status = surroundings.status()
    if status is None:
        return ok("no server runs")
    governor = status.get("governor")
    reasons = governor.get("reasons") if isinstance(governor, dict) else None
    if isinstance(governor, dict) and governor.get("level") in ("slowed", "refusing"):
        text = "; ".join(str(reason) for reason in reasons) if isinstance(reasons, list) else "it does not say why"
        if governor["level"] == "refusing":
            return fail(f"takes no new sessions: {text}", "it takes them again by itself once that is over")
        return warn(f"slowed down: {text}", "it gets quicker by itself once that is over")
    loop = status.get("loop")
    worst = _number(loop.get("worstTickMs")) if isinstance(loop, dict) else 0.0
    lately = _number(loop.get("worstTickLatelyMs")) if isinstance(loop, dict) else 0.0
    if lately > SLOW_TICK_MS:
        return warn(
            f"its longest turn since the last look took {lately:.0f} ms, which players have felt",
            "see the lines on processor and disk speed; gsrt status tells which script takes long",
        )
    memory = ""
    if isinstance(governor, dict) and (promised := _number(governor.get("memoryBytesMax"))):
        memory = f"{megabytes(_number(governor.get('memoryBytes')))} of {megabytes(promised)}; "
    return ok(f"normal; {memory}its longest turn since the last look took {lately:.1f} ms, ever {worst:.1f} ms")


def process(surroundings: Surroundings) -> Finding:
    """What it was to have of the kernel and the C library: locked memory, fewer rights, settings of its profile."""
    status = surroundings.status()
    if status is None:
        return ok("no server runs")
    told = status.get("process")
    outcomes = {} if not isinstance(told, dict) else {part: it for part, it in told.items() if isinstance(it, dict)}
    lacking = {part: _text(each, "why") for part, each in outcomes.items() if each.get("done") is not True}
    missing = [f"{part}: {why}" for part, why in lacking.items()][:SHOWN_MAX]
    if lacking.keys() - NEW_TO_KERNELS:
        return warn(
            f"the server lacks {'; '.join(missing)}",
            "it works without; see the lines on libraries and kernel",
        )
    had = [part for part in outcomes if part not in lacking]
    found = f"the server has {', '.join(had)}" if had else "the server was to have nothing of the kernel's"
    return ok(found + (f"; this kernel has no {'; '.join(missing)}" if missing else ""))


def trouble(surroundings: Surroundings) -> Finding:
    """Counters that tell of a box or network that does not manage."""
    status = surroundings.status()
    if status is None:
        return ok("no server runs")
    found = [(name, amount) for name, amount in _counters(status).items() if name in TROUBLE and amount > 0]
    drops = sum(one.drops for one in sockets_at(surroundings, surroundings.server_port()) if one.kind == "UDP")
    if drops:
        return warn(
            f"{drops} datagrams came while the server's UDP buffer was full" + _and(found),
            "see the lines on UDP buffers and load",
        )
    if found:
        return warn(f"since its start: {_list(found)}", TROUBLE[found[0][0]])
    return ok("nothing that was counted tells of any")


def _counters(status: dict[str, Any]) -> dict[str, float]:
    """Those of the server, of its governor and, where a game is served, of its store."""
    platform = status.get("platform")
    governor = status.get("governor")
    own = governor.get("counters") if isinstance(governor, dict) else None
    parts = [
        status.get("counters"),
        platform.get("store") if isinstance(platform, dict) else None,
        {GOVERNOR_REFUSED: own.get("refused")} if isinstance(own, dict) else None,
    ]
    return {str(name): _number(amount) for part in parts if isinstance(part, dict) for name, amount in part.items()}


def _list(found: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {amount:.0f}" for name, amount in found[:SHOWN_MAX])


def _and(found: list[tuple[str, float]]) -> str:
    return f"; besides: {_list(found)}" if found else ""


def _text(status: dict[str, Any], key: str) -> str:
    return str(status.get(key, "?"))[:100]


def _number(value: object) -> float:
    """A figure of the status; 0 where it is none that makes sense."""
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 else 0.0

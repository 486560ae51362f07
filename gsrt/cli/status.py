"""`gsrt status`: how the server is doing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_control, add_json
from gsrt.cli.asking import ask, show
from gsrt.cli.text import columns, count, duration, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MEBIBYTE = 1 << 20
LEVEL_TEXTS = {
    "normal": "all is well",
    "slowed": "strained, the server does less at a time",
    "refusing": "strained, nobody new is let in",
}
PARTS = {"players": "counters", "matches": "matches", "store": "store"}  # of a game: as they are called here and there


def add_arguments(parser: ArgumentParser) -> None:
    add_json(parser)
    add_control(parser)


def run(arguments: Namespace) -> int:
    return show(ask(arguments.control, {"do": "status"}), arguments, _describe)


def _describe(answer: dict[str, Any]) -> str:
    summary = [
        ("server", f"gsrt {answer['version']}, process {answer['pid']}, up for {duration(answer['uptimeSeconds'])}"),
        ("listens at", f"{answer['host']}:{answer['port']}, TCP and UDP"),
        ("profile", answer["profile"]),
        ("plays", f"{count(answer['peersConnected'], 'player')} in {count(answer['sessions'], 'session')}"),
        ("connections", f"{count(answer['connections'], 'connection')}, {count(answer['links'], 'link')}"),
    ]
    platform = answer.get("platform")  # where a game is served
    if platform:
        online, tickets = platform["playersOnline"], platform["matches"]["tickets"]
        summary.append(("game", f"{printable(platform['game'])}: {online} online, {tickets} looking for a match"))
    governor = answer.get("governor")  # none, where the profile has nobody look at the box
    if governor:
        summary.append(("box", _box(governor)))
    blocks = [columns(summary, indent="")]
    blocks += (f"Attention: {printable(reason)}" for reason in (governor or {}).get("reasons", ()))
    blocks.append(_counters("In total", answer["counters"]))
    for one in answer["perSession"]:
        blocks.append(_counters(f"Session {one['sessionId']}", one["counters"]))
        for player, quality in one["links"].items():
            blocks.append(_counters(f"Link of {printable(player)} (seconds, bytes)", quality))
        if "script" in one:
            script = one["script"]
            title = f"Script of {one['sessionId']}: {printable(script['path'])}, {script['state']}"
            blocks.append(_counters(title, _figures(script)))
    if platform:
        blocks += (_counters(name.capitalize(), platform[part]) for name, part in PARTS.items())
        for event, script in platform["events"].items():
            title = f"Event {printable(event)}: {printable(script['path'])}, {script['state']}"
            blocks.append(_counters(title, _figures(script)))
    blocks.append(_counters("Loop", answer["loop"]))
    if process := answer.get("process"):
        rows = [(part, ("" if found["done"] else "no: ") + printable(found["why"])) for part, found in process.items()]
        blocks.append(f"Process\n{columns(rows)}")
    return "\n\n".join(blocks)


def _box(governor: dict[str, Any]) -> str:
    """How the box is: the level, and what is known of it."""
    found = [LEVEL_TEXTS.get(governor["level"], governor["level"])]
    held, most = governor["memoryBytes"], governor["memoryBytesMax"]
    if held is not None:
        found.append(f"{held / MEBIBYTE:.0f} of {most / MEBIBYTE:.0f} MiB of memory")
    for key, text in (("cpuPercent", "{:.0f} % of a core"), ("temperatureCelsius", "{:.0f} degrees Celsius")):
        if governor[key] is not None:
            found.append(text.format(governor[key]))
    return ", ".join(found)


def _figures(script: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in script.items() if isinstance(value, (int, float))}


def _counters(title: str, counters: dict[str, float]) -> str:
    """What has happened at all; what never did would only hide it."""
    rows = [(name, round(value, 3)) for name, value in counters.items() if value]
    return f"{title}\n{columns(rows)}" if rows else f"{title}: nothing yet"

"""Whether this box's own firewall lets players in."""

from __future__ import annotations

from gsrt.doctor import iptables, nftables
from gsrt.doctor.addresses import interfaces, lan_addresses
from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.packet_filter import ACCEPT, DROP, Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

KINDS = ("tcp", "udp")


def firewall(surroundings: Surroundings) -> Finding:
    """What becomes of a new player's first packets, as far as the rules of nftables and iptables tell."""
    port = surroundings.server_port()
    rules = surroundings.json("nft", "--json", "list", "ruleset")
    tables = surroundings.run("iptables", "-S")
    legacy = None if tables is None or tables.status != 0 else tables.text
    if rules is None and legacy is None:
        return _unreadable(surroundings, port)
    verdicts = {kind: _verdict(rules, legacy, _packet(surroundings, kind, port)) for kind in KINDS}
    dropped = [kind.upper() for kind, verdict in verdicts.items() if verdict == {DROP}]
    doubtful = [kind.upper() for kind, verdict in verdicts.items() if verdict == {ACCEPT, DROP}]
    if dropped:
        return fail(f"drops {' and '.join(dropped)} to port {port}", opening(surroundings, port))
    if doubtful:
        return warn(
            f"may drop {' and '.join(doubtful)} to port {port}: that depends on who sends, or how often",
            f"try `gsrt discover` on another machine; else {opening(surroundings, port)}",
        )
    return ok(f"lets TCP and UDP to port {port} in")


def _packet(surroundings: Surroundings, kind: str, port: int) -> Packet:
    from ipaddress import IPv4Address, IPv4Network

    usable = lan_addresses(interfaces(surroundings) or [])
    names = frozenset(one.name for one, _, _ in usable)
    networks = [
        IPv4Network((int(address), length), strict=False)
        for _, address, length in usable
        if isinstance(address, IPv4Address)
    ]
    return Packet(kind, port, names, networks)


def _verdict(rules: object, tables: str | None, packet: Packet) -> frozenset[str]:
    """What may become of the packet: both sets of rules have to accept it."""
    found = frozenset((ACCEPT,)) if rules is None else nftables.judge(rules, packet)
    if tables is not None:
        here = iptables.judge(tables, packet)
        found = (found & here) | ((found | here) & {DROP})
    return found


def _unreadable(surroundings: Surroundings, port: int) -> Finding:
    enabled = "ENABLED=yes" in (surroundings.read("/etc/ufw/ufw.conf") or "")
    if not surroundings.is_root:
        what = "ufw is on; whether it lets players in" if enabled else "whether a firewall keeps players out"
        return warn(f"cannot tell without root {what}", "sudo gsrt doctor")
    if enabled:
        return warn("ufw is on, but its rules cannot be read", opening(surroundings, port))
    if surroundings.word("/proc/net/ip_tables_names"):
        return warn("there are rules, but no program to read them", "apt-get install iptables")
    return ok("no program for firewall rules (nft, iptables) is installed, so there are none")


def opening(surroundings: Surroundings, port: int) -> str:
    """What to type so that players are let in."""
    if "ENABLED=yes" in (surroundings.read("/etc/ufw/ufw.conf") or ""):
        return f"sudo ufw allow {port}/tcp && sudo ufw allow {port}/udp"
    if surroundings.there("/run/firewalld"):
        return (
            f"sudo firewall-cmd --permanent --add-port={port}/tcp --add-port={port}/udp && sudo firewall-cmd --reload"
        )
    return f"let them in before the rule that drops: meta l4proto {{ tcp, udp }} th dport {port} accept"

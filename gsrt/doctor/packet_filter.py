"""What a firewall does with a packet, as far as its rules can be judged from outside: three-valued, for a rule may
depend on what is not known (who sends, how often)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from ipaddress import IPv4Network

YES, MAYBE, NO = 2, 1, 0  # whether a rule is for the packet
ACCEPT, DROP, RETURN, ON = "accept", "drop", "return", "on"  # what becomes of it; ON: the next rule is asked
DEPTH_MAX = 16  # jumps within jumps, as many as the kernel follows


class Packet:
    """The first packet of a player in the LAN: KIND is tcp or udp. INTERFACES are those it can come in by, NETWORKS
    those it can come from."""

    __slots__ = ("interfaces", "kind", "networks", "port")

    def __init__(
        self, kind: str, port: int, interfaces: frozenset[str] = frozenset(), networks: Sequence[IPv4Network] = ()
    ) -> None:
        self.kind = kind
        self.port = port
        self.interfaces = interfaces
        self.networks = tuple(networks)


class Rule:
    """MATCH: whether it is for the packet. VERDICT: what becomes of it then. TARGET: the chain that is asked, if any;
    FINAL_JUMP: with no way back."""

    __slots__ = ("final_jump", "match", "target", "verdict")

    def __init__(self, match: int, verdict: str = ON, target: str = "", final_jump: bool = False) -> None:
        self.match = match
        self.verdict = verdict
        self.target = target
        self.final_jump = final_jump


def outcomes(chains: Mapping[str, Sequence[Rule]], name: str, policy: str) -> frozenset[str]:
    """What may become of a packet that enters the chain NAME, whose end means POLICY: of {accept, drop}."""
    known: dict[str, frozenset[str]] = {}
    found = _of_chain(chains, name, known, DEPTH_MAX)
    return frozenset(policy if each in (ON, RETURN) else each for each in found)


def _of_chain(
    chains: Mapping[str, Sequence[Rule]], name: str, known: dict[str, frozenset[str]], depth: int
) -> frozenset[str]:
    """Of {accept, drop, on}; `on`: the chain's end may be reached."""
    if name in known:
        return known[name]
    if depth == 0 or name not in chains:
        return frozenset((ON, DROP))  # the kernel takes no such rules, so what is known is wrong
    known[name] = frozenset((ON, DROP))  # for rules that lead in a circle
    found: set[str] = set()
    for rule in chains[name]:
        if rule.match == NO:
            continue
        if rule.target:
            inner = _of_chain(chains, rule.target, known, depth - 1)
            goes_on = ON in inner
            found |= inner - {ON}
            if goes_on and rule.final_jump:
                found.add(ON)
                goes_on = False
        elif rule.verdict == ON:
            continue
        else:
            found.add(ON if rule.verdict == RETURN else rule.verdict)
            goes_on = False
        if not goes_on and rule.match == YES:
            break
    else:
        found.add(ON)
    known[name] = frozenset(found)
    return known[name]


def of_values(values: Sequence[object], wanted: Callable[[object], int]) -> int:
    """Whether one of VALUES is the packet's: the best of what WANTED says of each."""
    return max((wanted(value) for value in values), default=NO)


def negated(match: int) -> int:
    return {YES: NO, NO: YES}.get(match, MAYBE)


def of_interface(packet: Packet, names: Sequence[str]) -> int:
    """Whether the packet comes in by one of the interfaces called NAMES; a name may end in * or +, for any ending."""
    if not packet.interfaces:
        return NO if set(names) == {"lo"} else MAYBE
    fits = [any(_is_called(interface, name) for name in names) for interface in packet.interfaces]
    return YES if all(fits) else MAYBE if any(fits) else NO


def _is_called(interface: str, name: str) -> bool:
    return interface.startswith(name[:-1]) if name[-1:] in ("*", "+") else interface == name


def of_source(packet: Packet, text: str) -> int:
    """Whether the packet comes from the IPv4 network TEXT, such as 192.168.0.0/16."""
    from ipaddress import IPv4Network

    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        return MAYBE
    if not packet.networks:
        return MAYBE
    if all(each.subnet_of(network) for each in packet.networks):
        return YES
    return MAYBE if any(each.overlaps(network) for each in packet.networks) else NO

"""Rules of iptables, as `iptables -S` writes them (iptables(8)): the table `filter`, which decides."""

from __future__ import annotations

from gsrt.doctor.packet_filter import (
    ACCEPT,
    DROP,
    MAYBE,
    NO,
    RETURN,
    YES,
    Packet,
    Rule,
    negated,
    of_interface,
    of_source,
    outcomes,
)
from gsrt.doctor.surroundings import whole_number

CHAIN = "INPUT"
VERDICTS = {"ACCEPT": ACCEPT, "DROP": DROP, "REJECT": DROP, "RETURN": RETURN}
PORTS = frozenset(("--dport", "--dports", "--destination-port", "--destination-ports"))
# Options with so many words after them that neither choose nor decide.
NEUTRAL = {"-m": 1, "--match": 1, "--comment": 1, "--reject-with": 1, "--log-prefix": 1, "--log-level": 1, "-c": 2}
LINES_MAX = 20_000


def judge(text: str, packet: Packet) -> frozenset[str]:
    """What may become of the packet: of {accept, drop}."""
    import shlex

    chains: dict[str, list[Rule]] = {}
    policy = ACCEPT
    for line in text.splitlines()[:LINES_MAX]:
        try:
            words = shlex.split(line)
        except ValueError:  # a quotation without end
            words = []
        if len(words) < 2:
            continue
        if words[0] in ("-P", "-N"):
            chains.setdefault(words[1], [])
            if words[:2] == ["-P", CHAIN] and words[2:] == ["DROP"]:
                policy = DROP
        elif words[0] == "-A":
            chains.setdefault(words[1], []).append(_rule(words[2:], packet, chains))
    return outcomes(chains, CHAIN, policy) if CHAIN in chains else frozenset((ACCEPT,))


def _rule(words: list[str], packet: Packet, chains: dict[str, list[Rule]]) -> Rule:
    match = YES
    negative = False
    rest = iter(words)
    for word in rest:
        if word == "!":
            negative = True
            continue
        if word in ("-j", "--jump", "-g", "--goto"):
            target = next(rest, "")
            if target in VERDICTS:
                return Rule(match, VERDICTS[target])
            if target in chains:
                return Rule(match, target=target, final_jump=word in ("-g", "--goto"))
            return Rule(match)  # LOG, MARK and such: the next rule is asked
        if word in NEUTRAL:
            for _ in range(NEUTRAL[word]):
                next(rest, "")
            continue
        fits = _fits(word, next(rest, ""), packet)
        match = min(match, negated(fits) if negative else fits)
        negative = False
    return Rule(match)


def _fits(option: str, value: str, packet: Packet) -> int:
    if option in ("-p", "--protocol"):
        return YES if value in (packet.kind, "all") else NO
    if option in ("-i", "--in-interface"):
        return of_interface(packet, [value])
    if option in PORTS:
        return YES if any(_is_our_port(part, packet.port) for part in value.split(",")) else NO
    if option in ("--ctstate", "--state"):
        return YES if "NEW" in value.split(",") else NO
    if option in ("-s", "--source"):
        return of_source(packet, value)
    return MAYBE


def _is_our_port(text: str, port: int) -> bool:
    first, colon, last = text.partition(":")
    low, high = whole_number(first or "0"), whole_number(last or "65535") if colon else whole_number(first)
    return low is not None and high is not None and low <= port <= high

"""Rules of nftables, as `nft --json list ruleset` writes them (libnftables-json(5))."""

from __future__ import annotations

from gsrt.doctor.packet_filter import (
    ACCEPT,
    DROP,
    MAYBE,
    NO,
    ON,
    RETURN,
    YES,
    Packet,
    Rule,
    negated,
    of_interface,
    of_source,
    of_values,
    outcomes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

HOOKS = ("prerouting", "input")  # that a packet for this box passes
FAMILIES = ("ip", "inet")
VERDICTS = {"accept": ACCEPT, "drop": DROP, "reject": DROP, "return": RETURN, "continue": ON}
# Parts of a rule that neither choose nor decide.
NEUTRAL = frozenset(("counter", "log", "comment", "mangle", "notrack", "quota", "meter", "set", "ct helper"))
RULES_MAX = 20_000
TRACKING_PRIORITY = -200  # of prerouting, NF_IP_PRI_CONNTRACK of linux/netfilter_ipv4.h; before it all is "invalid"
PORT_FIELDS = ("tcp", "udp", "th")
OTHER_PROTOCOLS = ("icmp", "icmpv6", "igmp", "ip6", "arp", "sctp", "dccp", "esp", "ah", "comp")


def judge(ruleset: object, packet: Packet) -> frozenset[str]:
    """What may become of the packet: of {accept, drop}. Tables that iptables has made with its own kind of matches are
    left out: `iptables -S` tells them better."""
    entries = ruleset.get("nftables") if isinstance(ruleset, dict) else None
    found = frozenset((ACCEPT,))
    if not isinstance(entries, list):
        return found
    tables = _Tables(entries)
    for family, table, chain, policy, state in tables.base_chains():
        if tables.is_foreign(family, table):
            continue
        here = outcomes(tables.rules(family, table, packet, state), chain, policy)
        # What one base chain accepts, the next still sees; what one drops is dropped.
        found = (found & here) | ((found | here) & {DROP})
        if found == {DROP}:
            break
    return found


class _Tables:
    """A ruleset's objects, by where they belong."""

    def __init__(self, entries: list[Any]) -> None:
        self._chains = [each["chain"] for each in entries if isinstance(each, dict) and _is_object(each, "chain")]
        self._rules = [each["rule"] for each in entries if isinstance(each, dict) and _is_object(each, "rule")]
        self._sets = {
            (one.get("family"), one.get("table"), one.get("name")): one.get("elem")
            for each in entries
            if isinstance(each, dict)
            for kind in ("set", "map")
            if _is_object(each, kind) and _has_names(one := each[kind])
        }

    def base_chains(self) -> Iterator[tuple[str, str, str, str, str]]:
        """(family, table, chain, policy, what connection tracking says there of a first packet) of each chain that sees
        packets for this box and may drop them."""
        for chain in self._chains:
            hook = chain.get("hook")
            if chain.get("type") == "filter" and hook in HOOKS and chain.get("family") in FAMILIES:
                policy = DROP if chain.get("policy") == "drop" else ACCEPT
                priority = chain.get("prio")
                is_early = hook == "prerouting" and isinstance(priority, int) and priority <= TRACKING_PRIORITY
                state = "invalid" if is_early else "new"
                yield chain["family"], str(chain.get("table")), str(chain.get("name")), policy, state

    def is_foreign(self, family: str, table: str) -> bool:
        return family == "ip" and any(
            isinstance(part, dict) and "xt" in part for rule in self._of(family, table) for part in _parts(rule)
        )

    def rules(self, family: str, table: str, packet: Packet, state: str) -> dict[str, list[Rule]]:
        """The chains of a table, as they are for the packet."""
        chains: dict[str, list[Rule]] = {
            str(chain.get("name")): []
            for chain in self._chains
            if (chain.get("family"), chain.get("table")) == (family, table)
        }
        sets = {name: elements for (*place, name), elements in self._sets.items() if place == [family, table]}
        reader = _Reader(packet, sets, state)
        for rule in self._of(family, table):
            chains.setdefault(str(rule.get("chain")), []).extend(reader.read(_parts(rule)))
        return chains

    def _of(self, family: str, table: str) -> list[Any]:
        found = [rule for rule in self._rules if (rule.get("family"), rule.get("table")) == (family, table)]
        return found[:RULES_MAX]


def _is_object(entry: dict[Any, Any], kind: str) -> bool:
    return isinstance(entry.get(kind), dict)


def _has_names(one: dict[Any, Any]) -> bool:
    return all(isinstance(one.get(key), str) for key in ("family", "table", "name"))


def _parts(rule: dict[Any, Any]) -> list[Any]:
    parts = rule.get("expr")
    return parts if isinstance(parts, list) else []


class _Reader:
    """Turns the parts of one rule into what is known of it."""

    def __init__(self, packet: Packet, sets: dict[Any, Any], state: str) -> None:
        self._packet = packet
        self._sets = sets
        self._state = state  # what connection tracking says of the packet

    def read(self, parts: list[Any]) -> list[Rule]:
        """The rule; a verdict map makes one for each of its entries."""
        match = YES
        for part in parts:
            if not isinstance(part, dict) or len(part) != 1:
                match = min(match, MAYBE)
                continue
            ((name, value),) = part.items()
            if name == "match" and isinstance(value, dict):
                match = min(match, self._matches(value))
            elif name == "vmap" and isinstance(value, dict):
                return self._of_map(match, value)
            elif name in VERDICTS:
                return [Rule(NO if name == "reject" and self._rejects_others(value) else match, VERDICTS[name])]
            elif name in ("jump", "goto"):
                return [self._jump(match, name, value)]
            elif name not in NEUTRAL:
                match = min(match, MAYBE)
        return [Rule(match)]

    def _rejects_others(self, value: object) -> bool:
        """Whether the kind of answer says that the packets are others: nft leaves out a match that it implies."""
        kind = value.get("type") if isinstance(value, dict) else None
        return kind == "icmpv6" or (kind == "tcp reset" and self._packet.kind != "tcp")

    def _jump(self, match: int, name: str, value: object) -> Rule:
        target = value.get("target") if isinstance(value, dict) else None
        return Rule(match, target=str(target), final_jump=name == "goto")

    def _of_map(self, match: int, value: dict[Any, Any]) -> list[Rule]:
        rules = []
        for entry in self._elements(value.get("data")):
            if not (isinstance(entry, list) and len(entry) == 2):
                continue
            fits = min(match, self._fits(value.get("key"), [entry[0]]))
            if fits == NO:
                continue
            verdict = entry[1]
            for name, inner in verdict.items() if isinstance(verdict, dict) else ():
                rules.append(
                    self._jump(fits, name, inner) if name in ("jump", "goto") else Rule(fits, VERDICTS.get(name, ON))
                )
        return rules

    def _matches(self, value: dict[Any, Any]) -> int:
        right = value.get("right")
        operator = value.get("op")
        if self._is_of_another_protocol(value.get("left")):  # whatever is asked of it then
            return NO
        if operator in ("==", "in", "!="):
            match = self._fits(value.get("left"), self._elements(right))
            return negated(match) if operator == "!=" else match
        if operator in ("<", ">", "<=", ">=") and self._is_port(value.get("left")) and isinstance(right, int):
            ours = self._packet.port
            fits = {"<": ours < right, ">": ours > right, "<=": ours <= right, ">=": ours >= right}[operator]
            return YES if fits else NO
        return MAYBE

    def _elements(self, right: object) -> list[Any]:
        """The values on a right side: one, a list, a set, or the name of a set."""
        if isinstance(right, str) and right.startswith("@"):
            right = self._sets.get(right[1:])
        if isinstance(right, dict) and isinstance(right.get("set"), list | str):
            return self._elements(right["set"])
        if isinstance(right, list):
            return [self._bare(each) for each in right]
        return [self._bare(right)]

    def _bare(self, element: object) -> object:
        """An element without what the kernel notes of it: {"elem": {"val": ...}}."""
        if isinstance(element, dict) and isinstance(element.get("elem"), dict):
            return element["elem"].get("val")
        return element

    def _is_port(self, left: object) -> bool:
        payload = left.get("payload") if isinstance(left, dict) else None
        return isinstance(payload, dict) and payload.get("protocol") in PORT_FIELDS and payload.get("field") == "dport"

    def _is_of_another_protocol(self, left: object) -> bool:
        payload = left.get("payload") if isinstance(left, dict) else None
        protocol = payload.get("protocol") if isinstance(payload, dict) else None
        return protocol in OTHER_PROTOCOLS or (protocol in ("tcp", "udp") and protocol != self._packet.kind)

    def _fits(self, left: object, values: list[Any]) -> int:
        """Whether what LEFT names is one of VALUES in the packet."""
        if not isinstance(left, dict):
            return MAYBE
        packet = self._packet
        if self._is_of_another_protocol(left):
            return NO
        if self._is_port(left):
            return of_values(values, self._is_our_port)
        meta = left.get("meta")
        key = meta.get("key") if isinstance(meta, dict) else None
        if key in ("iif", "iifname"):
            return of_interface(packet, [str(value) for value in values])
        payload = left.get("payload")
        payload = payload if isinstance(payload, dict) else {}
        field = (payload.get("protocol"), payload.get("field"))
        if key == "l4proto" or field == ("ip", "protocol"):
            return YES if packet.kind in values else NO
        if key == "nfproto":
            return YES if "ipv4" in values else NO
        if key == "protocol":
            return YES if "ip" in values else NO
        if field == ("ip", "saddr"):
            return of_values(values, self._is_our_source)
        connection = left.get("ct")
        if isinstance(connection, dict) and connection.get("key") == "state":
            return YES if self._state in values else NO
        return MAYBE

    def _is_our_port(self, value: object) -> int:
        if isinstance(value, int):
            return YES if value == self._packet.port else NO
        ends = value.get("range") if isinstance(value, dict) else None
        if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int) for end in ends):
            return YES if ends[0] <= self._packet.port <= ends[1] else NO
        return MAYBE

    def _is_our_source(self, value: object) -> int:
        prefix = value.get("prefix") if isinstance(value, dict) else None
        if isinstance(prefix, dict):
            return of_source(self._packet, f"{prefix.get('addr')}/{prefix.get('len')}")
        return of_source(self._packet, value) if isinstance(value, str) else MAYBE

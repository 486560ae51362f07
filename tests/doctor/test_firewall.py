"""What firewalls do with a player's first packet: rules as nft and iptables have printed them on a real machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.doctor import iptables, nftables
from gsrt.doctor.commands import Output
from gsrt.doctor.firewall import firewall
from gsrt.doctor.packet_filter import ACCEPT, DROP, MAYBE, NO, ON, RETURN, YES, Packet, Rule, outcomes
from tests.doctor.box import Box

PASSES, DROPPED, EITHER = frozenset((ACCEPT,)), frozenset((DROP,)), frozenset((ACCEPT, DROP))


def lan(kind: str, port: int = 8784) -> Packet:
    from ipaddress import IPv4Network

    return Packet(kind, port, frozenset(("eth0",)), [IPv4Network("192.168.1.0/24")])


# Chains


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], PASSES),
        ([Rule(NO, DROP)], PASSES),
        ([Rule(YES, DROP)], DROPPED),
        ([Rule(YES, ACCEPT), Rule(YES, DROP)], PASSES),
        ([Rule(MAYBE, ACCEPT), Rule(YES, DROP)], EITHER),
        ([Rule(MAYBE, DROP)], EITHER),
        ([Rule(MAYBE, DROP), Rule(YES, DROP)], DROPPED),
        ([Rule(YES, ON), Rule(YES, DROP)], DROPPED),
        ([Rule(YES, RETURN), Rule(YES, DROP)], PASSES),
        ([Rule(YES, target="extra"), Rule(YES, DROP)], DROPPED),
        ([Rule(YES, target="accepting"), Rule(YES, DROP)], PASSES),
        ([Rule(YES, target="extra", final_jump=True), Rule(YES, DROP)], PASSES),
        ([Rule(MAYBE, target="accepting"), Rule(YES, DROP)], EITHER),
        ([Rule(YES, target="nowhere")], EITHER),
        ([Rule(YES, target="circle"), Rule(YES, ACCEPT)], EITHER),
    ],
)
def test_chains(rules: list[Rule], expected: frozenset[str]) -> None:
    chains = {
        "input": rules,
        "extra": [Rule(YES, RETURN), Rule(YES, DROP)],
        "accepting": [Rule(YES, ACCEPT)],
        "circle": [Rule(YES, target="circle")],
    }
    assert outcomes(chains, "input", ACCEPT) == expected


def test_the_policy_is_what_comes_last() -> None:
    assert outcomes({"input": []}, "input", DROP) == DROPPED
    assert outcomes({"input": [Rule(MAYBE, ACCEPT)]}, "input", DROP) == EITHER


def test_jumps_that_fan_out_are_followed_once_each() -> None:
    """Forty chains of two jumps each would be a trillion ways."""
    chains = {f"{number}": [Rule(MAYBE, target=f"{number + 1}")] * 2 for number in range(15)}
    chains["15"] = [Rule(MAYBE, DROP)]
    assert outcomes(chains, "0", ACCEPT) == EITHER


# nftables


def chain(name: str = "input", **more: Any) -> dict[str, Any]:
    return {"chain": {"family": "inet", "table": "filter", "name": name, **more}}


def base(policy: str = "drop", **more: Any) -> dict[str, Any]:
    return chain(**{"type": "filter", "hook": "input", "prio": 0, "policy": policy, **more})


def rule(*parts: dict[str, Any], of: str = "input") -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "filter", "chain": of, "expr": list(parts)}}


def match(left: dict[str, Any], right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol: str, field: str = "dport") -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


def source(address: str, length: int) -> dict[str, Any]:
    return match(payload("ip", "saddr"), {"prefix": {"addr": address, "len": length}})


STATE = {"ct": {"key": "state"}}
OK, NOT = {"accept": None}, {"drop": None}
GO_UP = {"set": [["udp", {"goto": {"target": "up"}}]]}
OURS = {"set": {"family": "inet", "table": "filter", "name": "ours", "elem": [8784]}}
ESTABLISHED = rule(match(STATE, ["established", "related"], "in"), OK)
LOOPBACK = rule(match(meta("iifname"), "lo"), OK)
BOTH = rule(
    match(meta("l4proto"), {"set": ["tcp", "udp"]}), match(payload("th"), 8784), {"counter": {"packets": 0}}, OK
)


@pytest.mark.parametrize(
    ("entries", "tcp", "udp"),
    [
        ([], PASSES, PASSES),
        ([base("accept")], PASSES, PASSES),
        ([base()], DROPPED, DROPPED),
        ([base(), ESTABLISHED, LOOPBACK, rule(match(STATE, "invalid", "in"), NOT)], DROPPED, DROPPED),
        ([base(), rule(match(STATE, ["established", "new"], "in"), OK)], PASSES, PASSES),
        ([base(), BOTH], PASSES, PASSES),
        ([base(), rule(match(payload("tcp"), {"set": [22, 80, {"range": [8000, 9000]}]}), OK)], PASSES, DROPPED),
        ([base(), rule(match(payload("udp"), 8784), OK)], DROPPED, PASSES),
        ([base(), rule(match(payload("udp"), 53, "!="), {"limit": {"rate": 10}}, OK)], DROPPED, EITHER),
        ([base(), rule(match(payload("ip6", "saddr"), "fe80::1", "!="), OK)], DROPPED, DROPPED),
        ([base(), rule(match(payload("udp"), 8000, ">="), match(payload("udp"), 9000, "<"), OK)], DROPPED, PASSES),
        ([base("accept"), rule(match(payload("tcp"), 8784), {"log": None}, {"reject": None})], DROPPED, PASSES),
        ([base(), rule(match(meta("iifname"), "eth*"), OK)], PASSES, PASSES),
        ([base(), rule(match(meta("iifname"), {"set": ["wlan0", "eth0"]}), OK)], PASSES, PASSES),
        ([base(), rule(match(meta("iifname"), "lo", "!="), match(payload("tcp"), 8784), OK)], PASSES, DROPPED),
        ([base(), rule(source("192.168.0.0", 16), OK)], PASSES, PASSES),
        ([base(), rule(source("10.0.0.0", 8), OK)], DROPPED, DROPPED),
        ([base(), rule(match(payload("ip", "saddr"), "192.168.1.77"), OK)], EITHER, EITHER),
        ([base(), rule(match(payload("ip", "protocol"), "icmp"), OK)], DROPPED, DROPPED),
        ([base("accept"), rule(match(meta("nfproto"), "ipv6"), NOT)], PASSES, PASSES),
        ([base(), rule(match(payload("icmpv6", "type"), "echo-request"), OK)], DROPPED, DROPPED),
        ([base(), chain("extra"), rule({"jump": {"target": "extra"}}), rule(OK, of="extra")], PASSES, PASSES),
        (
            [base(), rule({"vmap": {"key": payload("udp"), "data": {"set": [[22, NOT], [8784, OK]]}}})],
            DROPPED,
            PASSES,
        ),
        (
            [base(), chain("up"), rule({"vmap": {"key": meta("l4proto"), "data": GO_UP}}), rule(OK, of="up")],
            DROPPED,
            PASSES,
        ),
        (
            [base(), OURS, rule(match(payload("tcp"), "@ours"), OK)],
            PASSES,
            DROPPED,
        ),
        ([base("accept"), base("drop", name="other", hook="prerouting")], DROPPED, DROPPED),
        ([base("drop", hook="forward"), base("drop", type="nat")], PASSES, PASSES),
        ([base(), rule({"surprise": 1}, OK)], EITHER, EITHER),
    ],
)  # fmt: skip
def test_nftables(entries: list[dict[str, Any]], tcp: frozenset[str], udp: frozenset[str]) -> None:
    ruleset = {"nftables": [{"metainfo": {"version": "1.0.6"}}, *entries]}
    assert (nftables.judge(ruleset, lan("tcp")), nftables.judge(ruleset, lan("udp"))) == (tcp, udp)


def test_what_iptables_has_made_of_its_own_kind_is_left_to_iptables() -> None:
    where = {"family": "ip", "table": "filter"}
    entries = [
        {"chain": {**where, "name": "INPUT", "type": "filter", "hook": "input", "policy": "drop"}},
        {"rule": {**where, "chain": "INPUT", "expr": [{"xt": {"type": "match", "name": "multiport"}}, OK]}},
    ]
    assert nftables.judge({"nftables": entries}, lan("tcp")) == PASSES


WORDS = (
    "chain rule set map elem expr match left right op payload protocol field meta key vmap data jump target accept",
    "drop goto xt family table name type hook range prefix addr len ct val policy",
)
words = st.sampled_from(" ".join(WORDS).split())
leaves = (
    st.none()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["inet", "filter", "input", "tcp", "udp", "th", "dport", "==", "!=", "<", "state", "@s", "lo"])
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5), max_leaves=30
)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(anything, st.lists(anything, max_size=4), st.lists(anything, max_size=4))
def test_no_ruleset_is_believed(ruleset: Any, entries: list[Any], parts: list[Any]) -> None:
    for each in (ruleset, {"nftables": entries}, {"nftables": [base(), *entries, rule(*parts)]}):
        assert nftables.judge(each, lan("tcp")) <= EITHER


# iptables

USUAL = """\
-P INPUT DROP
-P FORWARD ACCEPT
-P OUTPUT ACCEPT
-N extra
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"""


@pytest.mark.parametrize(
    ("rules", "tcp", "udp"),
    [
        ("", DROPPED, DROPPED),
        ("-A INPUT -p tcp -m multiport --dports 80,8784 -j ACCEPT", PASSES, DROPPED),
        ("-A INPUT -p udp -m udp --dport 8000:9000 -j ACCEPT", DROPPED, PASSES),
        ("-A INPUT -p udp -m udp --dport 8000: -j ACCEPT", DROPPED, PASSES),
        ("-A INPUT -p udp ! --dport 53 -j ACCEPT", DROPPED, PASSES),
        ("-A INPUT ! -i eth0 -j ACCEPT", DROPPED, DROPPED),
        ("-A INPUT -i eth+ -j ACCEPT", PASSES, PASSES),
        ("-A INPUT -s 192.168.1.0/24 -j ACCEPT", PASSES, PASSES),
        ("-A INPUT -s 10.0.0.0/8 -j ACCEPT", DROPPED, DROPPED),
        ("-A INPUT -m limit --limit 10/sec -j ACCEPT", EITHER, EITHER),
        ('-A INPUT -m comment --comment "a -j DROP b" -j ACCEPT', PASSES, PASSES),
        ("-A INPUT -j extra\n-A extra -p udp -j ACCEPT", DROPPED, PASSES),
        ("-A INPUT -g extra\n-A INPUT -j ACCEPT\n-A extra -p udp -j RETURN\n-A extra -j ACCEPT", PASSES, DROPPED),
        ('-A INPUT -j LOG --log-prefix "[x] "\n-A INPUT -p tcp -j REJECT\n-A INPUT -j ACCEPT', DROPPED, PASSES),
    ],
)  # fmt: skip
def test_iptables(rules: str, tcp: frozenset[str], udp: frozenset[str]) -> None:
    text = USUAL + rules + "\n"
    assert (iptables.judge(text, lan("tcp")), iptables.judge(text, lan("udp"))) == (tcp, udp)


def test_a_firewall_that_is_open() -> None:
    assert iptables.judge("-P INPUT ACCEPT\n-P FORWARD DROP\n", lan("tcp")) == PASSES


OPTIONS = '-P -N -A INPUT DROP ACCEPT -j -g -p tcp udp ! --dport 8784 1: :2 " -s 1.2.3.4/33 -m --ctstate NEW foo -i ²'
options = st.sampled_from([*OPTIONS.split(), "\n"])


@settings(deadline=None, derandomize=True)
@given(st.text() | st.lists(options, max_size=40).map(" ".join))
def test_no_listing_is_believed(text: str) -> None:
    assert iptables.judge(text, lan("udp")) <= EITHER


# The finding


def ruleset(*entries: dict[str, Any]) -> str:
    return json.dumps({"nftables": list(entries)})


def test_it_lets_players_in(box: Box) -> None:
    box.commands = {"nft --json list ruleset": ruleset(base(), BOTH)}
    assert firewall(box.surroundings()).state == "ok"


def test_it_keeps_players_out(box: Box) -> None:
    box.commands = {"nft --json list ruleset": ruleset(base(), rule(match(payload("tcp"), 8784), OK))}
    finding = firewall(box.surroundings())
    assert (finding.state, finding.found) == ("fail", "drops UDP to port 8784")
    assert "th dport 8784 accept" in finding.todo


def test_it_may_keep_players_out(box: Box) -> None:
    box.interface("eth0", "192.168.1.5/24")
    box.commands["iptables -S"] = USUAL + "-A INPUT -s 192.168.1.77/32 -j ACCEPT\n"
    assert firewall(box.surroundings()).state == "warn"


def test_both_have_to_let_them_in(box: Box) -> None:
    box.commands = {"nft --json list ruleset": ruleset(base(), BOTH), "iptables -S": USUAL}
    assert firewall(box.surroundings()).state == "fail"


def test_ufw_is_told_in_its_own_words(box: Box) -> None:
    box.write("/etc/ufw/ufw.conf", "ENABLED=yes\nLOGLEVEL=low\n")
    box.commands = {"iptables -S": USUAL}
    assert firewall(box.surroundings()).todo == "sudo ufw allow 8784/tcp && sudo ufw allow 8784/udp"


def test_firewalld_is_told_in_its_own_words(box: Box) -> None:
    box.write("/run/firewalld/x", "")
    box.commands = {"iptables -S": USUAL}
    assert "firewall-cmd --permanent --add-port=8784/tcp" in firewall(box.surroundings()).todo


def test_only_root_may_look(box: Box) -> None:
    box.user = 1000
    box.commands = {"nft": Output(1, "", "Operation not permitted"), "iptables": Output(4)}
    finding = firewall(box.surroundings())
    assert (finding.state, finding.todo) == ("warn", "sudo gsrt doctor")
    box.write("/etc/ufw/ufw.conf", "ENABLED=yes\n")
    assert "ufw is on" in firewall(box.surroundings()).found


def test_nothing_to_look_with(box: Box) -> None:
    assert firewall(box.surroundings()).state == "ok"
    box.write("/proc/net/ip_tables_names", "filter\n")
    assert firewall(box.surroundings()).state == "warn"
    box.write("/etc/ufw/ufw.conf", "ENABLED=yes\n")
    assert firewall(box.surroundings()).state == "warn"

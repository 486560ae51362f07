"""The judgement of firewalls against the kernel's: rules at random, and a packet that arrives or does not. All begin
with a rule that lets the later packets of a connection pass, for what is judged is the first.

Two network namespaces with a cable between them: this box with the rules, and a player who sends to its port."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

import pytest

from gsrt.doctor import iptables, nftables
from gsrt.doctor.packet_filter import ACCEPT, Packet
from tests.support.server import PROJECT

SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
PORT = 8784
RULESETS = 25
PATIENCE = 10.0  # seconds for what has to arrive
BRIEFLY = 0.02  # for what must not; should it come later, a mistake is overlooked
DEADLINE = 120.0
BOX, PLAYER = "192.168.1.1", "192.168.1.77"
CLONE_NEWNET = 0x40000000  # linux/sched.h

PORTS = ("8784", "22", "{ 22, 8784 }", "8000-9000", "{ 53, 8000-8783 }", "!= 8784", "!= 22", "> 8000", "< 8784")
INTERFACES = ("lo", "eth0", "!= lo", "!= eth0", '"eth*"', "{ lo, eth0 }", "wlan0")
SOURCES = ("192.168.0.0/16", "10.0.0.0/8", PLAYER, "192.168.1.78", "!= 192.168.1.0/24", "{ 10.0.0.1, 192.168.1.0/24 }")
STATES = ("new", "established,related", "invalid", "{ new, established }", "!= new")
VERDICTS = ("accept", "accept", "drop", "drop", "reject", "return", "continue", "log", "jump", "goto", "vmap")
EARLY_VERDICTS = ("accept", "drop", "return")


def nft_match(chance: random.Random) -> str:
    pick = chance.choice
    return pick(
        (
            f"tcp dport {pick(PORTS)}",
            f"udp dport {pick(PORTS)}",
            f"meta l4proto {{ tcp, udp }} th dport {pick(PORTS)}",
            f"{pick(('tcp', 'udp'))} dport @ours",
            f"meta l4proto {pick(('tcp', 'udp', '!= tcp', 'icmp'))}",
            f"ip protocol {pick(('tcp', 'udp', 'icmp'))}",
            f"iifname {pick(INTERFACES)}",
            f"iif {pick(('lo', 'eth0'))}",
            f"ip saddr {pick(SOURCES)}",
            f"ct state {pick(STATES)}",
            f"meta nfproto {pick(('ipv4', 'ipv6'))}",
            "ip6 saddr != fe80::1",
            "meta pkttype host",
            "tcp flags syn",
            "limit rate 100/second",
        )
    )


def nft_rule(chance: random.Random, targets: tuple[str, ...], verdicts: tuple[str, ...] = VERDICTS) -> str:
    verdict = chance.choice(verdicts)
    if verdict in ("jump", "goto"):
        verdict = f"{verdict} {chance.choice(targets)}" if targets else "drop"
    if verdict == "vmap":
        target = chance.choice(("accept", "drop", *(f"jump {each}" for each in targets)))
        key = chance.choice(("tcp dport", "udp dport", "meta l4proto { tcp, udp } th dport"))
        return f"{key} vmap {{ 22 : drop, 8784 : {target} }}"
    matches = " ".join(nft_match(chance) for _ in range(chance.choice((0, 1, 1, 2, 2))))
    return f"{matches} counter {verdict}"


def nft_ruleset(chance: random.Random) -> str:
    def rules(count: int, targets: tuple[str, ...], verdicts: tuple[str, ...] = VERDICTS) -> str:
        return "".join(f"    {nft_rule(chance, targets, verdicts)}\n" for _ in range(count))

    policy = chance.choice(("accept", "drop"))
    ours = chance.choice(("8784", "22", "8000-9000", "53, 8000-8783"))
    early = rules(chance.choice((0, 0, 2)), (), EARLY_VERDICTS)
    return (
        "flush ruleset\n"
        "table inet filter {\n"
        f"  set ours {{ type inet_service; flags interval; elements = {{ {ours} }} }}\n"
        f"  chain two {{\n{rules(chance.randint(0, 3), ())}  }}\n"
        f"  chain one {{\n{rules(chance.randint(0, 3), ('two',))}  }}\n"
        f"  chain early {{\n    type filter hook prerouting priority raw; policy accept;\n{early}  }}\n"
        f"  chain input {{\n    type filter hook input priority filter; policy {policy};\n"
        "    ct state established accept\n"
        f"{rules(chance.randint(0, 5), ('one', 'two'))}  }}\n}}\n"
    )


def iptables_rules(chance: random.Random) -> str:
    """For iptables-restore(8)."""

    def rule(chain: str, targets: tuple[str, ...]) -> str:
        pick = chance.choice
        no = pick(("", "", "! "))
        parts = [pick(("", "-p tcp", "-p udp", f"{no}-p tcp", f"{no}-i eth0", f"{no}-i lo", "-i eth+"))]
        if parts[0] in ("-p tcp", "-p udp"):
            parts.append(pick(("", f"{no}--dport 8784", "--dport 22", f"{no}--dport 8000:9000", "--dport 8000:")))
            parts.append(pick(("", "-m multiport --dports 22,8784", "-m multiport --dports 22,8000:8783")))
        parts.append(pick(("", f"{no}-s 192.168.0.0/16", f"-s {PLAYER}/32", "-s 10.0.0.0/8")))
        parts.append(pick(("", f"-m conntrack {no}--ctstate NEW", "-m conntrack --ctstate RELATED,ESTABLISHED")))
        target = pick(("ACCEPT", "ACCEPT", "DROP", "DROP", "REJECT", "RETURN", *targets))
        return (
            f"-A {chain} {' '.join(filter(None, parts))} {pick(('-j', '-g')) if target in targets else '-j'} {target}"
        )

    lines = ["*filter", f":INPUT {chance.choice(('ACCEPT', 'DROP'))} [0:0]", ":one - [0:0]", ":two - [0:0]"]
    lines.append("-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT")
    lines += [rule("INPUT", ("one", "two")) for _ in range(chance.randint(0, 5))]
    lines += [rule("one", ("two",)) for _ in range(chance.randint(0, 3))]
    lines += [rule("two", ()) for _ in range(chance.randint(0, 3))]
    return "\n".join([*lines, "COMMIT", ""])


class Cable:
    """Sockets of the box, and what the player sends to them."""

    def __init__(self, player: int) -> None:
        """In the box's namespace; PLAYER is a process in the player's."""
        self._here = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._there = os.open(f"/proc/{player}/ns/net", os.O_RDONLY)
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind((BOX, PORT))
        self._listener = socket.create_server((BOX, PORT), backlog=256)
        self._listener.setblocking(False)

    def arrives(self, kind: str, seconds: float) -> bool:
        """Whether a player's first packet does within that time."""
        return self._tcp(seconds) if kind == "tcp" else self._udp(seconds)

    def _player(self, kind: socket.SocketKind) -> socket.socket:
        import ctypes

        libc = ctypes.CDLL(None)
        assert libc.setns(self._there, CLONE_NEWNET) == 0
        try:
            return socket.socket(socket.AF_INET, kind)
        finally:
            assert libc.setns(self._here, CLONE_NEWNET) == 0

    def _tcp(self, seconds: float) -> bool:
        with self._player(socket.SOCK_STREAM) as player:
            player.settimeout(seconds)
            try:
                player.connect((BOX, PORT))
            except OSError:
                return False
            self._take()
            return True

    def _take(self) -> None:
        """Connections that are complete: what rules say of the later packets of one is not asked."""
        try:
            while True:
                self._listener.accept()[0].close()
        except BlockingIOError:
            pass

    def _udp(self, seconds: float) -> bool:
        sent = os.urandom(8)
        with self._player(socket.SOCK_DGRAM) as player:
            player.sendto(sent, (BOX, PORT))
        self._datagrams.settimeout(seconds)
        try:
            while self._datagrams.recv(64) != sent:
                pass
        except TimeoutError:
            return False
        return True


@contextmanager
def other_namespace() -> Iterator[int]:
    """A process in a network namespace of its own, connected to this one's."""
    sleeper = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
    try:
        assert sleeper.stdout is not None
        sleeper.stdout.readline()
        commands = (
            "ip link set lo up",
            f"ip link add eth0 type veth peer name eth1 netns {sleeper.pid}",
            f"ip address add {BOX}/24 dev eth0",
            "ip link set eth0 up",
            f"nsenter --target {sleeper.pid} --net ip address add {PLAYER}/24 dev eth1",
            f"nsenter --target {sleeper.pid} --net ip link set eth1 up",
        )
        for command in commands:
            subprocess.run(command.split(), check=True)
        yield sleeper.pid
    finally:
        sleeper.kill()
        sleeper.communicate()


def run(*words: str, given: str = "") -> str:
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}\n{given}"
    return done.stdout


def nft_takes(rules: str) -> bool:
    """Whether nft makes them; it refuses those of which it sees that no packet could match."""
    words = ["nft", "--file", "-"]
    done = subprocess.run(words, input=rules, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0 or "conflicting" in done.stderr, f"{done.stderr}\n{rules}"
    return done.returncode == 0


def judged_by_nft(chance: random.Random) -> tuple[str, Callable[[Packet], frozenset[str]]]:
    while not nft_takes(rules := nft_ruleset(chance)):
        pass
    ruleset = json.loads(run("nft", "--json", "list", "ruleset"))
    return rules, lambda packet: nftables.judge(ruleset, packet)


def judged_by_iptables(chance: random.Random) -> tuple[str, Callable[[Packet], frozenset[str]]]:
    rules = iptables_rules(chance)
    run("iptables-restore", given=rules)
    listed = run("iptables", "-S")
    return rules, lambda packet: iptables.judge(listed, packet)


JUDGES = {"nft": judged_by_nft, "iptables": judged_by_iptables}


def compare(program: str, seed: int, count: int) -> dict[str, int]:
    """Judges that many sets of rules, in a network namespace of this process's own: how many packets were."""
    chance = random.Random(seed)
    seen = {"passed": 0, "dropped": 0, "undecided": 0}
    with other_namespace() as player:
        cable = Cable(player)
        assert cable.arrives("udp", PATIENCE) and cable.arrives("tcp", PATIENCE)
        for _ in range(count):
            rules, judge = JUDGES[program](chance)
            for kind in ("tcp", "udp"):
                judgement = judge(Packet(kind, PORT, frozenset(("eth0",)), [IPv4Network("192.168.1.0/24")]))
                if len(judgement) > 1:
                    seen["undecided"] += 1
                    continue
                passes = judgement == {ACCEPT}
                assert cable.arrives(kind, PATIENCE if passes else BRIEFLY) == passes, f"{kind}: {judgement}\n{rules}"
                seen["passed" if passes else "dropped"] += 1
    return seen


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make rules")
@pytest.mark.parametrize("program", JUDGES)
def test_the_kernel_is_of_the_same_opinion(program: str) -> None:
    if shutil.which(program, path=SYSTEM_PATH) is None:
        pytest.skip(f"{program} is not installed")
    words = ["unshare", "--net", sys.executable, "-m", __name__, program, "1", str(RULESETS)]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{SYSTEM_PATH}", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["passed"] > RULESETS / 4 and seen["dropped"] > RULESETS / 4
    assert seen["undecided"] < RULESETS / 2


if __name__ == "__main__":  # python -m tests.doctor.test_against_kernel PROGRAM SEED COUNT, in an empty namespace
    print(json.dumps(compare(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))

"""docs/INSTALL.md, docs/LAN-PARTY.md and docs/HARDENING.md: commands and names that are there, and do what is said."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterator
from importlib import import_module
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gsrt.cli import COMMANDS
from gsrt.cli.doctor import line
from gsrt.config import read_config
from gsrt.doctor import addresses, firewall, nftables
from gsrt.doctor.packet_filter import ACCEPT, DROP, Packet
from gsrt.transports.interfaces import ALL_NODES, BROADCAST
from tests.docs.markdown import PROJECT, Block, plain, read_blocks, read_tables
from tests.docs.workshop import Workshop
from tests.doctor.box import Box

TEXTS = {name: (PROJECT / "docs" / f"{name}.md").read_text() for name in ("INSTALL", "LAN-PARTY", "HARDENING")}
BLOCKS = [block for text in TEXTS.values() for block in read_blocks(text)]
KINDS = {"show", "run", "config", "unit", "rules", "doctor", "container"}  # the last: run by `make systemd-test`
PACKAGING = "\n".join(path.read_text() for path in sorted((PROJECT / "packaging" / "deb").glob("*.py")))

DEADLINE = 60.0


def of_kind(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind]


def named(block: Block) -> str:
    return block.name


@pytest.mark.parametrize("name", TEXTS)
def test_every_example_has_a_mark(name: str) -> None:
    fences = re.findall(r"^```(\w+)$", TEXTS[name], re.MULTILINE)
    blocks = read_blocks(TEXTS[name])
    assert sorted(block.language for block in blocks) == sorted(fences)
    assert {block.kind for block in blocks} <= KINDS


# Commands


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `gsrt` command of the three documents, in blocks and in the text: the line, and its words."""
    lines = [each for block in BLOCKS if block.kind != "doctor" for each in block.text.splitlines()]
    lines += [code for text in TEXTS.values() for code in re.findall(r"`([^`]+)`", text.replace("\n", " "))]
    for each in lines:
        code = re.split(r"\|\||&&|[|>]", each.partition("  #")[0])[0]
        found = re.match(r"(?:ExecStart=|sudo (?:-u \w+ )?)?(?:\S*/)?gsrt (.+)", code.strip())
        if found is not None and not found[1].startswith(("gsrt_", "as")):
            yield each, shlex.split(found[1])


class Refused(Exception):
    """argparse does not take these words."""


class Parser(ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it does not return there
        raise Refused(message)


def test_commands_are_those_there_are() -> None:
    seen = set()
    for written, words in commands():
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
        if name is None:
            name = words[0] if any(command.startswith(words[0] + " ") for command in COMMANDS) else None
            assert name is not None, written
            continue
        rest = words[len(name.split()) :]
        seen.add(name)
        if not rest:  # it may be spoken of without its arguments
            continue
        parser = Parser()
        import_module(COMMANDS[name][0]).add_arguments(parser)
        try:
            parser.parse_args(rest)
        except Refused as refused:
            pytest.fail(f"{written}: {refused}")
    assert {"doctor", "discover", "status", "session create", "backup", "check", "new", "serve", "profile list"} <= seen


def test_make_targets_are_those_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for text in TEXTS.values():
        for words in re.findall(r"(?:`|^)make ([^`\n]+)", text, re.MULTILINE):
            assert words.split()[0] in targets, words


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[Workshop]:
    """A folder with a running server, in which `gsrt` is a command."""
    made = Workshop(tmp_path_factory.mktemp("workshop"), certificate)
    try:
        made.environment["PATH"] = f"{made.directory / '.venv' / 'bin'}:{os.environ['PATH']}"
        server = made.start([".venv/bin/gsrt", "serve"])
        listening = server.until(lambda line: line.startswith("info listening"))
        made.port = int(re.findall(r"port=(\d+)", listening)[0])
        yield made
        assert server.terminate() == 0
    finally:
        made.dispose()


@pytest.mark.parametrize("block", of_kind("run"), ids=named)
def test_commands_run_as_they_stand(block: Block, workshop: Workshop) -> None:
    workshop.run(block.text)


def test_the_doctors_lines_are_such(tmp_path: Path) -> None:
    """On a box with these troubles."""
    box = Box(tmp_path)
    box.interface("wlan0", "192.168.1.5/24")
    box.write("/sys/class/net/wlan0/wireless/x", "")
    box.write("/etc/ufw/ufw.conf", "ENABLED=yes\n")
    box.commands |= {
        "iw dev wlan0 get power_save": "Power save: on\n",
        "iptables -S": "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 8784 -j ACCEPT\n",
    }
    checks = {"addresses": addresses.addresses, "wi-fi": addresses.wifi, "firewall": firewall.firewall}
    lines = [line(name, check(box.surroundings())) for name, check in checks.items()]
    assert [block.text.splitlines() for block in of_kind("doctor")] == [lines]


# Files


@pytest.mark.parametrize("block", of_kind("config"), ids=named)
def test_configurations_are_taken(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "gsrt.toml"
    file.write_text(block.text)
    assert read_config(str(file))


@pytest.mark.parametrize("block", of_kind("unit"), ids=named)
def test_units_can_be_read(block: Block, tmp_path: Path) -> None:
    parser = configparser.RawConfigParser(strict=True)
    parser.read_string(block.text)
    assert parser.sections()
    if "ExecStart" not in block.text:
        return
    program = tmp_path / "gsrt-env" / "bin" / "gsrt"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "gsrt.service"
    unit.write_text(block.text.replace("%h", str(tmp_path)))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert str(unit.name) not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_the_users_unit_does_what_the_packages_does() -> None:
    (block,) = [each for each in of_kind("unit") if each.name == "user"]
    packaged = (PROJECT / "packaging" / "systemd" / "gsrt.service").read_text().splitlines()
    for setting in block.text.splitlines():
        if not setting.startswith(("[", "ExecStart", "WantedBy")) and setting:
            assert setting in packaged
    needed = ("Type", "NotifyAccess", "ExecReload", "WatchdogSec", "Restart", "RestartPreventExitStatus")
    kept = ("FileDescriptorStoreMax", "Environment=FDSTORE")  # else players would not outlive a crash
    for name in (*needed, *kept):
        assert any(setting.startswith(f"{name}=") for setting in block.text.splitlines()), name


# systemd.resource-control(5)
NETWORKS = {
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}


def test_who_is_shut_out_is_not_of_the_lan() -> None:
    """Beacons can go out, and players come whichever way the documents say they get addresses."""
    (block,) = [each for each in of_kind("unit") if each.name == "own network only"]
    (allowed,) = re.findall(r"^IPAddressAllow=(.*)$", block.text, re.MULTILINE)
    networks = [ip_network(each) for word in allowed.split() for each in NETWORKS.get(word, (word,))]
    (shared,) = re.findall(r"ipv4\.addresses (\S+)/", TEXTS["LAN-PARTY"])
    (from_lan,) = re.findall(r"ufw allow from ([\d.]+)/", TEXTS["HARDENING"])
    for address in (BROADCAST, ALL_NODES, "127.0.0.1", "169.254.7.7", "fe80::1", shared, from_lan):
        assert any(ip_address(address) in network for network in networks), address
    assert not any(ip_address("198.51.100.1") in network for network in networks)


def test_switches_of_the_documents_are_in_the_configuration() -> None:
    for text in TEXTS.values():
        for code in re.findall(r"`([a-z_]+ = [^`]+)`", text):
            key = code.split()[0]
            (value,) = tomllib.loads(code).values()
            assert value is not None
            from gsrt.config import KEYS
            from gsrt.profile import LIMITS

            assert key in KEYS or key in LIMITS, code


@pytest.mark.parametrize("row", read_tables(TEXTS["INSTALL"])["places"], ids=lambda row: row["path"])
def test_places_are_those_of_the_package(row: dict[str, str]) -> None:
    place = plain(row["path"])
    tmpfiles = (PROJECT / "packaging" / "systemd" / "gsrt.tmpfiles").read_text()
    assert f'"{place}"' in PACKAGING or f" {place} " in tmpfiles


def test_names_of_packages_and_wheels_are_those_that_are_built() -> None:
    targets = (PROJECT / "packaging" / "cross" / "targets.py").read_text()
    from gsrt import __version__

    for name, version, architecture in re.findall(r"(gsrt_([\d.]+)_([a-z0-9]+)\.deb)", TEXTS["INSTALL"]):
        assert f'"{architecture}"' in targets, name
        assert version in (__version__, "0.2.0"), name
    for name, version, tag, platform in re.findall(r"(gsrt-([\d.]+)-cp(\d+)-cp\d+-(\w+)\.whl)", TEXTS["INSTALL"]):
        assert version == __version__, name
        assert f'"{platform}"' in targets and f'"3.{tag[1:]}"' in targets, name
    assert "linux_armv6l" in targets and "linux_armv6l" in TEXTS["INSTALL"]


def test_system_packages_are_those_of_the_readme() -> None:
    (packages,) = re.findall(r"^sudo apt-get install (make .+)$", TEXTS["INSTALL"], re.MULTILINE)
    assert f"sudo apt-get install {packages}" in (PROJECT / "README.md").read_text().splitlines()


def test_what_profiles_let_in() -> None:
    rows = {plain(row["profile"]): row for row in read_tables(TEXTS["LAN-PARTY"])["profiles"]}
    files = {path.stem: path for path in (PROJECT / "firmware_profiles").glob("*.toml")}
    assert set(rows) == set(files)
    for name, path in files.items():
        profile = tomllib.loads(path.read_text())
        assert [int(rows[name][column]) for column in ("players", "sessions", "memory, MiB")] == [
            profile["players_max"],
            profile["sessions_max"],
            profile["memory_bytes_max"] >> 20,
        ], name


# The firewall


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") is None,
    reason="needs root and nftables",
)
def test_the_firewall_lets_players_in_and_nobody_else() -> None:
    """The rules, loaded in a network namespace of their own, and read again as the doctor reads them."""
    (block,) = of_kind("rules")
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", "PATH=$PATH:/usr/sbin:/sbin; nft -f - && nft --json list ruleset"],
        input=block.text,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    import json

    ruleset = json.loads(done.stdout)
    for kind in ("tcp", "udp"):
        assert nftables.judge(ruleset, Packet(kind, 8784)) == {ACCEPT}
        assert nftables.judge(ruleset, Packet(kind, 8000)) == {DROP}
    assert nftables.judge(ruleset, Packet("tcp", 22)) == {ACCEPT}

"""Checks of what is gsrt's own: configuration, profile, certificate, Python, unit, the running server, its folders."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsrt.cli import CommandError
from gsrt.doctor import certificate, configuration, folders, profile, python, running, unit, users
from gsrt.doctor.commands import Output, run_command
from gsrt.doctor.surroundings import Settings, Surroundings
from tests.doctor.box import Box

DAY = 86_400

# The configuration


def test_configurations(box: Box) -> None:
    assert configuration.configuration(box.surroundings()).state == "ok"
    box.settings |= {"config": "/etc/gsrt/gsrt.toml"}
    assert "/etc/gsrt/gsrt.toml" in configuration.configuration(box.surroundings()).found
    box.settings |= {"config_error": "/etc/gsrt/gsrt.toml:3: there is no key 'prot'"}
    assert configuration.configuration(box.surroundings()).state == "fail"


# The profile


def test_the_profile_that_auto_would_choose(box: Box) -> None:
    box.write("/proc/device-tree/model", b"Raspberry Pi 4 Model B Rev 1.4\0")
    box.write("/proc/meminfo", "MemTotal:  3884360 kB\nMemAvailable:   3300000 kB\n")
    finding = profile.choice(box.surroundings())
    assert finding.found.startswith("generic; auto would choose pi-4")
    assert 'profile = "pi-4"' in finding.todo
    for name in ("auto", "pi-4"):
        box.settings |= {"profile": name}
        finding = profile.choice(box.surroundings())
        assert finding.state == "ok"
    assert finding.found.startswith("pi-4: ")


def test_a_profile_of_ones_own(box: Box, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text((Path(__file__).parents[2] / "firmware_profiles" / "generic.toml").read_text())
    box.settings |= {"profile": str(mine)}
    assert "mine, your own" in profile.choice(box.surroundings()).found


def test_a_profile_that_is_not_there(box: Box) -> None:
    box.settings |= {"profile": "pi-9"}
    finding = profile.choice(box.surroundings())
    assert finding.state == "fail"
    assert "pi-9" in finding.found
    assert profile.promise(box.surroundings()).state == "warn"


@pytest.mark.parametrize(
    ("total", "available", "serves", "state"),
    [
        (8 << 20, 7 << 20, False, "ok"),
        (300 << 10, 250 << 10, False, "fail"),
        (8 << 20, 200 << 10, False, "warn"),
        (8 << 20, 200 << 10, True, "ok"),
    ],
)
def test_what_is_promised(box: Box, total: int, available: int, serves: bool, state: str) -> None:
    """Generic promises 256 MiB; a running server has its part of them already. In KiB."""
    box.write("/proc/meminfo", f"MemTotal: {total} kB\nMemAvailable: {available} kB\n")
    if serves:
        box.status = {"port": 8784, "profile": "generic"}
    assert profile.promise(box.surroundings()).state == state


# The certificate


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with a certificate and its key each, RSA in `rsa` and of an elliptic curve in `curve`."""
    folder = tmp_path_factory.mktemp("pairs")
    names = "subjectAltName = DNS:box, DNS:box.local, IP:192.168.1.5"
    for name, kind in (("rsa", "rsa:2048"), ("curve", "ec -pkeyopt ec_paramgen_curve:P-256")):
        (folder / name).mkdir()
        command = f"openssl req -x509 -newkey {kind} -nodes -days 30 -subj /CN=box -keyout key.pem -out certificate.pem"
        words = [*command.split(), "-addext", names]
        subprocess.run(words, check=True, capture_output=True, cwd=folder / name)
    return folder


@pytest.fixture
def certified(box: Box, pairs: Path) -> Box:
    """A box with the RSA pair as its own, asked by the real openssl at the real time."""
    for file in (pairs / "rsa").iterdir():
        shutil.copy(file, box.state)
    box.now = time.time()
    for part in ("-startdate -enddate", "-ext subjectAltName"):
        command = ["openssl", "x509", "-in", str(box.state / "certificate.pem"), "-noout", *part.split()]
        output = run_command(command, 20.0)
        assert output is not None
        box.commands[" ".join(command)] = output
    return box


def test_a_certificate_in_order(certified: Box) -> None:
    certified.interface("eth0", "192.168.1.5/24")
    finding = certificate.certificate(certified.surroundings())
    assert finding.state == "ok"
    assert "self-made" in finding.found


def test_one_that_does_not_name_the_box(certified: Box) -> None:
    certified.interface("eth0", "10.0.0.5/24")
    finding = certificate.certificate(certified.surroundings())
    assert finding.state == "warn"
    assert "10.0.0.5" in finding.found


@pytest.mark.parametrize(
    ("days", "state", "told"),
    [(20, "warn", "ends on"), (31, "fail", "has ended on"), (-5, "fail", "while the clock was wrong")],
)
def test_times_of_a_certificate(certified: Box, days: int, state: str, told: str) -> None:
    certified.now += days * DAY
    finding = certificate.certificate(certified.surroundings())
    assert finding.state == state
    assert told in finding.found


def test_a_clock_that_makes_a_certificate_look_bad(certified: Box) -> None:
    certified.now = 0.0
    finding = certificate.certificate(certified.surroundings())
    assert finding.state == "fail"
    assert "clock" in finding.todo


def test_one_of_ones_own(certified: Box) -> None:
    certified.settings |= {
        "cert": str(certified.state / "certificate.pem"),
        "key": str(certified.state / "key.pem"),
        "state": "/nonexistent",
    }
    finding = certificate.certificate(certified.surroundings())
    assert finding.state == "ok"
    assert "self-made" not in finding.found


def test_without_openssl_its_end_is_not_known(certified: Box) -> None:
    certified.commands = {}
    assert certificate.certificate(certified.surroundings()).state == "warn"


def test_an_elliptic_curve_is_refused(box: Box, pairs: Path) -> None:
    box.settings |= {"cert": str(pairs / "curve" / "certificate.pem"), "key": str(pairs / "curve" / "key.pem")}
    finding = certificate.certificate(box.surroundings())
    assert finding.state == "fail"
    assert "RSA" in finding.found


def test_files_that_are_not_there(box: Box) -> None:
    box.settings |= {"cert": "/nonexistent/cert.pem", "key": "/nonexistent/key.pem"}
    assert certificate.certificate(box.surroundings()).state == "fail"


def test_none_yet(box: Box) -> None:
    assert certificate.certificate(box.surroundings()).state == "ok"
    box.status = {"port": 8784}
    assert certificate.certificate(box.surroundings()).state == "warn"


def test_none_and_nothing_to_make_one(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert certificate.certificate(box.surroundings()).state == "fail"


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_openssl_is_not_believed(text: str) -> None:
    seen = Surroundings(Settings(), run=lambda words, seconds: Output(0, text))
    dates = certificate.validity(seen, "x")
    assert dates is None or len(dates) == 2


# Python


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is."""
    monkeypatch.setattr(python, "IMPORT_SECONDS", 60.0)


@pytest.mark.usefixtures("patience")
def test_this_python_and_its_modules() -> None:
    seen = Surroundings(Settings())
    assert python.python(seen).state == "ok"
    found = python.imports(seen, ("json", "gsrt.no_such_module", "gsrt._core"))
    assert found is not None
    assert (found["json"][0], found["gsrt._core"][0], found["gsrt.no_such_module"][0]) == ("ok", "ok", "no")
    assert "no_such_module" in found["gsrt.no_such_module"][1]


def test_all_compiled_modules_are_looked_at() -> None:
    built = {f"gsrt.{path.stem}" for path in (Path(__file__).parents[2] / "gsrt").glob("*.pyx")}
    assert set(python.COMPILED) == built - {"gsrt._sodium"}  # without that one there is no link, but all else


@pytest.mark.usefixtures("patience")
def test_the_libraries_of_this_machine() -> None:
    finding = python.libraries(Surroundings(Settings()))
    assert finding.state in ("ok", "warn")
    import sqlite3

    if finding.state == "ok":
        assert f"SQLite {sqlite3.sqlite_version}" in finding.found


@pytest.mark.usefixtures("patience")
def test_modules_of_another_processor(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is stopped with SIGILL is named; what came before it is known."""
    (tmp_path / "fine_module.py").write_text("")
    (tmp_path / "deadly_module.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = python.imports(Surroundings(Settings()), ("fine_module", "deadly_module", "json"))
    assert found == {"fine_module": ("ok", ""), "deadly_module": ("died", "SIGILL")}
    monkeypatch.setattr(python, "COMPILED", ("fine_module", "deadly_module"))
    box.commands = {sys.executable: Output(-4, "fine_module ok \n")}
    finding = python.modules(box.surroundings())
    assert finding.state == "fail"
    assert "another processor" in finding.found


@pytest.mark.parametrize(
    ("said", "check", "state"),
    [
        (Output(None), python.modules, "warn"),
        (Output(None), python.libraries, "warn"),
        (Output(0, ""), python.modules, "fail"),
        (Output(0, "gsrt._sodium no ImportError libsodium.so.23\n"), python.libraries, "fail"),
        (Output(0, "gsrt._sodium ok \nsqlite3 ok 3.40.1\nRestrictedPython no x y\n"), python.libraries, "fail"),
        (Output(0, "gsrt._sodium ok \nsqlite3 ok 3.40.1\nRestrictedPython ok 9.0\n"), python.libraries, "warn"),
    ],
)
def test_what_may_be_missing(box: Box, said: Output, check: Any, state: str) -> None:
    box.commands = {sys.executable: said}
    assert check(box.surroundings()).state == state


def test_versions_are_told(box: Box) -> None:
    told = ("gsrt._sodium ok 1.0.18", "sqlite3 ok 3.40.1", "RestrictedPython ok 9.0", "gsrt.device._linux ok ")
    box.commands = {sys.executable: "\n".join((*told, "_cffi_backend ok 2.0"))}
    finding = python.libraries(box.surroundings())
    assert finding.found == "libsodium 1.0.18, SQLite 3.40.1, RestrictedPython 9.0, cffi 2.0"


def test_pythons_that_do_not_do(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert python.python(box.surroundings()).state == "fail"


# The unit

SHOWN = (
    "LoadState={}\nActiveState={}\nSubState=running\nUnitFileState={}\nWatchdogUSec=10s\nNRestarts={}\nResult=success\n"
)


def systemd(
    box: Box, load: str = "loaded", active: str = "active", enabled: str = "enabled", restarts: str = "0"
) -> None:
    box.write("/run/systemd/system/x", "")
    box.commands["systemctl show gsrt.service"] = SHOWN.format(load, active, enabled, restarts)


def test_no_systemd(box: Box) -> None:
    assert unit.unit(box.surroundings()).state == "ok"
    assert unit.restarts(box.surroundings()).state == "ok"


def test_a_systemd_that_does_not_answer(box: Box) -> None:
    systemd(box)
    box.commands["systemctl show gsrt.service"] = Output(None)
    assert unit.unit(box.surroundings()).state == "warn"


@pytest.mark.parametrize(
    ("load", "active", "enabled", "state"),
    [
        ("loaded", "active", "enabled", "ok"),
        ("not-found", "inactive", "", "ok"),
        ("masked", "inactive", "masked", "fail"),
        ("loaded", "failed", "enabled", "fail"),
        ("loaded", "inactive", "enabled", "warn"),
        ("loaded", "active", "disabled", "warn"),
    ],
)
def test_states_of_the_unit(box: Box, load: str, active: str, enabled: str, state: str) -> None:
    systemd(box, load, active, enabled)
    assert unit.unit(box.surroundings()).state == state


def test_a_socket_that_waits_for_the_first_player(box: Box) -> None:
    systemd(box, active="inactive", enabled="disabled")
    box.commands["systemctl is-active gsrt.socket"] = "active\n"
    assert unit.unit(box.surroundings()).state == "ok"


JOURNAL = """\
2026-01-31T20:00:00+0100 box systemd[1]: Started gsrt.service - gsrt.
2026-01-31T20:01:00+0100 box gsrt[77]: info listening Failed with result 'of a player who writes so'
2026-01-31T20:02:00+0100 box systemd[1]: gsrt.service: Watchdog timeout (limit 10s)!
2026-01-31T20:02:00+0100 box systemd[1]: gsrt.service: Failed with result 'watchdog'.
"""


def test_why_it_was_started_again(box: Box) -> None:
    systemd(box, restarts="1")
    box.status = served()
    box.commands["journalctl --unit gsrt.service"] = JOURNAL
    finding = unit.restarts(box.surroundings())
    assert finding.state == "warn"
    assert "bad ends: 1" in finding.found
    assert finding.found.endswith("Failed with result 'watchdog'.")


def test_a_journal_that_is_not_for_everybody(box: Box) -> None:
    systemd(box, restarts="3")
    box.status = served()
    hint = "Hint: You are currently not seeing messages from other users and the system."
    box.commands["journalctl --unit gsrt.service"] = Output(0, "-- No entries --\n", hint)
    finding = unit.restarts(box.surroundings())
    assert (finding.state, finding.todo) == ("warn", "sudo gsrt doctor")


def test_a_server_that_does_not_come_up(box: Box) -> None:
    systemd(box, restarts="4")
    box.commands["journalctl --unit gsrt.service"] = JOURNAL
    assert unit.restarts(box.surroundings()).state == "fail"
    systemd(box, active="inactive", restarts="4")  # somebody has stopped it since
    assert unit.restarts(box.surroundings()).state == "warn"
    systemd(box, active="activating")
    shown = str(box.commands["systemctl show gsrt.service"])
    box.commands["systemctl show gsrt.service"] = shown.replace("SubState=running", "SubState=auto-restart")
    assert unit.unit(box.surroundings()).state == "fail"


def test_after_too_many_starts_a_start_by_hand_needs_a_word_before(box: Box) -> None:
    systemd(box, active="failed")
    assert "reset-failed" not in unit.unit(box.surroundings()).todo
    shown = str(box.commands["systemctl show gsrt.service"])
    box.commands["systemctl show gsrt.service"] = shown.replace("Result=success", "Result=start-limit-hit")
    finding = unit.unit(box.surroundings())
    assert finding.state == "fail"
    assert finding.todo.endswith("; then sudo systemctl reset-failed gsrt.service and start it")


def test_it_was_never_started_again(box: Box) -> None:
    systemd(box)
    box.commands["journalctl --unit gsrt.service"] = JOURNAL.splitlines()[0]
    assert unit.restarts(box.surroundings()).state == "ok"


OWNER = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n"


def users_systemd(box: Box, active: str = "active", enabled: str = "enabled", restarts: str = "0") -> None:
    """A box without the package, and the unit of docs/INSTALL.md for anna alone."""
    systemd(box, "not-found", "inactive", "")
    box.write("/etc/passwd", OWNER)
    box.write("/var/lib/systemd/linger/anna", "")
    box.user = 1000
    box.commands["systemctl --user show gsrt.service"] = SHOWN.format("loaded", active, enabled, restarts)


@pytest.mark.parametrize(
    ("active", "enabled", "state", "todo"),
    [
        ("active", "enabled", "ok", ""),
        ("inactive", "enabled", "warn", "systemctl --user enable --now gsrt.service"),
        ("active", "disabled", "warn", "systemctl --user enable gsrt.service"),
        ("failed", "enabled", "fail", "journalctl --user-unit gsrt.service -n 50; gsrt check GAME"),
    ],
)
def test_states_of_the_unit_of_a_user(box: Box, active: str, enabled: str, state: str, todo: str) -> None:
    users_systemd(box, active, enabled)
    finding = unit.unit(box.surroundings())
    assert (finding.state, finding.todo) == (state, todo)
    assert finding.found.startswith("gsrt.service of anna ")


def test_a_unit_that_ends_with_its_user(box: Box) -> None:
    users_systemd(box)
    (box.root / "var/lib/systemd/linger/anna").unlink()
    finding = unit.unit(box.surroundings())
    assert (finding.state, finding.todo) == ("warn", "sudo loginctl enable-linger anna")


def test_the_unit_of_the_user_who_asks_through_sudo(box: Box) -> None:
    users_systemd(box)
    box.commands["systemctl --user --machine=anna@.host show gsrt.service"] = box.commands.pop(
        "systemctl --user show gsrt.service"
    )
    box.user, box.environment = 0, {"SUDO_UID": "1000"}
    finding = unit.unit(box.surroundings())
    assert (finding.state, finding.found) == ("ok", "gsrt.service of anna is active, enabled, watched")
    users_systemd(box, restarts="1")
    box.commands["systemctl --user --machine=anna@.host show gsrt.service"] = box.commands.pop(
        "systemctl --user show gsrt.service"
    )
    box.commands["journalctl USER_UNIT=gsrt.service _UID=1000 --boot"] = JOURNAL
    box.user = 0
    assert unit.restarts(box.surroundings()).state == "warn", "root does not see anna's server"
    box.user = 1000  # the variable may be anybody's who is not root
    assert unit.unit(box.surroundings()).found.startswith("not installed")


def test_the_unit_of_the_box_goes_first(box: Box) -> None:
    users_systemd(box, "failed")
    systemd(box)
    assert unit.unit(box.surroundings()).found == "gsrt.service is active, enabled, watched"
    assert not [each for each in box.asked if "--user" in each]


def test_a_user_may_read_of_the_own_unit_in_the_journal(box: Box) -> None:
    users_systemd(box, restarts="1")
    box.status = served()
    hint = "Hint: You are currently not seeing messages from other users and the system."
    box.commands["journalctl USER_UNIT=gsrt.service _UID=1000 --boot"] = Output(0, JOURNAL, hint)
    finding = unit.restarts(box.surroundings())
    assert (finding.state, finding.todo) == ("warn", "journalctl -b --user-unit gsrt.service -e")
    assert finding.found.endswith("Failed with result 'watchdog'.")


# The running server


def served(**more: Any) -> dict[str, Any]:
    return {
        "version": "1.2",
        "pid": 12,
        "port": 8784,
        "profile": "generic",
        "uptimeSeconds": 7300.0,
        "peersConnected": 8,
        "sessions": 1,
        "loop": {"worstTickMs": 40.0, "worstTickLatelyMs": 1.5},
        "counters": {"packets_in": 1000},
        **more,
    }


def test_none_runs(box: Box) -> None:
    for check in (running.server, running.load, running.trouble, running.process):
        assert check(box.surroundings()).state == "ok"


def test_one_that_may_not_be_asked(box: Box) -> None:
    box.status = CommandError("belongs to another user")
    assert running.server(box.surroundings()).state == "warn"


def test_one_that_hangs(tmp_path: Path, box: Box) -> None:
    """A socket that takes connections, and nobody behind it; the words are those of the real call."""
    from gsrt.cli.asking import ask

    path = str(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(CommandError) as refused:
            ask(path, {"do": "status"}, 0.05)
    box.status = refused.value
    finding = running.server(box.surroundings())
    assert finding.state == "fail"
    assert "hangs" in finding.found


def test_one_that_does_well(box: Box) -> None:
    box.status = served()
    finding = running.server(box.surroundings())
    assert finding.found == "gsrt 1.2, process 12, profile generic, up for 2 h 1 min: 8 players in 1 session"
    assert running.load(box.surroundings()).state == "ok"
    assert running.trouble(box.surroundings()).state == "ok"


@pytest.mark.parametrize(("level", "state"), [("normal", "ok"), ("slowed", "warn"), ("refusing", "fail")])
def test_what_the_governor_says(box: Box, level: str, state: str) -> None:
    box.status = served(governor={"level": level, "reasons": ["the box is too hot: 84 degrees"]})
    finding = running.load(box.surroundings())
    assert finding.state == state
    assert ("84" in finding.found) == (state != "ok")


def test_a_long_turn(box: Box) -> None:
    box.status = served(loop={"worstTickMs": 300.0, "worstTickLatelyMs": 120.0})
    assert running.load(box.surroundings()).state == "warn"


def test_what_the_process_was_to_have_of_the_kernel(box: Box) -> None:
    box.status = served()
    assert running.process(box.surroundings()).state == "ok"
    told = {"lock_memory": {"done": True, "why": "so"}, "seccomp": {"done": True, "why": "on"}}
    box.status = served(process=told)
    assert running.process(box.surroundings()).found == "the server has lock_memory, seccomp"
    box.status = served(process={**told, "landlock": {"done": False, "why": "no such\x1bcall"}})
    finding = running.process(box.surroundings())
    assert (finding.state, finding.found) == ("warn", "the server lacks landlock: no such?call")
    box.status = served(process={**told, "code": {"done": False, "why": "Invalid argument"}})
    finding = running.process(box.surroundings())
    assert (finding.state, finding.found) == (
        "ok",
        "the server has lock_memory, seccomp; this kernel has no code: Invalid argument",
    )
    oddities: tuple[object, ...] = (7, {"landlock": 7}, {"landlock": {}})
    for odd in oddities:
        box.status = served(process=odd)
        assert running.process(box.surroundings()).found


def test_counters_that_tell_of_trouble(box: Box) -> None:
    box.status = served(counters={"dropped_udp_send": 5}, platform={"store": {"store_failures": 1}})
    finding = running.trouble(box.surroundings())
    assert finding.state == "warn"
    assert "dropped_udp_send 5, store_failures 1" in finding.found


def test_sessions_that_the_box_could_not_bear(box: Box) -> None:
    box.status = served(governor={"level": "normal", "counters": {"refused": 3}, "memoryBytes": 1, "memoryBytesMax": 2})
    finding = running.trouble(box.surroundings())
    assert finding.state == "warn"
    assert "sessions_refused_by_governor 3" in finding.found
    box.status["governor"] |= {"memoryBytes": 20 << 20, "memoryBytesMax": 64 << 20}
    assert "20 MiB of 64 MiB" in running.load(box.surroundings()).found


def test_datagrams_that_found_no_room(box: Box) -> None:
    line = "  1: 00000000:2250 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 78 2 0 41\n"
    box.write("/proc/net/udp", "head\n" + line)
    box.status = served()
    finding = running.trouble(box.surroundings())
    assert finding.state == "warn"
    assert finding.found.startswith("41 datagrams")


def test_the_counters_are_those_of_the_documents() -> None:
    """Those of the relay, of the reception and of the control socket; the store's are in the store."""
    from gsrt.store.batches import COUNTERS
    from tests.docs.markdown import PROJECT, plain, read_tables

    tables = read_tables((PROJECT / "docs" / "PROTOCOL.md").read_text())
    known = {plain(row["counter"]) for row in tables["counters"]} | set(COUNTERS)
    known |= {"store_refused", running.GOVERNOR_REFUSED}
    assert set(running.TROUBLE) <= known


KEYS = "port pid governor level reasons loop worstTickMs counters platform store sessions"
TOP_KEYS = "port pid profile governor loop counters platform uptimeSeconds"
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("refusing"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS.split()),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(TOP_KEYS.split()), anything))
def test_no_server_is_believed(box: Box, status: dict[str, Any]) -> None:
    box.status = status
    for check in (running.server, running.load, running.trouble, folders.state):
        assert check(box.surroundings()).found
    assert 0 < box.surroundings().server_port() < 65536


# Folders


def test_the_state_folder(box: Box, tmp_path: Path) -> None:
    assert folders.state(box.surroundings()).state == "ok"
    box.settings |= {"state": str(tmp_path / "none")}
    assert "is not there yet" in folders.state(box.surroundings()).found
    (tmp_path / "file").touch()
    box.settings |= {"state": str(tmp_path / "file")}
    assert folders.state(box.surroundings()).state == "fail"


def test_a_state_folder_open_to_all(box: Box) -> None:
    box.state.chmod(0o777)
    assert folders.state(box.surroundings()).state == "warn"
    box.state.chmod(0o755)
    assert folders.state(box.surroundings()).state == "ok"
    (box.state / "key.pem").touch(0o644)
    (box.state / "key.pem").chmod(0o644)
    assert folders.state(box.surroundings()).state == "warn"


def test_a_state_folder_of_somebody_else(box: Box) -> None:
    box.user = os.geteuid() + 1
    assert folders.state(box.surroundings()).state == "warn"


def test_a_state_folder_of_the_services(box: Box) -> None:
    box.user = os.geteuid() + 1
    box.settings |= {"config": "/etc/gsrt/gsrt.toml"}
    box.write("/etc/passwd", USERS.format(os.geteuid(), 990))
    assert folders.state(box.surroundings()).state == "ok"


def test_games(box: Box, tmp_path: Path) -> None:
    assert folders.game(box.surroundings()).state == "ok"
    game = tmp_path / "duel"
    box.settings |= {"game": str(game)}
    assert folders.game(box.surroundings()).state == "fail"
    from gsrt.game.skeleton import make_game

    make_game(str(game), os.urandom)
    assert folders.game(box.surroundings()).state == "ok"
    (game / "game.toml").write_text("nonsense = 1\n")
    finding = folders.game(box.surroundings())
    assert finding.state == "fail"
    assert "mistake" in finding.found


def test_scripts(box: Box, tmp_path: Path) -> None:
    assert folders.script(box.surroundings()).state == "ok"
    box.settings |= {"script": str(tmp_path / "tag.py")}
    assert folders.script(box.surroundings()).state == "fail"
    (tmp_path / "tag.py").touch()
    assert folders.script(box.surroundings()).state == "ok"


USERS = "root:x:0:0::/root:/bin/sh\ngsrt:x:{}:{}::/:/usr/sbin/nologin\nbroken:x\n"


@pytest.fixture
def packaged(box: Box) -> Box:
    """A box with the package, whose user is not the one of this test."""
    box.settings |= {"config": "/etc/gsrt/gsrt.toml"}
    box.write("/etc/passwd", USERS.format(os.geteuid() + 1, 990))
    box.write("/etc/group", "gsrt:x:990:\nplugdev:x:46:anna,gsrt\n")
    return box


def test_the_services_user(packaged: Box) -> None:
    user = users.service_user(packaged.surroundings())
    assert user is not None
    assert (user.number, user.groups) == (os.geteuid() + 1, {990, 46})
    assert users.name_of(packaged.surroundings(), 0) == "root"
    assert users.name_of(packaged.surroundings(), 12345) == "12345"
    packaged.settings |= {"config": "/home/anna/gsrt.toml"}
    assert users.service_user(packaged.surroundings()) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("mode", "group", "rights", "may"),
    [
        (0o600, 990, users.READ, False),
        (0o640, 990, users.READ, True),
        (0o640, 7, users.READ, False),
        (0o604, 7, users.READ, True),
        (0o640, 990, users.READ | users.WRITE, False),
    ],
)
def test_rights(mode: int, group: int, rights: int, may: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are for root only
        file = Path(folder) / "file"
        file.touch()
        os.chown(file, 0, group)
        file.chmod(mode)
        user = users.User(1234, frozenset((990,)))
        assert not user.may(str(file), rights)  # the folder keeps it out
        Path(folder).chmod(0o711)
        assert user.may(str(file), rights) == may
        assert users.User(0, frozenset()).may(str(file), rights)


def test_a_game_that_the_service_may_not_write_to(packaged: Box, tmp_path: Path) -> None:
    from gsrt.game.skeleton import make_game

    make_game(str(tmp_path / "duel"), os.urandom)
    packaged.settings |= {"game": str(tmp_path / "duel")}
    finding = folders.game(packaged.surroundings())
    assert finding.state == "fail"
    assert finding.todo.startswith("sudo chown -R gsrt: ")


def test_a_script_that_the_service_may_not_read(packaged: Box, tmp_path: Path) -> None:
    (tmp_path / "tag.py").touch(0o600)
    packaged.settings |= {"script": str(tmp_path / "tag.py")}
    assert folders.script(packaged.surroundings()).state == "fail"


def test_a_key_that_the_service_may_not_read(packaged: Box, pairs: Path, tmp_path: Path) -> None:
    paths = {"cert": str(tmp_path / "certificate.pem"), "key": str(tmp_path / "key.pem")}
    for path in paths.values():
        shutil.copy(pairs / "rsa" / Path(path).name, path)
    Path(paths["key"]).chmod(0o600)
    packaged.settings |= paths
    finding = certificate.certificate(packaged.surroundings())
    assert finding.state == "fail"
    assert "key.pem" in finding.found


def test_the_port_of_a_game(box: Box, tmp_path: Path) -> None:
    from gsrt.game.skeleton import make_game

    make_game(str(tmp_path / "duel"), os.urandom)
    file = tmp_path / "duel" / "game.toml"
    box.settings |= {"game": str(tmp_path / "duel")}
    assert box.surroundings().server_port() == 8784
    file.write_text(f"port = 9123\n{file.read_text()}")
    assert box.surroundings().server_port() == 9123
    box.settings |= {"port": 9124}
    assert box.surroundings().server_port() == 9124

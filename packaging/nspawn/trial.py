"""What the installed package has to stand: each method is a step, returns what was seen, and raises AssertionError."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from cross.targets import named, python_tag
from cross.wheels import WORK
from cross.workshop import version
from nspawn.container import Container
from tests.docs.markdown import read_blocks

PROJECT = Path(__file__).resolve().parents[2]
INSTALL = PROJECT / "docs" / "INSTALL.md"
HOST, PORT = "127.0.0.1", 8784
CONTROL = "/run/gsrt/control.sock"
CONFIGURATION = "/etc/gsrt/gsrt.toml"
STATE = "/var/lib/gsrt"
GAME = f"{STATE}/duel"
AS_SERVICE = ("setpriv", "--reuid=gsrt", "--regid=gsrt", "--clear-groups")
PLAYERS = ("ann", "ben", "cat")  # the match gives each another kind of client

ANNOUNCED = Path("/etc/avahi/services")
MISSING_FOLDERS = ("/srv", "/media")  # of those that the unit names, what a box may not have

FETCH = f"import sys, urllib.request as r; print(r.urlopen('http://{HOST}:{PORT}/' + sys.argv[1]).read().decode())"
CONNECT = f"import socket; socket.create_connection(('{HOST}', {PORT})).close()"
SEEK = f"""
import socket, sys
sys.path.insert(0, "/usr/lib/gsrt")
from gsrt.discovery import HERE, Notice, seek
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as seeker:
    seeker.settimeout(30)
    seeker.sendto(seek(b"somebody"), ("{HOST}", {PORT}))
    assert Notice.from_bytes(seeker.recv(2048), HERE).nonce == b"somebody"
"""
# At the end of every module of a newer package.
NEWER_MODULE = """
from gsrt import __version__ as _of_the_process
if _of_the_process != {version!r}:
    raise ImportError(f"{{__name__}} is newer than the process that imports it")
"""
LACKING = {"addresses"}  # checks that fail in a container without a network

DEADLINE = 30.0
WATCHDOG_SECONDS = 10.0  # WatchdogSec=
PLAY_SECONDS = 1.5  # before and after what the players shall not notice
EXPOSURE_MAX = 1.1
MANY_RESTARTS = 5  # under play, one after the other


def client_environment() -> dict[str, str]:
    """For programs of the working tree."""
    return {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'packaging'}"}


@contextlib.contextmanager
def _changed(path: Path, change: Callable[[str], str]) -> Iterator[None]:
    """A file has another text for a while."""
    before = path.read_text()
    path.write_text(change(before))
    try:
        yield
    finally:
        path.write_text(before)


class Match:
    """A session on the server in the container, and its players beside it. A context manager."""

    def __init__(self, container: Container, script: str | None = None) -> None:
        command = ["gsrt", "session", "create", "--json", "--players", ",".join(PLAYERS), "--host", HOST]
        answer = json.loads(container.run(*command, *(("--script", script) if script is not None else ())))
        self.session_id: str = answer["sessionId"]
        tokens = [each["accessToken"] for each in answer["players"]]
        words = [sys.executable, "-m", "nspawn.match", HOST, str(answer["port"]), *tokens]
        self._process = container.beside(words, client_environment())
        self.first = self._read()
        assert all(self.first["ready"].values()), f"not everybody could join: {self.first}"

    def __enter__(self) -> Match:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._process.poll() is None:
            try:
                error.add_note(f"the players: {self.look()}")
            except (AssertionError, OSError):
                pass
        self._process.kill()
        self._process.communicate()

    def look(self) -> dict[str, Any]:
        """How the players are doing."""
        return self._ask("look")

    def finish(self) -> dict[str, Any]:
        """The same at the end, when everything has arrived or will not any more."""
        return self._ask("finish")

    def play(self, seconds: float = PLAY_SECONDS) -> None:
        """Lets them play until each has sent so many more packets as fit into that time at a slow pace."""
        wanted = {name: count + int(seconds * 20) for name, count in self.look()["sent"].items()}
        end = time.monotonic() + DEADLINE
        while any(count < wanted[name] for name, count in self.look()["sent"].items()):
            assert time.monotonic() < end, f"they cannot send: {self.look()}"
            time.sleep(0.1)

    def finish_unharmed(self) -> str:
        """They play on, end, and nobody has noticed anything: what was exchanged."""
        self.play()
        end = self.finish()
        assert not any(end["told"].values()), f"players were told: {end}"
        assert not end["wrong"], f"lost or double: {end}"
        assert end["all there"], f"not everything arrived: {end}"
        assert all(end["ready"].values()), f"somebody is not in any more: {end}"
        return (
            f"{sum(end['received'].values())} reliable packets exchanged, none lost or double, nobody told of anything"
        )

    def wait_until_all_are_back(self) -> None:
        end = time.monotonic() + DEADLINE
        while not all((now := self.look())["ready"].values()):
            assert time.monotonic() < end, f"not everybody came back: {now}"
            time.sleep(0.1)

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], 2 * DEADLINE)[0]
        line = self._process.stdout.readline() if ready else ""
        assert line, f"the players have ended with {self._process.poll()}"
        found: dict[str, Any] = json.loads(line)
        return found


class Trial:
    """The package in a container."""

    def __init__(self, container: Container, package: Path, python: str) -> None:
        """PYTHON: the version of the container's own, as "3.11"."""
        self.container = container
        self._package = package
        self._python = python
        self._version = ""
        self._before: set[str] = set()

    def restore(self) -> None:
        """The service runs as after the installation, whatever the step before has left; nothing of it remains."""
        run = self.container.run
        run("systemctl", "reset-failed", "gsrt.service", check=False)
        run("systemctl", "start", "gsrt.service", check=False)

    # -- steps ------------------------------------------------------------------------------------------------------

    def is_installed(self) -> str:
        self.container.run("rmdir", *MISSING_FOLDERS)
        self._before = self._files()
        self._install(self._package)
        show = self.container.show
        assert show("ActiveState") == "active", show("ActiveState")
        assert show("UnitFileState") == "enabled", show("UnitFileState")
        assert show("StatusText").startswith(f"port {PORT}: "), show("StatusText")
        self._version = self.container.run("dpkg-query", "--show", "--showformat=${Version}", "gsrt")
        return f"version {self._version}, {show('StatusText')!r}"

    def owner_can_ask(self) -> str:
        """root and members of the group can, others are told why not."""
        run = self.container.run
        status = json.loads(run("gsrt", "status", "--json"))
        assert status["port"] == PORT
        as_member = ("setpriv", "--reuid=65534", "--regid=gsrt", "--clear-groups")
        assert json.loads(run(*as_member, "gsrt", "status", "--json"))["pid"] == status["pid"]
        as_other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        refused = run(*as_other, "gsrt", "status", check=False)
        assert "sudo" in refused, refused
        return f"profile {status['profile']}, up for {status['uptimeSeconds']:.1f} s"

    def tells_how_it_is(self) -> str:
        """Programs can ask too; and gsrt doctor finds nothing but what a container lacks."""
        pages = {page: self.container.run("python3", "-c", FETCH, page) for page in ("healthz", "metrics")}
        figures = [line for line in pages["metrics"].splitlines() if line.startswith("gsrt_")]
        assert pages["healthz"].strip(), pages
        assert figures, pages
        findings = json.loads(self.container.run("gsrt", "doctor", "--json", check=False))["findings"]
        bad = {each["check"]: each["found"] for each in findings if each["state"] == "fail"}
        assert bad.keys() <= LACKING, bad
        return f"{len(figures)} metrics; {len(findings)} checks, of which fail: {', '.join(bad) or 'none'}"

    def is_contained(self) -> str:
        text = self.container.run("cat", f"/proc/{self.container.show('MainPID')}/status")
        told = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        assert told["NoNewPrivs"].strip() == "1"
        assert told["Seccomp"].strip() == "2"
        assert all(int(told[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
        assert told["Uid"].split()[0] != "0"
        judged = self.container.run("systemd-analyze", "security", "--no-pager", "gsrt.service")
        (exposure,) = re.findall(r"Overall exposure level for gsrt.service: ([\d.]+)", judged)
        assert float(exposure) <= EXPOSURE_MAX, judged
        contained = re.findall(r"\bcontained .*", self.container.journal())
        assert contained, "the server has not contained itself"
        return f"exposure {exposure}, RSS {told['VmRSS'].strip()}, {contained[-1]}"

    def is_played(self) -> str:
        with Match(self.container) as match:
            return match.finish_unharmed()

    def is_reloaded(self) -> str:
        return self._unnoticed(lambda: self.container.run("systemctl", "reload", "gsrt.service"), same_process=True)

    def is_restarted(self) -> str:
        return self._unnoticed(self._restart)

    def is_restarted_often(self) -> str:
        def often() -> None:
            for _ in range(MANY_RESTARTS):
                self._restart()

        return self._unnoticed(often)

    def restarts_itself(self) -> str:
        """Asked by `gsrt restart`: nobody tells systemd, which starts the next because the one before has ended."""
        return self._unnoticed(lambda: self.container.run("gsrt", "restart"))

    def is_upgraded(self) -> str:
        """The process that leaves imports nothing of what comes: that would be code that does not fit its own."""
        with tempfile.TemporaryDirectory() as folder:
            newer = self._newer_package(Path(folder))
            seen = self._unnoticed(lambda: self._install(newer))
        version = self.container.run("dpkg-query", "--show", "--showformat=${Version}", "gsrt")
        assert version != self._version
        return f"{self._version} to {version}, {seen}"

    def hangs(self) -> str:
        """A loop that does not turn any more is ended by the watchdog."""
        return self._comes_back("STOP", WATCHDOG_SECONDS + 10.0, "watchdog")

    def is_killed(self) -> str:
        return self._comes_back("KILL", 10.0, "signal")

    def has_its_port_from_systemd(self) -> str:
        """A datagram starts it, and is answered; so does a connection."""
        run = self.container.run
        try:
            for program in (SEEK, CONNECT):
                run("systemctl", "stop", "gsrt.socket", "gsrt.service")
                run("systemctl", "start", "gsrt.socket")
                assert self.container.show("ActiveState") == "inactive"
                run("python3", "-c", program)
                self._wait(lambda: self.container.show("ActiveState") == "active", "that starts it")
            return self._unnoticed(self._restart)
        finally:
            run("systemctl", "stop", "gsrt.socket", "gsrt.service")
            run("systemctl", "start", "gsrt.service")

    def serves_a_game(self) -> str:
        """Its database, its scripts, TLS, within what the unit allows; and the same players after a restart."""
        run, root = self.container.run, self.container.root
        run(*AS_SERVICE, "gsrt", "new", GAME)
        with _changed(root / CONFIGURATION.lstrip("/"), lambda text: f'{text}game = "{GAME}"\n'):
            self._restart()
            first = self._visit()
            seen = self._unnoticed(self._restart, script=f"{GAME}/scripts/duel.py")
            second = self._visit()
            assert first == second == {"users": [first["users"][0]] * 2, "name": "Dot"}, (first, second)
            run("gsrt", "backup", f"{STATE}/backup.db")
        self._restart()
        return f"player {first['users'][0]} by ws and wss before and after; scripted session: {seen}"

    def stops_with_a_goodbye(self) -> str:
        with Match(self.container) as match:
            match.play()
            began = time.monotonic()
            self.container.run("systemctl", "stop", "gsrt.service")
            took = time.monotonic() - began
            self._wait(lambda: not any(match.look()["ready"].values()), "all players are told", 5.0)
        assert self.container.show("ActiveState") == "inactive"
        assert self.container.show("Result") == "success"
        assert not self.container.run("ss", "--no-header", "-lntu", f"sport = :{PORT}").strip()
        return f"stopped within {took:.1f} s, everybody was told"

    def tells_mistakes(self) -> str:
        """A mistake in the configuration is in the journal with its line, and is not tried again and again; the same is
        said by who looks before."""
        assert self.container.run("gsrt", "config", "check") == f"{CONFIGURATION}: ok\n"
        self.container.run("systemctl", "stop", "gsrt.service")
        path = self.container.root / CONFIGURATION.lstrip("/")
        said = f"{CONFIGURATION}:1: there is no key 'prot': is 'port' meant?"
        with _changed(path, lambda text: f"prot = 8784\n{text}"):
            self.container.run("systemctl", "start", "gsrt.service", check=False)
            assert self.container.show("ActiveState") == "failed"
            assert self.container.show("ExecMainStatus") == "2"
            assert said in self.container.journal(), "the journal does not say so"
            assert self.container.run("gsrt", "config", "check", check=False) == f"{said}\n"
        self.restore()
        assert self.container.show("ActiveState") == "active"
        return said

    def is_removed_and_comes_back(self) -> str:
        """While it is away avahi tells nobody of it; what the host has written into its files is there again."""
        run, announced = self.container.run, self.container.root / ANNOUNCED.relative_to("/")
        text = (announced / "gsrt.service").read_text().replace("gsrt on %h", "Anna's box")
        (announced / "gsrt.service").write_text(text)
        run("dpkg", "--remove", "gsrt", seconds=DEADLINE)
        assert not list(announced.glob("*.service")), "avahi goes on telling of it"
        self._install(self._package)
        assert [each.name for each in announced.iterdir()] == ["gsrt.service"]
        assert (announced / "gsrt.service").read_text() == text
        show = self.container.show
        assert (show("ActiveState"), show("UnitFileState")) == ("active", "enabled")
        return "not announced while it was away, and then as the host had it"

    def is_purged(self) -> str:
        """And with it what belongs to it: a host's certificate, the socket's start with the box."""
        run = self.container.run
        for name in ("certificate.pem", "key.pem"):
            (self.container.root / "etc" / "gsrt" / name).write_text("of the host")
        run("systemctl", "enable", "gsrt.socket")
        run("dpkg", "--purge", "gsrt", seconds=DEADLINE)
        assert self.container.show("LoadState") == "not-found", self.container.show("LoadState")
        assert not run("ps", "-C", "gsrt", "-o", "pid=", check=False).strip()
        left = sorted(self._files() - self._before)
        assert not left, f"left behind: {left}"
        failed = run("systemctl", "--failed", "--no-legend", "--plain").strip()
        assert not failed, failed
        return "no file, no unit, no process is left"

    def runs_without_the_package(self) -> str:
        """By docs/INSTALL.md, in a folder like that of the source. There is no network, so pip finds at hand what it
        would get."""
        run, place = self.container.run, Path("/root/source")
        python = self._python
        (target,) = named(platform.machine())
        wheel = WORK / "wheels" / target.wheel_name(version(), python)
        inside = self.container.root / place.relative_to("/")
        shutil.copytree(PROJECT / "packaging", inside / "packaging")
        shutil.copy(wheel, inside)
        kind = ("--implementation=cp", f"--python-version={python}", f"--abi=cp{python_tag(python)}")
        where = (f"--platform=manylinux2014_{target.name}", f"--platform={target.platform}")
        download = ("-m", "pip", "download", "--quiet", "--only-binary=:all:", *kind, *where)
        words = [sys.executable, *download, f"--dest={inside / 'wheels'}", str(wheel)]
        subprocess.run(words, check=True, timeout=4 * DEADLINE)
        (block,) = (each for each in read_blocks(INSTALL.read_text()) if each.kind == "container")
        commands = re.sub(r"gsrt-\S+\.whl", wheel.name, block.text).replace("sudo ", "")  # root needs none
        offline = ("PIP_NO_INDEX=1", f"PIP_FIND_LINKS={place}/wheels", "DEBIAN_FRONTEND=noninteractive")
        run("env", f"--chdir={place}", *offline, "sh", "-ec", commands, seconds=4 * DEADLINE)
        show = self.container.show
        assert (show("ActiveState"), show("UnitFileState")) == ("active", "enabled"), show("StatusText")
        assert show("User") == "gsrt"
        return self._unnoticed(self._restart)

    # -- how ----------------------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        self.container.run("systemctl", "restart", "gsrt.service")

    def _visit(self) -> dict[str, Any]:
        """A player signs in to the game."""
        game = tomllib.loads((self.container.root / GAME.lstrip("/") / "game.toml").read_text())
        words = ("-m", "nspawn.visit", HOST, str(PORT), game["api_key"], game["secret"])
        process = self.container.beside([sys.executable, *words], client_environment())
        said, _ = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, "the player cannot sign in"
        found: dict[str, Any] = json.loads(said)
        return found

    def _unnoticed(self, what: Callable[[], object], *, same_process: bool = False, script: str | None = None) -> str:
        """Something that players who are in the middle of a match do not notice."""
        before = self.container.show("MainPID")
        with Match(self.container, script) as match:
            match.play()
            began = time.monotonic()
            what()
            took = time.monotonic() - began
            after = self.container.show("MainPID")
            assert (after == before) == same_process, f"process {before} before, {after} after"
            assert self.container.show("ActiveState") == "active"
            seen = match.finish_unharmed()
        return f"took {took:.1f} s; {seen}"

    def _comes_back(self, signal: str, seconds: float, result: str) -> str:
        """The server's process is given a signal, ends with that result, and its session goes on with a new one."""
        show = self.container.show
        before = int(show("NRestarts"))
        with Match(self.container) as match:
            match.play()
            began = time.monotonic()
            self.container.run("kill", f"-{signal}", show("MainPID"))
            self._wait(lambda: int(show("NRestarts")) > before, "systemd starts it again", seconds)
            self._wait(lambda: show("ActiveState") == "active", "it is up again", DEADLINE)
            took = time.monotonic() - began
            assert re.search(rf"Failed with result '{result}'", self.container.journal())
            match.wait_until_all_are_back()
            back = time.monotonic() - began
            match.play()
        return f"up again after {took:.1f} s, all players in the same session after {back:.1f} s"

    def _install(self, package: Path) -> None:
        inside = self.container.root / "root" / "gsrt.deb"
        shutil.copy(package, inside)
        try:
            self.container.run(
                "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", "/root/gsrt.deb", seconds=4 * DEADLINE
            )
        finally:
            inside.unlink()

    def _newer_package(self, folder: Path) -> Path:
        """A package of a higher version, whose modules no older process can import."""
        content, package = folder / "content", folder / "newer.deb"
        subprocess.run(["dpkg-deb", "--raw-extract", self._package, content], check=True, timeout=DEADLINE)
        control, modules = content / "DEBIAN" / "control", content / "usr" / "lib" / "gsrt" / "gsrt"
        control.write_text(re.sub(r"^(Version: .*)$", r"\1+test1", control.read_text(), flags=re.MULTILINE))
        newer = f"{version()}+test1"
        for path in modules.rglob("*.py"):
            path.write_text(path.read_text() + NEWER_MODULE.format(version=newer))
        told = modules / "__init__.py"
        told.write_text(told.read_text().replace(f'__version__ = "{version()}"', f'__version__ = "{newer}"', 1))
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(content), str(package)]
        subprocess.run(command, check=True, timeout=4 * DEADLINE, stdout=subprocess.DEVNULL)
        return package

    def _files(self) -> set[str]:
        """All files but those of logs and of dpkg itself."""
        found = self.container.run(
            *("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/tmp", "-o"),
            *("-path", "/run", "-o", "-path", "/dev", "-o", "-path", "/var/log", "-o", "-path", "/var/lib/systemd"),
            *("-o", "-path", "/var/lib/dpkg", "-o", "-path", "/var/tmp", "-o", "-path", "/var/cache", ")"),
            *("-prune", "-o", "-print"),
        )
        return {each for each in found.splitlines() if not each.endswith("-")}  # passwd-, group-: copies of before

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
            time.sleep(0.1)

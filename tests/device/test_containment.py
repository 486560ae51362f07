"""A process that contains itself: what is refused to whoever breaks into it, and what a server goes on doing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gsrt.cli.serve import Options
from gsrt.contained import readable_places
from gsrt.device.containment import Contained, is_below
from gsrt.device.linux import Outcome, calls, describe
from gsrt.profile import locate

PROJECT = Path(__file__).resolve().parents[2]
LANDLOCK_OF_NETWORK, LANDLOCK_OF_SIGNALS = 4, 6
REFUSED = {"EPERM", "EACCES"}

# What is refused otherwise: by libraries' and kernels' own custom, or for want of the thing itself.
OTHERWISE = {
    "clone3": {"ENOSYS"},
    "link a file in": {"EXDEV", "EACCES"},
    "open the memory": {"ENOENT"},
    "call 463": {"ENOSYS"},
    "call 470": {"ENOSYS"},
    "call 999": {"ENOSYS"},
}

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or os.uname().machine not in ("x86_64", "aarch64", "armv7l"),
    reason="the numbers of this machine's system calls are not known here",
)


def places(root: Path) -> Path:
    """The folders of tests.device.hostile."""
    for name in ("outside/folder", "readable", "writable"):
        (root / name).mkdir(parents=True)
    for name in ("outside/secret", "readable/file", "writable/mine"):
        (root / name).write_text("what it was")
    (root / "readable/link").symlink_to("../outside/secret")
    return root


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])}
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment, check=False, cwd=PROJECT)


def hostile(root: Path, *options: str, without: str = "") -> Any:
    before = [sys.executable, "-m", "tests.device.unavailable", without] if without else []
    done = run([*before, sys.executable, "-m", "tests.device.hostile", str(places(root)), *options])
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    return json.loads(first) | {"said": others}


def version(found: Any) -> int:
    """Of landlock; 0: there is none."""
    text = found["outcomes"]["landlock"]
    return int(text.removeprefix("version ")) if text else 0


def in_force(found: Any) -> set[str]:
    """The groups of attacks that are to be refused as things are."""
    groups = set()
    outcomes = found["outcomes"]
    if outcomes["seccomp"]:
        groups.add("calls")
    if outcomes["code"]:
        groups.add("memory")
    if version(found):
        groups.add("files")
    if version(found) >= LANDLOCK_OF_NETWORK:
        groups.add("network")
    if version(found) >= LANDLOCK_OF_SIGNALS:
        groups.add("others")
    return groups


def came_through(found: Any, thread: str) -> dict[str, str]:
    """Attacks of the groups in force that were not refused, or not as they should be."""
    return {
        f"{group}: {attack}": came
        for group in in_force(found)
        for attack, came in found["refused"][thread][group].items()
        if came not in REFUSED | OTHERWISE.get(attack, set())
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a contained process could do."""
    return hostile(tmp_path_factory.mktemp("contained"))


def test_all_parts_are_in_force_or_say_why_not(found: Any) -> None:
    assert list(found["outcomes"]) == ["no_new_privileges", "code", "landlock", "seccomp"]
    missing = [part for part, why in found["outcomes"].items() if not why]
    if missing:
        pytest.skip(f"this kernel lacks {', '.join(missing)}: the other tests look at the rest")


@pytest.mark.parametrize("thread", ["first", "before", "after"])
def test_whatever_is_tried_is_refused_on_every_thread(found: Any, thread: str) -> None:
    assert in_force(found), found["outcomes"]
    assert came_through(found, thread) == {}
    assert sum(len(attacks) for attacks in found["refused"][thread].values()) > 150


def test_what_a_server_does_goes_on(found: Any) -> None:
    assert {what: came for what, came in found["normal"].items() if came != "done"} == {}


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """Where nothing can be contained, files are written, programs started and ports opened."""
    found = hostile(tmp_path, without="landlock,seccomp,prctl")
    assert [bool(why) for why in found["outcomes"].values()] == [True, False, False, False]
    refused = found["refused"]["before"]
    for attack in ("read a file", "write to a file", "make a file", "make a folder", "move a file out", "make a fifo"):
        assert refused["files"][attack] == "done", attack
    for attack in ("change the mode outside", "fork", "start a program", "start this interpreter"):
        assert refused["calls"][attack] == "done", attack
    assert set(refused["network"].values()) == set(refused["others"].values()) == {"done"}
    assert not (tmp_path / "outside/secret").exists()


@pytest.mark.parametrize("missing", ["landlock", "seccomp", "prctl"])
def test_what_a_kernel_lacks_is_said_and_the_rest_is_in_force(found: Any, tmp_path: Path, missing: str) -> None:
    part = "code" if missing == "prctl" else missing
    without = hostile(tmp_path, without=missing)
    assert {each for each, why in without["outcomes"].items() if not why} == {
        part,
        *(each for each, why in found["outcomes"].items() if not why),
    }
    assert in_force(without)
    assert came_through(without, "before") == came_through(without, "first") == {}
    assert {what: came for what, came in without["normal"].items() if came != "done"} == {}


def test_the_interpreter_alone_may_be_executed_and_stays_contained(tmp_path: Path) -> None:
    program = """
import os
from gsrt.device.containment import contain
print([(each.part, each.done, each.why) for each in contain(["/"], ["/"], allow_exec=True)])
for path in (ROOT + "/outside/secret", "/bin/sh"):
    try:
        open(path).close() if path.startswith(ROOT) else os.execv(path, [path, "-c", "echo done"])
    except OSError as error:
        print(error.strerror)
try:
    os.fork()
except OSError as error:
    print(error.strerror)
""".replace("ROOT", repr(str(tmp_path)))
    found = hostile(tmp_path, "--allow-exec", "--become", program)
    if not version(found) or not found["outcomes"]["seccomp"]:
        pytest.skip("without landlock any program may be executed then")
    for thread in ("first", "before", "after"):
        assert came_through(found, thread) == {}
    outcomes, secret, shell, fork = found["said"]
    assert outcomes == str(
        [(part, True, "since before the restart") for part in ("no_new_privileges", "landlock", "seccomp")]
    )
    assert (secret, shell, fork) == ("Permission denied", "Permission denied", "Operation not permitted")


@pytest.mark.parametrize("missing", ["_cffi_backend", "gsrt.device._linux"])
def test_without_cffi_nothing_is_contained_and_it_is_said(missing: str, tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from gsrt.device.containment import contain
from gsrt.device.linux import describe
print(describe(contain([], [])))
open({str(tmp_path / "file")!r}, "w").close()
"""
    done = run([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no: cffi is not installed") == 4
    assert (tmp_path / "file").exists()


def test_a_thread_that_hears_no_signals_is_told_of(tmp_path: Path) -> None:
    """It blocks them all: landlock cannot bind it, and that is no secret."""
    program = f"""
import signal, threading
from gsrt.device import containment
containment.THREADS_MILLISECONDS = 50
deaf, done = threading.Event(), threading.Event()
def hear_nothing():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    deaf.set()
    done.wait()
thread = threading.Thread(target=hear_nothing)
thread.start()
deaf.wait()
outcomes = containment.contain([], [])
print([each.why for each in outcomes if each.part == "landlock" and not each.done])
try:
    open({str(tmp_path / "file")!r}, "w")
except OSError as error:
    print(error.strerror)
done.set()
thread.join()
"""
    lib = calls()
    if lib is None or lib.gsrt_landlock_version() < 1:
        pytest.skip("there is no landlock here")
    done = run([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['a thread of the server did not answer, and is not bound']\nPermission denied\n"


def test_paths_that_a_contained_server_may_use(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scripts")
    (tmp_path / "scripts/out").symlink_to("/etc")
    contained = Contained([str(tmp_path / "link")], [str(tmp_path / "state")], [Outcome("landlock", True, "version 7")])
    assert contained.why_not_read(str(tmp_path / "scripts/game.py")) is None
    assert contained.why_not_read(str(tmp_path / "state/x")) is None
    assert contained.why_not_write(str(tmp_path / "state/x")) is None
    places = f"{tmp_path}/scripts, {tmp_path}/state"
    for path in (f"{tmp_path}/scripts-of-others/x", f"{tmp_path}/scripts/../x", f"{tmp_path}/scripts/out/passwd"):
        assert contained.why_not_read(path) == f"{path}: the server is contained and may read below {places} only"
    refused = contained.why_not_write(f"{tmp_path}/scripts/x")
    assert refused == f"{tmp_path}/scripts/x: the server is contained and may write below {tmp_path}/state only"
    nowhere = Contained([], [], [Outcome("landlock", False, "no such call")])
    assert nowhere.why_not_read("/etc/passwd") is nowhere.why_not_write("/etc/passwd") is None
    assert is_below("/anything", ["/"]) and not is_below("/anything", [])


@pytest.mark.parametrize("profile", ["generic", "auto"])
def test_the_profile_can_be_read_again(profile: str) -> None:
    """By the program that takes this one's place; a profile that comes along need not be where Python's modules are."""
    assert is_below(locate(profile)[0], readable_places(Options(control="c", state_dir="s", profile=profile)))


def test_what_the_log_says() -> None:
    assert describe([Outcome("code", True, "on"), Outcome("landlock", False, "no such call")]) == {
        "code": "on",
        "landlock": "no: no such call",
    }

"""What cross builds are told, and what their wheels are looked at for: the parts that need no compiler."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import gsrt
from cross.checks import attributes, expected_files, needed_libraries
from cross.emulation import Ended, check_installed, closing_line, units
from cross.headers import build_variables, write_build_variables
from cross.targets import PYTHONS, TARGETS, named
from cross.tree import copy_tree, source_files
from cross.workshop import PROJECT, SODIUM_SOURCE, TOOLS, digest, source_date, version


def test_the_pythons_are_some_that_the_project_runs_on() -> None:
    said = (PROJECT / "pyproject.toml").read_text()
    assert all(f'"Programming Language :: Python :: {python}"' in said for python in PYTHONS)


def test_tools_are_pinned() -> None:
    assert all(tool.count("==") == 1 for tool in TOOLS)
    assert len(SODIUM_SOURCE[1]) == 64


def test_the_version_is_that_of_the_package() -> None:
    assert version() == gsrt.__version__


def test_wheels_and_modules_are_named_as_the_targets_python_looks_for_them() -> None:
    aarch64, armv6l = named("aarch64,armv6l")
    assert aarch64.wheel_name("1.2.3", "3.11") == "gsrt-1.2.3-cp311-cp311-manylinux_2_17_aarch64.whl"
    assert aarch64.extension_suffix("3.13") == ".cpython-313-aarch64-linux-gnu.so"
    assert armv6l.wheel_name("1.2.3", "3.13") == "gsrt-1.2.3-cp313-cp313-linux_armv6l.whl"
    assert armv6l.extension_suffix("3.11") == ".cpython-311-arm-linux-gnueabihf.so"


def test_targets_are_chosen_by_name() -> None:
    assert named("") == list(TARGETS)
    assert [target.debian for target in named("armv6l,x86_64")] == ["armhf", "amd64"]
    with pytest.raises(SystemExit, match="no such machine: sparc; there are x86_64, aarch64, armv7l, armv6l"):
        named("sparc")


def test_the_date_is_said_or_that_of_the_last_change(tmp_path: Path) -> None:
    assert source_date(PROJECT, {"SOURCE_DATE_EPOCH": "86400"}) == 86400
    (tmp_path / "CHANGELOG.md").write_text("news")
    assert source_date(tmp_path, {}) == int((tmp_path / "CHANGELOG.md").stat().st_mtime)


def test_sysconfig_of_the_target_is_a_module(tmp_path: Path) -> None:
    (target,) = named("armv7l")
    variables = build_variables(target, "3.13", Path("/headers"), Path("/compiler"))
    name = write_build_variables(tmp_path, variables)
    found: dict[str, object] = {}
    exec((tmp_path / f"{name}.py").read_text(), found)
    assert found["build_time_vars"] == variables
    assert variables["INCLUDEPY"] == "/headers" and variables["SOABI"] == "cpython-313-arm-linux-gnueabihf"


def tiny_project(place: Path) -> Path:
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.py", "gsrt/_core.pyx", "gsrt/_core.pyi"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    for name in ("gsrt/__init__.py", "gsrt/py.typed", "gsrt/_wire.pxd", "firmware_profiles/pc.toml"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    for name in ("gsrt/_core.c", "gsrt/_core.cpython-311-x86_64-linux-gnu.so", "gsrt/__init__.cpython-311.pyc"):
        (place / name).write_text("left by a build")
    return place


def test_the_copy_holds_sources_only_and_forgets_what_is_gone(tmp_path: Path) -> None:
    project, copy = tiny_project(tmp_path / "project"), tmp_path / "copy"
    copy_tree(project, copy)
    there = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert there == {str(path) for path in source_files(project)}
    assert "gsrt/_core.pyx" in there and not any(name.endswith((".c", ".so", ".pyc")) for name in there)
    dated = (copy / "gsrt/_core.pyx").stat().st_mtime_ns
    (project / "gsrt/_core.pyi").unlink()
    copy_tree(project, copy)
    assert not (copy / "gsrt/_core.pyi").exists()
    assert (copy / "gsrt/_core.pyx").stat().st_mtime_ns == dated


def test_a_wheel_holds_every_module_type_file_and_profile(tmp_path: Path) -> None:
    assert expected_files(tiny_project(tmp_path), ".cpython-311-x.so", ("gsrt/device/_linux",)) == {
        "gsrt/__init__.py",
        "gsrt/_core.cpython-311-x.so",
        "gsrt/_core.pyi",
        "gsrt/device/_linux.abi3.so",
        "gsrt/firmware_profiles/pc.toml",
        "gsrt/py.typed",
    }


def test_what_readelf_says_is_understood() -> None:
    said = 'File Attributes\n  Tag_CPU_name: "arm1176jzf-s"\n  Tag_CPU_arch: v6\n  Tag_FP_arch: VFPv2\n'
    assert attributes(said)["Tag_CPU_arch"] == "v6"
    assert attributes(said)["Tag_FP_arch"] == "VFPv2"
    dynamic = " 0x00000001 (NEEDED)             Shared library: [libc.so.6]\n 0x0e (SONAME) Library soname: [x.so]\n"
    assert needed_libraries(dynamic) == ["libc.so.6"]


@pytest.mark.parametrize(
    ("output", "status", "closing", "line"),
    [
        (
            "....\n===== 1155 passed in 177.09s (0:02:57) =====\n",
            0,
            "1155 passed in 177.09s (0:02:57)",
            "passed: 1155 passed in 177.09s (0:02:57)",
        ),
        ("== 3 passed, 9 skipped in 4s ==\n", 0, "3 passed, 9 skipped in 4s", "passed: 3 passed, 9 skipped in 4s"),
        ("== 12 skipped in 4.10s ==\n", 0, "12 skipped in 4.10s", "skipped: 12 skipped in 4.10s"),
        (
            "== 1 failed, 20 passed, 3 skipped in 4.10s ==\n",
            1,
            "1 failed, 20 passed, 3 skipped in 4.10s",
            "failed: 1 failed, 20 passed, 3 skipped in 4.10s, exit status 1",
        ),
        ("== 1 failed in 4.10s ==\n", 0, "1 failed in 4.10s", "failed: 1 failed in 4.10s"),
        ("== 2 passed, 1 error in 4.1s ==\n", 0, "2 passed, 1 error in 4.1s", "failed: 2 passed, 1 error in 4.1s"),
        # killed, or ended in another way, after it had said that
        ("== 20 passed in 4.10s ==\n", -11, "20 passed in 4.10s", "failed: 20 passed in 4.10s, exit status -11"),
        ("== 20 passed in 4.10s ==\n", 3, "20 passed in 4.10s", "failed: 20 passed in 4.10s, exit status 3"),
        ("== no tests ran in 0.01s ==\n", 5, "", "failed: it came to no end, exit status 5"),
        ("", 0, "", "failed: it came to no end"),
        (
            "qemu: uncaught target signal 4 (Illegal instruction) - core dumped\n",
            -4,
            "",
            "failed: it came to no end, exit status -4",
        ),
    ],
)
def test_how_an_emulated_run_ended(output: str, status: int, closing: str, line: str) -> None:
    assert closing_line(output) == closing
    ended = Ended(status, closing, 4.1)
    assert str(ended) == line
    assert ended.verdict == line.partition(":")[0]


def installed(site: Path, *, version: str = "1.2.3", command: str = "gsrt = gsrt.cli:main") -> Path:
    """What an installer leaves of a small wheel."""
    (site / "gsrt").mkdir(parents=True)
    (site / "gsrt/__init__.py").touch()
    metadata = site / f"gsrt-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gsrt\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[console_scripts]\n{command}\n")
    (metadata / "RECORD").write_text("gsrt/__init__.py,,\n../../bin/gsrt,,\n")
    return site


def test_a_wheel_that_was_installed_is_found_by_its_metadata(tmp_path: Path) -> None:
    check_installed(installed(tmp_path), "1.2.3")
    with pytest.raises(SystemExit, match=r"gsrt 1\.2\.4 is not what"):
        check_installed(tmp_path, "1.2.4")
    (tmp_path / "gsrt/__init__.py").unlink()
    with pytest.raises(SystemExit, match="list of files"):
        check_installed(tmp_path, "1.2.3")
    (tmp_path / "gsrt-1.2.3.dist-info/RECORD").unlink()
    with pytest.raises(SystemExit, match="it is empty"):
        check_installed(tmp_path, "1.2.3")


def test_a_wheel_without_its_command_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="names other commands than gsrt"):
        check_installed(installed(tmp_path / "other", command="other = gsrt.cli:main"), "1.2.3")
    (tmp_path / "unpacked/gsrt").mkdir(parents=True)
    with pytest.raises(SystemExit, match="is not what"):
        check_installed(tmp_path / "unpacked", "1.2.3")


@pytest.mark.parametrize("target", ["arm-test", "systemd-test"])
@pytest.mark.parametrize(("said", "python"), [("", "3.11"), ("DEBIAN=12", "3.11"), ("DEBIAN=13", "3.13")])
def test_a_debian_has_its_own_python(target: str, said: str, python: str) -> None:
    assert PYTHONS[python] == ("trixie" if python == "3.13" else "bookworm")
    alone = {"PATH": os.environ["PATH"]}  # nothing of a make that runs these tests
    words = ["make", "--dry-run", target, *said.split()]
    done = subprocess.run(words, cwd=PROJECT, env=alone, capture_output=True, text=True, check=True)
    assert f" --python '{python}' " in done.stdout


def test_the_shell_does_not_look_for_the_tests() -> None:
    words = ["make", "--dry-run", "arm-test", "TESTS=tests/*.py"]
    alone = {"PATH": os.environ["PATH"]}
    done = subprocess.run(words, cwd=PROJECT, env=alone, capture_output=True, text=True, check=True)
    assert " --tests 'tests/*.py' " in done.stdout


def test_all_tests_are_run_a_folder_at_a_time() -> None:
    found = units("tests", PROJECT)
    assert found[-1] == "tests/*.py" and "tests/core" in found and "tests/packaging" in found
    assert "tests/support" not in found  # nothing in it is a test
    assert units("tests/core,tests/core,tests/link", PROJECT) == ["tests/core", "tests/link"]


def test_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("gsrt")
    said = subprocess.run(["sha256sum", tmp_path / "file"], capture_output=True, text=True, check=True).stdout
    assert digest(tmp_path / "file") == said.split()[0]

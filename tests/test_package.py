"""What an installed gsrt consists of."""

from __future__ import annotations

import importlib.metadata
import os
import sysconfig
import tomllib
from pathlib import Path

import pytest

import gsrt

PROJECT = Path(__file__).parent.parent


def installed() -> importlib.metadata.Distribution:
    # not what a build leaves in the working tree, which comes first on the path
    for distribution in importlib.metadata.distributions(name="gsrt", path=[sysconfig.get_path("platlib")]):
        return distribution
    pytest.skip("gsrt is not installed here; `make test` installs it")


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gsrt.__version__"}
    assert f"## {gsrt.__version__} " in (PROJECT / "CHANGELOG.md").read_text()


def test_a_server_needs_nothing_but_python_what_compiles_scripts_and_what_contains_it() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    compiler, calls = project["project"]["dependencies"]
    assert compiler.startswith("RestrictedPython")  # which only a process that compiles a script loads
    assert calls.startswith("cffi")  # its small run-time part only, and that when a feature of it is asked for


def test_every_module_type_file_and_profile_is_installed_and_nothing_of_the_build() -> None:
    files = {str(path) for path in installed().files or () if path.parts[0] == "gsrt" and path.suffix != ".pyc"}
    wanted = {str(path.relative_to(PROJECT)) for path in (PROJECT / "gsrt").rglob("*.py")}
    wanted |= {str(path.relative_to(PROJECT)) for path in (PROJECT / "gsrt").rglob("*.pyi")}
    wanted |= {f"gsrt/firmware_profiles/{path.name}" for path in (PROJECT / "firmware_profiles").glob("*.toml")}
    wanted.add("gsrt/py.typed")
    compiled = {path for path in files if path.endswith(".so")}
    assert files - compiled == wanted
    assert {os.path.basename(path).partition(".")[0] for path in compiled} == {
        *(path.stem for path in (PROJECT / "gsrt").glob("*.pyx")),
        "_linux",  # made by cffi
    }


def test_compiled_modules_have_type_files() -> None:
    for source in (PROJECT / "gsrt").glob("*.pyx"):
        assert source.with_suffix(".pyi").is_file(), source.name


def test_no_generated_c_lies_in_the_package() -> None:
    assert not list((PROJECT / "gsrt").rglob("*.c"))

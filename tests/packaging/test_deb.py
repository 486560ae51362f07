"""The Debian package: what it says of itself, that it fits the project, and that its archive is always the same one."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from cross.targets import PYTHONS
from cross.workshop import PROJECT, Workshop
from deb import archive, build
from deb.build import FILES, PACKAGING, RESTRICTED_PYTHON, SCRIPTS, indented, put_modules
from deb.control import bundled_requirement, control_file, debian_version, glibc_dependency, python_dependency

DEB = PACKAGING / "deb"


@pytest.mark.parametrize(
    ("version", "debian"),
    [("0.1.0", "0.1.0"), ("0.2.0rc1", "0.2.0~rc1"), ("0.2.0.dev3", "0.2.0~dev3"), ("1.0a2", "1.0~a2")],
)
def test_what_comes_before_a_release_is_older_than_it(version: str, debian: str) -> None:
    assert debian_version(version) == debian


def test_the_pythons_are_those_of_the_project_that_debian_has() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert tuple(PYTHONS) == ("3.11", "3.13")
    assert python_dependency() == [
        "python3 (>= 3.11)",
        "python3 (<< 3.14)",
        "python3 (<< 3.12) | python3 (>= 3.13)",
    ]
    assert python_dependency(["3.11", "3.12"]) == ["python3 (>= 3.11)", "python3 (<< 3.13)"]


def test_what_pypi_has_to_give_is_brought_along_at_a_version_the_project_takes() -> None:
    name, _, version = RESTRICTED_PYTHON[0].partition("==")
    wanted = re.fullmatch(rf"{name}>=(\d+)\.\d+,<(\d+)", bundled_requirement(PROJECT))
    assert wanted is not None
    assert int(wanted[1]) <= int(version.partition(".")[0]) < int(wanted[2])


def test_a_dependency_nobody_thought_of_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["RestrictedPython>=9.0,<10", "aiohttp>=3"]\n')
    with pytest.raises(SystemExit, match="aiohttp>=3"):
        bundled_requirement(tmp_path)


def test_the_newest_symbol_decides_what_c_library_it_takes() -> None:
    assert glibc_dependency({"GLIBC_2.4", "GLIBC_2.17", "GLIBC_2.2.5"}) == "libc6 (>= 2.17)"


def test_the_control_file_is_one_paragraph_of_fields() -> None:
    lines = control_file("0.1.0", "armhf", 1234, "libc6 (>= 2.17)").splitlines()
    assert {"Package: gsrt", "Version: 0.1.0", "Architecture: armhf", "Installed-Size: 1234"} <= set(lines)
    assert all((re.match(r"[A-Z][A-Za-z-]+: \S| \S", line) and len(line) < 80) or "Depends" in line for line in lines)
    (depends,) = (line for line in lines if line.startswith("Depends: "))
    assert "libsodium23" in depends and "openssl" in depends and "libc6 (>= 2.17)" in depends
    assert ", procps, " in depends, "the unit's /bin/kill"


def test_every_file_the_package_is_made_of_is_there() -> None:
    for source in (*FILES, *(f"deb/{script}" for script in SCRIPTS)):
        assert (PACKAGING / source).is_file(), source


def test_the_unit_and_the_package_mean_the_same_places() -> None:
    unit = (PACKAGING / "systemd" / "gsrt.service").read_text()
    places = {place for place, _ in FILES.values()}
    assert set(re.findall(r"^Exec\w+=\+?(/usr\S+)", unit, re.MULTILINE)) <= places
    assert "/etc/gsrt/gsrt.toml" in unit and "/etc/gsrt/gsrt.toml" in places
    for script in SCRIPTS:
        for word in re.findall(r"\bgsrt\.(?:service|socket)\b", (DEB / script).read_text()):
            assert f"/usr/lib/systemd/system/{word}" in places
    assert "systemd-sysusers gsrt.conf" in (DEB / "postinst").read_text()
    assert "/usr/lib/sysusers.d/gsrt.conf" in places


@pytest.mark.parametrize("name", [*SCRIPTS, "gsrt.rtupdate"])
def test_scripts_are_for_any_shell(name: str) -> None:
    text = (DEB / name).read_text()
    assert text.startswith("#!/bin/sh\n") and "\nset -e\n" in text
    subprocess.run(["sh", "-n", DEB / name], check=True)


def test_the_command_finds_its_modules_by_the_package_alone() -> None:
    assert '"/usr/lib/gsrt"' in (DEB / "gsrt").read_text()
    assert (DEB / "gsrt").read_text().startswith("#!/usr/bin/python3 -I\n")


def test_modules_for_several_pythons_lie_side_by_side(tmp_path: Path) -> None:
    contents = []
    for tag in ("311", "313"):
        folder = tmp_path / tag
        archive.put(folder, "gsrt/__init__.py", "same")
        archive.put(folder, f"gsrt/_core.cpython-{tag}-x.so", tag)
        contents.append(folder)
    put_modules(tmp_path / "root", contents)
    found = {str(path.relative_to(tmp_path / "root")) for path in archive.payload(tmp_path / "root")}
    assert found == {
        "usr/lib/gsrt/gsrt/__init__.py",
        "usr/lib/gsrt/gsrt/_core.cpython-311-x.so",
        "usr/lib/gsrt/gsrt/_core.cpython-313-x.so",
    }
    (tmp_path / "313" / "gsrt" / "__init__.py").write_text("another")
    with pytest.raises(SystemExit, match="not the same for every Python"):
        put_modules(tmp_path / "root", contents)


def test_what_is_built_a_second_time_is_built_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "again" / "wheels"
    left.mkdir(parents=True)
    seen: list[bool] = []

    class Nowhere:
        """Builds nothing."""

        def __init__(self, workshop: Workshop, jobs: int) -> None:
            self.workshop = workshop

        def prepare(self) -> None:
            seen.append(left.exists())

    monkeypatch.setattr(build, "WORK", tmp_path)
    monkeypatch.setattr(build, "Builder", Nowhere)
    monkeypatch.setattr(build, "named", lambda machines: ())
    monkeypatch.setattr("sys.argv", ["make debs"])
    build.main()
    monkeypatch.setattr("sys.argv", ["make debs", "--twice"])
    build.main()
    assert seen == [True, True, False]


def small_package(root: Path) -> Path:
    archive.clear(root)
    archive.put(root, "/usr/bin/tool", "#!/bin/sh\n", 0o755)
    archive.put(root, "/usr/share/doc/tool/news.gz", archive.compressed(b"news\n" * 1000))
    archive.put(root, "/etc/tool/tool.toml", "port = 1\n")
    size = archive.installed_kilobytes(root)
    archive.put(root, "DEBIAN/md5sums", archive.md5sums(root))
    archive.put(root, "DEBIAN/conffiles", archive.conffiles(root))
    archive.put(root, "DEBIAN/control", control_file("0.1.0", "all", size, "libc6"))
    return root


def test_folders_of_documents_are_copied_whole(tmp_path: Path) -> None:
    archive.put(tmp_path, "from/a/b.txt", "b", 0o600)
    archive.put_copy(tmp_path, "/to", tmp_path / "from")
    assert (tmp_path / "to/a/b.txt").read_text() == "b"
    assert (tmp_path / "to/a/b.txt").stat().st_mode & 0o777 == 0o644


def test_licences_are_a_field_of_several_lines() -> None:
    assert indented("One\n\nTwo  \n") == " One\n .\n Two"


def test_conffiles_and_sums_name_what_is_installed(tmp_path: Path) -> None:
    root = small_package(tmp_path / "root")
    assert archive.conffiles(root) == "/etc/tool/tool.toml\n"
    lines = archive.md5sums(root).splitlines()
    assert [line.split("  ")[1] for line in lines] == [
        "etc/tool/tool.toml",
        "usr/bin/tool",
        "usr/share/doc/tool/news.gz",
    ]
    sums = subprocess.run(["md5sum", "usr/bin/tool"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert sums.strip() in lines
    assert gzip.decompress((root / "usr/share/doc/tool/news.gz").read_bytes()) == b"news\n" * 1000


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
def test_the_same_files_are_the_same_archive(tmp_path: Path) -> None:
    made = []
    for number, place in enumerate(("here", "there")):
        root = small_package(tmp_path / place)
        before = os.umask(0o027 if number else 0o022)
        try:
            archive.build(root, tmp_path / f"{place}.deb", 1_700_000_000)
        finally:
            os.umask(before)
        made.append((tmp_path / f"{place}.deb").read_bytes())
    assert made[0] == made[1]
    told = ["dpkg-deb", "--show", "--showformat=${Package} ${Version}", str(tmp_path / "here.deb")]
    assert subprocess.run(told, capture_output=True, text=True, check=True).stdout == "gsrt 0.1.0"
    listed = subprocess.run(
        ["dpkg-deb", "--contents", tmp_path / "here.deb"], capture_output=True, text=True, check=True
    )
    assert all(line.split()[1] == "root/root" for line in listed.stdout.splitlines())

"""Scripts compiled in a process of their own."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import psutil
import pytest

from gsrt.scripts import compiling
from gsrt.scripts.compiler import compile_script
from gsrt.scripts.compiling import Compiler, HostError, stamp_of

LIMIT = 65536


def written(folder: Path, source: str | bytes, name: str = "game.py") -> str:
    path = folder / name
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return str(path)


def test_the_same_as_in_this_process(tmp_path: Path) -> None:
    source = "def f(x):\n    return [y * 2 for y in x if y in known]\nknown = {1: 'a'}\n"
    path = written(tmp_path, source)
    made, stamp = Compiler().compile_file(path, LIMIT)
    here = compile_script(source, "game.py")
    assert (made.code, made.filename, made.digest) == (here.code, "game.py", here.digest)
    assert stamp == stamp_of(path)


def test_warnings_come_along(tmp_path: Path) -> None:
    made, _ = Compiler().compile_file(written(tmp_path, "print(scroe)\n"), LIMIT)
    assert [str(each) for each in made.warnings] == [
        str(each) for each in compile_script("print(scroe)\n", "game.py").warnings
    ]
    assert "scroe" in str(made.warnings[0])


def test_all_problems_come_along(tmp_path: Path) -> None:
    with pytest.raises(HostError) as refused:
        Compiler().compile_file(written(tmp_path, "import os\nx = y._z\n"), LIMIT)
    first, second = str(refused.value).splitlines()
    assert first.startswith("game.py:1:1: import is not available")
    assert second.startswith("game.py:2:")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file"):
        Compiler().compile_file(str(tmp_path / "none.py"), LIMIT)
    with pytest.raises(HostError, match="Is a directory"):
        Compiler().compile_file(str(tmp_path), LIMIT)


def test_too_long_a_file(tmp_path: Path) -> None:
    assert Compiler().compile_file(written(tmp_path, "#" * LIMIT), LIMIT)
    with pytest.raises(HostError, match="65,536 are allowed"):
        Compiler().compile_file(written(tmp_path, "#" * (LIMIT + 1)), LIMIT)


@pytest.mark.parametrize("name", ['a "quoted" name.py', "back\\slash.py", "new\nline.py", "ünïcode.py"])
def test_names_of_any_kind(tmp_path: Path, name: str) -> None:
    made, _ = Compiler().compile_file(written(tmp_path, "x = 1\n", name), LIMIT)
    assert made.filename == name


def test_a_source_that_makes_the_compiler_take_much(tmp_path: Path) -> None:
    """Constant folding makes hundreds of MB of 64 KB; the server's own memory stays as it is."""
    big = "'\U0001f600' * 4096" + " + 'a'" * 60
    source = "".join(f"x{number} = {big}\n" for number in range(150))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        Compiler().compile_file(written(tmp_path, source[:LIMIT].rpartition("\n")[0]), LIMIT)
    except HostError as refused:
        assert "shorten" in str(refused) or "Split" in str(refused)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KB


def test_too_much_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "x = 'a'\n")
    monkeypatch.setattr(compiling, "CODE_BYTES_MAX", 10)
    with pytest.raises(HostError, match="shorten its constants"):
        Compiler().compile_file(path, LIMIT)


def test_a_compiler_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "SECONDS_MAX", 0.0)
    with pytest.raises(HostError, match="it is not compiled after 0 seconds"):
        Compiler().compile_file(written(tmp_path, "x = 1\n"), LIMIT)


def test_a_compiler_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(HostError, match="ended without a result"):
        Compiler().compile_file(written(tmp_path, "x = 1\n"), LIMIT)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """No child, no descriptor."""
    before = set(os.listdir("/proc/self/fd"))
    children = set(psutil.Process().children())  # what works beside the tests
    for source in ("x = 1\n", "import os\n"):
        try:
            Compiler().compile_file(written(tmp_path, source), LIMIT)
        except HostError:
            pass
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert set(psutil.Process().children()) <= children


def test_the_child_inherits_nothing(tmp_path: Path) -> None:
    """What the server keeps inheritable for its own restart is not the compiler's."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        Compiler().compile_file(written(tmp_path, "x = 1\n"), LIMIT)
        os.close(writer)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)

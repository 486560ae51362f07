"""`gsrt script check`: every reason why a script would be refused, with its place, at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.server import GENERIC_PROFILE

GOOD = "@session.on_packet(5)\ndef handler(packet):\n    return False\n"
BAD = "import random\nx = 1\n\n\ndef f(y):\n\treturn y._hidden\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's scripts are: the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_good_script_is_ok(gsrt: Run, folder: Path) -> None:
    (folder / "good.py").write_text(GOOD)
    outcome = gsrt("script", "check", "good.py")
    assert (outcome.status, outcome.out, outcome.err) == (0, "good.py: ok\n", "")


def test_every_problem_of_every_file_is_shown_with_its_place(gsrt: Run, folder: Path) -> None:
    (folder / "good.py").write_text(GOOD)
    (folder / "bad.py").write_text(BAD)
    (folder / "worse.py").write_text("x = 'äöü'; y = x.mro()\n")
    outcome = gsrt("script", "check", "bad.py", "good.py", "worse.py", "nowhere.py")
    assert outcome.status == 1
    assert outcome.out == (
        "bad.py:1:1: import is not available. Write `session.random`.\n"
        "    import random\n"
        "    ^\n"
        "bad.py:6:11: the attribute `_hidden` begins with an underscore. Write `.hidden_`.\n"
        "     return y._hidden\n"
        "              ^\n"
        "good.py: ok\n"
        "worse.py:1:18: the attribute `mro` is not available. Choose another name.\n"
        "    x = 'äöü'; y = x.mro()\n"
        "                     ^\n"
        "nowhere.py: cannot be read: No such file or directory\n"
    )


def test_what_nothing_defines_is_a_warning(gsrt: Run, folder: Path) -> None:
    (folder / "odd.py").write_text("def f():\n    return nothing\n")
    outcome = gsrt("script", "check", "odd.py")
    assert outcome.status == 0
    first, source, caret, last = outcome.out.splitlines()
    assert first.startswith("odd.py:2:12: warning: nothing defines the name `nothing`. ")
    assert (source, caret, last) == ("        return nothing", "               ^", "odd.py: ok")


def test_mistakes_in_the_language_are_problems_too(gsrt: Run, folder: Path) -> None:
    (folder / "odd.py").write_text("def f(:\n    pass\n")
    outcome = gsrt("script", "check", "odd.py")
    assert outcome.status == 1
    assert outcome.out.startswith("odd.py:1:7: this is not Python: invalid syntax. ")


def test_a_place_far_to_the_right_is_shown(gsrt: Run, folder: Path) -> None:
    (folder / "wide.py").write_text("x = [" + "1, " * 50 + "x.mro]\n")
    _, source, caret = gsrt("script", "check", "wide.py").out.splitlines()
    assert len(source) <= 104
    assert source[caret.index("^") :].startswith("mro")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_end(gsrt: Run, folder: Path, ending: str) -> None:
    (folder / "bad.py").write_text(ending.join(["\ufeff# \f \u2028", "y = 1", "import z"]), newline="")
    _, source, caret = gsrt("script", "check", "bad.py").out.splitlines()
    assert (source, caret) == ("    import z", "    ^")


def test_what_a_terminal_would_obey_is_not_passed_on(gsrt: Run, folder: Path) -> None:
    (folder / "e\x1b[2J.py").write_text("x = '\x1b[2J'.mro()\n")
    outcome = gsrt("script", "check", "e\x1b[2J.py")
    assert "\x1b" not in outcome.out
    assert outcome.out.startswith("e\\x1b[2J.py:1:12: ")


def test_a_script_is_as_long_as_the_profile_allows(gsrt: Run, folder: Path) -> None:
    (folder / "long.py").write_text("# " + "x" * 5000)
    assert gsrt("script", "check", "long.py").status == 0
    profile = GENERIC_PROFILE.read_text().replace("script_source_bytes = 65536", "script_source_bytes = 4096")
    (folder / "small.toml").write_text(profile)
    outcome = gsrt("script", "check", "long.py", "--profile", "small.toml")
    assert outcome.status == 1
    assert "the script has 4,097 bytes; at most 4,096 are allowed" in outcome.out
    assert "at most 65,536" in gsrt("script", "check", "/dev/zero").out


def test_a_profile_that_does_not_exist_is_named(gsrt: Run) -> None:
    outcome = gsrt("script", "check", "x.py", "--profile", "pdp11")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("gsrt: there is no profile 'pdp11'")


def test_json_for_programs(gsrt: Run, folder: Path) -> None:
    (folder / "bad.py").write_text("import random\n")
    (folder / "odd.py").write_text("nothing\n")
    outcome = gsrt("script", "check", "--json", "bad.py", "odd.py", "nowhere.py")
    assert outcome.status == 1
    bad, odd, nowhere = json.loads(outcome.out)["files"]
    assert bad == {
        "file": "bad.py",
        "ok": False,
        "problems": [{"line": 1, "column": 1, "what": "import is not available", "instead": "Write `session.random`"}],
        "warnings": [],
    }
    assert (odd["ok"], odd["problems"], odd["warnings"][0]["line"]) == (True, [], 1)
    assert nowhere["problems"] == [
        {"line": 0, "column": 0, "what": "cannot be read: No such file or directory", "instead": ""}
    ]


def test_what_is_nested_deep_is_judged_and_not_a_crash(gsrt: Run, folder: Path) -> None:
    (folder / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    (folder / "deeper.py").write_text("x = " + "-" * 30000 + "1")
    outcome = gsrt("script", "check", "deep.py", "deeper.py")
    assert outcome.status == 1
    assert len([line for line in outcome.out.splitlines() if line.startswith("deep")]) == 2


def test_a_file_is_needed(gsrt: Run) -> None:
    assert gsrt("script", "check").status == 2

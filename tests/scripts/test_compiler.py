"""Sources are read and compiled, or refused; nothing else comes of any source."""

from __future__ import annotations

import subprocess
import sys
import traceback
import warnings
from types import CodeType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from gsrt._guard import builtins, guards
from gsrt._meter import Account, Meter
from gsrt.scripts.compiler import Compiled, Problem, Refused, compile_script


def problem(source: str | bytes, **limits: int) -> Problem:
    """The only problem that the source has."""
    with pytest.raises(Refused) as refused:
        compile_script(source, "ships.py", **limits)
    (found,) = refused.value.problems
    return found


def place(source: str | bytes) -> tuple[int, int]:
    found = problem(source)
    return found.line, found.column


def test_what_comes_of_a_source() -> None:
    compiled = compile_script("x = 1\ny = x\n", "ships.py")
    assert compiled.filename == compiled.code.co_filename == "ships.py"
    assert compiled.lines[:2] == ["x = 1", "y = x"]
    assert compiled.warnings == []
    assert len(compiled.digest) == 16
    assert compiled.digest == compile_script(b"x = 1\ny = x\n", "other.py").digest
    assert compiled.digest != compile_script("x = 2\ny = x\n", "ships.py").digest


def test_a_problem_says_where_what_and_what_instead() -> None:
    found = problem("x = 1\nx._y")
    assert (found.filename, found.line, found.column) == ("ships.py", 2, 3)
    assert str(found) == "ships.py:2:3: the attribute `_y` begins with an underscore. Write `.y_`."
    with pytest.raises(Refused, match=r"(?s)ships.py:1:1: .*\nships.py:2:1: "):
        compile_script("import os\n_a", "ships.py")


def test_texts_of_all_kinds_are_read() -> None:
    for source in (
        b"",
        b"\n",
        b"# only this",
        b"\xef\xbb\xbfx = 1",
        "\ufeffx = 1",
        b"x = 1\r\ny = 2\rz = 3",
        "é = 'ü'",
    ):
        assert isinstance(compile_script(source, "ships.py"), Compiled)
    for line in ("# -*- coding: utf-8 -*-", "# vim: set fileencoding=UTF_8 :", "x = 'coding: latin-1'", "# coding"):
        compile_script(line + "\n", "ships.py")


def test_lines_end_where_python_ends_them() -> None:
    # Form feeds, separators and U+2028 are within a line.
    assert place("x = '\u2028\x0b\x1c\x85'\n\f\nx._y") == (3, 3)
    assert place("\fx = 1\nx = '\u2028'; x._y") == (2, 12)


def test_what_is_no_text_is_refused() -> None:
    assert place(b"x = 1\n\xff") == (2, 1)
    assert place("x = 1\n\0") == (2, 1)
    assert place("x = '\ud800'") == (1, 1)
    assert place("#!\n# coding: latin-1\nx = 1") == (2, 1)
    assert place("x = 1\ry = (\r") == (2, 5)
    assert "latin-1" in problem("# -*- coding: latin-1 -*-").what


def test_the_size_is_limited() -> None:
    compile_script("x" * 10, "ships.py", source_bytes_max=10)
    assert "at most 10" in problem("x" * 11, source_bytes_max=10).what
    assert "11 bytes" in problem("é" * 5 + "x", source_bytes_max=10).what


def test_what_is_no_python_is_refused() -> None:
    assert place("x = 1\nif x\n  y") == (2, 5)
    assert place("x = (") == (1, 5)
    assert place("return 1") == (1, 1)
    assert place("def f():\n  x = 1\n  global x") == (3, 3)
    assert place("x = 'é' +") == (1, 10)
    assert "too long" in problem("x = " + "9" * 5000).what


NESTED = {
    "brackets": "x=" + "(" * 150 + "1" + ")" * 150,
    "displays": "x=" + "[" * 100 + "]" * 100,
    "many brackets": "x=" + "(" * 20000,
    "signs": "x=" + "-" * 60000 + "1",
    "nots": "x=" + "not " * 10000 + "1",
    "sums": "x=" + "1+" * 30000 + "1",
    "powers": "x=" + "1**" * 10000 + "1",
    "calls": "x=a" + "()" * 30000,
    "attributes": "x=a" + ".a" * 30000,
    "conditions": "x=" + "a if b else " * 5000 + "1",
    "branches": "if a: b\n" + "elif a: b\n" * 5000,
    "lambdas": "x=" + "lambda:" * 9000 + "1",
    "functions": "".join(" " * level + "def f():\n" for level in range(50)) + " " * 50 + "pass",
    "blocks": "".join(" " * level + "if a:\n" for level in range(200)) + " " * 200 + "pass",
    "finally": "".join(" " * level + "try: a\n" + " " * level + "finally:\n" for level in range(19)) + " " * 19 + "b",
    "ways out": "def f():\n try:\n" + "  if a: return\n" * 1500 + " finally:\n" + "  b()\n" * 3000,
    "comprehensions": "x=" + "[a for a in " * 100 + "b" + "]" * 100,
    "texts": "x=" + "f'{" * 100 + "1" + "}'" * 100,
}


@pytest.mark.parametrize("name", NESTED)
def test_what_is_nested_too_deeply_is_refused(name: str) -> None:
    problem(NESTED[name])


def test_brackets_in_texts_and_comments_do_not_count() -> None:
    compile_script("x = '" + "(" * 500 + "'\n# " + "[" * 500 + "\ny = '''\n" + "{\n" * 500 + "'''", "ships.py")


def test_honest_depth_is_taken() -> None:
    branches = "if a == 0: b\n" + "".join(f"elif a == {n}: b\n" for n in range(100))
    compile_script(branches, "ships.py")
    compile_script("x = " + " + ".join(["a"] * 120), "ships.py")
    compile_script("x = p" + ".set_number(1, 2)" * 50, "ships.py")
    tries = "def f():\n for i in a:\n  try:\n   if i: return i\n   continue\n  finally:\n" + "   b()\n" * 200
    compile_script(tries, "ships.py")


def test_what_python_warns_of_is_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compile_script("x = 1\ny = x is 'a'\nz = '\\d'\n", "ships.py").warnings
    assert [warning.line for warning in found] == [2, 3]


def test_future_statements_of_the_server_do_not_reach_scripts() -> None:
    flags = sys.modules["__future__"].annotations.compiler_flag if "__future__" in sys.modules else 0x1000000
    assert not compile_script("x = 1", "ships.py").code.co_flags & flags


SOURCE = """\
def on_packet(packet):
    total = 0
    for n in (
        packet,
        3,
    ):
        total += n
    values = [
        total
        *
        other(n),
    ]
    return values

def other(n):
    try:
        return {}[
            n]
    finally:
        table = {
            "x":
                n % 2 < n}
        table["x"] += 1
        table["y"] *= 2
on_packet(1)
"""


def test_tracebacks_name_the_lines_of_the_source() -> None:
    meter = Meter()
    space = {"__builtins__": {**builtins(meter), **guards(meter)}, "__name__": "script"}
    with pytest.raises(KeyError) as caught:
        meter.call(Account(), exec, compile_script(SOURCE, "ships.py").code, space)
    frames = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename == "ships.py"]
    assert [(frame.lineno, frame.name) for frame in frames] == [(25, "<module>"), (11, "on_packet"), (24, "other")]


def test_all_lines_of_the_code_are_lines_of_the_source() -> None:
    def lines(code: CodeType) -> set[int]:
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        own = {line for _, _, line in code.co_lines() if line is not None}
        return own.union(*map(lines, inner))

    plain = lines(compile(SOURCE, "ships.py", "exec"))
    assert lines(compile_script(SOURCE, "ships.py").code) - {0} <= plain | set(range(1, 26))
    assert plain - {0} <= lines(compile_script(SOURCE, "ships.py").code)


def test_the_server_loads_none_of_it_for_the_names() -> None:
    code = "import sys, gsrt.scripts.compiler, gsrt.scripts.names; print(*{'ast', 'RestrictedPython'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


PIECES = some.sampled_from(
    [
        *(
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ":",
            ",",
            ".",
            "=",
            ":=",
            "+",
            "*",
            "**",
            "@",
            "%",
            "<",
            "==",
            "not ",
            "in ",
            "if ",
        ),
        *(
            "else ",
            "for ",
            "while ",
            "def f",
            "class C",
            "lambda ",
            "return ",
            "try:",
            "except ",
            "finally:",
            "as ",
            "\n",
        ),
        *(
            "\n  ",
            "\n    ",
            "x",
            "_",
            "__a",
            "super()",
            "1",
            "'",
            '"',
            "f'",
            '"""',
            "{x!r}",
            "\\",
            "#",
            "\0",
            "\r",
            "async ",
        ),
        *(
            "await ",
            "yield ",
            "with ",
            "match ",
            "case ",
            "import ",
            "from ",
            "del ",
            "global ",
            "é",
            "\uff3f",
            "1e999",
            "1j",
            ";",
        ),
    ]
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(some.lists(PIECES, max_size=30).map("".join) | some.text(max_size=60) | some.binary(max_size=60))
def test_any_source_is_compiled_or_refused(source: str | bytes) -> None:
    try:
        compiled = compile_script(source, "ships.py")
    except Refused as refused:
        assert refused.problems
        assert all(problem.line >= 1 and problem.column >= 1 for problem in refused.problems)
    else:
        assert compiled.code.co_filename == "ships.py"


def test_what_takes_too_long_to_compile_is_refused() -> None:
    assert "60,000" in problem("x = [" + "a," * 32000 + "]").what
    assert "2,000" in problem("def f(): pass\n" * 2001).what
    assert "2,000" in problem("x = [a for a in b]\n" * 2001).what
    compile_script("def f(): pass\n" * 2000, "ships.py")
    compile_script("x = [" + "1," * 30000 + "]", "ships.py")


def test_a_call_takes_no_more_room_than_can_be_afforded() -> None:
    targets = ", ".join(f"a{n}" for n in range(600))
    found = problem(f"def g(): pass\ndef f(t):\n    {targets} = t\n")
    assert (found.line, found.column) == (2, 1)
    assert "500 names" in found.what
    assert "500 names" in problem("def f(n):\n  " + " = ".join(f"a{n}" for n in range(600)) + " = n").what
    assert "500 names" in problem("a," * 600 + "= b").what
    compile_script(f"def f(t): return [{targets}]", "ships.py")

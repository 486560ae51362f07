"""The guarded built-in functions and `math`: plain Python's results on ordinary values, each limit, hostile use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt._guard import EXCEPTIONS, builtins, guards
from gsrt._meter import Exceeded, Meter

FUNCTIONS = frozenset((
    "abs", "all", "any", "bool", "bytes", "callable", "chr", "dict", "divmod", "enumerate", "filter", "float", "hex",
    "int", "isinstance", "len", "list", "map", "max", "min", "ord", "pow", "range", "repr", "reversed",
    "round", "set", "sorted", "str", "sum", "tuple", "zip",
))
MATH = frozenset((
    "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "sqrt", "exp", "log", "log2", "log10",
    "hypot", "dist", "degrees", "radians", "floor", "ceil", "trunc", "fabs", "fmod", "copysign", "isnan", "isinf",
    "isfinite", "isclose", "gcd", "isqrt", "fsum", "cbrt", "pow", "pi", "e", "tau", "inf", "nan",
))
METER = Meter(gas=200_000, cpu_ms=5_000)
GUARDS: dict[str, Any] = guards(METER)
NAMES: dict[str, Any] = builtins(METER)
PLAIN: dict[str, Any] = {name: getattr(__import__("builtins"), name) for name in NAMES if name != "math"}


def run(source: str, *arguments: Any) -> Any:
    module: dict[str, Any] = {"__builtins__": {**GUARDS, **NAMES}, "__name__": "script"}
    METER.call(None, exec, compile(source, "script.py", "exec"), module)
    return METER.call(None, module["function"], *arguments)


def value(expression: str, *arguments: Any) -> Any:
    """Of an expression over a, b and c."""
    return run(f"def function({', '.join('abc'[: len(arguments)])}):\n return {expression}", *arguments)


def plainly(expression: str, *arguments: Any) -> Any:
    """The same in plain Python, with lists where it has iterators."""
    listed: dict[str, Callable[..., Any]] = {
        name: (lambda *given, made=PLAIN[name], **named: list(made(*given, **named)))
        for name in ("map", "filter", "zip", "enumerate", "reversed")
    }
    names = {"__builtins__": {**PLAIN, **listed, "math": math}}
    return eval(f"lambda {', '.join('abc'[: len(arguments)])}: {expression}", names)(*arguments)


def agree(expression: str, *arguments: Any) -> None:
    try:
        expected = plainly(expression, *arguments)
    except Exception as error:
        kinds = (TypeError, ValueError,
            OverflowError) if "math." in expression else type(error)     # which argument is looked at first
        with pytest.raises(kinds):
            value(expression, *arguments)
        return
    got = value(expression, *arguments)
    assert type(got) is type(expected)
    assert repr(got) == repr(expected)


@pytest.mark.parametrize("expression", [
    "abs(-5)", "abs(-1.5)", "abs('x')", "abs()", "abs(1, 2)",
    "all([])", "all([1, 0])", "any([0, ''])", "any((0, 1))", "all(5)", "any({1: 2})",
    "bool()", "bool([])", "bool('x')", "bytes()", "bytes([1, 255])", "bytes([256])", "bytes([-1])", "bytes(b'x')",
    "bytes('é', 'utf-8')", "bytes(['a'])", "bytes((1, 2))",
    "callable(len)", "callable(5)", "chr(97)", "chr(-1)", "chr(2000000)", "chr('a')", "ord('a')", "ord('ab')", "ord(5)",
    "dict()", "dict({1: 2})", "dict([(1, 2), [3, 4]])", "dict(a=1, self=2, source=3)", "dict({1: 2}, b=3)",
    "dict(zip('ab', [1, 2]))",
    "divmod(7, 2)", "divmod(-7.5, 2)", "divmod(1, 0)", "divmod('a', 1)",
    "enumerate('ab')", "enumerate(['x'], 5)", "enumerate(['x'], start=-2)", "enumerate(5)", "enumerate([1], 'a')",
    "filter(None, [0, 1, '', 'x'])", "filter(lambda x: x > 1, [1, 2, 3])", "filter(None, 5)", "filter(5, [1])",
    "float()", "float('1.5')", "float(' -inf ')", "float('x')", "float(True)", "float(None)", "float(b'1')",
    "float(10 ** 400)",
    "hex(255)", "hex(-1)", "hex(1.5)", "int()", "int('12')", "int(' -7 ')", "int('ff', 16)", "int('0x1f', 0)",
    "int('z', 36)", "int('1', 37)", "int('1', 1)", "int(2.9)", "int(-2.9)",
    "int('1_000')", "int('x')", "int(float('nan'))", "int(float('inf'))", "int(None)", "int([])", "int(5, 10)",
    "int('5', '10')", "int(b'7')", "int(True)",
    "len('abc')", "len([])", "len({1: 2})", "len(5)", "len(range(7))", "list()", "list('ab')", "list({1: 2})",
    "list(range(3))", "list(5)", "list(None)",
    "map(abs, [-1, 2])", "map(lambda a, b: a + b, [1, 2], (10, 20, 30))", "map(abs, 5)", "map(5, [1])",
    "map(len, ['a'], ['b'])", "map(str, [1, 2])",
    "max(1, 2)", "max([3, 1])", "max('b', 'a')", "max([])", "max([], default=7)", "max(1, 2, default=3)",
    "max(1, 'a')", "max([1, -5], key=abs)", "max(-3, 2, key=abs)", "max(1)", "max()",
    "min(1, 2)", "min(1.0, 1)", "min(1, 1.0)", "min([[2], [1, 5]])", "min((), default=None)", "min('cab')",
    "min([1, 2, 3], key=lambda x: -x)", "min([(1, 'b'), (1, 'a')])", "min({3, 1})",
    "pow(2, 10)", "pow(2, -1)", "pow(3, 100, 7)", "pow(3, -1, 7)", "pow(2, 3, 0)", "pow(2.0, 3, 5)", "pow('a', 2)",
    "pow(base=2, exp=3)",
    "range(3)", "range(1, 5)", "range(5, 1, -2)", "range(0)", "range(1, 2, 0)", "range(1.5)", "range()",
    "range(100000)", "range(10**9, 10**9 + 5)",
    "repr('a')", "repr(1.5)", "reversed([1, 2])", "reversed('ab')", "reversed((1,))", "reversed({1: 2, 3: 4})",
    "reversed(range(3))", "reversed({1})", "reversed(5)",
    "round(2.5)", "round(2.567, 2)", "round(1234, -2)", "round(5, 3)", "round(True)", "round('a')", "round(1.5, 'a')",
    "round(float('nan'))", "round(1.5, None)", "round(number=2.5, ndigits=1)",
    "set()", "set('aa')", "set([1, 2, 1])", "set(5)", "set([[1]])", "set({1: 2})", "sorted([2, 1])",
    "sorted('ba', reverse=True)", "sorted({2: 1, 1: 1})", "sorted([1, 'a'])", "sorted(5)", "sorted([2, 1], None)",
    "str()", "str(5)", "str('x')", "str(1.5)", "str(None)", "str([1, 'a'])", "str(b'a', 'ascii')", "str('a', 'utf-8')",
    "str(True)", "str(-(10 ** 300))",
    "sum([])", "sum([1, 2.5])", "sum((0.1,) * 10)", "sum([1], 5)", "sum([1], start=2)", "sum([[1], [2]], [])",
    "sum([(1,), (2, 3)], ())", "sum(['a'], '')", "sum(['a'])", "sum([True, 2])", "sum({1: 2, 3: 4})",
    "sum([1e308, 1e308])", "sum(5)", "sum([None])",
    "tuple()", "tuple([1, 2])", "tuple('ab')", "tuple((1,))", "tuple(5)", "tuple({1: 2})",
    "zip()", "zip([1, 2], 'ab')", "zip([1], [])", "zip([1, 2], [3], strict=True)", "zip([1], [2], strict=True)",
    "zip(5)", "zip([1, 2], [(1, 2), (3, 4)])",
    "isinstance(1, int)", "isinstance(True, int)", "isinstance(True, bool)", "isinstance(1, bool)",
    "isinstance(1.0, (int, float))", "isinstance('a', (int, list))", "isinstance([], list)",
    "isinstance(ValueError(), Exception)",
    "isinstance(KeyError(), (LookupError, int))", "isinstance(1, 5)", "isinstance(1, (5,))", "isinstance((), tuple)",
    "isinstance({}, dict)", "isinstance({1}, set)", "isinstance(b'', bytes)", "isinstance(range(2), range)",
])
def test_results_are_those_of_python(expression: str) -> None:
    agree(expression)


@given(st.lists(st.one_of(st.integers(), st.floats(allow_nan=False)), max_size=20))
@settings(max_examples=60, deadline=None)
def test_numbers_in_lists(a: list[Any]) -> None:
    for expression in ("sum(a)", "max(a, default=0)", "min(a, default=0)", "list(a)", "tuple(a)", "reversed(a)",
        "enumerate(a)", "zip(a, a)", "map(abs, a)", "filter(None, a)", "any(a)", "all(a)",
                       "str(a)", "sorted(a)"):
        agree(expression, a)


@given(st.one_of(st.integers(-(2**100), 2**100), st.floats()), st.one_of(st.integers(-(2**100), 2**100), st.floats()),
    st.integers(-12, 12))
@settings(max_examples=100, deadline=None)
def test_numbers(a: Any, b: Any, c: int) -> None:
    for expression in ("divmod(a, b)", "round(a)", "round(a, c)", "int(a)", "float(a)", "max(a, b)", "min(b, a)",
        "abs(a)", "str(a)", "bool(a)", "sum([a, b], c)", "hex(c)"):
        agree(expression, a, b, c)


@pytest.mark.parametrize("call", [f"{name}(a)" for name in (
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sqrt", "exp", "log", "log2", "log10",
    "hypot", "degrees", "radians", "floor", "ceil", "trunc", "fabs", "isnan", "isinf",
    "isfinite", "gcd", "isqrt", "cbrt")] + [f"{name}(a, b)" for name in ("atan2", "fmod", "copysign", "isclose", "pow",
    "hypot", "gcd", "log")] + ["fsum([a, b])", "dist([a, b], (b, a))", "dist([a], [a, b])", "fsum(a)"])
def test_math_is_that_of_python(call: str) -> None:
    for a in (0.5, 2, -1.5, 0, True, 10**300, float("nan"), float("inf"), "x", None, [1], 1 << 2000):
        for b in (1.5, 3, "x"):
            agree(f"math.{call}", a, b)


def test_math_is_frozen_and_has_nothing_else() -> None:
    namespace = NAMES["math"]
    assert {name for name in dir(namespace) if not name.startswith("_")} == set(MATH)
    assert (namespace.pi, namespace.e, namespace.tau, namespace.inf) == (math.pi, math.e, math.tau, math.inf)
    assert math.isnan(namespace.nan)
    with pytest.raises(AttributeError):
        namespace.sin = 1
    with pytest.raises(AttributeError):
        del namespace.sin
    with pytest.raises(AttributeError):
        namespace.other = 1
    for expression in ("math.factorial(5)", "math.os", "math.comb(1, 1)"):
        with pytest.raises(AttributeError):
            value(expression)


def test_names_are_complete_and_give_nothing_away() -> None:
    expected = FUNCTIONS | {"math"}
    assert set(NAMES) == expected | {kind.__name__ for kind in EXCEPTIONS}
    assert all(NAMES[kind.__name__] is kind for kind in EXCEPTIONS)
    for name in expected - {"math"}:
        function = NAMES[name]
        assert repr(function) == f"<function {name}>"
        assert [attribute for attribute in dir(function) if not attribute.startswith("_")] == []
        with pytest.raises(TypeError):
            type(function)()
        with pytest.raises(TypeError):
            type("Sub", (type(function),), {})
        with pytest.raises(AttributeError):
            function.x = 1
    with pytest.raises(TypeError):
        value("len | str")
    with pytest.raises(TypeError):
        value("list[int]")
    with pytest.raises(AttributeError):
        value("dict.fromkeys([1])")


def test_exceptions_of_the_server_can_be_asked_for() -> None:
    class QuotaError(RuntimeError):
        pass

    assert value("isinstance(a, b)", QuotaError(), QuotaError)


@pytest.mark.parametrize(("expression", "smaller"), [
    ("range(100001)", "range(100000)"), ("range(10**10)", "range(0, 10**10, 10**5)"),
    ("list('x' * 100001)", "list('x' * 100000)"), ("tuple('x' * 20000)", "tuple('x' * 19999)"),
    ("set('x' * 100001)", "set('x' * 100000)"), ("sorted([0] * 20001)", "sorted([0] * 20000)"),
    ("int('9' * 1301)", "int('9' * 1300)"), ("float('9' * 1301)", "float('9' * 1300)"),
    ("int('z' * 1301, 36)", "int('z' * 1300, 36)"), ("round(1.5, 401)", "round(1.5, 400)"),
    ("round(5, -401)", "round(5, -400)"), ("bytes([0] * 65537)", "bytes([0] * 65536)"),
    ("bytes('x' * 65537)", "bytes('x' * 65536)"), ("zip(*[[0] * 100000] * 11)", "zip(*[[0] * 10000] * 5)"),
    ("range(1 << 60)", "range(1 << 59, (1 << 59) + 9)"), ("max('x' * 100001)", "max('x' * 100000)"),
])
def test_limits_from_both_sides(expression: str, smaller: str) -> None:
    with pytest.raises(ValueError, match=r"most|more than|below|400|20,000|65,536"):
        value(expression)
    value(smaller)


def test_arguments_that_python_takes_and_we_do_not() -> None:
    for expression in ("bytes(5)", "sum([[0] * 600, [0] * 600], [])", "isinstance(1, ((int,),))", "round([])"):
        with pytest.raises(TypeError):
            value(expression)
    assert value("len(sum([[0] * 500, [0] * 500], []))") == 1000
    with pytest.raises(ValueError, match="20,000"):
        value("sum([(a,), (a,)], ())", (0,) * 15_000)
    with pytest.raises(OverflowError):
        value("sum([a, 1])", 1 << 5000)
    with pytest.raises(OverflowError):
        value("enumerate([1], 1 << 61)")


def test_callbacks_may_change_what_is_gone_through() -> None:
    source = """
def function():
    l = [1, 2, 3]
    def change(x):
        l.clear()
        return x
    seen = [map(change, l), filter(change, [4, 5])]
    l = [1, 2, 3]
    seen.append(max(l, key=change))
    l = [3, 2, 1]
    seen.append(sorted(l, key=change))
    class Truth:
        def __bool__(self):
            l.clear()
            return False
    l = [Truth(), Truth()]
    seen.append(any(l))
    return seen
"""
    assert run(source) == [[1, 2, 3], [4, 5], 3, [1, 2, 3], False]


def test_iterators_of_script_classes() -> None:
    source = """
class Count:
    def __init__(self, end):
        (_w_ @ self).n = 0
        (_w_ @ self).end = end
    def __iter__(self): return self
    def __next__(self):
        if self.n >= self.end: raise StopIteration
        (_w_ @ self).n = self.n + 1
        return self.n
def function(): return [list(Count(3)), sum(Count(3)), max(Count(3)), tuple(Count(2)), sorted(Count(3), reverse=True),
    zip(Count(2), Count(3)), enumerate(Count(1)), any(Count(10**9)),
    set(Count(2)), map(abs, Count(2))]
"""
    assert run(source) == [[1, 2, 3], 6, 3, (1, 2), [3, 2, 1], [(1, 1), (2, 2)], [(0, 1)], True, {1, 2}, [1, 2]]
    for name in ("list", "sum", "sorted", "all"):
        with pytest.raises((Exceeded, ValueError)):
            run(source.replace("def function(): return",
                "def unused(): return") + f"\ndef function(): return {name}(Count(10**9))")


@pytest.mark.parametrize("body", [
    "return sum([i for i in range(100000)] * 3)", "while True: list(a)", "while True: sum(a)", "while True: max(a)",
    "while True: sorted(a[:20000])", "while True: zip(a, a)", "while True: enumerate(a)",
    "while True: set(a)", "while True: tuple(a[:9000])", "while True: any(a)", "while True: filter(None, a)",
    "while True: reversed(a)", "while True: math.fsum(a)", "while True: map(abs, a)", "while True: dict(zip(a, a))",
    "while True: _m_count(a, 1)", "while True: 1 in (_m_ @ a)", "while True: pow(3, 1 << 4000, (1 << 4000) + 1)",
    "while True: math.gcd(*a)", "while True: _m_items(b)", "while True: bytes(a[:60000])",
    "while True: _m_union({1}, a)",
    "while True: min(a, key=lambda x: x)", "while True: isinstance(1, c)", "while True: math.hypot(*a)",
    "while True: str(a)",
])
def test_endless_use_is_stopped(body: str) -> None:
    a = [0] * 100_000
    kinds = (NAMES["str"],) * 10_000
    with pytest.raises((Exceeded, ValueError)):
        run(f"def function(a, b, c):\n {body}", a, dict.fromkeys(range(50_000)), kinds)


def test_iterators_of_iterators_are_lists() -> None:
    source = "def function():\n it = [1]\n for i in range(3000): it = {}\n for x in it: pass\n return it"
    for call in ("map(abs, it)", "filter(None, it)", "reversed(it)", "zip(it)"):
        if call == "zip(it)":
            with pytest.raises(ValueError, match="100 levels"):
                run(source.format(call))
        else:
            assert run(source.format(call)) == [1]

"""What the policy refuses, with which advice, and which guards it puts where."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from gsrt.scripts.compiler import Refused, compile_script
from gsrt.scripts.policy import Policy
from gsrt.scripts.policy.rewriter import OPERATIONS_MAX, OPERATIONS_PER_TICK


def rewritten(source: str) -> str:
    refused: list[tuple[int, int, str, str]] = []
    tree = ast.parse(dedent(source))
    Policy(lambda *problem: refused.append(problem)).visit(tree)
    assert not refused
    return ast.unparse(ast.fix_missing_locations(tree))


def problems(source: str) -> list[str]:
    with pytest.raises(Refused) as refused:
        compile_script(dedent(source), "ships.py")
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("source", "guarded"),
    [
        # + and -: one operand of unknown kind and size is guarded, unless the other is a constant or a display
        ("a + b", "a + _n_ @ b"),
        ("a - b", "a - _n_ @ b"),
        ("a + 1", "a + 1"),
        ("1 - a", "1 - a"),
        ("a + -1.5", "a + -1.5"),
        ("a + 'x'", "a + 'x'"),
        ("a + [b]", "a + [b]"),
        ("a + f'{1}'", "a + f'{1}'"),
        ("a + (1, 2)", "a + _n_ @ (1, 2)"),
        ("a + (1, b)", "a + _n_ @ (_T_ @ (1, b))"),
        # *: both
        ("a * b", "_n_ @ a * (_n_ @ b)"),
        ("a * 2", "_n_ @ a * 2"),
        ("2 * a", "2 * (_n_ @ a)"),
        ("a * True", "_n_ @ a * True"),
        ("a * 0.5", "a * 0.5"),
        ("'x' * a", "'x' * a"),
        ("[0] * a", "[0] * a"),
        ("(0,) * 3", "_n_ @ (0,) * 3"),
        ("2 * 3", "2 * 3"),
        # what the compiler would work out is not to grow
        ("'x' * 3", "'x' * (_n_ @ 3)"),
        ("3 * b'x'", "3 * (_n_ @ b'x')"),
        ("'x' * (2 * -3)", "'x' * (_n_ @ (2 * -3))"),
        ("'a' + 'b' + 'c' + d", "'a' + _n_ @ 'b' + _n_ @ 'c' + _n_ @ d"),
        ("1 + 2 + 3", "1 + 2 + 3"),
        # the others
        ("[a / b, a // b, a >> b, a & b]", "[a / b, a // b, a >> b, a & (_h_ @ b)]"),
        ("[a | b, a ^ b, -a, ~a, not a, a and b]", "[a | (_h_ @ b), a ^ (_h_ @ b), -a, ~a, not a, a and b]"),
        ("[a & 1, 1 | a, {1} - a]", "[a & 1, 1 | a, {1} - _n_ @ a]"),
        ("[a - {1}, a - {b for b in c}]", "[a - _n_ @ {1}, a - _n_ @ {_k_ @ b for b in c if _t_}]"),
        ("a % b", "_q_ @ a % b"),
        ("a % 7", "a % 7"),
        ("7 % a", "7 % a"),
        ("a % 'x'", "_q_ @ a % 'x'"),
        ("'%s %s' % (a, b)", "_q_ @ '%s %s' % (a, b)"),
        ("a ** 2", "(_n_ @ a) ** 2"),
        ("a ** 3", "_pow_(a, 3)"),
        ("a ** 4", "_pow_(a, 4)"),
        ("a ** -1", "_pow_(a, -1)"),
        ("a ** 0.5", "_pow_(a, 0.5)"),
        ("2 ** a", "_pow_(2, a)"),
        ("2 ** 4096", "_pow_(2, 4096)"),
        ("2 ** 100", "2 ** 100"),
        ("10 ** 10 ** 7", "_pow_(10, 10 ** 7)"),
        ("a << b", "_shift_(a, b)"),
        ("a << 3", "_n_ @ a << 3"),
        ("1 << 40", "1 << 40"),
        ("1 << 5000", "_shift_(1, 5000)"),
        ("1 << -1", "_shift_(1, -1)"),
        # comparisons
        ("a == b", "_c_ @ a == b"),
        ("a == 1", "a == 1"),
        ("'x' < a", "'x' < a"),
        ("a == [1, (2, 'x')]", "a == [1, (2, 'x')]"),
        ("a == [b]", "_c_ @ a == [b]"),
        ("a == (b, c)", "_c_ @ a == _T_ @ (b, c)"),
        ("a is b", "a is b"),
        ("a in b", "a in _m_ @ b"),
        ("1 not in b", "1 not in _m_ @ b"),
        ("a in (1, -2, 'x')", "a in (1, -2, 'x')"),
        ("a in 'xyz'", "a in 'xyz'"),
        ("a in (b, c)", "a in _m_ @ (b, c)"),
        ("(a, b) in c", "_T_ @ (a, b) in _m_ @ c"),
        ("0 <= a < 10", "0 <= a < 10"),
        ("0 <= a < b", "0 <= a and _c_ @ a < b"),
        ("a < b < c", "_c_ @ a < b and _c_ @ b < c"),
        ("a < f() < c", "_c_ @ a < (_1_ := f()) and _c_ @ _1_ < c"),
        ("a is b in c", "a is b and b in _m_ @ c"),
        # keys
        ("d[1]", "d[1]"),
        ("d[a, b]", "d[_T_ @ (a, b)]"),
        ("d[a:b:-1]", "d[_z_ @ a:_z_ @ b:-1]"),
        ("{a: b, 'x': c, **d}", "{_k_ @ a: b, 'x': c, **_d_ @ d}"),
        ("{a, 1, *b}", "{_k_ @ a, 1, *_u_ @ b}"),
        ("{a: b for a in c}", "{_k_ @ a: b for a in c if _t_}"),
        ("{a for a in c}", "{_k_ @ a for a in c if _t_}"),
        ("s.add(a)", "s.add(_k_ @ a)"),
        ("s.add(1)", "s.add(1)"),
        ("s.add(key=a)", "s.add(key=a)"),
        ("d.setdefault((a, 1), b)", "d.setdefault(_k_ @ (_T_ @ (a, 1)), b)"),
        # tuples, comprehensions, lambdas
        ("(a, b)", "_T_ @ (a, b)"),
        ("(*a, 1)", "_T_ @ (*_l_ @ a, 1)"),
        ("[*a, *(b, c)]", "[*_l_ @ a, *_l_ @ (b, c)]"),
        ("f(*a)", "f(*_l_ @ a)"),
        ("(1, ('x', -2))", "(1, ('x', -2))"),
        ("[x for x in (a, b) if x for y in x]", "[x for x in (a, b) if _t_ if x for y in x if _t_]"),
        ("sum(x for x in a)", "sum([x for x in a if _t_])"),
        ("lambda x, y=a + b: x", "lambda x, y=a + _n_ @ b: _t_ and x"),
        # attributes and methods
        ("a.b.c", "a.b.c"),
        ("a.count", "(_a_ @ a).count"),
        ("a.add", "(_a_ @ a).add"),
        ("a.append", "a.append"),
        ("a.islower", "(_a_ @ a).islower"),
        ("''.join", "''.join"),
        ("a.join", "(_a_ @ a).join"),
        ("''.rfind", "(_a_ @ '').rfind"),
        ("''.lower", "(_a_ @ '').lower"),
        ("a.extend(b)", "_m_extend(a, b)"),
        ("a.join(b)", "_m_join(a, b)"),
        ("a.join(b for b in c)", "a.join([b for b in c if _t_])"),
        ("a.count(b, *c)", "_m_count(a, b, *_l_ @ c)"),
        ("a.sort(key=f)", "_m_sort(a, key=f)"),
        ("a.strip()", "a.strip()"),
        ("a.strip(b)", "_m_strip(a, b)"),
        ("a.startswith('x')", "a.startswith('x')"),
        ("a.startswith(b)", "_m_startswith(a, b)"),
        ("a.append(b)", "a.append(b)"),
        ("f(a)(b).items()", "_m_items(f(a)(b))"),
        # f-strings
        ("f'{a}'", "f'{_f_ @ a}'"),
        ("f'{a!s:>{b}} {a!r} {1}'", "f'{_s_ @ a:>{_f_ @ b}} {_r_ @ a} {1}'"),
    ],
)
def test_guards_of_expressions(source: str, guarded: str) -> None:
    assert rewritten(source) == ast.unparse(ast.parse(guarded))


@pytest.mark.parametrize(
    ("source", "guarded"),
    [
        ("a += b", "a += _i_ @ b"),
        ("a += 1", "a += 1"),
        ("a += (1, 2)", "a += _i_ @ (1, 2)"),
        ("a += [b]", "a += [b]"),
        ("a -= b", "a -= _n_ @ b"),
        ("a -= {b for b in c}", "a -= _n_ @ {_k_ @ b for b in c if _t_}"),
        ("a *= 0.5", "a *= 0.5"),
        ("a /= b; a //= b; a &= b; a ^= b; a >>= b", "a /= b; a //= b; a &= _h_ @ b; a ^= _h_ @ b; a >>= b"),
        ("a %= 5", "a %= 5"),
        ("a %= b", "a = _q_ @ a % b"),
        ("a **= 2", "a = (_n_ @ a) ** 2"),
        ("a **= b", "a = _pow_(a, b)"),
        ("a <<= b", "a = _shift_(a, b)"),
        ("a |= 4", "a |= 4"),
        ("o.x += b", "(_w_ @ o).x += _i_ @ b"),
        ("o.count += 1", "(_w_ @ o).count += 1"),
        ("d[a] += b", "d[_k_ @ a] += _i_ @ b"),
        ("d['x'] += b", "d['x'] += _i_ @ b"),
        ("d[a:b] += c", "d[_z_ @ a:_z_ @ b] += _i_ @ c"),
        ("d[a] **= b", "d[_k_ @ a] = _pow_(d[a], b)"),
        ("d[a] = b", "d[_k_ @ a] = b"),
        ("d['x'] = d[-1] = b", "d['x'] = d[-1] = b"),
        ("d[a, 1] = b", "d[_k_ @ (_T_ @ (a, 1))] = b"),
        ("d[1, 2] = b", "d[_k_ @ (1, 2)] = b"),
        ("{(1, 2), (3, 4), 5}", "{_k_ @ (1, 2), _k_ @ (3, 4), 5}"),
        ("d[a:b] = c", "(_v_ @ d)[_z_ @ a:_z_ @ b] = _l_ @ c"),
        ("del d[a], d[a:1], o.x, b", "del d[a], d[_z_ @ a:1], (_w_ @ o).x, b"),
        ("o.x, (d[a], *o.y) = b", "(_w_ @ o).x, (d[_k_ @ a], *(_w_ @ o).y) = _l_ @ b"),
        ("a, b = b, a", "a, b = b, a"),
        ("a, *b = b, a", "a, *b = _l_ @ (_T_ @ (b, a))"),
        ("c = a, b = b, a", "c = a, b = _T_ @ (b, a)"),
        ("a: int = b + c", "a = b + _n_ @ c"),
        ("a: int\nb", "b"),
        ("from __future__ import annotations\na", "a"),
    ],
)
def test_guards_of_assignments(source: str, guarded: str) -> None:
    assert rewritten(source) == ast.unparse(ast.parse(guarded))


def test_what_works_in_place_is_evaluated_once() -> None:
    assert (
        rewritten("def f():\n  a *= b") == "def f():\n    not _t_\n    _1_ = _n_ @ a\n    _1_ *= _n_ @ b\n    a = _1_"
    )
    assert rewritten("g().x *= 2").split("\n") == [
        "_1_ = g()",
        "_2_ = _n_ @ (_w_ @ _1_).x",
        "_2_ *= 2",
        "(_w_ @ _1_).x = _2_",
        "del _1_, _2_",
    ]
    assert rewritten("d[g()] |= b").split("\n") == [
        "_1_ = g()",
        "_2_ = d[_1_]",
        "_3_ = b",
        "_2_ | _o_ @ _3_",
        "_2_ |= _3_",
        "d[_k_ @ _1_] = _2_",
        "del _1_, _2_, _3_",
    ]


def test_ticks() -> None:
    assert rewritten(
        """
        @d
        def f(a, *b: int, c: int = 1) -> int:
            "text"
            while a:
                pass
            else:
                b
            for x in (a, b):
                continue
            try:
                a
            except (A, B) as e:
                raise
            except C:
                pass
            finally:
                b
        class D(E):
            def m(self): return super().m(1)
        """
    ).split("\n") == [
        "@d",
        "def f(a, *b, c=1):",
        "    not _t_",
        "    b = _T_ @ b",
        "    'text'",
        "    while a:",
        "        not _t_",
        "        pass",
        "    else:",
        "        b",
        "    for x in (a, b):",
        "        not _t_",
        "        continue",
        "    try:",
        "        a",
        "    except (_x_ @ A, _x_ @ B):",
        "        not _t_",
        "        e = _e_()",
        "        raise",
        "    except _x_ @ C:",
        "        not _t_",
        "        pass",
        "    finally:",
        "        not _t_",
        "        b",
        "",
        "class D(_b_ @ E):",
        "    not _t_",
        "",
        "    def m(self):",
        "        not _t_",
        "        return super().m(1)",
    ]


def test_straight_code_ticks() -> None:
    lines = rewritten("f()\n" * 40).split("\n")
    assert lines.count("not _t_") == 40 // OPERATIONS_PER_TICK - 1
    assert "not _t_" not in rewritten("x = [1, 2, (3, -4), {'a': [5]}]\n" * 40)
    # Branches count as well: the one with the most.
    branches = "if f():\n  f(); f()\nelse:\n  f(); f(); f(); f(); f(); f()\n"
    assert rewritten(branches + "f()").count("_t_") == 0
    assert rewritten(branches + "f()\nf()").split("\n")[-2] == "not _t_"
    # A tick in one of them is none for what comes after.
    assert rewritten("f(); f(); f(); f()\nif a:\n  " + "f(); " * 6 + "\nf(); f(); f(); f(); f()").endswith(
        "f()\nnot _t_\nf()"
    )


@pytest.mark.parametrize(
    ("source", "ticking"),
    [
        ("[f(), f(), f(), f(), f(), f(), f(), f()]", "[f(), f(), f(), f(), f(), f(), f(), f()]"),
        (
            "[f(), f(), f(), f(), f(), f(), f(), f(), f(), f()]",
            "[f(), f(), f(), f(), f(), f(), f(), f(), _p_ @ f(), f()]",
        ),
        # Methods that take long count more, wherever they stand.
        ("[a.lower(), b.lower(), c.lower(), d.lower()]", "[a.lower(), b.lower(), _p_ @ c.lower(), d.lower()]"),
        ("a.lower().lower().lower().upper()", "(_p_ @ a.lower().lower().lower()).upper()"),
        # A tick in what may not be evaluated is none for what comes after.
        (
            "[f(), f(), f(), f(), a and [f(), f(), f(), f(), f(), f()], f(), f(), f(), f(), f()]",
            "[f(), f(), f(), f(), a and [f(), f(), f(), f(), _p_ @ f(), f()], f(), f(), f(), f(), _p_ @ f()]",
        ),
        (
            "[f(), f(), f(), f() if a else 1, a[1] + a[2], a < b < c, a < 1]",
            "[f(), f(), f(), f() if a else 1, a[1] + _n_ @ a[2], _p_ @ (_c_ @ a < b and _c_ @ b < c), a < 1]",
        ),
        # Bodies of comprehensions and lambdas count for themselves.
        ("[[f(f(f(f(a)))) for a in f(f(f(f(f(b)))))], f(f(f(c)))]",
         "[[f(f(f(f(a)))) for a in f(f(f(f(f(b))))) if _t_], f(f(f(c)))]"),
        ("[lambda: f(f(f(f(a)))), f(f(f(f(f(a)))))]", "[lambda: _t_ and f(f(f(f(a)))), f(f(f(f(f(a)))))]"),
    ],
)  # fmt: skip
def test_long_expressions_tick(source: str, ticking: str) -> None:
    assert rewritten(source) == ast.unparse(ast.parse(ticking))


def test_handlers_are_few() -> None:
    def handlers(count: int) -> str:
        return "try: f()\n" + "except A: pass\n" * count

    assert rewritten(handlers(16)).count("_x_") == 16
    assert problems(handlers(17)) == ["ships.py:18:1: a `try` has more than 16 `except`. Split it."]
    many = problems(f"try: f()\nexcept ({'A, ' * 17}): pass")
    assert many == ["ships.py:2:1: `except` has more than 16 names. Name what they have as base."]


def test_a_statement_has_so_many_operations() -> None:
    table = ", ".join(["f()"] * OPERATIONS_MAX)
    compile_script(f"x = [{table}]", "ships.py")
    assert problems(f"x = [{table}, f()]") == [
        f"ships.py:1:1: a statement has more than {OPERATIONS_MAX} operations. Split it."
    ]
    compile_script("x = [" + "[1, 2.5, 'x'], " * 3000 + "]", "ships.py")


REFUSED = {
    "import math": "import is not available. Leave the line out: `math` is already there.",
    "from random import choice": "import is not available. Write `session.random`.",
    "import os.path": "import is not available. Write: `math` and `session` are already there.",
    "from math import *": "import is not available. Leave the line out: `math` is already there.",
    "with a: pass": "`with` is not available. Write the steps one after the other",
    "async def f(): pass": "`async` is not available. Write `def`, and `session.set_timeout(function, ms)`",
    "def f(): yield 1": "`yield` is not available. Collect the values in a list and return it.",
    "def f(): yield from a": "`yield` is not available.",
    "match a:\n  case 1: pass": "`match` is not available. Write `if`/`elif`.",
    "try: a\nexcept* A: b": "`except*` is not available.",
    "try: a\nexcept: b": "`except:` catches everything. Write `except Exception:`",
    "try: a\nexcept f(): b": "`except` takes names only.",
    "try: a\nexcept (A, b.C): b": "`except` takes names only.",
    "f(**a)": "`**` in a call is not available.",
    "class A(metaclass=B): pass": "keywords of a class are not available.",
    "class A(*b): pass": "`*` is not available here.",
    "@a\nclass B: pass": "a class has a decorator.",
    "a @ b": "the operator `@` is not available.",
    "a @= b": "the operator `@` is not available.",
    "lambda *a: 1": "a lambda with `*` or `**` parameters is not available.",
    "lambda **a: 1": "a lambda with `*` or `**` parameters is not available.",
    "2j": "complex numbers are not available.",
    f"{1 << 4096:#x}": "an integer has more than 4096 bits.",
    "d[1152921504606846976] = 1": "a key is an integer of 2**60 or more.",
    "{-1152921504606846976: 1}": "a key is an integer of 2**60 or more.",
    "s.add((1, 1152921504606846976))": "a key is an integer of 2**60 or more.",
    "s.add(*a)": "`*` is not available in `.add(...)`.",
    "f'{a!a}'": "`!a` is not available. Write `!r`.",
    "a[1:2, 3]": "a slice stands beside another index.",
    "a[1:2] *= 2": "this operator does not work on a slice.",
    "[1 for a in (b < c() < d)]": "this chain of comparisons is too long.",
    "class A:\n  x = a < b() < c": "this chain of comparisons is too long.",
    "[x async for x in y]": "`async` is not available.",
    "x = super": "`super` stands only in `super().name`.",
    "super(A, a).f()": "`super` stands only in `super().name`.",
    "super()": "`super` stands only in `super().name`.",
    "def super(): pass": "`super` stands only in `super().name`.",
    "super().__str__()": "the attribute `__str__` begins with an underscore.",
    "A.__init__(a)": "the attribute `__init__` begins with an underscore. Write `super().__init__(...)`.",
    "exec('1')": "`exec` is not available.",
    "x = eval": "`eval` is not available.",
    "def breakpoint(): pass": "`breakpoint` is not available.",
    "'{}'.format(a)": "the attribute `format` is not available. Write an f-string",
    "a.gi_frame": "the attribute `gi_frame` is not available.",
    "a.f_back": "the attribute `f_back` is not available.",
    "a.mro = 1": "the attribute `mro` is not available.",
    "del a.args": "the attribute `args` is not available.",
    "a.popitem()": "the attribute `popitem` is not available. Write `key = list(d)[-1]`, then `d.pop(key)`.",
    "def __init__(self): pass": "the name `__init__` begins with an underscore.",
    "class A:\n  def __getattr__(self, n): pass": "the name `__getattr__` begins with an underscore.",
    "class A:\n  def f(self):\n    def __eq__(a, b): pass": "the name `__eq__` begins with an underscore.",
    "class A:\n  __slots__ = ()": "the name `__slots__` begins with an underscore.",
    "class A:\n  __eq__ = None": "the name `__eq__` begins with an underscore.",
}


@pytest.mark.parametrize("source", REFUSED)
def test_what_is_refused(source: str) -> None:
    found = problems(source)
    assert any(f": {REFUSED[source]}" in problem for problem in found), found


@pytest.mark.parametrize(
    "name", ["_x", "__x", "__builtins__", "_k_", "_1_", "__class__", "_\uff3fx", "_\ufe4dclass\ufe4d\ufe4d"]
)
@pytest.mark.parametrize(
    "place",
    [
        *(
            "{}",
            "{} = 1",
            "del {}",
            "a.{}",
            "a.{} = 1",
            "del a.{}",
            "a.{} += 1",
            "f({}=1)",
            "a.b({}=1)",
            "def f({}): pass",
        ),
        *("def f(*, {}=1): pass", "def f(*{}): pass", "def f(**{}): pass", "def f({}, /): pass", "lambda {}: 1"),
        *("def {}(): pass", "class {}: pass", "class a:\n  def {}(self): pass", "[1 for {} in a]", "({} := 1)"),
        *("try: a\nexcept B as {}: pass", "try: a\nexcept {}: pass", "def f():\n  global {}", "for {} in a: pass"),
        *("def f():\n  {} = 1\n  def g():\n    nonlocal {}", "{} += 1", "{}: int = 1", "a, (*{}, b) = c", "f'{{{}}}'"),
        *("f'{{a:{{{}}}}}'", "a[{}:1]", "@{}\ndef f(): pass", "def f(a={}): pass", "super().{}()", "a.{}()", "{}: int"),
    ],
)
def test_no_name_begins_with_an_underscore(place: str, name: str) -> None:
    found = problems(place.format(*[name] * place.count("{}")))
    assert all("begins with an underscore" in problem for problem in found), found


def test_one_underscore_is_a_name() -> None:
    compile_script("for _ in range(3): pass\n_, x = 1, _\nx = lambda _: _", "ships.py")


def test_all_problems_come_at_once_in_order() -> None:
    source = """\
        import math
        def f(a):
            with a as _b: x = '{}'.format(a)
            async def g():
                return a.__class__
            match a:
                case 1:
                    yield a
            try:
                exec('')
            except:
                ä = '€'; _c = 2j
        """
    assert [problem.split(":", 3)[1:3] for problem in problems(source)] == [
        ["1", "1"],
        ["3", "5"],
        ["3", "28"],
        ["4", "5"],
        ["5", "18"],
        ["6", "5"],
        ["8", "13"],
        ["10", "9"],
        ["11", "5"],
        ["12", "18"],
        ["12", "23"],
    ]


def test_names_that_nothing_defines_are_warned_of() -> None:
    source = """\
        open('x')
        def on_packet(packet):
            global count
            count = 1
            later(packet, max, session, Exception, QuotaError)
            return undefined
        def later(a, *b, c=None, **d): return [e for e in a if (f := e)] + [f, g, b, c, d]
        class K: pass
        try: K
        except Exception as problem: problem
        max = 3
        """
    assert [str(warning) for warning in compile_script(dedent(source), "ships.py").warnings] == [
        "ships.py:1:1: nothing defines the name `open`. A script has no files. Keep what it needs in variables.",
        "ships.py:6:12: nothing defines the name `undefined`. In Python it is written `None`.",
        "ships.py:7:72: nothing defines the name `g`. Define it, or look for a slip of the pen.",
    ]


def test_a_kind_of_node_unknown_to_us_is_refused() -> None:
    class Novelty(ast.expr):
        pass

    refused: list[tuple[int, int, str, str]] = []
    tree = ast.Module([ast.Expr(Novelty(lineno=3, col_offset=4), lineno=3, col_offset=4)], [])
    Policy(lambda *problem: refused.append(problem)).visit(tree)
    assert refused == [(3, 4, "`Novelty` is not available", "Write it another way")]


def test_few_targets_take_lists_in() -> None:
    compile_script("x[1:] = " * 16 + "y", "ships.py")
    assert "16 targets" in problems("x[1:] = " * 17 + "y")[0]
    assert "16 targets" in problems("(*a, b), " * 17 + "c = y")[0]

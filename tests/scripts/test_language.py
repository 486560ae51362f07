"""A script computes what the same source computes in plain Python."""

from __future__ import annotations

import builtins as native
import math
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from gsrt._guard import builtins, guards
from gsrt._meter import Account, Meter
from gsrt.scripts.compiler import compile_script

METER = Meter(gas=10_000_000, cpu_ms=60_000, memory_bytes=256 << 20)
NAMES: dict[str, object] = {"super": super, **builtins(METER), **guards(METER)}

PROGRAMS = {
    "classes inherit": """
        class Shape:
            sides = 0
            def __init__(self, name):
                self.name = name
            def area(self):
                return 0
            def describe(self):
                return f"{self.name}: {self.area():.2f}, {self.sides}"
        class Square(Shape):
            sides = 4
            def __init__(self, side):
                super().__init__("square")
                self.side = side
            def area(self):
                return self.side ** 2 + super().area()
        class Big(Square):
            def describe(self):
                return "big " + super().describe()
        out.append([shape.describe() for shape in (Shape("none"), Square(3), Big(2.5))])
        out.append(isinstance(Big(1), Shape))
    """,
    "operators of classes": """
        class Vector:
            def __init__(self, x, y): self.x = x; self.y = y
            def __add__(self, other):
                if isinstance(other, tuple):
                    return Vector(self.x + other[0], self.y + other[1])
                return Vector(self.x + other.x, self.y + other.y)
            def __radd__(self, other): return Vector(self.x + other, self.y)
            def __sub__(self, other): return Vector(self.x - other.x, self.y - other.y)
            def __mul__(self, factor): return Vector(self.x * factor, self.y * factor)
            def __rmul__(self, factor): return self * factor
            def __neg__(self): return Vector(-self.x, -self.y)
            def __eq__(self, other): return isinstance(other, Vector) and (self.x, self.y) == (other.x, other.y)
            def __lt__(self, other): return self.x < other.x
            def __hash__(self): return self.x * 31 + self.y
            def __len__(self): return 2
            def __getitem__(self, place): return (self.x, self.y)[place]
            def __contains__(self, value): return value in (self.x, self.y)
            def __bool__(self): return bool(self.x or self.y)
            def __repr__(self): return f"<{self.x} {self.y}>"
            def __call__(self, n): return [self.x] * n
        a, b = Vector(1, 2), Vector(3, 5)
        a += (10, 20)
        pair = (4, 4)
        b += pair
        c = a + pair
        a -= b
        c *= 3
        two = 2
        for vector in (a, b, c, two * a, a * two, 5 + a, -a, a + b - c):
            out.append((vector.x, vector.y, len(vector), vector[1], 7 in vector, bool(vector), repr(vector), vector(2)))
        out.append([a == b, a != b, a == Vector(a.x, a.y), a < b, a > b, sorted([c, b, a])[0] == a])
        out.append(len({a, b, Vector(a.x, a.y)}))
        out.append(f"{a} {a!r} {a!s:>10}")
    """,
    "iteration by a class": """
        class Countdown:
            def __init__(self, n): self.n = n
            def __iter__(self): return self
            def __next__(self):
                if self.n <= 0:
                    raise StopIteration
                self.n -= 1
                return self.n
        out.append([n for n in Countdown(5)])
        out.append(list(Countdown(3)))
        first, *rest = Countdown(4)
        out.append((first, rest, 2 in Countdown(4), 9 in Countdown(4)))
    """,
    "closures": """
        def counter(step):
            n = 0
            def count():
                nonlocal n
                n += step
                return n
            def reset(value=0):
                nonlocal n
                n = value
            return count, reset
        count, reset = counter(3)
        out.append([count(), count(), reset(), count(), reset(value=10), count()])
        makers = [lambda x, i=i: x * i for i in range(4)]
        out.append([make(10) for make in makers])
        late = [lambda: i for i in range(3)]
        out.append([f() for f in late])
    """,
    "globals": """
        total = 0
        def add(n):
            global total, made
            total += n
            made = total * 2
        add(3); add(4)
        out.append((total, made))
        del made
        try:
            made
        except NameError:
            out.append("gone")
    """,
    "comprehension scopes": """
        x = "outside"
        rows = [[x * y for x in range(3) if x != 1] for y in range(3)]
        out.append((x, rows))
        out.append({k: [v for v in range(k)] for k in range(4) if k % 2})
        out.append(sorted({n % 3 for n in range(10)}))
        out.append([(a, b) for a in "ab" for b in range(2) if a != "a" or b])
        out.append(sum(n * n for n in range(10)))
        out.append([y for x in range(3) if (y := x * 2) > 1] + [y])
        class Table:
            size = 3
            cells = [n for n in range(size)]
            doubled = {n: n * 2 for n in cells}
        out.append((Table.cells, Table.doubled))
    """,
    "f-strings": """
        name, n, x, width, places = "Ann", 42, math.pi, 9, 3
        out.append(f"{name} {n:05d} {x:.2f} {x:{width}.{places}f} {name!r:>{width}} {n:,} {n:#x} {n:b}")
        out.append(f"{{}} {n=} {x=:.1f} { n + 1 = }")
        out.append(f"{name:^9}|{'text' + name:<12}|{n / 4}|{None}|{True}|{[1, 'a', 2.5, None]}|{ {'k': (1,)} }")
        out.append(f"{'nested: ' + f'{n + 1:>{width}}'}" f"{(lambda a: a + 1)(1)}")
        out.append("%s is %d, %.2f%% %r" % (name, n, x, name))
        template = "%(a)s-%(b)03d"
        out.append(template % {"a": 1, "b": 2})
        form = "%5d|%-5s|"
        out.append(form % (n, name))
        out.append(n % 5 + x % 2)
    """,
    "try and finally": """
        def attempt(f, *arguments):
            log = []
            try:
                log.append("try")
                result = f(*arguments)
            except (KeyError, IndexError) as problem:
                log.append("lookup")
                result = None
            except ZeroDivisionError:
                log.append("division")
                result = 0
            else:
                log.append("else")
            finally:
                log.append("finally")
            return log, result
        out.append(attempt(lambda a, b: a / b, 1, 2))
        out.append(attempt(lambda a, b: a / b, 1, 0))
        out.append(attempt(lambda: {}["x"]))
        out.append(attempt(lambda: [][1]))
        def early():
            for i in range(5):
                try:
                    if i == 1: continue
                    if i == 3: break
                    out.append(i)
                finally:
                    out.append(-i)
            else:
                out.append("never")
            try:
                return "returned"
            finally:
                out.append("after")
        out.append(early())
        try:
            try:
                raise ValueError("one")
            except ValueError as problem:
                out.append(f"{problem}")
                raise KeyError("two") from None
        except LookupError as problem:
            out.append("caught")
        class Own(Exception):
            def __init__(self, code):
                super().__init__(f"code {code}")
                self.code = code
        try:
            raise Own(7)
        except Own as problem:
            out.append(f"{problem}")
        try:
            assert 1 == 2, "no"
        except AssertionError as problem:
            out.append(str(problem))
    """,
    "augmented assignment": """
        class Box: pass
        box = Box()
        box.n = 1; box.items = [1]; box.text = "a"; box.tuple = (1,)
        alias = box.items
        box.n += 5; box.n *= 3; box.n -= 1; box.n **= 2; box.n //= 4; box.n %= 50; box.n <<= 3; box.n >>= 1
        box.n |= 5; box.n ^= 3; box.n &= 0xFFFF
        box.items += [2, 3]; box.items += (4,); box.items += "xy"; box.items *= 2
        box.text += "b"; box.text *= 3; box.tuple += (2, 3); box.tuple *= 2
        box.count = 0
        box.count += 1
        out.append([box.n, box.items, alias is box.items, box.text, box.tuple, box.count])
        values = [1, 2, 3]
        same = values
        values[0] += 10; values[-1] *= values[0]; values[1] **= 3; values[1] %= 5
        values += values
        n = 2
        values *= n
        out.append([values, same is values])
        table = {"a": 1, (1, 2): [0]}
        key = (1, 2)
        table["a"] += 1; table[key] += [5]; table[1, 2] += (6,); table["a"] *= table["a"]; table["a"] <<= 2
        inner = table[key]
        table[key] *= 2
        out.append([table, inner is table[key]])
        calls = []
        def where(i):
            calls.append(i)
            return i
        def which():
            calls.append("list")
            return values
        which()[where(1)] += 1; which()[where(2)] *= 7; which()[where(0)] **= 2; which()[where(3)] %= n
        which()[where(1)] |= where(8)
        out.append([values, calls])
        some, more = {1, 2}, {2, 3}
        kept = some
        some |= more; some -= {1}; some ^= {9}; some &= {2, 3, 9}
        out.append([sorted(some), kept is some])
        d, e = {"a": 1}, {"b": 2}
        old = d
        d |= e
        out.append([d, old is d])
        x = 7.5
        x /= 2; x -= 1; x *= 2.0; x //= 1; x += n
        t = (1, 2)
        t += (3,)
        t *= n
        s = "ab"
        s *= n
        s += s
        out.append([x, t, s])
        def local():
            rows = [[0] * 3 for i in range(2)]
            i = j = 1
            rows[i][j] += 4
            rows[i][j] *= rows[i][j]
            rows[i][i + j - 1] -= 1
            row = rows[0]
            row += (i,)
            return rows
        out.append(local())
        class Body:
            n = 3
            n *= n
            n **= 2
            flags = 1
            flags |= n
        out.append([Body.n, Body.flags])
    """,
    "chained comparisons": """
        calls = []
        def at(n):
            calls.append(n)
            return n
        a, b, c = 1, [2], (3, 4)
        out.append([at(1) < at(2) < at(3), at(3) < at(2) < at(9), at(1) == at(1) != at(2) <= at(2), calls])
        out.append([0 <= a < 10, 0 <= a < a + 1, a < 2 < a, b == [2] == b, c == c != b, 1 in b in [[1], b]])
        out.append([a in (1, 2), a not in b, "x" in "xyz", b is b is not c, 1 < 2 < 3, c < (3, 5) < (4,)])
        out.append([at(5) in [5] == [5], a is not None, None is not a == 1, not a == 1])
        out.append((lambda p, q: p() < q() < p())(lambda: at(1), lambda: at(2)))
    """,
    "decorators": """
        def logged(function):
            def inner(*arguments, **named):
                out.append((arguments, named))
                return function(*arguments)
            return inner
        def times(n):
            def decorate(function):
                return lambda x: [function(x) for i in range(n)]
            return decorate
        @logged
        def add(a, b=2, *rest): return a + b + sum(rest)
        @times(2)
        @logged
        def double(x): return x * 2
        out.append([add(1), add(1, 5, 6, 7), double(4), double("a"), double((1, 2))])
        class Thing:
            @logged
            def method(self, n): return n
        out.append(add(*[1, 2, 3]))
    """,
    "unpacking": """
        a, (b, *c), [d, e] = 1, (2, 3, 4), [5, 6]
        out.append([a, b, c, d, e])
        a, b = b, a
        x = y = [0, 0]
        x[0], y[1] = a, b
        out.append([a, b, x])
        *start, last = "hello"
        out.append((start, last, [*start, *c], (*c, 1), sorted({*c, *start, 1} - {1}, key=str), {**{"a": 1}, "b": 2}))
        table = {}
        for table["k"], (i, *table["rest"]) in [(1, (2, 3)), (4, (5, 6, 7))]:
            out.append((table["k"], i, table["rest"]))
        class Box: pass
        box = Box()
        box.a, box.b = box.b, box.a = 1, 2
        for box.i in range(3): pass
        out.append([box.a, box.b, box.i, [box.i for box.i in "ab"], box.i])
    """,
    "sorting and methods": """
        players = [{"name": "Ann", "score": 3}, {"name": "bob", "score": 5}, {"name": "Cid", "score": 3}]
        out.append([p["name"] for p in sorted(players, key=lambda p: (-p["score"], p["name"]))])
        players.sort(key=lambda p: p["name"].lower(), reverse=True)
        out.append([p["name"] for p in players])
        numbers = [3, 1, 2, 3]
        numbers.remove(3); numbers.append(9); numbers.insert(0, 4); numbers.extend(range(2)); numbers.reverse()
        out.append([numbers, numbers.index(9), numbers.count(1), numbers.pop(), numbers.copy()])
        out.append([max(numbers), min(4, 2)])
        text = "  one,two,,three  "
        out.append([text.strip().split(","), text.strip(" o"), ",".join(["a", "b"]), text.upper().replace("O", "0")])
        out.append([text.startswith("  o"), text.endswith(text), text.find("two"), text.title(), "a-b".partition("-")])
        d = {"x": 1}
        d.update({"y": 2}); d.setdefault("z", []).append(3); d.setdefault("x", 9)
        out.append([sorted(d.keys()), list(d.values()), [k for k, v in d.items()], d.get("q"), d.pop("x"), "x" in d])
        s = {1, 2}
        s.add(3); s.add((1, 2)); s.discard(9); s.remove(1)
        out.append([len(s), 3 in s, (1, 2) in s, sorted({1, 2} | {3}), {1, 2} & {2}, {1, 2} - {2}, {1}.union([2])])
        out.append([[*zip([1, 2], "ab")], [*enumerate("ab", 1)], [*map(lambda n: n + 1, [1])], [*filter(None, [0, 1])]])
        out.append([list(reversed([1, 2])), any(n > 1 for n in [1, 2]), all([])])
        out.append([divmod(7, 2), round(2.567, 1), abs(-3)])
    """,
    "numbers": """
        a, b = 7, 3
        out.append([a + b, a - b, a * b, a / b, a // b, a % b, a ** b, a << b, a >> b, a & b, a | b, a ^ b, -a, +a, ~a])
        out.append([2 ** 10, a ** 2, a ** -1, a ** 0.5, 2 ** b, 1 << 40, a << 3, 1 << b])
        out.append([10 ** 3 ** 2, (-a) ** 2, -a ** 2])
        out.append([a * 2, 2 * a, a * 0.5, a * -1, [0] * b, "ab" * b, (1, 2) * b, b * (1,), b * "x", True * a])
        out.append([(1,) + (2,), (a,) + (b,), [a] + [b], "a" + str(b), b"x" + b"y", 1.5 + a, a - 0.5])
        out.append([int("12"), float("1.5"), hex(255), chr(65), ord("A"), math.sqrt(16), math.floor(2.7), 0x1F, 1_000])
        values = list(range(10))
        out.append([values[a], values[-1], values[b:a], values[::2], values[::-1], values[:-b]])
        out.append([values[b:][1], "hello"[1:b]])
        values[2:4] = [20, 30, 40]
        del values[0], values[-1:]
        values[b:] = []
        out.append(values)
        grid = {(x, y): x * y for x in range(3) for y in range(3)}
        grid[a, b] = grid[1, 2] + grid[(2, 2)]
        del grid[0, 0]
        out.append([grid[7, 3], (0, 0) in grid, len(grid), (1, 1) in grid])
    """,
    "control flow": """
        def classify(n: int, names: "list[str]" = None) -> str:
            kind: str
            limit: int = 100
            if n < 0: return "negative"
            elif n == 0: kind = "zero"
            elif n > limit: kind = "large"
            else:
                kind = "odd" if n % 2 else "even"
            return kind
        out.append([classify(n) for n in (-1, 0, 3, 4, 1000)])
        n = 27
        steps = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
            if steps > 1000: break
        else:
            out.append("arrived")
        out.append(steps)
        for i in range(3):
            for j in range(3):
                if j == 2: continue
                if i == 2: break
                out.append((i, j))
        while (line := steps) > 100:
            steps -= 10
        out.append([line, steps, 1 and 0 or 5, None or [] or "x"])
        def nothing():
            x: int
        out.append(nothing())
        class Empty:
            x: int
        def many(a, /, b, *, c=3, **rest): return a, b, c, sorted(rest.items())
        out.append([many(1, 2), many(1, b=5, c=6, z=7)])
        ...
    """,
    "recursion": """
        def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
        def depth(tree): return 1 + max([depth(branch) for branch in tree], default=0)
        out.append([fibonacci(12), depth([[], [[[]], []]])])
        def endless(): return endless()
        try:
            endless()
        except RecursionError:
            out.append("too deep")
    """,
}


def plainly(source: str) -> list[object]:
    out: list[object] = []
    space: dict[str, object] = {"__builtins__": native, "__name__": "script", "out": out, "math": math}
    _run(compile(source, "script.py", "exec", dont_inherit=True), space, out)
    return out


def guarded(source: str) -> list[object]:
    out: list[object] = []
    space: dict[str, object] = {"__builtins__": NAMES, "__name__": "script", "out": out}
    _run(compile_script(source, "script.py").code, space, out)
    return out


def _run(code: object, space: dict[str, object], out: list[object]) -> None:
    """Runs it; what it raises is its last output."""
    try:
        METER.call(Account(), exec, code, space)
    except Exception as error:
        out.append(type(error).__name__)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_script_is_python(name: str) -> None:
    source = dedent(PROGRAMS[name])
    plain = plainly(source)
    assert plain
    assert not isinstance(plain[-1], str) or not plain[-1].endswith("Error"), plain[-1]
    assert repr(guarded(source)) == repr(plain)


# A small grammar of ordinary programs: names that hold numbers, texts, lists, tuples or dicts, whichever came last.
# Nothing within an expression has an effect: guards may raise the same error a little earlier or later than Python.

VARIABLES = some.sampled_from("abcd")
CONSTANTS = some.sampled_from(["0", "1", "2", "-3", "1.5", "'x'", "'yz'", "None", "True", "b'q'", "7"])


def _expressions(inner: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
    comparison = some.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in", "is", "is not"])
    # No `**` nor `<<` of what may have grown already: plain Python would run on.
    operator = some.sampled_from(["+", "-", "*", "/", "//", "%", "&", "|", "^", ">>"])
    method = some.sampled_from(["count({})", "index({})", "get({})", "strip()", "split({})", "copy()", "upper()"])
    return some.one_of(
        some.builds("({} {} {})".format, inner, operator, inner),
        some.builds("({}) ** {}".format, VARIABLES, some.sampled_from(["2", "0", "1", "-1", "0.5"])),
        some.builds("({} {} {})".format, inner, comparison, inner),
        some.builds("({} {} {} {} {})".format, inner, comparison, VARIABLES | CONSTANTS, comparison, inner),
        some.builds("({} {} len({}) {} {})".format, VARIABLES, comparison, VARIABLES, comparison, CONSTANTS),
        some.builds("[{}, {}]".format, inner, inner),
        some.builds("({}, {})".format, inner, inner),
        some.builds("{{{}: {}}}".format, inner, inner),
        some.builds("{}[{}]".format, inner, inner),
        some.builds("{}[{}:{}]".format, inner, inner, inner),
        some.builds("({} if {} else {})".format, inner, inner, inner),
        some.builds("({} and {})".format, inner, inner),
        some.builds("(not {})".format, inner),
        some.builds("(-{})".format, inner),
        some.builds("f'{{{}}}|{{{}!r:>8}}'".format, VARIABLES, VARIABLES),
        # Python has no walrus, and scripts no middle value that is a call, in what a comprehension goes through.
        some.builds("[e for e in {} if {}]".format, VARIABLES | CONSTANTS, inner),
        some.builds("{{e: {} for e in {}}}".format, inner, VARIABLES | CONSTANTS),
        some.builds("(lambda e: {})({})".format, inner, inner),
        some.builds("len({})".format, inner),
        some.builds("list({}.items())".format, VARIABLES),
        some.builds("str({})".format, inner),
        some.builds(
            lambda receiver, name, argument: f"{receiver}.{name.format(argument)}", VARIABLES, method, VARIABLES
        ),
    )


EXPRESSIONS = some.recursive(VARIABLES | CONSTANTS, _expressions, max_leaves=6)
TARGETS = some.one_of(
    VARIABLES,
    VARIABLES,
    some.builds("{}[{}]".format, VARIABLES, EXPRESSIONS),
    some.builds("box.{}".format, VARIABLES),
)


def _statements(inner: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
    body = some.lists(inner, min_size=1, max_size=3).map(lambda parts: _indented("\n".join(parts)))
    operator = some.sampled_from(["+", "-", "*", "/", "//", "%", "&", "|", "^", ">>"])
    return some.one_of(
        some.builds("{} {}= {}".format, TARGETS, operator, EXPRESSIONS),
        some.builds("if {}:\n{}\nelse:\n{}".format, EXPRESSIONS, body, body),
        # Over a copy: a list that grows under its own loop would never end.
        some.builds("for {} in list({})[:9]:\n{}".format, TARGETS, EXPRESSIONS, body),
        some.builds("try:\n{}\nexcept (TypeError, LookupError):\n{}\nfinally:\n{}".format, body, body, body),
        some.builds("def f(a, b=1, *c):\n{}\n    return a\nd = f({}, {})".format, body, EXPRESSIONS, EXPRESSIONS),
    )


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


SIMPLE = some.one_of(
    some.builds("{} = {}".format, TARGETS, EXPRESSIONS),
    some.builds("{}, {} = {}, {}".format, TARGETS, TARGETS, EXPRESSIONS, EXPRESSIONS),
    some.builds("out.append(str({}))".format, EXPRESSIONS),
    some.builds("out.append((e := {}) is e)".format, EXPRESSIONS),
    some.builds("del {}".format, TARGETS),
)
STATEMENTS = some.recursive(SIMPLE, _statements, max_leaves=5)
PROGRAM = some.lists(
    # Most random statements fail: so that the next one runs all the same.
    some.builds("try:\n{}\nexcept Exception:\n    out.append('failed')".format, STATEMENTS.map(_indented)),
    min_size=1,
    max_size=6,
).map("\n".join)

BEGINNING = """
class Box: pass
box = Box()
box.a, box.b, box.c, box.d = 1, [1], "s", (1, 2)
a, b, c, d, e = 5, [1, 2.5, "x"], {1: "one", "x": [2]}, (1, "x"), 0
def attempt():
    global a, b, c, d, e
"""


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(PROGRAM)
def test_ordinary_programs_compute_the_same(program: str) -> None:
    # At the top level and in a function: the names are found, and forgotten, in different ways.
    for source in (BEGINNING + "    return 0\n" + program, BEGINNING + _indented(program) + "\nattempt()\n"):
        source += "\nout.append(str([a, b, c, d, e, box.a, box.b, box.c, box.d]))\n"
        try:
            compile(source, "script.py", "exec", dont_inherit=True)
        except SyntaxError:
            continue
        assert repr(guarded(source)) == repr(plainly(source)), source

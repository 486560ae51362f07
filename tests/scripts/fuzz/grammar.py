"""Writes random scripts from the whole grammar that is allowed, the same one for the same seed."""

from __future__ import annotations

import re
from random import Random

from tests.scripts.fuzz.words import (
    ATOMS,
    BEGINNING,
    BUILT_IN,
    DUNDER,
    ERRORS,
    FIRST,
    FUNCTIONS,
    GIVES,
    KEYWORDS,
    LAST,
    MATH,
    METHODS,
    OF_THE_HOST,
    PARAMETERS,
    PARTS,
    STEPWISE,
)

STATEMENTS_MIN, STATEMENTS_MAX = 5, 60
DEPTH_MAX = 3  # of expressions
CHARACTERS_MAX = 400  # of one expression; what is longer is drawn again, shallower
CONFUSED = 0.07  # how often a gap takes what is not meant for it
ENDLESS = 0.01

_GAP = re.compile(r"<(\w+)(?::([\w ]+))?>")
_VARIABLES = [name for name, _ in BEGINNING]
_KINDS = dict(BEGINNING)


def program(seed: int) -> str:
    """The script of a seed."""
    return _Writer(Random(seed)).program()


class _Writer:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._locals: list[str] = []  # names besides the variables of every script
        self._plain = 0  # within comprehensions and classes
        self._in_function = False
        self._in_loop = False
        self._left = 0  # statements

    # Expressions

    def of(self, kind: str, depth: int) -> str:
        """An expression whose value is of that kind, most of the time."""
        random = self._random
        if random.random() < CONFUSED and kind != "bound":
            kind = "any"
        if kind == "name":
            return random.choice(self._locals + _VARIABLES)
        if self._locals and kind not in ("bound", "small") and random.random() < 0.15:
            return random.choice(self._locals)
        drawn = self._drawn(kind, depth) if depth > 0 else None
        if drawn is not None:
            return drawn
        parts = PARTS.get(kind, ())
        if kind not in ATOMS:
            if kind in ("method", "host", "builtin", "math", "attribute"):
                return self.of(random.choice(("int", "str", "list", "obj")), 0)
            return self.filled(random.choice(parts), 0) if kind != "operation" else self.of("int", 0)
        if parts and depth > 0 and random.random() < 0.65:
            if not self._plain and random.random() < 0.02:
                return self.filled(random.choice(STEPWISE), depth - 1)
            return self.filled(random.choice(parts), depth - 1)
        return random.choice(ATOMS[kind])

    def _drawn(self, kind: str, depth: int) -> str | None:
        """An expression of a kind that is not written down with gaps."""
        random = self._random
        if kind == "method":
            receiver = random.choice(list(BUILT_IN))
            name = random.choice(BUILT_IN[receiver] if random.random() < 0.93 else METHODS)
            return f"{self._receiver(receiver, depth)}.{name}({self._arguments(depth)})"
        if kind == "host":
            receiver = random.choice(list(OF_THE_HOST))
            return f"{self._receiver(receiver, depth)}.{random.choice(OF_THE_HOST[receiver])}({self._arguments(depth)})"
        if kind == "builtin":
            return f"{random.choice(FUNCTIONS + ERRORS[:4])}({self._arguments(depth)})"
        if kind == "math":
            numbers = [self.of("num", depth - 1) for _ in range(random.choice((1, 1, 2)))]
            return f"math.{random.choice(MATH)}({', '.join(numbers)})"
        if kind == "attribute":
            names = random.choice((["a", "b", "act", "start", "real", "value", "name"], METHODS))
            receiver = random.choice((*BUILT_IN, *OF_THE_HOST, "obj", "cls", "exc"))
            return f"{self._receiver(receiver, depth)}.{random.choice(names)}"
        if kind in PARTS and kind not in ATOMS:
            return self.filled(random.choice(PARTS[kind]), depth - 1)
        return None

    def _receiver(self, kind: str, depth: int) -> str:
        text = self.of(kind, min(depth - 1, 1))
        return f"({text})" if not text.isidentifier() else text

    def _arguments(self, depth: int) -> str:
        random = self._random
        parts = [self.of("any", depth - 1) for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3)))]
        if parts and random.random() < 0.05:
            parts[-1] = f"*{self.of('tuple', depth - 1)}"
        if random.random() < 0.08:
            parts.append(f"{random.choice(KEYWORDS)}={self.of('any', depth - 1)}")
        return ", ".join(parts)

    def filled(self, template: str, depth: int) -> str:
        """The template with its gaps filled."""
        comprehension = " for " in template
        self._plain += comprehension
        in_text = template.startswith("f'")

        def fill(gap: re.Match[str]) -> str:
            names = (gap[2] or "").split()
            self._locals += names
            text = self.of(gap[1], depth)
            if in_text and (set(text) & set("'\"\\{}:#") or "lambda" in text):
                text = self._random.choice(self._locals + _VARIABLES)
            if template[gap.end() : gap.end() + 1] in (".", "[", "(") and not text.isidentifier():
                text = f"({text})"
            if names:
                del self._locals[-len(names) :]
            return text

        text = _GAP.sub(fill, template)
        self._plain -= comprehension
        return text

    def expression(self, kind: str = "any") -> str:
        """One of bearable length."""
        for depth in (self._random.randint(1, DEPTH_MAX), 1, 0):
            text = self.of(kind, depth)
            if len(text) <= CHARACTERS_MAX:
                return text
        return "0"

    # Statements

    def target(self) -> str:
        random = self._random
        draw = random.random()
        if draw < 0.55:
            return random.choice(_VARIABLES)
        if draw < 0.7:
            return random.choice(("v0", "v1", "v2", "v3", "w", *[n for n in self._locals if n != "self"]))
        if draw < 0.8:
            return f"{self._receiver('obj', 0)}.{random.choice(('a', 'b', 'count', 'name', 'items'))}"
        if draw < 0.9:
            return f"{self._receiver(random.choice(('list', 'dict', 'data', 'obj')), 0)}[{self.of('key', 1)}]"
        if draw < 0.95:
            return f"{self._receiver('list', 0)}[{self.of('bound', 1)}:{self.of('bound', 1)}]"
        if draw < 0.97:
            return f"({self.target()}, *{random.choice(_VARIABLES)})"
        return f"[{self.target()}, {self.target()}]"

    def _assignment(self) -> str:
        random = self._random
        draw = random.random()
        if draw < 0.45:
            name = random.choice(_VARIABLES)
            return f"{name} = {self.expression(_KINDS[name])}"
        if draw < 0.7:
            return f"{self.target()} = {self.expression()}"
        if draw < 0.8:
            return f"{self.target()}, {random.choice(('', '*'))}{random.choice(_VARIABLES)} = {self.expression('iter')}"
        if draw < 0.85:
            return f"{self.target()} = {self.target()} = {self.expression()}"
        operator = random.choice(("+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^", "+", "*", "|"))
        name = random.choice(_VARIABLES)
        if random.random() < 0.6:
            return f"{name} {operator}= {self.expression(_KINDS[name])}"
        target = random.choice(
            (f"{self._receiver('obj', 0)}.a", f"l0[{self.of('int', 0)}]", f"d0[{self.of('key', 0)}]")
        )
        return f"{target} {operator}= {self.expression()}"

    def statement(self, depth: int) -> list[str]:
        """The lines of one statement."""
        self._left -= 1
        random = self._random
        draw = random.random()
        if depth > 0 and draw < 0.3:
            return self._compound(depth)
        if draw < 0.65:
            return [self._assignment()]
        if draw < 0.92:
            return [self.expression()]
        if draw < 0.935:
            items = ("l0[0]", f"d0[{self.of('key', 0)}]", "o0.a", "l1[1:]", "data0[1]", "e0", "v0[1]")
            return [f"del {random.choice((random.choice(_VARIABLES), *items))}"]
        if draw < 0.945:
            return [f"assert {self.expression()}, {self.expression()}"]
        if draw < 0.96:
            return [
                random.choice(
                    (f"raise {self.expression('exc')}", f"raise {self.expression('exc')} from x_error", "raise")
                )
            ]
        if self._in_loop and draw < 0.98:
            return [random.choice(("break", "continue"))]
        if self._in_function:
            return [f"return {self.expression()}"]
        return ["pass"]

    def block(self, depth: int, most: int = 3) -> list[str]:
        """Indented lines, at least one."""
        lines: list[str] = []
        for _ in range(self._random.randint(1, most)):
            lines += self.statement(depth - 1)
        return _indented(lines)

    def _compound(self, depth: int) -> list[str]:
        random = self._random
        kind = random.choice(("if", "for", "for", "while", "try", "try", "try", "function", "class"))
        if kind == "if":
            lines = [f"if {self.expression()}:", *self.block(depth)]
            return [*lines, "else:", *self.block(depth)] if random.random() < 0.5 else lines
        if kind in ("for", "while"):
            return self._loop(kind, depth)
        if kind == "try":
            lines = ["try:", *self.block(depth)]
            shape = random.random()
            if shape < 0.85:
                error = random.choice(("Exception", "Exception", "(TypeError, LookupError)", "ValueError", "E0", "v0"))
                lines += [f"except {error}{random.choice(('', ' as v1'))}:", *self.block(depth, 2)]
                if random.random() < 0.2:
                    lines += ["else:", *self.block(depth, 2)]
            if shape > 0.7:
                lines += ["finally:", *self._no_jump(depth)]
            return lines
        if kind == "function":
            return self.function(random.choice(("f0", "f1", "f2", "f3")), depth)
        return self.class_(random.choice(("C0", "C1", "C2")), depth)

    def _no_jump(self, depth: int) -> list[str]:
        """A block that `finally` can hold in every version of Python without a warning."""
        outside = self._in_loop, self._in_function
        self._in_loop = self._in_function = False
        lines = self.block(depth, 2)
        self._in_loop, self._in_function = outside
        return lines

    def _loop(self, kind: str, depth: int) -> list[str]:
        random = self._random
        outside, self._in_loop = self._in_loop, True
        if kind == "for":
            whole = random.random() < 0.15
            target = random.choice(("v2", "v2", self.target(), "v2, *v3"))
            over = self.expression("iter")
            lines = [
                f"for {target} in {over if whole else f'list({over})[:{random.randint(1, 9)}]'}:",
                *self.block(depth),
            ]
        elif random.random() < ENDLESS * 5:
            lines = ["while True:", *self.block(depth)]
        else:
            lines = ["turns = 0", f"while {self.expression()} and turns < {random.randint(1, 9)}:", "    turns += 1"]
            lines += self.block(depth)
        self._in_loop = outside
        return [*lines, "else:", *self.block(depth, 1)] if random.random() < 0.2 else lines

    def function(self, name: str, depth: int) -> list[str]:
        random = self._random
        parameters = random.choice(("a=1", "a=1, b=2", "a=1, *b, k=3", "a=None, b=0, *, k=1, **c", "*a", "a=1, b=l0"))
        names = re.findall(r"\b[a-ck]\b", parameters)
        lines = [random.choice(("", "", "", "@f3", "@session.on_packet(100)", "@session.every(20)"))]
        lines = [line for line in lines if line] + [f"def {name}({parameters}):"]
        body: list[str] = []
        outside = self._locals, self._in_function, self._in_loop, self._plain
        self._locals, self._in_function, self._in_loop, self._plain = self._locals + names, True, False, 0
        if random.random() < 0.2:
            body += ["held = a", "def inner(p=1):", "    nonlocal held"]
            self._locals += ["held", "p"]
            body += self.block(depth, 2)
            self._locals = self._locals[:-2]
            body += ["    return held", f"inner({self.expression()})"]
        for _ in range(random.randint(1, 3)):
            body += self.statement(depth - 1)
        body.append(f"return {self.expression()}")
        self._locals, self._in_function, self._in_loop, self._plain = outside
        return lines + _indented(self._with_globals(body))

    def _with_globals(self, body: list[str]) -> list[str]:
        """Most functions change the variables of all; in the others what is assigned is local, and often missing."""
        used = set(re.findall(r"\b[a-z]\w*", "\n".join(body))) & set(_VARIABLES)
        return [f"global {', '.join(sorted(used))}", *body] if used and self._random.random() < 0.9 else body

    def class_(self, name: str, depth: int) -> list[str]:
        random = self._random
        base = random.choice(
            ("", "", "", "(C0)", "(C1)", "(Exception)", "(E0, C0)", "(C1, C2)", f"({self.of('cls', 0)})")
        )
        lines = [f"class {name}{base}:"]
        if random.random() < 0.3:
            self._plain += 1
            lines.append(f"    a = {self.expression()}")
            self._plain -= 1
        lines += self._method("__init__", "a=None", random.choice(("super().__init__()", "self.a = a")), depth)
        methods = random.sample(DUNDER, random.choice((0, 1, 2, 3, 5)))
        if "__hash__" in methods and "__eq__" not in methods:
            methods.append("__eq__")
        for method in methods:
            lines += self._method(method, PARAMETERS.get(method, "a"), "", depth)
        return lines + self._method("act", "a=None, *b", random.choice(("", "", "super().act(a)")), depth)

    def _method(self, name: str, parameters: str, first: str, depth: int) -> list[str]:
        random = self._random
        outside = self._locals, self._in_function, self._in_loop, self._plain
        self._locals = ["self", "self.a", *re.findall(r"\b[ab]\b", parameters)]
        self._in_function, self._in_loop, self._plain = True, False, 0
        body = [first] if first else []
        if random.random() < 0.4:
            self._left -= 1
            body.append(self._assignment())
        if name == "__iter__" and random.random() < 0.4:
            body.append("return self")
        elif name == "__next__" and random.random() < 0.6:
            body += [f"if {self.expression('bool')}:", "    raise StopIteration", f"return {self.expression()}"]
        elif name == "__init__":
            body.append("self.b = [a]")
        else:
            body.append(f"return {self.expression(GIVES.get(name, 'iter' if name == '__iter__' else 'any'))}")
        self._locals, self._in_function, self._in_loop, self._plain = outside
        return _indented(
            [f"def {name}(self{', ' if parameters else ''}{parameters}):", *_indented(self._with_globals(body))]
        )

    # Scripts

    @staticmethod
    def _safely(lines: list[str]) -> list[str]:
        return ["try:", *_indented(lines), "except Exception:", "    pass"]

    def _attempt(self, depth: int) -> list[str]:
        """A statement after which the script goes on."""
        if self._random.random() < 0.1:
            return self.statement(depth)
        error = self._random.choice(("", "", " as v3"))
        return [
            "try:",
            *self.block(depth, 2),
            f"except Exception{error}:",
            "    " + self._random.choice(("pass", "print(v3)")),
        ]

    def program(self) -> str:
        random = self._random
        self._left = int(STATEMENTS_MIN + (STATEMENTS_MAX - STATEMENTS_MIN) * random.random() ** 3)
        lines = [FIRST, "class E0(ValueError):", "    pass", "def f3(*a):", "    return a[0]", "f0 = f1 = f2 = f3"]
        lines += ["class C0:", "    def __init__(self, a=None):", "        self.a = a", "C1 = C2 = C0"]
        for name in ("C0", "C1", "C2"):
            if random.random() < 0.6:
                lines += self._safely(self.class_(name, 2))
        for name in ("f0", "f1", "f2"):
            if random.random() < 0.6:
                lines += self._safely(self.function(name, 2))
        for name, kind in BEGINNING:
            if kind == "obj" or random.random() < 0.12:
                lines += self._safely([f"{name} = {self.expression(kind)}"])
        while self._left > STATEMENTS_MAX // 2 or random.random() < 0.4:
            lines += self._safely(self._attempt(3))
        if random.random() < 0.3:
            self._locals.append("old")
            lines += ["def on_reload(old):", *self._body(1), "    return old"]
            self._locals.pop()
        parts: list[str] = []
        while True:
            parts.append(f"attempt{len(parts)}")
            lines += [f"def {parts[-1]}():", *self._body(random.randint(1, 4))]
            if self._left <= 0:
                break
        lines += ["turn = 0", "def attempt():", "    global turn", "    turn += 1"]
        lines.append(f"    return [{', '.join(parts)}][turn % {len(parts)}]()")
        lines.append(LAST)
        return "\n".join(lines) + "\n"

    def _body(self, attempts: int) -> list[str]:
        self._in_function = True
        lines: list[str] = []
        for _ in range(attempts):
            lines += self._attempt(3)
        self._in_function = False
        return _indented(self._with_globals(lines))


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]

"""The script policy: which Python a script may be written in, and which guards its compiled form contains.

`Policy` rewrites the syntax tree of a script on the base of RestrictedPython's transformer. What cannot do harm stays
as it is; around the rest it puts guards, `_k_ @ key` and the like, whose names no script can write, for names that
begin with an underscore are refused, and so is `@`. `gsrt._guard` says what each guard does. Every judgement here is
about syntax alone: the same source gets the same verdict on every machine.

Loading this module loads `ast` and RestrictedPython: only the worker thread does, when the first script is there.
"""

from __future__ import annotations

import ast

from RestrictedPython.transformer import RestrictingNodeTransformer

from gsrt.scripts.names import (
    ARGUMENT_GUARDED,
    BUILTINS,
    DUNDER_METHODS,
    FORBIDDEN_ATTRIBUTES,
    FORBIDDEN_NAMES,
    FORBIDDEN_PREFIXES,
    GUARDED_METHODS,
    IMPORTS,
    LINEAR_METHODS,
    PLAIN_WITH_CONSTANTS,
    PLAIN_WITHOUT_ARGUMENTS,
    UNKNOWN_NAMES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    Report: TypeAlias = Callable[[int, int, str, str], None]

OPERATIONS_PER_TICK = 8
OPERATIONS_MAX = 200  # in one statement
LINEAR_OPERATIONS = 4  # what a call of a method of LINEAR_METHODS counts for
TARGETS_MAX = 16  # of one assignment, that are lists
HANDLERS_MAX = 16  # of one `try`, and names in one handler
INTEGER_BITS_MAX = 4096  # of a constant, and of an operand at run time
KEY_MAX = 1 << 60  # integers from here on could be chosen to collide
CLASS_OPERATIONS = 8  # what making a class counts for
MEMBERS_MAX = 64  # constants in `x in (1, 2, 3)` that are compared without a guard

DIRECT_METHODS = GUARDED_METHODS | ARGUMENT_GUARDED | LINEAR_METHODS

KNOWN_NODES = frozenset(
    (
        *("Module", "Expr", "Assign", "AugAssign", "AnnAssign", "Delete", "Pass", "Break", "Continue", "If"),
        *("For", "While", "Try", "Raise", "Assert", "Return", "Global", "Nonlocal", "FunctionDef", "ClassDef"),
        *("Lambda", "arguments", "arg", "keyword", "Starred", "ExceptHandler", "Name", "Load", "Store", "Del"),
        *("Constant", "JoinedStr", "FormattedValue", "Attribute", "Subscript", "Slice", "Call", "NamedExpr"),
        *("IfExp", "List", "Tuple", "Set", "Dict", "ListComp", "SetComp", "DictComp", "GeneratorExp"),
        *("comprehension", "BoolOp", "And", "Or", "UnaryOp", "Not", "USub", "UAdd", "Invert", "BinOp", "Add"),
        *("Sub", "Mult", "Div", "FloorDiv", "Mod", "Pow", "LShift", "RShift", "BitOr", "BitXor", "BitAnd"),
        *("Compare", "Eq", "NotEq", "Lt", "LtE", "Gt", "GtE", "Is", "IsNot", "In", "NotIn"),
    )
)
"""Kinds of nodes that are judged here; any other, of whatever later Python, is refused."""

REFUSED_NODES: dict[str, tuple[str, str]] = {
    "Import": ("import is not available", "Write: `math` and `session` are already there"),
    "ImportFrom": ("import is not available", "Write: `math` and `session` are already there"),
    "With": ("`with` is not available", "Write the steps one after the other; `try`/`finally` for the last"),
    "AsyncFunctionDef": ("`async` is not available", "Write `def`, and `session.set_timeout(function, ms)` for later"),
    "AsyncFor": ("`async` is not available", "Write `for`"),
    "AsyncWith": ("`async` is not available", "Write the steps one after the other"),
    "Await": ("`await` is not available", "Write `session.set_timeout(function, ms)` for what comes later"),
    "Yield": ("`yield` is not available", "Collect the values in a list and return it"),
    "YieldFrom": ("`yield` is not available", "Collect the values in a list and return it"),
    "Match": ("`match` is not available", "Write `if`/`elif`"),
    "TryStar": ("`except*` is not available", "Write `except ValueError:`"),
    "MatMult": ("the operator `@` is not available", "Write a function for it"),
    "TemplateStr": ("template strings are not available", 'Write an f-string: f"{name}"'),
    "TypeAlias": ("`type` statements are not available", "Leave the line out: annotations are not looked at"),
}
"""Kinds of nodes that are refused -> (what, instead)."""

OPERATIONS = (ast.Call, ast.BinOp, ast.Compare, ast.Subscript, ast.FormattedValue, ast.AugAssign, ast.Starred)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor)
SETS = (ast.Set, ast.SetComp)
NEVER_TEXT = (ast.List, ast.ListComp, ast.GeneratorExp)
NEVER_NUMBER_NOR_TUPLE = (ast.List, ast.Dict, ast.Set, ast.JoinedStr, ast.Lambda, *COMPREHENSIONS)


def _operations(node: ast.AST) -> int:
    """What a node counts for towards the next tick, without its parts."""
    if isinstance(node, ast.Compare):
        return len(node.ops)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LINEAR_METHODS:
        return LINEAR_OPERATIONS
    return int(isinstance(node, OPERATIONS))


def _constant(node: ast.expr) -> object:
    """The value of a constant scalar, with its sign; ... for anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, (ast.USub, ast.UAdd))
        and isinstance(node.operand, ast.Constant)
        and isinstance(node.operand.value, (int, float))
    ):
        return -node.operand.value if isinstance(node.op, ast.USub) else node.operand.value
    return ...


def _scalar(node: ast.expr) -> bool:
    return _constant(node) is not ...


def _literal(node: ast.expr) -> bool:
    """A scalar, or a list or tuple of literals: comparing anything with it costs no more than it is long."""
    return _scalar(node) or (isinstance(node, (ast.List, ast.Tuple)) and all(map(_literal, node.elts)))


def _constant_tuple(node: ast.expr) -> bool:
    """A scalar, or a visited tuple of such: a tuple within one is constant, or it would have a guard around it."""
    return _scalar(node) or (
        isinstance(node, ast.Tuple) and all(isinstance(part, ast.Tuple) or _scalar(part) for part in node.elts)
    )


def _text_of_constants(left: ast.expr, right: ast.expr) -> bool:
    """Whether the compiler would work this out, and keep all that comes in between."""
    parts = [left, right]
    text = False
    while parts:
        part = parts.pop()
        if isinstance(part, ast.BinOp):
            parts += part.left, part.right
        elif isinstance(part, ast.UnaryOp):
            parts.append(part.operand)
        elif isinstance(part, ast.Constant):
            text |= isinstance(part.value, (str, bytes))
        else:
            return False
    return text


def _takes_many(target: ast.expr) -> int:
    """How many lists take in what is assigned, as their elements."""
    if isinstance(target, ast.Subscript):
        return int(isinstance(target.slice, ast.Slice))
    return sum(isinstance(part, ast.Starred) for part in ast.walk(target))


def _no_operand_of_concern(node: ast.expr) -> bool:
    """Never an int, a tuple or a number that could grow: what `+`, `-` and `*` do with it is bounded by memory."""
    if isinstance(node, NEVER_NUMBER_NOR_TUPLE):
        return True
    return _scalar(node) and not isinstance(_constant(node), int)


def _power_is_small(base: object, exponent: object) -> bool:
    if not isinstance(base, int) or not isinstance(exponent, int):
        return False
    return exponent < 0 or base.bit_length() * exponent <= INTEGER_BITS_MAX


def _at(node: ast.expr, where: ast.expr | ast.stmt) -> ast.expr:
    return ast.copy_location(node, where)


def _guard(name: str, operand: ast.expr) -> ast.expr:
    """`name @ operand`."""
    return _at(ast.BinOp(_at(ast.Name(name, ast.Load()), operand), ast.MatMult(), operand), operand)


def _call(name: str, arguments: list[ast.expr], where: ast.expr | ast.stmt) -> ast.expr:
    return _at(ast.Call(_at(ast.Name(name, ast.Load()), where), arguments, []), where)


def _tick(where: ast.stmt | ast.ExceptHandler) -> ast.stmt:
    """The statement `not _t_`, on the first line of `where`."""
    place = {
        "lineno": where.lineno,
        "col_offset": where.col_offset,
        "end_lineno": where.lineno,
        "end_col_offset": where.col_offset + 1,
    }
    name = ast.Name("_t_", ast.Load(), **place)
    return ast.Expr(ast.UnaryOp(ast.Not(), name, **place), **place)


def header(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a statement, without the statements it contains."""
    left: list[ast.AST] = [statement]
    while left:
        node = left.pop()
        yield node
        left.extend(
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case))
        )


class Policy(RestrictingNodeTransformer):
    """Rewrites the tree of one script, and reports through `refuse` all that is not allowed in it.

    `refuse(line, column, what, instead)`: line from 1, column in bytes from 0. What it was called for must not be run.
    """

    def __init__(self, refuse: Report) -> None:
        super().__init__()
        self._refuse = refuse
        self._scope = "module"  # or "class", "function"
        self._pending = 0  # operations since the last tick
        self._hidden = 0  # names given so far
        self._no_walrus = False  # in iterables of comprehensions and comprehensions of class bodies
        self._bound: set[str] = set()
        self._loaded: dict[str, ast.Name] = {}

    def unknown_names(self) -> list[tuple[int, int, str, str]]:
        """Names that are read but nowhere defined, as the arguments of a report."""
        return [
            (
                node.lineno,
                node.col_offset,
                f"nothing defines the name `{name}`",
                UNKNOWN_NAMES.get(name, "Define it, or look for a slip of the pen"),
            )
            for name, node in self._loaded.items()
            if name not in self._bound and name not in BUILTINS
        ]

    # Judging

    def refuse(self, node: ast.AST, what: str, instead: str) -> None:
        self._refuse(getattr(node, "lineno", 1), getattr(node, "col_offset", 0), what, instead)

    def error(self, node: ast.AST, info: str) -> None:
        """What the base class finds that this one did not judge."""
        self.refuse(node, info.rstrip("."), "Write it another way")

    def warn(self, node: ast.AST, info: str) -> None:
        """Its warnings always come with an error."""

    def check_name(self, node: ast.AST, name: str | None, allow_magic_methods: bool = False) -> None:
        if name is None or name == "_":
            return
        if name.startswith("_") and not (allow_magic_methods and self._scope == "class" and name in DUNDER_METHODS):
            stripped = name.strip("_")
            if name.startswith("__") and name.endswith("__"):
                instead = "Such names are Python's own; in a class, methods like `__init__` are allowed"
            else:
                instead = f"Write `{stripped}_`" if stripped else "Write `_` or a word"
            self.refuse(node, f"the name `{name}` begins with an underscore", instead)
        elif name in FORBIDDEN_NAMES:
            self.refuse(node, f"`{name}` is not available", FORBIDDEN_NAMES[name])
        elif name == "super":
            self.refuse(node, "`super` stands only in `super().name`", "Write `super().name(...)` inside a method")

    def bind(self, node: ast.AST, name: str | None, allow_magic_methods: bool = False) -> None:
        self.check_name(node, name, allow_magic_methods)
        if name is not None:
            self._bound.add(name)

    def _check_attribute(self, node: ast.Attribute, allowed: str = "") -> None:
        name = node.attr
        if name.startswith("_"):
            if name == allowed:
                return
            stripped = name.strip("_")
            if name == "__init__":
                instead = "Write `super().__init__(...)`"
            elif name.endswith("__"):
                instead = "What belongs to Python itself is out of reach; use operators and built-in functions"
            else:
                instead = f"Write `.{stripped}_`" if stripped else "Choose another name"
            self._refuse_attribute(node, f"the attribute `{name}` begins with an underscore", instead)
        elif name in FORBIDDEN_ATTRIBUTES:
            self._refuse_attribute(node, f"the attribute `{name}` is not available", FORBIDDEN_ATTRIBUTES[name])
        elif name.startswith(FORBIDDEN_PREFIXES):
            self._refuse_attribute(node, f"the attribute `{name}` is not available", "Choose another name")

    def _refuse_attribute(self, node: ast.Attribute, what: str, instead: str) -> None:
        line, column = node.end_lineno or node.lineno, (node.end_col_offset or 0) - len(node.attr.encode())
        if column < 0:
            line, column = node.lineno, node.col_offset
        self._refuse(line, column, what, instead)

    # Walking

    def visit(self, node: ast.AST) -> ast.AST | list[ast.AST] | None:
        kind = type(node).__name__
        if kind in KNOWN_NODES:
            visitor: Callable[[ast.AST], ast.AST | list[ast.AST] | None]
            visitor = getattr(self, "visit_" + kind, self.generic_visit)
            return visitor(node)
        what, instead = REFUSED_NODES.get(kind, (f"`{kind}` is not available", "Write it another way"))
        if isinstance(node, ast.Import):
            what, instead = self._refused_import([alias.name for alias in node.names])
        elif isinstance(node, ast.ImportFrom):
            if node.module == "__future__" and [alias.name for alias in node.names] == ["annotations"]:
                return None
            what, instead = self._refused_import([node.module or ""])
        self.refuse(node, what, instead)
        # Statements inside are judged too, so that all problems come at once.
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self.visit(child)
            elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
                for statement in child.body:
                    self.visit(statement)
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """For kinds that the base class knows no method of, though they are in KNOWN_NODES: none may be."""
        self.refuse(node, f"`{type(node).__name__}` is not available", "Write it another way")
        return node

    @staticmethod
    def _refused_import(modules: list[str]) -> tuple[str, str]:
        names = [name.partition(".")[0] for name in modules]
        default = REFUSED_NODES["Import"][1]
        return REFUSED_NODES["Import"][0], next((IMPORTS[name] for name in names if name in IMPORTS), default)

    def expression(self, node: ast.expr) -> ast.expr:
        done = self.visit(node)
        assert isinstance(done, ast.expr)
        return done

    def optional(self, node: ast.expr | None) -> ast.expr | None:
        return None if node is None else self.expression(node)

    def expressions(self, nodes: Sequence[ast.expr]) -> list[ast.expr]:
        return [self.expression(node) for node in nodes]

    def transient(self, node: ast.expr) -> ast.expr:
        """An expression whose value nothing can keep: if it is a tuple display, it needs no guard itself."""
        if isinstance(node, ast.Tuple):
            node.elts = self.expressions(node.elts)
            return node
        return self.expression(node)

    def block(
        self, statements: Sequence[ast.stmt], tick_at: ast.stmt | ast.ExceptHandler | None = None
    ) -> list[ast.stmt]:
        """Statements that run one after the other, with ticks between them; never empty.

        tick_at: whose line the tick names that comes first, if one must.
        """
        done: list[ast.stmt] = []
        if tick_at is not None:
            done.append(_tick(tick_at))
            self._pending = 0
        for statement in statements:
            operations = [found for node in header(statement) if (found := _operations(node))]
            if len(operations) > OPERATIONS_MAX:
                self.refuse(statement, f"a statement has more than {OPERATIONS_MAX} operations", "Split it")
                continue
            if self._pending and self._pending + sum(operations) > OPERATIONS_PER_TICK:
                done.append(_tick(statement))
                self._pending = 0
            result = self.visit(statement)
            if isinstance(result, ast.stmt):
                done.append(result)
            elif isinstance(result, list):
                done += [part for part in result if isinstance(part, ast.stmt)]
        return done or [ast.copy_location(ast.Pass(), tick_at or statements[0])]

    def operated(self, done: ast.expr, operations: int) -> ast.expr:
        """A visited operation, with a tick after it when so many have been that one is due.

        Only statements that have more than OPERATIONS_PER_TICK themselves get one here: others have it before them.
        """
        self._pending += operations
        if self._pending <= OPERATIONS_PER_TICK:
            return done
        self._pending = 0
        return _guard("_p_", done)

    def alternatives(self, nodes: Sequence[ast.expr]) -> list[ast.expr]:
        """Expressions of which the later ones may not be evaluated: a tick in these counts for nothing afterwards."""
        most = self._pending
        done = []
        for node in nodes:
            done.append(self.expression(node))
            most = max(most, self._pending)
        self._pending = most
        return done

    def branch(self, pending: int, statements: list[ast.stmt], tick_at: ast.stmt | None = None) -> list[ast.stmt]:
        """Statements that run, or do not, after those that left so many operations pending."""
        most, self._pending = self._pending, pending
        done = self.block(statements, tick_at) if statements else statements
        self._pending = max(most, self._pending)
        return done

    # Hidden names

    def hide(self) -> str:
        self._hidden += 1
        return f"_{self._hidden}_"

    @staticmethod
    def _store(name: str, where: ast.expr | ast.stmt) -> ast.Name:
        return ast.copy_location(ast.Name(name, ast.Store()), where)

    def _assign(self, name: str, value: ast.expr, where: ast.stmt) -> ast.stmt:
        return ast.copy_location(ast.Assign([self._store(name, where)], value), where)

    def _forget(self, names: list[str], where: ast.stmt) -> list[ast.stmt]:
        """Outside of functions a hidden name would stay: as a global of the script, or an attribute of its class."""
        if not names or self._scope == "function":
            return []
        return [ast.copy_location(ast.Delete([_at(ast.Name(name, ast.Del()), where) for name in names]), where)]

    # Constants and text

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = node.value
        if isinstance(value, complex):
            self.refuse(node, "complex numbers are not available", "Keep two numbers")
        elif isinstance(value, int) and value.bit_length() > INTEGER_BITS_MAX:
            self.refuse(node, f"an integer has more than {INTEGER_BITS_MAX} bits", "Use smaller numbers")
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        node.values = self.expressions(node.values)
        return node

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        name = {-1: "_f_", ord("s"): "_s_", ord("r"): "_r_"}.get(node.conversion)
        if name is None:
            self.refuse(node, "`!a` is not available", "Write `!r`")
            name = "_r_"
        value = self.expression(node.value)
        value = value if name == "_f_" and _scalar(value) else _guard(name, value)
        node.value = self.operated(value, 1)
        node.conversion = -1
        node.format_spec = self.optional(node.format_spec)
        return node

    # Names and attributes

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load):
            self.check_name(node, node.id)
            self._loaded.setdefault(node.id, node)
        else:
            self.bind(node, node.id)
        return node

    @staticmethod
    def _is_super(node: ast.expr) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "super"
            and not node.args
            and not node.keywords
        )

    def receiver(self, node: ast.Attribute) -> ast.expr:
        """The object whose attribute is meant, the name of the attribute checked."""
        if self._is_super(node.value):
            self._check_attribute(node, allowed="__init__")
            return node.value
        self._check_attribute(node)
        return self.expression(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.value = self.receiver(node)
        if not isinstance(node.ctx, ast.Load):
            node.value = _guard("_w_", node.value)
        elif node.attr in DIRECT_METHODS and not (node.attr == "join" and isinstance(node.value, ast.Constant)):
            node.value = _guard("_a_", node.value)
        return node

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        self.bind(node.target, node.target.id)
        node.value = self.expression(node.value)
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    # Items

    def key(self, node: ast.expr) -> ast.expr:
        """A key under which something is put."""
        done = self.expression(node)
        for part in ast.walk(done) if _constant_tuple(done) else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, int) and part.value >= KEY_MAX:
                self.refuse(part, "a key is an integer of 2**60 or more", "Write str(number), or a smaller number")
        # Constant tuples are guarded too: enough of them with the same hash fit into a source.
        return done if _scalar(done) else _guard("_k_", done)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.value = self.expression(node.value)
        if not isinstance(node.ctx, ast.Store):
            node.slice = self.expression(node.slice)
        elif isinstance(node.slice, ast.Slice):
            node.value = _guard("_v_", node.value)
            node.slice = self.expression(node.slice)
        else:
            node.slice = self.key(node.slice)
        if isinstance(node.ctx, ast.Load):
            return self.operated(node, 1)
        self._pending += 1
        return node

    def visit_Slice(self, node: ast.Slice) -> ast.AST:
        node.lower, node.upper, node.step = map(self._bound_of_slice, (node.lower, node.upper, node.step))
        return node

    def _bound_of_slice(self, node: ast.expr | None) -> ast.expr | None:
        if node is None or _scalar(node):
            return self.optional(node)
        return _guard("_z_", self.expression(node))

    # Displays

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        for part in node.elts:
            if isinstance(part, ast.Slice):
                self.refuse(part, "a slice stands beside another index", "Write one after the other: rows[a:b][c]")
        node.elts = self.expressions(node.elts)
        return _guard("_T_", node) if isinstance(node.ctx, ast.Load) and not _constant_tuple(node) else node

    def visit_Starred(self, node: ast.Starred) -> ast.AST:
        """In displays, calls and targets; visit_Set has its own."""
        if isinstance(node.ctx, ast.Load):
            node.value = self.operated(_guard("_l_", self.transient(node.value)), 1)
        else:
            self._pending += 1
            node.value = self.expression(node.value)
        return node

    def visit_Set(self, node: ast.Set) -> ast.AST:
        for place, part in enumerate(node.elts):
            if isinstance(part, ast.Starred):
                part.value = self.operated(_guard("_u_", self.transient(part.value)), 1)
            else:
                node.elts[place] = self.key(part)
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        for place, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if key is None:
                node.values[place] = _guard("_d_", self.expression(value))
            else:
                node.keys[place] = self.key(key)
                node.values[place] = self.expression(value)
        return node

    # Comprehensions

    def _generators(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> tuple[bool, int]:
        """Judges the clauses; answers what `_no_walrus` was before, and what is pending if there is no element."""
        before = self._no_walrus
        in_class = self._scope == "class"
        pending = 0
        for generator in node.generators:
            self._no_walrus = True
            generator.iter = self.transient(generator.iter)
            pending = max(pending, self._pending)
            self._pending = 0
            self._no_walrus = before or in_class
            generator.target = self.expression(generator.target)
            tick = _at(ast.Name("_t_", ast.Load()), generator.iter)
            generator.ifs = [tick, *self.expressions(generator.ifs)]
            if generator.is_async:
                self.refuse(node, "`async` is not available", "Write `for`")
        return before, pending

    def _generated(self, before: tuple[bool, int]) -> None:
        """After the element, with what `_generators` answered."""
        self._no_walrus = before[0]
        self._pending = max(before[1], self._pending)

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        before = self._generators(node)
        node.elt = self.expression(node.elt)
        self._generated(before)
        return node

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        """A list at once: lazy ones, nested in each other, could be deeper than the stack."""
        return self.visit_ListComp(_at(ast.ListComp(node.elt, node.generators), node))  # type: ignore[arg-type]

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        before = self._generators(node)
        node.elt = self.key(node.elt)
        self._generated(before)
        return node

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        before = self._generators(node)
        node.key = self.key(node.key)
        node.value = self.expression(node.value)
        self._generated(before)
        return node

    # Operators

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        guards = self._operation_guards(node.left, node.op, node.right, node)
        left = self.expression(node.left)
        # The tuple of values for a text with `%` is seen by nobody but the guard.
        right = self.transient(node.right) if guards[0] == "_q_" else self.expression(node.right)
        return self.operated(self._operation(left, node.op, right, guards, node), 1)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        node.values = self.alternatives(node.values)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self.expression(node.test)
        pending = self._pending
        node.body = self.expression(node.body)
        after, self._pending = self._pending, pending
        node.orelse = self.expression(node.orelse)
        self._pending = max(after, self._pending)
        return node

    def _operation_guards(
        self, left: ast.expr, operator: ast.operator, right: ast.expr, where: ast.expr | ast.stmt
    ) -> tuple[str, str, str]:
        """For `left operator right`, not yet visited: the guards of the two operands, or a function in its place."""
        constant_left, constant_right = _constant(left), _constant(right)
        guard_left = "" if _scalar(left) else "_n_"
        guard_right = "" if _scalar(right) else "_n_"
        harmless = _no_operand_of_concern(left) or _no_operand_of_concern(right)
        if isinstance(operator, ast.MatMult):
            self.refuse(where, *REFUSED_NODES["MatMult"])
        elif isinstance(operator, (ast.Add, ast.Mult)) and _text_of_constants(left, right):
            return "", "_n_", ""
        elif isinstance(operator, (ast.Add, ast.Sub)):
            # One operand's size is enough: what is added repeatedly cannot double. Sets are charged for on the right.
            of_sets = isinstance(operator, ast.Sub) and (isinstance(left, SETS) or isinstance(right, SETS))
            return ("", "", "") if (harmless and not of_sets) or not guard_left else ("", guard_right, "")
        elif isinstance(operator, SET_OPERATORS):
            return ("", "", "") if not guard_left or not guard_right else ("", "_h_", "")
        elif isinstance(operator, ast.Mult):
            return ("", "", "") if harmless else (guard_left, guard_right, "")
        elif isinstance(operator, ast.Mod):
            number = isinstance(constant_left, (int, float)) or isinstance(constant_right, (int, float))
            return ("", "", "") if number else ("_q_", "", "")
        elif isinstance(operator, ast.Pow):
            if _power_is_small(constant_left, constant_right):
                return "", "", ""
            small = isinstance(constant_right, int) and 0 <= constant_right <= 2
            return (guard_left, "", "") if small else ("", "", "_pow_")
        elif isinstance(operator, ast.LShift):
            small = isinstance(constant_right, int) and 0 <= constant_right <= INTEGER_BITS_MAX
            return (guard_left, "", "") if small else ("", "", "_shift_")
        return "", "", ""

    @staticmethod
    def _operation(
        left: ast.expr,
        operator: ast.operator,
        right: ast.expr,
        guards: tuple[str, str, str],
        where: ast.expr | ast.stmt,
    ) -> ast.expr:
        guard_left, guard_right, function = guards
        if function:
            return _call(function, [left, right], where)
        if guard_left:
            left = _guard(guard_left, left)
        if guard_right:
            right = _guard(guard_right, right)
        return _at(ast.BinOp(left, operator, right), where)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        operands = [node.left, *node.comparators]
        operations = len(node.ops)
        pairs = zip(operands, node.ops, operands[1:], strict=False)
        guards = [self._comparison_guard(*pair) for pair in pairs]
        done = self.alternatives(operands[:-1])
        # A display that is searched is seen by nobody; one that is compared may be seen by a script's `__eq__`.
        searched = isinstance(node.ops[-1], (ast.In, ast.NotIn))
        done.append(self.transient(operands[-1]) if searched else self.expression(operands[-1]))
        if not any(guards) or len(guards) == 1:
            return self.operated(self._comparison(done[0], node.ops, guards, done[1:], node), operations)
        # Each pair on its own, for a guard changes what one of the two sees. What stands between is evaluated once.
        parts: list[ast.expr] = []
        left = done[0]
        for operator, guard, operand, original in zip(node.ops, guards, done[1:], operands[1:], strict=True):
            right, again = operand, operand
            if isinstance(original, ast.Name):
                again = _at(ast.Name(original.id, ast.Load()), operand)
            elif original is not operands[-1] and not _scalar(original):
                if self._no_walrus or self._scope == "class":
                    self.refuse(original, "this chain of comparisons is too long", "Assign the middle value to a name")
                name = self.hide()
                right = _at(ast.NamedExpr(self._store(name, operand), operand), operand)
                again = _at(ast.Name(name, ast.Load()), operand)
            parts.append(self._comparison(left, [operator], [guard], [right], node))
            left = again
        return self.operated(_at(ast.BoolOp(ast.And(), parts), node), operations)

    @staticmethod
    def _comparison_guard(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        if isinstance(operator, (ast.Is, ast.IsNot)):
            return ""
        if isinstance(operator, (ast.In, ast.NotIn)):
            if isinstance(right, (ast.Tuple, ast.List, ast.Set)) and len(right.elts) <= MEMBERS_MAX:
                return "" if all(map(_scalar, right.elts)) else "_m_"
            return "" if isinstance(right, ast.Constant) else "_m_"
        return "" if _literal(left) or _literal(right) else "_c_"

    @staticmethod
    def _comparison(
        left: ast.expr, operators: list[ast.cmpop], guards: list[str], right: list[ast.expr], where: ast.expr
    ) -> ast.expr:
        if guards[0] == "_m_":
            right = [_guard("_m_", right[0]), *right[1:]]
        elif guards[0]:
            left = _guard(guards[0], left)
        return _at(ast.Compare(left, operators, right), where)

    # Calls

    def visit_Call(self, node: ast.Call) -> ast.AST:
        method, operations = node.func, _operations(node)
        name = method.attr if isinstance(method, ast.Attribute) else ""
        arguments = list(node.args)
        plain = not arguments and not node.keywords and name in PLAIN_WITHOUT_ARGUMENTS
        plain |= all(map(_scalar, arguments)) and not node.keywords and name in PLAIN_WITH_CONSTANTS
        plain |= name == "join" and len(arguments) == 1 and isinstance(arguments[0], NEVER_TEXT)
        if name in ARGUMENT_GUARDED and arguments:
            if isinstance(arguments[0], ast.Starred):
                self.refuse(arguments[0], f"`*` is not available in `.{name}(...)`", "Write the arguments one by one")
            else:
                arguments = [self.key(arguments[0]), *self.expressions(arguments[1:])]
        else:
            arguments = self.expressions(arguments)
        for keyword in node.keywords:
            if keyword.arg is None:
                self.refuse(keyword, "`**` in a call is not available", "Write the arguments one by one: name=value")
            self.check_name(keyword, keyword.arg)
            keyword.value = self.expression(keyword.value)
        if not isinstance(method, ast.Attribute):
            node.func = self.expression(method)
        elif name in GUARDED_METHODS and not plain:
            node.func = _at(ast.Name("_m_" + name, ast.Load()), method)
            arguments.insert(0, self.receiver(method))
        else:
            method.value = self.receiver(method)
        node.args = arguments
        return self.operated(node, operations)

    # Assignments

    def visit_Assign(self, node: ast.Assign) -> list[ast.AST] | ast.AST:
        target = node.targets[0]
        swap = (
            len(node.targets) == 1
            and isinstance(target, (ast.Tuple, ast.List))
            and isinstance(node.value, ast.Tuple)
            and len(target.elts) == len(node.value.elts)
            and not any(isinstance(part, ast.Starred) for part in (*target.elts, *node.value.elts))
        )
        node.value = self.transient(node.value) if swap else self.expression(node.value)
        many = sum(map(_takes_many, node.targets))
        if many > TARGETS_MAX:
            self.refuse(node, f"more than {TARGETS_MAX} targets take lists in", "Assign one after the other")
        if many:
            node.value = _guard("_l_", node.value)
        node.targets = self.expressions(node.targets)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> list[ast.AST] | ast.AST | None:
        if node.value is None:
            if isinstance(node.target, ast.Name):
                self.check_name(node.target, node.target.id)
            return None
        return self.visit_Assign(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_AugAssign(self, node: ast.AugAssign) -> list[ast.AST] | ast.AST:
        operator, value = node.op, node.value
        self._pending += 1
        if isinstance(operator, ast.MatMult):
            self.refuse(node, *REFUSED_NODES["MatMult"])
        constant = _constant(value)
        number = isinstance(constant, (int, float))
        if isinstance(operator, (ast.Pow, ast.LShift)) or (isinstance(operator, ast.Mod) and not number):
            return self._assign_operation(node)
        if isinstance(operator, ast.Mult) and not _no_operand_of_concern(value):
            return self._multiply_in_place(node)
        if isinstance(operator, ast.BitOr) and not _scalar(value):
            return self._unite_in_place(node)
        guard = ""
        if isinstance(operator, ast.Add) and not _no_operand_of_concern(value):
            guard = "_i_"
        elif isinstance(operator, ast.Sub) and (isinstance(value, SETS) or not _no_operand_of_concern(value)):
            guard = "_n_"
        elif isinstance(operator, SET_OPERATORS):
            guard = "_h_"
        if _scalar(value):
            guard = ""
        target = node.target
        if isinstance(target, ast.Subscript):
            # An item that could be read need not be there any more when it is written.
            target.value = self.expression(target.value)
            target.slice = (self.expression if isinstance(target.slice, ast.Slice) else self.key)(target.slice)
        else:
            self.expression(target)
            if isinstance(target, ast.Name):
                self._bound.add(target.id)
        node.value = self.expression(value)
        if guard:
            node.value = _guard(guard, node.value)
        return node

    def _stable_target(self, node: ast.AugAssign) -> tuple[list[ast.stmt], list[str], ast.expr, ast.expr]:
        """The target of an augmented assignment for reading and for writing, so that its parts are evaluated once.

        Returns statements to come first, the hidden names they bind, the target read and the target written.
        """
        before: list[ast.stmt] = []
        names: list[str] = []

        def stable(part: ast.expr) -> tuple[ast.expr, ast.expr]:
            done = self.expression(part)
            if isinstance(part, ast.Constant):
                return done, _at(ast.Constant(part.value), part)
            if isinstance(part, ast.Name):
                return done, _at(ast.Name(part.id, ast.Load()), part)
            name = self.hide()
            names.append(name)
            before.append(self._assign(name, done, node))
            return _at(ast.Name(name, ast.Load()), part), _at(ast.Name(name, ast.Load()), part)

        target = node.target
        read: ast.expr
        if isinstance(target, ast.Name):
            self.bind(target, target.id)
            return before, names, _at(ast.Name(target.id, ast.Load()), target), target
        if isinstance(target, ast.Attribute):
            self._check_attribute(target)
            first, again = stable(target.value)
            # Guarded for reading as well: what cannot be written need not be read.
            read = _at(ast.Attribute(_guard("_w_", first), target.attr, ast.Load()), target)
            target.value = _guard("_w_", again)
            return before, names, read, target
        if isinstance(target.slice, ast.Slice):
            self.refuse(target, "this operator does not work on a slice", "Write a loop over the elements")
            return before, names, target, target
        first, again = stable(target.value)
        key, key_again = stable(target.slice)
        read = _at(ast.Subscript(first, key, ast.Load()), target)
        target.value = again
        target.slice = key_again if _scalar(key_again) else _guard("_k_", key_again)
        return before, names, read, target

    def _assign_operation(self, node: ast.AugAssign) -> list[ast.AST]:
        """`x **= y` as `x = x ** y`, guarded: no built-in type does these in place."""
        guards = self._operation_guards(node.target, node.op, node.value, node)
        before, names, read, write = self._stable_target(node)
        value = self.transient(node.value) if guards[0] == "_q_" else self.expression(node.value)
        assign = ast.Assign([write], self._operation(read, node.op, value, guards, node))
        return [*before, ast.copy_location(assign, node), *self._forget(names, node)]

    def _multiply_in_place(self, node: ast.AugAssign) -> list[ast.AST]:
        """`x *= y` as `h = _n_ @ x; h *= _n_ @ y; x = h`: a list is still changed in place, a tuple is measured."""
        before, names, read, write = self._stable_target(node)
        name = self.hide()
        value = self.expression(node.value)
        change = ast.AugAssign(
            self._store(name, node.target),
            node.op,
            value if _scalar(node.value) else _guard("_n_", value),
        )
        return [
            *before,
            self._assign(name, _guard("_n_", read), node),
            ast.copy_location(change, node),
            ast.copy_location(ast.Assign([write], _at(ast.Name(name, ast.Load()), node)), node),
            *self._forget([*names, name], node),
        ]

    def _unite_in_place(self, node: ast.AugAssign) -> list[ast.AST]:
        """`x |= y` as `h = x; i = y; h | (_o_ @ i); h |= i; x = h`.

        For `dict |= pairs` would insert keys that nothing checks, be they in a set; `dict | pairs` is a TypeError.
        """
        before, names, read, write = self._stable_target(node)
        left, right = self.hide(), self.hide()

        def name_of(name: str) -> ast.expr:
            return _at(ast.Name(name, ast.Load()), node)

        trial = _at(ast.BinOp(name_of(left), ast.BitOr(), _guard("_o_", name_of(right))), node)
        change = ast.AugAssign(self._store(left, node), node.op, name_of(right))
        return [
            *before,
            self._assign(left, read, node),
            self._assign(right, self.expression(node.value), node),
            ast.copy_location(ast.Expr(trial), node),
            ast.copy_location(change, node),
            ast.copy_location(ast.Assign([write], name_of(left)), node),
            *self._forget([*names, left, right], node),
        ]

    # Control flow

    def visit_If(self, node: ast.If) -> ast.AST:
        node.test = self.expression(node.test)
        pending = self._pending
        node.body = self.block(node.body)
        node.orelse = self.branch(pending, node.orelse)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        before = self._pending
        node.test = self.expression(node.test)
        tested = max(self._pending - before, 0)
        node.body = self.branch(0, node.body, node)
        self._pending += tested
        if node.orelse:
            node.orelse = self.block(node.orelse)
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        node.iter = self.transient(node.iter)
        node.target = self.expression(node.target)
        node.body = self.branch(0, node.body, node)
        if node.orelse:
            node.orelse = self.block(node.orelse)
        return node

    def visit_Try(self, node: ast.Try) -> ast.AST:
        node.body = self.block(node.body)
        if node.orelse:
            node.orelse = self.block(node.orelse)
        if len(node.handlers) > HANDLERS_MAX:
            self.refuse(node.handlers[HANDLERS_MAX], f"a `try` has more than {HANDLERS_MAX} `except`", "Split it")
        most = self._pending
        for handler in node.handlers:
            self.visit_ExceptHandler(handler)
            most = max(most, self._pending)
        self._pending = most
        if node.finalbody:
            node.finalbody = self.block(node.finalbody, node.finalbody[0])
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if node.type is None:
            self.refuse(node, "`except:` catches everything", "Write `except Exception:`, or name what you expect")
        elif not all(isinstance(kind, ast.Name) for kind in kinds):
            self.refuse(node.type, "`except` takes names only", "Write `except (KeyError, ValueError):`")
        if len(kinds) > HANDLERS_MAX:
            self.refuse(node, f"`except` has more than {HANDLERS_MAX} names", "Name what they have as base")
        if isinstance(node.type, ast.Tuple):
            node.type.elts = [_guard("_x_", self.expression(kind)) for kind in node.type.elts]
        elif node.type is not None:
            node.type = _guard("_x_", self.expression(node.type))
        self.bind(node, node.name)
        name, node.name = node.name, None
        node.body = self.block(node.body, node)
        if name is not None:
            place = _tick(node)
            text = _call("_e_", [], place)
            node.body.insert(1, ast.copy_location(self._assign(name, text, place), place))
        return node

    # Functions and classes

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        for argument in (*node.posonlyargs, *node.args, node.vararg, *node.kwonlyargs, node.kwarg):
            if argument is not None:
                self.bind(argument, argument.arg)
                argument.annotation = None
        node.defaults = self.expressions(node.defaults)
        node.kw_defaults = [self.optional(default) for default in node.kw_defaults]
        return node

    def _refuse_type_parameters(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        if getattr(node, "type_params", None):
            self.refuse(node, "type parameters are not available", "Leave them out: annotations are not looked at")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.bind(node, node.name, allow_magic_methods=True)
        self._refuse_type_parameters(node)
        node.decorator_list = self.expressions(node.decorator_list)
        self._pending += len(node.decorator_list)
        self.visit_arguments(node.args)
        node.returns = None
        outside = self._scope, self._pending, self._no_walrus
        self._scope, self._no_walrus = "function", False
        node.body = self.block(node.body, node)
        self._scope, self._pending, self._no_walrus = outside
        if node.args.vararg is not None:
            place, name = _tick(node), node.args.vararg.arg
            measured = _guard("_T_", _at(ast.Name(name, ast.Load()), place))
            node.body.insert(1, self._assign(name, measured, place))
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        if node.args.vararg is not None or node.args.kwarg is not None:
            self.refuse(node, "a lambda with `*` or `**` parameters is not available", "Write a function with `def`")
        self.visit_arguments(node.args)
        outside = self._scope, self._pending
        self._scope, self._pending = "function", 0
        body = self.expression(node.body)
        self._scope, self._pending = outside
        node.body = _at(ast.BoolOp(ast.And(), [_at(ast.Name("_t_", ast.Load()), node), body]), body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.bind(node, node.name)
        self._refuse_type_parameters(node)
        if node.decorator_list:
            self.refuse(node.decorator_list[0], "a class has a decorator", "Call the function with the class")
            node.decorator_list = []
        if node.keywords:
            self.refuse(node.keywords[0].value, "keywords of a class are not available", "Write `class Name(Base):`")
            node.keywords = []
        for place, base in enumerate(node.bases):
            if isinstance(base, ast.Starred):
                self.refuse(base, "`*` is not available here", "Write the bases one by one")
            else:
                node.bases[place] = _guard("_b_", self.expression(base))
        self._pending += CLASS_OPERATIONS
        outside, self._scope = self._scope, "class"
        node.body = self.block(node.body)
        self._scope = outside
        return node

    def visit_Module(self, node: ast.Module) -> ast.Module:
        if node.body:
            node.body = self.block(node.body)
        return node

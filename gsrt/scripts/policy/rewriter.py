"""How a syntax tree is gone through, and what stands between its parts: ticks, and names that no script can write."""

from __future__ import annotations

import ast

from RestrictedPython.transformer import RestrictingNodeTransformer

from gsrt.scripts.names import IMPORTS
from gsrt.scripts.policy.kinds import KNOWN_NODES, REFUSED_NODES
from gsrt.scripts.policy.syntax import at, guarded, header, is_constant_tuple, is_scalar, operations_of, tick_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Report: TypeAlias = Callable[[int, int, str, str], None]

OPERATIONS_PER_TICK = 8
OPERATIONS_MAX = 200  # in one statement
KEY_MAX = 1 << 60  # integers from here on could be chosen to collide


class Rewriter(RestrictingNodeTransformer):
    """What the parts of the policy have in common.

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

    # Judging

    def refuse(self, node: ast.AST, what: str, instead: str) -> None:
        self._refuse(getattr(node, "lineno", 1), getattr(node, "col_offset", 0), what, instead)

    def error(self, node: ast.AST, info: str) -> None:
        """What the base class finds that this one did not judge."""
        self.refuse(node, info.rstrip("."), "Write it another way")

    def warn(self, node: ast.AST, info: str) -> None:
        """Its warnings always come with an error."""

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

    def key(self, node: ast.expr) -> ast.expr:
        """A key under which something is put."""
        done = self.expression(node)
        for part in ast.walk(done) if is_constant_tuple(done) else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, int) and part.value >= KEY_MAX:
                self.refuse(part, "a key is an integer of 2**60 or more", "Write str(number), or a smaller number")
        # Constant tuples are guarded too: enough of them with the same hash fit into a source.
        return done if is_scalar(done) else guarded("_k_", done)

    def block(
        self, statements: Sequence[ast.stmt], tick_at: ast.stmt | ast.ExceptHandler | None = None
    ) -> list[ast.stmt]:
        """Statements that run one after the other, with ticks between them; never empty.

        tick_at: whose line the tick names that comes first, if one must.
        """
        done: list[ast.stmt] = []
        if tick_at is not None:
            done.append(tick_in(tick_at))
            self._pending = 0
        for statement in statements:
            operations = [found for node in header(statement) if (found := operations_of(node))]
            if len(operations) > OPERATIONS_MAX:
                self.refuse(statement, f"a statement has more than {OPERATIONS_MAX} operations", "Split it")
                continue
            if self._pending and self._pending + sum(operations) > OPERATIONS_PER_TICK:
                done.append(tick_in(statement))
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
        return guarded("_p_", done)

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
        return [ast.copy_location(ast.Delete([at(ast.Name(name, ast.Del()), where) for name in names]), where)]

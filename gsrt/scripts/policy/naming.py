"""Names and attributes: which there may be, and which objects may be asked for what."""

from __future__ import annotations

import ast

from gsrt.scripts.names import (
    ARGUMENT_GUARDED,
    BUILTINS,
    DUNDER_METHODS,
    FORBIDDEN_ATTRIBUTES,
    FORBIDDEN_NAMES,
    FORBIDDEN_PREFIXES,
    GUARDED_METHODS,
    LINEAR_METHODS,
    UNKNOWN_NAMES,
)
from gsrt.scripts.policy.rewriter import Rewriter
from gsrt.scripts.policy.syntax import guarded

DIRECT_METHODS = GUARDED_METHODS | ARGUMENT_GUARDED | LINEAR_METHODS


class Naming(Rewriter):
    """Judges names where they are bound, read and asked for."""

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

    # Names and attributes

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load):
            self.check_name(node, node.id)
            self._loaded.setdefault(node.id, node)
        else:
            self.bind(node, node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.value = self.receiver(node)
        if not isinstance(node.ctx, ast.Load):
            node.value = guarded("_w_", node.value)
        elif node.attr in DIRECT_METHODS and not (node.attr == "join" and isinstance(node.value, ast.Constant)):
            node.value = guarded("_a_", node.value)
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

"""Expressions but for operators: constants and text, items, displays, comprehensions, calls."""

from __future__ import annotations

import ast

from gsrt.scripts.names import ARGUMENT_GUARDED, GUARDED_METHODS, PLAIN_WITH_CONSTANTS, PLAIN_WITHOUT_ARGUMENTS
from gsrt.scripts.policy.naming import Naming
from gsrt.scripts.policy.syntax import (
    INTEGER_BITS_MAX,
    NEVER_TEXT,
    at,
    guarded,
    is_constant_tuple,
    is_scalar,
    operations_of,
)


class Expressions(Naming):
    """Guards what goes into text, into a container and into a call."""

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
        value = value if name == "_f_" and is_scalar(value) else guarded(name, value)
        node.value = self.operated(value, 1)
        node.conversion = -1
        node.format_spec = self.optional(node.format_spec)
        return node

    # Items

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.value = self.expression(node.value)
        if not isinstance(node.ctx, ast.Store):
            node.slice = self.expression(node.slice)
        elif isinstance(node.slice, ast.Slice):
            node.value = guarded("_v_", node.value)
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
        if node is None or is_scalar(node):
            return self.optional(node)
        return guarded("_z_", self.expression(node))

    # Displays

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        for part in node.elts:
            if isinstance(part, ast.Slice):
                self.refuse(part, "a slice stands beside another index", "Write one after the other: rows[a:b][c]")
        node.elts = self.expressions(node.elts)
        return guarded("_T_", node) if isinstance(node.ctx, ast.Load) and not is_constant_tuple(node) else node

    def visit_Starred(self, node: ast.Starred) -> ast.AST:
        """In displays, calls and targets; visit_Set has its own."""
        if isinstance(node.ctx, ast.Load):
            node.value = self.operated(guarded("_l_", self.transient(node.value)), 1)
        else:
            self._pending += 1
            node.value = self.expression(node.value)
        return node

    def visit_Set(self, node: ast.Set) -> ast.AST:
        for place, part in enumerate(node.elts):
            if isinstance(part, ast.Starred):
                part.value = self.operated(guarded("_u_", self.transient(part.value)), 1)
            else:
                node.elts[place] = self.key(part)
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        for place, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if key is None:
                node.values[place] = guarded("_d_", self.expression(value))
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
            tick = at(ast.Name("_t_", ast.Load()), generator.iter)
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
        return self.visit_ListComp(at(ast.ListComp(node.elt, node.generators), node))  # type: ignore[arg-type]

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

    # Calls

    def visit_Call(self, node: ast.Call) -> ast.AST:
        method, operations = node.func, operations_of(node)
        name = method.attr if isinstance(method, ast.Attribute) else ""
        arguments = list(node.args)
        plain = not arguments and not node.keywords and name in PLAIN_WITHOUT_ARGUMENTS
        plain |= all(map(is_scalar, arguments)) and not node.keywords and name in PLAIN_WITH_CONSTANTS
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
            node.func = at(ast.Name("_m_" + name, ast.Load()), method)
            arguments.insert(0, self.receiver(method))
        else:
            method.value = self.receiver(method)
        node.args = arguments
        return self.operated(node, operations)

"""Statements: assignments, control flow, functions and classes."""

from __future__ import annotations

import ast

from gsrt.scripts.policy.naming import Naming
from gsrt.scripts.policy.syntax import at, called, guarded, lists_taken_by, tick_in

TARGETS_MAX = 16  # of one assignment, that are lists
HANDLERS_MAX = 16  # of one `try`, and names in one handler
CLASS_OPERATIONS = 8  # what making a class counts for


class Statements(Naming):
    """Puts ticks where a script may come by again and again, and guards what is assigned and caught."""

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
        many = sum(map(lists_taken_by, node.targets))
        if many > TARGETS_MAX:
            self.refuse(node, f"more than {TARGETS_MAX} targets take lists in", "Assign one after the other")
        if many:
            node.value = guarded("_l_", node.value)
        node.targets = self.expressions(node.targets)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> list[ast.AST] | ast.AST | None:
        if node.value is None:
            if isinstance(node.target, ast.Name):
                self.check_name(node.target, node.target.id)
            return None
        return self.visit_Assign(ast.copy_location(ast.Assign([node.target], node.value), node))

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
            node.type.elts = [guarded("_x_", self.expression(kind)) for kind in node.type.elts]
        elif node.type is not None:
            node.type = guarded("_x_", self.expression(node.type))
        self.bind(node, node.name)
        name, node.name = node.name, None
        node.body = self.block(node.body, node)
        if name is not None:
            place = tick_in(node)
            text = called("_e_", [], place)
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
            place, name = tick_in(node), node.args.vararg.arg
            measured = guarded("_T_", at(ast.Name(name, ast.Load()), place))
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
        node.body = at(ast.BoolOp(ast.And(), [at(ast.Name("_t_", ast.Load()), node), body]), body)
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
                node.bases[place] = guarded("_b_", self.expression(base))
        self._pending += CLASS_OPERATIONS
        outside, self._scope = self._scope, "class"
        node.body = self.block(node.body)
        self._scope = outside
        return node

    def visit_Module(self, node: ast.Module) -> ast.Module:
        if node.body:
            node.body = self.block(node.body)
        return node

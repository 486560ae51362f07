"""Operators, in expressions and in augmented assignments: which operands have a guard."""

from __future__ import annotations

import ast

from gsrt.scripts.policy.kinds import REFUSED_NODES
from gsrt.scripts.policy.naming import Naming
from gsrt.scripts.policy.syntax import (
    INTEGER_BITS_MAX,
    SET_OPERATORS,
    SETS,
    at,
    called,
    constant_of,
    guarded,
    is_literal,
    is_of_no_concern,
    is_scalar,
    is_small_power,
    is_text_of_constants,
)

MEMBERS_MAX = 64  # constants in `x in (1, 2, 3)` that are compared without a guard


class Operators(Naming):
    """Guards the operands whose values decide what an operation costs."""

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
        constant_left, constant_right = constant_of(left), constant_of(right)
        guard_left = "" if is_scalar(left) else "_n_"
        guard_right = "" if is_scalar(right) else "_n_"
        harmless = is_of_no_concern(left) or is_of_no_concern(right)
        if isinstance(operator, ast.MatMult):
            self.refuse(where, *REFUSED_NODES["MatMult"])
        elif isinstance(operator, (ast.Add, ast.Mult)) and is_text_of_constants(left, right):
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
            if is_small_power(constant_left, constant_right):
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
            return called(function, [left, right], where)
        if guard_left:
            left = guarded(guard_left, left)
        if guard_right:
            right = guarded(guard_right, right)
        return at(ast.BinOp(left, operator, right), where)

    # Comparisons

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
                again = at(ast.Name(original.id, ast.Load()), operand)
            elif original is not operands[-1] and not is_scalar(original):
                if self._no_walrus or self._scope == "class":
                    self.refuse(original, "this chain of comparisons is too long", "Assign the middle value to a name")
                name = self.hide()
                right = at(ast.NamedExpr(self._store(name, operand), operand), operand)
                again = at(ast.Name(name, ast.Load()), operand)
            parts.append(self._comparison(left, [operator], [guard], [right], node))
            left = again
        return self.operated(at(ast.BoolOp(ast.And(), parts), node), operations)

    @staticmethod
    def _comparison_guard(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        if isinstance(operator, (ast.Is, ast.IsNot)):
            return ""
        if isinstance(operator, (ast.In, ast.NotIn)):
            if isinstance(right, (ast.Tuple, ast.List, ast.Set)) and len(right.elts) <= MEMBERS_MAX:
                return "" if all(map(is_scalar, right.elts)) else "_m_"
            return "" if isinstance(right, ast.Constant) else "_m_"
        return "" if is_literal(left) or is_literal(right) else "_c_"

    @staticmethod
    def _comparison(
        left: ast.expr, operators: list[ast.cmpop], guards: list[str], right: list[ast.expr], where: ast.expr
    ) -> ast.expr:
        if guards[0] == "_m_":
            right = [guarded("_m_", right[0]), *right[1:]]
        elif guards[0]:
            left = guarded(guards[0], left)
        return at(ast.Compare(left, operators, right), where)

    # Augmented assignments

    def visit_AugAssign(self, node: ast.AugAssign) -> list[ast.AST] | ast.AST:
        operator, value = node.op, node.value
        self._pending += 1
        if isinstance(operator, ast.MatMult):
            self.refuse(node, *REFUSED_NODES["MatMult"])
        constant = constant_of(value)
        number = isinstance(constant, (int, float))
        if isinstance(operator, (ast.Pow, ast.LShift)) or (isinstance(operator, ast.Mod) and not number):
            return self._assign_operation(node)
        if isinstance(operator, ast.Mult) and not is_of_no_concern(value):
            return self._multiply_in_place(node)
        if isinstance(operator, ast.BitOr) and not is_scalar(value):
            return self._unite_in_place(node)
        guard = ""
        if isinstance(operator, ast.Add) and not is_of_no_concern(value):
            guard = "_i_"
        elif isinstance(operator, ast.Sub) and (isinstance(value, SETS) or not is_of_no_concern(value)):
            guard = "_n_"
        elif isinstance(operator, SET_OPERATORS):
            guard = "_h_"
        if is_scalar(value):
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
            node.value = guarded(guard, node.value)
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
                return done, at(ast.Constant(part.value), part)
            if isinstance(part, ast.Name):
                return done, at(ast.Name(part.id, ast.Load()), part)
            name = self.hide()
            names.append(name)
            before.append(self._assign(name, done, node))
            return at(ast.Name(name, ast.Load()), part), at(ast.Name(name, ast.Load()), part)

        target = node.target
        read: ast.expr
        if isinstance(target, ast.Name):
            self.bind(target, target.id)
            return before, names, at(ast.Name(target.id, ast.Load()), target), target
        if isinstance(target, ast.Attribute):
            self._check_attribute(target)
            first, again = stable(target.value)
            # Guarded for reading as well: what cannot be written need not be read.
            read = at(ast.Attribute(guarded("_w_", first), target.attr, ast.Load()), target)
            target.value = guarded("_w_", again)
            return before, names, read, target
        if isinstance(target.slice, ast.Slice):
            self.refuse(target, "this operator does not work on a slice", "Write a loop over the elements")
            return before, names, target, target
        first, again = stable(target.value)
        key, key_again = stable(target.slice)
        read = at(ast.Subscript(first, key, ast.Load()), target)
        target.value = again
        target.slice = key_again if is_scalar(key_again) else guarded("_k_", key_again)
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
            value if is_scalar(node.value) else guarded("_n_", value),
        )
        return [
            *before,
            self._assign(name, guarded("_n_", read), node),
            ast.copy_location(change, node),
            ast.copy_location(ast.Assign([write], at(ast.Name(name, ast.Load()), node)), node),
            *self._forget([*names, name], node),
        ]

    def _unite_in_place(self, node: ast.AugAssign) -> list[ast.AST]:
        """`x |= y` as `h = x; i = y; h | (_o_ @ i); h |= i; x = h`.

        For `dict |= pairs` would insert keys that nothing checks, be they in a set; `dict | pairs` is a TypeError.
        """
        before, names, read, write = self._stable_target(node)
        left, right = self.hide(), self.hide()

        def name_of(name: str) -> ast.expr:
            return at(ast.Name(name, ast.Load()), node)

        trial = at(ast.BinOp(name_of(left), ast.BitOr(), guarded("_o_", name_of(right))), node)
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

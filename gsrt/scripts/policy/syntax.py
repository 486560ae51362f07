"""What the policy asks of the nodes of a syntax tree, and the nodes that it makes."""

from __future__ import annotations

import ast

from gsrt.scripts.names import LINEAR_METHODS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

INTEGER_BITS_MAX = 4096  # of a constant, and of an operand at run time
LINEAR_OPERATIONS = 4  # what a call of a method of LINEAR_METHODS counts for

OPERATIONS = (ast.Call, ast.BinOp, ast.Compare, ast.Subscript, ast.FormattedValue, ast.AugAssign, ast.Starred)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor)
SETS = (ast.Set, ast.SetComp)
NEVER_TEXT = (ast.List, ast.ListComp, ast.GeneratorExp)
NEVER_NUMBER_NOR_TUPLE = (ast.List, ast.Dict, ast.Set, ast.JoinedStr, ast.Lambda, *COMPREHENSIONS)


# --- Asking ---


def operations_of(node: ast.AST) -> int:
    """What a node counts for towards the next tick, without its parts."""
    if isinstance(node, ast.Compare):
        return len(node.ops)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LINEAR_METHODS:
        return LINEAR_OPERATIONS
    return int(isinstance(node, OPERATIONS))


def constant_of(node: ast.expr) -> object:
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


def is_scalar(node: ast.expr) -> bool:
    return constant_of(node) is not ...


def is_literal(node: ast.expr) -> bool:
    """A scalar, or a list or tuple of literals: comparing anything with it costs no more than it is long."""
    return is_scalar(node) or (isinstance(node, (ast.List, ast.Tuple)) and all(map(is_literal, node.elts)))


def is_constant_tuple(node: ast.expr) -> bool:
    """A scalar, or a visited tuple of such: a tuple within one is constant, or it would have a guard around it."""
    return is_scalar(node) or (
        isinstance(node, ast.Tuple) and all(isinstance(part, ast.Tuple) or is_scalar(part) for part in node.elts)
    )


def is_text_of_constants(left: ast.expr, right: ast.expr) -> bool:
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


def lists_taken_by(target: ast.expr) -> int:
    """How many lists take in what is assigned, as their elements."""
    if isinstance(target, ast.Subscript):
        return int(isinstance(target.slice, ast.Slice))
    return sum(isinstance(part, ast.Starred) for part in ast.walk(target))


def is_of_no_concern(node: ast.expr) -> bool:
    """Never an int, a tuple or a number that could grow: what `+`, `-` and `*` do with it is bounded by memory."""
    if isinstance(node, NEVER_NUMBER_NOR_TUPLE):
        return True
    return is_scalar(node) and not isinstance(constant_of(node), int)


def is_small_power(base: object, exponent: object) -> bool:
    if not isinstance(base, int) or not isinstance(exponent, int):
        return False
    return exponent < 0 or base.bit_length() * exponent <= INTEGER_BITS_MAX


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


# --- Making ---


def at(node: ast.expr, where: ast.expr | ast.stmt) -> ast.expr:
    return ast.copy_location(node, where)


def guarded(name: str, operand: ast.expr) -> ast.expr:
    """`name @ operand`."""
    return at(ast.BinOp(at(ast.Name(name, ast.Load()), operand), ast.MatMult(), operand), operand)


def called(name: str, arguments: list[ast.expr], where: ast.expr | ast.stmt) -> ast.expr:
    return at(ast.Call(at(ast.Name(name, ast.Load()), where), arguments, []), where)


def tick_in(where: ast.stmt | ast.ExceptHandler) -> ast.stmt:
    """The statement `not _t_`, on the first line of `where`."""
    place = {
        "lineno": where.lineno,
        "col_offset": where.col_offset,
        "end_lineno": where.lineno,
        "end_col_offset": where.col_offset + 1,
    }
    name = ast.Name("_t_", ast.Load(), **place)
    return ast.Expr(ast.UnaryOp(ast.Not(), name, **place), **place)

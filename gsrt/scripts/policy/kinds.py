"""Kinds of nodes of a syntax tree: those that are judged, and those that are refused."""

from __future__ import annotations

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

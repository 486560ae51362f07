"""What a script may name: the tables that its source is judged by when it is loaded.

Attributes of built-in types fall into four groups, and `tests/scripts/test_names.py` holds every public attribute of
the running Python against them: FORBIDDEN_ATTRIBUTES are refused, GUARDED_METHODS and ARGUMENT_GUARDED become guarded
calls, HARMLESS are plain. A name in none of them is the script's own or the server's, and plain.
"""

from __future__ import annotations

_FORMAT = 'Write an f-string: f"{name}: {points}"'
_OWN_NAME = "Choose another name"

FORBIDDEN_ATTRIBUTES: dict[str, str] = {
    "format": _FORMAT,
    "format_map": _FORMAT,
    "maketrans": "Write `replace`, once for each character",
    "translate": "Write `replace`, once for each character",
    "fromkeys": "Write a comprehension: {key: None for key in keys}",
    "popitem": "Write `key = list(d)[-1]`, then `d.pop(key)`",
    "to_bytes": "Send the number in a Data: `session.new_data().set_number(1, n)`",
    "from_bytes": "Send the number in a Data and read it with `get_number`",
    "fromhex": 'Keep bytes in a literal, b"..."',
    "from_number": "Write `float(n)`",
    "with_traceback": "Write only `raise` with an exception",
    "add_note": 'Put the words into the exception: raise ValueError("words")',
    "args": "In a handler `except E as e`, `e` is the text; elsewhere choose another name, such as `arguments`",
    "obj": "Choose another name, such as `thing`",
    "mro": _OWN_NAME,
    "throw": "Choose another name, such as `throw_at`",
    # Of frames and code objects, which no script can hold: named one by one, so that a script may have an `f_score`.
    "f_back": _OWN_NAME,
    "f_builtins": _OWN_NAME,
    "f_code": _OWN_NAME,
    "f_generator": _OWN_NAME,
    "f_globals": _OWN_NAME,
    "f_lasti": _OWN_NAME,
    "f_lineno": _OWN_NAME,
    "f_locals": _OWN_NAME,
    "f_trace": _OWN_NAME,
    "f_trace_lines": _OWN_NAME,
    "f_trace_opcodes": _OWN_NAME,
}
"""Attribute names that are refused wherever they stand -> what to write instead."""

FORBIDDEN_PREFIXES = ("gi_", "cr_", "ag_", "co_", "tb_", "func_", "im_")
"""Beginnings of attribute names that are refused: those of generators, coroutines, code, tracebacks and functions."""

GUARDED_METHODS = frozenset(
    (
        *("index", "count", "remove", "sort", "split", "rsplit", "splitlines", "rfind", "rindex", "rpartition"),
        *("strip", "lstrip", "rstrip", "startswith", "endswith", "encode", "decode", "items", "keys", "values"),
        *("update", "union", "intersection", "difference", "symmetric_difference", "intersection_update"),
        *("difference_update", "symmetric_difference_update", "isdisjoint", "issubset", "issuperset", "extend", "join"),
    )
)
"""`x.NAME(...)` becomes `_m_NAME(x, ...)`: these take more than linear time, make more than memory, or insert keys."""

PLAIN_WITHOUT_ARGUMENTS = frozenset(("strip", "lstrip", "rstrip"))
"""Those of GUARDED_METHODS that are plain when called without arguments."""

PLAIN_WITH_CONSTANTS = frozenset(("startswith", "endswith"))
"""Those of GUARDED_METHODS that are plain when called with constant scalars."""

ARGUMENT_GUARDED = frozenset(("add", "setdefault"))
"""`x.NAME(key, ...)` becomes `x.NAME(_k_ @ key, ...)`."""

HARMLESS = frozenset(
    (
        # numbers
        *("as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "hex", "imag", "is_integer"),
        *("numerator", "real"),
        # text and bytes
        *("capitalize", "casefold", "center", "expandtabs", "find", "isalnum", "isalpha", "isascii"),
        *("isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle"),
        *("isupper", "ljust", "lower", "partition", "removeprefix", "removesuffix", "replace", "rjust"),
        *("swapcase", "title", "upper", "zfill"),
        # lists, dicts, sets
        *("append", "clear", "copy", "insert", "pop", "reverse", "get"),
        "discard",
        # ranges and slices
        *("start", "stop", "step", "indices"),
        # exceptions: what the raiser gave, or the name that was missing
        *("name", "value"),
    )
)
"""Public attributes of built-in types that are safe as plain opcodes, given the guards around them."""

LINEAR_METHODS = frozenset(
    (
        *("capitalize", "casefold", "center", "expandtabs", "find", "isalnum", "isalpha", "isdecimal", "isdigit"),
        *("isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "join", "ljust"),
        *("lower", "partition", "removeprefix", "removesuffix", "replace", "rjust", "swapcase", "title", "upper"),
        *("zfill", "strip", "lstrip", "rstrip", "clear", "copy", "insert", "reverse"),
    )
)
"""Methods that are plain and take linear time: fewer of them are called between two ticks, and only directly."""

DUNDER_METHODS = frozenset(
    (
        *("__init__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__repr__", "__str__", "__len__"),
        *("__contains__", "__getitem__", "__setitem__", "__delitem__", "__iter__", "__next__", "__call__", "__bool__"),
        *("__hash__", "__add__", "__sub__", "__mul__", "__truediv__", "__neg__", "__abs__", "__radd__", "__rsub__"),
        "__rmul__",
    )
)
"""Methods with underscores that a class may define."""

EXCEPTIONS = frozenset(
    (
        *("Exception", "ValueError", "TypeError", "KeyError", "IndexError", "LookupError", "ArithmeticError"),
        *("ZeroDivisionError", "OverflowError", "AttributeError", "NameError", "RuntimeError", "RecursionError"),
        *("NotImplementedError", "AssertionError", "StopIteration", "MemoryError", "QuotaError"),
    )
)
"""Exception types that a script can name."""

BUILTINS = EXCEPTIONS | frozenset(
    (
        *("abs", "all", "any", "bool", "bytes", "callable", "chr", "dict", "divmod", "enumerate", "filter", "float"),
        *("hex", "int", "isinstance", "len", "list", "map", "max", "min", "ord", "pow", "range", "repr", "reversed"),
        *("round", "set", "sorted", "str", "sum", "tuple", "zip", "math", "print", "session"),
    )
)
"""Names that a script finds defined. It may define them anew: that is its own affair."""

FORBIDDEN_NAMES: dict[str, str] = {
    "exec": "Write the code itself, or keep functions in a dict and call the one you need",
    "eval": "Write the expression itself, or keep functions in a dict and call the one you need",
    "breakpoint": "Write `print(value)` and read the log",
}
"""Names that are refused -> what to write instead."""

_TIME = "Write `session.now_ms`, in milliseconds since the session began"
_RANDOM = "Write `session.random`"
_ASK = "Reach other systems with `session.new_request()`"
_CONSTANT = "In Python it is written `{}`"

UNKNOWN_NAMES: dict[str, str] = {
    "open": "A script has no files. Keep what it needs in variables",
    "input": "A script hears its players with `session.on_packet`",
    "compile": "Write the code itself",
    "getattr": "Write `thing.name`, or keep the values in a dict",
    "setattr": "Write `thing.name = value`, or keep the values in a dict",
    "delattr": "Write `del thing.name`, or keep the values in a dict",
    "hasattr": "Set the attribute in `__init__`, to None where there is nothing yet",
    "type": "Write `isinstance(value, int)`",
    "object": "Write `class Name:`",
    "id": "Compare with `is`, or count your things yourself",
    "hash": "Use the value as a key of a dict",
    "iter": "Write a `for` loop over the list",
    "next": "Write a `for` loop over the list, or take element 0",
    "globals": "Keep the values in a dict of your own",
    "locals": "Keep the values in a dict of your own",
    "vars": "Keep the values in a dict of your own",
    "dir": "See the reference of scripts for what there is",
    "format": _FORMAT,
    "frozenset": "Write `tuple(sorted(values))`",
    "bytearray": "Collect numbers in a list, then write `bytes(numbers)`",
    "memoryview": "Write `data[start:stop]`",
    "complex": "Keep two numbers",
    "bin": 'Write an f-string: f"{n:b}"',
    "oct": 'Write an f-string: f"{n:o}"',
    "ascii": "Write `repr(value)`",
    "slice": "Write `values[start:stop]`",
    "property": "Write a method and call it",
    "staticmethod": "Write a function outside of the class",
    "classmethod": "Write a function outside of the class",
    "BaseException": "Write `Exception`",
    "SystemExit": "Write `return`",
    "quit": "Write `return`",
    "exit": "Write `return`",
    "null": _CONSTANT.format("None"),
    "undefined": _CONSTANT.format("None"),
    "true": _CONSTANT.format("True"),
    "false": _CONSTANT.format("False"),
    "this": "Write `self`, the first parameter of a method",
    "RTSession": "Write `session`",
    "setTimeout": "Write `session.set_timeout(function, milliseconds)`",
    "setInterval": "Write `session.set_interval(function, milliseconds)`",
    "console": "Write `print(value)`",
    "time": _TIME,
    "datetime": _TIME,
    "random": _RANDOM,
    "requests": _ASK,
    "urllib": _ASK,
    "socket": _ASK,
    "threading": "Write `session.set_timeout(function, milliseconds)`",
    "asyncio": "Write `session.set_timeout(function, milliseconds)`",
    "logging": "Write `session.get_logger()`",
}
"""Names that nothing defines, but people try -> what to write instead."""

IMPORTS: dict[str, str] = {
    **{name: UNKNOWN_NAMES[name] for name in ("time", "datetime", "random", "requests", "urllib", "socket")},
    **{name: UNKNOWN_NAMES[name] for name in ("threading", "asyncio", "logging")},
    "secrets": _RANDOM,
    "http": _ASK,
    "math": "Leave the line out: `math` is already there",
    "typing": "Leave the line out: annotations need nothing imported",
    "json": "Send values in a Data: `session.new_data().set_number(1, n)`",
    "collections": "Write a dict or a list",
    "dataclasses": "Write a class with `__init__`",
    "enum": "Write constants: RED = 1",
    "abc": "Write a class whose methods raise NotImplementedError",
}
"""Modules that people import -> what to write instead."""

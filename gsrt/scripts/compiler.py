"""From the source of a script to its code: read, judged, rewritten, compiled; or refused, with all that is wrong.

Nothing of the script runs here, and what takes memory (`ast`, RestrictedPython) is loaded
by the first call. No source, whatever it is, makes this raise anything but Refused.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from types import CodeType

SOURCE_BYTES_MAX = 65536
STACK_BYTES = 64 << 20  # of the thread that compiles: addresses, not memory; deep source takes deep recursion to judge
DEPTH_MAX = 150  # of the syntax tree; rewriting it takes some four Python frames a level
BRACKETS_MAX = 60  # within each other
FUNCTIONS_DEEP_MAX = 10  # functions and lambdas within each other
NODES_MAX = 60_000  # of the syntax tree; a script of 64 KB has some 20,000 as a rule
SPACES_MAX = 2000  # functions, lambdas, classes and comprehensions: each is compiled on its own
FRAME_MAX = 500  # values and names of one function: Python keeps room for all at each call
COPIES_MAX = 4096  # statements that `finally` makes the compiler write once more
PROBLEMS_MAX = 200


class Problem:
    """One thing that is wrong with a script. line, column: from 1, in characters."""

    __slots__ = ("column", "filename", "instead", "line", "what")

    def __init__(self, filename: str, line: int, column: int, what: str, instead: str) -> None:
        self.filename = filename
        self.line = line
        self.column = column
        self.what = what
        self.instead = instead

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}:{self.column}: {self.what}. {self.instead}."

    def __repr__(self) -> str:
        return f"<Problem {self}>"


class Refused(Exception):
    """The script cannot be loaded. `problems` holds all that is wrong, in order of line and column."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Compiled:
    """A script that may be run: `code` is its module, whose globals need the guards and built-ins as `__builtins__`."""

    __slots__ = ("code", "digest", "filename", "lines", "warnings")

    def __init__(self, code: CodeType, filename: str, digest: str, lines: list[str], warnings: list[Problem]) -> None:
        self.code = code
        self.filename = filename
        self.digest = digest  # 16 hexadecimal digits, of the source
        self.lines = lines
        self.warnings = warnings


def compile_script(source: str | bytes, filename: str, *, source_bytes_max: int = SOURCE_BYTES_MAX) -> Compiled:
    """The code of a script. filename: what tracebacks and problems call it. Raises Refused."""
    return _Compilation(source, filename, source_bytes_max).compile()


class _Compilation:
    def __init__(self, source: str | bytes, filename: str, source_bytes_max: int) -> None:
        self._filename = filename
        self._lines: list[str] = []
        self._problems: list[Problem] = []
        self._text = self._read(source, source_bytes_max)
        self._lines = self._text.split("\n")

    def compile(self) -> Compiled:
        import ast
        import warnings
        from importlib.util import source_hash

        from gsrt.scripts.policy import Policy

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                tree = ast.parse(self._text, self._filename)
                self._check_brackets()
                self._check_shape(tree)
                policy = Policy(self._refuse)
                policy.visit(tree)
                self._give_up()
                code = compile(ast.fix_missing_locations(tree), self._filename, "exec", dont_inherit=True, optimize=0)
                self._check_frames(code)
            except SyntaxError as error:
                raise self._not_python(error) from None
            except (RecursionError, MemoryError):
                raise self._refused(1, 1, "this is nested too deeply", "Split it into functions") from None
            except (ValueError, OverflowError) as error:
                raise self._refused(1, 1, f"this is not Python: {error}", "See whether the file is complete") from None
        hints = [self._problem(*unknown) for unknown in policy.unknown_names()]
        hints += [
            Problem(self._filename, one.lineno, 1, str(one.message), "Look whether this is meant")
            for one in caught
            if issubclass(one.category, (SyntaxWarning, DeprecationWarning))
        ]
        digest = source_hash(self._text.encode()).hex()
        return Compiled(code, self._filename, digest, self._lines, _sorted(hints))

    # Reading

    def _read(self, source: str | bytes, most: int) -> str:
        """The text of the source without a byte order mark, with line feeds only."""
        if isinstance(source, str):
            try:
                source = source.encode()
            except UnicodeEncodeError:
                raise self._refused(1, 1, "this is not text", "Save the file as UTF-8") from None
        if len(source) > most:
            what = f"the script has {len(source):,} bytes; at most {most:,} are allowed"
            raise self._refused(1, 1, what, "Shorten it, or split it into scripts of different matches")
        try:
            text = source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = source.count(b"\n", 0, error.start) + 1
            raise self._refused(line, 1, "this is not UTF-8", "Save the file as UTF-8") from None
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            raise self._refused(line, 1, "there is a NUL character", "Save the file as UTF-8")
        for number, line_text in enumerate(text.split("\n", 2)[:2], 1):
            coding = _coding(line_text)
            if coding not in ("", "utf-8", "utf8", "utf-8-sig"):
                raise self._refused(number, 1, f"the file says to be in {coding}", "Save it as UTF-8")
        return text

    # Judging

    def _check_brackets(self) -> None:
        """Brackets leave no trace in the tree; those in texts and comments do not count."""
        deepest = depth = 0
        for character in self._text:
            if character in "([{":
                depth += 1
                deepest = max(deepest, depth)
            elif character in ")]}":
                depth -= 1
        if deepest <= BRACKETS_MAX:
            return
        from tokenize import OP, generate_tokens

        depth = 0
        for token in generate_tokens(iter([line + "\n" for line in self._lines]).__next__):
            if token.type == OP and token.string in "([{":
                depth += 1
                if depth > BRACKETS_MAX:
                    what = f"more than {BRACKETS_MAX} brackets are within each other"
                    raise self._refused(token.start[0], token.start[1] + 1, what, "Split it")
            elif token.type == OP and token.string in ")]}":
                depth -= 1

    def _check_shape(self, tree: ast.Module) -> None:
        """Refuses what would take the steps after this one too deep, or make the compiler write too much."""
        import ast

        left: list[tuple[ast.AST, int, int]] = [(tree, 0, 0)]
        deepest: tuple[int, ast.AST] = 0, tree
        functions: tuple[int, ast.AST] = 0, tree
        place: ast.AST = tree
        nodes = spaces = 0
        while left:
            node, depth, inside = left.pop()
            nodes += 1
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                inside += 1
                spaces += 1
            elif isinstance(node, (ast.ClassDef, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
                spaces += 1
            if "lineno" in node._attributes:
                deepest = max(deepest, (depth, node), key=_first)
                functions = max(functions, (inside, node), key=_first)
            left.extend((child, depth + 1, inside) for child in ast.iter_child_nodes(node))
        if nodes > NODES_MAX:
            raise self._refused(
                1, 1, f"the script has {nodes:,} parts; at most {NODES_MAX:,} are allowed", "Shorten it"
            )
        if spaces > SPACES_MAX:
            what = (
                f"the script has {spaces:,} functions, classes and comprehensions; at most {SPACES_MAX:,} are allowed"
            )
            raise self._refused(1, 1, what, "Shorten it")
        if deepest[0] > DEPTH_MAX:
            place = deepest[1]
            what, instead = f"this is nested more than {DEPTH_MAX} levels deep", "Split it, or use a loop or a dict"
        elif functions[0] > FUNCTIONS_DEEP_MAX:
            place = functions[1]
            what, instead = f"more than {FUNCTIONS_DEEP_MAX} functions in each other", "Define them side by side"
        elif _copies(tree) > COPIES_MAX:
            place = next(node for node in ast.walk(tree) if isinstance(node, ast.Try) and node.finalbody)
            what, instead = "there is too much in `finally`", "Put it into a function and call that"
        else:
            return
        self._refuse(getattr(place, "lineno", 1), getattr(place, "col_offset", 0), what, instead)
        self._give_up()

    def _check_frames(self, code: CodeType) -> None:
        """Refuses functions each of whose calls would take much memory: it is none that the meter sees."""
        left = [code]
        while left:
            one = left.pop()
            if one.co_stacksize + one.co_nlocals + len(one.co_cellvars) > FRAME_MAX:
                what = f"there are more than {FRAME_MAX} names or values at once from this line on"
                self._problems.append(Problem(self._filename, one.co_firstlineno, 1, what, "Use a list or a dict"))
            left.extend(constant for constant in one.co_consts if isinstance(constant, type(code)))
        self._give_up()

    def _refuse(self, line: int, column: int, what: str, instead: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(self._problem(line, column, what, instead))

    def _problem(self, line: int, column: int, what: str, instead: str) -> Problem:
        """column: in bytes of the line, from 0, as the syntax tree has it."""
        text = self._lines[line - 1] if 0 < line <= len(self._lines) else ""
        characters = len(text.encode()[:column].decode(errors="replace"))
        return Problem(self._filename, line, characters + 1, what, instead)

    def _give_up(self) -> None:
        if self._problems:
            raise Refused(_sorted(self._problems))

    def _refused(self, line: int, column: int, what: str, instead: str) -> Refused:
        return Refused([Problem(self._filename, line, column, what, instead)])

    def _not_python(self, error: SyntaxError) -> Refused:
        line = min(max(error.lineno or 1, 1), max(len(self._lines), 1))
        what, instead = error.msg, "See the line, and the one above it"
        if "integer string conversion" in what:
            what, instead = "an integer is too long", "Use smaller numbers"
        elif "too many" in what and ("nested" in what or "level" in what):
            instead = "Split it into functions"
        return self._refused(line, max(error.offset or 1, 1), f"this is not Python: {what.rstrip('.')}", instead)


def _first(pair: tuple[int, ast.AST]) -> int:
    return pair[0]


def _sorted(problems: list[Problem]) -> list[Problem]:
    """In order of line and column, each said once."""
    each = {(one.line, one.column, one.what): one for one in problems}
    return [each[key] for key in sorted(each)]


def _coding(line: str) -> str:
    """The encoding that a comment in one of the first two lines declares (as in PEP 263), in lower case, or ""."""
    line = line.lstrip(" \t\f")
    if not line.startswith("#"):
        return ""
    for separator in ("coding:", "coding="):
        _, found, rest = line.partition(separator)
        if found:
            words = rest.strip().split()
            return words[0].strip(";,*").lower().replace("_", "-") if words else ""
    return ""


def _copies(tree: ast.AST) -> int:
    """How many statements the compiler writes beyond those of the source.

    It writes a `finally` body once for each way out of its `try`: at the end, by an exception, and by each return,
    break and continue inside; so bodies within bodies double at every level.
    """
    import ast

    def size(node: ast.AST) -> tuple[int, int]:
        """(statements as written by the compiler, ways out by jumps)"""
        statements = int(isinstance(node, ast.stmt))
        jumps = int(isinstance(node, (ast.Return, ast.Break, ast.Continue)))
        final = 0
        last = set(map(id, node.finalbody)) if isinstance(node, (ast.Try, ast.TryStar)) else set()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                continue
            inner, ways = size(child)
            if id(child) in last:
                final += inner
            else:
                statements += inner
            jumps += ways
        if last:
            statements += final * (2 + jumps)
            jumps *= 2
        return statements, (0 if isinstance(node, ast.FunctionDef) else jumps)

    return size(tree)[0] - sum(isinstance(node, ast.stmt) for node in ast.walk(tree))

"""The script policy: which Python a script may be written in, and which guards its compiled form contains.

`Policy` rewrites the syntax tree of a script on the base of RestrictedPython's transformer. What cannot do harm stays
as it is; around the rest it puts guards, `_k_ @ key` and the like, whose names no script can write, for names that
begin with an underscore are refused, and so is `@`. `gsrt._guard` says what each guard does. Every judgement here is
about syntax alone: the same source gets the same verdict on every machine.

Loading this package loads `ast` and RestrictedPython: only a process that compiles a script does.
"""

from __future__ import annotations

from gsrt.scripts.policy.expressions import Expressions
from gsrt.scripts.policy.operators import Operators
from gsrt.scripts.policy.statements import Statements


class Policy(Expressions, Operators, Statements):
    """Rewrites the tree of one script, and reports through `refuse` all that is not allowed in it.

    `refuse(line, column, what, instead)`: line from 1, column in bytes from 0. What it was called for must not be run.
    """
